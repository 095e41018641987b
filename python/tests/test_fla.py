"""The names of flash-linear-attention: against the fallbacks that transformers has for them, and against loops."""

import pytest
import torch
from lrc import fla
from torch.nn.functional import logsigmoid, normalize, softplus
from transformers.models.qwen3_next import modeling_qwen3_next as peer


def drawn(*shape):
    return torch.randn(*shape)


def delta(T=70, B=2, H=4, K=16, V=8):
    return drawn(B, T, H, K), drawn(B, T, H, K), drawn(B, T, H, V), logsigmoid(drawn(B, T, H)), torch.sigmoid(drawn(B, T, H))


def loss(outs):
    return sum((x * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum() for x in outs)


@pytest.mark.parametrize("T", [1, 17, 130])
def test_the_gated_delta_rule_is_that_of_transformers(T):
    inputs = [x.requires_grad_() for x in delta(T)]
    S = drawn(2, 4, 16, 8).requires_grad_()
    args = {"initial_state": S, "output_final_state": True, "use_qk_l2norm_in_kernel": True}
    got, want = fla.chunk_gated_delta_rule(*inputs, **args), peer.torch_chunk_gated_delta_rule(*inputs, **args)
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    every = [*inputs, S]
    for a, b in zip(torch.autograd.grad(loss(got), every), torch.autograd.grad(loss(want), every)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    steps = peer.torch_recurrent_gated_delta_rule(*inputs, **args)
    torch.testing.assert_close(fla.fused_recurrent_gated_delta_rule(*inputs[:4], beta=inputs[4], **args)[0], steps[0], rtol=1e-4, atol=1e-4)


def test_a_model_of_transformers_runs_on_it(monkeypatch):
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    config = Qwen3NextConfig(
        vocab_size=32, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, linear_num_value_heads=2, linear_num_key_heads=1, linear_key_head_dim=16, linear_value_head_dim=16,
        num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16,
    )  # fmt: skip
    model = Qwen3NextForCausalLM(config).eval()
    tokens = torch.randint(32, (2, 21))
    want = model(tokens).logits
    calls = []
    run = lambda *args, **named: calls.append(1) or fla.chunk_gated_delta_rule(*args, **named)
    monkeypatch.setattr(peer, "torch_chunk_gated_delta_rule", run)
    torch.testing.assert_close(model(tokens).logits, want, rtol=1e-4, atol=1e-4)
    assert len(calls) == 3


def scan(update, read, S, T):
    outs = []
    for t in range(T):
        S = update(S, t)
        outs.append(read(S, t))
    return torch.stack(outs, 1), S


def outer(k, v):
    return torch.einsum("bhk,bhv->bhkv", k, v)


def look(S, q):
    return torch.einsum("bhkv,bhk->bhv", S, q)


def test_every_other_name_means_its_formula():
    B, T, H, K, V = 2, 19, 2, 8, 6
    q, k, v, g, beta = delta(T, B, H, K, V)
    k = normalize(k, dim=-1)
    gk = logsigmoid(drawn(B, T, H, K))
    S = torch.zeros(B, H, K, V)
    read = lambda scale: lambda S, t: scale * look(S, q[:, t])
    erase = lambda S, t: S - outer(k[:, t], beta[:, t, :, None] * look(S, k[:, t]))
    write = lambda t: outer(k[:, t], v[:, t])
    late = lambda t: outer(k[:, t], beta[:, t, :, None] * v[:, t])
    root = K**-0.5
    decayed = lambda S, t: S * gk[:, t, :, :, None].exp()
    gamma = logsigmoid(drawn(H))
    cases = [
        (fla.chunk_delta_rule(q, k, v, beta, output_final_state=True), scan(lambda S, t: erase(S, t) + late(t), read(root), S, T)),
        (fla.chunk_kda(q, k, v, gk, beta, output_final_state=True), scan(lambda S, t: erase(decayed(S, t), t) + late(t), read(root), S, T)),
        (fla.fused_recurrent_gated_delta_rule(q, k, v, gk=gk, beta=beta, output_final_state=True), scan(lambda S, t: erase(decayed(S, t), t) + late(t), read(root), S, T)),
        (fla.chunk_gla(q, k, v, gk, 0.5, output_final_state=True), scan(lambda S, t: decayed(S, t) + write(t), read(0.5), S, T)),
        (fla.fused_recurrent_gla(q, k, v, gk, output_final_state=True), scan(lambda S, t: decayed(S, t) + write(t), read(root), S, T)),
        (fla.chunk_simple_gla(q, k, v, g, gamma, output_final_state=True), scan(lambda S, t: S * (g[:, t] + gamma).exp()[..., None, None] + write(t), read(root), S, T)),
        (fla.chunk_linear_attn(q, k, v, normalize=False, output_final_state=True), scan(lambda S, t: S + write(t), read(root), S, T)),
        (fla.chunk_retention(q, k, v, output_final_state=True), scan(lambda S, t: S * (1 - 2.0 ** (-5 - torch.arange(H)))[:, None, None] + write(t), read(root), S, T)),
    ]  # fmt: skip
    a, b = normalize(drawn(B, T, H, K), dim=-1), 0.1 * drawn(B, T, H, K)
    rank = lambda S, t: decayed(S, t) + outer(b[:, t], look(S, a[:, t])) + write(t)
    cases += [
        (fla.chunk_dplr_delta_rule(q, k, v, a, b, gk, output_final_state=True), scan(rank, read(root), S, T)),
        (fla.chunk_rwkv7(q, gk, k, v, a, b, output_final_state=True), scan(rank, read(1.0), S, T)),
        (fla.fused_recurrent_rwkv7(q, gk, k, v, a, b), scan(rank, read(root), S, T)),
    ]
    for at, (got, want) in enumerate(cases):
        for x, y in zip(got, want):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4, msg=lambda said: f"case {at}: {said}")
    u, held, outs = drawn(H, K), S, []
    for t in range(T):
        outs.append(root * look(held + outer(u * k[:, t], v[:, t]), q[:, t]))
        held = decayed(held, t) + write(t)
    got = fla.chunk_rwkv6(q, k, v, gk, u, output_final_state=True)
    torch.testing.assert_close(got[0], torch.stack(outs, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], held, rtol=1e-4, atol=1e-4)
    x, decay, h, outs = drawn(B, T, 5), logsigmoid(drawn(B, T, 5)), torch.zeros(B, 5), []
    for t in range(T):
        h = h * decay[:, t].exp() + x[:, t]
        outs.append(h)
    torch.testing.assert_close(fla.chunk_hgrn(x, decay)[0], torch.stack(outs, 1), rtol=1e-5, atol=1e-5)


def test_what_is_left_to_kernels_is_done():
    q, k, v, g, beta = delta(12)
    k = normalize(k, dim=-1)
    raw, a_log, bias = drawn(*beta.shape), drawn(4), drawn(4)
    got = fla.chunk_gated_delta_rule(
        q, k, v, g, raw, use_beta_sigmoid_in_kernel=True, allow_neg_eigval=True, use_gate_in_kernel=True, A_log=a_log, dt_bias=bias
    )
    decay = -a_log.exp() * softplus(g + bias)
    torch.testing.assert_close(got[0], fla.chunk_gated_delta_rule(q, k, v, decay, 2 * torch.sigmoid(raw))[0])
    assert got[1] is None
    S = drawn(2, 4, 8, 16)
    flipped = fla.chunk_gated_delta_rule(q, k, v, g, beta, initial_state=S, output_final_state=True, state_v_first=True)
    plain = fla.chunk_gated_delta_rule(q, k, v, g, beta, initial_state=S.transpose(-1, -2), output_final_state=True)
    torch.testing.assert_close(flipped[1], plain[1].transpose(-1, -2))
    with pytest.raises(TypeError, match="`reverse` is not taken"):
        fla.chunk_gla(q, k, v, drawn(*k.shape), reverse=True)
    with pytest.raises(TypeError, match="no `gv`"):
        fla.fused_recurrent_gated_delta_rule(q, k, v, gv=v)
