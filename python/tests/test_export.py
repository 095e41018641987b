"""Runs exported with a modelling file of their own, whose recurrences the package computes."""

import lrc
import pytest
import torch
import transformers

TEXT = """use "mixers/gated_deltanet.arch"
use "mixers/gated_attention.arch"
mixer shifted(d = 8) { v : [2, d] = linear(x)
    o = back(v)
    out y = linear(o) }
recurrence back { in v : [n] state s : [n] s[t] = s[t-1] * t / (t + 1) + v[t-1] out y = s[t] }
model both(width = 16) { vocab 20
    residual x + f(rmsnorm(x))
    gated_deltanet(heads = 2, dk = 8, dv = 8)
    gated_attention(heads = 2, kv_heads = 1, dim = 8)
    shifted()
    head rmsnorm(x), tied, cap 5 }
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What is exported of a run of two steps."""
    (tmp_path / "both.arch").write_text(TEXT)
    task = "{mqar: {vocab: 20, length: 16, pairs: 2}}"
    (tmp_path / "spec.yaml").write_text(f"model: {{file: both.arch}}\ntask: {task}\nbatch: 4\nlength: 2 steps\n")
    lrc.train(tmp_path / "spec.yaml", out=tmp_path / "run", quiet=True)
    lrc.command("export", "hf", tmp_path / "run", "--out", tmp_path / "own", quiet=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "own"


def opened(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, **more).eval()


def test_the_package_computes_what_torch_computes(folder):
    own, plain = opened(folder), opened(folder, use_lrc=False)
    assert set(own.ops) == {"gated_delta_rule", "softmax_attn", "back"} and not plain.ops
    tokens = torch.randint(0, 20, (3, 11))
    said = [model(tokens, labels=tokens) for model in (own, plain)]
    assert torch.allclose(said[0].logits, said[1].logits, atol=1e-5)
    for one in said:
        one.loss.backward()
    for (name, a), (_, b) in zip(own.named_parameters(), plain.named_parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6), name
    hidden = lrc.nn.Model.from_run(folder.parent / "run")
    assert torch.allclose(hidden(tokens), said[1].logits, atol=1e-5)


def test_texts_grow_and_padding_is_left_out(folder):
    own, plain = opened(folder), opened(folder, use_lrc=False)
    tokens = torch.randint(0, 20, (2, 9))
    mask = torch.ones_like(tokens)
    mask[0, :4] = 0
    how = dict(max_new_tokens=6, min_new_tokens=6, do_sample=False, pad_token_id=0)
    grown = [model.generate(tokens, attention_mask=mask, **how) for model in (own, plain)]
    assert torch.equal(*grown)
    assert torch.equal(grown[0][0, 4:], own.generate(tokens[:1, 4:], use_cache=False, **how)[0])
    with torch.no_grad():
        whole, padded = own(tokens[:1, 4:]).logits, own(tokens, attention_mask=mask).logits
        assert torch.allclose(whole[0], padded[0, 4:], atol=1e-6)
    mask[1, 5] = 0
    with pytest.raises(ValueError, match="inside a text"):
        own(tokens, attention_mask=mask)
    with pytest.raises(ValueError, match="expected the same"):
        own(tokens, attention_mask=mask[:, 1:] * 0)
