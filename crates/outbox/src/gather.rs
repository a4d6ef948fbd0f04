//! Reading records out of segments, in order, into a batch. What cannot be read becomes a gap.

use std::{io, ops::Range};

use edge_types::{Incarnation, Seq};
use sync_wire::{BatchBuilder, limits::MAX_RECORD_BYTES};

use crate::{
    disk::Disk,
    frame::{FRAME_HEADER_LEN, Frame, Item, Scan},
    layout::{Layout, SegmentId},
    ledger::{Place, Segment},
    segment::SEGMENT_HEADER_LEN,
};

/// Read at a time. Any frame fits into a quarter of it.
const WINDOW_BYTES: usize = 4 * (MAX_RECORD_BYTES + FRAME_HEADER_LEN);

/// Where to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub raw_bytes: usize,
    pub records: u32,
    /// Numbers from this one on are not wanted.
    pub end_seq: u64,
}

/// Gathers one batch's records.
pub(crate) struct Gatherer<'a> {
    pub disk: &'a dyn Disk,
    pub layout: &'a Layout,
    pub incarnation: Incarnation,
    pub stop: Stop,
}

pub(crate) struct Gathered {
    pub builder: BatchBuilder,
    pub oldest_ms: Option<u64>,
    pub next: Place,
    /// Bytes of segments that this batch covers.
    pub consumed: u64,
    pub damaged: Vec<SegmentId>,
}

enum Flow {
    EndOfSegment,
    Stop,
}

impl Gatherer<'_> {
    /// From number `first` on, which is at `from` or at the beginning of its segment.
    pub(crate) fn gather(
        &self,
        segments: &[Segment],
        first: u64,
        from: Place,
    ) -> io::Result<Gathered> {
        let mut out = Gathered {
            builder: BatchBuilder::new(Seq(first)),
            oldest_ms: None,
            next: from,
            consumed: 0,
            damaged: Vec::new(),
        };
        for segment in segments.iter().filter(|s| s.end_seq > first) {
            if segment.id.first_seq >= self.stop.end_seq {
                break;
            }
            let start = if segment.id.ordinal == from.ordinal {
                from.offset
            } else {
                SEGMENT_HEADER_LEN as u64
            };
            out.next = Place {
                ordinal: segment.id.ordinal,
                offset: start,
            };
            match self.walk(segment, &mut out)? {
                Flow::EndOfSegment => self.close_gap(segment, &mut out),
                Flow::Stop => break,
            }
        }
        Ok(out)
    }

    /// For when reading fails and keeps failing: what was read before the bad place, or else that segment's records as a gap.
    pub(crate) fn give_up_first(
        &self,
        segments: &[Segment],
        first: u64,
        from: Place,
    ) -> io::Result<Gathered> {
        let bad = segments.iter().find(|s| s.end_seq > first);
        let mut builder = BatchBuilder::new(Seq(first));
        let mut out_of = |segment: &Segment| {
            let last = segment.end_seq.min(self.stop.end_seq) - 1;
            builder.gap_through(Seq(last)).map_err(io::Error::other)
        };
        bad.map_or(Ok(()), &mut out_of)?;
        Ok(Gathered {
            builder,
            oldest_ms: None,
            next: bad.map_or(from, |s| Place {
                ordinal: s.id.ordinal,
                offset: s.len,
            }),
            consumed: bad.map_or(0, |s| s.len.saturating_sub(SEGMENT_HEADER_LEN as u64)),
            damaged: bad.map(|s| s.id).into_iter().collect(),
        })
    }

    /// What the segment ought to have held and did not.
    fn close_gap(&self, segment: &Segment, out: &mut Gathered) {
        let end = segment.end_seq.min(self.stop.end_seq);
        if out.builder.next_seq().0 < end {
            if !out.damaged.contains(&segment.id) {
                out.damaged.push(segment.id);
            }
            // Refused only when the batch has its fill of gaps: the next one then starts with this.
            let _ = out.builder.gap_through(Seq(end - 1));
        }
    }

    fn walk(&self, segment: &Segment, out: &mut Gathered) -> io::Result<Flow> {
        let path = self.layout.segment(segment.id);
        let salt = segment.id.salt(self.incarnation);
        let mut seqs = segment.id.first_seq..segment.end_seq;
        let mut window = WINDOW_BYTES;
        while out.next.offset < segment.len {
            let at = out.next.offset;
            let wanted = window.min(usize::try_from(segment.len - at).unwrap_or(window));
            let buf = self.disk.read(&path, at, wanted)?;
            // A file shorter than it was: what is not there is damage like any other.
            let is_rest = buf.len() < wanted || at + wanted as u64 == segment.len;
            match self.walk_window(segment, &buf, salt, &mut seqs, out) {
                Window::Stopped => return Ok(Flow::Stop),
                Window::Used(used) if used == buf.len() && !is_rest => {}
                Window::Used(_) if is_rest => {
                    let rest = segment.len - out.next.offset;
                    out.consumed += rest;
                    out.next.offset = segment.len;
                }
                // No frame in a whole window: search in a larger one, in the end in all that is left.
                Window::Used(0) => window = window.saturating_mul(4),
                Window::Used(_) => {}
            }
        }
        Ok(Flow::EndOfSegment)
    }

    fn walk_window(
        &self,
        segment: &Segment,
        buf: &[u8],
        salt: u32,
        seqs: &mut Range<u64>,
        out: &mut Gathered,
    ) -> Window {
        let base = out.next.offset;
        let mut used = 0;
        for item in Scan::new(buf, salt, seqs.clone()) {
            match item {
                Item::Frame(frame) => {
                    let wanted = frame.seq >= out.builder.next_seq().0;
                    if wanted && !self.take(&frame, out) {
                        return Window::Stopped;
                    }
                    if wanted {
                        out.consumed += (frame.end - used) as u64;
                    }
                    used = frame.end;
                    seqs.start = frame.seq + 1;
                }
                Item::Damage { end, .. } => {
                    out.consumed += (end - used) as u64;
                    used = end;
                    if !out.damaged.contains(&segment.id) {
                        out.damaged.push(segment.id);
                    }
                }
                Item::Tail { .. } => break,
            }
            out.next.offset = base + used as u64;
        }
        Window::Used(used)
    }

    /// False when the batch is full, or the frame is past the end.
    fn take(&self, frame: &Frame<'_>, out: &mut Gathered) -> bool {
        let seq = Seq(frame.seq);
        let full = out.builder.count() >= self.stop.records
            || (out.builder.count() > 0
                && out.builder.raw_len() + frame.body.len() + 8 > self.stop.raw_bytes)
            || !out.builder.has_room_for(seq, frame.body.len());
        if full || frame.seq >= self.stop.end_seq || out.builder.push(seq, frame.body).is_err() {
            return false;
        }
        out.oldest_ms = Some(out.oldest_ms.map_or(frame.t_ms, |t| t.min(frame.t_ms)));
        true
    }
}

enum Window {
    /// So many bytes from the front are done with.
    Used(usize),
    Stopped,
}
