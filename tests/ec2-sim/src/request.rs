//! Reads the parameters of a Query request: flat names with dots and numbers into values.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{ApiError, dry_run, invalid_value, missing};

/// One call as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub parameters: BTreeMap<String, String>,
}

impl Request {
    /// Reads `Action=…&Version=…`, a query string or a form body.
    #[must_use]
    pub fn parse(form: &[u8]) -> Self {
        Self {
            parameters: form_urlencoded::parse(form).into_owned().collect(),
        }
    }

    /// A call made in-process: `Request::new("DeleteNetworkInterface").with("NetworkInterfaceId", id)`.
    #[must_use]
    pub fn new(action: &str) -> Self {
        Self::default().with("Action", action)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.parameters.insert(name.to_owned(), format!("{value}"));
        self
    }

    #[must_use]
    pub fn action(&self) -> &str {
        self.text("Action").unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| missing(name))
    }

    /// A number or an address, when given.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_said_below: T::Err| bad_value(name, text))
            })
            .transpose()
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(bad_value(name, text)),
        }
    }

    /// Ends a call that was only to be checked: what it names exists, and nothing is done.
    pub(crate) fn end_dry_run(&self) -> Result<(), ApiError> {
        if self.flag("DryRun")?.unwrap_or(false) {
            Err(dry_run())
        } else {
            Ok(())
        }
    }

    /// `Name.1`, `Name.2`, … in the order of their numbers.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.numbers(name)
            .into_iter()
            .filter_map(|number| self.text(&format!("{name}.{number}")))
            .collect()
    }

    /// The members of a list of values that are not text.
    pub(crate) fn values<T: FromStr>(&self, name: &str) -> Result<Vec<T>, ApiError> {
        self.list(name)
            .into_iter()
            .map(|text| {
                text.parse()
                    .map_err(|_said_below: T::Err| bad_value(name, text))
            })
            .collect()
    }

    /// The prefixes `Name.1`, `Name.2`, … of a list of structures.
    pub(crate) fn items(&self, name: &str) -> Vec<String> {
        self.numbers(name)
            .into_iter()
            .map(|number| format!("{name}.{number}"))
            .collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.text(name).is_some() || !self.numbers(name).is_empty()
    }

    /// Keys and values of `Tag.N`, or of `TagSpecification.N` for `resource`.
    pub(crate) fn tags(&self, list: &str) -> Result<Vec<(String, String)>, ApiError> {
        self.items(list)
            .into_iter()
            .map(|item| {
                let key = self.required(&format!("{item}.Key"))?;
                Ok((
                    key.to_owned(),
                    self.text(&format!("{item}.Value"))
                        .unwrap_or_default()
                        .to_owned(),
                ))
            })
            .collect()
    }

    pub(crate) fn tag_specifications(
        &self,
        resource: &str,
    ) -> Result<Vec<(String, String)>, ApiError> {
        let mut tags = Vec::new();
        for specification in self.items("TagSpecification") {
            let named = self.required(&format!("{specification}.ResourceType"))?;
            if named == resource {
                tags.extend(self.tags(&format!("{specification}.Tag"))?);
            } else if !matches!(named, "instance" | "network-interface" | "volume") {
                return Err(invalid_value(format!(
                    "'{named}' is not a valid taggable resource type for this operation."
                )));
            }
        }
        Ok(tags)
    }

    fn numbers(&self, name: &str) -> Vec<u32> {
        let prefix = format!("{name}.");
        let mut numbers: Vec<u32> = self
            .parameters
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, _)| key[prefix.len()..].split('.').next()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

fn bad_value(name: &str, text: &str) -> ApiError {
    invalid_value(format!("Invalid value '{text}' for {name}"))
}

/// The answer of a call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The whole XML document.
    pub body: String,
}

impl Response {
    /// The text of the first element `name`: enough for a test that wants one id.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let start = self.body.find(&open)? + open.len();
        Some(&self.body[start..start + self.body[start..].find(&close)?])
    }
}
