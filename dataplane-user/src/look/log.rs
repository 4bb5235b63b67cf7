//! `eniway-agent log`: every verdict of programs of a debug build.

use std::{
    io::{Write as _, stdout},
    sync::Mutex,
    time::Duration,
};

use super::{Error, guards};
use crate::{
    bpf::{Bpf, Verdicts},
    config::Which,
};

/// Between two reads.
const TICK: Duration = Duration::from_millis(50);

/// Until it is interrupted.
pub(super) async fn run(which: &Which) -> Result<(), Error> {
    let bpf = Bpf::open(&which.bpffs)?;
    let written = Mutex::new(Ok(()));
    let mut heard = Vec::new();
    for guard in guards(&bpf, which)? {
        let (name, written) = (guard.to_string(), &written);
        // At once: a program that tells without end must not fill the memory.
        let tell = move |line: &str| {
            if let Ok(mut written) = written.lock()
                && written.is_ok()
            {
                *written = writeln!(stdout(), "{name} {line}");
            }
        };
        heard.extend(Verdicts::of(&guard.attached, tell)?);
    }
    loop {
        heard.iter_mut().for_each(Verdicts::tell);
        if let Ok(mut written) = written.lock() {
            std::mem::replace(&mut *written, Ok(())).map_err(Error::Output)?;
        }
        tokio::time::sleep(TICK).await;
    }
}
