//! The queue of events, as one controller reaches it: with the weather in between.

use eniway_ec2::queue::{Heard, Message, Queue, QueueError};

use crate::ec2::Seat;

impl Seat {
    async fn hear<T>(&self, attempt: &'static str, answer: Heard<'_, T>) -> Result<T, QueueError> {
        let lost = || QueueError::Unreachable {
            attempt,
            source: "the weather is rough".into(),
        };
        self.weather.decide(answer, lost).await
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
