//! Comparing what the aggregator holds with what the outbox had confirmed (pure).
//!
//! A *hole* is a batch that is neither stored there nor pending here: set aside here, gone from here after its hold
//! time, or lost there (a store made anew, or restored from an older backup). Only the last is to be mended, and it
//! cannot be told from the others at once: so a new hole makes the outbox send again what it still has from there
//! on, and is remembered, so that this happens once. A repeat that was not needed is recognised as one and harmless.

use edge_types::BatchNo;
use sync_wire::limits::MAX_STATE_RANGES;

/// Inclusive ranges, ascending, neither touching nor overlapping.
pub type BatchRanges = Vec<(BatchNo, BatchNo)>;

/// A remembered list longer than this is cut: a note has little room, and forgetting costs one repeat.
const MAX_REMEMBERED_BYTES: usize = 900;

/// The numbers from 1 to `last_batch` that are neither in `stored` nor in `pending` (both ascending).
pub fn holes(
    stored: &[(BatchNo, BatchNo)],
    pending: impl IntoIterator<Item = BatchNo>,
    last_batch: BatchNo,
) -> BatchRanges {
    // A full list was cut: of what comes after it nothing is known.
    let known_through = match stored.last() {
        Some((_, last)) if stored.len() >= MAX_STATE_RANGES => last_batch.min(*last),
        Some(_) | None => last_batch,
    };
    let mut pending = pending.into_iter().map(|no| (no, no)).peekable();
    let mut stored = stored.iter().copied().peekable();
    let mut holes = Vec::new();
    let mut next = BatchNo(1);
    while next <= known_through {
        let from_stored = match (stored.peek(), pending.peek()) {
            (Some((a, _)), Some((b, _))) => a <= b,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => {
                holes.push((next, known_through));
                break;
            }
        };
        let Some((first, last)) = (if from_stored {
            stored.next()
        } else {
            pending.next()
        }) else {
            break;
        };
        if first > next {
            holes.push((next, BatchNo(first.0 - 1).min(known_through)));
        }
        next = next.max(last.next());
    }
    holes
}

/// Holes that were acted upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained(BatchRanges);

impl Explained {
    /// Takes `holes` for explained from now on; returns the first that was not so far.
    pub fn learn(&mut self, holes: BatchRanges) -> Option<BatchNo> {
        let first_new = holes.iter().find_map(|hole| self.first_outside(*hole));
        self.0 = holes;
        first_new
    }

    fn first_outside(&self, (first, last): (BatchNo, BatchNo)) -> Option<BatchNo> {
        let mut next = first;
        for (known_first, known_last) in &self.0 {
            if *known_first > next {
                break;
            }
            next = next.max(known_last.next());
        }
        (next <= last).then_some(next)
    }

    /// The batch has been confirmed: if it is ever missing again, it was lost. `true` if that changed anything.
    pub fn forget(&mut self, no: BatchNo) -> bool {
        let Some(at) = self
            .0
            .iter()
            .position(|(first, last)| (*first..=*last).contains(&no))
        else {
            return false;
        };
        let (first, last) = self.0.remove(at);
        if no < last {
            self.0.insert(at, (no.next(), last));
        }
        if first < no {
            self.0.insert(at, (first, BatchNo(no.0 - 1)));
        }
        true
    }

    /// As a short text, cut if need be.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.0 {
            let part = format!("{}-{} ", first.0, last.0);
            if text.len() + part.len() > MAX_REMEMBERED_BYTES {
                break;
            }
            text.push_str(&part);
        }
        text
    }

    /// What [`Self::to_text`] wrote; anything that it would not write is forgotten.
    pub fn from_text(text: &str) -> Self {
        let mut ranges: BatchRanges = Vec::new();
        for part in text.split_whitespace() {
            let Some((first, last)) = part.split_once('-') else {
                break;
            };
            let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else {
                break;
            };
            let (first, last) = (BatchNo(first), BatchNo(last));
            if first > last || ranges.last().is_some_and(|(_, before)| *before >= first) {
                break;
            }
            ranges.push((first, last));
        }
        Self(ranges)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use sync_wire::batch_ranges;

    use super::*;

    fn ranges(numbers: &BTreeSet<u64>) -> BatchRanges {
        batch_ranges(numbers.iter().copied().map(BatchNo))
    }

    fn numbers(ranges: &BatchRanges) -> BTreeSet<u64> {
        ranges
            .iter()
            .flat_map(|(first, last)| first.0..=last.0)
            .collect()
    }

    proptest! {
        #[test]
        fn holes_are_what_neither_side_has(
            stored in prop::collection::btree_set(1u64..60, 0..40),
            pending in prop::collection::btree_set(1u64..60, 0..40),
            last in 0u64..60,
        ) {
            let found = holes(&ranges(&stored), pending.iter().copied().map(BatchNo), BatchNo(last));
            let expected = (1..=last).filter(|no| !stored.contains(no) && !pending.contains(no)).collect();
            prop_assert_eq!(numbers(&found), expected);
        }

        #[test]
        fn a_hole_is_new_once_and_again_after_it_was_filled(
            before in prop::collection::btree_set(1u64..60, 0..30),
            after in prop::collection::btree_set(1u64..60, 0..30),
            filled in 1u64..60,
        ) {
            let mut explained = Explained::default();
            prop_assert_eq!(explained.learn(ranges(&before)), before.first().copied().map(BatchNo));
            prop_assert_eq!(explained.clone().learn(ranges(&before)), None);
            prop_assert_eq!(explained.forget(BatchNo(filled)), before.contains(&filled));
            let known: BTreeSet<u64> = before.iter().copied().filter(|no| *no != filled).collect();
            prop_assert_eq!(Explained::from_text(&explained.to_text()), explained.clone());
            prop_assert_eq!(explained.learn(ranges(&after)), after.difference(&known).min().copied().map(BatchNo));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,80}") {
            let _ = Explained::from_text(&text);
        }
    }

    #[test]
    fn a_cut_list_says_nothing_about_what_follows_it() {
        let stored: BatchRanges = (0..MAX_STATE_RANGES as u64)
            .map(|i| (BatchNo(2 * i + 2), BatchNo(2 * i + 2)))
            .collect();
        let last = stored.last().unwrap().1;
        assert!(
            holes(&stored, [], BatchNo(1_000_000))
                .iter()
                .all(|(_, end)| *end < last)
        );
    }
}
