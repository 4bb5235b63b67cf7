//! One netlink message and its answer, where no library has the words for it.
//!
//! Attributes are aligned to four bytes; numbers are in the machine's order.

use std::io;

use nix::errno::Errno;
use rtnetlink::sys::{Socket, SocketAddr};

/// Whom a message is for.
pub(crate) use rtnetlink::sys::protocols::{NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE};

// linux/netlink.h.
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSG_ERROR: u16 = 2;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// `nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// The kernel's no: the error's number, and what it says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) text: Option<String>,
}

/// A message: its header, then `body`. An answer is asked for, and nothing but the word of success if
/// `acknowledged`.
pub(crate) fn message(kind: u16, acknowledged: bool, body: &[u8]) -> Vec<u8> {
    let flags = match acknowledged {
        true => NLM_F_REQUEST | NLM_F_ACK,
        false => NLM_F_REQUEST,
    };
    flagged(kind, flags, body)
}

/// A message with all its flags.
pub(crate) fn flagged(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // A sequence number and a port, which one question on one socket does not need.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Adds an attribute.
pub(crate) fn push(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Sends `message` and waits for the first answer. The inner result is the kernel's own no.
pub(crate) fn ask(protocol: isize, message: &[u8]) -> io::Result<Result<Vec<u8>, Refusal>> {
    let socket = send(protocol, message)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(match refusal(&answer) {
        Some(refusal) => Err(refusal),
        None => Ok(answer),
    })
}

/// Sends `request` and waits for all that the kernel lists, a message each.
pub(crate) fn list(protocol: isize, request: &[u8]) -> io::Result<Result<Vec<Vec<u8>>, Refusal>> {
    let socket = send(protocol, request)?;
    let mut listed = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for message in messages(&answer) {
            if let Some(refusal) = refusal(message) {
                return Ok(Err(refusal));
            }
            match field(message, 4) {
                Some(NLMSG_DONE | NLMSG_ERROR) => return Ok(Ok(listed)),
                _ => listed.push(message.to_vec()),
            }
        }
    }
}

/// Sends messages of which `acknowledged` ask for an answer, and waits for these, or for the first no.
pub(crate) fn submit(
    protocol: isize,
    messages: &[u8],
    acknowledged: usize,
) -> io::Result<Result<(), Refusal>> {
    let socket = send(protocol, messages)?;
    for _ in 0..acknowledged {
        let (answer, _) = socket.recv_from_full()?;
        if let Some(refusal) = refusal(&answer) {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(()))
}

fn send(protocol: isize, messages: &[u8]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.send(messages, 0)?;
    Ok(socket)
}

/// The messages that came at once.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let message = bytes.get(..length).filter(|one| one.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The kernel's no, if the answer is one.
pub(crate) fn refusal(answer: &[u8]) -> Option<Refusal> {
    if field(answer, 4)? != NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(*answer.get(HEADER..)?.first_chunk()?);
    let errno = (code != 0).then(|| Errno::from_raw(-code))?;
    let text = text(answer);
    Some(Refusal { errno, text })
}

/// What the kernel says about its no: after the request, which a short answer cuts to its header.
fn text(answer: &[u8]) -> Option<String> {
    let flags = field(answer, 6)?;
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = HEADER + 4;
    let length = match flags & NLM_F_CAPPED {
        0 => u32::from_ne_bytes(*answer.get(request..)?.first_chunk()?),
        _ => u32::try_from(HEADER).ok()?,
    };
    let attributes = request + usize::try_from(length).ok()?.next_multiple_of(4);
    let text = attribute(answer.get(attributes..)?, NLMSGERR_ATTR_MSG)?;
    let text = String::from_utf8_lossy(text);
    Some(text.trim_end_matches('\0').to_owned())
}

/// The value of the first attribute of a kind.
pub(crate) fn attribute(all: &[u8], kind: u16) -> Option<&[u8]> {
    let mut attributes = attributes(all);
    attributes.find_map(|(one, value)| (one == kind).then_some(value))
}

/// All attributes: what kind each is, and its value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(field(bytes, 0)?);
        let value = bytes.get(4..length)?;
        let kind = field(bytes, 2)? & NLA_TYPE_MASK;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number of two bytes at `offset`.
pub(crate) fn field(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a request with `body`, as `netlink_ack` of the kernel writes it.
    fn answer(code: i32, flags: u16, body: &[u8], text: Option<&str>) -> Vec<u8> {
        let request = message(19, true, body);
        let mut said = code.to_ne_bytes().to_vec();
        match flags & NLM_F_CAPPED {
            0 => said.extend(&request),
            _ => said.extend(&request[..HEADER]),
        }
        if let Some(text) = text {
            push(&mut said, NLMSGERR_ATTR_MSG, format!("{text}\0").as_bytes());
        }
        let mut answer = message(NLMSG_ERROR, false, &said);
        answer[6..8].copy_from_slice(&flags.to_ne_bytes());
        answer
    }

    #[test]
    fn the_kernels_words_are_found_behind_the_request_that_it_repeats() {
        let words = "The current MTU is larger than the maximum allowed MTU";
        for (flags, body) in [(0x200, [7; 24].as_slice()), (0x300, &[7; 24]), (0x200, &[])] {
            let refusal = refusal(&answer(-22, flags, body, Some(words)));
            let said = Refusal {
                errno: Errno::EINVAL,
                text: Some(words.to_owned()),
            };
            assert_eq!(refusal, Some(said), "{flags:x}");
        }
        let bare = refusal(&answer(-34, 0, &[7; 24], None));
        let errno = Errno::ERANGE;
        assert_eq!(bare, Some(Refusal { errno, text: None }));
    }

    #[test]
    fn success_is_no_refusal_and_half_an_answer_no_text() {
        assert_eq!(refusal(&answer(0, 0x100, &[], None)), None);
        let mut short = answer(-22, 0x200, &[7; 24], Some("cut"));
        short.truncate(short.len() - 6);
        assert_eq!(refusal(&short).unwrap().text, None);
        assert_eq!(refusal(&[]), None);
    }

    #[test]
    fn attributes_stand_on_four_bytes() {
        let mut body = Vec::new();
        push(&mut body, 7, b"odd");
        push(&mut body, 8, &9_u32.to_ne_bytes());
        assert_eq!(body.len(), 16);
        assert_eq!(attribute(&body, 8), Some(9_u32.to_ne_bytes().as_slice()));
        assert_eq!(attribute(&body, 9), None);
    }

    #[test]
    fn messages_that_come_at_once_are_told_apart_and_a_cut_one_is_none() {
        let mut at_once = message(3, false, &[1; 5]);
        at_once.resize(24, 0);
        at_once.extend(message(4, false, &[2; 4]));
        let kinds = |bytes: &[u8]| -> Vec<_> {
            let kinds = messages(bytes).map(|one| (field(one, 4), one.len()));
            kinds.collect()
        };
        assert_eq!(kinds(&at_once), [(Some(3), 21), (Some(4), 20)]);
        at_once.pop();
        assert_eq!(kinds(&at_once).len(), 1);
        assert_eq!(kinds(&[0; 16]), []);
    }
}
