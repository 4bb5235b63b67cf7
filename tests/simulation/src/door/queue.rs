//! The simulator's queue behind the controller's door to events, without HTTP and without the AWS client.

use std::time::Duration;

use ec2_sim::Error;
use eniway_ec2::queue::{Heard, LONG_POLL_SECONDS, MOST_MESSAGES, Message, Queue, QueueError};
use serde_json::{Map, Value, json};

use super::{Door, Place};

/// The queue that a world has, if it has one.
pub const QUEUE: &str = "events";
/// How often a long poll looks whether something came.
const LOOK: Duration = Duration::from_millis(200);

impl<P: Place> Door<P> {
    async fn ask_queue(&self, action: &'static str, input: &Value) -> Result<Value, QueueError> {
        let (delay, answer) = self.place.visit(|world, now| {
            let mut input: Map<_, _> = input.as_object().cloned().unwrap_or_default();
            let url = world.queue_url("http://here", QUEUE);
            input.insert("QueueUrl".to_owned(), url.into());
            world.queue_call(action, &input, now)
        });
        tokio::time::sleep(delay).await;
        answer.map_err(|error| match error {
            Error::Api(error) => QueueError::Refused {
                attempt: action,
                code: error.code,
                message: error.message,
            },
            Error::Html { .. } | Error::ConnectionLost => QueueError::Unreachable {
                attempt: action,
                source: error.into(),
            },
        })
    }
}

impl<P: Place> Queue for Door<P> {
    fn receive(&self) -> Heard<'_, Vec<Message>> {
        Box::pin(async {
            let end = tokio::time::Instant::now() + Duration::from_secs(LONG_POLL_SECONDS.into());
            loop {
                let input = json!({"MaxNumberOfMessages": MOST_MESSAGES});
                let answer = self.ask_queue("ReceiveMessage", &input).await?;
                let messages = answer["Messages"].as_array().into_iter().flatten();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let messages: Vec<_> = messages
                    .map(|message| Message {
                        receipt: text(&message["ReceiptHandle"]),
                        body: text(&message["Body"]),
                    })
                    .collect();
                if !messages.is_empty() || tokio::time::Instant::now() >= end {
                    return Ok(messages);
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    fn delete<'a>(&'a self, messages: &'a [Message]) -> Heard<'a, ()> {
        Box::pin(async {
            let entry = |(number, message): (usize, &Message)| json!({"Id": number.to_string(), "ReceiptHandle": message.receipt});
            let entries: Vec<_> = messages.iter().enumerate().map(entry).collect();
            let input = json!({"Entries": entries});
            self.ask_queue("DeleteMessageBatch", &input).await?;
            Ok(())
        })
    }
}
