//! Kernels are valid, and their text for Metal is the one that was reviewed: kernels/msl.

use std::fs;
use std::path::Path;

use naga::back::msl;
use naga::front::wgsl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::*;

const ALL: [Source; 8] = [
    LINEAR,
    DECOMPOSE,
    KEYSWITCH,
    SWITCH_MODULUS,
    TRANSFORM_KEY,
    START,
    ROTATE,
    EXTRACT,
];

/// Set, the texts are written and not compared.
const WRITE: &str = "VEILGATE_WRITE_MSL";

/// As wgpu gives it to Metal of macOS 11: with its checks of bounds, but without bindings, which it numbers when a pipeline is made.
fn metal(source: Source) -> String {
    let module = wgsl::parse_str(source.text)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source.text)));
    let capabilities = Capabilities::SHADER_INT64 | Capabilities::IMMEDIATES;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source.text)));
    let options = msl::Options {
        lang_version: (2, 3),
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer: BoundsCheckPolicy::Restrict,
            image_load: BoundsCheckPolicy::Restrict,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let (text, _) = msl::write_string(&module, &info, &options, &Default::default()).unwrap();
    text
}

#[test]
fn text_for_metal_is_the_one_that_was_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("msl");
    for source in ALL {
        let text = metal(source);
        let path = folder.join(format!("{}.metal", source.name));
        if std::env::var_os(WRITE).is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
            continue;
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text == reviewed,
            "{} is not what its WGSL gives. Write it anew and review the difference: {WRITE}=1 cargo test -p kernels wgsl",
            path.display()
        );
    }
}
