//! What is asked of a driver, and what may be changed for native XDP, on a kernel's own veth. Needs root.

use std::{collections::BTreeSet, path::Path};

use eniway_agent::{
    apply::{Kernel, Programs},
    bpf::{self, AttachReport, Bpf, IngressMode, Mode, Setting, WantedIngress},
    desired::{self, Desired, Network, Wish},
    netlink::{self, Device, Release, XdpFeatures},
    networkd::Networkd,
    observe::{self, Accept, Interface, Presence},
    pci::Pci,
    plan::{Action, Observed, dpdk, network::Shown, plan, steering::Targets},
    sysctl::Sysctls,
    sysfs::Sysfs,
};
use eniway_api::{ChannelPolicy, EniId, MacAddress, MtuPolicy};

use crate::bpf_world::{ENI, World, guard, in_world, ip};

const MAC: MacAddress = MacAddress([0x02, 0, 0, 0, 0, 0x0a]);

/// A node whose kernel has no XDP programs for packets of several buffers.
struct Old {
    kernel: Kernel,
    netlink: netlink::Netlink,
}

impl Old {
    fn open(world: &World) -> Self {
        let abilities = bpf::Kernel {
            frags: false,
            ..super::today()
        };
        let root = world.bpffs.join("eniway");
        let bpf = Bpf::with_kernel(&root, abilities).unwrap();
        let (netlink, _changes) = netlink::open().unwrap();
        Self {
            kernel: Kernel::new(
                netlink.clone(),
                Sysctls::new("/proc/sys/net"),
                Pci::new("/sys", None::<&str>),
                Networkd::new(Path::new("/nowhere"), Path::new("/nowhere")),
                Programs::opened(root, bpf),
            ),
            netlink,
        }
    }

    async fn interface(&self) -> Interface {
        let links = self.netlink.links().await.unwrap();
        let sysfs = Sysfs::new("/sys");
        let Presence::Present(mut interface) = observe::find(&links, &sysfs, Accept::Virtual, MAC)
        else {
            panic!("the veth is there");
        };
        interface.device = Device {
            kernel: Release(5, 15),
            features: None,
            ..self.kernel.device(&interface).await
        };
        interface
    }

    /// What is to be done now.
    async fn plan(&self, wish: &Wish) -> Vec<Action> {
        let presence = Presence::Present(self.interface().await);
        let attached = self.kernel.attached().await.unwrap();
        let found = self.kernel.found(Setting::Mtu).await.unwrap();
        let targets = Targets::default();
        let links = BTreeSet::new();
        let observed = Observed {
            targets: &targets,
            presence: &presence,
            attached: attached.first(),
            found_mtu: found.get(ENI).copied(),
            found_channels: None,
            in_force: None,
            network: &Shown::default(),
            links: &links,
            device: &dpdk::Shown::default(),
        };
        plan(wish, &observed)
    }

    /// Does it; gives how the guard came to be attached, if it was.
    async fn apply(&self, actions: &[Action]) -> Option<AttachReport> {
        let mut report = None;
        for action in actions {
            report = self.kernel.apply(action).await.unwrap().or(report);
        }
        report
    }
}

fn native(mtu_policy: MtuPolicy) -> Wish {
    Wish::Provide(Desired {
        steering: Vec::new(),
        network: Network::default(),
        device: desired::Device::default(),
        eni: EniId::from(ENI),
        mac: MAC,
        mtu: None,
        mtu_policy,
        channel_policy: ChannelPolicy::Fail,
        ingress: WantedIngress::XdpNative,
        config: guard(WantedIngress::XdpNative, Mode::Enforce).config,
    })
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work);
}

#[test]
fn an_mtu_is_lowered_where_the_policy_allows_it_and_given_back() {
    in_world(9001, |world| {
        block_on(async {
            let old = Old::open(world);
            // Not allowed: the check runs on TC, and the MTU stays.
            let actions = old.plan(&native(MtuPolicy::Fail)).await;
            assert_eq!(old.apply(&actions).await.unwrap().mode, IngressMode::Tc);
            assert_eq!(old.interface().await.mtu, 9001);

            // A veth looks at its peer's MTU, an ENA at its own.
            world.set_host_mtu(3498);
            let actions = old.plan(&native(MtuPolicy::Lower)).await;
            let report = old.apply(&actions).await.unwrap();
            assert_eq!((report.mode, report.frags), (IngressMode::XdpNative, false));
            assert_eq!(report.reason, None);
            assert_eq!(old.interface().await.mtu, 3498);

            let release = Wish::Release {
                eni: Some(EniId::from(ENI)),
                mac: Some(MAC),
                force: false,
                network: Network::default(),
            };
            for _ in 0..2 {
                let actions = old.plan(&release).await;
                old.apply(&actions).await;
            }
            assert_eq!(old.plan(&release).await, []);
            assert_eq!(old.interface().await.mtu, 9001);
            assert!(!ip("-d link show dev eni0").contains("xdp"));
        });
    });
}

#[test]
fn a_driver_tells_its_name_its_abilities_and_its_counters() {
    in_world(9001, |world| {
        block_on(async {
            let device = netlink::device(world.ifindex(), "eni0".to_owned()).await;
            assert_eq!(device.driver.unwrap().name, "veth");
            assert_eq!(device.channels, None, "a veth has no combined channels");
            assert!(device.kernel >= Release(5, 10));
            if device.kernel >= Release(6, 3) {
                let features = device.features.unwrap();
                assert!(features.has(XdpFeatures::BASIC | XdpFeatures::RX_SG));
            }

            let counters = netlink::counters("eni0".to_owned()).await.unwrap();
            let link = ip("-o link show dev eni0");
            let (_, peer) = link.split_once("eni0@if").unwrap();
            let peer = peer.split(':').next().unwrap().parse().unwrap();
            let told = counters.iter().find(|(name, _)| name == "peer_ifindex");
            assert_eq!(told, Some(&("peer_ifindex".to_owned(), peer)));
            assert!(
                counters
                    .iter()
                    .any(|(name, _)| name.starts_with("rx_queue_0_"))
            );

            let refused = netlink::set_channels("eni0".to_owned(), 1).await;
            let refused = refused.unwrap_err().to_string();
            assert_eq!(refused, "set the channels of eni0 to 1");
            let gone = netlink::device(4_000_000, "gone0".to_owned()).await;
            assert_eq!((gone.driver, gone.features), (None, None));
        });
    });
}
