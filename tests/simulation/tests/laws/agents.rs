//! The agents of all nodes: slow, and silent once their instance ends.

use std::time::Duration;

use eniway_api::{Ec2State, NodeEniAttachment, NodePhase, NodeStatus, mark};
use eniway_controller::kubernetes::{Change, Kubernetes as _};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use simulation::door::Door;

use crate::{api_server::ApiServer, weather::Weather};

/// Answers records as they change. Never ends.
pub(crate) async fn agents(api: ApiServer, door: Door, weather: Weather) {
    let mut records = api.records();
    while let Some(change) = records.next().await {
        let Change::Is(Ok(record)) = change else {
            continue;
        };
        if answer(&record).is_none() {
            continue;
        }
        let (api, door, weather) = (api.clone(), door.clone(), weather.clone());
        tokio::spawn(async move {
            tokio::time::sleep(weather.lag()).await;
            let name = record.name_any();
            let lives = door.world().instances().any(|instance| {
                instance.id.as_str() == record.spec.instance_id.as_str()
                    && instance.state == ec2_sim::InstanceState::Running
            });
            let mut store = api.store();
            let current = store.records().find(|stored| stored.name_any() == name);
            let current = current.filter(|current| current.uid() == record.uid());
            if let Some(node) = current.filter(|_| lives).and_then(answer) {
                store.put_node_status(&name, node);
            }
        });
    }
}

/// What the agent has to say that it has not said.
fn answer(record: &NodeEniAttachment) -> Option<NodeStatus> {
    let status = record.status.as_ref();
    let said = status
        .and_then(|status| status.node.clone())
        .unwrap_or_default();
    let attached = status
        .and_then(|status| status.ec2.as_ref())
        .is_some_and(|ec2| ec2.state == Ec2State::Attached);
    let deleting = record.metadata.deletion_timestamp.is_some();
    let says = NodeStatus {
        phase: match (deleting, attached) {
            (true, _) => NodePhase::Released,
            (false, true) => NodePhase::Ready,
            (false, false) => NodePhase::Pending,
        },
        released: deleting,
        ..NodeStatus::default()
    };
    (says != said).then_some(says)
}

/// Renews the leases of the agents whose instances run, and has them answer what they missed while
/// theirs did not. Never ends.
pub(crate) async fn renew(api: ApiServer, door: Door) {
    loop {
        let (names, missed): (Vec<String>, Vec<_>) = {
            let world = door.world();
            let runs = |id: &str| {
                world.instances().any(|instance| {
                    instance.id.as_str() == id && instance.state == ec2_sim::InstanceState::Running
                })
            };
            let store = api.store();
            let theirs = store
                .records()
                .filter(|record| runs(record.spec.instance_id.as_str()));
            let missed = theirs
                .filter_map(|record| Some((record.name_any(), answer(record)?)))
                .collect();
            let alive = store
                .nodes()
                .filter(|node| node.instance().is_some_and(|id| runs(id.as_str())));
            (alive.map(|node| node.name.clone()).collect(), missed)
        };
        for (record, says) in missed {
            api.store().put_node_status(&record, says);
        }
        for name in names {
            api.store().put_lease(&mark::agent_lease(&name), &name);
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
}
