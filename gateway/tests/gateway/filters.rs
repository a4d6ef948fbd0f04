//! proxy-wasm filters as policies of a real gateway: some of others, unchanged, and one that judges bodies.

use std::path::PathBuf;

use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use transport::tls::Protocol;
use veilgate::body::{Body, BodyError};

use crate::bodied::{encrypted, site};
use crate::bodies::{pieces, request};
use crate::client::{Connection, fetch};
use crate::origin::Origin;
use crate::site::Site;

/// What `cargo xtask filters` built.
fn filters() -> PathBuf {
    std::env::var_os("VEILGATE_FILTERS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/filters")),
        PathBuf::from,
    )
}

fn filter(name: &str) -> PathBuf {
    let path = filters().join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "{}: run `cargo xtask filters` first",
        path.display()
    );
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_answers_or_adds_a_field_to_the_answer() {
    let (origin, addr) = Origin::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let mut text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n"
    );
    for (name, config) in [
        ("http_headers", ""),
        ("http_config", "config = { plugin = \"from the filter\" }\n"),
    ] {
        let module = filter(&format!("proxy-wasm-0.2.5/{name}"));
        text += &format!(
            "[[policy]]\nname = \"{name}\"\nmodule = \"{}\"\n{config}",
            module.display()
        );
    }
    text += "[[route]]\nname = \"main\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"http_headers\", \"http_config\"]\n";
    let site = Site::start(dir, &text).await;

    let answered = fetch(site.addr, "/hello").await;
    assert_eq!(answered.text(), "Hello, World!\n");
    assert_eq!(answered.header("powered-by"), Some("proxy-wasm"));
    assert_eq!(origin.requests(), 0);

    let passed = fetch(site.addr, "/").await;
    assert_eq!(passed.text(), "hello");
    assert_eq!(passed.header("custom-header"), Some("from the filter"));
    assert_eq!(origin.requests(), 1);
    site.stop().await;
}

/// Answers 451 to a body that has a piece beginning with `x`, on either way.
fn judge() -> Vec<u8> {
    let callback = |name: &str, body: &str| {
        format!("(func (export \"{name}\") (param i32 i32 i32) (result i32) {body})")
    };
    let text = format!(
        r#"(module
          (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_send_local_response"
            (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 1024) "refused")
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 4096))
          (func $judge (param $buffer i32) (result i32)
            (drop (call $bytes (local.get $buffer) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 12)))
            (if (i32.eqz (i32.load (i32.const 12))) (then (return (i32.const 0))))
            (if (i32.ne (i32.load8_u (i32.const 4096)) (i32.const 120)) (then (return (i32.const 0))))
            (drop (call $respond (i32.const 451) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 7)
              (i32.const 0) (i32.const 0) (i32.const -1)))
            (i32.const 1))
          {} {} {} {})"#,
        callback("proxy_on_request_headers", "(i32.const 0)"),
        callback("proxy_on_request_body", "(call $judge (i32.const 0))"),
        callback("proxy_on_response_headers", "(i32.const 0)"),
        callback("proxy_on_response_body", "(call $judge (i32.const 1))"),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const LEGAL: StatusCode = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_response_takes_the_place_of_a_request_that_is_on_its_way() {
    let (origin, addr) = Origin::start().await;
    let config = "config = { plugin = \"\", response_body = \"none\" }";
    let site = encrypted(addr, &[("judge", judge(), config)]).await;
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http3] {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let (sender, body) = pieces();
        sender.send(Ok("1")).await.expect("room");
        let upload = request(Method::POST, "/upload", body);
        let go_on = async {
            // The origin has the beginning of it by then, and its answer is still to come.
            origin.chunk_arrived.notified().await;
            sender.send(Ok("x")).await.expect("room");
        };
        let (refused, ()) = tokio::join!(connection.send(upload), go_on);
        assert_eq!(
            (refused.status, refused.text()),
            (LEGAL, "refused"),
            "{protocol:?}"
        );

        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let at_once = request(Method::POST, "/silent", Body::full("xyz"));
        let refused = connection.send(at_once).await;
        assert_eq!(
            (refused.status, refused.text()),
            (LEGAL, "refused"),
            "{protocol:?}"
        );
        let passed = request(Method::POST, "/echo", Body::full("yz"));
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        assert_eq!(connection.send(passed).await.text(), "yz", "{protocol:?}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_response_takes_the_place_of_a_response_that_was_gathered() {
    let (_, addr) = Origin::start().await;
    let config = "config = { plugin = \"\", request_body = \"none\", response_body = \"whole\" }";
    let site = site(addr, &[("judge", judge(), config)], "").await;
    let mut connection = Connection::plain(site.addr).await;
    let refused = request(Method::POST, "/echo", Body::full("xyz"));
    let refused = connection.send(refused).await;
    assert_eq!((refused.status, refused.text()), (LEGAL, "refused"));
    assert_eq!(refused.header("content-length"), Some("7"));
    let passed = request(Method::POST, "/echo", Body::full("yz"));
    let passed = connection.send(passed).await;
    assert_eq!((passed.status, passed.text()), (StatusCode::OK, "yz"));
    site.stop().await;
}

/// Sets the trailer `x-sum` of both messages to 2.
fn trailing() -> Vec<u8> {
    let text = r#"(module
      (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 1024) "x-sum2")
      (func (export "proxy_abi_version_0_2_1"))
      (func $sum (param $map i32) (result i32)
        (call $set (local.get $map) (i32.const 1024) (i32.const 5) (i32.const 1029) (i32.const 1)))
      (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $sum (i32.const 1)))
      (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $sum (i32.const 3))))"#;
    wat::parse_str(text).expect("a module")
}

/// Answers one request after the other with trailers, and tells what came after each request's body.
async fn origin_with_trailers() -> (std::net::SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n\
        3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let (told, tells) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            let text = loop {
                let mut piece = [0; 4096];
                let Ok(1..) = stream
                    .read(&mut piece)
                    .await
                    .inspect(|len| read.extend_from_slice(&piece[..*len]))
                else {
                    return;
                };
                let text = String::from_utf8_lossy(&read);
                if let Some((_, after)) = text.split_once("\r\n0\r\n")
                    && after.ends_with("\r\n")
                {
                    break after.to_owned();
                }
            };
            told.send(text).await.expect("the test listens");
            stream.write_all(ANSWER).await.expect("sent");
        }
    });
    (addr, tells)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_filters_on_every_protocol() {
    let (addr, mut told) = origin_with_trailers().await;
    let site = encrypted(addr, &[("trailing", trailing(), "")]).await;
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Http3] {
        let mut connection = Connection::encrypted(site.addr, site.dir.path(), protocol).await;
        let trailers = HeaderMap::from_iter([(
            "x-sum".parse().expect("a name"),
            "1".parse().expect("a value"),
        )]);
        let frames = [
            Frame::data(bytes::Bytes::from_static(b"abc")),
            Frame::trailers(trailers),
        ];
        let frames = futures_util::stream::iter(frames.map(Ok::<_, BodyError>));
        let body = Body::wrap_with(StreamBody::new(frames), |error| error);
        let mut request = request(Method::POST, "/", body);
        request
            .headers_mut()
            .insert("trailer", "x-sum".parse().expect("a value"));
        request
            .headers_mut()
            .insert("te", "trailers".parse().expect("a value"));
        let response = connection.head(request).await;
        assert_eq!(response.status(), StatusCode::OK, "{protocol:?}");
        let collected = response.into_body().collect().await.expect("whole");
        let trailers = collected.trailers().expect("trailers").clone();
        assert_eq!(trailers["x-sum"], "2", "{protocol:?}");
        assert_eq!(collected.to_bytes(), "abc", "{protocol:?}");
        assert_eq!(
            told.recv().await.as_deref(),
            Some("x-sum: 2\r\n\r\n"),
            "{protocol:?}"
        );
    }
    site.stop().await;
}

/// With the settings that docs/proxy-wasm.md gives. A machine without Go has no Coraza; in CI it must be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coraza_with_the_core_rule_set_guards_a_route() {
    let folder = filters();
    let module = folder.join("go/coraza.wasm");
    if !module.is_file() {
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        assert!(
            !in_ci,
            "{}: run `cargo xtask filters` first",
            module.display()
        );
        eprintln!("not tried: {} is not there", module.display());
        return;
    }
    let docs = include_str!("../../../docs/proxy-wasm.md");
    let (_, settings) = docs
        .split_once("name = \"firewall\"\n")
        .expect("the example");
    let (settings, _) = settings.split_once("```").expect("its end");
    let settings = settings.replace("filters/coraza.wasm", &module.display().to_string());
    let (origin, addr) = Origin::start().await;
    let text = format!(
        "[server]\naccess_log = false\nworkers = 1\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [policies]\ncache_dir = {:?}\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n\
         [[policy]]\nname = \"firewall\"\n{settings}\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"firewall\"]\n",
        folder.join("compiled"),
    );
    let site = Site::start(tempfile::tempdir().expect("a folder"), &text).await;
    let send = async |method: Method, path: &str, body: &'static str| {
        let mut request = request(method, path, Body::full(body));
        for (name, value) in [
            ("user-agent", "test"),
            ("accept", "*/*"),
            ("host", "example.test"),
            ("content-type", "application/x-www-form-urlencoded"),
        ] {
            request
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
        Connection::plain(site.addr).await.send(request).await
    };
    let injected = send(Method::GET, "/?id=1%27%20or%20%271%27=%271", "").await;
    assert_eq!(injected.status, StatusCode::FORBIDDEN);
    let posted = send(Method::POST, "/echo", "file=../../../../etc/passwd").await;
    assert_eq!(posted.status, StatusCode::FORBIDDEN);
    let fine = send(Method::POST, "/echo", "title=wasm").await;
    assert_eq!((fine.status, fine.text()), (StatusCode::OK, "title=wasm"));
    assert_eq!(
        send(Method::GET, "/books?title=wasm", "").await.text(),
        "hello"
    );
    // Of the form that was refused the origin has seen the head at most.
    assert!(origin.requests() <= 3);
    site.stop().await;
}
