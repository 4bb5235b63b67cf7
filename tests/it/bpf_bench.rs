//! The verifier accepts the programs, also from an agent without CAP_PERFMON, and the bench measures
//! them. Needs root.

use std::{env, fs, net::Ipv4Addr, process::Command};

use eniway_agent::bpf::{
    Mode,
    bench::{REDIRECTED, bench},
    trial::{Program, Trial},
    verify,
};
use eniway_ebpf::fixtures;

use crate::{
    bpf_world::{in_world, ip},
    guard, steering,
};

#[test]
fn the_bench_measures_every_program() {
    in_world(1500, |world| {
        // Whom redirected packets go to.
        let address = Ipv4Addr::from(REDIRECTED);
        ip(&format!(
            "neighbour add {address} lladdr 02:00:00:00:00:0a dev eni0"
        ));
        ip(&format!("route add {address}/32 dev eni0"));
        fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").unwrap();
        let bench = bench(&world.bpffs.join("bench"), world.ifindex(), 2).unwrap();
        println!("{:?}", bench.bare_drop);
        for ours in &bench.ours {
            println!("{ours:?} = {:.2} x bare drop", ours.ratio(&bench.bare_drop));
            if let Some(filter) = bench.xdp_filter.first() {
                println!("  {:.2} x {filter:?}", ours.ratio(filter));
            }
            assert!(ours.ratio(&bench.bare_drop) >= 1.0, "{ours:?}");
        }
        // The kernel's barriers are there, where it wants any.
        let of = |name: &str| bench.ours.iter().find(|ours| ours.name == name).unwrap();
        let trusted = of("eni_ingress, one address");
        let distrusted = of("eni_ingress, one address, loaded without CAP_PERFMON");
        let mitigations = fs::read_to_string("/proc/cmdline").unwrap();
        if !mitigations.contains("mitigations=off") {
            assert!(distrusted.ratio(trusted) >= 1.5, "{distrusted:?}");
        }
        assert!(!world.bpffs.join("bench").exists());
    });
}

#[test]
fn the_kernel_accepts_every_program() {
    let verified = verify().unwrap();
    println!("{verified:#?}");
    assert_eq!(verified.len(), 12);
    assert!(verified.iter().all(|program| program.jited > 0));
}

/// Also run by the test below, with fewer capabilities.
#[test]
fn the_programs_of_a_current_kernel_load() {
    let frame = &fixtures::all()[0].frame;
    for rules in [Vec::new(), steering::all_kinds()] {
        let config = guard::config(Mode::Enforce, true);
        let mut trial = Trial::steering(true, &config, &rules).unwrap();
        for program in [
            Program::IngressXdp,
            Program::IngressTc,
            Program::Egress,
            Program::ToPod,
            Program::FromPod,
        ] {
            trial.run(program, frame, 1).unwrap();
        }
    }
}

/// Without CAP_PERFMON the verifier forbids more. Needs setpriv, of util-linux.
#[test]
fn the_fewest_capabilities_of_the_chart_are_enough() {
    let output = Command::new("setpriv")
        .arg("--bounding-set=-all,+bpf,+net_admin")
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "bpf_bench::the_programs_of_a_current_kernel_load",
        ])
        .output()
        .expect("setpriv is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
