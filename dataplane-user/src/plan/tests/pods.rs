//! Pods that share an ENI: forgotten when their veths are gone, and waited for when the ENI is to go.

use super::*;
use crate::bpf::PodInterface;

fn shared() -> Kernel {
    let mut kernel = Kernel::plugged(3, true).guarded(3);
    let attached = kernel.attached.as_mut().unwrap();
    attached.pods = [7, 8]
        .map(|interface| PodInterface {
            interface,
            mac: [0; 6],
            node_mac: [0; 6],
            addresses: Vec::new(),
        })
        .into();
    kernel.links = BTreeSet::from([3, 7, 8]);
    kernel
}

#[test]
fn a_pod_whose_veth_is_gone_is_forgotten() {
    let mut kernel = shared();
    kernel.links.remove(&7);
    let wish = Wish::Provide(desired(WantedIngress::Tc, Mode::Enforce));
    let expected = expect![[r#"
        forget the pod behind interface 7 on eni-1; guard ens6 for eni-1 (Tc, Enforce)
    "#]];
    check(kernel, &wish, &expected);
}

#[test]
fn the_interface_is_released_when_its_pods_have_ended() {
    check(shared(), &release(false), &expect![""]);
    let mut ended = shared();
    ended.links = BTreeSet::from([3]);
    let expected = expect![[r#"
        forget the pod behind interface 7 on eni-1; forget the pod behind interface 8 on eni-1
        remove the guard of eni-1
    "#]];
    check(ended, &release(false), &expected);
    let expected = expect![[r#"
        remove the guard of eni-1
    "#]];
    check(shared(), &release(true), &expected);
}
