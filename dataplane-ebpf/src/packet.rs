//! Parses the headers the guard looks at, from anything that gives bytes at an offset.
//!
//! Headers are structs that look like the wire. Each is read at once, so that it costs one test of the
//! packet's bounds, and lies wherever the packet puts it, so all are [`Unaligned`].

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, network_endian::U16};

/// A packet that can be read at an offset, from its Ethernet header on.
pub trait Bytes {
    /// Bytes in the whole packet, also where only its head can be read.
    fn length(&self) -> usize;

    /// What lies at `offset`; `None` when it reaches beyond the packet.
    fn read<T: Wire>(&self, offset: usize) -> Option<T>;

    /// Tells whether the driver has taken a VLAN tag out of the frame and keeps it beside it.
    fn is_tagged(&self) -> bool {
        false
    }
}

/// What can be read from a packet: any bytes are one, at any address.
pub trait Wire: Copy + FromBytes + Unaligned {}

impl<T: Copy + FromBytes + Unaligned> Wire for T {}

impl Bytes for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let (value, _) = T::read_from_prefix(self.get(offset..)?).ok()?;
        Some(value)
    }
}

/// Ethertypes (IEEE 802 Numbers, IANA).
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// Reverse ARP.
    pub const RARP: u16 = 0x8035;
    /// A VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// A provider's VLAN tag.
    pub const PROVIDER_VLAN: u16 = 0x88a8;
}

/// IP protocol numbers (IANA).
pub mod protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// An IPv6 fragment.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// A type that no ICMPv6 message has (IANA: reserved).
pub const NO_MESSAGE: u8 = 0;

/// Bytes of the two MAC addresses of the Ethernet header, the destination first.
pub const ETHERNET_HOSTS: usize = 12;

/// Where the network header begins: behind the Ethernet header.
pub const NETWORK: usize = 14;

/// The Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ethernet {
    /// Destination MAC.
    pub destination: [u8; 6],
    /// Source MAC.
    pub source: [u8; 6],
    /// What follows, one of [`ethertype`].
    pub ethertype: U16,
}
const _: () = assert!(size_of::<Ethernet>() == NETWORK);

/// The IPv4 header, without options (RFC 791 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv4 {
    version_and_length: u8,
    service: u8,
    total_length: U16,
    identification: U16,
    fragment: U16,
    /// Routers that it may still pass.
    pub time_to_live: u8,
    /// One of [`protocol`].
    pub protocol: u8,
    checksum: U16,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}
const _: () = assert!(size_of::<Ipv4>() == 20);

/// The IPv6 header (RFC 8200 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Ipv6 {
    version: u8,
    class_and_flow: [u8; 3],
    payload_length: U16,
    /// One of [`protocol`].
    pub next_header: u8,
    /// 255 on the link where the packet was made.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}
const _: () = assert!(size_of::<Ipv6>() == 40);

/// An ARP message for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Arp {
    /// `ar$hrd`, `ar$pro`, `ar$hln`, `ar$pln`.
    kind: [u8; 6],
    operation: U16,
    /// `ar$sha`.
    pub sender_mac: [u8; 6],
    /// `ar$spa`.
    pub sender_address: [u8; 4],
    target_mac: [u8; 6],
    target_address: [u8; 4],
}
const _: () = assert!(size_of::<Arp>() == 28);

/// Source and destination port of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// Reads the Ethernet header.
#[inline(always)]
pub fn ethernet(packet: &(impl Bytes + ?Sized)) -> Option<Ethernet> {
    packet.read(0)
}

/// Reads the IPv4 header; `None` when it is cut short or its lengths contradict the packet's.
#[inline(always)]
pub fn ipv4(packet: &(impl Bytes + ?Sized)) -> Option<Ipv4> {
    let header: Ipv4 = packet.read(NETWORK)?;
    // Version 4, at least five words.
    if !matches!(header.version_and_length, 0x45..=0x4f) {
        return None;
    }
    let length = header.length();
    let total = usize::from(header.total_length.get());
    // Zero is what the stack writes where 16 bits do not hold the length (BIG TCP).
    let is_big = total == 0 && packet.length() > usize::from(u16::MAX);
    if !is_big && (total < length || NETWORK + total > packet.length()) {
        return None;
    }
    Some(header)
}

/// Reads the IPv6 header; `None` when it is cut short or longer than the packet.
#[inline(always)]
pub fn ipv6(packet: &(impl Bytes + ?Sized)) -> Option<Ipv6> {
    let header: Ipv6 = packet.read(NETWORK)?;
    // A jumbogram's length is zero here, which no packet is too short for.
    let end = NETWORK + size_of::<Ipv6>() + usize::from(header.payload_length.get());
    (header.version >> 4 == 6 && end <= packet.length()).then_some(header)
}

/// Reads an ARP message; `None` when it is cut short or not about IPv4 over Ethernet.
#[inline(always)]
pub fn arp(packet: &(impl Bytes + ?Sized)) -> Option<Arp> {
    const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
    let message: Arp = packet.read(NETWORK)?;
    (message.kind == IPV4_OVER_ETHERNET).then_some(message)
}

impl Ethernet {
    /// Tells whether the frame is for several: a group, or everyone.
    #[inline(always)]
    pub const fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

impl Ipv4 {
    /// Where the time to live is.
    pub const TIME_TO_LIVE: usize = 8;
    /// Where the checksum is.
    pub const CHECKSUM: usize = 10;

    /// Tells whether there are options.
    #[inline(always)]
    pub fn has_options(&self) -> bool {
        self.length() != size_of::<Self>()
    }

    /// Bytes of the packet, with this header.
    #[inline(always)]
    pub fn total_length(&self) -> u16 {
        self.total_length.get()
    }

    /// Type of service.
    #[inline(always)]
    pub const fn service(&self) -> u8 {
        self.service
    }

    /// The time to live behind a router, and the checksum that goes with it (RFC 1624). It must not be 0.
    #[inline(always)]
    pub fn aged(&self) -> (u8, [u8; 2]) {
        // The time to live is the high byte of its word, so one less there is 0x0100 more here.
        let sum = u32::from(self.checksum.get()) + 0x0100;
        let folded = (sum & 0xffff) + (sum >> 16);
        #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
        let checksum = folded as u16;
        (self.time_to_live - 1, checksum.to_be_bytes())
    }

    /// Of the header, with its options.
    #[inline(always)]
    fn length(&self) -> usize {
        usize::from(self.version_and_length & 0x0f) * 4
    }

    /// Tells whether this is UDP between the ports, in the fragment that has them.
    ///
    /// Never behind options: nobody who is asked about sends them, and an offset that is not a constant
    /// is pointer arithmetic the verifier wants CAP_PERFMON for.
    #[inline(always)]
    pub fn is_udp(&self, packet: &(impl Bytes + ?Sized), ports: Ports) -> bool {
        self.protocol == protocol::UDP
            && self.fragment.get() & 0x1fff == 0
            && self.length() == size_of::<Self>()
            && ports.are_at(NETWORK + 20, packet)
    }

    /// The ports; `None` of a fragment, and behind options, as [`Ipv4::is_udp`] says.
    #[inline(always)]
    pub fn ports(&self, packet: &(impl Bytes + ?Sized)) -> Option<Ports> {
        // The offset, and whether more follow.
        let is_whole = self.fragment.get() & 0x3fff == 0;
        if is_whole && self.length() == size_of::<Self>() && has_ports(self.protocol) {
            Ports::at(NETWORK + 20, packet)
        } else {
            None
        }
    }
}

#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

impl Ipv6 {
    /// Where the hop limit is.
    pub const HOP_LIMIT: usize = 7;

    /// Bytes of the packet, with this header.
    #[inline(always)]
    pub fn total_length(&self) -> u16 {
        self.payload_length.get().saturating_add(40)
    }

    /// Traffic class and flow label, as they lie in the header (`flowinfo`).
    #[inline(always)]
    pub const fn flow(&self) -> u32 {
        let [a, b, c] = self.class_and_flow;
        u32::from_ne_bytes([self.version & 0x0f, a, b, c])
    }

    /// Tells whether UDP between the ports follows at once.
    #[inline(always)]
    pub fn is_udp(&self, packet: &(impl Bytes + ?Sized), ports: Ports) -> bool {
        self.next_header == protocol::UDP && ports.are_at(NETWORK + 40, packet)
    }

    /// The ports, if their header follows at once.
    #[inline(always)]
    pub fn ports(&self, packet: &(impl Bytes + ?Sized)) -> Option<Ports> {
        if has_ports(self.next_header) {
            Ports::at(NETWORK + 40, packet)
        } else {
            None
        }
    }

    /// The protocol, also of a fragment; that of any other extension header is its own number.
    #[inline(always)]
    pub fn transport(&self, packet: &(impl Bytes + ?Sized)) -> u8 {
        match self.next_header {
            protocol::FRAGMENT => match packet.read::<u8>(NETWORK + 40) {
                Some(protocol) => protocol,
                None => protocol::FRAGMENT,
            },
            protocol => protocol,
        }
    }

    /// The type of the ICMPv6 message that follows, also behind a short hop-by-hop header, which
    /// multicast listener reports carry (RFC 3810 §5).
    ///
    /// [`NO_MESSAGE`] where none follows: an `Option` leaves a byte unwritten, and reading that, if only
    /// to throw it away, is forbidden to those without CAP_PERFMON.
    #[inline(always)]
    pub fn icmp_type(&self, packet: &(impl Bytes + ?Sized)) -> u8 {
        let kind: Option<u8> = match self.next_header {
            protocol::ICMPV6 => packet.read(NETWORK + 40),
            protocol::HOP_BY_HOP if packet.read(NETWORK + 40) == Some([protocol::ICMPV6, 0]) => {
                packet.read(NETWORK + 48)
            }
            _ => None,
        };
        match kind {
            Some(kind) => kind,
            None => NO_MESSAGE,
        }
    }
}

impl Ports {
    #[inline(always)]
    fn at(offset: usize, packet: &(impl Bytes + ?Sized)) -> Option<Self> {
        let [source, destination]: [U16; 2] = packet.read(offset)?;
        Some(Self {
            source: source.get(),
            destination: destination.get(),
        })
    }

    /// Compares rather than reads: an `Option` of two numbers is more than LLVM carries through a branch
    /// in a form the verifier accepts.
    #[inline(always)]
    fn are_at(self, offset: usize, packet: &(impl Bytes + ?Sized)) -> bool {
        let [a, b] = self.source.to_be_bytes();
        let [c, d] = self.destination.to_be_bytes();
        packet.read(offset) == Some([a, b, c, d])
    }
}
