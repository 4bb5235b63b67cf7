//! SQS, as far as a receiver needs it: its JSON protocol, strict, with faults and counters as EC2's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::error::{ApiError, Error, api};
use crate::queue::{Queue, Received};
use crate::server::Shared;
use crate::wire::hang_up;
use crate::world::World;

/// What the header `x-amz-target` begins with.
pub(crate) const TARGET: &str = "AmazonSQS.";
/// How often a long poll looks whether something came.
const LOOK: Duration = Duration::from_millis(20);
/// The limits of the API reference.
const MOST_MESSAGES: u64 = 10;
const LONGEST_WAIT: u64 = 20;
const LONGEST_HIDDEN: u64 = 43_200;

type Answer = Result<Value, ApiError>;

/// One call over the wire; a long poll takes as long as it asks for.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    action: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    if !headers.contains_key(AUTHORIZATION) {
        let error = api(
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        );
        return refusal(&error);
    }
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/x-amz-json-1.0");
    let Some(Value::Object(input)) = json.then(|| serde_json::from_slice(body).ok()).flatten()
    else {
        return refusal(&api("SerializationException", "the body is not JSON 1.0"));
    };
    let (delay, mut answer) = shared.with_world(|world, now| world.queue_call(action, &input, now));
    tokio::time::sleep(delay).await;
    let seconds = input.get("WaitTimeSeconds").and_then(Value::as_u64);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    while action == "ReceiveMessage"
        && answer.as_ref().is_ok_and(|answer| *answer == json!({}))
        && tokio::time::Instant::now() < end
    {
        tokio::time::sleep(LOOK).await;
        answer = shared
            .with_world(|world, now| carry_out(world, action, &input, now).map_err(Error::from));
    }
    match answer {
        Ok(answer) => typed(200, &answer),
        Err(Error::Api(error)) => refusal(&error),
        Err(Error::Html { status }) => {
            let mut response = Response::new(Body::from("<html></html>"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
            response
        }
        Err(Error::ConnectionLost) => hang_up(),
    }
}

impl World {
    /// Carries out one call of SQS without waiting, and says how long its answer takes.
    ///
    /// # Errors
    /// The refusal, or what a fault does to the answer.
    pub fn queue_call(
        &mut self,
        action: &str,
        input: &Map<String, Value>,
        now: Timestamp,
    ) -> (Duration, Result<Value, Error>) {
        self.spoiled(action, now, |world| carry_out(world, action, input, now))
    }
}

fn carry_out(
    world: &mut World,
    action: &str,
    input: &Map<String, Value>,
    now: Timestamp,
) -> Answer {
    let url = text(input, "QueueUrl")?;
    let name = url.rsplit('/').next().unwrap_or_default();
    let account = world.account().to_owned();
    let id = world.namer.request();
    let queue = world.queue(name);
    let Some(queue) = queue.filter(|_| url.ends_with(&format!("/{account}/{name}"))) else {
        return Err(api(
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist.",
        ));
    };
    match action {
        "ReceiveMessage" => receive(queue, input, now),
        "DeleteMessageBatch" => delete_batch(queue, input),
        "SendMessage" => {
            queue.send(&id, text(input, "MessageBody")?, now);
            Ok(json!({"MessageId": id}))
        }
        _ => Err(api("UnknownOperationException", action)),
    }
}

fn receive(queue: &mut Queue, input: &Map<String, Value>, now: Timestamp) -> Answer {
    let most = number(input, "MaxNumberOfMessages", 1, 1..=MOST_MESSAGES)?;
    number(input, "WaitTimeSeconds", 0, 0..=LONGEST_WAIT)?;
    let hidden = number(input, "VisibilityTimeout", 30, 0..=LONGEST_HIDDEN)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let view = |Received { id, receipt, body }| json!({"MessageId": id, "ReceiptHandle": receipt, "Body": body});
    let messages = queue.receive(most, Duration::from_secs(hidden), now);
    let messages: Vec<_> = messages.into_iter().map(view).collect();
    // Nothing is no list.
    Ok(if messages.is_empty() {
        json!({})
    } else {
        json!({"Messages": messages})
    })
}

fn delete_batch(queue: &mut Queue, input: &Map<String, Value>) -> Answer {
    let entries = input.get("Entries").and_then(Value::as_array);
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return Err(api(
            "AWS.SimpleQueueService.EmptyBatchRequest",
            "There should be at least one DeleteMessageBatchRequestEntry in the request.",
        ));
    }
    if entries.len() > 10 {
        return Err(api(
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10.",
        ));
    }
    let mut ids = BTreeSet::new();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let empty = Map::new();
    for entry in entries {
        let entry = entry.as_object().unwrap_or(&empty);
        let (id, receipt) = (text(entry, "Id")?, text(entry, "ReceiptHandle")?);
        if !ids.insert(id) {
            return Err(api(
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                format!("Id {id} repeated."),
            ));
        }
        if queue.delete(receipt) {
            done.push(json!({"Id": id}));
        } else {
            failed.push(
                json!({"Id": id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid",
                "Message": "The input receipt handle is invalid."}),
            );
        }
    }
    Ok(json!({"Successful": done, "Failed": failed}))
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> Result<&'a str, ApiError> {
    let text = input.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty()).ok_or_else(|| {
        api(
            "MissingParameter",
            format!("The request must contain the parameter {name}."),
        )
    })
}

fn number(
    input: &Map<String, Value>,
    name: &str,
    default: u64,
    allowed: std::ops::RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    let Some(value) = input.get(name) else {
        return Ok(default);
    };
    let number = value.as_u64().filter(|number| allowed.contains(number));
    number.ok_or_else(|| {
        let (least, most) = allowed.into_inner();
        api(
            "InvalidParameterValue",
            format!(
                "Value {value} for parameter {name} is invalid. Reason: must be between {least} \
                 and {most}, if provided."
            ),
        )
    })
}

/// The code is in the body and, as the Query protocol had it, in a header.
fn refusal(error: &ApiError) -> Response<Body> {
    let name = error.code.rsplit('.').next().unwrap_or_default();
    let body = json!({"__type": format!("com.amazonaws.sqs#{name}"), "message": error.message});
    let mut response = typed(error.status, &body);
    if let Ok(value) = HeaderValue::from_str(&format!("{};Sender", error.code)) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

fn typed(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("application/x-amz-json-1.0");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
