//! The tags of an interface, packed: a fleet has a dozen for each of its interfaces, and in a map of strings
//! they would take most of the memory that the controller needs.

use std::{fmt, ops::Index};

/// Keys and values, sorted by key. They change seldom and are read by every plan, so changing them packs them
/// anew.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Key, value, key, value, with nothing between.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Tags {
    /// The value of a tag.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.iter();
        pairs.find(|pair| pair.0 == key).map(|(_, value)| value)
    }

    /// Whether there is such a tag.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Key and value, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        let mut part = move |end: u32| {
            let part = &self.text[start..end as usize];
            start = end as usize;
            part
        };
        let pairs = self.ends.chunks_exact(2);
        pairs.map(move |ends| (part(ends[0]), part(ends[1])))
    }

    /// Keeps those that `keep` says.
    pub fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        *self = self
            .iter()
            .filter(|(key, value)| keep(key, value))
            .collect();
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Tags {
    /// Of two with the same key the later one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by(|one, other| one.0.as_ref().cmp(other.0.as_ref()));
        pairs.dedup_by(|later, first| later.0.as_ref() == first.0.as_ref());
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(2 * pairs.len()));
        for (key, value) in &pairs {
            for part in [key.as_ref(), value.as_ref()] {
                text.push_str(part);
                // EC2 takes 50 tags of 384 characters.
                ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Extend<(K, V)> for Tags {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let new = pairs
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_ref()));
        *self = self.iter().chain(new).collect();
    }
}

impl Index<&str> for Tags {
    type Output = str;

    /// # Panics
    ///
    /// When there is no such tag.
    fn index(&self, key: &str) -> &str {
        self.get(key).expect("a tag that is there")
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_found_and_changed() {
        let mut tags = Tags::from_iter([("role", "web"), ("Name", "one"), ("empty", "")]);
        let listed = |tags: &Tags| format!("{tags:?}");
        assert_eq!(
            listed(&tags),
            r#"{"Name": "one", "empty": "", "role": "web"}"#
        );
        assert_eq!(tags.get("role"), Some("web"));
        assert_eq!(tags.get("empty"), Some(""));
        assert_eq!(tags.get("rol"), None);
        tags.extend([("role", "db"), ("a", "b")]);
        tags.retain(|key, _| key != "empty");
        assert_eq!(listed(&tags), r#"{"Name": "one", "a": "b", "role": "db"}"#);
        assert_eq!((tags.len(), Tags::default().len()), (3, 0));
    }

    #[test]
    fn the_later_of_two_values_counts() {
        let tags = Tags::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(tags, Tags::from_iter([("b", "2"), ("a", "3")]));
    }
}
