//! Decides when a call may go, so that EC2 never has to refuse it.
//!
//! Pure: time is an argument. EC2 gives every account one token bucket for each action
//! (`docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html`); we take a share of each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::Call;

/// Our share of EC2's buckets.
#[derive(Debug)]
pub struct Throttle {
    /// `None`: no limit of our own.
    share: Option<f64>,
    buckets: BTreeMap<Call, Bucket>,
}

/// What EC2 grants: tokens at once, and tokens for each second.
struct Quota {
    burst: f64,
    refill: f64,
}

/// EC2's default quotas.
const fn quota(call: Call) -> Quota {
    match call {
        Call::DescribeAddresses
        | Call::DescribeInstances
        | Call::DescribeInstanceTypes
        | Call::DescribeNetworkInterfaces
        | Call::DescribeRouteTables
        | Call::DescribeSecurityGroups
        | Call::DescribeSubnets => Quota {
            burst: 100.0,
            refill: 20.0,
        },
        Call::CreateNetworkInterface
        | Call::ModifyNetworkInterfaceAttribute
        | Call::DeleteNetworkInterface => Quota {
            burst: 100.0,
            refill: 5.0,
        },
        Call::CreateTags | Call::DeleteTags => Quota {
            burst: 100.0,
            refill: 10.0,
        },
        Call::AssignPrivateIpAddresses
        | Call::UnassignPrivateIpAddresses
        | Call::AssignIpv6Addresses => Quota {
            burst: 100.0,
            refill: 5.0,
        },
        // Not in EC2's list, so they have the size of any action that changes something.
        Call::AttachNetworkInterface
        | Call::DetachNetworkInterface
        | Call::UnassignIpv6Addresses
        | Call::AssociateAddress
        | Call::DisassociateAddress
        | Call::CreateRoute
        | Call::ReplaceRoute
        | Call::DeleteRoute => Quota {
            burst: 50.0,
            refill: 5.0,
        },
    }
}

#[derive(Debug)]
struct Bucket {
    burst: f64,
    refill: f64,
    /// Below zero: so many calls are waiting.
    tokens: f64,
    counted: Instant,
}

impl Bucket {
    fn count(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        self.tokens = (self.tokens + passed * self.refill).min(self.burst);
        self.counted = now.max(self.counted);
    }
}

impl Throttle {
    /// Takes `share` (above 0, at most 1) of every bucket.
    #[must_use]
    pub fn share(share: f64) -> Self {
        Self {
            share: Some(share.clamp(0.01, 1.0)),
            buckets: BTreeMap::new(),
        }
    }

    /// Never makes a call wait, for accounts with quotas of their own and for measurements.
    #[must_use]
    pub fn none() -> Self {
        Self {
            share: None,
            buckets: BTreeMap::new(),
        }
    }

    /// Takes a token and says how long to wait before the call; callers go in the order they asked.
    pub fn take(&mut self, call: Call, now: Instant) -> Duration {
        let Some(bucket) = self.bucket(call, now) else {
            return Duration::ZERO;
        };
        bucket.count(now);
        bucket.tokens -= 1.0;
        if bucket.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-bucket.tokens / bucket.refill)
        }
    }

    /// EC2 refused a call: somebody else empties the bucket too, so ours counts as empty.
    pub fn drain(&mut self, call: Call, now: Instant) {
        if let Some(bucket) = self.bucket(call, now) {
            bucket.count(now);
            bucket.tokens = bucket.tokens.min(0.0);
        }
    }

    fn bucket(&mut self, call: Call, now: Instant) -> Option<&mut Bucket> {
        let share = self.share?;
        Some(self.buckets.entry(call).or_insert_with(|| {
            let Quota { burst, refill } = quota(call);
            Bucket {
                burst: burst * share,
                refill: refill * share,
                tokens: burst * share,
                counted: now,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate_of_refill() {
        let start = Instant::now();
        let mut throttle = Throttle::share(1.0);
        for _ in 0..50 {
            assert_eq!(
                throttle.take(Call::AttachNetworkInterface, start),
                Duration::ZERO
            );
        }
        let waits: Vec<_> = (0..3)
            .map(|_| {
                throttle
                    .take(Call::AttachNetworkInterface, start)
                    .as_millis()
            })
            .collect();
        assert_eq!(waits, [200, 400, 600]);
    }

    #[test]
    fn one_action_never_waits_for_another() {
        let start = Instant::now();
        let mut throttle = Throttle::share(0.01);
        for _ in 0..9 {
            throttle.take(Call::CreateNetworkInterface, start);
        }
        assert_eq!(
            throttle.take(Call::DeleteNetworkInterface, start),
            Duration::ZERO
        );
    }

    #[test]
    fn a_refusal_of_ec2_empties_the_bucket_for_all() {
        let start = Instant::now();
        let mut throttle = Throttle::share(1.0);
        throttle.drain(Call::CreateNetworkInterface, start);
        assert_eq!(
            throttle
                .take(Call::CreateNetworkInterface, start)
                .as_millis(),
            200
        );
    }
}
