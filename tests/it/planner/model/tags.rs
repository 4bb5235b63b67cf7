//! What users ask of tags, and what others do to them.

use std::{collections::BTreeMap, sync::Arc};

use eniway_api::{mark, node_eni::Tag};
use eniway_controller::desired::Declared;

use super::Model;
use simulation::small_cloud::epoch;

type Tags = BTreeMap<String, String>;

pub(super) fn said(tags: &Tags) -> BTreeMap<String, Tag> {
    let said = tags
        .iter()
        .map(|(key, value)| (key.clone(), Tag(value.clone())));
    said.collect()
}

impl Model {
    /// Every NodeENI asks for these tags.
    pub(in crate::planner) fn wish_tags(&mut self, tags: &Tags) {
        for declared in &mut self.declared {
            if let Declared::Readable(node_eni) = declared {
                Arc::make_mut(node_eni).spec.tags = said(tags);
            }
        }
    }

    /// The interfaces that we made, by ID, with their tags.
    pub(in crate::planner) fn tags(&self) -> BTreeMap<String, Tags> {
        let world = self.door.world();
        let ours = world
            .interfaces()
            .filter(|eni| eni.tags.contains_key(mark::TAG_CREATED_AT));
        ours.map(|eni| (eni.id.to_string(), eni.tags.clone()))
            .collect()
    }

    /// Somebody gives an interface a tag, or takes one off it.
    pub(in crate::planner) fn retag(&self, eni: &str, key: &str, value: Option<&str>) {
        let action = if value.is_some() {
            "CreateTags"
        } else {
            "DeleteTags"
        };
        let mut request = ec2_sim::Request::new(action)
            .with("ResourceId.1", eni)
            .with("Tag.1.Key", key);
        if let Some(value) = value {
            request = request.with("Tag.1.Value", value);
        }
        let now = epoch() + self.passed;
        self.door.world().call(&request, now).unwrap();
    }
}
