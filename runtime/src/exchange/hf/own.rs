//! A run as a folder with a modelling file of its own, which transformers loads with `trust_remote_code=True`: for every model,
//! whether or not transformers has a class that computes it.

use std::path::Path;

use lrc_compiler::graph::Model;
use safetensors::tensor::Dtype;
use serde_json::{Value as Json, json};

use super::export::{Export, empty, named};
use super::folder::{self, Described, Shard, Stored};
use super::{KEPT, numbers, tokenizer, vocabulary};
use crate::config::open::Opened;
use crate::data::codec::TextCodec;
use crate::exchange::torch;
use crate::ground::error::Failure;
use crate::ground::{atomic, bounded};

/// The name of the modelling file without its ending.
const FILE: &str = "modeling_lrc";

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// How many tensors.
    pub tensors: usize,
    /// Whether the folder has a tokenizer.
    pub tokenizer: bool,
}

/// Whether a run remembers a folder of transformers that it was imported from.
pub fn has_class(run: &Path) -> bool {
    run.join(KEPT).join(super::STORED).is_file()
}

/// Writes a run as a folder with its own modelling file.
pub fn export(to: &Export, opened: &Opened, params: &[Vec<f32>]) -> Result<Own, Failure> {
    let dtype = to.dtype.unwrap_or(Dtype::F32);
    write(to.folder, &opened.model, &opened.arch, params, dtype)?;
    let end = beside(to, opened)?;
    if let Some(Some(end)) = end {
        // A text that nothing comes before begins with the token between documents.
        let roles = ["bos_token_id", "eos_token_id", "pad_token_id"];
        let tokens = roles.map(|role| (role.to_string(), Json::from(end)));
        let mut config = config(&opened.model, dtype);
        if let Some(config) = config.as_object_mut() {
            config.extend(tokens.clone());
        }
        write_json(to.folder, "config.json", &config)?;
        let generation = serde_json::Map::from_iter(tokens);
        write_json(to.folder, "generation_config.json", &generation.into())?;
    }
    Ok(Own { tensors: params.len(), tokenizer: end.is_some() })
}

/// Writes a model with its numbers, without a tokenizer; `arch` is its text.
pub fn write(
    folder: &Path,
    model: &Model,
    arch: &str,
    params: &[Vec<f32>],
    dtype: Dtype,
) -> Result<(), Failure> {
    let text = torch::write(model, arch).map_err(|why| {
        Failure::invalid("E0603", format!("`{}` cannot be written in PyTorch: {why}", model.name))
    })?;
    empty(folder)?;
    atomic::write(&folder.join(format!("{FILE}.py")), text.as_bytes())?;
    let tensors = model.graph.params.iter().map(|param| {
        let (name, shape) = (param.name.clone(), param.shape.clone());
        Described { name, shape, dtype }
    });
    let shard = Shard { file: "model.safetensors".into(), tensors: tensors.collect() };
    let mut values = params.iter();
    folder::write_one(folder, &shard, |Described { shape, .. }| {
        let bytes = values.next().map_or(vec![], |all| numbers::write(dtype, all));
        Ok(Stored { dtype, shape: shape.clone(), bytes })
    })?;
    write_json(folder, "config.json", &config(model, dtype))
}

fn write_json(folder: &Path, name: &str, json: &Json) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(json).map_err(|e| Failure::World(e.to_string()))?;
    atomic::write(&folder.join(name), text.as_bytes())
}

fn config(model: &Model, dtype: Dtype) -> Json {
    let place = |class: &str| format!("{FILE}.{class}");
    json!({
        "architectures": [torch::CLASS],
        "auto_map": { "AutoConfig": place(torch::CONFIG), "AutoModelForCausalLM": place(torch::CLASS) },
        "model_type": "lrc", "dtype": named(dtype), "vocab_size": model.vocab, "hidden_size": model.width,
        "num_hidden_layers": model.layout.len(), "tie_word_embeddings": false,
    })
}

/// Writes the tokenizer: that of the folder the run came from, or that of its data where it is another. Gives the token that ends a document, if there
/// is one; nothing where tokens stand for no text.
fn beside(to: &Export, opened: &Opened) -> Result<Option<Option<u32>>, Failure> {
    let kept = to.run.join(KEPT);
    let taken = folder::BESIDE
        .iter()
        .filter(|name| !name.ends_with("config.json") || name.starts_with("tokenizer"));
    let another = kept.is_dir() && vocabulary::another(to.tokenizer.clone(), &kept)?.is_some();
    let taken: Vec<&&str> = taken.filter(|name| !another && kept.join(name).is_file()).collect();
    for name in &taken {
        let mut bytes = bounded::bytes(&kept.join(name))?;
        if **name == "tokenizer_config.json" {
            bytes = without_code(&bytes);
        }
        atomic::write(&to.folder.join(name), &bytes)?;
    }
    let codec = TextCodec::of(&opened.spec.task)?;
    let end = match &codec {
        TextCodec::Documents(tokenizer) => Some(tokenizer.end()),
        _ => None,
    };
    if taken.is_empty() {
        let Some(files) = tokenizer::files(&codec)? else { return Ok(None) };
        for (name, text) in files {
            atomic::write(&to.folder.join(name), text.as_bytes())?;
        }
    }
    Ok(Some(end))
}

/// The settings of a tokenizer without what names code of others: a folder of ours is loaded with `trust_remote_code=True`.
fn without_code(settings: &[u8]) -> Vec<u8> {
    let Ok(Json::Object(mut settings)) = serde_json::from_slice(settings) else {
        // What is no JSON names nothing.
        return settings.to_vec();
    };
    settings.remove("auto_map");
    Json::from(settings).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_others_is_not_named() {
        let settings =
            br#"{"auto_map": {"AutoTokenizer": ["some/where--tok.X", null]}, "eos_token": "</s>"}"#;
        assert_eq!(without_code(settings), br#"{"eos_token":"</s>"}"#);
    }
}
