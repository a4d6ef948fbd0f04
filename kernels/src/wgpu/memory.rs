//! How many ciphertexts and keys a device takes, decided once from its limits.

use fhe::params::{KS_LEVELS, LWE_WORDS, POLYNOMIAL_SIZE as N, SMALL_WORDS};
use wgpu::{DeviceType, Limits};

use super::adapter::Options;
use crate::rns::RnsKey;

pub const KEYSWITCH_BYTES: u64 = (N * KS_LEVELS * SMALL_WORDS * 4) as u64;
pub const KEY_BYTES: u64 = RnsKey::BYTES as u64 + KEYSWITCH_BYTES;

/// A shelf is allocated at once: 16 keys take 1.4 GB, which a GPU that shares the host's memory should not take for the first.
fn shelf_max(kind: DeviceType) -> u64 {
    match kind {
        DeviceType::DiscreteGpu => 16,
        _ => 4,
    }
}
/// Of one dispatch, in each direction, on every device (WebGPU's own limit).
const WORKGROUPS_MAX: u64 = 65535;

/// Why a device cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The most ciphertexts, and results, of one call.
    pub batch: usize,
    /// Places for keys.
    pub places: usize,
    /// Keys lie in buffers of so many, which one dispatch reads: as many as a binding may have.
    pub shelf: usize,
}

/// Enough to fill it: a workgroup for each ciphertext. What a ciphertext takes of memory is 0.1 MB.
fn default_batch(kind: DeviceType) -> u64 {
    match kind {
        DeviceType::DiscreteGpu => 1024,
        DeviceType::IntegratedGpu | DeviceType::VirtualGpu | DeviceType::Other => 256,
        DeviceType::Cpu => 16,
    }
}

fn default_key_bytes(kind: DeviceType) -> u64 {
    match kind {
        DeviceType::DiscreteGpu => 4 << 30,
        _ => 2 << 30,
    }
}

impl Plan {
    pub fn new(limits: &Limits, kind: DeviceType, options: &Options) -> Result<Self, Unfit> {
        let binding = limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size);
        let together = binding / RnsKey::BYTES as u64;
        if together == 0 {
            return Err(Unfit(format!(
                "a kernel reads no more than {binding} bytes at once, and a key has {}",
                RnsKey::BYTES
            )));
        }
        let key_bytes = options.key_bytes.unwrap_or(default_key_bytes(kind));
        let places = key_bytes / KEY_BYTES;
        if places == 0 {
            return Err(Unfit(format!(
                "{key_bytes} bytes for keys hold none: a key takes {KEY_BYTES}"
            )));
        }
        let wanted = options.batch.map_or(default_batch(kind), |n| n as u64);
        // The largest thing of a ciphertext: its rings.
        let fitting = (binding / RING_BYTES).min(WORKGROUPS_MAX);
        Ok(Self {
            batch: wanted.clamp(1, fitting) as usize,
            places: places as usize,
            shelf: together.min(places).min(shelf_max(kind)) as usize,
        })
    }
}

/// Mask and body modulo Q, of a ciphertext that is being turned.
pub const RING_BYTES: u64 = 2 * N as u64 * 8;
pub const LARGE_BYTES: u64 = LWE_WORDS as u64 * 8;
pub const SMALL_BYTES: u64 = SMALL_WORDS as u64 * 4;
pub const POLYNOMIAL_BYTES: u64 = N as u64 * 8;

/// Terms of sums that a dispatch takes; what is more goes in several.
pub const TERMS: usize = 1 << 16;

/// All that is computed on, but keys. Sizes are for a whole batch.
pub struct Buffers {
    pub inputs: wgpu::Buffer,
    pub rows: wgpu::Buffer,
    pub terms: wgpu::Buffer,
    /// Of each word of each input, its digits.
    pub digits: wgpu::Buffer,
    pub tiles: wgpu::Buffer,
    pub smalls: wgpu::Buffer,
    /// Of small ciphertexts, switched to 2N.
    pub turns: wgpu::Buffer,
    pub tables: wgpu::Buffer,
    pub tasks: wgpu::Buffer,
    pub roots: wgpu::Buffer,
    /// Of each ciphertext that is turned, mask and body modulo Q. Keys come this way too: it has room for two polynomials for each
    /// ciphertext.
    pub rings: wgpu::Buffer,
    pub reads: wgpu::Buffer,
    pub results: wgpu::Buffer,
    /// Where the host reads results.
    pub staging: wgpu::Buffer,
}

impl Buffers {
    pub fn new(device: &wgpu::Device, batch: usize, roots_bytes: u64) -> Self {
        use wgpu::BufferUsages as Usage;
        let buffer = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let n = batch as u64;
        let given = Usage::STORAGE | Usage::COPY_DST;
        let read = Usage::STORAGE | Usage::COPY_SRC;
        Self {
            inputs: buffer("inputs", n * LARGE_BYTES, given),
            rows: buffer("rows", n * 24, given),
            terms: buffer("terms", TERMS as u64 * 16, given),
            digits: buffer("digits", n * N as u64 * 4, Usage::STORAGE),
            tiles: buffer("tiles", n * 16, given),
            smalls: buffer("small ciphertexts", n * SMALL_BYTES, given | read),
            turns: buffer("turns", n * SMALL_BYTES, Usage::STORAGE),
            tables: buffer("tables", n * POLYNOMIAL_BYTES, given),
            tasks: buffer("tasks", n * 8, given),
            roots: buffer("roots", roots_bytes, given),
            rings: buffer("rings", n * RING_BYTES, given),
            reads: buffer("reads", n * 8, given),
            results: buffer("results", n * LARGE_BYTES, read),
            // And a receipt after them.
            staging: buffer(
                "staging",
                n * LARGE_BYTES + 4,
                Usage::MAP_READ | Usage::COPY_DST,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(binding: u64) -> Limits {
        Limits {
            max_storage_buffer_binding_size: binding,
            max_buffer_size: 2 << 30,
            ..Limits::default()
        }
    }

    #[test]
    fn keys_share_what_a_kernel_reads_at_once() {
        let plan = |binding, kind, options: Options| Plan::new(&limits(binding), kind, &options);
        let default = Options::default;
        let small = plan(128 << 20, DeviceType::Cpu, default()).unwrap();
        assert_eq!((small.shelf, small.places), (2, 23));
        let large = plan(4 << 30, DeviceType::DiscreteGpu, default()).unwrap();
        assert_eq!((large.shelf, large.places, large.batch), (16, 47, 1024));
        let one = Options {
            key_bytes: Some(KEY_BYTES),
            batch: Some(1 << 20),
            ..default()
        };
        let one = plan(128 << 20, DeviceType::Cpu, one).unwrap();
        // 128 MiB of rings of 32 KiB.
        assert_eq!((one.shelf, one.places, one.batch), (1, 1, 4096));
        assert!(plan(32 << 20, DeviceType::Other, default()).is_err());
        let none = Options {
            key_bytes: Some(KEY_BYTES - 1),
            ..default()
        };
        assert!(plan(4 << 30, DeviceType::Other, none).is_err());
    }
}
