//! Optuna and its dashboard beside a search: they read its journal, and ask for trials.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use common::study::{STUDY, document, long, place, trials};
use serde_json::Value;

/// What Optuna says of a study's journal.
fn optuna(packages: &OsStr, folder: &Path, what: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/optuna_journal.py");
    let mut command = Command::new("python3");
    let journal = folder.join("out/journal.log");
    let command = command.env("PYTHONPATH", packages).args([script, what]).arg(journal);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Optuna's dashboard shows a study with rungs as lrc has it: what it is called, where it goes, parameters, values at rungs.
#[test]
fn the_dashboard_of_optuna_shows_a_study() {
    let Some(packages) = std::env::var_os("LRC_OPTUNA") else { return };
    let place = place("dashboard", &long().replace("{loss: minimise}", "{accuracy: maximise}"));
    let found = document(&place.0, &[]);
    let shown = optuna(&packages, &place.0, "dashboard");
    assert_eq!(shown["studies"].as_array().unwrap().len(), 1);
    let one = &shown["studies"][0];
    assert_eq!((&one["study_name"], &one["directions"][0]), (&"study".into(), &"maximize".into()));
    let study = &shown["study"];
    assert_eq!(study["objective_names"], serde_json::json!(["accuracy"]));
    assert_eq!(study["has_intermediate_values"], true);
    let theirs = study["trials"].as_array().unwrap();
    assert_eq!(theirs.len(), trials(&found).len());
    for (mine, theirs) in trials(&found).iter().zip(theirs) {
        let word = if mine["state"] == "complete" { "Complete" } else { "Pruned" };
        assert_eq!(theirs["state"], word, "{theirs}");
        assert!(mine["values"].is_null() || theirs["values"] == mine["values"], "{theirs}");
        for param in theirs["params"].as_array().unwrap() {
            let text = param["param_external_value"].as_str().unwrap();
            let value = &mine["params"][param["name"].as_str().unwrap()];
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *value, "{param}");
        }
        let steps = theirs["intermediate_values"].as_array().unwrap();
        let rungs = mine["rungs"].as_object().unwrap();
        assert_eq!(steps.len(), rungs.len());
        for step in steps {
            assert_eq!(rungs[&step["step"].to_string()], step["value"], "{theirs}");
        }
    }
    assert_eq!(study["best_trials"][0]["number"], found["best"][0]);
    let named = |all: &Value| all.as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    let searched: BTreeSet<String> =
        trials(&found)[0]["params"].as_object().unwrap().keys().cloned().collect();
    let names: Vec<Value> = named(&study["union_search_space"]);
    assert_eq!(
        names.iter().map(|n| n.as_str().unwrap().to_string()).collect::<BTreeSet<_>>(),
        searched
    );
    assert_eq!(
        shown["importances"]["param_importances"][0].as_array().unwrap().len(),
        searched.len()
    );
    assert!(shown["page"].as_str().unwrap().contains("<script"));
}

/// Optuna opens the journal, sees what lrc saw, and asks for trials that lrc runs. `./test` fetches Optuna and sets
/// `LRC_OPTUNA` to the folder that it was installed into.
#[test]
fn optuna_reads_the_journal_and_asks_for_trials() {
    let Some(packages) = std::env::var_os("LRC_OPTUNA") else { return };
    let place = place("optuna", STUDY);
    let python = |what: &str| optuna(&packages, &place.0, what);
    let same = |found: &Value| {
        let seen = python("read");
        assert_eq!(seen["best"], found["best"]);
        let pairs = trials(found).iter().zip(seen["trials"].as_array().unwrap());
        for (mine, theirs) in pairs {
            for key in ["number", "state", "params", "values"] {
                assert_eq!(mine[key], theirs[key], "{key}");
            }
        }
    };
    let found = document(&place.0, &[]);
    same(&found);
    let asked = python("ask");
    let found = document(&place.0, &["--resume"]);
    let all = trials(&found);
    assert_eq!(all.len(), 10);
    for wanted in asked.as_array().unwrap() {
        let trial = &all[wanted["number"].as_u64().unwrap() as usize];
        assert_eq!(trial["state"], wanted["state"], "{trial}");
        for (name, value) in wanted["params"].as_object().unwrap() {
            assert_eq!(trial["params"][name], *value, "{trial}");
        }
    }
    same(&found);
}
