//! Device code in WGSL: of each kernel, the files that it is put together from.
//!
//! Integers alone, of 32 and 64 bits, so that a GPU without f64 computes it, and to the bit what [`crate::rns`] does.

macro_rules! files {
    ($($name:literal),+) => { concat!($(include_str!(concat!("../wgsl/", $name, ".wgsl")), "\n"),+) };
}

/// A kernel: its entry point has its name.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub name: &'static str,
    pub text: &'static str,
}

pub const LINEAR: Source = Source {
    name: "linear",
    text: files!("sizes", "receipt", "linear"),
};
pub const DECOMPOSE: Source = Source {
    name: "decompose",
    text: files!("sizes", "receipt", "decompose"),
};
pub const KEYSWITCH: Source = Source {
    name: "keyswitch",
    text: files!("sizes", "receipt", "keyswitch"),
};
pub const SWITCH_MODULUS: Source = Source {
    name: "switch_modulus",
    text: files!("sizes", "receipt", "switch_modulus"),
};
pub const TRANSFORM_KEY: Source = Source {
    name: "transform_key",
    text: files!("sizes", "receipt", "prime", "ntt", "transform_key"),
};
pub const START: Source = Source {
    name: "start",
    text: files!("sizes", "receipt", "prime", "task", "start"),
};
pub const ROTATE: Source = Source {
    name: "rotate",
    text: files!("sizes", "receipt", "prime", "task", "ntt", "rotate"),
};
pub const EXTRACT: Source = Source {
    name: "extract",
    text: files!("sizes", "receipt", "prime", "extract"),
};

/// Invocations of a workgroup, but of the keyswitch's.
#[cfg(feature = "wgpu")]
pub const THREADS: usize = 256;
/// Of the keyswitch: columns and rows of a workgroup, and the most ciphertexts of one tile.
#[cfg(feature = "wgpu")]
pub const KEYSWITCH_COLUMNS: usize = 128;
#[cfg(feature = "wgpu")]
pub const KEYSWITCH_ROWS: usize = 64;
#[cfg(feature = "wgpu")]
pub const KEYSWITCH_TILE: usize = 8;
/// Of each kernel, the binding of the number of workgroups that have ended.
#[cfg(feature = "wgpu")]
pub const RECEIPT_BINDING: u32 = 9;
/// What the largest kernel takes of a workgroup's memory.
#[cfg(feature = "wgpu")]
pub const WORKGROUP_BYTES: u32 = 16 << 10;

#[cfg(test)]
mod tests;
