//! An instance of EC2 that is a machine: EC2's simulator plugs and pulls its cards, and tells their metadata.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ec2_sim::event::Plug;
use ec2_sim::imds::Imds;
use ec2_sim::{Interface, What};

use super::{Card, Error, HOST, Kernel, Machine, Model, Options};
use crate::cloud::Cloud;
use crate::config::Config;
use crate::error::Chain;
use crate::vpc::Subnet;

/// A running instance, in a VPC as a lab's; it ends with this value.
#[derive(Debug)]
pub struct Instance {
    id: String,
    // It holds the machine, too, and ends first.
    cloud: Cloud,
    metadata: Imds,
    slots: Arc<Mutex<Slots>>,
    machine: Arc<Machine>,
}

/// What became of EC2's attachments.
#[derive(Debug, Default)]
struct Slots {
    cards: BTreeMap<String, Arc<Card>>,
    troubles: Vec<String>,
}

impl Instance {
    /// Boots `kernel` as an instance whose ENIs, but for the primary one, are cards of a model.
    ///
    /// # Errors
    /// As for [`Machine::start`], and when EC2 cannot be simulated.
    pub fn start(
        kernel: &Kernel,
        options: &Options,
        model: Model,
        deadline: Duration,
    ) -> Result<Self, Error> {
        let config = Config::bare(1);
        let node = config.nodes.first().expect("one was asked for");
        let cloud = Cloud::start_on_host(&config).map_err(cloud_failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(|source| Error::Socket {
            what: "listen for questions to the metadata service".to_owned(),
            source,
        })?;
        let metadata = cloud.answer_metadata(&node.instance, listener);
        let options = Options {
            primary: Some(node.mac()),
            ..options.clone()
        };
        let instance = Self {
            id: node.instance.clone(),
            metadata: metadata.map_err(cloud_failed)?,
            cloud,
            slots: Arc::default(),
            machine: Arc::new(Machine::start(kernel, &options, deadline)?),
        };
        let (machine, slots) = (Arc::clone(&instance.machine), Arc::clone(&instance.slots));
        instance.cloud.follow(move |what| {
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = slots.handle(&machine, model, what) {
                slots.troubles.push(Chain(&error).to_string());
            }
        });
        Ok(instance)
    }

    /// The machine that it is.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Where its metadata service is, as it sees it itself.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("http://{HOST}:{}", self.metadata.address().port())
    }

    /// Creates an ENI in a subnet, such as `multus-a`, and attaches it, without a controller. Its card is plugged
    /// soon after.
    ///
    /// # Errors
    /// EC2 refuses.
    pub fn attach(&self, subnet: &str, index: u32) -> Result<Interface, Error> {
        let subnet = Subnet::find(subnet).map_err(cloud_failed)?;
        let attached = self.cloud.attach(subnet, &self.id, index);
        attached.map_err(cloud_failed)
    }

    /// Detaches an ENI; the machine is asked to let its card go.
    ///
    /// # Errors
    /// EC2 refuses.
    pub fn detach(&self, interface: &Interface) -> Result<(), Error> {
        let detached = self.cloud.detach(interface.id.as_str());
        detached.map_err(cloud_failed)
    }

    /// The card of an ENI, once it is plugged. Otherwise what kept EC2 from it, if anything did.
    ///
    /// # Errors
    /// It is not there, or not yet.
    pub fn card(&self, interface: &Interface) -> Result<Arc<Card>, String> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let card = slots.cards.get(interface.id.as_str()).cloned();
        card.ok_or_else(|| format!("not plugged: {:?}", slots.troubles))
    }
}

impl Slots {
    fn handle(&mut self, machine: &Machine, model: Model, what: &What) -> Result<(), Error> {
        match what {
            What::Attaching(Plug { eni, mac, .. }) => {
                let card = machine.plug(model, mac)?;
                self.cards.insert(eni.as_str().to_owned(), Arc::new(card));
            }
            What::Detaching(Plug { eni, .. }) => {
                if let Some(card) = self.cards.get(eni.as_str()) {
                    machine.unplug(card)?;
                }
            }
            What::Attached(_)
            | What::Detached(_)
            | What::EniCreated { .. }
            | What::EniDeleted { .. }
            | What::InstanceState { .. }
            | What::AddressesChanged(_)
            | What::AttributeChanged { .. } => {}
        }
        Ok(())
    }
}

fn cloud_failed(source: crate::Error) -> Error {
    Error::Cloud {
        source: Box::new(source),
    }
}
