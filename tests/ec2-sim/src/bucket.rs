//! Decides whether a call is within EC2's request rate: one token bucket for each action.
//!
//! Sizes and rates: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::request::Request;

#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    levels: BTreeMap<String, (f64, Timestamp)>,
}

impl Buckets {
    /// Takes a token, if there is one.
    pub(crate) fn admit(&mut self, request: &Request, now: Timestamp) -> bool {
        let (bucket, size, refill_per_second) = bucket_of(request);
        let (level, at) = self.levels.entry(bucket).or_insert((size, now));
        let elapsed = now.duration_since(*at).as_secs_f64().max(0.0);
        *level = (*level + elapsed * refill_per_second).min(size);
        *at = now;
        let admitted = *level >= 1.0;
        if admitted {
            *level -= 1.0;
        }
        admitted
    }
}

/// Name, size and tokens per second of the bucket that a call draws from.
fn bucket_of(request: &Request) -> (String, f64, f64) {
    let action = request.action();
    let unbounded = ![
        "Filter",
        "MaxResults",
        "InstanceId",
        "NetworkInterfaceId",
        "GroupId",
    ]
    .iter()
    .any(|name| request.has(name));
    let (size, refill) = match action {
        "DescribeInstances" | "DescribeNetworkInterfaces" | "DescribeSecurityGroups"
            if unbounded =>
        {
            return (format!("{action} unbounded"), 50.0, 10.0);
        }
        "RunInstances" => (5.0, 2.0),
        "CreateTags" | "DeleteTags" => (100.0, 10.0),
        "CreateNetworkInterface"
        | "DeleteNetworkInterface"
        | "ModifyNetworkInterfaceAttribute"
        | "AssignPrivateIpAddresses"
        | "UnassignPrivateIpAddresses"
        | "AssignIpv6Addresses"
        | "UnassignIpv6Addresses"
        | "TerminateInstances" => (100.0, 5.0),
        _ if action.starts_with("Describe") || action.starts_with("Get") => (100.0, 20.0),
        // Attach, detach, start, stop: the size of mutating calls that AWS does not list.
        _ => (50.0, 5.0),
    };
    (action.to_owned(), size, refill)
}
