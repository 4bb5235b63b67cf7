//! QEMU's machine protocol: one JSON object a line, each command with one answer
//! (<https://www.qemu.org/docs/master/interop/qmp-spec.html>).
//!
//! Greeting and events are passed over: what they tell can be asked for.

use std::io;

use serde_json::{Value, json};

use super::lines::Lines;

/// A connection; its first command is `qmp_capabilities`.
#[derive(Debug)]
pub(super) struct Qmp(Lines);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// In QEMU's words.
    Refused(String),
    /// QEMU has ended.
    Gone,
    Socket(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Gone,
            _ => Self::Socket(error),
        }
    }
}

impl Qmp {
    pub(super) fn new(lines: Lines) -> Self {
        Self(lines)
    }

    /// Gives what the command returns.
    pub(super) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, Failure> {
        let request = json!({"execute": command, "arguments": arguments});
        self.0.send(&request.to_string())?;
        loop {
            let line = self.0.next()?.ok_or(Failure::Gone)?;
            if let Some(answer) = answer(&line) {
                return answer.map_err(Failure::Refused);
            }
        }
    }
}

/// What a line answers; `None` if it is an event or the greeting.
fn answer(line: &str) -> Option<Result<Value, String>> {
    let Ok(Value::Object(mut line)) = serde_json::from_str(line) else {
        return Some(Err(format!("it answers {line}")));
    };
    if let Some(value) = line.remove("return") {
        return Some(Ok(value));
    }
    let error = line.get("error")?;
    Some(Err(error["desc"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_a_refusal_and_an_event() {
        assert_eq!(answer(r#"{"return": {"a": 1}}"#), Some(Ok(json!({"a": 1}))));
        let refusal = r#"{"error": {"class": "DeviceNotFound", "desc": "Device 'd' not found"}}"#;
        assert_eq!(answer(refusal), Some(Err("Device 'd' not found".into())));
        assert_eq!(answer(r#"{"event": "RESET", "data": {}}"#), None);
        assert_eq!(answer(r#"{"QMP": {"version": {}}}"#), None);
        assert!(answer("no JSON").unwrap().is_err());
    }
}
