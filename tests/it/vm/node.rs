//! An instance of EC2 that is a machine, and the agent without Kubernetes on it.

use std::cell::Cell;
use std::sync::Arc;

use ec2_sim::Interface;
use lab::vm::{Card, Instance, Job, Kernel, Machine, Model, Options};
use lab::wait;
use serde_json::Value;

use super::{DEADLINE, SOON};

/// With what the unit of systemd leaves it: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_PTRACE. (The unit itself runs in
/// the test with systemd.)
const CONFINED: &str =
    "setpriv --bounding-set=-all,+cap_39,+net_admin,+cap_38,+sys_ptrace --no-new-privs --";

/// An instance and the agent on it.
pub(super) struct Node {
    instance: Instance,
    agent: Cell<Option<Job>>,
}

impl Node {
    pub(super) fn start(kernel: &Kernel, options: &Options, model: Model) -> Self {
        let instance = Instance::start(kernel, options, model, DEADLINE).unwrap();
        Self {
            instance,
            agent: Cell::default(),
        }
    }

    pub(super) fn machine(&self) -> &Machine {
        self.instance.machine()
    }

    pub(super) fn metadata_url(&self) -> String {
        self.instance.metadata_url()
    }

    /// Starts the agent, or starts it anew, with arguments and a file of wishes.
    pub(super) fn run_agent(&self, arguments: &str, file: &str) {
        if let Some(agent) = self.agent.take() {
            // It may not have begun yet.
            let kill = "until pkill -KILL -x eniway-agent; do sleep 0.1; done";
            self.machine().read(kill).unwrap();
            self.machine().wait(agent).unwrap();
        }
        let agent = eniway_tests::binary("eniway-agent");
        let metadata = self.metadata_url();
        let command = format!(
            "cat > /run/agent.toml << 'end of file'\n{file}\nend of file\n\
             exec {CONFINED} {} {arguments} --imds {metadata} --config /run/agent.toml",
            agent.display()
        );
        self.agent
            .set(Some(self.machine().begin(&command).unwrap()));
    }

    /// A power failure, after which no agent runs.
    pub(super) fn reboot(&self) {
        self.machine().reboot().unwrap();
        self.agent.set(None);
    }

    /// Attaches an ENI, and waits for its card.
    pub(super) fn attach(&self, index: u32) -> (Interface, Arc<Card>) {
        let eni = self.instance.attach("multus-a", index).unwrap();
        let card = wait::until("EC2 plugs the card", SOON, || self.instance.card(&eni));
        (eni, card.unwrap())
    }

    pub(super) fn detach(&self, eni: &Interface) {
        self.instance.detach(eni).unwrap();
    }

    /// What the agent tells of an ENI; `None`: nothing.
    pub(super) fn state(&self, eni: &Interface) -> Option<Value> {
        let path = format!("/run/eniway/interfaces/{}.json", eni.id);
        let ended = self.machine().run(&format!("cat {path}")).unwrap();
        serde_json::from_str(&ended.output).ok()
    }

    /// Waits until what the agent tells of an ENI is as `wanted` says; gives it.
    pub(super) fn wait_for(
        &self,
        what: &str,
        eni: &Interface,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait::until(what, SOON, || {
            let state = self.state(eni).unwrap_or_default();
            match wanted(&state) {
                true => Ok(state),
                false => Err(format!("{state}\n{}", self.log())),
            }
        })
        .unwrap()
    }

    pub(super) fn wait_ready(&self, eni: &Interface) -> Value {
        self.wait_for("the interface is ready", eni, |state| {
            state["node"]["phase"] == "Ready"
        })
    }

    /// Waits until the agent tells nothing of an ENI any more.
    pub(super) fn wait_gone(&self, eni: &Interface) {
        wait::until("the agent is done with the ENI", SOON, || {
            match self.state(eni) {
                Some(state) => Err(format!("{state}\n{}", self.log())),
                None => Ok(()),
            }
        })
        .unwrap();
    }

    /// What the agent said, by whoever it was started.
    fn log(&self) -> String {
        match self.agent.get() {
            Some(agent) => self.machine().output(agent),
            None => self
                .machine()
                .run("journalctl --no-pager --lines=50 --unit=eniway-agent")
                .map(|ended| ended.output)
                .unwrap_or_default(),
        }
    }
}
