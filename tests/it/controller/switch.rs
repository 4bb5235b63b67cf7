//! Kills a controller at one of its steps.

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

/// Counts what a controller does to the world, and stops it dead at one of those steps.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    left: Arc<Mutex<Option<(usize, bool)>>>,
    pub(super) pulled: CancellationToken,
}

impl Switch {
    /// Kills at step `step`, counted from 0, before it is done or after.
    pub(super) fn at(step: usize, before: bool) -> Self {
        Self {
            left: Arc::new(Mutex::new(Some((step, before)))),
            pulled: CancellationToken::new(),
        }
    }

    pub(super) async fn step<T>(&self, work: impl Future<Output = T>) -> T {
        let dies = {
            let mut left = self.left.lock().unwrap();
            match &mut *left {
                Some((0, before)) => {
                    let before = *before;
                    *left = None;
                    Some(before)
                }
                Some((steps, _)) => {
                    *steps -= 1;
                    None
                }
                // Dead already: nothing more leaves this process.
                None => Some(true),
            }
        };
        match dies {
            None => work.await,
            Some(before) => {
                if !before {
                    work.await;
                }
                self.pulled.cancel();
                std::future::pending().await
            }
        }
    }
}
