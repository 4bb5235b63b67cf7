//! The Elastic IPs of the account, as EC2 last told them and as our own calls left them.

use std::{collections::BTreeMap, time::Instant};

use eniway_api::{AllocationId, AssociationId, EniId};

use super::Snapshot;
use crate::{Association, ElasticIp};

/// What is known of them. They are read only while somebody asks for one.
#[derive(Clone, Debug, Default)]
pub struct ElasticIps {
    /// By ID, once they were read.
    pub known: Option<BTreeMap<AllocationId, ElasticIp>>,
    /// When the newest read began, be it that it brought no answer.
    pub read: Option<Instant>,
    /// Why EC2 does not tell them.
    pub refused: Option<String>,
}

impl ElasticIps {
    /// Whether something else than this interface has it, or it is not the account's, as far as is known.
    #[must_use]
    pub fn is_lost(&self, id: &AllocationId, eni: &EniId) -> bool {
        self.known.as_ref().is_some_and(|known| {
            known
                .get(id)
                .is_none_or(|one| one.is_associated && one.eni.as_ref() != Some(eni))
        })
    }

    /// EC2 told them all.
    pub fn told(&mut self, all: Vec<ElasticIp>, begun: Instant) {
        let all = all.into_iter().map(|one| (one.id.clone(), one));
        *self = Self {
            known: Some(all.collect()),
            read: Some(begun),
            refused: None,
        };
    }

    /// EC2 does not tell them; what is known stays.
    pub fn untold(&mut self, why: String, begun: Instant) {
        self.read = Some(begun);
        self.refused = Some(why);
    }

    /// EC2 refused to give it away: something has it, or it is the account's no more.
    pub fn not_given(&mut self, id: &AllocationId, exists: bool) {
        let Some(known) = &mut self.known else { return };
        if !exists {
            known.remove(id);
        } else if let Some(one) = known.get_mut(id) {
            one.is_associated = true;
            one.eni = None;
        }
    }

    /// The interface is gone, or gave its Elastic IP back.
    pub(super) fn left_by(&mut self, eni: &EniId) {
        let all = self.known.iter_mut().flat_map(BTreeMap::values_mut);
        for one in all.filter(|one| one.eni.as_ref() == Some(eni)) {
            one.is_associated = false;
            one.eni = None;
        }
    }
}

impl Snapshot {
    /// EC2 answered that the interface has the Elastic IP.
    pub fn associated(
        &mut self,
        eni: &EniId,
        address: &AllocationId,
        id: AssociationId,
        now: Instant,
    ) {
        let known = self.elastic_ips.known.as_mut();
        let Some(one) = known.and_then(|known| known.get_mut(address)) else {
            return;
        };
        one.is_associated = true;
        one.eni = Some(eni.clone());
        let association = Association {
            public_ip: one.public_ip,
            allocation: Some(address.clone()),
            id: Some(id),
        };
        self.set_association(eni, Some(association), now);
    }

    /// EC2 answered that the interface has no Elastic IP any more.
    pub fn disassociated(&mut self, eni: &EniId, now: Instant) {
        self.elastic_ips.left_by(eni);
        self.set_association(eni, None, now);
    }

    fn set_association(&mut self, id: &EniId, association: Option<Association>, now: Instant) {
        if let Some(mut eni) = self.eni(id).cloned() {
            eni.association.clone_from(&association);
            self.lately.associated(id, association, now);
            self.insert(eni, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn one(id: &str, eni: Option<&str>) -> ElasticIp {
        ElasticIp {
            id: id.into(),
            public_ip: [203, 0, 113, 1].into(),
            is_associated: eni.is_some(),
            eni: eni.map(Into::into),
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn what_another_has_is_lost_and_free_again_when_that_is_gone() {
        let (first, second) = (EniId::from("eni-1"), EniId::from("eni-2"));
        let mut snapshot = Snapshot::new(Duration::from_secs(60));
        let now = Instant::now();
        let address = AllocationId::from("eipalloc-1");
        let lost = |snapshot: &Snapshot, eni| snapshot.elastic_ips.is_lost(&address, eni);
        assert!(!lost(&snapshot, &first), "nothing is known yet");
        snapshot
            .elastic_ips
            .told(vec![one("eipalloc-1", Some("eni-2"))], now);
        assert!(lost(&snapshot, &first));
        assert!(!lost(&snapshot, &second));
        snapshot.deleted(&second, now);
        assert!(!lost(&snapshot, &first));
        snapshot.elastic_ips.not_given(&address, true);
        assert!(lost(&snapshot, &first));
        snapshot.elastic_ips.told(Vec::new(), now);
        assert!(lost(&snapshot, &first), "it is not the account's");
    }
}
