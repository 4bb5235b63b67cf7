//! The records as Kubernetes has them, read as a user reads them: with kubectl.

use anyhow::Context as _;
use eniway_api::{Ec2Status, NodeEni, NodeEniAttachment, NodePhase, NodeStatus};
use lab::Lab;
use serde::{Deserialize, de::DeserializeOwned};

use super::until;

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// Every record, by name.
pub(super) fn attachments(lab: &Lab) -> anyhow::Result<Vec<NodeEniAttachment>> {
    list(lab, "nodeeniattachments")
}

/// The NodeENI of this name, if there is one.
pub(super) fn node_eni(lab: &Lab, name: &str) -> anyhow::Result<Option<NodeEni>> {
    Ok(list::<NodeEni>(lab, "nodeenis")?
        .into_iter()
        .find(|eni| eni.metadata.name.as_deref() == Some(name)))
}

fn list<T: DeserializeOwned>(lab: &Lab, kind: &str) -> anyhow::Result<Vec<T>> {
    let text = lab.kubectl(&["get", kind, "-o", "json"])?;
    let list: List<T> =
        serde_json::from_str(&text).with_context(|| format!("read the list of {kind}"))?;
    Ok(list.items)
}

/// The controller's half of a record.
pub(super) fn ec2(record: &NodeEniAttachment) -> Option<&Ec2Status> {
    record.status.as_ref()?.ec2.as_ref()
}

/// The agent's half of a record.
pub(super) fn node(record: &NodeEniAttachment) -> Option<&NodeStatus> {
    record.status.as_ref()?.node.as_ref()
}

/// Whether EC2 and the node both say that all is done.
pub(super) fn is_ready(record: &NodeEniAttachment) -> bool {
    node(record).is_some_and(|node| {
        node.phase == NodePhase::Ready && node.observed_generation == record.metadata.generation
    })
}

/// One line about a record, for messages: where it is stuck and why.
pub(super) fn describe(record: &NodeEniAttachment) -> String {
    let name = record.metadata.name.as_deref().unwrap_or("?");
    let ec2 = ec2(record).map_or_else(
        || "no answer of EC2".to_owned(),
        |ec2| format!("{:?}", ec2.state),
    );
    let node = node(record).map_or_else(
        || "no answer of the agent".to_owned(),
        |node| {
            format!(
                "{:?} {}",
                node.phase,
                node.message.as_deref().unwrap_or_default()
            )
        },
    );
    let conditions: Vec<_> = record
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .map(|condition| {
            format!(
                "{}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            )
        })
        .collect();
    format!(
        "{name} on {}: {ec2}; {node}; {}",
        record.spec.node_name,
        conditions.join("; ")
    )
}

/// Waits until every record is ready and such that `holds` is true of it.
pub(super) fn until_every(
    lab: &Lab,
    what: &str,
    holds: impl Fn(&NodeEniAttachment) -> bool,
) -> anyhow::Result<()> {
    until(what, || {
        let all = attachments(lab)?;
        let late: Vec<_> = all
            .iter()
            .filter(|record| !(is_ready(record) && holds(record)))
            .map(describe)
            .collect();
        Ok(if late.is_empty() {
            Ok(())
        } else {
            Err(late.join("\n"))
        })
    })
}
