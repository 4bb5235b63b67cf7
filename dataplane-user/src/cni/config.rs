//! What a network's configuration says to the plugin.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use super::message::{Failure, VERSIONS, code};

/// Where the agent answers, unless the configuration says otherwise.
const SOCKET: &str = "/run/eniway/agent.sock";

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) cni_version: String,
    pub(super) name: String,
    /// The ENI's ID, or a name of its interface.
    pub(super) parent: String,
    /// What goes by the ENI; absent: its subnet.
    pub(super) routes: Option<Vec<IpNet>>,
    /// Bytes; absent: as the ENI.
    pub(super) mtu: Option<u32>,
    pub(super) socket: PathBuf,
    /// Addresses that this pod asks for.
    pub(super) wanted: Vec<IpAddr>,
    /// Addresses that an earlier ADD has given.
    pub(super) given: Vec<IpAddr>,
    /// Attachments that the runtime knows: container and interface.
    pub(super) valid: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    cni_version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    interface: String,
    routes: Option<Vec<Destination>>,
    mtu: Option<u32>,
    socket: Option<PathBuf>,
    ipam: Option<serde_json::Value>,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    prev_result: Option<Previous>,
    #[serde(rename = "cni.dev/valid-attachments", default)]
    valid: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Destination {
    dst: IpNet,
}

#[derive(Default, Deserialize)]
struct RuntimeConfig {
    /// Bare addresses, or with the length of their network.
    #[serde(default)]
    ips: Vec<String>,
}

#[derive(Deserialize)]
struct Previous {
    #[serde(default)]
    ips: Vec<PreviousIp>,
}

#[derive(Deserialize)]
struct PreviousIp {
    address: IpNet,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

impl Network {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            Failure::new(code::UNREADABLE, format!("read the configuration: {error}"))
        })?;
        if !VERSIONS.contains(&file.cni_version.as_str()) {
            let message = format!(
                "cniVersion is {}: {} are known",
                file.cni_version,
                VERSIONS.join(", ")
            );
            return Err(Failure::new(code::INCOMPATIBLE, message));
        }
        let invalid = |message: String| Failure::new(code::INVALID, message);
        if file.interface.is_empty() {
            let message = "interface is missing: the name that the NodeENI gives by interface.name, or an ENI's ID";
            return Err(invalid(message.to_owned()));
        }
        if file.ipam.is_some_and(|ipam| ipam != serde_json::json!({})) {
            let message = "ipam is not for this plugin: a pod has an address that EC2 gave the ENI, and no other \
                           would be let through; ask for one of them by runtimeConfig.ips";
            return Err(invalid(message.to_owned()));
        }
        let wanted = file.runtime_config.ips.iter().map(|text| {
            let bare = text.split('/').next().unwrap_or_default();
            bare.parse()
                .map_err(|error| invalid(format!("runtimeConfig.ips: {text}: {error}")))
        });
        let given = file.prev_result.map(|previous| previous.ips);
        let given = given.unwrap_or_default();
        let routes = file.routes;
        Ok(Self {
            wanted: wanted.collect::<Result<_, _>>()?,
            given: given.iter().map(|ip| ip.address.addr()).collect(),
            cni_version: file.cni_version,
            name: file.name,
            parent: file.interface,
            routes: routes.map(|routes| routes.iter().map(|route| route.dst).collect()),
            mtu: file.mtu,
            socket: file.socket.unwrap_or_else(|| SOCKET.into()),
            valid: file
                .valid
                .into_iter()
                .map(|one| (one.container_id, one.ifname))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read() {
        let network = Network::parse(
            r#"{"cniVersion": "1.0.0", "name": "fast", "type": "eniway", "interface": "multus-fast",
                "routes": [{"dst": "10.0.0.0/16"}], "runtimeConfig": {"ips": ["10.0.1.17/24", "10.0.1.18"]},
                "prevResult": {"ips": [{"address": "10.0.1.17/32"}], "interfaces": []}}"#,
        )
        .unwrap();
        assert_eq!(network.parent, "multus-fast");
        assert_eq!(network.routes.unwrap(), ["10.0.0.0/16".parse().unwrap()]);
        let addresses: [IpAddr; 2] = ["10.0.1.17", "10.0.1.18"].map(|text| text.parse().unwrap());
        assert_eq!(network.wanted, addresses);
        assert_eq!(network.given, addresses[..1]);
        assert_eq!(network.socket, PathBuf::from(SOCKET));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| Network::parse(text).unwrap_err().to_string();
        let cases = [
            ("{", "read the configuration"),
            (
                r#"{"cniVersion": "0.1.0", "interface": "a"}"#,
                "cniVersion is 0.1.0",
            ),
            (r#"{"cniVersion": "1.0.0"}"#, "interface is missing"),
            (
                r#"{"cniVersion": "1.0.0", "interface": "a", "ipam": {"type": "host-local"}}"#,
                "ipam is not for this plugin",
            ),
            (
                r#"{"cniVersion": "1.0.0", "interface": "a", "runtimeConfig": {"ips": ["a"]}}"#,
                "runtimeConfig.ips: a",
            ),
        ];
        for (text, part) in cases {
            let said = wrong(text);
            assert!(said.contains(part), "{said}");
        }
    }
}
