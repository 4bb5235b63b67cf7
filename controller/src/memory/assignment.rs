//! What this process knows of the call that an assignment in a record's status is about.

use std::{collections::BTreeSet, time::Instant};

use eniway_ec2::{Error, Verdict};
use ipnet::IpNet;

use super::Memory;

/// What is known of that call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Assignment {
    /// Another process wrote the assignment down, and may have called.
    #[default]
    Unknown,
    /// It is written down and nobody called yet.
    Untried,
    /// The answer of a call was lost at this time.
    Unanswered(Instant),
    /// EC2 gave these.
    Answered(BTreeSet<IpNet>),
}

impl Memory {
    /// A call goes out that assigns addresses; returns what was known before.
    pub fn assigns(&mut self, now: Instant) -> Assignment {
        std::mem::replace(&mut self.assignment, Assignment::Unanswered(now))
    }

    /// EC2 gave these.
    pub fn was_assigned(&mut self, entries: impl IntoIterator<Item = IpNet>) {
        self.assignment = Assignment::Answered(entries.into_iter().collect());
    }

    /// EC2 refused the call, or its answer was lost.
    pub fn was_not_assigned(&mut self, before: Assignment, error: &Error, now: Instant) {
        self.assignment = match error.verdict() {
            Verdict::Transient => Assignment::Unanswered(now),
            // It was another call that EC2 carried out: what that made will be found.
            _ if error.code() == Some("IdempotentParameterMismatch") => Assignment::Unknown,
            Verdict::Throttled | Verdict::Wait => before,
            Verdict::Replan | Verdict::Invalid | Verdict::Denied | Verdict::AlreadyDone => {
                Assignment::Untried
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use eniway_ec2::Call;

    use super::*;

    /// What is known after a call that was refused so, of an assignment that nobody had called for.
    #[track_caller]
    fn check(code: Option<&str>, expected: &Assignment) {
        let now = Instant::now();
        let call = Call::AssignPrivateIpAddresses;
        let error = match code {
            Some(code) => Error::Refused {
                call,
                code: code.to_owned(),
                message: String::new(),
            },
            None => Error::TimedOut {
                call,
                after: std::time::Duration::from_secs(5),
            },
        };
        let mut memory = Memory {
            assignment: Assignment::Untried,
            ..Memory::default()
        };
        let before = memory.assigns(now);
        memory.was_not_assigned(before, &error, now);
        let is = std::mem::discriminant(&memory.assignment);
        assert_eq!(is, std::mem::discriminant(expected), "{error}");
    }

    #[test]
    fn only_a_refusal_says_that_nothing_was_assigned() {
        let lost = Assignment::Unanswered(Instant::now());
        check(None, &lost);
        check(Some("InternalError"), &lost);
        check(Some("RequestLimitExceeded"), &Assignment::Untried);
        check(Some("PrivateIpAddressLimitExceeded"), &Assignment::Untried);
        check(Some("IdempotentParameterMismatch"), &Assignment::Unknown);
    }
}
