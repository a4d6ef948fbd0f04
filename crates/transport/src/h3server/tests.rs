//! A client that speaks QUIC well and HTTP/3 badly.

use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use quinn::crypto::rustls::QuicClientConfig;

use super::*;
use crate::certs;
use crate::error::Reset;
use crate::h3client::{ClientOptions, Connection as Client};
use crate::tls::{ClientAuth, ClientTls, Identity, TrustRoots};

struct Fixture {
    addr: SocketAddr,
    tls: ClientTls,
    _dir: tempfile::TempDir,
}

/// A server that answers every request with the number of bytes in its body.
fn serve(limits: QuicLimits) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let ca = certs::make_ca(dir.path(), "Test authority").unwrap();
    let files = certs::issue_server(&ca, dir.path(), "server", &["localhost"]).unwrap();
    let identity = Identity::load(&files.cert, &files.key).unwrap();
    let tls = ClientTls::new(TrustRoots::load(&ca.cert).unwrap(), None, &[]);
    let server = ServerTls::new(identity, ClientAuth::None, &[]);
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &server, limits).unwrap();
    let addr = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = incoming.handshake().await else {
                    return;
                };
                while let Ok(Some((request, responder))) = connection.accept().await {
                    tokio::spawn(async move {
                        let Ok(body) = request.into_body().collect().await else {
                            return;
                        };
                        let length = body.to_bytes().len().to_string();
                        let _ = responder
                            .send(Response::new(Full::new(length.into())))
                            .await;
                    });
                }
            });
        }
    });
    Fixture {
        addr,
        tls,
        _dir: dir,
    }
}

impl Fixture {
    async fn raw(&self) -> quinn::Connection {
        let crypto = QuicClientConfig::try_from(self.tls.quic_config().unwrap()).unwrap();
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connection = endpoint
            .connect_with(config, self.addr, "localhost")
            .unwrap()
            .await
            .unwrap();
        // The control stream with empty SETTINGS.
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        std::mem::forget(control);
        connection
    }

    async fn client(&self) -> Client {
        Client::connect(self.addr, "localhost", &self.tls, ClientOptions::default())
            .await
            .unwrap()
    }
}

/// GET https://localhost/ in static-table QPACK, with `extra` bytes in one more field.
fn get(extra: usize) -> Vec<u8> {
    let mut block = vec![0, 0, 0xc0 | 17, 0xc0 | 23, 0xc0 | 1, 0x50, 9];
    block.extend_from_slice(b"localhost");
    if extra > 0 {
        // A literal field with a literal name, and a value whose length is a prefix integer of seven bits.
        block.extend_from_slice(&[0x21, b'x']);
        let mut rest = extra - 127;
        block.push(127);
        while rest >= 128 {
            block.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        block.push(rest as u8);
        block.extend(std::iter::repeat_n(b'v', extra));
    }
    let mut frame = vec![1];
    frame.extend_from_slice(&(block.len() as u32 | 0x8000_0000).to_be_bytes());
    frame.extend_from_slice(&block);
    frame
}

fn code_of(error: quinn::ReadError) -> u64 {
    match error {
        quinn::ReadError::Reset(code) => code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_well_formed_raw_request_is_answered() {
    let fixture = serve(QuicLimits::default());
    let (mut send, mut recv) = fixture.raw().await.open_bi().await.unwrap();
    send.write_all(&get(0)).await.unwrap();
    // An empty DATA frame in the middle is no end; a frame of unknown type is nothing at all.
    send.write_all(&[0, 2, b'a', b'b', 0, 0, 0x21, 3, 1, 2, 3, 0, 1, b'c'])
        .await
        .unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(1000).await.unwrap();
    assert_eq!(
        answer.last(),
        Some(&b'3'),
        "three bytes of body arrived: {answer:?}"
    );
}

#[tokio::test]
async fn a_headers_frame_that_declares_a_gigabyte_is_reset_at_once() {
    let fixture = serve(QuicLimits::default());
    let connection = fixture.raw().await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[1, 0x80 | 0x3f, 0xff, 0xff, 0xff])
        .await
        .unwrap();
    let stopped = send.stopped().await.unwrap();
    assert_eq!(
        stopped.map(|code| code.into_inner()),
        Some(Reset::ExcessiveLoad.code())
    );
    // The stream's other half is no empty answer, and the connection goes on.
    let quinn::ReadToEndError::Read(error) = recv.read_to_end(1000).await.unwrap_err() else {
        panic!()
    };
    assert_eq!(code_of(error), Reset::ExcessiveLoad.code());
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&get(0)).await.unwrap();
    send.finish().unwrap();
    assert!(!recv.read_to_end(1000).await.unwrap().is_empty());
}

#[tokio::test]
async fn header_fields_over_the_limit_are_answered_with_431() {
    let fixture = serve(QuicLimits {
        max_field_section: 4 << 10,
        ..QuicLimits::default()
    });
    let (mut send, mut recv) = fixture.raw().await.open_bi().await.unwrap();
    send.write_all(&get(6 << 10)).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(1000).await.unwrap();
    // ":status: 431" is no entry of the static table: its digits are written out, plainly or by the Huffman code.
    let contains = |digits: [u8; 3]| answer.windows(3).any(|window| window == digits);
    assert!(
        contains(*b"431") || contains([0x69, 0x90, 0xff]),
        "{answer:x?}"
    );
}

#[tokio::test]
async fn slow_header_fields_hold_up_only_themselves_and_not_for_ever() {
    let fixture = serve(QuicLimits {
        header_timeout: Duration::from_millis(500),
        ..QuicLimits::default()
    });
    let connection = fixture.raw().await;
    let (mut slow, mut slow_answer) = connection.open_bi().await.unwrap();
    slow.write_all(&get(0)[..4]).await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&get(0)).await.unwrap();
    send.finish().unwrap();
    assert!(!recv.read_to_end(1000).await.unwrap().is_empty());
    let error = slow_answer.read_to_end(1000).await.unwrap_err();
    let quinn::ReadToEndError::Read(error) = error else {
        panic!("{error}")
    };
    assert_eq!(code_of(error), Reset::Cancelled.code());
}

#[tokio::test]
async fn a_body_cut_off_inside_a_frame_is_not_taken_for_whole() {
    let fixture = serve(QuicLimits::default());
    let connection = fixture.raw().await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&get(0)).await.unwrap();
    send.write_all(&[0, 10, b'a', b'b']).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(1000).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn under_load_an_address_must_be_proved_first() {
    let fixture = serve(QuicLimits {
        retry_above: 0,
        ..QuicLimits::default()
    });
    let client = fixture.client().await;
    let request = http::Request::post("https://localhost/")
        .body(Full::new("four".into()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "4"
    );
}

#[tokio::test]
async fn beyond_the_limit_of_connections_a_client_is_refused() {
    let fixture = serve(QuicLimits {
        max_connections: 1,
        ..QuicLimits::default()
    });
    let first = fixture.client().await;
    let second = Client::connect(
        fixture.addr,
        "localhost",
        &fixture.tls,
        ClientOptions::default(),
    )
    .await;
    assert!(matches!(
        second.map(|_| ()),
        Err(H3Error::ClosedByPeer { code: 2, .. })
    ));
    assert!(!first.is_closed());
}
