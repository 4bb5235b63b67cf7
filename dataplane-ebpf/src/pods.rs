//! Decides where the packets of pods go that share an ENI: which pod a packet is for, and whether a pod may send it.
//!
//! Pure, as the guard is. What arrives has passed the guard; what a pod sends meets it once more on its way out of
//! the ENI.

use eniway_abi::{Pod, Reason, mapped};

use crate::packet::{self, Bytes, Ethernet, ethertype};

/// Who has which address.
pub trait Pods {
    /// The pod that has an address, IPv4 mapped into IPv6; [`Pod::NONE`] where none has it.
    fn of(&self, address: [u8; 16]) -> Pod;
}

/// Where a packet of a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It ends here.
    Drop,
    /// To a pod of the same ENI.
    Pod,
    /// Out of the ENI.
    Out,
    /// To the node's stack: it is for the ENI's own address, or for a group.
    Stack,
}

/// What becomes of a packet of a pod. All three are always there: of a value that only some ways had, the stack
/// would be read where it is not written, which is forbidden to those without CAP_PERFMON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Where it goes.
    pub way: Way,
    /// The rule that decided.
    pub reason: Reason,
    /// The pod that it is for; [`Pod::NONE`]: no pod of this ENI.
    pub receiver: Pod,
}

impl Sent {
    const fn to(way: Way) -> Self {
        Self {
            way,
            reason: Reason::Passed,
            receiver: Pod::NONE,
        }
    }

    const fn dropped(reason: Reason) -> Self {
        Self {
            way: Way::Drop,
            reason,
            receiver: Pod::NONE,
        }
    }
}

/// The pod that a packet from the ENI is for; [`Pod::NONE`]: the node's stack has it.
#[inline(always)]
pub fn receiver<P: Bytes + ?Sized>(packet: &P, pods: &impl Pods) -> Pod {
    let Some(ethernet) = packet::ethernet(packet) else {
        return Pod::NONE;
    };
    match addresses(packet, &ethernet) {
        Some([_, destination]) if !ethernet.is_group() => pods.of(destination),
        _ => Pod::NONE,
    }
}

/// Where a packet goes that the pod behind `interface` sends: nowhere, unless it bears the pod's own MAC and one of
/// its own addresses. A pod needs no ARP and no neighbour discovery, for it is told all its neighbours.
#[inline(always)]
pub fn sent<P: Bytes + ?Sized>(
    packet: &P,
    interface: u32,
    pods: &impl Pods,
    is_own: impl Fn([u8; 16]) -> bool,
) -> Sent {
    let Some(ethernet) = packet::ethernet(packet) else {
        return Sent::dropped(Reason::Malformed);
    };
    if packet.is_tagged() {
        return Sent::dropped(Reason::Vlan);
    }
    let Some([source, destination]) = addresses(packet, &ethernet) else {
        return Sent::dropped(match ethernet.ethertype.get() {
            ethertype::IPV4 | ethertype::IPV6 => Reason::Malformed,
            ethertype::ARP => Reason::Arp,
            ethertype::VLAN | ethertype::PROVIDER_VLAN => Reason::Vlan,
            _ => Reason::OtherProtocol,
        });
    };
    let sender = pods.of(source);
    if sender.interface != interface {
        return Sent::dropped(match source {
            // What a kernel says on any link that comes up: reports of groups, a search for routers.
            [0xfe, 0x80..=0xbf, ..] => Reason::LinkLocal,
            _ if source == [0; 16] => Reason::NeighborDiscovery,
            _ => Reason::SourceMismatch,
        });
    }
    if ethernet.source != sender.mac {
        return Sent::dropped(Reason::SourceMac);
    }
    let receiver = pods.of(destination);
    if receiver.interface != 0 {
        return Sent {
            receiver,
            ..Sent::to(Way::Pod)
        };
    }
    if ethernet.is_group() || is_group(destination) || is_own(destination) {
        return Sent::to(Way::Stack);
    }
    Sent::to(Way::Out)
}

/// Source and destination, IPv4 mapped into IPv6.
#[inline(always)]
fn addresses<P: Bytes + ?Sized>(packet: &P, ethernet: &Ethernet) -> Option<[[u8; 16]; 2]> {
    match ethernet.ethertype.get() {
        ethertype::IPV4 => {
            let header = packet::ipv4(packet)?;
            Some([mapped(header.source), mapped(header.destination)])
        }
        ethertype::IPV6 => {
            let header = packet::ipv6(packet)?;
            Some([header.source, header.destination])
        }
        _ => None,
    }
}

#[inline(always)]
const fn is_group(address: [u8; 16]) -> bool {
    match address {
        [0xff, ..] => true,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, ..] => first >= 224,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NETWORK;

    const POD: Pod = Pod {
        interface: 7,
        mac: [2, 0, 0, 0, 2, 1],
        node_mac: [2, 0, 0, 0, 1, 1],
    };
    const OTHER: Pod = Pod {
        interface: 8,
        ..POD
    };

    /// 10.0.1.65 and 2001:db8::1 are the pod's, and those after them the other's.
    struct Two;

    impl Pods for Two {
        fn of(&self, address: [u8; 16]) -> Pod {
            match address {
                [.., 0xff, 0xff, 10, 0, 1, 65] | [0x20, 0x01, 0x0d, 0xb8, .., 0, 1] => POD,
                [.., 0xff, 0xff, 10, 0, 1, 66] | [0x20, 0x01, 0x0d, 0xb8, .., 0, 2] => OTHER,
                _ => Pod::NONE,
            }
        }
    }

    fn v4(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0x08, 0x00];
        frame.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(source);
        frame.extend(destination);
        frame
    }

    fn v6(source: u16, destination: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 0, 59, 64]);
        for last in [source, destination] {
            frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            frame.extend(last.to_be_bytes());
        }
        frame
    }

    fn from_pod(frame: &[u8]) -> Sent {
        let own = |address| address == mapped([10, 0, 1, 10]);
        sent(frame, POD.interface, &Two, own)
    }

    fn to_other() -> Sent {
        Sent {
            receiver: OTHER,
            ..Sent::to(Way::Pod)
        }
    }

    #[test]
    fn what_arrives_goes_to_whom_it_is_for() {
        let from = [10, 0, 1, 20];
        assert_eq!(receiver(v4(from, [10, 0, 1, 65]).as_slice(), &Two), POD);
        assert_eq!(receiver(v6(9, 2).as_slice(), &Two), OTHER);
        let node = v4(from, [10, 0, 1, 10]);
        assert_eq!(receiver(node.as_slice(), &Two), Pod::NONE);
        let mut everyone = v4(from, [10, 0, 1, 65]);
        everyone[0] = 0xff;
        assert_eq!(receiver(everyone.as_slice(), &Two), Pod::NONE);
        let cut = &v4(from, [10, 0, 1, 65])[..NETWORK + 19];
        assert_eq!(receiver(cut, &Two), Pod::NONE);
    }

    #[test]
    fn a_pod_sends_from_its_own_addresses() {
        let own = [10, 0, 1, 65];
        assert_eq!(from_pod(&v4(own, [192, 0, 2, 1])), Sent::to(Way::Out));
        assert_eq!(from_pod(&v6(1, 9)), Sent::to(Way::Out));
        assert_eq!(from_pod(&v4(own, [10, 0, 1, 66])), to_other());
        assert_eq!(from_pod(&v6(1, 2)), to_other());
        assert_eq!(from_pod(&v4(own, [10, 0, 1, 10])), Sent::to(Way::Stack));
        assert_eq!(from_pod(&v4(own, [224, 0, 0, 1])), Sent::to(Way::Stack));

        let lies = [[10, 0, 1, 66], [10, 0, 1, 10], [192, 0, 2, 1], [0, 0, 0, 0]];
        for lie in lies {
            let frame = v4(lie, [192, 0, 2, 1]);
            assert_eq!(from_pod(&frame), Sent::dropped(Reason::SourceMismatch));
        }
        assert_eq!(from_pod(&v6(2, 9)), Sent::dropped(Reason::SourceMismatch));
        let mut stranger = v4(own, [192, 0, 2, 1]);
        stranger[11] = 9;
        assert_eq!(from_pod(&stranger), Sent::dropped(Reason::SourceMac));
    }

    #[test]
    fn what_is_no_packet_of_an_address_ends_at_the_veth() {
        let own = v4([10, 0, 1, 65], [192, 0, 2, 1]);
        assert_eq!(from_pod(&own[..10]), Sent::dropped(Reason::Malformed));
        assert_eq!(
            from_pod(&own[..NETWORK + 19]),
            Sent::dropped(Reason::Malformed)
        );
        let of = |ethertype: [u8; 2]| {
            let mut frame = own.clone();
            frame[12..14].copy_from_slice(&ethertype);
            from_pod(&frame)
        };
        assert_eq!(of([0x08, 0x06]), Sent::dropped(Reason::Arp));
        assert_eq!(of([0x81, 0x00]), Sent::dropped(Reason::Vlan));
        assert_eq!(of([0x88, 0xcc]), Sent::dropped(Reason::OtherProtocol));
        let mut search = v6(1, 9);
        search[22..38].copy_from_slice(&[0; 16]);
        assert_eq!(from_pod(&search), Sent::dropped(Reason::NeighborDiscovery));
        search[22..24].copy_from_slice(&[0xfe, 0x80]);
        assert_eq!(from_pod(&search), Sent::dropped(Reason::LinkLocal));
    }
}
