//! The limits of a QUIC endpoint, each with its reason, and their translation into quinn's settings.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::error::BindError;

/// Limits of a listening endpoint. The defaults suit a gateway in front of many unknown clients.
#[derive(Debug, Clone)]
pub struct QuicLimits {
    /// Connections at once; one costs some 100 KiB before its windows fill.
    pub max_connections: usize,
    /// Handshakes in progress from addresses that have proved nothing, above which a Retry is asked for: an attacker
    /// with forged addresses then costs us one packet each, no state.
    pub retry_above: usize,
    /// Requests at once on a connection. RFC 9114 (6.1) asks for 100 or more.
    pub max_request_streams: u32,
    /// Bytes in flight towards us per stream: window / round trip is a stream's top speed (1 MiB at 40 ms: 200 Mbit/s).
    pub stream_window: u32,
    /// The same for the connection as a whole: the memory that one peer can make us hold.
    pub connection_window: u32,
    /// Bytes we hold for a connection until they are acknowledged.
    pub send_window: u64,
    /// A connection silent for so long is dropped. RFC 9308 (3.2): NATs forget UDP flows after 30 s and more.
    pub idle_timeout: Duration,
    /// Time for the QUIC and TLS handshakes together.
    pub handshake_timeout: Duration,
    /// Time for a request's header fields to arrive once its stream was opened.
    pub header_timeout: Duration,
    /// Size of a field section as RFC 9114 (4.2.2) counts it: names, values and 32 bytes a field.
    pub max_field_section: u64,
    /// Requests that a client may abandon before it has let as many finish: cuts "rapid reset" floods.
    pub max_aborted_requests: u64,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            retry_above: 128,
            max_request_streams: 100,
            stream_window: 1 << 20,
            connection_window: 8 << 20,
            send_window: 8 << 20,
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            max_field_section: 32 << 10,
            max_aborted_requests: 200,
        }
    }
}

/// Control, QPACK encoder and decoder streams, and a few that a peer may open to exercise us (grease).
const UNI_STREAMS: u32 = 16;

/// Congestion control of what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Congestion {
    /// Loss-based, fair to TCP; quinn's default.
    #[default]
    Cubic,
    /// Model-based: keeps going on links with random loss.
    Bbr,
}

pub(crate) struct Windows {
    pub stream: u32,
    pub connection: u32,
    pub send: u64,
}

impl QuicLimits {
    pub(crate) fn transport(&self) -> Result<Arc<TransportConfig>, BindError> {
        let windows = Windows {
            stream: self.stream_window,
            connection: self.connection_window,
            send: self.send_window,
        };
        let mut config = base(&windows, self.idle_timeout, Congestion::Cubic)?;
        config.max_concurrent_bidi_streams(VarInt::from_u32(self.max_request_streams));
        Ok(Arc::new(config))
    }
}

pub(crate) fn base(
    windows: &Windows,
    idle: Duration,
    congestion: Congestion,
) -> Result<TransportConfig, BindError> {
    let idle = IdleTimeout::try_from(idle).map_err(|_| BindError::Limit {
        name: "idle_timeout",
    })?;
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(windows.stream))
        .receive_window(VarInt::from_u32(windows.connection))
        .send_window(windows.send)
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        // No use for QUIC datagrams: none accepted, none announced.
        .datagram_receive_buffer_size(None);
    if congestion == Congestion::Bbr {
        config.congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()));
    }
    Ok(config)
}
