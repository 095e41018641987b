"""A recurrence of your own inside a small GPT of PyTorch: trains on the processor in a minute.

    python examples/python/nanogpt.py [STEPS]

The text it learns is this project's own documents, byte by byte.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

import lrc

# The new idea: a delta rule that also forgets, by a share of its own for each channel of the key.
rule = lrc.recurrence("""
recurrence forgetful_delta {
    in q, v : [d]
    in k : [d] unit
    in f : [d] in (-inf, 0]
    in beta : scalar in (0, 1)
    state S : [d, d]
    S[t] = diag(exp(f)) * S[t-1] + beta * k * (v - S[t-1]^T * k)^T
    out o = S[t]^T * q
}
""")


class Memory(nn.Module):
    """Where a GPT has its attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 4 * width + heads)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        *four, beta = self.project(x).split([x.shape[-1]] * 4 + [self.heads], -1)
        q, k, v, f = (y.unflatten(-1, (self.heads, -1)) for y in four)
        o = rule(q, v, normalize(k, dim=-1), logsigmoid(f + 4), torch.sigmoid(beta))
        return self.out(o.flatten(-2))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.memory = Memory(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.memory(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    def __init__(self, width: int = 96, layers: int = 2, heads: int = 3):
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)), nn.LayerNorm(width))
        self.head = nn.Linear(width, 256)

    def forward(self, tokens):
        return self.head(self.blocks(self.embed(tokens)))


def main(steps: int) -> tuple[float, float]:
    """Trains, and gives the loss of the first and of the last steps."""
    torch.manual_seed(1)
    folder = Path(__file__).resolve().parents[2] / "docs"
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.md")))
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    model = GPT()
    adam = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for step in range(steps):
        starts = torch.randint(len(data) - 257, (4,)).tolist()
        batch = torch.stack([data[at : at + 257] for at in starts])
        loss = cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:4}  {loss.item() / 0.6931:.2f} bits per byte", flush=True)
    tenth = max(1, steps // 10)
    return sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
