//! Prints what the check costs a packet, for `cargo xtask bench`. Needs root, a bpffs and a network that it may change: one of
//! its own.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{error::Error, fs, net::Ipv4Addr, path::Path, process::Command};

use eniway_agent::bpf::bench::{MAC, REDIRECTED, bench};
use nix::net::if_::if_nametoindex;

/// Measurements of each load: of so many, one is hardly disturbed.
const ROUNDS: u32 = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let bench = bench(Path::new("/sys/fs/bpf/eniway-bench"), network()?, ROUNDS)?;
    println!("| one 60-byte UDP packet | ns | × bare drop | × xdp-filter |");
    println!("|---|---|---|---|");
    let filter = bench.xdp_filter.first();
    for row in [&bench.bare_drop]
        .into_iter()
        .chain(&bench.ours)
        .chain([&bench.linear])
        .chain(&bench.xdp_filter)
    {
        let nanoseconds = row.duration.as_nanos();
        let drop = row.ratio(&bench.bare_drop);
        let filter = filter.map_or_else(
            || "-".to_owned(),
            |filter| format!("{:.2}", row.ratio(filter)),
        );
        println!("| {} | {nanoseconds} | {drop:.2} | {filter} |", row.name);
    }
    if filter.is_none() {
        println!("xdp-filter is not here: apt install xdp-tools");
    }
    Ok(())
}

/// Makes a neighbour behind an interface, to whom packets are redirected that are for [`REDIRECTED`]; the interface's index.
fn network() -> Result<u32, Box<dyn Error>> {
    let address = Ipv4Addr::from(REDIRECTED);
    let [a, b, c, d, e, f] = MAC;
    let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1")?;
    for command in [
        "link add out0 type veth peer name far0".to_owned(),
        "link set far0 up".to_owned(),
        "link set out0 up".to_owned(),
        format!("neighbour add {address} lladdr {mac} dev out0"),
        format!("route add {address}/32 dev out0"),
    ] {
        let output = Command::new("ip").args(command.split(' ')).output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("ip {command}: {text}").into());
        }
    }
    Ok(if_nametoindex("out0")?)
}
