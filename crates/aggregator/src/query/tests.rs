use edge_types::{BatchNo, Digest, Incarnation, Seq};
use serde_json::Value;
use sync_wire::{BatchBuilder, BatchMeta, SealedBatch};

use super::*;
use crate::layout;
use crate::store::Store;

const INCARNATION: Incarnation = Incarnation([9; 16]);

fn seal(
    batch_no: u64,
    prev_hash: Digest,
    seqs: std::ops::RangeInclusive<u64>,
    lost: Option<u64>,
) -> SealedBatch {
    let mut builder = BatchBuilder::new(Seq(*seqs.start()));
    for seq in seqs.filter(|seq| Some(*seq) != lost) {
        builder
            .push(
                Seq(seq),
                format!("{{\"v\":1,\"id\":\"r{seq}\"}}").as_bytes(),
            )
            .unwrap();
    }
    let meta = BatchMeta {
        site: SiteId::new("mill-7").unwrap(),
        incarnation: INCARNATION,
        epoch: Epoch(1),
        lane: Lane::Events,
        batch_no: BatchNo(batch_no),
        prev_hash,
        oldest_ms: 0,
    };
    builder.seal(meta).unwrap()
}

struct Fixture {
    dir: tempfile::TempDir,
    store: LocalStore,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path(), 0).unwrap();
        Self { dir, store }
    }

    fn put(&self, batch_no: u64, bytes: &[u8]) {
        let site = SiteId::new("mill-7").unwrap();
        let name = layout::batch(&site, Epoch(1), Lane::Events, BatchNo(batch_no));
        self.store.create(&name, bytes).unwrap();
    }

    fn ask(&self, question: Question, json: bool, limit: Option<u64>) -> (bool, String) {
        let args = QueryArgs {
            question,
            store: self.dir.path().to_owned(),
            site: None,
            lane: None,
            epoch: None,
            json,
            limit,
        };
        let mut out = Vec::new();
        let sound = run(&args, &mut out).unwrap();
        (sound, String::from_utf8(out).unwrap())
    }

    fn json(&self, question: Question) -> (bool, Value) {
        let (sound, text) = self.ask(question, true, None);
        (sound, serde_json::from_str(&text).unwrap())
    }
}

#[test]
fn a_sound_store_is_counted_listed_and_found_complete() {
    let fixture = Fixture::new();
    let first = seal(1, Digest::default(), 1..=10, None);
    let second = seal(2, first.hash, 11..=15, Some(13));
    fixture.put(1, &first.bytes);
    fixture.put(2, &second.bytes);
    let (sound, answer) = fixture.json(Question::Verify);
    assert!(sound, "{answer}");
    assert_eq!(
        (answer["records"].as_u64(), answer["batches"].as_u64()),
        (Some(14), Some(2))
    );
    assert_eq!(answer["streams"][0]["declared_lost"][0]["first"], 13);
    assert_eq!(
        answer["streams"][0]["outbox"],
        INCARNATION.tag().to_string()
    );
    let (sound, text) = fixture.ask(Question::List, true, None);
    assert!(sound);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seqs: Vec<u64> = lines
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=15).filter(|seq| *seq != 13).collect::<Vec<_>>());
    assert_eq!(lines[11]["body"]["id"], "r12");
    assert_eq!(
        fixture
            .ask(Question::List, false, Some(3))
            .1
            .lines()
            .count(),
        3
    );
    assert!(
        fixture
            .ask(Question::Count, false, None)
            .1
            .contains("14 records in 2 batches")
    );
}

#[test]
fn missing_and_repeated_numbers_are_found() {
    let fixture = Fixture::new();
    let first = seal(1, Digest::default(), 1..=10, None);
    fixture.put(1, &first.bytes);
    fixture.put(3, &seal(3, Digest::default(), 15..=20, None).bytes);
    fixture.put(4, &seal(4, Digest::default(), 19..=22, None).bytes);
    let (complete, answer) = fixture.json(Question::Gaps);
    assert!(!complete);
    let stream = &answer["streams"][0];
    assert_eq!(
        stream["missing"],
        serde_json::json!([{"first": 11, "last": 14}])
    );
    assert_eq!(
        stream["duplicates"],
        serde_json::json!([{"first": 19, "last": 20}])
    );
    assert_eq!(stream["missing_batches"], serde_json::json!([[2, 2]]));
    assert_eq!(
        stream["distinct_records"].as_u64().unwrap() + 2,
        stream["records"].as_u64().unwrap()
    );
    let (_, text) = fixture.ask(Question::Gaps, false, None);
    assert!(text.contains("missing: 11 to 14 (4)"), "{text}");
}

#[test]
fn damage_and_broken_chains_are_found() {
    let fixture = Fixture::new();
    let first = seal(1, Digest::default(), 1..=10, None);
    fixture.put(1, &first.bytes);
    fixture.put(2, &seal(2, Digest([7; 32]), 11..=12, None).bytes);
    let mut flipped = seal(3, Digest::default(), 13..=14, None).bytes;
    *flipped.last_mut().unwrap() ^= 1;
    fixture.put(3, &flipped);
    // Under a name that is not its own.
    fixture.put(4, &seal(5, Digest::default(), 13..=14, None).bytes);
    let (sound, answer) = fixture.json(Question::Verify);
    assert!(!sound);
    let stream = &answer["streams"][0];
    assert_eq!(stream["chain_breaks"], serde_json::json!([2]));
    let damaged: Vec<u64> = stream["damaged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["batch"].as_u64().unwrap())
        .collect();
    assert_eq!(damaged, [3, 4]);
    assert!(!fixture.ask(Question::Count, false, None).0);
}

#[test]
fn an_empty_store_and_a_wrong_directory_are_told_apart() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.ask(Question::Count, false, None),
        (true, "no batches\n".to_owned())
    );
    let args = QueryArgs {
        question: Question::Count,
        store: "/nowhere/at/all".into(),
        site: None,
        lane: None,
        epoch: None,
        json: false,
        limit: None,
    };
    let error = run(&args, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}
