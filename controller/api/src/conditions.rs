//! Conditions: their types and reasons, in one place, so that YAML, events and documents agree.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema as _, Schema, SchemaGenerator};

/// The type of the summary condition of every object.
pub const READY: &str = "Ready";
/// The type of the condition that answers a wish for DPDK.
pub const DPDK: &str = "DPDK";
/// The type of the condition that tells of the VPC's routes.
pub const ROUTES_READY: &str = "RoutesReady";
/// The type of the condition that names interfaces of J which nobody asks for any more.
pub const UNCLAIMED: &str = "UnclaimedInterfaces";

/// The type of the condition that says on which nodes the kubelet allows too many pods.
pub const MAX_PODS: &str = "MaxPodsTooHigh";

/// Reasons of conditions. What a user can do about each is in the condition's message.
pub mod reason {
    /// All that was asked for is there.
    pub const READY: &str = "Ready";
    /// Work is under way and nothing is wrong.
    pub const PROGRESSING: &str = "Progressing";
    /// No node has the labels.
    pub const NO_MATCHING_NODES: &str = "NoMatchingNodes";
    /// The object is being deleted; its interfaces go first.
    pub const RELEASING: &str = "Releasing";
    /// So many nodes would lose their interface that a person must confirm it.
    pub const MASS_RELEASE_HELD: &str = "MassReleaseHeld";
    /// A replacement waits until fewer nodes are without their interface.
    pub const UPDATE_HELD: &str = "UpdateHeld";
    /// DPDK has every device.
    pub const BOUND: &str = "Bound";
    /// A device is not bound yet, or cannot be.
    pub const NOT_BOUND: &str = "NotBound";
    /// Nothing keeps a program with the device from the memory of its node.
    pub const BOUND_WITHOUT_IOMMU: &str = "BoundWithoutIOMMU";
    /// Pods can ask for every interface.
    pub const OFFERED: &str = "Offered";
    /// Pods cannot ask for an interface yet.
    pub const NOT_OFFERED: &str = "NotOffered";
    /// J's controller runs in this cluster: eniway does nothing.
    pub const OTHER_CONTROLLER_ACTIVE: &str = "OtherControllerActive";
    /// J made an interface here, which eniway does not take over as things are.
    pub const ADOPTION_REQUIRED: &str = "AdoptionRequired";
    /// A route leads to an interface of ours that forwards nothing.
    pub const ROUTE_BLACKHOLE: &str = "RouteBlackhole";
    /// A route that was asked for leads to something that is not ours; it is left alone.
    pub const ROUTE_FOREIGN: &str = "RouteForeign";
    /// No such route table in the cluster's VPC.
    pub const ROUTE_TABLE_NOT_FOUND: &str = "RouteTableNotFound";
    /// No interface of the NodeENI is ready to take a route.
    pub const NO_READY_INTERFACE: &str = "NoReadyInterface";
    /// Routes lead to interfaces whose source/destination check drops what they bring.
    pub const SOURCE_DEST_CHECK_ON: &str = "SourceDestCheckOn";
    /// No such subnet in the cluster's VPC.
    pub const SUBNET_NOT_FOUND: &str = "SubnetNotFound";
    /// More than one subnet bears the name.
    pub const SUBNET_AMBIGUOUS: &str = "SubnetAmbiguous";
    /// No such security group in the cluster's VPC.
    pub const SECURITY_GROUP_NOT_FOUND: &str = "SecurityGroupNotFound";
    /// More than one security group bears the name.
    pub const SECURITY_GROUP_AMBIGUOUS: &str = "SecurityGroupAmbiguous";
    /// The subnet is in another zone than the node.
    pub const SUBNET_IN_OTHER_ZONE: &str = "SubnetInOtherZone";
    /// `MatchZone`, and no subnet of the list is in the node's zone.
    pub const NO_SUBNET_IN_ZONE: &str = "NoSubnetInZone";
    /// The subnet has no free address.
    pub const SUBNET_FULL: &str = "SubnetFull";
    /// Another interface has the address.
    pub const ADDRESS_TAKEN: &str = "AddressTaken";
    /// The address lies in none of the subnets.
    pub const ADDRESS_OUTSIDE_SUBNETS: &str = "AddressOutsideSubnets";
    /// An interface of the instance type holds no more addresses.
    pub const ADDRESS_LIMIT_REACHED: &str = "AddressLimitReached";
    /// Every Elastic IP that is asked for belongs to something else.
    pub const NO_FREE_ELASTIC_IP: &str = "NoFreeElasticIP";
    /// The account has no Elastic IP of that ID, or none with those tags.
    pub const ELASTIC_IP_NOT_FOUND: &str = "ElasticIPNotFound";
    /// Somebody else gave the interface a public address; it is left alone.
    pub const ELASTIC_IP_FOREIGN: &str = "ElasticIPForeign";
    /// Interfaces of eniway took places that the VPC CNI would use for the addresses of pods.
    pub const FEWER_ADDRESSES_FOR_PODS: &str = "FewerAddressesForPods";
    /// A pod uses what is to be taken away.
    pub const IN_USE: &str = "InUse";
    /// No ENIPool of that name, or it is being deleted.
    pub const POOL_NOT_FOUND: &str = "PoolNotFound";
    /// Every member of the pool in the node's zone is in use.
    pub const POOL_EXHAUSTED: &str = "PoolExhausted";
    /// No interface bears the tags of the pool.
    pub const POOL_EMPTY: &str = "PoolEmpty";
    /// A member of the pool could not be made.
    pub const MEMBER_NOT_CREATED: &str = "MemberNotCreated";
    /// The instance type holds no more interfaces.
    pub const INSTANCE_LIMIT_REACHED: &str = "InstanceLimitReached";
    /// Every device index of the card is taken.
    pub const NO_FREE_DEVICE_INDEX: &str = "NoFreeDeviceIndex";
    /// The instance type does not give an interface so many ENA queues, or lets nobody choose.
    pub const ENA_QUEUES_NOT_AVAILABLE: &str = "EnaQueuesNotAvailable";
    /// The instance is not running yet.
    pub const INSTANCE_PENDING: &str = "InstancePending";
    /// The node's provider ID names no EC2 instance.
    pub const NODE_WITHOUT_INSTANCE: &str = "NodeWithoutInstance";
    /// EC2 refuses for a while; work goes on slower.
    pub const THROTTLED: &str = "Throttled";
    /// EC2 failed; the call is repeated.
    pub const EC2_UNAVAILABLE: &str = "EC2Unavailable";
    /// EC2 does not allow the call.
    pub const NOT_AUTHORIZED: &str = "NotAuthorized";
    /// EC2 calls the request invalid.
    pub const INVALID_REQUEST: &str = "InvalidRequest";
    /// The node's agent has not answered yet, or is silent.
    pub const AGENT_SILENT: &str = "AgentSilent";
    /// The node's agent reports a failure.
    pub const NODE_FAILED: &str = "NodeFailed";
    /// The record was written by a newer release than the agent's.
    pub const AGENT_TOO_OLD: &str = "AgentTooOld";
}

/// The schema of a list of conditions, which server-side apply merges by `type`.
pub(crate) fn list_map(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Vec::<Condition>::json_schema(generator);
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".into(),
        ["type"].as_slice().into(),
    );
    schema
}
