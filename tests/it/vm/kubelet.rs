//! The handbook's pod with a device: a real kubelet and containerd on an instance that is a machine, and DPDK's own
//! program in a container. Nothing of Kubernetes is there besides; the kubelet reads the pod from a file.

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::binaries::{Binaries, Program};
use lab::images::{self, Image};
use lab::vm::Model;
use lab::wait;
use tempfile::TempDir;

use super::dpdk::{BOUND, LABORATORY, NOTHING, is_bound, says};
use super::node::Node;
use super::testpmd::forwards;
use super::{SOON, driver, handbook, kernel, options, place_of};

/// What stands in the handbook for the user's own.
const IMAGE: &str = "YOUR-IMAGE-WITH-DPDK";
const OURS: &str = "registry.local/dpdk:1";
const RESOURCE: &str = "resourceName = \"example.com/upf\"\n";

/// Of many it takes one driver, one kind of bus, and one of memory.
const DRIVERS: [&str; 3] = ["net_e1000", "bus_pci", "mempool_ring"];

const CONTAINERD: &str = r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:1"
  restrict_oom_score_adj = true
"#;

const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
enableServer: false
featureGates: {DynamicResourceAllocation: false}
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: ''
staticPodPath: /run/manifests
fileCheckFrequency: 2s
syncFrequency: 5s
evictionHard: {memory.available: 50Mi}
";

/// The handbook's pod, with an image of ours, in the network of its node: there is no other.
fn pod() -> String {
    let section = handbook::section("Interfaces for DPDK");
    let examples = handbook::examples(&section, "yaml");
    let pods = examples.iter().flat_map(|example| example.split("---\n"));
    let mut pods = pods.filter(|object| object.starts_with("apiVersion: v1\nkind: Pod\n"));
    let pod = pods.next().expect("the handbook has a pod");
    assert!(pod.contains(IMAGE), "{pod}");
    pod.replace(IMAGE, OURS).replace(
        "spec:\n",
        "spec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 5\n",
    )
}

/// The shared libraries that a program or a library takes.
fn libraries(of: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(of).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = listed.lines().flat_map(str::split_whitespace);
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Debian's testpmd with what it takes, and busybox's shell.
fn image(folder: &Path) -> PathBuf {
    let program = PathBuf::from("/usr/bin/dpdk-testpmd");
    let find = "find /usr/lib/*/dpdk -name 'librte_*.so.*'";
    let found = Command::new("sh").args(["-c", find]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let drivers = found
        .lines()
        .filter(|path| DRIVERS.iter().any(|driver| path.contains(driver)));
    let mut files: Vec<PathBuf> = drivers.map(PathBuf::from).collect();
    assert!(files.len() >= DRIVERS.len(), "{found}");
    files.push(program);
    let needed: Vec<PathBuf> = files.iter().flat_map(|file| libraries(file)).collect();
    files.extend(needed);
    files.sort();
    files.dedup();
    let start = Image::new(OURS).executable("bin/busybox", Path::new("/bin/busybox"));
    let mut image = start
        .unwrap()
        .link("bin/sh", "busybox")
        .link("var/run", "/run");
    // One driver by two names must stay one file, or DPDK has it twice.
    let mut real: Vec<PathBuf> = files
        .iter()
        .map(|file| file.canonicalize().unwrap())
        .collect();
    for (name, file) in files.iter().zip(&real).filter(|(name, file)| name != file) {
        let name = name.strip_prefix("/").unwrap().display().to_string();
        image = image.link(&name, &file.display().to_string());
    }
    real.sort();
    real.dedup();
    for file in &real {
        image = image.executable(&file.display().to_string(), file).unwrap();
    }
    let path = folder.join("dpdk.tar");
    image.write(&path).unwrap();
    path
}

#[test]
fn the_handbooks_pod_moves_packets_on_a_device_that_the_kubelet_gave_it() {
    let folder = TempDir::new().unwrap();
    let mut archives = images::write_base(folder.path()).unwrap();
    archives.push(image(folder.path()));
    let kubelet = Binaries::from_environment(None);
    let kubelet = kubelet
        .locate(Program::Kubelet, &|line| println!("{line}"))
        .unwrap();

    let node = Node::start(&kernel("6.12"), &options(true), Model::E1000e);
    let machine = node.machine();
    let set_up = format!(
        "set -e
        mount -t cgroup2 cgroup /sys/fs/cgroup
        for folder in /var/lib/containerd /var/lib/kubelet; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
        mkdir -p /run/manifests
        echo 256 > /proc/sys/vm/nr_hugepages
        cat > /run/containerd.toml << 'end of file'\n{CONTAINERD}end of file\n
        cat > /run/kubelet.yaml << 'end of file'\n{KUBELET}end of file\n
        cat > /run/upf.yaml << 'end of file'\n{pod}end of file\n",
        pod = pod()
    );
    machine.read(&set_up).unwrap();
    let containerd = machine
        .begin("exec containerd -c /run/containerd.toml")
        .unwrap();
    for archive in &archives {
        wait::until("containerd takes an image", SOON, || {
            let import = format!("ctr -n k8s.io images import {}", archive.display());
            machine
                .read(&import)
                .map_err(|error| format!("{error}\n{}", machine.output(containerd)))
        })
        .unwrap();
    }
    let run = format!(
        "exec {} --config=/run/kubelet.yaml --hostname-override=node1",
        kubelet.display()
    );
    let kubelet = machine.begin(&run).unwrap();
    let offering = format!("{LABORATORY} --device-plugins /var/lib/kubelet/device-plugins");
    let wanted = format!("{BOUND}{RESOURCE}");
    node.run_agent(&offering, &wanted);
    let (eni, card) = node.attach(1);
    let state = node.wait_for("DPDK has it", &eni, is_bound);
    let place = state["node"]["pciAddress"].as_str().unwrap();

    machine.read("mv /run/upf.yaml /run/manifests").unwrap();
    let log = || {
        let pod = machine
            .run("find -L /var/log/pods -name '*.log' -exec tail -n 50 {} +")
            .unwrap();
        let kubelet = machine.output(kubelet);
        let last = kubelet.len().saturating_sub(6000);
        format!("{}\n{}", pod.output, &kubelet[last..])
    };
    // Its way of forwarding is to send each frame back as it is.
    forwards(&card, &|sent, back| sent == back, &log);
    assert_eq!(driver(machine, place), "vfio-pci");

    node.run_agent(&offering, NOTHING);
    node.wait_for("the pod is named", &eni, |state| {
        says(state, "InUse", "default/upf-node1")
    });
    machine.read("rm /run/manifests/upf.yaml").unwrap();
    assert_eq!(place_of(machine, &card), place);
    node.wait_gone(&eni);
    assert_eq!(driver(machine, place), "e1000e");
}
