//! What the instance's metadata service says of the interfaces that have records, looked up while there are such.
//!
//! EC2 tells the service sooner than the controller, which reads EC2 once a minute. It may also be late itself, or not
//! answer at all: then what it said last stands, and the records alone count as far as it said nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use eniway_api::MacAddress;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    apply::Chain,
    imds::{Error, Imds, Interface, Session},
};

/// How often the service is asked, which tells of no change by itself: how long an address that somebody assigns waits
/// to be let in.
const LOOK: Duration = Duration::from_secs(5);
/// The same while it does not answer.
const RETRY: Duration = Duration::from_secs(60);

/// What it said, by MAC address.
pub type Told = BTreeMap<MacAddress, Interface>;

/// The looks, shared with who reads them.
#[derive(Clone, Debug)]
pub struct Metadata {
    asked: watch::Sender<BTreeSet<MacAddress>>,
    told: watch::Receiver<Told>,
}

impl Metadata {
    /// Begins to look. Without a service nothing is ever told.
    #[must_use]
    pub fn follow(imds: Option<Imds>) -> Self {
        let (asked, macs) = watch::channel(BTreeSet::new());
        let (tell, told) = watch::channel(Told::new());
        match imds {
            Some(imds) => drop(tokio::spawn(look(imds, macs, tell))),
            // Kept, so that who waits for news is not told that there will be none.
            None => drop(tokio::spawn(async move { tell.closed().await })),
        }
        Self { asked, told }
    }

    /// Which interfaces to ask for from now on.
    pub fn ask_for(&self, macs: BTreeSet<MacAddress>) {
        self.asked.send_if_modified(|asked| {
            let is_other = *asked != macs;
            *asked = macs;
            is_other
        });
    }

    /// What was said last of an interface.
    #[must_use]
    pub fn of(&self, mac: MacAddress) -> Option<Interface> {
        self.told.borrow().get(&mac).cloned()
    }

    /// Waits for something else than was said before.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn look(
    imds: Imds,
    mut asked: watch::Receiver<BTreeSet<MacAddress>>,
    tell: watch::Sender<Told>,
) {
    let mut session = None;
    let mut is_silent = false;
    loop {
        let macs = match asked.wait_for(|macs| !macs.is_empty()).await {
            Ok(macs) => macs.clone(),
            Err(_nobody_asks_any_more) => return,
        };
        let wait = match told(&imds, &mut session, macs).await {
            Ok(told) => {
                if std::mem::take(&mut is_silent) {
                    info!("Metadata service answers again");
                }
                tell.send_if_modified(|before| {
                    let is_other = *before != told;
                    *before = told;
                    is_other
                });
                LOOK
            }
            Err(error) => {
                session = None;
                if !std::mem::replace(&mut is_silent, true) {
                    warn!(error = %Chain(&error), "Metadata unknown, the records alone count");
                }
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = asked.changed() => {
                if changed.is_err() {
                    return;
                }
                // Not sooner than a moment: records come in crowds.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn told(
    imds: &Imds,
    session: &mut Option<Session>,
    macs: BTreeSet<MacAddress>,
) -> Result<Told, Error> {
    let open = match session.take().filter(Session::lasts) {
        Some(session) => session,
        None => imds.session().await?,
    };
    let told = session.insert(open).interfaces(macs).await?;
    Ok(told.into_iter().map(|one| (one.mac, one)).collect())
}
