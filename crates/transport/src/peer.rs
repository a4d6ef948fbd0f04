//! Who the other end proved to be: the names in its leaf certificate, after the chain was verified.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The identity in a verified client (or server) certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    common_name: Option<String>,
    dns_names: Vec<String>,
    fingerprint: [u8; 32],
}

impl PeerIdentity {
    /// Reads the leaf of a chain that rustls has verified. `None` if there is no leaf or it cannot be parsed: such a
    /// peer is nobody.
    pub(crate) fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, cert) = X509Certificate::from_der(leaf).ok()?;
        let common_name = cert
            .subject()
            .iter_common_name()
            .next()
            .and_then(|cn| cn.as_str().ok())
            .map(str::to_owned);
        let dns_names = match cert.subject_alternative_name() {
            Ok(Some(names)) => names
                .value
                .general_names
                .iter()
                .filter_map(dns_name)
                .collect(),
            Ok(None) => Vec::new(),
            Err(_) => return None,
        };
        Some(Self {
            common_name,
            dns_names,
            fingerprint: sha256(leaf),
        })
    }

    /// The subject's common name. For logs: authorization goes by [`Self::dns_names`].
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The DNS names of the subject alternative name extension.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// Whether the certificate was issued for exactly this DNS name (ASCII case ignored, no wildcard).
    pub fn has_dns_name(&self, name: &str) -> bool {
        self.dns_names
            .iter()
            .any(|have| have.eq_ignore_ascii_case(name))
    }

    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` shows it but in plain lower-case hex.
    pub fn fingerprint(&self) -> String {
        self.fingerprint
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("common_name", &self.common_name)
            .field("dns_names", &self.dns_names)
            .field("fingerprint", &self.fingerprint())
            .finish()
    }
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

/// SHA-256 from the TLS provider, so that no second hash library is linked.
fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    if let Some(suite) = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13() {
        let hash = suite.common.hash_provider.hash(data);
        out.copy_from_slice(&hash.as_ref()[..32]);
    }
    out
}
