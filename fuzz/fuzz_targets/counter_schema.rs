//! Schemas of counters: what is taken is written in one way only, and whoever counts by it stays within its slots.
#![no_main]

use fhe::counters::{Contribution, Schema};
use fhe::params::POLYNOMIAL_SIZE;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(schema) = Schema::from_json(bytes) else {
        return;
    };
    assert!((1..=POLYNOMIAL_SIZE).contains(&schema.slots()));
    let written = schema.to_json();
    let again = Schema::from_json(&written).expect("what was written is read again");
    assert_eq!(again, schema);
    assert_eq!(
        (again.digest(), again.to_json()),
        (schema.digest(), written)
    );
    let mut contribution = Contribution::new(&schema);
    for entry in schema.entries() {
        // Either is refused in words, or counted.
        let _ = contribution.add(&entry.name, entry.most);
        let _ = contribution.observe(&entry.name, f64::MAX);
    }
});
