//! Going on from a model that is there: what is frozen, what is trained beside it, and how weights come in and leave.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use common::{empty, lrc, path, said};
use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, Options, Prepared, build, prepare};
use lrc_dsl::Sources;
use lrc_runtime::config::open::{Opened, of_run, open};
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::ground::tensors::{self, Data, Tensors};
use lrc_runtime::model::low_rank::merge;
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::train::{checkpoint, start};
use serde_json::Value as Json;

const VOCAB: usize = 24;

/// A small model of the library.
fn model(name: &str, given: &[(&str, f64)]) -> Model {
    let (names, diags) =
        library::load(&format!("models/{name}.arch"), &mut Sources::default()).unwrap();
    assert!(diags.iter().all(|d| !d.is_error()), "{diags:?}");
    let given: BTreeMap<String, Setting> =
        given.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    build(&names, names.get(name).unwrap(), &given, &mut Vec::new()).unwrap()
}

fn batch() -> Batch {
    let mut random = Stream::new(5, Purpose::Verify, 0);
    let mut batch = Batch::default();
    for length in [9, 1, 20] {
        let mut draw = || (0..length).map(|_| random.below(VOCAB) as u32).collect::<Vec<u32>>();
        let (tokens, targets) = (draw(), draw());
        batch.push(&tokens, &targets);
    }
    batch
}

/// What is frozen has no gradient and no node that computes one; all other gradients have the same bits as where nothing is.
#[test]
fn what_is_frozen_is_not_differentiated() {
    let sizes = [("width", 16.0), ("vocab", VOCAB as f64)];
    let deep = [&sizes[..], &[("layers", 4.0)]].concat();
    let jamba = [
        &sizes[..],
        &[
            ("layers", 4.0),
            ("heads", 4.0),
            ("kv_heads", 2.0),
            ("hidden", 24.0),
            ("every", 2.0),
            ("experts", 4.0),
        ],
    ]
    .concat();
    let models = [model("quickstart", &sizes), model("qwen3_next", &deep), model("jamba", &jamba)];
    let batch = batch();
    let mut random = Stream::new(7, Purpose::Verify, 0);
    for model in models {
        let params = fresh(&model.graph.params, 3);
        let plain = Prepared::plain(model.clone());
        let mut whole = Walk::on_cpu(plain.clone(), &params).unwrap();
        let loss = whole.train(&batch).unwrap().loss;
        let want = whole.grads().unwrap();
        let all = params.len();
        let head = |at: usize| at == model.head.0;
        let half: Vec<bool> = (0..all).map(|_| random.below(2) == 0).collect();
        let masks = [half, (0..all).map(|at| !head(at)).collect(), (0..all).map(head).collect()];
        for frozen in masks {
            let options = Options { frozen: frozen.clone(), ..Options::default() };
            let prepared = prepare(model.clone(), &options).unwrap();
            let mut gives = prepared.model.graph.nodes.node_weights().flat_map(|node| &node.gives);
            assert!(gives.all(|param| !frozen[param.0]), "{}", model.name);
            let nodes = |prepared: &Prepared| prepared.model.graph.nodes.node_count();
            assert!(nodes(&prepared) < nodes(&plain) || frozen.iter().filter(|f| **f).count() == 1);
            let mut walk = Walk::on_cpu(prepared, &params).unwrap();
            assert_eq!(walk.train(&batch).unwrap().loss.to_bits(), loss.to_bits());
            for (at, got) in walk.grads().unwrap().iter().enumerate() {
                let name = &model.graph.params[at].name;
                if frozen[at] {
                    assert!(got.iter().all(|x| *x == 0.0), "{name}");
                } else {
                    assert!(*got == want[at], "{}: {name}", model.name);
                }
            }
        }
    }
}

/// A state that begins with what is learned, attention, experts.
const MODEL: &str = r#"
use "mixers/attention.arch"
use "mixers/moe.arch"
recurrence started {
    in q, k : [dk]
    in v : [dv]
    in g : scalar in (-inf, 0]
    param S0 : [dk, dv]
    state S : [dk, dv] init S0
    S[t] = exp(g) * S[t-1] + k * v^T
    out o = S[t]^T * q
}
mixer memory(heads = 2, dk = 8, dv = 8) {
    param S0 : [heads, dk, dv] init normal(0, 0.1)
    q, k : [2, heads, dk] = linear(x)
    v : [heads, dv] = linear(x)
    g : [heads] = -softplus(linear(x))
    o = started(q, k, v, g, S0)
    out y = linear(o)
}
model m(width = 16, vocab = 24) {
    vocab vocab
    residual x + f(rmsnorm(x))
    memory()
    attention(heads = 2)
    moe(experts = 4, top = 2, hidden = 24)
    head rmsnorm(x), untied
}
"#;

const TASK: &str = "task: {memorisation: {vocab: 24, length: 16}}
batch: 4
eval: {every: 0, sequences: 2}
checkpoint: {every: 2 steps, keep: 2}
";

/// A folder with a run that was trained a little, and its spec.
fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = empty("finetuning-base");
        std::fs::write(folder.join("m.arch"), MODEL).unwrap();
        let spec = format!("model: {{file: m.arch}}\n{TASK}length: 10 steps\n");
        std::fs::write(folder.join("spec.yaml"), spec).unwrap();
        let done =
            lrc(&["train", path(&folder.join("spec.yaml")), "--out", path(&folder.join("run"))]);
        assert!(done.status.success(), "{}", said(&done));
        folder
    })
}

/// A spec in a folder of its own, with the model of the base, and what the test adds.
fn spec(name: &str, model: &str, more: &str) -> PathBuf {
    let folder = empty(&format!("finetuning-{name}"));
    let from = path(&base().join("run")).to_string();
    let text = format!("model: {{from: {from}{model}}}\n{TASK}{more}\n");
    std::fs::write(folder.join("spec.yaml"), text).unwrap();
    folder.join("spec.yaml")
}

fn train(spec: &Path, more: &[&str]) -> PathBuf {
    let run = spec.with_file_name("run");
    let done = lrc(&[&["train", path(spec), "--out", path(&run)], more].concat());
    assert!(done.status.success(), "{}", said(&done));
    run
}

/// The weights of the newest checkpoint of a run.
fn weights(run: &Path) -> Tensors {
    let (_, newest) = checkpoint::list(run).pop().unwrap();
    tensors::read(&newest.join("model.safetensors")).unwrap()
}

fn losses(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

/// What a run's newest model says of a batch.
fn loss(run: &Path, model: Model, batch: &Batch) -> f64 {
    let params = checkpoint::parameters(run, None, &model.graph.params).unwrap();
    Walk::new(model, &params).unwrap().evaluate(batch).unwrap().score.loss
}

fn opened(spec: &Path) -> Opened {
    open(spec, &[], &mut Sources::default()).unwrap()
}

/// The loss before the first step is the base's, to the bit: with nothing besides, and with low-rank products beside all others.
#[test]
fn a_run_begins_as_the_model_that_it_goes_on_from() {
    let (run, batch) = (base().join("run"), batch());
    let of_base = of_run(&run, &mut Sources::default()).unwrap().model;
    let want = loss(&run, of_base, &batch);
    for (name, more) in [("as-it-is", ""), ("lora", "lora: {rank: 3, alpha: 6}")] {
        let file = spec(name, "", more);
        let Opened { spec, model, .. } = opened(&file);
        let params = start::parameters(&spec, &model).unwrap();
        let products = if more.is_empty() { 0 } else { 12 };
        assert_eq!(model.adapters.len(), products, "{name}");
        let got = Walk::new(model, &params).unwrap().evaluate(&batch).unwrap().score.loss;
        assert_eq!(got.to_bits(), want.to_bits(), "{name}: {got} for {want}");
    }
}

/// Low-rank products learn; what they stand beside keeps its bytes, the optimiser remembers nothing of it, and however often the
/// process is killed, the run ends the same. What is merged says the same to 1e-6, and another run begins with it.
#[test]
fn low_rank_products_learn_beside_what_is_frozen() {
    let more = "lora: {rank: 3, targets: \"*.weight\"}\nprecision: {matrices: bf16}\nlength: 60 steps\noptimizer: {adamw: {lr: 5e-3}}";
    let file = spec("low-rank", "", more);
    let run = train(&file, &[]);
    let all = losses(&run);
    assert!(all[all.len() - 1] < all[0] - 0.1, "{all:?}");
    let (before, after) = (weights(&base().join("run")), weights(&run));
    for (name, tensor) in &before {
        assert_eq!(after[name], *tensor, "{name}");
    }
    let added: BTreeSet<&String> =
        after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(added.len() == 24 && added.iter().all(|name| name.contains(".lora_")), "{added:?}");
    let (_, newest) = checkpoint::list(&run).pop().unwrap();
    let kept = tensors::read(&newest.join("optimizer.safetensors")).unwrap();
    assert!(
        kept.len() == 48 && kept.keys().all(|name| name.contains(".lora_")),
        "{:?}",
        kept.keys()
    );
    let killed = killed(&file, 6);
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let read =
            |run: &Path| std::fs::read(run.join("checkpoints/step-00000060").join(name)).unwrap();
        assert!(read(&run) == read(&killed), "{name}");
    }
    merged_is_the_same(&run);
}

/// Trains in another folder, where the process is killed again and again.
fn killed(spec: &Path, kills: u64) -> PathBuf {
    let run = spec.with_file_name("killed");
    let args = ["train", path(spec), "--out", path(&run), "--resume"];
    for at in 0..kills {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lrc"))
            .args(args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + 90 * at));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let done = lrc(&args);
    assert!(done.status.success(), "{}", said(&done));
    run
}

/// What is merged is W + scale B A to the last bit but one, and says the same to 1e-6 of the largest logit, in the run's own
/// graph and in that of another run that begins with it.
fn merged_is_the_same(run: &Path) {
    let model = of_run(run, &mut Sources::default()).unwrap().model;
    let mut params = checkpoint::parameters(run, None, &model.graph.params).unwrap();
    let apart = logits(&model, &params);
    let before = params.clone();
    merge(&model, &mut params);
    for one in &model.adapters {
        let [w, a, b] = [one.weight, one.a, one.b].map(|one| &before[one.0]);
        let shape = &model.graph.params[one.weight.0].shape;
        let [rows, columns] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        for (at, merged) in params[one.weight.0].iter().enumerate() {
            let (row, column) = (at / columns, at % columns);
            let of_a = |r: usize| (row / rows * 3 + r) * columns + column;
            let terms = (0..3).map(|r| f64::from(b[row * 3 + r]) * f64::from(a[of_a(r)]));
            let want = f64::from(w[at]) + one.scale * terms.sum::<f64>();
            assert!((f64::from(*merged) - want).abs() <= 6e-8 * want.abs(), "{merged} for {want}");
        }
        assert!(params[one.b.0].iter().all(|x| *x == 0.0));
    }
    let next = spec("merged", "", "");
    let text = std::fs::read_to_string(&next).unwrap();
    let text = text.replace(path(&base().join("run")), path(run));
    std::fs::write(&next, text).unwrap();
    let inside = logits(&model, &params);
    let Opened { spec, model, .. } = opened(&next);
    assert!(model.adapters.is_empty(), "what leaves a run has none");
    let taken = logits(&model, &start::parameters(&spec, &model).unwrap());
    let largest = apart.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (name, other) in [("merged", &inside), ("taken", &taken)] {
        let gaps = apart.iter().zip(other).map(|(a, b)| (a - b).abs());
        let gap = gaps.fold(0.0_f32, f32::max);
        assert!(gap <= 1e-6 * largest.max(1.0), "{name}: {gap:e} of {largest}");
    }
}

fn logits(model: &Model, params: &[Vec<f32>]) -> Vec<f32> {
    let mut walk = Walk::new(model.clone(), params).unwrap();
    let hidden = walk.hidden(&batch()).unwrap();
    walk.logits(&hidden).unwrap()
}

/// What states begin with learns alone.
#[test]
fn states_begin_better() {
    let more = "only: init_states\nlength: 100 steps\noptimizer: {adamw: {lr: 1e-1}}";
    let run = train(&spec("starts", "", more), &[]);
    let unseen = |run: &Path| -> f64 {
        let told: Json =
            serde_json::from_slice(&lrc(&["eval", path(run), "--json"]).stdout).unwrap();
        told["loss"].as_f64().unwrap()
    };
    let [better, usual] = [unseen(&run), unseen(&base().join("run"))];
    assert!(better < usual - 0.05, "{better} for {usual}");
    let (before, after) = (weights(&base().join("run")), weights(&run));
    assert_eq!(before.len(), after.len());
    for (name, tensor) in &before {
        assert_eq!(after[name] == *tensor, name != "layers.0.memory.S0", "{name}");
    }
}

/// Rows of tokens that both have are taken, new ones are the mean: no old token loses more than ln(1 + new / old).
#[test]
fn another_vocabulary_takes_the_rows_that_both_have() {
    let (run, batch) = (base().join("run"), batch());
    let before = loss(&run, of_run(&run, &mut Sources::default()).unwrap().model, &batch);
    let theirs = weights(&run);
    for tokens in [30_usize, 20] {
        let file = spec(
            &format!("vocab-{tokens}"),
            &format!(", set: {{vocab: {tokens}}}, vocab: resize"),
            "",
        );
        let Opened { spec, model, .. } = opened(&file);
        let params = start::parameters(&spec, &model).unwrap();
        for (at, param) in model.graph.params.iter().enumerate() {
            let Data::F32(theirs) = &theirs[&param.name].data else { panic!("{}", param.name) };
            if at != model.embedding.0 && at != model.head.0 {
                assert_eq!(params[at], *theirs, "{}", param.name);
                continue;
            }
            let both = params[at].len().min(theirs.len());
            assert_eq!(params[at][..both], theirs[..both], "{}", param.name);
            for (place, x) in params[at].iter().enumerate().skip(both) {
                let column = theirs.iter().skip(place % 16).step_by(16).map(|x| f64::from(*x));
                let mean = column.sum::<f64>() / 24.0;
                assert!((f64::from(*x) - mean).abs() < 1e-7, "{}", param.name);
            }
        }
        if tokens > 24 {
            let after = Walk::new(model, &params).unwrap().evaluate(&batch).unwrap().score.loss;
            let most = (tokens as f64 / 24.0).ln();
            assert!(after > before && after <= before + most + 1e-6, "{after} for {before}");
        }
    }
}

/// What is wrong, in the words of `check`, `--dry-run` and training alike; `UPDATE_EXPECT=1` writes the answers anew.
#[test]
fn what_is_wrong_is_said() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors/finetuning.txt");
    let recorded = std::fs::read_to_string(&file).unwrap();
    let folder = empty("finetuning-wrong");
    std::fs::write(folder.join("m.arch"), MODEL).unwrap();
    let plain = MODEL.replace("init S0", "").replace("    param S0 : [dk, dv]\n", "");
    let plain = plain.replace("    param S0 : [heads, dk, dv] init normal(0, 0.1)\n", "");
    std::fs::write(folder.join("plain.arch"), plain.replace("g, S0", "g")).unwrap();
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    std::fs::create_dir_all(folder.join("transformers")).unwrap();
    std::fs::write(folder.join("transformers/config.json"), "{}").unwrap();
    let (mut now, mut count) = (String::new(), 0);
    for case in recorded.split("=== ").filter(|case| !case.trim().is_empty()) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, _) = rest.split_once("---\n").unwrap();
        let spec = folder.join("spec.yaml");
        // Places in a line do not depend on where the folder lies.
        base();
        let own = text.replace("BASE", "../finetuning-base/run");
        std::fs::write(&spec, format!("{own}{TASK}length: 1 steps\n")).unwrap();
        let run = folder.join("run");
        let asked = [
            lrc(&["check", path(&spec)]),
            lrc(&["train", path(&spec), "--dry-run"]),
            lrc(&["train", path(&spec), "--out", path(&run)]),
        ];
        let told: Vec<String> = asked.iter().map(said).collect();
        assert!(asked.iter().all(|done| done.status.code() == Some(3)), "{name}: {told:?}");
        let cut = |text: &String| {
            let text = text.replace(path(&folder), "HERE");
            let lines =
                text.lines().filter(|line| !line.contains(" sequences of ")).map(str::trim_end);
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(cut(&told[0]), cut(&told[1]), "{name}");
        assert_eq!(cut(&told[0]), cut(&told[2]), "{name}");
        assert!(!run.exists(), "{name}: a run was begun");
        now += &format!("=== {name}\n{text}---\n{}\n\n", cut(&told[0]));
        count += 1;
    }
    assert!(count >= 12, "{count} cases");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, now).unwrap();
    } else {
        assert_eq!(now, recorded);
    }
}
