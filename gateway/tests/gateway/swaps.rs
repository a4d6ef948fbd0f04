//! Modules swapped while the gateway serves: no request fails, what cannot be used is refused, and the old one stays.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use veilgate::body::Body;

use crate::bodied::{WATCH, letter};
use crate::bodies::{pieces, request};
use crate::calls::{CALLS, asking};
use crate::client::{Connection, Reply, fetch};
use crate::guests::request_hook;
use crate::origin::Origin;
use crate::site::{PATIENCE, Site, until};

/// A guest that answers every request with this status.
pub fn answering(status: u16) -> Vec<u8> {
    request_hook(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const {status})) (i32.const 1024)"
    ))
}

pub async fn site(guest: &[u8], policy: &str, policies: &str) -> Site {
    let (_, origin) = Origin::start().await;
    site_before(origin, guest, policy, policies).await
}

async fn site_before(origin: SocketAddr, guest: &[u8], policy: &str, policies: &str) -> Site {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("guest.wasm"), guest).expect("written");
    let text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{origin}\"]\n[policies]\n{policies}\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"p\"]\n\
         [[policy]]\nname = \"p\"\nmodule = \"guest.wasm\"\n{policy}"
    );
    Site::start(dir, &text).await
}

/// As good tools do it: written beside, renamed into place.
pub fn replace(dir: &Path, guest: &[u8]) {
    let beside = dir.join("guest.new");
    std::fs::write(&beside, guest).expect("written");
    std::fs::rename(&beside, dir.join("guest.wasm")).expect("renamed");
}

pub async fn status(addr: SocketAddr) -> StatusCode {
    fetch(addr, "/").await.status
}

pub async fn module(site: &Site) -> serde_json::Value {
    fetch(site.admin(), "/status").await.json()["policies"][0]["module"].clone()
}

pub async fn until_optimised(site: &Site) {
    until("the code is optimised", async || {
        module(site).await["code"] == "optimised"
    })
    .await;
}

async fn reload(site: &Site) -> Reply {
    let request = Request::post("/policies/reload")
        .body(Body::empty())
        .expect("a request");
    Connection::plain(site.admin()).await.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_request() {
    const SWAPS: u64 = 20;
    let site = site(&answering(201), "", "").await;
    let over = AtomicBool::new(false);
    let addr = site.addr;
    let client = async || {
        let mut connection = Connection::plain(addr).await;
        let mut seen = [0_u64; 2];
        while !over.load(Ordering::Relaxed) {
            match connection.fetch("/").await.status.as_u16() {
                201 => seen[0] += 1,
                202 => seen[1] += 1,
                other => panic!("answered {other}"),
            }
        }
        seen
    };
    let swapping = async {
        let guests = [answering(202), answering(201)];
        for (number, guest) in (1..=SWAPS).zip(guests.iter().cycle()) {
            replace(site.dir.path(), guest);
            until("the module is swapped", async || {
                module(&site).await["swaps"] == number
            })
            .await;
            // Some are replaced by the next module at once, some by their own optimised code before.
            if number % 2 == 0 {
                until_optimised(&site).await;
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let (one, two, three, ()) = tokio::join!(client(), client(), client(), swapping);
    for at in 0..2 {
        assert!(one[at] + two[at] + three[at] > 0, "both modules served");
    }
    // All of what the modules did together.
    let counted = fetch(site.admin(), "/status").await.json()["policies"][0]["calls"]
        .as_u64()
        .expect("a number");
    let answered: u64 = [one, two, three].iter().flatten().sum();
    // A swap's sum misses what the old module does after it: at most the requests then in flight. Each module is swapped in twice.
    assert!(
        counted <= answered && counted + 2 * 3 * SWAPS >= answered,
        "{counted} of {answered}"
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_be_used_is_refused_and_tried_again_when_it_changes() {
    let site = site(&answering(201), "fuel = 100000", "").await;
    let serving = module(&site).await["digest"].clone();
    let refusals: [(&[u8], &str); 4] = [
        (b"not wasm", "not Wasm"),
        (&answering(202)[..100], "does not compile"),
        (&request_hook("unreachable"), "its canary failed"),
        (
            &request_hook("(loop (br 0)) unreachable"),
            "its canary failed",
        ),
    ];
    for (guest, words) in refusals {
        replace(site.dir.path(), guest);
        until(words, async || {
            let refused = module(&site).await["refused"]["reason"].to_string();
            refused.contains(words)
        })
        .await;
        assert_eq!(status(site.addr).await, StatusCode::CREATED);
        assert_eq!(module(&site).await["digest"], serving);
    }
    let asked = reload(&site).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(asked.json()["policies"][0]["result"], "refused");
    // Written in two goes, with a pause in which it stands still: refused first, and taken when it is whole.
    let whole = answering(203);
    let path = site.dir.path().join("guest.wasm");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    until("the half is refused", async || {
        module(&site).await["refused"]["reason"]
            .to_string()
            .contains("compile")
    })
    .await;
    std::fs::write(&path, &whole).expect("written");
    until("the whole serves", async || {
        status(site.addr).await.as_u16() == 203
    })
    .await;
    assert!(module(&site).await["refused"].is_null());
    let metrics = fetch(site.admin(), "/metrics").await;
    for result in ["refused", "swapped"] {
        let counted = metrics
            .text()
            .lines()
            .any(|line| line.starts_with("gateway_policy_swaps_total") && line.contains(result));
        assert!(counted, "{result}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_says_what_a_module_must_decide() {
    let canary = "[policy.canary]\npath = \"/x\"\nheaders = { x-key = \"k\" }\nstatus = 201\n";
    let site = site(&answering(201), canary, "watch = false").await;
    replace(site.dir.path(), &answering(202));
    // Not watched: nothing happens until it is asked for.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(module(&site).await["refused"].is_null());
    let asked = reload(&site).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = asked.text();
    assert!(
        text.contains("201 was expected") && text.contains("it answered 202"),
        "{text}"
    );
    assert_eq!(status(site.addr).await, StatusCode::CREATED);
    // Another module with the same decision.
    replace(
        site.dir.path(),
        &request_hook(
            "(drop (i32.const 7)) (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const 201)) (i32.const 1024)",
        ),
    );
    let asked = reload(&site).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.text());
    assert_eq!(asked.json()["policies"][0]["result"], "swapped");
    assert_eq!(
        reload(&site).await.json()["policies"][0]["result"],
        "unchanged"
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_web_page_has_modules_loaded_again() {
    let site = site(&answering(201), "", "").await;
    let request = Request::post("/policies/reload")
        .header("origin", "http://evil.test")
        .body(Body::empty())
        .expect("a request");
    let refused = Connection::plain(site.admin()).await.send(request).await;
    assert_eq!(refused.status, 403);
    assert_eq!(reload(&site).await.status, 200);
    site.stop().await;
}

async fn swapped(site: &Site) {
    until("the module is swapped", async || {
        module(site).await["swaps"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_policy_waits_ends_on_the_module_that_it_began_with() {
    let (origin, addr) = Origin::start().await;
    // The answer to its call comes once the origin is told to go on.
    let site = site_before(addr, &asking("/stream", 0), CALLS, "").await;
    let (held, ()) = tokio::join!(fetch(site.addr, "/"), async {
        until("the policy has asked", async || origin.requests() == 1).await;
        replace(site.dir.path(), &asking("/teapot", 0));
        swapped(&site).await;
        assert_eq!(status(site.addr).await, StatusCode::IM_A_TEAPOT);
        origin.go_on.notify_one();
    });
    assert_eq!(held.status, StatusCode::OK);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_on_its_way_ends_on_the_module_that_it_began_with() {
    let site = site(&letter('a', WATCH, 0), "", "").await;
    let (sender, body) = pieces();
    let mut connection = Connection::plain(site.addr).await;
    let mut echo = connection.head(request(Method::POST, "/echo", body)).await;
    let mut pass = async |sent: &'static str| {
        sender.send(Ok(sent)).await.expect("room");
        let frame = tokio::time::timeout(PATIENCE, echo.body_mut().frame());
        let frame = frame.await.expect("in time").expect("a frame");
        frame.expect("whole").into_data().expect("data")
    };
    assert_eq!(pass("1").await, "1a");
    replace(site.dir.path(), &letter('b', WATCH, 0));
    swapped(&site).await;
    assert_eq!(pass("2").await, "2a");
    let mut connection = Connection::plain(site.addr).await;
    let fresh = request(Method::POST, "/echo", Body::full("3"));
    assert_eq!(connection.send(fresh).await.text(), "3b");
    drop(sender);
    site.stop().await;
}
