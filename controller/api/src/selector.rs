//! Selectors: which nodes a NodeENI is for, and which subnets and security groups it means by tags.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node_eni::Tag;

/// One condition on a node's labels, as in a pod's node affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0").message("In and NotIn need values, Exists and DoesNotExist take none"))]
pub struct NodeSelectorExpression {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared. `NotIn` and `DoesNotExist` also match a node without the label.
    pub operator: SelectorOperator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<LabelValue>,
}

/// The value of a label: at most 63 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

/// How a label is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// The label has one of the values.
    #[default]
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there, whatever its value.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// What bears all of these tags in EC2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TagSelector {
    /// The tags, all of them, with these very values. Empty is refused: it would match everything.
    #[x_kube(validation = Rule::new("size(self) > 0").message("an empty selector would match everything in the VPC: name at least one tag"))]
    #[schemars(extend("maxProperties" = 50))]
    pub tags: BTreeMap<String, Tag>,
}

impl NodeSelectorExpression {
    /// Whether a node with these labels meets the condition.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        let listed = || label.is_some_and(|label| self.values.iter().any(|v| v.0 == *label));
        match self.operator {
            SelectorOperator::In => listed(),
            SelectorOperator::NotIn => !listed(),
            SelectorOperator::Exists => label.is_some(),
            SelectorOperator::DoesNotExist => label.is_none(),
        }
    }
}

impl TagSelector {
    /// Whether something is meant whose tags `tag` tells, by key. An empty selector means nothing.
    #[must_use]
    pub fn matches<'a>(&self, tag: impl Fn(&str) -> Option<&'a str>) -> bool {
        let borne = |(key, value): (&String, &Tag)| tag(key) == Some(value.0.as_str());
        !self.tags.is_empty() && self.tags.iter().all(borne)
    }
}

impl std::fmt::Display for TagSelector {
    /// `tier=data, team=net`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (key, value) in &self.tags {
            write!(f, "{separator}{key}={}", value.0)?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operator: SelectorOperator, values: &[&str], matched: [bool; 3]) {
        let expression = NodeSelectorExpression {
            key: "tier".to_owned(),
            operator,
            values: values.iter().map(|v| LabelValue((*v).to_owned())).collect(),
        };
        let labels = |value: &str| BTreeMap::from([("tier".to_owned(), value.to_owned())]);
        let found = [labels("data"), labels("web"), BTreeMap::new()];
        assert_eq!(found.map(|labels| expression.matches(&labels)), matched);
    }

    #[test]
    fn expressions_match_as_kubernetes_does() {
        // A node with tier=data, with tier=web, without the label.
        check(SelectorOperator::In, &["data", "db"], [true, false, false]);
        check(SelectorOperator::NotIn, &["data"], [false, true, true]);
        check(SelectorOperator::Exists, &[], [true, true, false]);
        check(SelectorOperator::DoesNotExist, &[], [false, false, true]);
    }

    #[test]
    fn an_empty_selector_of_tags_means_nothing() {
        assert!(!TagSelector::default().matches(|_| Some("net")));
    }
}
