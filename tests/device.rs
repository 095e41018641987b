//! A model's graph by kernels on the sim device, against the same graph on the processor.
//!
//! NVRTC compiles the kernels; `./test` installs it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::form::rows::{Rows, RowsBackward, RowsGrad, RowsInput};
use lrc_compiler::graph::{Kind, Model, Node, Prepared, ValueId, build};
use lrc_compiler::plan::rows::Pointwise;
use lrc_compiler::plan::verify::verify;
use lrc_compiler::tile::{Number, size};
use lrc_dsl::Sources;
use lrc_runtime::data::tasks::{self, Synthetic};
use lrc_runtime::data::{Dataset, Draw, EvalSets, Task};
use lrc_runtime::device::Device;
use lrc_runtime::device::launch::ready;
use lrc_runtime::device::rows::{On, RowKernel};
use lrc_runtime::device::store::{Machine, Store, Tensor, Traffic};
use lrc_runtime::ground::library;
use lrc_runtime::model::transforms::Transforms;
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::{NONE, Predictions};
use lrc_runtime::optim::muon::Muon;
use lrc_runtime::optim::{AdamW, Method, Optimizer, Rates};
use lrc_runtime::train::engine::{Engine, Training};

/// Sizes of a hybrid of two layers, small enough for a test.
const HYBRID: &[(&str, f64)] =
    &[("width", 32.0), ("layers", 2.0), ("vocab", 40.0), ("heads", 2.0), ("window", 9.0)];

/// A shipped model.
fn model(name: &str, sizes: &[(&str, f64)]) -> Model {
    let path = format!("models/{name}.arch");
    let loaded = library::load(&path, &mut Sources::default());
    let (namespace, _) = loaded.expect("a shipped model");
    let given: BTreeMap<String, Setting> =
        sizes.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    let mut diags = Vec::new();
    build(&namespace, namespace.get(name).unwrap(), &given, &mut diags)
        .unwrap_or_else(|| panic!("{name}: {diags:?}"))
}

/// Packed sequences of odd lengths, some rows without a target.
fn batch() -> Batch {
    let mut batch = Batch::default();
    let mut state = 1_u32;
    let mut draw = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for length in [13, 1, 38, 2] {
        let tokens: Vec<u32> = (0..length).map(|_| draw(40)).collect();
        let targets: Vec<u32> =
            (0..length).map(|_| if draw(3) == 0 { NONE } else { draw(40) }).collect();
        batch.push(&tokens, &targets);
    }
    batch
}

/// `‖got − want‖ / ‖want‖`.
fn gap(got: &[f32], want: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let gaps = &mut got.iter().zip(want).map(|(g, w)| f64::from(g - w));
    norm(gaps) / norm(&mut want.iter().map(|w| f64::from(*w))).max(1e-12)
}

/// Parameters as bf16 holds them: what this changes is the noise that a device may make.
fn rounded(params: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let round = |x: &f32| f32::from_bits((x.to_bits() + 0x8000) & 0xffff_0000);
    params.iter().map(|param| param.iter().map(round).collect()).collect()
}

/// Numbers between -1 and 1.
fn drawn(count: usize, seed: &mut u32) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Every pointwise node of every shipped model, forward and backward, computes in f32 what the
/// processor does: packed sequences, fewer and more rows than a block.
#[test]
fn pointwise_kernels_agree_with_the_processor() {
    let machine = Machine::sim();
    let mut seed = 5;
    let gdn: &[(&str, f64)] =
        &[("width", 48.0), ("layers", 1.0), ("heads", 3.0), ("d", 16.0), ("hidden", 80.0)];
    for (name, sizes) in [("quickstart", HYBRID), ("gdn", gdn), ("plain_gdn", gdn)] {
        let model = Prepared::plain(model(name, sizes)).model;
        for node in model.graph.nodes.node_weights() {
            pointwise_node(&model, node, &machine, &mut seed);
        }
    }
}

fn pointwise_node(model: &Model, node: &Node, machine: &Machine, seed: &mut u32) {
    let graph = &model.graph;
    let (program, grad) = match &node.kind {
        Kind::Rows(program) => (&**program, None),
        Kind::RowsGrad(grad) => (&grad.program, Some(&**grad)),
        _ => return,
    };
    let values = &node.inputs[..grad.map_or(node.inputs.len(), |grad| grad.inputs)];
    let once: Vec<bool> = values.iter().map(|value| graph.value(*value).once).collect();
    let output = graph.value(
        grad.map_or(node.outputs.first().copied(), |g| Some(node.inputs[g.inputs])).unwrap(),
    );
    let packed = [13_u32, 1, 2, 70].iter().flat_map(|length| 0..*length);
    let positions: Vec<u32> = if output.once { vec![0] } else { packed.collect() };
    let rows = positions.len();
    let mut value = |value: &ValueId| {
        let info = graph.value(*value);
        drawn(info.width() * if info.once { 1 } else { rows }, seed)
    };
    let inputs: Vec<Vec<f32>> = values.iter().map(&mut value).collect();
    let params: Vec<Vec<f32>> =
        node.params.iter().map(|p| drawn(size(&graph.params[p.0].shape), seed)).collect();
    let dy = drawn(output.width() * rows, seed);
    let of = Pointwise {
        label: "node",
        program,
        once: &once,
        output_once: output.once,
        numbers: &[],
        in_place: false,
    };
    let schedule = match grad {
        None => of.forward(machine.kind()).unwrap(),
        Some(grad) => of.backward(grad, machine.kind()).unwrap(),
    };
    assert_eq!(verify(&schedule, machine.kind().shared), [], "{}", node.label);
    let kernel = RowKernel(ready(machine, vec![schedule]).unwrap().remove(0));
    let mut store = Store::new(machine);
    let at = store.table(positions.clone()).unwrap();
    let mut holding = |x: &Vec<f32>| store.holding("given", x, Number::F32).unwrap();
    let given: Vec<Tensor> = inputs.iter().map(&mut holding).collect();
    let own: Vec<Tensor> = params.iter().map(&mut holding).collect();
    let d_out = grad.map(|_| holding(&dy));
    let input = RowsInput {
        inputs: inputs.iter().map(Vec::as_slice).collect(),
        once: &once,
        params: params.iter().map(Vec::as_slice).collect(),
        positions: &positions,
        rows,
    };
    let (want, want_params) = on_the_processor(&of, grad, &input, &dy);
    let grads: Vec<Tensor> = want_params.iter().map(|x| holding(&vec![0.0; x.len()])).collect();
    let room = |x: &Vec<f32>| store.take("output", x.len()).unwrap();
    let outputs: Vec<Tensor> = want.iter().map(room).collect();
    let on = On { rows, positions: at, inputs: &given, params: own, d_out };
    kernel.run(&mut store, &on, &outputs, &grads).unwrap();
    let got = outputs.iter().chain(&grads);
    for (place, (got, want)) in got.zip(want.iter().chain(&want_params)).enumerate() {
        let found = gap(&store.get(*got).unwrap(), want);
        assert!(found < 2e-5, "{} of {}: result {place} {found:.1e}", node.label, model.name);
    }
}

/// What a pointwise node makes of rows on the processor, and the gradients of its parameters.
fn on_the_processor(
    of: &Pointwise,
    grad: Option<&RowsGrad>,
    input: &RowsInput,
    dy: &[f32],
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let Some(grad) = grad else {
        let mut want = vec![0.0; dy.len()];
        Rows::new(of.program, of.once, of.output_once).forward(input, &mut want);
        return (vec![want], vec![]);
    };
    let mut want: Vec<Vec<f32>> =
        grad.wanted.iter().map(|slot| vec![0.0; input.inputs[*slot].len()]).collect();
    let backward = RowsBackward::new(grad, of.once, of.output_once);
    let params = backward.backward(input, dy, &mut want);
    (want, params)
}

#[test]
fn gradients_of_a_model_agree_with_the_processor() {
    let model = model("quickstart", HYBRID);
    let params = fresh(&model.graph.params, 7);
    let batch = batch();
    let mut cpu = Walk::new(model.clone(), &params).unwrap();
    let want = cpu.train(&batch).unwrap();
    let mut sim =
        Walk::by_kernels(Prepared::plain(model.clone()), &params, &Machine::sim()).unwrap();
    sim.count();
    let got = sim.train(&batch).unwrap();
    assert_eq!((got.targets, sim.started().unwrap()[0] > 0), (want.targets, true));
    assert!((got.loss - want.loss).abs() < 5e-3 * want.loss, "{} {}", got.loss, want.loss);
    let mut noisy = Walk::new(model.clone(), &rounded(&params)).unwrap();
    noisy.train(&batch).unwrap();
    let mut missed = Vec::new();
    let (cpu, noisy) = (cpu.grads().unwrap(), noisy.grads().unwrap());
    let both = cpu.iter().zip(&noisy);
    for ((declared, got), (want, noisy)) in
        sim.model().graph.params.iter().zip(sim.grads().unwrap()).zip(both)
    {
        let (found, noise) = (gap(&got, want), gap(noisy, want));
        if found.is_nan() || found > 1e-2 + 4.0 * noise {
            missed.push(format!("{} {found:.1e}, noise {noise:.1e}", declared.name));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let Predictions { score, guesses, .. } = sim.evaluate(&batch).unwrap();
    assert_eq!(guesses.len(), want.targets);
    assert!((score.loss - got.loss).abs() < 1e-4, "{} {}", score.loss, got.loss);
}

#[test]
fn the_loss_of_twenty_steps_agrees_with_the_processor() {
    let kind =
        tasks::Kind::Mqar(tasks::Mqar { vocab: 40, pairs: 3, fewest: 3, updates: 0, power: 0.1 });
    let task = Task::Synthetic(Synthetic { kind, length: 32, examples: None });
    let source = Dataset::open(&task, 3, &EvalSets::default()).unwrap();
    let model = model("quickstart", HYBRID);
    let params = fresh(&model.graph.params, 3);
    let optimizer = Optimizer { weight_decay: 0.1, ..Optimizer::adamw(1e-3) };
    let curve = |params: &[Vec<f32>], device: Device| -> Vec<f64> {
        let mut engine =
            Engine::new(model.clone(), params.to_vec(), device, &Training::plain(&optimizer))
                .unwrap();
        let step = |step: u64| {
            let batch = {
                let first = step * 4;
                let draw = Draw::Made { first, sequences: 4, length: 32, levels: vec![] };
                source.batch(&draw).unwrap()
            };
            let rates = Rates { lr: 1e-3, clip: 1.0, step: step + 1 };
            engine.step(&batch, &rates).unwrap().score.loss
        };
        (0..20).map(step).collect()
    };
    let cpu = curve(&params, Device::Cpu);
    let noisy = curve(&rounded(&params), Device::Cpu);
    let sim = curve(&params, Device::Sim);
    let apart = |other: &[f64]| {
        cpu.iter().zip(other).map(|(a, b)| (a - b).abs() / a).sum::<f64>() / cpu.len() as f64
    };
    let (found, noise) = (apart(&sim), apart(&noisy));
    assert!(found < 2e-3 + 4.0 * noise, "{found}, noise {noise}: {cpu:?} {sim:?}");
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    assert!(mean(&sim[15..]) < mean(&sim[..5]), "nothing is learned: {sim:?}");
}

/// Sequences that ask everywhere but at their first token.
fn asking(lengths: &[usize], seed: u32) -> Batch {
    let mut batch = Batch::default();
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % 40
    };
    for length in lengths {
        let tokens: Vec<u32> = (0..*length).map(|_| draw()).collect();
        let targets: Vec<u32> =
            (0..*length).map(|at| if at == 0 { NONE } else { draw() }).collect();
        batch.push(&tokens, &targets);
    }
    batch
}

/// A step in parts of at most so many tokens: its loss and norm, and what went to and fro.
fn stepped(engine: &mut Engine, batch: Batch, step: u64) -> ([u64; 2], Traffic) {
    let before = engine.traffic().unwrap();
    let done = engine.gradient(&batch.parts(20), step).unwrap();
    engine.update(&Rates { lr: 1e-2, clip: 1.0, step }, done.norm).unwrap();
    let after = engine.traffic().unwrap();
    let went = Traffic {
        allocations: after.allocations - before.allocations,
        reads: after.reads - before.reads,
        replays: after.replays - before.replays,
    };
    ([done.score.loss.to_bits(), done.norm.to_bits()], went)
}

/// Steps of two shapes and other tokens each time, in parts, with dropout, matrices made orthogonal and a rate: gradient
/// and update are replayed when a shape comes again, nothing is allocated after its first step, the host waits once a
/// step, and all numbers are those of an engine that has seen no step before.
#[test]
fn a_step_that_comes_again_is_replayed_to_the_bit() {
    let rest = AdamW { betas: [0.9, 0.95], eps: 1e-8 };
    let method = Method::Muon(Muon { momentum: 0.95, rest });
    let optimizer = Optimizer { method, weight_decay: 0.1, ..Optimizer::adamw(1e-2) };
    let plain = Training::plain(&optimizer);
    let transforms = Transforms { dropout: 0.1, z_loss: 1e-4, ..plain.transforms.clone() };
    let training = Training { transforms: &transforms, seed: 4, ..plain };
    let model = model("quickstart", HYBRID);
    let params = fresh(&model.graph.params, 7);
    let engine = || Engine::new(model.clone(), params.clone(), Device::Sim, &training).unwrap();
    let mut own = engine();
    let mut numbers = own.numbers().unwrap();
    let (long, short): (&[usize], &[usize]) = (&[13, 20], &[7, 12]);
    let shapes = [long, long, long, short, long, short, short];
    let mut went = Vec::new();
    for (step, lengths) in shapes.into_iter().enumerate() {
        let batch = asking(lengths, step as u32);
        let mut other = engine();
        other.restore(&numbers).unwrap();
        let (want, alone) = stepped(&mut other, batch.clone(), step as u64 + 1);
        assert_eq!(alone.replays, 0);
        let (got, traffic) = stepped(&mut own, batch, step as u64 + 1);
        assert_eq!(got, want, "step {step}");
        numbers = other.numbers().unwrap();
        let mine = own.numbers().unwrap();
        assert_eq!(mine.params, numbers.params, "step {step}");
        assert_eq!(mine.moments.first, numbers.moments.first, "step {step}");
        went.push(traffic);
    }
    assert!(went.iter().all(|one| one.reads == 1), "{went:?}");
    for again in [1, 2, 4, 5, 6] {
        let Traffic { allocations, replays, .. } = went[again];
        // The very first step clears where parts add up.
        let wanted = if again == 1 { 1 } else { 2 };
        assert_eq!((allocations, replays), (0, wanted), "step {again}: {went:?}");
    }
    assert!(own.refusals().is_empty(), "{:?}", own.refusals());
}

/// Who sits with which expert is read by the host in the middle of a step: such a step is not replayed, and says so.
#[test]
fn a_step_with_experts_says_why_it_is_not_replayed() {
    let text = r#"
        use "mixers/moe.arch"
        model m(width = 16) { vocab 40
            residual x + f(rmsnorm(x))
            moe(experts = 4, hidden = 8)
            head rmsnorm(x), tied }
    "#;
    let mut sources = Sources::default();
    let (namespace, mut diags) =
        lrc_dsl::load_text("m", text.into(), None, library::LIBRARY, &mut sources);
    let model = build(&namespace, &namespace.decls["m"], &BTreeMap::new(), &mut diags).unwrap();
    let params = fresh(&model.graph.params, 7);
    let optimizer = Optimizer::adamw(1e-2);
    let training = Training::plain(&optimizer);
    let mut engine = Engine::new(model, params, Device::Sim, &training).unwrap();
    for step in 1..=4 {
        let (_, went) = stepped(&mut engine, asking(&[13], step), u64::from(step));
        // The update alone.
        assert_eq!(went.replays, u64::from(step > 1), "{went:?}");
        // Who sits where, once for all products forward and backward, and what the step says.
        assert_eq!(went.reads, 2, "{went:?}");
    }
    let [why] = engine.refusals() else { panic!("{:?}", engine.refusals()) };
    assert!(why.contains("expert"), "{why}");
}
