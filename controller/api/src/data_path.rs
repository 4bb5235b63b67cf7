//! What the data path of an interface is asked to do, and what it answers.

use std::fmt;

use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::SteeringRule;

/// The wish for the XDP and TC programs of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("allOf" = [only_with_native("mtuPolicy"), only_with_native("channelPolicy")]))]
pub struct DataPath {
    /// Where the ingress check runs. `Auto`: native XDP if the driver takes it as the interface is,
    /// else the same check on TC. `Native`: native XDP or nothing. `Generic`: XDP on socket buffers,
    /// for tests. `Off`: TC only. Default `Auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp: Option<XdpPolicy>,
    /// What happens to a packet that fails the check. `Enforce`: dropped and counted. `Audit`: passed
    /// and counted. `Off`: not checked. Default `Enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// Whether the MTU may be lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_policy: Option<MtuPolicy>,
    /// Whether channels may be given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_policy: Option<ChannelPolicy>,
    /// What becomes of packets that are for the interface and passed the check: the first rule counts that
    /// matches. Every node's record carries them all, so that many rules on many nodes fill etcd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend("x-kubernetes-list-type" = "atomic"))]
    pub steering: Vec<SteeringRule>,
}

/// Where the ingress check is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum XdpPolicy {
    /// Native XDP if the driver takes it, else TC ingress.
    #[default]
    Auto,
    /// Native XDP, or the interface fails.
    Native,
    /// Generic XDP (on socket buffers), only on request.
    Generic,
    /// No XDP: TC ingress.
    Off,
}

/// What happens to a packet that fails the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Enforcement {
    /// Dropped and counted.
    #[default]
    Enforce,
    /// Passed, and counted as a packet that `Enforce` would drop.
    Audit,
    /// Passed unchecked.
    Off,
}

/// With `xdp: Native` only: what to do when the MTU is larger than the driver takes with XDP.
/// `Fail`: the check runs on TC, and the interface fails with the reason. `Lower`: the MTU becomes
/// 3498, until it need not be. Default `Fail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum MtuPolicy {
    /// The interface fails, with the reason.
    #[default]
    Fail,
    /// It is lowered.
    Lower,
}

/// With `xdp: Native` only: what to do when more than half of the channels that the driver has are
/// in use, as XDP wants one of its own for each. `Fail`: the check runs on TC, and the interface
/// fails with the reason. `Reduce`: half of them are used, which may halve the throughput of the
/// stack. Default `Fail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ChannelPolicy {
    /// The interface fails, with the reason.
    #[default]
    Fail,
    /// Half of them are used.
    Reduce,
}

/// A field that belongs to native XDP. A schema says it, because CEL does not see a field without a
/// `type`, such as `xdp`.
fn only_with_native(field: &str) -> serde_json::Value {
    let native =
        serde_json::json!({"required": ["xdp"], "properties": {"xdp": {"enum": ["Native"]}}});
    serde_json::json!({"not": {"required": [field], "not": native}})
}

/// Where the ingress check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum XdpMode {
    /// In the driver, before a socket buffer exists.
    Native,
    /// On socket buffers, as XDP.
    Generic,
    /// On TC ingress: there is no XDP program.
    Tc,
}

/// A word with a value for off. YAML 1.1, which kubectl reads, takes a bare `Off` for the boolean
/// false, so false is accepted for it everywhere.
pub(crate) trait Switch: Copy + fmt::Debug + 'static {
    const NAME: &'static str;
    const OFF: Self;
    const ALL: &'static [Self];

    fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said {
            Boolean(bool),
            Word(String),
        }
        let words = || format!("{:?}", Self::ALL);
        match Said::deserialize(deserializer)? {
            Said::Boolean(false) => Ok(Self::OFF),
            Said::Boolean(true) => Err(serde::de::Error::custom(format!(
                "true is not one of {}",
                words()
            ))),
            Said::Word(word) => Self::ALL
                .iter()
                .copied()
                .find(|value| format!("{value:?}") == word)
                .ok_or_else(|| {
                    serde::de::Error::custom(format!("`{word}` is not one of {}", words()))
                }),
        }
    }

    /// No `type`, for there are two; Kubernetes then asks for preserve-unknown-fields.
    fn schema() -> Schema {
        let mut values: Vec<serde_json::Value> = Self::ALL
            .iter()
            .map(|value| format!("{value:?}").into())
            .collect();
        values.push(false.into());
        json_schema!({"x-kubernetes-preserve-unknown-fields": true, "enum": values})
    }
}

impl Switch for XdpPolicy {
    const NAME: &'static str = "XdpPolicy";
    const OFF: Self = Self::Off;
    const ALL: &'static [Self] = &[Self::Auto, Self::Native, Self::Generic, Self::Off];
}

impl Switch for Enforcement {
    const NAME: &'static str = "Enforcement";
    const OFF: Self = Self::Off;
    const ALL: &'static [Self] = &[Self::Enforce, Self::Audit, Self::Off];
}

macro_rules! switch {
    ($name:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Self as $crate::data_path::Switch>::parse(deserializer)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <Self as $crate::data_path::Switch>::NAME.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <Self as $crate::data_path::Switch>::schema()
            }
        }
    };
}
pub(crate) use switch;
switch!(XdpPolicy);
switch!(Enforcement);

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_off_is_off_although_yaml_reads_it_as_false() {
        let path: DataPath =
            serde_json::from_str(r#"{"xdp": false, "enforcement": "Off"}"#).unwrap();
        assert_eq!(path.xdp, Some(XdpPolicy::Off));
        assert_eq!(path.enforcement, Some(Enforcement::Off));
        assert_eq!(
            serde_json::to_string(&path).unwrap(),
            r#"{"xdp":"Off","enforcement":"Off"}"#
        );
    }

    #[test]
    fn another_word_is_refused_with_the_choices() {
        let error = serde_json::from_str::<DataPath>(r#"{"enforcement": "enforce"}"#).unwrap_err();
        assert!(
            error.to_string().contains("[Enforce, Audit, Off]"),
            "{error}"
        );
        assert!(serde_json::from_str::<DataPath>(r#"{"xdp": true}"#).is_err());
    }
}
