//! The names EC2 gives: their form, their check, and how this world makes them.
//!
//! Ids come from a seed and a counter, so a test that is run twice sees the same ones.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, api};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal, $malformed:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub(crate) const PREFIX: &'static str = $prefix;

            /// Reads an id as a caller of EC2 wrote it.
            ///
            /// # Errors
            /// The `.Malformed` code of this kind of id.
            pub fn parse(text: &str) -> Result<Self, ApiError> {
                let digits = text.strip_prefix(concat!($prefix, "-")).unwrap_or_default();
                let hexadecimal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if matches!(digits.len(), 8 | 17) && hexadecimal {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(api($malformed, format!("Invalid id: \"{text}\" (expecting \"{}-...\")", $prefix)))
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// An elastic network interface, `eni-…`.
    EniId, "eni", "InvalidNetworkInterfaceId.Malformed";
    /// The tie between an interface and an instance, `eni-attach-…`.
    AttachmentId, "eni-attach", "InvalidNetworkInterfaceAttachmentId.Malformed";
    /// An instance, `i-…`.
    InstanceId, "i", "InvalidInstanceID.Malformed";
    /// A subnet, `subnet-…`.
    SubnetId, "subnet", "InvalidSubnetID.Malformed";
    /// A VPC, `vpc-…`.
    VpcId, "vpc", "InvalidVpcID.Malformed";
    /// A security group, `sg-…`.
    GroupId, "sg", "InvalidGroupId.Malformed";
    /// A route table, `rtb-…`.
    RouteTableId, "rtb", "InvalidRouteTableId.Malformed";
    /// An Elastic IP that is allocated to the account, `eipalloc-…`.
    AllocationId, "eipalloc", "InvalidAllocationID.Malformed";
    /// The tie between an Elastic IP and a private address, `eipassoc-…`.
    AssociationId, "eipassoc", "InvalidAssociationID.Malformed";
}

/// Where new ids and MAC addresses come from.
#[derive(Clone, Debug)]
pub(crate) struct Namer {
    seed: u64,
    counter: u64,
}

impl Namer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    pub(crate) fn eni(&mut self) -> EniId {
        EniId(self.id(EniId::PREFIX))
    }

    pub(crate) fn attachment(&mut self) -> AttachmentId {
        AttachmentId(self.id(AttachmentId::PREFIX))
    }

    pub(crate) fn instance(&mut self) -> InstanceId {
        InstanceId(self.id(InstanceId::PREFIX))
    }

    pub(crate) fn subnet(&mut self) -> SubnetId {
        SubnetId(self.id(SubnetId::PREFIX))
    }

    pub(crate) fn vpc(&mut self) -> VpcId {
        VpcId(self.id(VpcId::PREFIX))
    }

    pub(crate) fn group(&mut self) -> GroupId {
        GroupId(self.id(GroupId::PREFIX))
    }

    pub(crate) fn route_table(&mut self) -> RouteTableId {
        RouteTableId(self.id(RouteTableId::PREFIX))
    }

    pub(crate) fn allocation(&mut self) -> AllocationId {
        AllocationId(self.id(AllocationId::PREFIX))
    }

    pub(crate) fn association(&mut self) -> AssociationId {
        AssociationId(self.id(AssociationId::PREFIX))
    }

    /// A MAC address that no other call of this namer gives: an odd factor permutes 40 bits.
    pub(crate) fn mac(&mut self) -> String {
        self.counter += 1;
        let bits = self
            .counter
            .wrapping_mul(0x9e_3779_b97f)
            .wrapping_add(mix(self.seed));
        let [_, _, _, a, b, c, d, e] = bits.to_be_bytes();
        format!("06:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
    }

    /// A request id in the form of a UUID.
    pub(crate) fn request(&mut self) -> String {
        self.counter += 1;
        let (high, low) = (
            mix(self.seed ^ self.counter),
            mix(self.counter.rotate_left(32)),
        );
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    fn id(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!(
            "{prefix}-0{:016x}",
            mix(self.seed.wrapping_add(self.counter << 20))
        )
    }
}

/// One step of SplitMix64: a bijection of 64 bits, so different counters give different ids.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
