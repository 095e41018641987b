"""lm-evaluation-harness on folders, with a task of a local file: QUESTIONS FOLDER… runs it, and prints a JSON object with the
accuracy and the share of exact answers of each folder; `make TOKENIZER TO` makes a tiny folder of a class to run it on.

QUESTIONS has a JSON object in each line: a `prompt`, `choices` and the number of the right one, `answer`.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"

import torch
import transformers

# Tiny products gain nothing from threads.
torch.set_num_threads(1)


def make(tokenizer, to):
    torch.manual_seed(7)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=True)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(to)
    tokenizer.save_pretrained(to)


def run(questions, folder):
    import lm_eval

    task = {
        "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": questions}}, "test_split": "test",
        "doc_to_text": "{{prompt}}", "target_delimiter": "",
    }
    choice = dict(
        task, task="choice", output_type="multiple_choice", doc_to_choice="{{choices}}", doc_to_target="answer",
        metric_list=[{"metric": "acc"}],
    )
    words = dict(
        task, task="words", output_type="generate_until", doc_to_target="{{choices[answer]}}",
        generation_kwargs={"until": ["."], "max_gen_toks": 8, "do_sample": False}, metric_list=[{"metric": "exact_match"}],
    )
    found = lm_eval.simple_evaluate(
        model="hf", model_args={"pretrained": folder, "trust_remote_code": True}, tasks=[choice, words], device="cpu", batch_size=4,
    )["results"]
    return {"choice": found["choice"]["acc,none"], "words": found["words"]["exact_match,none"]}


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    questions, *folders = sys.argv[1:]
    print(json.dumps([run(questions, folder) for folder in folders]))
