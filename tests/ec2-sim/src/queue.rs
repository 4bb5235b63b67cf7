//! A standard queue of SQS: what is received hides for a while, and comes again unless it is deleted.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

/// How long SQS keeps a message, by default.
const RETENTION: Duration = Duration::from_secs(4 * 24 * 3600);

#[derive(Clone, Debug, Default)]
pub struct Queue {
    messages: VecDeque<Message>,
    sent: u64,
    /// At least once means: every message comes twice.
    pub twice: bool,
}

#[derive(Clone, Debug)]
struct Message {
    number: u64,
    id: String,
    body: String,
    sent: Timestamp,
    visible_from: Timestamp,
    receives: u64,
}

/// What a receiver gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub id: String,
    pub receipt: String,
    pub body: String,
}

impl Queue {
    /// Puts a message in.
    pub fn send(&mut self, id: &str, body: &str, now: Timestamp) {
        for _ in 0..if self.twice { 2 } else { 1 } {
            self.sent += 1;
            self.messages.push_back(Message {
                number: self.sent,
                id: id.to_owned(),
                body: body.to_owned(),
                sent: now,
                visible_from: now,
                receives: 0,
            });
        }
    }

    /// Up to `most` messages that nobody holds; they hide until `hidden` has passed.
    pub fn receive(&mut self, most: usize, hidden: Duration, now: Timestamp) -> Vec<Received> {
        self.messages
            .retain(|message| now < message.sent + RETENTION);
        let visible = self.messages.iter_mut();
        let visible = visible.filter(|message| message.visible_from <= now);
        visible
            .take(most)
            .map(|message| {
                message.visible_from = now + hidden;
                message.receives += 1;
                Received {
                    id: message.id.clone(),
                    receipt: format!("AQEB-{}-{}", message.number, message.receives),
                    body: message.body.clone(),
                }
            })
            .collect()
    }

    /// Deletes the message that was received with this receipt; an older receipt than the newest
    /// deletes nothing, and SQS does not tell. `false`: SQS never gave such a receipt.
    pub fn delete(&mut self, receipt: &str) -> bool {
        let mut parts = receipt.split('-');
        let (Some("AQEB"), Some(number), Some(receives), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let (Ok(number), Ok(receives)) = (number.parse::<u64>(), receives.parse::<u64>()) else {
            return false;
        };
        self.messages
            .retain(|message| (message.number, message.receives) != (number, receives));
        number <= self.sent
    }

    /// How many messages are there, hidden ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
