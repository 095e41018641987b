//! Going on from a model that is there: what is frozen, what is trained beside it, and how weights come in and leave.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, Options, Prepared, build, prepare};
use lrc_dsl::Sources;
use lrc_runtime::ground::library;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;

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
