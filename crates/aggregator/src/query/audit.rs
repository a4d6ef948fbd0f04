//! What one stream holds and what is wrong with it: counts, gaps, duplicates, damage, breaks of the hash chain.

use edge_types::{BatchNo, Digest, IncarnationTag, Seq};
use serde::Serialize;
use sync_wire::{Decoded, SeqRange, batch_ranges};

use super::ranges::Ranges;
use super::scan::{self, StoredBatch, Stream};
use crate::store::{Store, StoreError};

/// A batch that is not what its header promises.
#[derive(Debug, Clone, Serialize)]
pub struct DamagedBatch {
    pub batch: BatchNo,
    pub reason: String,
}

/// Everything about one stream. Field names are those of the JSON output.
#[derive(Debug, Clone, Serialize)]
pub struct StreamAudit {
    #[serde(flatten)]
    pub stream: Stream,
    /// Which outbox wrote it, as in the receipts given to clients.
    pub outbox: Option<IncarnationTag>,
    pub batches: u64,
    pub records: u64,
    /// Records under different sequence numbers: `records` less the repeats.
    pub distinct_records: u64,
    pub first_seq: Option<Seq>,
    pub last_seq: Option<Seq>,
    pub record_bytes: u64,
    pub stored_bytes: u64,
    /// Numbers that no stored batch mentions.
    pub missing: Vec<SeqRange>,
    /// Numbers that the site itself has declared lost.
    pub declared_lost: Vec<SeqRange>,
    /// Numbers that more than one batch holds.
    pub duplicates: Vec<SeqRange>,
    pub missing_batches: Vec<(BatchNo, BatchNo)>,
    pub damaged: Vec<DamagedBatch>,
    /// Batches whose `prev_hash` is not the hash of the batch before.
    pub chain_breaks: Vec<BatchNo>,
}

impl StreamAudit {
    /// Reads and checks every batch of a stream.
    pub fn of(store: &dyn Store, stream: Stream) -> Result<Self, StoreError> {
        let mut builder = Builder::new(stream.clone());
        for batch in scan::batches(store, &stream)? {
            builder.add(batch?);
        }
        Ok(builder.finish())
    }

    /// Nothing is missing and nothing is there twice. What the site declared lost is known, not missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.duplicates.is_empty() && self.missing_batches.is_empty()
    }

    /// Every byte is as it was sealed, and the batches form one chain.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.chain_breaks.is_empty()
    }
}

struct Builder {
    audit: StreamAudit,
    records: Ranges,
    mentioned: Ranges,
    present: Vec<BatchNo>,
    /// Number and hash of the batch before; `None` after a damaged one, whose hash proves nothing.
    previous: Option<(BatchNo, Digest)>,
}

impl Builder {
    fn new(stream: Stream) -> Self {
        let audit = StreamAudit {
            stream,
            outbox: None,
            batches: 0,
            records: 0,
            distinct_records: 0,
            first_seq: None,
            last_seq: None,
            record_bytes: 0,
            stored_bytes: 0,
            missing: Vec::new(),
            declared_lost: Vec::new(),
            duplicates: Vec::new(),
            missing_batches: Vec::new(),
            damaged: Vec::new(),
            chain_breaks: Vec::new(),
        };
        // The first batch follows nothing, which is written as zeros.
        let previous = Some((BatchNo(0), Digest::default()));
        Self {
            audit,
            records: Ranges::default(),
            mentioned: Ranges::default(),
            present: Vec::new(),
            previous,
        }
    }

    fn add(&mut self, batch: StoredBatch) {
        let no = batch.batch_no;
        self.present.push(no);
        self.audit.batches += 1;
        self.audit.stored_bytes += batch.bytes;
        match batch.content {
            Ok(content) => {
                self.check_name(no, &content);
                self.check_chain(no, &content);
                self.count(&content);
            }
            Err(error) => {
                self.previous = None;
                self.damaged(no, error.to_string());
            }
        }
    }

    fn damaged(&mut self, batch: BatchNo, reason: String) {
        self.audit.damaged.push(DamagedBatch { batch, reason });
    }

    fn check_name(&mut self, no: BatchNo, content: &Decoded) {
        let (meta, stream) = (&content.header.meta, &self.audit.stream);
        let named = (&meta.site, meta.epoch, meta.lane, meta.batch_no);
        if named != (&stream.site, stream.epoch, stream.lane, no) {
            self.damaged(no, "it lies under a name that is not its own".to_owned());
        }
        let tag = meta.incarnation.tag();
        if *self.audit.outbox.get_or_insert(tag) != tag {
            self.damaged(no, "it was written by another outbox".to_owned());
        }
    }

    fn check_chain(&mut self, no: BatchNo, content: &Decoded) {
        // After a missing or damaged batch there is nothing to compare with; that one is reported itself.
        if let Some((before, hash)) = self.previous
            && before.next() == no
            && content.header.meta.prev_hash != hash
        {
            self.audit.chain_breaks.push(no);
        }
        self.previous = Some((no, content.hash));
    }

    fn count(&mut self, content: &Decoded) {
        let header = &content.header;
        self.audit.records += u64::from(header.count);
        self.audit.record_bytes += content
            .records()
            .map(|record| record.body.len() as u64)
            .sum::<u64>();
        let whole = SeqRange {
            first: header.first_seq,
            last: header.last_seq,
        };
        let repeats = self.mentioned.insert(whole);
        self.audit.duplicates.extend(repeats);
        self.audit.declared_lost.extend(&header.gaps);
        for range in present(whole, &header.gaps) {
            self.records.insert(range);
        }
    }

    fn finish(mut self) -> StreamAudit {
        self.audit.distinct_records = self.records.iter().map(|range| range.len()).sum();
        self.audit.first_seq = self.records.iter().next().map(|range| range.first);
        self.audit.last_seq = self.records.iter().last().map(|range| range.last);
        self.audit.missing = self.mentioned.holes();
        let mut next = BatchNo(1);
        for (first, last) in batch_ranges(self.present.iter().copied()) {
            if first > next {
                self.audit
                    .missing_batches
                    .push((next, BatchNo(first.0 - 1)));
            }
            next = last.next();
        }
        self.audit
    }
}

/// A range without its gaps, which are in order.
fn present(whole: SeqRange, gaps: &[SeqRange]) -> Vec<SeqRange> {
    let mut parts = Vec::new();
    let mut first = whole.first;
    for gap in gaps {
        if gap.first > first {
            parts.push(SeqRange {
                first,
                last: Seq(gap.first.0 - 1),
            });
        }
        first = gap.last.next();
    }
    if first <= whole.last {
        parts.push(SeqRange {
            first,
            last: whole.last,
        });
    }
    parts
}
