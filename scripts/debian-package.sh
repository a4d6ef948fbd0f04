# debian-package.sh - sourced by the scripts that unpack a program from Debian's packages, for machines where it is not installed.
# They set `name`, the package and the program, before, and say what is to be fetched.
#
# Without root: nothing is installed or started, nothing outside of $dir is written. On stdout: the path of the program alone.

# begin [DIR]: sets dir, root (where packages are unpacked) and program; ends the script where the program is there already.
begin() {
  dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/veilgate/$name}
  case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
  root=$dir/root
  program=$dir/$name
  finish_if_ready
  missing=
  for tool in apt-get apt-cache dpkg-deb flock; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
  [ -z "$missing" ] || die "this way needs Debian or a relative that has a package $name (not found:$missing)"
  mkdir -p "$dir"
  exec 9>"$dir/.lock"; flock 9    # of two at once, the second waits and finds it done
  finish_if_ready
  tmp=$(mktemp -d "$dir/tmp.XXXXXX"); trap 'rm -rf "$tmp"' EXIT
  if [ -z "$(candidate "$name")" ] && [ "$(id -u)" = 0 ]; then apt-get -q update >&2 || true; fi
  [ -n "$(candidate "$name")" ] || die "no package $name; run apt-get update as root"
}

say() { printf '%s\n' "$name: $*" >&2; }
die() { say "error: $*"; exit 1; }
ready() { [ -x "$program" ] && "$program" --version >/dev/null 2>&1; }
finish_if_ready() { if ready; then printf '%s\n' "$program"; exit 0; fi; }
candidate() { apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2; exit}'; }

# unpack PACKAGE...: into $root, in place of what was there.
unpack() {
  say "unpacking $name $(candidate "$name")"
  ( cd "$tmp" && apt-get -q -o APT::Sandbox::User=root download "$@" >&2 ) \
    || die "cannot download $name. Is Debian's archive reachable? (apt-get update, as root)"
  rm -rf "$root"; mkdir -p "$root"
  for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$root"; rm "$package"; done
}

# finish: $program has been written, and must run.
finish() {
  chmod +x "$program"
  ready || die "the unpacked program does not run: $("$program" --version 2>&1 | head -3)"
  say "done: $("$program" --version)"
  printf '%s\n' "$program"
}
