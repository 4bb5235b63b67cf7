//! Writes on nodes what they say of their interfaces.

use tracing::{debug, info, warn};

use super::{Chain, Outcome};
use crate::{action::Action, controller::Controller, kubernetes};

impl Controller {
    /// A refusal holds nothing else of the node up.
    pub(super) async fn mark_node(&self, action: &Action) -> Outcome {
        match self.try_mark(action).await {
            Ok(()) => {
                info!(%action, "Applied");
                Outcome::Done
            }
            Err(error) if error.is_outdated() => {
                debug!(%action, error = %Chain(&error), "Node has changed");
                Outcome::Failed
            }
            Err(error) if error.denies_nodes() => {
                warn!(%action, error = %Chain(&error), "Not allowed, trying again at the next whole read");
                Outcome::Held
            }
            Err(error) => {
                warn!(%action, error = %Chain(&error), "Action failed");
                Outcome::Failed
            }
        }
    }

    async fn try_mark(&self, action: &Action) -> Result<(), kubernetes::Error> {
        let written = match action {
            Action::LabelNode { name, uid, labels } => {
                self.kubernetes.label_node(name, uid, labels).await?
            }
            Action::AnnotateNode {
                name,
                uid,
                interfaces,
            } => {
                let interfaces = interfaces.as_deref();
                self.kubernetes.annotate_node(name, uid, interfaces).await?
            }
            Action::Taint { name, uid } => self.kubernetes.taint(name, uid).await?,
            Action::Untaint { name, uid, taints } => {
                self.kubernetes.untaint(name, uid, taints).await?
            }
            _ => return Ok(()),
        };
        self.cache().wrote_node(written);
        Ok(())
    }
}
