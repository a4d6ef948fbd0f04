//! Opening, first half: which batches there are, and which ought to be.

use edge_types::Digest;

use super::{Recovery, header_row, list_batches};
use crate::{
    error::OpenError,
    layout::batch_file_name,
    rows::{BatchRow, BatchState},
};

impl Recovery<'_> {
    pub(crate) fn adopt_batches(&mut self) -> Result<(), OpenError> {
        self.adopt_dead()?;
        self.adopt_files()?;
        let lowest = self.ledger.batches.keys().next().copied();
        let marks = self.marks.unwrap_or_default();
        // With nothing else to go by, what is not there below the first file was deleted on purpose.
        self.ledger.deleted_through = match self.marks {
            Some(marks) => marks.deleted_through,
            None => lowest.map_or(0, |no| no - 1),
        };
        self.ledger.deleted_seq = marks.deleted_seq;
        self.drop_deleted()?;
        let last = self.ledger.batches.last_key_value();
        let (last_no, last_hash) = last.map_or((0, Digest::default()), |(no, row)| (*no, row.hash));
        (self.ledger.last_batch, self.ledger.last_hash) = if marks.last_batch > last_no {
            (marks.last_batch, marks.last_hash)
        } else {
            (last_no, last_hash)
        };
        let last_seq = self.ledger.batches.values().map(|row| row.last_seq).max();
        self.ledger.cursor_seq = last_seq
            .unwrap_or(0)
            .max(marks.sealed_through)
            .max(marks.deleted_seq)
            + 1;
        Ok(())
    }

    /// Dead letters stay settled. Their files may be gone: they are tidied away.
    fn adopt_dead(&mut self) -> Result<(), OpenError> {
        let (files, _) = list_batches(self.disk, &self.layout.dead)?;
        let incarnation = self.ledger.incarnation;
        for (no, hash, len) in files {
            let path = self.layout.dead.join(batch_file_name(no, hash));
            if let Some(row) = header_row(self.disk, &path, no, hash, len, incarnation) {
                let state = BatchState::Dead;
                self.ledger.adopt(no, BatchRow { state, ..row });
            }
        }
        let tidied: Vec<_> = self
            .known
            .batches
            .iter()
            .filter(|(no, row)| {
                row.state == BatchState::Dead && !self.ledger.batches.contains_key(no)
            })
            .map(|(no, row)| (*no, *row))
            .collect();
        for (no, row) in tidied {
            self.ledger.adopt(no, row);
        }
        Ok(())
    }

    fn adopt_files(&mut self) -> Result<(), OpenError> {
        let (files, others) = list_batches(self.disk, &self.layout.batches)?;
        for name in others {
            self.quarantine(&self.layout.batches.join(name))?;
        }
        for (no, hash, len) in files {
            let path = self.layout.batches.join(batch_file_name(no, hash));
            let noted = self
                .known
                .batches
                .get(&no)
                .filter(|row| row.hash == hash && row.len == len);
            let row = match noted {
                // Its file is here, so it was not set aside: the refusal will come again.
                Some(row) if row.state == BatchState::Dead => Some(BatchRow {
                    state: BatchState::Pending,
                    ..*row
                }),
                Some(row) => Some(*row),
                None => header_row(self.disk, &path, no, hash, len, self.ledger.incarnation),
            };
            let is_taken = self
                .ledger
                .batches
                .get(&no)
                .is_some_and(|other| other.state != BatchState::Dead);
            match row {
                Some(row) if !is_taken => self.ledger.adopt(no, row),
                // Damaged, not ours, or a second file for one number.
                _ => self.quarantine(&path)?,
            }
        }
        Ok(())
    }

    /// Files that were to be deleted when the outbox stopped: acknowledged, all of them.
    fn drop_deleted(&mut self) -> Result<(), OpenError> {
        let through = self.ledger.deleted_through;
        let gone: Vec<_> = self
            .ledger
            .batches
            .range(..=through)
            .map(|(no, row)| (*no, *row))
            .collect();
        for (no, row) in gone {
            if row.state != BatchState::Dead {
                // Best effort: tried again at the next open.
                let _ = self.disk.remove(&self.layout.batch(no, row.hash));
            }
            self.ledger.batch_deleted(no);
        }
        Ok(())
    }

    /// Numbers that ought to have a batch and have none, in runs, with the sequence numbers that are theirs together.
    pub(crate) fn missing_runs(&self) -> Vec<MissingRun> {
        let ledger = &self.ledger;
        let mut runs = Vec::new();
        let (mut expected, mut first_seq) = (ledger.deleted_through + 1, ledger.deleted_seq + 1);
        let mut prev_hash = Digest::default();
        for (no, row) in &ledger.batches {
            if *no > expected {
                runs.push(MissingRun {
                    nos: expected..*no,
                    // Without a witness the first number of the first run is not known; then there is no such run either.
                    seqs: first_seq..row.first_seq,
                    prev_hash,
                });
            }
            (expected, first_seq, prev_hash) = (no + 1, row.last_seq + 1, row.hash);
        }
        if ledger.last_batch >= expected {
            runs.push(MissingRun {
                nos: expected..ledger.last_batch + 1,
                seqs: first_seq..ledger.cursor_seq,
                prev_hash,
            });
        }
        runs
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingRun {
    pub nos: std::ops::Range<u64>,
    pub seqs: std::ops::Range<u64>,
    pub prev_hash: Digest,
}

impl MissingRun {
    /// The run's sequence numbers shared out: what is noted for a batch where it is, else all to the first and one to each
    /// other. Ends early when there are not enough.
    pub(crate) fn share_out(
        &self,
        noted: impl Fn(u64) -> Option<(u64, u64)>,
    ) -> Vec<(u64, std::ops::Range<u64>)> {
        let mut out = Vec::new();
        let mut at = self.seqs.start;
        for no in self.nos.clone() {
            let others = self.nos.end - no - 1;
            let most = self.seqs.end.saturating_sub(others);
            let end = noted(no)
                .filter(|(first, last)| *first == at && *last < most)
                .map_or(most, |(_, last)| last + 1);
            let end = if others == 0 { self.seqs.end } else { end };
            if end <= at {
                break;
            }
            out.push((no, at..end));
            at = end;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(noted: &[(u64, u64, u64)], seqs: std::ops::Range<u64>, expected: &[(u64, u64, u64)]) {
        let run = MissingRun {
            nos: 5..8,
            seqs,
            prev_hash: Digest::default(),
        };
        let shared = run.share_out(|no| {
            let row = noted.iter().find(|row| row.0 == no)?;
            Some((row.1, row.2))
        });
        let shared: Vec<_> = shared.iter().map(|(no, r)| (*no, r.start, r.end)).collect();
        assert_eq!(shared, expected);
    }

    #[test]
    fn missing_numbers_are_shared_out() {
        check(&[], 10..40, &[(5, 10, 38), (6, 38, 39), (7, 39, 40)]);
        check(
            &[(5, 10, 19), (6, 20, 29)],
            10..40,
            &[(5, 10, 20), (6, 20, 30), (7, 30, 40)],
        );
        check(
            &[(5, 11, 19)],
            10..13,
            &[(5, 10, 11), (6, 11, 12), (7, 12, 13)],
        );
        check(&[], 10..12, &[]);
    }
}
