//! One exchange as a filter sees it: a context on the VM that made it, what it holds back, what it answered.
//!
//! Invariant: a context that was created is deleted, at the latest before the next call on its VM after the exchange was dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::abi::Half;
use super::messages::Piece;
use super::pool::Slot;
use super::properties::Set;
use super::reply::Reply;
use crate::decision::LocalResponse;

/// The stream's state: with the exchange between calls, with the VM during one.
pub(crate) struct Stream {
    pub(super) id: u32,
    pub(super) request: Flow,
    pub(super) response: Flow,
    /// `proxy_send_local_response`: what the client gets.
    pub(super) local: Option<LocalResponse>,
    /// `proxy_close_stream`: nothing is to be answered.
    pub(super) closed: bool,
    pub(super) properties: Set,
    pub(super) mailbox: Arc<Mailbox>,
}

/// One half of it.
#[derive(Default)]
pub(super) struct Flow {
    /// The last callback said so, and nothing has resumed it since.
    pub(super) paused: bool,
    /// Bytes that were held back and those that came last: what the buffer functions see. None: there is no body at the moment.
    pub(super) body: Option<Vec<u8>>,
    /// The guest wrote to it.
    pub(super) changed: bool,
    /// While their callback runs, or holds them back.
    pub(super) trailers: Option<HeaderMap>,
}

impl Stream {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self {
            id: 0,
            request: Flow::default(),
            response: Flow::default(),
            local: None,
            closed: false,
            properties: Set::default(),
            mailbox,
        }
    }

    pub(super) fn flow(&mut self, half: Half) -> &mut Flow {
        match half {
            Half::Request => &mut self.request,
            Half::Response => &mut self.response,
        }
    }

    pub(super) fn resumed(&mut self, half: Half) {
        self.flow(half).paused = false;
    }

    /// What the client is to get, if the filter said so; a stream that it closed is refused, as bluntly as can be.
    pub(super) fn answer(&mut self, half: Half) -> Option<LocalResponse> {
        if let Some(response) = self.local.take() {
            return Some(response);
        }
        std::mem::take(&mut self.closed).then(|| LocalResponse {
            status: match half {
                Half::Request => StatusCode::FORBIDDEN,
                Half::Response => StatusCode::BAD_GATEWAY,
            },
            headers: HeaderMap::new(),
            body: Bytes::new(),
        })
    }

    /// What came in from outside while the stream was paused.
    pub(super) fn collect(&mut self) -> Option<(u32, Reply)> {
        let mut mail = self.mailbox.mail.lock();
        if let Some(response) = mail.local.take() {
            self.local = Some(response);
        }
        if std::mem::take(&mut mail.resume_request) {
            self.request.paused = false;
        }
        if std::mem::take(&mut mail.resume_response) {
            self.response.paused = false;
        }
        mail.replies.pop_front()
    }
}

/// What others have for a stream: answers to its calls, and what the guest does for it in the name of its root context.
#[derive(Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    /// Calls that were begun, those that are over included.
    begun: AtomicU32,
    arrived: Notify,
}

#[derive(Default)]
struct Mail {
    resume_request: bool,
    resume_response: bool,
    local: Option<LocalResponse>,
    /// As many as there were calls.
    replies: VecDeque<(u32, Reply)>,
    in_flight: u32,
}

impl Mailbox {
    pub(super) fn resume(&self, half: Half) {
        let mut mail = self.mail.lock();
        match half {
            Half::Request => mail.resume_request = true,
            Half::Response => mail.resume_response = true,
        }
        self.arrived.notify_one();
    }

    pub(super) fn respond(&self, response: LocalResponse) {
        self.mail.lock().local = Some(response);
        self.arrived.notify_one();
    }

    pub(super) fn call_began(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.mail.lock().in_flight += 1;
    }

    pub(super) fn call_ended(&self, token: u32, reply: Reply) {
        let mut mail = self.mail.lock();
        mail.in_flight = mail.in_flight.saturating_sub(1);
        mail.replies.push_back((token, reply));
        self.arrived.notify_one();
    }

    /// Calls that were begun.
    pub(super) fn calls(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// An answer that the guest was not told yet. With the last one the count begins anew.
    pub(super) fn take_reply(&self) -> Option<(u32, Reply)> {
        let mut mail = self.mail.lock();
        let reply = mail.replies.pop_front()?;
        if mail.in_flight == 0 && mail.replies.is_empty() {
            self.begun.store(0, Ordering::Relaxed);
        }
        Some(reply)
    }

    /// Whether an answer is still to come.
    pub(super) fn awaits_calls(&self) -> bool {
        let mail = self.mail.lock();
        mail.in_flight > 0 || !mail.replies.is_empty()
    }

    /// Its VM is gone: who waits is to see that.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    pub(super) async fn arrival(&self) {
        self.arrived.notified().await;
    }
}

/// A stream in an exchange, tied to the VM that has its context.
pub(crate) struct Pinned {
    /// Whose it is.
    pub(super) plugin: u64,
    pub(super) slot: Arc<Slot>,
    /// Which of the slot's VMs: another one knows nothing of this stream.
    pub(super) generation: u64,
    /// None only while a call has it.
    pub(super) stream: Option<Box<Stream>>,
}

impl Pinned {
    /// How much of a body is held back.
    pub(super) fn held_len(&self, half: Half) -> usize {
        let stream = self.stream.as_deref();
        let flow = stream.map(|stream| match half {
            Half::Request => &stream.request,
            Half::Response => &stream.response,
        });
        flow.and_then(|flow| flow.body.as_ref())
            .map_or(0, |body| body.len())
    }

    /// What goes on after a body callback.
    pub(super) fn passed(&mut self, half: Half, piece: &Bytes) -> Piece {
        let Some(stream) = &mut self.stream else {
            return Piece::Kept;
        };
        let flow = stream.flow(half);
        if flow.paused {
            return Piece::Passed(Bytes::new());
        }
        let changed = std::mem::take(&mut flow.changed);
        match flow.body.take() {
            Some(body) if changed || body.len() != piece.len() => Piece::Passed(body.into()),
            _ => Piece::Kept,
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.slot.orphaned(self.generation, stream.id);
        }
    }
}
