//! Policies that misbehave: the operator's rule for that decides, and nothing else breaks.

use http::StatusCode;

use crate::client::fetch;
use crate::guests::request_hook;
use crate::origin::Origin;
use crate::site::{Site, until};
use veilgate::config;

const TRAPS: &str = "unreachable";
const LOOPS: &str = "(loop (br 0)) unreachable";
const GOES_ON: &str = "(i32.const 4096)";

/// One route for each guest and rule: `/deny` and `/skip`.
async fn site_with(guest: &str, addr: std::net::SocketAddr) -> Site {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("guest.wasm"), request_hook(guest)).expect("written");
    let mut text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n"
    );
    for rule in ["deny", "skip"] {
        text += &format!(
            "[[policy]]\nname = \"{rule}\"\nmodule = \"guest.wasm\"\non_fault = \"{rule}\"\nfuel = 100000\n\
             [[route]]\nname = \"{rule}\"\npath = \"/{rule}\"\nupstream = \"origin\"\npolicies = [\"{rule}\"]\n"
        );
    }
    Site::start(dir, &text).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_goes_on_is_not_noticed() {
    let (_, addr) = Origin::start().await;
    let site = site_with(GOES_ON, addr).await;
    assert_eq!(fetch(site.addr, "/deny").await.text(), "hello");
    assert_eq!(fetch(site.addr, "/skip").await.text(), "hello");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_traps_or_loops_is_denied_or_skipped_as_the_operator_said() {
    for guest in [TRAPS, LOOPS] {
        let (origin, addr) = Origin::start().await;
        let site = site_with(guest, addr).await;
        for _ in 0..10 {
            let denied = fetch(site.addr, "/deny").await;
            assert_eq!(denied.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(denied.header("retry-after"), Some("1"));
            assert!(
                !denied.text().contains("trap") && !denied.text().contains("fuel"),
                "{}",
                denied.text()
            );
        }
        assert_eq!(origin.requests(), 0, "{guest}");
        for _ in 0..10 {
            assert_eq!(fetch(site.addr, "/skip").await.text(), "hello", "{guest}");
        }
        let admin = site.admin();
        until("the faults are counted", async || {
            fetch(admin, "/metrics")
                .await
                .text()
                .contains("gateway_policy_faults_total")
        })
        .await;
        let status = fetch(site.admin(), "/status").await.json();
        assert!(
            status["policies"]
                .as_array()
                .is_some_and(|policies| policies.len() == 2),
            "{status}"
        );
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_be_used_stops_the_start_with_its_name() {
    let (_, addr) = Origin::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://{addr}\"]\n\
         [[policy]]\nname = \"odd\"\nmodule = \"odd.wasm\"\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"odd\"]\n"
    );
    let start = async || {
        let config =
            config::parse(&text, "test.toml", dir.path()).unwrap_or_else(|error| panic!("{error}"));
        veilgate::app::start(config, None)
            .await
            .err()
            .expect("it cannot start")
            .to_string()
    };
    let missing = start().await;
    assert!(
        missing.contains("policy odd") && missing.contains("odd.wasm"),
        "{missing}"
    );
    std::fs::write(dir.path().join("odd.wasm"), b"not wasm").expect("written");
    let broken = start().await;
    assert!(broken.contains("policy odd"), "{broken}");
    std::fs::write(
        dir.path().join("odd.wasm"),
        wat::parse_str("(module)").expect("a module"),
    )
    .expect("written");
    let core = start().await;
    assert!(core.contains("not a component"), "{core}");
}
