//! What cards have done since they were opened. Numbers only grow, and whoever reads them may be a moment behind.

use std::sync::atomic::{AtomicU64, Ordering};

/// Of one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardCounts<'a> {
    /// Of several cards of one name, the second and later ones have their number behind it.
    pub card: &'a str,
    /// Lookups, keyswitches and bootstraps that it has computed.
    pub ciphertexts: u64,
    /// Keys that were put into its places.
    pub uploads: u64,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Names, in which a later one that was there before has its number.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let of = |(index, name): (usize, &String)| {
        let before = names[..index].iter().filter(|other| *other == name);
        match before.count() {
            0 => name.clone(),
            before => format!("{name} #{}", before + 1),
        }
    };
    names.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn cards_of_one_name_are_told_apart() {
        let names = ["a", "b", "a", "a"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["a", "b", "a #2", "a #3"]);
    }
}
