//! Elastic IPs: public addresses of the account, of which an interface may have one.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AllocationId, AssociationId, node_eni::Tag};

/// The Elastic IPs of which an interface gets one. It keeps the one that it has while that is among
/// them, and one that something else has is never taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.allocationIDs) && size(self.allocationIDs) > 0) != (has(self.tags) && size(self.tags) > 0)").message("name the Elastic IPs either by allocationIDs or by tags"))]
pub struct ElasticIpWish {
    /// These; the first one that is free.
    #[serde(
        rename = "allocationIDs",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(extend("maxItems" = 200, "x-kubernetes-list-type" = "set"))]
    pub allocation_ids: Vec<AllocationId>,
    /// Those that bear all of these tags, with these very values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub tags: BTreeMap<String, Tag>,
}

/// An Elastic IP that was chosen for an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ElasticIpClaim {
    /// Which one.
    #[serde(rename = "allocationID")]
    pub allocation_id: AllocationId,
    /// Its association with the interface, once EC2 has shown it.
    #[serde(
        rename = "associationID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub association_id: Option<AssociationId>,
}

impl ElasticIpWish {
    /// Whether an Elastic IP with these tags is one of them.
    #[must_use]
    pub fn names(&self, id: &AllocationId, tags: &BTreeMap<String, String>) -> bool {
        let borne = |(key, value): (&String, &Tag)| tags.get(key) == Some(&value.0);
        self.allocation_ids.contains(id) || (!self.tags.is_empty() && self.tags.iter().all(borne))
    }
}

impl std::fmt::Display for ElasticIpWish {
    /// `eipalloc-1, eipalloc-2` or `tier=edge, team=net`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.allocation_ids.iter().map(ToString::to_string);
        let tags = self
            .tags
            .iter()
            .map(|(key, tag)| format!("{key}={}", tag.0));
        let named: Vec<_> = ids.chain(tags).collect();
        f.write_str(&named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elastic_ip_is_named_by_its_id_or_by_all_of_the_tags() {
        let tags = |text: &str| -> BTreeMap<String, String> {
            let pairs = text
                .split_whitespace()
                .filter_map(|one| one.split_once('='));
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        let by_tags = |text| ElasticIpWish {
            tags: tags(text)
                .into_iter()
                .map(|(key, value)| (key, Tag(value)))
                .collect(),
            ..ElasticIpWish::default()
        };
        let by_id = ElasticIpWish {
            allocation_ids: vec!["eipalloc-1".into()],
            ..ElasticIpWish::default()
        };
        assert!(by_id.names(&"eipalloc-1".into(), &tags("")));
        assert!(!by_id.names(&"eipalloc-2".into(), &tags("a=b")));
        let wish = by_tags("tier=edge team=net");
        assert!(wish.names(&"eipalloc-2".into(), &tags("tier=edge team=net more=x")));
        assert!(!wish.names(&"eipalloc-2".into(), &tags("tier=edge")));
        assert!(!ElasticIpWish::default().names(&"eipalloc-2".into(), &tags("")));
        assert_eq!(
            (by_id.to_string(), wish.to_string()),
            ("eipalloc-1".to_owned(), "team=net, tier=edge".to_owned())
        );
    }
}
