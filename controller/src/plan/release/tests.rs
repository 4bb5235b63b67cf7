//! An interface that goes while its agent lives, or does not.

use eniway_api::{DpdkStatus, NodeEniAttachmentSpec, NodePhase, NodeStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::plan::{Agent, tests::Stage};

/// What is done an hour after the record was marked for deletion.
fn check(agent: Agent, node: NodeStatus, expected: &str) {
    let mut stage = Stage::attached(NodeEniAttachmentSpec::default());
    let long_ago = Timestamp::from_second(-3600).unwrap();
    stage.record.metadata.deletion_timestamp = Some(Time(long_ago));
    stage.record.status.get_or_insert_default().node = Some(node);
    stage.agent = agent;
    let (reason, _) = stage.says();
    assert_eq!(format!("{} [{reason}]", stage.does()), expected);
}

fn releasing(reason: Option<&str>) -> NodeStatus {
    NodeStatus {
        phase: NodePhase::Releasing,
        reason: reason.map(str::to_owned),
        message: Some("pod default/upf has the device 0000:00:06.0".to_owned()),
        ..NodeStatus::default()
    }
}

const DETACHED: &str = "detach eni-1, which its node's agent has not released, []";

#[test]
fn what_an_agent_calls_in_use_is_waited_for_without_end() {
    check(Agent::Alive, releasing(Some("InUse")), " [InUse]");
    check(Agent::Alive, releasing(Some("GuardFailed")), DETACHED);
    check(Agent::Alive, releasing(None), DETACHED);
}

#[test]
fn a_device_of_dpdk_is_not_pulled_because_its_agent_died() {
    let bound = NodeStatus {
        phase: NodePhase::Vfio,
        ..NodeStatus::default()
    };
    check(Agent::Silent, bound, " [AgentSilent]");
    let held = NodeStatus {
        dpdk: Some(DpdkStatus {
            no_iommu: true,
            ..DpdkStatus::default()
        }),
        ..releasing(Some("InUse"))
    };
    check(Agent::Silent, held, " [AgentSilent]");
    check(Agent::Silent, releasing(None), DETACHED);
}
