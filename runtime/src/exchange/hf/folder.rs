//! Folders as transformers writes them: `config.json`, tensors in one file or in several with an index, a tokenizer.
//!
//! What such a folder says is read, never run: pickles and Python files in it are not opened.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ground::error::Failure;
use crate::ground::{atomic, bounded};

/// The most bytes of a text in a folder; tokenizers of large vocabularies take some 30 million.
const LARGEST_TEXT: u64 = 1 << 28;

/// What is taken along beside weights: texts that no program of ours needs, and that a folder is not whole without.
pub const BESIDE: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

/// One file of tensors.
const SINGLE: &str = "model.safetensors";
/// The list of several.
const INDEX: &str = "model.safetensors.index.json";

/// A tensor as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Where a tensor lies and what it is, so that the same folder can be written again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
}

/// A file of tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Its name in the folder.
    pub file: String,
    /// What it holds.
    pub tensors: Vec<Described>,
}

/// The tensors of a folder.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    /// By name.
    pub tensors: BTreeMap<String, Stored>,
    /// Their files.
    pub shards: Vec<Shard>,
}

fn unsound(folder: &Path, why: &str) -> Failure {
    Failure::invalid("E0601", format!("{}: {why}", folder.display()))
}

/// A JSON file of a folder.
pub fn json(folder: &Path, name: &str) -> Result<Json, Failure> {
    let path = folder.join(name);
    let text = bounded::text(&path, LARGEST_TEXT)?;
    serde_json::from_str(&text)
        .map_err(|why| unsound(folder, &format!("{name} is no sound JSON: {why}")))
}

/// The configuration.
pub fn config(folder: &Path) -> Result<Json, Failure> {
    if !folder.join("config.json").is_file() {
        return Err(unsound(
            folder,
            "there is no config.json: expected a folder as `save_pretrained` of transformers writes it",
        ));
    }
    json(folder, "config.json")
}

/// A plain name of a file of tensors: nothing that leads out of the folder.
fn plain(name: &str) -> bool {
    let only = Path::new(name).file_name().is_some_and(|file| file == name);
    only && !name.contains(['\\', ':', '\0']) && name.ends_with(".safetensors")
}

/// The names of the files of tensors, with the tensors that an index lists.
fn files(folder: &Path) -> Result<Vec<(String, Option<String>)>, Failure> {
    if folder.join(SINGLE).is_file() {
        return Ok(vec![(SINGLE.into(), None)]);
    }
    if !folder.join(INDEX).is_file() {
        let pickles = std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
            let path = entry.path();
            path.extension()
                .is_some_and(|e| e == "bin" || e == "pt" || e == "pth" || e == "pkl" || e == "ckpt")
        });
        let why = if pickles {
            "its weights are pickles, which can run any code when they are read: have them written as safetensors, \
             with `model.save_pretrained(FOLDER)` on a machine that may run them"
        } else {
            "there is neither model.safetensors nor model.safetensors.index.json"
        };
        return Err(unsound(folder, why));
    }
    let index = json(folder, INDEX)?;
    let Some(map) = index.get("weight_map").and_then(Json::as_object) else {
        return Err(unsound(folder, &format!("{INDEX} has no `weight_map`")));
    };
    let mut named = Vec::new();
    for (tensor, file) in map {
        match file.as_str() {
            Some(file) if plain(file) => named.push((file.to_string(), Some(tensor.clone()))),
            _ => {
                let why = format!(
                    "{INDEX} says that `{tensor}` lies in {file}, which is no name of a safetensors file in this folder"
                );
                return Err(unsound(folder, &why));
            }
        }
    }
    if named.is_empty() {
        return Err(unsound(folder, &format!("{INDEX} lists no tensors")));
    }
    Ok(named)
}

/// What a stored tensor is.
pub fn described(name: &str, stored: &Stored) -> Described {
    Described { name: name.into(), dtype: stored.dtype, shape: stored.shape.clone() }
}

/// Reads a file of tensors: by name, and in their order.
pub fn read_one(
    folder: &Path,
    file: &str,
) -> Result<(BTreeMap<String, Stored>, Vec<Described>), Failure> {
    let bytes = bounded::bytes(&folder.join(file))?;
    let read = SafeTensors::deserialize(&bytes).map_err(|why| {
        unsound(folder, &format!("{file} is not a sound safetensors file: {why}"))
    })?;
    let (mut tensors, mut order) = (BTreeMap::new(), Vec::new());
    for (name, view) in read.iter() {
        let (dtype, shape) = (view.dtype(), view.shape().to_vec());
        let stored = Stored { dtype, shape, bytes: view.data().to_vec() };
        order.push(described(name, &stored));
        tensors.insert(name.to_string(), stored);
    }
    Ok((tensors, order))
}

/// Reads all tensors of a folder.
pub fn weights(folder: &Path) -> Result<Weights, Failure> {
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, tensor) in files(folder)? {
        listed.entry(file).or_default().extend(tensor);
    }
    let mut all = Weights::default();
    for (file, tensors) in listed {
        let path = folder.join(&file);
        if !path.exists() {
            return Err(unsound(
                folder,
                &format!("the shard {file}, which {INDEX} names, is missing"),
            ));
        }
        let (mut read, held) = read_one(folder, &file)?;
        if let Some(name) = read.keys().find(|name| all.tensors.contains_key(*name)) {
            return Err(unsound(folder, &format!("two shards hold `{name}`")));
        }
        all.tensors.append(&mut read);
        if let Some(tensor) =
            tensors.iter().find(|name| !held.iter().any(|held| held.name == **name))
        {
            let why = format!("{file} does not hold `{tensor}`, which {INDEX} says it does");
            return Err(unsound(folder, &why));
        }
        all.shards.push(Shard { file, tensors: held });
    }
    Ok(all)
}

/// Writes a file of tensors; gives their bytes.
pub fn write_one(
    folder: &Path,
    shard: &Shard,
    mut tensor: impl FnMut(&Described) -> Result<Stored, Failure>,
) -> Result<usize, Failure> {
    let stored = shard.tensors.iter().map(|described| Ok((described, tensor(described)?)));
    let stored = stored.collect::<Result<Vec<_>, Failure>>()?;
    let mut views = Vec::new();
    for (described, Stored { dtype, shape, bytes }) in &stored {
        let view = TensorView::new(*dtype, shape.clone(), bytes)
            .map_err(|why| Failure::World(format!("tensor `{}`: {why}", described.name)))?;
        views.push((described.name.as_str(), view));
    }
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    let bytes = safetensors::serialize(views, metadata)
        .map_err(|why| Failure::World(format!("{}: {why}", shard.file)))?;
    atomic::write(&folder.join(&shard.file), &bytes)?;
    Ok(stored.iter().map(|(_, stored)| stored.bytes.len()).sum())
}

/// Writes files of tensors, and the index where there are several.
pub fn write(
    folder: &Path,
    shards: &[Shard],
    mut tensor: impl FnMut(&Described) -> Result<Stored, Failure>,
) -> Result<(), Failure> {
    let mut size = 0;
    for shard in shards {
        size += write_one(folder, shard, &mut tensor)?;
    }
    if shards.len() == 1 && shards[0].file == SINGLE {
        return Ok(());
    }
    let names =
        shards.iter().flat_map(|shard| shard.tensors.iter().map(|t| (&t.name, &shard.file)));
    let map: BTreeMap<&String, &String> = names.collect();
    let index = serde_json::json!({ "metadata": { "total_size": size }, "weight_map": map });
    let text =
        serde_json::to_string_pretty(&index).map_err(|why| Failure::World(why.to_string()))?;
    atomic::write(&folder.join(INDEX), text.as_bytes())
}
