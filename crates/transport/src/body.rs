//! The body of a message that is arriving over HTTP/3.
//!
//! Nothing is read before it is asked for, so a slow consumer holds back the sender by flow control. A body that is
//! longer or shorter than its content-length is an error (RFC 9114, section 4.1.2), as is one that was cut off.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::StreamError;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use crate::error::H3Error;
use crate::h3server::InFlight;
use crate::quic::RecvStream;
use crate::quic_error;

enum Source {
    Server(h3::server::RequestStream<RecvStream, Bytes>),
    Client(h3::client::RequestStream<RecvStream, Bytes>),
}

enum Next {
    Data,
    Trailers,
    End,
}

/// A streaming body: `http_body::Body<Data = Bytes>`. Dropping it early tells the sender to stop.
pub struct RecvBody {
    source: Source,
    quic: quinn::Connection,
    next: Next,
    /// Read ahead at the start, to learn whether there is a body at all.
    first: Option<Bytes>,
    trailers: Option<HeaderMap>,
    declared: Option<u64>,
    received: u64,
    /// Kept until the body is dropped: aborts the upload of a client's request, or counts as in flight at a server.
    _owner: Owner,
}

enum Owner {
    Server { _in_flight: Arc<InFlight> },
    Client { _upload: Option<Upload> },
}

/// The rest of a request's body that is still being sent; dropping it cancels that.
pub(crate) struct Upload(pub tokio::task::JoinHandle<()>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RecvBody {
    pub(crate) fn server(
        stream: h3::server::RequestStream<RecvStream, Bytes>,
        quic: quinn::Connection,
        headers: &HeaderMap,
        in_flight: Arc<InFlight>,
    ) -> Self {
        Self::new(
            Source::Server(stream),
            quic,
            content_length(headers),
            Owner::Server {
                _in_flight: in_flight,
            },
        )
    }

    pub(crate) fn client(
        stream: h3::client::RequestStream<RecvStream, Bytes>,
        quic: quinn::Connection,
        declared: Option<u64>,
        upload: Option<Upload>,
    ) -> Self {
        Self::new(
            Source::Client(stream),
            quic,
            declared,
            Owner::Client { _upload: upload },
        )
    }

    fn new(source: Source, quic: quinn::Connection, declared: Option<u64>, owner: Owner) -> Self {
        Self {
            source,
            quic,
            next: Next::Data,
            first: None,
            trailers: None,
            declared,
            received: 0,
            _owner: owner,
        }
    }

    /// Looks once, without waiting, whether the body has ended already or has begun: a message without a body is then
    /// known to be one.
    pub(crate) async fn peek(&mut self) -> Result<(), H3Error> {
        std::future::poll_fn(|cx| Poll::Ready(self.look(cx))).await
    }

    fn look(&mut self, cx: &mut Context<'_>) -> Result<(), H3Error> {
        if let Poll::Ready(data) = self.poll_data(cx) {
            self.first = data?;
        }
        if matches!(self.next, Next::Trailers)
            && let Poll::Ready(trailers) = self.poll_trailers(cx)
        {
            self.trailers = trailers?;
        }
        Ok(())
    }

    /// The next piece of the content, or `None` when only trailers can follow.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, H3Error>> {
        let polled = match &mut self.source {
            Source::Server(stream) => stream.poll_recv_data(cx).map_ok(|data| data.map(take_all)),
            Source::Client(stream) => stream.poll_recv_data(cx).map_ok(|data| data.map(take_all)),
        };
        let data = ready!(polled).map_err(|error| self.fail(error))?;
        match &data {
            Some(data) => self.received += data.len() as u64,
            None => self.next = Next::Trailers,
        }
        self.check_length(data.is_none())?;
        Poll::Ready(Ok(data))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, H3Error>> {
        let polled = match &mut self.source {
            Source::Server(stream) => stream.poll_recv_trailers(cx),
            Source::Client(stream) => stream.poll_recv_trailers(cx),
        };
        let trailers = ready!(polled).map_err(|error| self.fail(error))?;
        self.next = Next::End;
        Poll::Ready(Ok(trailers))
    }

    fn check_length(&mut self, ended: bool) -> Result<(), H3Error> {
        match self.declared {
            Some(expected) if self.received > expected || (ended && self.received < expected) => {
                self.next = Next::End;
                Err(H3Error::LengthMismatch {
                    expected,
                    actual: self.received,
                })
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: StreamError) -> H3Error {
        self.next = Next::End;
        quic_error::stream(error, &self.quic)
    }
}

impl fmt::Debug for RecvBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBody")
            .field("declared", &self.declared)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Body for RecvBody {
    type Data = Bytes;
    type Error = H3Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, H3Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if matches!(self.next, Next::Data) {
            match ready!(self.poll_data(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        if matches!(self.next, Next::Trailers) {
            return match ready!(self.poll_trailers(cx)) {
                Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => Poll::Ready(None),
                Err(error) => Poll::Ready(Some(Err(error))),
            };
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.trailers.is_none() && matches!(self.next, Next::End)
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.first.as_ref().map_or(0, |first| first.len() as u64);
        match (self.declared, &self.next) {
            (_, Next::End | Next::Trailers) => SizeHint::with_exact(waiting),
            (Some(declared), Next::Data) => {
                SizeHint::with_exact((declared + waiting).saturating_sub(self.received))
            }
            (None, Next::Data) => SizeHint::default(),
        }
    }
}

fn take_all(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// The one content-length of a message; h3 has refused malformed ones.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
