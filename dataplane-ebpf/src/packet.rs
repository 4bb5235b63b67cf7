//! Parses the headers the guard looks at, from anything that gives bytes at an offset.

/// A packet that can be read at an offset, from its Ethernet header on.
pub trait Bytes {
    /// Bytes in the whole packet, also where only its head can be read.
    fn length(&self) -> usize;

    /// `N` bytes from `offset` on; `None` when the read leaves the packet.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Tells whether the driver has taken a VLAN tag out of the frame and keeps it beside it.
    fn is_tagged(&self) -> bool {
        false
    }
}

impl Bytes for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
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
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// A type that no ICMPv6 message has (IANA: reserved).
pub const NO_MESSAGE: u8 = 0;

/// Where the network header begins: behind the Ethernet header.
pub const NETWORK: usize = 14;

/// The Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC.
    pub destination: [u8; 6],
    /// Source MAC.
    pub source: [u8; 6],
    /// What follows, one of [`ethertype`].
    pub ethertype: u16,
}

/// What the guard reads of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// The payload does not begin behind the first 20 bytes.
    pub has_options: bool,
    /// One of [`protocol`].
    pub protocol: u8,
    /// Not the first fragment: the payload does not begin with ports.
    pub is_later_fragment: bool,
}

/// What the guard reads of an IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// One of [`protocol`].
    pub next_header: u8,
    /// 255 on the link where the packet was made.
    pub hop_limit: u8,
}

/// What the guard reads of an ARP message for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// `ar$sha`.
    pub sender_mac: [u8; 6],
    /// `ar$spa`.
    pub sender_address: [u8; 4],
}

/// Source and destination port of UDP.
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
    Some(Ethernet {
        destination: packet.read(0)?,
        source: packet.read(6)?,
        ethertype: u16::from_be_bytes(packet.read(12)?),
    })
}

/// Reads the IPv4 header; `None` when it is cut short or its lengths contradict the packet's.
#[inline(always)]
pub fn ipv4(packet: &(impl Bytes + ?Sized)) -> Option<Ipv4> {
    let [version] = packet.read(NETWORK)?;
    let header = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header < 20 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes(packet.read(NETWORK + 2)?));
    // Zero is what the stack writes where 16 bits do not hold the length (BIG TCP).
    let is_big = total == 0 && packet.length() > usize::from(u16::MAX);
    if !is_big && (total < header || NETWORK + total > packet.length()) {
        return None;
    }
    let fragment = u16::from_be_bytes(packet.read(NETWORK + 6)?);
    let [protocol] = packet.read(NETWORK + 9)?;
    Some(Ipv4 {
        source: packet.read(NETWORK + 12)?,
        destination: packet.read(NETWORK + 16)?,
        has_options: header > 20,
        protocol,
        is_later_fragment: fragment & 0x1fff != 0,
    })
}

/// Reads the IPv6 header; `None` when it is cut short or longer than the packet.
#[inline(always)]
pub fn ipv6(packet: &(impl Bytes + ?Sized)) -> Option<Ipv6> {
    let [version] = packet.read(NETWORK)?;
    if version >> 4 != 6 {
        return None;
    }
    // A jumbogram's length is zero here, which no packet is too short for.
    let payload = usize::from(u16::from_be_bytes(packet.read(NETWORK + 4)?));
    if NETWORK + 40 + payload > packet.length() {
        return None;
    }
    let [next_header, hop_limit] = packet.read(NETWORK + 6)?;
    Some(Ipv6 {
        source: packet.read(NETWORK + 8)?,
        destination: packet.read(NETWORK + 24)?,
        next_header,
        hop_limit,
    })
}

/// Reads an ARP message; `None` when it is cut short or not about IPv4 over Ethernet.
#[inline(always)]
pub fn arp(packet: &(impl Bytes + ?Sized)) -> Option<Arp> {
    const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
    if packet.read(NETWORK)? != IPV4_OVER_ETHERNET {
        return None;
    }
    // The whole message, of which the target is not looked at.
    packet.read::<10>(NETWORK + 18)?;
    Some(Arp {
        sender_mac: packet.read(NETWORK + 8)?,
        sender_address: packet.read(NETWORK + 14)?,
    })
}

impl Ipv4 {
    /// Tells whether this is UDP between the ports, in the fragment that has them.
    ///
    /// Never behind options: nobody who is asked about sends them, and an offset that is not a constant
    /// is pointer arithmetic the verifier wants CAP_PERFMON for.
    #[inline(always)]
    pub fn is_udp(&self, packet: &(impl Bytes + ?Sized), ports: Ports) -> bool {
        self.protocol == protocol::UDP
            && !self.is_later_fragment
            && !self.has_options
            && ports.are_at(NETWORK + 20, packet)
    }
}

impl Ipv6 {
    /// Tells whether UDP between the ports follows at once.
    #[inline(always)]
    pub fn is_udp(&self, packet: &(impl Bytes + ?Sized), ports: Ports) -> bool {
        self.next_header == protocol::UDP && ports.are_at(NETWORK + 40, packet)
    }

    /// The type of the ICMPv6 message that follows, also behind a short hop-by-hop header, which
    /// multicast listener reports carry (RFC 3810 §5).
    ///
    /// [`NO_MESSAGE`] where none follows: an `Option` leaves a byte unwritten, and reading that, if only
    /// to throw it away, is forbidden to those without CAP_PERFMON.
    #[inline(always)]
    pub fn icmp_type(&self, packet: &(impl Bytes + ?Sized)) -> u8 {
        let kind = match self.next_header {
            protocol::ICMPV6 => packet.read(NETWORK + 40),
            protocol::HOP_BY_HOP if packet.read(NETWORK + 40) == Some([protocol::ICMPV6, 0]) => {
                packet.read(NETWORK + 48)
            }
            _ => None,
        };
        match kind {
            Some([kind]) => kind,
            None => NO_MESSAGE,
        }
    }
}

impl Ports {
    /// Compares rather than reads: an `Option` of two numbers is more than LLVM carries through a branch
    /// in a form the verifier accepts.
    #[inline(always)]
    fn are_at(self, offset: usize, packet: &(impl Bytes + ?Sized)) -> bool {
        let [a, b] = self.source.to_be_bytes();
        let [c, d] = self.destination.to_be_bytes();
        packet.read(offset) == Some([a, b, c, d])
    }
}
