//! Folders of transformers without transformers: round trips, and what is refused of them.

use std::path::{Path, PathBuf};

use lrc_runtime::ground::tensors::{self, Tensor, Tensors};
use serde_json::{Value as Json, json};

use crate::common::{empty, lrc, path, said};
use crate::same_bytes;

pub const WIDTH: usize = 8;
pub const HIDDEN: usize = 12;
pub const VOCAB: usize = 17;

fn config() -> Json {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": HIDDEN, "vocab_size": VOCAB,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false, "rope_theta": 10000.0,
        "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2
    })
}

/// Numbers that bf16 holds.
fn tensor(shape: &[usize], salt: usize) -> Tensor {
    let numbers =
        (0..shape.iter().product()).map(|i: usize| ((i * 7 + salt * 3) % 32) as f32 / 64.0 - 0.25);
    Tensor::f32(shape.to_vec(), numbers.collect())
}

pub fn weights() -> Tensors {
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let shapes = [
        ("model.embed_tokens.weight".to_string(), vec![VOCAB, WIDTH]),
        ("lm_head.weight".to_string(), vec![VOCAB, WIDTH]),
        ("model.norm.weight".to_string(), vec![WIDTH]),
        (layer("input_layernorm"), vec![WIDTH]),
        (layer("post_attention_layernorm"), vec![WIDTH]),
        (layer("self_attn.q_proj"), vec![WIDTH, WIDTH]),
        (layer("self_attn.k_proj"), vec![WIDTH / 2, WIDTH]),
        (layer("self_attn.v_proj"), vec![WIDTH / 2, WIDTH]),
        (layer("self_attn.o_proj"), vec![WIDTH, WIDTH]),
        (layer("mlp.gate_proj"), vec![HIDDEN, WIDTH]),
        (layer("mlp.up_proj"), vec![HIDDEN, WIDTH]),
        (layer("mlp.down_proj"), vec![WIDTH, HIDDEN]),
    ];
    shapes.into_iter().enumerate().map(|(at, (name, shape))| (name, tensor(&shape, at))).collect()
}

fn write(folder: &Path, config: &Json, weights: &Tensors) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    tensors::write(&folder.join("model.safetensors"), weights).unwrap();
}

/// A sound folder.
pub fn sound(name: &str) -> PathBuf {
    let folder = empty(name);
    write(&folder, &config(), &weights());
    folder
}

/// The same in two shards.
fn sharded(name: &str) -> PathBuf {
    let folder = sound(name);
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let (mut first, mut second) = (Tensors::new(), Tensors::new());
    let mut map = serde_json::Map::new();
    for (at, (name, tensor)) in weights().into_iter().enumerate() {
        let (shard, file) = if at % 2 == 0 { (&mut first, "a") } else { (&mut second, "b") };
        map.insert(name.clone(), format!("model-{file}.safetensors").into());
        shard.insert(name, tensor);
    }
    tensors::write(&folder.join("model-a.safetensors"), &first).unwrap();
    tensors::write(&folder.join("model-b.safetensors"), &second).unwrap();
    index(&folder, &map.into());
    folder
}

fn index(folder: &Path, map: &Json) {
    let index = json!({ "metadata": {}, "weight_map": map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// Imports a folder into `run` in it.
pub fn import(folder: &Path, more: &[&str]) -> std::process::Output {
    let run = folder.join("run");
    lrc(&[&["import", "hf", path(folder), "--out", path(&run)], more].concat())
}

/// A folder that was imported generates, is measured as far as it has data, and is written again as it was; its Python and its
/// pickles are not taken along.
#[test]
fn a_folder_becomes_a_run_and_a_folder_again() {
    let folder = sharded("hf-sound");
    for name in ["modeling_llama.py", "pytorch_model.bin", "generation_config.json"] {
        std::fs::write(folder.join(name), "{}").unwrap();
    }
    let made = import(&folder, &[]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(
        text.contains("LlamaForCausalLM (llama.map): 12 tensors") && text.contains("NOT COMPARED"),
        "{text}"
    );
    let run = folder.join("run");
    let prompt = [
        "generate",
        path(&run),
        "--prompt",
        "3 5",
        "--tokens",
        "4",
        "--temperature",
        "0",
        "--json",
    ];
    let told: Json = serde_json::from_slice(&lrc(&prompt).stdout).unwrap();
    assert_eq!(told["tokens"].as_array().unwrap().len(), 4, "{told}");
    let questions = folder.join("questions.jsonl");
    std::fs::write(&questions, r#"{"prompt": "3 4", "answer": "5"}"#).unwrap();
    let asked = lrc(&["eval", path(&run), "--questions", path(&questions), "--json"]);
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    let to = folder.join("exported");
    let done = lrc(&["export", "hf", path(&run), "--out", path(&to)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert!(same_bytes(&folder, &to));
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
    assert_eq!(read(&folder, "config.json"), read(&to, "config.json"));
    let map = |folder: &Path| -> Json {
        let index: Json =
            serde_json::from_slice(&read(folder, "model.safetensors.index.json")).unwrap();
        index["weight_map"].clone()
    };
    assert_eq!(map(&folder), map(&to));
    assert!(to.join("generation_config.json").exists());
    for name in ["modeling_llama.py", "pytorch_model.bin"] {
        assert!(!to.join(name).exists() && !run.join("hf").join(name).exists(), "{name}");
    }
    let again = lrc(&["export", "hf", path(&run), "--out", path(&to)]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    let again = import(&folder, &[]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
}

/// Weights of another type are the nearest numbers of it, and the configuration says so.
#[test]
fn weights_are_written_in_another_type() {
    let folder = sound("hf-types");
    assert_eq!(import(&folder, &[]).status.code(), Some(0));
    let (run, to) = (folder.join("run"), folder.join("exported"));
    let done = lrc(&["export", "hf", path(&run), "--out", path(&to), "--dtype", "bf16", "--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let told: Json = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(told["logits"]["compared"], "NOT COMPARED");
    let bytes = std::fs::read(to.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.iter().all(|(_, view)| view.dtype() == safetensors::Dtype::BF16));
    assert_eq!(tensors::read(&to.join("model.safetensors")).unwrap(), weights());
    let config: Json =
        serde_json::from_slice(&std::fs::read(to.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    let spared: Json =
        serde_json::from_slice(&std::fs::read(to.join("do_not_quantise.json")).unwrap()).unwrap();
    assert_eq!(spared["modules"], json!([]), "attention remembers no state");
}

/// Where a comparison is required, one that cannot be made is a failure.
#[test]
fn a_comparison_that_is_required_is_made() {
    let folder = sound("hf-compare");
    let alone = import(&folder, &["--require-compare"]);
    assert_eq!(alone.status.code(), Some(2), "{}", said(&alone));
    let false_python = import(&folder, &["--require-compare", "--python", "/bin/false"]);
    assert_eq!(false_python.status.code(), Some(1), "{}", said(&false_python));
    std::fs::remove_dir_all(folder.join("run")).unwrap();
    let not_required = import(&folder, &["--python", "/bin/false", "--json"]);
    assert_eq!(not_required.status.code(), Some(0), "{}", said(&not_required));
    let told: Json = serde_json::from_slice(&not_required.stdout).unwrap();
    assert_eq!(told["logits"]["compared"], "NOT COMPARED");
}

/// A configuration with a field changed.
fn with(name: &str, value: Json) -> Json {
    let mut config = config();
    config[name] = value;
    config
}

fn refused(folder: &Path, told: &str) {
    let done = import(folder, &[]);
    let text = said(&done);
    assert_eq!(done.status.code(), Some(3), "{text}");
    assert!(text.contains(told), "expected {told:?} in: {text}");
    assert!(!folder.join("run").exists(), "a run was begun: {text}");
}

/// Configurations that cannot be followed.
#[test]
fn configurations_are_refused() {
    let folder = sound("hf-config");
    let cases = [
        (with("architectures", json!(["LlamaForCausalML"])), "did you mean `LlamaForCausalLM`"),
        (with("architectures", Json::Null), "does not say in `architectures`"),
        (with("hidden_act", json!("gelu")), "an activation other than SiLU"),
        (
            with("rope_scaling", json!({"rope_type": "yarn"})),
            "positions that are scaled in another way",
        ),
        (with("num_hidden_layers", json!(1e9)), "E0102"),
        (with("num_hidden_layers", json!(2)), "0 of the 64 numbers of the parameter"),
        (with("hidden_size", json!(1_000_000_000)), "too large: a tensor holds at most"),
        (with("hidden_size", json!(-8)), "-8"),
        (with("vocab_size", json!("$(rm)")), "a text has no place in a model"),
        (with("intermediate_size", json!("1) } mixer x() { //")), "a text has no place in a model"),
        (with("intermediate_size", Json::Null), "null has no place in a model"),
        (json!([1, 2]), "does not say in `architectures`"),
    ];
    for (config, told) in cases {
        write(&folder, &config, &weights());
        refused(&folder, told);
    }
    std::fs::write(folder.join("config.json"), "{\"a\": ").unwrap();
    refused(&folder, "config.json is no sound JSON");
    std::fs::remove_file(folder.join("config.json")).unwrap();
    refused(&folder, "there is no config.json");
}

/// Something done to sound weights.
type Change<'c> = &'c dyn Fn(&mut Tensors);

/// Weights that have no place, or not all of which are there.
#[test]
fn weights_without_a_place_are_refused() {
    let folder = sound("hf-weights");
    let q = "model.layers.0.self_attn.q_proj.weight";
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let mut all = weights();
        change(&mut all);
        all
    };
    let cases: [(Change, &str); 5] = [
        (&|all| drop(all.remove(q)), "0 of the 64 numbers of the parameter"),
        (&|all| drop(all.insert(q.into(), tensor(&[4, 16], 1))), "its shape is [4, 16]"),
        (
            &|all| drop(all.insert("model.norm.bias".into(), tensor(&[8], 1))),
            "no line of llama.map names it",
        ),
        (
            &|all| {
                drop(all.insert("model.layers.7.mlp.up_proj.weight".into(), tensor(&[12, 8], 1)))
            },
            "the model has no parameter `layers.15.hf_mlp.up.weight`",
        ),
        (
            &|all| {
                let whole = Tensor { shape: vec![8], data: tensors::Data::I64(vec![1; 8]) };
                all.insert("model.norm.weight".into(), whole);
            },
            "is of type I64: expected F32, BF16 or F16",
        ),
    ];
    for (change, told) in cases {
        write(&folder, &config(), &changed(change));
        refused(&folder, told);
    }
    let tied = with("tie_word_embeddings", json!(true));
    write(&folder, &tied, &weights());
    refused(&folder, "differs from another one of the same parameter");
}

/// Files that are damaged, missing, elsewhere or pickles.
#[test]
fn hostile_files_are_refused() {
    let folder = sharded("hf-shards");
    let index_of = |file: &str| {
        let names = weights().into_keys().map(|name| (name, json!(file)));
        Json::Object(names.collect())
    };
    std::fs::copy(
        folder.join("model-a.safetensors"),
        folder.parent().unwrap().join("outside.safetensors"),
    )
    .unwrap();
    for file in [
        "../outside.safetensors",
        "/etc/passwd",
        "a/../../outside.safetensors",
        "..\\outside.safetensors",
        "model.bin",
        "..",
    ] {
        index(&folder, &index_of(file));
        refused(&folder, "which is no name of a safetensors file in this folder");
    }
    index(&folder, &index_of("model-c.safetensors"));
    refused(
        &folder,
        "the shard model-c.safetensors, which model.safetensors.index.json names, is missing",
    );
    index(&folder, &index_of("model-a.safetensors"));
    refused(&folder, "model-a.safetensors does not hold");
    index(&folder, &json!({}));
    refused(&folder, "lists no tensors");
    index(&folder, &json!([1]));
    refused(&folder, "has no `weight_map`");
    let bytes = std::fs::read(folder.join("model-a.safetensors")).unwrap();
    std::fs::write(folder.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    refused(&folder, "model.safetensors is not a sound safetensors file");
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    refused(&folder, "there is neither model.safetensors nor");
    std::fs::write(folder.join("pytorch_model.bin"), b"\x80\x04cos\nsystem\n").unwrap();
    refused(&folder, "its weights are pickles");
}

/// Maps of one's own say at which line they are wrong.
#[test]
fn maps_say_where_they_are_wrong() {
    let folder = sound("hf-maps");
    let map = folder.join("own.map");
    let cases = [
        ("", "own.map has no line `class`"),
        ("klass X", "own.map, line 1: `klass` begins no line here"),
        ("class LlamaForCausalLM\nlet x = )", "own.map, line 2"),
        (
            "class LlamaForCausalLM\nmodel\n@while x",
            "line 3: `@while` is none of @for, @if, @else, @end",
        ),
        ("class LlamaForCausalLM\nmodel\nx $(a\nweights", "line 3: `$(` without `)`"),
        ("class X\nmodel\nx\nweights\na = b", "is no map of LlamaForCausalLM"),
        (
            "class LlamaForCausalLM\nmodel\nx\nweights\na: b",
            "line 5: expected `TENSOR = PARAMETER, …`",
        ),
        (
            "class LlamaForCausalLM\nmodel\n$(nothing)\nweights\na = b",
            "config.json does not fit own.map: `nothing` is missing",
        ),
    ];
    for (text, told) in cases {
        std::fs::write(&map, text).unwrap();
        let done = import(&folder, &["--map", path(&map)]);
        let text = said(&done);
        assert_eq!(done.status.code(), Some(3), "{text}");
        assert!(text.contains(told), "expected {told:?} in: {text}");
    }
}
