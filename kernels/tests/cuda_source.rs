//! Device code that the program carries as text is taken by NVRTC, which needs no GPU.
//!
//! `VEILGATE_NVRTC_DIR` names the folder of NVRTC's libraries; `cargo xtask test` fetches and sets it.
#![allow(unsafe_code)]

// By its path: so it is tested without the feature, too.
#[path = "../src/cuda/source.rs"]
mod source;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::{Library, Symbol};

/// In this order: the second one looks for the first by its name.
const LIBRARIES: [&str; 2] = ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"];
const SUCCESS: c_int = 0;

/// None: this machine has none. In CI that is a failure, where there is one for its system.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("VEILGATE_NVRTC_DIR").map(PathBuf::from);
    if folder.is_none() {
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        assert!(
            !in_ci || !cfg!(target_os = "linux"),
            "VEILGATE_NVRTC_DIR is not set: run `cargo xtask test`"
        );
        eprintln!(
            "not tried: VEILGATE_NVRTC_DIR is not set (target/cuda/toolkit/nvidia/cu13/lib after `cargo xtask kernels`)"
        );
    }
    folder
}

type Program = *mut c_void;

struct Nvrtc {
    // The builtins stay loaded as long.
    libraries: Vec<Library>,
}

impl Nvrtc {
    fn load(folder: &Path) -> Self {
        // Both are NVIDIA's, as `cargo xtask kernels` fetched them.
        let load = |name| unsafe { Library::new(folder.join(name)) }.expect("loaded");
        Self {
            libraries: LIBRARIES.map(load).into(),
        }
    }

    /// `F`: the type that nvrtc.h gives it.
    unsafe fn function<F>(&self, name: &CStr) -> Symbol<'_, F> {
        unsafe { self.libraries[1].get(name.to_bytes_with_nul()) }.expect("NVRTC has it")
    }

    /// The code for an architecture, or what the compiler says.
    fn compile(&self, source: &str, architecture: &str) -> Result<Vec<u8>, String> {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        let source = CString::new(source).expect("no zero in it");
        let mut options: Vec<CString> = source::OPTIONS
            .iter()
            .map(|option| CString::new(*option).expect("no zero in it"))
            .collect();
        options.push(CString::new(format!("--gpu-architecture={architecture}")).expect("none"));
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // Types are those of nvrtc.h, texts end in zeros and live to the end of this function, and there are no headers. The program is
        // never destroyed: the process soon ends.
        unsafe {
            let create = self.function::<Create>(c"nvrtcCreateProgram");
            let (none, no_name) = (std::ptr::null(), std::ptr::null());
            assert_eq!(
                create(&mut program, source.as_ptr(), no_name, 0, none, none),
                SUCCESS
            );
            let compile = self.function::<Compile>(c"nvrtcCompileProgram");
            if compile(program, options.len() as c_int, options.as_ptr()) != SUCCESS {
                let log = self.read(program, c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog");
                return Err(String::from_utf8_lossy(&log).into_owned());
            }
            Ok(self.read(program, c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN"))
        }
    }

    /// `program` lives, and the functions are a pair of nvrtc.h's that give a size and as many bytes.
    unsafe fn read(&self, program: Program, size: &CStr, bytes: &CStr) -> Vec<u8> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Bytes = unsafe extern "C" fn(Program, *mut u8) -> c_int;
        let mut count = 0;
        unsafe {
            assert_eq!(self.function::<Size>(size)(program, &mut count), SUCCESS);
            let mut read = vec![0; count];
            assert_eq!(
                self.function::<Bytes>(bytes)(program, read.as_mut_ptr()),
                SUCCESS
            );
            read
        }
    }
}

fn contains(code: &[u8], name: &str) -> bool {
    code.windows(name.len())
        .any(|window| window == name.as_bytes())
}

/// Entry points, by their declarations.
fn kernels(source: &str) -> Vec<&str> {
    let found = source.match_indices("_kernel(const __grid_constant__");
    let names = found.filter_map(|(at, _)| {
        let from = source[..at].rfind([' ', ')', '\n'])? + 1;
        source.get(from..at + "_kernel".len())
    });
    names.collect()
}

#[test]
fn every_file_of_device_code_is_carried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .expect("read")
        .map(|entry| {
            entry
                .expect("read")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .filter(|name| name.ends_with(".cu") || name.ends_with(".cuh"))
        .collect();
    there.sort();
    let carried: Vec<&str> = source::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(carried, there, "add what is missing in src/cuda/source.rs");
    assert!(!source::FATBIN.is_empty());
}

#[test]
fn the_source_is_one_text_that_asks_for_no_file_of_ours() {
    let source = source::source();
    assert!(!source.contains("#include \""), "{source}");
    assert_eq!(source.matches("constexpr uint32_t N = 2048").count(), 1);
    let found = kernels(&source);
    assert!(found.contains(&"rotate_rns_kernel"), "{found:?}");
    assert!(found.contains(&"rotate_fft_kernel"), "{found:?}");
}

#[test]
fn a_compiler_on_the_spot_takes_the_source_for_an_old_and_a_new_architecture() {
    let Some(folder) = folder() else { return };
    let nvrtc = Nvrtc::load(&folder);
    let source = source::source();
    for architecture in ["sm_75", "sm_90"] {
        let code = nvrtc.compile(&source, architecture);
        let code = code.unwrap_or_else(|log| panic!("{architecture}: {log}"));
        for kernel in kernels(&source) {
            assert!(contains(&code, kernel), "{architecture} lacks {kernel}");
        }
    }
    let log = nvrtc.compile("undefined_thing x;", "sm_90").unwrap_err();
    assert!(log.contains("undefined_thing"), "{log}");
}
