//! A program file: refused, or sound enough to be evaluated on any inputs of the right number.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(program) = fhe::Program::from_json(bytes) {
        let public = fhe::PublicProgram::from(&program);
        for value in [0, 1, -1] {
            if let Some(results) = program.evaluate_clear(&vec![value; program.input_count()]) {
                let _ = public.label(&public.clear_scores(&results));
            }
        }
        let json = serde_json(&program);
        let again = fhe::Program::from_json(&json).expect("what was written is read again");
        assert_eq!(again.digest(), program.digest());
    }
});

fn serde_json(program: &fhe::Program) -> Vec<u8> {
    serde_json::to_vec(program.file()).expect("a program can be written")
}
