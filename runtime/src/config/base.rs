//! `model.from`: a model that is there, and what a spec takes of it where it says nothing itself.

use std::path::{Path, PathBuf};

use lrc_dsl::{Diag, FileId};

use super::data;
use super::fields::{Fields, finding};
use super::tree::{self, Key, Tree, Value};
use crate::ground::bounded;

/// What a run begins with that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// A run's folder, or one of its checkpoints.
    pub folder: PathBuf,
    /// Whether its vocabulary may be another.
    pub resize: bool,
}

/// What a run's folder keeps its spec and its model in.
const SPEC: &str = "spec.resolved.yaml";
const MODEL: &str = "model.arch";

/// Reads `from` and `vocab`.
pub fn start(f: &mut Fields, base: &Path) -> Option<Start> {
    let Some(folder) = data::anchored(f, "from", base) else {
        if let Some(tree) = f.get("vocab") {
            let message = "`vocab` is about the weights of `from`, which is not given";
            let diag = finding(tree.span, "E0402", message.into());
            f.diags
                .push(diag.help("parameters of a model are given in `set`: `set: {vocab: 300}`"));
        }
        return None;
    };
    Some(Start { folder, resize: f.word_or("vocab", [false, true]) })
}

/// The run that a folder is, or that it is a checkpoint of.
pub fn run_of(folder: &Path) -> Option<PathBuf> {
    let above = || Some(folder.parent()?.parent()?.to_path_buf());
    let is_run = |folder: &PathBuf| folder.join(SPEC).is_file();
    Some(folder.to_path_buf()).filter(is_run).or_else(|| above().filter(is_run))
}

/// Completes `model` where it has `from` and no `file`: with the file of that run, and its name, `set` and `layers` as far as
/// they are not given.
pub fn complete(spec: &mut Tree, base: &Path, file: FileId, diags: &mut Vec<Diag>) {
    let Some(model) = field(spec, "model") else { return };
    let Some(Tree { value: Value::Text(from), span }) = field(model, "from").cloned() else {
        return;
    };
    if field(model, "file").is_some() {
        return;
    }
    let folder = base.join(&from);
    let kept = run_of(&folder).ok_or_else(|| no_run(&folder));
    match kept.and_then(|run| Ok((kept_model(&run, file)?, run))) {
        Ok((kept, run)) => take(model, kept, &run),
        Err(why) => {
            let diag = finding(span, "E0402", format!("`from`: {why}"));
            diags.push(diag.help(
                "with `file: my.arch` beside it the model is that of the file, and its weights alone come from there",
            ));
        }
    }
}

/// Says what a folder is not.
pub fn no_run(folder: &Path) -> String {
    let path = folder.display();
    if !folder.is_dir() {
        return format!("there is no folder {path}");
    }
    if folder.join("config.json").is_file() {
        return format!(
            "{path} is a folder of transformers: `lrc import hf {path} --out RUN` makes a run of it"
        );
    }
    format!("{path} is no run: expected a folder such as runs/NAME, or one of its checkpoints")
}

/// `model` of the spec that a run keeps; its places are in another file.
fn kept_model(run: &Path, file: FileId) -> Result<Tree, String> {
    let path = run.join(SPEC);
    let unread = |why: String| format!("{} cannot be read: {why}", path.display());
    let text = bounded::text(&path, bounded::WRITTEN).map_err(|why| unread(why.to_string()))?;
    let mut spec = tree::parse(file, &text).map_err(|diag| unread(diag.message.clone()))?;
    let model = field(&mut spec, "model").ok_or_else(|| unread("it has no `model`".into()))?;
    Ok(without_places(model))
}

fn take(model: &mut Tree, mut kept: Tree, run: &Path) {
    let path = std::path::absolute(run.join(MODEL)).unwrap_or_else(|_| run.join(MODEL));
    let renamed = field(model, "name").is_some();
    put(
        model,
        "file",
        Tree { value: Value::Text(path.to_string_lossy().into_owned()), span: None },
    );
    if renamed {
        // Parameters of another model of the file mean nothing to this one.
        return;
    }
    if let Some(name) = field(&mut kept, "name") {
        put(model, "name", name.clone());
    }
    for part in ["set", "layers"] {
        let Some(Tree { value: Value::Map(theirs), .. }) = field(&mut kept, part).cloned() else {
            continue;
        };
        match field(model, part) {
            None => put(model, part, Tree { value: Value::Map(theirs), span: None }),
            Some(Tree { value: Value::Map(own), .. }) => {
                let missing = theirs.into_iter();
                let missing: Vec<_> = missing
                    .filter(|(key, _)| own.iter().all(|(k, _)| k.text != key.text))
                    .collect();
                own.extend(missing);
            }
            // What is wrong with it is said where it is read.
            Some(_) => {}
        }
    }
}

fn field<'t>(tree: &'t mut Tree, name: &str) -> Option<&'t mut Tree> {
    let Value::Map(entries) = &mut tree.value else { return None };
    let found = entries.iter_mut().find(|(key, _)| key.text == name);
    found.map(|(_, tree)| tree).filter(|tree| tree.value != Value::Null)
}

fn put(tree: &mut Tree, name: &str, value: Tree) {
    if let Value::Map(entries) = &mut tree.value {
        entries.retain(|(key, _)| key.text != name);
        entries.push((Key { text: name.into(), span: None }, value));
    }
}

fn without_places(tree: &Tree) -> Tree {
    let value = match &tree.value {
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, tree)| (Key { span: None, ..key.clone() }, without_places(tree)))
                .collect(),
        ),
        Value::List(items) => Value::List(items.iter().map(without_places).collect()),
        other => other.clone(),
    };
    Tree { value, span: None }
}
