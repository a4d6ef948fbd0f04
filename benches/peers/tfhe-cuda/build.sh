#!/bin/bash
# Rebuilds the tfhe-rs CUDA peer benchmark (sm_90, polynomial size 2048) on a machine without a GPU.
# Needs: python3 + pip, g++ 12, ar, cargo >= 1.91.1, the crate registry and PyPI. About 2 CPU minutes for CUDA, 4 for Rust.
# usage: build.sh OUTDIR
set -eu
S=$(cd "$(dirname "$0")" && pwd); mkdir -p "${1:?OUTDIR}"; cd "$1"; O=$PWD; J=${J:-2}
# 1. nvcc out of PyPI wheels
if [ ! -x cuda13/nvidia/cu13/bin/nvcc ]; then
  python3 -m pip install -q --no-deps --target cuda13 nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-curand==10.4.0.35
  ( cd cuda13/nvidia/cu13; ln -sfn lib lib64; ln -sfn libcudart.so.13 lib/libcudart.so; mkdir -p lib/stubs )
fi
# 2. sources, as cargo fetched them
rm -rf tfhe-peer; cp -r "$S" tfhe-peer; cd tfhe-peer; R=${CARGO_HOME:-$HOME/.cargo}/registry/src
mkdir -p fetch/src; printf '[package]\nname="fetch"\nversion="0.1.0"\nedition="2021"\n[workspace]\n[dependencies]\ntfhe-cuda-backend="=0.16.0"\ntfhe-cuda-common="=0.1.1"\n' > fetch/Cargo.toml; echo > fetch/src/lib.rs; (cd fetch; cargo fetch -q); rm -rf fetch
for c in tfhe-cuda-backend-0.16.0 tfhe-cuda-common-0.1.1; do cp -r $R/*/$c/src vendor/${c%-*}/; done
cd ..; rm -rf cuda; mkdir -p cuda/obj cuda/lib; cp -r $R/*/tfhe-cuda-backend-0.16.0/cuda cuda/backend; cp -r $R/*/tfhe-cuda-common-0.1.1/cuda cuda/common; cd cuda
sed -i -E 's/supported = \(N >= [0-9]+ && N <= [0-9]+\)/supported = (N == 2048)/' backend/src/polynomial/dispatch.cuh
# 3. device code and static library: relative paths only, so that none is recorded; the integer and 128-bit files are not needed by keyswitch + PBS
ln -sfn ../cuda13/nvidia/cu13 nv
cat > one.sh <<'X'
#!/bin/bash
o=obj/$(echo ${1%.cu} | tr / _).o
nice -n 5 ./nv/bin/nvcc -ccbin g++ -O3 -DNDEBUG -std=c++17 --no-exceptions --expt-relaxed-constexpr -rdc=true --use_fast_math -Xcompiler -fPIC -Xcompiler -fopenmp -Xcompiler -ffile-prefix-map=$PWD=. -DCUDA_ARCH=900 -Ibackend/include -Ibackend/src -Icommon/include -gencode arch=compute_90,code=sm_90 -w -dc $1 -o $o || { echo FAIL $1; exit 255; }
X
chmod +x one.sh
ls backend/src/pbs/programmable_bootstrap{_multibit,_classic,}.cu backend/src/pbs/bootstrapping_key.cu backend/src/crypto/*.cu backend/src/fft/*.cu backend/src/fft128/*.cu backend/src/linearalgebra/*.cu backend/src/utils/*.cu common/src/*.cu | xargs -P $J -n 1 ./one.sh
./nv/bin/nvcc -ccbin g++ -gencode arch=compute_90,code=sm_90 -dlink -Xcompiler -fPIC obj/*.o -o dlink.o -L./nv/lib -lcudadevrt
ar qcs lib/libtfhe_cuda_backend.a obj/*.o dlink.o
cp nv/lib/libcudart_static.a nv/lib/libcudadevrt.a "$(g++ -print-file-name=libstdc++.a)" lib/
# 4. Rust side (the last matching --remap-path-prefix wins)
cd ../tfhe-peer; H=${CARGO_HOME:-$HOME/.cargo}; export TFHE_CUDA_LIB_DIR=$O/cuda/lib CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$O/target}
RUSTFLAGS="--remap-path-prefix=$HOME=home --remap-path-prefix=$H=cargo --remap-path-prefix=$(rustc --print sysroot)=rust --remap-path-prefix=$PWD=peer"
for d in "$H"/registry/src/*/; do RUSTFLAGS+=" --remap-path-prefix=${d%/}=crates"; done; export RUSTFLAGS
nice -n 5 cargo build --release -j $J
cd $O; B=$CARGO_TARGET_DIR/release/tfhe-peer
if strings -a $B | grep -E '/(root|tmp|home)/'; then echo 'local paths found' >&2; exit 1; fi
xz -9e -k -c $B > tfhe-peer-bin.xz; ls -la $B tfhe-peer-bin.xz; objdump -T $B | grep -oE 'GLIBC_[0-9.]*' | sort -uV | tail -1; readelf -d $B | grep NEEDED; sha256sum tfhe-peer-bin.xz
