//! Encrypted rows: what is taken is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = fhe::Request::from_bytes(bytes) {
        assert_eq!(request.to_bytes(), bytes);
        assert_eq!(request.row_bodies().count(), request.rows());
    }
});
