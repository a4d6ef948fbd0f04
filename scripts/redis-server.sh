#!/usr/bin/env bash
# redis-server.sh - a Redis server for the tests, from Debian's packages, for machines where none is installed. `cargo xtask` calls
# it when it is needed; it can be called by hand too.
#
# usage: redis-server.sh [DIR]      DIR: default ${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/redis-server
#   On stdout: the path of the program. All else goes to stderr. From nothing: some seconds, 2 MB fetched, 10 MB on disk. No root is
#   needed unless apt's package lists are missing; nothing is installed or started, nothing outside DIR is written.
set -euo pipefail

name=redis-server
. "$(dirname "$0")/debian-package.sh"
begin "$@"

# Its libraries too, but for those that every Debian has: a small image lacks jemalloc and lzf.
libraries=$(apt-cache depends redis-tools | awk '$1 == "Depends:" && $2 ~ /^lib/ && $2 !~ /^(libc6|libgcc-s1)$/ {print $2}')
# shellcheck disable=SC2086
unpack redis-server redis-tools $libraries
cat > "$program" <<W
#!/bin/sh
d=\$(CDPATH= cd -- "\$(dirname -- "\$0")/root" && pwd)
l=\$d/usr/lib/$(uname -m)-linux-gnu:\$d/lib/$(uname -m)-linux-gnu
LD_LIBRARY_PATH=\$l\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec "\$d/usr/bin/redis-server" "\$@"
W
finish
