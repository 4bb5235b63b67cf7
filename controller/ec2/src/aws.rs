//! The door to the real EC2: the one file that speaks through `aws-sdk-ec2`.

mod parse;

use aws_sdk_ec2::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{
        AttributeBooleanValue, AttributeValue, Filter, InstanceType as AwsInstanceType,
        NetworkInterfaceAttachmentChanges, ResourceType, Tag, TagSpecification,
    },
};
use eniway_api::{AttachmentId, EniId, VpcId, mark};

use crate::{
    Answer, Call, Change, Ec2, Eni, Error, Group, Instance, InstanceType, Instances, Interfaces,
    NewAttachment, NewEni, Subnet,
};

/// The most results that EC2 puts on one page.
const PAGE: i32 = 1000;

/// EC2 itself.
#[derive(Clone, Debug)]
pub struct Aws {
    client: Client,
}

/// Where EC2 is; what is absent comes from the environment, the profile or the instance.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

impl Aws {
    /// Finds credentials by the default chain: environment, IRSA, Pod Identity, instance profile.
    pub async fn connect(place: Place) -> Self {
        let mut loader = aws_config::from_env();
        if let Some(region) = place.region {
            loader = loader.region(aws_config::Region::new(region));
        }
        let shared = loader.load().await;
        // Repetition and deadlines are `Paced`'s: whoever repeats must know what the call does.
        let mut config = aws_sdk_ec2::config::Builder::from(&shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        if let Some(endpoint) = place.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
        }
    }

    async fn instances(&self, which: &Instances) -> Result<Vec<Instance>, Error> {
        let filter = match which {
            Instances::Of(vpc) => filter("vpc-id", [vpc.as_str()]),
            Instances::These(ids) => filter(
                "instance-id",
                ids.iter().map(eniway_api::InstanceId::as_str),
            ),
        };
        let call = Call::DescribeInstances;
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .client
                .describe_instances()
                .filters(filter.clone())
                .max_results(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failed(call, error))?;
            for instance in page
                .reservations()
                .iter()
                .flat_map(aws_sdk_ec2::types::Reservation::instances)
            {
                found.push(parse::instance(call, instance)?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn interfaces(&self, which: &Interfaces) -> Result<Vec<Eni>, Error> {
        let tag = |key| format!("tag:{key}");
        let filter = match which {
            Interfaces::OfCluster(uid) => filter(tag(mark::TAG_CLUSTER_UID), [uid.as_str()]),
            Interfaces::OfRecords(uids) => {
                filter(tag(mark::TAG_ATTACHMENT), uids.iter().map(String::as_str))
            }
            // A filter, not the parameter: EC2 refuses the whole call when one ID is unknown.
            Interfaces::These(ids) => filter("network-interface-id", ids.iter().map(EniId::as_str)),
        };
        let call = Call::DescribeNetworkInterfaces;
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .client
                .describe_network_interfaces()
                .filters(filter.clone())
                .max_results(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failed(call, error))?;
            for eni in page.network_interfaces() {
                found.push(parse::eni(call, eni)?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn subnets(&self, vpc: &VpcId) -> Result<Vec<Subnet>, Error> {
        let call = Call::DescribeSubnets;
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .client
                .describe_subnets()
                .filters(filter("vpc-id", [vpc.as_str()]))
                .max_results(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failed(call, error))?;
            for subnet in page.subnets() {
                found.push(parse::subnet(call, subnet)?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn groups(&self, vpc: &VpcId) -> Result<Vec<Group>, Error> {
        let call = Call::DescribeSecurityGroups;
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .client
                .describe_security_groups()
                .filters(filter("vpc-id", [vpc.as_str()]))
                .max_results(PAGE)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| failed(call, error))?;
            for group in page.security_groups() {
                found.push(parse::group(call, group)?);
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn instance_types(&self, names: &[String]) -> Result<Vec<InstanceType>, Error> {
        let call = Call::DescribeInstanceTypes;
        let mut found = Vec::new();
        // The API takes at most 100 names.
        for names in names.chunks(100) {
            let types = names
                .iter()
                .map(|name| AwsInstanceType::from(name.as_str()))
                .collect();
            let page = self
                .client
                .describe_instance_types()
                .set_instance_types(Some(types))
                .send()
                .await
                .map_err(|error| failed(call, error))?;
            for info in page.instance_types() {
                found.push(parse::instance_type(call, info)?);
            }
        }
        Ok(found)
    }

    async fn create(&self, new: &NewEni) -> Result<Eni, Error> {
        let call = Call::CreateNetworkInterface;
        let tags = new
            .tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let groups = new.groups.iter().map(ToString::to_string).collect();
        let answer = self
            .client
            .create_network_interface()
            .subnet_id(new.subnet.as_str())
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

    async fn attach(&self, new: &NewAttachment) -> Result<AttachmentId, Error> {
        let call = Call::AttachNetworkInterface;
        let answer = self
            .client
            .attach_network_interface()
            .network_interface_id(new.eni.as_str())
            .instance_id(new.instance.as_str())
            .device_index(i32::from(new.device_index))
            .network_card_index(i32::from(new.network_card_index))
            .send()
            .await
            .map_err(|error| failed(call, error))?;
        let id = answer
            .attachment_id()
            .ok_or(missing(call, "attachmentId"))?;
        Ok(id.into())
    }

    async fn modify(&self, eni: &EniId, change: &Change) -> Result<(), Error> {
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
}

impl Ec2 for Aws {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        Box::pin(self.instances(which))
    }

    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        Box::pin(self.interfaces(which))
    }

    fn subnets<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Subnet>> {
        Box::pin(self.subnets(vpc))
    }

    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        Box::pin(self.groups(vpc))
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Vec<InstanceType>> {
        Box::pin(self.instance_types(names))
    }

    fn create<'a>(&'a self, new: &'a NewEni) -> Answer<'a, Eni> {
        Box::pin(self.create(new))
    }

    fn attach<'a>(&'a self, new: &'a NewAttachment) -> Answer<'a, AttachmentId> {
        Box::pin(self.attach(new))
    }

    fn modify<'a>(&'a self, eni: &'a EniId, change: &'a Change) -> Answer<'a, ()> {
        Box::pin(self.modify(eni, change))
    }

    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        let request = self
            .client
            .detach_network_interface()
            .attachment_id(attachment.as_str())
            .force(force);
        Box::pin(async {
            let result = request.send().await;
            result
                .map(drop)
                .map_err(|error| failed(Call::DetachNetworkInterface, error))
        })
    }

    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        let request = self
            .client
            .delete_network_interface()
            .network_interface_id(eni.as_str());
        Box::pin(async {
            let result = request.send().await;
            result
                .map(drop)
                .map_err(|error| failed(Call::DeleteNetworkInterface, error))
        })
    }
}

fn filter(name: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}

fn missing(call: Call, missing: &'static str) -> Error {
    Error::Incomplete { call, missing }
}

/// What the client says of a failure, in our words. An HTML body has a status and no code.
fn failed<E>(call: Call, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if let Some(code) = error.code() {
        return Error::Refused {
            call,
            code: code.to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        };
    }
    if let Some(response) = error.raw_response() {
        let body = response.body().bytes().unwrap_or_default();
        return Error::Garbled {
            call,
            status: response.status().as_u16(),
            detail: String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned(),
        };
    }
    Error::Unreachable {
        call,
        source: Box::new(error),
    }
}
