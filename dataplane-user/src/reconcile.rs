//! The loop: whenever a record or a link changes, brings the kernel to what the records ask for.
//!
//! *Expected flow*: look at everything, plan for each record, apply, look again, until a plan is empty
//! or an action fails; then say in the record's status what is there.
//!
//! *Guarantees*: level-triggered, so a lost event, a restart and a crash at any moment lead to the same
//! end. A failed action is tried again, ever slower, and at once when its record or interface changes.

mod alarm;
mod aside;
mod device;
mod memory;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::{Duration, Instant},
};

use eniway_api::{EniId, InstanceId, NodePhase, NodeStatus};
use futures::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    alarm::{Alarm, backoff},
    memory::{Failed, Memory},
    store::Store,
};
use crate::{
    apply::{self, Chain, Kernel},
    bpf::{self, Attached, Note, Setting},
    desired::{Record, Wish},
    devices::Devices,
    kubernetes::Change,
    metadata::Metadata,
    netlink::{self, Changes, Link, Stack},
    observe::{self, Accept, Presence},
    plan::{
        Action, Found, Observed,
        network::{self, Shown},
        orphans, plan, sources,
        steering::{Target, Targets},
    },
    pods::{Offer, Offers},
    proc::Proc,
    records::Records,
    states::States,
    status::{self, Failure, Reason, Situation},
    sysctl::Sysctl,
    sysfs::Sysfs,
    telemetry::Metrics,
};

/// How often one record is planned anew in one round. Three bring any interface to its end, and six to DPDK's driver; a
/// plan that is still not empty waits for the kernel's next event.
const PASSES: usize = 8;

/// Everything the loop works with.
pub struct Agent {
    pub instance: InstanceId,
    pub kernel: Kernel,
    pub records: Records,
    pub sysfs: Sysfs,
    pub accept: Accept,
    pub proc: Proc,
    /// Whether devices may go to DPDK without an IOMMU.
    pub may_no_iommu: bool,
    pub metrics: Metrics,
    pub offers: Offers,
    /// Absent: none is offered.
    pub devices: Option<Offering>,
    pub metadata: Metadata,
    /// Where applications read of their interfaces, beside the statuses of the records.
    pub states: Option<States>,
}

/// Where devices are offered, and who says which pod has one.
pub struct Offering {
    pub devices: Devices,
    pub pods: eniway_kubelet::Pods,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the kernel closed the socket on which it tells of changed links")]
    LinksClosed,
    #[error("the watch of this node's records ended")]
    WatchEnded,
}

/// How often it is looked for what the kernel tells no event of: somebody changed a setting.
const SETTINGS: Duration = Duration::from_secs(60);

/// What bpffs holds: guards, and what there was before ours, by ENI.
struct Pinned {
    attached: Vec<Attached>,
    found: Found,
}

/// What one look at the kernel showed.
struct World {
    links: Vec<Link>,
    stack: Stack,
    /// Without a bpffs nothing can be seen, and what is attached is not known.
    attached: Result<Vec<Attached>, Failure>,
    found: Found,
}

impl Agent {
    /// Runs until `shutdown`. Programs stay attached: the data path does not depend on the agent.
    pub async fn run(
        &self,
        changes: impl Stream<Item = Change>,
        mut links: Changes,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let mut changes = pin!(changes.ready_chunks(64));
        let mut store = Store::default();
        let mut alarm = Alarm::default();
        let mut metadata = self.metadata.clone();
        loop {
            tokio::select! {
                batch = changes.next() => {
                    for change in batch.ok_or(Error::WatchEnded)? {
                        store.change(change);
                    }
                }
                changed = links.next() => changed.ok_or(Error::LinksClosed)?,
                () = metadata.changed() => {}
                () = alarm.ring() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            if store.synced {
                alarm = self.round(&mut store, Instant::now()).await;
                self.kernel.prepare();
            }
        }
    }

    async fn round(&self, store: &mut Store, woken: Instant) -> Alarm {
        let mut alarm = Alarm::default();
        let names: Vec<String> = store.records.keys().cloned().collect();
        for name in names {
            let Some(record) = store.records.get_mut(&name) else {
                continue;
            };
            if record.is_of_other_instance(&self.instance) {
                debug!(record = name, "Record of another instance ignored");
                continue;
            }
            let memory = store.memories.entry(record.uid()).or_default();
            let wish = match &*record {
                Record::Readable(readable) => Ok(self.wish(readable, memory, &mut alarm)),
                Record::Unreadable(unreadable) => {
                    let release = unreadable.release.clone();
                    release.ok_or_else(|| status::unreadable(unreadable))
                }
            };
            let status = match wish {
                Ok(wish) => self.pursue(&wish, record, memory, &mut alarm).await,
                Err(told) => Some(told),
            };
            let Some(status) = status else { continue };
            let before = record.status().map(|status| status.phase);
            if let Some(took) = memory.set_up(before, status.phase, woken) {
                self.metrics.set_up(took);
            }
            memory.phase = status.phase;
            self.tell_applications(record, &status);
            self.report(record, status, &mut alarm).await;
        }
        if let Some(Offering { devices, .. }) = &self.devices {
            devices.keep(|eni| store.enis().any(|one| one.as_str() == eni));
        }
        self.remove_orphans(store, &mut alarm).await;
        let phases = store.memories.values().map(|memory| memory.phase);
        self.metrics.looked(phases);
        self.metrics.tell_interfaces(store.interfaces());
        self.metadata.ask_for(store.macs(&self.instance));
        alarm
    }

    /// Goes from wish to status for one record. `None`: the kernel could not be looked at.
    async fn pursue(
        &self,
        wish: &Wish,
        record: &Record,
        memory: &mut Memory,
        alarm: &mut Alarm,
    ) -> Option<NodeStatus> {
        self.withdraw_device(wish);
        let mut passes = 0;
        loop {
            let world = self.look(alarm).await?;
            let now = Instant::now();
            if let (Wish::Release { eni: Some(_), .. }, Err(failure)) = (wish, &world.attached) {
                alarm.at(now + backoff(3));
                return Some(status::unreleased(failure, record.generation()));
            }
            let presence = self.presence(wish, &world).await;
            memory.interface = presence.name().map(str::to_owned);
            let attached = wish.eni().and_then(|eni| world.attached(eni));
            let targets = self.targets(wish, &world).await;
            let network = self.network(wish, &presence, &world);
            let last = record.status();
            let device = self.device(wish, &presence, &world, last).await;
            let links = world.links.iter().map(|link| link.index).collect();
            let is_elsewhere = attached.is_some() || device.kept.is_some();
            let missing = memory.missing(wish, &presence, is_elsewhere, now, alarm);
            let observed = Observed {
                presence: &presence,
                attached,
                found_mtu: of(&world.found.mtus, wish),
                found_channels: of(&world.found.channels, wish),
                in_force: memory.in_force.as_ref(),
                targets: &targets,
                network: &network,
                links: &links,
                device: &device,
            };
            let actions = plan(wish, &observed);
            if memory.failed.as_ref().is_some_and(|failed| {
                actions.is_empty() || failed.wish != *wish || failed.presence != presence
            }) {
                memory.failed = None;
            }
            let waits = memory
                .failed
                .as_ref()
                .is_some_and(|failed| now < failed.retry_at);
            if actions.is_empty() || waits || passes == PASSES {
                match &memory.failed {
                    Some(failed) => alarm.at(failed.retry_at),
                    None if !actions.is_empty() => alarm.at(now + backoff(1)),
                    None if asks_for_settings(wish) => alarm.at(now + SETTINGS),
                    None => {
                        if let Some(patience) = device::patience(wish, &device) {
                            alarm.at(now + patience);
                        }
                    }
                }
                let situation = Situation {
                    wish,
                    observed,
                    unfinished: !actions.is_empty(),
                    failure: memory.failed.as_ref().map(|failed| &failed.failure),
                    xdp_reason: memory.xdp_reason.as_deref(),
                    missing,
                    generation: record.generation(),
                    difference: memory.lasting_difference(now),
                    last,
                };
                let status = status::status(&situation);
                self.offer(wish, &presence, &status);
                if let Some(again) = self.offer_device(wish, &device, &status).await {
                    alarm.at(now + again);
                }
                // The kernel does not tell when another interface begins to take packets from XDP.
                if status.reason.as_deref() == Some(Reason::SteeringRefused.as_str()) {
                    alarm.at(now + backoff(4));
                }
                return Some(status);
            }
            passes += 1;
            let attempts = memory.failed.as_ref().map_or(0, |failed| failed.attempts) + 1;
            let failure = self.apply_all(&actions, memory).await;
            memory.failed = failure.map(|failure| Failed {
                failure,
                wish: wish.clone(),
                presence,
                attempts,
                retry_at: Instant::now() + backoff(attempts),
            });
        }
    }

    /// Tells those who make pods' interfaces what the ENI has for pods: something only while all is as it should be.
    fn offer(&self, wish: &Wish, presence: &Presence, status: &NodeStatus) {
        let Some(eni) = wish.eni() else { return };
        let offer = match (wish, presence, status.phase) {
            (Wish::Provide(desired), Presence::Present(interface), NodePhase::Ready) => {
                let names = interface.other_names.iter().chain([&interface.name]);
                desired.network.table.map(|table| Offer {
                    names: names.cloned().collect(),
                    addresses: desired.network.pods.clone(),
                    subnets: desired.config.subnets.clone(),
                    mtu: interface.mtu,
                    table,
                })
            }
            _ => None,
        };
        self.offers.tell(eni.as_str(), offer);
    }

    /// Carries out every action, because they do not depend on each other, and returns the first that
    /// failed.
    async fn apply_all(&self, actions: &[Action], memory: &mut Memory) -> Option<Failure> {
        let mut first = None;
        for action in actions {
            let applied = self.kernel.apply(action).await;
            self.metrics.acted(action, applied.is_ok());
            match applied {
                Ok(report) => {
                    info!(%action, "Applied");
                    let shortfall = memory.applied(action, report);
                    if let Some(failure) = shortfall {
                        first.get_or_insert(failure);
                    }
                }
                Err(error) => {
                    warn!(%action, error = %Chain(&error), "Action failed");
                    first.get_or_insert_with(|| apply::failure(action, &error));
                }
            }
        }
        first
    }

    async fn look(&self, alarm: &mut Alarm) -> Option<World> {
        let unseen = |error: apply::Error| {
            warn!(error = %Chain(&error), "Pins unreadable");
            apply::unseen(&error)
        };
        // Before the links: a pod that comes in between has its veth then, and is not taken for one that is gone.
        let (attached, found) = match self.pinned().await.map_err(unseen) {
            Ok(Pinned { attached, found }) => (Ok(attached), found),
            Err(failure) => (Err(failure), Found::default()),
        };
        let shown = async { Ok((self.kernel.links().await?, self.kernel.stack().await?)) };
        let shown: Result<_, apply::Error> = shown.await;
        let shown = shown.inspect_err(|error| {
            warn!(error = %Chain(error), "Network unreadable");
            alarm.at(Instant::now() + backoff(1));
        });
        let (links, stack) = shown.ok()?;
        Some(World {
            links,
            stack,
            attached,
            found,
        })
    }

    /// What bpffs holds.
    async fn pinned(&self) -> Result<Pinned, apply::Error> {
        let mut found = Found {
            mtus: self.kernel.found(Setting::Mtu).await?,
            channels: self.kernel.found(Setting::Channels).await?,
            sysctls: BTreeMap::new(),
            names: self.kernel.notes(Note::Name).await?,
            devices: self.devices().await?,
            unmanaged: self.kernel.unmanaged(),
        };
        for sysctl in Sysctl::ALL {
            let values = self.kernel.found(Setting::Sysctl(sysctl)).await?;
            found.sysctls.insert(sysctl, values);
        }
        let attached = self.kernel.attached().await?;
        Ok(Pinned { attached, found })
    }

    /// What the node's network shows of the interface.
    fn network(&self, wish: &Wish, presence: &Presence, world: &World) -> Shown {
        let setting = |sysctl| Some((sysctl, self.kernel.sysctl(sysctl, presence.name()?)?));
        let found = world.found.sysctls.iter();
        Shown {
            stack: world.stack.clone(),
            sysctls: Sysctl::ALL.into_iter().filter_map(setting).collect(),
            found: found
                .filter_map(|(sysctl, values)| Some((*sysctl, of(values, wish)?)))
                .collect(),
            name: wish
                .eni()
                .and_then(|eni| world.found.names.get(eni.as_str()).cloned()),
            is_unmanaged: world.found.unmanaged.as_ref().map(|enis| {
                let eni = wish.eni().map(EniId::as_str);
                eni.is_some_and(|eni| enis.contains(eni))
            }),
            rp_filter: self.kernel.sysctl(Sysctl::RpFilter, "all").unwrap_or(0),
        }
    }

    async fn presence(&self, wish: &Wish, world: &World) -> Presence {
        let Some(mac) = wish.mac() else {
            return Presence::Absent;
        };
        let mut presence = observe::find(&world.links, &self.sysfs, self.accept, mac);
        if let Presence::Present(interface) = &mut presence {
            interface.device = self.kernel.device(interface).await;
        }
        presence
    }

    /// What the steering rules may use.
    async fn targets(&self, wish: &Wish, world: &World) -> Targets {
        let Wish::Provide(desired) = wish else {
            return Targets::default();
        };
        let rules = desired.steering.iter();
        let named: BTreeSet<&String> = rules
            .filter_map(|rule| rule.action.interface.as_ref())
            .collect();
        let mut interfaces = BTreeMap::new();
        for link in &world.links {
            let names = link.other_names.iter().chain([&link.name]);
            let names: Vec<_> = names.filter(|name| named.contains(name)).collect();
            if names.is_empty() {
                continue;
            }
            let features = netlink::xdp_features(link.index).await;
            let index = link.index;
            let target = Target { index, features };
            interfaces.extend(names.into_iter().map(|name| (name.clone(), target)));
        }
        Targets {
            interfaces,
            cpus: bpf::cpus(),
        }
    }

    /// Writes what is new.
    async fn report(&self, record: &mut Record, status: NodeStatus, alarm: &mut Alarm) {
        if record.status() == Some(&status) {
            return;
        }
        match self.records.write_status(record, &status).await {
            Ok(()) => {
                let (name, phase, reason) = (record.name(), status.phase, &status.reason);
                info!(record = name, ?phase, reason, "Status written");
                record.set_status(status);
            }
            Err(error) => {
                warn!(error = %Chain(&error), "Status not written");
                alarm.at(Instant::now() + backoff(2));
            }
        }
    }

    /// Removes the pins of ENIs that no record knows; not while a record's ENI cannot be told.
    async fn remove_orphans(&self, store: &Store, alarm: &mut Alarm) {
        if !store.knows_every_eni() {
            return;
        }
        let Ok(Pinned { attached, found }) = self.pinned().await else {
            return;
        };
        let recorded: Vec<EniId> = store.enis().cloned().collect();
        self.remove_states(&recorded);
        let mut memory = Memory::default();
        let mut orphans = orphans(&attached, &found, &recorded);
        let devices = self.orphaned_devices(&found, &recorded).await;
        if !devices.is_empty() {
            // One step at a time.
            alarm.at(Instant::now() + backoff(1));
        }
        orphans.extend(devices);
        if let (Some(tables), Ok(stack)) = (store.tables(), self.kernel.stack().await) {
            let strays = network::orphans(&stack, &tables);
            let strays = strays
                .into_iter()
                .chain(sources::orphans(&stack.sources, &recorded));
            orphans.extend(strays.map(Action::Network));
        }
        if let Some(failure) = self.apply_all(&orphans, &mut memory).await {
            debug!(message = failure.message, "Orphan kept");
            alarm.at(Instant::now() + backoff(6));
        }
    }
}

impl World {
    fn attached(&self, eni: &EniId) -> Option<&Attached> {
        let attached = self.attached.as_ref().ok()?;
        attached
            .iter()
            .find(|attached| attached.eni == eni.as_str())
    }
}

/// Whether somebody may change what it asks for, and the kernel does not tell.
fn asks_for_settings(wish: &Wish) -> bool {
    matches!(wish, Wish::Provide(desired) if !desired.network.sysctls.is_empty())
}

/// What of `found` is of the ENI that is wished for.
fn of(found: &BTreeMap<String, u32>, wish: &Wish) -> Option<u32> {
    found.get(wish.eni()?.as_str()).copied()
}
