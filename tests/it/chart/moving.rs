//! The way from aws-multi-eni-controller and back, step by step as the chart's README says it: its commands are taken
//! from there and run in a shell. Only J's controller is a stand-in, whose lease the test renews.

use std::{
    env, fs,
    os::unix::fs::symlink,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ec2_sim::{
    AttachNetworkInterface, AttachmentState, CreateNetworkInterface, EniId, InstanceId, Interface,
    Request, Slot, SubnetId, model::Attachment,
};
use eniway_api::mark::{self, peer};
use jiff::Timestamp;
use lab::{
    binaries::{Binaries, Program},
    images::BUSYBOX,
    wait,
};
use serde_json::{Value, json};

use super::{
    chart,
    release::{Cluster, RELEASE},
};
use crate::cases::PEER_CRD;

const README: &str = include_str!("../../../charts/eniway/README.md");
/// J's lease is 15 s; four of them are waited for. A fifth of that is as good.
const LEASE_SECONDS: i64 = 3;
const PATIENCE: Duration = Duration::from_secs(120);
const THEIR_RELEASE: &str = "multi-eni";
const SUBNET: &str = "subnet-00000000000000101";
const INSTANCE: &str = "i-00000000000000001";

/// What J's user wrote.
const WISH: &str = "
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: moved, finalizers: [nodeeni.networking.k8s.aws/finalizer]}
spec: {nodeSelector: {kubernetes.io/os: linux}, subnetName: multus-a, securityGroupNames: [multus], deviceIndex: 2}
";

/// J's chart as far as a move meets it: its definition in `crds/`, and its controller's Deployment.
fn their_chart() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": peer::DEPLOYMENT, "namespace": peer::NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "j"}}, "template": {
            "metadata": {"labels": {"app": "j"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "j", "image": BUSYBOX, "command": ["sleep", "1000000"]}]}}},
    });
    for (path, text) in [
        ("Chart.yaml", "apiVersion: v2\nname: j\nversion: 1.3.8\n"),
        ("crds/nodeenis.yaml", PEER_CRD),
        ("templates/deployment.yaml", &deployment.to_string()),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A command that the README gives in code, by how it begins.
fn command(begins: &str) -> String {
    let (_, section) = README.split_once("\n## Moving from ").unwrap();
    let section = section.split("\n## ").next().unwrap_or(section);
    let code = section.split('`').skip(1).step_by(2);
    let code = code.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut found: Vec<_> = code.filter(|code| code.starts_with(begins)).collect();
    found.dedup();
    assert_eq!(found.len(), 1, "the README gives {begins}: {found:?}");
    found.remove(0)
}

/// A person at a shell, with kubectl and helm.
struct Shell<'a> {
    cluster: &'a Cluster,
    folder: tempfile::TempDir,
}

impl<'a> Shell<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Binaries::from_environment(None);
        for (name, program) in [("kubectl", Program::Kubectl), ("helm", Program::Helm)] {
            let path = programs
                .locate(program, &|line| println!("{line}"))
                .unwrap();
            symlink(path, folder.path().join(name)).unwrap();
        }
        Self { cluster, folder }
    }

    fn run(&self, command: &str) {
        println!("$ {command}");
        let path = env::var_os("PATH").unwrap().into_string().unwrap();
        let done = Command::new("sh")
            .args(["-euc", command])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("KUBECONFIG", self.cluster.lab.kubeconfig())
            .env("HOME", self.folder.path())
            .status();
        assert!(done.unwrap().success(), "{command}");
    }

    /// Runs what the README says.
    fn follow(&self, begins: &str) {
        self.run(&command(begins).replace("<its release>", THEIR_RELEASE));
    }

    fn install(&self, chart: &str) {
        let values = self.cluster.values();
        let values = values.iter().map(String::as_str);
        let install = ["install", "eniway", chart, "--create-namespace"];
        let all: Vec<_> = install.into_iter().chain(RELEASE).chain(values).collect();
        self.cluster.helm(&all);
    }
}

/// J's controller renews its lease for as long as its Deployment has a pod.
fn renew(cluster: &Cluster, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let pods = ["-n", peer::NAMESPACE, "get", "pods", "-o", "name"];
        if !cluster.lab.kubectl(&pods).unwrap().is_empty() {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": peer::LEASE, "namespace": peer::NAMESPACE},
                "spec": {"holderIdentity": "j", "leaseDurationSeconds": LEASE_SECONDS,
                    "renewTime": format!("{:.6}", Timestamp::now())},
            });
            cluster.lab.apply(&lease.to_string()).unwrap();
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// What J's controller did for the NodeENI: an interface at index 2, with its tags and in its status.
fn make_as_the_peer_does(cluster: &Cluster) -> EniId {
    let tags = [
        (peer::TAG_NAME, "nodeeni-moved-node1-00000101"),
        (peer::TAG_NODE_ENI, "moved"),
        (peer::TAG_NODE, "node1"),
        (peer::TAG_SUBNET, SUBNET),
        (peer::TAG_MANAGED_BY, peer::MANAGED_BY),
        (mark::TAG_NO_MANAGE, "true"),
    ];
    let id = cluster.lab.ec2().with_world(|world, now| {
        let new = CreateNetworkInterface::in_subnet(SubnetId::parse(SUBNET).unwrap());
        let id = world.create_interface(&new, None, now).unwrap();
        let attach = AttachNetworkInterface {
            interface: id.clone(),
            instance: InstanceId::parse(INSTANCE).unwrap(),
            slot: Slot { card: 0, index: 2 },
        };
        world.attach_interface(&attach, now).unwrap();
        let mut tag = Request::new("CreateTags").with("ResourceId.1", &id);
        for (number, (key, value)) in (1..).zip(tags) {
            tag = tag
                .with(&format!("Tag.{number}.Key"), key)
                .with(&format!("Tag.{number}.Value"), value);
        }
        world.call(&tag, now).unwrap();
        id
    });
    let status = json!({"status": {"attachments": [{"nodeID": "node1", "instanceID": INSTANCE,
        "eniID": id.to_string(), "subnetID": SUBNET, "subnetCIDR": "10.200.101.0/24", "mtu": 0,
        "deviceIndex": 2, "status": "attached", "lastUpdated": "2026-01-01T00:00:00Z"}]}});
    let status = status.to_string();
    let patch = ["--subresource=status", "--type=merge", "-p", &status];
    cluster
        .lab
        .kubectl(&[&["patch", "neni", "moved"][..], &patch].concat())
        .unwrap();
    id
}

fn in_ec2(cluster: &Cluster, id: &EniId) -> Interface {
    let found = cluster
        .lab
        .ec2()
        .with_world(|world, _| world.interface(id).cloned());
    found.expect("nobody deletes it")
}

/// Waits until `accept` is content with an object.
fn until(cluster: &Cluster, object: &[&str], what: &str, accept: impl Fn(&Value) -> bool) {
    let seen = wait::until(what, PATIENCE, || {
        let seen = cluster.get(object);
        if accept(&seen) {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    });
    seen.unwrap_or_else(|error| panic!("{error}"));
}

fn ready(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "Ready");
    found.unwrap_or(&Value::Null)
}

/// Needs root, and minutes to build the images the first time.
#[test]
fn the_steps_of_the_readme_lead_from_the_peer_to_eniway_and_back() {
    let cluster = Cluster::start();
    let shell = Shell::of(&cluster);
    let theirs = their_chart();
    let theirs = theirs.path().to_str().unwrap();
    let install_theirs = format!(
        "helm install {THEIR_RELEASE} {theirs} -n {} --create-namespace --wait",
        peer::NAMESPACE
    );
    shell.run(&install_theirs);
    cluster.lab.apply(WISH).unwrap();
    let id = make_as_the_peer_does(&cluster);
    wait::until("EC2 has attached it", PATIENCE, || {
        let eni = in_ec2(&cluster, &id);
        let attached = |place: &Attachment| place.state == AttachmentState::Attached;
        let place = eni.attachment.filter(attached);
        place.map(|_| ()).ok_or_else(|| "attaching".to_owned())
    })
    .unwrap();
    let before = in_ec2(&cluster, &id);
    let stays = |when: &str| {
        let now = in_ec2(&cluster, &id);
        let place = |eni: &Interface| {
            eni.attachment
                .as_ref()
                .map(|one| (one.id.clone(), one.slot))
        };
        assert_eq!(place(&now), place(&before), "{when}");
        assert_eq!(now.addresses, before.addresses, "{when}");
    };
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = Ending(&ended);
        scope.spawn(|| renew(&cluster, &ended));
        shell.follow("kubectl get nodeeni -o yaml");
        for time in ["there", "there again"] {
            shell.follow("kubectl -n eni-controller-system scale");
            shell.install(chart().to_str().unwrap());
            // The NodeENI says still what it said when eniway went; the record is a new one.
            until(&cluster, &["nea"], "it is adopted", |records| {
                records["items"][0]["status"]["node"]["phase"] == "Ready"
            });
            until(&cluster, &["neni", "moved"], "it is ready", |node_eni| {
                let status = &node_eni["status"];
                ready(status)["status"] == "True" && status["attached"] == 1
            });
            stays(time);
            let tags = in_ec2(&cluster, &id).tags;
            assert!(tags.contains_key(mark::TAG_CLUSTER_UID), "{tags:?}");
            shell.follow("helm uninstall <its release>");
            assert!(cluster.serves_ours(), "Helm keeps the definition");

            shell.follow("helm uninstall eniway");
            shell.follow("kubectl get nea -o name");
            shell.follow("kubectl delete nea --all");
            stays("back");
            let listed = cluster.get(&["neni", "moved"])["status"]["attachments"].take();
            assert_eq!(listed[0]["eniID"], id.to_string(), "J finds its list");
            assert_eq!(listed.as_array().unwrap().len(), 1);
            shell.run(&install_theirs);
        }
    });
}

/// Ends the peer's stand-in, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
