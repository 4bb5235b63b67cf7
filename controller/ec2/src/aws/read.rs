//! What is asked of EC2. A read returns every page.

use std::sync::{Mutex, PoisonError};

use aws_sdk_ec2::types::{
    Filter, InstanceType as AwsInstanceType, NetworkInterface, NetworkInterfaceStatus, Reservation,
};
use eniway_api::{EniId, SubnetId, VpcId, mark};

use super::{Aws, failed, parse};
use crate::{
    Call, Eni, Error, Group, Instance, InstanceType, Instances, Interfaces, Subnet, Subnets,
};

/// The most results that EC2 puts on one page.
const PAGE: i32 = 1000;

/// What all pages of a filtered request list, each item in our words as it comes: in the SDK's a fleet takes
/// several times the memory. The SDK's requests share no trait.
macro_rules! every_page {
    ($call:expr, $request:expr, $read:expr) => {{
        let mut items = $request.into_paginator().page_size(PAGE).items().send();
        let mut all = Vec::new();
        loop {
            let next = items.try_next().await;
            let Some(item) = next.map_err(|error| failed($call, error))? else {
                return Ok(all);
            };
            all.extend($read(&item)?);
        }
    }};
}

impl Aws {
    pub(super) async fn instances(&self, which: &Instances) -> Result<Vec<Instance>, Error> {
        let filter = match which {
            Instances::Of(vpc) => filter("vpc-id", [vpc.as_str()]),
            Instances::These(ids) => filter(
                "instance-id",
                ids.iter().map(eniway_api::InstanceId::as_str),
            ),
        };
        let call = Call::DescribeInstances;
        let request = self.client.describe_instances().filters(filter);
        every_page!(call, request, |reservation: &Reservation| {
            let items = reservation.instances().iter();
            let all: Result<Vec<_>, _> = items.map(|item| parse::instance(call, item)).collect();
            all
        })
    }

    pub(super) async fn interfaces(&self, which: &Interfaces) -> Result<Vec<Eni>, Error> {
        let all = Mutex::new(Vec::new());
        let take = |page| {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(page);
        };
        self.interfaces_by_page(which, &take).await?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn interfaces_by_page(
        &self,
        which: &Interfaces,
        take: &(dyn Fn(Vec<Eni>) + Send + Sync),
    ) -> Result<(), Error> {
        let tag = |key| format!("tag:{key}");
        let filters = match which {
            Interfaces::OfCluster(uid) => vec![filter(tag(mark::TAG_CLUSTER_UID), [uid.as_str()])],
            Interfaces::OfRecords(uids) => {
                let uids = uids.iter().map(String::as_str);
                vec![filter(tag(mark::TAG_ATTACHMENT), uids)]
            }
            Interfaces::WithTags(tags) => {
                let tags = tags.iter();
                tags.map(|(key, value)| filter(tag(key), [literal(value)]))
                    .collect()
            }
            // A filter, not the parameter: EC2 refuses the whole call when one ID is unknown.
            Interfaces::These(ids) => {
                let ids = ids.iter().map(EniId::as_str);
                vec![filter("network-interface-id", ids)]
            }
        };
        let call = Call::DescribeNetworkInterfaces;
        let request = self.client.describe_network_interfaces();
        let strangers = matches!(which, Interfaces::WithTags(_));
        let request = request.set_filters(Some(filters)).into_paginator();
        let mut pages = request.page_size(PAGE).send();
        while let Some(page) = pages
            .try_next()
            .await
            .map_err(|error| failed(call, error))?
        {
            let items = page.network_interfaces().iter();
            let ours = items.filter(|item| !strangers || !is_of_a_service(item));
            let enis: Result<Vec<_>, _> = ours.map(|item| parse::eni(call, item)).collect();
            drop(page);
            take(enis?);
        }
        Ok(())
    }

    pub(super) async fn subnets(&self, which: &Subnets) -> Result<Vec<Subnet>, Error> {
        let call = Call::DescribeSubnets;
        let which = match which {
            Subnets::Of(vpc) => filter("vpc-id", [vpc.as_str()]),
            Subnets::These(ids) => filter("subnet-id", ids.iter().map(SubnetId::as_str)),
        };
        let request = self.client.describe_subnets().filters(which);
        every_page!(call, request, |item| parse::subnet(call, item).map(Some))
    }

    pub(super) async fn groups(&self, vpc: &VpcId) -> Result<Vec<Group>, Error> {
        let call = Call::DescribeSecurityGroups;
        let request = self
            .client
            .describe_security_groups()
            .filters(filter("vpc-id", [vpc.as_str()]));
        every_page!(call, request, |item| parse::group(call, item).map(Some))
    }

    pub(super) async fn instance_types(
        &self,
        names: &[String],
    ) -> Result<Vec<InstanceType>, Error> {
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
}

/// Whether it is in use without an instance, as that of a load balancer: to us it would look free.
fn is_of_a_service(item: &NetworkInterface) -> bool {
    let attachment = item.attachment();
    let instance = attachment.and_then(|attachment| attachment.instance_id());
    let available = item.status() == Some(&NetworkInterfaceStatus::Available);
    instance.is_none() && !available
}

/// A filter's value means `*`, `?` and `\` otherwise.
fn literal(value: &str) -> String {
    let mut text = String::new();
    for letter in value.chars() {
        if matches!(letter, '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

pub(super) fn filter(
    name: impl Into<String>,
    values: impl IntoIterator<Item = impl Into<String>>,
) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}
