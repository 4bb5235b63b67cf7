//! Chooses the addresses of a pod among those that an ENI has for pods.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// How many addresses of a prefix are tried: more than there are in a /28, and than there can be pods.
const TRIES: u128 = 8192;

/// Why a pod gets no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ENI has none for pods.
    Nothing,
    /// All are taken.
    Full,
    /// It wants one that is not the ENI's, or not for pods.
    Foreign(IpAddr),
    /// It wants one that another has.
    Taken(IpAddr),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str(
                "it has no addresses for pods: give its NodeENI ipv4.prefixCount, or ipv4.secondaryCount and \
                 interface.addressing Pods",
            ),
            Self::Full => f.write_str(
                "all its addresses for pods are taken: raise ipv4.prefixCount or ipv4.secondaryCount of its NodeENI",
            ),
            Self::Foreign(address) => write!(f, "{address} is none of its addresses for pods"),
            Self::Taken(address) => write!(f, "{address} is another pod's"),
        }
    }
}

/// One address of each family that the ENI has for pods: the one that is `wanted`, or a free one. Where the search
/// begins is told by `key`, so that an address is not given to the next pod at once.
pub fn choose(
    offered: &[IpNet],
    taken: &[IpAddr],
    wanted: &[IpAddr],
    key: &str,
) -> Result<Vec<IpAddr>, Refusal> {
    for address in wanted {
        if !offered.iter().any(|net| net.contains(address)) {
            return Err(Refusal::Foreign(*address));
        }
        if taken.contains(address) {
            return Err(Refusal::Taken(*address));
        }
    }
    let mut chosen = Vec::new();
    for v4 in [true, false] {
        let of_family = |address: &IpAddr| address.is_ipv4() == v4;
        let nets = offered.iter().filter(|net| of_family(&net.addr()));
        let nets: Vec<&IpNet> = nets.collect();
        if nets.is_empty() {
            continue;
        }
        let before = chosen.len();
        chosen.extend(wanted.iter().copied().filter(of_family));
        if chosen.len() == before {
            chosen.push(free(&nets, taken, key).ok_or(Refusal::Full)?);
        }
    }
    if chosen.is_empty() {
        return Err(Refusal::Nothing);
    }
    Ok(chosen)
}

fn free(nets: &[&IpNet], taken: &[IpAddr], key: &str) -> Option<IpAddr> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let start = hasher.finish();
    let first = usize::try_from(start % nets.len() as u64).unwrap_or(0);
    let nets = nets.iter().cycle().skip(first).take(nets.len());
    nets.flat_map(|net| {
        let size = size(net);
        (0..size.min(TRIES)).map(move |at| nth(net, (u128::from(start) + at) % size))
    })
    .find(|address| !taken.contains(address))
}

/// Addresses in a network.
fn size(net: &IpNet) -> u128 {
    let bits = net.max_prefix_len() - net.prefix_len();
    1_u128.checked_shl(bits.into()).unwrap_or(u128::MAX)
}

fn nth(net: &IpNet, at: u128) -> IpAddr {
    match net.network() {
        IpAddr::V4(first) => {
            let at = u32::try_from(at).unwrap_or(0);
            Ipv4Addr::from_bits(first.to_bits().saturating_add(at)).into()
        }
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits().saturating_add(at)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn every_address_is_given_once_and_then_none() {
        let offered = nets(&["10.0.1.16/28", "10.0.1.9/32"]);
        let mut taken = Vec::new();
        for number in 0..17 {
            let key = format!("pod {number}");
            let chosen = choose(&offered, &taken, &[], &key).unwrap();
            assert!(chosen.len() == 1 && !taken.contains(&chosen[0]));
            assert!(offered.iter().any(|net| net.contains(&chosen[0])));
            taken.extend(chosen);
        }
        assert_eq!(
            choose(&offered, &taken, &[], "one more"),
            Err(Refusal::Full)
        );
    }

    #[test]
    fn a_pod_has_one_of_each_family() {
        let offered = nets(&["10.0.1.16/28", "2600:1f13::/80"]);
        let chosen = choose(&offered, &[], &[], "pod").unwrap();
        let families: Vec<_> = chosen.iter().map(IpAddr::is_ipv4).collect();
        assert_eq!(families, [true, false]);
        let wanted = ["2600:1f13::7".parse().unwrap()];
        let chosen = choose(&offered, &[], &wanted, "pod").unwrap();
        assert_eq!(chosen[1], wanted[0]);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        let offered = nets(&["10.0.1.16/28"]);
        let (ours, other) = ("10.0.1.17".parse().unwrap(), "10.0.1.1".parse().unwrap());
        let refused = choose(&offered, &[], &[other], "pod");
        assert_eq!(refused, Err(Refusal::Foreign(other)));
        let refused = choose(&offered, &[ours], &[ours], "pod");
        assert_eq!(refused, Err(Refusal::Taken(ours)));
        assert_eq!(choose(&[], &[], &[], "pod"), Err(Refusal::Nothing));
    }
}
