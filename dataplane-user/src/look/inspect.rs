//! `eniway-agent inspect`: what is attached, by which rules it goes, and what it has counted.

use std::io::{Write as _, stdout};

use eniway_abi::{
    Config, flags, mode,
    steering::{Action, kind},
};
use nix::net::if_::if_indextoname;

use super::{Error, Guarded, guards};
use crate::{
    bpf::{Bpf, Count, Hook, Steered},
    config::Which,
};

pub(super) fn run(which: &Which) -> Result<(), Error> {
    let bpf = Bpf::open(&which.bpffs)?;
    for guard in guards(&bpf, which)? {
        let eni = &guard.attached.eni;
        let text = text(
            &guard,
            &bpf.settings(eni)?,
            &bpf.addresses(eni)?,
            &bpf.counters(eni)?,
            &bpf.steered(eni)?,
        );
        stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    }
    Ok(())
}

fn text(
    guard: &Guarded,
    config: &Config,
    addresses: &[ipnet::IpNet],
    counts: &[Count],
    rules: &[Steered],
) -> String {
    let mut lines = vec![
        format!("{guard} (index {})", guard.attached.ifindex),
        format!("  ingress      {}", hook(guard.attached.ingress)),
        format!("  egress       {}", hook(guard.attached.egress)),
        format!("  enforcement  {}", enforcement(config.mode)),
        format!("  check        {}", check(config)),
        format!("  MAC          {}", mac(config.mac)),
    ];
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    lines.push(format!("  addresses    {}", addresses.join(" ")));
    for pod in &guard.attached.pods {
        let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "  pod          {} behind {}, {}",
            addresses.join(" "),
            interface(pod.interface),
            mac(pod.mac)
        ));
    }
    for count in counts {
        lines.push(format!(
            "  {:<8}  {:<8}  {:<20}  {:>12} packets  {:>15} bytes",
            count.direction.label(),
            count.outcome.label(),
            count.reason.label(),
            count.packets,
            count.bytes,
        ));
    }
    for (number, rule) in rules.iter().enumerate() {
        lines.push(format!(
            "  rule {number:<4}  {:<30}  {:>12} packets  {:>15} bytes",
            action(&rule.action),
            rule.counter.packets,
            rule.counter.bytes,
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn hook(hook: Option<Hook>) -> String {
    let Some(hook) = hook else {
        return "not attached".to_owned();
    };
    let frags = if hook.frags { ", multi-buffer" } else { "" };
    format!("{:?}{frags}, program {}", hook.mode, hook.program_id)
}

/// What becomes of the packets of a rule.
fn action(action: &Action) -> String {
    match action.kind {
        kind::PASS => "Pass".to_owned(),
        kind::DROP => "Drop".to_owned(),
        kind::REDIRECT => format!("Redirect {}", interface(action.value)),
        kind::CPU => format!("Cpu, {} of them", action.count),
        kind::SOCKET => {
            let queues = (0..64_u32).filter(|queue| action.queues >> queue & 1 == 1);
            let queues: Vec<_> = queues.map(|queue| queue.to_string()).collect();
            format!("Socket of queue {}", queues.join(", "))
        }
        other => format!("action {other}"),
    }
}

fn interface(index: u32) -> String {
    match if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("index {index}"),
    }
}

fn enforcement(value: u8) -> &'static str {
    match value {
        mode::ENFORCE => "Enforce",
        mode::AUDIT => "Audit",
        _ => "Off",
    }
}

fn check(config: &Config) -> &'static str {
    if config.has(flags::SOURCE_DEST_CHECK) {
        "source and destination must be the ENI's own"
    } else {
        "MAC addresses and martians only"
    }
}

pub(super) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
