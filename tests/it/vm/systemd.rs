//! The handbook's steps without Kubernetes, to the letter, where systemd is the first process and networkd has
//! configured what there is.

use ec2_sim::Interface;
use lab::vm::{Machine, Model, Options};
use lab::wait;

use super::dpdk::is_bound;
use super::node::Node;
use super::{SOON, driver, handbook, kernel, options};

/// Where the reader is: a clone of this project in which the agent was built.
const CLONE: &str = "/run/clone";
/// What networkd gives to interfaces that it configures.
const ITS_ADDRESS: &str = "192.0.2.55/24";
/// Not the reader's: the lab's card is none of EC2's.
const ACCEPT: &str = "sed -i 's/$/ --accept-virtual/' /etc/eniway/agent.env";

/// Runs what the reader would type.
fn type_in(machine: &Machine, commands: &str) -> String {
    machine
        .read(&format!("set -e\ncd {CLONE}\n{commands}"))
        .unwrap()
}

/// Has the metadata service answer where EC2's does, though it is the host's.
fn serve_metadata(node: &Node) {
    let url = node.metadata_url();
    let address = url.strip_prefix("http://").unwrap();
    let units = format!(
        "set -e
        ip address add 169.254.169.254/32 dev lo
        cd /run/systemd/system
        printf '[Socket]\nListenStream=169.254.169.254:80\n' > metadata.socket
        printf '[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd {address}\n' > metadata.service
        systemctl daemon-reload
        systemctl start metadata.socket"
    );
    node.machine().read(&units).unwrap();
}

/// Has networkd configure interfaces, as it does on Amazon Linux 2023.
fn run_networkd(machine: &Machine, enis: [&Interface; 2]) {
    let macs = enis.map(|eni| eni.mac.as_str()).join(" ");
    let network = format!(
        "set -e
        mkdir -p /run/systemd/network
        printf '[Match]\nMACAddress={macs}\n[Network]\nAddress={ITS_ADDRESS}\nLinkLocalAddressing=no\n' \
            > /run/systemd/network/80-ec2.network
        systemctl start systemd-networkd"
    );
    machine.read(&network).unwrap();
}

/// The addresses of the interface with an ENI's MAC address.
fn addresses(machine: &Machine, eni: &Interface) -> Result<String, String> {
    let list = machine.read("ip -oneline link show");
    let list = list.map_err(|error| error.to_string())?;
    let link = list.lines().find(|line| line.contains(&eni.mac));
    let link = link.ok_or(list.clone())?;
    let name = link.split(": ").nth(1).unwrap();
    let show = machine.read(&format!("ip -oneline address show {name}"));
    show.map_err(|error| error.to_string())
}

fn wait_for_address(what: &str, machine: &Machine, eni: &Interface, address: &str) -> String {
    wait::until(what, SOON, || {
        let addresses = addresses(machine, eni)?;
        match addresses.contains(address) {
            true => Ok(addresses),
            false => Err(addresses),
        }
    })
    .unwrap()
}

#[test]
fn the_handbooks_steps_without_kubernetes_do_what_it_says() {
    let section = handbook::section("Without Kubernetes");
    let steps = handbook::examples(&section, "sh");
    let [install, start, allow, restart] = steps[..] else {
        panic!("the handbook has other steps: {steps:?}");
    };
    let files = handbook::examples(&section, "toml");
    let [guarded, bound] = files[..] else {
        panic!("the handbook has other files: {files:?}");
    };

    let options = Options {
        systemd: true,
        ..options(true)
    };
    let node = Node::start(&kernel("6.12"), &options, Model::Virtio);
    let machine = node.machine();
    serve_metadata(&node);
    let (fast, _card) = node.attach(1);
    let (other, _card) = node.attach(2);
    run_networkd(machine, [&fast, &other]);
    for eni in [&fast, &other] {
        wait_for_address("networkd configures it", machine, eni, ITS_ADDRESS);
    }

    // The reader has built it as the first line says.
    let (build, install) = install.split_once('\n').unwrap();
    assert_eq!(build, "cargo build --release -p eniway-agent");
    let clone = format!(
        "mkdir -p {CLONE}/target/release
        ln -s {} {CLONE}/target/release/
        ln -s {}/../dataplane-user {CLONE}/",
        eniway_tests::binary("eniway-agent").display(),
        env!("CARGO_MANIFEST_DIR"),
    );
    machine.read(&clone).unwrap();
    let write = |file: &str| {
        let write = format!("cat > /etc/eniway/agent.toml << 'end of file'\n{file}end of file\n");
        type_in(machine, &write);
    };
    type_in(machine, install);
    write(guarded);
    type_in(machine, start);

    let state = node.wait_ready(&fast);
    assert_eq!(state["node"]["xdp"]["mode"], "Native", "{state}");
    assert_eq!(state["node"]["enforcement"], "Enforce", "{state}");
    let link = machine.read("ip -details link show fast").unwrap();
    assert!(link.contains(&fast.mac), "{link}");
    let own = fast.addresses[0].to_string();
    let addresses = wait_for_address("it has EC2's address", machine, &fast, &own);
    assert!(!addresses.contains(ITS_ADDRESS), "{addresses}");
    let state = node.wait_ready(&other);
    assert_eq!(state["node"]["enforcement"], "Audit", "{state}");
    wait_for_address("networkd keeps it", machine, &other, ITS_ADDRESS);
    let inspect = type_in(machine, "eniway-agent inspect");
    for eni in [&fast, &other] {
        assert!(inspect.contains(eni.id.as_str()), "{inspect}");
    }
    let unit = type_in(machine, "systemctl is-enabled eniway-agent");
    assert_eq!(unit, "enabled");
    let log = type_in(machine, "journalctl --no-pager --unit=eniway-agent");
    assert!(
        log.contains("instance=") && !log.contains("CAP_PERFMON"),
        "{log}"
    );

    // Before the one for all others, as it is told.
    let (first, others) = guarded.split_once("\n[[interface]]").unwrap();
    write(&format!("{first}\n{bound}\n[[interface]]{others}"));
    type_in(machine, allow);
    machine.read(ACCEPT).unwrap();
    type_in(machine, restart);
    let state = node.wait_for("DPDK has it", &other, is_bound);
    let place = state["node"]["pciAddress"].as_str().unwrap();
    assert_eq!(driver(machine, place), "vfio-pci");
    assert_eq!(node.wait_ready(&fast)["node"]["xdp"]["mode"], "Native");

    write("");
    type_in(machine, restart);
    for eni in [&fast, &other] {
        node.wait_gone(eni);
        wait_for_address("networkd has it back", machine, eni, ITS_ADDRESS);
    }
    assert_eq!(driver(machine, place), "virtio-pci");
    let (_, leave) = section.split_once("To leave the instance").unwrap();
    let disable = "systemctl disable --now eniway-agent";
    assert!(leave.contains(disable), "{leave}");
    type_in(machine, disable);
    let traces = "find /run/eniway /sys/fs/bpf -type f -o -type l
        ls /run/systemd/network | grep eniway
        ip -details link show | grep -E 'xdp|altname fast'";
    let left = machine.run(traces).unwrap().output;
    assert_eq!(left, "");
}
