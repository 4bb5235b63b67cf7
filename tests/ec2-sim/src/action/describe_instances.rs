//! DescribeInstances and DescribeInstanceTypes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::describe_interfaces::{write_common, write_groups};
use crate::error::{ApiError, api, no_instance};
use crate::filter::{Filters, Values};
use crate::ids::{EniId, InstanceId};
use crate::instance_type::InstanceType;
use crate::model::{Instance, InstanceState, Interface, Slot, private_dns_name};
use crate::page::page;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

const FILTERS: &[&str] = &[
    "availability-zone",
    "image-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "network-interface.network-interface-id",
    "network-interface.private-dns-name",
    "network-interface.subnet-id",
    "network-interface.addresses.private-ip-address",
    "private-dns-name",
    "private-ip-address",
    "subnet-id",
    "vpc-id",
];

impl World {
    pub(super) fn describe_instances(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(request, FILTERS)?;
        let ids = request
            .list("InstanceId")
            .into_iter()
            .map(InstanceId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let seen = self.instances.seen();
        let rows: Vec<Arc<Instance>> = if ids.is_empty() {
            seen.values().cloned().collect()
        } else {
            let unknown: Vec<&str> = ids
                .iter()
                .filter(|id| !seen.contains_key(*id))
                .map(InstanceId::as_str)
                .collect();
            match unknown.as_slice() {
                [] => {}
                [_] => {
                    return Err(no_instance(
                        ids.iter()
                            .find(|id| !seen.contains_key(*id))
                            .expect("one is unknown"),
                    ));
                }
                several => {
                    return Err(api(
                        "InvalidInstanceID.NotFound",
                        format!("The instance IDs '{}' do not exist", several.join(", ")),
                    ));
                }
            }
            let wanted: BTreeMap<&InstanceId, &Arc<Instance>> =
                ids.iter().filter_map(|id| seen.get_key_value(id)).collect();
            wanted.into_values().cloned().collect()
        };
        request.end_dry_run()?;
        let interfaces = self.interfaces.seen();
        let interface = |eni: &EniId| interfaces.get(eni).map(Arc::as_ref);
        let rows = rows
            .into_iter()
            .filter(|row| filters.accept(&row.tags, |name| values_of(row, interface, name)))
            .collect();
        let page = page(request, "InstanceId", 1000, rows, |row: &Arc<Instance>| {
            row.id.as_str()
        })?;
        Ok(Xml::fragment(|xml| {
            xml.set("reservationSet", &page.rows, |xml, row| {
                xml.leaf("reservationId", row.id.as_str().replacen("i-", "r-", 1));
                xml.leaf("ownerId", &self.account);
                xml.set("groupSet", [(); 0], |_, ()| {});
                xml.set("instancesSet", [row], |xml, row| {
                    write_instance(xml, self, row, interface);
                });
            });
            xml.optional("nextToken", page.next_token);
        }))
    }

    pub(super) fn describe_instance_types(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(request, &["instance-type", "network-info.efa-supported"])?;
        let names = request.list("InstanceType");
        let unknown: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| InstanceType::find(name).is_none())
            .collect();
        if !unknown.is_empty() {
            return Err(api(
                "InvalidInstanceType",
                format!(
                    "The following supplied instance types do not exist: [{}]",
                    unknown.join(", ")
                ),
            ));
        }
        request.end_dry_run()?;
        let values = |limits: &InstanceType, name: &str| match name {
            "instance-type" => vec![limits.name.to_owned()],
            _ => vec![limits.efa.to_string()],
        };
        let rows = InstanceType::all()
            .iter()
            .filter(|limits| names.is_empty() || names.contains(&limits.name))
            .filter(|limits| filters.accept(&BTreeMap::new(), |name| values(limits, name)))
            .collect();
        let page = page(
            request,
            "InstanceType",
            100,
            rows,
            |limits: &&InstanceType| limits.name,
        )?;
        Ok(Xml::fragment(|xml| {
            xml.set("instanceTypeSet", page.rows, write_type);
            xml.optional("nextToken", page.next_token);
        }))
    }
}

fn values_of<'a>(
    instance: &Instance,
    interface: impl Fn(&EniId) -> Option<&'a Interface>,
    name: &str,
) -> Values {
    let interfaces = || instance.interfaces.values().filter_map(&interface);
    let address = || {
        instance
            .interfaces
            .get(&Slot::PRIMARY)
            .and_then(&interface)
            .and_then(|primary| primary.addresses.first())
    };
    let text = |value: &dyn ToString| vec![value.to_string()];
    match name {
        "availability-zone" => text(&instance.zone),
        "image-id" => text(&instance.image),
        "instance-id" => text(&instance.id),
        "instance-state-code" => text(&instance.state.code()),
        "instance-state-name" => text(&instance.state),
        "instance-type" => text(&instance.limits.name),
        "network-interface.network-interface-id" => instance
            .interfaces
            .values()
            .map(ToString::to_string)
            .collect(),
        "network-interface.private-dns-name" => interfaces()
            .filter_map(|it| it.addresses.first())
            .map(|it| private_dns_name(*it))
            .collect(),
        "network-interface.subnet-id" => interfaces().map(|it| it.subnet.to_string()).collect(),
        "network-interface.addresses.private-ip-address" => interfaces()
            .flat_map(|it| &it.addresses)
            .map(ToString::to_string)
            .collect(),
        "private-dns-name" => address()
            .map(|address| private_dns_name(*address))
            .into_iter()
            .collect(),
        "private-ip-address" => address().map(ToString::to_string).into_iter().collect(),
        "subnet-id" => text(&instance.subnet),
        "vpc-id" => text(&instance.vpc),
        _ => Vec::new(),
    }
}

/// The fields of an `Instance`.
pub(super) fn write_instance<'a>(
    xml: &mut Xml,
    world: &World,
    instance: &Instance,
    interface: impl Fn(&EniId) -> Option<&'a Interface>,
) {
    let primary = instance.interfaces.get(&Slot::PRIMARY).and_then(&interface);
    xml.leaf("instanceId", &instance.id);
    xml.leaf("imageId", &instance.image);
    xml.node("instanceState", |xml| {
        xml.leaf("code", instance.state.code());
        xml.leaf("name", instance.state);
    });
    xml.leaf("instanceType", instance.limits.name);
    xml.time("launchTime", instance.launch_time);
    xml.node("placement", |xml| {
        xml.leaf("availabilityZone", &instance.zone);
        xml.leaf("tenancy", "default");
    });
    xml.node("monitoring", |xml| xml.leaf("state", "disabled"));
    xml.leaf("architecture", "x86_64");
    xml.leaf("hypervisor", "nitro");
    xml.leaf("rootDeviceType", "ebs");
    if instance.state != InstanceState::Terminated {
        xml.leaf("subnetId", &instance.subnet);
        xml.leaf("vpcId", &instance.vpc);
    }
    if let Some(primary) = primary {
        if let Some(address) = primary.addresses.first() {
            xml.leaf("privateIpAddress", address);
            xml.leaf("privateDnsName", private_dns_name(*address));
        }
        xml.leaf("sourceDestCheck", primary.source_dest_check);
        write_groups(xml, world, &primary.groups);
    }
    xml.set(
        "networkInterfaceSet",
        instance.interfaces.values().filter_map(&interface),
        |xml, interface| {
            write_common(xml, world, interface, interface.status());
            let Some(attachment) = &interface.attachment else {
                return;
            };
            xml.node("attachment", |xml| {
                xml.leaf("attachmentId", &attachment.id);
                xml.leaf("deviceIndex", attachment.slot.index);
                xml.leaf("networkCardIndex", attachment.slot.card);
                xml.leaf("status", attachment.state);
                xml.time("attachTime", attachment.attach_time);
                xml.leaf("deleteOnTermination", attachment.delete_on_termination);
            });
        },
    );
    xml.tags(&instance.tags);
}

/// The fields of an `InstanceTypeInfo` that say something about interfaces.
fn write_type(xml: &mut Xml, limits: &InstanceType) {
    xml.leaf("instanceType", limits.name);
    xml.leaf("currentGeneration", true);
    xml.leaf("hypervisor", "nitro");
    xml.leaf("bareMetal", limits.name.contains("metal"));
    xml.node("vCpuInfo", |xml| xml.leaf("defaultVCpus", limits.vcpus));
    xml.node("memoryInfo", |xml| xml.leaf("sizeInMiB", limits.memory_mib));
    xml.node("networkInfo", |xml| {
        xml.leaf("maximumNetworkInterfaces", limits.max_interfaces);
        xml.leaf("maximumNetworkCards", limits.cards.len());
        xml.leaf("defaultNetworkCardIndex", 0);
        xml.set(
            "networkCards",
            limits.cards.iter().enumerate(),
            |xml, (index, most)| {
                xml.leaf("networkCardIndex", index);
                xml.leaf("maximumNetworkInterfaces", most);
                if let Some(queues) = limits.queues {
                    xml.leaf("defaultEnaQueueCountPerInterface", queues.default);
                    xml.leaf("maximumEnaQueueCount", queues.of_instance);
                    xml.leaf("maximumEnaQueueCountPerInterface", queues.most);
                }
            },
        );
        xml.leaf("ipv4AddressesPerInterface", limits.ipv4_per_interface);
        xml.leaf("ipv6AddressesPerInterface", limits.ipv6_per_interface);
        xml.leaf("ipv6Supported", true);
        xml.leaf("enaSupport", "required");
        xml.leaf("efaSupported", limits.efa);
        let flexible = limits.queues.map_or("unsupported", |_| "supported");
        xml.leaf("flexibleEnaQueuesSupport", flexible);
    });
}
