//! The answer to a call that a filter made.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::services::{OutboundReply, ServiceError};

pub(crate) struct Reply {
    /// None: the call failed, and there is no answer.
    pub(super) answer: Option<Answered>,
}

pub(crate) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn of(sent: Result<OutboundReply, ServiceError>) -> Self {
        let answer = sent.ok().map(|reply| Answered {
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
        });
        Self { answer }
    }

    /// Fields, `:status` included: 0 tells the guest that it failed.
    pub(super) fn field_count(&self) -> u32 {
        self.answer
            .as_ref()
            .map_or(0, |answer| answer.headers.len() as u32 + 1)
    }

    pub(super) fn body(&self) -> &[u8] {
        self.answer.as_ref().map_or(&[], |answer| &answer.body)
    }
}
