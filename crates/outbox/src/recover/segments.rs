//! Opening, second half: which segments there are, how far each is good, and batches made anew for those that are lost.

use sync_wire::BatchBuilder;

use super::{Recovery, io_error};
use crate::{
    config::MAX_SEGMENT_BYTES,
    error::OpenError,
    frame::{Item, Scan},
    gather::{Gatherer, Stop},
    layout::SegmentId,
    ledger::{Place, Segment},
    rows::{BatchRow, BatchState},
    sealed::Origin,
    segment::SEGMENT_HEADER_LEN,
};

/// No segment is longer: the last group may go over the limit. What is beyond was not written by us.
const MAX_FILE_BYTES: u64 = MAX_SEGMENT_BYTES + 2 * 1024 * 1024;

/// How far a segment's frames are good.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scanned {
    end_seq: u64,
    good_len: u64,
    unsealed_bytes: u64,
    oldest_unsealed_ms: Option<u64>,
    damaged_regions: u64,
}

impl Recovery<'_> {
    pub(crate) fn adopt_segments(&mut self) -> Result<(), OpenError> {
        let dir = &self.layout.segments;
        let listed = self.disk.list(dir).map_err(io_error("list", dir))?;
        let mut files: Vec<(SegmentId, u64)> = listed
            .iter()
            .filter_map(|entry| Some((SegmentId::parse(&entry.name)?, entry.len)))
            .collect();
        files.sort();
        self.ledger.next_ordinal = files.last().map_or(1, |(id, _)| id.ordinal + 1);
        for (i, (id, len)) in files.iter().enumerate() {
            // The next segment's first number bounds this one, whatever a failed write left in it.
            let bound = files
                .get(i + 1)
                .map(|(next, _)| next.first_seq.max(id.first_seq));
            let segment = self.adopt_segment(*id, *len, bound)?;
            self.ledger.segments.push_back(segment);
        }
        self.replace_missing_batches()?;
        self.set_next_seq();
        Ok(())
    }

    fn adopt_segment(
        &mut self,
        id: SegmentId,
        len: u64,
        bound: Option<u64>,
    ) -> Result<Segment, OpenError> {
        let len = len.min(MAX_FILE_BYTES);
        let mut segment = Segment {
            id,
            end_seq: bound.unwrap_or(id.first_seq),
            len,
            closed: true,
            damaged: false,
        };
        if bound.is_some_and(|bound| bound <= self.ledger.cursor_seq) {
            // All of it is sealed: the keeper removes it.
            return Ok(segment);
        }
        let noted = self.known.segments.get(&id);
        let begins_unsealed = id.first_seq >= self.ledger.cursor_seq;
        if begins_unsealed && noted.is_some_and(|row| row.len == len && Some(row.end_seq) == bound)
        {
            self.ledger.unsealed_bytes += len.saturating_sub(SEGMENT_HEADER_LEN as u64);
            self.ledger.oldest_unsealed_ms.get_or_insert(self.now_ms);
            return Ok(segment);
        }
        let scanned = self.scan(id, len, bound)?;
        self.ledger.unsealed_bytes += scanned.unsealed_bytes;
        if let Some(t) = scanned.oldest_unsealed_ms {
            let oldest = self.ledger.oldest_unsealed_ms.get_or_insert(t);
            *oldest = t.min(*oldest);
        }
        self.report.damaged_regions += scanned.damaged_regions;
        segment.damaged = scanned.damaged_regions > 0;
        if bound.is_none() {
            segment.end_seq = scanned.end_seq;
            segment.len = scanned.good_len.min(len);
            if scanned.good_len < len {
                self.report.torn_tail_bytes += len - scanned.good_len;
                self.cut(id, scanned.good_len);
            }
        }
        Ok(segment)
    }

    /// Only tidy: nothing is ever written behind a torn tail, and readers know where it starts.
    fn cut(&self, id: SegmentId, good_len: u64) {
        let path = self.layout.segment(id);
        let cut = self.disk.open_for_update(&path).and_then(|mut file| {
            file.set_len(good_len)?;
            file.sync()
        });
        if let Err(error) = cut {
            tracing::debug!(%error, "cannot cut a torn tail");
        }
    }

    fn scan(&self, id: SegmentId, len: u64, bound: Option<u64>) -> Result<Scanned, OpenError> {
        let path = self.layout.segment(id);
        let header = SEGMENT_HEADER_LEN as u64;
        let wanted = usize::try_from(len.saturating_sub(header)).unwrap_or(0);
        let buf = self
            .disk
            .read(&path, header, wanted)
            .map_err(io_error("read", &path))?;
        let salt = id.salt(self.ledger.incarnation);
        let mut out = Scanned {
            end_seq: id.first_seq,
            good_len: header,
            ..Scanned::default()
        };
        for item in Scan::new(&buf, salt, id.first_seq..bound.unwrap_or(u64::MAX)) {
            match item {
                Item::Frame(frame) => {
                    let end = header + frame.end as u64;
                    if frame.seq >= self.ledger.cursor_seq {
                        out.unsealed_bytes += end - out.good_len;
                        out.oldest_unsealed_ms.get_or_insert(frame.t_ms);
                    }
                    out.good_len = end;
                    out.end_seq = frame.seq + 1;
                }
                Item::Damage { .. } => out.damaged_regions += 1,
                Item::Tail { .. } => {
                    // In a segment with another after it a bad tail is damage if numbers are missing, else a failed write.
                    let is_loss = bound.is_some_and(|bound| out.end_seq < bound);
                    out.damaged_regions += u64::from(is_loss);
                }
            }
        }
        Ok(out)
    }

    /// Makes a batch for each number that lost its own: with the records that segments still have, the others as a gap.
    fn replace_missing_batches(&mut self) -> Result<(), OpenError> {
        let Some(epoch) = self.ledger.epoch else {
            return Ok(());
        };
        let origin = Origin {
            site: self.config.site.clone(),
            incarnation: self.ledger.incarnation,
            epoch,
        };
        for run in self.missing_runs() {
            let noted = |no| {
                let row: &BatchRow = self.known.batches.get(&no)?;
                Some((row.first_seq, row.last_seq))
            };
            let shares = run.share_out(noted);
            let mut prev_hash = run.prev_hash;
            for (no, seqs) in shares {
                let (builder, oldest_ms) = self.salvage(seqs.clone())?;
                let records = u64::from(builder.count());
                let dir = &self.layout.batches;
                let row = origin
                    .seal(self.disk, dir, builder, no, prev_hash, oldest_ms)
                    .map_err(io_error("write", dir))?;
                self.report.replaced_batches += 1;
                self.report.lost_records += seqs.end - seqs.start - records;
                self.keep_state(no, row);
                prev_hash = row.hash;
            }
        }
        Ok(())
    }

    /// Made anew byte for byte: then what was known of it still holds.
    fn keep_state(&mut self, no: u64, row: BatchRow) {
        let noted = self.known.batches.get(&no);
        let state = match noted {
            Some(noted) if noted.hash == row.hash && noted.state != BatchState::Dead => noted.state,
            _ => BatchState::Pending,
        };
        self.ledger.adopt(no, BatchRow { state, ..row });
        if no == self.ledger.last_batch {
            self.ledger.last_hash = row.hash;
        }
    }

    fn salvage(&self, seqs: std::ops::Range<u64>) -> Result<(BatchBuilder, u64), OpenError> {
        let segments: Vec<_> = self.ledger.segments.iter().copied().collect();
        salvage(
            &Gatherer {
                disk: self.disk,
                layout: self.layout,
                incarnation: self.ledger.incarnation,
                stop: Stop::at(seqs.end),
            },
            &segments,
            seqs,
            self.now_ms,
        )
        .map_err(io_error("write", &self.layout.batches))
    }

    fn set_next_seq(&mut self) {
        let ledger = &mut self.ledger;
        let readable = ledger.segments.back().map_or(1, |s| s.end_seq);
        let known = readable.max(ledger.cursor_seq);
        ledger.next_seq = known.max(self.marks.map_or(1, |marks| marks.next_seq));
        // Records that were durable and are in no file: a gap, so that their numbers are not given again.
        self.report.lost_records += ledger.next_seq - known;
        if let Some(last) = ledger.segments.back_mut() {
            last.end_seq = ledger.next_seq;
        }
        ledger.cursor = Place::default();
    }
}

impl Stop {
    /// All the format can hold, up to a number.
    pub(crate) fn at(end_seq: u64) -> Self {
        Self {
            raw_bytes: crate::config::MAX_SEAL_BYTES,
            records: u32::MAX,
            end_seq,
        }
    }
}

/// A batch of exactly these numbers: records where segments have them, a gap where not.
pub(crate) fn salvage(
    gatherer: &Gatherer<'_>,
    segments: &[Segment],
    seqs: std::ops::Range<u64>,
    now_ms: u64,
) -> std::io::Result<(BatchBuilder, u64)> {
    let first = edge_types::Seq(seqs.start);
    let (mut builder, oldest_ms) = match gatherer.gather(segments, seqs.start, Place::default()) {
        Ok(gathered) => (gathered.builder, gathered.oldest_ms),
        // Unreadable is as good as gone here: the batch must be replaced now.
        Err(_) => (BatchBuilder::new(first), None),
    };
    let last = edge_types::Seq(seqs.end - 1);
    if builder.gap_through(last).is_err() {
        // More gaps than a batch can name: the records between them are not saved.
        builder = BatchBuilder::new(first);
        builder.gap_through(last).map_err(std::io::Error::other)?;
    }
    Ok((builder, oldest_ms.unwrap_or(now_ms)))
}
