//! Who in a chain asked for which body, and in what form: bits by place in the chain.

/// A chain of more policies is not asked for bodies past this place.
pub(crate) const MAX_PLACES: usize = 64;

/// Some of the places of a chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Places(u64);

impl Places {
    /// False if there is no bit for it.
    pub(crate) fn add(&mut self, place: usize) -> bool {
        let bit = bit(place);
        self.0 |= bit;
        bit != 0
    }

    pub(crate) fn remove(&mut self, place: usize) {
        self.0 &= !bit(place);
    }

    pub(crate) fn has(self, place: usize) -> bool {
        self.0 & bit(place) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn bit(place: usize) -> u64 {
    if place < MAX_PLACES { 1 << place } else { 0 }
}

/// For one message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) whole: Places,
    pub(crate) watch: Places,
}

/// For one exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bodies {
    pub(crate) request: Asked,
    pub(crate) response: Asked,
}

/// What the gateway is to do with a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyNeed {
    /// Gather it, if it has no more bytes than this, and call the body hooks.
    pub whole: Option<usize>,
    /// Call the stream hooks on what passes (after the body hooks, where there are both).
    pub watch: bool,
}

impl BodyNeed {
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_and_those_without_a_bit_are_refused() {
        let mut places = Places::default();
        assert!(places.add(0) && places.add(63));
        assert!(!places.add(64));
        assert!(places.has(0) && places.has(63) && !places.has(1) && !places.has(64));
        places.remove(0);
        places.remove(63);
        assert!(places.is_empty());
    }
}
