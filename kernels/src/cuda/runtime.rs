//! What a device asks of a driver.
#![allow(unsafe_code)]

use super::args::{Address, KernelArgs};
use crate::device::DeviceError;

/// Work of one stream is done in order; streams overlap.
pub type Stream = usize;

/// Kernels of kernels/cuda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// For tiles of so many ciphertexts.
    Keyswitch(usize),
    ModulusSwitch,
    Linear,
    ConvertFft,
    ConvertRns,
    /// With so many ciphertexts in a block.
    RotateFft(usize),
    RotateRns,
}

impl Kernel {
    pub const ALL: [Self; 12] = [
        Self::Keyswitch(1),
        Self::Keyswitch(8),
        Self::Keyswitch(32),
        Self::ModulusSwitch,
        Self::Linear,
        Self::ConvertFft,
        Self::ConvertRns,
        Self::RotateFft(1),
        Self::RotateFft(2),
        Self::RotateFft(3),
        Self::RotateFft(4),
        Self::RotateRns,
    ];

    /// Its name among the module's functions.
    #[cfg(feature = "cuda")]
    pub fn entry(self) -> String {
        match self {
            Self::RotateFft(_) => "rotate_fft_kernel".to_owned(),
            other => format!("{}_kernel", other.name()),
        }
    }

    pub fn name(self) -> String {
        let name = match self {
            Self::Keyswitch(tile) => return format!("keyswitch_{tile}"),
            Self::ModulusSwitch => "modulus_switch",
            Self::Linear => "linear",
            Self::ConvertFft => "convert_fft",
            Self::ConvertRns => "convert_rns",
            Self::RotateFft(together) => return format!("rotate_fft_{together}"),
            Self::RotateRns => "rotate_rns",
        };
        name.to_owned()
    }

    /// Threads of a block, and bytes of shared memory that a launch asks for: as the headers have them.
    pub fn shape(self) -> (u32, u32) {
        match self {
            Self::Keyswitch(tile) => (128, 256 * tile as u32),
            Self::ModulusSwitch => (128, 1024),
            Self::Linear => (256, 0),
            Self::ConvertFft => (128, 4 * 1056 * 16),
            Self::ConvertRns => (128, 2112 * 4),
            Self::RotateFft(together) => {
                let together = together as u32;
                (64 * together, together * SHARED_OF_FOURIER)
            }
            Self::RotateRns => (128, 2 * 2048 * 8 + 2112 * 4),
        }
    }
}

/// Copies words to a device and waits; `to` has room for them.
pub fn put<R: Runtime>(
    runtime: &R,
    staging: &mut R::Staging,
    words: &[u64],
    to: Address,
) -> Result<(), DeviceError> {
    staging.as_mut()[..words.len()].copy_from_slice(words);
    // SAFETY: the staging memory is not touched before the wait; there is room, as the caller says.
    unsafe { runtime.upload(0, staging, words.len(), to)? };
    runtime.wait(0)
}

/// Bytes of shared memory that a ciphertext takes in a rotation by Fourier transforms.
pub const SHARED_OF_FOURIER: u32 = 2 * 2048 * 4 + 2 * 1056 * 16;

pub trait Runtime: Send + Sync + 'static {
    /// Memory of the host that a device copies from and to while the host goes on. Zeros at first.
    type Staging: AsRef<[u64]> + AsMut<[u64]> + Send;

    /// Memory of the device, until the runtime is dropped.
    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError>;

    fn stage(&self, words: usize) -> Result<Self::Staging, DeviceError>;

    /// Bytes of the device that are free, and all.
    fn memory(&self) -> Result<(u64, u64), DeviceError>;

    /// Copies `words` words from the beginning of a staging memory.
    ///
    /// # Safety
    /// `from` is neither changed nor dropped before [`wait`](Runtime::wait), and `to` has room for them.
    unsafe fn upload(
        &self,
        stream: Stream,
        from: &Self::Staging,
        words: usize,
        to: Address,
    ) -> Result<(), DeviceError>;

    /// Copies `words` words to the beginning of a staging memory.
    ///
    /// # Safety
    /// `to` is neither read nor dropped before [`wait`](Runtime::wait), and `from` has as many.
    unsafe fn download(
        &self,
        stream: Stream,
        from: Address,
        words: usize,
        to: &mut Self::Staging,
    ) -> Result<(), DeviceError>;

    /// # Safety
    /// `at` has so many bytes.
    unsafe fn zero(&self, stream: Stream, at: Address, bytes: usize) -> Result<(), DeviceError>;

    /// # Safety
    /// The arguments are the kernel's, and what they point at is there until the launch is done.
    unsafe fn launch<A: KernelArgs>(
        &self,
        stream: Stream,
        kernel: Kernel,
        blocks: usize,
        args: &A,
    ) -> Result<(), DeviceError>;

    /// Until all work of the stream is done.
    fn wait(&self, stream: Stream) -> Result<(), DeviceError>;
}
