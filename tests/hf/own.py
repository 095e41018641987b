"""Loads folders with a modelling file of their own, and compares them with what lrc says: FOLDER NAME…

FOLDER/NAME/said.safetensors holds tokens with their logits, and the likeliest tokens behind two prompts. FOLDER/NAME/found.json
becomes the largest difference of logits, that of the same in f64, and whether greedy tokens are the same: of each prompt alone with what is remembered,
without it, and of both together with padding on the left of the shorter one; and whether two that go on from beams are.
"""

import copy
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors.torch import load_file

folder, *names = sys.argv[1:]
torch.set_num_threads(1)


def greedy(model, prompts, count, **more):
    width = max(len(prompt) for prompt in prompts)
    tokens = torch.stack([torch.nn.functional.pad(prompt, (width - len(prompt), 0)) for prompt in prompts])
    mask = torch.stack([(torch.arange(width) >= width - len(prompt)).long() for prompt in prompts])
    made = model.generate(
        tokens, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0,
        eos_token_id=None, **more,
    )
    return made[:, width:]


def compare(name):
    own = os.path.join(folder, name)
    said = load_file(os.path.join(own, "said.safetensors"))
    model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
        os.path.join(own, "exported"), trust_remote_code=True, output_loading_info=True, local_files_only=True,
    )
    model.eval()
    with torch.no_grad():
        logits = model(said["tokens"]).logits
        rounding = (copy.deepcopy(model).double()(said["tokens"]).logits - logits).abs().max().item()
    prompts, wanted = [said["prompt.0"], said["prompt.1"]], [said["greedy.0"], said["greedy.1"]]
    count = len(wanted[0])
    alone = [greedy(model, [prompt], count)[0] for prompt in prompts]
    anew = greedy(model, prompts[:1], count, use_cache=False)[0]
    beams = [greedy(model, prompts, count, num_beams=3, use_cache=remembers) for remembers in (True, False)]
    same = {
        "alone": all(torch.equal(a, b) for a, b in zip(alone, wanted)),
        "anew": torch.equal(anew, wanted[0]),
        "padded": torch.equal(greedy(model, prompts, count), torch.stack(wanted)),
        "beams": torch.equal(*beams),
        "keys": not loaded["missing_keys"] and not loaded["unexpected_keys"],
    }
    gaps = {"logits": (logits - said["logits"]).abs().max().item(), "rounding": rounding}
    return {**gaps, "largest": said["logits"].abs().max().item(), **same}


for name in names:
    with open(os.path.join(folder, name, "found.json"), "w") as file:
        json.dump(compare(name), file)
