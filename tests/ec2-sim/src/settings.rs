//! How this EC2 behaves: how long things take, how stale reads are, what is limited.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All of it can be changed while the world runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// From `attaching` to `attached` on a running instance.
    #[serde(with = "milliseconds")]
    pub attach_ms: Duration,
    /// From `detaching` to gone.
    #[serde(with = "milliseconds")]
    pub detach_ms: Duration,
    /// From `pending` to `running`.
    #[serde(with = "milliseconds")]
    pub start_ms: Duration,
    /// From `stopping` to `stopped`.
    #[serde(with = "milliseconds")]
    pub stop_ms: Duration,
    /// From `shutting-down` to `terminated`.
    #[serde(with = "milliseconds")]
    pub terminate_ms: Duration,
    /// How long a terminated instance is still described.
    #[serde(with = "milliseconds")]
    pub forget_ms: Duration,
    /// Describe calls tell the state of this long ago.
    #[serde(with = "milliseconds")]
    pub read_lag_ms: Duration,
    /// A new interface is unknown to the other calls for this long.
    #[serde(with = "milliseconds")]
    pub fresh_eni_hidden_ms: Duration,
    /// The metadata service says device number 0 until this long after `attached`.
    #[serde(with = "milliseconds")]
    pub metadata_lag_ms: Duration,
    /// Every call takes at least this long.
    #[serde(with = "milliseconds")]
    pub latency_ms: Duration,
    /// Whether EC2's token buckets limit the calls.
    pub buckets: bool,
    /// Whether an interface of another VPC may be attached, as AWS allows inside one account.
    pub multi_vpc: bool,
    /// Interfaces in this region and account.
    pub interface_quota: usize,
    /// Security groups of one interface.
    pub groups_per_interface: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attach_ms: Duration::from_millis(100),
            detach_ms: Duration::from_millis(100),
            start_ms: Duration::from_millis(100),
            stop_ms: Duration::from_millis(100),
            terminate_ms: Duration::from_millis(100),
            // EC2 tells terminated instances for about an hour.
            forget_ms: Duration::from_secs(3600),
            read_lag_ms: Duration::ZERO,
            fresh_eni_hidden_ms: Duration::ZERO,
            metadata_lag_ms: Duration::ZERO,
            latency_ms: Duration::ZERO,
            buckets: false,
            multi_vpc: false,
            // Default quotas of AWS.
            interface_quota: 5000,
            groups_per_interface: 5,
        }
    }
}

impl Settings {
    /// Everything happens at once: for tests that step through time by hand.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            attach_ms: Duration::ZERO,
            detach_ms: Duration::ZERO,
            start_ms: Duration::ZERO,
            stop_ms: Duration::ZERO,
            terminate_ms: Duration::ZERO,
            ..Self::default()
        }
    }
}

/// A duration as a whole number of milliseconds.
pub(crate) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
