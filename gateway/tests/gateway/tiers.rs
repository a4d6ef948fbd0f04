//! New modules serve with code that was made quickly; the optimised code follows. What would take all time or memory to compile is
//! stopped, in a process of its own.

use std::time::{Duration, Instant};

use crate::client::fetch;
use crate::guests::guest;
use crate::site::until;
use crate::swaps::{answering, module, replace, site, status, until_optimised};

/// The compiler fills gigabytes first, and stands back for others.
const PATIENCE_WITH_BOMBS: Duration = Duration::from_secs(180);

/// With a function beside its hook that has many values live in many blocks: a few instructions each, gigabytes for a compiler.
fn bomb() -> Vec<u8> {
    const VALUES: usize = 900;
    let many = "i32 ".repeat(VALUES);
    let blocks = "block (type $many) end ".repeat(60_000);
    let body = format!(
        "(type $many (func (param {many}) (result {many})))
         (func (export \"veilgate:policy/request-hook@0.2.1#on-request\") (result i32) unreachable)
         (func (param i32) {} {blocks} {})",
        "local.get 0 ".repeat(VALUES),
        "drop ".repeat(VALUES)
    );
    guest("export veilgate:policy/request-hook@0.2.1;", "", &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optimised_code_follows_and_the_next_start_has_it() {
    let cache = tempfile::tempdir().expect("a folder");
    let policies = format!("cache_dir = \"{}\"", cache.path().display());
    let first = site(&answering(201), "", &policies).await;
    assert_eq!(module(&first).await["code"], "optimised", "at the start");
    replace(first.dir.path(), &answering(202));
    until("the module is swapped", async || {
        module(&first).await["swaps"] == 1
    })
    .await;
    until_optimised(&first).await;
    assert_eq!(module(&first).await["swaps"], 1, "it is the same module");
    assert_eq!(status(first.addr).await.as_u16(), 202);
    let replaced = |text: &str| {
        let mut lines = text.lines();
        lines.any(|line| {
            line.starts_with("gateway_policy_optimised_total") && line.contains("replaced")
        })
    };
    until("the replacement is counted", async || {
        replaced(fetch(first.admin(), "/metrics").await.text())
    })
    .await;
    first.stop().await;
    // Both modules are on disk: nothing is compiled any more, and the new one is never served by quick code.
    let entries = || std::fs::read_dir(cache.path()).expect("the cache").count();
    let before = entries();
    let second = site(&answering(202), "", &policies).await;
    assert_eq!(module(&second).await["code"], "optimised");
    replace(second.dir.path(), &answering(201));
    until("the module is swapped", async || {
        module(&second).await["swaps"] == 1
    })
    .await;
    assert_eq!(module(&second).await["code"], "optimised");
    assert_eq!(entries(), before);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_would_take_all_memory_to_compile_is_stopped_while_the_old_one_serves() {
    let site = site(&answering(201), "", "").await;
    replace(site.dir.path(), &bomb());
    let (mut served, began) = (0, Instant::now());
    loop {
        assert_eq!(status(site.addr).await.as_u16(), 201);
        served += 1;
        let refused = module(&site).await["refused"]["reason"].to_string();
        if refused.contains("MiB of memory") {
            break;
        }
        assert!(began.elapsed() < PATIENCE_WITH_BOMBS, "{refused}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(served > 5, "{served} requests meanwhile");
    // What comes after it is taken.
    replace(site.dir.path(), &answering(202));
    until("the next module serves", async || {
        status(site.addr).await.as_u16() == 202
    })
    .await;
    site.stop().await;
}
