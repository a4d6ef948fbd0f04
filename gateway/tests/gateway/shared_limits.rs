//! Limits that several gateways share in a real Redis: exact while it is there, bounded and by the operator's rule while it is not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use veilgate::body::Body;

use crate::client::{Connection, Reply, fetch};
use crate::origin::Origin;
use crate::server::Server;
use crate::site::{Site, metrics, until};

fn rate_limit() -> PathBuf {
    let dir = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    Path::new(&dir).join("rate-limit.wasm")
}

/// A route with the shipped policy, whose counts are shared; `limits` is its list of limits, `store` the rest of `[limits_store]`.
fn config(server: &Server, policy: &str, limits: &str, store: &str) -> String {
    format!(
        "[limits_store]\nurl = \"redis://127.0.0.1:{}\"\n{store}\n[[policy]]\nname = \"{policy}\"\nmodule = \"{}\"\n\
         grants = [\"limits\", \"llm\"]\nlimits = \"shared\"\nconfig = {{ headers = \"always\", limits = [{limits}] }}\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"{policy}\"]\n",
        server.port,
        rate_limit().display()
    )
}

fn limit(name: &str, most: u32, per: &str, more: &str) -> String {
    format!(
        "{{ name = \"{name}\", limit = {most}, per = \"{per}\", key = \"header:x-caller\"{more} }}"
    )
}

async fn ask(connection: &mut Connection, caller: &str) -> Reply {
    let request = Request::get("/head").header("x-caller", caller);
    connection
        .send(request.body(Body::empty()).expect("a request"))
        .await
}

async fn status(addr: SocketAddr, caller: &str) -> u16 {
    ask(&mut Connection::plain(addr).await, caller)
        .await
        .status
        .as_u16()
}

/// How many of `count` requests pass, on some connections at the same time.
async fn passed(sites: &[&Site], caller: &'static str, connections: usize, count: usize) -> usize {
    let tasks = (0..connections).map(|n| {
        let addr = sites[n % sites.len()].addr;
        tokio::spawn(async move {
            let mut connection = Connection::plain(addr).await;
            let mut passed = 0;
            for _ in 0..count {
                match ask(&mut connection, caller).await.status {
                    StatusCode::OK => passed += 1,
                    status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
                }
            }
            passed
        })
    });
    let mut all = 0;
    for task in tasks.collect::<Vec<_>>() {
        all += task.await.expect("its requests");
    }
    all
}

async fn is_up(site: &Site) -> bool {
    fetch(site.admin(), "/status").await.json()["limits_store"]["up"] == true
}

fn degraded(policy: &str) -> u64 {
    let name = format!("gateway_policy_limits_degraded_total{{policy=\"{policy}\"}} ");
    let text = metrics().render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name.as_str()));
    line.map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_together_let_exactly_as_many_through_as_the_limit_says() {
    let Some(server) = Server::started().await else {
        return;
    };
    let (_origin, addr) = Origin::start().await;
    let sliding = ", algorithm = \"sliding-window\"";
    let fixed = ", algorithm = \"fixed-window\"";
    for (policy, limits) in [
        ("shared-bucket", vec![limit("a", 100, "31d", "")]),
        ("shared-sliding", vec![limit("a", 100, "31d", sliding)]),
        ("shared-fixed", vec![limit("a", 100, "31d", fixed)]),
        // Of several, all or none: the tightest decides, and the others count what passed.
        (
            "shared-several",
            vec![
                limit("a", 100, "31d", ""),
                limit("b", 110, "31d", sliding),
                limit("c", 120, "30d", fixed),
            ],
        ),
    ] {
        let text = config(
            &server,
            policy,
            &limits.join(", "),
            "prefix = \"site\"\ntimeout = \"5s\"",
        );
        let sites = [
            Site::plain(addr, &text).await,
            Site::plain(addr, &text).await,
        ];
        assert!(is_up(&sites[0]).await && is_up(&sites[1]).await);
        assert_eq!(
            passed(&[&sites[0], &sites[1]], "ann", 8, 30).await,
            100,
            "{policy}"
        );
        assert_eq!(degraded(policy), 0);
        let refused = ask(&mut Connection::plain(sites[1].addr).await, "ann").await;
        let standing = refused.header("ratelimit").expect("the field").to_owned();
        assert!(standing.contains("\"a\";r=0"), "{standing}");
        if policy == "shared-several" {
            assert!(
                standing.contains("\"b\";r=10") && standing.contains("\"c\";r=20"),
                "{standing}"
            );
        }
        // Another caller has a count of his own.
        let other = ask(&mut Connection::plain(sites[0].addr).await, "bob").await;
        assert_eq!(other.status, StatusCode::OK);
        let keys = server.keys().await;
        assert_eq!(keys.len(), 2 * limits.len(), "{keys:?}");
        for key in &keys {
            assert!(
                key.starts_with(&format!("site:{policy}:")) && !key.contains("ann"),
                "{key}"
            );
            let left = server.command(&["PTTL", key]).await;
            let left: i64 = left.trim_start_matches(':').trim().parse().expect("ms");
            assert!(left > 0 && left <= 2 * 31 * 86_400_000 + 2, "{key}: {left}");
        }
        server.command(&["FLUSHALL"]).await;
        for site in sites {
            site.stop().await;
        }
    }
}

/// The first three, or none, or all.
async fn of_five(site: &Site, caller: &str) -> usize {
    let mut passed = 0;
    for _ in 0..5 {
        passed += usize::from(status(site.addr, caller).await == 200);
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_the_operators_rule_decides_until_it_is_back() {
    for (rule, expected) in [("local", 3), ("allow", 5), ("deny", 0)] {
        let Some(mut server) = Server::new() else {
            return;
        };
        let policy = format!("outage-{rule}");
        let (_origin, addr) = Origin::start().await;
        let store = format!("timeout = \"5s\"\non_unavailable = \"{rule}\"");
        let text = config(&server, &policy, &limit("a", 3, "31d", ""), &store);
        // It need not be there when the gateway starts.
        let site = Site::plain(addr, &text).await;
        assert!(!is_up(&site).await);
        assert_eq!(of_five(&site, "early").await, expected, "{rule}");
        assert_eq!(degraded(&policy), 5);
        server.start().await;
        until("the store is used", async || is_up(&site).await).await;
        assert_eq!(of_five(&site, "ann").await, 3, "{rule}");
        assert_eq!(degraded(&policy), 5);
        server.kill();
        assert_eq!(of_five(&site, "ann").await, expected, "{rule}");
        assert_eq!(degraded(&policy), 10);
        if rule == "deny" {
            let refused = ask(&mut Connection::plain(site.addr).await, "ann").await;
            assert_eq!(
                (refused.status.as_u16(), refused.header("retry-after")),
                (429, Some("1"))
            );
        }
        server.start().await;
        until("the store is back", async || is_up(&site).await).await;
        // It has forgotten all: the counts begin afresh.
        assert_eq!(of_five(&site, "ann").await, 3, "{rule}");
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_costs_a_request_its_timeout_once() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    let Some(server) = Server::started().await else {
        return;
    };
    let (_origin, addr) = Origin::start().await;
    let text = config(
        &server,
        "hanging",
        &limit("a", 3, "31d", ""),
        "timeout = \"400ms\"\non_unavailable = \"allow\"",
    );
    let site = Site::plain(addr, &text).await;
    assert_eq!(status(site.addr, "ann").await, 200);
    server.hang();
    let begun = Instant::now();
    assert_eq!(status(site.addr, "ann").await, 200);
    let first = begun.elapsed();
    assert!(first >= TIMEOUT && first < TIMEOUT * 8, "{first:?}");
    // From here on nobody waits: twenty that did would take twenty times as long.
    let begun = Instant::now();
    assert_eq!(
        of_five(&site, "ann").await + of_five(&site, "ann").await,
        10
    );
    let rest = begun.elapsed();
    assert!(rest < TIMEOUT * 5, "{rest:?}");
    assert_eq!(degraded("hanging"), 11);
    server.go_on();
    until("the store is back", async || is_up(&site).await).await;
    // One had passed before, and the server did what it was asked while it hung.
    let passed = of_five(&site, "ann").await;
    assert!(passed == 1 || passed == 2, "{passed}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_keys_vanish_and_long_names_make_short_keys() {
    let Some(server) = Server::started().await else {
        return;
    };
    let (_origin, addr) = Origin::start().await;
    let limits = [
        limit("a", 5, "300ms", ""),
        limit("b", 5, "200ms", ", algorithm = \"sliding-window\""),
        limit("c", 5, "200ms", ", algorithm = \"fixed-window\""),
    ];
    let site = Site::plain(addr, &config(&server, "expiring", &limits.join(", "), "")).await;
    let caller = "x".repeat(6000);
    assert_eq!(status(site.addr, &caller).await, 200);
    for key in server.keys().await {
        assert!(key.len() < 200, "{key}");
    }
    until("nothing is left", async || server.keys().await.is_empty()).await;
    assert_eq!(status(site.addr, &caller).await, 200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_in_the_store_is_decided_without_it_and_nothing_else_is() {
    let Some(server) = Server::started().await else {
        return;
    };
    let (_origin, addr) = Origin::start().await;
    let text = config(
        &server,
        "foreign",
        &limit("a", 3, "31d", ""),
        "timeout = \"5s\"\non_unavailable = \"deny\"",
    );
    let site = Site::plain(addr, &text).await;
    assert_eq!(status(site.addr, "ann").await, 200);
    let [key] = server.keys().await.try_into().expect("one key");
    for command in [
        ["SET", &key, "not a limit's"].as_slice(),
        &["LPUSH", &key, "x"],
        &["SET", &key, "b 9007199254740993 0"],
    ] {
        server.command(&["DEL", &key]).await;
        server.command(command).await;
        assert_eq!(status(site.addr, "ann").await, 429, "{command:?}");
        assert_eq!(status(site.addr, "bob").await, 200);
        server.command(&["FLUSHALL"]).await;
        assert_eq!(status(site.addr, "ann").await, 200);
    }
    assert!(is_up(&site).await);
    assert_eq!(degraded("foreign"), 3);
    // A script that is gone is loaded again.
    server.command(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(status(site.addr, "ann").await, 200);
    assert_eq!(degraded("foreign"), 3);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_reached_over_tls_with_a_password() {
    let Some(server) = Server::new() else {
        return;
    };
    let ca = transport::certs::make_ca(server.dir.path(), "test authority").expect("an authority");
    transport::certs::issue_server(
        &ca,
        server.dir.path(),
        "server",
        &["localhost", "127.0.0.1"],
    )
    .expect("a certificate");
    let dir = server.dir.path().to_owned();
    let file = |name: &str| dir.join(name).display().to_string();
    let port = server.port.to_string();
    // `--port 0` comes last, and counts: only TLS is spoken.
    let mut server = server.with(&[
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "opensesame",
    ]);
    server.start().await;
    let (_origin, addr) = Origin::start().await;
    std::fs::write(dir.join("password"), "opensesame\n").expect("written");
    let store = |ca: &str, password: &str| {
        format!(
            "ca = \"{}\"\npassword_file = \"{}\"\non_unavailable = \"deny\"\ntimeout = \"5s\"",
            file(ca),
            file(password)
        )
    };
    let text = |policy, store: &str| {
        let text = config(&server, policy, &limit("a", 3, "31d", ""), store);
        text.replace("redis://127.0.0.1", "rediss://localhost")
    };
    let site = Site::plain(addr, &text("secured", &store("ca.pem", "password"))).await;
    assert!(is_up(&site).await);
    assert_eq!(of_five(&site, "ann").await, 3);
    site.stop().await;
    // Another authority than the one that is trusted, and another password.
    let other = tempfile::tempdir().expect("a folder");
    transport::certs::make_ca(other.path(), "another").expect("an authority");
    std::fs::copy(other.path().join("ca.pem"), dir.join("other.pem")).expect("copied");
    std::fs::write(dir.join("wrong"), "closesesame\n").expect("written");
    for (ca, password) in [("other.pem", "password"), ("ca.pem", "wrong")] {
        let site = Site::plain(addr, &text("secured", &store(ca, password))).await;
        assert!(!is_up(&site).await, "{ca} {password}");
        assert_eq!(of_five(&site, "ann").await, 0);
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_one_gateway_set_aside_come_back_for_the_other() {
    let Some(server) = Server::started().await else {
        return;
    };
    let (_origin, addr) = Origin::start().await;
    let tokens = limit("t", 1000, "31d", ", unit = \"tokens\", reserve = 900");
    let text = config(&server, "tokens", &tokens, "timeout = \"5s\"");
    let sites = [
        Site::plain(addr, &text).await,
        Site::plain(addr, &text).await,
    ];
    let chat = async |site: &Site| {
        let question = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let request = Request::post("/chat")
            .header("x-caller", "ann")
            .header("content-type", "application/json");
        let request = request.body(Body::full(question)).expect("a request");
        Connection::plain(site.addr).await.send(request).await
    };
    let passes = async |site: &Site| chat(site).await.status == StatusCode::OK;
    // Twice the reserve is more than there is: each passes only when the one before it was put right.
    assert!(passes(&sites[0]).await);
    until("the reserve is given back", async || {
        passes(&sites[1]).await
    })
    .await;
    until("it is again", async || passes(&sites[0]).await).await;
    // Three cost 34 each: what is left is known to the token, and no reserve fits into it.
    until("three are paid for", async || {
        let refused = chat(&sites[1]).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        let standing = refused.header("ratelimit").expect("the field");
        standing.contains("\"t\";r=898")
    })
    .await;
    assert_eq!(degraded("tokens"), 0);
    for site in sites {
        site.stop().await;
    }
}
