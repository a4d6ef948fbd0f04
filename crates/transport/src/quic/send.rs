//! The sending half of a stream: writes what h3 frames; resets rather than finishes a message cut short.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::quic::{StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{VarInt, WriteError};

use super::connection::StreamControl;
use super::{stream_error, stream_id};

pub(super) type Stopped = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

pub struct SendStream {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    finished: bool,
    acknowledged: Option<Stopped>,
    control: Arc<StreamControl>,
}

impl SendStream {
    pub(super) fn new(stream: quinn::SendStream, control: Arc<StreamControl>) -> Self {
        Self {
            stream,
            writing: None,
            finished: false,
            acknowledged: None,
            control,
        }
    }
}

/// Resolves when the other end has all of it, no longer wants it, or is gone.
pub(super) fn stopped(stream: &quinn::SendStream) -> Stopped {
    let stopped = stream.stopped();
    Box::pin(async move {
        let _ = stopped.await;
    })
}

impl h3::quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()))
                    .map_err(write_error)?;
                data.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<D: Into<WriteBuf<Bytes>>>(&mut self, data: D) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown(
                "a write began before the last had ended".into(),
            ));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if !self.finished {
            self.stream
                .finish()
                .map_err(|error| StreamErrorIncoming::Unknown(Box::new(error)))?;
            self.finished = true;
        }
        // While draining, a response is done when it has arrived: closing the connection earlier would cut it off.
        if self.control.is_draining() {
            let stream = &self.stream;
            let acknowledged = self.acknowledged.get_or_insert_with(|| stopped(stream));
            ready!(acknowledged.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, reset_code: u64) {
        self.finished = true;
        let _ = self
            .stream
            .reset(VarInt::from_u64(reset_code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let abort = self.control.abort_code.load(Ordering::Relaxed);
        if !self.finished && abort != 0 {
            let _ = self
                .stream
                .reset(VarInt::from_u64(abort).unwrap_or(VarInt::MAX));
        }
    }
}

fn write_error(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(lost) => stream_error(lost),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            StreamErrorIncoming::Unknown(Box::new(error))
        }
    }
}
