//! The world: everything that exists, what is due, and what happened.
//!
//! No input, no output, no clock: time is an argument of every call and must not run backwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bucket::Buckets;
use crate::elastic_ip::ElasticIp;
use crate::error::{ApiError, Error, no_instance, no_interface};
use crate::event::{Event, What};
use crate::fault::{Effect, Fault, Faults};
use crate::ids::{
    AllocationId, AttachmentId, EniId, GroupId, InstanceId, Namer, RouteTableId, SubnetId, VpcId,
};
use crate::lifecycle::Due;
use crate::model::{Group, Instance, Interface, Subnet, Vpc};
use crate::queue::Queue;
use crate::request::{Request, Response};
use crate::route_table::RouteTable;
use crate::settings::Settings;
use crate::table::Table;
use crate::token::Tokens;

/// Events that a late reader can still get.
const EVENTS_KEPT: usize = 100_000;

/// A simulated region of EC2.
#[derive(Clone, Debug)]
pub struct World {
    pub settings: Settings,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) namer: Namer,
    pub(crate) vpcs: BTreeMap<VpcId, Vpc>,
    pub(crate) subnets: BTreeMap<SubnetId, Subnet>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) route_tables: Table<RouteTableId, RouteTable>,
    pub(crate) instances: Table<InstanceId, Instance>,
    pub(crate) interfaces: Table<EniId, Interface>,
    pub(crate) elastic_ips: Table<AllocationId, ElasticIp>,
    pub(crate) attachments: BTreeMap<AttachmentId, EniId>,
    pub(crate) tokens: Tokens,
    pub(crate) due: BTreeMap<(Timestamp, u64), Due>,
    pub(crate) due_count: u64,
    pub(crate) spoil: Option<Effect>,
    pub(crate) queues: BTreeMap<String, Queue>,
    faults: Faults,
    buckets: Buckets,
    counters: Counters,
    events: VecDeque<Event>,
    last_sequence: u64,
}

/// Calls by action, then by code; a call that succeeded counts as `OK`.
pub type Counters = BTreeMap<String, BTreeMap<String, u64>>;

/// What a caller gets, and after how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub delay: Duration,
    pub answer: Result<Response, Error>,
    /// Goes with the answer, also with a refusal.
    pub request_id: String,
}

impl World {
    pub(crate) fn empty(seed: u64, settings: Settings) -> Self {
        Self {
            settings,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            namer: Namer::new(seed),
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            groups: BTreeMap::new(),
            route_tables: Table::new(),
            instances: Table::new(),
            interfaces: Table::new(),
            elastic_ips: Table::new(),
            attachments: BTreeMap::new(),
            tokens: Tokens::default(),
            due: BTreeMap::new(),
            due_count: 0,
            spoil: None,
            queues: BTreeMap::new(),
            faults: Faults::default(),
            buckets: Buckets::default(),
            counters: Counters::new(),
            events: VecDeque::new(),
            last_sequence: 0,
        }
    }

    /// Carries out one call of the API, as a client gets to know of it.
    ///
    /// # Errors
    /// EC2's refusal, or what a fault does to the answer.
    pub fn call(&mut self, request: &Request, now: Timestamp) -> Result<Response, Error> {
        self.serve(request, now).answer
    }

    /// Like [`call`](Self::call), with the time that the answer takes.
    pub fn serve(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.advance(now);
        let request_id = self.namer.request();
        let fault = self.faults.strike(request);
        let mut delay = self.settings.latency_ms;
        if let Some(Effect::Delay { ms }) = &fault {
            delay += *ms;
        }
        let answer = self.answer(request, fault, &request_id, now);
        self.count(
            request.action(),
            answer
                .as_ref()
                .map_or_else(|error| error.code().to_owned(), |_| "OK".to_owned()),
        );
        self.advance(now);
        Reply {
            delay,
            answer,
            request_id,
        }
    }

    fn answer(
        &mut self,
        request: &Request,
        fault: Option<Effect>,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Response, Error> {
        refused(fault.as_ref())?;
        if self.settings.buckets && !self.buckets.admit(request, now) {
            return Err(crate::error::throttled().into());
        }
        let lost = matches!(fault, Some(Effect::ConnectionLostAfter));
        self.spoil = fault;
        let answer = self.dispatch(request, request_id, now);
        self.spoil = None;
        if lost {
            Err(Error::ConnectionLost)
        } else {
            Ok(answer?)
        }
    }

    /// The moment of the next thing that happens by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Events with a sequence number above `after`, oldest first.
    #[must_use]
    pub fn events_after(&self, after: u64) -> Vec<Event> {
        let first = self.events.front().map_or(0, |event| event.sequence);
        let skip =
            usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        self.events.iter().skip(skip).cloned().collect()
    }

    /// Sequence number of the newest event, 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn reset_counters(&mut self) {
        self.counters.clear();
    }

    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        self.faults.rules()
    }

    /// Every interface as it is now, whatever readers of the API can see yet.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// Every interface as readers of the API see it.
    pub fn seen_interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.seen().values().map(Arc::as_ref)
    }

    #[must_use]
    pub fn interface(&self, id: &EniId) -> Option<&Interface> {
        self.interfaces.get(id)
    }

    /// Every instance as it is now, terminated ones too until they are forgotten.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// Every instance as readers of the API see it.
    pub fn seen_instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.seen().values().map(Arc::as_ref)
    }

    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }

    pub fn subnets(&self) -> impl Iterator<Item = &Subnet> {
        self.subnets.values()
    }

    #[must_use]
    pub fn subnet(&self, id: &SubnetId) -> Option<&Subnet> {
        self.subnets.get(id)
    }

    pub fn vpcs(&self) -> impl Iterator<Item = &Vpc> {
        self.vpcs.values()
    }

    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Every route table as it is now.
    pub fn route_tables(&self) -> impl Iterator<Item = &RouteTable> {
        self.route_tables.values()
    }

    /// Every route table as readers of the API see it.
    pub fn seen_route_tables(&self) -> impl Iterator<Item = &RouteTable> {
        self.route_tables.seen().values().map(Arc::as_ref)
    }

    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// A call of another service than EC2: spoiled and counted alike.
    pub(crate) fn spoiled<T>(
        &mut self,
        action: &str,
        now: Timestamp,
        work: impl FnOnce(&mut Self) -> Result<T, ApiError>,
    ) -> (Duration, Result<T, Error>) {
        self.advance(now);
        let fault = self.faults.strike(&Request::new(action));
        let mut delay = self.settings.latency_ms;
        if let Some(Effect::Delay { ms }) = &fault {
            delay += *ms;
        }
        let lost = matches!(fault, Some(Effect::ConnectionLostAfter));
        let answer = match refused(fault.as_ref()) {
            Ok(()) if lost => work(self)
                .map_err(Error::from)
                .and(Err(Error::ConnectionLost)),
            Ok(()) => work(self).map_err(Error::from),
            Err(error) => Err(error),
        };
        let code = answer.as_ref().err().map_or("OK", Error::code).to_owned();
        self.count(action, code);
        (delay, answer)
    }

    pub(crate) fn tell(&mut self, at: Timestamp, what: What) {
        if let What::InstanceState {
            instance, state, ..
        } = &what
        {
            self.tell_state(instance, *state, at);
        }
        self.last_sequence += 1;
        self.events.push_back(Event {
            sequence: self.last_sequence,
            at,
            what,
        });
        if self.events.len() > EVENTS_KEPT {
            self.events.pop_front();
        }
    }

    /// An interface that a mutating call names; one too fresh is not known yet.
    pub(crate) fn known_interface(
        &self,
        id: &EniId,
        now: Timestamp,
    ) -> Result<&Interface, ApiError> {
        self.interfaces
            .get(id)
            .filter(|interface| interface.created + self.settings.fresh_eni_hidden_ms <= now)
            .ok_or_else(|| no_interface(id))
    }

    pub(crate) fn known_instance(&self, id: &InstanceId) -> Result<&Instance, ApiError> {
        self.instances.get(id).ok_or_else(|| no_instance(id))
    }

    fn count(&mut self, action: &str, code: String) {
        *self
            .counters
            .entry(action.to_owned())
            .or_default()
            .entry(code)
            .or_default() += 1;
    }
}

/// What a fault answers before the call is carried out.
fn refused(fault: Option<&Effect>) -> Result<(), Error> {
    match fault {
        Some(Effect::Error {
            code,
            message,
            status,
        }) => {
            let error = crate::error::api(code, message);
            Err(ApiError {
                status: status.unwrap_or(error.status),
                ..error
            }
            .into())
        }
        Some(Effect::Throttle) => Err(crate::error::throttled().into()),
        Some(Effect::Html { status }) => Err(Error::Html { status: *status }),
        Some(Effect::ConnectionResetBefore) => Err(Error::ConnectionLost),
        Some(
            Effect::ConnectionLostAfter
            | Effect::Delay { .. }
            | Effect::StuckAttaching
            | Effect::StuckDetaching
            | Effect::AttachmentVanishes { .. },
        )
        | None => Ok(()),
    }
}
