//! The guard on a real driver, virtio's, in a virtual machine of the tests: attached, replaced under traffic, refused,
//! carried into a pod and back. Ends with an error at the first thing that is not so.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its words are what it is for")]

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use eniway_agent::bpf::{
    self, Bpf, Direction, Guard, GuardConfig, IngressMode, Mode, Outcome, Reason, WantedIngress,
};

const ENI: &str = "eni-0123456789abcdef0";
/// The ENI and the host of the VPC.
const MAC: &str = "02:00:00:00:00:0a";
const HOST: &str = "02:00:00:00:00:14";
const PINS: &str = "/sys/fs/bpf/eniway";

fn main() -> anyhow::Result<()> {
    let (eni, host) = (by_mac(MAC)?, by_mac(HOST)?);
    ip("netns add vpc")?;
    ip(&format!("link set {host} netns vpc"))?;
    vpc(&format!("ip address add 10.0.1.20/24 dev {host}"))?;
    vpc(&format!("ip link set {host} up"))?;
    for address in ["10.0.1.10", "10.0.1.11"] {
        ip(&format!("address add {address}/24 dev {eni}"))?;
        vpc(&format!(
            "ip neighbour add {address} lladdr {MAC} dev {host}"
        ))?;
    }
    ip(&format!("link set {eni} up"))?;
    ensure!(
        answers("10.0.1.10") && answers("10.0.1.11"),
        "the link works"
    );

    let mut bpf = Bpf::open(Path::new(PINS))?;
    let report = bpf.attach(ENI, index(&eni)?, &guard(WantedIngress::XdpNative))?;
    ensure!(report.mode == IngressMode::XdpNative, "native: {report:?}");
    println!(
        "native XDP in virtio, frags {}, TCX {}",
        report.frags, report.tcx
    );
    ensure!(answers("10.0.1.10"), "its own address passes");
    ensure!(!answers("10.0.1.11"), "another is dropped");
    ensure!(strangers(&bpf)? > 0, "and counted");

    let flow = vpc_spawn("ping -i 0.05 -c 60 -W 2 10.0.1.10")?;
    for _ in 0..5 {
        bpf.attach(ENI, index(&eni)?, &guard(WantedIngress::XdpNative))?;
    }
    let said = String::from_utf8(flow.wait_with_output()?.stdout)?;
    ensure!(
        said.contains("60 received"),
        "replaced under traffic: {said}"
    );
    println!("replaced five times, no packet lost");

    refused(&mut bpf, &eni)?;
    in_pod(&mut bpf, &eni)?;

    bpf.detach(ENI)?;
    let link = ip(&format!("-details link show {eni}"))?;
    ensure!(!link.contains("xdp"), "nothing is left: {link}");
    ensure!(answers("10.0.1.11"), "nobody checks any more");
    println!("removed");
    Ok(())
}

/// Frames too large for one buffer: native XDP is refused in the driver's words, and the check runs all the same.
fn refused(bpf: &mut Bpf, eni: &str) -> anyhow::Result<()> {
    bpf.detach(ENI)?;
    ip(&format!("link set {eni} mtu 9001"))?;
    let abilities = bpf::Kernel {
        frags: false,
        ..bpf::Kernel::current()?
    };
    let mut plain = Bpf::with_kernel(Path::new(PINS), abilities)?;
    let report = plain.attach(ENI, index(eni)?, &guard(WantedIngress::XdpAuto))?;
    ensure!(report.mode == IngressMode::Tc, "MTU 9001: {report:?}");
    println!("MTU 9001: {}", report.reason.context("a reason is given")?);
    ensure!(!answers("10.0.1.11"), "TC checks instead");
    plain.detach(ENI)?;
    ip(&format!("link set {eni} mtu 1500"))?;
    bpf.attach(ENI, index(eni)?, &guard(WantedIngress::XdpNative))?;
    Ok(())
}

/// The pod that has the interface dies, and takes its namespace along: the kernel gives the device back.
fn in_pod(bpf: &mut Bpf, eni: &str) -> anyhow::Result<()> {
    ip("netns add pod")?;
    ip(&format!("link set {eni} netns pod"))?;
    for address in ["10.0.1.10", "10.0.1.11"] {
        ip(&format!("-n pod address add {address}/24 dev {eni}"))?;
    }
    ip(&format!("-n pod link set {eni} up"))?;
    ensure!(answers("10.0.1.10"), "the pod answers");
    ensure!(!answers("10.0.1.11"), "and is guarded");
    ip("netns delete pod")?;
    let path = format!("/sys/class/net/{eni}");
    for _ in 0..100 {
        if Path::new(&path).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let back = index(eni).context("the kernel gives the device back")?;
    let attached = bpf.attached()?;
    let attached = attached.iter().find(|one| one.eni == ENI);
    let attached = attached.context("it is still pinned")?;
    ensure!(
        attached.ingress.is_some(),
        "the check of what arrives came along"
    );
    ensure!(attached.ifindex == back, "{attached:?} is not at {back}");
    let report = bpf.attach(ENI, back, &guard(WantedIngress::XdpNative))?;
    ensure!(
        report.mode == IngressMode::XdpNative,
        "as before: {report:?}"
    );
    for address in ["10.0.1.10", "10.0.1.11"] {
        ip(&format!("address add {address}/24 dev {eni}"))?;
    }
    ip(&format!("link set {eni} up"))?;
    ensure!(
        answers("10.0.1.10") && !answers("10.0.1.11"),
        "back, and guarded"
    );
    println!("came back from a pod that died");
    Ok(())
}

fn guard(ingress: WantedIngress) -> Guard {
    let parse = |net: &str| net.parse().expect("written here");
    Guard {
        ingress,
        config: GuardConfig {
            mac: [2, 0, 0, 0, 0, 0x0a],
            mode: Mode::Enforce,
            source_dest_check: true,
            addresses: vec![parse("10.0.1.10/32")],
            subnets: vec![parse("10.0.1.0/24")],
        },
        steering: Vec::new(),
    }
}

fn strangers(bpf: &Bpf) -> anyhow::Result<u64> {
    let counts = bpf.counters(ENI)?.into_iter();
    let dropped = counts.filter(|count| {
        (count.direction, count.reason, count.outcome)
            == (
                Direction::Ingress,
                Reason::DestinationMismatch,
                Outcome::Dropped,
            )
    });
    Ok(dropped.map(|count| count.packets).sum())
}

/// The interface with a MAC address; its driver must be virtio's.
fn by_mac(mac: &str) -> anyhow::Result<String> {
    for entry in fs::read_dir("/sys/class/net")? {
        let path = entry?.path();
        let address = fs::read_to_string(path.join("address"))?;
        if address.trim() != mac {
            continue;
        }
        let driver = fs::read_link(path.join("device/driver"))?;
        ensure!(driver.ends_with("virtio_net"), "{mac} has {driver:?}");
        let name = path.file_name().context("a folder has a name")?;
        return Ok(name.to_string_lossy().into_owned());
    }
    anyhow::bail!("no interface has the address {mac}")
}

fn index(name: &str) -> anyhow::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(text.trim().parse()?)
}

fn answers(address: &str) -> bool {
    vpc(&format!("ping -c 1 -W 3 {address}")).is_ok()
}

fn ip(words: &str) -> anyhow::Result<String> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn vpc(words: &str) -> anyhow::Result<String> {
    ip(&format!("netns exec vpc {words}"))
}

fn vpc_spawn(words: &str) -> anyhow::Result<std::process::Child> {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", "vpc"]).args(words.split(' '));
    Ok(ping.stdout(std::process::Stdio::piped()).spawn()?)
}
