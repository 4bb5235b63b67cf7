//! The ports of a machine: cards are plugged into them and pulled while it runs.

use serde_json::json;

use super::card::{Card, Model};
use super::machine::lock;
use super::{Error, Machine};

/// How many cards a machine can have at a time.
pub(super) const PORTS: usize = 4;

/// Which cards there have been.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// How many.
    made: u32,
    /// The last card in each.
    last: [Option<String>; PORTS],
}

/// QEMU's name of a port.
pub(super) fn port(number: usize) -> String {
    format!("port{number}")
}

impl Machine {
    /// Plugs a card into a port that is free.
    ///
    /// # Errors
    /// [`Error::NoPort`], or what QEMU has against it.
    pub fn plug(&self, model: Model, mac: &str) -> Result<Card, Error> {
        let mut ports = lock(&self.ports);
        let there = self.devices()?;
        let is_free = |last: &Option<String>| last.as_ref().is_none_or(|id| !there.contains(id));
        let number = ports.last.iter().position(is_free);
        let number = number.ok_or(Error::NoPort { ports: PORTS })?;
        ports.made += 1;
        let id = format!("card{}", ports.made);
        let card = Card::new(self.image.folder(), &id, mac)?;
        self.execute("netdev_add", &card.link())?;
        self.execute("device_add", &card.device(model, &port(number)))?;
        ports.last[number] = Some(id);
        Ok(card)
    }

    /// Asks the machine to let a card go; whoever uses it may take its time.
    ///
    /// # Errors
    /// It was asked already, or the card is not there any more.
    pub fn unplug(&self, card: &Card) -> Result<(), Error> {
        let arguments = json!({"id": card.id});
        self.execute("device_del", &arguments).map(drop)
    }

    /// Whether a card is there still.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn is_plugged(&self, card: &Card) -> Result<bool, Error> {
        Ok(self.devices()?.contains(&card.id))
    }

    /// The names of the devices that bear one.
    fn devices(&self) -> Result<Vec<String>, Error> {
        let list = self.execute("qom-list", &json!({"path": "/machine/peripheral"}))?;
        let names = list.as_array().into_iter().flatten();
        let names = names.filter_map(|one| one["name"].as_str());
        Ok(names.map(ToOwned::to_owned).collect())
    }
}
