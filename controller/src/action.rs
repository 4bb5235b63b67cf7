//! What is to be done, as data: `plan` writes it, `apply` carries it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eniway_api::{
    AllocationId, Asked, AssociationId, AttachmentId, Ec2Status, EniId, InstanceId,
    NodeEniAttachmentSpec, NodeEniRef, mark,
};
use eniway_ec2::{Change, NewAttachment, NewEni};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::desired::{Taint, Unwanted};

/// One step. Its operands are known; what depends on its result comes in the next round.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write the record, before EC2 is called.
    WriteRecord {
        name: String,
        spec: Box<NodeEniAttachmentSpec>,
    },
    /// Change a record's spec.
    ChangeRecord {
        name: String,
        spec: Box<NodeEniAttachmentSpec>,
    },
    /// Ask for a record's deletion; its finalizer keeps it until the interface is gone.
    DeleteRecord { name: String, why: Unwanted },
    /// Write what EC2 answered into the record's status.
    Report {
        name: String,
        ec2: Box<Ec2Status>,
        ready: Box<Condition>,
    },
    /// Let the record go: EC2 confirmed that nothing of it is left.
    DropFinalizer { name: String },
    /// Create the interface.
    Create { on: Target, new: Box<NewEni> },
    /// Attach it.
    Attach { on: Target, new: NewAttachment },
    /// Change one of its attributes.
    Modify {
        on: Target,
        eni: EniId,
        change: Change,
    },
    /// Give it tags.
    Tag {
        on: Target,
        eni: EniId,
        tags: BTreeMap<String, String>,
    },
    /// Take tags off it.
    Untag {
        on: Target,
        eni: EniId,
        keys: BTreeSet<String>,
    },
    /// Give it addresses or prefixes of one family.
    Assign {
        on: Target,
        eni: EniId,
        asked: Asked,
    },
    /// Take addresses and prefixes of one family off it.
    Unassign {
        on: Target,
        eni: EniId,
        entries: BTreeSet<IpNet>,
    },
    /// Give its primary address an Elastic IP.
    Associate {
        on: Target,
        eni: EniId,
        address: AllocationId,
    },
    /// Take its Elastic IP off it.
    Disassociate {
        on: Target,
        eni: EniId,
        address: AllocationId,
        association: AssociationId,
    },
    /// Detach it.
    Detach {
        on: Target,
        eni: EniId,
        attachment: AttachmentId,
        force: bool,
        /// The node's agent has set it up, and has not said that it took that away.
        unreleased: bool,
    },
    /// Delete it.
    Delete { on: Target, eni: EniId },
    /// Say on the node which NodeENIs are fulfilled there: `true` sets the label, `false` takes it off.
    LabelNode {
        name: String,
        uid: String,
        labels: BTreeMap<String, bool>,
    },
    /// Write the node's interfaces on it, or take that off.
    AnnotateNode {
        name: String,
        uid: String,
        interfaces: Option<String>,
    },
    /// Put the taint on the node that says that a program may have a device without an IOMMU.
    Taint { name: String, uid: String },
    /// Take the start-up taint off the node: its interfaces are ready. Or the one above, when no program may any more.
    Untaint {
        name: String,
        uid: String,
        taints: Vec<Taint>,
    },
    /// Look at EC2 again. Looks of many nodes become one read.
    Look(Look),
}

/// Which record, and whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The record's name.
    pub record: String,
    /// The record's UID.
    pub uid: String,
    pub node: String,
    pub node_eni: NodeEniRef,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// An instance that no read showed, or that is on its way to another state.
    Instance(InstanceId),
    /// An interface that changes by itself, or that a whole read lacked; with its record's UID.
    Eni(EniId, String),
    /// The interfaces that bear a record's UID.
    Record(String),
    /// Subnets and security groups.
    Catalog,
    /// The limits of an instance type.
    InstanceType(String),
    /// The Elastic IPs of the account.
    ElasticIps,
}

impl Action {
    /// Whether it changes anything outside; looking does not.
    #[must_use]
    pub const fn changes_something(&self) -> bool {
        !matches!(self, Self::Look(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteRecord { name, .. } => write!(f, "write the record {name}"),
            Self::ChangeRecord { name, .. } => write!(f, "change the record {name}"),
            Self::DeleteRecord { name, why } => write!(f, "delete the record {name}: {why}"),
            Self::Report { name, ec2, .. } => write!(f, "report {name} as {:?}", ec2.state),
            Self::DropFinalizer { name } => write!(f, "let the record {name} go"),
            Self::Create { on, new } => {
                write!(f, "create an interface in {} for {}", new.subnet, on.record)
            }
            Self::Attach { new, .. } => write!(
                f,
                "attach {} to {} at {}",
                new.eni, new.instance, new.device_index
            ),
            Self::Modify { eni, change, .. } => match change {
                Change::DeleteOnTermination(_, value) => {
                    write!(f, "set deleteOnTermination of {eni} to {value}")
                }
                Change::EnaQueueCount(_, count) => {
                    write!(f, "set enaQueueCount of {eni} to {count}")
                }
                Change::SourceDestCheck(value) => {
                    write!(f, "set sourceDestCheck of {eni} to {value}")
                }
                Change::Groups(_) => write!(f, "set the security groups of {eni}"),
                Change::Description(_) => write!(f, "set the description of {eni}"),
            },
            Self::Tag { eni, tags, .. } => {
                write!(f, "set the tags {} of {eni}", listed(tags.keys()))
            }
            Self::Untag { eni, keys, .. } => {
                write!(f, "take the tags {} off {eni}", listed(keys))
            }
            Self::Assign { eni, asked, .. } => match asked.addresses.as_slice() {
                [] => {
                    let count = asked.ipv4_places() + asked.ipv6_places();
                    let prefixes = asked.prefixes + asked.ipv6_prefixes;
                    write!(
                        f,
                        "assign {count} more to {eni}, {prefixes} of them prefixes"
                    )
                }
                named => write!(f, "assign {} to {eni}", listed(named)),
            },
            Self::Unassign { eni, entries, .. } => {
                write!(f, "take {} off {eni}", listed(entries))
            }
            Self::Associate { eni, address, .. } => write!(f, "associate {address} with {eni}"),
            Self::Disassociate { eni, address, .. } => write!(f, "take {address} off {eni}"),
            Self::Detach {
                eni,
                force,
                unreleased,
                ..
            } => {
                let how = if *force { "force-detach" } else { "detach" };
                let though = if *unreleased {
                    ", which its node's agent has not released,"
                } else {
                    ""
                };
                write!(f, "{how} {eni}{though}")
            }
            Self::Delete { eni, .. } => write!(f, "delete {eni}"),
            Self::LabelNode { name, labels, .. } => {
                let said = labels.iter().map(|(key, set)| {
                    let sign = if *set { '+' } else { '-' };
                    format!("{sign}{key}")
                });
                write!(f, "label node {name}: {}", listed(said))
            }
            Self::AnnotateNode {
                name,
                interfaces: Some(_),
                ..
            } => write!(f, "write its interfaces on node {name}"),
            Self::AnnotateNode { name, .. } => write!(f, "write no interfaces on node {name}"),
            Self::Taint { name, .. } => {
                write!(f, "put the taint {} on node {name}", mark::TAINT_UNSAFE)
            }
            Self::Untaint { name, taints, .. } => {
                let keys: Vec<_> = taints.iter().map(|taint| taint.key.as_str()).collect();
                write!(f, "take the taint {} off node {name}", keys.join(", "))
            }
            Self::Look(Look::Instance(id)) => write!(f, "look at {id}"),
            Self::Look(Look::Eni(id, _)) => write!(f, "look at {id}"),
            Self::Look(Look::Record(uid)) => write!(f, "look for interfaces of record {uid}"),
            Self::Look(Look::Catalog) => f.write_str("look at subnets and security groups"),
            Self::Look(Look::ElasticIps) => f.write_str("look at Elastic IPs"),
            Self::Look(Look::InstanceType(name)) => write!(f, "look at the limits of {name}"),
        }
    }
}

fn listed(things: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let things: Vec<String> = things.into_iter().map(|one| one.to_string()).collect();
    things.join(", ")
}
