//! ModifyNetworkInterfaceAttribute and DescribeNetworkInterfaceAttribute: one attribute at a time.

use jiff::Timestamp;

use super::describe_interfaces::{write_attachment, write_groups};
use crate::error::{ApiError, invalid_combination, invalid_value, missing, no_attachment};
use crate::event::{Attribute, What};
use crate::ids::{AttachmentId, EniId, GroupId};
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

impl World {
    pub(super) fn modify_network_interface_attribute(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let id = EniId::parse(request.required("NetworkInterfaceId")?)?;
        let attribute = Self::wanted_attribute(request)?;
        let interface = self.known_interface(&id, now)?;
        let attribute = match attribute {
            Wanted::DeleteOnTermination(attachment, value) => {
                if interface
                    .attachment
                    .as_ref()
                    .is_none_or(|tie| tie.id != attachment)
                {
                    return Err(no_attachment(&attachment));
                }
                Attribute::DeleteOnTermination(value)
            }
            Wanted::EnaQueues(attachment, queues) => {
                let tie = interface.attachment.as_ref();
                let tie = tie.filter(|tie| tie.id == attachment);
                let instance = tie.and_then(|tie| self.instances.get(&tie.instance));
                let instance = instance.ok_or_else(|| no_attachment(&attachment))?;
                if let Some(queues) = queues {
                    self.may_have_queues(instance, &id, queues)?;
                }
                request.end_dry_run()?;
                self.set_queues(&id, queues, now);
                return Ok(Xml::fragment(|xml| xml.leaf("return", true)));
            }
            Wanted::SourceDestCheck(value) => Attribute::SourceDestCheck(value),
            Wanted::Description(text) => Attribute::Description(text),
            Wanted::Groups(groups) => Attribute::Groups(self.check_groups(
                &groups,
                &interface.vpc,
                &format!("interface {id}"),
            )?),
        };
        request.end_dry_run()?;
        let mac = interface.mac.clone();
        self.interfaces
            .change(now, &id, |interface| match attribute.clone() {
                Attribute::SourceDestCheck(value) => interface.source_dest_check = value,
                Attribute::Description(text) => interface.description = text,
                Attribute::Groups(groups) => interface.groups = groups,
                Attribute::DeleteOnTermination(value) => {
                    if let Some(attachment) = &mut interface.attachment {
                        attachment.delete_on_termination = value;
                    }
                }
            });
        self.tell(
            now,
            What::AttributeChanged {
                eni: id,
                mac,
                attribute,
            },
        );
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    /// The one attribute that a request names.
    fn wanted_attribute(request: &Request) -> Result<Wanted, ApiError> {
        let mut wanted = Vec::new();
        if let Some(value) = request.flag("SourceDestCheck.Value")? {
            wanted.push(Wanted::SourceDestCheck(value));
        }
        if let Some(text) = request.text("Description.Value") {
            wanted.push(Wanted::Description(text.to_owned()));
        }
        let groups = request.list("SecurityGroupId");
        if !groups.is_empty() {
            wanted.push(Wanted::Groups(
                groups
                    .into_iter()
                    .map(GroupId::parse)
                    .collect::<Result<_, _>>()?,
            ));
        }
        let attachment = request.text("Attachment.AttachmentId");
        let value = request.flag("Attachment.DeleteOnTermination")?;
        let queues = request.value("Attachment.EnaQueueCount")?;
        let as_given = request.flag("Attachment.DefaultEnaQueueCount")? == Some(true);
        match (attachment, value, queues.is_some() || as_given) {
            (None, None, false) => {}
            (Some(id), Some(value), false) => {
                wanted.push(Wanted::DeleteOnTermination(AttachmentId::parse(id)?, value));
            }
            (Some(id), None, true) => {
                wanted.push(Wanted::EnaQueues(AttachmentId::parse(id)?, queues));
            }
            (Some(_), Some(_), true) => {
                return Err(invalid_combination(
                    "Fields for multiple attribute types specified.",
                ));
            }
            (None, _, _) => return Err(missing("Attachment.AttachmentId")),
            (Some(_), None, false) => return Err(missing("Attachment.DeleteOnTermination")),
        }
        let only = wanted.pop();
        match only {
            Some(_) if !wanted.is_empty() => Err(invalid_combination(
                "Fields for multiple attribute types specified.",
            )),
            Some(only) => Ok(only),
            None => Err(invalid_combination("No attributes specified.")),
        }
    }

    pub(super) fn describe_network_interface_attribute(
        &self,
        request: &Request,
    ) -> Result<String, ApiError> {
        let id = EniId::parse(request.required("NetworkInterfaceId")?)?;
        let attribute = request.required("Attribute")?;
        if !matches!(
            attribute,
            "attachment" | "description" | "groupSet" | "sourceDestCheck"
        ) {
            return Err(invalid_value(format!(
                "Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
            )));
        }
        let interface = self
            .interfaces
            .seen()
            .get(&id)
            .cloned()
            .ok_or_else(|| crate::error::no_interface(&id))?;
        request.end_dry_run()?;
        Ok(Xml::fragment(|xml| {
            xml.leaf("networkInterfaceId", &id);
            match attribute {
                "attachment" => write_attachment(xml, self, &interface),
                "description" => xml.node("description", |xml| {
                    xml.leaf("value", &interface.description);
                }),
                "groupSet" => write_groups(xml, self, &interface.groups),
                _ => xml.node("sourceDestCheck", |xml| {
                    xml.leaf("value", interface.source_dest_check);
                }),
            }
        }))
    }
}

/// What a request wants changed, before it is known to be possible.
enum Wanted {
    SourceDestCheck(bool),
    Description(String),
    Groups(Vec<GroupId>),
    DeleteOnTermination(AttachmentId, bool),
    /// `None`: as many as the instance type gives.
    EnaQueues(AttachmentId, Option<u32>),
}
