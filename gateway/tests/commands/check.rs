//! `veilgate check`: every kind of wrong config is told with its place, and the demo's config is accepted.

use std::path::{Path, PathBuf};

use crate::site::{Folder, ROUTE};

const BASE: &str = "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n";

/// The shipped policies, built.
fn shipped(name: &str) -> PathBuf {
    let dir = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    Path::new(&dir).join(format!("{name}.wasm"))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

#[test]
fn wrong_text_is_shown_with_its_place_and_what_to_do() {
    let folder = Folder::new();
    for (text, words) in [
        // One line further down in each case than the five of BASE.
        (
            format!("{BASE}{ROUTE}upstraem = \"origin\"\n"),
            &[
                "edge.toml:10:1",
                "unknown key `upstraem`",
                "did you mean `upstream`?",
            ][..],
        ),
        (
            format!("{BASE}{ROUTE}record = \"sometimes\"\n"),
            &["edge.toml:10:10", "sometimes", "durable"],
        ),
        (
            format!("{BASE}{ROUTE}timeout = \"soon\"\n"),
            &["edge.toml:10:11", "soon", "\"5s\""],
        ),
        (
            format!("{BASE}{ROUTE}[limits]\nmax_headers = 1\n"),
            &["edge.toml:11:15", "8", "1000"],
        ),
        (
            BASE.to_owned() + &ROUTE.replace("\"origin\"", "\"orgin\""),
            &["edge.toml:9:12", "orgin", "origin"],
        ),
        (
            format!("{BASE}{ROUTE}record = \"durable\"\n"),
            &["edge.toml:10:10", "[outbox]"],
        ),
        (format!("{BASE}{ROUTE}[oops\n"), &["edge.toml:10:", "]"]),
        (BASE.to_owned(), &["there is no route", "[[route]]"]),
    ] {
        folder.check(&text).refused(2, words);
        // `run` tells the same before it opens anything.
        folder.run_in_vain(&text).refused(2, words);
    }
    folder
        .veilgate(&["check", "none.toml"])
        .refused(2, &["none.toml", "cannot be read", "No such file"]);
    folder.write("huge.toml", vec![b'#'; (1 << 20) + 1]);
    folder.veilgate(&["check", "huge.toml"]).refused(
        2,
        &["huge.toml", "1048576 bytes", "is this the config file?"],
    );
    folder.write("binary.toml", [0xff, 0xfe, 0]);
    folder
        .veilgate(&["check", "binary.toml"])
        .refused(2, &["binary.toml", "UTF-8"]);
}

#[test]
fn policies_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let policy = |module: &str, rest: &str| {
        format!(
            "{BASE}{ROUTE}policies = [\"odd\"]\n[[policy]]\nname = \"odd\"\nmodule = \"{module}\"\n{rest}"
        )
    };
    folder
        .check(&policy("gone.wasm", ""))
        .refused(2, &["policy odd", "gone.wasm", "No such file"]);
    folder.write("text.wasm", "This is not Wasm.");
    folder
        .check(&policy("text.wasm", ""))
        .refused(2, &["policy odd", "not Wasm"]);
    folder.write("core.wasm", wat::parse_str("(module)").expect("a module"));
    folder
        .check(&policy("core.wasm", ""))
        .refused(2, &["policy odd", "not a component"]);
    let short = std::fs::read(shipped("rate-limit")).expect("built");
    folder.write("short.wasm", &short[..short.len() / 2]);
    folder
        .check(&policy("short.wasm", ""))
        .refused(2, &["policy odd"]);

    copy(
        &shipped("rate-limit"),
        &folder.path().join("rate-limit.wasm"),
    );
    let limit = |rest: &str| {
        policy(
            "rate-limit.wasm",
            &format!(
                "grants = [\"limits\", \"llm\"]\n[[policy.config.limits]]\nname = \"all\"\n{rest}"
            ),
        )
    };
    folder
        .check(&limit("limit = 5\nper = \"1s\"\nkey = [\"client-ip\"]\n"))
        .fine();
    // Its own words about its own configuration.
    folder
        .check(&limit(
            "limit = 5\nper = \"now and then\"\nkey = [\"client-ip\"]\n",
        ))
        .refused(2, &["policy odd", "per"]);
    folder
        .check(&limit(
            "limit = 5\nper = \"1s\"\nkey = [\"client-ip\"]\nburts = 3\n",
        ))
        .refused(2, &["policy odd", "burts"]);
    let ungranted = limit("limit = 5\nper = \"1s\"\nkey = [\"client-ip\"]\n")
        .replace("grants = [\"limits\", \"llm\"]\n", "grants = [\"llm\"]\n");
    folder
        .check(&ungranted)
        .refused(2, &["policy odd", "limits", "grant"]);
}

#[test]
fn the_demo_config_is_accepted_where_its_files_are() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(repository().join("edge-configs/demo.toml"))
        .expect("the demo's config");
    let bare = folder.check(&text);
    // All that is missing is told at once.
    bare.refused(
        2,
        &["certs/server.pem", "[sync]", "rate-limit.wasm", "programs"],
    );
    folder
        .veilgate(&["certs", "--out", "certs", "--site", "edge-1"])
        .fine();
    for name in ["routing", "caching", "rate-limit", "circuit-breaker"] {
        copy(
            &shipped(name),
            &folder.path().join(format!("policies/{name}.wasm")),
        );
    }
    for name in ["breast-cancer-linear", "breast-cancer-trees"] {
        let file = format!("{name}.json");
        copy(
            &repository().join("examples/models").join(&file),
            &folder.path().join("programs").join(file),
        );
    }
    let said = folder.check(&text).fine();
    for words in [
        "fine",
        "127.0.0.1:8443 (TLS)",
        "rate-limit → caching → routing → circuit-breaker",
    ] {
        assert!(said.out.contains(words), "{words:?}: {}", said.out);
    }
    // Other edge configs ship too: at least their text is right.
    for name in [
        "linux-box.toml",
        "mac-mini.toml",
        "gpu-workstation.toml",
        "browser.toml",
    ] {
        let file = repository().join("edge-configs").join(name);
        folder
            .veilgate(&["check", "--text-only", file.to_str().expect("text")])
            .fine();
    }
}

#[test]
fn a_pinned_module_is_that_one_or_refused_and_check_tells_the_digests() {
    let folder = Folder::new();
    folder.write(
        "guest.wasm",
        crate::guests::request_hook("(i32.const 4096)"),
    );
    let config = |digest: &str| {
        format!(
            "{BASE}{ROUTE}policies = [\"mine\"]\n[[policy]]\nname = \"mine\"\nmodule = \"guest.wasm\"\n{digest}"
        )
    };
    let said = folder.check(&config("")).fine();
    let digest = said
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("policy    mine: "))
        .unwrap_or_else(|| panic!("no digest in: {}", said.out))
        .to_owned();
    assert!(digest.starts_with("blake3:"), "{digest}");
    folder
        .check(&config(&format!("digest = \"{digest}\"\n")))
        .fine();
    let other = format!("sha256:{}", "0".repeat(64));
    folder
        .check(&config(&format!("digest = \"{other}\"\n")))
        .refused(2, &["policy mine", &other, "the module is sha256:"]);
    folder
        .check(&config("digest = \"sha256:abc\"\n"))
        .refused(2, &["this is no digest", "veilgate check"]);
    // What was compiled is kept, and only for this user.
    let kept = folder.path().join("cache/veilgate/policies");
    assert!(std::fs::read_dir(kept).expect("made").count() >= 2);
}
