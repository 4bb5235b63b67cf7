//! The marks by which eniway knows what is its own: tags, finalizers, leases and field managers.
//!
//! Their values are fixed from the first day: what bears another mark is never touched.

use crate::hash;

/// Tag: the cluster's name (chart value `clusterName`).
pub const TAG_CLUSTER: &str = "eniway.io/cluster";
/// Tag: the UID of the namespace kube-system, which no two clusters share.
pub const TAG_CLUSTER_UID: &str = "eniway.io/cluster-uid";
/// Tag: the UID of the NodeENI.
pub const TAG_NODE_ENI_UID: &str = "eniway.io/nodeeni-uid";
/// Tag: the UID of the record (NodeENIAttachment).
pub const TAG_ATTACHMENT: &str = "eniway.io/attachment";
/// Tag: what the interface is for; see [`Role`].
pub const TAG_ROLE: &str = "eniway.io/role";
/// Tag: when it was created, RFC 3339. EC2 does not tell an interface's age.
pub const TAG_CREATED_AT: &str = "eniway.io/created-at";
/// Tag: the name of the ENIPool that eniway made the interface for. With the address it says which member
/// it is, so a pool that is made anew finds what the old one left.
pub const TAG_POOL: &str = "eniway.io/pool";
/// Tag that keeps the VPC CNI away from an interface; its value must be `true`.
pub const TAG_NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";
/// Tag that the VPC CNI gives to the interfaces that it makes.
pub const TAG_VPC_CNI: &str = "node.k8s.amazonaws.com/instance_id";

/// J's tags, for those who look for them.
pub mod peer {
    /// `nodeeni-<NodeENI>-<node>-<last 8 of the subnet>`.
    pub const TAG_NAME: &str = "Name";
    /// The NodeENI's name.
    pub const TAG_NODE_ENI: &str = "NodeENI";
    /// The node's name.
    pub const TAG_NODE: &str = "Node";
    /// The subnet.
    pub const TAG_SUBNET: &str = "SubnetID";
    /// Its value is [`MANAGED_BY`].
    pub const TAG_MANAGED_BY: &str = "kubernetes.io/cluster/managed-by";
    /// The value of [`TAG_MANAGED_BY`].
    pub const MANAGED_BY: &str = "nodeeni-controller";
    /// The lease of J's controller: while it is renewed, eniway does nothing.
    pub const LEASE: &str = "nodeeni-controller-leader-election";
    /// The Deployment of J's controller.
    pub const DEPLOYMENT: &str = "eni-controller";
    /// The namespace in which J's chart puts its controller.
    pub const NAMESPACE: &str = "eni-controller-system";
}

/// What an interface is for, as the tag [`TAG_ROLE`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It belongs to a record and goes with it.
    Attachment,
    /// Its record is gone, or on its way, and the user wanted to keep it: nobody touches it any more.
    Retained,
    /// It is a member of an ENIPool, and some node has it, or eniway made it.
    Pool,
}

impl Role {
    /// The tag's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attachment => "attachment",
            Self::Retained => "retained",
            Self::Pool => "pool",
        }
    }
}

/// The finalizer of NodeENI; J's, so that both products understand an object.
pub const FINALIZER_NODE_ENI: &str = "nodeeni.networking.k8s.aws/finalizer";
/// The finalizer of NodeENIAttachment. It stays while an interface of ours may exist.
pub const FINALIZER_ATTACHMENT: &str = "eniway.io/attachment";
/// The finalizer of ENIPool. It stays while a record has a member, and while a member is to be deleted.
pub const FINALIZER_POOL: &str = "eniway.io/pool";
/// Annotation on a record: release the interface although it is in use.
pub const ANNOTATION_FORCE_RELEASE: &str = "eniway.io/force-release";
/// Annotation on a NodeENI: so many nodes may lose their interface at once.
pub const ANNOTATION_CONFIRM_RELEASE: &str = "eniway.io/confirm-release";

/// Taint that a node registers with; taken off once its interfaces are ready, and never put on.
pub const TAINT_NOT_READY: &str = "eniway.io/not-ready";
/// Taint of a node on which a program may have a device without an IOMMU: only pods that accept that come.
pub const TAINT_UNSAFE: &str = "eniway.io/unsafe-no-iommu";
/// Annotation of a node with its interfaces, for applications.
pub const ANNOTATION_INTERFACES: &str = "eniway.io/interfaces";
/// What the labels begin with that say which NodeENIs are fulfilled on a node; see [`ready_label`].
pub const LABEL_READY: &str = "ready.eniway.io/";

/// The label on a node that says that the NodeENI's interfaces are ready there.
///
/// The part after the slash holds 63 characters: a longer name is cut, and a hash tells it from others.
#[must_use]
pub fn ready_label(node_eni: &str) -> String {
    const LONGEST: usize = 63;
    if node_eni.len() <= LONGEST {
        return format!("{LABEL_READY}{node_eni}");
    }
    let hash = hash::short([node_eni]);
    let stem = &node_eni[..LONGEST - 1 - hash.len()];
    format!("{LABEL_READY}{stem}-{hash}")
}

/// Field manager of the controller.
pub const CONTROLLER: &str = "eniway-controller";
/// Field manager of the controller for what it says of routes, which another task writes.
pub const CONTROLLER_ROUTES: &str = "eniway-controller-routes";
/// Field manager of the agents.
pub const AGENT: &str = "eniway-agent";
/// The controllers' lease, in their own namespace.
pub const LEASE_CONTROLLER: &str = "eniway-controller";

/// The name of the lease by which the agent of `node` says that it is alive; in the chart's namespace.
#[must_use]
pub fn agent_lease(node: &str) -> String {
    format!("eniway-agent-{node}")
}
