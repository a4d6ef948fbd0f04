//! TLS on a TCP stream, both ends. The socket, its accept loop and every time-out are the caller's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::error::TlsError;
use crate::peer::PeerIdentity;
use crate::tls::{ClientTls, Protocol, ServerTls};

/// Accepts TLS on streams that a listener has accepted.
#[derive(Clone)]
pub struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    pub fn new(tls: &ServerTls) -> Result<Self, TlsError> {
        Ok(Self(tokio_rustls::TlsAcceptor::from(Arc::new(
            tls.tcp_config()?,
        ))))
    }

    /// Does the handshake. Put a time-out around it: a silent client waits for ever.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream> {
        Ok(TlsStream(self.0.accept(stream).await?.into()))
    }
}

/// Opens TLS on connected streams.
#[derive(Clone)]
pub struct TlsConnector(tokio_rustls::TlsConnector);

impl TlsConnector {
    pub fn new(tls: &ClientTls) -> Result<Self, TlsError> {
        Ok(Self(tokio_rustls::TlsConnector::from(Arc::new(
            tls.tcp_config()?,
        ))))
    }

    /// Does the handshake; `server_name` must be in the server's certificate.
    pub async fn connect(&self, server_name: &str, stream: TcpStream) -> io::Result<TlsStream> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{server_name}` is not a host name"),
            )
        })?;
        Ok(TlsStream(self.0.connect(name, stream).await?.into()))
    }
}

/// An encrypted stream, of either end.
#[derive(Debug)]
pub struct TlsStream(tokio_rustls::TlsStream<TcpStream>);

impl TlsStream {
    /// What ALPN settled on; `None` if the client offered nothing (speak HTTP/1.1 then).
    pub fn alpn(&self) -> Option<Protocol> {
        self.0
            .get_ref()
            .1
            .alpn_protocol()
            .and_then(Protocol::from_id)
    }

    /// The name that the client asked for (server end only).
    pub fn sni(&self) -> Option<&str> {
        match &self.0 {
            tokio_rustls::TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            tokio_rustls::TlsStream::Client(_) => None,
        }
    }

    /// The verified certificate of the other end.
    pub fn peer(&self) -> Option<PeerIdentity> {
        self.0
            .get_ref()
            .1
            .peer_certificates()
            .and_then(PeerIdentity::from_chain)
    }

    /// The TCP stream beneath, for its addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
