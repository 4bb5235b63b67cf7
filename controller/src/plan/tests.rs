//! One record, its interface and its instance, for tests of what is planned.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eniway_api::{EniId, MacAddress, NodeEniAttachment, NodeEniAttachmentSpec};
use eniway_ec2::{
    Attachment, AttachmentState, ElasticIp, EnaQueues, Eni, Instance, InstanceState, Occupied,
    Snapshot,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Agent, Cluster, Now, Observed, Plan, plan, tags};
use crate::{action::Action, desired::Desired, elastic_ips::Choices, memory::Memory};

const GRACE: Duration = Duration::from_secs(60);

/// What a plan is made for. It is made an hour after everything was read.
pub(super) struct Stage {
    pub(super) record: NodeEniAttachment,
    pub(super) eni: Option<Eni>,
    pub(super) memory: Memory,
    /// By record.
    pub(super) choices: Choices,
    /// `None`: they were not read.
    pub(super) elastic_ips: Option<Vec<ElasticIp>>,
    /// EC2 said so.
    pub(super) gone: bool,
    pub(super) ena_queues: EnaQueues,
    /// Whether EC2 told the limits of the instance's type.
    pub(super) types_known: bool,
    pub(super) begun: Instant,
    pub(super) agent: Agent,
}

pub(super) fn cluster() -> Cluster {
    Cluster {
        name: "test".to_owned(),
        uid: "cluster-uid".to_owned(),
    }
}

impl Stage {
    /// `eni-1` of the record `one`, attached to `i-1` at 1 as the record asks.
    pub(super) fn attached(spec: NodeEniAttachmentSpec) -> Self {
        let spec = NodeEniAttachmentSpec {
            node_name: "node".to_owned(),
            instance_id: "i-1".into(),
            subnet_id: "subnet-1".into(),
            ..spec
        };
        let mut record = NodeEniAttachment::new("one", spec);
        record.metadata.uid = Some("uid-1".to_owned());
        let eni = Eni {
            id: "eni-1".into(),
            subnet: "subnet-1".into(),
            zone: "a".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            attachment: Some(Attachment {
                id: "eni-attach-1".into(),
                instance: "i-1".into(),
                device_index: 1,
                network_card_index: 0,
                state: AttachmentState::Attached,
                delete_on_termination: false,
                ena_queue_count: None,
            }),
            groups: Vec::new(),
            source_dest_check: false,
            description: String::new(),
            addresses: vec!["10.0.0.4/32".parse().unwrap()],
            prefixes: Vec::new(),
            association: None,
            tags: tags::wanted(&record, &cluster()).into_iter().collect(),
        };
        Self {
            record,
            eni: Some(eni),
            memory: Memory::default(),
            choices: Choices::new(),
            elastic_ips: None,
            gone: false,
            ena_queues: EnaQueues::Unknown,
            types_known: true,
            begun: Instant::now(),
            agent: Agent::Alive,
        }
    }

    pub(super) fn eni(&mut self) -> &mut Eni {
        self.eni.as_mut().unwrap()
    }

    /// The record is to go.
    pub(super) fn delete(&mut self) {
        self.record.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(GRACE);
        let interfaces = self.eni.iter().filter_map(|eni| {
            let there = eni.attachment.as_ref();
            there
                .filter(|one| one.instance.as_str() == "i-1")
                .map(|one| Occupied {
                    eni: eni.id.clone(),
                    device_index: one.device_index,
                    network_card_index: 0,
                })
        });
        let instance = Instance {
            id: "i-1".into(),
            vpc: Some("vpc-1".into()),
            zone: "a".to_owned(),
            state: InstanceState::Running,
            instance_type: "m5.large".to_owned(),
            interfaces: interfaces.collect(),
        };
        let other = Instance {
            id: "i-2".into(),
            interfaces: Vec::new(),
            ..instance.clone()
        };
        let eni = self.eni.clone().into_iter().collect();
        snapshot.read_all_enis(eni, self.begun);
        snapshot.read_all_instances(vec![instance, other], self.begun);
        if let Some(all) = &self.elastic_ips {
            snapshot.elastic_ips.told(all.clone(), self.begun);
        }
        if self.gone {
            snapshot.deleted(&EniId::from("eni-1"), self.begun);
        }
        let mut limits = snapshot.limits("m5.large").cloned().unwrap();
        limits.ena_queues = self.ena_queues;
        if self.types_known {
            snapshot.types.insert("m5.large".to_owned(), limits);
        }
        snapshot
    }

    pub(super) fn plan(&self) -> Plan {
        let snapshot = self.snapshot();
        let memories = BTreeMap::from([("uid-1".to_owned(), self.memory.clone())]);
        let observed = Observed {
            records: &[self.record.clone().into()],
            snapshot: &snapshot,
            memories: &memories,
            paces: &BTreeMap::new(),
            agent: self.agent,
            pods: Some(&[]),
            rivals: &BTreeMap::new(),
            elastic_ips: &self.choices,
            cluster: &cluster(),
            grace: GRACE,
            release_within: Duration::from_secs(600),
            catalog_pause: Duration::from_secs(30),
            leading_since: self.begun,
        };
        let now = Now {
            monotonic: self.begun + Duration::from_secs(3600),
            wall: Timestamp::UNIX_EPOCH,
        };
        plan(&Desired::default(), observed, now)
    }

    /// What is to be done, but for words in the status.
    pub(super) fn does(&self) -> String {
        let actions = self.plan().actions;
        let said = actions.iter();
        let said = said.filter(|action| !matches!(action, Action::Report { .. }));
        let said: Vec<_> = said.map(ToString::to_string).collect();
        said.join("; ")
    }

    /// The reason and the Elastic IP that the status is to have.
    pub(super) fn says(&self) -> (String, Option<String>) {
        let actions = self.plan().actions;
        let said = actions.iter().find_map(|action| match action {
            Action::Report { ec2, ready, .. } => {
                let claim = ec2.elastic_ip.as_ref();
                let claim = claim.map(|claim| claim.allocation_id.to_string());
                Some((ready.reason.clone(), claim))
            }
            _ => None,
        });
        said.unwrap_or_default()
    }
}
