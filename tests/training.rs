//! Training through the real binary: resume is exact, and wrong input ends well.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lrc(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lrc"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// A run of 12 steps, small enough for a test.
fn train(out: &Path, more: &[&str]) -> Output {
    let out = out.to_string_lossy().into_owned();
    let mut args = vec![
        "train",
        "specs/quickstart.yaml",
        "--out",
        &out,
        "--set",
        "batch=4",
        "--set",
        "length=12 steps",
        "--set",
        "eval.every=4 steps",
        "--set",
        "eval.sequences=8",
        "--set",
        "checkpoint.every=3 steps",
    ];
    args.extend(more);
    lrc(&args)
}

/// The metrics without what depends on the clock.
fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            value.as_object_mut().unwrap().remove("tokens_per_second");
            value
        })
        .collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let (whole, broken) = (folder("whole"), folder("broken"));
    let output = train(&whole, &[]);
    assert!(output.status.success(), "{}", text(&output));
    // Stopped between checkpoints, as by a crash: the last complete one is at step 6.
    let output = train(&broken, &["--stop-after", "8"]);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    let last = broken.join("checkpoints/step-00000008");
    std::fs::remove_file(last.join("DONE")).unwrap();
    assert_eq!(metrics(&broken).len(), 8 + 2);
    let output = train(&broken, &["--resume"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(metrics(&whole), metrics(&broken));
    let weights = |run: &Path| {
        std::fs::read(run.join("checkpoints/step-00000012/model.safetensors")).unwrap()
    };
    assert!(weights(&whole) == weights(&broken), "the final weights differ");
    let report = std::fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("Loss"));
}

#[test]
fn a_damaged_checkpoint_is_refused_and_nothing_is_lost() {
    let run = folder("damaged");
    assert!(train(&run, &[]).status.success());
    let model = run.join("checkpoints/step-00000012/model.safetensors");
    let bytes = std::fs::read(&model).unwrap();
    std::fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let output = train(&run, &["--resume", "--set", "length=16 steps"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("model.safetensors is damaged"), "{}", text(&output));
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before);
}

#[test]
fn a_second_run_does_not_overwrite_the_first() {
    let run = folder("twice");
    assert!(train(&run, &[]).status.success());
    let output = train(&run, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("--resume"), "{}", text(&output));
}

#[test]
fn every_mistake_of_a_spec_is_reported_with_its_place() {
    let spec = folder("specs").join("bad.yaml");
    std::fs::create_dir_all(spec.parent().unwrap()).unwrap();
    let yaml = "model: {file: nowhere.arch}\ntask:\n  parity: {lenght: 8}\nbatch: -3\n\
                schedule:\n  wsd: {warmup: soon}\noptimzer: {}\n";
    std::fs::write(&spec, yaml).unwrap();
    let output = lrc(&["train", &spec.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output);
    for part in [
        "unknown field `lenght`",
        "did you mean `length`?",
        "bad.yaml:3:12",
        "`batch` is the number -3",
        "bad.yaml:4:8",
        "which is no amount",
        "bad.yaml:6:17",
        "unknown field `optimzer`",
        "did you mean `optimizer`?",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn every_shipped_file_checks_and_every_recurrence_verifies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in ["recurrences", "mixers", "models"] {
        for entry in std::fs::read_dir(root.join("specs").join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.to_string_lossy().into_owned();
            let output = lrc(&["check", &file]);
            assert!(output.status.success(), "{file}\n{}", text(&output));
            if kind == "recurrences" {
                for command in ["explain", "verify"] {
                    let output = lrc(&[command, &file]);
                    assert!(output.status.success(), "{command} {file}\n{}", text(&output));
                }
            }
        }
    }
}

#[test]
fn published_parameter_counts() {
    let count = |name: &str, set: &[&str]| {
        let mut args = vec!["params", "specs/models/gdn.arch", name, "--json"];
        for pair in set {
            args.extend(["--set", pair]);
        }
        let output = lrc(&args);
        assert!(output.status.success(), "{}", text(&output));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        value["parameters"].as_u64().unwrap() as f64 / 1e6
    };
    let wide = ["width=2048", "d=256", "hidden=5632"];
    assert!((count("gdn", &[]) - 399.7).abs() < 0.05);
    assert!((count("gdn", &wide) - 1466.0).abs() < 0.5);
    for (e, want) in [("e=2", 412.9), ("e=4", 426.7), ("e=8", 454.2), ("e=16", 509.2)] {
        assert!((count("gdn_e", &[e]) - want).abs() < 0.05, "{e}");
    }
    assert!((count("gla_e8", &[]) - 454.8).abs() < 0.05);
    assert!((count("gdn", &["heads=16"]) - 526.2).abs() < 0.05);
    for (e, want) in [("e=2", 1518.0), ("e=4", 1571.0), ("e=8", 1676.0)] {
        let wide = [&wide[..], &[e]].concat();
        assert!((count("gdn_e", &wide) - want).abs() < 0.5, "{e}");
    }
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    let (whole, killed) = (folder("unkilled"), folder("killed"));
    let length = ["--set", "length=30 steps"];
    assert!(train(&whole, &length).status.success());
    let out = killed.to_string_lossy().into_owned();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lrc"))
        .args(["train", "specs/quickstart.yaml", "--out", &out, "--set", "batch=4"])
        .args(["--set", "eval.every=4 steps", "--set", "eval.sequences=8"])
        .args(["--set", "checkpoint.every=3 steps", "--set", "length=30 steps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let first = killed.join("checkpoints/step-00000003/DONE");
    while !first.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    // SIGKILL: nothing is saved on the way out, whatever was being written.
    child.kill().unwrap();
    child.wait().unwrap();
    let output = train(&killed, &[&length[..], &["--resume"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(metrics(&whole), metrics(&killed));
}
