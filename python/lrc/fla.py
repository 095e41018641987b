"""Operations under the names and with the arguments that flash-linear-attention has for them.

    from lrc.fla import chunk_gated_delta_rule
    o, state = chunk_gated_delta_rule(q, k, v, g, beta, output_final_state=True, use_qk_l2norm_in_kernel=True)

Tensors are `[B, T, H, …]`. Each function gives the outputs and the state after the last token, None unless
`output_final_state`. `chunk_…` and `fused_recurrent_…` are one: lrc chooses the form. Beside the arguments that a
function lists, each takes by name

* `cu_seqlens`: where packed sequences begin and end;
* `state_v_first`: states are `[N, H, V, K]`;
* where FLA has them for the operation, `use_beta_sigmoid_in_kernel`, `allow_neg_eigval`, `use_gate_in_kernel` with
  `A_log` and `dt_bias`, and `use_qk_l2norm_in_kernel`;
* anything that callers pass along, as FLA does: what only tunes kernels, and the arguments of whole models.

Arguments of FLA's that would change the numbers, and that are not known here, are refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn.functional import softplus

from lrc._recurrence import Recurrence, library

__all__ = [
    "chunk_delta_rule",
    "chunk_dplr_delta_rule",
    "chunk_gated_delta_rule",
    "chunk_gla",
    "chunk_hgrn",
    "chunk_kda",
    "chunk_linear_attn",
    "chunk_retention",
    "chunk_rwkv6",
    "chunk_rwkv7",
    "chunk_simple_gla",
    "fused_recurrent_delta_rule",
    "fused_recurrent_dplr_delta_rule",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_gla",
    "fused_recurrent_hgrn",
    "fused_recurrent_kda",
    "fused_recurrent_retention",
    "fused_recurrent_rwkv6",
    "fused_recurrent_rwkv7",
    "fused_recurrent_simple_gla",
]

Tensor = torch.Tensor
Made = tuple[Tensor, Tensor | None]

# What would change the numbers if it were not looked at.
_UNKNOWN = {"cp_context", "gv", "head_first", "lower_bound", "return_intermediate_states", "reverse"}


@cache
def _rule(name: str) -> Recurrence:
    return library(name)


def _l2norm(x: Tensor) -> Tensor:
    """As FLA's kernels do it: in f32, with 1e-6 under the root."""
    y = x.double() if x.dtype == torch.float64 else x.float()
    return (y * torch.rsqrt(y.square().sum(-1, keepdim=True) + 1e-6)).to(x.dtype)


def _gate(g: Tensor, more: dict[str, Any]) -> Tensor:
    """The decay, computed from what stands for it where `use_gate_in_kernel` says so."""
    a_log, bias = more.pop("A_log", None), more.pop("dt_bias", None)
    if not more.pop("use_gate_in_kernel", False):
        return g
    if a_log is None:
        raise TypeError("use_gate_in_kernel needs A_log")
    each = a_log.float().exp().view(-1, *[1] * (g.dim() - 3))
    return -each * softplus(g.float() if bias is None else g.float() + bias.float().view(g.shape[2:]))


def _rate(beta: Tensor, more: dict[str, Any]) -> Tensor:
    """The rate of writing, with what is left to kernels."""
    beta = torch.sigmoid(beta.float()) if more.pop("use_beta_sigmoid_in_kernel", False) else beta
    return 2 * beta if more.pop("allow_neg_eigval", False) else beta


def _delta(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, l2norm: bool, more: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors that every delta rule has, with what is left to kernels done."""
    if l2norm:
        q, k = _l2norm(q), _l2norm(k)
    return {"q": q, "k": k, "v": v, "beta": _rate(beta, more)}


def _run(name: str, tensors: dict[str, Tensor], scale: float | None, state: Any, wanted: bool, more: dict[str, Any]) -> Made:
    """A recurrence of the library on its tensors; without a scale, with its own."""
    cu_seqlens, flipped = more.pop("cu_seqlens", None), more.pop("state_v_first", False)
    unknown = sorted(key for key in _UNKNOWN & set(more) if more[key] is not None and more[key] is not False)
    if unknown:
        raise TypeError(f"`{unknown[0]}` is not taken here")
    settings = {} if scale is None else {"scale": float(scale)}
    state = state.transpose(-1, -2) if state is not None and flipped else state
    o, last = _rule(name)(**tensors, **settings, initial_state=state, cu_seqlens=cu_seqlens, return_state=True)
    if not wanted:
        return o, None
    return o, last.transpose(-1, -2).contiguous() if flipped else last


def chunk_gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, use_qk_l2norm_in_kernel: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """Gated DeltaNet: `S = exp(g) (I - beta k kᵀ) S + beta k vᵀ`, `o = Sᵀ (scale q)`."""
    tensors = _delta(q, k, v, beta, use_qk_l2norm_in_kernel, more) | {"g": _gate(g, more)}
    return _run("gated_delta_rule", tensors, scale, initial_state, output_final_state, more)


def fused_recurrent_gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, gk: Tensor | None = None, gv: Tensor | None = None,
    beta: Tensor | None = None, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, use_qk_l2norm_in_kernel: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """As `chunk_gated_delta_rule`; `gk` is a decay for each channel of the key."""
    if gv is not None or (g is not None and gk is not None):
        raise TypeError("one of `g` and `gk` is taken, and no `gv`")
    if gk is None and g is None:
        g = torch.zeros(v.shape[:3], dtype=torch.float32)
    beta = torch.ones(v.shape[:3], dtype=torch.float32) if beta is None else beta
    run = chunk_gated_delta_rule if gk is None else chunk_kda
    decay = g if gk is None else gk
    return run(q, k, v, decay, beta, scale, initial_state, output_final_state, use_qk_l2norm_in_kernel, **more)


def chunk_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None = None, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, use_qk_l2norm_in_kernel: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """DeltaNet: `S = (I - beta k kᵀ) S + beta k vᵀ`, `o = Sᵀ (scale q)`."""
    beta = torch.ones(v.shape[:3], dtype=torch.float32) if beta is None else beta
    tensors = _delta(q, k, v, beta, use_qk_l2norm_in_kernel, more)
    return _run("delta_rule", tensors, scale, initial_state, output_final_state, more)


def chunk_kda(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, use_qk_l2norm_in_kernel: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """Kimi delta attention, a decay for each channel of the key: `S = (I - beta k kᵀ) diag(exp(g)) S + beta k vᵀ`."""
    tensors = _delta(q, k, v, beta, use_qk_l2norm_in_kernel, more) | {"g": _gate(g, more)}
    return _run("kda", tensors, scale, initial_state, output_final_state, more)


def chunk_gla(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """Gated linear attention: `S = diag(exp(g)) S + k vᵀ`, `o = Sᵀ (scale q)`."""
    return _run("gla", {"q": q, "k": k, "v": v, "g": g}, scale, initial_state, output_final_state, more)


def fused_recurrent_gla(
    q: Tensor, k: Tensor, v: Tensor, gk: Tensor | None = None, gv: Tensor | None = None, scale: float | None = None,
    initial_state: Tensor | None = None, output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """As `chunk_gla`; the decay is called `gk`, and may be left out."""
    if gv is not None:
        raise TypeError("`gv`, a decay of values, is not taken")
    gk = torch.zeros(k.shape, dtype=torch.float32) if gk is None else gk
    return chunk_gla(q, k, v, gk, scale, initial_state, output_final_state, **more)


def chunk_simple_gla(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, g_gamma: Tensor | None = None, scale: float | None = None,
    initial_state: Tensor | None = None, output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """A decay per token and head, `S = exp(g + g_gamma) S + k vᵀ`; `g_gamma` is `[H]`, the same for all tokens."""
    g = torch.zeros(v.shape[:3], dtype=torch.float32) if g is None else g
    g = g if g_gamma is None else g + g_gamma
    return _run("simple_gla", {"q": q, "k": k, "v": v, "g": g}, scale, initial_state, output_final_state, more)


def chunk_linear_attn(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, normalize: bool = True, **more: Any,
) -> Made:  # fmt: skip
    """Linear attention: `S = S + k vᵀ`, `o = Sᵀ (scale q)`; `normalize=False` has to be said."""
    if normalize:
        raise ValueError("pass normalize=False; with a normaliser it is the recurrence `linear_attn_norm` of the library")
    return _run("linear_attn", {"q": q, "k": k, "v": v}, scale, initial_state, output_final_state, more)


def chunk_retention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """RetNet: head `h` decays by `1 - 2^(-5 - h)`."""
    return _run("retention", {"q": q, "k": k, "v": v}, scale, initial_state, output_final_state, more)


def chunk_rwkv6(
    r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, scale: float | None = None, initial_state: Tensor | None = None,
    output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """RWKV-6: reads before it writes, with a bonus `u` `[H, K]` for the token itself."""
    tensors = {"q": r, "k": k, "v": v, "w": w, "u": u}
    return _run("rwkv6", tensors, scale, initial_state, output_final_state, more)


def chunk_dplr_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, gk: Tensor, scale: float | None = None,
    initial_state: Tensor | None = None, output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """The generalised delta rule: `S = (diag(exp(gk)) + b aᵀ) S + k vᵀ`, `o = Sᵀ (scale q)`."""
    tensors = {"q": q, "k": k, "a": a, "b": b, "v": v, "g": gk}
    return _run("dplr", tensors, scale, initial_state, output_final_state, more)


def chunk_rwkv7(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, scale: float = 1.0, initial_state: Tensor | None = None,
    output_final_state: bool = False, **more: Any,
) -> Made:  # fmt: skip
    """RWKV-7: `S = (diag(exp(w)) + b aᵀ) S + k vᵀ`, `o = Sᵀ (scale r)`."""
    return chunk_dplr_delta_rule(r, k, v, a, b, w, scale, initial_state, output_final_state, **more)


def fused_recurrent_rwkv7(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, scale: float | None = None,
    initial_state: Tensor | None = None, output_final_state: bool = True, **more: Any,
) -> Made:  # fmt: skip
    """As `chunk_rwkv7`, but for its defaults: a scale of `1/sqrt(K)`, and the state is given."""
    return chunk_dplr_delta_rule(r, k, v, a, b, w, scale, initial_state, output_final_state, **more)


def chunk_hgrn(
    x: Tensor, g: Tensor, initial_state: Tensor | None = None, output_final_state: bool = False, **more: Any
) -> Made:
    """HGRN: `h = exp(g) h + x` for each of the channels of `[B, T, D]`."""
    return _run("hgrn", {"x": x, "g": g}, None, initial_state, output_final_state, more)


fused_recurrent_delta_rule = chunk_delta_rule
fused_recurrent_kda = chunk_kda
fused_recurrent_simple_gla = chunk_simple_gla
fused_recurrent_retention = chunk_retention
fused_recurrent_rwkv6 = chunk_rwkv6
fused_recurrent_dplr_delta_rule = chunk_dplr_delta_rule
fused_recurrent_hgrn = chunk_hgrn
