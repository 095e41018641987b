//! Mixtures of experts against plain loops; gradients of what is no row, product or recurrence
//! against differences.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::elaborate::Setting;
use lrc_compiler::graph::{Model, build};
use lrc_dsl::Sources;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;
use lrc_runtime::ops::loss::NONE;

const WIDTH: usize = 6;
const EXPERTS: usize = 5;
const HIDDEN: usize = 7;
const VOCAB: usize = 11;

const TEXT: &str = "
use \"mixers/moe.arch\"
model alone(width = 6, top = 2) {
    vocab 11
    residual x + f(x)
    moe(experts = 5, top = top, hidden = 7, balance = 0.3)
    head x, untied
}";

/// A convolution as long as the sequence.
const LONG: &str = "
use \"mixers/hyena.arch\"
model alone(width = 6, top = 2) {
    vocab 11
    residual x + f(x)
    hyena(bands = 2, filter = 5, span = 16)
    head x, untied
}";

fn model(text: &str, top: usize) -> Model {
    let mut sources = Sources::default();
    let (names, mut diags) =
        lrc_dsl::load_text("alone.arch", text.into(), None, LIBRARY, &mut sources);
    let given: BTreeMap<String, Setting> =
        [("top".to_string(), Setting::Number(top as f64))].into();
    let model = build(&names, names.get("alone").unwrap(), &given, &mut diags);
    model.unwrap_or_else(|| panic!("{diags:?}"))
}

fn batch() -> Batch {
    let mut random = Stream::new(3, Purpose::Train, 0);
    let mut batch = Batch::default();
    for length in [9, 1, 14] {
        let tokens: Vec<u32> = (0..length).map(|_| random.below(VOCAB) as u32).collect();
        let mut targets = tokens[1..].to_vec();
        targets.push(NONE);
        batch.push(&tokens, &targets);
    }
    batch
}

/// `y = W x` for a matrix of `W: [experts, outer, inner]`.
fn times(w: &[f32], expert: usize, outer: usize, x: &[f64]) -> Vec<f64> {
    let w = &w[expert * outer * x.len()..][..outer * x.len()];
    w.chunks_exact(x.len())
        .map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum())
        .collect()
}

/// What the layer gives for one row, its router's probabilities, and who was asked.
fn layer(param: &dyn Fn(&str) -> Vec<f32>, x: &[f64], top: usize) -> [Vec<f64>; 3] {
    let scores = times(&param("r.weight"), 0, EXPERTS, x);
    let most = scores.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
    let r: Vec<f64> = scores.iter().map(|s| (s - most).exp() / sum).collect();
    let mut order: Vec<usize> = (0..EXPERTS).collect();
    order.sort_by(|a, b| r[*b].total_cmp(&r[*a]));
    let mut y = x.to_vec();
    let mut asked = vec![0.0; EXPERTS];
    for &e in &order[..top] {
        asked[e] = 1.0;
        let gate = times(&param("y.gate.weight"), e, HIDDEN, x);
        let up = times(&param("y.up.weight"), e, HIDDEN, x);
        let inner: Vec<f64> =
            gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
        let down = times(&param("y.y.weight"), e, WIDTH, &inner);
        y.iter_mut().zip(down).for_each(|(y, d)| *y += r[e] * d);
    }
    [y, r, asked]
}

#[test]
fn experts_are_weighted_and_balanced_as_declared() {
    for top in [1, 2, EXPERTS] {
        let model = model(TEXT, top);
        let params = fresh(&model.graph.params, 7);
        let names: Vec<String> = model.graph.params.iter().map(|p| p.name.clone()).collect();
        let param = |end: &str| -> Vec<f32> {
            params[names
                .iter()
                .position(|n| n.ends_with(end))
                .unwrap_or_else(|| panic!("{end}: {names:?}"))]
            .clone()
        };
        let mut executor = Walk::new(model, &params).unwrap();
        let batch = batch();
        let hidden = executor.hidden(&batch).unwrap();
        let table = param("embedding.weight");
        let (mut share, mut mean) = (vec![0.0; EXPERTS], vec![0.0; EXPERTS]);
        for (token, row) in batch.tokens.iter().zip(hidden.chunks_exact(WIDTH)) {
            let x: Vec<f64> =
                table[*token as usize * WIDTH..][..WIDTH].iter().map(|x| f64::from(*x)).collect();
            let [want, r, asked] = layer(&param, &x, top);
            for (got, want) in row.iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 1e-5, "{got} for {want}");
            }
            for e in 0..EXPERTS {
                share[e] += asked[e] / batch.rows() as f64;
                mean[e] += r[e] / batch.rows() as f64;
            }
        }
        let balance: f64 = share.iter().zip(&mean).map(|(s, m)| s * m).sum::<f64>();
        let want = 0.3 * EXPERTS as f64 / top as f64 * balance;
        let got = executor.train(&batch).unwrap().auxiliary;
        assert!((got - want).abs() < 1e-5, "{got} for {want}");
        // A text that grows goes the same way.
        let text = &batch.tokens[..9];
        let mut session = executor.session();
        session.feed(&text[..4]).unwrap();
        let logits = session.feed(&text[4..]).unwrap();
        drop(session);
        let whole = executor.logits(&hidden[8 * WIDTH..9 * WIDTH]).unwrap();
        assert!(logits.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn gradients_are_slopes() {
    let batch = batch();
    for text in [TEXT, LONG] {
        let model = model(text, 2);
        let params = fresh(&model.graph.params, 5);
        let names: Vec<String> = model.graph.params.iter().map(|p| p.name.clone()).collect();
        let mut executor = Walk::new(model, &params).unwrap();
        executor.train(&batch).unwrap();
        for (at, grad) in executor.grads().unwrap().iter().enumerate() {
            let norm = grad.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 0.0, "nothing flows into {}", names[at]);
            let step = 2e-2;
            let mut loss = |sign: f64| {
                let mut moved = params.clone();
                for (p, g) in moved[at].iter_mut().zip(grad) {
                    *p += (sign * step * f64::from(*g) / norm) as f32;
                }
                executor.parameters.write(&moved).unwrap();
                let score = executor.train(&batch).unwrap();
                score.loss + score.auxiliary
            };
            let slope = (loss(1.0) - loss(-1.0)) / (2.0 * step);
            let gap = (slope - norm).abs();
            assert!(gap < 2e-2 * norm + 1e-4, "{}: {slope} for {norm}", names[at]);
        }
    }
}

/// Ways to write one mixture give one model, whatever stands first and however rows are taken.
#[test]
fn the_order_of_factors_does_not_matter() {
    let written = |expert: &str, term: &str| {
        let text = format!(
            "mixer e {{ {expert} }}
            mixer mix(experts = 4) {{
                r : [experts] = softmax(linear(x))
                w = top_k(r, 2)
                out y = sum({term} for j < experts) }}
            model alone(width = 6, top = 2) {{ vocab 11; residual x + f(x)
                mix()
                head x, untied }}"
        );
        let model = model(&text, 2);
        let params = fresh(&model.graph.params, 2);
        let shapes: Vec<Vec<usize>> = model.graph.params.iter().map(|p| p.shape.clone()).collect();
        let mut executor = Walk::new(model, &params).unwrap();
        (executor.hidden(&batch()).unwrap(), shapes)
    };
    let plain = "out y = linear(silu(x))";
    let (first, shapes) = written(plain, "e(w[j] * x)");
    assert!(shapes.contains(&vec![4, 6, 6]), "{shapes:?}");
    assert_eq!((first, shapes), written(plain, "e(x * w[j])"));
    let rows = "g, u : [2, width] = linear(x)\n out y = g .* u";
    let whole = "p : [2, width] = linear(x)\n g, u = p\n out y = u .* g";
    assert_eq!(written(rows, "w[j] * e(x)"), written(whole, "w[j] * e(x)"));
    let (_, shapes) = written(rows, "w[j] * e(x)");
    assert!(shapes.contains(&vec![4, 12, 6]), "{shapes:?}");
}

/// What is the same for the whole batch may feed what runs per token: inside a loss.
#[test]
fn averages_may_be_used_per_token() {
    let text = "mixer alike { m = average(x)
            d : [width] = linear(m)
            loss sum(average((x - m) .* (x - m))) + sum(average(d))
            out y = x }
        model alone(width = 6, top = 2) { vocab 11; residual x + f(x)
            alike()
            head x, untied }";
    let model = model(text, 2);
    let params = fresh(&model.graph.params, 2);
    let table = params[0].clone();
    let weight = model.graph.params.iter().position(|p| p.name.ends_with("d.weight")).unwrap();
    let weight = params[weight].clone();
    let batch = batch();
    let got = Walk::new(model, &params).unwrap().train(&batch).unwrap().auxiliary;
    let rows: Vec<&[f32]> =
        batch.tokens.iter().map(|t| &table[*t as usize * WIDTH..][..WIDTH]).collect();
    let n = rows.len() as f64;
    let mean: Vec<f64> =
        (0..WIDTH).map(|i| rows.iter().map(|r| f64::from(r[i])).sum::<f64>() / n).collect();
    let spread: f64 = rows
        .iter()
        .flat_map(|r| r.iter().zip(&mean).map(|(x, m)| (f64::from(*x) - m).powi(2)))
        .sum::<f64>()
        / n;
    let want = spread + times(&weight, 0, WIDTH, &mean).iter().sum::<f64>();
    assert!((got - want).abs() < 1e-5, "{got} for {want}");
}
