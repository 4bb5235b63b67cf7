//! EC2, as one controller reaches it: with the weather in between, and the laws that every call must
//! keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use eniway_api::{AllocationId, Asked, AssociationId, AttachmentId, EniId, VpcId, mark};
use eniway_ec2::{
    Answer, Call, Change, Ec2, ElasticIp, Eni, Error, Group, Instance, InstanceType, Instances,
    Interfaces, NewAttachment, NewEni, RouteChange, RouteDeed, RouteTable, Subnet, Subnets,
};
use ipnet::IpNet;
use kube::ResourceExt as _;
use simulation::door::Door;

use crate::{api_server::ApiServer, pools::is_member, weather::Weather};

/// What was done that must never be.
#[derive(Clone, Default)]
pub(crate) struct Crimes(Arc<Mutex<BTreeSet<String>>>);

impl Crimes {
    pub(crate) fn note(&self, crime: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(crime);
    }

    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// EC2 for one controller.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) identity: String,
    pub(crate) door: Door,
    pub(crate) api: ApiServer,
    pub(crate) weather: Weather,
    pub(crate) crimes: Crimes,
    /// Breaks a rule on purpose, to see that it is found.
    pub(crate) sabotage: Option<Sabotage>,
}

/// A rule that a controller could have forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Every create has a token of its own.
    NewToken,
    /// Interfaces are created without tags.
    NoTags,
    /// A look by ID says "gone" of everything that is young.
    AbsentIsGone,
    /// What J made is left alone.
    NoAdoption,
    /// Members of pools are given back with their marks.
    KeptMarks,
    /// Routes of ours stay when nobody asks for them.
    KeptRoutes,
}

impl Seat {
    /// Lets the weather decide over a call.
    async fn send<T>(&self, call: Call, answer: Answer<'_, T>) -> Result<T, Error> {
        let lost = || Error::Unreachable {
            call,
            source: "the weather is rough".into(),
        };
        self.weather.decide(answer, lost).await
    }

    /// Who calls must lead, as everybody can read.
    fn leads(&self, call: Call) {
        let holder = self.api.store().holder();
        if holder.is_some_and(|holder| holder != self.identity) {
            self.crimes.note(format!("{call} by who does not lead"));
        }
    }

    /// What is called for must be ours.
    fn ours(&self, call: Call, eni: &ec2_sim::Interface) {
        if !eni.tags.contains_key(mark::TAG_CLUSTER_UID) {
            self.crimes
                .note(format!("{call} of an interface of somebody else"));
        }
    }

    /// What is taken away must not be wanted: its record is marked or gone, or another interface has
    /// taken its place.
    fn unwanted(&self, call: Call, eni: &ec2_sim::Interface) {
        let Some(uid) = eni.tags.get(mark::TAG_ATTACHMENT) else {
            return;
        };
        let store = self.api.store();
        if !store
            .records()
            .any(|record| record.uid().as_ref() == Some(uid))
        {
            self.crimes.note(format!(
                "{call} of an orphan: its record {uid} went too early"
            ));
        }
        let wanted = store.records().any(|record| {
            let chosen = record.status.as_ref().and_then(|s| s.ec2.as_ref());
            let chosen = chosen.and_then(|ec2| ec2.eni_id.as_ref());
            record.uid().as_ref() == Some(uid)
                && record.metadata.deletion_timestamp.is_none()
                && chosen.is_some_and(|id| id.as_str() == eni.id.as_str())
        });
        if wanted {
            self.crimes
                .note(format!("{call} of an interface that is wanted"));
        }
    }

    fn seen(&self, eni: &EniId) -> Option<ec2_sim::Interface> {
        let world = self.door.world();
        let mut all = world.interfaces();
        all.find(|known| known.id.as_str() == eni.as_str()).cloned()
    }

    /// Marks may be gone already, when the answer was lost; but nobody hides what is attached.
    fn unmarks(&self, call: Call, eni: &EniId, keys: &BTreeSet<String>) {
        if !keys.iter().all(|key| key.starts_with("eniway.io/")) {
            return self.judge(call, eni, false);
        }
        self.leads(call);
        let attached = self.seen(eni).filter(|eni| eni.attachment.is_some());
        if attached.is_some() {
            self.crimes
                .note(format!("{call} of marks of what is attached"));
        }
    }

    fn judge(&self, call: Call, eni: &EniId, takes_away: bool) {
        self.leads(call);
        let world = self.door.world();
        let found = world
            .interfaces()
            .find(|known| known.id.as_str() == eni.as_str());
        if let Some(found) = found.cloned() {
            drop(world);
            self.ours(call, &found);
            if takes_away {
                self.unwanted(call, &found);
            }
        }
    }
}

impl Ec2 for Seat {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        Box::pin(self.send(Call::DescribeInstances, self.door.instances(which)))
    }

    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        Box::pin(async move {
            let call = Call::DescribeNetworkInterfaces;
            let mut found = self.send(call, self.door.interfaces(which)).await?;
            if self.sabotage == Some(Sabotage::AbsentIsGone)
                && matches!(which, Interfaces::These(_))
            {
                found.clear();
            }
            Ok(found)
        })
    }

    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>> {
        Box::pin(self.send(Call::DescribeSubnets, self.door.subnets(which)))
    }

    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        Box::pin(self.send(Call::DescribeSecurityGroups, self.door.groups(vpc)))
    }

    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>> {
        Box::pin(self.send(Call::DescribeRouteTables, self.door.route_tables(vpc)))
    }

    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()> {
        Box::pin(async move {
            self.leads(change.call());
            let kept = self.sabotage == Some(Sabotage::KeptRoutes);
            if kept && change.deed == RouteDeed::Delete {
                return Ok(());
            }
            self.send(change.call(), self.door.route(change)).await
        })
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>> {
        Box::pin(self.send(Call::DescribeInstanceTypes, self.door.instance_types(names)))
    }

    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni> {
        Box::pin(async move {
            let call = Call::CreateNetworkInterface;
            self.leads(call);
            let mut new = new.clone();
            match self.sabotage {
                Some(Sabotage::NewToken) => {
                    new.client_token = format!("token-{}", self.weather.below(usize::MAX));
                }
                Some(Sabotage::NoTags) => new.tags.clear(),
                Some(_) | None => {}
            }
            self.send(call, Ec2::create(&self.door, &new)).await
        })
    }

    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId> {
        Box::pin(async move {
            let call = Call::AttachNetworkInterface;
            self.judge(call, &new.eni, false);
            self.send(call, self.door.attach(new)).await
        })
    }

    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::ModifyNetworkInterfaceAttribute;
            self.judge(call, eni, false);
            self.send(call, Ec2::modify(&self.door, eni, change)).await
        })
    }

    // An interface that lost our marks gets them back: it need not look like ours.
    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::CreateTags;
            self.leads(call);
            self.send(call, self.door.tag(eni, tags)).await
        })
    }

    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DeleteTags;
            self.unmarks(call, eni, keys);
            if self.sabotage == Some(Sabotage::KeptMarks) {
                return Ok(());
            }
            self.send(call, self.door.untag(eni, keys)).await
        })
    }

    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>> {
        Box::pin(async move {
            let call = Call::assigning(asked);
            self.judge(call, eni, false);
            self.send(call, self.door.assign(eni, asked)).await
        })
    }

    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::unassigning(entries);
            self.judge(call, eni, false);
            self.send(call, self.door.unassign(eni, entries)).await
        })
    }

    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>> {
        Box::pin(self.send(Call::DescribeAddresses, self.door.elastic_ips()))
    }

    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId> {
        Box::pin(async move {
            let call = Call::AssociateAddress;
            self.judge(call, eni, false);
            self.send(call, self.door.associate(address, eni)).await
        })
    }

    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DisassociateAddress;
            self.leads(call);
            self.send(call, self.door.disassociate(association)).await
        })
    }

    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DetachNetworkInterface;
            let eni = {
                let world = self.door.world();
                let tied = |eni: &&ec2_sim::Interface| {
                    let tie = eni.attachment.as_ref();
                    tie.is_some_and(|tie| tie.id.as_str() == attachment.as_str())
                };
                world.interfaces().find(tied).map(|eni| eni.id.clone())
            };
            if let Some(eni) = eni {
                self.judge(call, &eni.as_str().into(), true);
            }
            self.send(call, self.door.detach(attachment, force)).await
        })
    }

    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        Box::pin(async move {
            let call = Call::DeleteNetworkInterface;
            self.judge(call, eni, true);
            if self.seen(eni).is_some_and(|eni| is_member(&eni)) {
                self.crimes.note(format!("{call} of a member of a pool"));
            }
            self.send(call, self.door.delete(eni)).await
        })
    }
}
