//! quinn's streams in the shape that h3 asks for.
//!
//! The stock adapter is not used because of what h3 0.0.8 does with what it reads: it buffers a HEADERS frame of any
//! declared length, buffers the payload of unknown frames, reads on while a slow consumer lags behind (so flow control
//! never bites), and takes an empty DATA frame for the end of the body. Here [`frames::FrameGate`] hands it the stream
//! frame by frame, so that its own buffer holds one chunk at most; a stream dropped before its end is reset, not
//! finished short; and reads gather up to 64 KiB instead of one packet.

mod connection;
mod frames;
mod recv;
mod reset;
mod send;

use std::time::Duration;

pub(crate) use connection::{Opener, QuicConnection, StreamControl};
pub(crate) use frames::FrameFault;
pub(crate) use recv::RecvStream;
pub(crate) use reset::{ResetSeed, endpoint_config};
pub(crate) use send::SendStream;

use h3::quic::{ConnectionErrorIncoming, StreamErrorIncoming};

/// What a connection has put on the wire and taken from it: UDP payload bytes, headers of QUIC included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireStats {
    pub udp_tx_bytes: u64,
    pub udp_tx_datagrams: u64,
    pub udp_rx_bytes: u64,
    pub udp_rx_datagrams: u64,
    pub lost_packets: u64,
    pub lost_bytes: u64,
    pub congestion_events: u64,
    pub round_trip: Duration,
}

impl WireStats {
    pub(crate) fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            udp_tx_bytes: stats.udp_tx.bytes,
            udp_tx_datagrams: stats.udp_tx.datagrams,
            udp_rx_bytes: stats.udp_rx.bytes,
            udp_rx_datagrams: stats.udp_rx.datagrams,
            lost_packets: stats.path.lost_packets,
            lost_bytes: stats.path.lost_bytes,
            congestion_events: stats.path.congestion_events,
            round_trip: stats.path.rtt,
        }
    }

    /// Bytes sent as they cross an IPv4 link: every datagram has 28 bytes of UDP and IP header more.
    pub fn ip_tx_bytes(&self) -> u64 {
        const UDP_AND_IPV4_HEADER: u64 = 28;
        self.udp_tx_bytes + self.udp_tx_datagrams * UDP_AND_IPV4_HEADER
    }
}

fn connection_error(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    use quinn::ConnectionError::*;
    match error {
        ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into(),
        },
        TimedOut => ConnectionErrorIncoming::Timeout,
        VersionMismatch | Reset | LocallyClosed | CidsExhausted | TransportError(_)
        | ConnectionClosed(_) => ConnectionErrorIncoming::Undefined(std::sync::Arc::new(error)),
    }
}

fn stream_error(error: quinn::ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: connection_error(error),
    }
}

fn stream_id(id: quinn::StreamId) -> h3::quic::StreamId {
    let id: u64 = quinn::VarInt::from(id).into_inner();
    h3::quic::StreamId::try_from(id)
        .expect("a QUIC stream number fits a variable-length integer, all that h3 checks")
}
