//! Windows of several sites in one store: added up once each, and read by the owner.

use edge_types::{BatchNo, Epoch, Incarnation, Seq};
use fhe::counters::{Contribution, PublicKey, Schema, TotalValue, read};
use fhe::{ClientKey, ParamSet, TestEntropy};
use serde_json::Value;
use sync_wire::{BatchBuilder, BatchMeta};

use super::*;
use crate::layout;

const SCHEMA: &str = r#"{"format":"veilgate-counters/1","contributions":4,"entries":[{"name":"visits","kind":"counter"}]}"#;

struct Fixture {
    dir: tempfile::TempDir,
    store: LocalStore,
    key: ClientKey,
    schema: Schema,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&dir.path().join("store"), 0).unwrap();
        Self {
            store,
            key: ClientKey::generate(ParamSet::Linear, &mut TestEntropy(3)).unwrap(),
            schema: Schema::from_json(SCHEMA.as_bytes()).unwrap(),
            dir,
        }
    }

    /// What a gateway has added up of these visits.
    fn record(&self, part: u8, start: u64, visits: &[i64]) -> Vec<u8> {
        self.record_under(&self.key, part, start, visits)
    }

    fn record_under(&self, key: &ClientKey, part: u8, start: u64, visits: &[i64]) -> Vec<u8> {
        let public = PublicKey::of(key).unwrap();
        let window = Window::new(start, 60).unwrap();
        let encrypt = |(i, visits): (usize, &i64)| {
            let mut one = Contribution::new(&self.schema);
            one.add("visits", *visits).unwrap();
            let seed = u128::from(part) << 64 | u128::from(start) << 8 | i as u128;
            one.encrypt(&public, window, &mut TestEntropy(seed))
                .unwrap()
        };
        let mut parts = visits.iter().enumerate().map(encrypt);
        let mut counters = parts.next().unwrap();
        parts.for_each(|part| counters.merge(&part).unwrap());
        let record = WindowRecord {
            part: format!("{part:032x}"),
            tenant: "clinic".into(),
            stream: "visits".into(),
            counters,
        };
        record.to_json().unwrap()
    }

    /// A batch of this site, as ingest stores it.
    fn put(&self, site: &str, epoch: u64, batch_no: u64, first_seq: u64, records: &[Vec<u8>]) {
        let mut builder = BatchBuilder::new(Seq(first_seq));
        for (seq, record) in (first_seq..).zip(records) {
            builder.push(Seq(seq), record).unwrap();
        }
        let site = SiteId::new(site).unwrap();
        let meta = BatchMeta {
            site: site.clone(),
            incarnation: Incarnation([9; 16]),
            epoch: Epoch(epoch),
            lane: Lane::Events,
            batch_no: BatchNo(batch_no),
            prev_hash: Digest::default(),
            oldest_ms: 0,
        };
        let sealed = builder.seal(meta).unwrap();
        let name = layout::batch(&site, Epoch(epoch), Lane::Events, BatchNo(batch_no));
        self.store.create(&name, &sealed.bytes).unwrap();
    }

    fn ask(&self, change: impl FnOnce(&mut CountersArgs)) -> (bool, Vec<Value>) {
        let mut args = CountersArgs {
            store: self.dir.path().join("store"),
            stream: "visits".to_owned(),
            from: None,
            to: None,
            site: None,
            out: self.dir.path().join("sums"),
            json: true,
        };
        change(&mut args);
        let mut out = Vec::new();
        let sound = run(&args, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (sound, lines.collect())
    }

    /// (start, total, contributions, sites) of each file, as the owner reads it.
    fn totals(&self, answer: &[Value]) -> Vec<(u64, i64, u64, usize)> {
        let total = |line: &Value| {
            let bytes = std::fs::read(line["file"].as_str().unwrap()).unwrap();
            let counters = CounterCiphertext::from_bytes(&bytes).unwrap();
            let totals = read(&self.key, &self.schema, &counters).unwrap();
            let TotalValue::Total(total) = totals[0].value else {
                panic!("{totals:?}")
            };
            (
                line["start"].as_u64().unwrap(),
                total,
                line["contributions"].as_u64().unwrap(),
                line["sites"].as_array().unwrap().len(),
            )
        };
        answer.iter().map(total).collect()
    }
}

#[test]
fn windows_of_two_sites_are_added_up_once_each() {
    let fixture = Fixture::new();
    let other = br#"{"v":1,"method":"GET","status":200}"#.to_vec();
    let first = fixture.record(1, 600, &[1, 2]);
    fixture.put(
        "north",
        1,
        1,
        1,
        &[other.clone(), first.clone(), fixture.record(2, 660, &[10])],
    );
    // Once more under another number, after a crash; and once more in another epoch.
    fixture.put("north", 1, 2, 4, &[first.clone(), other]);
    fixture.put("north", 2, 1, 1, &[first]);
    // A part of another site is another part, even under the same name.
    fixture.put("south", 1, 1, 1, &[fixture.record(1, 600, &[30])]);
    let (sound, answer) = fixture.ask(|_| ());
    assert!(sound);
    assert_eq!(fixture.totals(&answer), [(600, 33, 3, 2), (660, 10, 1, 1)]);
    assert_eq!(answer[0]["sites"], serde_json::json!(["north", "south"]));
    // The same again gives the same files.
    assert_eq!(fixture.ask(|_| ()).1, answer);

    let (_, later) = fixture.ask(|args| args.from = Some(601));
    assert_eq!(fixture.totals(&later), [(660, 10, 1, 1)]);
    let (_, earlier) = fixture.ask(|args| args.to = Some(660));
    assert_eq!(fixture.totals(&earlier), [(600, 33, 3, 2)]);
    let (_, one) = fixture.ask(|args| args.site = Some(SiteId::new("south").unwrap()));
    assert_eq!(fixture.totals(&one), [(600, 30, 1, 1)]);
    let (sound, none) = fixture.ask(|args| args.stream = "sales".to_owned());
    assert!(sound && none.is_empty());
}

#[test]
fn what_does_not_belong_together_or_is_too_much_is_in_files_of_its_own() {
    let fixture = Fixture::new();
    let stranger = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(4)).unwrap();
    fixture.put("north", 1, 1, 1, &[fixture.record(1, 600, &[1, 2, 3])]);
    fixture.put("south", 1, 1, 1, &[fixture.record(2, 600, &[10, 20])]);
    fixture.put("west", 1, 1, 1, &[fixture.record(3, 600, &[40])]);
    let (sound, answer) = fixture.ask(|_| ());
    assert!(sound);
    // Four contributions fit the schema.
    assert_eq!(fixture.totals(&answer), [(600, 46, 4, 2), (600, 30, 2, 1)]);
    let theirs = fixture.record_under(&stranger, 4, 600, &[7]);
    fixture.put("east", 1, 1, 1, &[theirs]);
    let (_, answer) = fixture.ask(|_| ());
    let keys: HashSet<&str> = answer
        .iter()
        .map(|line| line["public_key"].as_str().unwrap())
        .collect();
    assert_eq!((answer.len(), keys.len()), (3, 2));
}

#[test]
fn damage_is_told_and_the_rest_is_added_up() {
    let fixture = Fixture::new();
    let good = fixture.record(1, 600, &[5]);
    let text = String::from_utf8(fixture.record(2, 600, &[6])).unwrap();
    let cut = text.replacen("VkdDVA", "VkdDVB", 1).into_bytes();
    assert_ne!(cut, text.as_bytes());
    fixture.put("north", 1, 1, 1, &[good, cut]);
    let (sound, answer) = fixture.ask(|_| ());
    assert!(!sound);
    assert_eq!(fixture.totals(&answer), [(600, 5, 1, 1)]);
    let args = CountersArgs {
        store: fixture.dir.path().join("store"),
        stream: "../x".to_owned(),
        from: None,
        to: None,
        site: None,
        out: fixture.dir.path().join("sums"),
        json: false,
    };
    let refused = run(&args, &mut Vec::new());
    assert!(matches!(refused, Err(CountersError::Name(_))));
}
