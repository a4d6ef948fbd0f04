//! A runtime whose device is this machine's CPU: kernels are compiled by its C++ compiler, and blocks, threads and barriers are
//! emulated. What it cannot show is that streams wait for one another: all is done at once.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use libloading::Library;
use parking_lot::Mutex;

use super::args::{Address, KernelArgs};
use super::runtime::{Kernel, Runtime, Stream};
use crate::device::DeviceError;

#[path = "../../tests/common/compile.rs"]
mod compile;

pub struct Emulation {
    pub free: u64,
    /// The order of blocks and of threads.
    pub downwards: bool,
    pub memory: Mutex<Vec<Box<[u64]>>>,
    /// Kernels and blocks, in the order of their launches.
    pub launches: Mutex<Vec<(Kernel, usize)>>,
    /// The next launch fails so.
    pub failure: Mutex<Option<DeviceError>>,
}

impl Emulation {
    pub fn new(free: u64) -> Self {
        Self {
            free,
            downwards: false,
            memory: Mutex::default(),
            launches: Mutex::default(),
            failure: Mutex::default(),
        }
    }
}

pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // Elsewhere coroutines of POSIX are there only for who asks.
        let flags = ["-D_XOPEN_SOURCE=700", "-D_DARWIN_C_SOURCE"];
        let (_folder, library) = compile::library("emulated.cpp", "emulated.so", &flags);
        // SAFETY: it runs no code of its own when it is loaded.
        unsafe { Library::new(&library) }.unwrap()
    })
}

impl Runtime for Emulation {
    type Staging = Vec<u64>;

    fn allocate(&self, bytes: usize) -> Result<Address, DeviceError> {
        assert!(bytes.is_multiple_of(8));
        // A device's memory holds anything at first.
        let memory = vec![0xa5a5_a5a5_a5a5_a5a5_u64; bytes / 8].into_boxed_slice();
        let address = memory.as_ptr() as Address;
        self.memory.lock().push(memory);
        Ok(address)
    }

    fn stage(&self, words: usize) -> Result<Vec<u64>, DeviceError> {
        Ok(vec![0; words])
    }

    fn memory(&self) -> Result<(u64, u64), DeviceError> {
        Ok((self.free, self.free))
    }

    unsafe fn upload(
        &self,
        _: Stream,
        from: &Vec<u64>,
        words: usize,
        to: Address,
    ) -> Result<(), DeviceError> {
        self.check(to, words * 8);
        // SAFETY: checked.
        unsafe { std::ptr::copy_nonoverlapping(from[..words].as_ptr(), to as *mut u64, words) };
        Ok(())
    }

    unsafe fn download(
        &self,
        _: Stream,
        from: Address,
        words: usize,
        to: &mut Vec<u64>,
    ) -> Result<(), DeviceError> {
        self.check(from, words * 8);
        // SAFETY: checked.
        unsafe {
            std::ptr::copy_nonoverlapping(from as *const u64, to[..words].as_mut_ptr(), words);
        }
        Ok(())
    }

    unsafe fn zero(&self, _: Stream, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.check(at, bytes);
        // SAFETY: checked.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes) };
        Ok(())
    }

    unsafe fn launch<A: KernelArgs>(
        &self,
        _: Stream,
        kernel: Kernel,
        blocks: usize,
        args: &A,
    ) -> Result<(), DeviceError> {
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        self.launches.lock().push((kernel, blocks));
        type Run<A> = unsafe extern "C" fn(*const A, u32, bool);
        let name = format!("emulated_{}\0", kernel.name());
        // SAFETY: every kernel is emulated with this signature; what the arguments point at, the caller promises.
        unsafe {
            let run = library().get::<Run<A>>(name.as_bytes()).unwrap();
            run(args, blocks as u32, self.downwards);
        }
        Ok(())
    }

    fn wait(&self, _: Stream) -> Result<(), DeviceError> {
        Ok(())
    }
}

impl Emulation {
    /// That it lies in one of the device's memories.
    fn check(&self, at: Address, bytes: usize) {
        let memory = self.memory.lock();
        let is_within = |one: &[u64]| {
            let start = one.as_ptr() as Address;
            start <= at && at + bytes as u64 <= start + size_of_val(one) as u64
        };
        let found = memory.iter().any(|one| is_within(one));
        assert!(found, "a copy beyond a device's memory");
    }
}
