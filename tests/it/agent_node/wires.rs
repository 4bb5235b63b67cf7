//! EC2's part and everybody else's: cables, packets, counters, pins, programs of others.

use std::{path::Path, process::Child};

use eniway_agent::bpf::{Bpf, Guard, GuardConfig, Mode, WantedIngress};
use lab::wait;

use super::{AgentNode, DEADLINE, Eni};

impl AgentNode {
    /// What EC2's hot plug does: the ENI appears in the node's namespace.
    pub(crate) fn plug(&self, eni: Eni) {
        let (name, mac, far) = (eni.name(), eni.mac(), format!("vpc{}", eni.0));
        self.ip(&format!(
            "link add {name} address {mac} type veth peer name {far}"
        ));
        self.ip(&format!("link set {far} netns vpc"));
        self.vpc(&format!("ip link set {far} up"));
    }

    /// Attaches an XDP program that this node's agent has not pinned.
    pub(crate) fn attach_foreign_xdp(&self, eni: Eni) {
        let config = GuardConfig {
            mac: [2, 0, 0, 0, 0, eni.0],
            mode: Mode::Off,
            source_dest_check: false,
            addresses: Vec::new(),
            subnets: Vec::new(),
        };
        let guard = Guard {
            ingress: WantedIngress::XdpNative,
            config,
            steering: Vec::new(),
        };
        let path = format!("/sys/class/net/{}/ifindex", eni.name());
        self.foreign(move |bpf| {
            let index = std::fs::read_to_string(path).unwrap().trim().parse();
            bpf.attach("eni-f", index.unwrap(), &guard).unwrap();
        });
    }

    pub(crate) fn detach_foreign_xdp(&self) {
        self.foreign(|bpf| bpf.detach("eni-f").unwrap());
    }

    fn foreign(&self, work: impl FnOnce(&mut Bpf) + Send) {
        let root = Path::new("/sys/fs/bpf/someone-else");
        let run = || work(&mut Bpf::open(root).unwrap());
        self.node.run(run).unwrap();
    }

    /// Runs `ip` on the node.
    pub(crate) fn ip(&self, words: &str) -> String {
        let ip = self.node.command("ip").args(words.split_whitespace());
        ip.read().unwrap()
    }

    /// Runs something at the other end of the cable.
    pub(crate) fn vpc(&self, words: &str) -> String {
        self.ip(&format!("netns exec vpc {words}"))
    }

    /// Starts something at the other end of the cable.
    pub(crate) fn vpc_spawn(&self, words: &str) -> Child {
        let ip = self.node.command("ip").args(["netns", "exec", "vpc"]);
        let ip = ip.args(words.split_whitespace());
        ip.stdout(std::process::Stdio::piped()).spawn().unwrap()
    }

    /// Whether the VPC gets an answer from `address`.
    pub(crate) fn answers(&self, address: &str) -> bool {
        let ping = self
            .node
            .command("ip")
            .args("netns exec vpc ping -c1 -W1".split(' '))
            .arg(address);
        ping.output().unwrap().status.success()
    }

    /// The packets counted for `eni`: the sum of the lines that contain every one of `labels`.
    pub(crate) fn packets(&self, eni: Eni, labels: &[&str]) -> u64 {
        self.packets_of(&eni.id(), labels)
    }

    /// The same for an ENI that EC2 named.
    pub(crate) fn packets_of(&self, id: &str, labels: &[&str]) -> u64 {
        let metrics = self.metrics("/metrics");
        metrics
            .lines()
            .filter(|line| line.starts_with("eniway_agent_packets_total") && line.contains(id))
            .filter(|line| {
                labels
                    .iter()
                    .all(|label| line.contains(&format!("\"{label}\"")))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What the agent serves at `path`, headers included.
    pub(crate) fn metrics(&self, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let answer = wait::until("the agent serves", DEADLINE, || {
            let mut stream = self
                .node
                .tcp_connect("127.0.0.1:8081")
                .map_err(|error| error.to_string())?;
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            let mut text = String::new();
            stream
                .write_all(request.as_bytes())
                .and_then(|()| stream.read_to_string(&mut text))
                .map_err(|error| error.to_string())?;
            Ok(text)
        });
        answer.unwrap()
    }

    /// The pins of `eni` that exist on the node.
    pub(crate) fn pins(&self, eni: Eni) -> Vec<String> {
        self.pins_of(&eni.id())
    }

    /// The same for an ENI that EC2 named.
    pub(crate) fn pins_of(&self, id: &str) -> Vec<String> {
        let find = self.node.command("find").args(["/sys/fs/bpf"]);
        let all = find.read().unwrap();
        all.lines()
            .filter(|line| line.contains(id))
            .map(str::to_owned)
            .collect()
    }
}
