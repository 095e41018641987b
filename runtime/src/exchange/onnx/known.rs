//! Whether a recurrence is one that ONNX has as an operation, `LinearAttention`: found by numbers.
//!
//! The operation's rules are recurrences of the library. A recurrence is one of them if some pairing of its inputs with
//! those of the rule gives the rule's states, and its outputs but for one factor, on random numbers within what is
//! promised, in f64: both sides are made of sums, products and exponentials, so that agreeing there means being the same.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::{Recurrence, Setting, elaborate};
use lrc_compiler::form::{Form, Operand, Outputs, Problem};
use lrc_dsl::Sources;
use lrc_dsl::ast::Kind;

use crate::ground::library;
use crate::ground::random::{Purpose, Stream};
use crate::recurrence::draw::tensor;

/// What the operation calls a rule, and the recurrence of the library that it is.
const RULES: &[(&str, &str)] = &[
    ("linear", "linear_attn"),
    ("gated", "simple_gla"),
    ("gated", "gla"),
    ("delta", "delta_rule"),
    ("gated_delta", "gated_delta_rule"),
    ("gated_delta", "kda"),
];

/// What stands for a recurrence.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The operation's rule.
    pub rule: &'static str,
    /// The rule's inputs (`q`, `k`, `v`, `g`, `beta`), each with the number of the input that takes its place.
    pub inputs: Vec<(String, usize)>,
    /// The factor of outputs.
    pub scale: f64,
}

/// Tokens that are tried.
const TOKENS: usize = 5;

/// How far numbers may differ, as a share.
const NEAR: f64 = 1e-9;

/// The operation that a recurrence is, if there is one.
pub fn known(r: &Recurrence) -> Option<Known> {
    let plain = r.params.is_empty() && r.states.len() == 1 && r.outs.len() == 1;
    let [dk, dv] = r.states.first()?.shape[..] else { return None };
    if !plain || r.inputs.iter().any(|slot| slot.count.is_some()) || r.outs[0].shape != [dv] {
        return None;
    }
    RULES.iter().find_map(|(rule, name)| {
        let peer = of_library(name, [dk, dv])?;
        let (pairing, scale) = pairings(r, &peer).into_iter().find_map(|pairing| {
            let scale = agrees(r, &peer, &pairing)?;
            Some((pairing, scale))
        })?;
        let names = peer.inputs.iter().map(|slot| slot.name.clone());
        Some(Known { rule, inputs: names.zip(pairing).collect(), scale })
    })
}

/// A rule at the sizes of a state, with a scale of 1.
fn of_library(name: &str, [dk, dv]: [usize; 2]) -> Option<Recurrence> {
    let mut sources = Sources::default();
    let (namespace, _) = library::load(&format!("recurrences/{name}.arch"), &mut sources)?;
    let decl = namespace.get(name).filter(|decl| decl.kind == Kind::Recurrence)?;
    let given = [("dk", dk as f64), ("dv", dv as f64), ("scale", 1.0)];
    let given: BTreeMap<String, Setting> =
        given.into_iter().map(|(name, x)| (name.to_string(), Setting::Number(x))).collect();
    elaborate(decl, &given, &mut Vec::new())
}

/// Every way in which inputs of equal shapes can take each other's places: for each input of the rule, the number of one.
fn pairings(r: &Recurrence, peer: &Recurrence) -> Vec<Vec<usize>> {
    if r.inputs.len() != peer.inputs.len() {
        return vec![];
    }
    let mut all: Vec<Vec<usize>> = vec![vec![]];
    for slot in &peer.inputs {
        let longer = all.iter().flat_map(|begun| {
            let free = (0..r.inputs.len()).filter(|i| !begun.contains(i));
            let fits = free.filter(|i| r.inputs[*i].shape == slot.shape);
            fits.map(|i| begun.iter().copied().chain([i]).collect())
        });
        all = longer.collect();
    }
    all
}

/// The factor of outputs, if a recurrence gives what the rule gives.
fn agrees(r: &Recurrence, peer: &Recurrence, pairing: &[usize]) -> Option<f64> {
    let mut random = Stream::new(0, Purpose::Verify, 1);
    let inputs: Vec<Vec<f64>> =
        r.inputs.iter().map(|slot| tensor(slot, TOKENS, &mut random)).collect();
    let state = tensor(&r.states[0], 1, &mut random);
    let own = run(r, inputs.iter().map(Vec::as_slice).collect(), &state);
    let theirs = run(peer, pairing.iter().map(|i| inputs[*i].as_slice()).collect(), &state);
    let largest = |all: &[f64]| all.iter().fold(0.0, |top: f64, x| top.max(x.abs()));
    let near = |a: &[f64], b: &[f64], factor: f64| {
        let limit = NEAR * largest(a).max(1e-30);
        a.iter().zip(b).all(|(a, b)| (a - factor * b).abs() <= limit)
    };
    let (out, wanted) = (&own.outs[0], &theirs.outs[0]);
    let along: f64 = out.iter().zip(wanted).map(|(a, b)| a * b).sum();
    let scale = along / wanted.iter().map(|b| b * b).sum::<f64>();
    let same = near(&own.finals[0], &theirs.finals[0], 1.0) && near(out, wanted, scale);
    (same && scale.is_finite()).then_some(scale)
}

fn run(r: &Recurrence, inputs: Vec<&[f64]>, state: &[f64]) -> Outputs<f64> {
    let problem = Problem {
        recurrence: r,
        heads: 1,
        sum: 1,
        bounds: vec![0, TOKENS],
        inputs: inputs.into_iter().map(|data| Operand { data, heads: 1 }).collect(),
        params: vec![],
        initial: vec![Some(state)],
    };
    Form::recurrent(&problem).forward(&problem, false).0
}
