//! The simulator's model behind the controller's EC2 door, without HTTP and without the AWS client.
//!
//! Mutations go through the simulated API, with its faults, limits and counters; reads are counted
//! and can fail there, and then show what readers see by now.

mod addresses;
mod elastic_ips;
mod queue;
mod routes;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ec2_sim::{Request, Response, Server, World};
use eniway_api::{AllocationId, Asked, AssociationId, AttachmentId, EniId, VpcId, mark};
use eniway_ec2::{
    Answer, Call, Change, Ec2, ElasticIp, EnaQueues, Eni, Error, Group, Instance, InstanceType,
    Instances, Interfaces, NewAttachment, NewEni, RouteChange, RouteTable, Subnet, Subnets,
};
use ipnet::IpNet;
use jiff::Timestamp;

pub use self::queue::QUEUE;
use self::words::{cidrs, created, free_addresses, instance, interface};

/// A world, wherever it lives, behind the controller's door.
#[derive(Clone)]
pub struct Door<P = Here> {
    place: P,
}

/// Where a world lives: in this process, or behind the server of a lab.
pub trait Place: Clone + Send + Sync + 'static {
    /// Looks into the world or changes it, at its own time.
    fn visit<T>(&self, visit: impl FnOnce(&mut World, Timestamp) -> T) -> T;
}

/// A world of this process's own, and its clock.
#[derive(Clone)]
pub struct Here {
    world: Arc<Mutex<World>>,
    clock: Clock,
}

/// Where the time of a world comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    Real,
    /// As a function says, such as tokio's paused clock.
    Given(fn() -> Timestamp),
    /// Stands still until it is set.
    Manual(Arc<Mutex<Timestamp>>),
}

impl Place for Here {
    fn visit<T>(&self, visit: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match &self.clock {
            Clock::Real => Timestamp::now(),
            Clock::Given(clock) => clock(),
            Clock::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        };
        world.advance(now);
        visit(&mut world, now)
    }
}

impl Place for Server {
    fn visit<T>(&self, visit: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        self.with_world(visit)
    }
}

impl Door {
    #[must_use]
    pub fn new(world: World, clock: Clock) -> Self {
        let world = Arc::new(Mutex::new(world));
        Self {
            place: Here { world, clock },
        }
    }

    /// The world, as it is now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.place.visit(|_, _| ());
        let world = self.place.world.lock();
        world.unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass for a manual clock.
    pub fn pass(&self, time: Duration) {
        if let Clock::Manual(now) = &self.place.clock {
            *now.lock().unwrap_or_else(PoisonError::into_inner) += time;
        }
    }
}

impl Door<Server> {
    /// The door to the EC2 of a lab, whose nodes get what is attached.
    #[must_use]
    pub fn of(server: Server) -> Self {
        Self { place: server }
    }
}

impl<P: Place> Door<P> {
    /// Answers and refusals as a client gets them, after the world's latency.
    async fn ask(&self, call: Call, request: Request) -> Result<Response, Error> {
        let reply = self.place.visit(|world, now| world.serve(&request, now));
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        reply.answer.map_err(|error| match error {
            ec2_sim::Error::Api(error) => Error::Refused {
                call,
                code: error.code,
                message: error.message,
            },
            ec2_sim::Error::Html { status } => Error::Garbled {
                call,
                status,
                detail: "<html>".to_owned(),
            },
            ec2_sim::Error::ConnectionLost => Error::Unreachable {
                call,
                source: "connection closed before an answer".into(),
            },
        })
    }

    async fn read<T>(&self, call: Call, look: impl FnOnce(&World) -> T) -> Result<T, Error> {
        // Asks as a reader does, and for nothing: what there is, is seen without a page of XML.
        let request = Request::new(&call.to_string())
            .with("MaxResults", 1000)
            .with("Filter.1.Name", "vpc-id")
            .with("Filter.1.Value.1", "vpc-00000000");
        self.ask(call, request).await?;
        Ok(self.place.visit(|world, _| look(world)))
    }

    async fn create(&self, new: &NewEni) -> Result<Eni, Error> {
        let call = Call::CreateNetworkInterface;
        let mut request = Request::new(&call.to_string())
            .with("SubnetId", &new.subnet)
            .with("Description", &new.description)
            .with("ClientToken", &new.client_token)
            .with("TagSpecification.1.ResourceType", "network-interface");
        if let Some(primary) = new.primary {
            request = request.with("PrivateIpAddress", primary);
        }
        for (number, group) in (1..).zip(&new.groups) {
            request = request.with(&format!("SecurityGroupId.{number}"), group);
        }
        request = addresses::beside_primary(request, &new.asked);
        for (number, (key, value)) in (1..).zip(&new.tags) {
            request = request
                .with(&format!("TagSpecification.1.Tag.{number}.Key"), key)
                .with(&format!("TagSpecification.1.Tag.{number}.Value"), value);
        }
        let response = self.ask(call, request).await?;
        let missing = Error::Incomplete {
            call,
            missing: "networkInterfaceId",
        };
        let id = response.first("networkInterfaceId").ok_or(missing)?;
        let found = self.place.visit(|world, _| {
            let mut all = world.interfaces();
            all.find(|eni| eni.id.as_str() == id).map(interface)
        });
        // A repeated request is answered as the first one was, whatever has become of the interface.
        Ok(found.unwrap_or_else(|| created(id, new)))
    }

    async fn modify(&self, eni: &EniId, change: &Change) -> Result<(), Error> {
        let call = Call::ModifyNetworkInterfaceAttribute;
        let request = Request::new(&call.to_string()).with("NetworkInterfaceId", eni);
        let request = match change {
            Change::DeleteOnTermination(attachment, value) => request
                .with("Attachment.AttachmentId", attachment)
                .with("Attachment.DeleteOnTermination", value),
            Change::EnaQueueCount(attachment, count) => request
                .with("Attachment.AttachmentId", attachment)
                .with("Attachment.EnaQueueCount", count),
            Change::SourceDestCheck(value) => request.with("SourceDestCheck.Value", value),
            Change::Groups(groups) => {
                let mut request = request;
                for (number, group) in (1..).zip(groups) {
                    request = request.with(&format!("SecurityGroupId.{number}"), group);
                }
                request
            }
            Change::Description(text) => request.with("Description.Value", text),
        };
        self.ask(call, request).await.map(drop)
    }
}

impl<P> fmt::Debug for Door<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl<P: Place> Ec2 for Door<P> {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        Box::pin(self.read(Call::DescribeInstances, |world| {
            let asked = |found: &&ec2_sim::Instance| match which {
                Instances::Of(vpc) => found.vpc.as_str() == vpc.as_str(),
                Instances::These(ids) => ids.iter().any(|id| id.as_str() == found.id.as_str()),
            };
            world.seen_instances().filter(asked).map(instance).collect()
        }))
    }

    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        Box::pin(self.read(Call::DescribeNetworkInterfaces, |world| {
            let tagged = |found: &ec2_sim::Interface, key: &str, values: &[String]| {
                found
                    .tags
                    .get(key)
                    .is_some_and(|value| values.contains(value))
            };
            let asked = |found: &&ec2_sim::Interface| match which {
                Interfaces::OfCluster(uid) => {
                    tagged(found, mark::TAG_CLUSTER_UID, std::slice::from_ref(uid))
                }
                Interfaces::OfRecords(uids) => tagged(found, mark::TAG_ATTACHMENT, uids),
                Interfaces::WithTags(tags) => tags
                    .iter()
                    .all(|(key, value)| tagged(found, key, std::slice::from_ref(value))),
                Interfaces::These(ids) => ids.iter().any(|id| id.as_str() == found.id.as_str()),
            };
            world
                .seen_interfaces()
                .filter(asked)
                .map(interface)
                .collect()
        }))
    }

    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>> {
        Box::pin(async move {
            let call = Call::DescribeSubnets;
            let request = Request::new(&call.to_string());
            let free = self.ask(call, request).await?;
            let described = |subnet: &ec2_sim::model::Subnet| Subnet {
                id: subnet.id.as_str().into(),
                vpc: subnet.vpc.as_str().into(),
                zone: subnet.zone.clone(),
                cidrs: cidrs(subnet),
                free_addresses: free_addresses(&free.body, subnet.id.as_str()),
                tags: subnet.tags.clone(),
            };
            Ok(self.place.visit(|world, _| {
                let asked = |subnet: &&ec2_sim::model::Subnet| match which {
                    Subnets::Of(vpc) => subnet.vpc.as_str() == vpc.as_str(),
                    Subnets::These(ids) => ids.iter().any(|id| id.as_str() == subnet.id.as_str()),
                };
                world.subnets().filter(asked).map(described).collect()
            }))
        })
    }

    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        Box::pin(self.read(Call::DescribeSecurityGroups, |world| {
            let of_vpc = world.groups().filter(|g| g.vpc.as_str() == vpc.as_str());
            of_vpc
                .map(|group| Group {
                    id: group.id.as_str().into(),
                    name: group.name.clone(),
                    tags: group.tags.clone(),
                })
                .collect()
        }))
    }

    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>> {
        Box::pin(self.read_route_tables(vpc))
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>> {
        Box::pin(async {
            let call = Call::DescribeInstanceTypes;
            self.ask(call, Request::new(&call.to_string())).await?;
            let known: BTreeMap<_, _> = self.place.visit(|world, _| {
                let limits = world.instances().map(|instance| instance.limits);
                limits.map(|limits| (limits.name, limits)).collect()
            });
            let count = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
            let asked = names.iter().filter_map(|name| known.get(name.as_str()));
            Ok(asked
                .map(|limits| InstanceType {
                    name: limits.name.to_owned(),
                    interfaces: count(limits.max_interfaces),
                    cards: limits.cards.iter().copied().map(count).collect(),
                    ipv4_addresses: count(limits.ipv4_per_interface),
                    ipv6_addresses: count(limits.ipv6_per_interface),
                    ena_queues: limits.queues.map_or(EnaQueues::Fixed, |queues| {
                        EnaQueues::Flexible(count(queues.most))
                    }),
                })
                .collect())
        })
    }

    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()> {
        Box::pin(self.change_route(change))
    }

    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni> {
        Box::pin(self.create(new))
    }

    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId> {
        Box::pin(async {
            let call = Call::AttachNetworkInterface;
            let request = Request::new(&call.to_string())
                .with("NetworkInterfaceId", &new.eni)
                .with("InstanceId", &new.instance)
                .with("DeviceIndex", new.device_index)
                .with("NetworkCardIndex", new.network_card_index);
            let request = match new.ena_queue_count {
                Some(count) => request.with("EnaQueueCount", count),
                None => request,
            };
            let response = self.ask(call, request).await?;
            let missing = Error::Incomplete {
                call,
                missing: "attachmentId",
            };
            Ok(response.first("attachmentId").ok_or(missing)?.into())
        })
    }

    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()> {
        Box::pin(self.modify(eni, change))
    }

    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::CreateTags;
            let mut request = Request::new(&call.to_string()).with("ResourceId.1", eni);
            for (number, (key, value)) in (1..).zip(tags) {
                request = request
                    .with(&format!("Tag.{number}.Key"), key)
                    .with(&format!("Tag.{number}.Value"), value);
            }
            self.ask(call, request).await.map(drop)
        })
    }

    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DeleteTags;
            let mut request = Request::new(&call.to_string()).with("ResourceId.1", eni);
            for (number, key) in (1..).zip(keys) {
                request = request.with(&format!("Tag.{number}.Key"), key);
            }
            self.ask(call, request).await.map(drop)
        })
    }

    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>> {
        Box::pin(self.assign(eni, asked))
    }

    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()> {
        Box::pin(self.unassign(eni, entries))
    }

    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>> {
        Box::pin(self.elastic_ips())
    }

    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId> {
        Box::pin(self.associate(address, eni))
    }

    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()> {
        Box::pin(self.disassociate(association))
    }

    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DetachNetworkInterface;
            let request = Request::new(&call.to_string())
                .with("AttachmentId", attachment)
                .with("Force", force);
            self.ask(call, request).await.map(drop)
        })
    }

    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DeleteNetworkInterface;
            let request = Request::new(&call.to_string()).with("NetworkInterfaceId", eni);
            self.ask(call, request).await.map(drop)
        })
    }
}
