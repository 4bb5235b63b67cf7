//! Cuts the answer of a Describe call into pages.
//!
//! A token names the last row of the page before it, so rows that come and go between two pages cause
//! no repeats and no gaps. It is bound to the question: a token of another question is refused.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::error::{ApiError, api, invalid_combination, invalid_value};
use crate::request::Request;

/// Which rows go into this page, and the token of the next one.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) next_token: Option<String>,
}

/// The page that `request` asks for, of `rows` sorted by `key`.
///
/// `ids` is the parameter that excludes paging; `most` the largest page.
pub(crate) fn page<T>(
    request: &Request,
    ids: &str,
    most: usize,
    rows: Vec<T>,
    key: impl Fn(&T) -> &str,
) -> Result<Page<T>, ApiError> {
    let wanted: Option<i64> = request.value("MaxResults")?;
    if wanted.is_some() && request.has(ids) {
        let camel = format!("{}{}s", ids[..1].to_ascii_lowercase(), &ids[1..]);
        return Err(invalid_combination(format!(
            "The parameter {camel} cannot be used with the parameter maxResults"
        )));
    }
    let size = match wanted {
        None => most,
        Some(few @ ..=4) => {
            return Err(invalid_value(format!("Value ( {few} ) for parameter maxResults is invalid. Expecting a value greater than 5.")));
        }
        Some(size) => usize::try_from(size).ok().filter(|size| *size <= most).ok_or_else(|| {
            invalid_value(format!("Value ( {size} ) for parameter maxResults is invalid. Expecting a value smaller than {most}."))
        })?,
    };
    let question = question(request);
    let after = request
        .text("NextToken")
        .filter(|token| !token.is_empty())
        .map(|token| last_row(token, question))
        .transpose()?;
    // An answer that nobody wants in pages comes whole.
    let size = if wanted.is_none() && after.is_none() {
        usize::MAX
    } else {
        size
    };
    let mut rows: Vec<T> = rows
        .into_iter()
        .filter(|row| after.as_deref().is_none_or(|after| key(row) > after))
        .collect();
    let more = rows.len() > size;
    rows.truncate(size);
    let next_token = rows
        .last()
        .filter(|_| more)
        .map(|last| token(key(last), question));
    Ok(Page { rows, next_token })
}

/// A number for all parameters but those that may change from page to page.
fn question(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    for parameter in request
        .parameters
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "NextToken" | "MaxResults"))
    {
        parameter.hash(&mut hasher);
    }
    hasher.finish()
}

fn token(last: &str, question: u64) -> String {
    let bytes: String = last.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{question:016x}{bytes}")
}

fn last_row(token: &str, question: u64) -> Result<String, ApiError> {
    let read = || {
        let (asked, bytes) = token.split_at_checked(16)?;
        if u64::from_str_radix(asked, 16).ok()? != question
            || bytes.is_empty()
            || !bytes.is_ascii()
            || bytes.len() % 2 != 0
        {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..bytes.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).ok())
            .collect();
        String::from_utf8(bytes?).ok()
    };
    read().ok_or_else(|| {
        api(
            "InvalidNextToken",
            format!("The token '{token}' is invalid"),
        )
    })
}
