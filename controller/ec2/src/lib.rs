//! The EC2 door: what eniway asks of EC2, in eniway's words.
//!
//! [`Ec2`] is the question, `aws::Aws` the answer of the real service, [`Paced`] the manners:
//! token buckets, deadlines, a log line for each call. [`Snapshot`] is what EC2 last said.
#![forbid(unsafe_code)]

#[cfg(feature = "aws")]
pub mod aws;
pub mod error;
pub mod instance_types;
pub mod model;
pub mod paced;
pub mod queue;
pub mod routes;
pub mod snapshot;
pub mod tags;
pub mod throttle;

use std::collections::{BTreeMap, BTreeSet};

use eniway_api::{
    AllocationId, Asked, AssociationId, AttachmentId, EniId, InstanceId, SubnetId, VpcId,
};
use futures::future::BoxFuture;
use ipnet::IpNet;

pub use crate::{
    error::{Error, Verdict},
    model::{
        Association, Attachment, AttachmentState, Change, ElasticIp, EnaQueues, Eni, Group,
        Instance, InstanceState, InstanceType, NewAttachment, NewEni, Occupied, Subnet,
    },
    paced::{Observer, Paced, Right},
    routes::{Route, RouteChange, RouteDeed, RouteTable, RouteTarget},
    snapshot::Snapshot,
    tags::Tags,
    throttle::Throttle,
};

/// The EC2 actions that eniway uses, by the names that EC2, its quotas and our metrics give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    DescribeAddresses,
    DescribeInstances,
    DescribeInstanceTypes,
    DescribeNetworkInterfaces,
    DescribeRouteTables,
    DescribeSecurityGroups,
    DescribeSubnets,
    CreateNetworkInterface,
    AttachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    DetachNetworkInterface,
    DeleteNetworkInterface,
    CreateTags,
    DeleteTags,
    AssignPrivateIpAddresses,
    UnassignPrivateIpAddresses,
    AssignIpv6Addresses,
    UnassignIpv6Addresses,
    AssociateAddress,
    DisassociateAddress,
    CreateRoute,
    ReplaceRoute,
    DeleteRoute,
}

impl Call {
    /// Every action, in no order that means anything.
    pub const ALL: [Self; 23] = [
        Self::DescribeAddresses,
        Self::DescribeInstances,
        Self::DescribeInstanceTypes,
        Self::DescribeNetworkInterfaces,
        Self::DescribeRouteTables,
        Self::DescribeSecurityGroups,
        Self::DescribeSubnets,
        Self::CreateNetworkInterface,
        Self::AttachNetworkInterface,
        Self::ModifyNetworkInterfaceAttribute,
        Self::DetachNetworkInterface,
        Self::DeleteNetworkInterface,
        Self::CreateTags,
        Self::DeleteTags,
        Self::AssignPrivateIpAddresses,
        Self::UnassignPrivateIpAddresses,
        Self::AssignIpv6Addresses,
        Self::UnassignIpv6Addresses,
        Self::AssociateAddress,
        Self::DisassociateAddress,
        Self::CreateRoute,
        Self::ReplaceRoute,
        Self::DeleteRoute,
    ];

    /// The call that gives an interface what is asked for, which is of one family.
    #[must_use]
    pub fn assigning(asked: &Asked) -> Self {
        if asked.ipv4_places() > 0 {
            Self::AssignPrivateIpAddresses
        } else {
            Self::AssignIpv6Addresses
        }
    }

    /// The call that takes these off an interface; they are of one family.
    #[must_use]
    pub fn unassigning(entries: &BTreeSet<IpNet>) -> Self {
        match entries.first() {
            Some(IpNet::V6(_)) => Self::UnassignIpv6Addresses,
            Some(IpNet::V4(_)) | None => Self::UnassignPrivateIpAddresses,
        }
    }

    /// Whether the action changes anything; such a call is made once and never repeated blindly.
    #[must_use]
    pub const fn mutates(self) -> bool {
        match self {
            Self::DescribeAddresses
            | Self::DescribeInstances
            | Self::DescribeInstanceTypes
            | Self::DescribeNetworkInterfaces
            | Self::DescribeRouteTables
            | Self::DescribeSecurityGroups
            | Self::DescribeSubnets => false,
            Self::CreateNetworkInterface
            | Self::AttachNetworkInterface
            | Self::ModifyNetworkInterfaceAttribute
            | Self::DetachNetworkInterface
            | Self::DeleteNetworkInterface
            | Self::CreateTags
            | Self::DeleteTags
            | Self::AssignPrivateIpAddresses
            | Self::UnassignPrivateIpAddresses
            | Self::AssignIpv6Addresses
            | Self::UnassignIpv6Addresses
            | Self::AssociateAddress
            | Self::DisassociateAddress
            | Self::CreateRoute
            | Self::ReplaceRoute
            | Self::DeleteRoute => true,
        }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Which instances are asked for. One that EC2 does not know is absent from the answer, no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instances {
    /// All of a network.
    Of(VpcId),
    /// These; at most [`MAX_FILTER_VALUES`].
    These(Vec<InstanceId>),
}

/// Which interfaces are asked for. One that EC2 does not know is absent from the answer, no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// All that bear this cluster's UID.
    OfCluster(String),
    /// Those that bear the UID of one of these records; at most [`MAX_FILTER_VALUES`].
    OfRecords(Vec<String>),
    /// Those that bear all of these tags, and that no service of AWS has.
    WithTags(BTreeMap<String, String>),
    /// These; at most [`MAX_FILTER_VALUES`].
    These(Vec<EniId>),
}

/// Which subnets are asked for. One that EC2 does not know is absent from the answer, no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subnets {
    /// All of a network.
    Of(VpcId),
    /// These; at most [`MAX_FILTER_VALUES`].
    These(Vec<SubnetId>),
}

/// How many values EC2 takes in one filter (API reference, `Filter`).
pub const MAX_FILTER_VALUES: usize = 200;

/// The future of an answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// EC2, as far as eniway needs it. Reads return every page.
pub trait Ec2: Send + Sync + 'static {
    /// The instances, with every occupied device index.
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>>;
    /// The interfaces.
    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>>;
    /// The interfaces, page by page: all of a fleet at once take much memory. After an error nothing is known of
    /// what was not taken yet, and a repetition begins anew.
    fn interfaces_by_page<'a>(
        &'a self,
        which: &'a Interfaces,
        take: &'a (dyn Fn(Vec<Eni>) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            take(self.interfaces(which).await?);
            Ok(())
        })
    }
    /// The subnets.
    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>>;
    /// The security groups of a network.
    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>>;
    /// The route tables of a network.
    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>>;
    /// The limits of instance types.
    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>>;
    /// Creates an interface, with its tags; the same token gives the same interface.
    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni>;
    /// Begins an attachment.
    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId>;
    /// Changes one attribute.
    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()>;
    /// Gives an interface these tags, beside those that it has.
    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()>;
    /// Takes the tags with these keys off an interface; at least one, for EC2 takes none as all.
    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()>;
    /// Gives an interface addresses or prefixes of one family, and says which are new. Repeated, it
    /// gives more: nothing makes two calls one.
    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>>;
    /// Takes addresses and prefixes of one family off an interface.
    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()>;
    /// The Elastic IPs of the account.
    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>>;
    /// Gives the primary address of an interface an Elastic IP that nothing has; repeated, it gives the
    /// same association.
    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId>;
    /// Ends the association of an Elastic IP.
    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()>;
    /// Begins a detachment.
    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()>;
    /// Deletes an interface that is attached to nothing.
    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()>;
    /// Changes one route.
    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()>;
}
