//! What is no answer of EC2's: a page for people, a lost connection, silence.

use std::time::Duration;

use ec2_sim::Effect;
use eniway_ec2::{Call, Ec2 as _, Error, Paced, Subnets, Throttle, Verdict};

use crate::world::{Wire, new_eni, spec, vpc};

#[tokio::test]
async fn a_page_for_people_is_garbled_and_worth_another_try() {
    let wire = Wire::start(spec()).await;
    wire.spoil(Call::DescribeSubnets, Effect::Html { status: 502 });
    let error = wire.ec2.subnets(&Subnets::Of(vpc())).await.unwrap_err();
    assert!(
        matches!(error, Error::Garbled { status: 502, .. }),
        "{error:?}"
    );
    assert_eq!(error.verdict(), Verdict::Transient);
}

#[tokio::test]
async fn a_connection_that_ends_leaves_open_whether_the_call_happened() {
    let wire = Wire::start(spec()).await;
    for effect in [Effect::ConnectionResetBefore, Effect::ConnectionLostAfter] {
        wire.spoil(Call::CreateNetworkInterface, effect);
        let error = wire.ec2.create(&new_eni("uid-1")).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert_eq!(error.verdict(), Verdict::Transient);
    }
    // Nobody repeated a call that changes something.
    assert_eq!(wire.calls(Call::CreateNetworkInterface), 2);
}

#[tokio::test]
async fn silence_ends_with_the_deadline() {
    let wire = Wire::start(spec()).await;
    let ms = Duration::from_secs(3600);
    wire.spoil(Call::CreateNetworkInterface, Effect::Delay { ms });
    let paced = Paced::new(
        wire.ec2.clone(),
        Throttle::none(),
        Box::new(|| true),
        Box::new(|_, _, _, _| ()),
    );
    let error = paced.create(&new_eni("uid-1")).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.verdict(), Verdict::Transient);
    assert_eq!(wire.calls(Call::CreateNetworkInterface), 1);
}
