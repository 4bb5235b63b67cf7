//! The sources that nobody translates: what leaves by an ENI with an address of it keeps that address.
//!
//! A rule of source NAT that looks at no interface, as the VPC CNI has one, would give it the primary interface's address.
//! The first chain that decides about a connection's source decides alone, so a chain of ours before theirs keeps it as it
//! is, by a table of nf_tables of our own; nothing of theirs is touched. iptables of either kind counts as theirs.
//!
//! Where nobody translates there is no chain of ours either: the first one makes the kernel track every connection.

mod events;
mod rule;

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use eniway_api::EniId;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use tokio::task::spawn_blocking;
use tracing::warn;

use self::rule::{
    Rule, chains, commit, is_nat_of_others, nat_chain, new_rule, rules, table, table_gone,
};
use super::{
    Error, IfIndex,
    message::{self, NETLINK_NETFILTER, Refusal},
};

pub(super) use self::events::listen;

/// The tables of iptables' own kind that this namespace has.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// A source that nobody translates when it leaves by an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptSource {
    pub eni: EniId,
    pub interface: IfIndex,
    pub source: Ipv4Net,
}

/// What the namespace shows of translations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub kept: Vec<KeptSource>,
    /// Whether somebody may translate: then sources are kept.
    pub translated: bool,
}

/// The door to nf_tables.
#[derive(Clone, Debug, Default)]
pub struct Nat(Arc<Known>);

/// What need not be asked again.
#[derive(Debug, Default)]
struct Known {
    /// The kernel cannot do it.
    lacking: AtomicBool,
    /// Somebody translates.
    translated: AtomicBool,
}

impl Nat {
    /// What is kept, and whether there is a reason to. Nothing, where the kernel has no nf_tables.
    pub async fn sources(&self) -> Result<Sources, Error> {
        let known = Arc::clone(&self.0);
        on_a_thread("list the sources that are kept", move || known.sources()).await
    }

    pub async fn keep(&self, wanted: KeptSource) -> Result<(), Error> {
        let what = format!("keep the source {}", wanted.source);
        let known = Arc::clone(&self.0);
        on_a_thread(&what, move || known.keep(&wanted)).await
    }

    /// With the last one the table goes.
    pub async fn free(&self, kept: KeptSource) -> Result<(), Error> {
        let what = format!("keep the source {} no longer", kept.source);
        on_a_thread(&what, move || free(&kept)).await
    }
}

impl Known {
    fn sources(&self) -> io::Result<Sources> {
        if self.lacking.load(Ordering::Relaxed) {
            return Ok(Sources::default());
        }
        let listed = match list(&rules())? {
            Ok(listed) => listed,
            Err(refusal) => {
                self.lacks(&refusal)?;
                return Ok(Sources::default());
            }
        };
        let rules = listed.iter().filter_map(|one| Rule::read(one));
        let kept: Vec<KeptSource> = rules.filter_map(|rule| rule.kept).collect();
        let translated = !kept.is_empty()
            || self.translated.load(Ordering::Relaxed)
            || is_translated_by_others()?;
        self.translated.store(translated, Ordering::Relaxed);
        Ok(Sources { kept, translated })
    }

    fn keep(&self, wanted: &KeptSource) -> io::Result<()> {
        match submit(&[table(), nat_chain(), new_rule(wanted)])? {
            Ok(()) => Ok(()),
            Err(refusal) => self.lacks(&refusal),
        }
    }

    /// Remembers that the kernel lacks what it takes, if that is what it says.
    fn lacks(&self, refusal: &Refusal) -> io::Result<()> {
        let is_lacking = matches!(
            refusal.errno,
            Errno::EINVAL
                | Errno::ENOENT
                | Errno::EOPNOTSUPP
                | Errno::EPROTONOSUPPORT
                | Errno::EAFNOSUPPORT
        );
        if !is_lacking {
            return Err(refusal.errno.into());
        }
        if !self.lacking.swap(true, Ordering::Relaxed) {
            warn!(
                error = %refusal.errno,
                "The kernel has no NAT by nf_tables: what others' source NAT makes of packets of an ENI, the guard drops"
            );
        }
        Ok(())
    }
}

fn free(kept: &KeptSource) -> io::Result<()> {
    let listed = match list(&rules())? {
        Ok(listed) => listed,
        Err(refusal) => return Err(refusal.errno.into()),
    };
    let rules: Vec<Rule> = listed.iter().filter_map(|one| Rule::read(one)).collect();
    let (gone, left): (Vec<_>, Vec<_>) = rules
        .iter()
        .partition(|rule| rule.kept.as_ref() == Some(kept));
    let messages = match left.is_empty() {
        true => vec![table_gone()],
        false => gone.into_iter().map(Rule::gone).collect(),
    };
    match submit(&messages)? {
        // Somebody was faster.
        Ok(())
        | Err(Refusal {
            errno: Errno::ENOENT,
            ..
        }) => Ok(()),
        Err(refusal) => Err(refusal.errno.into()),
    }
}

fn is_translated_by_others() -> io::Result<bool> {
    let legacy = fs::read_to_string(LEGACY_TABLES).unwrap_or_default();
    if legacy.lines().any(|table| table == "nat") {
        return Ok(true);
    }
    let listed = list(&chains())?.unwrap_or_default();
    Ok(listed.iter().any(|one| is_nat_of_others(one)))
}

fn list(request: &[u8]) -> io::Result<Result<Vec<Vec<u8>>, Refusal>> {
    match message::list(NETLINK_NETFILTER, request) {
        // The kernel knows not even the protocol.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(Err(Refusal {
            errno: Errno::EPROTONOSUPPORT,
            text: None,
        })),
        listed => listed,
    }
}

/// All of `messages` or none.
fn submit(messages: &[Vec<u8>]) -> io::Result<Result<(), Refusal>> {
    message::submit(NETLINK_NETFILTER, &commit(messages), messages.len())
}

async fn on_a_thread<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = spawn_blocking(work).await.map_err(io::Error::other);
    done.flatten().map_err(|source| Error::Nat {
        what: what.to_owned(),
        source,
    })
}
