//! Reads the usage of an LLM's response while it passes. Nothing of it is held or changed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use policy_host::llm::UsageScanner;

use crate::body::{Body, BodyError};

/// Passes `body` on, and lets the scanner read it.
pub(super) fn scanned(body: Body, scanner: Arc<Mutex<UsageScanner>>) -> Body {
    if let Some(bytes) = body.in_memory() {
        scanner.lock().read(&bytes);
        return body;
    }
    Body::wrap_with(Scanned { body, scanner }, |error| error)
}

struct Scanned {
    body: Body,
    scanner: Arc<Mutex<UsageScanner>>,
}

impl HttpBody for Scanned {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.scanner.lock().read(data);
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
