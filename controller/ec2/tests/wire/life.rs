//! Every question that eniway asks of EC2, and its answer in eniway's words.

use std::collections::BTreeMap;

use eniway_api::{EniId, mark};
use eniway_ec2::{
    AttachmentState, Change, Ec2 as _, InstanceState, Instances, Interfaces, NewAttachment, Subnets,
};

use crate::world::{CLUSTER, GROUP, INSTANCE, SUBNET, VPC, Wire, new_eni, spec, vpc};

#[tokio::test]
async fn the_cluster_is_described() {
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec()).await;
    let all = ec2.instances(&Instances::Of(vpc())).await.unwrap();
    let asked = Instances::These(vec![INSTANCE.into(), "i-0000dead".into()]);
    let these = ec2.instances(&asked).await.unwrap();
    assert_eq!(all, these, "one that EC2 does not know is absent, no error");
    let [instance] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(instance.vpc, Some(VPC.into()));
    assert_eq!(instance.zone, "a");
    assert_eq!(instance.state, InstanceState::Running);
    assert_eq!(instance.instance_type, "m5.large");
    assert_eq!(instance.interfaces.len(), 1, "its primary interface");

    let subnets = ec2.subnets(&Subnets::Of(vpc())).await.unwrap();
    assert_eq!(subnets.len(), 1);
    assert_eq!(subnets[0].id, SUBNET.into());
    assert_eq!(subnets[0].cidrs, ["10.0.0.0/20".parse().unwrap()]);
    // EC2 keeps five, and the instance has one.
    assert_eq!(subnets[0].free_addresses, 4096 - 6);
    assert_eq!(
        subnets[0].tags.get("Name").map(String::as_str),
        Some("first")
    );

    let groups = ec2.groups(&vpc()).await.unwrap();
    let named = groups.iter().find(|group| group.id == GROUP.into());
    assert_eq!(named.unwrap().name, "multus");

    let types = [String::from("m5.large")];
    let types = ec2.instance_types(&types).await.unwrap();
    assert_eq!((types[0].interfaces, &types[0].cards), (3, &vec![3]));
}

#[tokio::test]
async fn an_interface_gets_the_address_asked_for_and_is_found_by_its_tags() {
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec()).await;
    let mut new = new_eni("uid-1");
    new.primary = Some([10, 0, 3, 7].into());
    let pool = |value: &str| BTreeMap::from([("pool".to_owned(), value.to_owned())]);
    new.tags.extend(pool("web*"));
    let created = ec2.create(&new).await.unwrap();
    assert_eq!(created.addresses, ["10.0.3.7/32".parse().unwrap()]);
    new.client_token = "another".to_owned();
    let again = ec2.create(&new).await.unwrap_err();
    assert_eq!(again.code(), Some("InvalidIPAddress.InUse"));

    new.primary = None;
    new.tags.extend(pool("web-1"));
    new.client_token = "a third".to_owned();
    ec2.create(&new).await.unwrap();
    let question = Interfaces::WithTags(pool("web*"));
    let found = ec2.interfaces(&question).await.unwrap();
    assert_eq!(found, [created], "a star is a star");
}

#[tokio::test]
async fn an_interface_lives_and_dies() {
    let Wire {
        ec2,
        server: _server,
    } = &Wire::start(spec()).await;
    let created = ec2.create(&new_eni("uid-1")).await.unwrap();
    assert_eq!(created.subnet, SUBNET.into());
    assert_eq!(created.groups, [GROUP.into()]);
    assert_eq!(created.description, "made by a test");
    assert_eq!(&created.tags[mark::TAG_ATTACHMENT], "uid-1");
    assert!(created.source_dest_check);
    assert_eq!(created.attachment, None);
    let again = ec2.create(&new_eni("uid-1")).await.unwrap();
    assert_eq!(again.id, created.id, "the same token, the same interface");

    let unknown = EniId::from("eni-0000dead");
    for question in [
        Interfaces::OfCluster(CLUSTER.to_owned()),
        Interfaces::OfRecords(vec!["uid-1".to_owned(), "uid-2".to_owned()]),
        Interfaces::These(vec![created.id.clone(), unknown]),
        Interfaces::WithTags(new_eni("uid-1").tags),
    ] {
        let found = ec2.interfaces(&question).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&created), "{question:?}");
    }

    let attachment = NewAttachment {
        eni: created.id.clone(),
        instance: INSTANCE.into(),
        device_index: 2,
        network_card_index: 0,
        ena_queue_count: None,
    };
    let attachment = ec2.attach(&attachment).await.unwrap();
    for change in [
        Change::DeleteOnTermination(attachment.clone(), true),
        Change::SourceDestCheck(false),
        Change::Description("changed".to_owned()),
        Change::Groups(vec![GROUP.into()]),
    ] {
        ec2.modify(&created.id, &change).await.unwrap();
    }
    let these = Interfaces::These(vec![created.id.clone()]);
    let found = ec2.interfaces(&these).await.unwrap();
    assert!(!found[0].source_dest_check);
    assert_eq!(found[0].description, "changed");
    let place = found[0].attachment.as_ref().unwrap();
    assert_eq!((&place.id, place.device_index), (&attachment, 2));
    assert_eq!(place.instance, INSTANCE.into());
    assert_eq!(place.state, AttachmentState::Attached);
    assert!(place.delete_on_termination);

    ec2.detach(&attachment, false).await.unwrap();
    assert_eq!(ec2.interfaces(&these).await.unwrap()[0].attachment, None);
    ec2.delete(&created.id).await.unwrap();
    assert_eq!(ec2.interfaces(&these).await.unwrap(), []);
}
