#!/usr/bin/env bash
# redis-server.sh - a Redis server for the tests, from Debian's packages, for machines where none is installed. `cargo xtask` calls
# it when it is needed; it can be called by hand too.
#
# usage: redis-server.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/redis-server
#   On stdout: the path of the program. All else goes to stderr. From nothing: some seconds, 2 MB fetched, 10 MB on disk. No root is
#   needed unless apt's package lists are missing; nothing is installed or started, nothing outside DIR is written.
set -euo pipefail

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/redis-server}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
root=$dir/root    # unpacked packages
program=$dir/redis-server

say() { printf '%s\n' "redis-server: $*" >&2; }
die() { say "error: $*"; exit 1; }
ready() { [ -x "$program" ] && "$program" --version >/dev/null 2>&1; }
if ready; then printf '%s\n' "$program"; exit 0; fi

missing=
for tool in apt-get apt-cache dpkg-deb flock; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
[ -z "$missing" ] || die "this way needs Debian, Ubuntu or a relative of them (not found:$missing)"

mkdir -p "$dir"
exec 9>"$dir/.lock"; flock 9    # of two at once, the second waits and finds it done
if ready; then printf '%s\n' "$program"; exit 0; fi
tmp=$(mktemp -d "$dir/tmp.XXXXXX"); trap 'rm -rf "$tmp"' EXIT

candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2; exit}'; }
if [ -z "$(candidate redis-server)" ] && [ "$(id -u)" = 0 ]; then apt-get -q update >&2 || true; fi
[ -n "$(candidate redis-server)" ] || die "no package redis-server; run apt-get update as root"

# Its libraries too, but for those that every Debian has: a small image lacks jemalloc and lzf.
libraries=$(apt-cache depends redis-tools | awk '$1 == "Depends:" && $2 ~ /^lib/ && $2 !~ /^(libc6|libgcc-s1)$/ {print $2}')
say "unpacking redis-server $(candidate redis-server)"
# shellcheck disable=SC2086
( cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download redis-server redis-tools $libraries >&2 ) \
  || die "cannot download redis-server. Is Debian's archive reachable? (apt-get update, as root)"
rm -rf "$root"; mkdir -p "$root"
for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$root"; done
cat > "$program" <<W
#!/bin/sh
d=\$(CDPATH= cd -- "\$(dirname -- "\$0")/root" && pwd)
l=\$d/usr/lib/$(uname -m)-linux-gnu:\$d/lib/$(uname -m)-linux-gnu
LD_LIBRARY_PATH=\$l\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec "\$d/usr/bin/redis-server" "\$@"
W
chmod +x "$program"
ready || die "the unpacked program does not run: $("$program" --version 2>&1 | head -3)"
say "done: $("$program" --version)"
printf '%s\n' "$program"
