"""Makes tiny models of transformers' classes with random weights, and writes what each says: FOLDER CLASS…

FOLDER/CLASS/model is what `save_pretrained` writes, FOLDER/CLASS/said.safetensors holds tokens with their logits, gradients of
all weights of the mean loss of the next tokens, and the likeliest tokens behind two prompts: alone, and together with padding
on the left of the shorter one.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file, save_file

VOCAB, WIDTH = 61, 32
COMMON = dict(
    vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
)
MAMBA2 = dict(mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_n_groups=2, mamba_expand=2, mamba_chunk_size=8)
DELTA = dict(
    num_hidden_layers=4, head_dim=16, linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=8,
    linear_value_head_dim=8,
)
# Sizes that tell axes apart: a class is named by its `model_type`, or by another name with `model_type` in it.
CLASSES = {
    "llama": dict(head_dim=12, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5),
    "llama-stretched": dict(
        model_type="llama", rope_parameters=dict(
            rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    "qwen3": dict(head_dim=16, tie_word_embeddings=True),
    "olmo2": {},
    "gpt2": dict(n_embd=WIDTH, n_layer=2, n_head=4, n_positions=64, tie_word_embeddings=True),
    "mamba": dict(state_size=8, intermediate_size=64, tie_word_embeddings=True),
    "falcon_mamba": dict(state_size=8, intermediate_size=64, tie_word_embeddings=True),
    "mamba2": dict(state_size=8, num_heads=8, head_dim=8, expand=2, n_groups=2, chunk_size=8),
    "bamba": dict(MAMBA2, attn_layer_indices=[1]),
    "jamba": dict(
        num_hidden_layers=4, mamba_d_state=8, num_experts=4, num_experts_per_tok=2, attn_layer_period=4,
        attn_layer_offset=2, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "falcon_h1": dict(
        MAMBA2, mamba_d_ssm=64, attention_in_multiplier=0.9, attention_out_multiplier=0.8, embedding_multiplier=1.3,
        key_multiplier=0.7, lm_head_multiplier=0.6, mlp_multipliers=[0.8, 1.1], ssm_in_multiplier=1.2,
        ssm_out_multiplier=0.9, ssm_multipliers=[0.9, 1.1, 0.8, 1.2, 0.7],
    ),
    "nemotron_h": dict(
        mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=2, chunk_size=8, head_dim=8,
        layers_block_type=["mamba", "mlp", "attention", "moe"], n_routed_experts=4, moe_intermediate_size=24,
        num_experts_per_tok=2, n_group=1, topk_group=1, moe_shared_expert_intermediate_size=20,
        routed_scaling_factor=1.5, num_hidden_layers=4,
    ),
    "granitemoehybrid": dict(
        MAMBA2, layer_types=["mamba", "attention"], num_local_experts=4, num_experts_per_tok=2,
        shared_intermediate_size=24, attention_multiplier=0.3, embedding_multiplier=3.0, logits_scaling=2.0,
        residual_multiplier=0.7,
    ),
    "recurrent_gemma": dict(num_hidden_layers=3, lru_width=WIDTH, attention_window_size=8, tie_word_embeddings=True),
    "minimax": dict(
        num_local_experts=4, num_experts_per_tok=2, head_dim=8, block_size=8,
        layer_types=["linear_attention", "full_attention"], linear_attn_alpha_factor=1.2, mlp_beta_factor=0.8,
    ),
    "qwen3_next": dict(
        DELTA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=20,
        mlp_only_layers=[1],
    ),
    "qwen3_5": dict(DELTA, model_type="qwen3_5_text"),
    "olmo_hybrid": dict(DELTA, linear_num_key_heads=4),
    "kimi_linear": dict(
        num_hidden_layers=4, layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        mlp_layer_types=["dense", "sparse", "sparse", "sparse"], linear_num_heads=4, linear_head_dim=8, kv_lora_rank=12,
        qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=10, num_experts=4, num_experts_per_token=2,
        moe_intermediate_size=16, num_key_value_heads=4,
    ),
    "lfm2": dict(layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "rwkv": dict(attention_hidden_size=WIDTH, context_length=64, num_hidden_layers=2),
    # Its cache counts on sizes that are multiples of 64.
    "xlstm": dict(num_heads=4, hidden_size=128, embedding_dim=128, num_blocks=2, chunk_size=8),
    "zamba": dict(
        num_hidden_layers=4, mamba_d_state=8, mamba_dt_rank=4, n_mamba_heads=2, use_mamba_kernels=False,
        layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], tie_word_embeddings=True,
    ),
    "zamba2": dict(
        num_hidden_layers=4, mamba_d_state=8, mamba_expand=2, mamba_headdim=8, mamba_ngroups=2, n_mamba_heads=8,
        chunk_size=8, layers_block_type=["mamba", "hybrid", "mamba", "hybrid"], num_mem_blocks=2, adapter_rank=4,
        tie_word_embeddings=True,
    ),
}
NEW = 10


def model_of(name):
    """A model of the class with every weight moved off what it starts with: norms, biases and gates too."""
    own = dict(COMMON, **CLASSES[name])
    kind = own.pop("model_type", name)
    torch.manual_seed(7)
    config = transformers.AutoConfig.for_model(kind, **own)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for key, buffer in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                buffer.add_(0.1 * torch.randn_like(buffer))
    return model.eval()


def gradients(model, folder):
    """Gradients under the names of the folder's tensors, which are not those in memory: a model of them is written too."""
    copy = transformers.AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    with torch.no_grad():
        for (_, to), (_, of) in zip(copy.named_parameters(), model.named_parameters(), strict=True):
            to.copy_(of.grad if of.grad is not None else torch.zeros_like(of))
        for buffer in copy.buffers():
            buffer.zero_()
    copy.save_pretrained(folder)
    return load_file(os.path.join(folder, "model.safetensors"))


def greedy(model, tokens, mask):
    return model.generate(
        tokens, attention_mask=mask, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, num_beams=1,
        pad_token_id=0, eos_token_id=None,
    )[:, tokens.shape[1]:]


def main():
    folder, *names = sys.argv[1:]
    # Tiny products gain nothing from threads.
    torch.set_num_threads(1)
    for name in names:
        own = os.path.join(folder, name)
        model = model_of(name)
        model.save_pretrained(os.path.join(own, "model"))
        # What is compared is what was written.
        model = transformers.AutoModelForCausalLM.from_pretrained(
            os.path.join(own, "model"), dtype=torch.float32, attn_implementation="eager"
        ).eval()
        torch.manual_seed(11)
        tokens = torch.randint(3, VOCAB, (2, 20))
        said = {"tokens": tokens}
        logits = model(tokens, use_cache=False).logits
        said["logits"] = logits.detach()
        torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), tokens[:, 1:].reshape(-1)).backward()
        said.update({f"grad.{key}": value for key, value in gradients(model, os.path.join(own, "grads")).items()})
        prompts = [torch.randint(3, VOCAB, (1, n)) for n in (9, 14)]
        for at, prompt in enumerate(prompts):
            said[f"prompt.{at}"] = prompt[0]
            said[f"greedy.{at}"] = greedy(model, prompt, torch.ones_like(prompt))[0]
        pad = prompts[1].shape[1] - prompts[0].shape[1]
        both = torch.cat([torch.nn.functional.pad(prompts[0], (pad, 0)), prompts[1]])
        mask = torch.ones_like(both)
        mask[0, :pad] = 0
        together = greedy(model, both, mask)
        said.update({f"padded.{at}": together[at] for at in range(2)})
        save_file({key: value.detach().clone().contiguous() for key, value in said.items()}, os.path.join(own, "said.safetensors"))


main()
