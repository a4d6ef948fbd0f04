//! The life of keys by the CLI against a gateway: tokens, lists, rotation, deletion; uploads that are cut and go on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fhe::{EvaluationKey, files};
use http::{Method, Request, StatusCode};
use tokio::net::UdpSocket;
use transport::tls::Protocol;
use veilgate::body::Body;

use crate::client::{Connection, Reply};
use crate::origin::Origin;
use crate::site::{Folder, Process, Said, plain, problem};

fn folder() -> Folder {
    let folder = Folder::with_certificates();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    let model = std::fs::read(models.join("breast-cancer-linear.json")).expect("a model");
    folder.write("programs/linear.json", model);
    folder
}

fn config(origin: SocketAddr, fhe: &str) -> String {
    plain(
        origin,
        &format!(
            "[[listener]]\naddr = \"127.0.0.1:0\"\ntls = {{ cert = \"server.pem\", key = \"server.key\" }}\n\
             [[route]]\nname = \"fhe\"\npath_prefix = \"/fhe/v1\"\nhandler = \"fhe\"\nmax_body_bytes = \"64MiB\"\n\
             [fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\nthreads = 1\n{fhe}"
        ),
    )
}

fn keys(folder: &Folder, port: u16, command: &str, more: &[&str]) -> Said {
    let url = format!("https://localhost:{port}");
    let target = ["keys", command, "--url", &*url, "--ca", "ca.pem"];
    folder.veilgate(&[&target, more].concat())
}

fn key_in(folder: &Folder, dir: &str) -> EvaluationKey {
    files::read_evaluation_key(&folder.path().join(dir)).expect("a key")
}

/// Whether any file of the gateway's store has these bytes in it.
fn stored(folder: &Folder, key: &EvaluationKey) -> bool {
    let part = &key.as_bytes()[5000..5064];
    let mut dirs = vec![folder.path().join("keys")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if std::fs::read(&path)
                .expect("read")
                .windows(64)
                .any(|window| window == part)
            {
                return true;
            }
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_registered_with_a_token_listed_replaced_and_deleted() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    folder
        .veilgate(&["keys", "token", "--tenant", "A B"])
        .refused(2, &["--tenant", "a-z"]);
    let made = folder
        .veilgate(&["keys", "token", "--tenant", "acme"])
        .fine();
    let token = made.out.lines().find(|line| line.starts_with("vgt_"));
    let token = token.expect("a token").to_owned();
    let section = made.out.split_once("[[fhe.tenant]]").expect("a section").1;
    let section = format!("[[fhe.tenant]]{section}max_keys = 2\n");
    assert!(!section.contains(&token));
    let text = config(origin, &section);
    folder.check(&text).fine();
    let gateway = folder.run(&text).await;
    let port = gateway.last.port();
    folder.write("token", format!("{token}\n"));
    folder.write("other", "vgt_somebody-elses-token-that-is-long-enough");
    folder
        .veilgate(&["keys", "new", "--set", "linear", "--out", "mine"])
        .fine();
    let old = key_in(&folder, "mine");

    keys(&folder, port, "register", &["--keys", "mine"]).refused(1, &["401", "--token-file"]);
    let other = ["--keys", "mine", "--token-file", "other"];
    keys(&folder, port, "register", &other).refused(1, &["401", "--token-file"]);
    keys(&folder, port, "list", &["--token-file", "none"]).refused(2, &["--token-file none"]);
    let with = |command: &str, more: &[&str]| {
        keys(
            &folder,
            port,
            command,
            &[&["--token-file", "token"], more].concat(),
        )
    };
    let label = [
        "--keys",
        "mine",
        "--label",
        "of the site",
        "--expires-s",
        "7200",
    ];
    with("register", &label).fine();
    let listed = with("list", &[]).fine().out;
    for word in [
        &*old.id().to_string(),
        "linear-2048-128",
        "never used",
        "of the site",
        "expires in",
    ] {
        assert!(listed.contains(word), "{word} is not in {listed}");
    }

    let rotated = with("rotate", &["--keys", "mine"]).fine().out;
    let kept = format!("mine/old-{}", &old.id().to_string()[..12]);
    assert!(rotated.contains(&kept), "{rotated}");
    assert_eq!(key_in(&folder, &kept).id(), old.id());
    let new = key_in(&folder, "mine");
    assert_ne!(new.id(), old.id());
    assert!(files::read_client_key(&folder.path().join("mine")).is_ok());
    let listed = with("list", &[]).fine().out;
    assert!(
        listed.contains(&format!("replaced by {}", &new.id().to_string()[..12])),
        "{listed}"
    );
    with("rotate", &["--keys", "mine", "--out", "third"]).fine();
    let listed: serde_json::Value =
        serde_json::from_str(&with("list", &["--json"]).fine().out).expect("json");
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(3));

    assert!(stored(&folder, &old));
    with("delete", &[&*old.id().to_string()]).fine();
    assert!(!stored(&folder, &old) && stored(&folder, &new));
    with("delete", &[&*old.id().to_string()]).refused(1, &["404"]);
    with("delete", &["--keys", "mine"]).fine();
    assert!(!stored(&folder, &new));

    let metrics = gateway.metrics().await;
    for name in [
        "gateway_fhe_keys ",
        "gateway_fhe_key_cache_bytes ",
        "gateway_fhe_key_store_bytes ",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    let said = gateway.stop();
    assert!(
        !said.err.contains("vgt_") && !said.out.contains("vgt_"),
        "a token is in the log"
    );
}

/// Certificates name tenants as tokens do, and nobody has another's keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_names_the_tenant_and_must_agree_with_a_token() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let token = "vgt_of-edge-2-and-long-enough-to-be-one";
    let hash = blake3::hash(token.as_bytes()).to_hex();
    let section = format!(
        "[[fhe.tenant]]\nname = \"edge-2.site.veilgate\"\ntoken_hash = \"blake3:{hash}\"\n"
    );
    let text = config(origin, &section).replace(
        "key = \"server.key\"",
        "key = \"server.key\", client_ca = \"ca.pem\"",
    );
    let gateway = folder.run(&text).await;
    let port = gateway.last.port();
    folder.write("token", token);
    folder
        .veilgate(&["keys", "new", "--set", "linear", "--out", "mine"])
        .fine();
    let key = key_in(&folder, "mine");
    let edge_1 = ["--cert", "edge-1.pem", "--key", "edge-1.key"];
    let edge_2 = ["--cert", "edge-2.pem", "--key", "edge-2.key"];
    let token = ["--token-file", "token"];
    let with = |command: &str, who: &[&str], more: &[&str]| {
        keys(&folder, port, command, &[who, more].concat())
    };
    with("register", &edge_1, &["--keys", "mine"]).fine();
    let id = key.id().to_string();
    let lists = |who: &[&str], more: &[&str]| with("list", who, more).fine().out.contains(&id);
    assert!(lists(&edge_1, &[]) && !lists(&edge_2, &[]));
    with("list", &edge_1, &token).refused(1, &["403", "different tenants"]);
    let both = ["--keys", "mine", "--token-file", "token"];
    with("register", &edge_2, &both).fine();
    assert!(lists(&edge_2, &token));
    with("delete", &edge_2, &[&id]).fine();
    assert!(lists(&edge_1, &[]) && !lists(&edge_2, &[]));
    gateway.stop();
}

async fn send(
    connection: &mut Connection,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    body: Vec<u8>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::full(body)).expect("a request");
    connection.send(request).await
}

/// Begun over HTTP, cut by a restart of the gateway, and ended by the command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_the_gateway_was_restarted() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let text = config(origin, "");
    let gateway = folder.run(&text).await;
    folder
        .veilgate(&["keys", "new", "--set", "bootstrap", "--out", "mine"])
        .fine();
    let key = key_in(&folder, "mine");
    let mut connection = Connection::encrypted(gateway.last, folder.path(), Protocol::Http3).await;
    let begin = format!(
        "{{\"id\":\"{}\",\"bytes\":{}}}",
        key.id(),
        key.as_bytes().len()
    );
    let begun = send(
        &mut connection,
        Method::POST,
        "/fhe/v1/uploads",
        &[],
        begin.into_bytes(),
    )
    .await;
    assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.text());
    let path = begun.header("location").expect("a place").to_owned();
    let fields = [
        ("content-type", "application/partial-upload"),
        ("upload-offset", "0"),
        ("upload-complete", "?0"),
    ];
    let part = key.as_bytes()[..10_000_000].to_vec();
    let part = send(&mut connection, Method::PATCH, &path, &fields, part).await;
    assert_eq!(part.status, StatusCode::NO_CONTENT, "{}", part.text());
    drop(connection);
    gateway.stop();

    let gateway = folder.run(&text).await;
    let mut connection = Connection::encrypted(gateway.last, folder.path(), Protocol::Http2).await;
    let head = send(&mut connection, Method::HEAD, &path, &[], Vec::new()).await;
    assert_eq!(head.header("upload-offset"), Some("10000000"));
    let id = format!("/fhe/v1/keys/{}", key.id());
    let none = connection.fetch(&id).await;
    problem(&none, StatusCode::NOT_FOUND, ":fhe:unknown-key", "no such");
    let port = gateway.last.port();
    let done = keys(&folder, port, "register", &["--keys", "mine"]).fine();
    assert!(done.out.contains("Registered"), "{}", done.out);
    assert_eq!(connection.fetch(&id).await.status, StatusCode::OK);
    let over = send(&mut connection, Method::PATCH, &path, &fields, vec![0]).await;
    problem(
        &over,
        StatusCode::NOT_FOUND,
        ":fhe:unknown-upload",
        "begin one",
    );
    let again = keys(&folder, port, "register", &["--keys", "mine"]).fine();
    assert!(again.out.contains("had this key already"), "{}", again.out);
    gateway.stop();
}

/// Between the client and the gateway: passes packets on, but for those of the first connection once so many have gone through.
struct Relay {
    port: u16,
    passed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A third of a large key.
const PACKETS_BEFORE_THE_CUT: usize = 8000;

async fn relay(gateway: SocketAddr) -> Relay {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let port = front.local_addr().expect("bound").port();
    let passed = Arc::new(AtomicUsize::new(0));
    let count = passed.clone();
    let task = tokio::spawn(async move {
        let mut clients: Vec<(SocketAddr, Arc<UdpSocket>)> = Vec::new();
        let mut packet = vec![0; 65_536];
        loop {
            let Ok((len, from)) = front.recv_from(&mut packet).await else {
                continue;
            };
            let known = clients.iter().position(|(client, _)| *client == from);
            let index = match known {
                Some(index) => index,
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
                    back.connect(gateway).await.expect("an address");
                    clients.push((from, back.clone()));
                    let front = front.clone();
                    tokio::spawn(async move {
                        let mut packet = vec![0; 65_536];
                        while let Ok(len) = back.recv(&mut packet).await {
                            let _ = front.send_to(&packet[..len], from).await;
                        }
                    });
                    clients.len() - 1
                }
            };
            if index == 0 && count.fetch_add(1, Ordering::Relaxed) >= PACKETS_BEFORE_THE_CUT {
                continue;
            }
            let _ = clients[index].1.send(&packet[..len]).await;
        }
    });
    Relay { port, passed, task }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_made_again_and_the_upload_goes_on() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let gateway = folder.run(&config(origin, "")).await;
    folder
        .veilgate(&["keys", "new", "--set", "bootstrap", "--out", "mine"])
        .fine();
    let relay = relay(gateway.last).await;
    let url = format!("https://localhost:{}", relay.port);
    let args = [
        "keys", "register", "--url", &url, "--ca", "ca.pem", "--keys", "mine",
    ];
    let process = Process::start(folder.path(), &args);
    let done = tokio::task::spawn_blocking(move || process.end()).await;
    let done = done.expect("it ends").fine();
    assert!(done.out.contains("Registered"), "{done:?}");
    assert!(
        relay.passed.load(Ordering::Relaxed) > PACKETS_BEFORE_THE_CUT,
        "nothing was cut"
    );
    gateway.stop();
}
