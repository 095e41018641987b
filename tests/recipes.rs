//! Published recipes: at full size they are checked and planned, made small they train.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{lrc, said};
use std::path::{Path, PathBuf};

fn recipes(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        all.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    all.sort();
    assert!(all.len() >= 7);
    all
}

#[test]
fn every_recipe_is_planned_at_full_size() {
    for recipe in recipes("specs/recipes") {
        let output = lrc(&["train", recipe.to_str().unwrap(), "--dry-run"]);
        assert!(output.status.success(), "{}: {}", recipe.display(), said(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("memory in GiB") && text.contains("operations"), "{text}");
        // Phases that leave the short sequences behind are a known risk, and one recipe's point;
        // another wants to know how its warmup was chosen.
        let advised = said(&output).contains("advice");
        let name = recipe.file_stem().unwrap();
        assert_eq!(
            advised,
            name == "three_phases" || name == "difficulty_pacing",
            "{}: {}",
            recipe.display(),
            said(&output)
        );
    }
}

#[test]
fn the_warmup_study_is_planned_and_its_small_twin_compared() {
    let json = |args: &[&str]| -> serde_json::Value {
        let output = lrc(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let cases = json(&["experiment", "specs/experiments/warmup_study.yaml", "--dry-run"]);
    assert_eq!(cases.as_array().unwrap().len(), 28);
    let cases = json(&["experiment", "specs/experiments/mad.yaml", "--dry-run"]);
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 9 * 6);
    // All recurrences remember as much: 1024 numbers in each of two layers, and what the decoder of compression holds.
    for case in cases.iter().filter(|case| !case["case"].as_str().unwrap().starts_with("attention"))
    {
        let decoder = if case["case"].as_str().unwrap().ends_with("compression") { 64 } else { 0 };
        assert_eq!(case["state"], 2 * 1024 + decoder, "{case}");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("warmup");
    let _ = std::fs::remove_dir_all(&folder);
    let out = folder.to_str().unwrap();
    let small = ["experiment", "specs/experiments/small/warmup_study.yaml", "--out", out];
    assert_eq!(json(&small).as_array().unwrap().len(), 24);
    // Runs that differ in their seed only are one group, with an interval over seeds.
    let page = folder.join("page.html");
    let runs = folder.join("transformer-warmup-0");
    let more = folder.join("mamba2-warmup-5");
    let args = [runs.to_str().unwrap(), more.to_str().unwrap(), "--out", page.to_str().unwrap()];
    let groups = json(&[&["report"][..], &args].concat());
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 2, "{groups:?}");
    for group in groups {
        let loss = &group["metrics"]["mqar: loss"];
        assert_eq!(loss["runs"], 2);
        let [low, high] = [0, 1].map(|at| loss["interval"][at].as_f64().unwrap());
        assert!(low < high && (low..=high).contains(&loss["mean"].as_f64().unwrap()));
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && !page.contains("src=") && !page.contains("href="));
}

/// A folder of this test's own with data of bytes, scored.
fn data(name: &str) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    let data = folder.join("data");
    let args = ["data", "tokenize", "compiler/src", "--held-out", "10%", "--ending", "rs"];
    let output = lrc(&[&args[..], &["--out", data.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let output = lrc(&["data", "score", data.to_str().unwrap(), "--metric", "compression"]);
    assert!(output.status.success(), "{}", said(&output));
    (folder, data)
}

/// The losses of a run's steps.
fn losses(run: &Path) -> Vec<f64> {
    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let steps = lines.filter(|line: &serde_json::Value| line["step"].is_u64());
    steps.filter_map(|line| line["loss"].as_f64()).collect()
}

/// What makes a small recipe tiny: at most 64 tokens a step, and width 32.
const TINY: &[(&str, &str)] = &[
    ("width: 64", "width: 32"),
    ("batch: 1024 tokens", "batch: 64 tokens"),
    ("batch: 4096 tokens", "batch: 64 tokens"),
    ("micro_batch: 512 tokens", "micro_batch: 32 tokens"),
    ("micro_batch: 2048 tokens", "micro_batch: 32 tokens"),
    ("length: 256", "length: 32"),
    ("length: 2048", "length: 32"),
    ("length: 64 steps", "length: 3 steps"),
    ("length: 8 steps", "length: 3 steps"),
    ("[16, 512]", "[16, 64]"),
    ("[32, 512]", "[32, 64]"),
    ("[128, 256]", "[32, 64]"),
    ("lengths: 512}", "lengths: 64}"),
    ("sequences: 8", "sequences: 1"),
    ("sequences: 4", "sequences: 1"),
];

/// Three steps of every recipe by kernels, as on the processor: all that a spec asks for, from data to policies. Models are
/// smaller still, and steps have 64 tokens.
#[test]
fn every_recipe_made_tiny_trains_alike_by_kernels() {
    let (folder, data) = data("recipes_by_kernels");
    for recipe in recipes("specs/recipes/small") {
        let name = recipe.file_stem().unwrap().to_str().unwrap();
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models");
        let text = std::fs::read_to_string(&recipe).unwrap();
        let text = text.replace("../../models", models.to_str().unwrap());
        let text = text.replace("path: tokens", &format!("path: {}", data.display()));
        let text = TINY.iter().fold(text, |text, (small, tiny)| text.replace(small, tiny));
        let tiny = folder.join(format!("{name}.yaml"));
        std::fs::write(&tiny, text).unwrap();
        let mut both = Vec::new();
        for device in ["cpu", "sim"] {
            let run = folder.join(format!("{name}_{device}"));
            let [tiny, run] = [&tiny, &run].map(|path| path.to_str().unwrap());
            let output = lrc(&["train", tiny, "--device", device, "--out", run]);
            assert!(output.status.success(), "{name} on {device}: {}", said(&output));
            both.push(losses(Path::new(run)));
        }
        let [want, got] = [&both[0], &both[1]];
        assert_eq!((want.len(), got.len()), (3, 3), "{name}");
        for (want, got) in want.iter().zip(got) {
            assert!((want - got).abs() < 2e-2 * want, "{name}: {got} for {want}");
        }
    }
}

#[test]
fn every_recipe_made_small_learns() {
    let (folder, data) = data("recipes");
    let mut all = recipes("specs/recipes/small");
    all.sort_by_key(|recipe| recipe.ends_with("long_context.yaml"));
    for recipe in all {
        let run = folder.join(recipe.file_stem().unwrap());
        let set = format!("data.path={}", data.display());
        let args = ["train", recipe.to_str().unwrap(), "--set", &set, "--json"];
        let out = ["--out", run.to_str().unwrap()];
        // A long context comes at the end of a run.
        let before = folder.join("three_phases/checkpoints/step-00000024");
        let from = ["--from", before.to_str().unwrap()];
        let short = ["--set", "length=24 steps"];
        let from = if run.ends_with("long_context") { from } else { short };
        let output = lrc(&[&args[..], &out, &from].concat());
        assert!(output.status.success(), "{}: {}", recipe.display(), said(&output));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let loss = summary["eval"]["data"]["loss"].as_f64().unwrap();
        // Bytes drawn evenly have 5.55 nats.
        assert!(loss < 5.2, "{}: {loss}", recipe.display());
    }
}
