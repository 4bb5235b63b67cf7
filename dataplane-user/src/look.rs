//! What a person sees of the guards: `inspect`, `top` and `monitor`. They read what the programs write, whether
//! an agent runs or not, and change nothing but who is told of dropped packets.

mod capture;
mod inspect;
mod line;
#[cfg(feature = "bpf-log")]
mod log;
mod monitor;
mod top;

use std::io;

use nix::net::if_::if_indextoname;

use crate::{
    bpf::{self, Attached, Bpf},
    config::{Look, Which},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bpf(#[from] bpf::Error),
    #[error("no guard on {name:?}; there are {there}")]
    Unknown { name: String, there: String },
    #[error("write the capture")]
    Capture(#[source] pcap_file::PcapError),
    #[error("write to standard output")]
    Output(#[source] io::Error),
    #[error("wait for packets")]
    Wait(#[source] io::Error),
}

/// Does what is asked, until it is done or interrupted.
pub async fn run(look: Look) -> Result<(), Error> {
    let done = match look {
        Look::Inspect(which) => inspect::run(&which),
        Look::Top(top) => top::run(&top).await,
        Look::Monitor(monitor) => monitor::run(&monitor).await,
        #[cfg(feature = "bpf-log")]
        Look::Log(which) => log::run(&which).await,
    };
    match done {
        // `eniway-agent top | head`: nobody reads any more.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// A guard and the name of its interface; `-` where the interface is gone or in a pod.
struct Guarded {
    attached: Attached,
    interface: String,
}

/// The guards that are meant, which are at least one if one is named.
fn guards(bpf: &Bpf, which: &Which) -> Result<Vec<Guarded>, Error> {
    let all: Vec<_> = bpf.attached()?.into_iter().map(Guarded::new).collect();
    let Some(name) = &which.name else {
        return Ok(all);
    };
    let there: Vec<_> = all.iter().map(Guarded::to_string).collect();
    let meant = |it: &Guarded| it.attached.eni == *name || it.interface == *name;
    let found: Vec<_> = all.into_iter().filter(meant).collect();
    if found.is_empty() {
        return Err(Error::Unknown {
            name: name.clone(),
            there: match there.is_empty() {
                true => "none on this node".to_owned(),
                false => there.join(", "),
            },
        });
    }
    Ok(found)
}

impl Guarded {
    fn new(attached: Attached) -> Self {
        let name = if_indextoname(attached.ifindex);
        Self {
            interface: name.map_or_else(
                |_| "-".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            attached,
        }
    }
}

impl std::fmt::Display for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.attached.eni, self.interface)
    }
}
