//! A guard outlives its process, its interface, its kernel and a crash. Needs root.

use std::{
    collections::BTreeSet,
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use eniway_agent::bpf::{
    Guard, IngressMode, Mode, WantedIngress,
    steering::{Action, Rule},
};

use super::{CLSACT, drops_strangers, open, today};
use crate::bpf_world::{ENI, Namespace, OWN, STRANGER, World, files, guard, in_world, ip, tc};

#[test]
fn a_new_process_takes_the_guard_over_without_a_packet_lost() {
    const LAST: u32 = u32::MAX;
    in_world(1500, |world| {
        let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
        open(world, today())
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        let before = open(world, today()).attached().unwrap();
        let sender = world.host.try_clone().unwrap();
        let receiver = world.node.try_clone().unwrap();
        let (acknowledge, acknowledged) = mpsc::channel();
        let receiving = thread::spawn(move || {
            let mut numbers = Vec::new();
            while numbers.last() != Some(&LAST) {
                let mut number = [0; 4];
                receiver
                    .recv_from(&mut number)
                    .expect("no datagram is lost");
                numbers.push(u32::from_be_bytes(number));
                // The sender may be done.
                let _gone = acknowledge.send(());
            }
            numbers.pop();
            numbers
        });
        let is_over = Arc::new(AtomicBool::new(false));
        let sending = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut sent = 0;
                while !is_over.load(Ordering::Relaxed) {
                    sender
                        .send_to(&u32::to_be_bytes(sent), (OWN, 7000))
                        .unwrap();
                    sent += 1;
                    // Never more under way than the receiver's socket holds: Linux 6.1 counts a page for each.
                    if sent > 16 {
                        acknowledged.recv().expect("no datagram is lost");
                    }
                }
                sender.send_to(&LAST.to_be_bytes(), (OWN, 7000)).unwrap();
                sent
            }
        });
        for _ in 0..5 {
            open(world, today())
                .attach(ENI, world.ifindex(), &want)
                .unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let sent = sending.join().unwrap();
        let received = receiving.join().unwrap();
        let arrived: BTreeSet<_> = received.iter().copied().collect();
        let lost: Vec<_> = (0..sent).filter(|one| !arrived.contains(one)).collect();
        assert_eq!(lost, Vec::<u32>::new(), "of {sent}");
        assert!(received.is_sorted(), "in the order in which they were sent");
        assert_eq!(received.len(), arrived.len(), "each once");
        let after = open(world, today()).attached().unwrap();
        assert_ne!(
            before[0].ingress, after[0].ingress,
            "the program is a new one"
        );
    });
}

#[test]
fn there_is_a_guard_at_every_moment_of_a_move() {
    in_world(1500, |world| {
        let want = |ingress| guard(ingress, Mode::Enforce);
        let mut bpf = open(world, today());
        bpf.attach(ENI, world.ifindex(), &want(WantedIngress::Tc))
            .unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let attacker = thread::spawn({
            let host: UdpSocket = world.host.try_clone().unwrap();
            let is_over = Arc::clone(&is_over);
            move || {
                let mut sent = 0_u32;
                while !is_over.load(Ordering::Relaxed) {
                    host.send_to(b"stranger", (STRANGER, 7000)).unwrap();
                    sent += 1;
                }
                sent
            }
        });
        for _ in 0..3 {
            for (wanted, mode) in [
                (WantedIngress::XdpNative, IngressMode::XdpNative),
                (WantedIngress::XdpGeneric, IngressMode::XdpGeneric),
                (WantedIngress::XdpAuto, IngressMode::XdpNative),
                (WantedIngress::Tc, IngressMode::Tc),
            ] {
                let report = bpf.attach(ENI, world.ifindex(), &want(wanted)).unwrap();
                assert_eq!(report.mode, mode);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(attacker.join().unwrap() > 0);
        world.send_to(OWN, "own");
        let mut buffer = [0; 16];
        let (length, _) = world.node.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"own", "no stranger came through");
    });
}

#[test]
fn a_link_whose_interface_is_gone_is_made_anew() {
    for wanted in [WantedIngress::XdpAuto, WantedIngress::Tc] {
        in_world(1500, move |world| {
            let want = guard(wanted, Mode::Enforce);
            let mut bpf = open(world, today());
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            world.replug();
            assert_eq!(bpf.attached().unwrap()[0].ifindex, 0);
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            assert_eq!(bpf.attached().unwrap()[0].ifindex, world.ifindex());
            drops_strangers(world);
        });
    }
}

#[test]
fn a_filter_that_somebody_took_off_is_missed_and_made_anew() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::Tc, Mode::Enforce);
        let mut bpf = open(world, CLSACT);
        bpf.attach(ENI, world.ifindex(), &want).unwrap();
        assert!(bpf.attached().unwrap()[0].egress.is_some());
        for (by_hand, left) in [
            ("filter del dev eni0 egress", (true, false)),
            ("qdisc del dev eni0 clsact", (false, false)),
        ] {
            tc(by_hand);
            let attached = bpf.attached().unwrap().remove(0);
            let seen = (attached.ingress.is_some(), attached.egress.is_some());
            assert_eq!(seen, left, "{by_hand}");
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            assert!(bpf.attached().unwrap()[0].egress.is_some());
            drops_strangers(world);
        }
    });
}

#[test]
fn a_kernel_without_tcx_takes_the_check_of_what_leaves_off_on_the_way_into_a_pod() {
    let taken_along = |kernel, expected| {
        in_world(1500, move |world| {
            let mut bpf = open(world, kernel);
            let want = guard(WantedIngress::XdpNative, Mode::Enforce);
            bpf.attach(ENI, world.ifindex(), &want).unwrap();
            let pod = Namespace::new();
            ip(&format!("link set eni0 netns {}", pod.process()));
            let attached = bpf.attached().unwrap().remove(0);
            assert_ne!(attached.ifindex, 0);
            let there = (attached.ingress.is_some(), attached.egress.is_some());
            assert_eq!(there, (true, expected));
        });
    };
    taken_along(CLSACT, false);
    if today().tcx {
        taken_along(today(), true);
    }
}

/// A new process, which knows nothing of the interface but its pins, brings other programs and rules.
#[test]
fn in_a_pod_programs_and_rules_are_replaced_from_outside() {
    // A filter is lost on the way.
    let tc = today().tcx.then_some(WantedIngress::Tc);
    for ingress in [WantedIngress::XdpNative].into_iter().chain(tc) {
        in_world(1500, move |world| {
            let want = guard(ingress, Mode::Enforce);
            open(world, today())
                .attach(ENI, world.ifindex(), &want)
                .unwrap();
            let pod = Namespace::new();
            ip(&format!("link set eni0 netns {}", pod.process()));
            let node = pod.run(|| {
                ip(&format!("addr add {OWN}/24 dev eni0"));
                ip(&format!("addr add {STRANGER}/24 dev eni0"));
                ip("link set eni0 up");
                UdpSocket::bind(("0.0.0.0", 7000)).unwrap()
            });
            node.set_read_timeout(Some(std::time::Duration::from_millis(500)))
                .unwrap();
            let hears = |to| {
                world.send_to(to, "text");
                node.recv(&mut [0; 8]).is_ok()
            };
            assert!(hears(OWN) && !hears(STRANGER));
            let mut bpf = open(world, today());
            let before = bpf.attached().unwrap().remove(0);
            let rule = Rule {
                source: None,
                destination: None,
                protocol: Some(17),
                source_ports: Vec::new(),
                destination_ports: vec![7000..=7000],
                action: Action::Drop,
            };
            let mut steered = want.clone();
            steered.steering = vec![rule];
            bpf.replace(ENI, &steered).unwrap();
            assert!(!hears(OWN), "the rule drops");
            bpf.replace(ENI, &want).unwrap();
            assert!(hears(OWN) && !hears(STRANGER));
            let after = bpf.attached().unwrap().remove(0);
            assert_eq!(after.ifindex, before.ifindex);
            assert_ne!(
                after.ingress.unwrap().program_id,
                before.ingress.unwrap().program_id
            );
        });
    }
}

#[test]
fn a_newer_kernel_takes_the_filters_place() {
    in_world(1500, |world| {
        let want = guard(WantedIngress::Tc, Mode::Enforce);
        open(world, CLSACT)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        open(world, CLSACT)
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        drops_strangers(world);
        open(world, today())
            .attach(ENI, world.ifindex(), &want)
            .unwrap();
        drops_strangers(world);
        let links: Vec<_> = files(&world.bpffs.join("eniway/links"))
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(links, ["egress", "ingress"]);
    });
}

/// Removes the pin of a link, or of the program of a filter.
fn remove(links: &Path, slot: &str) {
    let pins = files(links).into_iter();
    let is_it = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(slot)
    };
    for pin in pins.filter(is_it) {
        fs::remove_file(pin).unwrap();
    }
}

#[test]
fn what_a_crash_left_half_done_is_repaired() {
    fn check(want: &Guard, crash: impl Fn(&Path)) {
        let want = want.clone();
        let links = |world: &World| world.bpffs.join("eniway/links").join(ENI);
        // The state is made in one world, because a crash leaves it in a running one.
        let (sender, receiver) = mpsc::channel::<PathBuf>();
        let (resume, resumed) = mpsc::channel();
        thread::scope(|scope| {
            let world = scope.spawn(move || {
                in_world(1500, move |world| {
                    let mut bpf = open(world, today());
                    bpf.attach(ENI, world.ifindex(), &want).unwrap();
                    // Through this thread's own root: the bpffs is mounted for it alone.
                    let root = format!("/proc/{}/root", nix::unistd::gettid());
                    let links = links(world);
                    sender
                        .send(Path::new(&root).join(links.strip_prefix("/").unwrap()))
                        .unwrap();
                    resumed.recv().unwrap();
                    bpf.attach(ENI, world.ifindex(), &want).unwrap();
                    drops_strangers(world);
                    assert_eq!(files(&links).len(), 2);
                });
            });
            crash(&receiver.recv().unwrap());
            resume.send(()).unwrap();
            world.join().unwrap();
        });
    }
    let want = guard(WantedIngress::XdpAuto, Mode::Enforce);
    // After the new link was pinned where none was, before it got its name.
    check(&want, |links| {
        fs::rename(links.join("ingress"), links.join("ingress-new")).unwrap();
    });
    // After the maps were made, before anything was attached.
    check(&want, |links| {
        remove(links, "ingress");
        remove(links, "egress");
    });
    // After what leaves was attached, before what arrives was.
    check(&want, |links| remove(links, "ingress"));
}
