//! Which GPU this is.

use std::ffi::{CStr, c_char, c_int, c_void};

use tfhe_cuda_backend::cuda_bind as cb;

unsafe extern "C" {
    fn cudaGetDeviceCount(n: *mut c_int) -> c_int;
    fn cudaGetErrorString(e: c_int) -> *const c_char;
    fn cudaGetDeviceProperties(prop: *mut u8, dev: c_int) -> c_int;
    fn cudaDeviceGetAttribute(v: *mut c_int, attr: c_int, dev: c_int) -> c_int;
    fn cudaDriverGetVersion(v: *mut c_int) -> c_int;
    fn cudaRuntimeGetVersion(v: *mut c_int) -> c_int;
    fn dlopen(f: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(h: *mut c_void, s: *const c_char) -> *mut c_void;
}

pub(crate) fn driver_version() -> String {
    unsafe {
        let h = dlopen(c"libnvidia-ml.so.1".as_ptr(), 2);
        if !h.is_null() {
            let init = dlsym(h, c"nvmlInit_v2".as_ptr());
            let ver = dlsym(h, c"nvmlSystemGetDriverVersion".as_ptr());
            if !init.is_null() && !ver.is_null() {
                let init: extern "C" fn() -> c_int = std::mem::transmute(init);
                let ver: extern "C" fn(*mut c_char, u32) -> c_int = std::mem::transmute(ver);
                let mut b = [0 as c_char; 96];
                if init() == 0 && ver(b.as_mut_ptr(), 96) == 0 {
                    return CStr::from_ptr(b.as_ptr()).to_string_lossy().into_owned();
                }
            }
        }
    }
    std::fs::read_to_string("/proc/driver/nvidia/version")
        .ok()
        .and_then(|s| s.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".into())
}

pub(crate) fn esc(s: &str) -> String {
    s.chars()
        .map(|c| {
            if c == '"' || c == '\\' || c < ' ' {
                ' '
            } else {
                c
            }
        })
        .collect()
}

pub(crate) fn gpu_info() {
    unsafe {
        let mut n = 0;
        let e = cudaGetDeviceCount(&mut n);
        let fail = |msg: String| -> ! {
            println!("{{\"kind\":\"error\",\"message\":\"{}\"}}", esc(&msg));
            eprintln!("tfhe-peer: {msg} (try --cpu for a self test)");
            std::process::exit(3)
        };
        if e != 0 || n == 0 {
            let s = CStr::from_ptr(cudaGetErrorString(e))
                .to_string_lossy()
                .into_owned();
            fail(format!("no usable CUDA device: {s} (code {e})"));
        }
        let mut prop = vec![0u8; 16384];
        cudaGetDeviceProperties(prop.as_mut_ptr(), 0);
        let name = CStr::from_ptr(prop.as_ptr().cast())
            .to_string_lossy()
            .into_owned();
        let at = |a: c_int| {
            let mut v = 0;
            cudaDeviceGetAttribute(&mut v, a, 0);
            v
        };
        let (major, minor, sms) = (at(75), at(76), at(16));
        let (mut drv, mut rt) = (0, 0);
        cudaDriverGetVersion(&mut drv);
        cudaRuntimeGetVersion(&mut rt);
        println!(
            "{{\"kind\":\"gpu\",\"name\":\"{}\",\"compute\":\"{major}.{minor}\",\"sms\":{sms},\"l2_bytes\":{},\"smem_optin\":{},\"devices\":{n},\"driver\":\"{}\",\"cuda_driver\":{drv},\"cuda_runtime\":{rt},\"mem_bytes\":{}}}",
            esc(&name),
            at(38),
            at(97),
            esc(&driver_version()),
            cb::cuda_device_total_memory(0)
        );
        if major != 9 {
            fail(format!(
                "this binary has device code for compute capability 9.x only, the GPU has {major}.{minor}"
            ));
        }
    }
}
