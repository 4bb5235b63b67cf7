//! A controller at work, which lives and dies at the test's word.

use std::{sync::Arc, time::Duration};

use eniway_controller::{Config, config::Timing, kubernetes::ApiServer};
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rig::Running;

/// A controller at work. Dropping it is a crash.
pub(super) struct Controller {
    task: JoinHandle<Result<(), eniway_controller::Error>>,
    shutdown: CancellationToken,
}

impl Controller {
    /// Ends it as SIGTERM does.
    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Clocks for a test: everything that is a minute in the world is a second here.
pub(super) fn config() -> Config {
    let mut config = Config::embedded("test");
    config.timing = Timing {
        whole_read: Duration::from_secs(1),
        catalog: Duration::from_secs(5),
        catalog_on_request: Duration::from_millis(500),
        grace: Duration::from_secs(2),
        gather: Duration::from_millis(20),
        spacing: Duration::from_millis(100),
        release: Duration::from_secs(600),
        status: Duration::from_millis(100),
        peer: Duration::from_secs(1),
        lease: Duration::from_secs(4),
        acting: Duration::from_secs(2),
        renewal: Duration::from_secs(1),
    };
    config
}

/// The same, but EC2 is read whole once: what changes later must be looked for.
pub(super) fn patient() -> Config {
    let mut config = config();
    config.timing.whole_read = Duration::from_secs(600);
    config
}

impl Running {
    pub(super) fn controller(&self) -> Controller {
        self.controller_at(config())
    }

    pub(super) fn controller_at(&self, config: Config) -> Controller {
        self.controller_with(config, self.client.clone(), self.door.clone())
    }

    pub(super) fn elected(&self, identity: &str) -> Controller {
        let config = Config {
            leader_election: true,
            identity: identity.to_owned(),
            ..config()
        };
        self.controller_at(config)
    }

    pub(super) fn controller_with(
        &self,
        config: Config,
        client: Client,
        ec2: impl eniway_ec2::Ec2,
    ) -> Controller {
        let shutdown = CancellationToken::new();
        let kubernetes = ApiServer::new(client, &config.identity);
        let run = eniway_controller::run(config, kubernetes, ec2, shutdown.clone());
        Controller {
            task: tokio::spawn(run),
            shutdown,
        }
    }

    /// A controller that listens to the world's queue, and reads EC2 whole once.
    pub(super) fn listening(&self) -> Controller {
        let shutdown = CancellationToken::new();
        let config = patient();
        let kubernetes = ApiServer::new(self.client.clone(), &config.identity);
        let (ec2, queue) = (self.door.clone(), Arc::new(self.door.clone()));
        let stop = shutdown.clone();
        let run = eniway_controller::run_listening(config, kubernetes, ec2, Some(queue), stop);
        Controller {
            task: tokio::spawn(run),
            shutdown,
        }
    }
}
