//! The crate used alone, as its example does it.

use eniway_ec2::{Ec2 as _, Interfaces};

use crate::world::{GROUP, INSTANCE, SUBNET, Wire, spec};

#[expect(dead_code, reason = "its main is the program's")]
#[path = "../../examples/interface.rs"]
mod interface;

#[tokio::test]
async fn the_example_leaves_nothing_behind() {
    let wire = &Wire::start(spec()).await;
    let eni = interface::live(&wire.ec2, INSTANCE, SUBNET, GROUP)
        .await
        .unwrap();
    assert_eq!(eni.attachment.unwrap().device_index, 1);
    let these = Interfaces::These(vec![eni.id]);
    assert_eq!(wire.ec2.interfaces(&these).await.unwrap(), []);

    // An instance that EC2 does not know: the interface that was made for it is gone as well.
    let lost = interface::live(&wire.ec2, "i-0000dead", SUBNET, GROUP).await;
    assert!(lost.is_err());
    let left = wire
        .server
        .with_world(|world, _| world.interfaces().count());
    assert_eq!(left, 1, "the instance's own");
}
