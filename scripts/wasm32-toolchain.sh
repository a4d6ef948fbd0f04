#!/usr/bin/env bash
# wasm32-toolchain.sh - a Rust compiler for wasm32-unknown-unknown from Debian's packages, for machines where rustup cannot add
# the target (no rustup, no way to its server, CI). `cargo xtask` calls it when it is needed; it can be called by hand too.
#
# usage: wasm32-toolchain.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/wasm-toolchain
#   On stdout: the path of the compiler. All else goes to stderr. Done already: 0.1 s. From nothing: 1 to 2 minutes, 140 MB
#   fetched, 550 MB on disk. No root is needed unless apt's package lists are missing; nothing is installed, nothing outside DIR
#   is written.
#
# How: Debian (bookworm with its security archive, and later) ships rustc-web, a recent compiler, and rust-web-src, the source of
# its library. Both are unpacked under DIR; std for wasm32 is built from that source with that compiler (another compiler's std
# cannot be mixed in: lang items and intrinsics differ), and its rlibs are put where that compiler looks. cargo and rust-lld are
# those of the active toolchain.
set -euo pipefail

target=wasm32-unknown-unknown
jobs=${VEILGATE_WASM_TOOLCHAIN_JOBS:-2}
cargo=${CARGO:-cargo}
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/wasm-toolchain}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
root=$dir/root    # unpacked packages; root/usr is the compiler's sysroot
usr=$root/usr

say() { printf '%s\n' "wasm32-toolchain: $*" >&2; }
die() { say "error: $*"; exit 1; }

built() { # the stamp is written last; the compiler must still run (its libraries may have gone with a system upgrade)
  [ -e "$dir/stamp-$target" ] && "$dir/bin/rustc" -vV >/dev/null 2>&1
}
if built; then printf '%s\n' "$dir/bin/rustc"; exit 0; fi

missing=
for tool in apt-get apt-cache dpkg-deb flock; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
[ -z "$missing" ] || die "this way needs Debian, Ubuntu or a relative of them (not found:$missing).
  With rustup, run: rustup target add $target"
command -v "$cargo" >/dev/null || die "there is no cargo; install Rust from https://rustup.rs"

mkdir -p "$dir"
exec 9>"$dir/.lock"; flock 9    # of two at once, the second waits and finds it done
if built; then printf '%s\n' "$dir/bin/rustc"; exit 0; fi
tmp=$(mktemp -d "$dir/tmp.XXXXXX"); trap 'rm -rf "$tmp"' EXIT

# ---- 1. packages
candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2; exit}'; }
fetch() { # package... -> unpacked into $root
  local p
  ( cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "$@" >&2 ) \
    || die "cannot download: $*. Is Debian's archive reachable? (apt-get update, as root)"
  for p in "$tmp"/*.deb; do
    case ${p##*/} in
      rust-web-src_*) dpkg-deb --fsys-tarfile "$p" | tar -x -C "$root" --wildcards './usr/src/*/library' ;;
      *) dpkg-deb -x "$p" "$root" ;;
    esac
    rm -f "$p"
  done
}
depends() { apt-cache depends "$1" | awk -v want="$2" '$1 == "Depends:" && $2 ~ want {print $2; exit}'; }
fetch_libraries() { # those of $1 that this system lacks: a small image may have no libz3, libxml2, libedit
  local lost pkgs round
  for round in 1 2 3; do
    lost=$(LD_LIBRARY_PATH=$usr/lib/$(uname -m)-linux-gnu ldd "$usr/bin/rustc" | awk '/not found/ {print $1}' | sort -u)
    [ -n "$lost" ] || return 0
    pkgs=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$1" \
      | awk '/^lib[a-z]/ {print $1}' | sort -u | grep -vE '^(libc6|libgcc-s1|libcrypt1|libstdc\+\+6)$' \
      | while read -r p; do dpkg -s "$p" >/dev/null 2>&1 || echo "$p"; done)
    say "libraries missing here (round $round): ${lost//$'\n'/ }; fetching ${pkgs//$'\n'/ }"
    [ -n "$pkgs" ] || die "missing libraries: $lost"
    # shellcheck disable=SC2086
    fetch $pkgs
    if [ -d "$root/lib" ]; then cp -a "$root/lib/." "$usr/lib/"; rm -rf "${root:?}/lib"; fi
  done
  lost=$(LD_LIBRARY_PATH=$usr/lib/$(uname -m)-linux-gnu ldd "$usr/bin/rustc" | awk '/not found/ {print $1}')
  [ -z "$lost" ] || die "the compiler lacks libraries that no package brought: $lost"
}
if [ ! -e "$dir/stamp-compiler" ]; then
  if [ -z "$(candidate rustc-web)" ] && [ "$(id -u)" = 0 ]; then apt-get -q update >&2 || true; fi
  version=$(candidate rustc-web)
  [ -n "$version" ] || die "no package rustc-web. Run apt-get update as root; it is in Debian bookworm (security archive) and later.
  With rustup, run instead: rustup target add $target"
  say "unpacking rustc-web $version (about 140 MB to fetch)"
  rm -rf "$root"; mkdir -p "$root" "$dir/bin"
  lib=$(depends libstd-rust-web-dev '^libstd-rust-web-[0-9]')
  llvm=$(depends "$lib" '^libllvm[0-9]')
  [ -n "$lib" ] && [ -n "$llvm" ] || die "cannot see what rustc-web depends on"
  fetch rustc-web libstd-rust-web-dev "$lib" "$llvm" rust-web-src
  fetch_libraries "$llvm"
  for b in rustc rustdoc; do
    # relative to the wrapper, so that the directory can be moved
    cat > "$dir/bin/$b" <<'W'
#!/bin/sh
d=$(CDPATH= cd -- "$(dirname -- "$0")/../root/usr" && pwd)
LD_LIBRARY_PATH=$d/lib/@ARCH@-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$d/bin/@BIN@" "$@"
W
    sed -i "s/@ARCH@/$(uname -m)/; s/@BIN@/$b/" "$dir/bin/$b"; chmod +x "$dir/bin/$b"
  done
  "$dir/bin/rustc" -vV >&2 || die "the unpacked compiler does not run"
  rm -rf "$usr/share" "$usr/libexec"
  touch "$dir/stamp-compiler"
fi

# ---- 2. the linker: rust-lld of the active toolchain, else Debian's lld; rustc finds it beside its own tools
host=$("$dir/bin/rustc" -vV | sed -n 's/^host: //p')
tools=$usr/lib/rustlib/$host/bin; mkdir -p "$tools"
if [ ! -x "$tools/rust-lld" ]; then
  lld=
  if command -v rustc >/dev/null; then
    lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
  fi
  if [ ! -x "$lld" ]; then # rust-lld is lld; rustc passes -flavor
    lld=$(command -v rust-lld || command -v lld || compgen -c lld- | sort -V | tail -1 | xargs -r command -v || true)
  fi
  [ -x "$lld" ] || die "no linker for wasm: install Debian's lld (apt-get install lld) or a toolchain from https://rustup.rs"
  # a copy: a link would break when the toolchain it points into is upgraded
  cp "$(readlink -f "$lld")" "$tools/rust-lld"
  # rustup's rust-lld finds its LLVM at ../lib of the place it lies in
  lldlib=$(dirname "$(readlink -f "$lld")")/../lib
  for f in "$lldlib"/libLLVM*; do if [ -e "$f" ]; then mkdir -p "$tools/../lib"; cp -L "$f" "$tools/../lib/"; fi; done
  "$tools/rust-lld" -flavor wasm --version >/dev/null 2>&1 || ln -sf "$lld" "$tools/rust-lld"
fi

# ---- 3. std
src=$(echo "$usr"/src/rustc-*/library)
[ -d "$src" ] || die "no library source in rust-web-src"
mkdir -p "$usr/lib/rustlib/src"; ln -sfn "../../../src/$(basename "$(dirname "$src")")" "$usr/lib/rustlib/src/rust"
hash=$("$dir/bin/rustc" -vV | sed -n 's/^commit-hash: //p')
mkdir -p "$tmp/empty/src"; : > "$tmp/empty/src/lib.rs"
cat > "$tmp/empty/Cargo.toml" <<'T'
[package]
name = "empty"
version = "0.0.0"
edition = "2021"
[lib]
[profile.release]
debug = 0
[workspace]
T
out=$usr/lib/rustlib/$target/lib; rm -rf "$out"; mkdir -p "$out"
say "building std for $target"
# only std's own crates, from rust-web-src's vendor folder: no network
( cd "$tmp/empty"
  env -u RUSTC_WRAPPER -u CARGO_BUILD_TARGET -u CARGO_ENCODED_RUSTFLAGS \
    RUSTC="$dir/bin/rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$tmp/target" CARGO_INCREMENTAL=0 \
    __CARGO_DEFAULT_LIB_METADATA=stablestd \
    RUSTFLAGS="-Cembed-bitcode=yes --remap-path-prefix=$src=/rustc/$hash/library --remap-path-prefix=$usr/lib/rustlib/src/rust/library=/rustc/$hash/library" \
    "$cargo" build -q --offline --release --target "$target" -j "$jobs" -Zbuild-std=std,panic_abort,proc_macro \
      --config 'source.crates-io.replace-with="std-vendor"' \
      --config "source.std-vendor.directory=\"$src/vendor\"" >&2 )
for f in "$tmp/target/$target/release/deps"/*.rlib; do
  case ${f##*/} in libempty-*) ;; *) cp "$f" "$out/" ;; esac
done
touch "$dir/stamp-$target"
say "done: $("$dir/bin/rustc" --version), $target, $(du -sh "$dir" 2>/dev/null | cut -f1) in $dir"
printf '%s\n' "$dir/bin/rustc"
