//! Writes a capture that tcpdump and Wireshark read: pcapng, with the rule beside each packet.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use eniway_abi::HEAD;
use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use crate::bpf::{Direction, Packet};

/// A file that grows.
pub(super) struct Capture {
    writer: PcapNgWriter<BufWriter<File>>,
    /// The numbers of interfaces that have been described.
    interfaces: BTreeMap<String, u32>,
}

impl Capture {
    /// Makes the file, or makes it empty.
    pub(super) fn create(path: &Path) -> Result<Self, PcapError> {
        let file = File::create(path).map_err(PcapError::IoError)?;
        Ok(Self {
            writer: PcapNgWriter::new(BufWriter::new(file))?,
            interfaces: BTreeMap::new(),
        })
    }

    pub(super) fn write(&mut self, interface: &str, packet: &Packet) -> Result<(), PcapError> {
        /// 10⁻⁹ s, which is how times are written.
        const NANOSECONDS: u8 = 9;
        // pcapng, section 4.3.1: inbound, outbound.
        let direction = match packet.direction {
            Direction::Ingress | Direction::FromPod => 1,
            Direction::Egress | Direction::ToPod => 2,
        };
        let number = match self.interfaces.get(interface) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
                self.writer.write_pcapng_block(InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: u32::try_from(HEAD).unwrap_or(0),
                    options: vec![
                        InterfaceDescriptionOption::IfName(interface.into()),
                        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                    ],
                })?;
                self.interfaces.insert(interface.to_owned(), number);
                number
            }
        };
        let comment = format!("{} {}", packet.outcome.label(), packet.reason.label());
        self.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: number,
            timestamp: packet
                .time
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO),
            original_len: packet.length,
            data: packet.head.as_slice().into(),
            options: vec![
                EnhancedPacketOption::Flags(direction),
                EnhancedPacketOption::Comment(comment.into()),
            ],
        })?;
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<(), PcapError> {
        let file = self.writer.into_inner().into_inner();
        file.map(drop)
            .map_err(|error| PcapError::IoError(error.into_error()))
    }
}
