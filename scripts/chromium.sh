#!/usr/bin/env bash
# chromium.sh - a Chromium for the test of the page, from Debian's packages, for machines where none is installed. `cargo xtask`
# calls it when it is needed; it can be called by hand too.
#
# usage: chromium.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/chromium
#   On stdout: the path of the program. All else goes to stderr. From nothing: half a minute, 110 MB fetched, 400 MB on disk. No
#   root is needed unless apt's package lists are missing; nothing is installed or started, nothing outside DIR is written.
set -euo pipefail

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/chromium}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
root=$dir/root    # unpacked packages
program=$dir/chromium

say() { printf '%s\n' "chromium: $*" >&2; }
die() { say "error: $*"; exit 1; }
ready() { [ -x "$program" ] && "$program" --version >/dev/null 2>&1; }
if ready; then printf '%s\n' "$program"; exit 0; fi

missing=
for tool in apt-get apt-cache dpkg-deb flock; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
[ -z "$missing" ] || die "this way needs Debian or a relative that has a package chromium (not found:$missing)"

mkdir -p "$dir"
exec 9>"$dir/.lock"; flock 9    # of two at once, the second waits and finds it done
if ready; then printf '%s\n' "$program"; exit 0; fi
tmp=$(mktemp -d "$dir/tmp.XXXXXX"); trap 'rm -rf "$tmp"' EXIT

candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2; exit}'; }
if [ -z "$(candidate chromium)" ] && [ "$(id -u)" = 0 ]; then apt-get -q update >&2 || true; fi
[ -n "$(candidate chromium)" ] || die "no package chromium; run apt-get update as root"

# What an installation would bring in besides, on this machine: a small image lacks most of its libraries.
packages=$(apt-get -q -s --no-install-recommends install chromium 2>/dev/null | awk '$1 == "Inst" {print $2}')
[ -n "$packages" ] || packages=chromium
say "unpacking chromium $(candidate chromium)"
# shellcheck disable=SC2086
( cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download $packages >&2 ) \
  || die "cannot download chromium. Is Debian's archive reachable? (apt-get update, as root)"
rm -rf "$root"; mkdir -p "$root"
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$root"; rm "$package"; done
libraries=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | tr '\n' ':')
cat > "$program" <<W
#!/bin/sh
LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec '$root/usr/lib/chromium/chromium' "\$@"
W
chmod +x "$program"
ready || die "the unpacked program does not run: $("$program" --version 2>&1 | head -3)"
say "done: $("$program" --version)"
printf '%s\n' "$program"
