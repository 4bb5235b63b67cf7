//! Remembers client tokens: a call that is repeated is not carried out again.
//!
//! A token stays burnt when what it made is gone: a repeat then gets the old answer, and the next call
//! that names the resource learns that it does not exist.

use std::collections::BTreeMap;

use crate::error::{ApiError, api};
use crate::request::Request;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    answers: BTreeMap<(String, String), (Request, String)>,
}

impl Tokens {
    /// The content of the answer that this call got before.
    pub(crate) fn replay(&self, request: &Request) -> Result<Option<String>, ApiError> {
        let Some(token) = request.text("ClientToken") else {
            return Ok(None);
        };
        if token.len() > 64 || !token.is_ascii() {
            return Err(crate::error::invalid_value(
                "The client token must have at most 64 ASCII characters.",
            ));
        }
        match self
            .answers
            .get(&(request.action().to_owned(), token.to_owned()))
        {
            None => Ok(None),
            Some((first, answer)) if *first == meaning(request) => Ok(Some(answer.clone())),
            Some(_) => Err(api(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )),
        }
    }

    pub(crate) fn burn(&mut self, request: &Request, answer: &str) {
        if let Some(token) = request.text("ClientToken") {
            self.answers.insert(
                (request.action().to_owned(), token.to_owned()),
                (meaning(request), answer.to_owned()),
            );
        }
    }
}

/// The parameters that make two calls the same.
fn meaning(request: &Request) -> Request {
    let mut meaning = request.clone();
    meaning.parameters.remove("DryRun");
    meaning
}
