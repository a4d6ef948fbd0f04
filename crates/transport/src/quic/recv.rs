//! The receiving half of a stream: reads from quinn when h3 asks, never ahead of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h3::quic::{StreamErrorIncoming, StreamId};
use quinn::{ReadError, VarInt};
use tokio_util::io::poll_read_buf;

use super::connection::StreamControl;
use super::frames::{FrameFault, FrameGate, Step};
use super::{stream_error, stream_id};
use crate::error::Reset;

/// Small messages fit in the first read; a long body soon reads `MAX_READ` at a time.
const FIRST_READ: usize = 2 << 10;
const MAX_READ: usize = 64 << 10;

enum State {
    Open,
    /// Read to its end, reset, or stopped: nothing to tell quinn when dropped.
    Done,
}

pub struct RecvStream {
    stream: quinn::RecvStream,
    gate: FrameGate,
    buffer: BytesMut,
    read_size: usize,
    state: State,
    /// Code with which an unread rest is declined.
    decline: u64,
    /// Of the other direction: a message that breaks the rules gets no answer that looks whole.
    control: Option<Arc<StreamControl>>,
}

impl RecvStream {
    /// A request stream of which the other direction has this control.
    pub(super) fn request(
        stream: quinn::RecvStream,
        gate: FrameGate,
        decline: u64,
        control: Arc<StreamControl>,
    ) -> Self {
        let mut recv = Self::unidirectional(stream, gate, decline);
        recv.control = Some(control);
        recv
    }

    pub(super) fn unidirectional(stream: quinn::RecvStream, gate: FrameGate, decline: u64) -> Self {
        Self {
            stream,
            gate,
            buffer: BytesMut::new(),
            read_size: FIRST_READ,
            state: State::Open,
            decline,
            control: None,
        }
    }

    fn stop(&mut self, code: u64) {
        if matches!(self.state, State::Open) {
            self.state = State::Done;
            let _ = self
                .stream
                .stop(VarInt::from_u64(code).unwrap_or(VarInt::MAX));
        }
    }

    /// Reads some bytes into the buffer; `false` at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamErrorIncoming>> {
        if self.buffer.capacity() - self.buffer.len() < self.read_size / 2 {
            self.buffer.reserve(self.read_size);
        }
        let read = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.buffer
        ))
        .map_err(read_error)?;
        if read >= self.read_size / 2 {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        }
        Poll::Ready(Ok(read > 0))
    }

    fn fail(&mut self, fault: FrameFault) -> StreamErrorIncoming {
        let reset = match fault {
            FrameFault::TooLong { .. } => Reset::ExcessiveLoad,
            FrameFault::Truncated => Reset::Malformed,
        };
        self.stop(reset.code());
        if let Some(control) = &self.control {
            control.abort_with(reset);
        }
        StreamErrorIncoming::Unknown(Box::new(fault))
    }
}

impl h3::quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            match self.gate.next(&mut self.buffer) {
                Ok(Step::Chunk(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                Ok(Step::NeedMore) => {}
                Err(fault) => return Poll::Ready(Err(self.fail(fault))),
            }
            if matches!(self.state, State::Done) {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(fault) = self.gate.end(&self.buffer) {
                        return Poll::Ready(Err(self.fail(fault)));
                    }
                    self.state = State::Done;
                    return Poll::Ready(Ok(None));
                }
                Err(error) => {
                    self.state = State::Done;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.stop(error_code);
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(self.decline);
    }
}

fn read_error(error: io::Error) -> StreamErrorIncoming {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<ReadError>())
    {
        Some(ReadError::Reset(code)) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        Some(ReadError::ConnectionLost(lost)) => stream_error(lost.clone()),
        Some(
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected,
        )
        | None => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
