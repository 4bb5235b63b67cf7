//! Finds the first steering rule that a packet matches.
//!
//! Pure, as the guard: the same packet and tables give the same rule, on the host and in the kernel.
//!
//! A fragment, and a packet with options or extension headers, is matched by addresses and protocol
//! alone: its ports are not there, or not where they can be read, so no rule that names ports matches.

use eniway_abi::steering::{Rules, looks, unnamed};

use crate::packet::{self, Bytes, Ports, ethertype};

/// The rules, as the maps hold them. A class is 0 where no rule names the value.
pub trait Tables {
    /// The class of an IPv4 source.
    fn source4(&self, address: [u8; 4]) -> u32;
    /// The class of an IPv6 source.
    fn source6(&self, address: [u8; 16]) -> u32;
    /// The class of an IPv4 destination.
    fn destination4(&self, address: [u8; 4]) -> u32;
    /// The class of an IPv6 destination.
    fn destination6(&self, address: [u8; 16]) -> u32;
    /// The class of a protocol.
    fn protocol(&self, protocol: u8) -> u32;
    /// The class of a source port.
    fn source_port(&self, port: u16) -> u32;
    /// The class of a destination port.
    fn destination_port(&self, port: u16) -> u32;
    /// The rules of a class. `None` cannot happen.
    fn class(&self, class: u32) -> Option<&Rules>;
}

/// The number of the first rule that the packet matches. `looks` are bits of [`mod@looks`].
#[inline(always)]
pub fn first_match<P: Bytes + ?Sized>(packet: &P, tables: &impl Tables, looks: u32) -> Option<u32> {
    let ethernet = packet::ethernet(packet)?;
    if ethernet.is_group() {
        return None;
    }
    match ethernet.ethertype.get() {
        ethertype::IPV4 => {
            let header = packet::ipv4(packet)?;
            let ports = header.ports(packet);
            let transport = transport(tables, looks, header.protocol, ports)?;
            transport.first(
                || tables.source4(header.source),
                || tables.destination4(header.destination),
            )
        }
        ethertype::IPV6 => {
            let header = packet::ipv6(packet)?;
            let ports = header.ports(packet);
            let transport = transport(tables, looks, header.transport(packet), ports)?;
            transport.first(
                || tables.source6(header.source),
                || tables.destination6(header.destination),
            )
        }
        _ => None,
    }
}

/// The sets of rules of protocol and ports.
struct Transport<'a, T> {
    tables: &'a T,
    looks: u32,
    protocol: &'a Rules,
    source_port: &'a Rules,
    destination_port: &'a Rules,
    /// Of all three.
    summary: u64,
}

/// They are looked up before addresses, for they cost little, and most packets match no rule by them alone: `None`. The
/// destination port comes first, which tells most.
///
/// All rules are in the set of what none of them looks at, so another set stands for it and nothing is looked up.
#[inline(always)]
fn transport<T: Tables>(
    tables: &T,
    looks: u32,
    protocol: u8,
    ports: Option<Ports>,
) -> Option<Transport<'_, T>> {
    // Both ports at once: kept in an `Option` until the second is needed, they would be read from where nothing is written, if
    // only to be thrown away, which is forbidden to those without CAP_PERFMON.
    let mut classes = (unnamed::SOURCE_PORT, unnamed::DESTINATION_PORT);
    if looks & (looks::SOURCE_PORT | looks::DESTINATION_PORT) != 0
        && let Some(ports) = ports
    {
        if looks & looks::SOURCE_PORT != 0 {
            classes.0 = named(tables.source_port(ports.source), unnamed::SOURCE_PORT);
        }
        if looks & looks::DESTINATION_PORT != 0 {
            let class = tables.destination_port(ports.destination);
            classes.1 = named(class, unnamed::DESTINATION_PORT);
        }
    }
    let destination_port = tables.class(classes.1)?;
    let mut summary = destination_port.summary;
    if summary == 0 {
        return None;
    }
    let mut source_port = destination_port;
    if looks & looks::SOURCE_PORT != 0 {
        source_port = tables.class(classes.0)?;
        summary &= source_port.summary;
    }
    let mut of_protocol = destination_port;
    if looks & looks::PROTOCOL != 0 {
        let class = named(tables.protocol(protocol), unnamed::PROTOCOL);
        of_protocol = tables.class(class)?;
        summary &= of_protocol.summary;
    }
    if summary == 0 {
        return None;
    }
    Some(Transport {
        tables,
        looks,
        protocol: of_protocol,
        source_port,
        destination_port,
        summary,
    })
}

impl<T: Tables> Transport<'_, T> {
    /// The first rule that holds for the addresses, too. A trie is searched only if rules may be left.
    #[inline(always)]
    fn first(&self, source: impl Fn() -> u32, destination: impl Fn() -> u32) -> Option<u32> {
        let mut summary = self.summary;
        let mut of_source = self.destination_port;
        if self.looks & looks::SOURCE != 0 {
            let class = named(source(), unnamed::SOURCE);
            of_source = self.tables.class(class)?;
            summary &= of_source.summary;
        }
        if summary == 0 {
            return None;
        }
        let mut of_destination = self.destination_port;
        if self.looks & looks::DESTINATION != 0 {
            let class = named(destination(), unnamed::DESTINATION);
            of_destination = self.tables.class(class)?;
            summary &= of_destination.summary;
        }
        // Written out: the verifier takes no computed offset from those without CAP_PERFMON.
        macro_rules! words {
            ($($word:literal)*) => { $(
                if summary & 1 << $word != 0 {
                    let rules = self.protocol.words[$word]
                        & self.source_port.words[$word]
                        & self.destination_port.words[$word]
                        & of_source.words[$word]
                        & of_destination.words[$word];
                    if rules != 0 {
                        return Some($word * 64 + rules.trailing_zeros());
                    }
                }
            )* };
        }
        if summary != 0 {
            words!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        None
    }
}

#[inline(always)]
const fn named(class: u32, unnamed: u32) -> u32 {
    if class == 0 { unnamed } else { class }
}
