//! Links the library that build.sh made, in place of the upstream CMake build.
fn main() {
    println!("cargo::rerun-if-env-changed=TFHE_CUDA_LIB_DIR");
    let dir = std::env::var("TFHE_CUDA_LIB_DIR")
        .expect("TFHE_CUDA_LIB_DIR: folder with libtfhe_cuda_backend.a and libcudart_static.a");
    println!("cargo:rustc-link-search=native={dir}");
    println!("cargo:rustc-link-lib=static:-bundle=tfhe_cuda_backend");
    println!("cargo:rustc-link-lib=static:-bundle=cudadevrt");
    println!("cargo:rustc-link-lib=static:-bundle=cudart_static");
    println!("cargo:rustc-link-lib=static:-bundle=stdc++");
    for l in ["dl", "rt", "pthread"] {
        println!("cargo:rustc-link-lib={l}");
    }
}
