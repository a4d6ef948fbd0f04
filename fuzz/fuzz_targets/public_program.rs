//! What a gateway tells a client of a program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(public) = fhe::PublicProgram::from_json(bytes) {
        let row = vec![0.5; public.columns.len()];
        let _ = public.encode(0, &row);
        let scores = public.scores(&vec![u64::MAX / 3; public.result_count()]);
        let _ = (public.predictions(&scores), public.label(&scores));
    }
});
