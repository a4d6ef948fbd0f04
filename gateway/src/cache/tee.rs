//! Keeps a copy of a body while it passes, and hands it over once the body has passed whole.
//!
//! Invariants: the copy never outgrows its limit (past it, it is given up and the body passes on); a body that failed, that was
//! dropped or that has trailers is not kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::body::{Body, BodyError};

/// What is set aside at once for a body whose length is announced; more grows as it comes.
const MAX_RESERVED_BYTES: u64 = 1 << 20;

/// How a copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    Whole(Bytes),
    TooLarge,
    /// Failed, given up by the client, or with trailers.
    Partial,
}

/// Passes `body` on, and calls `done` once with its copy of at most `limit` bytes.
pub fn copying(body: Body, limit: u64, done: impl FnOnce(Copied) + Send + 'static) -> Body {
    if body.is_empty() {
        done(Copied::Whole(Bytes::new()));
        return body;
    }
    if let Some(whole) = body.in_memory() {
        // One small piece: the store wants its own, so as not to hold on to a larger buffer.
        let copy = if whole.len() as u64 <= limit {
            Copied::Whole(Bytes::copy_from_slice(&whole))
        } else {
            Copied::TooLarge
        };
        done(copy);
        return body;
    }
    let expected = body.exact_len().unwrap_or(0);
    if expected > limit {
        done(Copied::TooLarge);
        return body;
    }
    let copy =
        BytesMut::with_capacity(usize::try_from(expected.min(MAX_RESERVED_BYTES)).unwrap_or(0));
    let tee = Tee {
        body,
        copy,
        limit,
        done: Some(Box::new(done)),
    };
    Body::wrap_with(tee, |error| error)
}

struct Tee {
    body: Body,
    copy: BytesMut,
    limit: u64,
    done: Option<Box<dyn FnOnce(Copied) + Send>>,
}

impl Tee {
    fn end(&mut self, how: Copied) {
        if let Some(done) = self.done.take() {
            done(how);
        }
    }

    fn whole(&mut self) {
        if self.done.is_none() {
            return;
        }
        let copy = std::mem::take(&mut self.copy);
        // Growing doubles: what is kept for long is cut to size.
        let exact = if copy.capacity() > copy.len() + copy.len() / 8 {
            Bytes::copy_from_slice(&copy)
        } else {
            copy.freeze()
        };
        self.end(Copied::Whole(exact));
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.done.is_none() {
            return;
        }
        let Some(data) = frame.data_ref() else {
            self.copy = BytesMut::new();
            return self.end(Copied::Partial);
        };
        if (self.copy.len() + data.len()) as u64 > self.limit {
            self.copy = BytesMut::new();
            return self.end(Copied::TooLarge);
        }
        self.copy.extend_from_slice(data);
        if self.body.is_empty() {
            self.whole();
        }
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.keep(frame),
            Poll::Ready(Some(Err(_))) => self.end(Copied::Partial),
            Poll::Ready(None) => self.whole(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.end(Copied::Partial);
    }
}
