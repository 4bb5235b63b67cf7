//! What EC2 is told to do, one call each.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, NetworkInterfaceAttachmentChanges, ResourceType, Tag,
    TagSpecification,
};
use eniway_api::{AttachmentId, EniId};

use super::{Aws, failed, missing, parse};
use crate::{Call, Change, Eni, Error, NewAttachment, NewEni};

impl Aws {
    pub(super) async fn create(&self, new: &NewEni) -> Result<Eni, Error> {
        let call = Call::CreateNetworkInterface;
        let tags = new
            .tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let groups = new.groups.iter().map(ToString::to_string).collect();
        let answer = self
            .beside_primary(&new.asked)
            .subnet_id(new.subnet.as_str())
            .set_private_ip_address(new.primary.map(|address| address.to_string()))
            .description(&new.description)
            .set_groups(Some(groups))
            .client_token(&new.client_token)
            .tag_specifications(
                TagSpecification::builder()
                    .resource_type(ResourceType::NetworkInterface)
                    .set_tags(Some(tags))
                    .build(),
            )
            .send()
            .await
            .map_err(|error| failed(call, error))?;
        let eni = answer
            .network_interface()
            .ok_or(missing(call, "networkInterface"))?;
        let mut eni = parse::eni(call, eni)?;
        // The answer may come before the tags are readable; they are ours, so they are known.
        eni.tags.extend(new.tags.clone());
        Ok(eni)
    }

    pub(super) async fn attach(&self, new: &NewAttachment) -> Result<AttachmentId, Error> {
        let call = Call::AttachNetworkInterface;
        let answer = self
            .client
            .attach_network_interface()
            .network_interface_id(new.eni.as_str())
            .instance_id(new.instance.as_str())
            .device_index(i32::from(new.device_index))
            .network_card_index(i32::from(new.network_card_index))
            .set_ena_queue_count(new.ena_queue_count.map(i32::from))
            .send()
            .await
            .map_err(|error| failed(call, error))?;
        let id = answer
            .attachment_id()
            .ok_or(missing(call, "attachmentId"))?;
        Ok(id.into())
    }

    pub(super) async fn modify(&self, eni: &EniId, change: &Change) -> Result<(), Error> {
        let request = self
            .client
            .modify_network_interface_attribute()
            .network_interface_id(eni.as_str());
        let request = match change {
            Change::DeleteOnTermination(attachment, value) => request.attachment(
                NetworkInterfaceAttachmentChanges::builder()
                    .attachment_id(attachment.as_str())
                    .delete_on_termination(*value)
                    .build(),
            ),
            Change::EnaQueueCount(attachment, count) => request.attachment(
                NetworkInterfaceAttachmentChanges::builder()
                    .attachment_id(attachment.as_str())
                    .ena_queue_count(i32::from(*count))
                    .build(),
            ),
            Change::SourceDestCheck(value) => {
                request.source_dest_check(AttributeBooleanValue::builder().value(*value).build())
            }
            Change::Groups(groups) => {
                request.set_groups(Some(groups.iter().map(ToString::to_string).collect()))
            }
            Change::Description(text) => {
                request.description(AttributeValue::builder().value(text).build())
            }
        };
        request
            .send()
            .await
            .map_err(|error| failed(Call::ModifyNetworkInterfaceAttribute, error))?;
        Ok(())
    }

    pub(super) async fn tag(
        &self,
        eni: &EniId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let call = Call::CreateTags;
        let tags = tags.iter();
        let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = self
            .client
            .create_tags()
            .resources(eni.as_str())
            .set_tags(Some(tags.collect()));
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }

    pub(super) async fn untag(&self, eni: &EniId, keys: &BTreeSet<String>) -> Result<(), Error> {
        let call = Call::DeleteTags;
        let tags = keys.iter().map(|key| Tag::builder().key(key).build());
        let request = self
            .client
            .delete_tags()
            .resources(eni.as_str())
            .set_tags(Some(tags.collect()));
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }

    pub(super) async fn detach(&self, attachment: &AttachmentId, force: bool) -> Result<(), Error> {
        let call = Call::DetachNetworkInterface;
        let request = self
            .client
            .detach_network_interface()
            .attachment_id(attachment.as_str())
            .force(force);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }

    pub(super) async fn delete(&self, eni: &EniId) -> Result<(), Error> {
        let call = Call::DeleteNetworkInterface;
        let request = self
            .client
            .delete_network_interface()
            .network_interface_id(eni.as_str());
        let answer = request.send().await;
        answer.map(drop).map_err(|error| failed(call, error))
    }
}
