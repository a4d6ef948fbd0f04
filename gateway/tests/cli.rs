//! The program itself: exit codes, and errors that a person can act on.

use std::path::Path;
use std::process::{Command, Output};

fn veilgate(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veilgate"))
        .current_dir(dir)
        .args(args)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const CONFIG: &str = r#"
[[listener]]
addr = "127.0.0.1:8443"
tls = { cert = "certs/server.pem", key = "certs/server.key" }

[[upstream]]
name = "origin"
endpoints = ["http://127.0.0.1:9000"]

[[route]]
name = "all"
path_prefix = "/"
upstream = "origin"
"#;

#[test]
fn certificates_that_it_makes_are_certificates_that_it_takes() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("edge.toml"), CONFIG).expect("written");
    let before = veilgate(dir.path(), &["check", "edge.toml"]);
    assert_eq!(before.status.code(), Some(2));
    assert!(
        text(&before.stderr).contains("certs/server.pem"),
        "{}",
        text(&before.stderr)
    );
    let text_only = veilgate(dir.path(), &["check", "edge.toml", "--text-only"]);
    assert!(text_only.status.success(), "{}", text(&text_only.stderr));

    let made = veilgate(
        dir.path(),
        &[
            "certs",
            "--out",
            "certs",
            "--names",
            "localhost",
            "--site",
            "site-1",
        ],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let after = veilgate(dir.path(), &["check", "edge.toml"]);
    assert!(after.status.success(), "{}", text(&after.stderr));
    assert!(text(&after.stdout).contains("edge.toml: fine"));
    let again = veilgate(dir.path(), &["certs", "--out", "certs"]);
    assert_eq!(
        again.status.code(),
        Some(1),
        "an authority is not written over by accident"
    );
}

#[test]
fn a_wrong_config_is_shown_with_its_line() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(
        dir.path().join("edge.toml"),
        format!("{CONFIG}recrd = \"lazy\"\n"),
    )
    .expect("written");
    for command in [
        &["check", "edge.toml"][..],
        &["run", "--config", "edge.toml"],
    ] {
        let output = veilgate(dir.path(), command);
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        assert!(
            error.contains("edge.toml:14:1: unknown key `recrd`")
                && error.contains("did you mean `record`?"),
            "{error}"
        );
    }
    let missing = veilgate(dir.path(), &["run", "--config", "none.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("none.toml: cannot be read"));
}

#[test]
fn a_directory_without_an_outbox_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = veilgate(dir.path(), &["outbox", "status", "--dir", "."]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("outbox"),
        "{}",
        text(&output.stderr)
    );
}
