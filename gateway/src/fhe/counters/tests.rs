//! Counters at one gateway: counted once, through restarts and crashes, recorded once.

use std::cell::RefCell;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fhe::counters::{Contribution, PublicKey, TotalValue, Window, read};
use fhe::{ClientKey, OsEntropy, ParamSet, TestEntropy};

use super::*;

/// The beginning of a window.
const T0: u64 = 1_800_000_000;
const SECONDS: u32 = 600;
const OVER: u64 = T0 + SECONDS as u64 + place::LATE_SECONDS;

struct Bench {
    counters: Counters,
    key: ClientKey,
    definition: Definition,
    dir: tempfile::TempDir,
}

fn owner() -> Tenant {
    "owner".parse().unwrap()
}

fn name() -> StreamName {
    "visits".parse().unwrap()
}

fn definition_json(key: &ClientKey, seconds: u32) -> String {
    let public = STANDARD.encode(PublicKey::of(key).unwrap().as_bytes());
    format!(
        r#"{{"window_seconds":{seconds},"public_key":"{public}","schema":{{"format":"veilgate-counters/1",
        "contributions":1024,"entries":[{{"name":"a","kind":"counter"}},{{"name":"b","kind":"sum"}}]}}}}"#
    )
}

fn open(dir: &Path) -> Counters {
    let options = CountersOptions {
        dir: dir.join("counters"),
        max_streams: 2,
    };
    Counters::open(options).unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(7)).unwrap();
        let definition = Definition::from_json(definition_json(&key, SECONDS).as_bytes()).unwrap();
        let counters = open(dir.path());
        assert!(
            counters
                .define(&owner(), &name(), definition.clone())
                .unwrap()
        );
        Self {
            counters,
            key,
            definition,
            dir,
        }
    }

    /// As after a crash: nothing is told that it ends.
    fn restarted(self) -> Self {
        Self {
            counters: open(self.dir.path()),
            ..self
        }
    }

    fn contribution(&self, a: i64, start: u64) -> Vec<u8> {
        let mut contribution = Contribution::new(&self.definition.schema);
        contribution.add("a", a).unwrap();
        contribution.add("b", -a).unwrap();
        let window = Window::new(start, SECONDS).unwrap();
        let encrypted = contribution.encrypt(&self.definition.key, window, &mut OsEntropy);
        encrypted.unwrap().to_bytes()
    }

    fn count(&self, bytes: &[u8], now: u64) -> Result<Taken, CounterError> {
        self.counters.contribute(&name(), bytes, now)
    }

    fn total(&self, counters: &CounterCiphertext) -> i64 {
        let totals = read(&self.key, &self.definition.schema, counters).unwrap();
        let TotalValue::Total(a) = totals[0].value else {
            panic!("{totals:?}")
        };
        assert_eq!(totals[1].value, TotalValue::Total(-a));
        a
    }

    fn total_here(&self, start: u64) -> i64 {
        self.total(&self.counters.merged(&owner(), &name(), start).unwrap())
    }

    /// What the outbox is given, as long as it takes it.
    fn recorded(&self, takes: bool) -> Vec<WindowRecord> {
        let records = RefCell::new(Vec::new());
        let outcome = self.counters.record_closed(Some(&|record: Vec<u8>| {
            records.borrow_mut().push(record);
            match takes {
                true => Ok(()),
                false => Err("full".to_owned()),
            }
        }));
        let records = records.into_inner();
        assert_eq!(outcome.is_ok(), takes || records.is_empty());
        let parse = |record: &Vec<u8>| WindowRecord::from_json(record).unwrap().unwrap();
        records.iter().map(parse).collect()
    }

    fn states(&self) -> Vec<(u64, u32, WindowState)> {
        let views = self.counters.windows(&owner(), &name()).unwrap();
        let plain = |view: &WindowView| (view.start, view.contributions, view.state);
        views.iter().map(plain).collect()
    }
}

#[test]
fn each_contribution_counts_once_also_after_a_crash() {
    let mut bench = Bench::new();
    let contributions: Vec<_> = (1..=5).map(|a| bench.contribution(a, T0)).collect();
    for (i, bytes) in contributions.iter().enumerate() {
        let taken = bench.count(bytes, T0 + 5).unwrap();
        assert_eq!((taken.new, taken.contributions), (true, i as u32 + 1));
        bench = bench.restarted();
        let again = bench.count(bytes, T0 + 6).unwrap();
        assert_eq!((again.new, again.contributions), (false, i as u32 + 1));
    }
    assert_eq!(bench.total_here(T0), 15);
    assert_eq!(bench.states(), [(T0, 5, WindowState::Open)]);
}

#[test]
fn a_log_is_compacted_and_what_is_torn_at_its_end_is_left_out() {
    let mut bench = Bench::new();
    let count = 600;
    let all: Vec<_> = (0..count).map(|_| bench.contribution(1, T0)).collect();
    for bytes in &all {
        assert!(bench.count(bytes, T0).unwrap().new);
    }
    let folder = bench.dir.path().join("counters/visits");
    let log = folder.join(format!("{T0}.log"));
    // 1 and 257 others in snapshots, the rest in the log.
    assert!(std::fs::metadata(&log).unwrap().len() < 257 * 25_000);
    bench = bench.restarted();
    assert_eq!(bench.total_here(T0), count);
    for bytes in &all {
        assert!(!bench.count(bytes, T0).unwrap().new);
    }
    // A write that a crash cut: nobody was told of it. Where it was, the next one is written.
    let used = (count as u64 - 1 - 2 * 257) * (fhe::counters::COUNTER_BYTES as u64 + 32);
    let torn = std::fs::File::options().write(true).open(&log).unwrap();
    torn.set_len(used + 1000).unwrap();
    bench = bench.restarted();
    let more = bench.contribution(10, T0);
    assert!(bench.count(&more, T0).unwrap().new);
    bench = bench.restarted();
    assert_eq!(bench.total_here(T0), count + 10);
    assert!(!bench.count(&more, T0).unwrap().new);
}

#[test]
fn a_window_that_is_over_is_recorded_once_and_takes_no_more() {
    let mut bench = Bench::new();
    let next = T0 + u64::from(SECONDS);
    let late = bench.contribution(2, T0);
    bench.count(&bench.contribution(1, T0), T0).unwrap();
    bench
        .count(&bench.contribution(60, next), next + 1)
        .unwrap();
    bench.count(&late, OVER - 1).unwrap();
    bench.counters.close_due(OVER - 1).unwrap();
    assert!(bench.recorded(true).is_empty());
    bench.counters.close_due(OVER).unwrap();
    assert_eq!(
        bench.states(),
        [(T0, 2, WindowState::Closed), (next, 1, WindowState::Open)]
    );
    // Not even when the clock is put back.
    for now in [OVER, T0] {
        let refused = bench.count(&bench.contribution(9, T0), now);
        assert!(matches!(refused, Err(CounterError::Over)), "{refused:?}");
    }
    // The outbox may have written it and died before it said so: it is given again, as the same part.
    let first = bench.recorded(false);
    bench = bench.restarted();
    let second = bench.recorded(true);
    assert_eq!(first, second);
    let [record] = &second[..] else {
        panic!("{second:?}")
    };
    assert_eq!((&*record.tenant, &*record.stream), ("owner", "visits"));
    assert_eq!(bench.total(&record.counters), 3);
    assert!(bench.recorded(true).is_empty());
    bench = bench.restarted();
    assert!(bench.recorded(true).is_empty());
    assert_eq!(bench.total_here(T0), 3);
    assert_eq!(bench.total_here(next), 60);
    assert_eq!(bench.states()[0], (T0, 2, WindowState::Recorded));
}

#[test]
fn a_crash_between_two_steps_of_closing_counts_nothing_twice() {
    let mut bench = Bench::new();
    bench.count(&bench.contribution(4, T0), T0).unwrap();
    bench.count(&bench.contribution(5, T0), T0).unwrap();
    let folder = bench.dir.path().join("counters/visits");
    let kept: Vec<_> = ["open", "log"]
        .map(|e| folder.join(format!("{T0}.{e}")))
        .into_iter()
        .map(|path| (std::fs::read(&path).unwrap(), path))
        .collect();
    bench.counters.close_due(OVER).unwrap();
    for (bytes, path) in &kept {
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(folder.join("7.tmp"), b"cut").unwrap();
    bench = bench.restarted();
    assert_eq!(bench.states(), [(T0, 2, WindowState::Closed)]);
    assert!(kept.iter().all(|(_, path)| !path.exists()));
    assert_eq!(bench.total(&bench.recorded(true)[0].counters), 9);
}

#[test]
fn a_damaged_window_is_set_aside_and_the_others_go_on() {
    let mut bench = Bench::new();
    let next = T0 + u64::from(SECONDS);
    bench.count(&bench.contribution(1, T0), T0).unwrap();
    bench.count(&bench.contribution(2, next), next).unwrap();
    let folder = bench.dir.path().join("counters/visits");
    let path = folder.join(format!("{T0}.open"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    bench = bench.restarted();
    assert_eq!(bench.states(), [(next, 1, WindowState::Open)]);
    assert!(folder.join(format!("{T0}.damaged")).exists());
}

#[test]
fn what_does_not_belong_to_a_stream_is_refused() {
    let bench = Bench::new();
    let good = bench.contribution(1, T0);
    let refused = |bytes: &[u8], now: u64| bench.count(bytes, now).unwrap_err();
    let early = refused(&good, T0 - 100);
    assert!(matches!(early, CounterError::Early { wait_s: 40 }));
    assert!(matches!(refused(&good, OVER), CounterError::Over));
    assert!(matches!(refused(&good[1..], T0), CounterError::Format(_)));
    let other = Bench {
        definition: Definition::from_json(
            definition_json(
                &ClientKey::generate(ParamSet::Linear, &mut TestEntropy(8)).unwrap(),
                SECONDS,
            )
            .as_bytes(),
        )
        .unwrap(),
        ..Bench::new()
    };
    let error = refused(&other.contribution(1, T0), T0);
    assert!(matches!(error, CounterError::WrongKey));
    let text = definition_json(&bench.key, SECONDS).replace("\"b\"", "\"c\"");
    let schema = Definition::from_json(text.as_bytes()).unwrap().schema;
    let encrypt = |schema: &fhe::counters::Schema, seconds| {
        let window = Window::new(T0, seconds).unwrap();
        let key = &bench.definition.key;
        let contribution = Contribution::new(schema);
        contribution.encrypt(key, window, &mut OsEntropy).unwrap()
    };
    let error = refused(&encrypt(&schema, SECONDS).to_bytes(), T0);
    assert!(matches!(error, CounterError::WrongSchema));
    let error = refused(&encrypt(&bench.definition.schema, 300).to_bytes(), T0);
    assert!(matches!(
        error,
        CounterError::WrongWindow { seconds: SECONDS }
    ));
    let mut two = CounterCiphertext::from_bytes(&good).unwrap();
    two.merge(&two.clone()).unwrap();
    assert!(matches!(refused(&two.to_bytes(), T0), CounterError::NotOne));
    assert!(bench.states().is_empty());
}

#[test]
fn streams_belong_to_their_owners_and_are_bounded() {
    let bench = Bench::new();
    let (counters, definition) = (&bench.counters, &bench.definition);
    let other: Tenant = "other".parse().unwrap();
    let define = |tenant: &Tenant, name: &str, definition: &Definition| {
        counters.define(tenant, &name.parse().unwrap(), definition.clone())
    };
    assert!(!define(&owner(), "visits", definition).unwrap());
    let taken = define(&other, "visits", definition);
    assert!(matches!(taken, Err(CounterError::Taken)));
    let json = definition_json(&bench.key, 60);
    let longer = Definition::from_json(json.as_bytes()).unwrap();
    let differs = define(&owner(), "visits", &longer);
    assert!(matches!(differs, Err(CounterError::Differs)));
    assert!(define(&other, "sales", &longer).unwrap());
    let full = define(&other, "more", definition);
    assert!(matches!(
        full,
        Err(CounterError::TooManyStreams { limit: 2 })
    ));

    bench.count(&bench.contribution(1, T0), T0).unwrap();
    let theirs = counters.windows(&other, &name());
    assert!(matches!(theirs, Err(CounterError::NotYours)));
    let theirs = counters.remove(&other, &name());
    assert!(matches!(theirs, Err(CounterError::NotYours)));
    counters.remove(&owner(), &name()).unwrap();
    let gone = bench.count(&bench.contribution(1, T0), T0);
    assert!(matches!(gone, Err(CounterError::Unknown)));
    let bench = bench.restarted();
    let gone = bench.count(&bench.contribution(1, T0), T0);
    assert!(matches!(gone, Err(CounterError::Unknown)));
    for name in ["", "..", "A", "a/b", "a b"] {
        assert!(name.parse::<StreamName>().is_err(), "{name}");
    }
    let of_another = json.replacen('{', r#"{"owner":"x","#, 1);
    assert!(Definition::from_json(of_another.as_bytes()).is_err());
    let short = definition_json(&bench.key, 9);
    assert!(Definition::from_json(short.as_bytes()).is_err());
}

#[test]
fn without_an_outbox_the_owner_fetches_and_the_oldest_goes_first() {
    let bench = Bench::new();
    let start = |i: u64| T0 + i * u64::from(SECONDS);
    let windows = MAX_HELD_WINDOWS as u64 + 2;
    for i in 0..windows {
        bench
            .count(&bench.contribution(1, start(i)), start(i))
            .unwrap();
    }
    bench.counters.close_due(start(windows) + 60).unwrap();
    bench.counters.record_closed(None).unwrap();
    let states = bench.states();
    assert_eq!(states.len(), MAX_HELD_WINDOWS);
    assert_eq!(states[0], (start(2), 1, WindowState::Recorded));
    assert_eq!(bench.total_here(start(2)), 1);
    let gone = bench.counters.merged(&owner(), &name(), start(0));
    assert!(matches!(gone, Err(CounterError::NoWindow)));
}
