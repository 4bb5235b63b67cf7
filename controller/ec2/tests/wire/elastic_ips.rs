//! Elastic IPs as a client reads, gives and takes them.

use std::collections::BTreeMap;

use ec2_sim::ElasticIpSpec;
use eniway_ec2::{Association, Ec2 as _, ElasticIp, Interfaces, Verdict};

use crate::world::{Wire, new_eni, spec};

#[tokio::test]
async fn an_elastic_ip_is_given_once_and_taken_back() {
    let mut spec = spec();
    spec.elastic_ips = vec![ElasticIpSpec {
        id: Some(ec2_sim::AllocationId::parse("eipalloc-00000001").unwrap()),
        public_ip: "203.0.113.1".parse().unwrap(),
        tags: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
    }];
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec).await;
    let one = ec2.create(&new_eni("uid-1")).await.unwrap().id;
    let other = ec2.create(&new_eni("uid-2")).await.unwrap().id;
    let free = ElasticIp {
        id: "eipalloc-00000001".into(),
        public_ip: "203.0.113.1".parse().unwrap(),
        is_associated: false,
        eni: None,
        tags: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
    };
    assert_eq!(
        ec2.elastic_ips().await.unwrap(),
        std::slice::from_ref(&free)
    );

    let tie = ec2.associate(&free.id, &one).await.unwrap();
    assert_eq!(ec2.associate(&free.id, &one).await.unwrap(), tie);
    let refused = ec2.associate(&free.id, &other).await.unwrap_err();
    assert_eq!(refused.verdict(), Verdict::Replan, "it is not taken away");
    let taken = ElasticIp {
        is_associated: true,
        eni: Some(one.clone()),
        ..free.clone()
    };
    assert_eq!(ec2.elastic_ips().await.unwrap(), [taken]);
    let found = ec2.interfaces(&Interfaces::These(vec![one.clone()])).await;
    let association = Association {
        public_ip: free.public_ip,
        allocation: Some(free.id.clone()),
        id: Some(tie.clone()),
    };
    assert_eq!(found.unwrap()[0].association, Some(association));

    ec2.disassociate(&tie).await.unwrap();
    assert_eq!(ec2.elastic_ips().await.unwrap(), [free]);
    let again = ec2.disassociate(&tie).await.unwrap_err();
    assert_eq!(again.verdict(), Verdict::AlreadyDone);
}
