//! Accepting and opening streams of a quinn connection for h3.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use h3::error::Code;
use h3::quic::{ConnectionErrorIncoming, StreamErrorIncoming, StreamId};
use quinn::VarInt;

use super::frames::FrameGate;
use super::recv::RecvStream;
use super::send::{SendStream, Stopped, stopped};
use super::{connection_error, stream_error};
use crate::error::Reset;

type Streams<T> = Pin<Box<dyn Stream<Item = Result<T, quinn::ConnectionError>> + Send + Sync>>;
type Bidi = (quinn::SendStream, quinn::RecvStream);

/// H3_NO_ERROR: "we have what we need, spare yourself the rest" (RFC 9114, section 4.1).
const NO_ERROR: u64 = 0x100;

/// Encoded header fields are seldom larger than decoded ones; a frame up to this factor still gets an answer (431)
/// instead of a reset.
const ENCODED_HEADERS_FACTOR: u64 = 4;

/// What the owner of a stream and its halves inside h3 tell each other.
pub struct StreamControl {
    /// Code to reset with if the message is dropped unfinished; 0: finish it as it is.
    pub(super) abort_code: AtomicU64,
    draining: Arc<AtomicBool>,
    stopped: Mutex<Option<Stopped>>,
}

impl StreamControl {
    /// From now on a dropped message is reset with this code.
    pub fn abort_with(&self, reset: Reset) {
        self.abort_code.store(reset.code(), Ordering::Relaxed);
    }

    /// A future that resolves when the other end no longer wants what we send, has it all, or is gone. Once only.
    pub fn take_stopped(&self) -> Option<Stopped> {
        self.stopped
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Which end of the connection we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

pub struct QuicConnection {
    connection: quinn::Connection,
    side: Side,
    max_headers: u64,
    draining: Arc<AtomicBool>,
    incoming_bi: Streams<Bidi>,
    incoming_uni: Streams<quinn::RecvStream>,
    opener: Opener,
    last_accepted: Option<Arc<StreamControl>>,
}

impl QuicConnection {
    pub fn server(
        connection: quinn::Connection,
        max_field_section: u64,
        draining: Arc<AtomicBool>,
    ) -> Self {
        Self::new(connection, Side::Server, max_field_section, draining)
    }

    pub fn client(connection: quinn::Connection, max_field_section: u64) -> Self {
        Self::new(connection, Side::Client, max_field_section, Arc::default())
    }

    fn new(
        connection: quinn::Connection,
        side: Side,
        max_field_section: u64,
        draining: Arc<AtomicBool>,
    ) -> Self {
        let max_headers = max_field_section.saturating_mul(ENCODED_HEADERS_FACTOR);
        let bi = stream::unfold(connection.clone(), |c| async {
            Some((c.accept_bi().await, c))
        });
        let uni = stream::unfold(connection.clone(), |c| async {
            Some((c.accept_uni().await, c))
        });
        let opener = Opener::new(connection.clone(), max_headers, draining.clone());
        Self {
            connection,
            side,
            max_headers,
            draining,
            incoming_bi: Box::pin(bi),
            incoming_uni: Box::pin(uni),
            opener,
            last_accepted: None,
        }
    }

    /// The control of the stream that was accepted last.
    pub fn take_last_accepted(&mut self) -> Option<Arc<StreamControl>> {
        self.last_accepted.take()
    }
}

impl h3::quic::Connection<Bytes> for QuicConnection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        match ready!(self.incoming_uni.poll_next_unpin(cx)) {
            Some(Ok(recv)) => Poll::Ready(Ok(RecvStream::unidirectional(
                recv,
                FrameGate::unidirectional(),
                NO_ERROR,
            ))),
            Some(Err(error)) => Poll::Ready(Err(connection_error(error))),
            None => Poll::Pending,
        }
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        match ready!(self.incoming_bi.poll_next_unpin(cx)) {
            Some(Ok(pair)) => {
                let stream =
                    BidiStream::new(pair, self.max_headers, self.side, self.draining.clone(), 0);
                self.last_accepted = Some(stream.control.clone());
                Poll::Ready(Ok(stream))
            }
            Some(Err(error)) => Poll::Ready(Err(connection_error(error))),
            None => Poll::Pending,
        }
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl h3::quic::OpenStreams<Bytes> for QuicConnection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        close(&self.connection, code, reason);
    }
}

/// Opens streams; each clone waits for its own.
pub struct Opener {
    connection: quinn::Connection,
    max_headers: u64,
    draining: Arc<AtomicBool>,
    bi: Option<Streams<Bidi>>,
    uni: Option<Streams<quinn::SendStream>>,
}

impl Opener {
    fn new(connection: quinn::Connection, max_headers: u64, draining: Arc<AtomicBool>) -> Self {
        Self {
            connection,
            max_headers,
            draining,
            bi: None,
            uni: None,
        }
    }
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        Self::new(
            self.connection.clone(),
            self.max_headers,
            self.draining.clone(),
        )
    }
}

impl h3::quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let bi = self.bi.get_or_insert_with(|| {
            Box::pin(stream::unfold(connection.clone(), |c| async {
                Some((c.open_bi().await, c))
            }))
        });
        match ready!(bi.poll_next_unpin(cx)) {
            Some(Ok(pair)) => Poll::Ready(Ok(BidiStream::new(
                pair,
                self.max_headers,
                Side::Client,
                self.draining.clone(),
                Reset::Cancelled.code(),
            ))),
            Some(Err(error)) => Poll::Ready(Err(stream_error(error))),
            None => Poll::Pending,
        }
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let uni = self.uni.get_or_insert_with(|| {
            Box::pin(stream::unfold(connection.clone(), |c| async {
                Some((c.open_uni().await, c))
            }))
        });
        match ready!(uni.poll_next_unpin(cx)) {
            Some(Ok(send)) => {
                // Control and QPACK streams live as long as the connection, and never wait for acknowledgement.
                let control = control(0, Arc::default(), None);
                Poll::Ready(Ok(SendStream::new(send, control)))
            }
            Some(Err(error)) => Poll::Ready(Err(stream_error(error))),
            None => Poll::Pending,
        }
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        close(&self.connection, code, reason);
    }
}

fn close(connection: &quinn::Connection, code: Code, reason: &[u8]) {
    connection.close(
        VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX),
        reason,
    );
}

fn control(
    abort_code: u64,
    draining: Arc<AtomicBool>,
    stopped: Option<Stopped>,
) -> Arc<StreamControl> {
    Arc::new(StreamControl {
        abort_code: AtomicU64::new(abort_code),
        draining,
        stopped: Mutex::new(stopped),
    })
}

pub struct BidiStream {
    send: SendStream,
    recv: RecvStream,
    control: Arc<StreamControl>,
}

impl BidiStream {
    fn new(
        (send, recv): Bidi,
        max_headers: u64,
        side: Side,
        draining: Arc<AtomicBool>,
        abort_code: u64,
    ) -> Self {
        let (decline, stopped) = match side {
            Side::Server => (NO_ERROR, Some(stopped(&send))),
            Side::Client => (Reset::Cancelled.code(), None),
        };
        let control = control(abort_code, draining, stopped);
        Self {
            send: SendStream::new(send, control.clone()),
            recv: RecvStream::request(
                recv,
                FrameGate::request(max_headers),
                decline,
                control.clone(),
            ),
            control,
        }
    }
}

impl h3::quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl h3::quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.recv.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl h3::quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<D: Into<h3::quic::WriteBuf<Bytes>>>(
        &mut self,
        data: D,
    ) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}
