//! What only the ethtool call tells of a driver: its name, its version, its channels, its counters.
//!
//! Ethtool's netlink family knows neither a driver's version nor the counters that are its own, so the
//! call that is older than it is used for all (linux/ethtool.h).

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::device::{Channels, Driver};

const SIOCETHTOOL: u16 = 0x8946;
const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
const GCHANNELS: u32 = 0x3c;
const SCHANNELS: u32 = 0x3d;
const SGRO: u32 = 0x2c;
const SS_STATS: u32 = 1;

/// `ethtool_drvinfo`, and where in it the number of counters stands.
const DRIVER_SIZE: usize = 196;
const DRIVER_COUNTERS: usize = 180;
/// `ethtool_channels`: the command, then the greatest numbers and the present ones of receiving, sending,
/// other and combined channels.
const CHANNELS_SIZE: usize = 36;
const MAX_COMBINED: usize = 16;
const COMBINED: usize = 32;
/// `ETH_GSTRING_LEN`.
const NAME_SIZE: usize = 32;
/// The kernel writes as many counters as the driver has then, however few there were a moment before.
/// An ENA has 50 for each of at most 128 queues.
const COUNTERS: usize = 32 * 1024;

/// `ifreq`, with a pointer in its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u8,
    rest: [u8; 16],
}

/// Which driver `link` has.
pub(super) fn driver(link: &str) -> io::Result<Driver> {
    let answer = drvinfo(link)?;
    Ok(Driver {
        name: text(&answer[4..36]),
        version: text(&answer[36..68]),
    })
}

/// How many channels are in use, and how many there are; `None` where none both receives and sends.
pub(super) fn channels(link: &str) -> io::Result<Option<Channels>> {
    Ok(combined(&get_channels(link)?))
}

/// Uses `count` channels. A device restarts for it.
pub(super) fn set_channels(link: &str, count: u32) -> io::Result<()> {
    let mut request = with_combined(get_channels(link)?, count);
    call(link, &mut request)
}

/// Joins what `link` receives (GRO). One end of a veth takes frames from XDP only so.
pub(super) fn join_received(link: &str) -> io::Result<()> {
    // `ethtool_value`: the command and the value.
    let mut request = [0; 8];
    request[..4].copy_from_slice(&SGRO.to_ne_bytes());
    request[4..].copy_from_slice(&1_u32.to_ne_bytes());
    call(link, &mut request)
}

/// The driver's own counters, by name.
pub(super) fn counters(link: &str) -> io::Result<Vec<(String, u64)>> {
    let count = number(&drvinfo(link)?, DRIVER_COUNTERS);
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut names = vec![0; 12 + COUNTERS * NAME_SIZE];
    names[..4].copy_from_slice(&GSTRINGS.to_ne_bytes());
    names[4..8].copy_from_slice(&SS_STATS.to_ne_bytes());
    names[8..12].copy_from_slice(&count.to_ne_bytes());
    call(link, &mut names)?;
    let mut values = vec![0; 8 + COUNTERS * 8];
    values[..4].copy_from_slice(&GSTATS.to_ne_bytes());
    values[4..8].copy_from_slice(&count.to_ne_bytes());
    call(link, &mut values)?;
    // Other queues meanwhile, other names: better nothing than a wrong number.
    match number(&names, 8) == number(&values, 4) {
        true => Ok(named(&names, &values)),
        false => Ok(Vec::new()),
    }
}

fn drvinfo(link: &str) -> io::Result<[u8; DRIVER_SIZE]> {
    let mut answer = [0; DRIVER_SIZE];
    answer[..4].copy_from_slice(&GDRVINFO.to_ne_bytes());
    call(link, &mut answer)?;
    Ok(answer)
}

fn get_channels(link: &str) -> io::Result<[u8; CHANNELS_SIZE]> {
    let mut answer = [0; CHANNELS_SIZE];
    answer[..4].copy_from_slice(&GCHANNELS.to_ne_bytes());
    call(link, &mut answer)?;
    Ok(answer)
}

fn combined(answer: &[u8; CHANNELS_SIZE]) -> Option<Channels> {
    let channels = Channels {
        current: number(answer, COMBINED),
        max: number(answer, MAX_COMBINED),
    };
    (channels.max > 0).then_some(channels)
}

/// The request that changes the combined channels and leaves the others.
fn with_combined(mut answer: [u8; CHANNELS_SIZE], count: u32) -> [u8; CHANNELS_SIZE] {
    answer[..4].copy_from_slice(&SCHANNELS.to_ne_bytes());
    answer[COMBINED..].copy_from_slice(&count.to_ne_bytes());
    answer
}

fn named(names: &[u8], values: &[u8]) -> Vec<(String, u64)> {
    let count = usize::try_from(number(names, 8)).unwrap_or(0);
    let names = names[12..].chunks_exact(NAME_SIZE).map(text);
    let values = values[8..].as_chunks::<8>().0.iter();
    let values = values.map(|value| u64::from_ne_bytes(*value));
    names.zip(values).take(count).collect()
}

/// A C string in a field.
fn text(field: &[u8]) -> String {
    let bytes = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(bytes: &[u8], offset: usize) -> u32 {
    let chunk = bytes.get(offset..).and_then(|bytes| bytes.first_chunk());
    chunk.map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

/// The system call. `buffer` begins with the command and has room for its longest answer.
fn call(link: &str, buffer: &mut [u8]) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    // One byte stays zero and ends the name.
    let room = name.len() - 1;
    let name_bytes = name.get_mut(..link.len().min(room));
    match name_bytes {
        Some(place) if link.len() <= room => place.copy_from_slice(link.as_bytes()),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut request = Request {
        name,
        data: buffer.as_mut_ptr(),
        rest: [0; 16],
    };
    // SAFETY: the kernel reads and writes `request`, which has the size of an `ifreq`, and `buffer`, in
    // which the functions above leave room for the longest answer to their command.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL.into(), &raw mut request) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_combined_channels_are_changed() {
        let mut answer = [0; CHANNELS_SIZE];
        for (place, value) in answer
            .chunks_exact_mut(4)
            .zip([GCHANNELS, 1, 2, 3, 8, 4, 5, 6, 7])
        {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        assert_eq!(combined(&answer), Some(Channels { current: 7, max: 8 }));
        let request: Vec<u32> = with_combined(answer, 4)
            .chunks_exact(4)
            .map(|place| number(place, 0))
            .collect();
        assert_eq!(request, [SCHANNELS, 1, 2, 3, 8, 4, 5, 6, 4]);
        assert_eq!(combined(&[0; CHANNELS_SIZE]), None);
    }

    #[test]
    fn a_counter_has_the_name_at_its_place() {
        let mut names = vec![0; 12 + 2 * NAME_SIZE];
        names[8..12].copy_from_slice(&2_u32.to_ne_bytes());
        names[12..17].copy_from_slice(b"first");
        names[44..76].copy_from_slice(b"a_name_that_fills_all_32_letters");
        let mut values = vec![0; 8];
        values.extend(1_u64.to_ne_bytes());
        values.extend(u64::MAX.to_ne_bytes());
        let expected = [
            ("first".to_owned(), 1),
            ("a_name_that_fills_all_32_letters".to_owned(), u64::MAX),
        ];
        assert_eq!(named(&names, &values), expected);
    }

    #[test]
    fn a_name_that_is_too_long_is_no_link() {
        let error = driver("a-name-of-seventeen").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
