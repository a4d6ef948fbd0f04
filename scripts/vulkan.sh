#!/usr/bin/env bash
# vulkan.sh - a Vulkan device in software for the tests of the wgpu backend, Mesa's llvmpipe from Debian's packages, for machines where
# none is installed. `cargo xtask` calls it when it is needed; it can be called by hand too.
#
# usage: vulkan.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/mesa-vulkan-drivers
#   On stdout: the path of a program that runs a command with this device: DIR/mesa-vulkan-drivers COMMAND... All else goes to stderr.
#   From nothing: some seconds, 8 MB fetched (40 where LLVM is missing too), 60 to 200 MB on disk. No root is needed unless apt's package
#   lists are missing; nothing is installed or started, nothing outside DIR is written.
set -euo pipefail

name=mesa-vulkan-drivers
. "$(dirname "$0")/debian-package.sh"
begin "$@"

# What an installation would bring in besides, on this machine, but what it would only renew, and Python, which a tool of Mesa's is in.
packages=$(apt-get -q -s --no-install-recommends install mesa-vulkan-drivers libvulkan1 2>/dev/null \
  | awk '$1 == "Inst" && $3 !~ /^\[/ && $2 ~ /^(lib|mesa)/ && $2 !~ /python/ {print $2}')
[ -n "$packages" ] || packages="mesa-vulkan-drivers libvulkan1"
# shellcheck disable=SC2086
unpack $packages
# The loader finds the driver as any library: by its name alone, wherever this folder is.
sed 's#"/[^"]*/#"#' "$root"/usr/share/vulkan/icd.d/lvp_icd*.json > "$dir/llvmpipe.json"
cat > "$program" <<W
#!/bin/sh
d=\$(CDPATH= cd -- "\$(dirname -- "\$0")" && pwd)
l=\$d/root/usr/lib/$(uname -m)-linux-gnu:\$d/root/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="\$l\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
if [ "\$1" = --version ]; then
  ! ldd "\$d/root/usr/lib/$(uname -m)-linux-gnu/libvulkan_lvp.so" | grep 'not found' && echo 'llvmpipe $(candidate "$name")'
  exit
fi
# The first name is for old loaders. The runtime folder is only asked for.
export VK_ICD_FILENAMES="\$d/llvmpipe.json" VK_DRIVER_FILES="\$d/llvmpipe.json" XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-/tmp}"
export VEILGATE_VULKAN_DIR="\$d"
exec "\$@"
W
finish
