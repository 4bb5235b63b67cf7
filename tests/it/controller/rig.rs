//! A real API server, a simulated EC2, and controllers that live and die at the test's word.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ec2_sim::{EniId, Interface, Settings, World};
use eniway_api::{Ec2State, NodeEni, NodeEniAttachment, NodeEniStatus, mark};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Event, Namespace, Node},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lab::Lab;
use serde_json::json;
use simulation::door::{Clock, Door};

use super::world::{instance_id, instance_of, ours, world};

const NAMESPACE: &str = "eniway-system";

/// What a test has in its hands. Needs root.
pub(super) struct Rig {
    lab: Arc<Lab>,
    nodes: usize,
    instance_type: &'static str,
    settings: Settings,
    runtime: Option<tokio::runtime::Runtime>,
}

/// The same, while it runs.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) door: Door,
    lab: Arc<Lab>,
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

impl Rig {
    pub(super) fn new(nodes: usize) -> Self {
        Self::with(nodes, Settings::default())
    }

    pub(super) fn with(nodes: usize, settings: Settings) -> Self {
        // What the controllers say is shown when the test fails.
        let log = tracing_subscriber::fmt()
            .with_test_writer()
            .with_ansi(false);
        let _: Result<(), _> = log.try_init();
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
            lab: Arc::new(lab),
            nodes,
            instance_type: "m5.large",
            settings,
            runtime: Some(runtime),
        }
    }

    /// With nodes of this type.
    pub(super) const fn on(mut self, instance_type: &'static str) -> Self {
        self.instance_type = instance_type;
        self
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
        let world = world(self.nodes, self.instance_type, self.settings.clone());
        let running = Running {
            client,
            door: Door::new(world.build(Timestamp::now()).unwrap(), Clock::Real),
            lab: Arc::clone(&self.lab),
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

impl Running {
    /// By which the cluster's interfaces are known.
    pub(super) async fn cluster_uid(&self) -> String {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.get("kube-system").await.unwrap().uid().unwrap()
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

    pub(super) async fn label(&self, name: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"labels": {"ng": "multi-eni"}}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        nodes.patch(name, &params, &patch).await.unwrap();
    }

    /// The instance ends, and its node with it.
    pub(super) async fn terminate(&self, name: &str) {
        self.call("TerminateInstances", "InstanceId.1", instance_of(name));
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// What kubectl tells an operator.
    pub(super) fn kubectl(&self, args: &[&str]) -> String {
        self.lab.kubectl(args).unwrap()
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

    pub(super) async fn annotate(&self, name: &str, key: &str, value: &str) {
        let api: Api<NodeEni> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"annotations": {key: value}}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        api.patch(name, &params, &patch).await.unwrap();
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

    /// J's controller reported an interface in a NodeENI's status.
    pub(super) async fn list_as_the_peer_does(&self, name: &str, node: &str, eni: &EniId) {
        self.list_in(name, node, super::SUBNET_B, eni).await;
    }

    pub(super) async fn list_in(&self, name: &str, node: &str, subnet: &str, eni: &EniId) {
        let api: Api<NodeEni> = Api::all(self.client.clone());
        let entry = json!({"nodeID": node, "instanceID": instance_of(node),
            "eniID": eni.to_string(), "subnetID": subnet, "status": "attached"});
        let object = json!({"apiVersion": "networking.k8s.aws/v1alpha1", "kind": "NodeENI",
            "metadata": {"name": name}, "status": {"attachments": [entry]}});
        let peer = PatchParams::apply("peer").force();
        api.patch_status(name, &peer, &Patch::Apply(&object))
            .await
            .unwrap();
        let finalizer = json!({"metadata": {"finalizers": [mark::FINALIZER_NODE_ENI]}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&finalizer));
        api.patch(name, &params, &patch).await.unwrap();
    }

    /// J's controller stops renewing its lease, long ago.
    pub(super) async fn peer_falls_silent(&self) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), mark::peer::NAMESPACE);
        let patch = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        leases
            .patch(mark::peer::LEASE, &params, &patch)
            .await
            .unwrap();
    }

    /// Kills the API server, starts it again and waits until it is ready.
    pub(super) fn restart_apiserver(&self) {
        tokio::task::block_in_place(|| self.lab.restart_apiserver()).unwrap();
    }

    /// A controller says that no node is selected only after its first whole read.
    pub(super) async fn until_it_has_read_ec2(&self) {
        let mut wish = super::spec(&["subnet-0000000b"]);
        wish["nodeSelector"] = json!({"ng": "nobody"});
        self.wish("probe", &wish).await;
        self.until("the controller has read EC2", |state| {
            state.reason("probe") == "NoMatchingNodes"
        })
        .await;
    }

    pub(super) async fn state(&self) -> State {
        self.try_state().await.unwrap()
    }

    async fn try_state(&self) -> Result<State, kube::Error> {
        let node_enis: Api<NodeEni> = Api::all(self.client.clone());
        let records: Api<NodeEniAttachment> = Api::all(self.client.clone());
        let all = ListParams::default();
        let (node_enis, records) = tokio::try_join!(node_enis.list(&all), records.list(&all))?;
        Ok(State {
            node_enis: node_enis.into_iter().map(|n| (n.name_any(), n)).collect(),
            records: records.into_iter().map(|r| (r.name_any(), r)).collect(),
        })
    }

    pub(super) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        for _ in 0..600 {
            // The API server may be on its way back.
            if self.try_state().await.is_ok_and(|state| holds(&state)) {
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

    pub(super) async fn until_event(&self, reason: &str) {
        let events: Api<Event> = Api::all(self.client.clone());
        for _ in 0..600 {
            let all = events.list(&ListParams::default()).await.unwrap();
            if all
                .iter()
                .any(|event| event.reason.as_deref() == Some(reason))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: an event {reason}");
    }

    pub(super) async fn until_world(
        &self,
        what: &str,
        mut holds: impl FnMut(&[Interface]) -> bool,
    ) {
        self.until_door(what, |world| holds(&ours(world))).await;
    }

    pub(super) async fn until_door(&self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        for _ in 0..600 {
            if holds(&self.door.world()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}\n{:#?}", self.ours());
    }
}
