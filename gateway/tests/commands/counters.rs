//! Encrypted counters from end to end: contributors at two gateways, an aggregator that adds both up unread, and the owner who reads.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use aggregator::counters::{self, CountersArgs};
use serde_json::Value;

use crate::centre::{aggregator, sync};
use crate::origin::Origin;
use crate::site::{Folder, Gateway, Said, plain, until};

const SCHEMA: &str = r#"{"format": "veilgate-counters/1", "contributions": 1024, "entries": [
    {"name": "visits", "kind": "counter", "most": 1000},
    {"name": "balance", "kind": "sum", "most": 1000000},
    {"name": "minutes", "kind": "histogram", "edges": [10, 30]}]}"#;
/// The shortest there is.
const WINDOW: u64 = 10;
/// How long after its end a window is open.
const LATE: u64 = 60;
/// For three commands, on a busy machine.
const TO_COUNT: u64 = 15;

fn config(origin: SocketAddr, centre: SocketAddr, site: &str) -> String {
    let more = format!(
        "[[listener]]\naddr = \"127.0.0.1:0\"\ntls = {{ cert = \"server.pem\", key = \"server.key\" }}\n\
         [[route]]\nname = \"fhe\"\npath_prefix = \"/fhe/v1\"\nhandler = \"fhe\"\n\
         [[route]]\nname = \"other\"\npath_prefix = \"/other\"\nupstream = \"origin\"\n\
         [fhe]\nkeys_dir = \"{site}/keys\"\nprograms_dir = \"programs\"\nthreads = 1\n\
         [outbox]\ndir = \"{site}/outbox\"\nsite = \"{site}\"\nmin_free_bytes = 0\nseal_after = \"50ms\"\n{}",
        sync(centre, site)
    );
    plain(origin, &more)
}

fn ask(folder: &Folder, gateway: &Gateway, command: &str, more: &[&str]) -> Said {
    let url = format!("https://localhost:{}", gateway.last.port());
    let target = ["counters", command, "--url", &*url, "--ca", "ca.pem"];
    let schema = ["--schema", "schema.json", "--stream", "visits"];
    folder.veilgate(&[&target[..], &schema, more].concat())
}

fn add(folder: &Folder, gateway: &Gateway, at: u64, values: &[&str]) -> Said {
    let at = at.to_string();
    let more = ["--public-key", "public.key", "--at", &at];
    ask(folder, gateway, "add", &[&more, values].concat())
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// What the aggregator has added up: a line for each file.
fn sums(folder: &Folder) -> Vec<Value> {
    let args = CountersArgs {
        store: folder.path().join("store"),
        stream: "visits".to_owned(),
        from: None,
        to: None,
        site: None,
        out: folder.path().join("sums"),
        json: true,
    };
    let mut out = Vec::new();
    assert!(counters::run(&args, &mut out).expect("the store is read"));
    let text = String::from_utf8(out).expect("text");
    let parse = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(parse).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sites_count_and_the_owner_reads_the_total() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::with_certificates();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    folder.write("schema.json", SCHEMA);
    for keys in ["mine", "others"] {
        let new = ["keys", "new", "--set", "linear", "--out", keys];
        folder.veilgate(&new).fine();
    }
    let made = folder
        .veilgate(&[
            "counters",
            "public-key",
            "--keys",
            "mine",
            "-o",
            "public.key",
        ])
        .fine();
    assert!(made.out.contains("its name"), "{made:?}");

    let centre = aggregator(&folder, 0);
    let one = folder.run(&config(origin, centre.addr(), "edge-1")).await;
    let two = folder.run(&config(origin, centre.addr(), "edge-2")).await;
    let window = WINDOW.to_string();
    for gateway in [&one, &two] {
        let more = ["--keys", "mine", "--window-seconds", &window];
        ask(&folder, gateway, "create", &more).fine();
    }
    // A window that has ended and is open for late ones yet, so that nobody waits long for its end.
    let at = seconds() + TO_COUNT - LATE - WINDOW;
    add(
        &folder,
        &one,
        at,
        &["visits=3", "balance=-500", "minutes=9.5"],
    )
    .fine();
    add(
        &folder,
        &one,
        at,
        &["visits=900", "minutes=10", "minutes=45"],
    )
    .fine();
    let said = add(&folder, &two, at, &["visits=97", "balance=1000000"]).fine();
    assert!(said.out.contains("Counted (now)"), "{said:?}");

    // A window of both sites, once the records of both have come.
    let both = |sums: &[Value]| sums.first().is_some_and(|s| s["contributions"] == 3);
    until("both sites' windows are at the centre", async || {
        both(&sums(&folder))
    })
    .await;
    let sums = sums(&folder);
    assert_eq!(sums.len(), 1, "{sums:?}");
    assert_eq!(sums[0]["sites"], serde_json::json!(["edge-1", "edge-2"]));
    let file = sums[0]["file"].as_str().expect("a file");
    let read = |keys: &str, more: &[&str]| {
        let args = [
            "counters",
            "read",
            "--schema",
            "schema.json",
            "--keys",
            keys,
        ];
        folder.veilgate(&[&args, more, &[file]].concat())
    };
    let report: Value = serde_json::from_str(&read("mine", &["--json"]).fine().out).expect("JSON");
    assert_eq!(
        report["totals"],
        serde_json::json!([
            {"name": "visits", "total": 1000},
            {"name": "balance", "total": 999_500},
            {"name": "minutes", "histogram": {"edges": [10.0, 30.0], "buckets": [1, 1, 1]}},
        ])
    );
    let people = read("mine", &[]).fine().out;
    for words in [
        "3 contributions",
        "visits  1000",
        "below 10  1",
        "30 and above  1",
    ] {
        assert!(people.contains(words), "{words:?} is not in:\n{people}");
    }
    read("others", &[]).refused(2, &["another client key"]);
    add(&folder, &one, seconds() - 3600, &["visits=1"]).refused(1, &["410", "closed"]);
    add(&folder, &one, at, &["visits=1001"]).refused(2, &["visits", "1000 at most"]);
    let swapped = [
        "counters",
        "public-key",
        "--keys",
        "others",
        "-o",
        "public.key",
    ];
    folder.veilgate(&swapped).fine();
    add(&folder, &one, seconds(), &["visits=1"])
        .refused(1, &["another public key", "nothing was sent"]);
    centre.stop().await;
}
