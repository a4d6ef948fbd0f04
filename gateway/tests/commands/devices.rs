//! What a machine computes with, as `veilgate doctor` tells it and as a config asks for it. These tests are about a machine
//! without an NVIDIA GPU: where there is one, it is hidden from the processes.

use std::path::Path;

use serde_json::Value;

use crate::site::{Folder, Process, ROUTE, Said};

const BASE: &str = "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n";

fn without_nvidia(dir: &Path, args: &[&str]) -> Said {
    Process::start_with(dir, args, &[("CUDA_VISIBLE_DEVICES", "")]).end()
}

fn config(folder: &Folder, devices: &str) {
    std::fs::create_dir_all(folder.path().join("programs")).expect("made");
    let fhe = format!("[fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\n{devices}");
    folder.write("edge.toml", format!("{BASE}{ROUTE}{fhe}"));
}

#[test]
fn the_doctor_tells_what_there_is_and_is_content_with_a_cpu() {
    let folder = Folder::new();
    let said = without_nvidia(folder.path(), &["doctor"]).fine();
    for words in ["cpu (", " threads", "\"best\"", "bootstraps on "] {
        assert!(said.out.contains(words), "{words:?} is not in: {said:?}");
    }
    let said = without_nvidia(folder.path(), &["doctor", "--json"]).fine();
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(report["cores"].as_u64() >= Some(1), "{report}");
    assert!(
        report["cpu"]
            .as_str()
            .is_some_and(|cpu| cpu.starts_with("cpu ("))
    );
    assert!(report["devices"].is_array(), "{report}");
    assert_eq!(report["chosen"]["asked"], "best");
    assert_eq!(report["chosen"]["error"], Value::Null);
}

#[test]
fn the_doctor_says_what_a_config_would_choose() {
    let folder = Folder::new();
    let chosen = |devices: &str| {
        config(&folder, devices);
        let args = ["doctor", "--json", "--config", "edge.toml"];
        let said = without_nvidia(folder.path(), &args).fine();
        let report: Value = serde_json::from_str(&said.out).expect("JSON");
        report["chosen"].clone()
    };
    let cpu = chosen("devices = \"cpu\"\n");
    assert_eq!(cpu["asked"], "cpu");
    assert_eq!(cpu["devices"], Value::Array(Vec::new()));
    let cuda = chosen("devices = \"cuda\"\n");
    let error = cuda["error"].as_str().unwrap_or_default();
    assert!(error.contains("cuda was asked for"), "{cuda}");

    folder.write("edge.toml", format!("{BASE}{ROUTE}"));
    let args = ["doctor", "--config", "edge.toml"];
    without_nvidia(folder.path(), &args).refused(2, &["edge.toml", "no section [fhe]"]);
}

#[test]
fn devices_that_are_asked_for_by_name_and_are_not_there_stop_the_start() {
    let folder = Folder::new();
    config(&folder, "devices = \"cuda\"\n");
    let words = [
        "cuda was asked for",
        "veilgate doctor",
        "devices = \"best\"",
    ];
    without_nvidia(folder.path(), &["check", "edge.toml"]).refused(2, &words);
    without_nvidia(folder.path(), &["run", "--config", "edge.toml"]).refused(1, &words);

    config(&folder, "devices = \"cpu\"\n");
    let checked = without_nvidia(folder.path(), &["check", "edge.toml"]).fine();
    assert!(checked.out.contains("computes on the CPU"), "{checked:?}");
}
