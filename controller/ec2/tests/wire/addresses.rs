//! Addresses and prefixes: at creation, given later, and taken off again.

use std::collections::BTreeSet;

use eniway_api::{AddressKind, Asked};
use eniway_ec2::{Ec2 as _, Eni, Interfaces};

use crate::world::{Wire, new_eni, spec};

/// How many of each kind an interface has beside its primary address.
fn kinds(eni: &Eni) -> [usize; 4] {
    let count = |kind| {
        eni.secondary()
            .filter(|one| AddressKind::of(one) == kind)
            .count()
    };
    [
        AddressKind::Ipv4,
        AddressKind::Ipv4Prefix,
        AddressKind::Ipv6,
        AddressKind::Ipv6Prefix,
    ]
    .map(count)
}

#[tokio::test]
async fn an_interface_gets_what_is_asked_for_and_loses_what_is_named() {
    let mut spec = spec();
    spec.vpcs[0].ipv6_cidr = Some("2600:1f18:0:100::/56".parse().unwrap());
    spec.subnets[0].ipv6_cidr = Some("2600:1f18:0:100::/64".parse().unwrap());
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec).await;
    let none = Asked::default();
    let mut new = new_eni("uid-1");
    new.asked = Asked {
        addresses: vec!["10.0.0.99".parse().unwrap()],
        ipv6: 1,
        ..none.clone()
    };
    let created = ec2.create(&new).await.unwrap();
    assert_eq!(kinds(&created), [1, 0, 1, 0]);
    let named = "10.0.0.99/32".parse().unwrap();
    assert_eq!(created.addresses[1], named);
    assert_ne!(
        created.addresses[0], named,
        "EC2 chose another primary address"
    );

    let mut given = Vec::new();
    for asked in [
        Asked {
            addresses: vec!["10.0.0.98".parse().unwrap()],
            ..none.clone()
        },
        Asked {
            secondary: 2,
            ..none.clone()
        },
        Asked {
            prefixes: 1,
            ..none.clone()
        },
        Asked {
            ipv6: 1,
            ipv6_prefixes: 2,
            ..none.clone()
        },
    ] {
        let answer = ec2.assign(&created.id, &asked).await.unwrap();
        let places = asked.ipv4_places() + asked.ipv6_places();
        assert_eq!(answer.len(), usize::try_from(places).unwrap());
        given.extend(answer);
    }
    let this = Interfaces::These(vec![created.id.clone()]);
    let found = ec2.interfaces(&this).await.unwrap().remove(0);
    assert_eq!(kinds(&found), [4, 1, 2, 2]);
    assert!(
        given
            .iter()
            .all(|entry| found.secondary().any(|one| one == entry))
    );

    let (ipv4, ipv6): (BTreeSet<_>, BTreeSet<_>) =
        given.into_iter().partition(|one| one.addr().is_ipv4());
    for entries in [ipv4, ipv6] {
        ec2.unassign(&created.id, &entries).await.unwrap();
    }
    let found = ec2.interfaces(&this).await.unwrap().remove(0);
    assert_eq!(
        (found.addresses, found.prefixes),
        (created.addresses, created.prefixes)
    );
}

#[tokio::test]
async fn the_limits_of_a_type_are_told() {
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec()).await;
    let types = ec2.instance_types(&["m5.large".to_owned()]).await.unwrap();
    assert_eq!((types[0].ipv4_addresses, types[0].ipv6_addresses), (10, 10));
}
