//! Models as files of PyTorch: what transformers computes with them is what lrc computes, for every shipped model and mixer.
//!
//! It needs the environment that `tests/venv/make.sh` makes.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::small::{SMALL, every};
use common::{empty, environment, lrc, path, python, said};
use lrc_compiler::elaborate::recurrence::Slot;
use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::graph::{Model, build};
use lrc_dsl::ast::{Decl, File, Kind};
use lrc_dsl::{Namespace, Sources};
use lrc_runtime::exchange::hf::{Dtype, own};
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::tensors::{self, Tensor, Tensors};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;
use serde_json::Value as Json;

const LENGTH: usize = 20;
/// Tokens behind a prompt.
const NEW: usize = 8;

fn tokens(count: usize, salt: usize, vocab: usize) -> Vec<u32> {
    (0..count).map(|t| ((7919 * (t + 1) + 1009 * salt + 31 * t * t) % vocab) as u32).collect()
}

/// The likeliest tokens behind a prompt.
fn greedy(walk: &mut Walk, prompt: &[u32]) -> Vec<u32> {
    let mut session = walk.session();
    let mut logits = session.feed(prompt).unwrap();
    let mut said = Vec::new();
    for _ in 0..NEW {
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        said.push(best as u32);
        logits = session.feed(&[best as u32]).unwrap();
    }
    said
}

fn whole(rows: &[Vec<u32>]) -> Tensor {
    let shape = if rows.len() == 1 { vec![rows[0].len()] } else { vec![rows.len(), rows[0].len()] };
    let data = rows.iter().flatten().map(|x| i64::from(*x)).collect();
    Tensor { shape, data: tensors::Data::I64(data) }
}

/// Writes a model, and what it says.
fn write(folder: &Path, model: &Model, names: &Namespace) {
    // Weights that do something: what begins with 0 or 1 is moved.
    let mut params = fresh(&model.graph.params, 5);
    for (at, all) in params.iter_mut().enumerate() {
        for (i, x) in all.iter_mut().enumerate() {
            *x += 0.02 * ((i * 37 + at * 11) % 13) as f32 / 13.0 - 0.01;
        }
    }
    let arch = lrc_dsl::print::print(&File::of(names.decls.values().cloned().collect()));
    own::write(&folder.join("exported"), model, &arch, &params, Dtype::F32).unwrap();
    let mut walk = Walk::new(model.clone(), &params).unwrap();
    let mut said = Tensors::new();
    let rows: Vec<Vec<u32>> = (0..2).map(|at| tokens(LENGTH, at, model.vocab)).collect();
    let mut batch = Batch::default();
    rows.iter().for_each(|row| batch.push(row, &vec![NONE; row.len()]));
    let hidden = walk.hidden(&batch).unwrap();
    let logits = walk.logits(&hidden).unwrap();
    said.insert("logits".into(), Tensor::f32(vec![2, LENGTH, model.vocab], logits));
    said.insert("tokens".into(), whole(&rows));
    for (at, count) in [7, 11].into_iter().enumerate() {
        let prompt = tokens(count, 5 + at, model.vocab);
        said.insert(format!("greedy.{at}"), whole(&[greedy(&mut walk, &prompt)]));
        said.insert(format!("prompt.{at}"), whole(&[prompt]));
    }
    tensors::write(&folder.join("said.safetensors"), &said).unwrap();
}

/// What a file of the library declares of a kind.
fn declared(folder: &str, kind: Kind) -> Vec<(&'static str, Decl)> {
    let files = LIBRARY.iter().filter(|(file, _)| file.starts_with(folder));
    let decls = files.flat_map(|(file, text)| {
        let id = Sources::default().add((*file).to_string(), *text);
        let decls = lrc_dsl::parse(id, text).0.decls.into_iter();
        decls.filter(|decl| decl.kind == kind).map(|decl| (*file, decl)).collect::<Vec<_>>()
    });
    decls.collect()
}

/// A model whose layers are some calls, if it can be built: some mixers want inputs or sizes of their own.
fn around(
    file: &str,
    mixer: &str,
    call: &str,
    left: &mut Vec<String>,
) -> Option<(Model, Namespace)> {
    let text = format!(
        "use \"{file}\"\n{mixer}\nmodel alone(width = 32) {{\n    vocab 64\n    residual x + f(rmsnorm(x))\n    {call}\n    {call}\n    \
         head rmsnorm(x), untied\n}}\n"
    );
    let mut sources = Sources::default();
    let (names, mut diags) = lrc_dsl::load_text("alone", text, None, LIBRARY, &mut sources);
    let decl = names.get("alone").cloned();
    let model = decl.and_then(|decl| build(&names, &decl, &BTreeMap::new(), &mut diags));
    if model.is_none() {
        left.push(format!("{call}: {}", lrc_dsl::render(&sources, &diags, false)));
    }
    Some((model?, names))
}

/// A model around every shipped mixer.
fn mixers(see: &mut dyn FnMut(Model, &str, &Namespace)) {
    let mut left = vec![];
    for (file, decl) in declared("mixers/", Kind::Mixer) {
        let name = decl.name.text.as_str();
        let declared: Vec<&str> =
            decl.settings.iter().map(|(name, _)| name.text.as_str()).collect();
        let given = SMALL.iter().filter(|(size, _)| declared.contains(size) && *size != "width");
        let given: Vec<String> = given.map(|(size, x)| format!("{size} = {x}")).collect();
        let call = format!("{name}({})", given.join(", "));
        if let Some((model, names)) = around(file, "", &call, &mut left) {
            see(model, name, &names);
        }
    }
    assert!(left.len() < 6, "{}", left.join("\n"));
}

/// A layer around a recurrence: what it reads, within what it promises, is made from the stream.
fn layer(r: &Recurrence) -> String {
    // An axis of each declared size, and others where a shape has one twice.
    let mut sizes: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut axes = |slot: &Slot| {
        let count = slot.count.map(|_| "count".to_string());
        let texts = count.into_iter().chain(slot.axes.iter().cloned());
        let mut names = vec!["h".to_string()];
        for (text, size) in texts.zip(&slot.shape) {
            let twice = names.iter().filter(|name| name.starts_with(&format!("{text}."))).count();
            let next = format!("a{}", sizes.len());
            let key = format!("{text}.{twice}");
            names.push(key.clone());
            sizes.entry(key).or_insert((next, *size));
        }
        let names: Vec<&str> =
            names.iter().map(|key| sizes.get(key).map_or("h", |(name, _)| name)).collect();
        names.join(", ")
    };
    let mut text = String::new();
    for slot in &r.inputs {
        let made = match slot.interval {
            _ if slot.unit => "l2norm(linear(x))".to_string(),
            None => "linear(x)".to_string(),
            Some((low, high)) if low.is_infinite() => format!("{high} - softplus(linear(x))"),
            Some((low, high)) if high.is_infinite() => format!("{low} + softplus(linear(x))"),
            Some((low, high)) => format!("{low} + {} * sigmoid(linear(x))", high - low),
        };
        text += &format!("    {} : [{}] = {made}\n", slot.name, axes(slot));
    }
    for slot in &r.params {
        let (low, high) = slot.interval.unwrap_or((-0.5, 0.5));
        let (low, high) = (low.max(high.min(1.0) - 1.0), high.min(low.max(-1.0) + 1.0));
        text +=
            &format!("    param {} : [{}] init uniform({low}, {high})\n", slot.name, axes(slot));
    }
    let args: Vec<&str> = r.inputs.iter().chain(&r.params).map(|slot| slot.name.as_str()).collect();
    let sizes: Vec<String> = sizes.values().map(|(name, n)| format!(", {name} = {n}")).collect();
    format!(
        "mixer layer(h = 2{}) {{\n{text}    made = {}({})\n    out y = linear(made)\n}}",
        sizes.concat(),
        r.name,
        args.join(", ")
    )
}

/// A model around every shipped recurrence.
fn recurrences(see: &mut dyn FnMut(Model, &str, &Namespace)) {
    let mut left = vec![];
    for (file, decl) in declared("recurrences/", Kind::Recurrence) {
        let given = SMALL.iter().map(|(size, x)| ((*size).to_string(), Setting::Number(*x)));
        let sizes = ["dk", "dv", "d", "n"];
        let given = given.filter(|(size, _)| sizes.contains(&size.as_str())).collect();
        let Some(r) = elaborate(&decl, &given, &mut Vec::new()) else { continue };
        if let Some((model, names)) = around(file, &layer(&r), "layer()", &mut left) {
            see(model, &format!("recurrence {}", r.name), &names);
        }
    }
    assert!(left.len() < 5, "{} left: {}", left.len(), left.join("\n"));
}

/// What the script found of each folder.
fn found(folder: &Path, names: &[String]) -> Vec<Json> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hf/own.py");
    let done = std::process::Command::new(python())
        .arg(&script)
        .arg(folder)
        .args(names)
        .env("HF_MODULES_CACHE", folder.join("modules"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read =
        |name: &String| std::fs::read_to_string(folder.join(name).join("found.json")).unwrap();
    names.iter().map(|name| serde_json::from_str(&read(name)).unwrap()).collect()
}

/// Documents that a few steps learn something of.
const DOCUMENTS: [&str; 3] = [
    "the cat sat on the mat. the dog sat on the log.",
    "number one went home.",
    "a bee sees the sea.",
];

/// Choices of one length each, so that what a model has learned decides.
const QUESTIONS: [(&str, [&str; 2], usize); 8] = [
    ("the cat sat on", [" the mat", " xqz jkv"], 0),
    ("the dog sat on", [" zzq log", " the log"], 1),
    ("number one went", [" home", " qqqq"], 0),
    ("a bee sees", [" qxw sea", " the sea"], 1),
    ("the cat", [" was", " sat"], 1),
    ("a", [" bee", " xyz"], 0),
    ("number", [" two", " one"], 1),
    ("the dog sat", [" on", " kz"], 0),
];

fn ran(args: &[&str]) -> String {
    let done = lrc(args);
    assert_eq!(done.status.code(), Some(0), "{args:?}: {}", said(&done));
    String::from_utf8(done.stdout).unwrap()
}

/// A run of a few steps on bytes of text.
fn trained(folder: &Path) -> PathBuf {
    let lines: String = (0..20)
        .flat_map(|_| DOCUMENTS)
        .map(|text| format!("{}\n", serde_json::json!({ "text": text })))
        .collect();
    std::fs::write(folder.join("documents.jsonl"), lines).unwrap();
    let arch = "use \"mixers/gated_deltanet.arch\"\nuse \"mixers/swiglu.arch\"\nmodel tiny(width = 32) {\n    vocab 257\n    \
                residual x + f(rmsnorm(x))\n    gated_deltanet(heads = 2, dk = 16, dv = 16)\n    swiglu(hidden = 64)\n    \
                head rmsnorm(x), tied, cap 30\n}\n";
    std::fs::write(folder.join("model.arch"), arch).unwrap();
    let spec = "name: tiny\nmodel: {file: model.arch}\ndata: {path: data, length: 32}\nbatch: 8\nlength: 40 steps\n\
                optimizer: {adamw: {lr: 1e-2}}\n";
    std::fs::write(folder.join("spec.yaml"), spec).unwrap();
    let (data, run) = (folder.join("data"), folder.join("run"));
    let documents = folder.join("documents.jsonl");
    ran(&["data", "tokenize", path(&documents), "--out", path(&data), "--held-out", "5%"]);
    ran(&["train", path(&folder.join("spec.yaml")), "--out", path(&run)]);
    run
}

fn script(name: &str, folder: &Path, args: &[&str]) -> String {
    let [python, harness] = environment();
    let done = std::process::Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hf").join(name))
        .args(args)
        .env("HF_MODULES_CACHE", folder.join("modules"))
        .env("HF_HOME", folder.join("cache"))
        .env("PYTHONPATH", harness)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A trained run with its own file and a run that was imported, both exported: transformers says what lrc says, and
/// lm-evaluation-harness finds the accuracy that `lrc eval` finds.
#[test]
fn the_evaluation_harness_runs_on_exported_folders() {
    let folder = empty("harness");
    let run = trained(&folder);
    let own = folder.join("own");
    let python = python();
    let compare = ["--python", path(&python), "--require-compare"];
    ran(&[&["export", "hf", path(&run), "--out", path(&own)][..], &compare].concat());
    let (class, imported, again) =
        (folder.join("class"), folder.join("imported"), folder.join("again"));
    script("harness.py", &folder, &["make", path(&own), path(&class)]);
    ran(&["import", "hf", path(&class), "--out", path(&imported)]);
    ran(&[&["export", "hf", path(&imported), "--out", path(&again)][..], &compare].concat());
    let lines: String = QUESTIONS
        .iter()
        .map(|(prompt, choices, answer)| {
            format!(
                "{}\n",
                serde_json::json!({ "prompt": prompt, "choices": choices, "answer": answer })
            )
        })
        .collect();
    let questions = folder.join("questions.jsonl");
    std::fs::write(&questions, lines).unwrap();
    let said = script("harness.py", &folder, &[path(&questions), path(&own), path(&again)]);
    let found: Json = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    for (at, run) in [&run, &imported].into_iter().enumerate() {
        let here: Json = serde_json::from_str(&ran(&[
            "eval",
            path(run),
            "--questions",
            path(&questions),
            "--json",
        ]))
        .unwrap();
        assert_eq!(
            found[at]["choice"],
            here["choices"]["right"],
            "{}: {found}, {here}",
            run.display()
        );
    }
    // What was learned is told from what was not.
    assert!(found[0]["choice"].as_f64().unwrap() > 0.8, "{found}");
}

/// Every shipped model, mixer and recurrence, or with `./test` one of seven: logits, and greedy tokens with and without what
/// is remembered, with padding on the left, and by beams.
#[test]
fn every_model_says_in_transformers_what_it_says_here() {
    let folder = empty("modelling");
    let all = std::env::var("LRC_EVERY_PTX").is_ok() || std::env::var("LRC_HF").is_ok();
    let (mut names, mut count): (Vec<String>, usize) = (vec![], 0);
    let mut see = |model: Model, name: &str, decls: &Namespace| {
        count += 1;
        if all || count % 7 == 1 {
            let name = name.replace(|c: char| !c.is_alphanumeric(), "_");
            let own: PathBuf = folder.join(&name);
            std::fs::create_dir_all(&own).unwrap();
            write(&own, &model, decls);
            names.push(name);
        }
    };
    every(&mut see);
    mixers(&mut see);
    recurrences(&mut see);
    let found = found(&folder, &names);
    let wrong = |found: &Json| {
        let same =
            ["alone", "anew", "padded", "beams", "keys"].iter().all(|key| found[key] == true);
        let number = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
        // Where f32 itself says less, in f64 it would be another number by so much.
        let allowed = (1e-4 * number("largest").max(1.0)).max(3.0 * number("rounding"));
        let gap = number("logits");
        !same || gap.is_nan() || gap > allowed
    };
    let told = names.iter().zip(&found).filter(|(_, found)| wrong(found));
    let told: Vec<String> = told.map(|(name, found)| format!("{name}: {found}")).collect();
    assert!(told.is_empty(), "{} of {}:\n{}", told.len(), names.len(), told.join("\n"));
}
