//! A cluster in a few maps: the API server's part of the planner's world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ec2_sim::{
    Settings, World,
    spec::{GroupSpec, InstanceSpec, SubnetSpec, VpcSpec, WorldSpec},
};
use eniway_api::{
    DeviceIndex, Ec2State, InstanceId, NodeEni, NodeEniAttachment, NodeEniAttachmentStatus,
    NodeEniSpec, NodeStatus, SubnetPolicy, VpcId, mark,
};
use eniway_controller::{
    action::{Action, Look},
    desired::{Declared, Desired, Inputs, Node, Provider, desired},
    memory::{Creation, Memory},
    pace::Pace,
    plan::{Agent, Cluster, Now, Observed, Plan, plan},
};
use eniway_ec2::{Ec2 as _, Instances, Interfaces, Snapshot, Verdict};
use eniway_tests::door::{Clock, Door};
use futures::executor::block_on;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const UID: &str = "cluster-uid";
const GRACE: Duration = Duration::from_secs(60);
const CATALOG_PAUSE: Duration = Duration::from_secs(30);

/// NodeENIs (subnets, MatchZone?, device index, sourceDestCheck) on a number of nodes.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) node_enis: Vec<(Vec<usize>, bool, Option<u8>, bool)>,
    pub(super) nodes: usize,
    pub(super) seed: u64,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) declared: Vec<Declared>,
    pub(super) records: BTreeMap<String, NodeEniAttachment>,
    nodes: Vec<Node>,
    door: Door,
    cluster: Cluster,
    snapshot: Snapshot,
    memories: BTreeMap<String, Memory>,
    paces: BTreeMap<InstanceId, Pace>,
    start: Instant,
    passed: Duration,
    leading_since: Instant,
    uids: u32,
}

pub(super) fn said(actions: &[Action]) -> String {
    let lines: Vec<_> = actions.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

fn subnet(number: usize) -> String {
    format!("subnet-{number:08x}")
}

fn world(case: &Case) -> World {
    let zone = |number: usize| if number.is_multiple_of(2) { "a" } else { "b" }.to_owned();
    let cidr = |number: usize| {
        let third = u8::try_from(number).unwrap();
        ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), 24).unwrap()
    };
    let subnets = (0..4).map(|number| SubnetSpec {
        id: Some(ec2_sim::SubnetId::parse(&subnet(number)).unwrap()),
        vpc: None,
        zone: zone(number),
        cidr: cidr(number),
        ipv6_cidr: None,
        tags: BTreeMap::new(),
    });
    let instances = (0..case.nodes).map(|number| {
        let subnet = ec2_sim::SubnetId::parse(&subnet(number % 2)).unwrap();
        let mut instance = InstanceSpec::new("m5.4xlarge", &subnet);
        instance.id = Some(ec2_sim::InstanceId::parse(&instance_id(number)).unwrap());
        instance
    });
    WorldSpec {
        seed: case.seed,
        settings: Settings::default(),
        vpcs: vec![VpcSpec {
            id: Some(ec2_sim::VpcId::parse("vpc-00000001").unwrap()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            ipv6_cidr: None,
            tags: BTreeMap::new(),
        }],
        subnets: subnets.collect(),
        security_groups: vec![GroupSpec {
            id: Some(ec2_sim::GroupId::parse("sg-00000001").unwrap()),
            name: "multus".to_owned(),
            vpc: None,
            tags: BTreeMap::new(),
        }],
        instances: instances.collect(),
        ..WorldSpec::default()
    }
    .build(epoch())
    .unwrap()
}

fn instance_id(number: usize) -> String {
    format!("i-{number:08x}")
}

fn epoch() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

impl Model {
    pub(super) fn new(case: &Case) -> Self {
        let declared = (0..).zip(&case.node_enis).map(|(number, node_eni)| {
            let (subnets, match_zone, index, check) = node_eni;
            let spec = NodeEniSpec {
                node_selector: BTreeMap::from([("ng".to_owned(), "multi".to_owned())]),
                subnet_ids: subnets.iter().map(|s| subnet(*s).into()).collect(),
                subnet_policy: match_zone.then_some(SubnetPolicy::MatchZone),
                security_group_names: vec!["multus".to_owned()],
                device_index: index.map(DeviceIndex),
                source_dest_check: Some(*check),
                ..NodeEniSpec::default()
            };
            let mut node_eni = NodeEni::new(&format!("n{number}"), spec);
            node_eni.metadata.uid = Some(format!("node-eni-{number}"));
            Declared::Readable(Arc::new(node_eni))
        });
        let nodes = (0..case.nodes).map(|number| Node {
            name: format!("node{number}"),
            labels: BTreeMap::from([("ng".to_owned(), "multi".to_owned())]),
            provider: Provider::Instance(instance_id(number).as_str().into()),
        });
        let start = Instant::now();
        let mut model = Self {
            declared: declared.collect(),
            records: BTreeMap::new(),
            nodes: nodes.collect(),
            door: Door::new(world(case), Clock::Manual(Arc::new(Mutex::new(epoch())))),
            cluster: Cluster {
                name: "test".to_owned(),
                uid: UID.to_owned(),
            },
            snapshot: Snapshot::new(GRACE),
            memories: BTreeMap::new(),
            paces: BTreeMap::new(),
            start,
            passed: Duration::ZERO,
            leading_since: start,
            uids: 0,
        };
        model.crash();
        model
    }

    /// The nodes that are, and those that records name.
    pub(super) fn nodes(&self) -> Vec<String> {
        let known = self.nodes.iter().map(|node| &node.name);
        let recorded = self.records.values().map(|r| &r.spec.node_name);
        let names: BTreeSet<_> = known.chain(recorded).cloned().collect();
        names.into_iter().collect()
    }

    /// Kubernetes drops a node.
    pub(super) fn drop_node(&mut self, name: &str) -> Node {
        let place = self.nodes.iter().position(|node| node.name == name);
        self.nodes.remove(place.unwrap())
    }

    /// Kubernetes gets a node.
    pub(super) fn add_node(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// An instance ends, and Kubernetes drops its node.
    pub(super) fn lose(&mut self, name: &str) {
        let node = self.drop_node(name);
        let request = ec2_sim::Request::new("TerminateInstances")
            .with("InstanceId.1", node.instance().unwrap());
        let now = epoch() + self.passed;
        self.door.world().call(&request, now).unwrap();
    }

    fn now(&self) -> Instant {
        self.start + self.passed
    }

    fn pass(&mut self, time: Duration) {
        self.passed += time;
        self.door.pass(time);
    }

    /// Another process takes over: it knows what the API server and EC2 know.
    pub(super) fn crash(&mut self) {
        self.pass(Duration::from_secs(1));
        self.memories.clear();
        self.paces.clear();
        self.snapshot = Snapshot::new(GRACE);
        self.leading_since = self.now();
        self.read_all();
    }

    fn read_all(&mut self) {
        let begun = self.now();
        let vpc = VpcId::from("vpc-00000001");
        let enis = block_on(self.door.interfaces(&Interfaces::OfCluster(UID.to_owned())));
        self.snapshot.read_all_enis(enis.unwrap(), begun);
        let instances = block_on(self.door.instances(&Instances::Of(vpc.clone())));
        self.snapshot.read_all_instances(instances.unwrap(), begun);
        let subnets = block_on(self.door.subnets(&vpc)).unwrap();
        self.snapshot.subnets = subnets.into_iter().map(|s| (s.id.clone(), s)).collect();
        self.snapshot.groups = block_on(self.door.groups(&vpc)).unwrap();
        self.snapshot.catalog = Some(begun);
        self.snapshot.whole = Some(begun);
    }

    fn desired(&self, node: &str) -> (Desired, Vec<Arc<NodeEniAttachment>>) {
        let records: Vec<_> = self
            .records
            .values()
            .filter(|record| record.spec.node_name == node)
            .cloned()
            .map(Arc::new)
            .collect();
        let desired = desired(Inputs {
            node: self.nodes.iter().find(|known| known.name == node),
            declared: &self.declared,
            records: &records,
            snapshot: &self.snapshot,
            vpc: &"vpc-00000001".into(),
            promised: &BTreeMap::new(),
        });
        (desired, records)
    }

    pub(super) fn think(&self, node: &str) -> Plan {
        let (desired, records) = self.desired(node);
        let observed = Observed {
            records: &records,
            snapshot: &self.snapshot,
            memories: &self.memories,
            paces: &self.paces,
            agent: Agent::Alive,
            cluster: &self.cluster,
            grace: GRACE,
            catalog_pause: CATALOG_PAUSE,
            leading_since: self.leading_since,
        };
        let now = Now {
            monotonic: self.now(),
            wall: epoch(),
        };
        plan(&desired, observed, now)
    }

    /// One round for a node, cut off after `most` actions; whether anything was to do.
    pub(super) fn round(&mut self, node: &str, most: Option<usize>) -> bool {
        let plan = self.think(node);
        let most = most.unwrap_or(usize::MAX);
        for action in plan.actions.iter().take(most) {
            self.apply(action);
        }
        self.agent();
        !plan.actions.is_empty() || plan.wake.is_some()
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            let mut busy = false;
            for node in self.nodes() {
                busy |= self.round(&node, None);
            }
            if !busy {
                return;
            }
            self.pass(Duration::from_secs(1));
        }
        let left: Vec<_> = self
            .nodes()
            .iter()
            .map(|n| said(&self.think(n).actions))
            .collect();
        panic!("does not converge: {left:?}");
    }

    /// The nodes' agents release what is deleted.
    fn agent(&mut self) {
        for record in self.records.values_mut() {
            if record.metadata.deletion_timestamp.is_some() {
                let status = record.status.get_or_insert_default();
                status.node = Some(NodeStatus {
                    released: true,
                    ..NodeStatus::default()
                });
            }
        }
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::WriteRecord { name, spec } => {
                self.uids += 1;
                let mut record = NodeEniAttachment::new(name, (**spec).clone());
                let uid = format!("record-{}", self.uids);
                record.metadata.uid = Some(uid.clone());
                record.metadata.creation_timestamp = Some(Time(epoch()));
                self.memories.insert(uid, Memory::fresh());
                assert!(self.records.insert(name.clone(), record).is_none());
            }
            Action::ChangeRecord { name, spec } => {
                self.records.get_mut(name).unwrap().spec = (**spec).clone();
            }
            Action::DeleteRecord { name, .. } => {
                let record = self.records.get_mut(name).unwrap();
                record.metadata.deletion_timestamp = Some(Time(epoch()));
            }
            Action::Report { name, ec2, ready } => {
                let record = self.records.get_mut(name).unwrap();
                let status = record
                    .status
                    .get_or_insert_with(NodeEniAttachmentStatus::default);
                status.ec2 = Some((**ec2).clone());
                status.conditions = vec![(**ready).clone()];
            }
            Action::DropFinalizer { name } => {
                self.records.remove(name);
            }
            Action::Look(look) => self.look(look),
            Action::Create { .. }
            | Action::Attach { .. }
            | Action::Modify { .. }
            | Action::Detach { .. }
            | Action::Delete { .. } => self.call(action),
        }
    }

    fn look(&mut self, look: &Look) {
        let begun = self.now();
        match look {
            Look::Eni(id, uid) => {
                let found = block_on(self.door.interfaces(&Interfaces::These(vec![id.clone()])));
                self.snapshot
                    .confirm(std::slice::from_ref(id), found.unwrap(), begun);
                self.memories
                    .entry(uid.clone())
                    .or_default()
                    .pace
                    .looked(begun);
            }
            Look::Record(uid) => {
                let found = block_on(
                    self.door
                        .interfaces(&Interfaces::OfRecords(vec![uid.clone()])),
                );
                self.snapshot.read_enis(found.unwrap(), begun);
                self.memories.entry(uid.clone()).or_default().searched = Some(begun);
            }
            Look::Instance(id) => {
                let asked = std::slice::from_ref(id);
                let found = block_on(self.door.instances(&Instances::These(asked.to_vec())));
                self.snapshot.read_instances(asked, found.unwrap(), begun);
                self.paces.entry(id.clone()).or_default().looked(begun);
            }
            Look::Catalog => self.read_all(),
            Look::InstanceType(name) => {
                let types = block_on(self.door.instance_types(std::slice::from_ref(name)));
                let types = types.unwrap().into_iter().map(|t| (t.name.clone(), t));
                self.snapshot.types.extend(types);
            }
        }
    }

    fn call(&mut self, action: &Action) {
        let now = self.now();
        let result = match action {
            Action::Create { on, new } => block_on(self.door.create(new)).map(|eni| {
                let memory = self.memories.entry(on.uid.clone()).or_default();
                memory.creation = Creation::Answered(eni.id.clone());
                self.snapshot.created(eni, now);
            }),
            Action::Attach { new, .. } => {
                block_on(self.door.attach(new)).map(|id| self.snapshot.attached(new, id, now))
            }
            Action::Modify { eni, change, .. } => block_on(self.door.modify(eni, change))
                .map(|()| self.snapshot.modified(eni, change, now)),
            Action::Detach {
                eni,
                attachment,
                force,
                ..
            } => block_on(self.door.detach(attachment, *force))
                .map(|()| self.snapshot.detaching(eni, now)),
            Action::Delete { eni, .. } => {
                block_on(self.door.delete(eni)).map(|()| self.snapshot.deleted(eni, now))
            }
            other => unreachable!("{other}"),
        };
        if let Err(error) = result {
            assert_ne!(error.verdict(), Verdict::Invalid, "{action}: {error}");
            self.read_all();
        }
    }

    /// Our interfaces: record's UID and where it is attached.
    pub(super) fn ours(&self) -> BTreeSet<(String, Option<(String, u32)>)> {
        let world = self.door.world();
        world
            .interfaces()
            .filter_map(|eni| {
                let record = eni.tags.get(mark::TAG_ATTACHMENT)?.clone();
                let place = eni.attachment.as_ref();
                Some((
                    record,
                    place.map(|a| (a.instance.to_string(), a.slot.index)),
                ))
            })
            .collect()
    }

    /// Every wish has one interface, attached and reported, on its instance; and there is no other.
    pub(super) fn check_wishes(&self) {
        let mut wished = 0;
        for node in self.nodes() {
            for wish in self.desired(&node).0.wishes {
                let record = self
                    .records
                    .get(&wish.record)
                    .expect("every wish has a record");
                let ec2 = record.status.as_ref().and_then(|s| s.ec2.as_ref()).unwrap();
                if ec2.state != Ec2State::Attached {
                    // Only for want of places: m5.4xlarge holds eight.
                    let reason = &record.status.as_ref().unwrap().conditions[0].reason;
                    assert_eq!(reason, "InstanceLimitReached");
                    continue;
                }
                wished += 1;
                let id = ec2.eni_id.as_ref().unwrap();
                let world = self.door.world();
                let eni = world
                    .interfaces()
                    .find(|eni| eni.id.as_str() == id.as_str())
                    .unwrap();
                let attachment = eni.attachment.as_ref().unwrap();
                assert_eq!(
                    attachment.instance.as_str(),
                    record.spec.instance_id.as_str()
                );
                assert_eq!(
                    attachment.delete_on_termination,
                    wish.spec.delete_on_termination
                );
                assert_eq!(eni.source_dest_check, wish.spec.source_dest_check);
                assert_eq!(eni.subnet.as_str(), wish.spec.subnet_id.as_str());
            }
        }
        assert_eq!(self.ours().len(), wished, "no interface is left over");
    }

    /// Interfaces without our tag are as they were in the beginning.
    pub(super) fn check_others(&self, beginning: &Self) {
        let others = |model: &Self| {
            let world = model.door.world();
            let others = world
                .interfaces()
                .filter(|eni| !eni.tags.contains_key(mark::TAG_ATTACHMENT));
            others
                .map(|eni| (eni.id.to_string(), eni.tags.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(others(self), others(beginning));
    }
}
