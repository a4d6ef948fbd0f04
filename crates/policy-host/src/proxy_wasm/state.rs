//! What the host keeps in the store of one VM: the stream that it is lent, its contexts, what it defined.
//!
//! Invariant: between calls no stream is lent, and `effective` is the root context.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;

use super::abi::Half;
use super::facts::Facts;
use super::foreign::Defined;
use super::memory::Links;
use super::reply::Reply;
use super::stream::{Mailbox, Stream};
use crate::decision::LocalResponse;
use crate::host::log::one_line;
use crate::state::HostState;

/// The root context: one plugin per VM.
pub(super) const ROOT: u32 = 1;
/// Streams that one VM may serve at once: far more than a worker's share of `max_exchanges`.
pub(super) const MAX_STREAMS: usize = 8192;

pub(super) struct VmState {
    pub(super) base: HostState,
    pub(super) links: Links,
    pub(super) facts: Arc<Facts>,
    /// The stream of the call under way.
    pub(super) stream: Option<Box<Stream>>,
    /// Every stream that has a context in this VM.
    pub(super) streams: HashMap<u32, Arc<Mailbox>>,
    /// In whose name host functions act.
    pub(super) effective: u32,
    /// During `proxy_on_http_call_response`.
    pub(super) reply: Option<Reply>,
    pub(super) defined: Defined,
    pub(super) tick_ms: u32,
    pub(super) next_context: u32,
    /// Answers to calls of the root context.
    pub(super) root_mailbox: Arc<Mailbox>,
    next_token: u32,
    /// While it is started: the last error that it logged, which is the reason if it then refuses.
    complaint: Option<String>,
}

/// As much of a complaint as an operator reads.
const MAX_COMPLAINT_BYTES: usize = 1024;

impl VmState {
    pub(super) fn new(base: HostState, facts: Arc<Facts>) -> Self {
        Self {
            base,
            links: Links::default(),
            facts,
            stream: None,
            streams: HashMap::new(),
            effective: ROOT,
            reply: None,
            defined: Defined::default(),
            tick_ms: 0,
            next_context: ROOT,
            root_mailbox: Arc::default(),
            next_token: 0,
            complaint: None,
        }
    }

    /// An error that the guest logs. What it logs later than at its start is for the log alone.
    pub(super) fn note_complaint(&mut self, message: &[u8]) {
        if !self.base.exchange.is_real() && self.streams.is_empty() {
            let message = &message[..message.len().min(MAX_COMPLAINT_BYTES)];
            self.complaint = Some(one_line(&String::from_utf8_lossy(message)));
        }
    }

    pub(super) fn take_complaint(&mut self) -> Option<String> {
        self.complaint.take()
    }

    /// A number for a new stream. None: there are too many.
    pub(super) fn new_context(&mut self, mailbox: &Arc<Mailbox>) -> Option<u32> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        loop {
            self.next_context = self.next_context.checked_add(1).unwrap_or(ROOT + 1);
            if !self.streams.contains_key(&self.next_context) {
                self.streams.insert(self.next_context, mailbox.clone());
                return Some(self.next_context);
            }
        }
    }

    /// Never 0, and none that is in use: there are never so many calls.
    pub(super) fn new_token(&mut self) -> u32 {
        self.next_token = self.next_token.checked_add(1).unwrap_or(1);
        self.next_token
    }

    /// The lent stream, if the guest acts in its name.
    pub(super) fn acting(&mut self) -> Option<&mut Stream> {
        let effective = self.effective;
        self.stream
            .as_deref_mut()
            .filter(|stream| stream.id == effective)
    }

    /// The trailers of the stream that the guest acts for, if they are here.
    pub(super) fn trailers(&self, half: Half) -> Option<&HeaderMap> {
        let stream = self.stream.as_deref().filter(|_| self.is_acting())?;
        let flow = match half {
            Half::Request => &stream.request,
            Half::Response => &stream.response,
        };
        flow.trailers.as_ref()
    }

    pub(super) fn trailers_mut(&mut self, half: Half) -> Option<&mut HeaderMap> {
        self.acting()?.flow(half).trailers.as_mut()
    }

    pub(super) fn is_acting(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.id == self.effective)
    }

    /// False: there is no such context.
    pub(super) fn act_as(&mut self, context: u32) -> bool {
        let known = context == ROOT || self.streams.contains_key(&context);
        if known {
            self.effective = context;
        }
        known
    }

    /// A held back half of the stream that the guest acts for goes on. False: it acts for none.
    pub(super) fn resume(&mut self, half: Half) -> bool {
        if let Some(stream) = self.acting() {
            stream.resumed(half);
            return true;
        }
        match self.streams.get(&self.effective) {
            Some(mailbox) => {
                mailbox.resume(half);
                true
            }
            None => false,
        }
    }

    /// The answer to the stream that the guest acts for. False: it acts for none.
    pub(super) fn respond(&mut self, response: LocalResponse) -> bool {
        if let Some(stream) = self.acting() {
            stream.local = Some(response);
            return true;
        }
        match self.streams.get(&self.effective) {
            Some(mailbox) => {
                mailbox.respond(response);
                true
            }
            None => false,
        }
    }
}
