use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const ADDRESS: &str = "0000:00:06.0";

/// A sysfs with one function, and another in its IOMMU group; files that the kernel acts on are plain ones here.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(TempDir::new().unwrap());
        for (address, class, driver) in [
            (ADDRESS, "0x020000", "ena"),
            ("0000:00:06.1", "0x010802", "nvme"),
            ("0000:00:06.2", "0x060400", "pcieport"),
        ] {
            let device = format!("devices/pci0000:00/{address}");
            root.write(&format!("{device}/class"), class);
            root.write(&format!("bus/pci/drivers/{driver}/unbind"), "");
            root.link(
                &format!("{device}/driver"),
                &format!("bus/pci/drivers/{driver}"),
            );
            root.link(&format!("bus/pci/devices/{address}"), &device);
            root.link(&format!("kernel/iommu_groups/7/devices/{address}"), &device);
            root.link(&format!("{device}/iommu_group"), "kernel/iommu_groups/7");
        }
        let device = format!("devices/pci0000:00/{ADDRESS}");
        for (file, text) in [
            ("driver_override", "(null)\n"),
            ("numa_node", "1\n"),
            ("enable", "1\n"),
            ("net/ens6/address", "02:00:00:00:00:01\n"),
        ] {
            root.write(&format!("{device}/{file}"), text);
        }
        root.write("bus/pci/drivers_probe", "");
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path)).unwrap()
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.0.path().join(target), path).unwrap();
    }

    fn pci(&self) -> Pci {
        Pci::new(self.0.path(), Some(self.0.path()))
    }
}

#[test]
fn a_function_is_shown_with_its_driver_and_its_group() {
    let root = Root::new();
    let function = root.pci().function(ADDRESS).unwrap();
    let expected = Function {
        address: ADDRESS.to_owned(),
        driver: Some("ena".to_owned()),
        driver_override: None,
        group: Some(Group {
            number: 7,
            no_iommu: false,
            others: vec![("0000:00:06.1".to_owned(), Some("nvme".to_owned()))],
        }),
        numa_node: Some(1),
        enabled: 1,
        macs: vec![MacAddress([2, 0, 0, 0, 0, 1])],
        uio: None,
    };
    assert_eq!(function, expected);
    assert_eq!(root.pci().function("0000:00:09.0"), None);
    assert!(root.pci().has_driver("nvme") && !root.pci().has_driver("vfio-pci"));
}

#[test]
fn what_vfio_makes_up_is_no_group() {
    let root = Root::new();
    root.write("kernel/iommu_groups/7/name", "vfio-noiommu\n");
    let function = root.pci().function(ADDRESS).unwrap();
    assert!(function.group.unwrap().no_iommu);
    assert!(!root.pci().allows_no_iommu());
    root.write("module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert!(root.pci().allows_no_iommu());
}

#[tokio::test]
async fn each_change_is_one_write() {
    let root = Root::new();
    let pci = root.pci();
    let over = format!("devices/pci0000:00/{ADDRESS}/driver_override");
    pci.override_driver(ADDRESS, Some("vfio-pci"))
        .await
        .unwrap();
    assert!(root.read(&over).starts_with("vfio-pci"));
    root.write(&over, "");
    pci.override_driver(ADDRESS, None).await.unwrap();
    assert_eq!(root.read(&over), "\n");
    pci.unbind(ADDRESS, "ena").await.unwrap();
    assert_eq!(root.read("bus/pci/drivers/ena/unbind"), ADDRESS);
    pci.probe(ADDRESS, "ena").await.unwrap();
    assert_eq!(root.read("bus/pci/drivers_probe"), ADDRESS);
}

#[tokio::test]
async fn a_probe_after_which_another_has_the_device_failed() {
    let root = Root::new();
    let error = root.pci().probe(ADDRESS, "vfio-pci").await.unwrap_err();
    let said = "vfio-pci did not take 0000:00:06.0; the kernel's log has the reason";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn what_the_kernel_refuses_is_told_with_the_file() {
    let root = Root::new();
    let error = root.pci().unbind(ADDRESS, "gone").await.unwrap_err();
    let said = error.to_string();
    assert!(said.ends_with("bus/pci/drivers/gone/unbind"), "{said}");
    // The kernel says the like of EBUSY, ENODEV and EPERM.
    let full = Path::new("/dev/full");
    let unbind = root.0.path().join("bus/pci/drivers/ena/unbind");
    fs::remove_file(&unbind).unwrap();
    symlink(full, unbind).unwrap();
    let error = root.pci().unbind(ADDRESS, "ena").await.unwrap_err();
    let Error::Write { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_write_that_does_not_return_holds_nobody_up_and_is_not_made_twice() {
    let root = Root::new();
    let unbind = root.0.path().join("bus/pci/drivers/ena/unbind");
    fs::remove_file(&unbind).unwrap();
    // Opened for writing it waits for a reader, as the kernel waits for a program to let go.
    nix::unistd::mkfifo(&unbind, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pci = Pci {
        patience: Duration::from_millis(50),
        ..root.pci()
    };
    let slow = pci.unbind(ADDRESS, "ena").await.unwrap_err();
    assert!(matches!(slow, Error::Slow { .. }), "{slow}");
    let busy = pci.unbind(ADDRESS, "ena").await.unwrap_err();
    assert!(matches!(busy, Error::Busy { .. }), "{busy}");
    assert_eq!(fs::read_to_string(&unbind).unwrap(), ADDRESS);
    // Now the kernel has answered, and the next change gets its own error.
    loop {
        match pci.unbind(ADDRESS, "gone").await {
            Err(Error::Busy { .. }) => tokio::task::yield_now().await,
            next => return assert!(matches!(next, Err(Error::Write { .. })), "{next:?}"),
        }
    }
}

#[test]
fn a_region_is_write_combining_when_the_kernel_says_so_of_it() {
    let regions = "0x00000000fe400000 0x00000000fe403fff 0x0000000000040200\n\
                   0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                   0x00000000fe000000 0x00000000fe0fffff 0x0000000000042208\n";
    let mapped = |kind: &str| {
        format!(
            "PAT memtype list:\nPAT: [mem 0x00000000fe400000-0x00000000fe404000] uncached-minus\n\
             PAT: [mem 0x00000000fe000000-0x00000000fe100000] {kind}\n"
        )
    };
    let check = |kind: &str| is_write_combining(regions, &mapped(kind));
    assert_eq!(check("write-combining"), Some(true));
    assert_eq!(check("uncached-minus"), Some(false));
    assert_eq!(is_write_combining(regions, "PAT memtype list:\n"), None);
    assert_eq!(is_write_combining("", &mapped("write-combining")), None);
}

#[test]
fn hugepages_are_counted_on_each_numa_node() {
    let root = Root::new();
    for (path, pages) in [
        ("node0/hugepages/hugepages-2048kB", "64"),
        ("node1/hugepages/hugepages-1048576kB", "2"),
    ] {
        root.write(&format!("devices/system/node/{path}/nr_hugepages"), pages);
    }
    let pages = |node, size, total| Hugepages { node, size, total };
    let expected = [pages(0, 2048, 64), pages(1, 1_048_576, 2)];
    assert_eq!(root.pci().hugepages(), expected);
}
