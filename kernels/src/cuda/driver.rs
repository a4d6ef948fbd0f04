//! The runtime that is a GPU: NVIDIA's driver, through cudarc.
//!
//! All that can be asked of the driver on a device is asked here. Handles belong to the device's primary context, which is made
//! current on whichever thread calls.
#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, DriverError, result};
use parking_lot::Mutex;

use super::args::{Address, KernelArgs};
use super::runtime::{Kernel, Runtime, Stream};
use crate::device::DeviceError;

/// What a block has without asking for more.
const SHARED_OF_EVERY_BLOCK: u32 = 48 << 10;
const STREAMS: usize = 2;

pub struct Driver {
    context: Arc<CudaContext>,
    module: sys::CUmodule,
    functions: Vec<(Kernel, sys::CUfunction)>,
    streams: Vec<sys::CUstream>,
    /// Of the device; freed in the end.
    memory: Mutex<Vec<sys::CUdeviceptr>>,
}

// SAFETY: handles of the driver may be used from any thread that has made their context current, which every method does
// first; cudarc's own wrappers of the same handles are Send and Sync for this reason.
unsafe impl Send for Driver {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Driver {}

pub fn failed(error: DriverError) -> DeviceError {
    let what = match (error.error_name(), error.error_string()) {
        (Ok(name), Ok(text)) => format!("{}, {}", name.to_string_lossy(), text.to_string_lossy()),
        _ => format!("{:?}", error.0),
    };
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory(what),
        // After these every later call of the process fails too.
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUresult::CUDA_ERROR_INVALID_PC
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ASSERT
        | CUresult::CUDA_ERROR_LAUNCH_FAILED
        | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
        | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
        | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUresult::CUDA_ERROR_DEINITIALIZED => DeviceError::Lost(what),
        _ => DeviceError::Driver(what),
    }
}

impl Driver {
    /// With kernels as `image` has them: a fatbin, a cubin, or PTX that ends in a zero.
    pub fn new(context: Arc<CudaContext>, image: &[u8]) -> Result<Self, DeviceError> {
        context.bind_to_thread().map_err(failed)?;
        let load = |kernel: Kernel, module| -> Result<sys::CUfunction, DriverError> {
            let name = CString::new(kernel.entry()).unwrap_or_default();
            // SAFETY: the module was loaded above and is not unloaded before its functions are of no use.
            let function = unsafe { result::module::get_function(module, name)? };
            let (_, shared) = kernel.shape();
            if shared > SHARED_OF_EVERY_BLOCK {
                let attribute =
                    sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                // SAFETY: the function is the module's. One that the device has no room for is refused here, and never launched.
                let _ = unsafe {
                    result::function::set_function_attribute(function, attribute, shared as i32)
                };
            }
            Ok(function)
        };
        // SAFETY: the image is a whole one, made by nvcc or NVRTC.
        let module = unsafe { result::module::load_data(image.as_ptr().cast::<c_void>()) };
        let module = module.map_err(failed)?;
        let mut this = Self {
            context,
            module,
            functions: Vec::new(),
            streams: Vec::new(),
            memory: Mutex::default(),
        };
        for kernel in Kernel::ALL {
            let function = load(kernel, module).map_err(failed)?;
            this.functions.push((kernel, function));
        }
        for _ in 0..STREAMS {
            let kind = result::stream::StreamKind::NonBlocking;
            this.streams
                .push(result::stream::create(kind).map_err(failed)?);
        }
        Ok(this)
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(failed)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.bind().is_err() {
            // The context has gone, and all that was in it.
            return;
        }
        // SAFETY: all of it was made by this driver in this context, each is given back once, and nobody can use it any more.
        unsafe {
            for stream in self.streams.drain(..) {
                let _ = result::stream::synchronize(stream);
                let _ = result::stream::destroy(stream);
            }
            for memory in self.memory.lock().drain(..) {
                let _ = result::free_sync(memory);
            }
            let _ = result::module::unload(self.module);
        }
    }
}

/// Memory of the host that the device reaches by itself.
pub struct Pinned {
    words: *mut u64,
    len: usize,
    context: Arc<CudaContext>,
}

// SAFETY: it is memory like any other, and this is its only owner.
unsafe impl Send for Pinned {}

impl AsRef<[u64]> for Pinned {
    fn as_ref(&self) -> &[u64] {
        // SAFETY: so many words were allocated, and set to zero.
        unsafe { std::slice::from_raw_parts(self.words, self.len) }
    }
}

impl AsMut<[u64]> for Pinned {
    fn as_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and this is the only owner.
        unsafe { std::slice::from_raw_parts_mut(self.words, self.len) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: it came from malloc_host, and is given back once.
            let _ = unsafe { result::free_host(self.words.cast()) };
        }
    }
}

impl Runtime for Driver {
    type Staging = Pinned;

    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError> {
        self.bind()?;
        // SAFETY: what it holds is written before it is read.
        let at = unsafe { result::malloc_sync(bytes) }.map_err(failed)?;
        self.memory.lock().push(at);
        Ok(at)
    }

    fn stage(&self, words: usize) -> Result<Pinned, DeviceError> {
        self.bind()?;
        // SAFETY: it is set to zero before anybody sees it.
        let pinned = unsafe {
            let memory = result::malloc_host(words * 8, 0).map_err(failed)?;
            std::ptr::write_bytes(memory.cast::<u8>(), 0, words * 8);
            Pinned {
                words: memory.cast(),
                len: words,
                context: self.context.clone(),
            }
        };
        Ok(pinned)
    }

    fn memory(&self) -> Result<(u64, u64), DeviceError> {
        let (free, all) = self.context.mem_get_info().map_err(failed)?;
        Ok((free as u64, all as u64))
    }

    unsafe fn upload(
        &self,
        stream: Stream,
        from: &Pinned,
        words: usize,
        to: Address,
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let from = &from.as_ref()[..words];
        // SAFETY: the caller's.
        unsafe { result::memcpy_htod_async(to, from, self.streams[stream]) }.map_err(failed)
    }

    unsafe fn download(
        &self,
        stream: Stream,
        from: Address,
        words: usize,
        to: &mut Pinned,
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let to = &mut to.as_mut()[..words];
        // SAFETY: the caller's.
        unsafe { result::memcpy_dtoh_async(to, from, self.streams[stream]) }.map_err(failed)
    }

    unsafe fn zero(&self, stream: Stream, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the caller's.
        unsafe { result::memset_d8_async(at, 0, bytes, self.streams[stream]) }.map_err(failed)
    }

    unsafe fn launch<A: KernelArgs>(
        &self,
        stream: Stream,
        kernel: Kernel,
        blocks: usize,
        args: &A,
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let found = self.functions.iter().find(|(known, _)| *known == kernel);
        let (_, function) = found.ok_or_else(|| DeviceError::Driver(kernel.name()))?;
        let (threads, shared) = kernel.shape();
        let mut args = *args;
        let mut pointers = [(&raw mut args).cast::<c_void>()];
        // SAFETY: the driver copies the arguments before it returns; the rest is the caller's.
        unsafe {
            result::launch_kernel(
                *function,
                (blocks as u32, 1, 1),
                (threads, 1, 1),
                shared,
                self.streams[stream],
                &mut pointers,
            )
        }
        .map_err(failed)
    }

    fn wait(&self, stream: Stream) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the stream is this driver's.
        unsafe { result::stream::synchronize(self.streams[stream]) }.map_err(failed)
    }
}

/// What is there, before anything of it is used.
pub struct Card {
    pub name: String,
    pub capability: (i32, i32),
    pub multiprocessors: usize,
    /// What a block may have at most.
    pub shared: u32,
    pub memory: u64,
}

/// `None`: no driver is installed.
pub fn version() -> Option<Result<i32, DeviceError>> {
    // SAFETY: it only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return None;
    }
    let mut version = 0;
    // SAFETY: it writes a number, and needs no context.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    Some(asked.map(|()| version).map_err(failed))
}

pub fn cards() -> Result<Vec<Card>, DeviceError> {
    let count = match CudaContext::device_count() {
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
        other => other.map_err(failed)?,
    };
    (0..count)
        .map(|ordinal| card(ordinal).map_err(failed))
        .collect()
}

fn card(ordinal: i32) -> Result<Card, DriverError> {
    let device = result::device::get(ordinal)?;
    // SAFETY: the device is there.
    let of = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    Ok(Card {
        name: result::device::get_name(device)?,
        capability: (
            of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: of(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
        shared: of(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32,
        // SAFETY: the device is there.
        memory: unsafe { result::device::total_mem(device) }? as u64,
    })
}

/// The device's context. Whoever waits for it sleeps: a core that spins would be taken from others.
pub fn context(ordinal: usize) -> Result<Arc<CudaContext>, DeviceError> {
    result::init().map_err(failed)?;
    let device = result::device::get(ordinal as i32).map_err(failed)?;
    let sleeps = sys::CUctx_flags::CU_CTX_SCHED_BLOCKING_SYNC as u32;
    // SAFETY: the device is there.
    let set = unsafe { sys::cuDevicePrimaryCtxSetFlags_v2(device, sleeps) };
    set.result().map_err(failed)?;
    CudaContext::new(ordinal).map_err(failed)
}
