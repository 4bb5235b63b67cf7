//! What holds for any bytes at all.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever A sends, nobody gets anything that does not come from A or from the VPC.
    #[test]
    fn any_bytes_end_in_one_counter_and_never_carry_a_foreign_source(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        protocol in prop_oneof![Just(ARP), Just(IPV4), Just(IPV6), any::<u16>()],
        to in prop_oneof![Just(mac(5)), Just(Mac([2, 0xec, 10, 0, 1, 0])), Just(Mac::BROADCAST)],
    ) {
        let mut fabric = fabric();
        let out = fabric.frame(&port(A), &frame(to, mac(4), protocol, &bytes));
        prop_assert_eq!(fabric.counters().values().sum::<u64>(), 1);
        for (receiver, frame) in out {
            if receiver != port(A) {
                prop_assert!(matches!(protocol, IPV4 | IPV6), "only IP is carried");
                let source: Option<[u8; 4]> = array(&frame, ETHERNET_HEADER + 12);
                prop_assert!(protocol == IPV6 || source.is_some_and(|source| interface(A, 1, 4).has4(source.into())));
            }
        }
    }

    /// A frame to a neighbour arrives only if both ends own their addresses.
    #[test]
    fn delivery_needs_both_addresses(source in any::<u8>(), destination in any::<u8>()) {
        let mut fabric = fabric();
        let packet = ipv4([10, 0, 1, source], [10, 0, 1, destination], 64);
        let out = fabric.frame(&port(A), &frame(mac(5), mac(4), IPV4, &packet));
        let owned = |name, last: u8, address: u8| interface(name, 1, last).has4(Ipv4Addr::new(10, 0, 1, address));
        prop_assert_eq!(!out.is_empty(), owned(A, 4, source) && owned(B, 5, destination));
    }
}
