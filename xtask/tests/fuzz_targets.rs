//! Every fuzz target as an ordinary function, on sound files and a few others. Built here, with what all other tests are built
//! with: the crate of the targets would have its dependencies compiled once more.
#![allow(
    unused_attributes,
    reason = "`no_main` is for the programs that the targets are elsewhere"
)]

use std::fs;
use std::path::{Path, PathBuf};

// What the targets name is found here instead of the fuzzer.
extern crate self as libfuzzer_sys;
extern crate self as veilgate_fuzz;

#[path = "../../fuzz/src/lib.rs"]
mod counters;
pub use counters::{laid_over, sound};

macro_rules! targets {
    ($($name:ident $path:literal,)*) => {
        $(#[path = $path] mod $name;)*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets! {
    counter_ciphertext "../../fuzz/fuzz_targets/counter_ciphertext.rs",
    counter_public_key "../../fuzz/fuzz_targets/counter_public_key.rs",
    counter_record "../../fuzz/fuzz_targets/counter_record.rs",
    counter_schema "../../fuzz/fuzz_targets/counter_schema.rs",
    keys "../../fuzz/fuzz_targets/keys.rs",
    model "../../fuzz/fuzz_targets/model.rs",
    program "../../fuzz/fuzz_targets/program.rs",
    public_program "../../fuzz/fuzz_targets/public_program.rs",
    reply "../../fuzz/fuzz_targets/reply.rs",
    request "../../fuzz/fuzz_targets/request.rs",
}

/// What the fuzzer's macro makes, as a function. Below the targets, so that they take it by their `use` as they take that one.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:block) => {
        pub fn run($bytes: &[u8]) $body
    };
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_target_takes_what_it_is_given() {
    let mut inputs = vec![
        Vec::new(),
        vec![0; 200],
        // The version and the set that counters have, which others are laid over.
        vec![1, 0, 2, 0],
        br#"{"format":"veilgate-counters/1","contributions":1,"entries":[{"name":"h","kind":"histogram","edges":[1e-300,2]}]}"#.to_vec(),
        br#"{"v":1,"kind":"counters"}"#.to_vec(),
    ];
    for folder in ["examples/models", "crates/models/tests/data"] {
        for file in fs::read_dir(root().join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                inputs.push(fs::read(path).unwrap());
            }
        }
    }
    for (_, target) in TARGETS {
        inputs.iter().for_each(|bytes| target(bytes));
    }
}

/// Or it is built by nobody.
#[test]
fn every_target_is_in_every_list() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let readme = fs::read_to_string(root().join("fuzz/README.md")).unwrap();
    let chore = fs::read_to_string(root().join("xtask/src/fuzz.rs")).unwrap();
    let mut there: Vec<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    there.sort();
    let here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(there, here);
    for name in here {
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\n")),
            "{name}"
        );
        assert!(readme.contains(&format!("`{name}`")), "{name}");
        assert!(chore.contains(&format!("\n    \"{name}\",\n")), "{name}");
    }
}
