//! What programs of a debug build tell by aya-log: every verdict.

use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use super::{Attached, Error};

/// The verdicts of one ENI's guard, as its programs tell of them. Programs that replace them are not heard.
pub struct Verdicts<F>(EbpfLogger<Lines<F>>);

impl<F: Fn(&str) + Send + Sync> Verdicts<F> {
    /// Listens to the programs that are attached; `None` where there are none. `tell` is given one line a verdict.
    pub fn of(attached: &Attached, tell: F) -> Result<Option<Self>, Error> {
        // Both hooks are programs of one object, which has one log.
        let Some(hook) = attached.ingress.or(attached.egress) else {
            return Ok(None);
        };
        let logger = EbpfLogger::init_from_id_with_logger(hook.program_id, Lines(tell));
        let logger = logger.map_err(|source| Error::Log {
            eni: attached.eni.clone(),
            source,
        });
        logger.map(|logger| Some(Self(logger)))
    }

    /// Tells of what has come since the last time. Programs have room for 128 KiB; what finds no room is lost.
    pub fn tell(&mut self) {
        self.0.flush();
    }
}

struct Lines<F>(F);

impl<F: Fn(&str) + Send + Sync> Log for Lines<F> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0(&record.args().to_string());
    }

    fn flush(&self) {}
}
