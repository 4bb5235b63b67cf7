//! The API of eniway: its custom resources and the words that every part of the project uses.
//!
//! `NodeENI` is what a user wants, `NodeENIAttachment` is the record of one interface on one node.
//! The controller decides and writes the record's `spec` and `status.ec2`; the agent of that node
//! writes `status.node`. Nothing here talks to anybody: it is data.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod addressing;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats the struct inside a function, and columns repeat their types"
)]
pub mod attachment;
pub mod conditions;
pub mod crds;
pub mod data_path;
pub mod dpdk;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod elastic_ip;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats the struct inside a function, and columns repeat their types"
)]
pub mod eni_pool;
mod hash;
pub mod ids;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod interface;
pub mod mark;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats the struct inside a function, and columns repeat their types"
)]
pub mod node_eni;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod routes;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod selector;
#[expect(
    unreachable_pub,
    reason = "KubeSchema repeats the struct inside a function"
)]
pub mod steering;

pub use addressing::{AddressKind, Asked, Assigning, Ipv4Wish, Ipv6Wish};
pub use attachment::{
    Ec2State, Ec2Status, EgressCheck, NodeEniAttachment, NodeEniAttachmentSpec,
    NodeEniAttachmentStatus, NodeEniRef, NodePhase, NodeStatus, PoolPlace, XdpStatus,
};
pub use data_path::{ChannelPolicy, DataPath, Enforcement, MtuPolicy, XdpMode, XdpPolicy};
pub use dpdk::{Dpdk, DpdkOptions, DpdkStatus};
pub use elastic_ip::{ElasticIpClaim, ElasticIpWish};
pub use eni_pool::{Address, EniPool, EniPoolSpec, EniPoolStatus, PoolMember, PoolRef, PoolZone};
pub use ids::{
    AllocationId, AssociationId, AttachmentId, DeviceIndex, EniId, GroupId, InstanceId, MacAddress,
    RouteTableId, SubnetId, VpcId,
};
pub use interface::{Addressing, InterfaceWish, Routing, RpFilter};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use node_eni::{
    AttachmentSummary, DeletionPolicy, NodeEni, NodeEniSpec, NodeEniStatus, SubnetPolicy,
    UpdatePolicy,
};
pub use routes::{RouteStatus, VpcRoute};
pub use selector::{LabelValue, NodeSelectorExpression, SelectorOperator, TagSelector};
pub use steering::{Ports, Protocol, SteeringAction, SteeringKind, SteeringMatch, SteeringRule};
