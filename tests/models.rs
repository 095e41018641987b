//! Every shipped model, made small, learns from a few steps on the processor, and trains alike by kernels.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::small::every;
use lrc_compiler::graph::Model;
use lrc_runtime::data::tasks::{self, Synthetic};
use lrc_runtime::data::{Dataset, Draw, EvalSets, Task};
use lrc_runtime::device::Device;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::fresh;
use lrc_runtime::optim::{Optimizer, Rates};
use lrc_runtime::train::engine::{Engine, Training};

/// The same batch again and again is learned by heart.
fn learns(model: Model, name: &str) {
    let optimizer = Optimizer { weight_decay: 0.0, ..Optimizer::adamw(1e-3) };
    let vocab = model.vocab.min(64);
    let kind =
        tasks::Kind::Mqar(tasks::Mqar { vocab, pairs: 2, fewest: 2, updates: 0, power: 0.1 });
    let task = Task::Synthetic(Synthetic { kind, length: 24, examples: None });
    let draw = Draw::Made { first: 0, sequences: 4, length: 24, levels: vec![] };
    let batch = Dataset::open(&task, 1, &EvalSets::default()).unwrap().batch(&draw).unwrap();
    let params = fresh(&model.graph.params, 1);
    let mut engine = Engine::new(model, params, Device::Cpu, &Training::plain(&optimizer)).unwrap();
    let losses: Vec<f64> = (1..=6)
        .map(|step| {
            let rates = Rates { lr: 3e-3, clip: 1.0, step };
            engine.step(&batch, &rates).unwrap().score.loss
        })
        .collect();
    let fell = losses[5] < losses[0] - 0.05;
    assert!(losses.iter().all(|x| x.is_finite()) && fell, "{name}: {losses:?}");
}

#[test]
fn every_model_learns() {
    let mut count = 0;
    every(&mut |model, name, _| {
        learns(model, name);
        count += 1;
    });
    assert!(count >= 30, "{count} models");
}

/// Losses of three steps on 64 tokens, with parameters changed by up to `share` of themselves.
fn losses(model: &Model, device: Device, share: f32) -> Vec<f64> {
    let optimizer = Optimizer::adamw(1e-4);
    let vocab = model.vocab.min(64);
    let kind =
        tasks::Kind::Mqar(tasks::Mqar { vocab, pairs: 4, fewest: 4, updates: 0, power: 0.1 });
    let task = Task::Synthetic(Synthetic { kind, length: 32, examples: None });
    let draw = Draw::Made { first: 0, sequences: 2, length: 32, levels: vec![] };
    let batch = Dataset::open(&task, 1, &EvalSets::default()).unwrap().batch(&draw).unwrap();
    let mut params = fresh(&model.graph.params, 1);
    let mut random = Stream::new(1, Purpose::Verify, 0);
    let changed = params.iter_mut().flatten();
    changed.for_each(|x| *x *= 1.0 + share * (2.0 * random.uniform() as f32 - 1.0));
    let training = Training::plain(&optimizer);
    let mut engine = Engine::new(model.clone(), params, device, &training).unwrap();
    let step = |step| {
        let rates = Rates { lr: 1e-4, clip: 1.0, step };
        engine.step(&batch, &rates).unwrap().score.loss
    };
    (1..=3).map(step).collect()
}

/// The last place of bf16, in which kernels read operands of products, as a share of a number.
const BF16_PLACE: f32 = 1.0 / 256.0;

/// How many times further apart than a last place of bf16 in the parameters makes them, losses may be: layers read
/// operands in bf16 one after the other.
const PLACES: f64 = 4.0;

/// Every model trains by kernels as on the processor, up to what bf16 in its parameters would change: some of these tiny
/// models, delta rules with keys of eight numbers above all, turn a last place into a tenth of the loss.
#[test]
fn every_model_trains_alike_by_kernels() {
    let mut apart = Vec::new();
    every(&mut |model, name, _| {
        let want = losses(&model, Device::Cpu, 0.0);
        let gap =
            |other: &[f64]| want.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let near = [BF16_PLACE, -BF16_PLACE].map(|share| gap(&losses(&model, Device::Cpu, share)));
        let got = losses(&model, Device::Sim, 0.0);
        let allowed = PLACES * near[0].max(near[1]) + 1e-3 * want[0];
        if !got.iter().all(|x| x.is_finite()) || gap(&got) > allowed {
            apart.push(format!("{name}: {got:?} for {want:?}, {allowed:.1e} allowed"));
        }
    });
    assert!(apart.is_empty(), "{}", apart.join("\n"));
}

/// A text means what it meant: parameters and first loss of every model, as they were when they were written down. What is
/// written down never changes; `LRC_RENEW=1` adds models that are new.
#[test]
fn every_model_means_what_it_meant() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promise/lrc-1.txt");
    let record = std::fs::read_to_string(&path).unwrap_or_default();
    let known: BTreeMap<&str, &str> =
        record.lines().filter_map(|line| line.split_once(" | ")).collect();
    let (mut broken, mut new) = (Vec::new(), Vec::new());
    every(&mut |model, name, _| {
        let params: usize =
            model.graph.params.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let loss = losses(&model, Device::Cpu, 0.0)[0];
        let Some(was) = known.get(name) else {
            return new.push(format!("{name} | {params} {loss:.5}\n"));
        };
        let (had, lost) = was.split_once(' ').unwrap();
        let lost: f64 = lost.parse().unwrap();
        if had != params.to_string() || (loss - lost).abs() > 2e-4 * lost {
            broken.push(format!("{name}: {params} parameters and a loss of {loss:.5}, once {was}"));
        }
    });
    assert!(broken.is_empty(), "texts of version 1 have another meaning:\n{}", broken.join("\n"));
    if std::env::var_os("LRC_RENEW").is_some() {
        std::fs::write(&path, record + &new.concat()).unwrap();
    } else {
        assert!(new.is_empty(), "`LRC_RENEW=1` writes these down:\n{}", new.concat());
    }
}
