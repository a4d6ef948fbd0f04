//! Keys on a device: where each is, and the way there.
#![allow(unsafe_code)]

use bytemuck::cast_slice_mut;
use fhe::params::*;

use super::{CudaDevice, Method, State};
use crate::cuda::args::{Address, ConvertFft, ConvertRns};
use crate::cuda::runtime::{Kernel, Runtime, put};
use crate::device::DeviceError;
use crate::standard::StandardKey;

/// Words from one row of a keyswitch key to the next.
const KEYSWITCH_STRIDE: usize = 920;
const KEYSWITCH_BYTES: usize = POLYNOMIAL_SIZE * KS_LEVELS * KEYSWITCH_STRIDE * 4;
const POLYNOMIALS: usize = SMALL_DIMENSION * 4;
/// 1024 complex points, or 2048 residues modulo each of two primes; as many bytes as a client's words have.
pub const ROTATION_BYTES: usize = POLYNOMIALS * POLYNOMIAL_SIZE * 8;
pub const KEY_BYTES: usize = KEYSWITCH_BYTES + ROTATION_BYTES;

/// Polynomials of a block of [`Kernel::ConvertFft`].
const CONVERT_TOGETHER: usize = 4;

#[derive(Clone, Copy, Debug)]
pub struct KeyPlace {
    pub keyswitch: Address,
    pub rotation: Address,
}

impl<R: Runtime> CudaDevice<R> {
    /// Waits until it is there.
    pub(super) fn put_key(
        &self,
        state: &mut State<R>,
        place: usize,
        key: &StandardKey,
    ) -> Result<(), DeviceError> {
        let runtime = &self.runtime;
        let at = match state.keys[place] {
            Some(at) => at,
            None => KeyPlace {
                keyswitch: runtime.allocate(KEYSWITCH_BYTES)?,
                rotation: runtime.allocate(ROTATION_BYTES)?,
            },
        };
        state.keys[place] = Some(at);
        let words = &mut state.staging.as_mut()[..KEYSWITCH_BYTES / 8];
        let targets = cast_slice_mut::<u64, u32>(words).chunks_exact_mut(KEYSWITCH_STRIDE);
        for (target, row) in targets.zip(key.keyswitch.chunks_exact(SMALL_WORDS)) {
            target[..SMALL_WORDS].copy_from_slice(row);
        }
        // SAFETY: the staging memory is not touched before the wait; the place was made for a key.
        unsafe { runtime.upload(0, &state.staging, KEYSWITCH_BYTES / 8, at.keyswitch)? };
        runtime.wait(0)?;
        put(runtime, &mut state.staging, &key.bootstrap, state.standard)?;
        self.convert(state.standard, at.rotation)?;
        runtime.wait(0)
    }

    /// Queues the way from a bootstrap key as clients have it to that which rotations read.
    fn convert(&self, input: Address, out: Address) -> Result<(), DeviceError> {
        // SAFETY: all polynomials are there, and a place has room for as many.
        unsafe {
            match self.about.method {
                Method::Fourier { .. } => {
                    let args = ConvertFft {
                        input,
                        out,
                        roots: self.constants.roots,
                    };
                    let blocks = POLYNOMIALS / CONVERT_TOGETHER;
                    self.runtime.launch(0, Kernel::ConvertFft, blocks, &args)
                }
                Method::Exact => {
                    let args = ConvertRns {
                        input,
                        out,
                        twiddles: self.constants.twiddles,
                    };
                    self.runtime
                        .launch(0, Kernel::ConvertRns, POLYNOMIALS, &args)
                }
            }
        }
    }
}
