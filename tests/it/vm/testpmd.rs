//! DPDK's own test program in a machine: it sends every frame back where it came from, and counts.

use std::time::Duration;

use lab::vm::{Card, Job, Machine};
use lab::wait;

use super::{SOON, bytes_of};

/// How long a frame may take through an emulated machine before it counts as lost.
const THROUGH: Duration = Duration::from_secs(20);
/// How long to wait for the first one, before the program is ready to forward any.
const TRY: Duration = Duration::from_millis(300);
/// How many frames are followed one by one.
const FRAMES: u8 = 50;
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 0x14];

pub(super) struct Testpmd<'a> {
    machine: &'a Machine,
    job: Job,
}

impl<'a> Testpmd<'a> {
    /// Starts it on the device at `place`, which vfio-pci has.
    pub(super) fn start(machine: &'a Machine, place: &str) -> Self {
        let huge_pages = "mkdir -p /dev/hugepages
            mountpoint -q /dev/hugepages || mount -t hugetlbfs none /dev/hugepages
            echo 96 > /proc/sys/vm/nr_hugepages";
        machine.read(huge_pages).unwrap();
        // Without statistics it would end with its standard input, which is empty.
        let job = machine.begin(&format!(
            "exec dpdk-testpmd -l 0-1 -n 1 -m 128 -a {place} -- \
             --auto-start --forward-mode=macswap --total-num-mbufs=2048 --stats-period=1"
        ));
        let job = job.unwrap();
        Self { machine, job }
    }

    /// Sends frames into the card and sees each come back, its addresses swapped and the rest as it was.
    pub(super) fn forwards(&self, card: &Card) {
        let log = || self.machine.output(self.job);
        forwards(card, &is_swapped, &log);
    }

    /// Ends it, and compares its count with ours.
    pub(super) fn stop(self) {
        self.machine.read("pkill -INT -x dpdk-testpmd").unwrap();
        let ended = self.machine.wait(self.job).unwrap();
        assert_eq!(ended.code, 0, "{}", ended.output);
        let (_, last) = ended.output.rsplit_once("Accumulated").unwrap();
        let count = |name: &str| -> u64 {
            let (_, rest) = last.split_once(name).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        assert!(count("RX-total:") > u64::from(FRAMES), "{last}");
        assert_eq!(count("RX-total:"), count("TX-total:"), "{last}");
    }
}

/// Sends frames into the card and sees each come back as the program that has it sends them. `is_back` is given what was sent and what came.
pub(super) fn forwards(
    card: &Card,
    is_back: &dyn Fn(&[u8], &[u8]) -> bool,
    log: &dyn Fn() -> String,
) {
    let first = frame(card, 0);
    wait::until("testpmd forwards a frame", SOON, || {
        // Refused until the program has made the card ready, most likely.
        let _ = card.send(&first);
        let back = card.find(TRY, |back| is_back(&first, back)).unwrap();
        back.map(drop).ok_or_else(log)
    })
    .unwrap();
    for number in 1..=FRAMES {
        let sent = frame(card, number);
        card.send(&sent).unwrap();
        let back = card.find(THROUGH, |back| is_back(&sent, back)).unwrap();
        assert!(
            back.is_some(),
            "frame {number} did not come back: {}",
            log()
        );
    }
}

/// A frame of the experimental EtherType 0x88b5, with its number.
fn frame(card: &Card, number: u8) -> Vec<u8> {
    let mut frame = [&bytes_of(card.mac())[..], &SENDER, &[0x88, 0xb5]].concat();
    frame.resize(60, number);
    frame
}

fn is_swapped(sent: &[u8], back: &[u8]) -> bool {
    back[..6] == sent[6..12] && back[6..12] == sent[..6] && back[12..] == sent[12..]
}
