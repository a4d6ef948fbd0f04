//! Public keys of counters: what is taken is written again byte for byte.
#![no_main]

use fhe::counters::PublicKey;
use libfuzzer_sys::fuzz_target;
use veilgate_fuzz::{laid_over, sound};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let key = sound().key.as_bytes().to_vec();
    check(&laid_over(key, bytes));
});

fn check(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_bytes(bytes.to_vec()) {
        assert_eq!(key.as_bytes(), bytes);
    }
}
