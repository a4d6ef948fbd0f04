#!/usr/bin/env bash
# chromium.sh - a Chromium for the test of the page, from Debian's packages, for machines where none is installed. `cargo xtask`
# calls it when it is needed; it can be called by hand too.
#
# usage: chromium.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/chromium
#   On stdout: the path of the program. All else goes to stderr. From nothing: half a minute, 110 MB fetched, 400 MB on disk. No
#   root is needed unless apt's package lists are missing; nothing is installed or started, nothing outside DIR is written.
set -euo pipefail

name=chromium
. "$(dirname "$0")/debian-package.sh"
begin "$@"

# What an installation would bring in besides, on this machine: a small image lacks most of its libraries.
packages=$(apt-get -q -s --no-install-recommends install chromium 2>/dev/null | awk '$1 == "Inst" {print $2}')
[ -n "$packages" ] || packages=chromium
# shellcheck disable=SC2086
unpack $packages
libraries=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
cat > "$program" <<W
#!/bin/sh
LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec '$root/usr/lib/chromium/chromium' "\$@"
W
finish
