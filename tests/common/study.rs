//! A small study, and what tests ask of a search over it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What trials train.
pub const SPEC: &str = "model: {file: tiny.arch}
task: {mqar: {vocab: 32, length: 16, pairs: 3}}
batch: 4
length: 12 steps
eval: {every: 0 steps, sequences: 8}
checkpoint: {every: 4 steps, keep: 1}
";

/// Their model.
pub const MODEL: &str = "use \"mixers/swiglu.arch\"
use \"mixers/attention.arch\"
model tiny(width = 8, hidden = 8, layers = 1) { vocab 32; residual x + f(rmsnorm(x))
    for i < layers { swiglu(hidden = hidden) }
    head rmsnorm(x), untied }
";

/// Six of them.
pub const STUDY: &str = "title: Widths
spec: spec.yaml
trials: 6
space:
  model.set.hidden: {int: [4, 64]}
  optimizer.adamw.lr: {float: [1e-4, 1e-1], log: true}
  model.layers.0: [\"swiglu(hidden = hidden)\", \"attention(heads = 2)\"]
objectives: {loss: minimise, parameters: minimise}
constraints: {parameters: {most: 2k}}
sampler: {random: }
";

/// A folder that is gone with the test.
pub struct Place(pub PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder with a study.
pub fn place(name: &str, study: &str) -> Place {
    let folder = std::env::temp_dir().join(format!("lrc-search-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in [("spec.yaml", SPEC), ("tiny.arch", MODEL), ("study.yaml", study)] {
        fs::write(folder.join(file), text).unwrap();
    }
    Place(folder)
}

/// `lrc search` in a folder.
pub fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lrc"));
    let own = |flag: &&str| ["--out", "--replay"].contains(flag);
    let out = if more.iter().any(own) { &[][..] } else { &["--out", "out"] };
    command.current_dir(folder).args(["search", "study.yaml"]).args(out).args(more);
    command
}

/// What it did.
pub fn searched(folder: &Path, more: &[&str]) -> Output {
    command(folder, more).output().unwrap()
}

/// What a search that goes well prints with `--json`.
pub fn document(folder: &Path, more: &[&str]) -> Value {
    let out = searched(folder, &[&["--json"], more].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Its trials.
pub fn trials(document: &Value) -> &[Value] {
    document["trials"].as_array().unwrap()
}

/// Longer trials with rungs and a size that is solved for.
pub fn long() -> String {
    STUDY
        .replace("trials: 6", "trials: 12\nset: {length: 120 steps, checkpoint.every: 20 steps}")
        .replace("parameters: minimise}", "}")
        .replace("loss: minimise, ", "loss: minimise")
        .replace("constraints: {parameters: {most: 2k}}", "match: {parameters: {to: 1000, by: model.set.width, within: 10%}}")
        .replace("sampler: {random: }", "sampler: {evolution: {population: 4, tournament: 2}}\nhalving: {first: 25%, factor: 2}")
        .replace("  model.layers.0: [\"swiglu(hidden = hidden)\", \"attention(heads = 2)\"]\n", "")
}
