//! A real writer process is killed many times at random moments; between its lives sled's files and the witness are damaged or
//! deleted. Every record that it was told is durable must reach the centre exactly once, with the right bytes and number.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{PATIENCE, Random, files, flip_bit, seal_all, small};
use outbox::{BatchNo, Epoch, Outbox, OutboxConfig};

mod common;

const DIR_VAR: &str = "OUTBOX_CRASH_DIR";
const LIFE_VAR: &str = "OUTBOX_CRASH_LIFE";
const KILLS: u64 = 45;
const CALLERS: u64 = 6;

fn config(root: &Path) -> OutboxConfig {
    let mut config = small(&root.join("outbox"));
    config.hold = Duration::from_millis(30);
    config.seal_age = Duration::from_millis(10);
    config
}

/// A record that can be told from its name: small mostly, sometimes several segments' worth of bytes at once.
fn body(life: u64, id: u64) -> Bytes {
    let len = match id % 50 {
        7 => 9_000,
        n => (n * n) as usize % 700,
    };
    let mut text = format!("{{\"life\":{life},\"id\":{id},\"pad\":\"");
    let mut random = Random(life << 32 | id);
    while text.len() < len {
        text.push_str(&format!("{:x}", random.below(u64::MAX)));
    }
    text.push_str("\"}");
    Bytes::from(text)
}

fn name_of(body: &[u8]) -> (u64, u64) {
    let json: serde_json::Value = serde_json::from_slice(body).expect("one of ours");
    let field = |name: &str| json[name].as_u64().expect("a number");
    (field("life"), field("id"))
}

/// Gives the pending batches to the centre, a directory: conditional creation, and the same bytes when there before.
async fn deliver(outbox: &Outbox, centre: &Path) {
    for batch in outbox.pending_batches(BatchNo(0), 16) {
        let (batch, bytes) = outbox.read_batch(batch.no).await.expect("reads");
        let path = centre.join(format!("{:020}.vgb", batch.no.0));
        match fs::read(&path) {
            Ok(stored) => assert!(stored == bytes, "CONFLICT in batch {}", batch.no),
            Err(_) => {
                let temp = centre.join("temp");
                fs::write(&temp, &bytes).expect("writes");
                fs::rename(&temp, &path).expect("renames");
            }
        }
        outbox.ack(batch.no);
    }
}

/// The writer: does nothing unless this test binary started it.
#[test]
fn writer_process() {
    let (Ok(root), Ok(life)) = (std::env::var(DIR_VAR), std::env::var(LIFE_VAR)) else {
        return;
    };
    let (root, life) = (PathBuf::from(root), life.parse::<u64>().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (outbox, report) = Outbox::open(config(&root)).expect("opens, whatever happened");
        say(&format!(
            "open {}",
            serde_json::to_string(&report).expect("plain data")
        ));
        outbox
            .set_epoch(Epoch(1))
            .expect("the same epoch each time");
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let outbox = outbox.clone();
                tokio::spawn(async move {
                    for n in 0.. {
                        let id = n * CALLERS + caller;
                        let receipt = outbox.append(body(life, id)).await.expect("durable");
                        say(&format!("ack {life} {id} {}", receipt.seq));
                    }
                })
            })
            .collect();
        let centre = root.join("centre");
        while callers.iter().all(|caller| !caller.is_finished()) {
            deliver(&outbox, &centre).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        panic!("a caller ended");
    });
}

/// One line in one write: a killed process leaves whole lines, and perhaps a part of one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes())
        .expect("the parent reads");
    out.flush().expect("the parent reads");
}

fn start(root: &Path, life: u64) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args([
            "--exact",
            "writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR_VAR, root)
        .env(LIFE_VAR, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// Lets it run, kills it, and returns what it said. Sometimes it dies while it opens.
fn one_life(root: &Path, life: u64, random: &mut Random) -> Vec<String> {
    let mut child = start(root, life);
    let out = child.stdout.take().expect("piped");
    let (said, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(out).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
            if let Some(line) = line.strip_prefix('@') {
                let _ = said.send(());
                lines.push(line.to_string());
            }
        }
        lines
    });
    if random.below(6) == 0 {
        std::thread::sleep(Duration::from_millis(random.below(60)));
    } else {
        let opened = heard.recv_timeout(PATIENCE);
        if opened.is_err() {
            let _ = child.kill();
            let output = child.wait_with_output().expect("ends");
            panic!(
                "life {life} did not open: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        std::thread::sleep(Duration::from_millis(random.below(500)));
    }
    let ended_by_itself = child.try_wait().expect("can be asked").is_some();
    child.kill().expect("SIGKILL");
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!ended_by_itself, "life {life} ended by itself: {stderr}");
    reader.join().expect("reads to the end")
}

fn hurt(root: &Path, random: &mut Random) -> &'static str {
    let outbox = root.join("outbox");
    let db = outbox.join("db");
    let db_files = files(&db);
    let witness = |n: u64| outbox.join(format!("witness-{n}"));
    match random.below(8) {
        0 => {
            let _ = fs::remove_dir_all(&db);
            "database deleted"
        }
        1 => {
            let _ = fs::remove_dir_all(&db);
            for n in 0..2 {
                let _ = fs::remove_file(witness(n));
            }
            "database and witness deleted"
        }
        2 => {
            let _ = fs::remove_file(witness(random.below(2)));
            "one witness deleted"
        }
        3 | 4 if !db_files.is_empty() => {
            let file = &db_files[random.below(db_files.len() as u64) as usize];
            let len = fs::metadata(file).expect("there").len();
            if len == 0 {
                return "nothing";
            }
            for _ in 0..=random.below(20) {
                flip_bit(file, random.below(len * 8));
            }
            "bits flipped in the database"
        }
        5 if !db_files.is_empty() => {
            let file = &db_files[random.below(db_files.len() as u64) as usize];
            let len = fs::metadata(file).expect("there").len();
            let open = fs::OpenOptions::new()
                .write(true)
                .open(file)
                .expect("opens");
            open.set_len(random.below(len + 1)).expect("truncates");
            "database truncated"
        }
        _ => "nothing",
    }
}

/// All records at the centre, by name; every batch follows the one before, and nothing is missing.
fn read_centre(centre: &Path) -> HashMap<(u64, u64), (u64, Vec<u8>)> {
    let mut records = HashMap::new();
    let (mut no, mut next_seq, mut hash) = (1, 1, outbox::Digest::default());
    for path in files(centre) {
        if path.extension().is_none_or(|e| e != "vgb") {
            continue;
        }
        let bytes = fs::read(&path).expect("reads");
        let batch = sync_wire::verify(&bytes).expect("verifies");
        let header = &batch.header;
        assert_eq!((header.meta.batch_no.0, header.first_seq.0), (no, next_seq));
        assert_eq!(header.meta.prev_hash, hash, "the chain holds");
        assert_eq!(header.gaps, [], "nothing was lost, so nothing is missing");
        for record in batch.records() {
            let name = name_of(record.body);
            let old = records.insert(name, (record.seq.0, record.body.to_vec()));
            assert!(old.is_none(), "{name:?} twice");
        }
        (no, next_seq, hash) = (no + 1, header.last_seq.0 + 1, batch.hash);
    }
    records
}

#[test]
fn every_acknowledged_record_survives_every_kill() {
    if std::env::var(DIR_VAR).is_ok() {
        return;
    }
    let mut random = Random::seeded("crash");
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    fs::create_dir_all(root.join("centre")).expect("a directory");
    let started = Instant::now();
    let mut acked = Vec::new();
    let mut opened = 0;
    for life in 0..KILLS {
        for line in one_life(root, life, &mut random) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", life, id, seq] = words[..] {
                let number = |s: &str| s.parse::<u64>().expect("a whole line");
                acked.push((number(life), number(id), number(seq)));
            } else {
                opened += 1;
            }
        }
        let what = hurt(root, &mut random);
        println!(
            "life {life}: {} acknowledged so far; then: {what}",
            acked.len()
        );
    }
    println!(
        "{KILLS} kills in {:?}, {opened} of them after it had opened",
        started.elapsed()
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (outbox, _) = Outbox::open(config(root)).expect("opens");
        outbox.set_epoch(Epoch(1)).expect("the same epoch");
        seal_all(&outbox).await;
        while outbox.status().pending.batches > 0 {
            deliver(&outbox, &root.join("centre")).await;
        }
        outbox.close().await;
    });
    let records = read_centre(&root.join("centre"));
    assert!(acked.len() > 500, "the writer wrote: {}", acked.len());
    for (life, id, seq) in &acked {
        let (at, bytes) = records
            .get(&(*life, *id))
            .unwrap_or_else(|| panic!("acknowledged record {life}/{id} (seq {seq}) is gone"));
        assert_eq!(at, seq);
        assert_eq!(*bytes, body(*life, *id));
    }
    println!(
        "{} acknowledged, {} at the centre",
        acked.len(),
        records.len()
    );
}
