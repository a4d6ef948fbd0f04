//! One type for every body that passes through the gateway, and the only place where bodies are counted, bounded and timed.
//!
//! Invariants: a `Body` never holds more than one chunk; a bound is checked before the chunk that crosses it is handed on; the
//! end watch is called exactly once, when the body ended, failed or was dropped unread.

mod gather;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

pub use self::gather::Gathered;

/// An error of any type, kept for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is longer than the route or the gateway allows.
    #[error("the body is longer than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    /// No byte arrived for longer than the between-bytes timeout.
    #[error("no byte of the body arrived for {0:?}")]
    Stalled(Duration),
    /// The peer (client for a request, upstream for a response) closed or reset before the end.
    #[error("the body ended early")]
    Incomplete(#[source] BoxError),
    /// The gateway itself gave the body up (shutdown, cancelled exchange).
    #[error("the body was given up: {0}")]
    Cancelled(&'static str),
    /// A policy that watches the body broke it off, or one that must watch it could not.
    #[error("{0}")]
    Refused(Refusal),
}

/// Why a watched body was broken off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error("policy {0} broke the body off")]
    ByPolicy(Arc<str>),
    #[error("{0}")]
    Unavailable(String),
}

/// How a body came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// Every byte was handed on.
    Complete,
    /// It failed on the side it was read from.
    Failed(BodyFault),
    /// The reader went away first.
    Dropped,
}

/// The kinds of `BodyError`, without their causes, for records and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    TooLarge,
    Stalled,
    Incomplete,
    Cancelled,
    Refused,
}

impl BodyError {
    /// The kind alone.
    pub fn fault(&self) -> BodyFault {
        match self {
            Self::TooLarge { .. } => BodyFault::TooLarge,
            Self::Stalled(_) => BodyFault::Stalled,
            Self::Incomplete(_) => BodyFault::Incomplete,
            Self::Cancelled(_) => BodyFault::Cancelled,
            Self::Refused(_) => BodyFault::Refused,
        }
    }
}

/// Bytes seen so far, readable while the body is still passing.
#[derive(Debug, Clone, Default)]
pub struct ByteCount(Arc<AtomicU64>);

impl ByteCount {
    /// The bytes handed on until now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

type EndWatch = Box<dyn FnOnce(BodyEnd) + Send>;

/// A streaming body: `http_body::Body<Data = Bytes, Error = BodyError>`, `Send + Unpin`.
pub struct Body {
    inner: Inner,
    count: Option<ByteCount>,
    bound: Option<Bound>,
    pause: Option<Pause>,
    on_end: Option<EndWatch>,
}

enum Inner {
    Empty,
    Full(Bytes),
    Incoming(hyper::body::Incoming),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError> + Send>>),
}

struct Bound {
    limit: u64,
    left: u64,
}

/// The between-bytes timer; it runs only while somebody waits for the next chunk, so a slow reader is never blamed on the sender.
struct Pause {
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self::of(Inner::Empty)
    }

    /// Bytes that are already here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::of(if bytes.is_empty() {
            Inner::Empty
        } else {
            Inner::Full(bytes)
        })
    }

    /// A body that hyper is receiving.
    pub fn incoming(body: hyper::body::Incoming) -> Self {
        Self::of(Inner::Incoming(body))
    }

    /// Any other body; its errors count as an early end of the peer.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::wrap_with(body, |error| BodyError::Incomplete(error.into()))
    }

    /// Any other body, with its own reading of its errors.
    pub fn wrap_with<B, F>(body: B, reading: F) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        F: FnMut(B::Error) -> BodyError + Send + 'static,
    {
        Self::of(Inner::Boxed(Box::pin(body.map_err(reading))))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner,
            count: None,
            bound: None,
            pause: None,
            on_end: None,
        }
    }

    /// Counts the data bytes that pass into `count`.
    pub fn counted(mut self, count: &ByteCount) -> Self {
        self.count = Some(count.clone());
        self
    }

    /// Fails with `TooLarge` instead of handing on a byte past `limit`.
    pub fn bounded(mut self, limit: u64) -> Self {
        self.bound = Some(Bound { limit, left: limit });
        self
    }

    /// Fails with `Stalled` when a wait for the next chunk lasts longer than `timeout`. Needs a tokio runtime.
    pub fn between_bytes(mut self, timeout: Duration) -> Self {
        if !matches!(self.inner, Inner::Empty | Inner::Full(_)) {
            self.pause = Some(Pause {
                timeout,
                sleep: Box::pin(tokio::time::sleep(timeout)),
                armed: false,
            });
        }
        self
    }

    /// Calls `watch` exactly once when the body is over, in whatever way. A watch set earlier is told first.
    pub fn on_end(mut self, watch: impl FnOnce(BodyEnd) + Send + 'static) -> Self {
        self.on_end = Some(match self.on_end.take() {
            None => Box::new(watch),
            Some(earlier) => Box::new(move |end| {
                earlier(end);
                watch(end);
            }),
        });
        self
    }

    /// The whole length, if it is known before reading.
    pub fn exact_len(&self) -> Option<u64> {
        HttpBody::size_hint(self).exact()
    }

    /// Whether the body is known to hold nothing (more).
    pub fn is_empty(&self) -> bool {
        HttpBody::is_end_stream(self)
    }

    /// The bytes, if they are all in memory already (a body that can be sent again).
    pub fn in_memory(&self) -> Option<Bytes> {
        match &self.inner {
            Inner::Empty => Some(Bytes::new()),
            Inner::Full(bytes) => Some(bytes.clone()),
            Inner::Incoming(body) if HttpBody::is_end_stream(body) => Some(Bytes::new()),
            Inner::Incoming(_) | Inner::Boxed(_) => None,
        }
    }

    /// Reads everything into memory; fails with `TooLarge` past `limit`.
    pub async fn collect_bounded(self, limit: u64) -> Result<Bytes, BodyError> {
        let mut body = self.bounded(limit);
        let mut first: Option<Bytes> = None;
        let mut rest = bytes::BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            match &first {
                None => first = Some(data),
                Some(head) => {
                    if rest.is_empty() {
                        rest.extend_from_slice(head);
                    }
                    rest.extend_from_slice(&data);
                }
            }
        }
        Ok(if rest.is_empty() {
            first.unwrap_or_default()
        } else {
            rest.freeze()
        })
    }

    fn finish(&mut self, end: BodyEnd) {
        if let Some(watch) = self.on_end.take() {
            watch(end);
        }
    }

    fn poll_inner(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Incoming(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| BodyError::Incomplete(error.into())),
            Inner::Boxed(body) => body.as_mut().poll_frame(cx),
        }
    }

    /// Counts a frame and refuses the one that crosses the bound.
    fn admit(&mut self, frame: &Frame<Bytes>) -> Result<(), BodyError> {
        let Some(data) = frame.data_ref() else {
            return Ok(());
        };
        let len = data.len() as u64;
        if let Some(bound) = &mut self.bound {
            match bound.left.checked_sub(len) {
                Some(left) => bound.left = left,
                None => return Err(BodyError::TooLarge { limit: bound.limit }),
            }
        }
        if let Some(count) = &self.count {
            count.add(len);
        }
        Ok(())
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.inner = Inner::Empty;
        self.finish(BodyEnd::Failed(error.fault()));
        Poll::Ready(Some(Err(error)))
    }
}

impl Pause {
    /// `true` once the wait that began with the first pending poll is over.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.armed {
            self.armed = true;
            self.sleep.as_mut().reset(Instant::now() + self.timeout);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.poll_inner(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(pause) = &mut self.pause {
                    pause.armed = false;
                }
                if let Err(error) = self.admit(&frame) {
                    return self.fail(error);
                }
                if HttpBody::is_end_stream(&*self) {
                    self.finish(BodyEnd::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(error),
            Poll::Ready(None) => {
                self.finish(BodyEnd::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if let Some(pause) = &mut self.pause
                    && pause.poll_expired(cx)
                {
                    let timeout = pause.timeout;
                    return self.fail(BodyError::Stalled(timeout));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.on_end.is_some() {
            let end = if self.is_empty() {
                BodyEnd::Complete
            } else {
                BodyEnd::Dropped
            };
            self.finish(end);
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.exact_len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn chunks(parts: &[&'static str]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, BodyError>> = parts
            .iter()
            .map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))))
            .collect();
        Body::wrap_with(
            http_body_util::StreamBody::new(futures_util::stream::iter(frames)),
            |error| error,
        )
    }

    fn watched(body: Body) -> (Body, Arc<Mutex<Vec<BodyEnd>>>) {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let seen = ends.clone();
        let body = body.on_end(move |end| seen.lock().expect("no panic while held").push(end));
        (body, ends)
    }

    #[tokio::test]
    async fn collects_counts_and_ends_once() {
        let count = ByteCount::default();
        let (body, ends) = watched(chunks(&["ab", "cde", ""]).counted(&count));
        assert_eq!(body.collect_bounded(5).await.expect("fits"), "abcde");
        assert_eq!(count.bytes(), 5);
        assert_eq!(*ends.lock().expect("free"), [BodyEnd::Complete]);
    }

    #[tokio::test]
    async fn refuses_the_chunk_that_crosses_the_bound() {
        let count = ByteCount::default();
        let (body, ends) = watched(chunks(&["abc", "def"]).counted(&count));
        let error = body.collect_bounded(5).await.expect_err("six bytes");
        assert!(matches!(error, BodyError::TooLarge { limit: 5 }));
        assert_eq!(count.bytes(), 3, "bytes past the bound are not handed on");
        assert_eq!(
            *ends.lock().expect("free"),
            [BodyEnd::Failed(BodyFault::TooLarge)]
        );
    }

    #[tokio::test]
    async fn an_unread_body_tells_its_watch_when_dropped() {
        let (body, ends) = watched(chunks(&["abc"]));
        drop(body);
        assert_eq!(*ends.lock().expect("free"), [BodyEnd::Dropped]);
        let (body, ends) = watched(Body::empty());
        drop(body);
        assert_eq!(*ends.lock().expect("free"), [BodyEnd::Complete]);
    }

    #[tokio::test]
    async fn a_silent_sender_is_cut_after_the_pause() {
        let stuck = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<Frame<Bytes>, BodyError>,
        >());
        let body = Body::wrap_with(stuck, |error| error).between_bytes(Duration::from_millis(20));
        let error = body.collect_bounded(10).await.expect_err("stalled");
        assert!(matches!(error, BodyError::Stalled(after) if after == Duration::from_millis(20)));
    }
}
