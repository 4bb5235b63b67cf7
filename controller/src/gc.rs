//! Finds interfaces of ours that no record owns any more: what a lost answer or a removed finalizer
//! left behind.
//!
//! Pure: time is an argument. An interface is collected only if two whole reads of EC2 in a row show
//! it, idle, without a record, and older than any creation that may still be under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use eniway_api::{
    EniId,
    mark::{self, Role},
};
use eniway_ec2::Eni;
use jiff::Timestamp;

/// A creation is over long before; the tag's clock and ours may differ by minutes.
const YOUNGEST: Duration = Duration::from_secs(600);
/// How many are deleted after one read: a mistake stays small, and others get their calls.
const PER_READ: usize = 25;

/// The interfaces that the last read showed without a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    last: BTreeSet<EniId>,
    /// What a dry run said of each.
    told: BTreeMap<EniId, Deed>,
}

impl Suspects {
    /// Takes in the orphans of a new whole read; returns those to delete, which an earlier read
    /// showed as well.
    pub(crate) fn take(&mut self, orphans: BTreeSet<EniId>) -> Vec<EniId> {
        let twice = orphans.intersection(&self.last).take(PER_READ);
        let twice = twice.cloned().collect();
        self.last = orphans;
        twice
    }

    /// Whether a dry run has not said that yet.
    pub(crate) fn is_news(&self, eni: &EniId, deed: Deed) -> bool {
        self.told.get(eni) != Some(&deed)
    }

    /// A dry run has said this.
    pub(crate) fn tell(&mut self, deeds: BTreeMap<EniId, Deed>) {
        self.told = deeds;
    }
}

/// Whether the interface is ours and no record can own it any more. `owned` are the UIDs of all
/// records, read after EC2 was: a record is written before its interface is created.
pub(crate) fn is_unowned(
    eni: &Eni,
    cluster_uid: &str,
    owned: &BTreeSet<String>,
    now: Timestamp,
) -> bool {
    let tag = |key: &str| eni.tags.get(key);
    let ours = tag(mark::TAG_CLUSTER_UID) == Some(cluster_uid)
        && tag(mark::TAG_ROLE) == Some(Role::Attachment.as_str());
    // Without its date somebody changed the tags by hand, and it is theirs to say.
    let created = tag(mark::TAG_CREATED_AT).and_then(|text| text.parse::<Timestamp>().ok());
    let old = created.is_some_and(|at| {
        at.checked_add(YOUNGEST)
            .is_ok_and(|grown_up| grown_up <= now)
    });
    ours && old && eni.record().is_some_and(|uid| !owned.contains(uid))
}

/// What becomes of an interface that no record owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Two whole reads showed it idle: it is deleted.
    Delete,
    /// One read showed it idle: the next one decides.
    Await,
    /// Something may use it: it is for people to detach.
    LeaveAttached,
}

impl Deed {
    pub(crate) const ALL: [Self; 3] = [Self::Delete, Self::Await, Self::LeaveAttached];

    /// The metric's label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Await => "Await",
            Self::LeaveAttached => "LeaveAttached",
        }
    }
}

/// All that no record owns, and what becomes of each; `owned` as for [`is_unowned`].
pub(crate) fn deeds(
    enis: &[&Eni],
    suspects: &Suspects,
    cluster_uid: &str,
    owned: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeMap<EniId, Deed> {
    let unowned = enis.iter();
    let unowned = unowned.filter(|eni| is_unowned(eni, cluster_uid, owned, now));
    let deed = |eni: &Eni| match &eni.attachment {
        Some(_) => Deed::LeaveAttached,
        None if suspects.last.contains(&eni.id) => Deed::Delete,
        None => Deed::Await,
    };
    unowned.map(|eni| (eni.id.clone(), deed(eni))).collect()
}

/// Whether it is idle besides, and may be deleted. Something may use one that is attached.
pub(crate) fn is_orphan(
    eni: &Eni,
    cluster_uid: &str,
    owned: &BTreeSet<String>,
    now: Timestamp,
) -> bool {
    eni.attachment.is_none() && is_unowned(eni, cluster_uid, owned, now)
}

#[cfg(test)]
mod tests {
    use eniway_ec2::Tags;

    use super::*;

    const NOON: &str = "2026-01-01T12:00:00Z";

    fn eni(change: impl FnOnce(&mut Eni)) -> Eni {
        let tags = [
            (mark::TAG_CLUSTER_UID, "here"),
            (mark::TAG_ROLE, "attachment"),
            (mark::TAG_ATTACHMENT, "record"),
            (mark::TAG_CREATED_AT, "2026-01-01T11:50:00Z"),
        ];
        let mut eni = Eni {
            id: "eni-1".into(),
            subnet: "subnet-1".into(),
            zone: "a".to_owned(),
            mac: "06:00:00:00:00:01".parse().expect("a MAC"),
            attachment: None,
            groups: Vec::new(),
            source_dest_check: true,
            description: String::new(),
            addresses: Vec::new(),
            prefixes: Vec::new(),
            association: None,
            tags: Tags::from_iter(tags),
        };
        change(&mut eni);
        eni
    }

    fn orphan(change: impl FnOnce(&mut Eni), owned: &[&str]) -> bool {
        let owned = owned.iter().map(|uid| (*uid).to_owned()).collect();
        is_orphan(
            &eni(change),
            "here",
            &owned,
            NOON.parse().expect("a timestamp"),
        )
    }

    fn tag(key: &'static str, value: &'static str) -> impl FnOnce(&mut Eni) {
        move |eni| {
            eni.tags.extend([(key, value)]);
        }
    }

    #[test]
    fn an_old_idle_interface_without_a_record_is_an_orphan() {
        assert!(orphan(|_| (), &["another"]));
        assert!(!orphan(|_| (), &["another", "record"]));
    }

    #[test]
    fn what_another_may_want_is_no_orphan() {
        assert!(!orphan(tag(mark::TAG_CLUSTER_UID, "elsewhere"), &[]));
        assert!(!orphan(tag(mark::TAG_ROLE, "retained"), &[]));
        assert!(!orphan(tag(mark::TAG_ROLE, "pool"), &[]));
        assert!(!orphan(|eni| eni.tags = Tags::default(), &[]));
    }

    #[test]
    fn what_may_be_under_way_is_no_orphan() {
        assert!(!orphan(
            tag(mark::TAG_CREATED_AT, "2026-01-01T11:50:01Z"),
            &[]
        ));
        assert!(!orphan(tag(mark::TAG_CREATED_AT, "yesterday"), &[]));
        let attached = |eni: &mut Eni| {
            eni.attachment = Some(eniway_ec2::Attachment {
                id: "eni-attach-1".into(),
                instance: "i-1".into(),
                device_index: 1,
                network_card_index: 0,
                state: eniway_ec2::AttachmentState::Attached,
                delete_on_termination: true,
                ena_queue_count: None,
            });
        };
        assert!(!orphan(attached, &[]));
    }

    #[test]
    fn each_that_no_record_owns_has_its_deed_and_others_have_none() {
        let named = |id: &str, change: fn(&mut Eni)| {
            let mut eni = eni(change);
            eni.id = id.into();
            eni
        };
        let all = [
            named("eni-1", |_| ()),
            named("eni-2", |_| ()),
            named("eni-3", |eni| {
                eni.attachment = Some(eniway_ec2::Attachment {
                    id: "eni-attach-1".into(),
                    instance: "i-1".into(),
                    device_index: 1,
                    network_card_index: 0,
                    state: eniway_ec2::AttachmentState::Attached,
                    delete_on_termination: true,
                    ena_queue_count: None,
                });
            }),
            named("eni-4", |eni| eni.tags = Tags::default()),
        ];
        let mut suspects = Suspects::default();
        suspects.take(BTreeSet::from(["eni-1".into(), "eni-3".into()]));
        let now = NOON.parse().expect("a timestamp");
        let all: Vec<_> = all.iter().collect();
        let deeds = deeds(&all, &suspects, "here", &BTreeSet::new(), now);
        let said: Vec<_> = deeds.values().copied().collect();
        assert_eq!(said, [Deed::Delete, Deed::Await, Deed::LeaveAttached]);
    }

    #[test]
    fn one_read_is_not_enough_and_many_take_several() {
        let many: BTreeSet<EniId> = (0..60)
            .map(|n| format!("eni-{n}").as_str().into())
            .collect();
        let mut suspects = Suspects::default();
        assert!(suspects.take(many.clone()).is_empty());
        assert_eq!(suspects.take(many.clone()).len(), PER_READ);
        assert!(suspects.take(BTreeSet::new()).is_empty());
        assert!(suspects.take(many).is_empty());
    }
}
