//! `veilgate bench fhe`: what it measures is right, and what it prints is what scripts read (benches/README.md). No speed is
//! asserted.

use serde_json::Value;

use crate::site::{Folder, Process};

#[test]
fn a_short_run_finds_nothing_wrong_and_prints_a_line_for_each_figure() {
    let folder = Folder::new();
    let args = [
        "bench",
        "fhe",
        "--seconds",
        "5",
        "--batch",
        "1",
        "--keys",
        "1",
    ];
    let said = folder
        .veilgate(&[&args[..], &["--backend", "cpu", "--json"]].concat())
        .fine();
    let lines: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["bench"] == "fhe"), "{lines:?}");
    let of = |figure: &str| -> Vec<&Value> {
        let these = lines.iter().filter(|line| line["figure"] == figure);
        these.collect()
    };
    let [machine] = of("machine")[..] else {
        panic!("one machine: {lines:?}")
    };
    assert!(
        machine["backend"]
            .as_str()
            .is_some_and(|name| name.starts_with("cpu ("))
    );
    assert_eq!(of("keys")[0]["keys"], 1);
    let [lookups] = of("lookups")[..] else {
        panic!("one shape: {lines:?}")
    };
    assert_eq!(
        (&lookups["batch"], &lookups["keys"]),
        (&1.into(), &1.into())
    );
    let [sums] = of("sums")[..] else {
        panic!("one kind of sums: {lines:?}")
    };
    for figure in [&[lookups, sums][..], &of("model")].concat() {
        assert_eq!(figure["mismatches"], 0, "{figure}");
        assert!(figure["checked"].as_u64() > Some(0), "{figure}");
        for number in ["per_second", "p50_ms", "best_ms", "first_ms"] {
            assert!(figure[number].as_f64() > Some(0.0), "{number}: {figure}");
        }
        assert!(
            figure["ceiling"]["reached"].as_f64() > Some(0.0),
            "{figure}"
        );
    }
    let models = of("model").len();
    let left_out = of("skipped")
        .iter()
        .all(|line| line["why"].as_str().is_some());
    assert!(left_out && models + of("skipped").len() == 2, "{lines:?}");
}

#[test]
fn a_backend_that_is_not_known_or_not_there_is_refused() {
    let folder = Folder::new();
    let unknown = folder.veilgate(&["bench", "fhe", "--backend", "opencl"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.err.contains("opencl") && unknown.err.contains("best, cpu, cuda, wgpu"),
        "{unknown:?}"
    );
    let args = ["bench", "fhe", "--seconds", "5", "--backend", "cuda"];
    let hidden = [("CUDA_VISIBLE_DEVICES", "")];
    Process::start_with(folder.path(), &args, &hidden)
        .end()
        .refused(
            1,
            &["cuda was asked for", "veilgate doctor", "--backend best"],
        );
}
