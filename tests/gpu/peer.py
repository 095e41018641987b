"""lrc against flash-linear-attention on one GPU: peer.py LRC DEVICE OUT.json

Same inputs; outputs and gradients compared, then medians of at least 50 runs after warm-up. Without
torch, flash-linear-attention or a GPU it says so and stops without an error.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

lrc, device, out = sys.argv[1:]
try:
    import torch
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.gla import chunk_gla
    from fla.ops.simple_gla import chunk_simple_gla
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"no peer here: {missing}")
    sys.exit()
if device != "cuda" or not torch.cuda.is_available():
    print("no peer here: it needs a GPU")
    sys.exit()

specs = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../specs/recurrences")


def draw(tokens, heads, d):
    make = lambda *shape: torch.randn(1, tokens, heads, *shape, device="cuda")
    unit = lambda x: torch.nn.functional.normalize(x, dim=-1)
    gate = lambda *shape: -torch.rand(1, tokens, heads, *shape, device="cuda") * 0.3
    return {"q": unit(make(d)), "k": unit(make(d)), "v": make(d), "beta": torch.rand(1, tokens, heads, device="cuda"),
            "g": gate(), "gv": gate(d), "do": make(d)}


# Per recurrence: how the peer is called, and which tensors lrc is given under which name.
PEERS = {
    "gated_delta_rule": (lambda x: chunk_gated_delta_rule(x["q"], x["k"], x["v"], x["g"], x["beta"], scale=1.0)[0],
                         {"q": "q", "k": "k", "v": "v", "beta": "beta", "g": "g"}),
    "gla": (lambda x: chunk_gla(x["q"], x["k"], x["v"], x["gv"], scale=1.0)[0], {"q": "q", "k": "k", "v": "v", "gv": "g"}),
    "simple_gla": (lambda x: chunk_simple_gla(x["q"], x["k"], x["v"], x["g"], scale=1.0)[0],
                   {"q": "q", "k": "k", "v": "v", "g": "g"}),
}


def median(run, count=50):
    for _ in range(5):
        run()
    times = []
    for _ in range(count):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def compare(name, tokens, heads, d):
    call, names = PEERS[name]
    x = draw(tokens, heads, d)
    bf16 = {k: t.to(torch.bfloat16 if t.dim() == 4 and k != "gv" else torch.float32).requires_grad_() for k, t in x.items()}
    o = call(bf16)
    o.backward(x["do"].to(o.dtype))
    with tempfile.TemporaryDirectory() as folder:
        given = {names[k]: x[k].float().contiguous().cpu() for k in names} | {"do": x["do"].cpu()}
        save_file(given, f"{folder}/in.safetensors")
        subprocess.run([lrc, "exec", f"{specs}/{name}.arch", name, "--inputs", f"{folder}/in.safetensors", "--out",
                        f"{folder}/out.safetensors", "--backward", "--device", device, "--set", "scale=1"], check=True)
        got = load_file(f"{folder}/out.safetensors")
    far = lambda a, b: ((a.float().cpu() - b.float().cpu()).norm() / b.float().norm().cpu()).item()
    gaps = {"o": far(got["o"], o.detach())}
    gaps |= {f"d{names[k]}": far(got[f"d{names[k]}"], bf16[k].grad) for k in names}
    times = json.loads(subprocess.run(
        [lrc, "bench", f"{specs}/{name}.arch", "--device", device, "--length", str(tokens), "--heads", str(heads), "--set",
         f"dk={d}", "--set", f"dv={d}", "--json"], check=True, capture_output=True).stdout)["recurrences"][0]
    forward = median(lambda: call(bf16))
    both = median(lambda: call(bf16).backward(x["do"].to(o.dtype)))
    row = {"name": name, "tokens": tokens, "heads": heads, "d": d, "gaps": gaps, "lrc_forward_ms": times["forward_ms"],
           "lrc_both_ms": times["forward_backward_ms"], "peer_forward_ms": forward, "peer_both_ms": both}
    print(f"{name:<18} {tokens:>6} tokens {heads:>3} heads {d:>4}: forward {times['forward_ms']:.3f} ms, peer {forward:.3f}; "
          f"both {times['forward_backward_ms']:.3f} ms, peer {both:.3f}; worst gap {max(gaps.values()):.1e}")
    return row


rows = [compare(name, tokens, heads, 128) for name in PEERS for tokens, heads in [(4096, 16), (16384, 8)]]
versions = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
json.dump({"versions": versions, "rows": rows}, open(out, "w"), indent=1)
if any(gap > 0.05 for row in rows for gap in row["gaps"].values()):
    sys.exit("lrc and its peer disagree")
