//! What a node does with an interface beside guarding it: its name, its addresses, its routes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_path::{Switch, switch};

/// The wish for an interface in its node's network. Absent: the node's network is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.routing) && self.routing == 'Policy') || (has(self.addressing) && self.addressing != 'None')").message("routing: Policy takes addressing: Host or Pods: a route needs an address to send from"))]
pub struct InterfaceWish {
    /// An alternative name of the interface, for NetworkAttachmentDefinitions and people; it stays the same on
    /// every node, whatever the kernel calls the interface. Where a node gets several interfaces, `-` and the
    /// place of the subnet in the list are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = "^[a-zA-Z0-9][a-zA-Z0-9._-]*$")
    )]
    pub name: Option<String>,
    /// `Host`: the node has the interface's addresses; those of its prefixes are for pods. `Pods`: the node has the
    /// first address of each family, and all others are for pods, which get them by the CNI plugin `eniway`. `None`:
    /// somebody else gives addresses. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// `Policy`: what is sent from the interface's addresses leaves through it, by a routing table of its own; the
    /// node's other routes stay as they are. `None`: no routes. Default `Policy`, unless `addressing` is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// The check of what arrives by the route back (sysctl rp_filter), unless `addressing` is `None`. `Loose`: some
    /// interface leads to the sender. `Strict`: this one does. `Off`: none. Default `Loose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp_filter: Option<RpFilter>,
}

/// Who has the addresses of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Addressing {
    /// Somebody else.
    #[default]
    None,
    /// The node.
    Host,
    /// The node has the first, and its pods have the others.
    Pods,
}

/// How the node routes what is sent from the interface's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Routing {
    /// Not by eniway.
    None,
    /// Through the interface.
    Policy,
}

/// The check of what arrives by the route back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum RpFilter {
    /// Some interface leads to the sender.
    #[default]
    Loose,
    /// The interface leads to the sender.
    Strict,
    /// None.
    Off,
}

impl Switch for RpFilter {
    const NAME: &'static str = "RpFilter";
    const OFF: Self = Self::Off;
    const ALL: &'static [Self] = &[Self::Loose, Self::Strict, Self::Off];
}
switch!(RpFilter);
