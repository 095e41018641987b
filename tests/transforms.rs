//! What training does to a model besides updating it: dropout, z-loss, precision, computing again.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::prepare::Unprepared;
use lrc_compiler::graph::{Kind, Model, Options, Recompute, build, prepare};
use lrc_dsl::Sources;
use lrc_runtime::device::Device;
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::transforms::{Precision, Transforms};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::optim::{Class, Optimizer, Rates, Which};
use lrc_runtime::train::ablate::ablate;
use lrc_runtime::train::engine::{Engine, Training};

fn model(file: &str, name: &str, given: &[(&str, f64)]) -> Model {
    let (names, diags) = library::load(file, &mut Sources::default()).unwrap();
    assert!(diags.iter().all(|d| !d.is_error()), "{diags:?}");
    let given: BTreeMap<String, Setting> =
        given.iter().map(|(name, x)| ((*name).to_string(), Setting::Number(*x))).collect();
    let mut diags = Vec::new();
    build(&names, names.get(name).unwrap(), &given, &mut diags).unwrap()
}

fn hybrid() -> Model {
    model("models/quickstart.arch", "quickstart", &[("width", 16.0), ("vocab", 24.0)])
}

fn batch(vocab: usize) -> Batch {
    let mut random = Stream::new(5, Purpose::Verify, 0);
    let mut batch = Batch::default();
    for length in [9, 1, 20] {
        let mut draw = || (0..length).map(|_| random.below(vocab) as u32).collect::<Vec<u32>>();
        let (tokens, targets) = (draw(), draw());
        batch.push(&tokens, &targets);
    }
    batch
}

/// Gradients with every choice of layers computed again, against those with none: the same bits.
#[test]
fn layers_computed_again_give_the_same_gradient_in_less_memory() {
    let models = [
        hybrid(),
        model(
            "models/qwen3_next.arch",
            "qwen3_next",
            &[("width", 16.0), ("layers", 4.0), ("vocab", 24.0)],
        ),
    ];
    for model in models {
        let params = fresh(&model.graph.params, 3);
        let batch = batch(24);
        let mut plain = Walk::new(model.clone(), &params).unwrap();
        let want = plain.train(&batch).unwrap();
        let layers = model.graph.layers();
        for picked in [layers.clone(), layers[..1].to_vec(), layers[layers.len() / 2..].to_vec()] {
            let recompute = Recompute::Layers(picked.clone());
            let options = Options { recompute, ..Options::default() };
            let again = prepare(model.clone(), &options).unwrap();
            let mut again = Walk::on_cpu(again, &params).unwrap();
            assert_eq!(again.train(&batch).unwrap(), want, "{}: {picked:?}", model.name);
            assert!(again.grads().unwrap() == plain.grads().unwrap(), "{}: {picked:?}", model.name);
            // And once more: nothing is left over from the step before.
            assert_eq!(again.train(&batch).unwrap(), want);
            assert_eq!(again.evaluate(&batch).unwrap(), plain.evaluate(&batch).unwrap());
        }
    }
}

#[test]
fn a_budget_is_kept_with_as_few_layers_as_it_takes() {
    let model = model(
        "models/gdn.arch",
        "gdn",
        &[
            ("width", 32.0),
            ("layers", 6.0),
            ("heads", 2.0),
            ("d", 16.0),
            ("hidden", 64.0),
            ("vocab", 24.0),
        ],
    );
    let with =
        |recompute: Recompute| prepare(model.clone(), &Options { recompute, ..Options::default() });
    let size =
        |layers: &[String]| with(Recompute::Layers(layers.to_vec())).unwrap().bytes_per_row();
    let (whole, least) = (size(&[]), size(&model.graph.layers()));
    assert!(2 * least < whole, "{least} {whole}");
    let fit = with(Recompute::Budget(whole)).unwrap();
    assert_eq!((fit.recomputed.as_slice(), fit.bytes_per_row()), (&[][..], whole));
    let budget = (whole + least) / 2;
    let fit = with(Recompute::Budget(budget)).unwrap();
    let (layers, planned) = (&fit.recomputed, fit.bytes_per_row());
    assert!(planned <= budget && planned == size(layers));
    assert!(size(&layers[..layers.len() - 1]) > budget);
    let why = with(Recompute::Budget(least / 2)).unwrap_err();
    assert_eq!(why, Unprepared::OverBudget { least });
}

#[test]
fn dropout_drops_its_share_and_its_gradient_is_that_of_what_is_left() {
    let dropping = prepare(hybrid(), &Options { dropout: 0.3, ..Options::default() }).unwrap();
    let graph = &dropping.model.graph;
    let forward = graph.nodes.node_weights().take(graph.forward);
    let branches = forward.filter(|node| matches!(node.kind, Kind::Drop { .. })).count();
    assert_eq!(branches, graph.layers().len());
    let params = fresh(&graph.params, 3);
    let batch = batch(24);
    let mut executor = Walk::on_cpu(dropping, &params).unwrap();
    executor.draws = 17;
    let first = executor.train(&batch).unwrap();
    let grads = executor.grads().unwrap();
    assert_eq!(executor.train(&batch).unwrap(), first, "the same draws drop the same");
    executor.draws = 18;
    assert!(executor.train(&batch).unwrap() != first, "others drop others");
    // Along the gradient the loss changes by its square.
    executor.draws = 17;
    let mut moved = |step: f32| {
        let mut moved = params.clone();
        for (to, grad) in moved.iter_mut().zip(&grads) {
            to.iter_mut().zip(grad).for_each(|(to, g)| *to += step * g);
        }
        executor.parameters.write(&moved).unwrap();
        executor.train(&batch).unwrap().loss
    };
    let square: f64 = grads.iter().flatten().map(|g| f64::from(*g) * f64::from(*g)).sum();
    let slope = (moved(2e-5) - moved(-2e-5)) / 4e-5;
    assert!((slope - square).abs() < 0.01 * square, "{slope} {square}");
    // A model that is asked drops nothing.
    let mut plain = Walk::new(hybrid(), &params).unwrap();
    executor.parameters.write(&params).unwrap();
    assert_eq!(executor.evaluate(&batch).unwrap(), plain.evaluate(&batch).unwrap());
}

#[test]
fn a_layer_that_is_taken_out_adds_nothing() {
    let whole = hybrid();
    let params = fresh(&whole.graph.params, 3);
    let batch = batch(24);
    // Without what its last product gives, a layer is not there.
    let layers = whole.graph.layers();
    let name = layers[0].rsplit_once('.').unwrap().1.to_string();
    let ours: Vec<&String> =
        layers.iter().filter(|layer| layer.ends_with(&format!(".{name}"))).collect();
    let mut silent = params.clone();
    for (param, data) in whole.graph.params.iter().zip(&mut silent) {
        if ours.iter().any(|layer| param.name == format!("{layer}.y.weight")) {
            data.fill(0.0);
        }
    }
    assert!(silent != params);
    let without = ablate(whole.clone(), &name).unwrap();
    let want = Walk::new(whole.clone(), &silent).unwrap().evaluate(&batch).unwrap();
    let got = Walk::on_cpu(without, &params).unwrap().evaluate(&batch).unwrap();
    assert!((got.score.loss - want.score.loss).abs() < 1e-6);
    let why = ablate(whole, "atention").unwrap_err().to_string();
    assert!(why.contains("atention") && why.contains(&name), "{why}");
}

fn engine(transforms: &Transforms) -> Engine {
    let optimizer = Optimizer::adamw(1e-3);
    let training = Training { optimizer: &optimizer, transforms, rows: 30, seed: 2, segments: 1 };
    let params = fresh(&hybrid().graph.params, 3);
    Engine::new(hybrid(), params, Device::Cpu, &training).unwrap()
}

#[test]
fn parameters_read_in_bf16_are_updated_in_f32() {
    let precision = vec![
        (Which::Class(Class::Matrices), Precision::Bf16),
        (Which::Class(Class::Head), Precision::Bf16),
    ];
    let transforms = Transforms { precision, ..Transforms::default() };
    let mut engine = engine(&transforms);
    let batch = batch(24);
    let start = engine.numbers().unwrap().params;
    let exact = engine.evaluate(&batch).unwrap();
    // Steps so small that bf16 could not hold them.
    for step in 1..=4 {
        engine.step(&batch, &Rates { lr: 1e-5, clip: 1.0, step }).unwrap();
    }
    let after = engine.numbers().unwrap().params;
    let moved = start.iter().flatten().zip(after.iter().flatten()).filter(|(a, b)| a != b).count();
    assert!(moved * 10 > 9 * start.iter().flatten().count());
    // What a checkpoint holds goes on as what was.
    let numbers = engine.numbers().unwrap();
    let mut other = self::engine(&transforms);
    other.restore(&numbers).unwrap();
    assert_eq!(other.evaluate(&batch).unwrap(), engine.evaluate(&batch).unwrap());
    assert_eq!(other.numbers().unwrap().params, after);
    let plain = self::engine(&Transforms::default()).evaluate(&batch).unwrap();
    assert!(plain != exact && (plain.score.loss - exact.score.loss).abs() < 0.05);
}

#[test]
fn what_fits_no_parameter_or_no_memory_is_refused() {
    let optimizer = Optimizer::adamw(1e-3);
    let refused = |transforms: Transforms| {
        let params = fresh(&hybrid().graph.params, 3);
        let transforms = &transforms;
        let training =
            Training { optimizer: &optimizer, transforms, rows: 30, seed: 2, segments: 1 };
        Engine::new(hybrid(), params, Device::Cpu, &training).err().unwrap().to_string()
    };
    let precision = vec![(Which::Name("nothing*".into()), Precision::Bf16)];
    assert!(refused(Transforms { precision, ..Transforms::default() }).contains("nothing*"));
    let why = refused(Transforms { activations: Some(1e3), ..Transforms::default() });
    assert!(why.contains("activations"), "{why}");
    assert!(hybrid().graph.nodes.node_weights().all(|n| !matches!(n.kind, Kind::Drop { .. })));
}
