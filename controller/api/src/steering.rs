//! Steering rules: what becomes of packets that arrive and passed the check.

use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr};

use ipnet::IpNet;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One rule. The first one that matches a packet counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SteeringRule {
    /// The packets that are meant. Empty: all.
    #[serde(default)]
    pub r#match: SteeringMatch,
    /// What becomes of them.
    pub action: SteeringAction,
}

/// Packets. All that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(!has(self.sourcePorts) && !has(self.destinationPorts)) || (has(self.protocol) && self.protocol in ['TCP', 'UDP', 'SCTP'])").message("ports are those of a protocol: name TCP, UDP or SCTP beside them"))]
pub struct SteeringMatch {
    /// Whom they are from: a prefix, IPv4 or IPv6. Absent: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "prefix")]
    pub source: Option<IpNet>,
    /// Whom they are for. Absent: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "prefix")]
    pub destination: Option<IpNet>,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or the number of another one. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Ports and ranges of them, as `80` and `8000-8999`. A fragment has no ports, and neither has a packet
    /// with IPv4 options or IPv6 extension headers: they match no rule that names some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub source_ports: Vec<Ports>,
    /// As `sourcePorts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub destination_ports: Vec<Ports>,
}

/// What becomes of the packets of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Redirect') == has(self.interface)").message("Redirect needs an interface, and nothing else takes one"))]
#[x_kube(validation = Rule::new("(self.type == 'Cpu') == has(self.cpus)").message("Cpu needs cpus, and nothing else takes them"))]
#[x_kube(validation = Rule::new("(self.type == 'Socket') == has(self.queues)").message("Socket needs queues, and nothing else takes them"))]
pub struct SteeringAction {
    /// `Pass`: to the stack. `Drop`: they end here. `Redirect`: out of another interface of the node, as the
    /// node's routing table says. `Cpu`: to the stack on another CPU. `Socket`: to an AF_XDP socket.
    pub r#type: SteeringKind,
    /// The interface's name on the node. A packet that the routing table leads elsewhere goes to the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// Among them the packets are spread by their addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 128), inner(range(max = 1023)), extend("x-kubernetes-list-type" = "set"))]
    pub cpus: Vec<u32>,
    /// Receive queues whose packets go to the sockets that are bound to them. While there is none, the stack
    /// has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(range(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub queues: Vec<u32>,
}

/// What can become of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SteeringKind {
    /// To the stack.
    #[default]
    Pass,
    /// It ends here.
    Drop,
    /// Out of another interface.
    Redirect,
    /// To the stack on another CPU.
    Cpu,
    /// To an AF_XDP socket.
    Socket,
}

/// A protocol above IP, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

/// The names that are written (IANA, Protocol Numbers).
const NAMES: [(&str, u8); 5] = [
    ("ICMP", 1),
    ("TCP", 6),
    ("UDP", 17),
    ("ICMPv6", 58),
    ("SCTP", 132),
];

/// A port, or several that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(name, _)| *name == text);
        let number = named
            .map(|(_, number)| *number)
            .or_else(|| text.parse().ok());
        let number = number.ok_or_else(|| {
            format!(
                "`{text}` is no protocol: name TCP, UDP, SCTP, ICMP, ICMPv6, or a number up to 255"
            )
        })?;
        Ok(Self(number))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.0.start(), self.0.end());
        if start == end {
            return start.fmt(f);
        }
        write!(f, "{start}-{end}")
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        match (start.parse::<u16>(), end.parse::<u16>()) {
            (Ok(start), Ok(end)) if start <= end => Ok(Self(start..=end)),
            _ => Err(format!(
                "`{text}` is no port, nor a range of ports like 8000-8999"
            )),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.start() == self.0.end() {
            return serializer.serialize_u16(*self.0.start());
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            One(u16),
            Text(String),
        }
        match Said::deserialize(deserializer)? {
            Said::One(port) => Ok(Self(port..=port)),
            Said::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for Protocol {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Protocol".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 6, "pattern": "^(TCP|UDP|SCTP|ICMP|ICMPv6|[0-9]{1,3})$"})
    }
}

impl JsonSchema for Ports {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "minimum": 0, "maximum": 65535,
            "maxLength": 11, "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"})
    }
}

/// Close enough for a typing error to be seen by the API server; the rest is read more closely.
fn prefix(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 49,
        "pattern": "^(([0-9]{1,3}\\.){3}[0-9]{1,3}/([12]?[0-9]|3[0-2])|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/(1[01][0-9]|12[0-8]|[1-9]?[0-9]))$"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_its_text() {
        let text = r#"{"match":{"source":"10.0.0.0/8","protocol":"TCP","destinationPorts":[80,"8000-8999"]},"action":{"type":"Cpu","cpus":[1,2]}}"#;
        let rule: SteeringRule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.r#match.protocol, Some(Protocol(6)));
        assert_eq!(rule.r#match.destination_ports[1], Ports(8000..=8999));
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
    }

    #[test]
    fn what_is_no_protocol_or_port_is_refused() {
        for text in ["tcp", "256", "-1", ""] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
        for text in ["65536", "9-8", "-", "1-2-3", "http"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        assert_eq!("89".parse::<Protocol>().unwrap().to_string(), "89");
    }
}
