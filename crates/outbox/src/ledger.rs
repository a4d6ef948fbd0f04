//! What the outbox knows: segments, batches, watermarks. Pure: time comes in as an argument, and what must be noted in the
//! database is gathered in `changes`.
//!
//! Invariants: everything before `cursor_seq` is in batches; `next_seq` never falls; batch numbers are dense and rise;
//! a segment is dropped only when it is closed and all of its numbers are before `cursor_seq`.

use std::collections::{BTreeMap, VecDeque};

use edge_types::{Digest, Epoch, Incarnation};

use crate::{
    layout::SegmentId,
    rows::{self, BatchRow, BatchState, Change, MetaRow, SegmentRow},
    segment::SEGMENT_HEADER_LEN,
    witness::Marks,
};

/// With this many batches waiting the link is the bottleneck, and a young batch would not leave sooner for being sealed early.
const EAGER_PENDING: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub id: SegmentId,
    /// The number after the last durable one in it.
    pub end_seq: u64,
    /// Durable bytes.
    pub len: u64,
    pub closed: bool,
    /// Not all of it could be read: quarantined instead of deleted.
    pub damaged: bool,
}

/// Where a frame starts. The default is no segment's: reading then starts at a segment's beginning, which is only slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub ordinal: u32,
    pub offset: u64,
}

/// When to seal without being asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealLimits {
    pub bytes: u64,
    pub records: u64,
    pub age_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub batches: u64,
    pub bytes: u64,
    pub records: u64,
}

impl Sum {
    fn add(&mut self, row: &BatchRow) {
        self.batches += 1;
        self.bytes += row.len;
        self.records += u64::from(row.count);
    }

    fn remove(&mut self, row: &BatchRow) {
        self.batches = self.batches.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(row.len);
        self.records = self.records.saturating_sub(u64::from(row.count));
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub incarnation: Incarnation,
    pub epoch: Option<Epoch>,
    pub quota_bytes: u64,
    /// The number of the next record.
    pub next_seq: u64,
    /// The first number that is in no batch yet, where to look for it, and how much there is from it on.
    pub cursor_seq: u64,
    pub cursor: Place,
    pub unsealed_bytes: u64,
    /// When the oldest of these came, as far as is known.
    pub oldest_unsealed_ms: Option<u64>,
    pub segments: VecDeque<Segment>,
    pub next_ordinal: u32,
    pub batches: BTreeMap<u64, BatchRow>,
    pub last_batch: u64,
    pub last_hash: Digest,
    pub deleted_through: u64,
    pub deleted_seq: u64,
    pub pending: Sum,
    pub held: Sum,
    pub dead: Sum,
    pub notes: BTreeMap<String, String>,
    pub changes: Vec<Change>,
}

impl Ledger {
    pub(crate) fn new(incarnation: Incarnation, quota_bytes: u64) -> Self {
        Self {
            incarnation,
            epoch: None,
            quota_bytes,
            next_seq: 1,
            cursor_seq: 1,
            cursor: Place::default(),
            unsealed_bytes: 0,
            oldest_unsealed_ms: None,
            segments: VecDeque::new(),
            next_ordinal: 1,
            batches: BTreeMap::new(),
            last_batch: 0,
            last_hash: Digest::default(),
            deleted_through: 0,
            deleted_seq: 0,
            pending: Sum::default(),
            held: Sum::default(),
            dead: Sum::default(),
            notes: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
            incarnation: self.incarnation,
            epoch: self.epoch.map_or(0, |epoch| epoch.0),
            next_seq: self.next_seq,
            sealed_through: self.cursor_seq - 1,
            last_batch: self.last_batch,
            last_hash: self.last_hash,
            deleted_through: self.deleted_through,
            deleted_seq: self.deleted_seq,
        }
    }

    fn meta_change(&self) -> Change {
        let marks = self.marks();
        let row = MetaRow {
            incarnation: marks.incarnation,
            epoch: marks.epoch,
            next_seq: marks.next_seq,
            sealed_through: marks.sealed_through,
            last_batch: marks.last_batch,
            last_hash: marks.last_hash,
            deleted_through: marks.deleted_through,
            deleted_seq: marks.deleted_seq,
            quota_bytes: self.quota_bytes,
        };
        (rows::meta_key(), Some(rows::value(&row)))
    }

    pub(crate) fn note_meta(&mut self) {
        let change = self.meta_change();
        self.changes.push(change);
    }

    fn note_segment(&mut self, segment: Segment) {
        let row = SegmentRow {
            end_seq: segment.end_seq,
            len: segment.len,
        };
        self.changes
            .push((rows::segment_key(segment.id), Some(rows::value(&row))));
    }

    fn note_batch(&mut self, no: u64, row: &BatchRow) {
        self.changes
            .push((rows::batch_key(no), Some(rows::value(row))));
    }

    /// Everything, for a new database.
    pub(crate) fn dump(&self) -> Vec<Change> {
        let mut copy = self.clone();
        copy.changes.clear();
        copy.note_meta();
        for segment in self.segments.iter().filter(|s| s.closed) {
            copy.note_segment(*segment);
        }
        for (no, row) in &self.batches {
            copy.note_batch(*no, row);
        }
        for (name, text) in &self.notes {
            copy.changes
                .push((rows::note_key(name), Some(rows::value(text))));
        }
        copy.changes
    }

    // Segments

    pub(crate) fn new_segment_id(&mut self) -> SegmentId {
        let id = SegmentId {
            ordinal: self.next_ordinal,
            first_seq: self.next_seq,
        };
        self.next_ordinal = self.next_ordinal.saturating_add(1);
        id
    }

    pub(crate) fn segment_begun(&mut self, id: SegmentId) {
        self.segments.push_back(Segment {
            id,
            end_seq: id.first_seq,
            len: SEGMENT_HEADER_LEN as u64,
            closed: false,
            damaged: false,
        });
    }

    /// `count` records in `bytes` of frames are durable in the last segment.
    pub(crate) fn committed(&mut self, count: u64, bytes: u64, now_ms: u64) {
        self.next_seq += count;
        self.unsealed_bytes += bytes;
        self.oldest_unsealed_ms.get_or_insert(now_ms);
        if let Some(segment) = self.segments.back_mut() {
            segment.end_seq = self.next_seq;
            segment.len += bytes;
        }
    }

    pub(crate) fn segment_closed(&mut self) {
        if let Some(segment) = self.segments.back_mut() {
            segment.closed = true;
            let segment = *segment;
            self.note_segment(segment);
        }
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum()
    }

    /// The oldest segment, if nothing of it is needed any more. They go in order, always.
    pub(crate) fn droppable_segment(&self) -> Option<Segment> {
        self.segments
            .front()
            .filter(|s| s.closed && s.end_seq <= self.cursor_seq)
            .copied()
    }

    /// Reading found damage in these: they are kept aside when they are no longer needed.
    pub(crate) fn segments_damaged(&mut self, ids: &[SegmentId]) {
        for segment in &mut self.segments {
            segment.damaged |= ids.contains(&segment.id);
        }
    }

    pub(crate) fn segment_dropped(&mut self, id: SegmentId) {
        if self.segments.front().is_some_and(|s| s.id == id) {
            self.segments.pop_front();
            self.changes.push((rows::segment_key(id), None));
        }
    }

    /// The open segment when all of it is sealed: to be closed, so that its space comes back.
    pub(crate) fn drained_segment(&self, at_least: u64) -> Option<SegmentId> {
        self.segments
            .back()
            .filter(|s| !s.closed && s.end_seq <= self.cursor_seq && s.len >= at_least)
            .map(|s| s.id)
    }

    // Sealing

    pub(crate) fn unsealed_records(&self) -> u64 {
        self.next_seq - self.cursor_seq
    }

    pub(crate) fn seal_due(&self, limits: SealLimits, now_ms: u64) -> bool {
        if self.epoch.is_none() || self.unsealed_records() == 0 || self.segments.is_empty() {
            return false;
        }
        let aged = self
            .oldest_unsealed_ms
            .is_some_and(|t| now_ms.saturating_sub(t) >= limits.age_ms);
        self.unsealed_bytes >= limits.bytes
            || self.unsealed_records() >= limits.records
            || (aged && self.pending.batches < EAGER_PENDING as u64)
    }

    /// A batch file is durable. `consumed` bytes of segments are in it, and the next frame is at `next`.
    pub(crate) fn sealed(
        &mut self,
        no: u64,
        row: BatchRow,
        next: Place,
        consumed: u64,
        now_ms: u64,
    ) {
        self.cursor_seq = row.last_seq + 1;
        self.cursor = next;
        self.unsealed_bytes = self.unsealed_bytes.saturating_sub(consumed);
        self.oldest_unsealed_ms = (self.unsealed_records() > 0).then_some(now_ms);
        self.last_batch = no;
        self.last_hash = row.hash;
        self.adopt(no, row);
        self.note_batch(no, &row);
        self.note_meta();
    }

    // Batches

    fn sum_of(&mut self, state: BatchState) -> &mut Sum {
        match state {
            BatchState::Pending => &mut self.pending,
            BatchState::Acked { .. } => &mut self.held,
            BatchState::Dead => &mut self.dead,
        }
    }

    /// Puts a batch in, or another in its place.
    pub(crate) fn adopt(&mut self, no: u64, row: BatchRow) {
        if let Some(old) = self.batches.insert(no, row) {
            self.sum_of(old.state).remove(&old);
        }
        self.sum_of(row.state).add(&row);
    }

    fn set_state(&mut self, no: u64, state: BatchState) -> Option<BatchRow> {
        let row = BatchRow {
            state,
            ..*self.batches.get(&no)?
        };
        self.adopt(no, row);
        self.note_batch(no, &row);
        Some(row)
    }

    /// Another file stands for this number now.
    pub(crate) fn replaced(&mut self, no: u64, row: BatchRow) {
        self.adopt(no, row);
        self.note_batch(no, &row);
        if no == self.last_batch {
            self.last_hash = row.hash;
            self.note_meta();
        }
    }

    /// False when there was nothing to acknowledge.
    pub(crate) fn ack(&mut self, no: u64, now_ms: u64) -> bool {
        let is_pending = self
            .batches
            .get(&no)
            .is_some_and(|row| row.state == BatchState::Pending);
        is_pending
            && self
                .set_state(no, BatchState::Acked { at_ms: now_ms })
                .is_some()
    }

    pub(crate) fn dead(&mut self, no: u64) -> Option<BatchRow> {
        self.set_state(no, BatchState::Dead)
    }

    /// The highest number up to which nothing is pending.
    pub(crate) fn through_acked(&self) -> u64 {
        self.first_pending().map_or(self.last_batch, |no| no - 1)
    }

    fn first_pending(&self) -> Option<u64> {
        if self.pending.batches == 0 {
            return None;
        }
        self.batches
            .iter()
            .find(|(_, row)| row.state == BatchState::Pending)
            .map(|(no, _)| *no)
    }

    pub(crate) fn pending_after(&self, after: u64, max: usize) -> Vec<(u64, BatchRow)> {
        self.batches
            .range(after.saturating_add(1)..)
            .filter(|(_, row)| row.state == BatchState::Pending)
            .take(max)
            .map(|(no, row)| (*no, *row))
            .collect()
    }

    /// Acknowledged batches from `no` on are pending again. Returns how many.
    pub(crate) fn resend_from(&mut self, no: u64) -> u64 {
        let again: Vec<u64> = self
            .batches
            .range(no..)
            .filter(|(_, row)| matches!(row.state, BatchState::Acked { .. }))
            .map(|(no, _)| *no)
            .collect();
        for no in &again {
            self.set_state(*no, BatchState::Pending);
        }
        again.len() as u64
    }

    /// Batches whose file may go, lowest first: acknowledged, with nothing pending before them, and too old or too much.
    /// The last batch always stays: the next one's chain can then be continued from files alone.
    pub(crate) fn expired(&self, now_ms: u64, hold_ms: u64, hold_max: u64, max: usize) -> Vec<u64> {
        let settled = self.through_acked();
        let mut held = self.held.bytes;
        let mut gone = Vec::new();
        for (no, row) in self.batches.range(..=settled) {
            if *no >= self.last_batch || gone.len() == max {
                break;
            }
            match row.state {
                BatchState::Acked { at_ms }
                    if now_ms.saturating_sub(at_ms) >= hold_ms || held > hold_max =>
                {
                    held = held.saturating_sub(row.len);
                    gone.push(*no);
                }
                // Its file is in the directory of dead letters: only the row goes.
                BatchState::Dead => gone.push(*no),
                // A younger one: deleting past it would leave a hole that looks like a loss.
                BatchState::Acked { .. } | BatchState::Pending => break,
            }
        }
        gone
    }

    /// Notes that these may be gone, before they are.
    pub(crate) fn deleting_through(&mut self, no: u64) {
        if no > self.deleted_through {
            self.deleted_through = no;
            self.deleted_seq = self.batches.get(&no).map_or(0, |row| row.last_seq);
            self.note_meta();
        }
    }

    pub(crate) fn batch_deleted(&mut self, no: u64) {
        if let Some(row) = self.batches.remove(&no) {
            if row.state != BatchState::Dead {
                self.sum_of(row.state).remove(&row);
            }
            self.changes.push((rows::batch_key(no), None));
        }
    }

    // Figures

    /// Bytes that the quota counts: what waits, sealed or not.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.segment_bytes() + self.pending.bytes
    }

    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        let batch = self.first_pending().and_then(|no| self.batches.get(&no));
        match (batch.map(|row| row.oldest_ms), self.oldest_unsealed_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests;
