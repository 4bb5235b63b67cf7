//! What the data path of an interface is asked to do, and what it answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The wish for the XDP and TC programs of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataPath {
    /// Where the ingress check runs. `Auto`: native XDP if the driver takes it as the interface is,
    /// else the same check on TC. `Native`: native XDP or nothing. `Generic`: XDP on socket buffers,
    /// for tests. `Off`: TC only. Default `Auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<XdpPolicy>,
    /// What happens to a packet that fails the check. `Enforce`: dropped and counted. `Audit`: passed
    /// and counted. `Off`: not checked. Default `Enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
}

/// Where the ingress check is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum XdpPolicy {
    /// Native XDP if the driver takes it, else TC ingress.
    #[default]
    Auto,
    /// Native XDP, or the interface fails.
    Native,
    /// Generic XDP (on socket buffers), only on request.
    Generic,
    /// No XDP: TC ingress.
    Off,
}

/// What happens to a packet that fails the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// Dropped and counted.
    #[default]
    Enforce,
    /// Passed, and counted as a packet that `Enforce` would drop.
    Audit,
    /// Passed unchecked.
    Off,
}

/// Where the ingress check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum XdpMode {
    /// In the driver, before a socket buffer exists.
    Native,
    /// On socket buffers, as XDP.
    Generic,
    /// On TC ingress: there is no XDP program.
    Tc,
}

impl std::fmt::Display for Enforcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

impl std::fmt::Display for XdpMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}
