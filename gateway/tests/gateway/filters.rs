//! A proxy-wasm filter of others, unchanged, as a policy of a real gateway.

use std::path::PathBuf;

use crate::client::fetch;
use crate::origin::Origin;
use crate::site::Site;

/// What `cargo xtask filters` built.
fn filter(name: &str) -> PathBuf {
    let folder = std::env::var_os("VEILGATE_FILTERS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/filters")),
        PathBuf::from,
    );
    let path = folder.join(format!("{name}.wasm"));
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
