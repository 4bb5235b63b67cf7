//! The door to procfs: which addresses programs use, and which programs hold a device.

use std::{
    collections::BTreeSet,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

/// A program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub id: u32,
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}

/// The kernel's view of its programs, under a root that tests choose.
#[derive(Clone, Debug)]
pub struct Proc(PathBuf);

impl Proc {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Local addresses of this namespace's sockets, of TCP and UDP.
    #[must_use]
    pub fn addresses_in_use(&self) -> BTreeSet<IpAddr> {
        let tables = ["tcp", "tcp6", "udp", "udp6"].into_iter();
        let tables = tables.map(|table| fs::read_to_string(self.0.join("net").join(table)));
        let mut addresses = BTreeSet::new();
        for table in tables.flatten() {
            addresses.extend(local_addresses(&table));
        }
        addresses
    }

    /// Programs that have opened `device`, as far as this one may see: others' files are shown to those with
    /// CAP_SYS_PTRACE.
    #[must_use]
    pub fn holders(&self, device: &Path) -> Vec<Process> {
        let mut holders = Vec::new();
        for folder in folders(&self.0) {
            let id = folder
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            let Some(id) = id else { continue };
            let mut files = folders(&folder.join("fd")).into_iter();
            if files.any(|file| fs::read_link(file).is_ok_and(|target| target == device)) {
                let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
                let name = name.trim().to_owned();
                holders.push(Process { id, name });
            }
        }
        holders
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The second column of a table of sockets: `0701000A:1F90`, whole words in the machine's order.
fn local_addresses(table: &str) -> impl Iterator<Item = IpAddr> {
    let lines = table.lines().skip(1);
    lines.filter_map(|line| {
        let (address, _port) = line.split_whitespace().nth(1)?.split_once(':')?;
        address_of(address)
    })
}

fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let mut bytes = [0; 16];
    for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
        part.copy_from_slice(&word(at)?);
    }
    let address = Ipv6Addr::from(bytes);
    Some(
        address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn addresses_are_those_that_sockets_have() {
        let root = tempfile::TempDir::new().unwrap();
        let net = root.path().join("net");
        fs::create_dir(&net).unwrap();
        let head = "  sl  local_address rem_address   st\n";
        let tcp = "   0: 0701000A:1F90 00000000:0000 0A\n   1: 00000000:0016 00000000:0000 0A\n";
        let udp6 = "  0: 0000000000000000FFFF00000801000A:14E9 00000000000000000000000000000000:0000\n  \
                    1: B80D0120000000000000000001000000:14E9 00000000000000000000000000000000:0000\n";
        fs::write(net.join("tcp"), format!("{head}{tcp}")).unwrap();
        fs::write(net.join("udp6"), format!("{head}{udp6}")).unwrap();
        let used = Proc::new(root.path()).addresses_in_use();
        let used: Vec<String> = used.iter().map(ToString::to_string).collect();
        assert_eq!(used, ["0.0.0.0", "10.0.1.7", "10.0.1.8", "2001:db8::1"]);
    }

    #[test]
    fn a_program_that_has_the_device_open_is_named() {
        let root = tempfile::TempDir::new().unwrap();
        for (id, name, opened) in [("7", "testpmd", "/dev/vfio/12"), ("8", "bash", "/dev/tty")] {
            let folder = root.path().join(id);
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            symlink(opened, folder.join("fd/3")).unwrap();
        }
        fs::create_dir(root.path().join("sys")).unwrap();
        let holders = Proc::new(root.path()).holders(Path::new("/dev/vfio/12"));
        let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
        assert_eq!(holders, ["process 7 (testpmd)"]);
    }
}
