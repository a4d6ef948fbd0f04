//! The store against a list that is searched from end to end; and what many threads at once, or a flood, make of it.

use proptest::prelude::*;

use super::*;

const CAPS: KvCaps = KvCaps {
    entries: 4,
    bytes: 2000,
    key_bytes: 8,
    value_bytes: 800,
};

fn large() -> KvStore {
    KvStore::new(KvCaps {
        entries: 65_536,
        bytes: 16 << 20,
        key_bytes: 256,
        value_bytes: 65_536,
    })
}

/// Entries in the order of their last use, the last one used at the end.
#[derive(Default)]
struct Model {
    entries: Vec<(String, Vec<u8>, u64, Option<u64>)>,
    versions: u64,
}

impl Model {
    fn forget_expired(&mut self, now: u64) {
        self.entries
            .retain(|(.., expires)| expires.is_none_or(|at| at > now));
    }

    fn find(&mut self, key: &str) -> Option<(Vec<u8>, u64, Option<u64>)> {
        let at = self.entries.iter().position(|(known, ..)| known == key)?;
        let entry = self.entries.remove(at);
        self.entries.push(entry.clone());
        Some((entry.1, entry.2, entry.3))
    }

    fn put(&mut self, key: &str, value: Vec<u8>, expires: Option<u64>) -> u64 {
        self.versions += 1;
        self.entries.retain(|(known, ..)| known != key);
        self.entries
            .push((key.to_owned(), value, self.versions, expires));
        let too_much = |entries: &[(String, Vec<u8>, u64, Option<u64>)]| {
            entries.len() > CAPS.entries
                || entries
                    .iter()
                    .map(|(_, value, ..)| PartCaps::cost(value.len()))
                    .sum::<usize>()
                    > CAPS.bytes
        };
        while too_much(&self.entries) {
            self.entries.remove(0);
        }
        self.versions
    }
}

#[derive(Debug, Clone)]
enum Op {
    Get(u8),
    Set(u8, Vec<u8>, Option<u64>),
    /// With the version that is there, or with this one.
    Cas(u8, Option<u64>, Vec<u8>, Option<u64>),
    Delete(u8),
    Incr(u8, i64, Option<u64>),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..6_u8;
    let ttl = || prop::option::of(1..50_u64);
    let value = || {
        prop_oneof![
            3 => prop::collection::vec(any::<u8>(), 0..8),
            1 => (0..900_usize).prop_map(|len| vec![7; len]),
            1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        ]
    };
    let op = prop_oneof![
        key().prop_map(Op::Get),
        (key(), value(), ttl()).prop_map(|(k, v, t)| Op::Set(k, v, t)),
        (key(), prop::option::of(0..40_u64), value(), ttl())
            .prop_map(|(k, n, v, t)| Op::Cas(k, n, v, t)),
        key().prop_map(Op::Delete),
        (key(), any::<i64>(), ttl()).prop_map(|(k, d, t)| Op::Incr(k, d, t)),
        (1..30_u64).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..120)
}

fn check(store: &KvStore, model: &mut Model, op: Op, now: &mut u64) {
    model.forget_expired(*now);
    let expiry = |ttl: Option<u64>| ttl.map(|ttl| *now + ttl * NANOS_PER_MS);
    let fits = |value: &[u8]| value.len() <= CAPS.value_bytes;
    match op {
        Op::Wait(ms) => *now += ms * NANOS_PER_MS,
        Op::Get(key) => {
            let key = key.to_string();
            let expected = model.find(&key).map(|(value, version, expires)| KvEntry {
                value: value.into(),
                version,
                expires_in_ms: expires.map(|at| (at - *now).div_ceil(NANOS_PER_MS)),
            });
            assert_eq!(store.get(&key, *now), expected);
        }
        Op::Set(key, value, ttl) => {
            let key = key.to_string();
            let expected = fits(&value)
                .then(|| model.put(&key, value.clone(), expiry(ttl)))
                .ok_or(KvError::Limit);
            assert_eq!(store.set(&key, value, ttl, *now), expected);
        }
        Op::Cas(key, version, value, ttl) => {
            let key = key.to_string();
            // A refused swap is a use of the entry as well, but one that is too large is refused before.
            let expected = if !fits(&value) {
                (version.unwrap_or(0), Err(KvError::Limit))
            } else {
                let there = model.find(&key).map_or(0, |(_, version, _)| version);
                let asked = version.unwrap_or(there);
                let swapped = (asked == there)
                    .then(|| model.put(&key, value.clone(), expiry(ttl)))
                    .ok_or(KvError::Conflict);
                (asked, swapped)
            };
            assert_eq!(store.cas(&key, expected.0, value, ttl, *now), expected.1);
        }
        Op::Delete(key) => {
            let key = key.to_string();
            let there = model.find(&key).is_some();
            model.entries.retain(|(known, ..)| *known != key);
            assert_eq!(store.delete(&key, *now), there);
        }
        Op::Incr(key, delta, ttl) => {
            let key = key.to_string();
            let found = model.find(&key);
            let expires = found.as_ref().map_or(expiry(ttl), |(.., expires)| *expires);
            let before = found.map_or(Ok(0), |(value, ..)| {
                let text = String::from_utf8(value).map_err(|_| KvError::Invalid)?;
                text.parse::<i64>().map_err(|_| KvError::Invalid)
            });
            let expected =
                before.and_then(|before| before.checked_add(delta).ok_or(KvError::Limit));
            if let Ok(after) = expected {
                model.put(&key, after.to_string().into_bytes(), expires);
            }
            assert_eq!(store.incr(&key, delta, ttl, *now), expected);
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_a_list_would_do(ops in ops()) {
        let (store, mut model, mut now) = (KvStore::new(CAPS), Model::default(), 1_u64);
        for op in ops {
            check(&store, &mut model, op, &mut now);
            let size = store.size();
            prop_assert!(size.entries <= CAPS.entries && size.bytes <= CAPS.bytes);
        }
    }
}

#[test]
fn threads_lose_no_increment_and_no_swap() {
    let store = large();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    store.incr("counted", 1, None, 0).unwrap();
                    loop {
                        let (version, number) = store.get("swapped", 0).map_or((0, 0), |entry| {
                            (entry.version, super::number(&entry.value).unwrap())
                        });
                        let next = (number + 1).to_string().into_bytes();
                        if store.cas("swapped", version, next, None, 0).is_ok() {
                            break;
                        }
                    }
                }
            });
        }
    });
    for key in ["counted", "swapped"] {
        assert_eq!(&*store.get(key, 0).unwrap().value, b"4000", "{key}");
    }
}

#[test]
fn a_version_does_not_come_back_with_a_deleted_key() {
    let store = large();
    let first = store.set("k", b"a".to_vec(), None, 0).unwrap();
    assert!(store.delete("k", 0));
    let second = store.set("k", b"a".to_vec(), None, 0).unwrap();
    assert_ne!(first, second);
    assert_eq!(
        store.cas("k", first, b"b".to_vec(), None, 0),
        Err(KvError::Conflict)
    );
    assert_eq!(
        store.cas("k", 0, b"b".to_vec(), None, 0),
        Err(KvError::Conflict)
    );
    assert!(store.cas("k", second, b"b".to_vec(), None, 0).is_ok());
}

#[test]
fn a_flood_of_entries_stays_within_the_bounds_and_spares_what_is_in_use() {
    let caps = KvCaps {
        entries: 1000,
        bytes: 4 << 20,
        key_bytes: 256,
        value_bytes: 65_536,
    };
    let store = KvStore::new(caps);
    store.set("used", b"still here".to_vec(), None, 0).unwrap();
    for n in 0..20_000_u64 {
        let len = if n % 10 == 0 { 65_536 } else { 10 };
        store
            .set(&n.to_string(), vec![0; len], Some(1 + n % 7), n)
            .unwrap();
        assert!(n % 5 != 0 || store.get("used", n).is_some());
    }
    let size = store.size();
    assert!(size.entries <= caps.entries && size.bytes <= caps.bytes);
    assert!(size.entries > 0 && size.evicted > 10_000, "{size:?}");
    // The slots are reused: what a flood leaves behind is no more than the caps.
    let slots: usize = store.parts.iter().map(|part| part.lock().slots()).sum();
    assert!(slots <= caps.entries + store.parts.len());
}

#[test]
fn what_is_too_large_or_no_number_is_refused() {
    let store = large();
    let long = "k".repeat(257);
    assert_eq!(store.set(&long, Vec::new(), None, 0), Err(KvError::Limit));
    assert_eq!(store.incr(&long, 1, None, 0), Err(KvError::Limit));
    assert_eq!(store.get(&long, 0), None);
    assert!(store.set("k", vec![0; 65_536], None, 0).is_ok());
    assert_eq!(
        store.set("k", vec![0; 65_537], None, 0),
        Err(KvError::Limit)
    );
    assert_eq!(
        store.cas("k", 1, vec![0; 65_537], None, 0),
        Err(KvError::Limit)
    );
    assert_eq!(store.incr("k", 1, None, 0), Err(KvError::Invalid));
    assert_eq!(
        store.set("k", Vec::new(), Some(0), 0),
        Err(KvError::Invalid)
    );
    store.incr("n", i64::MAX, None, 0).unwrap();
    assert_eq!(store.incr("n", 1, None, 0), Err(KvError::Limit));
}

#[test]
fn a_counter_lives_from_its_first_increment() {
    let store = large();
    let ms = |ms: u64| ms * NANOS_PER_MS;
    assert_eq!(store.incr("n", 2, Some(100), ms(0)), Ok(2));
    assert_eq!(store.incr("n", 3, Some(100), ms(60)), Ok(5));
    assert_eq!(
        store.get("n", ms(60)).and_then(|entry| entry.expires_in_ms),
        Some(40)
    );
    assert_eq!(store.incr("n", 1, Some(100), ms(100)), Ok(1));
}
