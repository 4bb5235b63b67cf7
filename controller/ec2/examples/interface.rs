//! The life of one interface: created, attached, detached, deleted.
//!
//! ```text
//! cargo run --package eniway-ec2 --example interface -- i-0123… subnet-0123… sg-0123…
//! ```
//!
//! Credentials, region and `AWS_ENDPOINT_URL` are found as every tool for AWS finds them. The subnet must
//! be in the instance's zone. Whatever goes wrong on the way, the interface is taken away again.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, Write as _},
    time::Duration,
};

use eniway_ec2::{
    AttachmentState, Ec2, Eni, Instances, Interfaces, NewAttachment, NewEni, Paced, Throttle,
    aws::{Aws, Place},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [instance, subnet, group] = arguments.as_slice() else {
        return Err("name an instance, a subnet and a security group".into());
    };
    let aws = Aws::connect(Place::default()).await;
    // A fifth of what EC2 allows, and a word about each call.
    let told = Box::new(|call, refused, took, _| {
        // Nobody reads it: no reason to stop.
        let _ = writeln!(io::stderr(), "{call}: {refused:?} after {took:?}");
    });
    let ec2 = Paced::new(aws, Throttle::share(0.2), Box::new(|| true), told);
    let eni = live(&ec2, instance, subnet, group).await?;
    writeln!(
        io::stdout(),
        "{} was {} at {:?}",
        eni.id,
        eni.mac,
        eni.addresses
    )?;
    Ok(())
}

/// Shows the interface as it was while it was attached.
pub(crate) async fn live(
    ec2: &impl Ec2,
    instance: &str,
    subnet: &str,
    group: &str,
) -> Result<Eni, Box<dyn Error>> {
    let wish = NewEni {
        subnet: subnet.into(),
        primary: None,
        groups: vec![group.into()],
        description: "an example".to_owned(),
        tags: BTreeMap::from([("Name".to_owned(), "example".to_owned())]),
        // Its primary address, and no other.
        asked: eniway_api::Asked::default(),
        // The same token gives the same interface: a lost answer costs nothing.
        client_token: format!("example-{instance}-{subnet}-{group}"),
    };
    let eni = ec2.create(&wish).await?;
    let attached = attach(ec2, &eni, instance).await;
    // Whatever became of that, nothing stays.
    let now = until(ec2, &eni, |_| true).await?;
    if let Some(attachment) = &now.attachment {
        ec2.detach(&attachment.id, false).await?;
        until(ec2, &eni, |eni| eni.attachment.is_none()).await?;
    }
    ec2.delete(&eni.id).await?;
    attached
}

/// At the first index that is free.
async fn attach(ec2: &impl Ec2, eni: &Eni, instance: &str) -> Result<Eni, Box<dyn Error>> {
    let these = Instances::These(vec![instance.into()]);
    let found = ec2.instances(&these).await?;
    let found = found.first().ok_or("EC2 knows no such instance")?;
    let taken = |index| {
        let mut places = found.interfaces.iter();
        places.any(|place| place.network_card_index == 0 && place.device_index == index)
    };
    let new = NewAttachment {
        eni: eni.id.clone(),
        instance: found.id.clone(),
        device_index: (1..32)
            .find(|index| !taken(*index))
            .ok_or("no index is free")?,
        network_card_index: 0,
        ena_queue_count: None,
    };
    ec2.attach(&new).await?;
    until(ec2, eni, |eni| {
        let attachment = eni.attachment.as_ref();
        attachment.is_some_and(|it| it.state == AttachmentState::Attached)
    })
    .await
}

async fn until(
    ec2: &impl Ec2,
    eni: &Eni,
    holds: impl Fn(&Eni) -> bool,
) -> Result<Eni, Box<dyn Error>> {
    let these = Interfaces::These(vec![eni.id.clone()]);
    for _ in 0..60 {
        let mut found = ec2.interfaces(&these).await?;
        found.retain(&holds);
        if let Some(eni) = found.pop() {
            return Ok(eni);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(format!("{} was not ready within a minute", eni.id).into())
}
