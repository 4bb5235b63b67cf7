//! Devices that a real kubelet offers to real pods, and that are not taken from them. Needs root.

use std::{fs, time::Duration};

use lab::{Config, wait};
use serde_json::{Value, json};

use crate::agent_node::{AgentNode, Eni};

const FIRST: Eni = Eni(10);
const SECOND: Eni = Eni(11);
const RENAMED: &str = "example.com/faster";
const RESOURCE: &str = "intel.com/kernel_1";
/// What takes a Kubernetes, beside other tests.
const PODS: Duration = Duration::from_secs(120);

impl AgentNode {
    /// A node that runs pods.
    fn with_kubelet() -> Self {
        let node = Self::start_with(Config::cluster(1));
        let account = ["get", "serviceaccount", "default"];
        let there = "there is a default service account";
        let there = node.lab.wait_kubectl(there, PODS, &account, |_| true);
        there.unwrap();
        node
    }

    fn start_offering(&mut self, more: &[&str]) {
        let offering = "--device-plugins=/var/lib/kubelet/device-plugins";
        let arguments = [&[offering], more].concat();
        self.start_agent(&arguments);
    }

    /// Writes a record of an interface that pods may ask for.
    fn record_of_device(&self, eni: Eni, dpdk: &Value) {
        self.record(eni, &Value::Null);
        self.patch(eni, &json!({"spec": {"dpdk": dpdk}}), &[]);
    }

    /// Waits for what a kubelet must do first.
    fn wait_patiently(&self, what: &str, accept: impl Fn(&Self) -> bool) {
        let look = || match accept(self) {
            true => Ok(()),
            false => Err(self.lab.logs("node1-kubelet")),
        };
        wait::until(what, PODS, look).unwrap_or_else(|error| panic!("{error}"));
    }

    fn wait_allocatable(&self, resource: &str, count: &str) {
        let path = format!(
            "jsonpath={{.status.allocatable.{}}}",
            resource.replace('.', "\\.")
        );
        let get = ["get", "node", "node1", "-o", &path];
        self.wait_patiently(&format!("{count} of {resource} are allocatable"), |node| {
            node.lab.kubectl(&get).unwrap() == count
        });
    }

    /// How often the agents of this test have told the kubelet of a resource.
    fn registrations(&self) -> usize {
        let log = fs::read_to_string(self.lab.log_file("agent")).unwrap();
        log.matches("Registered with the kubelet").count()
    }

    fn phase(&self, eni: Eni) -> String {
        let path = "jsonpath={.status.node.phase}";
        let get = ["get", "nea", &eni.record(), "-o", path];
        self.lab.kubectl(&get).unwrap()
    }

    /// Waits until the agent says that a pod has the device, which is to be released.
    fn wait_held(&self, eni: Eni, pod: &str) {
        self.wait_status(eni, &format!("pod {pod} is named"), |status| {
            let message = status["message"].as_str().unwrap_or_default();
            status["phase"] == "Releasing"
                && status["reason"] == "InUse"
                && message.contains(&format!("pod default/{pod}"))
        });
    }

    /// A pod with one device, which writes what it sees and sleeps; gives its log once it runs.
    fn run_pod(&self, name: &str, resource: &str) -> String {
        let pod = format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: "registry.local/busybox:1"
    imagePullPolicy: Never
    command: [sh, -c, "env | grep PCIDEVICE; ls /dev/vfio; echo all; sleep 1000"]
    resources: {{limits: {{{resource}: "1"}}}}
"#
        );
        self.lab.apply(&pod).unwrap();
        wait::until("the pod says what it sees", PODS, || {
            let log = self.lab.kubectl(&["logs", name]);
            let log = log.map_err(|error| error.to_string())?;
            match log.contains("all\n") {
                true => Ok(log),
                false => Err(log),
            }
        })
        .unwrap_or_else(|error| {
            panic!(
                "{error}\n{:?}",
                self.lab.kubectl(&["describe", "pod", name])
            )
        })
    }

    fn delete_pod(&self, name: &str) {
        self.lab.kubectl(&["delete", "pod", name]).unwrap();
    }
}

/// Needs root.
#[test]
fn an_interface_is_offered_held_and_released_when_its_pod_has_ended() {
    let mut node = AgentNode::with_kubelet();
    node.start_offering(&[]);
    for eni in [FIRST, SECOND] {
        node.plug(eni);
    }
    node.record_of_device(FIRST, &json!({"resourceName": RESOURCE}));
    node.wait_status(FIRST, "it is offered", |status| {
        status["phase"] == "Ready" && status["dpdk"]["resourceName"] == RESOURCE
    });
    node.wait_allocatable(RESOURCE, "1");

    let seen = node.run_pod("user", RESOURCE);
    let id = FIRST.id();
    assert!(
        seen.contains(&format!("PCIDEVICE_INTEL_COM_KERNEL_1={id}\n")),
        "{seen}"
    );
    let info = format!("/var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-kernel_1-{id}-device.json");
    let info = node.node.command("cat").arg(info).read().unwrap();
    assert!(info.contains(&id), "{info}");

    // Another one is offered as soon as it is there, also to a kubelet that has started anew.
    let before = node.registrations();
    node.lab.restart_kubelet("node1").unwrap();
    node.wait_patiently("the kubelet is told again", |node| {
        node.registrations() > before
    });
    node.record_of_device(SECOND, &json!({"resourceName": RESOURCE}));
    node.wait_allocatable(RESOURCE, "2");
    node.run_pod("other", RESOURCE);

    // An agent that starts anew finds the kubelet.
    node.stop_agent();
    let before = node.registrations();
    node.start_offering(&[]);
    node.wait_patiently("the kubelet is told again", |node| {
        node.registrations() > before
    });
    node.wait_allocatable(RESOURCE, "2");

    // By another name it is the same device, which a pod has.
    node.record_of_device(FIRST, &json!({"resourceName": RENAMED}));
    node.wait_allocatable(RENAMED, "0");
    node.record_of_device(FIRST, &json!({"resourceName": RESOURCE}));
    node.wait_allocatable(RESOURCE, "2");

    // What a pod has is not taken away.
    node.delete(FIRST);
    node.wait_held(FIRST, "user");
    node.wait_allocatable(RESOURCE, "1");
    node.delete_pod("user");
    node.wait_patiently("it is released", |node| node.phase(FIRST) == "Released");
    node.delete_pod("other");
}

/// A sysfs in which DPDK's driver has one function, and the nodes of its group, on a node that has neither.
const HARDWARE: &str = r"
set -e
device=/run/sysfs/devices/pci0000:00/0000:00:06.0
mkdir -p $device /run/sysfs/bus/pci/devices /run/sysfs/bus/pci/drivers/vfio-pci /run/sysfs/kernel/iommu_groups/7
ln -s ../../../bus/pci/drivers/vfio-pci $device/driver
ln -s ../../../kernel/iommu_groups/7 $device/iommu_group
ln -s ../../../devices/pci0000:00/0000:00:06.0 /run/sysfs/bus/pci/devices/0000:00:06.0
ln -s /sys/class /run/sysfs/class
echo vfio-pci > $device/driver_override
echo 0 > $device/numa_node
echo 0 > $device/enable
mkdir -p /run/dev/upper /run/dev/work
mount -t overlay dev -o lowerdir=/dev,upperdir=/run/dev/upper,workdir=/run/dev/work /dev
mkdir -p /dev/vfio
mknod /dev/vfio/vfio c 1 3
mknod /dev/vfio/7 c 1 5
mkdir -p /sys/fs/bpf/eniway/device
ln -s '0000:00:06.0 ena eth10' /sys/fs/bpf/eniway/device/eni-0000000a
";

/// Needs root. That the kernel's driver has it again is shown where there is hardware: in virtual machines.
#[test]
fn a_device_of_dpdk_comes_into_a_pod_with_its_nodes_and_is_kept_there() {
    let mut node = AgentNode::with_kubelet();
    let made = node.node.command("sh").args(["-c", HARDWARE]).read();
    made.unwrap();
    let resource = "example.com/upf";
    node.record_of_device(FIRST, &json!({"bind": true, "resourceName": resource}));
    node.start_offering(&["--sysfs=/run/sysfs", "--sysfs-writable=/run/sysfs"]);
    let status = node.wait_phase(FIRST, "Vfio");
    assert_eq!(status["pciAddress"], "0000:00:06.0");
    assert_eq!(status["driver"], "vfio-pci");
    assert_eq!(status["dpdk"]["iommuGroup"], 7);
    assert_eq!(status["dpdk"]["noIOMMU"], Value::Null);
    assert!(
        status["dpdk"]["missing"][0]
            .as_str()
            .unwrap()
            .contains("hugepages"),
        "{status}"
    );

    node.wait_allocatable(resource, "1");
    let seen = node.run_pod("upf", resource);
    assert!(
        seen.contains("PCIDEVICE_EXAMPLE_COM_UPF=0000:00:06.0\n"),
        "{seen}"
    );
    assert!(seen.contains("\n7\nvfio\n"), "{seen}");

    node.delete(FIRST);
    node.wait_held(FIRST, "upf");
    let driver_override = "/run/sysfs/bus/pci/devices/0000:00:06.0/driver_override";
    let read = || {
        node.node
            .command("cat")
            .arg(driver_override)
            .read()
            .unwrap()
    };
    assert_eq!(read(), "vfio-pci\n");
    node.delete_pod("upf");
    // Then it goes back, as far as a file can tell, into which is written at its start.
    node.wait_patiently("any driver may have it", |_| read().starts_with('\n'));
}
