//! The door to `AF_PACKET` sockets and ethtool: the only unsafe code of the lab.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Longer than any frame of an interface with jumbo frames and no segmentation offload.
const LONGEST: usize = 16 * 1024;
/// Bytes before the EtherType, where a VLAN tag belongs.
const ADDRESSES: usize = 12;

/// `AF_PACKET` of linux/socket.h, in the width of an address's family.
const FAMILY: libc::sa_family_t = 17;
/// `ETH_P_ALL` of linux/if_ether.h, in the width of an address's protocol.
const ALL_PROTOCOLS: u16 = 3;

/// A raw socket on one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket that sees what arrives at an interface, but not what leaves it.
    ///
    /// Must be called on a thread that is in the interface's network namespace.
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        // SAFETY: socket(2) takes no pointer. The protocol is set by bind, so nothing of another
        // interface is received before.
        let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check(raw)?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(raw) });
        socket.set(libc::PACKET_IGNORE_OUTGOING)?;
        socket.set(libc::PACKET_AUXDATA)?;
        // The queue of an interface whose peer has just come up swallows frames until the kernel's
        // link watch has run, which may take a second.
        socket.set(libc::PACKET_QDISC_BYPASS)?;
        // SAFETY: a sockaddr_ll of zeros is a valid one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = FAMILY;
        address.sll_protocol = ALL_PROTOCOLS.to_be();
        address.sll_ifindex = index.cast_signed();
        let length = length_of::<libc::sockaddr_ll>();
        // SAFETY: the pointer is to a sockaddr_ll of that length, which outlives the call.
        check(unsafe { libc::bind(raw, (&raw const address).cast(), length) })?;
        Ok(socket)
    }

    /// Puts a frame on the wire.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        nix::sys::socket::send(
            self.0.as_raw_fd(),
            frame,
            nix::sys::socket::MsgFlags::empty(),
        )?;
        Ok(())
    }

    /// The next frame, with its VLAN tag where it was on the wire.
    pub(crate) fn receive(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; LONGEST];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: a msghdr of zeros is a valid one.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: all pointers in `message` are to buffers of the given lengths that outlive the call.
        let received =
            unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let length = usize::try_from(received).map_err(|_negative| io::Error::last_os_error())?;
        frame.truncate(length);
        if let Some(tag) = vlan_tag(&message)
            && length >= ADDRESSES
        {
            frame.splice(ADDRESSES..ADDRESSES, tag);
        }
        Ok(frame)
    }

    fn set(&self, option: i32) -> io::Result<()> {
        let on = 1_i32;
        let length = length_of::<i32>();
        // SAFETY: the pointer is to an int of that length, which outlives the call.
        check(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                option,
                (&raw const on).cast(),
                length,
            )
        })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel takes the tag out of the frame and tells it beside it.
fn vlan_tag(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: recvmsg has filled in `message`, whose control buffer is still there.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so it points to a whole header inside the control buffer.
        let libc::cmsghdr {
            cmsg_level,
            cmsg_type,
            ..
        } = unsafe { header.read_unaligned() };
        if cmsg_level == libc::SOL_PACKET && cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: `header` is one of the headers of `message`.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<libc::tpacket_auxdata>();
            // SAFETY: a message of this kind carries one tpacket_auxdata, perhaps not aligned.
            let data = unsafe { data.read_unaligned() };
            if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let ([a, b], [c, d]) = (
                    data.tp_vlan_tpid.to_be_bytes(),
                    data.tp_vlan_tci.to_be_bytes(),
                );
                return Some([a, b, c, d]);
            }
        }
        // SAFETY: `header` is one of the headers of `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    None
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Commands of linux/ethtool.h: transmit checksums, scatter-gather, TSO, GSO.
const OFFLOADS: [u32; 4] = [0x17, 0x19, 0x1f, 0x24];

/// Makes an interface send only whole frames with right checksums, as a wire would carry them.
///
/// Must be called on a thread that is in the interface's network namespace.
pub(crate) fn disable_offloads(interface: &str) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    for command in OFFLOADS {
        let mut value = EthtoolValue { command, data: 0 };
        // SAFETY: an ifreq of zeros is a valid one.
        let mut request: libc::ifreq = unsafe { zeroed() };
        let room = request.ifr_name.len() - 1;
        for (place, byte) in request.ifr_name[..room].iter_mut().zip(interface.bytes()) {
            *place = libc::c_char::from_ne_bytes([byte]);
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: SIOCETHTOOL takes an ifreq whose data points to the command's struct; both outlive the call.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
    }
    Ok(())
}

/// The length of a value in the kernel's words.
fn length_of<T>() -> libc::socklen_t {
    size_of::<T>()
        .try_into()
        .expect("what sockets are told is smaller than 4 GiB")
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
