"""Recurrences called from Python: numbers, gradients, shapes, graphs, and what is refused."""

import gc
import pickle

import lrc
import numpy
import pytest
import torch
from lrc import _torch
from torch.nn.functional import logsigmoid, normalize


def drawn(*shape, kind=torch.float64):
    return torch.randn(*shape, dtype=kind)


def gated_delta_rule(T=37, B=2, H=3, K=8, V=5, kind=torch.float64):
    """Inputs of the gated delta rule, all of which want gradients."""
    k = normalize(drawn(B, T, H, K, kind=kind), dim=-1)
    g, beta = logsigmoid(drawn(B, T, H, kind=kind)), torch.sigmoid(drawn(B, T, H, kind=kind))
    return [x.requires_grad_() for x in (drawn(B, T, H, K, kind=kind), k, drawn(B, T, H, V, kind=kind), g, beta)]


def delta_loop(q, k, v, g, beta, scale, S=None):
    """The same, one token after the other."""
    B, T, H, K = q.shape
    S = q.new_zeros(B, H, K, v.shape[-1]) if S is None else S
    outs = []
    for t in range(T):
        S = S * g[:, t, :, None, None].exp()
        e = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhk,bhkv->bhv", k[:, t], S))
        S = S + torch.einsum("bhk,bhv->bhkv", k[:, t], e)
        outs.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, t], S))
    return torch.stack(outs, 1) if outs else q.new_zeros(B, 0, H, v.shape[-1]), S


def loss(outs):
    """A number of which no part of the outputs is irrelevant."""
    return sum((x.double() * torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view(x.shape)).sum() for x in outs)


@pytest.mark.parametrize("T", [1, 2, 63, 64, 130])
def test_numbers_and_gradients_are_those_of_a_loop(T):
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(T)
    S = drawn(2, 3, 8, 5).requires_grad_()
    got = rule(*inputs, scale=0.3, initial_state=S, return_state=True)
    want = delta_loop(*inputs, 0.3, S)
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    every = [*inputs, S]
    for a, b in zip(torch.autograd.grad(loss(got), every), torch.autograd.grad(loss(want), every)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_in_f32_they_are_close_to_those_of_f64():
    rule = lrc.library("gated_delta_rule")
    wide = gated_delta_rule(200)
    narrow = [x.detach().float().requires_grad_() for x in wide]
    got, want = rule(*narrow), rule(*wide)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-5)
    grads = zip(torch.autograd.grad(loss([got]), narrow), torch.autograd.grad(loss([want]), wide))
    for a, b in grads:
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


MINE = """
/// A recurrence that no library has.
recurrence leaky(rate = 0.5) {
    in x : [d]
    in a : scalar in (0, 1)
    param w : [d]
    state h : [d]
    h[t] = a * h[t-1] + rate * w .* x
    out y = h[t] + x
}
"""

FIVE = ["gated_delta_rule", "gla", "mamba2_ssd", "softmax_attn", "mlstm"]


def given(rule, T, B=1, H=2, kind=torch.float32):
    """Arguments of any recurrence with sizes of its own, within what is promised of them."""
    sizes, tensors = {}, []
    signature = rule._engine.signature
    for name, axes, count in signature["inputs"]:
        assert count is None, "the five have one row per token"
        x = drawn(B, T, H, *(sizes.setdefault(axis, 4 + len(sizes)) for axis in axes), kind=kind)
        tensors.append(normalize(x, dim=-1) if name == "k" else logsigmoid(x) if not axes or name in ("g", "a") else x)
    for _, axes, _ in signature["params"]:
        tensors.append(-torch.rand(H, *(sizes.setdefault(axis, 4 + len(sizes)) for axis in axes), dtype=kind))
    return [x.requires_grad_() for x in tensors]


@pytest.mark.parametrize("name", [*FIVE, "leaky"])
def test_pytorch_finds_nothing_wrong_with_the_operation(name):
    rule = lrc.recurrence(MINE) if name == "leaky" else lrc.library(name)
    tensors = given(rule, 9)
    op = _torch.op(rule)
    args = (*tensors, *[None] * len(rule.states), None, "([], None)", True)
    done = torch.library.opcheck(op.forward, args)
    assert set(done.values()) == {"SUCCESS"}


def test_slopes_are_gradients():
    rule = lrc.recurrence(MINE)
    x, a = drawn(1, 5, 2, 3), torch.sigmoid(drawn(1, 5, 2))
    inputs = [x.requires_grad_(), a.requires_grad_(), drawn(2, 3).requires_grad_(), drawn(1, 2, 3).requires_grad_()]
    run = lambda x, a, w, h: rule(x, a, w=w, initial_state=h, return_state=True)
    assert torch.autograd.gradcheck(run, inputs)


def test_tensors_with_gaps_are_read_as_they_mean():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(20)
    turned = [x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in inputs]
    assert not turned[0].is_contiguous()
    torch.testing.assert_close(rule(*turned), rule(*inputs))
    # What flows in may have gaps too: that of a sum has stride 0.
    ones = torch.autograd.grad(rule(*inputs).sum(), inputs)
    o = rule(*inputs)
    for a, b in zip(ones, torch.autograd.grad(o, inputs, torch.ones_like(o))):
        torch.testing.assert_close(a, b)


def test_only_what_wants_gradients_gets_them():
    rule = lrc.library("gated_delta_rule")
    inputs = [x.detach() for x in gated_delta_rule(12)]
    inputs[2].requires_grad_()
    rule(*inputs).sum().backward()
    assert inputs[2].grad is not None and all(inputs[at].grad is None for at in (0, 1, 3, 4))
    with torch.no_grad():
        assert not rule(*inputs).requires_grad


def test_states_may_be_named():
    rule = lrc.library("gated_delta_rule")
    inputs, S = gated_delta_rule(5), drawn(2, 3, 8, 5)
    assert (rule(*inputs, initial_state={"S": S}) == rule(*inputs, initial_state=S)).all()
    with pytest.raises(TypeError, match="no state `T`: it has S"):
        rule(*inputs, initial_state={"T": S})


def test_a_state_alone_can_be_what_is_asked_for():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(12)
    _, S = rule(*inputs, return_state=True)
    _, want = delta_loop(*inputs, 8**-0.5)
    for a, b in zip(torch.autograd.grad(loss([S]), inputs[1:]), torch.autograd.grad(loss([want]), inputs[1:])):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["torch", "list"])
def test_packed_sequences_do_not_see_each_other(kind):
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(T=20, B=1)
    # The second is empty, and three tokens belong to nobody.
    bounds = [0, 6, 6, 17]
    packed = torch.tensor(bounds, dtype=torch.int32) if kind == "torch" else bounds
    o, S = rule(*inputs, cu_seqlens=packed, return_state=True)
    assert o.shape[1] == 20 and S.shape[0] == 3
    parts = [delta_loop(*[x[:, a:b] for x in inputs], 8**-0.5) for a, b in zip(bounds, bounds[1:])]
    want = torch.cat([*[part for part, _ in parts], torch.zeros(1, 3, 3, 5, dtype=torch.float64)], 1)
    states = torch.cat([state for _, state in parts])
    torch.testing.assert_close(o, want)
    torch.testing.assert_close(S, states)
    for a, b in zip(torch.autograd.grad(loss([o, S]), inputs), torch.autograd.grad(loss([want, states]), inputs)):
        torch.testing.assert_close(a, b)
        assert (a[:, 17:] == 0).all()


def test_no_tokens_leave_the_state_as_it_was():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(T=0)
    S = drawn(2, 3, 8, 5).requires_grad_()
    o, final = rule(*inputs, initial_state=S, return_state=True)
    assert o.shape == (2, 0, 3, 5)
    assert (final == S).all()
    (d,) = torch.autograd.grad(final.sum(), S)
    assert (d == 1).all()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_f32_and_given_back_as_it_came(kind):
    rule = lrc.library("gated_delta_rule")
    wide = gated_delta_rule(50, kind=torch.float32)
    narrow = [x.detach().to(kind if at < 3 else torch.float32).requires_grad_() for at, x in enumerate(wide)]
    o, S = rule(*narrow, return_state=True)
    assert o.dtype == kind and S.dtype == torch.float32
    want = rule(*[x.detach().float() for x in narrow])
    assert (o.detach() == want.to(kind)).all()
    o.sum().backward()
    assert [x.grad.dtype for x in narrow] == [x.dtype for x in narrow]


def test_heads_may_be_shared_or_left_out():
    rule = lrc.library("gated_delta_rule")
    q, k, v, g, beta = gated_delta_rule(T=15, H=4)
    few = [x[:, :, :2].detach().requires_grad_() for x in (q, k)]
    many = [x.repeat_interleave(2, 2) for x in few]
    o, want = rule(*few, v, g, beta), rule(*many, v, g, beta)
    torch.testing.assert_close(o, want)
    for a, b in zip(torch.autograd.grad(loss([o]), few), torch.autograd.grad(loss([want]), few)):
        torch.testing.assert_close(a, b)
    one = [x[:, :, 0] for x in (q, k, v, g, beta)]
    torch.testing.assert_close(rule(*one), rule(*[x[:, :, :1] for x in (q, k, v, g, beta)])[:, :, 0])


def test_a_compiled_graph_takes_any_length_whole():
    rule = lrc.library("gated_delta_rule")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    run = torch.compile(lambda *x: rule(*x, scale=0.25, return_state=True), fullgraph=True)
    for T in (16, 33, 70):
        inputs = gated_delta_rule(T, kind=torch.float32)
        got, want = run(*inputs), rule(*inputs, scale=0.25, return_state=True)
        for a, b in zip(got, want):
            assert (a == b).all()
        for a, b in zip(torch.autograd.grad(loss(got), inputs), torch.autograd.grad(loss(want), inputs)):
            assert (a == b).all()
    counts = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert counts <= 3, "a graph per length"


def test_kept_numbers_that_were_moved_are_made_again():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(80)
    want = torch.autograd.grad(loss([rule(*inputs)]), inputs)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x):
        o = rule(*inputs)
    for a, b in zip(torch.autograd.grad(loss([o]), inputs), want):
        torch.testing.assert_close(a, b)


def test_gradients_can_be_asked_for_twice_and_memory_comes_back():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(80)
    o = rule(*inputs)
    first = torch.autograd.grad(loss([o]), inputs, retain_graph=True)
    assert _torch.kept_passes() == 1
    for a, b in zip(first, torch.autograd.grad(loss([o]), inputs)):
        assert (a == b).all()
    gc.collect()
    assert _torch.kept_passes() == 0


def test_gradients_of_gradients_are_refused():
    inputs = gated_delta_rule(8)
    grads = torch.autograd.grad(loss([lrc.library("gated_delta_rule")(*inputs)]), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="gated_delta_rule_.*_backward"):
        torch.autograd.grad(grads[0].sum(), inputs)


def test_arrays_of_numpy_give_arrays():
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(25)
    arrays = [x.detach().numpy() for x in inputs]
    o, S = rule(*arrays, return_state=True)
    want, state = rule(*inputs, return_state=True)
    assert isinstance(o, numpy.ndarray) and (o == want.detach().numpy()).all() and (S == state.detach().numpy()).all()
    packed = rule(*[x[:1] for x in arrays], cu_seqlens=numpy.array([0, 5, 20]))
    assert packed.shape[1] == 25 and (packed[:, 20:] == 0).all()
    with pytest.raises(TypeError, match="floats, not with int64"):
        rule(*[x.astype("int64") for x in arrays])


def test_modules_can_hold_recurrences():
    rule = lrc.recurrence(MINE)
    again = pickle.loads(pickle.dumps(rule))
    x, a, w = drawn(1, 4, 2, 3), torch.sigmoid(drawn(1, 4, 2)), drawn(2, 3)
    assert (again(x, a, w) == rule(x, a, w)).all()
    assert repr(again) == "<lrc.Recurrence leaky(x, a, w, rate=0.5)>"


def test_errors_show_the_place_with_a_caret():
    with pytest.raises(lrc.Invalid) as said:
        lrc.recurrence("recurrence r { in x : [d] state s : [d] s[t] = s[t-1] + y out o = s[t] }")
    text = str(said.value)
    assert "unknown name `y`" in text and "text:1:" in text and "\n  |" in text and "^" in text
    (finding,) = said.value.diagnostics
    assert finding["code"] == "E0201" and finding["place"].startswith("text:1:")


def test_what_does_not_fit_is_said():
    rule = lrc.library("gated_delta_rule")
    q, k, v, g, beta = gated_delta_rule(9)
    with pytest.raises(lrc.Invalid, match="`k` has 3 entries along `dk`, which is 8 elsewhere"):
        rule(q, k[..., :3], v, g, beta)
    with pytest.raises(lrc.Invalid, match="`v` has 4 tokens, tensors before it have 9"):
        rule(q, k, v[:, :4], g, beta)
    with pytest.raises(lrc.Invalid, match="did you mean `scale`"):
        rule(q, k, v, g, beta, scael=1)
    with pytest.raises(TypeError, match="needs `beta`"):
        rule(q, k, v, g)
    with pytest.raises(TypeError, match="given `q` twice"):
        rule(q, k, v, g, beta, q=q)
    with pytest.raises(TypeError, match="takes 5 tensors"):
        rule(q, k, v, g, beta, beta)
    with pytest.raises(TypeError, match="`v` is a ndarray"):
        rule(q, k, v.detach().numpy(), g, beta)
    with pytest.raises(lrc.Invalid, match=r"`S` has shape \[1, 3, 8, 5\], expected \[2, 3, 8, 5\]"):
        rule(q, k, v, g, beta, initial_state=drawn(1, 3, 8, 5))
    with pytest.raises(lrc.Invalid, match="`cu_seqlens` is .*: it must rise from 0"):
        rule(q, k, v, g, beta, cu_seqlens=[0, 9])
    with pytest.raises(TypeError, match="there is no device `gpu`"):
        rule(*[x.detach().float() for x in (q, k, v, g, beta)], device="gpu")
    with pytest.raises(lrc.Failed) as failed:
        lrc.recurrence("nowhere.arch")
    assert failed.value.status == 1
    with pytest.raises(lrc.Invalid, match="did you mean `gla`"):
        lrc.library("gl")


def test_kernels_give_what_the_processor_gives():
    """On the sim device: bf16 operands, so alike to three digits."""
    rule = lrc.library("gated_delta_rule")
    inputs = gated_delta_rule(20, B=1, H=1, K=16, V=16, kind=torch.float32)
    want = rule(*inputs)
    got = rule(*inputs, device="sim")
    scale = want.abs().max().item()
    assert (got - want).abs().max() < 0.02 * scale
    for a, b in zip(torch.autograd.grad(got.sum(), inputs), torch.autograd.grad(want.sum(), inputs)):
        assert (a - b).abs().max() < 0.03 * b.abs().max()
