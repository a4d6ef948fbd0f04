//! A set of numbers kept as ranges (pure). Dense input costs one entry, however long it is.

use std::collections::BTreeMap;

use edge_types::Seq;
use sync_wire::SeqRange;

/// Disjoint, non-touching inclusive ranges: first → last.
#[derive(Debug, Default, Clone)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range; returns the parts of it that were there already.
    pub fn insert(&mut self, range: SeqRange) -> Vec<SeqRange> {
        let (first, last) = (range.first.0, range.last.0);
        let mut overlaps = Vec::new();
        let mut merged = (first, last);
        // Ranges that touch or overlap: the one that starts before, and those that start inside.
        let before = self.0.range(..=first).next_back().map(|(a, b)| (*a, *b));
        let inside = self
            .0
            .range(first.saturating_add(1)..=last.saturating_add(1))
            .map(|(a, b)| (*a, *b));
        let near: Vec<(u64, u64)> = before
            .into_iter()
            .chain(inside)
            .filter(|(_, b)| b.saturating_add(1) >= first)
            .collect();
        for (a, b) in near {
            self.0.remove(&a);
            if a.max(first) <= b.min(last) {
                overlaps.push(SeqRange {
                    first: Seq(a.max(first)),
                    last: Seq(b.min(last)),
                });
            }
            merged = (merged.0.min(a), merged.1.max(b));
        }
        self.0.insert(merged.0, merged.1);
        overlaps
    }

    pub fn iter(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.0.iter().map(|(first, last)| SeqRange {
            first: Seq(*first),
            last: Seq(*last),
        })
    }

    /// What is missing between 1 and the highest number in the set.
    pub fn holes(&self) -> Vec<SeqRange> {
        let mut holes = Vec::new();
        let mut next = 1;
        for (first, last) in &self.0 {
            if *first > next {
                holes.push(SeqRange {
                    first: Seq(next),
                    last: Seq(first - 1),
                });
            }
            next = last.saturating_add(1);
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange {
            first: Seq(first),
            last: Seq(last),
        }
    }

    #[test]
    fn ranges_merge_and_tell_what_they_had() {
        let mut set = Ranges::default();
        assert!(set.insert(range(3, 5)).is_empty());
        assert!(set.insert(range(10, 12)).is_empty());
        assert!(set.insert(range(6, 6)).is_empty());
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(3, 6), range(10, 12)]);
        assert_eq!(set.holes(), [range(1, 2), range(7, 9)]);
        assert_eq!(set.insert(range(1, 11)), [range(3, 6), range(10, 11)]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(1, 12)]);
        assert!(set.holes().is_empty());
    }

    #[test]
    fn against_a_plain_set_of_numbers() {
        // A small linear congruential generator: the same every time.
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let mut set = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for _ in 0..20 {
                let first = 1 + next(60);
                let last = first + next(10);
                let overlap: u64 = set
                    .insert(range(first, last))
                    .iter()
                    .map(SeqRange::len)
                    .sum();
                let known = (first..=last).filter(|n| !model.insert(*n)).count() as u64;
                assert_eq!(overlap, known);
            }
            let members: Vec<u64> = set.iter().flat_map(|r| r.first.0..=r.last.0).collect();
            assert_eq!(members, model.iter().copied().collect::<Vec<_>>());
        }
    }
}
