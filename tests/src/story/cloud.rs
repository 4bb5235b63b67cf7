//! EC2's own truth, and what happens to it that no part of eniway asked for.

use anyhow::Context as _;
use ec2_sim::Request;
use eniway_api::mark::TAG_CLUSTER_UID;
use lab::Lab;

/// The interfaces that bear a cluster's tag, whatever their state.
pub(super) fn interfaces(lab: &Lab) -> Vec<String> {
    lab.ec2().with_world(|world, _| {
        let ours = world
            .interfaces()
            .filter(|eni| eni.tags.contains_key(TAG_CLUSTER_UID));
        ours.map(|eni| eni.id.to_string()).collect()
    })
}

/// Terminates the instance of a node, as an auto-scaling group does.
pub(super) fn terminate(lab: &Lab, node: &str) -> anyhow::Result<()> {
    let config = lab
        .nodes()
        .iter()
        .find(|config| config.name == node)
        .context("the node is the lab's")?;
    let request = Request::new("TerminateInstances").with("InstanceId.1", &config.instance);
    lab.ec2()
        .with_world(|world, now| world.call(&request, now))?;
    Ok(())
}
