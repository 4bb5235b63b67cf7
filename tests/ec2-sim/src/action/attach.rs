//! AttachNetworkInterface and DetachNetworkInterface, with every rule of where an interface may go.

use jiff::Timestamp;

use crate::error::{ApiError, api, invalid_combination, invalid_value, missing, no_attachment};
use crate::event::{Plug, What};
use crate::fault::Effect;
use crate::ids::{AttachmentId, EniId, InstanceId};
use crate::lifecycle::Due;
use crate::model::{AttachmentState, Instance, InstanceState, Interface, Slot};
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

/// Linux and EC2 know no higher device index.
const MAX_DEVICE_INDEX: u32 = 31;

/// An attachment to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachNetworkInterface {
    pub interface: EniId,
    pub instance: InstanceId,
    pub slot: Slot,
}

impl World {
    pub(super) fn attach_network_interface(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let attach = AttachNetworkInterface {
            interface: EniId::parse(request.required("NetworkInterfaceId")?)?,
            instance: InstanceId::parse(request.required("InstanceId")?)?,
            slot: Slot {
                card: request.value("NetworkCardIndex")?.unwrap_or(0),
                index: request
                    .value("DeviceIndex")?
                    .ok_or_else(|| missing("DeviceIndex"))?,
            },
        };
        self.known_interface(&attach.interface, now)?;
        let instance = self.known_instance(&attach.instance)?;
        let queues = request.value("EnaQueueCount")?;
        if let Some(queues) = queues {
            self.may_have_queues(instance, &attach.interface, queues)?;
        }
        request.end_dry_run()?;
        let attachment = self.attach_interface(&attach, now)?;
        if queues.is_some() {
            self.set_queues(&attach.interface, queues, now);
        }
        Ok(Xml::fragment(|xml| {
            xml.leaf("attachmentId", &attachment);
            xml.leaf("networkCardIndex", attach.slot.card);
        }))
    }

    pub(super) fn detach_network_interface(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let id = AttachmentId::parse(request.required("AttachmentId")?)?;
        let force = request.flag("Force")?.unwrap_or(false);
        if !self.attachments.contains_key(&id) {
            return Err(no_attachment(&id));
        }
        request.end_dry_run()?;
        self.detach_interface(&id, force, now)?;
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    /// Puts an interface into a place on an instance.
    ///
    /// # Errors
    /// EC2's refusal; nothing has changed then.
    pub fn attach_interface(
        &mut self,
        attach: &AttachNetworkInterface,
        now: Timestamp,
    ) -> Result<AttachmentId, ApiError> {
        let interface = self.known_interface(&attach.interface, now)?;
        let instance = self.known_instance(&attach.instance)?;
        self.may_attach(interface, instance, attach.slot)?;
        let hot = instance.state == InstanceState::Running;
        let id = self
            .tie(&attach.interface, &attach.instance, attach.slot, false, now)
            .expect("both were found above");
        match self.spoil {
            Some(Effect::StuckAttaching) => {}
            Some(Effect::AttachmentVanishes { after_ms }) => {
                self.schedule(now + after_ms, Due::Detached(id.clone()));
            }
            _ if hot => self.schedule(now + self.settings.attach_ms, Due::Attached(id.clone())),
            _ => {}
        }
        Ok(id)
    }

    fn may_attach(
        &self,
        interface: &Interface,
        instance: &Instance,
        slot: Slot,
    ) -> Result<(), ApiError> {
        let (eni, i, limits) = (&interface.id, &instance.id, instance.limits);
        if interface.attachment.is_some() {
            return Err(api(
                "InvalidNetworkInterface.InUse",
                format!("Interface: [{eni}] in use."),
            ));
        }
        match instance.state {
            InstanceState::Running | InstanceState::Stopped => {}
            InstanceState::Pending => {
                return Err(api(
                    "IncorrectInstanceState",
                    format!("The instance '{i}' is in the 'pending' state."),
                ));
            }
            InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
                return Err(api(
                    "IncorrectState",
                    format!("Instance '{i}' is not 'running'."),
                ));
            }
        }
        let Some(&card_limit) = limits.cards.get(slot.card as usize) else {
            return Err(invalid_value(format!(
                "Network card index '{}' is not valid for the instance type '{}'.",
                slot.card, limits.name
            )));
        };
        if slot.index > MAX_DEVICE_INDEX {
            return Err(invalid_value(format!(
                "Invalid value '{}' for deviceIndex. Valid values are 0 to {MAX_DEVICE_INDEX}.",
                slot.index
            )));
        }
        // Index 0 of the first card is the primary interface and always there; on another card it is made at launch only.
        if slot.index == 0 || instance.interfaces.contains_key(&slot) {
            return Err(invalid_value(format!(
                "Instance '{i}' already has an interface attached at device index '{}'.",
                slot.index
            )));
        }
        if interface.zone != instance.zone {
            return Err(invalid_combination(
                "You may not attach a network interface to an instance if they are not in the same availability zone",
            ));
        }
        if interface.vpc != instance.vpc && !self.settings.multi_vpc {
            return Err(invalid_combination(
                "You may not attach a network interface to an instance if they are not in the same VPC",
            ));
        }
        if interface.kind.starts_with("efa") && !limits.efa {
            return Err(invalid_combination(format!(
                "The instance type '{}' does not support Elastic Fabric Adapters.",
                limits.name
            )));
        }
        if interface.kind.starts_with("efa") && instance.state == InstanceState::Running {
            return Err(api(
                "IncorrectState",
                format!("Instance '{i}' is not 'stopped'."),
            ));
        }
        let count = instance.interfaces.len() + 1;
        let on_card = instance
            .interfaces
            .keys()
            .filter(|taken| taken.card == slot.card)
            .count()
            + 1;
        if count > limits.max_interfaces as usize {
            return Err(api(
                "AttachmentLimitExceeded",
                format!(
                    "Interface count {count} exceeds the limit for {}",
                    limits.name
                ),
            ));
        }
        if on_card > card_limit as usize {
            return Err(api(
                "AttachmentLimitExceeded",
                format!(
                    "Interface count {on_card} exceeds the limit for network card {} of {}",
                    slot.card, limits.name
                ),
            ));
        }
        check_address_limits(interface, instance)
    }

    /// Whether the instance gives an interface so many ENA queues.
    pub(super) fn may_have_queues(
        &self,
        instance: &Instance,
        eni: &EniId,
        queues: u32,
    ) -> Result<(), ApiError> {
        let name = instance.limits.name;
        let Some(limits) = instance.limits.queues else {
            return Err(invalid_combination(format!(
                "The instance type '{name}' does not support specifying an ENA queue count."
            )));
        };
        if queues == 0 || queues > limits.most {
            return Err(invalid_value(format!(
                "Invalid value '{queues}' for enaQueueCount. The instance type '{name}' supports 1 \
                 to {} for a network interface.",
                limits.most
            )));
        }
        let others = instance.interfaces.values().filter(|other| *other != eni);
        let others = others.map(|other| {
            let interface = self.interfaces.get(other);
            let attachment = interface.and_then(|interface| interface.attachment.as_ref());
            attachment
                .and_then(|attachment| attachment.ena_queues)
                .unwrap_or(limits.default)
        });
        if others.sum::<u32>() + queues > limits.of_instance {
            return Err(invalid_value(format!(
                "The ENA queue count exceeds the limit of {} for the instance type '{name}'.",
                limits.of_instance
            )));
        }
        Ok(())
    }

    pub(super) fn set_queues(&mut self, eni: &EniId, queues: Option<u32>, now: Timestamp) {
        self.interfaces.change(now, eni, |interface| {
            if let Some(attachment) = &mut interface.attachment {
                attachment.ena_queues = queues;
            }
        });
    }

    /// Begins to pull an interface; a forced pull also ends one that is stuck.
    ///
    /// # Errors
    /// EC2's refusal; nothing has changed then.
    pub fn detach_interface(
        &mut self,
        id: &AttachmentId,
        force: bool,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let eni = self
            .attachments
            .get(id)
            .cloned()
            .ok_or_else(|| no_attachment(id))?;
        let interface = self.interfaces.get(&eni).ok_or_else(|| no_attachment(id))?;
        let attachment = interface
            .attachment
            .as_ref()
            .ok_or_else(|| no_attachment(id))?;
        let Slot { card, index } = attachment.slot;
        if index == 0 {
            return Err(api(
                "OperationNotPermitted",
                format!(
                    "The network interface at device index {index} and networkCard index {card} cannot be detached."
                ),
            ));
        }
        let state = self
            .instances
            .get(&attachment.instance)
            .map(|instance| instance.state);
        if state == Some(InstanceState::Pending) {
            return Err(api(
                "IncorrectState",
                format!("Instance '{}' is not 'running'.", attachment.instance),
            ));
        }
        let (plug, was) = (Plug::of(interface, attachment), attachment.state);
        if was != AttachmentState::Detaching {
            self.interfaces.change(now, &eni, |interface| {
                if let Some(attachment) = &mut interface.attachment {
                    attachment.state = AttachmentState::Detaching;
                }
            });
            self.tell(now, What::Detaching(plug));
        } else if !force {
            // Asked again while it is under way: EC2 agrees and does nothing more.
            return Ok(());
        }
        match self.spoil {
            Some(Effect::StuckDetaching) => {}
            _ if state == Some(InstanceState::Running) => {
                self.schedule(now + self.settings.detach_ms, Due::Detached(id.clone()));
            }
            _ => self.untie(id, now),
        }
        Ok(())
    }
}

/// Whether the instance's type carries the addresses that the interface has.
pub(super) fn check_address_limits(
    interface: &Interface,
    instance: &Instance,
) -> Result<(), ApiError> {
    if interface.ipv4_count() > instance.limits.ipv4_per_interface as usize {
        return Err(api(
            "PrivateIpAddressLimitExceeded",
            "Number of private addresses will exceed limit.",
        ));
    }
    if interface.ipv6_addresses.len() + interface.ipv6_prefixes.len()
        > instance.limits.ipv6_per_interface as usize
    {
        return Err(api(
            "Ipv6AddressLimitExceeded",
            "Number of IPv6 addresses will exceed limit.",
        ));
    }
    Ok(())
}
