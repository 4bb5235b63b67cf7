//! DHCP through the guard, by a client and a server that know nothing of it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::cases::Rig;

const MANIFEST: &str = "
apiVersion: networking.k8s.aws/v1alpha1
kind: NodeENI
metadata: {name: leased}
spec:
  nodeSelector: {ng: multi-eni}
  subnetName: multus-a
  securityGroupNames: [multus]
  dataPath: {xdp: Native, enforcement: Enforce}
";

/// What a lease changes.
const SCRIPT: &str = "#!/bin/sh
[ \"$1\" != bound ] || ip address replace \"$ip/$mask\" dev \"$interface\"
";

/// Needs root. The lab's VPC answers as AWS's own server does.
#[test]
fn a_client_gets_its_lease_through_an_enforcing_guard() {
    let rig = Rig::start(|_| ());
    rig.node.lab.apply(MANIFEST).unwrap();
    rig.ready("leased", 1);
    let eni = rig.interfaces().remove(0);
    let (id, address) = (eni.id.as_str(), eni.addresses[0]);
    let leased = format!("inet {address}/24");
    assert!(!rig.node.ip("address show eth1").contains(&leased));

    let script = rig.node.lab.folder().join("leased.sh");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let client = rig.node.node.command("busybox");
    // Five requests, then failure; it ends with the lease in hand.
    let client = client.args(["udhcpc", "-i", "eth1", "-n", "-q", "-t", "5", "-s"]);
    client.arg(&script).read().unwrap();

    assert!(rig.node.ip("address show eth1").contains(&leased));
    // The client has no address yet when it asks; the answers go to the one that it will have.
    assert!(rig.node.packets_of(id, &["egress", "passed", "dhcp"]) >= 2);
    assert!(rig.node.packets_of(id, &["ingress", "passed"]) >= 2);
    rig.delete_all();
}
