//! A cluster in a few maps: the API server's part of the planner's world.

mod addresses;
mod checks;
mod subnets;
mod tags;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ec2_sim::Settings;
use eniway_api::{
    DeviceIndex, Ec2Status, InstanceId, NodeEni, NodeEniAttachment, NodeEniAttachmentStatus,
    NodeEniSpec, NodePhase, NodeStatus, SubnetPolicy, VpcId,
};
use eniway_controller::{
    action::{Action, Look},
    desired::{Declared, Desired, Inputs, Node, Pools, Provider, desired},
    elastic_ips::Choices,
    holders::Pod,
    memory::{Assignment, Creation, Memory},
    pace::Pace,
    plan::{Agent, Cluster, Now, Observed, Plan, plan},
    rivals::rivals,
    status,
};
use eniway_ec2::{Ec2 as _, Instances, Interfaces, Snapshot, Subnets, Verdict};
use futures::executor::block_on;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use simulation::door::{Clock, Door};

use simulation::small_cloud::{epoch, instance_id, subnet, world};

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
    /// Of every node.
    pub(super) pods: Vec<Pod>,
    /// Whether the answers of EC2 calls are lost.
    pub(super) loses_answers: bool,
    start: Instant,
    passed: Duration,
    leading_since: Instant,
    uids: u32,
}

pub(super) fn said(actions: &[Action]) -> String {
    let lines: Vec<_> = actions.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl Model {
    pub(super) fn new(case: &Case) -> Self {
        Self::with(case, Settings::default())
    }

    pub(super) fn with(case: &Case, settings: Settings) -> Self {
        let declared = (0..).zip(&case.node_enis).map(|(number, node_eni)| {
            let (subnets, match_zone, index, check) = node_eni;
            let spec = NodeEniSpec {
                node_selector: BTreeMap::from([("ng".to_owned(), "multi".to_owned())]),
                subnet_ids: subnets.iter().map(|s| subnet(*s).into()).collect(),
                subnet_policy: match_zone.then_some(SubnetPolicy::MatchZone),
                security_group_names: vec!["multus".to_owned()],
                device_index: index.map(DeviceIndex),
                source_dest_check: Some(*check),
                tags: tags::said(&BTreeMap::from([("team".to_owned(), "packets".to_owned())])),
                ..NodeEniSpec::default()
            };
            let mut node_eni = NodeEni::new(&format!("n{number}"), spec);
            node_eni.metadata.uid = Some(format!("node-eni-{number}"));
            Declared::Readable(Arc::new(node_eni))
        });
        let nodes = (0..case.nodes).map(|number| Node {
            name: format!("node{number}"),
            labels: BTreeMap::from([("ng".to_owned(), "multi".to_owned())]),
            provider: Provider::Instance(instance_id(number, 0).as_str().into()),
            ..Node::default()
        });
        let start = Instant::now();
        let mut model = Self {
            declared: declared.collect(),
            records: BTreeMap::new(),
            nodes: nodes.collect(),
            door: Door::new(
                world("m5.4xlarge", case.nodes, case.seed, settings),
                Clock::Manual(Arc::new(Mutex::new(epoch()))),
            ),
            cluster: Cluster {
                name: "test".to_owned(),
                uid: UID.to_owned(),
            },
            snapshot: Snapshot::new(GRACE),
            memories: BTreeMap::new(),
            paces: BTreeMap::new(),
            pods: Vec::new(),
            loses_answers: false,
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

    pub(super) fn pass(&mut self, time: Duration) {
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
        let subnets = block_on(self.door.subnets(&Subnets::Of(vpc.clone()))).unwrap();
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
            adopt: true,
            pools: &Pools::default(),
        });
        (desired, records)
    }

    pub(super) fn think(&self, node: &str) -> Plan {
        let (desired, records) = self.desired(node);
        let all = self.records.iter();
        let all = all.map(|(name, record)| (name.clone(), Arc::new(record.clone())));
        let all = all.collect();
        let observed = Observed {
            records: &records,
            snapshot: &self.snapshot,
            memories: &self.memories,
            paces: &self.paces,
            agent: Agent::Alive,
            pods: Some(&self.pods),
            rivals: &rivals(&records, &all),
            elastic_ips: &Choices::new(),
            cluster: &self.cluster,
            grace: GRACE,
            release_within: Duration::from_secs(600),
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
        let agent_works = self.agent();
        agent_works || !plan.actions.is_empty() || plan.wake.is_some()
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

    /// The nodes' agents release what is deleted, and take a while to set up what is attached; whether
    /// they had anything to do.
    fn agent(&mut self) -> bool {
        let mut works = false;
        for record in self.records.values_mut() {
            let released = record.metadata.deletion_timestamp.is_some();
            let attached = status::attached(record);
            let status = record.status.get_or_insert_default();
            let phase = status.node.as_ref().map(|node| node.phase);
            let next = NodeStatus {
                released,
                phase: match phase {
                    _ if released => NodePhase::Released,
                    None if attached => NodePhase::Pending,
                    Some(NodePhase::Pending) => NodePhase::Configuring,
                    Some(NodePhase::Configuring) => NodePhase::Ready,
                    None | Some(_) => continue,
                },
                ..NodeStatus::default()
            };
            works |= status.node.as_ref() != Some(&next);
            status.node = Some(next);
        }
        works
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
                let begun = |ec2: &Ec2Status| ec2.assigning.clone();
                if status.ec2.as_ref().and_then(begun) != ec2.assigning {
                    let uid = record.metadata.uid.clone().unwrap();
                    let memory = self.memories.entry(uid).or_default();
                    memory.assignment = match ec2.assigning {
                        Some(_) => Assignment::Untried,
                        None => Assignment::Unknown,
                    };
                }
                status.ec2 = Some((**ec2).clone());
                status.conditions = vec![(**ready).clone()];
            }
            Action::DropFinalizer { name } => {
                self.records.remove(name);
            }
            // The node itself is no part of a plan.
            Action::LabelNode { .. }
            | Action::AnnotateNode { .. }
            | Action::Taint { .. }
            | Action::Untaint { .. } => {}
            Action::Look(look) => self.look(look),
            Action::Create { .. }
            | Action::Attach { .. }
            | Action::Modify { .. }
            | Action::Tag { .. }
            | Action::Untag { .. }
            | Action::Assign { .. }
            | Action::Unassign { .. }
            | Action::Associate { .. }
            | Action::Disassociate { .. }
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
            Look::ElasticIps => {
                let all = block_on(self.door.elastic_ips()).unwrap();
                self.snapshot.elastic_ips.told(all, begun);
            }
            Look::InstanceType(name) => {
                let types = block_on(self.door.instance_types(std::slice::from_ref(name)));
                let types = types.unwrap().into_iter().map(|t| (t.name.clone(), t));
                self.snapshot.types.extend(types);
            }
        }
    }

    fn call(&mut self, action: &Action) {
        let now = self.now();
        let before = self.begins(action);
        if self.loses_answers {
            return self.lose_answer(action, before);
        }
        let result = match action {
            Action::Create { on, new } => block_on(self.door.create(new)).map(|eni| {
                let memory = self.memories.entry(on.uid.clone()).or_default();
                memory.creation = Creation::Answered(eni.id.clone());
                memory.was_assigned(eni.secondary().copied());
                self.snapshot.created(eni, now);
            }),
            Action::Attach { new, .. } => {
                block_on(self.door.attach(new)).map(|id| self.snapshot.attached(new, id, now))
            }
            Action::Modify { eni, change, .. } => block_on(self.door.modify(eni, change))
                .map(|()| self.snapshot.modified(eni, change, now)),
            Action::Tag { eni, tags, .. } => block_on(self.door.tag(eni, tags))
                .map(|()| self.snapshot.tagged(eni, tags.clone(), now)),
            Action::Untag { eni, keys, .. } => block_on(self.door.untag(eni, keys))
                .map(|()| self.snapshot.untagged(eni, keys, now)),
            Action::Assign { on, eni, asked } => {
                block_on(self.door.assign(eni, asked)).map(|entries| {
                    self.snapshot.assigned(eni, &entries, now);
                    let memory = self.memories.entry(on.uid.clone()).or_default();
                    memory.was_assigned(entries);
                })
            }
            Action::Unassign { eni, entries, .. } => block_on(self.door.unassign(eni, entries))
                .map(|()| self.snapshot.unassigned(eni, entries, now)),
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
            self.refused(action, before, &error);
            assert_ne!(error.verdict(), Verdict::Invalid, "{action}: {error}");
            self.read_all();
        }
    }
}
