//! The door to a real queue: the only place that speaks through `aws-sdk-sqs`.

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::DeleteMessageBatchRequestEntry,
};

use super::Place;
use crate::queue::{Heard, LONG_POLL_SECONDS, MOST_MESSAGES, Message, Queue, QueueError};

/// A long poll and the way to Amazon and back.
const DEADLINE: Duration = Duration::from_secs(30);

/// A queue of SQS.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    url: String,
}

impl Sqs {
    /// Finds credentials as [`super::Aws::connect`] does. The queue's URL says where SQS is.
    pub async fn connect(region: Option<String>, url: String) -> Self {
        let place = Place {
            region,
            endpoint: None,
        };
        Self::configured(&place.load().await, url)
    }

    /// Uses the credentials, the region and the HTTP client of `shared`.
    #[must_use]
    pub fn configured(shared: &aws_config::SdkConfig, url: String) -> Self {
        // The one who listens repeats, and slower each time.
        let timeouts = TimeoutConfig::builder().operation_timeout(DEADLINE);
        let mut config = aws_sdk_sqs::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build());
        if let Some(endpoint) = origin(&url) {
            config = config.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(config.build()),
            url,
        }
    }

    async fn receive(&self) -> Result<Vec<Message>, QueueError> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MOST_MESSAGES.into())
            .wait_time_seconds(LONG_POLL_SECONDS.into())
            .send()
            .await
            .map_err(|error| failed("receive messages", error))?;
        let messages = received.messages.unwrap_or_default().into_iter();
        let messages = messages.filter_map(|message| {
            Some(Message {
                receipt: message.receipt_handle?,
                body: message.body.unwrap_or_default(),
            })
        });
        Ok(messages.collect())
    }

    async fn delete(&self, messages: &[Message]) -> Result<(), QueueError> {
        const ATTEMPT: &str = "delete messages";
        let mut batch = self.client.delete_message_batch().queue_url(&self.url);
        for (number, message) in messages.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(&message.receipt)
                .build();
            batch = batch.entries(entry.map_err(|error| QueueError::Unreachable {
                attempt: ATTEMPT,
                source: error.into(),
            })?);
        }
        let answer = batch.send().await.map_err(|error| failed(ATTEMPT, error))?;
        match answer.failed.first() {
            None => Ok(()),
            Some(first) => Err(QueueError::Left {
                attempt: ATTEMPT,
                left: answer.failed.len(),
                code: first.code.clone(),
            }),
        }
    }
}

impl Queue for Sqs {
    fn receive(&self) -> Heard<'_, Vec<Message>> {
        Box::pin(Self::receive(self))
    }

    fn delete<'a>(&'a self, messages: &'a [Message]) -> Heard<'a, ()> {
        Box::pin(Self::delete(self, messages))
    }
}

/// Where the service of a URL is: `https://sqs.us-east-1.amazonaws.com`, or a VPC endpoint of it.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find('/').map_or(url.len(), |path| host + path);
    Some(&url[..end])
}

fn failed<E>(attempt: &'static str, error: SdkError<E>) -> QueueError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error.code() {
        Some(code) => QueueError::Refused {
            attempt,
            code: code.to_owned(),
            message: error.message().unwrap_or_default().to_owned(),
        },
        None => QueueError::Unreachable {
            attempt,
            source: Box::new(error),
        },
    }
}
