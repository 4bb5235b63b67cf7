//! What goes wrong between a process and its servers: decided by a seed, so that it can go wrong again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The weather of one world. While it is rough, answers are late, refused or lost.
#[derive(Clone)]
pub(crate) struct Weather(Arc<Mutex<State>>);

struct State {
    random: fastrand::Rng,
    rough: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Refused before anything was done.
    Refused,
    /// Done, and the answer was lost.
    Lost,
}

impl Weather {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: fastrand::Rng::with_seed(seed),
            rough: true,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calm(&self) {
        self.state().rough = false;
    }

    /// What becomes of the next request, and how long that takes.
    pub(crate) fn fate(&self) -> (Fate, Duration) {
        let mut state = self.state();
        if !state.rough {
            return (Fate::Answered, Duration::from_millis(2));
        }
        let fate = match state.random.u8(..100) {
            0..4 => Fate::Refused,
            4..8 => Fate::Lost,
            _ => Fate::Answered,
        };
        let slow = if state.random.u8(..50) == 0 {
            4_000
        } else {
            80
        };
        (fate, Duration::from_millis(state.random.u64(1..slow)))
    }

    /// Has a call answered late, refused before it is carried out, or its answer lost.
    pub(crate) async fn decide<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
        lost: impl Fn() -> E,
    ) -> Result<T, E> {
        let (fate, delay) = self.fate();
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Refused {
            return Err(lost());
        }
        let answer = answer.await;
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Lost {
            Err(lost())
        } else {
            answer
        }
    }

    /// How long a watch takes to tell of a change.
    pub(crate) fn lag(&self) -> Duration {
        let mut state = self.state();
        let most = match (state.rough, state.random.u8(..20)) {
            (false, _) => 2,
            (true, 0) => 5_000,
            (true, _) => 100,
        };
        Duration::from_millis(state.random.u64(..most))
    }

    /// Whether something happens that does so once in `times` while the weather is rough.
    pub(crate) fn once_in(&self, times: u32) -> bool {
        let mut state = self.state();
        state.rough && state.random.u32(..times) == 0
    }

    /// A number below `end`, in any weather.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.state().random.usize(..end)
    }
}
