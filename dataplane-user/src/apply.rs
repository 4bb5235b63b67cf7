//! Carries out one action: the only place that changes the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    error,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use eniway_api::EniId;
use tracing::debug;

use crate::{
    bpf::{self, AttachReport, Attached, Bpf, Count, Note, Setting},
    netlink::{self, Device, IfIndex, Nat, Netlink, Stack},
    networkd::{self, Networkd},
    observe::Interface,
    pci::{self, Pci},
    plan::{Action, dpdk::Step, network::Change},
    status::{Failure, Reason},
    sysctl::{self, Sysctl, Sysctls},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Bpf(#[from] bpf::Error),
    #[error(transparent)]
    Sysctl(#[from] sysctl::Error),
    #[error(transparent)]
    Pci(#[from] pci::Error),
    #[error(transparent)]
    Networkd(#[from] networkd::Error),
    #[error("the thread that handles BPF programs died")]
    Thread(#[source] tokio::task::JoinError),
}

/// The kernel's doors, and that of who else configures interfaces.
#[derive(Clone)]
pub struct Kernel {
    netlink: Netlink,
    nat: Nat,
    sysctls: Sysctls,
    pci: Pci,
    networkd: Networkd,
    programs: Programs,
}

/// The BPF programs, shared with the metrics. Opened at first use, and again after it failed, because
/// a missing bpffs can be mounted while the agent runs.
#[derive(Clone)]
pub struct Programs {
    root: PathBuf,
    bpf: Arc<Mutex<Option<Bpf>>>,
}

impl Kernel {
    #[must_use]
    pub fn new(
        netlink: Netlink,
        sysctls: Sysctls,
        pci: Pci,
        networkd: Networkd,
        programs: Programs,
    ) -> Self {
        Self {
            netlink,
            nat: Nat::default(),
            sysctls,
            pci,
            networkd,
            programs,
        }
    }

    pub async fn links(&self) -> Result<Vec<netlink::Link>, Error> {
        Ok(self.netlink.links().await?)
    }

    /// Everybody's addresses, our routes and rules, and the sources that are kept.
    pub async fn stack(&self) -> Result<Stack, Error> {
        let stack = self.netlink.stack().await?;
        let sources = self.nat.sources().await?;
        Ok(Stack { sources, ..stack })
    }

    /// A setting of an interface, or of `all`.
    #[must_use]
    pub fn sysctl(&self, sysctl: Sysctl, interface: &str) -> Option<u32> {
        self.sysctls.get(sysctl, interface)
    }

    /// The ENIs that systemd-networkd leaves alone; `None`: it is not here.
    #[must_use]
    pub fn unmanaged(&self) -> Option<BTreeSet<String>> {
        self.networkd.unmanaged()
    }

    /// Makes ready for the next ENI.
    pub fn prepare(&self) {
        self.programs.prepare();
    }

    /// What is pinned.
    pub async fn attached(&self) -> Result<Vec<Attached>, Error> {
        self.programs.with(|bpf| bpf.attached()).await
    }

    /// What was there before ours, of each ENI for which `setting` was changed.
    pub async fn found(&self, setting: Setting) -> Result<BTreeMap<String, u32>, Error> {
        self.programs.with(move |bpf| bpf.found(setting)).await
    }

    /// What is written down of each ENI.
    pub async fn notes(&self, note: Note) -> Result<BTreeMap<String, String>, Error> {
        self.programs.with(move |bpf| bpf.notes(note)).await
    }

    /// The door to PCI functions.
    #[must_use]
    pub const fn pci(&self) -> &Pci {
        &self.pci
    }

    /// The interface by which the node's own default route leads.
    pub async fn default_interface(&self) -> Result<Option<IfIndex>, Error> {
        Ok(self.netlink.default_interface().await?)
    }

    /// What the driver of an interface tells.
    pub async fn device(&self, interface: &Interface) -> Device {
        netlink::device(interface.index, interface.name.clone()).await
    }

    /// Carries out `action`. What an attachment turned out to be is reported.
    pub async fn apply(&self, action: &Action) -> Result<Option<AttachReport>, Error> {
        match action.clone() {
            // First remembered, then changed: a crash in between loses nothing.
            Action::SetMtu {
                eni,
                index,
                found,
                mtu,
                ..
            } => {
                self.keep(Setting::Mtu, eni, found).await?;
                self.netlink.set_mtu(index, mtu).await?;
            }
            Action::RestoreMtu {
                eni, index, mtu, ..
            } => {
                self.netlink.set_mtu(index, mtu).await?;
                self.forget(Setting::Mtu, eni).await?;
            }
            Action::ForgetMtu { eni } => self.forget(Setting::Mtu, eni).await?,
            Action::SetChannels {
                eni,
                name,
                found,
                channels,
            } => {
                self.keep(Setting::Channels, eni, found).await?;
                netlink::set_channels(name, channels).await?;
            }
            Action::RestoreChannels {
                eni,
                name,
                channels,
            } => {
                netlink::set_channels(name, channels).await?;
                self.forget(Setting::Channels, eni).await?;
            }
            Action::ForgetChannels { eni } => self.forget(Setting::Channels, eni).await?,
            Action::SetUp { index, .. } => self.netlink.set_up(index).await?,
            Action::AttachGuard {
                eni, index, guard, ..
            } => {
                let attach = move |bpf: &mut Bpf| bpf.attach(eni.as_str(), index, &guard);
                return self.programs.with(attach).await.map(Some);
            }
            Action::ReplaceGuard { eni, guard } => {
                let replace = move |bpf: &mut Bpf| bpf.replace(eni.as_str(), &guard);
                self.programs.with(replace).await?;
            }
            Action::ConfigureGuard { eni, config } => {
                let configure = move |bpf: &mut Bpf| bpf.configure(eni.as_str(), &config);
                self.programs.with(configure).await?;
            }
            Action::DetachGuard { eni } => {
                let detach = move |bpf: &mut Bpf| bpf.detach(eni.as_str());
                self.programs.with(detach).await?;
            }
            Action::RemovePod { eni, interface } => {
                let remove = move |bpf: &mut Bpf| bpf.remove_pod(eni.as_str(), interface);
                self.programs.with(remove).await?;
            }
            Action::Network(change) => self.change(change).await?,
            Action::Device(step) => self.step(step).await?,
        }
        Ok(None)
    }

    async fn step(&self, step: Step) -> Result<(), Error> {
        match step {
            Step::Keep { eni, kept } => {
                self.keep_note(Note::Device, eni, kept.to_string()).await?;
            }
            Step::Override { address, driver } => {
                let driver = driver.as_deref();
                self.pci.override_driver(&address, driver).await?;
            }
            Step::Unbind { address, driver } => self.pci.unbind(&address, &driver).await?,
            Step::Probe { address, driver } => self.pci.probe(&address, &driver).await?,
            Step::Forget { eni } => self.forget_note(Note::Device, eni).await?,
        }
        Ok(())
    }

    async fn change(&self, change: Change) -> Result<(), Error> {
        let netlink = &self.netlink;
        match change {
            Change::AddName {
                eni, index, name, ..
            } => {
                self.keep_note(Note::Name, eni, name.clone()).await?;
                netlink.add_name(index, &name).await?;
            }
            Change::RemoveName {
                eni, index, name, ..
            } => {
                netlink.remove_name(index, &name).await?;
                self.forget_note(Note::Name, eni).await?;
            }
            Change::ForgetName { eni } => self.forget_note(Note::Name, eni).await?,
            Change::Set {
                eni,
                interface,
                sysctl,
                found,
                value,
            } => {
                self.keep(Setting::Sysctl(sysctl), eni, found).await?;
                self.sysctls.set(sysctl, &interface, value)?;
            }
            Change::Restore {
                eni,
                interface,
                sysctl,
                value,
            } => {
                self.sysctls.set(sysctl, &interface, value)?;
                self.forget(Setting::Sysctl(sysctl), eni).await?;
            }
            Change::Forget { eni, sysctl } => self.forget(Setting::Sysctl(sysctl), eni).await?,
            Change::AddAddress { index, address, .. } => {
                netlink.add_address(index, address).await?;
            }
            Change::RemoveAddress { index, address, .. } => {
                netlink.remove_address(index, address).await?;
            }
            Change::AddRoute(route) => netlink.add_route(route).await?,
            Change::RemoveRoute(route) => netlink.remove_route(route).await?,
            Change::AddRule(rule) => netlink.add_rule(rule).await?,
            Change::RemoveRule(rule) => netlink.remove_rule(rule).await?,
            Change::KeepSource(source) => self.nat.keep(source).await?,
            Change::FreeSource(source) => self.nat.free(source).await?,
            Change::Unmanage { eni, mac } => self.networkd.unmanage(&eni, mac).await?,
            Change::Manage { eni } => self.networkd.manage(&eni).await?,
        }
        Ok(())
    }

    async fn keep(&self, setting: Setting, eni: EniId, found: u32) -> Result<(), Error> {
        let keep = move |bpf: &mut Bpf| bpf.keep(setting, eni.as_str(), found);
        self.programs.with(keep).await
    }

    async fn keep_note(&self, note: Note, eni: EniId, text: String) -> Result<(), Error> {
        let keep = move |bpf: &mut Bpf| bpf.keep_note(note, eni.as_str(), &text);
        self.programs.with(keep).await
    }

    async fn forget_note(&self, note: Note, eni: EniId) -> Result<(), Error> {
        let forget = move |bpf: &mut Bpf| bpf.forget_note(note, eni.as_str());
        self.programs.with(forget).await
    }

    async fn forget(&self, setting: Setting, eni: EniId) -> Result<(), Error> {
        let forget = move |bpf: &mut Bpf| bpf.forget(setting, eni.as_str());
        self.programs.with(forget).await
    }
}

impl Programs {
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        let bpf = Arc::default();
        Self { root, bpf }
    }

    /// With programs that are open already.
    #[must_use]
    pub fn opened(root: PathBuf, bpf: Bpf) -> Self {
        let bpf = Arc::new(Mutex::new(Some(bpf)));
        Self { root, bpf }
    }

    /// The counters of every ENI.
    pub async fn counts(&self) -> Result<Vec<(String, Vec<Count>)>, Error> {
        let count = |bpf: &mut Bpf| {
            let enis = bpf.attached()?.into_iter().map(|attached| attached.eni);
            enis.map(|eni| bpf.counters(&eni).map(|counts| (eni, counts)))
                .collect()
        };
        self.with(count).await
    }

    /// The map of an ENI's AF_XDP sockets.
    pub async fn sockets(&self, eni: &str) -> Result<OwnedFd, Error> {
        let eni = eni.to_owned();
        self.with(move |bpf| bpf.sockets(&eni)).await
    }

    /// Loads programs for the next ENI, when nothing else is to be done. Without them it takes longer.
    pub fn prepare(&self) {
        let programs = self.clone();
        tokio::spawn(async move {
            if let Err(error) = programs.with(Bpf::prepare).await {
                debug!(error = %Chain(&error), "No programs are kept ready");
            }
        });
    }

    /// Runs `work` on a thread of its own: the first native XDP program resets an ENA device, which
    /// takes most of a second.
    pub(crate) async fn with<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&mut Bpf) -> Result<T, bpf::Error> + Send + 'static,
    {
        let Self { root, bpf } = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // A panic in earlier work leaves pins as any crash does: the next attachment mends them.
            let mut bpf = bpf.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *bpf {
                Some(bpf) => work(bpf),
                None => work(bpf.insert(Bpf::open(&root)?)),
            }
        });
        Ok(done.await.map_err(Error::Thread)??)
    }
}

/// What a failed action means to the user.
#[must_use]
pub fn failure(action: &Action, error: &Error) -> Failure {
    let reason = match (action, error) {
        (_, Error::Bpf(error)) => reason(error),
        (Action::SetMtu { .. } | Action::RestoreMtu { .. }, _) => Reason::MtuRefused,
        (Action::SetChannels { .. } | Action::RestoreChannels { .. }, _) => Reason::ChannelsRefused,
        (Action::SetUp { .. }, _) => Reason::SetUpFailed,
        (Action::Network(_), _) => Reason::NetworkRefused,
        (_, Error::Pci(pci::Error::Slow { .. } | pci::Error::Busy { .. })) => Reason::InUse,
        (Action::Device(_), _) => Reason::DriverRefused,
        _ => Reason::GuardFailed,
    };
    let message = brief(&format!("{action}: {}", Chain(error)));
    Failure { reason, message }
}

/// What it means to the user that the pins cannot be read.
#[must_use]
pub fn unseen(error: &Error) -> Failure {
    let reason = match error {
        Error::Bpf(error) => reason(error),
        Error::Netlink(_)
        | Error::Sysctl(_)
        | Error::Pci(_)
        | Error::Networkd(_)
        | Error::Thread(_) => Reason::GuardFailed,
    };
    let message = brief(&format!("look at the pins: {}", Chain(error)));
    Failure { reason, message }
}

fn reason(error: &bpf::Error) -> Reason {
    match error {
        bpf::Error::NotBpffs { .. } | bpf::Error::Pin { .. } => Reason::BpffsUnavailable,
        bpf::Error::Foreign { .. } => Reason::ForeignProgram,
        bpf::Error::MapFull { .. } => Reason::MapFull,
        bpf::Error::Attach { .. } | bpf::Error::Program { .. } => Reason::ProgramRefused,
        _ => Reason::GuardFailed,
    }
}

/// The start and the end of a message, which say what was attempted and why it failed; between them
/// a verifier's log may have thousands of lines, and stands in the agent's own.
pub(crate) fn brief(message: &str) -> String {
    /// Characters of either part.
    const PART: usize = 400;
    let length = message.chars().count();
    if length <= 2 * PART {
        return message.to_owned();
    }
    let start: String = message.chars().take(PART).collect();
    let end: String = message.chars().skip(length - PART).collect();
    format!("{start} … {end}")
}

/// An error with its causes, in one line.
pub struct Chain<'a>(pub &'a (dyn error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_of_a_driver_is_told_in_its_words() {
        let action = Action::Device(Step::Unbind {
            address: "0000:00:06.0".to_owned(),
            driver: "ena".to_owned(),
        });
        for (code, words) in [
            (libc::EBUSY, "Device or resource busy"),
            (libc::ENODEV, "No such device"),
            (libc::EPERM, "Operation not permitted"),
        ] {
            let error = Error::Pci(pci::Error::Write {
                text: "0000:00:06.0".to_owned(),
                path: "/sys/bus/pci/drivers/ena/unbind".into(),
                source: std::io::Error::from_raw_os_error(code),
            });
            let failure = failure(&action, &error);
            assert_eq!(failure.reason, Reason::DriverRefused);
            let said = format!(
                "take 0000:00:06.0 from ena: write \"0000:00:06.0\" to /sys/bus/pci/drivers/ena/unbind: {words}"
            );
            assert!(failure.message.starts_with(&said), "{}", failure.message);
        }
        let slow = Error::Pci(pci::Error::Busy {
            address: "0000:00:06.0".to_owned(),
        });
        assert_eq!(failure(&action, &slow).reason, Reason::InUse);
    }

    #[test]
    fn a_long_message_keeps_its_two_ends() {
        let log = format!(
            "load the program: {}: Permission denied",
            "r1 = r2\n".repeat(500)
        );
        let short = brief(&log);
        assert!(short.starts_with("load the program: "));
        assert!(short.ends_with(": Permission denied"));
        assert!(short.chars().count() < 810);
        assert_eq!(brief("no"), "no");
    }
}
