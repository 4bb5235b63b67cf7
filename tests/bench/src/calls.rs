//! EC2 calls, counted by action.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Sub;

use ec2_sim::Counters;

/// How often each action was called, whatever EC2 answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    by_action: BTreeMap<String, u64>,
    refused: u64,
}

impl Calls {
    pub(crate) fn of(counters: &Counters) -> Self {
        let mut calls = Self::default();
        for (action, codes) in counters {
            let all = codes.values().sum();
            calls.by_action.insert(action.clone(), all);
            calls.refused += all - codes.get("OK").copied().unwrap_or(0);
        }
        calls
    }

    pub(crate) fn all(&self) -> u64 {
        self.by_action.values().sum()
    }

    pub(crate) fn action(&self, action: &str) -> u64 {
        self.by_action.get(action).copied().unwrap_or(0)
    }

    /// Those that change something.
    pub(crate) fn mutating(&self) -> u64 {
        let mutating = self
            .by_action
            .iter()
            .filter(|(action, _)| !action.starts_with("Describe"));
        mutating.map(|(_, count)| count).sum()
    }

    /// Those that EC2 refused, for whatever reason.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

/// What came after `earlier`.
impl Sub for &Calls {
    type Output = Calls;

    fn sub(self, earlier: Self) -> Calls {
        let by_action = self.by_action.iter();
        Calls {
            by_action: by_action
                .map(|(action, count)| (action.clone(), count - earlier.action(action)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            refused: self.refused - earlier.refused,
        }
    }
}

/// `200 CreateNetworkInterface, 1 DescribeSubnets`, those that change something first.
impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: Vec<_> = self.by_action.iter().collect();
        all.sort_by_key(|(action, _)| action.starts_with("Describe"));
        let words: Vec<_> = all
            .into_iter()
            .map(|(action, count)| format!("{count} {action}"))
            .collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(actions: &[(&str, &str, u64)]) -> Calls {
        let mut counters = Counters::new();
        for (action, code, count) in actions {
            let codes = counters.entry((*action).to_owned()).or_default();
            codes.insert((*code).to_owned(), *count);
        }
        Calls::of(&counters)
    }

    #[test]
    fn a_difference_shows_only_what_came_after() {
        let earlier = counted(&[("DescribeSubnets", "OK", 1), ("DeleteTags", "OK", 2)]);
        let later = counted(&[
            ("DescribeSubnets", "OK", 3),
            ("DeleteTags", "OK", 2),
            ("AttachNetworkInterface", "OK", 4),
            ("AttachNetworkInterface", "RequestLimitExceeded", 1),
        ]);
        let between = &later - &earlier;
        assert_eq!(
            between.to_string(),
            "5 AttachNetworkInterface, 2 DescribeSubnets"
        );
        assert_eq!(
            (between.all(), between.mutating(), between.refused()),
            (7, 5, 1)
        );
    }
}
