//! Encrypted results: what is taken is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reply) = fhe::Reply::from_bytes(bytes) {
        assert_eq!(reply.to_bytes(), bytes);
        assert!(reply.ciphertexts().all(|words| words.len() == fhe::params::LWE_WORDS));
    }
});
