//! Arguments of kernels, laid out as kernels/cuda has them. An address is a device's, or the emulation's.

use bytemuck::{Pod, Zeroable};

/// 0 where a kernel does not look.
pub type Address = u64;

/// Arguments of a kernel: plain words in C's order.
pub trait KernelArgs: Copy {}

/// A factor, and ⌊factor · 2^32 / p⌋ beside it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Factor {
    pub w: u32,
    pub w_over_p: u32,
}

/// Addresses of 2048 factors each; 1 / N.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Twiddles {
    pub forward: Address,
    pub backward: Address,
    pub scale: Factor,
}

/// lookups.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookups {
    pub key_of: Address,
    pub table_of: Address,
    pub turns: Address,
    pub reads_of: Address,
    pub tables: Address,
    pub reads: Address,
    pub out: Address,
}

/// rotate_rns.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RotateRns {
    pub lookups: Lookups,
    pub keys: Address,
    pub twiddles: [Twiddles; 2],
}

/// rotate_fft.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RotateFft {
    pub lookups: Lookups,
    pub ciphertexts: u32,
    pub unused: u32,
    pub keys: Address,
    pub roots: Address,
}

/// keyswitch.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tile {
    pub first: u32,
    pub count: u32,
    pub key: u32,
}

/// keyswitch.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyswitch {
    pub input: Address,
    pub out: Address,
    pub keys: Address,
    pub tiles: Address,
    pub words: u32,
    pub unused: u32,
}

/// modulus_switch.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ModulusSwitch {
    pub input: Address,
    pub turns: Address,
}

/// linear.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct SumGroup {
    pub inputs: u64,
    pub weights: u64,
    pub terms: u32,
    pub first_sum: u32,
    pub sums: u32,
    pub unused: u32,
}

/// linear.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear {
    pub input: Address,
    pub out: Address,
    pub groups: Address,
    pub inputs: Address,
    pub weights: Address,
    pub constants: Address,
}

/// convert.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvertFft {
    pub input: Address,
    pub out: Address,
    pub roots: Address,
}

/// convert.cuh
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvertRns {
    pub input: Address,
    pub out: Address,
    pub twiddles: [Twiddles; 2],
}

impl KernelArgs for RotateRns {}
impl KernelArgs for RotateFft {}
impl KernelArgs for Keyswitch {}
impl KernelArgs for ModulusSwitch {}
impl KernelArgs for Linear {}
impl KernelArgs for ConvertFft {}
impl KernelArgs for ConvertRns {}
