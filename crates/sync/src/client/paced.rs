//! A request body that is handed to the connection in small pieces, under the common rate.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::pace::Pacer;

/// Small enough that a slow link is filled evenly, large enough to cost nothing on a fast one.
const CHUNK_BYTES: usize = 16 << 10;

pub struct PacedBody {
    rest: Bytes,
    pacer: Arc<Mutex<Pacer>>,
    waiting: Option<(Pin<Box<Sleep>>, Bytes)>,
}

impl PacedBody {
    pub fn new(bytes: Bytes, pacer: Arc<Mutex<Pacer>>) -> Self {
        Self {
            rest: bytes,
            pacer,
            waiting: None,
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.waiting.is_none() {
            if self.rest.is_empty() {
                return Poll::Ready(None);
            }
            let size = self.rest.len().min(CHUNK_BYTES);
            let chunk = self.rest.split_to(size);
            let wait = self.pacer.lock().take(size, Instant::now());
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.waiting = Some((Box::pin(tokio::time::sleep(wait)), chunk));
        }
        if let Some((sleep, _)) = &mut self.waiting {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(self.waiting.take().map(|(_, chunk)| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.waiting.as_ref().map_or(0, |(_, chunk)| chunk.len());
        SizeHint::with_exact((self.rest.len() + waiting) as u64)
    }
}
