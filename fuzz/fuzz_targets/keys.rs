//! Client keys and evaluation keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fhe::ClientKey::from_bytes(bytes);
    if let Ok(key) = fhe::EvaluationKey::from_bytes(bytes.to_vec()) {
        assert_eq!(key.as_bytes(), bytes);
        let _ = key.public_zero().expect("a key of the right size expands");
    }
});
