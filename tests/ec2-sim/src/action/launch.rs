//! RunInstances: which interfaces an instance begins with, and the instance.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::create::CreateNetworkInterface;
use super::describe_instances::write_instance;
use super::tags::{check_new_tags, merged};
use crate::error::{ApiError, api, invalid_combination, invalid_value, missing, no_subnet};
use crate::event::What;
use crate::ids::{EniId, GroupId, InstanceId, SubnetId};
use crate::instance_type::InstanceType;
use crate::lifecycle::Due;
use crate::model::{Instance, InstanceState, Slot, Tags};
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

/// An interface that an instance begins with.
struct Launch {
    slot: Slot,
    interface: LaunchInterface,
    delete_on_termination: bool,
}

enum LaunchInterface {
    Existing(EniId),
    New(Box<CreateNetworkInterface>),
}

impl World {
    pub(super) fn run_instances(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let name = request.text("InstanceType").unwrap_or("m5.large");
        let limits = InstanceType::find(name)
            .ok_or_else(|| invalid_value(format!("Invalid value '{name}' for InstanceType.")))?;
        let most: usize = request
            .value("MaxCount")?
            .ok_or_else(|| missing("MaxCount"))?;
        let least: usize = request
            .value("MinCount")?
            .ok_or_else(|| missing("MinCount"))?;
        if least == 0 || most < least {
            return Err(invalid_value(format!(
                "Invalid value '{most}' for maxCount. Must be at least minCount, and minCount at least 1."
            )));
        }
        let image = request.required("ImageId")?.to_owned();
        let tags = request.tag_specifications("instance")?;
        check_new_tags(&Tags::new(), &tags)?;
        let launches = self.launches(request, limits, now)?;
        let named = |launch: &Launch| match &launch.interface {
            LaunchInterface::Existing(_) => true,
            LaunchInterface::New(wanted) => wanted.primary.is_some(),
        };
        if most > 1 && launches.iter().any(named) {
            return Err(invalid_combination(
                "Network interfaces or addresses cannot be specified when requesting more than one instance",
            ));
        }
        request.end_dry_run()?;
        let mut started = Vec::new();
        for _ in 0..most {
            match self.launch(&launches, limits, &image, &tags, now) {
                Ok(id) => started.push(id),
                Err(_) if started.len() >= least => break,
                Err(error) => {
                    for id in started {
                        self.discard(&id, now);
                    }
                    return Err(error);
                }
            }
        }
        let reservation = format!("r-0{:016x}", self.last_sequence());
        Ok(Xml::fragment(|xml| {
            xml.leaf("reservationId", &reservation);
            xml.leaf("ownerId", &self.account);
            xml.set("groupSet", [(); 0], |_, ()| {});
            xml.set(
                "instancesSet",
                started.iter().filter_map(|id| self.instances.get(id)),
                |xml, instance| {
                    write_instance(xml, self, instance, |eni| self.interfaces.get(eni));
                },
            );
        }))
    }

    /// The interfaces that a request names, or the one that `SubnetId` and its companions mean.
    fn launches(
        &self,
        request: &Request,
        limits: &InstanceType,
        now: Timestamp,
    ) -> Result<Vec<Launch>, ApiError> {
        let mut launches = Vec::new();
        for item in request.items("NetworkInterface") {
            let at = |name: &str| format!("{item}.{name}");
            let slot = Slot {
                card: request.value(&at("NetworkCardIndex"))?.unwrap_or(0),
                index: request
                    .value(&at("DeviceIndex"))?
                    .ok_or_else(|| missing("NetworkInterface.DeviceIndex"))?,
            };
            let interface = if let Some(id) = request.text(&at("NetworkInterfaceId")) {
                let id = EniId::parse(id)?;
                if self.known_interface(&id, now)?.attachment.is_some() {
                    return Err(api(
                        "InvalidNetworkInterface.InUse",
                        format!("Interface: [{id}] in use."),
                    ));
                }
                LaunchInterface::Existing(id)
            } else {
                let mut wanted = CreateNetworkInterface::in_subnet(
                    self.launch_subnet(request.text(&at("SubnetId")))?,
                );
                wanted.groups = request
                    .list(&at("SecurityGroupId"))
                    .into_iter()
                    .map(GroupId::parse)
                    .collect::<Result<_, _>>()?;
                wanted.primary = request.value(&at("PrivateIpAddress"))?;
                wanted.secondary_count = request
                    .value(&at("SecondaryPrivateIpAddressCount"))?
                    .unwrap_or(0);
                request
                    .text(&at("InterfaceType"))
                    .unwrap_or("interface")
                    .clone_into(&mut wanted.kind);
                request
                    .text(&at("Description"))
                    .unwrap_or_default()
                    .clone_into(&mut wanted.description);
                wanted.tags = request.tag_specifications("network-interface")?;
                LaunchInterface::New(Box::new(wanted))
            };
            let new = matches!(interface, LaunchInterface::New(_));
            let delete_on_termination = request.flag(&at("DeleteOnTermination"))?.unwrap_or(new);
            launches.push(Launch {
                slot,
                interface,
                delete_on_termination,
            });
        }
        if launches.is_empty() {
            let mut wanted =
                CreateNetworkInterface::in_subnet(self.launch_subnet(request.text("SubnetId"))?);
            wanted.groups = request
                .list("SecurityGroupId")
                .into_iter()
                .map(GroupId::parse)
                .collect::<Result<_, _>>()?;
            wanted.primary = request.value("PrivateIpAddress")?;
            wanted.tags = request.tag_specifications("network-interface")?;
            launches.push(Launch {
                slot: Slot::PRIMARY,
                interface: LaunchInterface::New(Box::new(wanted)),
                delete_on_termination: true,
            });
        } else if request.has("SubnetId") || request.has("SecurityGroupId") {
            return Err(invalid_combination(
                "Network interfaces and an instance-level subnet ID may not be specified on the same request",
            ));
        }
        check_launch_slots(&launches, limits)?;
        Ok(launches)
    }

    fn launch_subnet(&self, named: Option<&str>) -> Result<SubnetId, ApiError> {
        match named {
            Some(text) => {
                let id = SubnetId::parse(text)?;
                if self.subnets.contains_key(&id) {
                    Ok(id)
                } else {
                    Err(no_subnet(&id))
                }
            }
            None => self.subnets.keys().next().cloned().ok_or_else(|| {
                api(
                    "MissingInput",
                    "No subnets found for the default VPC. Please specify a subnet.",
                )
            }),
        }
    }

    fn launch(
        &mut self,
        launches: &[Launch],
        limits: &'static InstanceType,
        image: &str,
        tags: &[(String, String)],
        now: Timestamp,
    ) -> Result<InstanceId, ApiError> {
        let mut ties = Vec::new();
        let mut made = Vec::new();
        for launch in launches {
            let eni = match &launch.interface {
                LaunchInterface::Existing(id) => Ok(id.clone()),
                LaunchInterface::New(wanted) => self
                    .create_interface(wanted, None, now)
                    .inspect(|id| made.push(id.clone())),
            };
            match eni {
                Ok(eni) => ties.push((launch.slot, eni, launch.delete_on_termination)),
                Err(error) => {
                    for eni in made {
                        self.delete_interface(&eni, now);
                    }
                    return Err(error);
                }
            }
        }
        let primary = ties
            .iter()
            .find(|(slot, _, _)| *slot == Slot::PRIMARY)
            .and_then(|(_, eni, _)| self.interfaces.get(eni));
        let primary = primary.expect("check_launch_slots wants a primary interface");
        let id = self.namer.instance();
        let instance = Instance {
            id: id.clone(),
            limits,
            subnet: primary.subnet.clone(),
            vpc: primary.vpc.clone(),
            zone: primary.zone.clone(),
            state: InstanceState::Pending,
            image: image.to_owned(),
            launch_time: now,
            tags: merged(tags),
            interfaces: BTreeMap::new(),
        };
        self.instances.insert(now, id.clone(), instance);
        for (slot, eni, delete_on_termination) in ties {
            self.tie(&eni, &id, slot, true, now);
            self.interfaces.change(now, &eni, |interface| {
                if let Some(attachment) = &mut interface.attachment {
                    attachment.delete_on_termination = delete_on_termination;
                }
            });
        }
        let pending = InstanceState::Pending;
        self.tell(
            now,
            What::InstanceState {
                instance: id.clone(),
                state: pending,
                previous: pending,
            },
        );
        self.schedule(
            now + self.settings.start_ms,
            Due::Reaches(id.clone(), InstanceState::Running),
        );
        Ok(id)
    }

    /// Takes back an instance of a launch that failed as a whole.
    fn discard(&mut self, id: &InstanceId, now: Timestamp) {
        self.reach(id, InstanceState::ShuttingDown, now);
        self.reach(id, InstanceState::Terminated, now);
        self.instances.remove(now, id);
    }
}

/// The places of a launch: one primary, none twice, no more than the type carries.
fn check_launch_slots(launches: &[Launch], limits: &InstanceType) -> Result<(), ApiError> {
    if !launches.iter().any(|launch| launch.slot == Slot::PRIMARY) {
        return Err(invalid_value(
            "When specifying network interfaces, you must include a device at index 0.",
        ));
    }
    for (at, launch) in launches.iter().enumerate() {
        if launches[..at]
            .iter()
            .any(|earlier| earlier.slot == launch.slot)
        {
            return Err(invalid_value(
                "Each network interface requires a unique device index.",
            ));
        }
        let on_card = launches
            .iter()
            .filter(|other| other.slot.card == launch.slot.card)
            .count();
        let card_limit = limits
            .cards
            .get(launch.slot.card as usize)
            .copied()
            .unwrap_or(0);
        if on_card > card_limit as usize {
            return Err(api(
                "AttachmentLimitExceeded",
                format!(
                    "Interface count {on_card} exceeds the limit for {}",
                    limits.name
                ),
            ));
        }
    }
    Ok(())
}
