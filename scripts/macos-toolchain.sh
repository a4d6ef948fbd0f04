#!/usr/bin/env bash
# macos-toolchain.sh - what checks this workspace for aarch64-apple-darwin on a machine that is no Mac. `cargo xtask macos` calls it; it
# can be called by hand too.
#
# usage: macos-toolchain.sh DIR
#   On stdout: the folder of its programs, DIR/bin. All else goes to stderr. Done already: a second. From nothing: 110 MB fetched, 410
#   MB on disk, and what wasm32-toolchain.sh says where the active Rust toolchain lacks the target. Nothing is installed, nothing
#   outside DIR and that script's folder is written.
#
# What: cc, c++ and ar, which are Zig's, from PyPI: it carries the headers of macOS' C library, and crates with C compile that even for
# a check. rustc, only where the active one lacks the target's standard library: Debian's, with the library's source, from which cargo
# builds it (-Zbuild-std). No frameworks of Apple's are in it: nothing can be linked that needs them, and nothing can be run.
set -euo pipefail

target=aarch64-apple-darwin
zig_version=0.17.1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dir=${1:?usage: macos-toolchain.sh DIR}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
bin=$dir/bin
zig=$dir/ziglang-$zig_version/ziglang/zig

say() { printf '%s\n' "macos-toolchain: $*" >&2; }
die() { say "error: $*"; exit 1; }
command -v flock >/dev/null || die "there is no flock (Debian, Ubuntu: apt-get install util-linux)"

mkdir -p "$bin"
exec 9>"$dir/.lock"; flock 9    # of two at once, the second waits and finds it done

# ---- 1. the C compiler
if ! [ "$("$zig" version 2>/dev/null)" = "$zig_version" ]; then
  say "fetching Zig $zig_version (PyPI, 110 MB)"
  rm -rf "$dir"/ziglang-*
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile --only-binary=:all: \
    --target "$dir/ziglang-$zig_version" "ziglang==$zig_version" >&2 || die "needs Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip)"
fi
# Zig has names of its own for targets, and no SDK: what names those is left out.
for language in cc c++; do
  cat > "$bin/$language" <<W
#!/bin/sh
skip=
for argument in "\$@"; do
  shift
  if [ -n "\$skip" ]; then skip=; continue; fi
  case \$argument in
    --target=*|-m*-version-min=*|-liconv) ;;
    -arch|-isysroot|-target) skip=1 ;;
    *) set -- "\$@" "\$argument" ;;
  esac
done
export ZIG_GLOBAL_CACHE_DIR='$dir/zig-cache' ZIG_LOCAL_CACHE_DIR='$dir/zig-cache'
exec '$zig' $language -target aarch64-macos "\$@"
W
done
printf '#!/bin/sh\nexec "%s" ar "$@"\n' "$zig" > "$bin/ar"
# Of our own crates, a warning is an error: code for one system only leaves imports and functions that no other uses.
# Not by sh, here and below: Debian's drops variables whose names have a hyphen, as CARGO_BIN_EXE_... has for some programs.
cat > "$bin/strict" <<'W'
#!/usr/bin/env bash
exec "$@" -Dwarnings
W
chmod +x "$bin"/*

# ---- 2. the Rust compiler
libraries=$(rustc --print target-libdir --target "$target")
if compgen -G "$libraries/libcore-*" >/dev/null; then
  rm -f "$bin/rustc"
else
  unpacked=$("$here/wasm32-toolchain.sh") || die "no compiler; with rustup, run: rustup target add $target"
  usr=$(CDPATH='' cd -- "$(dirname -- "$unpacked")/../root/usr" && pwd)
  cat > "$bin/rustc" <<W
#!/usr/bin/env bash
LD_LIBRARY_PATH='$usr/lib/$(uname -m)-linux-gnu'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec '$usr/bin/rustc' "\$@"
W
  chmod +x "$bin/rustc"
fi
printf '%s\n' "$bin"
