//! Gives pods their place on an ENI: what the CNI plugin asks of the agent, and what it is answered.
//!
//! Questions and answers are lines of JSON on the agent's socket. What an ENI has for pods is told by its record; who
//! has what of it stands in its maps, so that an agent that starts anew knows every pod.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::{
    apply::{self, Programs},
    bpf::{self, Bpf, PodInterface},
    netlink::IfIndex,
    plan::pods::{Refusal, choose},
};

/// What the CNI plugin asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// A pod's veth is there: what is its pod to have?
    Add(Newcomer),
    /// What has the pod behind this interface?
    Check { interface: IfIndex },
    /// The pod behind this interface goes.
    Remove { interface: IfIndex },
    /// Does the agent answer?
    Status,
}

/// A pod's veth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Newcomer {
    /// The ENI's ID, or a name of its interface.
    pub parent: String,
    /// The node's end.
    pub interface: IfIndex,
    pub node_mac: [u8; 6],
    pub mac: [u8; 6],
    /// Addresses that it must have; of a family without one it gets any.
    pub wanted: Vec<IpAddr>,
    /// Whose it is: container and interface.
    pub key: String,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// What the pod has, and what its veth needs.
    Place(Place),
    Done,
    /// It is worth asking again.
    Later(String),
    Refused(String),
}

/// A pod's place on an ENI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub eni: String,
    pub addresses: Vec<IpAddr>,
    /// The blocks of the ENI's subnet.
    pub subnets: Vec<IpNet>,
    /// Bytes, without the Ethernet header.
    pub mtu: u32,
    /// Where the node looks that answers from the ENI's own addresses: it must find its pods there.
    pub table: u32,
}

/// What one ENI has for pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Of its interface: the kernel's and the alternative ones.
    pub names: Vec<String>,
    pub addresses: Vec<IpNet>,
    pub subnets: Vec<IpNet>,
    pub mtu: u32,
    pub table: u32,
}

/// What each ENI of the node has, by its ID: the loop writes it, and the socket reads it.
#[derive(Clone, Debug, Default)]
pub struct Offers(Arc<Mutex<BTreeMap<String, Offer>>>);

impl Offers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Offer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is known of an ENI; `None`: it has nothing now.
    pub fn tell(&self, eni: &str, offer: Option<Offer>) {
        match offer {
            Some(offer) => self.lock().insert(eni.to_owned(), offer),
            None => self.lock().remove(eni),
        };
    }

    fn find(&self, parent: &str) -> Option<(String, Offer)> {
        let offers = self.lock();
        let named = |(eni, offer): &(&String, &Offer)| {
            *eni == parent || offer.names.iter().any(|name| name == parent)
        };
        let (eni, offer) = offers.iter().find(named)?;
        Some((eni.clone(), offer.clone()))
    }
}

/// Answers one question.
pub async fn answer(question: Question, programs: &Programs, offers: &Offers) -> Answer {
    let answered = match question {
        Question::Add(newcomer) => return add(newcomer, programs, offers).await,
        Question::Status => Ok(Answer::Done),
        Question::Check { interface } => check(interface, programs, offers).await,
        Question::Remove { interface } => {
            let remove = move |bpf: &mut Bpf| {
                for attached in bpf.attached()? {
                    if attached.pods.iter().any(|pod| pod.interface == interface) {
                        bpf.remove_pod(&attached.eni, interface)?;
                    }
                }
                Ok(())
            };
            programs.with(remove).await.map(|()| Answer::Done)
        }
    };
    answered.unwrap_or_else(|error| later(&error))
}

fn later(error: &apply::Error) -> Answer {
    Answer::Later(apply::Chain(error).to_string())
}

async fn add(newcomer: Newcomer, programs: &Programs, offers: &Offers) -> Answer {
    let Some((eni, offer)) = offers.find(&newcomer.parent) else {
        return Answer::Later(format!(
            "no ENI that is ready on this node is called {}; `kubectl get nea -o wide` shows those that are there",
            newcomer.parent
        ));
    };
    let (id, offered) = (eni.clone(), offer.addresses.clone());
    let key = newcomer.key.clone();
    let work = move |bpf: &mut Bpf| place(bpf, &id, &offered, newcomer);
    match programs.with(work).await {
        Ok(Ok(addresses)) => {
            info!(eni, ?addresses, pod = key, "A pod has its place");
            Answer::Place(Place {
                eni,
                addresses,
                subnets: offer.subnets,
                mtu: offer.mtu,
                table: offer.table,
            })
        }
        Ok(Err(refusal @ Refusal::Full)) => Answer::Later(format!("{eni}: {refusal}")),
        Ok(Err(refusal)) => Answer::Refused(format!("{eni}: {refusal}")),
        Err(error) => later(&error),
    }
}

/// Chooses and writes down at once, so that no two pods get one address.
fn place(
    bpf: &mut Bpf,
    eni: &str,
    offered: &[IpNet],
    newcomer: Newcomer,
) -> Result<Result<Vec<IpAddr>, Refusal>, bpf::Error> {
    let Newcomer {
        interface,
        node_mac,
        mac,
        wanted,
        key,
        ..
    } = newcomer;
    let attached = bpf.attached()?.into_iter().find(|one| one.eni == eni);
    let pods = attached.map(|attached| attached.pods).unwrap_or_default();
    let taken: Vec<IpAddr> = pods.into_iter().flat_map(|pod| pod.addresses).collect();
    let addresses = match choose(offered, &taken, &wanted, &key) {
        Ok(addresses) => addresses,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let pod = PodInterface {
        interface,
        mac,
        node_mac,
        addresses: addresses.clone(),
    };
    bpf.add_pod(eni, &pod)?;
    Ok(Ok(addresses))
}

async fn check(
    interface: IfIndex,
    programs: &Programs,
    offers: &Offers,
) -> Result<Answer, apply::Error> {
    let attached = programs.with(|bpf| bpf.attached()).await?;
    let found = attached.into_iter().find_map(|attached| {
        let pods = attached.pods.into_iter();
        let pod = pods.into_iter().find(|pod| pod.interface == interface)?;
        Some((attached.eni, pod.addresses))
    });
    let Some((eni, addresses)) = found else {
        let message = format!("no pod behind interface {interface} has a place on an ENI");
        return Ok(Answer::Refused(message));
    };
    let offer = offers.find(&eni).map(|(_, offer)| offer);
    let Some(offer) = offer else {
        return Ok(Answer::Later(format!("{eni} is not ready")));
    };
    Ok(Answer::Place(Place {
        eni,
        addresses,
        subnets: offer.subnets,
        mtu: offer.mtu,
        table: offer.table,
    }))
}
