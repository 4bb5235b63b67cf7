//! The door to the real EC2 and SQS: only here and below does anything speak through the AWS SDK.

mod addresses;
mod change;
mod elastic_ips;
mod parse;
mod queue;
mod read;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
};
use eniway_api::{AllocationId, Asked, AssociationId, AttachmentId, EniId, VpcId};
use ipnet::IpNet;

pub use self::queue::Sqs;
use crate::{
    Answer, Call, Change, Ec2, ElasticIp, Eni, Error, Group, Instance, InstanceType, Instances,
    Interfaces, NewAttachment, NewEni, RouteChange, RouteTable, Subnet, Subnets,
};

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

impl Place {
    async fn load(&self) -> aws_config::SdkConfig {
        let mut loader = aws_config::from_env();
        if let Some(region) = &self.region {
            loader = loader.region(aws_config::Region::new(region.clone()));
        }
        loader.load().await
    }
}

impl Aws {
    /// Finds credentials by the default chain: environment, IRSA, Pod Identity, instance profile.
    pub async fn connect(place: Place) -> Self {
        Self::configured(&place.load().await, place.endpoint)
    }

    /// Uses the credentials, the region and the HTTP client of `shared`.
    #[must_use]
    pub fn configured(shared: &aws_config::SdkConfig, endpoint: Option<String>) -> Self {
        // Repetition and deadlines are `Paced`'s: whoever repeats must know what the call does.
        let mut config = aws_sdk_ec2::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
        }
    }
}

impl Ec2 for Aws {
    fn instances<'a>(&'a self, which: &'a Instances) -> Answer<'a, Vec<Instance>> {
        Box::pin(self.instances(which))
    }

    fn interfaces<'a>(&'a self, which: &'a Interfaces) -> Answer<'a, Vec<Eni>> {
        Box::pin(self.interfaces(which))
    }

    fn interfaces_by_page<'a>(
        &'a self,
        which: &'a Interfaces,
        take: &'a (dyn Fn(Vec<Eni>) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(self.interfaces_by_page(which, take))
    }

    fn subnets<'a>(&'a self, which: &'a Subnets) -> Answer<'a, Vec<Subnet>> {
        Box::pin(self.subnets(which))
    }

    fn groups<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<Group>> {
        Box::pin(self.groups(vpc))
    }

    fn route_tables<'a>(&'a self, vpc: &'a VpcId) -> Answer<'a, Vec<RouteTable>> {
        Box::pin(self.route_tables(vpc))
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

    fn tag<'a>(&'a self, eni: &'a EniId, tags: &'a BTreeMap<String, String>) -> Answer<'a, ()> {
        Box::pin(self.tag(eni, tags))
    }

    fn untag<'a>(&'a self, eni: &'a EniId, keys: &'a BTreeSet<String>) -> Answer<'a, ()> {
        Box::pin(self.untag(eni, keys))
    }

    fn assign<'a>(&'a self, eni: &'a EniId, asked: &'a Asked) -> Answer<'a, Vec<IpNet>> {
        Box::pin(self.assign(eni, asked))
    }

    fn unassign<'a>(&'a self, eni: &'a EniId, entries: &'a BTreeSet<IpNet>) -> Answer<'a, ()> {
        Box::pin(self.unassign(eni, entries))
    }

    fn elastic_ips<'a>(&'a self) -> Answer<'a, Vec<ElasticIp>> {
        Box::pin(self.elastic_ips())
    }

    fn associate<'a>(
        &'a self,
        address: &'a AllocationId,
        eni: &'a EniId,
    ) -> Answer<'a, AssociationId> {
        Box::pin(self.associate(address, eni))
    }

    fn disassociate<'a>(&'a self, association: &'a AssociationId) -> Answer<'a, ()> {
        Box::pin(self.disassociate(association))
    }

    fn detach<'a>(&'a self, attachment: &'a AttachmentId, force: bool) -> Answer<'a, ()> {
        Box::pin(self.detach(attachment, force))
    }

    fn delete<'a>(&'a self, eni: &'a EniId) -> Answer<'a, ()> {
        Box::pin(self.delete(eni))
    }

    fn route<'a>(&'a self, change: &'a RouteChange) -> Answer<'a, ()> {
        Box::pin(self.route(change))
    }
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
