//! containerd and a kubelet on a node, and the images and the CNI that its pods need.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::component::Component;
use crate::error::Error;
use crate::images::PAUSE;
use crate::node::{Node, write};
use crate::pki::Pki;
use crate::state::State;
use crate::wait;

const CONTAINERD_CONFIG: &str = "/etc/containerd-lab.toml";
const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// How long containerd may take to listen; it takes half a second.
const LISTENS: Duration = Duration::from_secs(30);

impl Node {
    /// Starts containerd and the kubelet and imports `images`.
    pub(crate) fn run_kubelet(
        &mut self,
        kubelet: &Path,
        images: &[PathBuf],
        pki: &Pki,
        state: &State,
    ) -> Result<(), Error> {
        let name = self.config.name.clone();
        let inside = self.namespace().clone();
        inside.run(|| self.write_files(pki, state))??;
        link_plugins(&inside)?;

        let log = format!("{name}-containerd");
        let command = inside.command("containerd").args(["-c", CONTAINERD_CONFIG]);
        self.components
            .push(Component::start(&log, command, &state.log(&log))?);
        wait::until(&format!("containerd listens on {name}"), LISTENS, || {
            if let Some(ended) = self.ended() {
                return Ok(Err(ended));
            }
            inside
                .command("ctr")
                .arg("version")
                .read()
                .map(|_| Ok(()))
                .map_err(|error| error.to_string())
        })??;
        self.start_kubelet(kubelet, pki, state)?;
        for image in images {
            self.import(image)?;
        }
        Ok(())
    }

    /// Starts the kubelet, in the place of one that runs; its pods stay.
    pub(crate) fn start_kubelet(
        &mut self,
        kubelet: &Path,
        pki: &Pki,
        state: &State,
    ) -> Result<(), Error> {
        let name = &self.config.name;
        let log = format!("{name}-kubelet");
        let labels: Vec<String> = self
            .config
            .all_labels()
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let kubeconfig = pki.path(&format!("{name}.kubeconfig"));
        let command = self
            .namespace()
            .command(kubelet)
            .arg(format!("--config={KUBELET_CONFIG}"))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--node-ip={}", self.config.address()))
            .arg(format!("--provider-id={}", self.config.provider_id()))
            .arg(format!("--node-labels={}", labels.join(",")));
        // Dropped, an old one is killed before another has its ports.
        self.components.retain(|component| component.name() != log);
        let started = Component::start(&log, command, &state.log(&log))?;
        self.components.push(started);
        Ok(())
    }

    /// Makes an image archive known to the node.
    pub(crate) fn import(&self, image: &Path) -> Result<(), Error> {
        let ctr = self
            .namespace()
            .command("ctr")
            .args(["-n", "k8s.io", "images", "import"]);
        ctr.arg(image).read().map(|_| ())
    }

    /// The first program of the node that has ended, though it should run.
    pub(crate) fn ended(&mut self) -> Option<Error> {
        self.components
            .iter_mut()
            .find_map(|component| component.check().err())
    }

    fn write_files(&self, pki: &Pki, state: &State) -> Result<(), Error> {
        write(
            "/etc/cni/net.d/10-lab.conflist",
            &cni(&self.config.pod_cidr()),
        )?;
        write(CONTAINERD_CONFIG, &containerd())?;
        let cgroup = format!("/{}/{}", state.id(), self.config.name);
        let authority = pki.path("ca.crt");
        let kubelet = kubelet(
            &self.config.address().to_string(),
            &cgroup,
            &authority.display().to_string(),
        );
        write(KUBELET_CONFIG, &kubelet)
    }
}

/// Pods find the plugins where a kubelet looks for them.
fn link_plugins(inside: &crate::Namespace) -> Result<(), Error> {
    inside
        .command("sh")
        .args(["-c", "cp -s /usr/lib/cni/* /opt/cni/bin/"])
        .read()
        .map(|_| ())
}

/// A bridge on each node; routes between the nodes are in the outer namespaces.
fn cni(pods: &str) -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "lab", "plugins": [{{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{pods}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}
}}]}}
"#
    )
}

/// Snapshotters that probe the host's file systems, and tracing, are off: they cost a second.
fn containerd() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#
    )
}

/// A kubelet that reports quickly and never evicts; a full disk of the host is not our business.
///
/// Dynamic resource allocation is off because in 1.34 its start races with the node's first status:
/// on a busy machine a kubelet was seen to end with "concurrent map iteration and map write".
fn kubelet(address: &str, cgroup: &str, authority: &str) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {authority}}}}}
authorization: {{mode: Webhook}}
featureGates: {{DynamicResourceAllocation: false}}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://{SOCKET}
resolvConf: ""
nodeStatusUpdateFrequency: 2s
fileCheckFrequency: 2s
syncFrequency: 5s
evictionHard: {{memory.available: 50Mi, nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
"#
    )
}
