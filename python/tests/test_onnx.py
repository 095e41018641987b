"""ONNX files of recurrences, evaluated by ONNX's own reference and compared with lrc."""

import json

import lrc
import numpy
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

# The operation's rule, or None for a scan.
FORMS = {
    "linear_attn": "linear", "simple_gla": "gated", "gla": "gated", "delta_rule": "delta", "gated_delta_rule": "gated_delta",
    "kda": "gated_delta", "retention": None, "rwkv6": None, "rwkv7": None, "mlstm": None, "hgrn2": None, "mamba2_ssd": None,
    "delta_product": None, "gsa": None, "titans_linear": None, "slstm": None,
}  # fmt: skip

TEXTS = {
    "renamed": """recurrence renamed(c = 0.7) { in value : [n] in fade : scalar in (-inf, 0] in query, key : [m] state M : [m, n]
        M[t] = exp(fade) * M[t-1] + key * value^T  out y = c * (M[t]^T * query) }""",
    "shifted": "recurrence shifted { in x : [d] state s : [d] s[t] = s[t-1] * t / (t + 1) + x out y = s[t] + x[t-2] }",
    "by_head": "recurrence by_head { in x : [d] param w : [d] state s : [d] init w s[t] = (1 - 2^(-1 - head)) * s[t-1] + w .* x out y = sin(s[t]) }",
}


def written(tmp_path, name, *more):
    """A file, and what was said of it."""
    path = tmp_path / f"{name}.onnx"
    text = TEXTS.get(name) or lrc.library(name).text
    (tmp_path / "r.arch").write_text(text)
    said = lrc.command("export", "onnx", tmp_path / "r.arch", name, "--out", path, "--heads", "2", "--json", *more, quiet=True)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model, json.loads(said), lrc.recurrence(text)


def drawn(model, rule, B, T):
    """Numbers for all inputs, within what is promised of them."""
    random, sizes = numpy.random.default_rng(5), {"B": B, "T": T}
    given = {}
    for value in model.graph.input:
        shape = [dim.dim_value or sizes.get(dim.dim_param, T * 2) for dim in value.type.tensor_type.shape.dim]
        x = random.standard_normal(shape)
        declared = next((line for line in rule.text.splitlines() if line.strip().startswith(f"in {value.name} ")), "")
        if "in (-inf, 0]" in declared:
            x = -numpy.abs(x)
        elif "in (0" in declared:
            x = 1 / (1 + numpy.exp(-x))
        elif "unit" in declared:
            x /= numpy.linalg.norm(x, axis=-1, keepdims=True)
        given[value.name] = x.astype("float32")
    return given


def compared(model, rule, B=2, T=9):
    given = drawn(model, rule, B, T)
    results = dict(zip((value.name for value in model.graph.output), ReferenceEvaluator(model).run(None, given)))
    states = [name for name in given if name.startswith("initial_state")]
    settings = {"initial_state": [given[name] for name in states]} if states else {}
    wanted, finals = rule(*(given[name] for name in rule.operands), **settings, return_state=True)
    outs = wanted if isinstance(wanted, tuple) else (wanted,)
    for name, want in zip(rule.outs, outs):
        assert results[name].shape == want.shape
        numpy.testing.assert_allclose(results[name], want, rtol=1e-4, atol=1e-4 * numpy.abs(want).max(), err_msg=name)
    finals = finals if isinstance(finals, tuple) else (finals,)
    for name, want in zip(states, finals):
        numpy.testing.assert_allclose(results[name.replace("initial", "final")], want, rtol=1e-4, atol=1e-4 * numpy.abs(want).max())


@pytest.mark.parametrize("name", [*FORMS, *TEXTS])
def test_a_file_computes_what_the_recurrence_says(tmp_path, name):
    sizes = [] if name in TEXTS else ["--set", "dk=4", "--set", "dv=6"] if "dk" in lrc.library(name).text and "dv" in lrc.library(name).text else []
    model, said, rule = written(tmp_path, name, *sizes)
    assert said["rule"] == ("gated" if name == "renamed" else FORMS.get(name))
    compared(model, rule)


def test_a_scan_can_be_asked_for(tmp_path):
    model, said, rule = written(tmp_path, "gated_delta_rule", "--set", "dk=4", "--set", "dv=6", "--scan")
    assert said == {**said, "form": "Scan", "opset": 21}
    compared(model, rule, B=1, T=13)


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(lrc.Invalid, match="E0502.*cannot be written for ONNX"):
        written(tmp_path, "softmax_attn")
    with pytest.raises(lrc.Invalid, match="no operation that solves"):
        written(tmp_path, "mesa_net")
