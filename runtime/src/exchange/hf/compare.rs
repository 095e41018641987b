//! Logits of a model beside those of its class in transformers, which a Python of the user runs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use lrc_compiler::graph::Model;

use crate::ground::error::{Failure, at_path};
use crate::ground::tensors::{self, Data};
use crate::model::Walk;
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;

/// The most that logits may differ, as a share of the largest one where that is above 1.
pub const TOLERANCE: f64 = 1e-4;

/// Runs the class on tokens and writes its logits; it comes by standard input, so that nothing lies about.
const SCRIPT: &str = include_str!("../../../../templates/hf/logits.py");

/// How two models differ.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// The largest difference of two logits.
    pub difference: f64,
    /// The largest logit, in absolute value.
    pub largest: f64,
}

impl Compared {
    /// Whether they are the same but for rounding.
    pub fn same(&self) -> bool {
        self.difference <= TOLERANCE * self.largest.max(1.0)
    }
}

/// Sequences, and tokens of each.
const SEQUENCES: usize = 2;
const LENGTH: usize = 24;

/// Tokens over the whole vocabulary, the same in every comparison.
fn tokens(vocab: usize) -> Vec<Vec<u32>> {
    let token = |s: usize, t: usize| ((7919 * (t + 1) + 104_729 * s + 31 * t * t) % vocab) as u32;
    (0..SEQUENCES).map(|s| (0..LENGTH).map(|t| token(s, t)).collect()).collect()
}

/// Compares a model with the class of a folder; only where the folder is of our own making is its Python run.
pub fn against(
    python: &Path,
    folder: &Path,
    own: bool,
    model: &Model,
    params: &[Vec<f32>],
) -> Result<Compared, Failure> {
    let tokens = tokens(model.vocab);
    let theirs = by_transformers(python, folder, own, &tokens)?;
    let mut walk = Walk::new(model.clone(), params)?;
    let mut batch = Batch::default();
    for sequence in &tokens {
        batch.push(sequence, &vec![NONE; sequence.len()]);
    }
    let hidden = walk.hidden(&batch)?;
    let ours = walk.logits(&hidden)?;
    if ours.len() != theirs.len() {
        return Err(Failure::Verification(format!(
            "the class gives {} logits where the model gives {}",
            theirs.len(),
            ours.len()
        )));
    }
    let most = |all: &mut dyn Iterator<Item = f32>| {
        all.fold(0.0, |most: f64, x| if f64::from(x) <= most { most } else { f64::from(x) })
    };
    Ok(Compared {
        difference: most(&mut ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs())),
        largest: most(&mut theirs.iter().map(|x| x.abs())),
    })
}

fn by_transformers(
    python: &Path,
    folder: &Path,
    own: bool,
    tokens: &[Vec<u32>],
) -> Result<Vec<f32>, Failure> {
    let scratch =
        std::env::temp_dir().join(format!("lrc-logits-{}.safetensors", std::process::id()));
    let mut child = Command::new(python)
        // Isolated: neither variables nor what lies about decides what is imported.
        .args(["-I", "-"])
        .arg(folder)
        .arg(&scratch)
        .arg(serde_json::json!(tokens).to_string())
        .arg(if own { "own" } else { "class" })
        .env("HF_HUB_OFFLINE", "1")
        .env("TRANSFORMERS_OFFLINE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(at_path("run", python))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where it has ended already, its status says why.
        let _ = stdin.write_all(SCRIPT.as_bytes());
    }
    let done = child.wait_with_output().map_err(at_path("run", python))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let last: Vec<&str> =
            said.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(Failure::World(format!(
            "{} could not run the class of {}: {}",
            python.display(),
            folder.display(),
            last.join("; ")
        )));
    }
    let read = tensors::read(&scratch);
    let _ = std::fs::remove_file(&scratch);
    match read?.remove("logits").map(|tensor| tensor.data) {
        Some(Data::F32(logits)) => Ok(logits),
        _ => Err(Failure::World(format!("{} wrote no logits", python.display()))),
    }
}
