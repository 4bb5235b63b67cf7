//! `cargo xtask instance-types`: writes the table of what instance types hold.
//!
//! It is built into the controller, which goes by it until EC2 has told it the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

/// How wide a line of the table gets.
const WIDTH: usize = 110;

/// Writes controller/ec2/src/instance_types.txt from what EC2 says.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Answers of `aws ec2 describe-instance-types --output json`, one file for each region asked.
    #[arg(required = true)]
    answers: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    instance_types: Vec<InstanceType>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceType {
    instance_type: String,
    network_info: NetworkInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkInfo {
    network_cards: Vec<NetworkCard>,
    ipv4_addresses_per_interface: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkCard {
    network_card_index: u8,
    maximum_network_interfaces: u16,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut all = BTreeMap::new();
    for path in &arguments.answers {
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let answer: Answer = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no answer of EC2", path.display()))?;
        for one in answer.instance_types {
            all.insert(one.instance_type.clone(), limits(one));
        }
    }
    if all.is_empty() {
        bail!("the answers name no instance type");
    }
    let path = workspace.root.join("controller/ec2/src/instance_types.txt");
    fs::write(&path, table(&all)).with_context(|| format!("write {}", path.display()))?;
    println!("   {}: {} types", path.display(), all.len());
    Ok(())
}

/// Interfaces of each network card, and IPv4 addresses of each interface: `2*32 50`.
fn limits(mut one: InstanceType) -> String {
    let cards = &mut one.network_info.network_cards;
    cards.sort_by_key(|card| card.network_card_index);
    let mut text = String::new();
    for same in cards
        .chunk_by(|one, other| one.maximum_network_interfaces == other.maximum_network_interfaces)
    {
        let comma = if text.is_empty() { "" } else { "," };
        let most = same[0].maximum_network_interfaces;
        match same.len() {
            1 => write!(text, "{comma}{most}"),
            cards => write!(text, "{comma}{most}*{cards}"),
        }
        .unwrap_or_default();
    }
    format!("{text} {}", one.network_info.ipv4_addresses_per_interface)
}

/// Types with the same limits share their lines.
fn table(all: &BTreeMap<String, String>) -> String {
    let mut by_limits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, limits) in all {
        by_limits.entry(limits).or_default().push(name);
    }
    let mut text = String::from(
        "# Written by `cargo xtask instance-types`. Interfaces of each network card (2*32: 32 cards of 2),\n\
         # IPv4 addresses of an interface, and the types of which that is so.\n",
    );
    for (limits, names) in by_limits {
        let mut line = format!("{limits}:");
        for name in names {
            if line.len() + 1 + name.len() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = format!("{limits}:");
            }
            line.push(' ');
            line.push_str(name);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_the_same_limits_share_a_line() {
        let answer = r#"{"InstanceTypes": [
            {"InstanceType": "m5.large", "NetworkInfo": {"Ipv4AddressesPerInterface": 10,
                "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 3}]}},
            {"InstanceType": "c5.large", "NetworkInfo": {"Ipv4AddressesPerInterface": 10,
                "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 3}]}},
            {"InstanceType": "p5.big", "NetworkInfo": {"Ipv4AddressesPerInterface": 50, "NetworkCards": [
                {"NetworkCardIndex": 1, "MaximumNetworkInterfaces": 2},
                {"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 4},
                {"NetworkCardIndex": 2, "MaximumNetworkInterfaces": 2}]}}]}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        let all = answer.instance_types.into_iter();
        let all = all.map(|one| (one.instance_type.clone(), limits(one)));
        let table = table(&all.collect());
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(lines, ["3 10: c5.large m5.large", "4,2*2 50: p5.big"]);
    }
}
