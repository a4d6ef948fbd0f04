//! What one connection may take: the gateway's limits as settings of hyper and QUIC.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use transport::QuicLimits;

use crate::config::{LimitsConfig, Protocols};

/// What an HTTP/2 client may send ahead on one stream, and on all of them: uploads at 100 ms and 20 Mbit/s need 256 KiB; a
/// connection of 100 streams may hold 1 MiB of this process, not 25.
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
/// Response bytes gathered for one HTTP/2 stream before the upstream is left waiting.
const H2_SEND_BUFFER: usize = 256 << 10;
/// A PING finds out about clients that left without a word, well before their idle timeout.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that a client reset before they were handed to the pipeline ("rapid reset"): more end the connection.
const H2_PENDING_RESETS: usize = 20;
/// hyper's read buffer for HTTP/1 must hold the largest head; 8 KiB is its least.
const H1_LEAST_BUFFER: usize = 8 << 10;

/// HTTP/1.1 and HTTP/2 with every limit named.
pub(super) fn hyper(limits: &LimitsConfig, protocols: Protocols) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let header_list = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        // `watched.rs` has a header timeout that does not count idle time; hyper's would.
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes.max(H1_LEAST_BUFFER))
        // With it on, hyper never sends the last answer of a connection that it closes with unread bytes in its buffer.
        .pipeline_flush(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_max_streams)
        .max_header_list_size(header_list)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(limits.h2_max_resets)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    match (protocols.h1, protocols.h2) {
        (true, false) => builder.http1_only(),
        (false, true) => builder.http2_only(),
        (true, true) | (false, false) => builder,
    }
}

/// The same limits on QUIC.
pub(super) fn quic(limits: &LimitsConfig) -> QuicLimits {
    QuicLimits {
        max_connections: limits.max_connections,
        max_request_streams: limits.h2_max_streams,
        idle_timeout: limits.idle_timeout,
        handshake_timeout: limits.tls_handshake_timeout,
        header_timeout: limits.header_timeout,
        max_field_section: limits.max_header_bytes as u64,
        ..QuicLimits::default()
    }
}
