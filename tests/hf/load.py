"""Loads what was exported, and writes FOLDER/CLASS/loads where nothing is missing and its logits are those that were said: FOLDER CLASS…

Not to the last bit: how PyTorch groups a sum may depend on where its memory lies. That the weights are the same bytes is
tested apart."""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file

folder, *names = sys.argv[1:]
for name in names:
    own = os.path.join(folder, name)
    if not os.path.isdir(os.path.join(own, "exported")):
        continue
    model, found = transformers.AutoModelForCausalLM.from_pretrained(
        os.path.join(own, "exported"), dtype=torch.float32, attn_implementation="eager", output_loading_info=True,
        trust_remote_code=False,
    )
    said = load_file(os.path.join(own, "said.safetensors"))
    with torch.no_grad():
        logits = model.eval()(said["tokens"], use_cache=False).logits
    same = torch.allclose(logits, said["logits"], rtol=1e-5, atol=1e-6)
    if not found["missing_keys"] and not found["unexpected_keys"] and same:
        open(os.path.join(own, "loads"), "w").close()
