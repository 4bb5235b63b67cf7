//! Decides who may configure an interface besides the agent: systemd-networkd, unless the agent addresses it or hands it
//! to DPDK. networkd's own sockets at its addresses would keep it with the kernel.

use super::{Action, Observed, is_in_use, network::Change};
use crate::desired::Wish;

/// What else is to be done, with that around it: an interface is taken out of networkd's hands before anything is done to
/// it, and given back after all is taken away.
#[must_use]
pub fn around(wish: &Wish, observed: &Observed<'_>, mut rest: Vec<Action>) -> Vec<Action> {
    let (Some(eni), Some(is_unmanaged)) = (wish.eni(), observed.network.is_unmanaged) else {
        return rest;
    };
    let manage = || Action::Network(Change::Manage { eni: eni.clone() });
    match wish {
        Wish::Wait => {}
        Wish::Provide(desired) => {
            let is_ours = desired.network.is_ours || desired.device.binding.is_some();
            match (is_ours, is_unmanaged) {
                (true, false) => {
                    let (eni, mac) = (eni.clone(), desired.mac);
                    rest.insert(0, Action::Network(Change::Unmanage { eni, mac }));
                }
                (false, true) => rest.push(manage()),
                (true, true) | (false, false) => {}
            }
        }
        Wish::Release { force, .. } => {
            let is_over = rest.is_empty() && (*force || !is_in_use(observed));
            if is_over && is_unmanaged {
                rest.push(manage());
            }
        }
    }
    rest
}
