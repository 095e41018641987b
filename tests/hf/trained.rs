//! Imported models that are trained on, and go out again.

use std::path::{Path, PathBuf};

use lrc_dsl::Sources;
use lrc_runtime::config::open::of_run;
use lrc_runtime::ground::tensors;
use lrc_runtime::model::Walk;
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;
use lrc_runtime::train::checkpoint;
use serde_json::{Value as Json, json};

use crate::common::{lrc, path, said};
use crate::folders::{HIDDEN, VOCAB, WIDTH, import, sound, weights};

/// Training goes on from an imported model with a part of it frozen: the loss falls, what is frozen goes out again as it came
/// in, and the rest does not.
#[test]
fn an_imported_model_is_trained_on_with_a_part_frozen() {
    let folder = sound("hf-fine");
    assert_eq!(import(&folder, &[]).status.code(), Some(0));
    let (run, fine, to) = (folder.join("run"), folder.join("fine"), folder.join("exported"));
    let spec = folder.join("fine.yaml");
    let text = format!(
        "model: {{file: {}}}\ntask: {{memorisation: {{vocab: {VOCAB}, length: 16}}}}\nbatch: 4\nlength: 60 steps\n\
         freeze: \"*.hf_attention.*, embedding\"\noptimizer: {{adamw: {{lr: 3e-2}}}}\n",
        path(&run.join("model.arch"))
    );
    std::fs::write(&spec, text).unwrap();
    let from = run.join("checkpoints/step-00000000");
    let done = lrc(&["train", path(&spec), "--from", path(&from), "--out", path(&fine)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    falls(&fine, 0.2);
    let done = lrc(&["export", "hf", path(&fine), "--out", path(&to)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let exported = tensors::read(&to.join("model.safetensors")).unwrap();
    for (name, before) in weights() {
        let frozen =
            ["self_attn", "input_layernorm", "embed_tokens"].iter().any(|part| name.contains(part));
        assert_eq!(exported[&name] == before, frozen, "{name}");
    }
}

/// The loss of a run falls by so much at least.
fn falls(run: &Path, by: f64) {
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let losses: Vec<f64> = lines.filter_map(|line| line["loss"].as_f64()).collect();
    assert!(losses[losses.len() - 1] < losses[0] - by, "{losses:?}");
}

/// Logits of a run's newest model.
fn logits(run: &Path) -> Vec<f32> {
    let model = of_run(run, &mut Sources::default()).unwrap().model;
    let params = checkpoint::parameters(run, None, &model.graph.params).unwrap();
    let mut walk = Walk::new(model, &params).unwrap();
    let mut batch = Batch::default();
    batch.push(&[3, 1, 4, 1, 5, 9, 2, 6], &[NONE; 8]);
    let hidden = walk.hidden(&batch).unwrap();
    walk.logits(&hidden).unwrap()
}

/// Low-rank products are trained beside an imported model, without a word of its text: it generates and answers, leaves as the
/// same class with the same shapes, what is frozen and has no product beside it keeps its bytes, and its logits are the same to 1e-6.
#[test]
fn low_rank_products_leave_merged() {
    let folder = sound("hf-lora");
    assert_eq!(import(&folder, &[]).status.code(), Some(0));
    let (run, fine, to) = (folder.join("run"), folder.join("fine"), folder.join("exported"));
    let spec = folder.join("fine.yaml");
    let text = format!(
        "model: {{from: {}}}\ntask: {{memorisation: {{vocab: {VOCAB}, length: 16}}}}\nbatch: 4\nlength: 80 steps\n\
         only: \"lora, head\"\nlora: {{rank: 2, targets: [\"*.q0.weight\", \"*.v.weight\", \"*.hf_mlp.*\"]}}\noptimizer: {{adamw: {{lr: 5e-2}}}}\n",
        path(&run)
    );
    std::fs::write(&spec, text).unwrap();
    let done = lrc(&["train", path(&spec), "--out", path(&fine)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(said(&done).contains(" of them trained"), "{}", said(&done));
    falls(&fine, 0.1);
    let counted: Json =
        serde_json::from_slice(&lrc(&["params", path(&fine), "--json"]).stdout).unwrap();
    let numbers = |name: &str| counted[name].as_u64().unwrap();
    // A and B of rank 2 beside q, v, gate, up, down; and the head.
    let width = WIDTH as u64;
    let ways = [width, width / 2].map(|out| 2 * (width + out)).iter().sum::<u64>();
    let head = VOCAB as u64 * width;
    assert_eq!(numbers("trained"), ways + 3 * 2 * (width + HIDDEN as u64) + head, "{counted}");
    assert!(numbers("parameters") > numbers("trained"));
    let prompt = ["generate", path(&fine), "--prompt", "3 5", "--tokens", "4", "--json"];
    assert_eq!(lrc(&prompt).status.code(), Some(0));
    let done = lrc(&["export", "hf", path(&fine), "--out", path(&to)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let exported = tensors::read(&to.join("model.safetensors")).unwrap();
    assert_eq!(exported.len(), weights().len());
    for (name, before) in weights() {
        let beside = ["q_proj", "v_proj", "mlp", "lm_head"].iter().any(|part| name.contains(part));
        assert_eq!(exported[&name] != before, beside, "{name}");
    }
    assert_eq!(import(&to, &[]).status.code(), Some(0));
    let (apart, merged) = (logits(&fine), logits(&to.join("run")));
    let gaps = apart.iter().zip(&merged).map(|(a, b)| (a - b).abs());
    let (gap, largest) =
        (gaps.fold(0.0, f32::max), apart.iter().fold(1.0, |m: f32, x| m.max(x.abs())));
    assert!(gap <= 1e-6 * largest, "{gap:e} of {largest}");
}

/// A tokenizer of so many words, written with room.
fn tokenizer(words: usize) -> String {
    let mut vocab: serde_json::Map<String, Json> =
        (0..words).map(|at| (format!("w{at}"), json!(at))).collect();
    vocab.remove("w2");
    vocab.insert("</s>".into(), json!(2));
    let added = json!({
        "id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true
    });
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"}
    });
    serde_json::to_string_pretty(&whole).unwrap()
}

/// Data of a folder, made with a tokenizer.
fn data(folder: &Path, name: &str, tokenizer: &Path, words: usize) -> PathBuf {
    let (text, out) = (folder.join(format!("{name}.txt")), folder.join(name));
    let words: Vec<String> = (0..600).map(|at| format!("w{}", at * 7 % words)).collect();
    std::fs::write(&text, words.join(" ")).unwrap();
    let done = lrc(&[
        "data",
        "tokenize",
        "--tokenizer",
        path(tokenizer),
        "--out",
        path(&out),
        path(&text),
    ]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    out
}

/// Data of the model's own tokenizer is taken, that of another one only where this is said; then the model goes out with that
/// tokenizer and its tokens, as a folder that is read again.
#[test]
fn an_imported_model_learns_another_vocabulary() {
    let folder = sound("hf-vocabulary");
    std::fs::write(folder.join("tokenizer.json"), tokenizer(VOCAB)).unwrap();
    assert_eq!(import(&folder, &[]).status.code(), Some(0));
    let (run, to) = (folder.join("run"), folder.join("exported"));
    std::fs::write(folder.join("more.json"), tokenizer(VOCAB + 3)).unwrap();
    let own = data(&folder, "own", &run.join("hf/tokenizer.json"), VOCAB);
    let other = data(&folder, "other", &folder.join("more.json"), VOCAB + 3);
    let spec = folder.join("fine.yaml");
    let trained = |data: &Path, model: &str, out: &str| {
        let text = format!(
            "model: {{from: {}{model}}}\ndata: {{path: {}, length: 16}}\nbatch: 2\nlength: 3 steps\neval: {{every: 0}}\n",
            path(&run),
            path(data)
        );
        std::fs::write(&spec, text).unwrap();
        lrc(&["train", path(&spec), "--out", path(&folder.join(out))])
    };
    let done = trained(&own, "", "same");
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let done = trained(&other, "", "refused");
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    let more = format!(", set: {{vocab: {}}}", VOCAB + 3);
    let done = trained(&other, &more, "refused");
    assert!(said(&done).contains("another tokenizer than that of"), "{}", said(&done));
    let done = trained(&other, &format!("{more}, vocab: resize"), "fine");
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let done = lrc(&["export", "hf", path(&folder.join("fine")), "--out", path(&to)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let exported = tensors::read(&to.join("model.safetensors")).unwrap();
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        assert_eq!(exported[name].shape, [VOCAB + 3, WIDTH], "{name}");
    }
    let read = |name: &str| -> Json {
        serde_json::from_slice(&std::fs::read(to.join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("config.json")["vocab_size"], json!(VOCAB + 3));
    assert_eq!(read("tokenizer.json")["model"]["vocab"].as_object().unwrap().len(), VOCAB + 3);
    assert_eq!(import(&to, &[]).status.code(), Some(0));
    assert_eq!(logits(&folder.join("fine")), logits(&to.join("run")));
    let again = to.join("run");
    let done = lrc(&["generate", path(&again), "--prompt", "w19 w3", "--tokens", "3", "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let bytes = folder.join("bytes");
    let done = lrc(&["data", "tokenize", "--out", path(&bytes), path(&folder.join("more.json"))]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let done = trained(&bytes, ", set: {vocab: 257}, vocab: resize", "spelled");
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let (spelled, to) = (folder.join("spelled"), folder.join("as bytes"));
    let done = lrc(&["export", "hf", path(&spelled), "--out", path(&to)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let text = std::fs::read_to_string(to.join("tokenizer.json")).unwrap();
    let bytes: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(bytes["model"]["vocab"].as_object().unwrap().len(), 256);
    std::fs::remove_file(other.join("tokenizer.json")).unwrap();
    let done = trained(&other, &format!("{more}, vocab: resize"), "gone");
    assert_ne!(done.status.code(), Some(0));
    assert!(said(&done).contains("tokenizer.json"), "{}", said(&done));
}
