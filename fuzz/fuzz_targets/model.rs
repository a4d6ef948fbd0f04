//! A trained model of any library: refused, or sound enough to be evaluated.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = models::read_bytes(bytes) {
        for value in [0.0, -1.5, f64::MAX, f64::NAN] {
            let scores = model.scores(&vec![value; model.features.len()]);
            let _ = (model.linked(&scores), model.label(&scores));
        }
    }
});
