//! Identifiers, each with a type of its own, so that they cannot be passed in the wrong order.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The identifier as EC2 writes it.
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

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value)
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.to_owned())
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": 64, "pattern": $pattern})
            }
        }
    };
}

id!(
    /// A network interface, `eni-…`.
    EniId,
    "^eni-[0-9a-f]{8,17}$"
);
id!(
    /// An instance, `i-…`.
    InstanceId,
    "^i-[0-9a-f]{8,17}$"
);
id!(
    /// A subnet, `subnet-…`.
    SubnetId,
    "^subnet-[0-9a-f]{8,17}$"
);
id!(
    /// A security group, `sg-…`.
    GroupId,
    "^sg-[0-9a-f]{8,17}$"
);
id!(
    /// The attachment of an interface to an instance, `eni-attach-…`.
    AttachmentId,
    "^eni-attach-[0-9a-f]{8,17}$"
);

id!(
    /// An Elastic IP that is allocated to the account, `eipalloc-…`.
    AllocationId,
    "^eipalloc-[0-9a-f]{8,17}$"
);
id!(
    /// The tie between an Elastic IP and an interface, `eipassoc-…`.
    AssociationId,
    "^eipassoc-[0-9a-f]{8,17}$"
);
id!(
    /// A route table, `rtb-…`.
    RouteTableId,
    "^rtb-[0-9a-f]{8,17}$"
);
id!(
    /// A network (VPC), `vpc-…`.
    VpcId,
    "^vpc-[0-9a-f]{8,17}$"
);

/// The place of an interface on its network card; 0 is the primary interface and never ours.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DeviceIndex(pub u8);

impl DeviceIndex {
    /// The first index that is not the primary interface's.
    pub const FIRST: Self = Self(1);
    /// EC2 accepts 0 to 31.
    pub const LAST: Self = Self(31);
}

impl fmt::Display for DeviceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for DeviceIndex {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DeviceIndex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 31})
    }
}

/// An Ethernet address; written as six lower-case hexadecimal octets with colons.
///
/// It is the one join between EC2, IMDS, and the kernel that holds on every instance type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// The text is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseMacError(String);

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not an Ethernet address like 02:00:00:00:00:01",
            self.0
        )
    }
}

impl std::error::Error for ParseMacError {}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .filter(|part| part.len() == 2)
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| ParseMacError(text.to_owned()))?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(ParseMacError(text.to_owned())),
        }
    }
}

impl Serialize for MacAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for MacAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MacAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_survives_its_text() {
        let mac: MacAddress = "02:0a:ff:00:10:9c".parse().unwrap();
        assert_eq!(mac.to_string(), "02:0a:ff:00:10:9c");
    }

    #[test]
    fn what_is_no_mac_address_is_refused() {
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }
}
