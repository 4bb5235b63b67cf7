//! Decides which rows a Describe call wants: filters with wildcards.

use std::collections::BTreeMap;

use crate::error::{ApiError, api, invalid_value};
use crate::request::Request;

/// Values of one filter that AWS accepts.
const MAX_VALUES: usize = 200;

/// What a row says under the name of a filter.
pub(crate) type Values = Vec<String>;

pub(crate) struct Filters {
    filters: Vec<(String, Vec<String>)>,
}

impl Filters {
    /// Reads `Filter.N`; every name must be in `names` or be one of `tag:…`, `tag-key`, `tag-value`.
    pub(crate) fn parse(request: &Request, names: &[&str]) -> Result<Self, ApiError> {
        let mut filters = Vec::new();
        for item in request.items("Filter") {
            let name = request.required(&format!("{item}.Name"))?;
            let is_tag = name.starts_with("tag:") || matches!(name, "tag-key" | "tag-value");
            if !is_tag && !names.contains(&name) {
                return Err(invalid_value(format!("The filter '{name}' is invalid")));
            }
            let values: Vec<String> = request
                .list(&format!("{item}.Value"))
                .into_iter()
                .map(str::to_owned)
                .collect();
            if values.is_empty() {
                return Err(invalid_value(format!("The filter '{name}' has no values")));
            }
            if values.len() > MAX_VALUES {
                return Err(api(
                    "FilterLimitExceeded",
                    format!(
                        "The maximum number of filter values specified on a single call is {MAX_VALUES}"
                    ),
                ));
            }
            filters.push((name.to_owned(), values));
        }
        Ok(Self { filters })
    }

    /// Whether a row passes every filter; a filter passes when one value of it matches one of the row's.
    pub(crate) fn accept(
        &self,
        tags: &BTreeMap<String, String>,
        values: impl Fn(&str) -> Values,
    ) -> bool {
        self.filters.iter().all(|(name, wanted)| {
            let hit = |value: &str| wanted.iter().any(|pattern| matches(pattern, value));
            if let Some(key) = name.strip_prefix("tag:") {
                return tags.get(key).is_some_and(|value| hit(value));
            }
            match name.as_str() {
                "tag-key" => tags.keys().any(|key| hit(key)),
                "tag-value" => tags.values().any(|value| hit(value)),
                _ => values(name).iter().any(|value| hit(value)),
            }
        })
    }
}

/// Whether `text` fits a pattern in which `*` is any text, `?` any character and `\` takes the next one literally.
fn matches(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?', '\\']) {
        return pattern == text;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The last star seen, and the text it had swallowed: one step back is enough.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        let escaped = pattern.get(p) == Some(&'\\') && p + 1 < pattern.len();
        let literal = if escaped {
            pattern.get(p + 1)
        } else {
            pattern.get(p)
        };
        if !escaped && literal == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if literal.is_some_and(|&literal| (!escaped && literal == '?') || literal == text[t])
        {
            p += if escaped { 2 } else { 1 };
            t += 1;
        } else if let Some((at, swallowed)) = star {
            p = at + 1;
            t = swallowed + 1;
            star = Some((at, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_knows_stars_marks_and_escapes() {
        for (pattern, text, expected) in [
            ("eni-1", "eni-1", true),
            ("eni-1", "eni-12", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*b*d", "abcd", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
            (r"a\?", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
