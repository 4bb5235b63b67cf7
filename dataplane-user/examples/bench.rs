//! Prints what the check costs a packet, for `cargo xtask bench`. Needs root and a bpffs.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{error::Error, path::Path};

use eniway_agent::bpf::bench::bench;

fn main() -> Result<(), Box<dyn Error>> {
    let bench = bench(Path::new("/sys/fs/bpf/eniway-bench"))?;
    println!("| one 60-byte UDP packet | ns | × bare drop | × xdp-filter |");
    println!("|---|---|---|---|");
    let filter = bench.xdp_filter.as_ref();
    for row in [&bench.bare_drop]
        .into_iter()
        .chain(&bench.ours)
        .chain([&bench.linear])
        .chain(filter)
        .chain(bench.xdp_filter_allow.as_ref())
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
