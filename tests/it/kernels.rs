//! The data path under other kernels than this machine's: this very test program, in a virtual machine.
//!
//! What only another kernel shows is the verifier's judgement, the hooks that it has, and whether links,
//! pins and updates behave. Part `kernels` of the test; needs no root, and apt once for each kernel.

use std::{env, time::Duration};

use lab::vm::{self, Kernel, Nic};

/// Patience, no bound: the processor is emulated, and comes after everything else that runs.
const DEADLINE: Duration = Duration::from_secs(1800);

/// Without these: what they do takes an emulated processor minutes and shows nothing of a kernel, or takes a
/// Kubernetes, which no machine has. The filter for steering would take the agent's, too.
const LEFT_OUT: [&str; 4] = [
    "guard::kernel_and_model_agree_on_what_is_generated",
    "steering::host_kernel_and_model_find_the_same_rule",
    "agent::",
    "bpf_bench::the_bench_measures_every_program",
];

/// Runs what there is of the data path's tests, but for `missing`.
fn check(series: &str, missing: &[&str]) {
    let kernel = Kernel::find(series, &|line| println!("{line}")).unwrap();
    let test = env::current_exe().unwrap();
    let mut command = format!(
        "{} guard:: steering:: bpf_attach:: bpf_bench:: bpf_pods:: bpf_stacks:: bpf_ipvlan::",
        test.display()
    );
    command += " --test-threads=1 --color=never";
    for name in LEFT_OUT.iter().chain(missing) {
        command += &format!(" --skip {name}");
    }
    let ended = vm::run(&kernel, &[], &command, DEADLINE).unwrap_or_else(|error| panic!("{error}"));
    println!("{}\n{}", kernel.release, ended.output);
    let lines = ended.output.lines();
    let passed = lines.filter(|line| line.starts_with("test ") && line.ends_with("... ok"));
    // As many as there are today; fewer means that they were not found.
    assert!(passed.count() >= 42, "{}", ended.output);
    assert_eq!(ended.code, 0, "{}", ended.output);
}

/// Amazon Linux 2023 and Bottlerocket have 6.1: no TCX, so there is nothing to move to from filters; and the
/// stranger of the other test, an eniway too, would have its filter in the same place.
#[test]
fn linux_6_1_accepts_and_keeps_the_guard() {
    let missing = [
        "a_newer_kernel_takes_the_filters_place",
        "a_foreign_program_is_named_and_left_alone",
    ];
    check("6.1", &missing);
}

/// The next one of both.
#[test]
fn linux_6_12_accepts_and_keeps_the_guard() {
    check("6.12", &[]);
}

/// What a veth hides: a driver with queues and buffers of its own, which refuses, and outlives the namespace of a pod.
/// What happens in the machine is told by the program.
fn check_driver(series: &str) {
    let kernel = Kernel::find(series, &|line| println!("{line}")).unwrap();
    let program = eniway_tests::example("virtio");
    let nics = ["02:00:00:00:00:0a", "02:00:00:00:00:14"];
    let nics = nics.map(|mac| Nic { mac });
    let command = program.display().to_string();
    let ended = vm::run(&kernel, &nics, &command, DEADLINE);
    let ended = ended.unwrap_or_else(|error| panic!("{error}"));
    println!("{}\n{}", kernel.release, ended.output);
    assert_eq!(ended.code, 0, "{}", ended.output);
}

#[test]
fn virtio_of_linux_6_1_takes_the_guard_and_brings_it_back_from_a_pod() {
    check_driver("6.1");
}

#[test]
fn virtio_of_linux_6_12_takes_the_guard_and_brings_it_back_from_a_pod() {
    check_driver("6.12");
}
