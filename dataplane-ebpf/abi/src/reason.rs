//! Why a packet passed or was dropped: the rule that decided.

/// Makes the enum, its list and its labels from one table.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// The rule that decided about a packet.
        ///
        /// Up to [`Reason::LAST_PASS`] nothing is wrong with the packet; the others are violations,
        /// which drop it under Enforce. Numbers are counter indexes: append only within a layout.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in metrics and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

reasons! {
    /// Addressed to or from the ENI; or the check is off and nothing else objected.
    Passed = "passed",
    /// The guard is off: not read.
    Off = "off",
    /// ARP.
    Arp = "arp",
    /// DHCP, or DHCPv6.
    Dhcp = "dhcp",
    /// IPv6 neighbour discovery.
    NeighborDiscovery = "neighbor_discovery",
    /// To a multicast group of the link: 224.0.0.0/24, ff02::/16.
    LinkMulticast = "link_multicast",
    /// To or from an IPv6 link-local address.
    LinkLocal = "link_local",
    /// Neither ARP nor IP; the check knows nothing of it.
    OtherProtocol = "other_protocol",

    /// A header that is cut short or contradicts itself.
    Malformed = "malformed",
    /// A VLAN tag; a VPC delivers them to trunk ENIs only.
    Vlan = "vlan",
    /// Unicast to a MAC that is not the ENI's.
    DestinationMac = "destination_mac",
    /// From a MAC that is not the ENI's.
    SourceMac = "source_mac",
    /// From an address no host may have: loopback, multicast, reserved, unspecified.
    MartianSource = "martian_source",
    /// To an address no host may have.
    MartianDestination = "martian_destination",
    /// It arrives from the ENI's own address.
    SelfSpoof = "self_spoof",
    /// To the subnet's or the limited broadcast address; a VPC has no broadcast but DHCP's.
    Broadcast = "broadcast",
    /// To a multicast group wider than the link.
    Multicast = "multicast",
    /// Neighbour discovery that has passed a router (RFC 4861 §7.1: hop limit 255).
    NdHopLimit = "nd_hop_limit",
    /// To an address that is not the ENI's.
    DestinationMismatch = "destination_mismatch",
    /// From an address that is not the ENI's.
    SourceMismatch = "source_mismatch",
    /// ARP that speaks for a MAC or an address that is not the ENI's.
    ArpSpoof = "arp_spoof",
    /// Reverse ARP: announces MACs that are not the ENI's, never needed in a VPC.
    Rarp = "rarp",
    /// A steering rule drops it.
    Steering = "steering",
}

impl Reason {
    /// The last reason with which nothing is wrong.
    pub const LAST_PASS: Self = Self::OtherProtocol;

    /// Tells whether Enforce drops the packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_violation(self) -> bool {
        self as u8 > Self::LAST_PASS as u8
    }
}
