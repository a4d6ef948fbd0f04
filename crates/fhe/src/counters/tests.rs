//! Counters as a whole: totals are right, noise is what was predicted, and hostile bytes are refused.

use edge_types::Digest;
use proptest::prelude::*;
use std::sync::LazyLock;

use super::*;
use crate::entropy::TestEntropy;
use crate::keys::ClientKey;
use crate::noise;
use crate::params::{POLYNOMIAL_SIZE, ParamSet};
use crate::{FheError, Thing};

static KEYS: LazyLock<(ClientKey, PublicKey)> = LazyLock::new(|| keys(1));

fn keys(seed: u128) -> (ClientKey, PublicKey) {
    let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(seed)).unwrap();
    let public = PublicKey::of(&client).unwrap();
    (client, public)
}

fn window() -> Window {
    Window::at(1_800_000_123, 60).unwrap()
}

fn schema() -> Schema {
    let json = br#"{"format": "veilgate-counters/1", "contributions": 1048576, "entries": [
        {"name": "requests", "kind": "counter"},
        {"name": "bytes", "kind": "counter", "most": 1000000},
        {"name": "balance", "kind": "sum", "most": 1099511627776},
        {"name": "latency/ms", "kind": "histogram", "edges": [1, 10.5, 100], "most": 1000}]}"#;
    Schema::from_json(json).unwrap()
}

fn encrypt(contribution: &Contribution<'_>, seed: u128) -> CounterCiphertext {
    contribution
        .encrypt(&KEYS.1, window(), &mut TestEntropy(seed))
        .unwrap()
}

fn total(totals: &[Total], name: &str) -> TotalValue {
    let found = totals.iter().find(|total| total.name == name);
    found.unwrap().value.clone()
}

#[test]
fn a_public_key_is_always_the_same_for_its_client_key() {
    let (client, public) = &*KEYS;
    assert_eq!(public.as_bytes().len(), PUBLIC_KEY_BYTES);
    assert_eq!(PublicKey::of(client).unwrap(), *public);
    assert_ne!(keys(2).1.id(), public.id());
    let again = PublicKey::from_bytes(public.as_bytes().to_vec()).unwrap();
    assert_eq!(again.id(), public.id());
    // If this changes, DERIVATION has to change with it: see there.
    assert_eq!(
        public.id().to_string(),
        "29b0e130342cdb15d6c2da7e3137b077e9f36a47d6c5dbdb7f7b240536d31469"
    );
}

#[test]
fn totals_are_read_by_name_after_merging() {
    let schema = schema();
    let mut one = Contribution::new(&schema);
    one.add("requests", 63).unwrap();
    one.add("bytes", 999_999).unwrap();
    one.take("balance", "-1099511627776").unwrap();
    for value in ["0.5", "1", "10.4", "10.5", "1e9", "-inf"] {
        one.take("latency/ms", value).unwrap();
    }
    let mut merged = encrypt(&one, 10);
    assert_eq!(merged.to_bytes().len(), COUNTER_BYTES);
    for seed in 11..14 {
        let other = CounterCiphertext::from_bytes(&encrypt(&one, seed).to_bytes()).unwrap();
        merged.merge(&other).unwrap();
    }
    merged
        .merge(&encrypt(&Contribution::new(&schema), 14))
        .unwrap();
    assert_eq!(merged.header().contributions, 5);
    let totals = read(&KEYS.0, &schema, &merged).unwrap();
    assert_eq!(total(&totals, "requests"), TotalValue::Total(4 * 63));
    assert_eq!(total(&totals, "bytes"), TotalValue::Total(4 * 999_999));
    assert_eq!(total(&totals, "balance"), TotalValue::Total(-4 << 40));
    let TotalValue::Histogram { buckets, .. } = total(&totals, "latency/ms") else {
        panic!("{totals:?}")
    };
    assert_eq!(buckets, [8, 8, 4, 4]);
}

/// As many contributions as there may be, each the most that there may be. Noise of that many independent ones grows with
/// the root of their number; one that is added to itself so often is as bad. The rest of the numbers comes without noise.
#[test]
fn the_largest_totals_of_a_full_window_are_exact() {
    for (log2, most) in [
        (20, 1i64 << 20),
        (20, MAX_MOST),
        (10, 1 << 30),
        (0, 1 << 40),
    ] {
        let entries = ["up", "down"].map(|name| Entry {
            name: name.into(),
            kind: Kind::Sum {},
            most,
        });
        let schema = Schema::new(1 << log2, entries.to_vec()).unwrap();
        let mut contribution = Contribution::new(&schema);
        contribution.add("up", most).unwrap();
        contribution.add("down", -most).unwrap();
        let mut merged = encrypt(&contribution, 5);
        for _ in 0..log2 / 2 {
            let same = merged.clone();
            merged.merge(&same).unwrap();
        }
        let rest = (1 << log2) - merged.header().contributions;
        if rest > 0 {
            let mut bytes = merged.to_bytes()[..91].to_vec();
            bytes[84..88].copy_from_slice(&rest.to_le_bytes());
            bytes.resize(91 + POLYNOMIAL_SIZE * 6, 0);
            for slot in contribution.slots() {
                let word = (slot * i64::from(rest)) << schema.step().bits();
                bytes.extend_from_slice(&word.to_le_bytes()[2..]);
            }
            bytes.resize(COUNTER_BYTES, 0);
            merged
                .merge(&CounterCiphertext::from_bytes(&bytes).unwrap())
                .unwrap();
        }
        let totals = read(&KEYS.0, &schema, &merged).unwrap();
        assert_eq!(total(&totals, "up"), TotalValue::Total(most << log2));
        assert_eq!(total(&totals, "down"), TotalValue::Total(-most << log2));
    }
}

#[test]
fn slots_are_as_many_as_the_documentation_says() {
    let slots = |contributions: u32, most: i64| {
        let name = "x".to_owned();
        let kind = Kind::Counter {};
        Schema::new(contributions, vec![Entry { name, kind, most }])
            .unwrap()
            .slots()
    };
    assert_eq!(slots(1 << 20, DEFAULT_MOST), 1);
    assert_eq!(slots(1 << 20, 1 << 20), 4);
    assert_eq!(slots(1 << 20, 1_000_000), 3);
    assert_eq!(slots(1 << 10, 1_000_000), 1);
    assert_eq!(slots(1, 1 << 35), 1);
}

#[test]
fn measured_noise_is_within_a_tenth_of_the_predicted() {
    let name = "x".to_owned();
    let kind = Kind::Counter {};
    let schema = Schema::new(
        1 << 10,
        vec![Entry {
            name,
            kind,
            most: 1,
        }],
    )
    .unwrap();
    let nothing = Contribution::new(&schema);
    let mut ratios = Vec::new();
    for (count, samples) in [(1u32, 24u128), (64, 2)] {
        let mut squares = 0.0;
        for sample in 0..samples {
            let seed = |i: u32| (u128::from(count) << 64) + (sample << 32) + u128::from(i);
            let mut merged = encrypt(&nothing, seed(0));
            for i in 1..count {
                merged.merge(&encrypt(&nothing, seed(i))).unwrap();
            }
            squares += read::phases(&KEYS.0, &merged)
                .iter()
                .map(|&phase| ((phase as i64) as f64 / 2f64.powi(64)).powi(2))
                .sum::<f64>();
        }
        let measured = squares / (samples as f64 * POLYNOMIAL_SIZE as f64);
        let ratio = measured / noise::counters(count, WORD_BITS);
        println!("noise of {count}: measured / predicted variance {ratio:.3}");
        ratios.push(ratio);
    }
    assert!(ratios.iter().all(|r| (r - 1.0).abs() < 0.1), "{ratios:?}");
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let schema = schema();
    let nothing = Contribution::new(&schema);
    let mut mine = encrypt(&nothing, 1);
    let before = mine.clone();
    let check = |mine: &mut CounterCiphertext, other: &CounterCiphertext, words: &str| {
        let error = mine.merge(other).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    let (stranger, strange_key) = keys(9);
    let foreign = nothing
        .encrypt(&strange_key, window(), &mut TestEntropy(2))
        .unwrap();
    check(&mut mine, &foreign, "another public key");
    let later = Window::new(window().end(), 60).unwrap();
    let later = nothing
        .encrypt(&KEYS.1, later, &mut TestEntropy(3))
        .unwrap();
    check(&mut mine, &later, "another window");
    let other = Schema::new(1 << 20, schema.entries()[..1].to_vec()).unwrap();
    check(
        &mut mine,
        &encrypt(&Contribution::new(&other), 4),
        "another schema",
    );
    assert_eq!(mine, before);
    assert!(read(&stranger, &schema, &mine).is_err());
    assert!(read(&KEYS.0, &other, &mine).is_err());

    let few = Schema::new(2, schema.entries().to_vec()).unwrap();
    let one = encrypt(&Contribution::new(&few), 5);
    let mut two = one.clone();
    two.merge(&one).unwrap();
    assert_eq!(
        two.merge(&one),
        Err(FheError::TooManyContributions { limit: 2, got: 3 })
    );
}

#[test]
fn a_window_s_record_is_known_among_others() {
    let record = WindowRecord {
        part: "0f".repeat(16),
        tenant: "clinic".into(),
        stream: "visits".into(),
        counters: encrypt(&Contribution::new(&schema()), 1),
    };
    let json = record.to_json().unwrap();
    assert!(json.len() < 34_000, "{}", json.len());
    assert_eq!(WindowRecord::from_json(&json).unwrap(), Some(record));
    for other in [
        "",
        "no JSON",
        r#"{"v":1,"method":"GET"}"#,
        r#"{"kind":"gap"}"#,
    ] {
        assert_eq!(WindowRecord::from_json(other.as_bytes()).unwrap(), None);
    }
    let text = String::from_utf8(json).unwrap();
    let of_policy = text.replacen('{', r#"{"policy":"p","#, 1);
    assert_eq!(WindowRecord::from_json(of_policy.as_bytes()).unwrap(), None);
    for (from, to) in [
        (r#""v":1"#, r#""v":2"#),
        (r#""counters":"VkdD"#, r#""counters":"Vkd."#),
        (r#""contributions":1"#, r#""contributions":2"#),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text);
        assert!(WindowRecord::from_json(damaged.as_bytes()).is_err());
    }
}

#[test]
fn contributions_keep_to_the_schema() {
    let schema = schema();
    let mut one = Contribution::new(&schema);
    for (name, text) in [
        ("nothing", "1"),
        ("requests", "64"),
        ("requests", "-1"),
        ("requests", "1.5"),
        ("bytes", "1000001"),
        ("balance", "9223372036854775807"),
        ("latency/ms", "NaN"),
        ("latency/ms", "fast"),
    ] {
        let error = one.take(name, text).unwrap_err();
        assert!(matches!(error, FheError::Value { .. }), "{error}");
    }
    one.add("requests", 63).unwrap();
    assert!(one.add("requests", 1).is_err());
    assert!(one.observe("requests", 1.0).is_err());
    assert!(one.add("latency/ms", 1).is_err());
}

#[test]
fn schemas_are_known_by_their_meaning_and_bad_ones_refused() {
    let schema = schema();
    assert_eq!(Digest::of(&schema.to_json()), schema.digest());
    assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    let with = |contributions: &str, entries: &str| {
        let json = format!(
            r#"{{"format":"veilgate-counters/1","contributions":{contributions},"entries":[{entries}]}}"#
        );
        Schema::from_json(json.as_bytes())
    };
    let counter = r#"{"name":"a","kind":"counter"}"#;
    assert!(with("4", counter).is_ok());
    let many = (0..2049)
        .map(|i| format!(r#"{{"name":"a{i}","kind":"counter"}}"#))
        .collect::<Vec<_>>();
    assert!(with("1048576", &many[..2048].join(",")).is_ok());
    let wide = r#"{"name":"a","kind":"histogram","edges":[EDGES],"most":1000000}"#.replace(
        "EDGES",
        &(0..2000)
            .map(|i| i.to_string())
            .collect::<Vec<_>>()
            .join(","),
    );
    for (contributions, entries) in [
        ("0", counter),
        ("3", counter),
        ("2097152", counter),
        ("4", ""),
        (
            "4",
            r#"{"name":"a","kind":"counter"},{"name":"a","kind":"sum"}"#,
        ),
        ("4", r#"{"name":"a b","kind":"counter"}"#),
        ("4", r#"{"name":"","kind":"counter"}"#),
        ("4", r#"{"name":"a","kind":"gauge"}"#),
        ("4", r#"{"name":"a","kind":"counter","edges":[1]}"#),
        ("4", r#"{"name":"a","kind":"counter","most":0}"#),
        ("4", r#"{"name":"a","kind":"counter","most":1099511627777}"#),
        ("4", r#"{"name":"a","kind":"histogram"}"#),
        ("4", r#"{"name":"a","kind":"histogram","edges":[]}"#),
        ("4", r#"{"name":"a","kind":"histogram","edges":[1,1]}"#),
        ("4", r#"{"name":"a","kind":"histogram","edges":[1e999]}"#),
        ("1048576", &many.join(",")),
        ("1048576", &wide),
    ] {
        let refused = with(contributions, entries);
        assert!(
            matches!(
                refused,
                Err(FheError::Malformed {
                    thing: Thing::CounterSchema,
                    ..
                })
            ),
            "{contributions} {refused:?}"
        );
    }
}

#[test]
fn damaged_ciphertexts_and_keys_are_refused_in_their_own_words() {
    let schema = schema();
    let good = encrypt(&Contribution::new(&schema), 1).to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        CounterCiphertext::from_bytes(&changed)
    };
    assert!(matches!(with(0, b"x"), Err(FheError::NotThisFormat(_))));
    assert!(matches!(with(4, &[2]), Err(FheError::Version { .. })));
    assert!(matches!(with(6, &[1]), Err(FheError::WrongParams { .. })));
    assert!(matches!(with(6, &[9]), Err(FheError::UnknownParams { .. })));
    // Start, length, contributions, their limit, step, bits of a word.
    for (at, bytes) in [
        (72, &[1u8][..]),
        (72, &[255; 8]),
        (80, &[0; 4]),
        (80, &[255; 4]),
        (84, &[0; 4]),
        (88, &[21]),
        (88, &[17]),
        (89, &[36]),
        (90, &[64]),
    ] {
        let refused = with(at, bytes);
        assert!(
            matches!(refused, Err(FheError::Malformed { .. })),
            "{at} {refused:?}"
        );
    }
    assert!(matches!(
        with(84, &[255; 4]),
        Err(FheError::TooManyContributions { .. })
    ));
    let cut = CounterCiphertext::from_bytes(&good[..good.len() - 1]);
    assert!(matches!(cut, Err(FheError::Truncated { .. })));
    let longer = CounterCiphertext::from_bytes(&[&good[..], &[0]].concat());
    assert!(matches!(longer, Err(FheError::Oversize { .. })));

    let key = KEYS.1.as_bytes();
    assert!(PublicKey::from_bytes(key[1..].to_vec()).is_err());
    assert!(PublicKey::from_bytes(key[..key.len() - 1].to_vec()).is_err());
    assert!(PublicKey::from_bytes([key, &[0]].concat()).is_err());
    assert!(PublicKey::from_bytes(good).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_sum_of_ciphertexts_is_the_sum_in_the_clear(
        log2 in 0u32..=20,
        most in prop_oneof![Just(1i64), 2..1000i64, 1..=MAX_MOST],
        parts in proptest::collection::vec((-1.0..=1.0f64, 0.0..=1.0f64, 0u8..9), 1..8),
        seed: u128,
    ) {
        let json = format!(r#"{{"format":"veilgate-counters/1","contributions":{},"entries":[
            {{"name":"s","kind":"sum","most":{most}}},{{"name":"c","kind":"counter","most":{most}}},
            {{"name":"h","kind":"histogram","edges":[2,4,6]}}]}}"#, 1 << log2);
        let schema = Schema::from_json(json.as_bytes()).unwrap();
        let (mut sum, mut count, mut buckets) = (0, 0, vec![0; 4]);
        let mut merged: Option<CounterCiphertext> = None;
        for (i, (s, c, h)) in parts.iter().take(1 << log2).enumerate() {
            let (s, c) = ((s * most as f64) as i64, (c * most as f64) as i64);
            let mut one = Contribution::new(&schema);
            one.add("s", s).unwrap();
            one.add("c", c).unwrap();
            one.observe("h", f64::from(*h)).unwrap();
            (sum, count) = (sum + s, count + c);
            buckets[usize::from(h / 2).min(3)] += 1;
            let one = encrypt(&one, seed.wrapping_add(i as u128 * 2));
            match &mut merged {
                None => merged = Some(one),
                Some(all) => all.merge(&one).unwrap(),
            }
        }
        let totals = read(&KEYS.0, &schema, &merged.unwrap()).unwrap();
        prop_assert_eq!(total(&totals, "s"), TotalValue::Total(sum));
        prop_assert_eq!(total(&totals, "c"), TotalValue::Total(count));
        let edges = vec![2.0, 4.0, 6.0];
        prop_assert_eq!(total(&totals, "h"), TotalValue::Histogram { edges, buckets });
    }

    #[test]
    fn random_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        head in any::<[u8; 91]>(),
        start in 0u8..4,
    ) {
        let mut whole = vec![7u8; COUNTER_BYTES];
        whole[..91].copy_from_slice(&head);
        for bytes in [&mut bytes, &mut whole] {
            if start > 0 && bytes.len() > 8 {
                bytes[..8].copy_from_slice(b"VGCT\x01\0\x02\0");
            }
            let _ = CounterCiphertext::from_bytes(bytes);
            let _ = PublicKey::from_bytes(bytes.clone());
            let _ = Schema::from_json(bytes);
        }
    }
}
