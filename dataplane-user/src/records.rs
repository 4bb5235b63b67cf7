//! Where records come from and who is told what became of them: the API server, or a file and this instance's
//! metadata.

use eniway_api::NodeStatus;
use futures::{Stream, StreamExt as _, stream::BoxStream};

use crate::{
    config::Config,
    desired::Record,
    imds::Imds,
    kubernetes::{self, Change, Kubernetes},
    standalone::{self, Standalone},
    states::States,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Error),
    #[error(transparent)]
    Standalone(#[from] standalone::Error),
}

/// Where an agent without Kubernetes writes what is there of its interfaces.
const STATES: &str = "/run/eniway/interfaces";

/// The records of this node.
#[derive(Clone)]
pub enum Records {
    Kubernetes(Kubernetes),
    File(Box<Standalone>),
}

impl Records {
    /// A file if there is one, else the API server.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        if let Some(path) = &config.config {
            let imds = Imds::new(&config.imds);
            let states = config.states.clone();
            let states = states.unwrap_or_else(|| STATES.into());
            let standalone = Standalone::open(path, imds, States::new(states))?;
            return Ok(Self::File(Box::new(standalone)));
        }
        let kubernetes = Kubernetes::connect(
            config.kubeconfig.clone(),
            config.node_name.clone().unwrap_or_default(),
            config.namespace.clone(),
        );
        Ok(Self::Kubernetes(kubernetes.await?))
    }

    /// At first, and after every interruption, all of them. Never ends.
    pub fn changes(&self) -> impl Stream<Item = Change> + use<> {
        let changes: BoxStream<'static, Change> = match self {
            Self::Kubernetes(kubernetes) => kubernetes.changes().boxed(),
            Self::File(standalone) => standalone.changes().boxed(),
        };
        changes
    }

    /// Tells what is there of a record's interface.
    pub async fn write_status(&self, record: &Record, status: &NodeStatus) -> Result<(), Error> {
        match self {
            Self::Kubernetes(kubernetes) => Ok(kubernetes.write_status(record, status).await?),
            Self::File(standalone) => Ok(standalone.write_status(record, status)?),
        }
    }
}
