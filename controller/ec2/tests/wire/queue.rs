//! The client of the queue against the simulated SQS.

use std::time::Duration;

use ec2_sim::{Effect, Fault, Options, Server, WorldSpec};
use eniway_ec2::{
    aws::Sqs,
    queue::{Message, Queue as _},
};
use jiff::Timestamp;

use super::world::{shared, spec};

const NAME: &str = "instances";

async fn start() -> (Server, Sqs) {
    let spec = WorldSpec {
        queues: vec![NAME.to_owned()],
        ..spec()
    };
    let world = spec.build(Timestamp::now()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(world, listener, Options::default());
    let server = server.await.unwrap();
    let url = server.with_world(|world, _| {
        while let [message] = &receive(world, Timestamp::now())[..] {
            world.queue(NAME).unwrap().delete(message);
        }
        world.queue_url(&server.url(), NAME)
    });
    (server, Sqs::configured(&shared(), url))
}

/// One receipt by hand.
fn receive(world: &mut ec2_sim::World, now: Timestamp) -> Vec<String> {
    let queue = world.queue(NAME).unwrap();
    let received = queue.receive(1, Duration::from_secs(30), now).into_iter();
    received.map(|message| message.receipt).collect()
}

fn send(server: &Server, bodies: &[&str]) {
    server.with_world(|world, now| {
        let queue = world.queue(NAME).unwrap();
        for body in bodies {
            queue.send("id", body, now);
        }
    });
}

fn left(server: &Server) -> usize {
    server.with_world(|world, _| world.queue(NAME).unwrap().len())
}

#[tokio::test]
async fn messages_are_received_and_deleted_together() {
    let (server, queue) = start().await;
    send(&server, &["one", "two"]);
    let messages = queue.receive().await.unwrap();
    let bodies: Vec<_> = messages.iter().map(|message| &*message.body).collect();
    assert_eq!(bodies, ["one", "two"]);
    queue.delete(&messages).await.unwrap();
    assert_eq!(left(&server), 0);
}

#[tokio::test]
async fn a_poll_waits_for_what_comes_later() {
    let (server, queue) = start().await;
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        send(&server, &["late"]);
    };
    let (messages, ()) = tokio::join!(queue.receive(), later);
    assert_eq!(messages.unwrap()[0].body, "late");
}

#[tokio::test]
async fn refusals_keep_their_codes_and_say_who_must_act() {
    let (server, queue) = start().await;
    let refuse = |code: &str| Effect::Error {
        code: code.to_owned(),
        message: "no".to_owned(),
        status: None,
    };
    for (effect, says, person) in [
        (
            refuse("AccessDenied"),
            "receive messages: AccessDenied: no",
            true,
        ),
        (
            refuse("RequestThrottled"),
            "receive messages: RequestThrottled: no",
            false,
        ),
        (
            Effect::Html { status: 502 },
            "receive messages: no answer",
            false,
        ),
        (
            Effect::ConnectionResetBefore,
            "receive messages: no answer",
            false,
        ),
    ] {
        server.with_world(|world, _| world.add_fault(Fault::next("ReceiveMessage", 1, effect)));
        let error = queue.receive().await.unwrap_err();
        assert_eq!(
            (&*error.to_string(), error.needs_a_person()),
            (says, person)
        );
    }
    let url = server.with_world(|world, _| world.queue_url(&server.url(), "another"));
    let error = Sqs::configured(&shared(), url).receive().await.unwrap_err();
    assert!(error.needs_a_person());
    assert_eq!(
        error.to_string(),
        "receive messages: AWS.SimpleQueueService.NonExistentQueue: The specified queue does not \
         exist."
    );
}

#[tokio::test]
async fn what_was_not_deleted_is_told() {
    let (server, queue) = start().await;
    send(&server, &["one"]);
    let mut messages = queue.receive().await.unwrap();
    messages.push(Message {
        receipt: "nobody's".to_owned(),
        body: String::new(),
    });
    let error = queue.delete(&messages).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "delete messages: 1 messages were not deleted: ReceiptHandleIsInvalid"
    );
    assert_eq!(left(&server), 0);
}
