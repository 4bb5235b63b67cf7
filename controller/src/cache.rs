//! What the API server last showed, and what it answered to our own writes since.

mod echo;
mod elastic_ips;
mod pools;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eniway_api::{
    AllocationId, EniId, EniPool, NodeEniAttachment, NodeEniAttachmentSpec, SubnetId,
};
use kube::ResourceExt as _;

use crate::{
    desired::{Declared, Node},
    kubernetes::Change,
    plan::addresses::will_take,
};

/// The objects of one kind, by name.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    objects: BTreeMap<String, T>,
    /// Names seen since a list began.
    seen: Option<BTreeSet<String>>,
    whole: bool,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            seen: None,
            whole: false,
        }
    }
}

impl<T> Shelf<T> {
    /// Whether a list was ever whole.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.objects.get(name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    /// By name.
    pub(crate) const fn objects(&self) -> &BTreeMap<String, T> {
        &self.objects
    }

    /// The object exists, though it cannot be read: what was last known of it stays.
    pub(crate) fn keep(&mut self, name: String) {
        if let Some(seen) = &mut self.seen {
            seen.insert(name);
        }
    }

    fn put(&mut self, name: String, object: T) {
        if let Some(seen) = &mut self.seen {
            seen.insert(name.clone());
        }
        self.objects.insert(name, object);
    }

    /// Takes in a change and returns the objects that it concerns, old and new.
    fn take(&mut self, change: Change<(String, T)>) -> Vec<T>
    where
        T: Clone,
    {
        match change {
            Change::Begin => {
                self.seen = Some(BTreeSet::new());
                Vec::new()
            }
            Change::Is((name, object)) => {
                let old = self.objects.get(&name).cloned();
                self.put(name, object.clone());
                old.into_iter().chain([object]).collect()
            }
            Change::Gone((name, object)) => {
                self.objects.remove(&name);
                vec![object]
            }
            Change::Whole => {
                self.whole = true;
                let seen = self.seen.take().unwrap_or_default();
                let gone = self.objects.extract_if(.., |name, _| !seen.contains(name));
                gone.map(|(_, object)| object).collect()
            }
        }
    }
}

/// A member of a pool that a node is about to hold.
#[derive(Clone, Debug)]
struct Promised {
    node: String,
    pool: String,
    eni: EniId,
}

/// All that the controller watches.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) nodes: Shelf<Node>,
    pub(crate) node_enis: Shelf<Declared>,
    pub(crate) records: Shelf<Arc<NodeEniAttachment>>,
    pub(crate) pools: Shelf<Arc<EniPool>>,
    /// Nodes, and the records that name them.
    by_node: BTreeSet<(String, String)>,
    /// Addresses that the records will take in each subnet. Counted as they change: every plan asks.
    taking: BTreeMap<SubnetId, u32>,
    /// Subnets chosen for records that are not written yet, and how many addresses they will take.
    promises: BTreeMap<String, (SubnetId, u32)>,
    /// Names of records that hold a member of a pool.
    of_pools: BTreeSet<String>,
    /// Members chosen for records that are not written yet.
    members: BTreeMap<String, Promised>,
    /// Elastic IPs chosen for records, by their names, whose status does not say so yet; and for whose
    /// node they were chosen.
    elastic_ips: BTreeMap<String, (String, AllocationId)>,
    /// By node, pools and zones of which it waits for a member.
    waiting: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Records, by node, whose release is decided and does not show yet.
    pub(crate) going: BTreeMap<String, BTreeSet<String>>,
}

impl Cache {
    pub(crate) fn is_whole(&self) -> bool {
        self.nodes.is_whole()
            && self.node_enis.is_whole()
            && self.records.is_whole()
            && self.pools.is_whole()
    }

    pub(crate) fn take_node(&mut self, change: Change<Node>) -> Vec<Node> {
        // A watch may be behind our own writes, and their echo is no news.
        if let Change::Is(node) = &change
            && self.is_no_news_node(node)
        {
            self.nodes.keep(node.name.clone());
            return Vec::new();
        }
        self.nodes.take(named(change, |node| node.name.clone()))
    }

    /// The API server answered a write of ours to a node.
    pub(crate) fn wrote_node(&mut self, node: Node) {
        if !self.is_no_news_node(&node) {
            self.nodes.put(node.name.clone(), node);
        }
    }

    pub(crate) fn take_node_eni(&mut self, change: Change<Declared>) -> Vec<Declared> {
        self.node_enis
            .take(named(change, |declared| match declared {
                Declared::Readable(node_eni) => node_eni.name_any(),
                Declared::Unreadable { name, .. } => name.clone(),
            }))
    }

    pub(crate) fn take_record(
        &mut self,
        change: Change<Arc<NodeEniAttachment>>,
    ) -> Vec<Arc<NodeEniAttachment>> {
        // A watch may be behind our own writes, and their echo is no news.
        if let Change::Is(record) = &change
            && self.is_no_news(record)
        {
            self.records.keep(record.name_any());
            return Vec::new();
        }
        if let Change::Gone(record) = &change
            && self
                .records
                .get(&record.name_any())
                .is_some_and(|known| known.uid() != record.uid())
        {
            return Vec::new();
        }
        match &change {
            Change::Is(record) => self.index(record),
            Change::Gone(record) => self.forget(&record.name_any()),
            Change::Begin | Change::Whole => {}
        }
        let whole = matches!(change, Change::Whole);
        let concerned = self.records.take(named(change, |record| record.name_any()));
        if whole {
            for gone in &concerned {
                count(&mut self.taking, gone, u32::saturating_sub);
            }
        }
        concerned
    }

    /// The API server answered a write of ours.
    pub(crate) fn wrote(&mut self, record: NodeEniAttachment) -> Arc<NodeEniAttachment> {
        let record = Arc::new(record);
        if !self.is_no_news(&record) {
            self.index(&record);
            self.records.put(record.name_any(), Arc::clone(&record));
        }
        record
    }

    /// What the record of that name was to take counts no more.
    fn forget(&mut self, name: &str) {
        if let Some(known) = self.records.get(name) {
            count(&mut self.taking, known, u32::saturating_sub);
        }
    }

    fn index(&mut self, record: &NodeEniAttachment) {
        let name = record.name_any();
        self.forget(&name);
        count(&mut self.taking, record, u32::saturating_add);
        self.promises.remove(&name);
        self.members.remove(&name);
        if record.spec.pool.is_some() {
            self.of_pools.insert(name.clone());
        }
        self.by_node.insert((record.spec.node_name.clone(), name));
    }

    /// The records that name the node, by name.
    pub(crate) fn records_of_node(&mut self, node: &str) -> Vec<Arc<NodeEniAttachment>> {
        let named = self.by_node.range((node.to_owned(), String::new())..);
        let named = named.take_while(|(of, _)| of == node);
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        for place in named {
            match self.records.get(&place.1) {
                Some(record) => found.push(Arc::clone(record)),
                None => gone.push(place.clone()),
            }
        }
        for place in &gone {
            self.by_node.remove(place);
        }
        found
    }

    /// Addresses promised in each subnet and not yet taken, by interfaces that are and will be.
    pub(crate) fn promised(&self) -> BTreeMap<SubnetId, u32> {
        debug_assert_eq!(self.taking, self.counted(), "counted as records change");
        let mut promised = self.taking.clone();
        for (subnet, count) in self.promises.values() {
            *promised.entry(subnet.clone()).or_insert(0) += count;
        }
        promised
    }

    /// The same, counted anew.
    fn counted(&self) -> BTreeMap<SubnetId, u32> {
        let mut taking = BTreeMap::new();
        for record in self.records.values() {
            count(&mut taking, record, u32::saturating_add);
        }
        taking
    }

    /// Keeps addresses for a record that will be written.
    pub(crate) fn promise(&mut self, record: String, spec: &NodeEniAttachmentSpec) {
        let asked = NodeEniAttachment::new(&record, spec.clone());
        let promise = (spec.subnet_id.clone(), will_take(&asked));
        self.promises.insert(record, promise);
    }

    /// The record was not written, as far as is known. Where the API server did not refuse it, it may be there all
    /// the same: no other node gets its member until its own decides anew.
    pub(crate) fn unwritten(&mut self, record: &str, refused: bool) {
        self.promises.remove(record);
        if refused {
            self.members.remove(record);
        }
    }
}

/// Counts what a record will take, or no longer will.
fn count(
    taking: &mut BTreeMap<SubnetId, u32>,
    record: &NodeEniAttachment,
    change: fn(u32, u32) -> u32,
) {
    let subnet = &record.spec.subnet_id;
    let known = taking.get(subnet).copied().unwrap_or(0);
    match change(known, will_take(record)) {
        0 => taking.remove(subnet),
        count => taking.insert(subnet.clone(), count),
    };
}

fn named<T>(change: Change<T>, name: impl Fn(&T) -> String) -> Change<(String, T)> {
    match change {
        Change::Begin => Change::Begin,
        Change::Is(object) => Change::Is((name(&object), object)),
        Change::Gone(object) => Change::Gone((name(&object), object)),
        Change::Whole => Change::Whole,
    }
}
