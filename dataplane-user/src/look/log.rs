//! `eniway-agent log`: every verdict of programs of a debug build.

use std::{
    io::{Write as _, stdout},
    sync::mpsc,
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
    let (sender, lines) = mpsc::channel();
    let mut heard = Vec::new();
    for guard in guards(&bpf, which)? {
        let (sender, name) = (sender.clone(), guard.to_string());
        let tell = move |line: &str| {
            // The receiver lives as long as this function.
            let _sent = sender.send(format!("{name} {line}"));
        };
        heard.extend(Verdicts::of(&guard.attached, tell)?);
    }
    loop {
        heard.iter_mut().for_each(Verdicts::tell);
        for line in lines.try_iter() {
            writeln!(stdout(), "{line}").map_err(Error::Output)?;
        }
        tokio::time::sleep(TICK).await;
    }
}
