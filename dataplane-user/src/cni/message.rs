//! What the plugin says to the runtime, in each version of the specification.

use std::{fmt, net::IpAddr};

use eniway_api::MacAddress;
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};

/// Those that are understood.
pub(super) const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
pub(super) const NEWEST: &str = "1.1.0";

/// Error codes: up to 99 the specification's, then ours.
pub(super) mod code {
    pub(in super::super) const INCOMPATIBLE: u32 = 1;
    pub(in super::super) const ENVIRONMENT: u32 = 4;
    pub(in super::super) const UNREADABLE: u32 = 6;
    pub(in super::super) const INVALID: u32 = 7;
    pub(in super::super) const TRY_AGAIN: u32 = 11;
    pub(in super::super) const UNAVAILABLE: u32 = 50;
    /// The kernel refuses.
    pub(in super::super) const KERNEL: u32 = 100;
    /// The ENI has no such place.
    pub(in super::super) const REFUSED: u32 = 101;
    /// What an ADD has made is not there.
    pub(in super::super) const MISSING: u32 = 102;
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: u32,
    message: String,
}

/// What a pod has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    pub(super) interfaces: Vec<Interface>,
    pub(super) ips: Vec<Ip>,
    pub(super) routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    name: String,
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ip {
    pub(super) address: IpNet,
    pub(super) gateway: IpAddr,
    /// Which of the interfaces has it.
    pub(super) interface: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Route {
    pub(super) dst: IpNet,
    pub(super) gw: IpAddr,
}

/// The answer to VERSION.
pub(super) fn versions() -> String {
    json!({"cniVersion": NEWEST, "supportedVersions": VERSIONS}).to_string()
}

impl Failure {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    pub(super) fn text(&self, version: &str) -> String {
        json!({"cniVersion": version, "code": self.code, "msg": self.message}).to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Interface {
    /// `sandbox`: its namespace; `None`: the node's.
    pub(super) fn new(name: &str, mac: [u8; 6], sandbox: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            mac: MacAddress(mac).to_string(),
            sandbox: sandbox.map(str::to_owned),
        }
    }
}

impl Outcome {
    pub(super) fn text(&self, version: &str) -> String {
        let mut value = json!(self);
        value["cniVersion"] = version.into();
        if version.starts_with("0.") {
            let ips = value["ips"].as_array_mut();
            for (ip, said) in self.ips.iter().zip(ips.into_iter().flatten()) {
                let family = if ip.address.addr().is_ipv4() {
                    "4"
                } else {
                    "6"
                };
                said["version"] = Value::from(family);
            }
        }
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_runtime_is_told_the_family() {
        let outcome = Outcome {
            interfaces: vec![Interface::new(
                "net1",
                [2, 0, 0, 0, 0, 1],
                Some("/run/netns/a"),
            )],
            ips: vec![Ip {
                address: "10.0.1.17/32".parse().unwrap(),
                gateway: "169.254.1.1".parse().unwrap(),
                interface: 0,
            }],
            routes: Vec::new(),
        };
        let new = r#"{"cniVersion":"1.0.0","interfaces":[{"mac":"02:00:00:00:00:01","name":"net1","sandbox":"/run/netns/a"}],"ips":[{"address":"10.0.1.17/32","gateway":"169.254.1.1","interface":0}],"routes":[]}"#;
        assert_eq!(outcome.text("1.0.0"), new);
        assert!(outcome.text("0.4.0").contains(r#""version":"4""#));
    }
}
