//! Device code as the program carries it: compiled for every architecture that is known today, and its source for those that are
//! not, which a compiler on the spot (NVRTC) takes. `cargo xtask kernels` makes the first from the second.

/// Machine code for compute capability 7.5, 8.0, 8.6, 8.7, 8.9, 9.0, 10.0 and 12.0, and PTX of 9.0, which a driver compiles for
/// what comes after. The driver must know CUDA 13 (580 or newer).
pub static FATBIN: &[u8] = include_bytes!("../../cuda/kernels.fatbin");

/// What NVRTC must be told besides the architecture: constants are computed with 128 bits.
pub const OPTIONS: [&str; 2] = ["--std=c++17", "--device-int128"];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../cuda/", $name)))),*]
    };
}

/// Every file of device code, by its name; kernels are in those that end in `.cu`.
pub static FILES: &[(&str, &str)] = &files![
    "convert.cuh",
    "fft.cu",
    "fft.cuh",
    "keyswitch.cuh",
    "linear.cuh",
    "lookups.cuh",
    "modulus_switch.cuh",
    "ntt.cuh",
    "portable.cuh",
    "prime.cuh",
    "rns.cu",
    "rotate_fft.cuh",
    "rotate_rns.cuh",
    "stages.cuh",
    "steps.cu",
    "thread.cuh",
];

/// All kernels as one text that includes nothing: each file stands where it is first asked for.
pub fn source() -> String {
    let mut text = String::new();
    let mut there = Vec::new();
    for (name, _) in FILES.iter().filter(|(name, _)| name.ends_with(".cu")) {
        put(name, &mut there, &mut text);
    }
    text
}

fn put(name: &str, there: &mut Vec<&'static str>, text: &mut String) {
    // One that is not in the table stays asked for, and the compiler names it.
    let Some((name, lines)) = FILES.iter().find(|(known, _)| *known == name) else {
        text.push_str(&format!("#include \"{name}\"\n"));
        return;
    };
    if there.contains(name) {
        return;
    }
    there.push(name);
    for line in lines.lines() {
        match included(line) {
            Some(other) => put(other, there, text),
            None if line.trim() == "#pragma once" => {}
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

/// The file of ours that a line asks for.
fn included(line: &str) -> Option<&str> {
    line.strip_prefix("#include \"")?.strip_suffix('"')
}
