//! The door to a queue: what EventBridge tells of instances, as SQS keeps it for us.

use futures::future::BoxFuture;

/// A queue whose messages come at least once, late, and in any order.
pub trait Queue: Send + Sync + 'static {
    /// Waits for messages, [`LONG_POLL_SECONDS`] at most. What is not deleted comes again.
    fn receive(&self) -> Heard<'_, Vec<Message>>;
    /// Deletes messages that were received together.
    fn delete<'a>(&'a self, messages: &'a [Message]) -> Heard<'a, ()>;
}

/// The future of an answer.
pub type Heard<'a, T> = BoxFuture<'a, Result<T, QueueError>>;

/// The longest that SQS waits for a message (API reference, `WaitTimeSeconds`).
pub const LONG_POLL_SECONDS: u8 = 20;
/// The most messages of one answer, and of one batch (API reference, `MaxNumberOfMessages`).
pub const MOST_MESSAGES: u8 = 10;

/// A message, and what deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub receipt: String,
    pub body: String,
}

/// A call of the queue that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// SQS said no.
    #[error("{attempt}: {code}: {message}")]
    Refused {
        attempt: &'static str,
        code: String,
        message: String,
    },
    /// Nothing answered that speaks SQS's protocol.
    #[error("{attempt}: no answer")]
    Unreachable {
        attempt: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Some of a batch were not deleted: they come again.
    #[error("{attempt}: {left} messages were not deleted: {code}")]
    Left {
        attempt: &'static str,
        left: usize,
        code: String,
    },
}

impl QueueError {
    /// Whether it stays so until a person changes the queue or the rights.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused { code, .. } => !matches!(
                code.as_str(),
                "RequestThrottled"
                    | "ThrottlingException"
                    | "InternalError"
                    | "InternalFailure"
                    | "ServiceUnavailable"
                    | "RequestExpired"
            ),
            Self::Unreachable { .. } | Self::Left { .. } => false,
        }
    }
}
