//! Counts tests by the lines that cargo's test harness prints.

use std::iter::Sum;
use std::process::Command;

use anyhow::Result;

use crate::step;

/// How many passed and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Count {
    /// One check that is not made of tests, such as a format.
    pub(crate) const PASSED: Self = Self {
        passed: 1,
        failed: 0,
    };
    /// The same, failed.
    pub(crate) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// The tests of one `test result: ok. 3 passed; 0 failed; …`.
    fn of_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        Self::read(numbers, "; ")
    }

    /// Of the last line that this program prints: `3 passed, 0 failed`.
    pub(crate) fn of_summary(line: &str) -> Option<Self> {
        Self::read(line, ", ")
    }

    fn read(numbers: &str, between: &str) -> Option<Self> {
        let number = |word: &str| {
            let part = numbers
                .split(between)
                .find_map(|part| part.strip_suffix(word))?;
            part.trim().parse().ok()
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
        })
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
        })
    }
}

/// Runs a command that is one check.
pub(crate) fn check(command: &mut Command) -> Result<Count> {
    let passed = step::watch(command, |_| ())?;
    Ok(if passed { Count::PASSED } else { Count::FAILED })
}

/// Runs `cargo test` and counts.
pub(crate) fn tests(command: &mut Command) -> Result<Count> {
    let mut counts = Vec::new();
    let passed = step::watch(command, |line| counts.extend(Count::of_line(line)))?;
    let count: Count = counts.into_iter().sum();
    // It failed without a failed test: something was not built, or a test ended its process.
    let whole = passed || count.failed > 0;
    Ok(if whole {
        count
    } else {
        Count { failed: 1, ..count }
    })
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 31 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.52s";
        assert_eq!(
            Count::of_line(line),
            Some(Count {
                passed: 31,
                failed: 2
            })
        );
        assert_eq!(Count::of_line("test api::defaults ... ok"), None);
        assert_eq!(
            Count::of_summary("12 passed, 1 failed"),
            Some(Count {
                passed: 12,
                failed: 1
            })
        );
    }
}
