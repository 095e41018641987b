//! Folders of transformers, with transformers: tiny random models of published classes are imported, compared with their
//! classes, and written again.
//!
//! `tests/hf/run` tries every class, `./test` four of them. Both need the environment that `tests/venv/make.sh` makes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;
#[path = "hf/folders.rs"]
mod folders;
#[path = "hf/trained.rs"]
mod trained;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use common::{empty, python};
use lrc_compiler::graph::Prepared;
use lrc_dsl::Sources;
use lrc_runtime::exchange::hf::{self, Export, Import, Imported};
use lrc_runtime::ground::tensors::{self, Data, Tensors};
use lrc_runtime::model::Walk;
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;

/// What `./test` tries: attention alone, a state space, a hybrid of both with experts, a delta rule.
const FEW: [&str; 4] = ["llama", "mamba2", "jamba", "qwen3_next"];

/// The most that logits may differ, and gradients as a share of their norm.
const LOGITS: f64 = 1e-4;
const GRADIENTS: f64 = 1e-3;

/// Runs one of the scripts on a folder.
fn run(python: &Path, script: &str, folder: &Path, classes: &[String]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hf").join(script);
    let done = Command::new(python).arg(&script).arg(folder).args(classes).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {said}", script.display());
}

/// What was found of a class.
#[derive(Default)]
struct Found {
    logits: f64,
    gradients: f64,
    /// The tensor whose gradients differ most.
    worst: String,
    greedy: bool,
    /// Nothing where the class itself says other tokens with padding than without: it does not look at the mask.
    padded: Option<bool>,
    bytes: bool,
    /// Whether transformers loads what was exported, and says the same.
    loads: bool,
    failed: Option<String>,
}

impl Found {
    fn passes(&self) -> bool {
        let exact = self.greedy && self.padded != Some(false) && self.bytes && self.loads;
        self.failed.is_none() && exact && self.logits <= LOGITS && self.gradients <= GRADIENTS
    }
}

fn numbers<'t>(tensors: &'t Tensors, name: &str) -> &'t [f32] {
    match &tensors[name].data {
        Data::F32(numbers) => numbers,
        Data::I64(_) => panic!("{name} holds whole numbers"),
    }
}

fn rows(tensors: &Tensors, name: &str) -> Vec<Vec<u32>> {
    let Data::I64(all) = &tensors[name].data else { panic!("{name} holds no whole numbers") };
    let width = *tensors[name].shape.last().unwrap();
    all.chunks(width).map(|row| row.iter().map(|x| *x as u32).collect()).collect()
}

/// The largest difference; one that is no number is the largest.
fn gap(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    pairs.fold(0.0, |most: f64, x| if x <= most { most } else { x })
}

/// The difference as a share of the norm; a gradient that is nearly nothing is compared as it is.
fn share(a: &[f32], b: &[f32]) -> f64 {
    let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    let gap = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    let whole = norm(&mut b.iter().map(|x| f64::from(*x)));
    if gap.is_nan() { f64::INFINITY } else { gap / whole.max(1e-3) }
}

fn logits(made: &Imported, said: &Tensors) -> f64 {
    let mut walk = Walk::new(made.model.clone(), &made.params).unwrap();
    let mut batch = Batch::default();
    for row in rows(said, "tokens") {
        batch.push(&row, &vec![NONE; row.len()]);
    }
    let hidden = walk.hidden(&batch).unwrap();
    gap(&walk.logits(&hidden).unwrap(), numbers(said, "logits"))
}

/// Gradients of the mean loss of the next tokens, and the tensor whose differ most.
fn gradients(made: &Imported, said: &Tensors, run: &Path) -> (f64, String) {
    let mut walk = Walk::on_cpu(Prepared::plain(made.model.clone()), &made.params).unwrap();
    let mut batch = Batch::default();
    for row in rows(said, "tokens") {
        let next = row[1..].iter().copied().chain([NONE]);
        batch.push(&row, &next.collect::<Vec<u32>>());
    }
    walk.train(&batch).unwrap();
    let grads = walk.grads().unwrap();
    let stored = hf::as_stored(run, walk.model(), &grads, &mut Sources::default()).unwrap();
    let each = stored
        .iter()
        .map(|(name, ours)| (share(ours, numbers(said, &format!("grad.{name}"))), name.clone()));
    each.fold((0.0, String::new()), |most, one| if one.0 > most.0 { one } else { most })
}

/// The likeliest tokens behind each prompt.
fn greedy(made: &Imported, said: &Tensors) -> Vec<Vec<u32>> {
    let mut walk = Walk::new(made.model.clone(), &made.params).unwrap();
    let count = said["greedy.0"].shape[0];
    let mut each = Vec::new();
    for at in 0..2 {
        let prompt = rows(said, &format!("prompt.{at}")).concat();
        let mut session = walk.session();
        let mut logits = session.feed(&prompt).unwrap();
        let mut tokens = Vec::new();
        for _ in 0..count {
            let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            tokens.push(best as u32);
            logits = session.feed(&[best as u32]).unwrap();
        }
        each.push(tokens);
    }
    each
}

/// Whether a folder holds the same tensors, byte for byte.
fn same_bytes(a: &Path, b: &Path) -> bool {
    let read = |folder: &Path| -> BTreeMap<String, (Vec<usize>, String, Vec<u8>)> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "safetensors") {
                let bytes = std::fs::read(&path).unwrap();
                let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                for (name, view) in file.iter() {
                    let kind = format!("{:?}", view.dtype());
                    all.insert(name.into(), (view.shape().to_vec(), kind, view.data().to_vec()));
                }
            }
        }
        all
    };
    let (a, b) = (read(a), read(b));
    !a.is_empty() && a == b
}

/// Imports, compares and exports one class.
fn one(folder: &Path, class: &str) -> Found {
    let from = folder.join(class);
    let (run, to) = (from.join("run"), from.join("exported"));
    let mut sources = Sources::default();
    // Of `llama-stretched` that of `llama`.
    let name = class.split('-').next().unwrap();
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("specs/hf/{name}.map"));
    // What stands in the folder counts, not what the binary was built with.
    let import = Import { folder: &from.join("model"), run: &run, map: Some(&map), data: None };
    let made = match hf::import(&import, &mut sources) {
        Ok(made) => made,
        Err(lrc_runtime::ground::error::Failure::Invalid(diags)) => {
            let failed = Some(lrc_dsl::render(&sources, &diags, false));
            return Found { failed, ..Found::default() };
        }
        Err(failure) => return Found { failed: Some(failure.to_string()), ..Found::default() },
    };
    let said = tensors::read(&from.join("said.safetensors")).unwrap();
    let ours = greedy(&made, &said);
    let theirs = |name: &str| rows(&said, name).concat();
    let minds = (0..2).all(|at| theirs(&format!("padded.{at}")) == theirs(&format!("greedy.{at}")));
    let (gradients, worst) = gradients(&made, &said, &run);
    let export = Export { run: &run, folder: &to, dtype: None, tokenizer: None };
    hf::export(&export, &made.model, &made.params, &mut sources).unwrap();
    Found {
        logits: logits(&made, &said),
        gradients,
        worst,
        greedy: ours == [theirs("greedy.0"), theirs("greedy.1")],
        padded: minds.then(|| ours == [theirs("padded.0"), theirs("padded.1")]),
        bytes: same_bytes(&from.join("model"), &to),
        loads: false,
        failed: None,
    }
}

/// Classes with a map, or those that are named.
fn classes() -> Vec<String> {
    match std::env::var("LRC_HF").as_deref() {
        Ok("all") => {
            let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/hf");
            let files = std::fs::read_dir(specs).unwrap().map(|entry| entry.unwrap().path());
            let maps = files.filter(|path| path.extension().is_some_and(|e| e == "map"));
            let mut all: Vec<String> =
                maps.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
            all.push("llama-stretched".into());
            all.sort();
            all
        }
        Ok(named) => named.split(',').map(str::to_string).collect(),
        Err(_) => FEW.map(str::to_string).to_vec(),
    }
}

/// Tiny models with random weights: logits, gradients of all weights and greedy tokens are those of the class, with
/// prompts alone and with padding on their left; exported again, every byte of the weights is the same, and transformers
/// loads them.
#[test]
fn classes_compute_what_transformers_computes() {
    let python = python();
    let folder = empty("hf");
    let all = classes();
    run(&python, "make.py", &folder, &all);
    let mut found: Vec<Found> = all.iter().map(|class| one(&folder, class)).collect();
    run(&python, "load.py", &folder, &all);
    for (class, found) in all.iter().zip(&mut found) {
        found.loads = folder.join(class).join("loads").exists();
    }
    let mut table = String::from(
        "| class | logits | gradients | greedy | left padding | bytes | loads |\n|---|---|---|---|---|---|---|\n",
    );
    for (class, found) in all.iter().zip(&found) {
        let Found { logits, gradients, worst, greedy, padded, bytes, loads, failed } = found;
        let at = if *gradients > GRADIENTS { worst } else { "" };
        let yes = |is: &bool| if *is { "same" } else { "DIFFERENT" };
        match failed {
            Some(why) => writeln!(table, "{class} FAILED\n{why}").unwrap(),
            None => writeln!(
                table,
                "| `{class}` | {logits:.1e} | {gradients:.1e}{at} | {} | {} | {} | {} |",
                yes(greedy),
                padded.as_ref().map_or("the class ignores it", yes),
                yes(bytes),
                if *loads { "yes" } else { "NO" }
            )
            .unwrap(),
        }
    }
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("hf.txt"), &table).unwrap();
    assert!(found.iter().all(Found::passes), "{table}");
}
