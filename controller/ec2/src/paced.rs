//! EC2 with manners: a token before each call, a deadline for it, and one log line after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eniway_api::{AllocationId, Asked, AssociationId, AttachmentId, EniId, VpcId};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, debug, debug_span, field::Empty, info, warn};

use crate::{
    Answer, Call, Change, Ec2, ElasticIp, Eni, Error, Group, Instance, InstanceType, Instances,
    Interfaces, NewAttachment, NewEni, RouteChange, RouteTable, Subnet, Subnets, Throttle, Verdict,
};

/// How long a call that changes something may take. It is made once: with the 20 seconds for which
/// a leader acts without renewing, it ends before another can lead (the lease is 30 seconds).
pub const MUTATION_DEADLINE: Duration = Duration::from_secs(5);
/// How long one attempt of a read, with all its pages, may take.
const READ_DEADLINE: Duration = Duration::from_secs(15);
/// How often a read is tried before its failure is reported.
const READ_ATTEMPTS: u32 = 3;
/// Calls under way at once: more than EC2's buckets let through, and few enough to need little memory.
const UNDER_WAY: usize = 32;

/// Told of every call: action, verdict (`None`: success), seconds of the call, seconds of waiting.
pub type Observer = Box<dyn Fn(Call, Option<Verdict>, Duration, Duration) + Send + Sync>;

/// Whether the caller may still change anything; asked when a call has its token.
pub type Right = Box<dyn Fn() -> bool + Send + Sync>;

/// Any [`Ec2`], paced.
pub struct Paced<E> {
    inner: E,
    throttle: Mutex<Throttle>,
    slots: Semaphore,
    right: Right,
    observer: Observer,
}

impl<E> Paced<E> {
    /// Puts manners before `inner`.
    pub fn new(inner: E, throttle: Throttle, right: Right, observer: Observer) -> Self {
        Self {
            inner,
            throttle: Mutex::new(throttle),
            slots: Semaphore::new(UNDER_WAY),
            right,
            observer,
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `ask` makes the call: only when its turn has come, for hundreds may wait and each takes memory.
    async fn once<'a, T>(
        &'a self,
        call: Call,
        deadline: Duration,
        ask: impl FnOnce() -> Answer<'a, T>,
    ) -> Result<T, Error> {
        let asked = now();
        let waiting = self.throttle().take(call, asked);
        if !waiting.is_zero() {
            debug!(%call, ?waiting, "Waiting for a token");
            tokio::time::sleep(waiting).await;
        }
        // Nobody closes it.
        let _slot = self.slots.acquire().await;
        let begun = now();
        let waiting = begun - asked;
        // A token can take longer than a lease.
        if call.mutates() && !(self.right)() {
            warn!(%call, ?waiting, "Another may act by now");
            return Err(Error::Withheld { call });
        }
        let span = debug_span!(
            "ec2",
            otel.name = %call,
            otel.kind = "client",
            otel.status_description = Empty,
            verdict = Empty,
            waiting = waiting.as_secs_f64(),
        );
        let result = tokio::time::timeout(deadline, ask())
            .instrument(span.clone())
            .await
            .unwrap_or(Err(Error::TimedOut {
                call,
                after: deadline,
            }));
        let took = begun.elapsed();
        let verdict = result.as_ref().err().map(Error::verdict);
        if let Err(error) = &result {
            // A description makes the span an error.
            span.record("otel.status_description", tracing::field::display(error));
            span.record("verdict", tracing::field::debug(verdict));
        }
        if verdict == Some(Verdict::Throttled) {
            self.throttle().drain(call, now());
        }
        (self.observer)(call, verdict, took, waiting);
        let milliseconds = took.as_millis();
        match &result {
            Ok(_) if call.mutates() => info!(%call, milliseconds, "EC2 answered"),
            Ok(_) => debug!(%call, milliseconds, "EC2 answered"),
            Err(error) => warn!(%call, milliseconds, ?verdict, %error, "EC2 refused"),
        }
        result
    }
}

impl<E: Ec2> Paced<E> {
    async fn read<'a, T>(
        &'a self,
        call: Call,
        ask: impl Fn() -> Answer<'a, T> + Send + Sync,
    ) -> Result<T, Error> {
        let mut attempt = 1;
        loop {
            match self.once(call, READ_DEADLINE, &ask).await {
                Err(error)
                    if attempt < READ_ATTEMPTS
                        && matches!(error.verdict(), Verdict::Throttled | Verdict::Transient) =>
                {
                    tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<E: Ec2> Ec2 for Paced<E> {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        Box::pin(self.read(Call::DescribeInstances, || self.inner.instances(which)))
    }

    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        Box::pin(self.read(Call::DescribeNetworkInterfaces, || {
            self.inner.interfaces(which)
        }))
    }

    fn interfaces_by_page<'a>(
        &'a self,
        which: &'a Interfaces,
        take: &'a (dyn Fn(Vec<Eni>) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(self.read(Call::DescribeNetworkInterfaces, move || {
            self.inner.interfaces_by_page(which, take)
        }))
    }

    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>> {
        Box::pin(self.read(Call::DescribeSubnets, || self.inner.subnets(which)))
    }

    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        Box::pin(self.read(Call::DescribeSecurityGroups, || self.inner.groups(vpc)))
    }

    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>> {
        Box::pin(self.read(Call::DescribeRouteTables, || self.inner.route_tables(vpc)))
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>> {
        Box::pin(self.read(Call::DescribeInstanceTypes, || {
            self.inner.instance_types(names)
        }))
    }

    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni> {
        let ask = move || self.inner.create(new);
        Box::pin(self.once(Call::CreateNetworkInterface, MUTATION_DEADLINE, ask))
    }

    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId> {
        let ask = move || self.inner.attach(new);
        Box::pin(self.once(Call::AttachNetworkInterface, MUTATION_DEADLINE, ask))
    }

    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()> {
        let ask = move || self.inner.modify(eni, change);
        Box::pin(self.once(
            Call::ModifyNetworkInterfaceAttribute,
            MUTATION_DEADLINE,
            ask,
        ))
    }

    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        let ask = move || self.inner.tag(eni, tags);
        Box::pin(self.once(Call::CreateTags, MUTATION_DEADLINE, ask))
    }

    /// Without a key nothing is asked: EC2 would take every tag off, those of the user, too.
    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()> {
        if keys.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let ask = move || self.inner.untag(eni, keys);
        Box::pin(self.once(Call::DeleteTags, MUTATION_DEADLINE, ask))
    }

    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>> {
        let ask = move || self.inner.assign(eni, asked);
        Box::pin(self.once(Call::assigning(asked), MUTATION_DEADLINE, ask))
    }

    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()> {
        let ask = move || self.inner.unassign(eni, entries);
        Box::pin(self.once(Call::unassigning(entries), MUTATION_DEADLINE, ask))
    }

    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>> {
        Box::pin(self.read(Call::DescribeAddresses, || self.inner.elastic_ips()))
    }

    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId> {
        let ask = move || self.inner.associate(address, eni);
        Box::pin(self.once(Call::AssociateAddress, MUTATION_DEADLINE, ask))
    }

    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()> {
        let ask = move || self.inner.disassociate(association);
        Box::pin(self.once(Call::DisassociateAddress, MUTATION_DEADLINE, ask))
    }

    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        let ask = move || self.inner.detach(attachment, force);
        Box::pin(self.once(Call::DetachNetworkInterface, MUTATION_DEADLINE, ask))
    }

    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        let ask = move || self.inner.delete(eni);
        Box::pin(self.once(Call::DeleteNetworkInterface, MUTATION_DEADLINE, ask))
    }

    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()> {
        let ask = move || self.inner.route(change);
        Box::pin(self.once(change.call(), MUTATION_DEADLINE, ask))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// How many of so many attaches at once, whose tokens come one by one, are made by one who may act
    /// for so long.
    async fn made(calls: u32, right_for: Duration) -> u32 {
        let end = now() + right_for;
        let right = Box::new(move || now() < end);
        let paced = Paced::new((), Throttle::share(1.0), right, Box::new(|_, _, _, _| ()));
        let made = AtomicU32::new(0);
        let attach = || {
            let ask = || -> Answer<'_, ()> {
                Box::pin(async {
                    made.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            };
            paced.once(Call::AttachNetworkInterface, MUTATION_DEADLINE, ask)
        };
        let results = futures::future::join_all((0..calls).map(|_| attach())).await;
        let withheld = results.iter().filter(|one| one.is_err()).count();
        let made = made.load(Ordering::Relaxed);
        assert_eq!(withheld, (calls - made) as usize);
        made
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_got_its_token_too_late_is_not_made() {
        // The bucket holds 50 and gains 5 a second.
        assert_eq!(made(100, Duration::from_secs(60)).await, 100);
        let made = made(100, Duration::from_secs(4)).await;
        assert!((50..=70).contains(&made), "{made}");
    }
}
