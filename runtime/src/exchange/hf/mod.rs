//! Hugging Face: folders that transformers writes become runs, and runs such folders again.
//!
//! What a class computes is a text of `.arch`, and where its weights have their places a map, a text too ([`map`]); both
//! are shipped below `specs/hf`. A run keeps in `hf/` what the folder held beside its weights, so that it can be written
//! again as it was.

mod compare;
mod export;
mod folder;
mod import;
mod map;
mod numbers;
pub mod own;
mod template;
mod tokenizer;
mod value;
mod vocabulary;
mod weights;

use std::path::{Path, PathBuf};

use lrc_compiler::graph::{Model, build};
use lrc_dsl::{Sources, load_text};
use serde::{Deserialize, Serialize};

use crate::config::open::choose;
use crate::ground::error::Failure;
use crate::ground::library::{LIBRARY, MAPS};
use map::Map;
use template::{fill, names};
use value::{Names, Value};

pub use safetensors::tensor::Dtype;

pub use compare::{Compared, TOLERANCE, against};
pub use export::{Export, as_stored, export, rounded};
pub use import::{Import, Imported, import};

/// The folder of a run that holds what the folder held beside its weights.
use crate::train::ORIGIN as KEPT;

/// The map of a run, in that folder.
const MAP: &str = "map.txt";
/// Where tensors lay, in that folder.
const STORED: &str = "stored.json";
/// The model's text as it was imported, in that folder and in that of the run.
const ARCH: &str = "model.arch";
/// Tensors that no parameter holds, in that folder.
const OTHERS: &str = "others.safetensors";

/// What a run remembers of the folder it was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Origin {
    /// The map's name.
    map: String,
    /// The class.
    class: String,
    /// The files of tensors.
    shards: Vec<folder::Shard>,
}

/// What a folder's configuration means: its map, its names, and its model with the model's text.
struct Meaning {
    map: Map,
    names: Names,
    model: Model,
    text: String,
}

/// The class that a configuration names.
fn class(config: &serde_json::Value) -> Result<String, Failure> {
    let named =
        config.get("architectures").and_then(|all| all.get(0)).and_then(|name| name.as_str());
    named.map(str::to_string).ok_or_else(|| {
        let message =
            "config.json does not say in `architectures` which class of transformers it is of";
        Failure::invalid("E0601", message)
    })
}

/// A map with its text, and the folder that its model's `use` looks into first.
struct Chosen {
    map: Map,
    text: String,
    folder: Option<PathBuf>,
}

/// The map of a class: that of a file, or a shipped one.
fn map_of(class: &str, file: Option<&Path>, sources: &mut Sources) -> Result<Chosen, Failure> {
    if let Some(path) = file {
        let text = crate::ground::bounded::text(path, crate::ground::bounded::WRITTEN)?;
        let name = path.file_stem().map_or("map".into(), |name| name.to_string_lossy());
        let map = map::read(&name, &text, sources)?;
        return match map.classes.iter().any(|known| known == class) {
            true => Ok(Chosen { map, text, folder: path.parent().map(Path::to_path_buf) }),
            false => {
                Err(Failure::invalid("E0602", format!("{} is no map of {class}", path.display())))
            }
        };
    }
    let mut known = Vec::new();
    for (path, text) in MAPS {
        let name = Path::new(path).file_stem().map_or("map".into(), |name| name.to_string_lossy());
        let map = map::read(&name, text, sources)?;
        if map.classes.iter().any(|known| known == class) {
            return Ok(Chosen { map, text: (*text).to_string(), folder: None });
        }
        known.extend(map.classes);
    }
    let diag = lrc_dsl::Diag::global("E0602", format!("no map knows the class {class}"));
    Err(Failure::Invalid(vec![
        diag.help_nearest(class, "known classes", known.iter().map(String::as_str))
            .help("docs/huggingface.md says how a map is written; `--map FILE` takes one"),
    ]))
}

/// Makes the model that a configuration means; `folder` is where its text may use files of.
fn meaning(
    map: Map,
    folder: Option<&Path>,
    config: &serde_json::Value,
    sources: &mut Sources,
) -> Result<Meaning, Failure> {
    let names = names(&map, &Value::of(config))?;
    let text = fill(&map, &names)?;
    let (namespace, mut diags) =
        load_text(&format!("hf/{}.map", map.name), text, folder, LIBRARY, sources);
    if diags.iter().any(lrc_dsl::Diag::is_error) {
        return Err(Failure::Invalid(diags));
    }
    let decl = choose(&namespace, None, Path::new(&map.name))?;
    let Some(model) = build(&namespace, decl, &Default::default(), &mut diags) else {
        return Err(Failure::Invalid(diags));
    };
    let decls = namespace.decls.values().cloned().collect();
    let text = lrc_dsl::print::print(&lrc_dsl::ast::File::of(decls));
    Ok(Meaning { map, names, model, text })
}
