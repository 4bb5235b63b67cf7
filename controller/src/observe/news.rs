//! Listens to the queue of events, while this process leads. Without it everything is found, too, by the
//! next whole read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use eniway_api::InstanceId;
use eniway_ec2::queue::{Message, Queue, QueueError};
use kube::ResourceExt as _;
use tracing::{debug, info, warn};

use crate::{
    action::Look,
    apply::Chain,
    controller::Controller,
    kubernetes::Notice,
    news::{News, Unread, Warning, read},
};

/// The first pause after a refusal; each is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
/// The longest one, and the longest one when a person must act.
const LONGEST: Duration = Duration::from_secs(60);
const LONGEST_DENIED: Duration = Duration::from_secs(300);
/// So many kinds of senseless messages are warned of; a queue of somebody else has more.
const KINDS: usize = 20;

impl Controller {
    /// Receives, takes in, deletes. Never ends.
    pub(crate) async fn listen(&self, queue: Arc<dyn Queue>) {
        let (mut failures, mut senseless) = (0, BTreeSet::new());
        loop {
            self.until_it_decides().await;
            let heard = self.hear(&*queue, &mut senseless).await;
            let Err(error) = heard else {
                if std::mem::take(&mut failures) > 0 {
                    info!("The queue of events answers again");
                }
                continue;
            };
            let longest = if error.needs_a_person() {
                LONGEST_DENIED
            } else {
                LONGEST
            };
            let pause = FIRST.saturating_mul(1 << failures.min(12)).min(longest);
            failures += 1;
            self.metrics.queue_failures.inc();
            warn!(error = %Chain(&error), ?pause, "The queue of events failed, whole reads go on");
            tokio::time::sleep(pause).await;
        }
    }

    async fn hear(
        &self,
        queue: &dyn Queue,
        senseless: &mut BTreeSet<String>,
    ) -> Result<(), QueueError> {
        let messages = queue.receive().await?;
        for message in &messages {
            self.take_in(message, senseless);
        }
        if messages.is_empty() {
            return Ok(());
        }
        queue.delete(&messages).await
    }

    /// Looks are answered only then.
    async fn until_it_decides(&self) {
        let mut leadership = self.leadership.subscribe();
        while !self.may_decide() {
            let leads = self.leadership.borrow().may_act(self.now());
            if leads {
                tokio::time::sleep(Duration::from_millis(200)).await;
            } else if leadership.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn take_in(&self, message: &Message, senseless: &mut BTreeSet<String>) {
        let kind = match read(&message.body) {
            Ok(News::State(id, state)) => {
                let heard = || {
                    let snapshot = self.snapshot();
                    let mut expected = self.expected();
                    expected.heard(&id, state, &snapshot, self.now())
                };
                if self.is_ours(&id) && heard() {
                    debug!(instance = %id, ?state, "An event told of an instance");
                    // Whatever was asked before, this is worth another look.
                    self.paces().remove(&id);
                    self.nodes_of_instance_due(&id);
                }
                "StateChange"
            }
            Ok(News::Warning(warning, ids, text)) => {
                for id in ids.iter().filter(|id| self.is_ours(id)) {
                    self.looks.add(Look::Instance(id.clone()));
                    self.warn_of(warning, id, &text);
                }
                warning.as_str()
            }
            Err(error) => {
                if senseless.len() < KINDS && senseless.insert(error.to_string()) {
                    warn!(%error, "A message was dropped; others like it will be without a word");
                }
                match error {
                    Unread::Broken(_) => "Broken",
                    Unread::Unknown(_) => "Unknown",
                }
            }
        };
        self.metrics.heard(kind);
    }

    /// Whether a node or a record stands for the instance: a queue tells of a whole account.
    fn is_ours(&self, id: &InstanceId) -> bool {
        let cache = self.cache();
        cache.nodes.values().any(|node| node.instance() == Some(id))
            || cache
                .records
                .values()
                .any(|record| record.spec.instance_id == *id)
    }

    fn nodes_of_instance_due(&self, id: &InstanceId) {
        let names: BTreeSet<_> = {
            let cache = self.cache();
            let nodes = cache.nodes.values();
            let nodes = nodes.filter(|node| node.instance() == Some(id));
            let records = cache.records.values();
            let records = records.filter(|record| record.spec.instance_id == *id);
            nodes
                .map(|node| node.name.clone())
                .chain(records.map(|record| record.spec.node_name.clone()))
                .collect()
        };
        for name in names {
            self.nodes.add(name, self.now());
        }
    }

    /// People get to know on each NodeENI that has an interface there.
    fn warn_of(&self, warning: Warning, id: &InstanceId, text: &str) {
        let records: Vec<_> = {
            let cache = self.cache();
            let records = cache.records.values();
            let records = records.filter(|record| record.spec.instance_id == *id);
            records.cloned().collect()
        };
        for record in records {
            self.notify(Notice {
                node_eni: record.spec.node_eni.clone(),
                record: Some(record.name_any()),
                warning: true,
                reason: warning.as_str(),
                action: "Listen",
                note: format!("node {}, {id}: {text}", record.spec.node_name),
            });
        }
    }
}
