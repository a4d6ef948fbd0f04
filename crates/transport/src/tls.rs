//! Identities and trust, read from PEM files once and checked; the TLS settings of servers and clients made of them.
//!
//! A [`ServerTls`] or [`ClientTls`] that exists works: key and certificate belong together, every root parses.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, RwLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::TlsError;
use crate::quic::ResetSeed;

/// A PEM file beyond this is not a certificate file: a chain is a few KiB, the largest root bundles some 250 KiB.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// Application protocols negotiated by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http1,
    Http2,
    Http3,
}

impl Protocol {
    /// The ALPN identifier on the wire.
    pub fn id(self) -> &'static [u8] {
        match self {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
            Protocol::Http3 => b"h3",
        }
    }

    /// The protocol of an ALPN identifier.
    pub fn from_id(id: &[u8]) -> Option<Self> {
        [Protocol::Http1, Protocol::Http2, Protocol::Http3]
            .into_iter()
            .find(|p| p.id() == id)
    }
}

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    reset_seed: ResetSeed,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a PEM chain (leaf first) and its PEM key, and checks that they belong together.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let certs = read_certificates(chain)?;
        let key_der = read_key(key)?;
        let reset_seed = ResetSeed::of_private_key(key_der.secret_der());
        let certified =
            CertifiedKey::from_der(certs, key_der, &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                    chain: chain.to_owned(),
                    key: key.to_owned(),
                },
                other => TlsError::BadCertificate {
                    path: chain.to_owned(),
                    reason: other.to_string(),
                },
            })?;
        Ok(Self {
            key: Arc::new(certified),
            reset_seed,
        })
    }
}

/// The authorities that a peer's certificate may be issued by.
#[derive(Clone, Debug)]
pub struct TrustRoots {
    store: Arc<RootCertStore>,
}

impl TrustRoots {
    /// Reads every certificate of a PEM file as a root.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for cert in read_certificates(path)? {
            store.add(cert).map_err(|error| TlsError::BadCertificate {
                path: path.to_owned(),
                reason: format!("it cannot serve as a root: {error}"),
            })?;
        }
        Ok(Self {
            store: Arc::new(store),
        })
    }
}

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    None,
    /// Verified if shown; a client without one is let in, as nobody.
    Optional(TrustRoots),
    /// No certificate, no connection.
    Required(TrustRoots),
}

/// TLS settings of a listener. Clones share the identity, so that a replaced one serves every listener made from it.
#[derive(Clone)]
pub struct ServerTls {
    resolver: Arc<CurrentIdentity>,
    client_auth: ClientAuth,
    alpn: Vec<Protocol>,
    pub(crate) reset_seed: ResetSeed,
}

impl ServerTls {
    /// `alpn` is what the TCP listener offers, in order of preference; QUIC always speaks HTTP/3.
    pub fn new(identity: Identity, client_auth: ClientAuth, alpn: &[Protocol]) -> Self {
        let reset_seed = identity.reset_seed;
        let resolver = Arc::new(CurrentIdentity(RwLock::new(identity.key)));
        Self {
            resolver,
            client_auth,
            alpn: alpn.to_vec(),
            reset_seed,
        }
    }

    /// Every handshake from now on shows this identity; connections that stand are not touched.
    pub fn replace_identity(&self, identity: Identity) {
        let mut current = self
            .resolver
            .0
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *current = identity.key;
    }

    pub(crate) fn tcp_config(&self) -> Result<ServerConfig, TlsError> {
        let mut config = self.config(&[&TLS13, &TLS12])?;
        config.alpn_protocols = self.alpn.iter().map(|p| p.id().to_vec()).collect();
        Ok(config)
    }

    pub(crate) fn quic_config(&self) -> Result<ServerConfig, TlsError> {
        let mut config = self.config(&[&TLS13])?;
        config.alpn_protocols = vec![Protocol::Http3.id().to_vec()];
        Ok(config)
    }

    fn config(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        let mut config = match self.client_auth.verifier()? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(self.resolver.clone());
        // 0-RTT stays off: what it carries can be replayed.
        config.max_early_data_size = 0;
        // Stateless tickets: resumption costs this side no memory.
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Settings(error.to_string()))?;
        Ok(config)
    }
}

impl ClientAuth {
    fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (roots, required) = match self {
            ClientAuth::None => return Ok(None),
            ClientAuth::Optional(roots) => (roots, false),
            ClientAuth::Required(roots) => (roots, true),
        };
        let builder = WebPkiClientVerifier::builder_with_provider(roots.store.clone(), provider());
        let builder = if required {
            builder
        } else {
            builder.allow_unauthenticated()
        };
        builder
            .build()
            .map(Some)
            .map_err(|error| TlsError::Settings(error.to_string()))
    }
}

/// TLS settings of a client.
#[derive(Clone)]
pub struct ClientTls {
    roots: TrustRoots,
    identity: Option<Identity>,
    alpn: Vec<Protocol>,
}

impl ClientTls {
    /// Trusts `roots`, shows `identity` if the server asks for one, offers `alpn` on TCP (HTTP/3 on QUIC).
    pub fn new(roots: TrustRoots, identity: Option<Identity>, alpn: &[Protocol]) -> Self {
        Self {
            roots,
            identity,
            alpn: alpn.to_vec(),
        }
    }

    pub(crate) fn tcp_config(&self) -> Result<ClientConfig, TlsError> {
        let mut config = self.config(&[&TLS13, &TLS12])?;
        config.alpn_protocols = self.alpn.iter().map(|p| p.id().to_vec()).collect();
        Ok(config)
    }

    pub(crate) fn quic_config(&self) -> Result<ClientConfig, TlsError> {
        let mut config = self.config(&[&TLS13])?;
        config.alpn_protocols = vec![Protocol::Http3.id().to_vec()];
        Ok(config)
    }

    fn config(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<ClientConfig, TlsError> {
        let verifier: Arc<dyn ServerCertVerifier> =
            rustls::client::WebPkiServerVerifier::builder_with_provider(
                self.roots.store.clone(),
                provider(),
            )
            .build()
            .map_err(|error| TlsError::Settings(error.to_string()))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(
                rustls::sign::SingleCertAndKey::from(identity.key.clone()),
            )),
            None => builder.with_no_client_auth(),
        };
        config.enable_early_data = false;
        Ok(config)
    }
}

/// The identity that handshakes show: one now, replaceable while connections stand.
#[derive(Debug)]
struct CurrentIdentity(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for CurrentIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.0
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .clone(),
        )
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
        .clone()
}

pub(crate) fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    File::open(path)
        .map_err(read)?
        .take(MAX_PEM_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(read)?;
    if text.len() as u64 > MAX_PEM_BYTES {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
            limit: MAX_PEM_BYTES,
        });
    }
    Ok(text)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read_pem(path)?;
    let certs: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::NotPem {
            path: path.to_owned(),
            reason: format!("{error:?}"),
        })?;
    if certs.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certs)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(&read_pem(path)?).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        other => TlsError::NotPem {
            path: path.to_owned(),
            reason: format!("{other:?}"),
        },
    })
}
