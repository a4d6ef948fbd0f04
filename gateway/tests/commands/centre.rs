//! A centre that is away, refuses this site, or has fenced its outbox: the gateway serves on, records wait in the outbox, and both
//! `/status` and `veilgate outbox status` say in words what stands in the way.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use aggregator::query::{self, QueryArgs, Question};
use aggregator::server::Aggregator;
use http::StatusCode;
use serde_json::Value;

use crate::client::{Reply, fetch};
use crate::origin::Origin;
use crate::site::{Folder, Gateway, plain, silent_port, until};

/// One durable and one lazy route, with an outbox for each of which the caller says where.
pub const ROUTES: &str = "[[route]]\nname = \"durable\"\npath_prefix = \"/durable\"\nupstream = \"origin\"\nrecord = \"durable\"\n\
     [[route]]\nname = \"lazy\"\npath_prefix = \"/lazy\"\nupstream = \"origin\"\nrecord = \"lazy\"\n";

/// `[sync]` with the certificate of a site.
pub fn sync(aggregator: SocketAddr, site: &str) -> String {
    format!(
        "[sync]\naggregator = \"{aggregator}\"\nserver_name = \"localhost\"\nca = \"ca.pem\"\ncert = \"{site}.pem\"\nkey = \"{site}.key\"\n"
    )
}

/// An aggregator in this process, with its store in the folder; port 0 for any.
pub fn aggregator(folder: &Folder, port: u16) -> Aggregator {
    let file = |name: &str| folder.path().join(name);
    let config = aggregator::config::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        store: file("store"),
        cert: file("server.pem"),
        key: file("server.key"),
        client_ca: file("ca.pem"),
        admin: None,
        min_free_bytes: 0,
    };
    // A number that was given up a moment ago may be a client's of a test beside this one for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Aggregator::start(&config) {
            Ok(aggregator) => return aggregator,
            Err(error) if Instant::now() > deadline => panic!("port {port}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The sequence number that a durable answer names.
pub fn receipt(reply: &Reply) -> u64 {
    let text = reply.header("veilgate-record").expect("a record is named");
    edge_types::Receipt::parse_header(text)
        .expect("a receipt")
        .seq
        .0
}

/// The sequence numbers in the aggregator's store, in order.
pub fn stored(folder: &Folder) -> Vec<u64> {
    let args = QueryArgs {
        question: Question::List,
        store: folder.path().join("store"),
        site: None,
        lane: None,
        epoch: None,
        json: true,
        limit: None,
    };
    let mut out = Vec::new();
    assert!(query::run(&args, &mut out).expect("the store is read"));
    let seq = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_u64();
    let text = String::from_utf8(out).expect("text");
    text.lines()
        .map(|line| seq(line).expect("a number"))
        .collect()
}

/// What `veilgate outbox status` prints, while this gateway runs.
fn outbox_status(dir: &Path, gateway: &Gateway) -> String {
    let text = std::fs::read_to_string(dir.join("edge.toml")).expect("the config");
    // The config of a gateway in service names its port; this one was given any.
    let listen = format!("[admin]\nlisten = \"{}\"", gateway.admin);
    let text = text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &listen);
    std::fs::write(dir.join("asked.toml"), text).expect("written");
    crate::site::veilgate(dir, &["outbox", "status", "--config", "asked.toml"])
        .fine()
        .out
}

/// Serves, keeps what it recorded, and both places tell these words.
async fn holds_on(folder: &Folder, gateway: &Gateway, condition: &str, words: &[&str]) {
    let before = gateway.status().await["outbox"]["backlog_records"]
        .as_u64()
        .expect("a number");
    for _ in 0..3 {
        let reply = fetch(gateway.addr, "/durable").await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        receipt(&reply);
    }
    let mut told = Value::Null;
    until("the problem is told", async || {
        told = gateway.status().await;
        let problem = told["sync"]["problem"].as_str().unwrap_or_default();
        told["sync"]["condition"] == condition && words.iter().all(|word| problem.contains(word))
    })
    .await;
    assert!(
        told["outbox"]["backlog_records"].as_u64() >= Some(before + 3),
        "{told}"
    );
    let printed = outbox_status(folder.path(), gateway);
    for word in words.iter().chain([&condition]) {
        assert!(printed.contains(word), "{word:?} is not in:\n{printed}");
    }
    gateway.still_serves("/lazy").await;
}

fn outbox(dir: &str) -> String {
    format!(
        "[outbox]\ndir = \"{dir}\"\nsite = \"edge-1\"\nmin_free_bytes = 0\nseal_after = \"50ms\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_is_away_is_waited_for() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    let (silent, addr) = silent_port();
    let text = plain(
        origin,
        &format!("{ROUTES}{}{}", outbox("outbox"), sync(addr, "edge-1")),
    );
    let gateway = folder.run(&text).await;
    holds_on(
        &folder,
        &gateway,
        "offline",
        &["no answer from", "Is it running"],
    )
    .await;
    drop(silent);
    let centre = aggregator(&folder, addr.port());
    until("everything has arrived", async || {
        gateway.status().await["outbox"]["backlog_records"] == 0
    })
    .await;
    // The durable ones and the lazy one, each once.
    assert_eq!(stored(&folder), [1, 2, 3, 4]);
    let printed = outbox_status(folder.path(), &gateway);
    assert!(printed.contains("sync        online"), "{printed}");
    gateway.stop();
    let printed = folder
        .veilgate(&["outbox", "status", "--config", "asked.toml"])
        .fine()
        .out;
    assert!(
        printed.contains("no gateway answers at its admin address"),
        "{printed}"
    );
    centre.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_that_knows_the_certificate_as_another_sites_takes_nothing() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    let centre = aggregator(&folder, 0);
    let text = plain(
        origin,
        &format!(
            "{ROUTES}{}{}",
            outbox("outbox"),
            sync(centre.addr(), "edge-2")
        ),
    );
    let gateway = folder.run(&text).await;
    holds_on(
        &folder,
        &gateway,
        "blocked",
        &["the aggregator says", "edge-1", "edge-2", "certificate"],
    )
    .await;
    assert!(stored(&folder).is_empty());
    gateway.stop();
    // With the right certificate everything is still there to be sent.
    let text = plain(
        origin,
        &format!(
            "{ROUTES}{}{}",
            outbox("outbox"),
            sync(centre.addr(), "edge-1")
        ),
    );
    let gateway = folder.run(&text).await;
    until("everything has arrived", async || {
        stored(&folder) == [1, 2, 3, 4]
    })
    .await;
    gateway.stop();
    centre.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_outbox_keeps_its_records_and_says_so() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    let centre = aggregator(&folder, 0);
    let text = |dir: &str| {
        plain(
            origin,
            &format!("{ROUTES}{}{}", outbox(dir), sync(centre.addr(), "edge-1")),
        )
    };
    for dir in ["outbox", "another"] {
        let gateway = folder.run(&text(dir)).await;
        until("it is enrolled", async || {
            gateway.status().await["sync"]["condition"] == "online"
        })
        .await;
        gateway.stop();
    }
    let gateway = folder.run(&text("outbox")).await;
    let words = [
        "another outbox has enrolled under this site's name",
        "give one of the two another site name",
    ];
    holds_on(&folder, &gateway, "blocked", &words).await;
    assert!(stored(&folder).is_empty());
    gateway.stop();
    centre.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_of_an_authority_that_is_not_trusted_is_not_told_anything() {
    let (_, origin) = Origin::start().await;
    let (folder, other) = (Folder::with_certificates(), Folder::with_certificates());
    let centre = aggregator(&other, 0);
    let text = plain(
        origin,
        &format!(
            "{ROUTES}{}{}",
            outbox("outbox"),
            sync(centre.addr(), "edge-1")
        ),
    );
    let gateway = folder.run(&text).await;
    holds_on(
        &folder,
        &gateway,
        "offline",
        &[
            "certificate is not to be trusted",
            "issued by a trusted authority",
        ],
    )
    .await;
    assert!(stored(&other).is_empty());
    gateway.stop();
    centre.stop().await;
}
