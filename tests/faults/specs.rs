//! Specs, and the arguments of commands.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lrc_dsl::{Diag, Sources};
use lrc_runtime::config;
use lrc_runtime::config::Spec;

use crate::common::{empty, lrc, path, said};
use crate::input;

/// A tiny model with a tied head.
const MODEL: &str = r#"
use "mixers/gated_deltanet.arch"
use "mixers/swiglu.arch"
model tiny(width = 8, vocab = 64) {
    vocab vocab
    residual x + f(rmsnorm(x))
    gated_deltanet(heads = 2, dk = 4, dv = 4)
    swiglu(hidden = 8)
    head rmsnorm(x), tied
}
"#;

/// A folder with the model and a spec of it.
fn place(name: &str, spec: &str) -> (PathBuf, PathBuf) {
    let folder = empty(&format!("specs-{name}"));
    std::fs::write(folder.join("m.arch"), MODEL).unwrap();
    let file = folder.join("s.yaml");
    std::fs::write(&file, spec).unwrap();
    (folder, file)
}

fn read(path: &Path, text: &str, set: &[(&str, &str)]) -> Result<Spec, Vec<Diag>> {
    let set: Vec<(String, String)> =
        set.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    let file = Sources::default().add("spec", text);
    config::read(path, file, text, &set)
}

/// What is said of a spec of the tiny model, or nothing.
fn of(rest: &str) -> String {
    let text = format!("model: {{file: m.arch}}\n{rest}");
    let diags = read(Path::new("s.yaml"), &text, &[]).err().unwrap_or_default();
    diags.iter().map(|d| format!("{} {}\n", d.message, d.helps.join(" "))).collect()
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let at = entry.unwrap().path();
        if at.is_dir() {
            below(&at, found);
        } else if at.extension().is_some_and(|e| e == "yaml") {
            found.push(at);
        }
    }
}

/// What `spec.resolved.yaml` left out is written, and what is written means the same.
#[test]
fn a_resolved_spec_reads_as_the_same_spec() {
    let (mut files, mut specs) = (Vec::new(), 0);
    for folder in ["specs", "examples", "tests/faults/inputs/spec"] {
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if !text.contains("\nmodel:") && !text.starts_with("model:") {
            continue;
        }
        let first = read(&file, &text, &[]).unwrap_or_else(|why| panic!("{file:?}: {why:?}"));
        let again = read(&file, &first.resolved, &[]).unwrap();
        assert_eq!(again, first, "{}", file.display());
        specs += 1;
    }
    assert!(specs >= 25, "{specs}");
}

/// Everything that decides a number stands in it.
#[test]
fn a_resolved_spec_holds_every_default() {
    let text = "model: {file: m.arch}\ntask: {parity: }\n";
    let spec = read(Path::new("a/short.yaml"), text, &[]).unwrap();
    let want = r#"name: "short"
model:
  file: "m.arch"
task:
  parity:
    length: 64
seed: 1
length: "1000 steps"
batch: 32
segments: 1
workers: 1
optimizer:
  adamw:
    lr: 0.001
    beta1: 0.9
    beta2: 0.95
    eps: 0.00000001
    weight_decay: 0.1
    clip: 1
schedule:
  wsd:
    warmup: "5%"
    rise: "linear"
    decay: "20%"
    curve: "linear"
    floor: 0
dropout: 0
z_loss: 0
eval:
  every: "10%"
  sequences: 256
checkpoint:
  every: "25%"
  keep: 2
monitor:
  every: "100 steps"
  window: 100
  deviations: 6
"#;
    assert_eq!(spec.resolved, want);
    // Names that YAML takes for something else, and signs that it escapes.
    let odd = "model: {file: m.arch}\ntask: {copy: }\noptimizer: {adamw: , groups: {\"a\\u00e9\\e[1m \\\\ \\\" \\u2028\": {match: biases}, \"no: #\": {match: \"*\"}, \"true\": {match: vectors}}}\n";
    let spec = read(Path::new("s.yaml"), odd, &[]).unwrap();
    assert_eq!(read(Path::new("s.yaml"), &spec.resolved, &[]).unwrap(), spec);
}

/// The loss and rate of each step.
fn steps(run: &Path) -> Vec<(f64, f64)> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| Some((line["loss"].as_f64()?, line["lr"].as_f64()?))).collect()
}

#[test]
fn a_resolved_spec_trains_the_same_run() {
    let (folder, file) = place(
        "again",
        "model: {file: m.arch}\ntask: {mqar: {vocab: 64, length: 32}}\nbatch: 4\nlength: 3 steps\neval: {sequences: 4}\n",
    );
    let [one, two] = ["one", "two"].map(|name| folder.join(name));
    let output = lrc(&["train", path(&file), "--out", path(&one), "--set", "dropout=0.1"]);
    assert!(output.status.success(), "{}", said(&output));
    let kept = one.join("spec.resolved.yaml");
    let set = "model.file=model.arch";
    let output = lrc(&["train", path(&kept), "--out", path(&two), "--set", set]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(steps(&one), steps(&two));
    assert_eq!(steps(&one).len(), 3);
}

/// `on` became `true` on its way through a tool for YAML 1.1.
#[test]
fn policies_survive_other_readers_of_yaml() {
    let output = lrc(&["check", &input("spec/policies_through_pyyaml.yaml")]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("`true` is an older name of `when`"), "{}", said(&output));
    let with = |policy: &str| {
        let text = format!("model: {{file: m.arch}}\ntask: {{parity: }}\npolicies: [{policy}]\n");
        read(Path::new("s.yaml"), &text, &[]).unwrap()
    };
    let new = with("{when: nan, do: {lr_scale: 0.5}}");
    assert!(new.resolved.contains("when: \"nan\""), "{}", new.resolved);
    assert_eq!(with("{true: nan, do: {lr: 0.5}}"), new);
    assert_eq!(with("{on: nan, do: {lr: 0.5}}"), new);
    let said = of("task: {parity: }\npolicies: [{on: nan, when: spike, do: skip}]\n");
    assert!(said.contains("given twice, as `on` and as `when`"), "{said}");
}

/// A factor of the rate has one name, and the older one means the same.
#[test]
fn factors_of_the_rate_are_lr_scale() {
    let with = |name: &str| {
        let text = format!(
            "model: {{file: m.arch}}\ntask: {{parity: }}\nphases: [{{for: 50%, {name}: 2}}, {{for: 50%, {name}: {{to: 0.1}}}}]\noptimizer: {{adamw: , groups: {{a: {{match: \"*\", {name}: 0.5}}}}}}\n"
        );
        read(Path::new("s.yaml"), &text, &[]).unwrap()
    };
    assert_eq!(with("lr"), with("lr_scale"));
}

/// Specs that were accepted and mean nothing, and what is said of them now. S3, S7, R17.
#[test]
fn specs_that_mean_nothing_are_refused() {
    let task = "task: {parity: }\n";
    let data = |weight: &str| format!("data: {{path: x, weight: {weight}}}\n");
    let cases = [
        (format!("{task}policies: [{{when: loss > nan, do: stop}}]"), "nothing is known as"),
        (format!("{task}policies: [{{when: nan, do: {{back: 3, clip: 1}}}}]"), "one of them"),
        (format!("{task}policies: [{{when: nan, do: {{}}}}]"), "one of them"),
        (data("[[50%, 1], [10%, 1]]"), "one after the other"),
        (data("[[0%, 1], [100 steps, 1]]"), "all in one unit"),
        (data("0"), "no source has a weight at all"),
        (
            "data: {sources: {a: {path: x, weight: [[0%, 1], [50%, 0]]}, b: {path: z, weight: [[50%, 0], [60%, 1]]}}}"
                .into(),
            "no source has a weight at 50%",
        ),
        (
            format!("{task}curriculum: {{lengths: {{warmup: {{from: 65}}}}}}\nbatch: 1k tokens"),
            "begins with 65 tokens, whole sequences have 64",
        ),
        (format!("{task}length: 1e18 steps"), "at most 10000000 steps"),
        (format!("{task}batch: 1e18 tokens"), "at most 1000000000"),
        (format!("{task}batch: 2000000"), "at most 1000000,"),
        (format!("{task}batch: 2000000 sequences"), "at most 1000000,"),
        ("task: {parity: {length: 65536}}\nbatch: 1000000".into(), "at most 1000000000 are allowed"),
        (format!("{task}schedule: {{cosine: {{warmup: 300%}}}}"), "the whole run is 100%"),
        (format!("{task}phases: [{{for: 60%}}, {{for: 60%}}]"), "take 120% of the run"),
        (format!("{task}phases: [{{for: 0%}}, {{for: 60%}}]"), "lasts a while"),
    ];
    for (rest, why) in cases {
        let said = of(&rest);
        assert!(said.contains(why), "{rest}\n{said}");
    }
    // What is typed: no number, and nothing at all.
    let text = "model: {file: m.arch}\ntask: {mqar: }\n";
    for (at, value, why) in [
        ("name", "true", "`name` must be a text, not `true`"),
        ("dropout", "nan", "`dropout` must be a number, not the text"),
        ("task.mqar", "null", "`task` needs exactly one kind"),
        ("wokers", "null", "unknown field `wokers`"),
    ] {
        let diags = read(Path::new("s.yaml"), text, &[(at, value)]).unwrap_err();
        assert!(diags.iter().any(|d| d.message.contains(why)), "{at}={value}: {diags:?}");
    }
    let set = [("optimizer.adamw.lr", "1"), ("optimizer.adamw", "null"), ("optimizer.sgd.lr", "1")];
    assert!(read(Path::new("s.yaml"), text, &set).is_ok(), "one kind for another");
}

/// A help names a field once. S8.
#[test]
fn helps_name_a_field_once() {
    let specs = of("task: {parity: }\nphases: [{for: 1%, qqqq: 1}]\nqqqqqqqq: 1\n");
    let text = "spec: s.yaml\nseries: {a: {}}\nqqqqqqqq: 1\n";
    let file = Sources::default().add("e.yaml", text);
    let diags = lrc_runtime::eval::experiment::read(Path::new("e.yaml"), file, text).unwrap_err();
    let helps = diags.iter().flat_map(|diag| diag.helps.clone());
    let mut seen = 0;
    for help in helps.chain(specs.lines().map(String::from)) {
        let Some((_, fields)) = help.split_once("its fields: ") else { continue };
        let mut names: Vec<&str> = fields.trim().split(", ").collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{help}");
        seen += 1;
    }
    assert_eq!(seen, 3, "{specs}");
}

/// Arguments that crashed, hung or meant nothing: usage, at once. S2, S3, S7.
#[test]
fn arguments_have_limits() {
    let most = u64::MAX.to_string();
    let file = input("break/m.arch");
    let cases: [&[&str]; 22] = [
        &["generate", "r", "--prompt", "1", "--tokens", &most],
        &["generate", "r", "--prompt", "1", "--temperature=-1"],
        &["generate", "r", "--prompt", "1", "--temperature", "nan"],
        &["generate", "r", "--prompt", "1", "--top-k", "0"],
        &["generate", "r", "--prompt", "1", "--top-p", "nan"],
        &["generate", "r", "--prompt", "1", "--top-p", "2"],
        &["generate", "r", "--prompt", "1", "--top-p", "0"],
        &["bench", &file, "--seconds", "nan"],
        &["bench", &file, "--seconds", "inf"],
        &["bench", &file, "--seconds=-1"],
        &["bench", &file, "--length", &most],
        &["bench", &file, "--heads", &most],
        &["bench", &file, "--batch", "0"],
        &["bench", &file, "--length", "8", "--chunk", "9"],
        &["eval", "r", "--sequences", &most],
        &["eval", "r", "--sequences", "0"],
        &["diagnose", "precision", "r", "--sequences", "0"],
        &["diagnose", "spike", "s.yaml", "--steps", &most],
        &["diagnose", "spike", "s.yaml", "--seeds", &most],
        &["data", "plan", "s.yaml", "--parts", "0"],
        &["params", &file, "--context", &most],
        &["report", "r", "--smooth", "nan"],
    ];
    for args in cases {
        let output = lrc(args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("error") && !said.contains("panicked"), "{args:?}: {said}");
    }
    // Sizes that are allowed one by one, and together take more than any memory.
    let sizes = ["--length", "16777216", "--heads", "65536", "--batch", "1000"];
    let gla = "specs/recurrences/gla.arch";
    let output = lrc(&[&["bench", gla, "--set", "dk=64", "--set", "dv=64"], &sizes[..]].concat());
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
}

/// Amounts from the command line that have no end, or nothing in them. S3, S7.
#[test]
fn amounts_on_the_command_line_have_limits() {
    let (_, file) = place(
        "amounts",
        "model: {file: m.arch}\ntask: {mqar: {vocab: 64, length: 32}}\nlength: 2 steps\nbatch: 2\neval: {sequences: 2}\n",
    );
    let (file, run) = (path(&file), file.with_file_name("r"));
    let status = |args: &[&str]| {
        let begun = Instant::now();
        let output = lrc(args);
        assert!(begun.elapsed().as_secs() < 60, "{args:?}");
        let said = said(&output);
        assert!(!said.contains("panicked") && said.contains("error"), "{args:?}: {said}");
        output.status.code()
    };
    assert_eq!(status(&["data", "plan", file, "--set", "length=1000000000 steps"]), Some(3));
    assert_eq!(status(&["train", file, "--dry-run", "--set", "length=1e18 tokens"]), Some(3));
    assert!(lrc(&["train", file, "--out", path(&run)]).status.success());
    let from = run.join("checkpoints/step-00000002");
    let decay = |amount| {
        status(&["train", file, "--from", path(&from), "--decay-now", amount, "--dry-run"])
    };
    assert_eq!(decay("0 steps"), Some(2));
    assert_eq!(decay("1e18 steps"), Some(3));
    assert_eq!(decay("5 parsecs"), Some(2));
    // Also asked by a dry run: the checkpoint, and the faults.
    let elsewhere = ["train", file, "--dry-run", "--from", "nowhere"];
    assert_eq!(status(&elsewhere), Some(3));
    assert_eq!(status(&["train", file, "--dry-run", "--inject", "flood@3"]), Some(2));
    let bench = status(&["diagnose", "spike", file, "--steps", "3", "--from", "3"]);
    assert_eq!(bench, Some(2));
}

/// Seeds of an experiment are those of specs, also in a dry run. S7.
#[test]
fn seeds_of_an_experiment_are_checked() {
    let (folder, _) = place("seeds", "model: {file: m.arch}\ntask: {parity: }\n");
    let file = folder.join("e.yaml");
    std::fs::write(&file, "spec: s.yaml\nseeds: [18446744073709551616]\nseries: {a: {}}\n")
        .unwrap();
    let output = lrc(&["experiment", path(&file), "--dry-run"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("whole numbers up to 4294967295"), "{}", said(&output));
}

/// Devices and endless files in the place of texts. S9.
#[test]
fn what_never_ends_is_not_read_to_its_end() {
    let (folder, file) = place("endless", "model: {file: /dev/zero}\ntask: {parity: }\n");
    let text = folder.join("t.yaml");
    let spec = "model: {file: m.arch, set: {vocab: 256}}\ntask: {text: {path: /dev/zero}}\n";
    std::fs::write(&text, spec).unwrap();
    for (args, why) in [
        (["check", path(&file)], "bytes"),
        (["check", path(&text)], "it is no file"),
        (["train", "/dev/zero"], "bytes"),
        (["experiment", "/dev/zero"], "bytes"),
    ] {
        let output = lrc(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(why), "{args:?}: {}", said(&output));
    }
}

/// A data folder says what is held out, how it is laid out and where documents begin. S7.
#[test]
fn what_a_data_folder_says_is_not_said_again() {
    let (folder, file) =
        place("folder", "model: {file: m.arch, set: {vocab: 257}}\ndata: {path: d}\n");
    std::fs::write(folder.join("text.txt"), "some words ".repeat(900)).unwrap();
    let (from, to) = (folder.join("text.txt"), folder.join("d"));
    let output = lrc(&["data", "tokenize", path(&from), "--out", path(&to)]);
    assert!(output.status.success(), "{}", said(&output));
    let dry = |set: &str| lrc(&["train", path(&file), "--dry-run", "--set", set]);
    assert!(dry("batch=2").status.success());
    for set in ["data.held_out=nope", "data.end=3", "data.format=nanogpt"] {
        let output = dry(set);
        assert_eq!(output.status.code(), Some(3), "{set}");
        assert!(said(&output).contains("for shards outside"), "{}", said(&output));
    }
}

/// A model larger than memory is refused before anything of it is made, and so is a size beyond numbers. R10, A19.
#[test]
fn what_no_memory_holds_is_refused() {
    let (_, file) =
        place("large", "model: {file: m.arch}\ntask: {mqar: {vocab: 64, length: 1024}}\n");
    let train = |more: &[&str]| lrc(&[&["train", path(&file)], more].concat());
    let output = train(&["--set", "batch=900000"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("this process may have"), "{}", said(&output));
    // It may be planned here and trained elsewhere.
    let output = train(&["--set", "batch=900000", "--dry-run"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("cannot be trained on this machine"), "{}", said(&output));
    for width in ["1000000000", "1e300"] {
        let set = format!("model.set.width={width}");
        for more in [&["--dry-run"][..], &[]] {
            let output = train(&[&["--set", &set], more].concat());
            assert!(matches!(output.status.code(), Some(3 | 5)), "{set}: {}", said(&output));
            assert!(!said(&output).contains("panicked"), "{set}: {}", said(&output));
        }
    }
}

/// Advice about lengths is for runs that are long enough to show them.
#[test]
fn a_run_of_one_step_gets_no_advice_about_lengths() {
    let (_, file) = place(
        "advice",
        "model: {file: m.arch}\ntask: {mqar: {vocab: 64, length: 64}}\nbatch: 256 tokens\ncurriculum: {lengths: {grow_p2: {buckets: [16, 64]}}}\n",
    );
    for length in ["length=1 steps", "length=10 steps"] {
        let output = lrc(&["train", path(&file), "--dry-run", "--set", length]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(!said(&output).contains("do not occur"), "{}", said(&output));
    }
}

/// What `check`, a dry run and training say of a spec, and their statuses.
fn thrice(file: &Path, more: &[&str]) -> [(Option<i32>, String); 3] {
    let run = file.with_file_name("run");
    let _ = std::fs::remove_dir_all(&run);
    let train = ["train", path(file), "--out", path(&run)];
    let all: [&[&str]; 3] = [
        &["check", path(file)],
        &[&train[..], &["--dry-run"]].concat(),
        &[&train[..], &["--stop-after", "1"]].concat(),
    ];
    all.map(|args| {
        let output = lrc(&[args, more].concat());
        let own = |line: &&str| !line.starts_with("tiny: ");
        let said = said(&output);
        let said: Vec<&str> = said.lines().filter(own).collect();
        (output.status.code(), said.join("\n"))
    })
}

/// One checker: what training refuses is refused by all three, in the same words.
#[test]
fn all_three_refuse_the_same_specs_in_the_same_words() {
    let (_, file) = place("thrice", "");
    let head = "model: {file: m.arch}\nbatch: 4\n";
    let cases = [
        (
            "task: {copy: {length: 32}}\nprecision: {matrices: bf16, embedding: bf16}",
            "`embedding` fits no parameter",
            3,
        ),
        ("task: {mqar: {vocab: 65}}", "has 65 tokens, the model's vocabulary 64", 3),
        ("task: {text: {path: s.yaml}}", "has 256 tokens", 3),
        (
            "task: {parity: }\noptimizer: {adamw: , groups: {a: {match: nothing}}}",
            "`a` fits no parameter",
            3,
        ),
        ("task: {parity: }\nactivations: 1 kB", "`activations` allows", 3),
        ("task: {parity: }\nlength: 1e12 tokens", "more than 10000000 steps", 3),
        (
            "task: {text: {path: short}}\nmodel: {file: m.arch, set: {vocab: 256}}",
            "need at least 650",
            1,
        ),
    ];
    std::fs::write(file.with_file_name("short"), "too short").unwrap();
    for (rest, why, status) in cases {
        let head = if rest.contains("model:") { "batch: 4\n" } else { head };
        std::fs::write(&file, format!("{head}{rest}\n")).unwrap();
        let [check, dry, train] = thrice(&file, &[]);
        assert_eq!(train.0, Some(status), "{rest}: {}", train.1);
        assert!(train.1.contains(why), "{rest}: {}", train.1);
        assert_eq!(check, train, "{rest}");
        assert_eq!(dry, train, "{rest}");
    }
}

/// What sections of a spec may say; each list begins with what is sound.
const SECTIONS: [&[&str]; 15] = [
    &[
        "task: {mqar: {vocab: 64, length: 32}}",
        "task: {parity: {length: 16}}",
        "task: {copy: {length: 16}}",
        "task: {niah: {length: 64, keys: 8, words: 8, digits: 2}}",
        "task: {mqar: {vocab: 128, length: 32}}",
        "task: {modular: {modulus: 64}}",
        "task: {parity: {length: 1}}",
    ],
    &[
        "batch: 2",
        "batch: 128 tokens",
        "batch: {from: 1, to: 4, over: 50%}",
        "batch: 0",
        "batch: {from: 4, to: 1}",
    ],
    &["length: 9 steps", "length: 1k tokens", "length: 0 steps", "length: 50%", "length: 1e13"],
    &["", "micro_batch: 64 tokens", "micro_batch: 2 steps"],
    &[
        "optimizer: {adamw: {lr: 1e-3}}",
        "optimizer: {muon: , groups: {a: {match: vectors, lr_scale: 0}}}",
        "optimizer: {sgd: {nesterov: true}}",
        "optimizer: {lion: , groups: {a: {match: embedding}}}",
        "optimizer: {adamw: {lr: 1e3}}",
    ],
    &["", "schedule: {cosine: {warmup: 2 steps}}", "schedule: {inverse_root: {warmup: 0}}"],
    &[
        "",
        "curriculum: {lengths: {warmup: {from: 16, over: 50%}}}",
        "curriculum: {lengths: {grow_p2: {buckets: [16, 32], cycles: 2}}}",
        "curriculum: {levels: {of: pairs, values: [1, 4]}}",
        "curriculum: {lengths: {warmup: {from: 999}}}",
    ],
    &[
        "",
        "phases: [{for: 50%, lr: 2}, {for: 50%, batch: 64 tokens}]",
        "phases: [{for: 1 steps, lengths: 16}]",
    ],
    &["", "dropout: 0.1", "dropout: 1", "z_loss: 1e-4"],
    &["", "freeze: matrices", "freeze: \"embedding, *.gone.*\"", "freeze: 3"],
    &["", "precision: {matrices: bf16}", "precision: {head: bf16}", "precision: {embedding: bf16}"],
    &["", "activations: 1 GB", "activations: 2 kB", "activations: much"],
    &[
        "eval: {sequences: 2}",
        "eval: {sequences: 2, lengths: [48]}",
        "eval: {sequences: 2, lengths: [5]}",
    ],
    &[
        "",
        "policies: [{when: qk > 1, do: warn}]",
        "policies: [{when: loss > x, do: stop}]",
        "policies: [{when: nan, do: {back: 1}}]",
    ],
    &["", "workers: 0", "stop_at: 2", "seed: -1", "checkpoint: {keep: 0}"],
];

/// Specs put together at random, mostly of what is sound.
#[test]
fn random_specs_meet_one_checker() {
    let (_, file) = place("random", "");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let (mut trained, mut refused) = (0, 0);
    for _ in 0..32 {
        let lines: Vec<&str> = SECTIONS
            .iter()
            .map(|all| all[if below(6) > 0 { 0 } else { below(all.len()) }])
            .collect();
        let spec = format!("model: {{file: m.arch}}\n{}\n", lines.join("\n"));
        std::fs::write(&file, &spec).unwrap();
        let [check, dry, train] = thrice(&file, &[]);
        if train.0 == Some(130) {
            assert_eq!((check.0, dry.0), (Some(0), Some(0)), "{spec}\n{}{}", check.1, dry.1);
            trained += 1;
        } else {
            assert!(!train.1.is_empty() && !train.1.contains("panicked"), "{spec}\n{}", train.1);
            assert_eq!(check, train, "{spec}");
            assert_eq!(dry, train, "{spec}");
            refused += 1;
        }
    }
    assert!(trained > 5 && refused > 5, "{trained} trained, {refused} refused");
}

/// Every 5% of 20 steps is every step, though three twentieths are a little less than three times 5%.
#[test]
fn shares_of_steps_are_counted() {
    let run = empty("specs-shares").join("run");
    let small = [
        "model.set.width=8",
        "model.set.layers=1",
        "task.mqar.length=16",
        "batch=1",
        "eval.sequences=1",
        "eval.every=100%",
    ];
    let mut args = vec!["train".to_string(), input("spec/share_of_steps.yaml")];
    args.extend(["--out".to_string(), path(&run).to_string()]);
    args.extend(small.iter().flat_map(|set| ["--set".to_string(), (*set).to_string()]));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = lrc(&args);
    assert!(output.status.success(), "{}", said(&output));
    let due = |step: &u32| !run.join(format!("checkpoints/step-{step:08}/DONE")).exists();
    let missing: Vec<u32> = (1..=20).filter(due).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
