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

#[test]
fn every_recipe_made_small_learns() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipes");
    let _ = std::fs::remove_dir_all(&folder);
    let data = folder.join("data");
    let args = ["data", "tokenize", "compiler/src", "--held-out", "10%", "--ending", "rs"];
    let output = lrc(&[&args[..], &["--out", data.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let output = lrc(&["data", "score", data.to_str().unwrap(), "--metric", "compression"]);
    assert!(output.status.success(), "{}", said(&output));
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
