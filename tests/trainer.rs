//! The trainer on real data, through the real binary: whatever stops a run, it ends the same.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{empty, lrc, path, said};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const LRC: &str = env!("CARGO_BIN_EXE_lrc");

fn folder(name: &str) -> PathBuf {
    empty(&format!("trainer-{name}"))
}

/// Two small corpora, and a spec that uses everything at once: documents
/// in buckets under curricula of length and difficulty, a mixture that changes, gradients added up, a
/// growing batch, dropout.
fn ready() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let folder = folder("ready");
        // The descriptions of the reference cases: text that no change of the project changes.
        let cases =
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference"));
        let mut cases: Vec<PathBuf> = cases.unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        cases.sort();
        for (name, files) in [("code", &cases[..66]), ("words", &cases[66..])] {
            let out = folder.join(name);
            let args = ["data", "tokenize", "--held-out", "20%", "--out", path(&out)];
            let files: Vec<&str> = files.iter().map(|file| path(file)).collect();
            let output = lrc(&[&args[..], &files].concat());
            assert!(output.status.success(), "{}", said(&output));
            let output = lrc(&["data", "score", path(&out), "--metric", "compression"]);
            assert!(output.status.success(), "{}", said(&output));
        }
        std::fs::write(folder.join("model.arch"), MODEL).unwrap();
        std::fs::write(folder.join("spec.yaml"), SPEC).unwrap();
        folder
    })
}

const MODEL: &str = r#"
use "mixers/gated_deltanet.arch"
use "mixers/swiglu.arch"
model small(width = 16, vocab = 257) {
    vocab vocab
    residual x + f(rmsnorm(x))
    gated_deltanet(heads = 2, dk = 8, dv = 8)
    swiglu(hidden = 32)
    head rmsnorm(x), untied
}
"#;

const SPEC: &str = "
model: {file: model.arch}
data:
  sources:
    code: {path: code, weight: [[0%, 3], [100%, 1]]}
    words: {path: words, weight: 1}
curriculum:
  lengths: {grow_p2: {buckets: [16, 64], cycles: 2}}
  difficulty: {by: compression, start: 50%, hold: 20%, full: 60%}
dropout: 0.1
z_loss: 1e-4
precision: {matrices: bf16}
batch: {from: 256 tokens, to: 512 tokens, over: 40%, stages: 2, lr: sqrt}
micro_batch: 128 tokens
length: 48 steps
optimizer:
  adamw: {lr: 4e-3}
  groups: {gates: {match: vectors, weight_decay: 0}}
schedule: {wsd: {warmup: 5 steps, decay: 12 steps, curve: sqrt}}
eval: {every: 16 steps, sequences: 8}
checkpoint: {every: 2 steps, keep: 2}
";

fn train(run: &Path, more: &[&str]) -> Output {
    let spec = ready().join("spec.yaml");
    lrc(&[&["train", path(&spec), "--out", path(run)], more].concat())
}

/// Everything that a run leaves and that does not depend on the clock.
fn left(run: &Path, step: u64) -> (Vec<serde_json::Value>, [Vec<u8>; 2]) {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("tokens_per_second");
        value
    });
    let checkpoint = run.join(format!("checkpoints/step-{step:08}"));
    let files = ["model.safetensors", "optimizer.safetensors"];
    (lines.collect(), files.map(|file| std::fs::read(checkpoint.join(file)).unwrap()))
}

#[test]
fn thirty_kills_and_a_full_disk_change_nothing() {
    let (whole, killed) = (folder("whole"), folder("killed"));
    let output = train(&whole, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let spec = ready().join("spec.yaml");
    let args = ["train", path(&spec), "--out", path(&killed), "--resume"];
    let mut state = 12345_u64;
    let mut kills = 0;
    while kills < 30 {
        let mut child = Command::new(LRC)
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if kills % 3 == 0 {
            // In the middle of a checkpoint, or as near to it as looking often gets.
            let writing = || {
                let entries = std::fs::read_dir(killed.join("checkpoints")).into_iter().flatten();
                entries.flatten().any(|e| e.file_name().to_string_lossy().ends_with(".partial"))
            };
            while !writing() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
        } else {
            std::thread::sleep(Duration::from_millis((state >> 33) % 120));
        }
        if child.try_wait().unwrap().is_some() {
            // It came to its end first: begin again.
            std::fs::remove_dir_all(&killed).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    // A file can be no larger than 8 blocks of 512 bytes: the disk is full, as far as it sees.
    let output = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", LRC])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("cannot write"), "{}", said(&output));
    let output = lrc(&args);
    assert!(output.status.success(), "{}", said(&output));
    assert!(left(&whole, 48) == left(&killed, 48), "the interrupted run ended differently");
}

#[test]
fn workers_change_nothing() {
    let runs = ["0", "1", "3"].map(|workers| {
        let run = folder(&format!("workers-{workers}"));
        let set = format!("workers={workers}");
        assert!(train(&run, &["--set", &set]).status.success());
        left(&run, 48)
    });
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
}

#[test]
fn gradients_in_parts_add_up() {
    let losses = |name: &str, set: &str| -> Vec<f64> {
        let run = folder(name);
        // Dropout draws part by part.
        let output = train(&run, &["--set", set, "--set", "dropout=0"]);
        assert!(output.status.success(), "{}", said(&output));
        left(&run, 48).0.iter().filter_map(|line| line.get("loss")?.as_f64()).collect()
    };
    let parts = losses("parts", "micro_batch=100 tokens");
    let at_once = losses("at-once", "micro_batch=1M tokens");
    assert_eq!(parts.len(), 48);
    for (step, (a, b)) in parts.iter().zip(&at_once).enumerate() {
        // Rounding differs, and steps carry the difference on.
        let most = if step < 8 { 1e-5 } else { 1e-2 };
        assert!((a - b).abs() < most * b, "{step}: {a} {b}");
    }
    assert!(at_once[47] < at_once[0] - 0.5, "{at_once:?}");
}

#[test]
fn a_stable_checkpoint_branches_into_the_decays_of_whole_runs() {
    let plain = ["--set", "curriculum.lengths=null", "--set", "data.length=64"];
    let plain =
        [&plain[..], &["--set", "batch=256 tokens", "--set", "checkpoint.keep=100"]].concat();
    // Nothing may be measured in shares of a run whose length changes.
    let plain = [&plain[..], &["--set", "data.sources.code.weight=1"]].concat();
    let plain = [&plain[..], &["--set", "curriculum.difficulty=null"]].concat();
    let stable = folder("stable");
    let long = [&plain[..], &["--set", "length=1000 steps", "--stop-after", "20"]].concat();
    assert_eq!(train(&stable, &long).status.code(), Some(130));
    for (decay, end) in [(6, 26), (10, 30)] {
        let (whole, branch) = (folder(&format!("whole-{end}")), folder(&format!("branch-{end}")));
        let length = format!("length={end} steps");
        let curve = format!("schedule.wsd.decay={decay} steps");
        let set = [&plain[..], &["--set", &length, "--set", &curve]].concat();
        let output = train(&whole, &set);
        assert!(output.status.success(), "{}", said(&output));
        let from = stable.join("checkpoints/step-00000020");
        let amount = format!("{decay} steps");
        let now = [&plain[..], &["--from", path(&from), "--decay-now", &amount]].concat();
        let output = train(&branch, &now);
        assert!(output.status.success(), "{}", said(&output));
        assert!(left(&whole, end).1 == left(&branch, end).1, "a decay over {decay} steps");
        let summary = std::fs::read_to_string(branch.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["lineage"][0]["step"], 20);
        assert_eq!(summary["lineage"][0]["run"], "trainer-stable");
    }
}

#[test]
fn evaluation_counts_bits_per_byte_of_whole_files() {
    let run = folder("bits");
    assert!(train(&run, &[]).status.success());
    let output = lrc(&["eval", path(&run), "--all", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let data = std::fs::read_to_string(ready().join("code/data.json")).unwrap();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    let held = &data["held_out"][0];
    let (tokens, bytes) = (held["tokens"].as_f64().unwrap(), held["bytes"].as_f64().unwrap());
    let code = found.as_array().unwrap().iter().find(|line| line["task"] == "code").unwrap();
    // Every token of every file is asked, but the last, behind which nothing stands.
    assert_eq!(code["asked"].as_f64(), Some(tokens - 1.0));
    let bits = code["loss"].as_f64().unwrap() / 2_f64.ln() * tokens / bytes;
    assert!((code["bits_per_byte"].as_f64().unwrap() - bits).abs() < 1e-9);
    let output = lrc(&["generate", path(&run), "--prompt", "fn ", "--tokens", "20", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["prompt"], serde_json::json!([256, 102, 110, 32]));
    assert!(found["text"].is_string());
}

/// A copy of a corpus, to be damaged.
fn copied(name: &str) -> (PathBuf, Vec<String>) {
    let to = folder(name);
    for entry in std::fs::read_dir(ready().join("code")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }
    let set = format!("data.sources.code.path={}", path(&to));
    (to, vec!["--set".into(), set])
}

#[test]
fn damaged_data_is_refused_before_a_step() {
    let refused = |name: &str, damage: &dyn Fn(&Path), status: i32, want: &str| {
        let (at, set) = copied(&format!("copy-{name}"));
        damage(&at);
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let run = folder(&format!("run-{name}"));
        let output = train(&run, &set);
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        assert!(said(&output).contains(want), "{}", said(&output));
        assert!(!run.join("metrics.jsonl").exists(), "a run began");
    };
    let shard = "train-00000.bin";
    let bytes = |at: &Path, file: &str| std::fs::read(at.join(file)).unwrap();
    refused(
        "bit",
        &|at| {
            let mut all = bytes(at, shard);
            let middle = all.len() / 2;
            all[middle] ^= 1;
            std::fs::write(at.join(shard), all).unwrap();
        },
        1,
        "checksum",
    );
    refused(
        "cut",
        &|at| {
            let all = bytes(at, shard);
            std::fs::write(at.join(shard), &all[..all.len() - 100]).unwrap();
        },
        1,
        "cut off",
    );
    refused("gone", &|at| std::fs::remove_file(at.join(shard)).unwrap(), 1, "cannot read");
    refused(
        "manifest",
        &|at| std::fs::write(at.join("data.json"), "{\"tokenizer\": \"bytes\"}").unwrap(),
        1,
        "not a sound manifest",
    );
    refused(
        "outside",
        &|at| {
            let text = std::fs::read_to_string(at.join("data.json")).unwrap();
            let text = text.replace(shard, "../code/train-00000.bin");
            std::fs::write(at.join("data.json"), text).unwrap();
        },
        1,
        "not the name of a file",
    );
    let says = |at: &Path, fields: &[&str]| {
        let text = std::fs::read_to_string(at.join("data.json")).unwrap();
        let mut data: serde_json::Value = serde_json::from_str(&text).unwrap();
        fields.iter().for_each(|field| data[*field] = "another".into());
        std::fs::write(at.join("data.json"), data.to_string()).unwrap();
    };
    refused("bytes", &|at| says(at, &["tokenizer_blake3"]), 1, "with the tokenizer `bytes`");
    let both = ["tokenizer", "tokenizer_blake3"];
    refused("tokenizer", &|at| says(at, &both), 3, "different tokenizers");
}

#[test]
fn the_plan_shows_the_published_curricula() {
    let spec = folder("plan").join("spec.yaml");
    std::fs::write(spec.with_file_name("model.arch"), MODEL).unwrap();
    std::fs::write(
        &spec,
        "model: {file: model.arch}\ndata: {path: nowhere}\nbatch: 524288 tokens\nlength: 28.8B tokens\n\
         curriculum: {lengths: {grow_p2: {buckets: [256, 8192], cycles: 8}}}\n",
    )
    .unwrap();
    // Tokens of the buckets in the authors' example.
    let tokens = "385.9M,654.3M,813.7M,687.9M,562M,503.3M";
    let plan = |reading: &str| -> Vec<Vec<f64>> {
        let set = format!("curriculum.lengths.grow_p2.reading={reading}");
        let args = ["data", "plan", path(&spec), "--cycle", "--tokens", tokens, "--json"];
        let output = lrc(&[&args[..], &["--set", &set]].concat());
        assert!(output.status.success(), "{}", said(&output));
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["lengths"], serde_json::json!([256, 512, 1024, 2048, 4096, 8192]));
        let parts = plan["parts"].as_array().unwrap();
        let shares = |part: &serde_json::Value| {
            part["shares"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        parts.iter().map(shares).collect()
    };
    let near = |got: &[f64], want: [f64; 6], what: &str| {
        let close = got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 0.02);
        assert!(close, "{what}: {got:?}, not {want:?}");
    };
    let fixed = plan("fixed");
    near(&fixed[0], [0.36, 0.32, 0.19, 0.09, 0.03, 0.01], "the first eighth");
    near(&fixed[7], [0.0, 0.0, 0.0, 0.0, 0.32, 0.68], "the last eighth");
    // Stationary odds are 32 : 16 : 8 : 4 : 2 : 1 in every eighth.
    for (at, part) in plan("stationary").iter().enumerate() {
        let want = [32.0, 16.0, 8.0, 4.0, 2.0, 1.0].map(|x| x / 63.0);
        near(part, want, &format!("eighth {at}"));
    }
    // Rotating odds: in the first sixth bucket i has 2^(5-i) of its 63 shares, in the last 2^i.
    let rotating = plan("rotating");
    let share = |row: [f64; 6]| {
        let n = [385.9, 654.3, 813.7, 687.9, 562.0, 503.3];
        let all: Vec<f64> = n.iter().zip(row).map(|(n, odds)| n * odds).collect();
        let whole: f64 = all.iter().sum();
        [0, 1, 2, 3, 4, 5].map(|i| all[i] / whole)
    };
    near(&rotating[0], share([32.0, 16.0, 8.0, 4.0, 2.0, 1.0]), "rotating, at first");
    assert!(rotating[7][5] > 0.6 && rotating[7][0] < 0.03, "{:?}", rotating[7]);
}
