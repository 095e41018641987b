#!/usr/bin/env bash
# Two processes of one thread against one process of two threads, training the same steps in turns: the ratio of tokens a second.
# Needs a release build with `--features mpi`; `benches/processes.sh [SPEC] [ROUNDS]`.
set -euo pipefail
cd "$(dirname "$0")/.."
spec=${1:-benches/processes.yaml}
rounds=${2:-5}
lrc=${LRC:-target/release/lrc}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
flags=(--allow-run-as-root --oversubscribe)

speed() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1] + "/summary.json"))["tokens_per_second"])' "$1"; }

for round in $(seq "$rounds"); do
    RAYON_NUM_THREADS=2 "$lrc" train "$spec" --out "$out/one-$round" 2>/dev/null
    RAYON_NUM_THREADS=1 mpirun "${flags[@]}" -n 2 "$lrc" train "$spec" --out "$out/two-$round" 2>/dev/null
    cmp "$out/one-$round"/checkpoints/*/model.safetensors "$out/two-$round"/checkpoints/*/model.safetensors
    echo "$(speed "$out/one-$round") $(speed "$out/two-$round")"
done | python3 -c '
import statistics, sys
pairs = [[float(x) for x in line.split()] for line in sys.stdin]
ratios = sorted(two / one for one, two in pairs)
print("tokens a second, one process of two threads:", " ".join(f"{one:.0f}" for one, _ in pairs))
print("two processes of one thread:", " ".join(f"{two:.0f}" for _, two in pairs))
print(f"ratio: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")'
