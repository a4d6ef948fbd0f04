//! Answering one request: head, body as it comes, trailers; or a reset.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h3::error::StreamError;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;

use super::InFlight;
use crate::error::{H3Error, Reset, SendError};
use crate::quic::{SendStream, StreamControl};
use crate::quic_error;

/// The way back to the client. Dropped without [`Self::send`], it resets the stream.
pub struct Responder {
    stream: h3::server::RequestStream<SendStream, Bytes>,
    control: Arc<StreamControl>,
    quic: quinn::Connection,
    in_flight: Arc<InFlight>,
    gone: Option<ClientGone>,
}

/// Resolves when the client has abandoned the request (or its connection is lost).
pub struct ClientGone(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Future for ClientGone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Responder {
    pub(super) fn new(
        stream: h3::server::RequestStream<SendStream, Bytes>,
        control: Arc<StreamControl>,
        quic: quinn::Connection,
        in_flight: Arc<InFlight>,
    ) -> Self {
        let gone = control.take_stopped().map(ClientGone);
        Self {
            stream,
            control,
            quic,
            in_flight,
            gone,
        }
    }

    /// Waits until the client has abandoned the request. For the time before there is a response: [`Self::send`]
    /// watches by itself. Cancel-safe.
    pub async fn client_gone(&mut self) {
        match &mut self.gone {
            Some(gone) => gone.await,
            None => std::future::pending().await,
        }
    }

    /// Sends an interim response (1xx) ahead of the final one.
    pub async fn inform(&mut self, response: Response<()>) -> Result<(), H3Error> {
        self.stream
            .send_response(response)
            .await
            .map_err(|error| quic_error::stream(error, &self.quic))
    }

    /// Sends the response to its end, taking the body only as fast as the client does; returns the body's bytes.
    /// Cancelled, or with a body that fails, the stream is reset: the client never takes a part for the whole.
    pub async fn send<B>(mut self, response: Response<B>) -> Result<u64, SendError<B::Error>>
    where
        B: Body<Data = Bytes>,
    {
        let result = self.send_all(response).await;
        match &result {
            Ok(_) => self.in_flight.finished(),
            Err(SendError::H3(H3Error::ResetByPeer { .. })) => self.in_flight.aborted_by_peer(),
            Err(SendError::H3(_)) => {}
            Err(SendError::Body(_)) => self.control.abort_with(Reset::Internal),
        }
        result
    }

    async fn send_all<B>(&mut self, response: Response<B>) -> Result<u64, SendError<B::Error>>
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = response.into_parts();
        let sent = self
            .stream
            .send_response(Response::from_parts(parts, ()))
            .await;
        self.check(sent)?;
        let mut body = std::pin::pin!(body);
        let mut bytes = 0;
        while !body.is_end_stream() {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = gone(&mut self.gone) => return Err(self.abandoned().into()),
            };
            let Some(frame) = frame else { break };
            match frame.map_err(SendError::Body)?.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    bytes += data.len() as u64;
                    let sent = self.stream.send_data(data).await;
                    self.check(sent)?;
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        let sent = self.stream.send_trailers(trailers).await;
                        self.check(sent)?;
                    }
                    break;
                }
            }
        }
        let sent = self.stream.finish().await;
        self.check(sent)?;
        Ok(bytes)
    }

    /// Ends the stream with an error code instead of a response.
    pub fn reset(self, reset: Reset) {
        self.control.abort_with(reset);
    }

    fn check(&self, result: Result<(), StreamError>) -> Result<(), H3Error> {
        result.map_err(|error| quic_error::stream(error, &self.quic))
    }

    fn abandoned(&mut self) -> H3Error {
        self.gone = None;
        match self.quic.close_reason() {
            Some(reason) => quic_error::closed(reason, None),
            None => H3Error::ResetByPeer {
                code: Reset::Cancelled.code(),
            },
        }
    }
}

async fn gone(gone: &mut Option<ClientGone>) {
    match gone {
        Some(gone) => gone.await,
        None => std::future::pending().await,
    }
}
