//! Who is let in, who is trusted, and what is said to those who are not.

use std::os::unix::fs::PermissionsExt;

use crate::common::{Pki, Server, connect, full, get, loopback};
use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::certs::{self, CertFiles};
use transport::tcp::{TlsAcceptor, TlsConnector};
use transport::{
    ClientAuth, ClientTls, Fault, H3Error, Identity, Protocol, QuicLimits, SendError, ServerTls,
    TlsError, TrustRoots,
};

/// What a client with this identity gets from a server that asks for site certificates.
async fn visit(pki: &Pki, identity: Option<Identity>) -> Result<String, H3Error> {
    let tls = pki.server(ClientAuth::Required(pki.roots()));
    let server = Server::start(&tls, QuicLimits::default(), |_, responder| async move {
        let _ = responder.send(Response::new(full("in"))).await;
    });
    let client = connect(server.addr, &pki.client(identity)).await?;
    match client.send(get("/")).await {
        Ok(response) => {
            let body = response.into_body().collect().await?.to_bytes();
            Ok(String::from_utf8_lossy(&body).into_owned())
        }
        Err(SendError::H3(error) | SendError::Body(error)) => Err(error),
    }
}

#[tokio::test]
async fn a_site_with_our_certificate_is_let_in() {
    let pki = Pki::new();
    assert_eq!(visit(&pki, Some(pki.site("mill-7"))).await.unwrap(), "in");
}

#[tokio::test]
async fn a_client_without_certificate_or_with_a_foreign_one_is_refused_and_told_so() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    for identity in [None, Some(foreign.site("mill-7"))] {
        let error = visit(&pki, identity).await.unwrap_err();
        assert!(
            matches!(error, H3Error::OurCertificateRefused { .. }),
            "{error}"
        );
        assert_eq!(error.fault(), Fault::Ours);
        assert!(!error.retryable());
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let server = Server::echo(&pki.server(ClientAuth::None), QuicLimits::default());
    let error = connect(server.addr, &foreign.client(None))
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(error, H3Error::PeerCertificateInvalid { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("trusted authority"), "{error}");
}

#[tokio::test]
async fn a_server_under_another_name_is_not_trusted() {
    let pki = Pki::new();
    let server = Server::echo(&pki.server(ClientAuth::None), QuicLimits::default());
    let options = transport::h3client::ClientOptions::default();
    let result = transport::h3client::Connection::connect(
        server.addr,
        "elsewhere.example",
        &pki.client(None),
        options,
    )
    .await;
    let error = result.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, H3Error::PeerCertificateInvalid { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_listening_is_a_network_fault_worth_another_try() {
    let pki = Pki::new();
    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    let options = transport::h3client::ClientOptions {
        connect_timeout: std::time::Duration::from_millis(300),
        ..Default::default()
    };
    let addr = silent.local_addr().unwrap();
    let result =
        transport::h3client::Connection::connect(addr, "localhost", &pki.client(None), options)
            .await;
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, H3Error::ConnectTimeout { .. }), "{error}");
    assert_eq!((error.fault(), error.retryable()), (Fault::Network, true));
}

#[tokio::test]
async fn the_server_learns_the_names_in_the_clients_certificate() {
    let pki = Pki::new();
    let tls = pki.server(ClientAuth::Required(pki.roots()));
    let endpoint =
        transport::h3server::Endpoint::bind(loopback(), &tls, QuicLimits::default()).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let client_tls = pki.client(Some(pki.site("mill-7")));
    let client = tokio::spawn(async move { connect(addr, &client_tls).await.unwrap() });
    let connection = endpoint.accept().await.unwrap().handshake().await.unwrap();
    let peer = connection.peer().unwrap();
    assert!(peer.has_dns_name("mill-7.site.veilgate"));
    assert!(!peer.has_dns_name("mill-8.site.veilgate"));
    assert_eq!(peer.common_name(), Some("mill-7.site.veilgate"));
    assert_eq!(peer.fingerprint().len(), 64);
    assert_eq!(connection.sni(), Some("localhost"));
    client.await.unwrap();
}

#[tokio::test]
async fn tls_over_tcp_negotiates_the_protocol_and_carries_bytes() {
    let pki = Pki::new();
    let files = certs::issue_server(&pki.ca, pki.dir.path(), "tcp", &["localhost"]).unwrap();
    let identity = Identity::load(&files.cert, &files.key).unwrap();
    let auth = ClientAuth::Optional(pki.roots());
    let tls = ServerTls::new(identity, auth, &[Protocol::Http2, Protocol::Http1]);
    let acceptor = TlsAcceptor::new(&tls).unwrap();
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        for expected in [Some(Protocol::Http2), Some(Protocol::Http1), None] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.alpn(), expected);
            assert_eq!(stream.sni(), Some("localhost"));
            assert_eq!(stream.peer().is_some(), expected == Some(Protocol::Http2));
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let offers: [(&[Protocol], _); 3] = [
        (
            &[Protocol::Http2, Protocol::Http1],
            Some(pki.site("mill-7")),
        ),
        (&[Protocol::Http1], None),
        (&[], None),
    ];
    for (offer, identity) in offers {
        let connector = TlsConnector::new(&ClientTls::new(pki.roots(), identity, offer)).unwrap();
        let tcp = TcpStream::connect(addr).await.unwrap();
        let mut stream = connector.connect("localhost", tcp).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"ping");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn a_replaced_certificate_serves_new_connections() {
    let pki = Pki::new();
    let tls = pki.server(ClientAuth::None);
    let server = Server::echo(&tls, QuicLimits::default());
    connect(server.addr, &pki.client(None)).await.unwrap();
    let renewed =
        certs::issue_server(&pki.ca, pki.dir.path(), "renewed", &["renewed.example"]).unwrap();
    tls.replace_identity(Identity::load(&renewed.cert, &renewed.key).unwrap());
    let options = transport::h3client::ClientOptions::default;
    let client = pki.client(None);
    transport::h3client::Connection::connect(server.addr, "renewed.example", &client, options())
        .await
        .unwrap();
    let old =
        transport::h3client::Connection::connect(server.addr, "localhost", &client, options())
            .await;
    assert!(matches!(
        old.map(|_| ()),
        Err(H3Error::PeerCertificateInvalid { .. })
    ));
}

#[test]
fn key_files_are_for_their_owner_alone() {
    let pki = Pki::new();
    // Even where a careless file was before.
    let path = pki.dir.path().join("server.key");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let files = certs::issue_server(&pki.ca, pki.dir.path(), "server", &["localhost"]).unwrap();
    for key in [&pki.ca.key, &files.key] {
        assert_eq!(
            std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
            0o600,
            "{key:?}"
        );
    }
}

#[test]
fn unusable_files_are_named_with_what_to_do() {
    let pki = Pki::new();
    let dir = pki.dir.path();
    let one = certs::issue_server(&pki.ca, dir, "one", &["localhost"]).unwrap();
    let two = certs::issue_server(&pki.ca, dir, "two", &["localhost"]).unwrap();
    let empty = dir.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let broken = dir.join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let missing = CertFiles::named(dir, "missing");

    let check = |chain, key, expected: fn(&TlsError) -> bool, file: &std::path::Path| {
        let error = Identity::load(chain, key).unwrap_err();
        assert!(expected(&error), "{error}");
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
    };
    check(
        &missing.cert,
        &one.key,
        |e| matches!(e, TlsError::Read { .. }),
        &missing.cert,
    );
    check(
        &one.cert,
        &missing.key,
        |e| matches!(e, TlsError::Read { .. }),
        &missing.key,
    );
    check(
        &one.cert,
        &two.key,
        |e| matches!(e, TlsError::Mismatch { .. }),
        &two.key,
    );
    check(
        &one.key,
        &one.key,
        |e| matches!(e, TlsError::NoCertificate { .. }),
        &one.key,
    );
    check(
        &one.cert,
        &one.cert,
        |e| matches!(e, TlsError::NoKey { .. }),
        &one.cert,
    );
    check(
        &broken,
        &one.key,
        |e| matches!(e, TlsError::NotPem { .. }),
        &broken,
    );
    assert!(matches!(
        TrustRoots::load(&empty),
        Err(TlsError::NoCertificate { .. })
    ));
    assert!(matches!(
        certs::issue_client(&pki.ca, dir, "not a name"),
        Err(TlsError::BadName { .. })
    ));
}
