//! The thread that writes records: gathers those that wait, writes them with one write and one fsync, then answers.
//!
//! Invariants: a record is answered `Ok` only when it is durable; numbers are given here and nowhere else; after a failed write
//! or fsync its records are answered with an error, nothing more goes into that segment, and the next one starts at the number
//! after the last durable record.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::Instant,
};

use bytes::Bytes;
use edge_types::{Lane, Receipt, Seq};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    error::AppendError,
    frame::{FRAME_HEADER_LEN, write_frame},
    layout::SegmentId,
    segment::SegmentWriter,
    shared::{Shared, now_ms},
};

/// A group is written when it has this much: larger ones only make the first caller wait.
const GROUP_BYTES: usize = 1024 * 1024;

pub(crate) struct Entry {
    pub body: Bytes,
    /// `None` for a record that nobody waits for.
    pub reply: Option<oneshot::Sender<Result<Receipt, AppendError>>>,
    /// Small and needed to go on (a gap record): taken even when space is low.
    pub essential: bool,
    /// Gives the queue's bytes back.
    pub _permit: Option<OwnedSemaphorePermit>,
}

pub(crate) enum Command {
    Append(Entry),
    /// Close this segment if it is still the one being written.
    CloseSegment(SegmentId),
    /// Answers when everything sent before was written or refused.
    Flush(oneshot::Sender<()>),
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<Command>,
    segment: Option<SegmentWriter>,
    frames: Vec<u8>,
    /// The last group had several records: more are likely to come while we wait.
    is_busy: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, inbox: Receiver<Command>) -> Self {
        Self {
            shared,
            inbox,
            segment: None,
            frames: Vec::new(),
            is_busy: false,
        }
    }

    /// Ends when every sender is gone and the queue is empty.
    pub(crate) fn run(mut self) {
        while let Ok(command) = self.inbox.recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Append(entry) => next = self.group(entry),
                    Command::CloseSegment(id) => self.close_segment(id),
                    Command::Flush(answer) => {
                        let _ = answer.send(());
                    }
                }
            }
        }
    }

    /// Gathers and commits one group. Returns the command that ended it, if one did.
    fn group(&mut self, first: Entry) -> Option<Command> {
        let mut bytes = first.body.len();
        let mut group = vec![first];
        let mut deadline = None;
        let other = loop {
            if bytes >= GROUP_BYTES {
                break None;
            }
            let command = match self.inbox.try_recv() {
                Err(TryRecvError::Empty) if group.len() > 1 || self.is_busy => {
                    let until: Instant =
                        *deadline.get_or_insert_with(|| Instant::now() + self.shared.config.gather);
                    self.inbox
                        .recv_timeout(until.saturating_duration_since(Instant::now()))
                }
                // A lone caller is not made to wait.
                Err(TryRecvError::Empty) => Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(command) => Ok(command),
            };
            match command {
                Ok(Command::Append(entry)) => {
                    bytes += entry.body.len();
                    group.push(entry);
                }
                Ok(other) => break Some(other),
                Err(_) => break None,
            }
        };
        self.is_busy = group.len() > 1;
        self.commit(group);
        other
    }

    fn commit(&mut self, group: Vec<Entry>) {
        let bytes: usize = group.iter().map(|e| e.body.len() + FRAME_HEADER_LEN).sum();
        let group = match self.shared.check_space(bytes as u64) {
            Ok(()) => group,
            Err(error) => {
                let (essential, refused): (Vec<_>, _) =
                    group.into_iter().partition(|entry| entry.essential);
                answer_all(refused, &error);
                essential
            }
        };
        if group.is_empty() {
            return;
        }
        let started = Instant::now();
        match self.write(&group) {
            Ok(first_seq) => {
                metrics::histogram!("gateway_outbox_commit_seconds").record(started.elapsed());
                self.answer(group, first_seq);
            }
            Err(error) => {
                self.give_up_segment(&error);
                answer_all(group, &AppendError::Io(Arc::new(error)));
            }
        }
    }

    /// Makes the group durable and notes it. Returns the first record's number.
    fn write(&mut self, group: &[Entry]) -> io::Result<u64> {
        let now = now_ms();
        let full = |s: &SegmentWriter| s.durable_len >= self.shared.config.segment_bytes;
        if self.segment.as_ref().is_some_and(full) {
            self.segment = None;
            self.shared.change(|ledger| ledger.segment_closed());
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(begin_segment(&self.shared, now)?),
        };
        let first_seq = self.shared.ledger.lock().next_seq;
        self.frames.clear();
        for (seq, entry) in (first_seq..).zip(group) {
            write_frame(&mut self.frames, segment.salt, seq, now, &entry.body);
        }
        segment.commit(&self.frames)?;
        let (count, bytes) = (group.len() as u64, self.frames.len() as u64);
        self.shared
            .change(|ledger| ledger.committed(count, bytes, now));
        // Before anyone is told: after a killed process no number can be given a second time, whatever becomes of the segment.
        self.shared.write_witness(false);
        metrics::counter!("gateway_outbox_records_total").increment(count);
        metrics::counter!("gateway_outbox_record_bytes_total").increment(bytes);
        metrics::counter!("gateway_outbox_commits_total").increment(1);
        self.wake_keeper_when_due();
        Ok(first_seq)
    }

    fn wake_keeper_when_due(&self) {
        let config = &self.shared.config;
        let ledger = self.shared.ledger.lock();
        let due = ledger.unsealed_bytes >= config.seal_bytes as u64
            || ledger.unsealed_records() >= u64::from(config.seal_records);
        if due && ledger.epoch.is_some() {
            drop(ledger);
            self.shared.wake.ring();
        }
    }

    fn answer(&self, group: Vec<Entry>, first_seq: u64) {
        for (seq, entry) in (first_seq..).zip(group) {
            let receipt = Receipt {
                lane: Lane::Events,
                seq: Seq(seq),
                incarnation: self.shared.tag,
            };
            if let Some(reply) = entry.reply {
                // The caller may have gone; the record stays.
                let _ = reply.send(Ok(receipt));
            }
        }
    }

    /// After a failed fsync the kernel may have dropped the pages and say nothing the next time: never write there again.
    fn give_up_segment(&mut self, error: &io::Error) {
        tracing::warn!(%error, "outbox segment given up after a failed write");
        self.shared
            .faults
            .commit_failures
            .fetch_add(1, Ordering::Relaxed);
        metrics::counter!("gateway_outbox_commit_failures_total").increment(1);
        self.shared.release_reserve(error);
        self.frames = Vec::new();
        if let Some(segment) = self.segment.take() {
            self.shared.change(|ledger| ledger.segment_closed());
            if let Err(error) = segment.cut_to_durable() {
                tracing::debug!(%error, "cannot cut the segment; the next one's name bounds it");
            }
        }
    }

    fn close_segment(&mut self, id: SegmentId) {
        if self.segment.as_ref().is_some_and(|s| s.id == id) {
            self.segment = None;
            self.shared.change(|ledger| ledger.segment_closed());
            self.shared.wake.ring();
        }
    }
}

fn begin_segment(shared: &Shared, now: u64) -> io::Result<SegmentWriter> {
    let id = shared.change(|ledger| ledger.new_segment_id());
    let disk = shared.disk.as_ref();
    let segment = SegmentWriter::create(disk, &shared.layout, id, shared.incarnation, now)?;
    shared.change(|ledger| ledger.segment_begun(id));
    Ok(segment)
}

fn answer_all(group: Vec<Entry>, error: &AppendError) {
    for entry in group {
        metrics::counter!("gateway_outbox_append_errors_total", "kind" => error.kind())
            .increment(1);
        if let Some(reply) = entry.reply {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
