//! SQS: at least once, in its JSON protocol, and what EventBridge puts in.

use std::net::TcpListener;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use ec2_sim::{Options, Server, Settings, Warning, WorldSpec};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bench::{I, spec};
use crate::client::Client;

struct Wire {
    server: Server,
    client: Client,
    url: String,
}

impl Wire {
    async fn start() -> Self {
        let mut spec = WorldSpec {
            settings: Settings::instant(),
            ..spec()
        };
        // One that starts would have its own story told.
        spec.instances.retain(|one| one.state.is_none());
        let mut world = spec.build(Timestamp::now()).unwrap();
        world.add_queue("q");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::start(world, listener, Options::default());
        let server = server.await.unwrap();
        let url = server.with_world(|world, _| world.queue_url(&server.url(), "q"));
        Self {
            server,
            client: Client::new(),
            url,
        }
    }

    async fn post(&self, kind: &str, action: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::post(self.server.url())
            .header("authorization", "AWS4-HMAC-SHA256 x")
            .header("content-type", kind)
            .header("x-amz-target", format!("AmazonSQS.{action}"));
        let (status, text) = self.client.send(request, body.to_owned()).await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn call(&self, action: &str, mut input: Value) -> (StatusCode, Value) {
        if input["QueueUrl"].is_null() {
            input["QueueUrl"] = (*self.url).into();
        }
        let kind = "application/x-amz-json-1.0";
        self.post(kind, action, &input.to_string()).await
    }

    async fn receive(&self, input: Value) -> Vec<(String, String)> {
        let (status, answer) = self.call("ReceiveMessage", input).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let messages = answer["Messages"].as_array().into_iter().flatten();
        messages
            .map(|one| (text(&one["Body"]), text(&one["ReceiptHandle"])))
            .collect()
    }

    async fn delete(&self, receipt: &str) -> Value {
        let entries = json!([{"Id": "0", "ReceiptHandle": receipt}]);
        let (_, answer) = self
            .call("DeleteMessageBatch", json!({"Entries": entries}))
            .await;
        answer
    }
}

#[tokio::test]
async fn a_message_hides_and_comes_again_until_its_newest_receipt_deletes_it() {
    let wire = Wire::start().await;
    wire.server.advance(Duration::ZERO);
    wire.call("SendMessage", json!({"MessageBody": "hello"}))
        .await;
    let first = wire.receive(json!({"VisibilityTimeout": 10})).await;
    assert_eq!(first[0].0, "hello");
    assert!(wire.receive(json!({})).await.is_empty(), "it hides");
    wire.server.advance(Duration::from_secs(10));
    let second = wire.receive(json!({"VisibilityTimeout": 10})).await;
    assert_ne!(first[0].1, second[0].1);
    let old = wire.delete(&first[0].1).await;
    assert_eq!(old["Successful"][0]["Id"], "0", "SQS does not tell");
    wire.server.advance(Duration::from_secs(10));
    let third = wire.receive(json!({})).await;
    wire.delete(&third[0].1).await;
    wire.delete(&third[0].1).await;
    wire.server.advance(Duration::from_secs(60));
    assert!(wire.receive(json!({})).await.is_empty());
    let wrong = wire.delete("nonsense").await;
    assert_eq!(wrong["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
}

#[tokio::test]
async fn what_sqs_refuses_is_refused() {
    let wire = Wire::start().await;
    let entry = |id: &str| json!({"Id": id, "ReceiptHandle": "AQEB-1-1"});
    let many: Vec<_> = (0..11).map(|number| entry(&number.to_string())).collect();
    for (action, input, says) in [
        (
            "ReceiveMessage",
            json!({"MaxNumberOfMessages": 11}),
            "InvalidParameterValue",
        ),
        (
            "ReceiveMessage",
            json!({"MaxNumberOfMessages": 0}),
            "InvalidParameterValue",
        ),
        (
            "ReceiveMessage",
            json!({"WaitTimeSeconds": 21}),
            "InvalidParameterValue",
        ),
        (
            "ReceiveMessage",
            json!({"QueueUrl": "http://x/123456789012/w"}),
            "NonExistentQueue",
        ),
        (
            "ReceiveMessage",
            json!({"QueueUrl": "http://x/1/q"}),
            "NonExistentQueue",
        ),
        (
            "DeleteMessageBatch",
            json!({"Entries": []}),
            "EmptyBatchRequest",
        ),
        (
            "DeleteMessageBatch",
            json!({"Entries": many}),
            "TooManyEntriesInBatchRequest",
        ),
        (
            "DeleteMessageBatch",
            json!({"Entries": [entry("a"), entry("a")]}),
            "BatchEntryIdsNotDistinct",
        ),
        ("PurgeQueue", json!({}), "UnknownOperationException"),
    ] {
        let (status, answer) = wire.call(action, input).await;
        let code = format!("com.amazonaws.sqs#{says}");
        assert_eq!((status.as_u16(), &answer["__type"]), (400, &json!(code)));
    }
    let (status, _) = wire.post("application/json", "ReceiveMessage", "{}").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_life_of_an_instance_is_told_to_the_queue() {
    let wire = Wire::start().await;
    wire.server.with_world(|world, now| {
        let end = ec2_sim::Request::new("TerminateInstances").with("InstanceId.1", I);
        world.call(&end, now).unwrap();
        let id = ec2_sim::InstanceId::parse(I).unwrap();
        world.warn(&id, Warning::SpotInterruption, now);
    });
    let messages = wire.receive(json!({"MaxNumberOfMessages": 10})).await;
    let said: Vec<_> = messages
        .iter()
        .map(|(body, _)| {
            let event: Value = serde_json::from_str(body).unwrap();
            assert_eq!(event["detail"]["instance-id"], I);
            let arn = event["resources"][0].as_str().unwrap().to_owned();
            assert!(arn.ends_with(&format!(":instance/{I}")), "{arn}");
            let kind = event["detail-type"].as_str().unwrap().to_owned();
            (kind, event["detail"]["state"].clone())
        })
        .collect();
    let state = |state: &str| {
        let kind = "EC2 Instance State-change Notification";
        (kind.to_owned(), json!(state))
    };
    assert_eq!(
        said,
        [
            state("shutting-down"),
            state("terminated"),
            (
                "EC2 Spot Instance Interruption Warning".to_owned(),
                Value::Null
            ),
        ]
    );
}

#[tokio::test]
async fn a_long_poll_ends_when_something_comes() {
    let wire = Wire::start().await;
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.call("SendMessage", json!({"MessageBody": "late"}))
            .await;
    };
    let (messages, ()) = tokio::join!(wire.receive(json!({"WaitTimeSeconds": 20})), later);
    assert_eq!(messages[0].0, "late");
}
