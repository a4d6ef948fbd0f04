//! Counter ciphertexts: what is taken is written again byte for byte, and added only within its limit.
#![no_main]

use fhe::counters::CounterCiphertext;
use libfuzzer_sys::fuzz_target;
use veilgate_fuzz::{laid_over, sound};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let counters = sound().record.counters.to_bytes();
    check(&laid_over(counters, bytes));
});

fn check(bytes: &[u8]) {
    let Ok(counters) = CounterCiphertext::from_bytes(bytes) else {
        return;
    };
    assert_eq!(counters.to_bytes(), bytes);
    let (header, mut sum) = (*counters.header(), counters.clone());
    match sum.merge(&counters) {
        Ok(()) => {
            assert_eq!(sum.header().contributions, 2 * header.contributions);
            let again = CounterCiphertext::from_bytes(&sum.to_bytes());
            assert_eq!(again.as_ref(), Ok(&sum));
        }
        Err(_) => {
            assert!(2 * header.contributions > header.step.merges());
            assert!(sum == counters, "what is refused changes nothing");
        }
    }
}
