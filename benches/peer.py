#!/usr/bin/env python3
"""Times lrc against what a CPU user of transformers gets: the chunked Gated DeltaNet in plain torch.

    python3 benches/peer.py target/release/lrc [--json OUT.json] [--compiled]

Both sides run in this one call, on the same threads, in f32: medians after a warm-up. Before
anything is timed, outputs and gradients of both are compared with a step-by-step f64 loop.
The script makes its own virtual environment under target/ (torch and transformers from PyPI).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("LRC_PEER_VENV", HERE.parent / "target" / "peer-venv"))
THREADS = len(os.sched_getaffinity(0))


def in_venv():
    """Runs this script again inside the virtual environment, which is made on first use."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    if subprocess.run([python, "-c", "import torch, transformers"], capture_output=True,
                      check=False).returncode if python.exists() else True:
        print("making", VENV, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        packages = ["torch", "transformers", "numpy", "safetensors"]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    os.execv(python, [python, *sys.argv])


def median(run, seconds=2.0, least=3):
    run()
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        one = time.perf_counter()
        run()
        times.append(time.perf_counter() - one)
    return statistics.median(times)


def bench(lrc, *args):
    """What `lrc bench` measures."""
    command = [lrc, "bench", *map(str, args), "--json", "--seconds", "3"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def in_turn(mine, theirs, rounds=3):
    """Both sides measured one after the other, three times; the median of each, so that a
    neighbour who is busy for a while weighs on neither."""
    ours, peers = zip(*[(mine(), theirs()) for _ in range(rounds)])
    return tuple([statistics.median(x) for x in zip(*side)] for side in (ours, peers))


def draw(torch, batch, length, heads, d, dtype):
    gen = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=gen, dtype=torch.float64)
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)
    made = {
        "q": unit(normal(batch, length, heads, d)),
        "k": unit(normal(batch, length, heads, d)),
        "v": normal(batch, length, heads, d),
        "g": -torch.nn.functional.softplus(normal(batch, length, heads)),
        "beta": torch.sigmoid(normal(batch, length, heads)),
    }
    return {name: x.to(dtype) for name, x in made.items()}


def steps(torch, q, k, v, g, beta):
    """The declaration, one token after the other."""
    d = q.shape[-1]
    state = torch.zeros(*q.shape[:1], q.shape[2], d, v.shape[-1], dtype=q.dtype)
    outs = []
    for t in range(q.shape[1]):
        key = k[:, t].unsqueeze(-1)
        state = g[:, t].exp()[..., None, None] * state
        error = v[:, t] - (state * key).sum(-2)
        state = state + key * (beta[:, t].unsqueeze(-1) * error).unsqueeze(-2)
        outs.append((state * (q[:, t] * d**-0.5).unsqueeze(-1)).sum(-2))
    return torch.stack(outs, 1)


def compare(torch, peer, lrc):
    """Largest relative error of outputs and gradients, of lrc and of the peer."""
    from safetensors.torch import load_file, save_file

    names = ["q", "k", "v", "g", "beta"]
    true = draw(torch, 1, 200, 2, 64, torch.float64)
    for x in true.values():
        x.requires_grad_()
    out = steps(torch, **true)
    do = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out.backward(do)
    theirs = {name: x.detach().float().requires_grad_() for name, x in true.items()}
    found = peer(*[theirs[name] for name in names])[0]
    found.backward(do.float())
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "in.safetensors"), Path(folder, "out.safetensors")
        rows = {name: x.detach().float().contiguous() for name, x in true.items()}
        save_file({**rows, "do": do.float()}, given)
        arch = HERE.parent / "specs/recurrences/gated_delta_rule.arch"
        subprocess.run([lrc, "exec", arch, "gated_delta_rule", "--inputs", given, "--out", made,
                        "--backward"], check=True)
        ours = load_file(made)

    def error(a, b):
        return ((a.double() - b).norm() / b.norm()).item()

    pairs_peer = [error(found, out), *[error(theirs[n].grad, true[n].grad) for n in names]]
    pairs_lrc = [error(ours["o"], out), *[error(ours["d" + n], true[n].grad) for n in names]]
    return {"peer": max(pairs_peer), "lrc": max(pairs_lrc)}


def time_rule(torch, rule, sizes):
    x = draw(torch, sizes["batch"], sizes["length"], sizes["heads"], sizes["d"], torch.float32)
    names = ["q", "k", "v", "g", "beta"]

    def forward():
        with torch.no_grad():
            rule(*[x[n] for n in names])

    leaves = [x[n].clone().requires_grad_() for n in names]
    out = rule(*leaves)[0]
    do = torch.randn_like(out)

    def both():
        for leaf in leaves:
            leaf.grad = None
        rule(*leaves)[0].backward(do)

    return median(forward), median(both)


def plain_model(torch, rule, vocab=8192, width=256, layers=4, heads=4, d=64, hidden=688):
    """The model of specs/models/plain_gdn.arch."""
    nn, F = torch.nn, torch.nn.functional

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(width, 3 * heads * d, bias=False)
            self.gates = nn.Linear(width, 2 * heads, bias=False)
            self.norm = nn.RMSNorm(d)
            self.out = nn.Linear(heads * d, width, bias=False)

        def forward(self, x):
            q, k, v = (y.unflatten(-1, (heads, d)) for y in self.qkv(x).chunk(3, -1))
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            a, b = self.gates(x).chunk(2, -1)
            o = rule(q, k, v, -F.softplus(a), torch.sigmoid(b))[0]
            return self.out(self.norm(o).flatten(-2))

    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(width, 2 * hidden, bias=False)
            self.down = nn.Linear(hidden, width, bias=False)

        def forward(self, x):
            gate, up = self.up(x).chunk(2, -1)
            return self.down(F.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(vocab, width)
            blocks = [m for _ in range(layers) for m in (Mixer(), Mlp())]
            self.blocks = nn.ModuleList(blocks)
            self.norms = nn.ModuleList([nn.RMSNorm(width) for _ in blocks])
            self.norm = nn.RMSNorm(width)
            self.head = nn.Linear(width, vocab, bias=False)

        def forward(self, tokens):
            x = self.embed(tokens)
            for norm, block in zip(self.norms, self.blocks):
                x = x + block(norm(x))
            return self.head(self.norm(x))

    return Model()


def time_training(torch, rule, batch, length):
    model = plain_model(torch, rule)
    parameters = sum(p.numel() for p in model.parameters())
    tokens = torch.randint(0, 8192, (batch, length + 1))
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)

    def step():
        adamw.zero_grad()
        logits = model(tokens[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()

    return batch * length / median(step), parameters


def main():
    args = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("lrc", help="the lrc program, built with --release")
    args.add_argument("--json", help="also write the table here")
    args.add_argument("--compiled", action="store_true", help="time torch.compile as well")
    args = args.parse_args()
    in_venv()
    import torch
    import transformers
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    torch.set_num_threads(THREADS)
    errors = compare(torch, torch_chunk_gated_delta_rule, args.lrc)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {THREADS} threads")
    print(f"worst relative error against f64 steps: lrc {errors['lrc']:.1e}, peer {errors['peer']:.1e}")
    if not max(errors.values()) < 1e-4:
        sys.exit("outputs or gradients differ: no times are worth having")
    rows = []
    print(f"{'work':<44} {'peer':>10} {'lrc':>10} {'ratio':>7}")

    def line(work, peer, lrc, unit):
        ratio = lrc / peer if unit == "tokens/s" else peer / lrc
        rows.append({"work": work, "peer": peer, "lrc": lrc, "unit": unit, "ratio": ratio})
        print(f"{work:<44} {peer:>10.1f} {lrc:>10.1f} {ratio:>6.2f}x  {unit}", flush=True)

    rules = {"": torch_chunk_gated_delta_rule}
    if args.compiled:
        rules[" (compiled)"] = torch.compile(torch_chunk_gated_delta_rule)
    arch = HERE.parent / "specs/recurrences/gated_delta_rule.arch"
    for d, heads, length in [(128, 8, 4096), (64, 4, 1024), (64, 4, 8192)]:
        sizes = {"batch": 1, "length": length, "heads": heads, "d": d}
        for suffix, rule in rules.items():
            def mine():
                options = ["--set", f"dk={d}", "--set", f"dv={d}", "--heads", heads]
                found = bench(args.lrc, arch, "--length", length, *options)["recurrences"][0]
                return found["forward_ms"], found["forward_backward_ms"]

            def theirs():
                return [t * 1e3 for t in time_rule(torch, rule, sizes)]

            ours, peers = in_turn(mine, theirs)
            name = f"B1 T{length} H{heads} D{d}{suffix}"
            line(f"{name} forward", peers[0], ours[0], "ms")
            line(f"{name} forward + backward", peers[1], ours[1], "ms")
    model = HERE.parent / "specs/models/plain_gdn.arch"
    batch, length = 8, 256

    def trained():
        found = bench(args.lrc, model, "--batch", batch, "--length", length)
        return (found["training"][0]["tokens_per_second"],)

    ours, peers = in_turn(trained, lambda: time_training(torch, rules[""], batch, length)[:1])
    line(f"training 7.4M parameters, {batch} x {length}", peers[0], ours[0], "tokens/s")
    growth = {}
    for length in (1024, 4096, 16384, 65536):
        options = ["--set", "dk=64", "--set", "dv=64", "--heads", 4]
        found = bench(args.lrc, arch, "--length", length, *options)["recurrences"][0]
        growth[length] = found["forward_backward_ms"] / length
    growth = {length: cost / growth[1024] for length, cost in growth.items()}
    print("cost per token of lrc, relative to T=1024:",
          ", ".join(f"T={length}: {x:.2f}" for length, x in growth.items()))
    if args.json:
        document = {"torch": torch.__version__, "transformers": transformers.__version__,
                    "threads": THREADS, "errors": errors, "rows": rows, "growth": growth}
        Path(args.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
