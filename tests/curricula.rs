//! Curricula of difficulty, levels of tasks, and what models are asked, through the real binary.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::path::{Path, PathBuf};

use common::{empty, lrc, path, said};
use lrc_dsl::Sources;
use lrc_runtime::config::open::open;
use lrc_runtime::data::Dataset;
use lrc_runtime::train::ready::run_schedule;
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    let output = lrc(args);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn folder(name: &str) -> PathBuf {
    empty(&format!("curricula-{name}"))
}

const MODEL: &str = "
use \"mixers/gated_deltanet.arch\"
use \"mixers/attention.arch\"
model small(width = 16, vocab = 257) {
    vocab vocab
    residual x + f(rmsnorm(x))
    gated_deltanet(heads = 2, dk = 8, dv = 8)
    attention(heads = 2)
    head rmsnorm(x), untied
}
";

/// Documents of one letter again and again, and as many of random letters.
fn texts(folder: &Path) {
    let mut lines = String::new();
    let mut state = 7_u64;
    for at in 0..200 {
        let text: String = (0..300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if at % 2 == 0 { 'a' } else { char::from(b'A' + (state >> 33) as u8 % 26) }
            })
            .collect();
        lines.push_str(&serde_json::json!({ "text": text, "mine": at % 2 }).to_string());
        lines.push('\n');
    }
    std::fs::write(folder.join("texts.jsonl"), lines).unwrap();
    std::fs::write(folder.join("model.arch"), MODEL).unwrap();
    let data = folder.join("data");
    let texts = folder.join("texts.jsonl");
    let output =
        lrc(&["data", "tokenize", path(&texts), "--held-out", "10%", "--out", path(&data)]);
    assert!(output.status.success(), "{}", said(&output));
}

fn spec(folder: &Path, more: &str) -> PathBuf {
    let file = folder.join("spec.yaml");
    let text = format!(
        "model: {{file: model.arch}}\ndata: {{path: data, length: 60}}\nbatch: 240 tokens\nlength: 50 steps\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn easy_documents_come_first() {
    let folder = folder("pacing");
    texts(&folder);
    let data = folder.join("data");
    let by = "curriculum: {difficulty: {by: compression, start: 40%, hold: 40%, full: 80%}}\n";
    let file = spec(&folder, by);
    let without = lrc(&["train", path(&file), "--out", path(&folder.join("none"))]);
    assert!(!without.status.success() && said(&without).contains("lrc data score"));

    for metric in ["compression", "diversity"] {
        let scores = json(&["data", "score", path(&data), "--metric", metric, "--json"]);
        assert!(scores[metric].as_array().unwrap().len() > 150);
    }
    let mut sources = Sources::default();
    let spec = open(&file, &[], &mut sources).unwrap().spec;
    let source = Dataset::open(&spec.task, spec.seed, &spec.asked()).unwrap();
    let mut run_schedule = run_schedule(&spec, Some(&source)).unwrap();
    let mut place = source.start();
    let mut hard = Vec::new();
    while let Some(next) = run_schedule.next(0.0) {
        let batch = source.batch(&source.draw(&next, &[], &mut place)).unwrap();
        let capital = |token: &&u32| (65..91).contains(*token);
        let share = batch.tokens.iter().filter(capital).count() as f64 / batch.rows() as f64;
        hard.push(share);
    }
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    assert!(mean(&hard[..20]) < 0.05, "{hard:?}");
    assert!(mean(&hard[41..]) > 0.3, "{hard:?}");
    assert!(mean(&hard[20..30]) < mean(&hard[41..]), "{hard:?}");
    let plan = json(&["data", "plan", path(&file), "--json", "--parts", "5"]);
    let easiest: Vec<f64> = plan["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["mixture"][1].as_f64().unwrap())
        .collect();
    assert!((easiest[0] - 0.4).abs() < 1e-9 && (easiest[4] - 1.0).abs() < 1e-9, "{easiest:?}");
}

#[test]
fn scores_may_come_from_a_teacher_or_from_elsewhere() {
    let folder = folder("scores");
    texts(&folder);
    let data = folder.join("data");
    let run = folder.join("run");
    let file = spec(&folder, "length: 30 steps\noptimizer: {adamw: {lr: 1e-2}}\n");
    let text = std::fs::read_to_string(&file).unwrap().replace("length: 50 steps\n", "");
    std::fs::write(&file, text).unwrap();
    let output = lrc(&["train", path(&file), "--out", path(&run)]);
    assert!(output.status.success(), "{}", said(&output));
    let scores = json(&["data", "score", path(&data), "--teacher", path(&run), "--json"]);
    let scores: Vec<f64> =
        scores["teacher"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    // The teacher knows the letter that comes again and again; both kinds have as many documents.
    let mut sorted = scores.clone();
    sorted.sort_by(f64::total_cmp);
    assert!(sorted[scores.len() * 3 / 4] > 1.5 * sorted[scores.len() / 4]);
    // Others: as many as there are documents, or an error that says so.
    let other = folder.join("other.jsonl");
    let lines: String = (0..scores.len()).map(|i| format!("{{\"mine\": {i}}}\n")).collect();
    std::fs::write(&other, &lines).unwrap();
    let import = ["data", "score", path(&data), "--import", path(&other), "--field", "mine"];
    let output = lrc(&import);
    assert!(output.status.success(), "{}", said(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("mine") && table.contains("teacher"), "{table}");
    std::fs::write(&other, lines + "{\"mine\": 1}\n").unwrap();
    let output = lrc(&import);
    assert!(!output.status.success() && said(&output).contains("scores"), "{}", said(&output));
    std::fs::write(&other, "{\"yours\": 1}\n").unwrap();
    assert!(said(&lrc(&import)).contains("line 1"));
}

#[test]
fn a_token_that_the_model_does_not_know_is_refused_with_its_place() {
    let folder = folder("foreign");
    std::fs::write(folder.join("model.arch"), MODEL).unwrap();
    // A shard without a header, as nanoGPT writes them, with one token too large.
    let mut tokens: Vec<u16> = (0..4000).map(|i| i % 200).collect();
    tokens[1234] = 300;
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_le_bytes()).collect();
    std::fs::write(folder.join("shard.bin"), bytes).unwrap();
    let file = folder.join("spec.yaml");
    std::fs::write(
        &file,
        "model: {file: model.arch}\ndata: {path: shard.bin, format: nanogpt, boundaries: false, length: 40}\nbatch: 400 tokens\nlength: 20 steps\n",
    )
    .unwrap();
    let output = lrc(&["train", path(&file), "--out", path(&folder.join("run"))]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("token 300 at place 1234") && said.contains("257"), "{said}");
}

const TASK: &str = "
model: {file: model.arch, set: {vocab: 40, width: 32}}
task: {selective_copy: {vocab: 12, length: 24, marked: 6}}
curriculum: {levels: {of: marked, values: [1, 2, 4, 6], pace: {staged: {reach: 0.6}}}}
batch: 16
length: 60 steps
optimizer: {adamw: {lr: 1e-2}}
schedule: {constant: {warmup: 5 steps}}
eval: {every: 10 steps, sequences: 16, lengths: [32, 48]}
checkpoint: {every: 7 steps}
";

#[test]
fn levels_go_up_as_they_are_mastered_and_resume_where_they_were() {
    let folder = folder("levels");
    std::fs::write(folder.join("model.arch"), MODEL).unwrap();
    let file = folder.join("spec.yaml");
    std::fs::write(&file, TASK).unwrap();
    let (whole, cut) = (folder.join("whole"), folder.join("cut"));
    let output = lrc(&["train", path(&file), "--out", path(&whole)]);
    assert!(output.status.success(), "{}", said(&output));
    let metrics = |run: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let mut value: Value = serde_json::from_str(line).unwrap();
                value.as_object_mut().unwrap().remove("tokens_per_second");
                value
            })
            .collect()
    };
    let lines = metrics(&whole);
    let ups: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"]["what"].as_str())
        .filter(|what| what.contains("goes on to marked"))
        .collect();
    assert!(!ups.is_empty() && ups[0].ends_with("marked 2"), "{ups:?}");
    let eval = lines.iter().find_map(|line| line["eval"].as_object()).unwrap();
    for set in ["selective_copy", "selective_copy, 48 tokens", "selective_copy, marked 4"] {
        assert!(eval[set]["exact"].is_number(), "{eval:?}");
    }
    // Stopped twice, also right behind the step where a level was left.
    for stop in ["12", "41"] {
        let output =
            lrc(&["train", path(&file), "--out", path(&cut), "--resume", "--stop-after", stop]);
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    }
    let output = lrc(&["train", path(&file), "--out", path(&cut), "--resume"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(metrics(&cut), lines);

    let eval = json(&["eval", path(&whole), "--length", "24,64", "--sequences", "8", "--json"]);
    let lengths: Vec<u64> =
        eval.as_array().unwrap().iter().map(|set| set["length"].as_u64().unwrap()).collect();
    assert_eq!(lengths, [24, 64]);
    let without =
        json(&["eval", path(&whole), "--ablate", "attention", "--length", "24", "--json"]);
    let with = json(&["eval", path(&whole), "--length", "24", "--json"]);
    assert!(without["loss"].as_f64() != with["loss"].as_f64());
    assert_eq!(lrc(&["eval", path(&whole), "--length", "3"]).status.code(), Some(2));
}

#[test]
fn text_is_measured_by_length_by_place_and_by_questions() {
    let folder = folder("asked");
    texts(&folder);
    let run = folder.join("run");
    let file = spec(
        &folder,
        "curriculum: {lengths: {natural: {buckets: [32, 64]}}}\noptimizer: {adamw: {lr: 1e-2}}\n",
    );
    let output = lrc(&["train", path(&file), "--out", path(&run)]);
    assert!(output.status.success(), "{}", said(&output));
    // Windows of the length that was asked for, buckets or not.
    for length in [16, 200] {
        let length = length.to_string();
        let args = ["eval", path(&run), "--length", &length, "--all", "--places", "--json"];
        let eval = json(&args);
        assert_eq!(eval["length"].to_string(), length);
        let places = eval["places"].as_array().unwrap();
        let last = places.last().unwrap();
        assert!(last["from"].as_u64().unwrap() < length.parse().unwrap());
        assert!(2 * last["from"].as_u64().unwrap() >= length.parse().unwrap());
        let asked: u64 = places.iter().map(|place| place["asked"].as_u64().unwrap()).sum();
        assert_eq!(asked, eval["asked"].as_u64().unwrap());
    }
    let questions = folder.join("questions.jsonl");
    let lines = [
        r#"{"prompt": "aaaaaaaa", "choices": ["aaaa", "QXZR", "7!7!"], "answer": 0}"#,
        r#"{"prompt": "aaaaaa", "choices": ["ZQ", "aa"], "answer": 1}"#,
        r#"{"prompt": "aaaaaaaaaaaa", "answer": "aaaa"}"#,
    ];
    std::fs::write(&questions, lines.join("\n")).unwrap();
    let found = json(&["eval", path(&run), "--questions", path(&questions), "--json"]);
    assert_eq!(found["choices"]["right"].as_f64(), Some(1.0), "{found}");
    assert_eq!(found["recall"]["exact"].as_f64(), Some(1.0), "{found}");
    for (line, why) in [
        (r#"{"prompt": "a", "choices": ["b", "c"], "answer": 2}"#, "from 0 to 1"),
        (r#"{"prompt": "a", "choices": ["b"], "answer": 0}"#, "one choice"),
        (r#"{"prompt": "a", "answer": 3}"#, "is a text"),
        (r#"{"promt": "a", "answer": "b"}"#, "promt"),
        ("nothing", "line 1"),
    ] {
        std::fs::write(&questions, line).unwrap();
        let output = lrc(&["eval", path(&run), "--questions", path(&questions)]);
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}

/// Specs whose tasks could not be made at some length or level: told at once, not in the middle.
#[test]
fn what_does_not_fit_is_refused_before_a_step() {
    let folder = folder("refused");
    std::fs::write(folder.join("model.arch"), MODEL).unwrap();
    std::fs::write(folder.join("short.txt"), "some words ".repeat(900)).unwrap();
    let cases = [
        (
            "task: {mqar: {vocab: 128, pairs: 4, length: 256}}\ncurriculum: {levels: {of: pairs, values: [4, 32], pace: {variance: {}}}, lengths: {warmup: {from: 32}}}",
            "sequences of 32 tokens: 32 pairs do not fit",
        ),
        ("task: {niah: {haystack: needles, digits: 1}}\neval: {lengths: [256]}", "64 keys"),
        ("task: {niah: {haystack: needles, queries: 9}}", "too few for `niah`"),
        (
            "task: {text: {path: short.txt, length: 64}}\neval: {lengths: [2048]}",
            "sequences of 2048",
        ),
        ("task: {parity: {length: 64}}\neval: {lengths: [99999999]}", "lengths go from 2"),
        (
            "data: {path: none}\ncurriculum: {difficulty: {by: compression, hold: 1 min, full: 5 min}}",
            "cannot depend on the clock",
        ),
        (
            "task: {parity: {length: 64}}\ncurriculum: {difficulty: {by: compression}}",
            "`levels` is for tasks",
        ),
        (
            "task: {parity: {length: 64}}\ncurriculum: {levels: {of: pairs, values: [1, 2]}}",
            "has no `pairs`",
        ),
        ("task: {parity: {length: 64}}\nactivations: much", "2 GB"),
        ("task: {parity: {length: 64}}\nprecision: {matrices: f8}", "`bf16` or `f32`"),
    ];
    for (rest, why) in cases {
        let file = folder.join("spec.yaml");
        std::fs::write(&file, format!("model: {{file: model.arch}}\nbatch: 512 tokens\n{rest}\n"))
            .unwrap();
        let run = folder.join("run");
        let output = lrc(&["train", path(&file), "--out", path(&run)]);
        let said = said(&output);
        assert!(matches!(output.status.code(), Some(1 | 3)), "{rest}: {said}");
        assert!(said.contains(why), "{rest}: {said}");
    }
}

#[test]
fn diagnoses_say_what_they_measured() {
    let folder = folder("diagnoses");
    std::fs::write(folder.join("model.arch"), MODEL).unwrap();
    let file = folder.join("spec.yaml");
    std::fs::write(
        &file,
        "model: {file: model.arch, set: {vocab: 40}}\ntask: {mqar: {vocab: 40, length: 24}}\nbatch: 8\nmicro_batch: 96 tokens\nlength: 30 steps\nmonitor: {every: 5 steps}\n",
    )
    .unwrap();
    let file = path(&file);
    let spike = json(&["diagnose", "spike", file, "--steps", "20", "--seeds", "2", "--json"]);
    let ratios = spike["ratios"].as_array().unwrap();
    assert!(ratios.len() == 2 && ratios.iter().all(|x| x.as_f64().unwrap() >= 1.0), "{spike}");
    assert_eq!(lrc(&["diagnose", "spike", file, "--steps", "31"]).status.code(), Some(2));
    let lsc = json(&["diagnose", "lsc", file, "--json"]);
    let layers = lsc.as_array().unwrap();
    assert_eq!(layers.len(), 2);
    // Decays begin near 1; attention has no state.
    let time = layers[0]["time"].as_f64().unwrap();
    assert!(time > 0.5 && time < 1.01, "{lsc}");
    assert!(layers[1]["time"].is_null() && layers[1]["depth"].as_f64().unwrap() > 0.0);
    let run = folder.join("run");
    let output = lrc(&["train", file, "--out", path(&run)]);
    assert!(output.status.success(), "{}", said(&output));
    let rounded = json(&["diagnose", "precision", path(&run), "--json"]);
    let classes = rounded["bf16"].as_array().unwrap();
    assert!(classes.iter().any(|one| one["class"] == "matrices"));
    assert!(classes.iter().all(|one| one["more"].as_f64().unwrap().abs() < 0.1), "{rounded}");
    // What is written besides: a log, events for TensorBoard, the noise of gradients.
    let log = std::fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(log.contains("mqar: accuracy"), "{log}");
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("noise_scale"), "{metrics}");
    let events = std::fs::read_dir(&run).unwrap().flatten();
    let events: Vec<_> = events
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("events.out.tfevents"))
        .collect();
    assert!(events.len() == 1 && events[0].metadata().unwrap().len() > 2000);
}
