//! Decides which sources nobody else may translate: the addresses that an ENI has, in what leaves by its interface.

use eniway_api::EniId;

use super::network::Change;
use crate::{
    desired::Network,
    netlink::{IfIndex, KeptSource, Sources},
};

/// What keeps the sources of an ENI whose interface is here, and no others of it. Where nobody translates nothing is
/// to be kept.
#[must_use]
pub fn keep(eni: &EniId, wanted: &Network, index: IfIndex, shown: &Sources) -> Vec<Change> {
    let wanted = wanted.sources.iter().filter(|_| shown.translated);
    let wanted: Vec<KeptSource> = wanted
        .map(|source| KeptSource {
            eni: eni.clone(),
            interface: index,
            source: *source,
        })
        .collect();
    let missing = wanted.iter().filter(|one| !shown.kept.contains(one));
    let missing = missing.cloned().map(Change::KeepSource);
    let stale = of(eni, shown).filter(|one| !wanted.contains(one));
    missing
        .chain(stale.cloned().map(Change::FreeSource))
        .collect()
}

/// What keeps none of an ENI's sources any more.
#[must_use]
pub fn free(eni: &EniId, shown: &Sources) -> Vec<Change> {
    of(eni, shown).cloned().map(Change::FreeSource).collect()
}

/// What frees the sources of ENIs that no record knows.
#[must_use]
pub fn orphans(shown: &Sources, recorded: &[EniId]) -> Vec<Change> {
    let unknown = shown.kept.iter().filter(|one| !recorded.contains(&one.eni));
    unknown.cloned().map(Change::FreeSource).collect()
}

fn of<'a>(eni: &'a EniId, shown: &'a Sources) -> impl Iterator<Item = &'a KeptSource> {
    shown.kept.iter().filter(move |one| one.eni == *eni)
}
