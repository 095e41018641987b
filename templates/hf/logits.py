"""Logits of a folder's class in transformers: FOLDER OUT TOKENS class|own, run by `lrc import hf --python` and `lrc export hf --python`.

No code of the folder is run (`trust_remote_code=False`) unless it is of lrc's own making, pickles are not read, and nothing is fetched.
"""

import json
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

folder, out, tokens, whose = sys.argv[1:]
model, found = AutoModelForCausalLM.from_pretrained(
    folder,
    dtype=torch.float32,
    attn_implementation="eager",
    trust_remote_code=whose == "own",
    local_files_only=True,
    use_safetensors=True,
    output_loading_info=True,
)
if found["missing_keys"] or found["mismatched_keys"]:
    sys.exit(f"the class misses weights: {sorted(found['missing_keys'])} {sorted(found['mismatched_keys'])}")
model.eval()
with torch.no_grad():
    logits = model(torch.tensor(json.loads(tokens)), use_cache=False).logits
save_file({"logits": logits.float().contiguous()}, out)
