//! Fields to be set on a response that is not there yet. A list, not a map: it holds a few, is moved from hand to hand, and is
//! looked up by nobody.

use http::{HeaderMap, HeaderName, HeaderValue};

/// In the order in which they are to stand; a name that repeats has several values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetFields(Vec<(HeaderName, HeaderValue)>);

impl SetFields {
    pub(crate) fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of this name, as text; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(known, _)| known == name)?;
        field.1.to_str().ok()
    }

    /// What is said later replaces what was said of the same name before.
    pub fn replace_with(&mut self, later: Self) {
        if self.0.is_empty() {
            *self = later;
            return;
        }
        self.0
            .retain(|(name, _)| later.0.iter().all(|(other, _)| other != name));
        self.0.extend(later.0);
    }

    /// Puts them in place of the fields of these names.
    pub fn put_on(self, headers: &mut HeaderMap) {
        for (name, _) in &self.0 {
            headers.remove(name);
        }
        for (name, value) in self.0 {
            // A map that is full stays as it is: a response has far fewer fields than it has room for.
            let _ = headers.try_append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fields: &[(&'static str, &'static str)]) -> SetFields {
        let mut list = SetFields::default();
        for (name, value) in fields {
            list.push(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        list
    }

    #[test]
    fn what_is_said_later_replaces_and_what_repeats_is_kept() {
        let mut said = list(&[("a", "1"), ("b", "1"), ("a", "2")]);
        said.replace_with(list(&[("a", "3"), ("c", "1"), ("c", "2")]));
        assert_eq!(
            said,
            list(&[("b", "1"), ("a", "3"), ("c", "1"), ("c", "2")])
        );
        let mut headers = HeaderMap::new();
        headers.append("c", HeaderValue::from_static("old"));
        headers.append("c", HeaderValue::from_static("older"));
        headers.append("d", HeaderValue::from_static("kept"));
        said.put_on(&mut headers);
        let values: Vec<_> = headers.get_all("c").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(
            (headers.len(), &headers["d"]),
            (5, &HeaderValue::from_static("kept"))
        );
    }
}
