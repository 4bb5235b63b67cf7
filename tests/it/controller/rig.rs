//! A real API server, a simulated EC2, and controllers that live and die at the test's word.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ec2_sim::{
    Fault, GroupSpec, InstanceSpec, Interface, Settings, SubnetSpec, VpcSpec, WorldSpec,
};
use eniway_api::{Ec2State, NodeEni, NodeEniAttachment, NodeEniStatus, mark};
use eniway_controller::{Config, config::Timing};
use eniway_tests::door::{Clock, Door};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Node},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lab::Lab;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "eniway-system";

/// What a test has in its hands. Needs root.
pub(super) struct Rig {
    lab: Lab,
    nodes: usize,
    settings: Settings,
    runtime: Option<tokio::runtime::Runtime>,
}

/// The same, while it runs.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) door: Door,
}

/// What the API server holds.
pub(super) struct State {
    pub(super) node_enis: BTreeMap<String, NodeEni>,
    pub(super) records: BTreeMap<String, NodeEniAttachment>,
}

impl State {
    pub(super) fn attached(&self) -> usize {
        let attached = |record: &&NodeEniAttachment| {
            let ec2 = record
                .status
                .as_ref()
                .and_then(|status| status.ec2.as_ref());
            ec2.is_some_and(|ec2| ec2.state == Ec2State::Attached)
        };
        self.records.values().filter(attached).count()
    }

    pub(super) fn status(&self, name: &str) -> NodeEniStatus {
        let node_eni = self.node_enis.get(name);
        node_eni.and_then(|n| n.status.clone()).unwrap_or_default()
    }

    pub(super) fn reason(&self, name: &str) -> String {
        let conditions = self.status(name).conditions;
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready");
        ready.map(|ready| ready.reason).unwrap_or_default()
    }
}

fn parse<T>(id: Result<T, ec2_sim::ApiError>) -> Option<T> {
    Some(id.unwrap())
}

/// Nodes are in zone b, a, b, …; subnet `…f` is in another VPC, two are named `twice`.
fn world(nodes: usize, settings: Settings) -> WorldSpec {
    let subnet = |id: &str, vpc: &str, zone: &str, third: u8, name: &str| SubnetSpec {
        id: parse(ec2_sim::SubnetId::parse(id)),
        vpc: parse(ec2_sim::VpcId::parse(vpc)),
        zone: zone.to_owned(),
        cidr: ipnet::Ipv4Net::new(
            Ipv4Addr::new(10, if vpc.ends_with('1') { 0 } else { 1 }, third, 0),
            22,
        )
        .unwrap(),
        ipv6_cidr: None,
        tags: BTreeMap::from([("Name".to_owned(), name.to_owned())]),
    };
    let vpc = |id: &str, cidr: &str| VpcSpec {
        id: parse(ec2_sim::VpcId::parse(id)),
        cidr: cidr.parse().unwrap(),
        ipv6_cidr: None,
        tags: BTreeMap::new(),
    };
    let primary = [("subnet-00000001", "a"), ("subnet-00000002", "b")];
    let instances = (1..=nodes).map(|number| {
        let (subnet, _) = primary[number % 2];
        let subnet = ec2_sim::SubnetId::parse(subnet).unwrap();
        let mut instance = InstanceSpec::new("m5.large", &subnet);
        instance.id = parse(ec2_sim::InstanceId::parse(&instance_id(number)));
        instance
    });
    WorldSpec {
        settings,
        vpcs: vec![
            vpc("vpc-00000001", "10.0.0.0/16"),
            vpc("vpc-00000002", "10.1.0.0/16"),
        ],
        subnets: vec![
            subnet("subnet-00000001", "vpc-00000001", "a", 0, "twice"),
            subnet("subnet-00000002", "vpc-00000001", "b", 4, "twice"),
            subnet("subnet-0000000a", "vpc-00000001", "a", 8, "multus-a"),
            subnet("subnet-0000000b", "vpc-00000001", "b", 12, "multus-b"),
            subnet("subnet-0000000f", "vpc-00000002", "b", 0, "foreign"),
        ],
        security_groups: vec![GroupSpec {
            id: parse(ec2_sim::GroupId::parse("sg-00000001")),
            name: "multus".to_owned(),
            vpc: parse(ec2_sim::VpcId::parse("vpc-00000001")),
            tags: BTreeMap::new(),
        }],
        instances: instances.collect(),
        ..WorldSpec::default()
    }
}

fn instance_id(number: usize) -> String {
    format!("i-{number:08x}")
}

impl Rig {
    pub(super) fn new(nodes: usize) -> Self {
        Self::with(nodes, Settings::default())
    }

    pub(super) fn with(nodes: usize, settings: Settings) -> Self {
        let lab = Lab::start(lab::Config::control_plane_only(), &|line| {
            println!("{line}");
        })
        .expect("needs root and the programs of lab::requirements");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            lab,
            nodes,
            settings,
            runtime: Some(runtime),
        }
    }

    pub(super) fn run(mut self, test: impl AsyncFnOnce(&Running)) {
        let runtime = self.runtime.take().unwrap();
        runtime.block_on(async {
            let running = self.start().await;
            test(&running).await;
        });
        runtime.shutdown_background();
    }

    async fn start(&self) -> Running {
        let file = kube::config::Kubeconfig::read_from(self.lab.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        eniway_controller::kubernetes::apply_crds(&client)
            .await
            .unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in [NAMESPACE, mark::peer::NAMESPACE] {
            let namespace = json!({"metadata": {"name": name}});
            let namespace = serde_json::from_value(namespace).unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        let world = world(self.nodes, self.settings.clone());
        let running = Running {
            client,
            door: Door::new(world.build(Timestamp::now()).unwrap(), Clock::Real),
        };
        for number in 1..=self.nodes {
            let provider = format!("aws:///zone/{}", instance_id(number));
            running
                .node(&format!("node{number}"), Some(&provider))
                .await;
        }
        running
    }
}

/// A controller at work. Dropping it is a crash.
pub(super) struct Controller {
    task: JoinHandle<Result<(), eniway_controller::Error>>,
    shutdown: CancellationToken,
}

impl Controller {
    /// Ends it as SIGTERM does.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Clocks for a test: everything that is a minute in the world is a second here.
pub(super) fn config() -> Config {
    let mut config = Config::embedded("test");
    config.timing = Timing {
        whole_read: Duration::from_secs(1),
        catalog: Duration::from_secs(5),
        catalog_on_request: Duration::from_millis(500),
        grace: Duration::from_secs(2),
        gather: Duration::from_millis(20),
        status: Duration::from_millis(100),
        peer: Duration::from_secs(1),
        lease: Duration::from_secs(4),
        acting: Duration::from_secs(2),
        renewal: Duration::from_secs(1),
    };
    config
}

impl Running {
    pub(super) fn controller(&self) -> Controller {
        self.controller_with(config(), self.client.clone(), self.door.clone())
    }

    pub(super) fn elected(&self, identity: &str) -> Controller {
        let config = Config {
            leader_election: true,
            identity: identity.to_owned(),
            ..config()
        };
        self.controller_with(config, self.client.clone(), self.door.clone())
    }

    pub(super) fn controller_with(
        &self,
        config: Config,
        client: Client,
        ec2: impl eniway_ec2::Ec2,
    ) -> Controller {
        let shutdown = CancellationToken::new();
        let run = eniway_controller::run(config, client, ec2, shutdown.clone());
        Controller {
            task: tokio::spawn(run),
            shutdown,
        }
    }

    pub(super) async fn node(&self, name: &str, provider: Option<&str>) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let labels = json!({"ng": "multi-eni", "name": name});
        let labels = if provider.is_some() {
            labels
        } else {
            json!({"name": name})
        };
        let node = json!({"metadata": {"name": name, "labels": labels},
            "spec": {"providerID": provider}});
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }

    pub(super) async fn unlabel(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"labels": {"ng": null}}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        nodes.patch(name, &params, &patch).await.unwrap();
    }

    /// The instance ends, and its node with it.
    pub(super) async fn terminate(&self, name: &str) {
        let number: usize = name.trim_start_matches("node").parse().unwrap();
        let request =
            ec2_sim::Request::new("TerminateInstances").with("InstanceId.1", instance_id(number));
        self.door.world().call(&request, Timestamp::now()).unwrap();
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Somebody detaches and deletes an interface by hand.
    pub(super) fn destroy(&self, id: &ec2_sim::EniId) {
        let mut world = self.door.world();
        let attachment = world.interface(id).unwrap().attachment.clone().unwrap();
        let now = Timestamp::now();
        let detach = ec2_sim::Request::new("DetachNetworkInterface")
            .with("AttachmentId", &attachment.id)
            .with("Force", true);
        world.call(&detach, now).unwrap();
        let later = now + Duration::from_millis(150);
        let delete = ec2_sim::Request::new("DeleteNetworkInterface").with("NetworkInterfaceId", id);
        world.call(&delete, later).unwrap();
    }

    pub(super) async fn wish(&self, name: &str, spec: &serde_json::Value) {
        let api: Api<NodeEni> = Api::all(self.client.clone());
        let object = json!({"apiVersion": "networking.k8s.aws/v1alpha1", "kind": "NodeENI",
            "metadata": {"name": name}, "spec": spec});
        let user = PatchParams::apply("user").force();
        api.patch(name, &user, &Patch::Apply(&object))
            .await
            .unwrap();
    }

    pub(super) async fn unwish(&self, name: &str) {
        let api: Api<NodeEni> = Api::all(self.client.clone());
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// J's controller holds its lease.
    pub(super) async fn peer_renews(&self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), mark::peer::NAMESPACE);
        let lease = json!({"metadata": {"name": mark::peer::LEASE}, "spec": {
            "holderIdentity": "j", "leaseDurationSeconds": 60,
            "renewTime": format!("{:.6}", Timestamp::now())}});
        let lease = serde_json::from_value(lease).unwrap();
        leases.create(&PostParams::default(), &lease).await.unwrap();
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.door.world().add_fault(fault);
    }

    /// The interfaces that bear our mark, as they are.
    pub(super) fn ours(&self) -> Vec<Interface> {
        let world = self.door.world();
        let ours = world
            .interfaces()
            .filter(|eni| eni.tags.contains_key(mark::TAG_ATTACHMENT));
        ours.cloned().collect()
    }

    pub(super) fn calls(&self, action: &str) -> u64 {
        let world = self.door.world();
        world
            .counters()
            .get(action)
            .map_or(0, |codes| codes.values().sum())
    }

    pub(super) async fn state(&self) -> State {
        let node_enis: Api<NodeEni> = Api::all(self.client.clone());
        let records: Api<NodeEniAttachment> = Api::all(self.client.clone());
        let all = ListParams::default();
        let (node_enis, records) =
            tokio::try_join!(node_enis.list(&all), records.list(&all)).unwrap();
        State {
            node_enis: node_enis.into_iter().map(|n| (n.name_any(), n)).collect(),
            records: records.into_iter().map(|r| (r.name_any(), r)).collect(),
        }
    }

    pub(super) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        for _ in 0..600 {
            if holds(&self.state().await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let state = self.state().await;
        panic!(
            "never: {what}\n{:#?}\n{:#?}\n{:#?}",
            state
                .node_enis
                .values()
                .map(|n| &n.status)
                .collect::<Vec<_>>(),
            state
                .records
                .values()
                .map(|r| &r.status)
                .collect::<Vec<_>>(),
            self.ours(),
        );
    }

    pub(super) async fn until_world(&self, what: &str, holds: impl Fn(&[Interface]) -> bool) {
        for _ in 0..600 {
            if holds(&self.ours()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}\n{:#?}", self.ours());
    }
}

/// Counts what a controller does to the world, and stops it dead at one of those steps.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    left: Arc<Mutex<Option<(usize, bool)>>>,
    pub(super) pulled: CancellationToken,
}

impl Switch {
    /// Kills at step `step`, counted from 0, before it is done or after.
    pub(super) fn at(step: usize, before: bool) -> Self {
        Self {
            left: Arc::new(Mutex::new(Some((step, before)))),
            pulled: CancellationToken::new(),
        }
    }

    pub(super) async fn step<T>(&self, work: impl Future<Output = T>) -> T {
        let dies = {
            let mut left = self.left.lock().unwrap();
            match &mut *left {
                Some((0, before)) => {
                    let before = *before;
                    *left = None;
                    Some(before)
                }
                Some((steps, _)) => {
                    *steps -= 1;
                    None
                }
                // Dead already: nothing more leaves this process.
                None => Some(true),
            }
        };
        match dies {
            None => work.await,
            Some(before) => {
                if !before {
                    work.await;
                }
                self.pulled.cancel();
                std::future::pending().await
            }
        }
    }
}
