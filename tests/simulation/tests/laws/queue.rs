//! The queue of events, as one controller reaches it: with the weather in between.

use eniway_ec2::queue::{Heard, Message, Queue, QueueError};

use crate::{ec2::Seat, weather::Fate};

impl Seat {
    async fn hear<T>(&self, attempt: &'static str, answer: Heard<'_, T>) -> Result<T, QueueError> {
        let (fate, delay) = self.weather.fate();
        let lost = || QueueError::Unreachable {
            attempt,
            source: "the weather is rough".into(),
        };
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Refused {
            return Err(lost());
        }
        let answer = answer.await;
        tokio::time::sleep(delay / 2).await;
        if fate == Fate::Lost {
            Err(lost())
        } else {
            answer
        }
    }
}

impl Queue for Seat {
    fn receive(&self) -> Heard<'_, Vec<Message>> {
        Box::pin(async {
            let holder = self.api.store().holder();
            if holder.is_some_and(|holder| holder != self.identity) {
                let crime = "events are received by who does not lead";
                self.crimes.note(crime.to_owned());
            }
            self.hear("ReceiveMessage", self.door.receive()).await
        })
    }

    fn delete<'a>(&'a self, messages: &'a [Message]) -> Heard<'a, ()> {
        Box::pin(self.hear("DeleteMessageBatch", self.door.delete(messages)))
    }
}
