"""Mixers and models as modules of PyTorch."""

import json

import lrc
import pytest
import torch
from lrc import nn
from torch.nn.functional import cross_entropy, linear

TINY = """
use "mixers/gated_deltanet.arch"
use "mixers/swiglu.arch"
model tiny(width = 16, vocab = 11) {
    vocab vocab
    residual x + f(rmsnorm(x))
    gated_deltanet(heads = 2, dk = 4, dv = 8)
    swiglu(hidden = 24)
    head rmsnorm(x), HEAD
}
"""

PLAIN = """
recurrence sums { in x : [d] state s : [d] s[t] = 0.9 * s[t-1] + x out y = s[t] }
mixer plain(d = 6) {
    v : [1, d] = linear(x)
    s : [1, d] = sums(v)
    out y = linear(s)
}
"""


def loss(y):
    return (y.double() * torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)).sum()


def close_to_slopes(run, grad, x, step=2e-3, share=3e-2, least=0.05):
    """Whether a gradient agrees with differences of a function by ten numbers of a tensor."""
    chosen = torch.randperm(x.numel())[:10].tolist()
    found = []
    for at in chosen:
        ends = []
        for sign in (1, -1):
            x.view(-1)[at] += sign * step
            ends.append(run())
            x.view(-1)[at] -= sign * step
        found.append((ends[0] - ends[1]) / (2 * step))
    want = torch.tensor(found)
    return (grad.view(-1)[chosen] - want).abs().max() < share * want.abs().max().clamp(min=least)


def test_a_mixer_is_what_its_text_says():
    mixer = nn.Mixer(PLAIN, width=4)
    names = {name: tuple(p.shape) for name, p in mixer.named_parameters()}
    assert len(names) == 2 and sorted(names.values()) == [(4, 6), (6, 4)]
    down, up = sorted(mixer.parameters(), key=lambda p: tuple(p.shape))
    x = torch.randn(2, 7, 4, requires_grad=True)

    def by_hand(x):
        v, s, outs = linear(x, up), torch.zeros(2, 6), []
        for t in range(7):
            s = 0.9 * s + v[:, t]
            outs.append(linear(s, down))
        return torch.stack(outs, 1)

    got, want = mixer(x), by_hand(x)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    every = [x, down, up]
    for a, b in zip(torch.autograd.grad(loss(got), every), torch.autograd.grad(loss(want), every)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_mixer_of_the_library_has_the_gradients_of_its_slopes():
    mixer = nn.Mixer("gated_deltanet", width=6, heads=1, dk=4, dv=4, seed=3)
    assert any(name.endswith("a_log") for name, _ in mixer.named_parameters())
    x = torch.randn(1, 5, 6, requires_grad=True)
    run = lambda: loss(mixer(x)).item()
    loss(mixer(x)).backward()
    for tensor in (x, *mixer.parameters()):
        assert close_to_slopes(run, tensor.grad, tensor.data)


@pytest.mark.parametrize("head", ["tied", "untied"])
def test_a_model_has_logits_and_their_gradients(head):
    model = nn.Model(TINY.replace("HEAD", head), seed=5)
    # Fresh embeddings are so small that a norm of them has no slope by differences.
    model.embedding.weight.data.mul_(50)
    tokens = torch.randint(11, (2, 9))
    logits = model(tokens)
    assert logits.shape == (2, 9, 11)
    run = lambda: cross_entropy(model(tokens)[:, :-1].reshape(-1, 11), tokens[:, 1:].reshape(-1)).item()
    cross_entropy(logits[:, :-1].reshape(-1, 11), tokens[:, 1:].reshape(-1)).backward()
    names = dict(model.named_parameters())
    assert ("head.weight" in names) == (head == "untied")
    for name, p in names.items():
        assert close_to_slopes(run, p.grad, p.data, least=0.02), name


def test_two_passes_before_one_backward_do_not_mix():
    model = nn.Model(TINY.replace("HEAD", "untied"))
    first, second = torch.randint(11, (1, 6)), torch.randint(11, (1, 8))
    one = lambda tokens: torch.autograd.grad(loss(model(tokens)), list(model.parameters()))
    want = [a + b for a, b in zip(one(first), one(second))]
    both = torch.autograd.grad(loss(model(first)) + loss(model(second)), list(model.parameters()))
    for a, b in zip(both, want):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_packed_texts_do_not_see_each_other():
    model = nn.Model(TINY.replace("HEAD", "tied"))
    tokens = torch.randint(11, (1, 10))
    packed = model(tokens, cu_seqlens=[0, 4, 10])
    parts = torch.cat([model(tokens[:, :4]), model(tokens[:, 4:])], 1)
    torch.testing.assert_close(packed, parts, rtol=1e-5, atol=1e-5)


def test_modules_train_inside_of_others_and_under_compile():
    torch._dynamo.reset()

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.mixer = torch.nn.LayerNorm(8), nn.Mixer("gated_deltanet", width=8, heads=1, dk=4, dv=8)

        def forward(self, x):
            return x + self.mixer(self.norm(x))

    layer = Layer()
    run = torch.compile(layer)
    adam = torch.optim.Adam(layer.parameters(), 1e-2)
    x, y = torch.randn(2, 12, 8), torch.randn(2, 12, 8)
    losses = []
    for _ in range(20):
        adam.zero_grad()
        error = (run(x) - y).square().mean()
        error.backward()
        adam.step()
        losses.append(error.item())
    assert losses[-1] < 0.9 * losses[0]


def test_a_run_comes_back_as_a_module(tmp_path):
    (tmp_path / "tiny.arch").write_text(TINY.replace("HEAD", "untied"))
    (tmp_path / "spec.yaml").write_text(
        "name: tiny\nmodel: {file: tiny.arch}\nbatch: 4\nlength: 6 steps\n"
        "task: {parity: {length: 12}}\n"
    )
    run = lrc.train(tmp_path / "spec.yaml", set={"model.set.vocab": 4, "seed": 3}, out=tmp_path / "run", quiet=True)
    assert run.summary["steps"] == 6 and len(run.metrics["loss"]) == 6
    assert (run.metrics["step"] == [1, 2, 3, 4, 5, 6]).all()
    model = nn.Model.from_run(tmp_path / "run")
    assert model.vocab == 4
    weights = run.weights()
    assert sorted(weights) == sorted(model.state_dict())
    for name, value in model.state_dict().items():
        assert (value.numpy() == weights[name]).all()
    with pytest.raises(lrc.Failed, match="no checkpoint of step 17"):
        run.weights(17)


def test_what_cannot_be_is_said():
    with pytest.raises(lrc.Invalid, match="did you mean"):
        nn.Mixer("gated_deltanett", width=8)
    with pytest.raises(lrc.Invalid, match="headz"):
        nn.Mixer("gated_deltanet", width=8, headz=2)
    with pytest.raises(lrc.Failed, match="adds to the loss"):
        nn.Mixer("moe", width=8, experts=4, hidden=8)
    mixer = nn.Mixer(PLAIN, width=4)
    with pytest.raises(ValueError, match=r"expected \[B, T, 4\]"):
        mixer(torch.randn(2, 3, 5))
    with pytest.raises(NotImplementedError, match="f32 on the CPU"):
        mixer.double()(torch.randn(1, 3, 4))
    with pytest.raises(TypeError, match="state_dict"):
        json.dumps(mixer.__getstate__())
    model = nn.Model(TINY.replace("HEAD", "tied"))
    with pytest.raises(TypeError, match="token 11 at 2"):
        model(torch.tensor([[1, 2, 11]]))
