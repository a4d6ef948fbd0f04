//! A stream that tells its connection's `Activity` when bytes arrive, and the decision when a quiet connection is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::LimitsConfig;
use crate::exchange::{Client, Quiet};

/// The least time between two looks at a connection.
const LEAST_LOOK: Duration = Duration::from_millis(10);

pub(super) struct Watched<I> {
    inner: I,
    client: Arc<Client>,
}

impl<I> Watched<I> {
    pub(super) fn new(inner: I, client: Arc<Client>) -> Self {
        Self { inner, client }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.client.activity.heard();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.client.activity.wrote(polled.is_ready());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.client.activity.wrote(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What is to become of a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Look again after this long.
    Again(Duration),
    /// It is idle: end it in order.
    Idle,
    /// A request's head, or the taking of an answer, takes too long: cut it.
    TooSlow,
}

/// The rule: a head has `header_timeout` from its first byte (or, the first one, from the connection); between requests a
/// connection may be silent for `idle_timeout`, and a client that takes nothing of an answer for that long is gone, or worse. An HTTP/2 connection has no head of its own between requests: PINGs are not one.
pub(super) fn look(quiet: Quiet, served_before: bool, is_h2: bool, limits: &LimitsConfig) -> Look {
    let (passed, allowed, then) = match quiet {
        Quiet::Busy => return Look::Again(limits.header_timeout.max(LEAST_LOOK)),
        Quiet::Stuck(passed) => (passed, limits.idle_timeout, Look::TooSlow),
        Quiet::Hearing(passed) if served_before && is_h2 => {
            (passed, limits.idle_timeout, Look::Idle)
        }
        Quiet::Hearing(passed) => (passed, limits.header_timeout, Look::TooSlow),
        Quiet::Silent(passed) if served_before => (passed, limits.idle_timeout, Look::Idle),
        Quiet::Silent(passed) => (passed, limits.header_timeout, Look::TooSlow),
    };
    match allowed.checked_sub(passed) {
        // Something may begin right after this look: its own time must not be overslept.
        Some(left) if !left.is_zero() => {
            Look::Again(left.min(limits.header_timeout).max(LEAST_LOOK))
        }
        _ => then,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_less_time_than_pauses_and_nothing_has_for_ever() {
        let config = crate::config::parse(
            "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"10s\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\n\
             name = \"o\"\nendpoints = [\"http://a\"]\n[[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"o\"\n",
            "test.toml",
            std::path::Path::new("/"),
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let limits = &config.limits;
        let check = |quiet, served, is_h2, expected| {
            assert_eq!(
                look(quiet, served, is_h2, limits),
                expected,
                "{quiet:?} {served} {is_h2}"
            );
        };
        let (short, long, longest) = (
            Duration::from_millis(400),
            Duration::from_secs(2),
            Duration::from_secs(10),
        );
        let soon = |rest: u64| Look::Again(Duration::from_millis(rest));
        check(Quiet::Busy, true, false, soon(1000));
        check(Quiet::Hearing(short), true, false, soon(600));
        check(Quiet::Hearing(long), true, false, Look::TooSlow);
        check(Quiet::Hearing(long), false, true, Look::TooSlow);
        check(Quiet::Hearing(long), true, true, soon(1000));
        check(Quiet::Silent(long), true, false, soon(1000));
        check(Quiet::Silent(longest), true, false, Look::Idle);
        check(Quiet::Silent(long), false, false, Look::TooSlow);
        check(Quiet::Stuck(long), true, true, soon(1000));
        check(Quiet::Stuck(longest), true, true, Look::TooSlow);
    }
}
