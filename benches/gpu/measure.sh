#!/bin/sh
# On a machine with a GPU of NVIDIA: is what it computes right, how fast is it, and how fast is tfhe-rs on the same card. Needs
# nothing but the programs beside it, which `cargo xtask gpu` puts there.
#
#   measure.sh FOLDER [SECONDS]     writes what was found into FOLDER; SECONDS (120) for each of two runs of ours
set -u
own=$(cd "$(dirname "$0")" && pwd)
out=${1:?"usage: measure.sh FOLDER [SECONDS]"}
seconds=${2:-120}
mkdir -p "$out"
failed=0

step() {
    name=$1
    shift
    echo "== $name"
    "$@" >"$out/$name.txt" 2>&1
    code=$?
    [ "$code" -eq 0 ] || failed=1
    echo "$name: exit code $code" | tee -a "$out/steps.txt"
}

{
    date -u
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu --format=csv
} >"$out/card.txt" 2>&1
cat "$out/card.txt"
step doctor "$own/veilgate" doctor
step conformance "$own/cuda_gpu" --nocapture --test-threads 1
step ours-before "$own/veilgate" bench fhe --backend cuda --seconds "$seconds" --json
if [ -x "$own/tfhe-peer" ]; then
    step peer "$own/tfhe-peer" --noise
fi
step ours-after "$own/veilgate" bench fhe --backend cuda --seconds "$seconds" --json
if command -v compute-sanitizer >/dev/null 2>&1; then
    step sanitizer compute-sanitizer --error-exitcode 9 "$own/cuda_gpu" --nocapture random_programs_are_computed_by_the_fastest_way
else
    echo "sanitizer: left out, there is no compute-sanitizer here" | tee -a "$out/steps.txt"
fi
grep -h "lookups\|model" "$out/ours-after.txt"
[ ! -e "$out/peer.txt" ] || grep -h '"op":"ks+pbs"' "$out/peer.txt"
cat "$out/steps.txt"
exit "$failed"
