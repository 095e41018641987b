"""What a call from Python costs: the operation against the same call timed inside of lrc, and against the fallback that
transformers has for it in PyTorch.

    python benches/python.py LRC [ROUNDS]

LRC is the path of a release build of the command, and the package must be a release build too. All sides run in turns, with as
many threads each; what is printed are ratios of the medians.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import logsigmoid, normalize
from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

import lrc

B, T, H, D = 1, 4096, 8, 128
INSIDE = ("lrc bench, forward", "lrc bench, both")


def timed(run):
    """Seconds of a call behind another one: `lrc bench` repeats a call too."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def inside(command):
    """Seconds of forward, and of both, of the same call as `lrc bench` times it."""
    file = Path(__file__).resolve().parents[1] / "specs/recurrences/gated_delta_rule.arch"
    sizes = ["--batch", str(B), "--length", str(T), "--heads", str(H), "--set", f"dk={D}", "--set", f"dv={D}"]
    words = [command, "bench", str(file), "gated_delta_rule", "--json", "--seconds", "1", *sizes]
    said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["recurrences"][0]
    return said["forward_ms"] / 1000, said["forward_backward_ms"] / 1000


def main(command, rounds):
    torch.manual_seed(1)
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    k = normalize(torch.randn(B, T, H, D), dim=-1)
    inputs = [torch.randn(B, T, H, D), k, torch.randn(B, T, H, D), logsigmoid(torch.randn(B, T, H)), torch.rand(B, T, H)]
    rule = lrc.library("gated_delta_rule")
    wanted = [x.clone().requires_grad_() for x in inputs]
    d = torch.randn(B, T, H, D)

    def both(run):
        def step():
            o = run(*wanted)
            torch.autograd.grad(o, wanted, d)

        return step

    ours, theirs = (lambda *x: rule(*x)), (lambda *x: torch_chunk_gated_delta_rule(*x)[0])
    sides = {
        "operation, forward": lambda: ours(*inputs),
        "operation, both": both(ours),
        "fallback, forward": lambda: theirs(*inputs),
        "fallback, both": both(theirs),
    }
    for run in sides.values():
        run()
    seconds = {name: [] for name in (*sides, *INSIDE)}
    for _ in range(rounds):
        for name, run in sides.items():
            seconds[name].append(timed(run))
        for name, took in zip(INSIDE, inside(command)):
            seconds[name].append(took)
    medians = {name: statistics.median(all) for name, all in seconds.items()}
    for name, median in medians.items():
        print(f"{name:<20} {1000 * median:8.1f} ms  ({1000 * min(seconds[name]):.1f} to {1000 * max(seconds[name]):.1f})")
    for way in ("forward", "both"):
        ours = medians[f"operation, {way}"]
        print(f"{way}: operation / lrc bench {ours / medians[f'lrc bench, {way}']:.2f}, fallback / operation {medians[f'fallback, {way}'] / ours:.2f}")
    return medians


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7)
