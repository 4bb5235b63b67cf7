//! What instance types hold, as EC2 told it when this release was made.
//!
//! Good for the moment until EC2 is asked, and where it may not be asked.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::{EnaQueues, InstanceType};

static TABLE: LazyLock<BTreeMap<&'static str, InstanceType>> =
    LazyLock::new(|| parse(include_str!("instance_types.txt")));

/// The limits of a type, if it was known then.
#[must_use]
pub fn built_in(name: &str) -> Option<&'static InstanceType> {
    TABLE.get(name)
}

/// Reads lines such as `2*32 50: p5.48xlarge`; one that is none of these says nothing.
fn parse(table: &'static str) -> BTreeMap<&'static str, InstanceType> {
    let mut types = BTreeMap::new();
    for line in table.lines() {
        let Some((limits, names)) = line.split_once(": ") else {
            continue;
        };
        let (first, addresses) = limits.split_once(' ').unwrap_or((limits, ""));
        let Some(cards) = cards(first) else { continue };
        for name in names.split(' ') {
            let known = InstanceType {
                name: name.to_owned(),
                interfaces: cards.iter().sum(),
                cards: cards.clone(),
                // What the table does not say is no limit of ours; EC2 judges it then.
                ipv4_addresses: addresses.parse().unwrap_or(u16::MAX),
                ipv6_addresses: u16::MAX,
                ena_queues: EnaQueues::Unknown,
            };
            types.insert(name, known);
        }
    }
    types
}

/// `15*4` is four cards of fifteen interfaces each.
fn cards(text: &str) -> Option<Vec<u16>> {
    let mut cards = Vec::new();
    for same in text.split(',') {
        let (most, count) = same.split_once('*').unwrap_or((same, "1"));
        let most: u16 = most.parse().ok()?;
        cards.extend(std::iter::repeat_n(most, count.parse().ok()?));
    }
    Some(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_user_guide_says() {
        // docs.aws.amazon.com/AWSEC2/latest/UserGuide/AvailableIpPerENI.html
        for (name, interfaces, cards) in [
            ("t3.micro", 2, 1),
            ("m5.large", 3, 1),
            ("m5.4xlarge", 8, 1),
            ("c7i.metal-24xl", 15, 1),
            ("p4d.24xlarge", 60, 4),
            ("p5.48xlarge", 64, 32),
        ] {
            let known = built_in(name).unwrap();
            assert_eq!((known.interfaces, known.cards.len()), (interfaces, cards));
        }
        assert_eq!(built_in("m5.enormous"), None);
        assert_eq!(built_in("m5.large").unwrap().ipv4_addresses, 10);
        assert_eq!(built_in("p5.48xlarge").unwrap().ipv4_addresses, 50);
    }

    #[test]
    fn every_line_is_read() {
        let names = include_str!("instance_types.txt").lines();
        let names = names.filter(|line| !line.starts_with('#'));
        let names = names.flat_map(|line| line.split_once(": ").unwrap().1.split(' '));
        assert_eq!(names.count(), TABLE.len());
    }
}
