//! Limits that are to be shared while their store is away: what is checked, logged and answered. Nobody listens on port 1.

use std::path::{Path, PathBuf};

use crate::client::fetch;
use crate::origin::Origin;
use crate::site::{Folder, plain};

fn rate_limit() -> PathBuf {
    let dir = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    Path::new(&dir).join("rate-limit.wasm")
}

fn config(store: &str) -> String {
    format!(
        "[limits_store]\nurl = \"redis://127.0.0.1:1\"\npassword_file = \"password\"\n{store}\n\
         [[policy]]\nname = \"rate-limit\"\nmodule = \"{}\"\ngrants = [\"limits\", \"llm\"]\nlimits = \"shared\"\n\
         config = {{ limits = [{{ name = \"a\", limit = 2, per = \"31d\", key = \"all\" }}] }}\n\
         [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"rate-limit\"]\n",
        rate_limit().display()
    )
}

#[test]
fn check_opens_what_the_store_needs_and_shows_no_secret() {
    let folder = Folder::new();
    let base = "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n";
    let text = format!("{base}{}", config(""));
    folder
        .check(&text)
        .refused(2, &["[limits_store]", "password", "No such file"]);
    folder.write("password", "opensesame\n");
    folder.check(&text).fine();
    let secured = text.replace("redis://", "rediss://");
    let secured = secured.replace("password_file", "ca = \"ca.pem\"\npassword_file");
    folder
        .check(&secured)
        .refused(2, &["[limits_store]", "ca.pem"]);
    let leaky = text.replace("redis://", "redis://:opensesame@");
    let said = folder.check(&leaky);
    assert!(!said.err.contains("opensesame") && !said.out.contains("opensesame"));
    said.refused(2, &["edge.toml:7:7", "`password_file`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_without_the_store_is_in_the_access_log_and_the_outage_is_one_line() {
    let (_origin, origin) = Origin::start().await;
    let folder = Folder::new();
    folder.write("password", "opensesame\n");
    let text = plain(origin, &config("")).replace("access_log = false", "access_log = true");
    let gateway = folder.run(&text).await;
    for expected in [200, 200, 429, 429] {
        assert_eq!(fetch(gateway.addr, "/").await.status, expected);
    }
    assert_eq!(gateway.status().await["limits_store"]["up"], false);
    let metrics = gateway.metrics().await;
    for line in [
        "gateway_limits_store_up 0",
        "gateway_limits_store_requests_total{result=\"away\"} 4",
        "gateway_policy_limits_degraded_total{policy=\"rate-limit\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let said = gateway.stop();
    assert_eq!(
        said.out
            .matches("\"rate-limit: rate-limit/degraded\"")
            .count(),
        2,
        "{}",
        said.out
    );
    assert_eq!(
        said.out
            .matches("\"rate-limit: rate-limit/refused-degraded\"")
            .count(),
        2,
        "{}",
        said.out
    );
    assert_eq!(
        said.err.matches("is away; until it is back").count(),
        1,
        "{}",
        said.err
    );
    assert!(!said.err.contains("opensesame"), "{}", said.err);
}
