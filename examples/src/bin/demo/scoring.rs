//! Part 4: keys made, the evaluation key registered, rows encrypted, scored over HTTP/3 and decrypted, by the ordinary CLI.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::Failure;
use crate::site::Site;
use crate::summary::Summary;
use examples::processes::output;

struct Model {
    what: &'static str,
    program: &'static str,
    /// Of the evaluation key: a linear model needs no bootstrap.
    keys: &'static str,
    /// The ensemble costs twelve bootstraps a row.
    rows: u32,
}

const MODELS: [Model; 2] = [
    Model {
        what: "linear model",
        program: "breast-cancer-linear",
        keys: "linear",
        rows: 114,
    },
    Model {
        what: "tree ensemble",
        program: "breast-cancer-trees",
        keys: "bootstrap",
        rows: 60,
    },
];
/// Rows of the table that are shown.
const SHOWN: usize = 5;
/// Requests under way at once, one row each.
const CONCURRENCY: &str = "4";

pub async fn show(site: &Site, summary: &mut Summary) -> Result<(), Failure> {
    println!(
        "   data: the Wisconsin diagnostic breast-cancer set, rows that neither model was trained on"
    );
    for model in &MODELS {
        let keys = site.work.join("client-keys").join(model.program);
        println!("\n   {} ({})", model.what, model.program);
        make_keys(site, &keys, model.keys).await?;
        let report = score(site, &keys, model).await?;
        print(model, &report, summary)?;
    }
    Ok(())
}

/// What the two commands show while they work (a progress bar) goes to the terminal.
async fn make_keys(site: &Site, keys: &Path, set: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let mut make = site.veilgate();
    make.args(["keys", "new", "--set", set, "--out"]).arg(keys);
    output("making keys", &mut make, true).await?;
    println!(
        "     keys made in {:.1} s; the secret key stays in {}",
        began.elapsed().as_secs_f64(),
        keys.display()
    );
    let began = Instant::now();
    let mut register = site.veilgate();
    register
        .args(["keys", "register"])
        .args(target(site))
        .arg("--keys")
        .arg(keys);
    output("registering the evaluation key", &mut register, true).await?;
    println!(
        "     evaluation key registered with the gateway in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn target(site: &Site) -> [std::ffi::OsString; 4] {
    [
        "--url".into(),
        site.url().into(),
        "--ca".into(),
        site.certificate("ca.pem").into(),
    ]
}

async fn score(site: &Site, keys: &Path, model: &Model) -> Result<Value, Failure> {
    let program = site
        .work
        .join("programs")
        .join(format!("{}.json", model.program));
    let mut infer = site.veilgate();
    infer
        .arg("infer")
        .args(target(site))
        .arg("--keys")
        .arg(keys);
    infer.args([
        "--program",
        model.program,
        "--label",
        "label",
        "--concurrency",
        CONCURRENCY,
        "--json",
    ]);
    infer
        .args(["--limit", &model.rows.to_string()])
        .arg("--clear")
        .arg(program);
    infer
        .arg("--data")
        .arg(site.work.join("programs/breast-cancer-test.csv"));
    Ok(serde_json::from_str(
        &output("scoring", &mut infer, true).await?,
    )?)
}

fn print(model: &Model, report: &Value, summary: &mut Summary) -> Result<(), Failure> {
    println!(
        "     {:>4}  {:<16} {:<16} right answer",
        "row", "encrypted", "in the clear"
    );
    let results = report["results"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for row in results.iter().take(SHOWN) {
        let right = row["right"].as_str().unwrap_or("-");
        println!(
            "     {:>4}  {:<16} {:<16} {right}",
            row["row"],
            side(&row["encrypted"]),
            side(&row["clear"])
        );
    }
    println!("     … and {} more", results.len().saturating_sub(SHOWN));

    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let percent = |value: &Value| format!("{:.1} %", number(value) * 100.0);
    let (encrypted, clear) = (
        percent(&report["accuracy"]["encrypted"]),
        percent(&report["accuracy"]["clear"]),
    );
    println!(
        "     accuracy over {} rows: {encrypted} encrypted, {clear} in the clear",
        results.len()
    );
    let ms = |name: &str| number(&report["latency_ms"][name]);
    println!(
        "     latency p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms; {:.1} requests/s",
        ms("p50"),
        ms("p95"),
        ms("p99"),
        number(&report["requests_per_s"])
    );
    let bytes = |name: &str| number(&report["bytes"][name]) / 1e3;
    let rows = results.len().max(1) as f64;
    println!(
        "     {:.1} kB up and {:.1} kB down a row; the evaluation key, once: {:.1} kB",
        bytes("up") / rows,
        bytes("down") / rows,
        bytes("key")
    );

    Failure::unless(results.len() == model.rows as usize, || {
        format!("{} rows came back of {}", results.len(), model.rows)
    })?;
    Failure::unless(report["mismatches"] == 0, || {
        format!(
            "{} labels differ between encrypted and clear",
            report["mismatches"]
        )
    })?;
    let line = format!(
        "{encrypted} encrypted, {clear} clear; p50 {:.0} ms; {:.1} requests/s",
        ms("p50"),
        number(&report["requests_per_s"])
    );
    summary.add(model.what, line);
    Ok(())
}

fn side(result: &Value) -> String {
    let score = result["scores"][0].as_f64().unwrap_or(f64::NAN);
    format!("{} ({score:.3})", result["label"].as_str().unwrap_or("-"))
}
