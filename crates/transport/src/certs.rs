//! A small certificate authority: for tests, demos, and installations that bring their own trust.
//!
//! Files are PEM; a key file is created readable by its owner alone (0600) before a byte of the key is in it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::ServerName;

use crate::error::TlsError;
use crate::tls::read_pem;

/// A certificate and its key on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl CertFiles {
    /// `<dir>/<name>.pem` and `<dir>/<name>.key`.
    pub fn named(dir: &Path, name: &str) -> Self {
        Self {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        }
    }
}

/// The DNS name in a site's client certificate.
pub fn site_dns_name(site: &str) -> String {
    format!("{site}.site.veilgate")
}

/// Makes a new authority and writes `ca.pem` and `ca.key` into `dir`.
pub fn make_ca(dir: &Path, common_name: &str) -> Result<CertFiles, TlsError> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(issue)?;
    let cert = params.self_signed(&key).map_err(issue)?;
    write_pair(dir, "ca", &cert.pem(), &key)
}

/// Issues a server certificate for host names and IP addresses; the first is its common name and its file name.
pub fn issue_server(
    ca: &CertFiles,
    dir: &Path,
    file_name: &str,
    names: &[&str],
) -> Result<CertFiles, TlsError> {
    issue_leaf(
        ca,
        dir,
        file_name,
        names,
        ExtendedKeyUsagePurpose::ServerAuth,
    )
}

/// Issues a client certificate for a site: its DNS name is `<site>.site.veilgate`.
pub fn issue_client(ca: &CertFiles, dir: &Path, site: &str) -> Result<CertFiles, TlsError> {
    issue_leaf(
        ca,
        dir,
        site,
        &[&site_dns_name(site)],
        ExtendedKeyUsagePurpose::ClientAuth,
    )
}

fn issue_leaf(
    ca: &CertFiles,
    dir: &Path,
    file_name: &str,
    names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertFiles, TlsError> {
    let common_name = names.first().ok_or_else(|| TlsError::BadName {
        name: String::new(),
    })?;
    for name in names {
        check_name(name)?;
    }
    let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(owned).map_err(|_| TlsError::BadName {
        name: names.join(", "),
    })?;
    params
        .distinguished_name
        .push(DnType::CommonName, *common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().map_err(issue)?;
    let cert = params.signed_by(&key, &load_issuer(ca)?).map_err(issue)?;
    write_pair(dir, file_name, &cert.pem(), &key)
}

/// A host name (a leading `*.` allowed) or an IP address.
fn check_name(name: &str) -> Result<(), TlsError> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    ServerName::try_from(host)
        .map(|_| ())
        .map_err(|_| TlsError::BadName {
            name: name.to_owned(),
        })
}

fn load_issuer(ca: &CertFiles) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let key_pem = text(&ca.key)?;
    let cert_pem = text(&ca.cert)?;
    let key = KeyPair::from_pem(&key_pem).map_err(|_| TlsError::NoKey {
        path: ca.key.clone(),
    })?;
    Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|error| TlsError::BadCertificate {
        path: ca.cert.clone(),
        reason: error.to_string(),
    })
}

fn text(path: &Path) -> Result<String, TlsError> {
    String::from_utf8(read_pem(path)?).map_err(|_| TlsError::NotPem {
        path: path.to_owned(),
        reason: "it is not text".to_owned(),
    })
}

fn issue(error: rcgen::Error) -> TlsError {
    TlsError::Issue(error.to_string())
}

fn write_pair(dir: &Path, name: &str, cert: &str, key: &KeyPair) -> Result<CertFiles, TlsError> {
    let files = CertFiles::named(dir, name);
    std::fs::create_dir_all(dir).map_err(|source| TlsError::Write {
        path: dir.to_owned(),
        source,
    })?;
    write_file(&files.key, key.serialize_pem().as_bytes(), 0o600)?;
    write_file(&files.cert, cert.as_bytes(), 0o644)?;
    Ok(files)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        // An older file keeps its mode when it is overwritten: set it before the key goes in.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| TlsError::Write {
        path: path.to_owned(),
        source,
    })
}
