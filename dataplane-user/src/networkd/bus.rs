//! One call on the system bus: D-Bus as far as it takes to tell systemd-networkd to reload
//! (D-Bus specification 0.43, "Message Protocol" and "Authentication Protocol").

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest message that is read: answers here are short, signals to all are not for us.
const LONGEST: u32 = 64 * 1024;

// Kinds of messages, and fields of their headers.
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const DESTINATION: u8 = 6;
/// Bytes of a header before its fields.
const FIXED: usize = 16;

/// A method of an object that somebody on the bus has.
struct Call {
    destination: &'static str,
    path: &'static str,
    interface: &'static str,
    member: &'static str,
}

/// By which one joins the bus.
const HELLO: Call = Call {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

const RELOAD: Call = Call {
    destination: "org.freedesktop.network1",
    path: "/org/freedesktop/network1",
    interface: "org.freedesktop.network1.Manager",
    member: "Reload",
};

/// Returns when it has read its files again.
pub(super) fn reload(bus: &Path) -> io::Result<()> {
    let mut stream = BufReader::new(UnixStream::connect(bus)?);
    stream.get_ref().set_read_timeout(Some(TIMEOUT))?;
    stream.get_ref().set_write_timeout(Some(TIMEOUT))?;
    authenticate(&mut stream)?;
    for (serial, call) in [(1, HELLO), (2, RELOAD)] {
        stream.get_mut().write_all(&message(&call, serial))?;
        answer(&mut stream)?;
    }
    Ok(())
}

/// As root, in the protocol's digits: nobody else may reload.
fn authenticate(stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    stream.get_mut().write_all(b"\0AUTH EXTERNAL 30\r\n")?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with("OK ") {
        return Err(io::Error::other(format!("the bus says {}", line.trim())));
    }
    stream.get_mut().write_all(b"BEGIN\r\n")
}

/// Waits for the answer to the call that was made last. What else comes is no answer.
fn answer(stream: &mut impl Read) -> io::Result<()> {
    loop {
        let mut fixed = [0; FIXED];
        stream.read_exact(&mut fixed)?;
        let number = |at: usize| match (fixed[0], fixed[at..].first_chunk()) {
            (b'l', Some(number)) => u32::from_le_bytes(*number),
            (_, Some(number)) => u32::from_be_bytes(*number),
            (_, None) => 0,
        };
        let (body, fields) = (number(4), number(12).next_multiple_of(8));
        if body.saturating_add(fields) > LONGEST {
            return Err(io::Error::other("the bus sends a message that is too long"));
        }
        let mut rest = Vec::new();
        stream
            .take(u64::from(fields) + u64::from(body))
            .read_to_end(&mut rest)?;
        match fixed[1] {
            METHOD_RETURN => return Ok(()),
            ERROR => {
                let said = rest.get(usize::try_from(fields).map_err(io::Error::other)? + 4..);
                let said = String::from_utf8_lossy(said.unwrap_or_default());
                return Err(io::Error::other(said.trim_end_matches('\0').to_owned()));
            }
            _ => {}
        }
    }
}

/// A call without arguments, little endian.
fn message(call: &Call, serial: u32) -> Vec<u8> {
    let mut fields = Vec::new();
    for (code, signature, value) in [
        (PATH, b'o', call.path),
        (DESTINATION, b's', call.destination),
        (INTERFACE, b's', call.interface),
        (MEMBER, b's', call.member),
    ] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, signature, 0]);
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        fields.extend(length.to_le_bytes());
        fields.extend(value.as_bytes());
        fields.push(0);
    }
    let length = u32::try_from(fields.len()).unwrap_or(u32::MAX);
    let mut message = vec![b'l', METHOD_CALL, 0, 1];
    for number in [0, serial, length] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the bus without fields.
    fn said(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![b'l', kind, 0, 1];
        let length = u32::try_from(body.len()).unwrap();
        for number in [length, 7, 0] {
            message.extend(number.to_le_bytes());
        }
        message.extend(body);
        message
    }

    #[test]
    fn a_signal_is_no_answer_and_a_no_says_why() {
        let mut told = said(4, b"for all");
        told.extend(said(METHOD_RETURN, &[]));
        assert!(answer(&mut told.as_slice()).is_ok());
        let mut text = 5_u32.to_le_bytes().to_vec();
        text.extend(b"never\0");
        let no = answer(&mut said(ERROR, &text).as_slice()).unwrap_err();
        assert_eq!(no.to_string(), "never");
        let half = said(METHOD_RETURN, &[]);
        let half = answer(&mut &half[..9]).unwrap_err();
        assert_eq!(half.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_call_stands_on_eight_bytes() {
        let call = message(&RELOAD, 2);
        assert_eq!(call.len() % 8, 0);
        assert_eq!(call[..4], [b'l', METHOD_CALL, 0, 1]);
        assert_eq!(call[8], 2);
        // The second field begins on eight bytes, too: the first has 4 + 4 + 25 + 1.
        assert_eq!(call[16 + 40], DESTINATION);
    }
}
