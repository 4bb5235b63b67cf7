//! Decides which call goes wrong, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::request::Request;
use crate::settings::milliseconds;

/// A rule that spoils calls.
///
/// `skip` and `times` give "the third call" (`skip: 2, times: 1`), "the next five" (`times: 5`) and
/// "always" (no `times`). The first rule that fits a call decides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Name of an EC2 action, or `*`.
    pub action: String,
    /// Only of calls that have these parameters, such as an `InstanceId`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
    #[serde(default)]
    pub skip: u64,
    #[serde(default)]
    pub times: Option<u64>,
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Effect {
    /// EC2 refuses; nothing is done.
    Error {
        code: String,
        #[serde(default)]
        message: String,
        /// By default the status that belongs to the code.
        #[serde(default)]
        status: Option<u16>,
    },
    /// `RequestLimitExceeded`; with `times`, a burst.
    Throttle,
    /// A proxy answers with a page for people; nothing is done.
    Html { status: u16 },
    /// The connection ends before the call is carried out.
    ConnectionResetBefore,
    /// The call is carried out, and the answer never arrives.
    ConnectionLostAfter,
    /// The call is carried out at once, and the answer takes this long.
    Delay {
        #[serde(with = "milliseconds")]
        ms: Duration,
    },
    /// The interface stays `attaching`.
    StuckAttaching,
    /// The interface stays `detaching`, until it is detached by force.
    StuckDetaching,
    /// The attachment is answered, and a moment later it does not exist.
    AttachmentVanishes {
        #[serde(with = "milliseconds")]
        after_ms: Duration,
    },
}

impl Fault {
    #[must_use]
    pub fn always(action: &str, effect: Effect) -> Self {
        Self {
            action: action.to_owned(),
            with: BTreeMap::new(),
            skip: 0,
            times: None,
            effect,
        }
    }

    /// Only of calls with this parameter.
    #[must_use]
    pub fn with(mut self, parameter: &str, value: &str) -> Self {
        self.with.insert(parameter.to_owned(), value.to_owned());
        self
    }

    fn fits(&self, request: &Request) -> bool {
        let has = |(name, value): (&String, &String)| request.text(name) == Some(value);
        (self.action == request.action() || self.action == "*") && self.with.iter().all(has)
    }

    #[must_use]
    pub fn next(action: &str, times: u64, effect: Effect) -> Self {
        Self {
            times: Some(times),
            ..Self::always(action, effect)
        }
    }

    /// Only the `nth` call from now, counted from 1.
    #[must_use]
    pub fn nth(action: &str, nth: u64, effect: Effect) -> Self {
        Self {
            skip: nth.saturating_sub(1),
            ..Self::next(action, 1, effect)
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.rules.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn rules(&self) -> &[Fault] {
        &self.rules
    }

    /// What happens to this call; counts it.
    pub(crate) fn strike(&mut self, request: &Request) -> Option<Effect> {
        let mut effect = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.fits(request)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            if let Some(times) = &mut rule.times {
                *times = times.saturating_sub(1);
            }
            effect = Some(rule.effect.clone());
            break;
        }
        self.rules.retain(|rule| rule.times != Some(0));
        effect
    }
}
