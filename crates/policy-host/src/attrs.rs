//! The scratch space of one exchange, shared by its policies and hooks. Bounded, so that no guest can make the host keep much.

/// Entries of one exchange: a handful per policy.
pub const MAX_ATTRS: usize = 64;
/// One key: a name with a prefix.
pub const MAX_ATTR_KEY_BYTES: usize = 128;
/// One value: a token or a small document.
pub const MAX_ATTR_VALUE_BYTES: usize = 4096;

/// A few short pairs: a list is faster than a map here.
#[derive(Debug, Clone, Default)]
pub struct Attrs {
    pairs: Vec<(String, String)>,
}

impl Attrs {
    pub fn read(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// False when a limit forbids it; what was there stays.
    #[must_use]
    pub fn set(&mut self, key: String, value: String) -> bool {
        if key.len() > MAX_ATTR_KEY_BYTES || value.len() > MAX_ATTR_VALUE_BYTES {
            return false;
        }
        if let Some((_, old)) = self.pairs.iter_mut().find(|(name, _)| *name == key) {
            *old = value;
            return true;
        }
        if self.pairs.len() == MAX_ATTRS {
            return false;
        }
        self.pairs.push((key, value));
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_replaced_and_limits_hold() {
        let mut attrs = Attrs::default();
        assert!(attrs.set("k".into(), "1".into()));
        assert!(attrs.set("k".into(), "2".into()));
        assert_eq!(attrs.read("k"), Some("2"));
        assert!(!attrs.set("k".into(), "x".repeat(MAX_ATTR_VALUE_BYTES + 1)));
        assert!(!attrs.set("x".repeat(MAX_ATTR_KEY_BYTES + 1), "1".into()));
        assert_eq!(attrs.read("k"), Some("2"));
        for n in 1..MAX_ATTRS {
            assert!(attrs.set(format!("k{n}"), "v".into()));
        }
        assert!(!attrs.set("one-more".into(), "v".into()));
        assert_eq!(attrs.iter().count(), MAX_ATTRS);
    }
}
