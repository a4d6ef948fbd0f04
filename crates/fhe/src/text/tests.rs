//! Against scikit-learn's own buckets (examples/models/text_vectors.py wrote them), and for any text at all.

use proptest::prelude::*;

use super::*;

const VECTORS: &str = include_str!("vectors.json");

#[derive(Deserialize)]
struct Vectors {
    buckets: u32,
    texts: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    text: String,
    counts: Vec<(usize, u32)>,
    l2: Vec<(usize, f64)>,
}

fn encoder(buckets: u32, most: i64, norm: Norm) -> TextEncoder {
    TextEncoder {
        buckets,
        most,
        norm,
    }
}

fn filled<T: Copy + PartialEq + Default>(values: &[T]) -> Vec<(usize, T)> {
    let all = values.iter().copied().enumerate();
    all.filter(|(_, value)| *value != T::default()).collect()
}

#[test]
fn buckets_are_those_of_scikit_learn() {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.texts.len() >= 40);
    for Vector { text, counts, l2 } in &vectors.texts {
        let plain = encoder(vectors.buckets, MAX_TOKENS as i64, Norm::None);
        assert_eq!(&filled(&plain.counts(text).unwrap()), counts, "{text:?}");
        let shares = encoder(vectors.buckets, 1000, Norm::L2);
        let got = filled(&shares.features(text).unwrap());
        assert_eq!(got.len(), l2.len(), "{text:?}");
        for ((at, value), (there, wanted)) in got.iter().zip(l2) {
            assert!(at == there && (value - wanted).abs() < 1e-12, "{text:?}");
        }
    }
}

#[test]
fn the_hash_is_murmur3() {
    // From the reference implementation's own tests, with seed 0.
    assert_eq!(murmur3(b""), 0);
    assert_eq!(murmur3(b"hello"), 0x248b_fa47);
    assert_eq!(murmur3(b"hello, world"), 0x149b_bb7f);
    assert_eq!(
        murmur3(b"The quick brown fox jumps over the lazy dog"),
        0x2e4f_f723
    );
}

#[test]
fn the_least_hash_has_the_bucket_that_scikit_learn_gives_it() {
    for buckets in [1u32, 2, 3, 1000, 2048] {
        let theirs = (i32::MAX as u32 - (buckets - 1)) % buckets;
        assert_eq!(
            i32::MIN.unsigned_abs() % buckets,
            theirs,
            "{buckets} buckets"
        );
    }
}

#[test]
fn counts_stop_at_most() {
    let text = "again ".repeat(40);
    assert_eq!(
        filled(&encoder(64, 15, Norm::None).encode(&text).unwrap())[0].1,
        15
    );
    assert_eq!(
        filled(&encoder(64, 15, Norm::L2).encode(&text).unwrap())[0].1,
        15
    );
}

#[test]
fn what_is_too_long_is_refused_with_what_to_do() {
    let encoder = encoder(2048, 15, Norm::None);
    let bytes = encoder.encode(&"x".repeat(MAX_BYTES + 1)).unwrap_err();
    assert!(bytes.contains("cut it into parts"), "{bytes}");
    let words = encoder.encode(&"ab ".repeat(MAX_TOKENS + 1)).unwrap_err();
    assert!(words.contains("4096 words"), "{words}");
    assert!(encoder.encode(&"ab ".repeat(MAX_TOKENS)).is_ok());
}

#[test]
fn a_text_without_words_is_all_zeros() {
    for norm in [Norm::None, Norm::L2] {
        for text in ["", "a b c !", "\u{0}\u{301}"] {
            let values = encoder(32, 7, norm).encode(text).unwrap();
            assert_eq!(values, [0; 32], "{text:?}");
        }
    }
}

#[test]
fn a_program_without_norm_reads_and_writes_as_before() {
    let text = r#"{"buckets":8,"most":3}"#;
    let read: TextEncoder = serde_json::from_str(text).unwrap();
    assert_eq!(read, encoder(8, 3, Norm::None));
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

proptest! {
    #[test]
    fn every_word_is_counted_once(text in any::<String>(), buckets in 1u32..=2048) {
        let counts = encoder(buckets, MAX_INTEGER, Norm::None).encode(&text).unwrap();
        let lower = text.to_lowercase();
        prop_assert_eq!(counts.iter().sum::<i64>(), words(&lower).count() as i64);
    }

    #[test]
    fn values_stay_between_zero_and_most(
        text in "([a-zé]{1,3} ?){0,60}", buckets in 1u32..=64, most in 1i64..=300, l2 in any::<bool>(),
    ) {
        let norm = if l2 { Norm::L2 } else { Norm::None };
        let values = encoder(buckets, most, norm).encode(&text).unwrap();
        prop_assert_eq!(values.len(), buckets as usize);
        prop_assert!(values.iter().all(|value| (0..=most).contains(value)));
    }
}
