//! Beside systemd-networkd, as Amazon Linux 2023 runs it: its own program, told to configure whatever comes. Needs root.

use std::process::Child;

use serde_json::json;

use super::ENI;
use crate::agent_node::{AgentNode, Eni};

const OTHER: Eni = Eni(11);
/// What networkd gives to interfaces that it configures.
const ITS_ADDRESS: &str = "192.0.2.55";
const ITS_MTU: &str = "mtu 1300";

/// A node's folders, the system bus, and what Amazon Linux says of its interfaces: here of the test's two.
const PREPARE: &str = "
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
cat > /run/systemd/network/80-ec2.network <<END
[Match]
MACAddress=02:00:00:00:00:0a 02:00:00:00:00:0b
[Link]
MTUBytes=1300
[Network]
Address=192.0.2.55/24
LinkLocalAddressing=no
END
exec dbus-daemon --system --fork
";

/// Where /sys can be written, it waits for udev, which a namespace has not.
const RUN: &str = "mount -o remount,bind,ro /sys && exec /lib/systemd/systemd-networkd";

fn start_networkd(node: &AgentNode) -> Child {
    let prepare = node.node.command("sh").args(["-ec", PREPARE]);
    prepare.read().unwrap();
    let networkd = node
        .node
        .command("unshare")
        .args(["--mount", "sh", "-ec", RUN]);
    let networkd = networkd.stdout(std::process::Stdio::null());
    let networkd = networkd
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    node.wait_until("networkd runs", |node| {
        let state = node.node.command("cat").arg("/run/systemd/netif/state");
        state.read().is_ok()
    });
    networkd
}

fn record(node: &AgentNode, eni: Eni) {
    node.record(eni, &json!({"xdp": "Native", "enforcement": "Enforce"}));
    let interface = json!({"addressing": "Host"});
    node.patch(eni, &json!({"spec": {"interface": interface}}), &[]);
}

/// What networkd is told of an interface.
fn file(node: &AgentNode, eni: Eni) -> Option<String> {
    let path = format!("/run/systemd/network/10-eniway-{}.network", eni.id());
    node.node.command("cat").arg(path).read().ok()
}

fn is_configured_by_networkd(node: &AgentNode, eni: Eni) -> bool {
    node.ip(&format!("address show {}", eni.name()))
        .contains(ITS_ADDRESS)
}

#[test]
fn networkd_leaves_an_interface_alone_while_its_record_lives() {
    let mut node = AgentNode::start();
    let mut networkd = start_networkd(&node);
    record(&node, ENI);
    node.start_agent(&[]);
    // Before there is an interface to fight about.
    node.wait_phase(ENI, "Pending");
    let told = file(&node, ENI).unwrap();
    assert!(
        told.contains(&format!("MACAddress={}", ENI.mac())),
        "{told}"
    );
    assert!(told.contains("Unmanaged=yes"), "{told}");

    node.plug(ENI);
    node.plug(OTHER);
    node.wait_phase(ENI, "Ready");
    node.wait_until("networkd configures the one without record", |node| {
        is_configured_by_networkd(node, OTHER)
    });
    let link = node.ip("address show eth10");
    assert!(link.contains("10.200.101.10/24"), "{link}");
    assert!(
        !link.contains(ITS_ADDRESS) && !link.contains(ITS_MTU),
        "{link}"
    );

    // One that it has already is taken out of its hands.
    record(&node, OTHER);
    node.wait_phase(OTHER, "Ready");
    node.wait_until("networkd lets it go", |node| {
        !is_configured_by_networkd(node, OTHER)
    });
    node.wait_until("it is ours", |node| {
        node.ip("address show eth11").contains("10.200.101.11/24")
    });

    node.delete(ENI);
    node.wait_phase(ENI, "Released");
    assert_eq!(file(&node, ENI), None);
    node.wait_until("networkd has it back", |node| {
        is_configured_by_networkd(node, ENI)
    });
    assert!(!is_configured_by_networkd(&node, OTHER));

    // A record that vanishes leaves the file to the sweep.
    node.kill_agent();
    node.patch(OTHER, &json!({"metadata": {"finalizers": null}}), &[]);
    node.delete(OTHER);
    node.start_agent(&[]);
    node.wait_until("the sweep", |node| file(node, OTHER).is_none());
    networkd.kill().unwrap();
    networkd.wait().unwrap();
}

#[test]
fn nothing_is_told_where_networkd_does_not_run_or_the_agent_addresses_nothing() {
    let mut node = AgentNode::start();
    record(&node, ENI);
    node.plug(ENI);
    node.start_agent(&[]);
    node.wait_phase(ENI, "Ready");
    assert_eq!(file(&node, ENI), None);
    node.kill_agent();
    let mut networkd = start_networkd(&node);
    node.plug(OTHER);
    node.record(OTHER, &json!({"xdp": "Native", "enforcement": "Audit"}));
    node.start_agent(&[]);
    node.wait_phase(OTHER, "Ready");
    assert!(file(&node, ENI).is_some());
    assert_eq!(file(&node, OTHER), None);
    assert!(
        is_configured_by_networkd(&node, OTHER),
        "whoever asks for it"
    );
    networkd.kill().unwrap();
    networkd.wait().unwrap();
}
