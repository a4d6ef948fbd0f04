//! The whole way to an NVIDIA GPU but for the GPU: cudarc, the driver's functions, streams, memory, several devices, failures. The
//! driver is emulated (cuda/emulated_driver.cpp); kernels run on the CPU.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_long};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use kernels::conformance::Cases;
use kernels::rns::RnsBackend;
use kernels::survey::{self, Budget, OpenError, Opened, Wanted};
use kernels::{Accelerated, CpuBackend, Gpus};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

#[path = "common/compile.rs"]
mod compile;

/// The driver, which is one for the whole process: tests take turns.
struct Driver(MutexGuard<'static, Library>);

const DEFAULTS: [(&str, i64); 7] = [
    ("devices", 1),
    ("capability", 86),
    ("multiprocessors", 1),
    ("shared", 227 << 10),
    ("memory", 1 << 30),
    ("launches", -1),
    ("takes_images", 1),
];
const LAUNCH_FAILED: i64 = 719;
const ILLEGAL_STATE: i64 = 401;

impl Driver {
    fn with(settings: &[(&str, i64)]) -> Self {
        static LIBRARY: OnceLock<Mutex<Library>> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| Mutex::new(load()));
        let driver = Self(
            library
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        );
        for (name, value) in DEFAULTS.iter().chain(settings) {
            driver.set(name, *value);
        }
        driver
    }

    fn set(&self, name: &str, value: i64) {
        type Set = unsafe extern "C" fn(*const c_char, c_long) -> c_int;
        let text = CString::new(name).unwrap();
        // SAFETY: the emulated driver's own function.
        let unknown =
            unsafe { self.0.get::<Set>(b"emulated_set\0").unwrap()(text.as_ptr(), value) };
        assert_eq!(unknown, 0, "{name}");
    }

    fn number(&self, name: &str, device: c_int) -> i64 {
        type Number = unsafe extern "C" fn(c_int) -> c_long;
        // SAFETY: as above.
        unsafe { self.0.get::<Number>(name.as_bytes()).unwrap()(device) }
    }

    fn launches(&self, device: c_int) -> i64 {
        self.number("emulated_launches", device)
    }
}

/// By the name that the real one has, so that whoever asks for that gets this.
fn load() -> Library {
    let flags = ["-Wl,-soname,libcuda.so"];
    let (_folder, library) = compile::library("emulated_driver.cpp", "libcuda.so", &flags);
    // SAFETY: it runs no code of its own when it is loaded.
    unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_GLOBAL) }.unwrap()
}

/// Programs of two clients.
fn cases() -> &'static Cases {
    static CASES: OnceLock<Cases> = OnceLock::new();
    CASES.get_or_init(|| Cases::random(11, 2).unwrap())
}

/// On these devices every result decrypts to what it is in the clear. Gives the results' words, and of each failure whether its
/// device is tried again.
fn check(opened: Opened) -> (Vec<Vec<u64>>, Vec<bool>) {
    assert!(opened.failed.is_empty(), "{:?}", opened.failed);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = failures.clone();
    let gpus = Gpus::new(opened.devices, move |failed| {
        assert!(failed.card.starts_with("Emulated GPU"));
        seen.lock().unwrap().push(failed.again.is_some());
    });
    let backend = Accelerated::new(CpuBackend::new(None).unwrap(), Some(gpus));
    let results = cases().run(backend).unwrap();
    let failures = failures.lock().unwrap().clone();
    (results, failures)
}

fn open(wanted: Wanted) -> Opened {
    survey::open(wanted, Budget::default()).unwrap()
}

#[test]
fn two_cards_compute_for_two_tenants_what_the_reference_does_to_the_bit() {
    let driver = Driver::with(&[("devices", 2)]);
    let found: Vec<_> = survey::survey()
        .into_iter()
        .filter(|found| found.backend == "cuda")
        .collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].name, "Emulated GPU 1");
    assert_eq!(found[1].unusable, None);
    let fact = |name| found[0].facts.iter().find(|fact| fact.0 == name).unwrap();
    assert_eq!(fact("compute capability").1, "8.6");
    assert_eq!(fact("memory").1, "1024 MiB");

    let before = [driver.launches(0), driver.launches(1)];
    let (results, failures) = check(open(Wanted::Cuda));
    let reference = RnsBackend::new(CpuBackend::new(None).unwrap());
    assert_eq!(results, cases().run(reference).unwrap());
    assert!(failures.is_empty(), "{failures:?}");
    assert!(driver.launches(0) > before[0] && driver.launches(1) > before[1]);
    for device in [0, 1] {
        assert_eq!(
            driver.number("emulated_used", device),
            0,
            "all was given back"
        );
    }
}

#[test]
fn a_card_with_fast_f64_computes_by_fourier_transforms() {
    let driver = Driver::with(&[("capability", 90)]);
    let before = driver.launches(0);
    let (_, failures) = check(open(Wanted::Best));
    assert!(failures.is_empty(), "{failures:?}");
    assert!(driver.launches(0) > before);
}

#[test]
fn a_card_that_fails_is_left_alone_and_no_request_is_lost() {
    let driver = Driver::with(&[("capability", 90)]);
    for (launches, failure, again) in [(1, LAUNCH_FAILED, false), (5, ILLEGAL_STATE, true)] {
        let opened = open(Wanted::Best);
        driver.set("failure", failure);
        driver.set("launches", launches);
        let (_, failures) = check(opened);
        assert_eq!(failures, [again]);
    }
}

#[test]
fn what_is_missing_is_said() {
    let driver = Driver::with(&[("memory", 150 << 20)]);
    let Err(OpenError::Device(error)) = survey::open(Wanted::Cuda, Budget::default()) else {
        panic!("there is no room for a key");
    };
    assert!(error.to_string().contains("MB are needed"), "{error}");
    assert_eq!(open(Wanted::Best).failed.len(), 1);

    driver.set("capability", 61);
    let found = survey::survey();
    let why = found[0].unusable.clone().unwrap();
    assert!(why.contains("7.5 (Turing)"), "{why}");
    let Err(OpenError::None { why: also, .. }) = survey::open(Wanted::Cuda, Budget::default())
    else {
        panic!("it is too old");
    };
    assert_eq!(also, why);

    driver.set("devices", 0);
    let found = survey::survey();
    assert!(found[0].unusable.is_some(), "{found:?}");
    let best = open(Wanted::Best);
    assert!(best.devices.is_empty() && best.failed.is_empty());
    let Err(OpenError::None { backend, .. }) = survey::open(Wanted::Cuda, Budget::default()) else {
        panic!("there is no GPU");
    };
    assert_eq!(backend, "cuda");
}

#[test]
fn a_driver_that_does_not_take_the_kernels_gets_them_compiled_on_the_spot() {
    let _driver = Driver::with(&[("takes_images", 0)]);
    let folder = std::env::var_os("VEILGATE_NVRTC_DIR").map(PathBuf::from);
    let Some(folder) = folder else {
        // Without NVRTC, what would help is said.
        let error = survey::open(Wanted::Cuda, Budget::default()).map(|_| ());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("update the driver"), "{text}");
        return;
    };
    for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"] {
        // SAFETY: NVIDIA's libraries, as `cargo xtask kernels` fetched them; they stay loaded.
        let library = unsafe { Library::open(Some(folder.join(name)), RTLD_NOW | RTLD_GLOBAL) };
        std::mem::forget(library.unwrap());
    }
    assert_eq!(open(Wanted::Cuda).devices.len(), 1);
}
