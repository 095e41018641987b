//! Optimisers: rules that turn gradients into updates, over groups of parameters.

mod elementwise;
mod muon;

use lrc_compiler::graph::{Kind, Model, Param};
use rayon::prelude::*;

use crate::device::fixed::Update;
use crate::ground::error::Failure;
use elementwise::{Part, Squares, UpdateRule};

/// What updates the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub method: Method,
    /// Peak learning rate.
    pub lr: f64,
    /// Decoupled weight decay, for parameters that are not declared `no decay`.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 for none.
    pub clip: f64,
    /// Parameters with ways of their own; the first group that fits counts.
    pub groups: Vec<Group>,
}

/// Rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// AdamW (Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the two running means.
        betas: [f64; 2],
        /// Added to the root of the second.
        eps: f64,
    },
    /// Lion (Chen et al. 2023): the sign of a mean of the gradient.
    Lion {
        /// Weight of the running mean in the update.
        beta1: f64,
        /// Decay of the running mean.
        beta2: f64,
    },
    /// Muon (Jordan et al. 2024) for matrices of dense products: the running mean, made orthogonal,
    /// scaled so that entries are as large as those of AdamW's updates (Liu et al. 2025); AdamW for
    /// everything else.
    Muon {
        /// Decay of the running mean, with Nesterov's look ahead.
        momentum: f64,
        /// Of AdamW.
        betas: [f64; 2],
        /// Of AdamW.
        eps: f64,
    },
    /// Gradient descent with momentum.
    Sgd {
        /// Decay of the running sum.
        momentum: f64,
        /// Look ahead.
        nesterov: bool,
    },
}

impl Method {
    /// Its name in a spec.
    pub fn name(&self) -> &'static str {
        match self {
            Method::AdamW { .. } => "adamw",
            Method::Lion { .. } => "lion",
            Method::Muon { .. } => "muon",
            Method::Sgd { .. } => "sgd",
        }
    }
}

/// Parameters with ways of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Which parameters.
    pub which: Which,
    /// A factor on the learning rate.
    pub lr_scale: f64,
    /// Another weight decay, also for parameters declared `no decay`.
    pub weight_decay: Option<f64>,
}

/// Chooses parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// By what they are for.
    Class(Class),
    /// By their name; `*` stands for anything.
    Name(String),
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The matrix of a dense product.
    Matrices,
    /// The rows of tokens.
    Embedding,
    /// The weights of the logits.
    Head,
    /// Everything else: gains, biases, taps of convolutions, decays.
    Vectors,
    /// Declared `f32`.
    F32,
}

impl Class {
    /// Reads a class's name.
    pub fn parse(text: &str) -> Option<Class> {
        Some(match text {
            "matrices" => Class::Matrices,
            "embedding" => Class::Embedding,
            "head" => Class::Head,
            "vectors" => Class::Vectors,
            "f32" => Class::F32,
            _ => return None,
        })
    }
}

impl Which {
    /// A class, or else a pattern of names.
    pub fn parse(text: &str) -> Which {
        Class::parse(text).map_or_else(|| Which::Name(text.into()), Which::Class)
    }

    /// Whether it chooses a parameter of a class.
    pub fn picks(&self, param: &Param, class: Class) -> bool {
        match self {
            Which::Class(Class::F32) => param.f32,
            Which::Class(wanted) => *wanted == class,
            Which::Name(pattern) => fits(pattern, &param.name),
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Which::Class(class) => write!(f, "`{}`", format!("{class:?}").to_lowercase()),
            Which::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// The class of each parameter; `F32` is none of them, but a property that any may have.
pub fn classes(model: &Model) -> Vec<Class> {
    let graph = &model.graph;
    let mut class = vec![Class::Vectors; graph.params.len()];
    for node in graph.nodes.node_weights() {
        let found = match node.kind {
            Kind::Dense { .. } | Kind::Expert => Class::Matrices,
            Kind::Embed => Class::Embedding,
            _ => continue,
        };
        node.params.iter().for_each(|param| class[param.0] = found);
    }
    class[model.head.0] = Class::Head;
    class
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let parts: Vec<&str> = parts.collect();
    let Some((last, inner)) = parts.split_last() else { return rest.is_empty() };
    for part in inner {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// How one parameter is updated.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamGroup {
    /// A factor on the learning rate.
    pub lr_scale: f64,
    /// Its weight decay.
    pub weight_decay: f64,
    /// Rows and columns of its matrices, one after the other, where the rule is for matrices.
    matrix: Option<[usize; 2]>,
    /// Numbers of the second running mean.
    second: bool,
}

impl ParamGroup {
    /// Whether a second running mean is kept.
    pub fn second(&self) -> bool {
        self.second
    }
}

impl Optimizer {
    /// AdamW as it is where a spec says nothing else.
    pub fn adamw(lr: f64) -> Optimizer {
        let method = Method::AdamW { betas: [0.9, 0.95], eps: 1e-8 };
        Optimizer { method, lr, weight_decay: 0.1, clip: 1.0, groups: vec![] }
    }

    /// How each parameter of a model is updated. The error names a group that fits none.
    pub fn param_groups(&self, model: &Model) -> Result<Vec<ParamGroup>, String> {
        let graph = &model.graph;
        let mut used = vec![false; self.groups.len()];
        let param_groups = graph.params.iter().zip(classes(model)).map(|(param, class)| {
            let chosen = self.groups.iter().position(|group| group.which.picks(param, class));
            if let Some(chosen) = chosen {
                used[chosen] = true;
            }
            let group = chosen.map(|at| &self.groups[at]);
            let own = if param.decay { self.weight_decay } else { 0.0 };
            let n = param.shape.len();
            let muon = matches!(self.method, Method::Muon { .. }) && class == Class::Matrices;
            let matrix = muon.then(|| [param.shape[n - 2], param.shape[n - 1]]);
            let adaptive = matches!(self.method, Method::AdamW { .. } | Method::Muon { .. });
            ParamGroup {
                lr_scale: group.map_or(1.0, |group| group.lr_scale),
                weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(own),
                matrix: matrix.filter(|[rows, columns]| *rows > 1 && *columns > 1),
                second: adaptive && matrix.is_none_or(|[rows, columns]| rows < 2 || columns < 2),
            }
        });
        let param_groups = param_groups.collect();
        match used.iter().position(|used| !used) {
            Some(at) => Err(format!("`{}` fits no parameter of the model", self.groups[at].name)),
            None => Ok(param_groups),
        }
    }
}

/// What an optimiser remembers, per parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running means of the gradients.
    pub first: Vec<Vec<f32>>,
    /// Of their squares; empty where the rule has none.
    pub second: Vec<Vec<f32>>,
}

impl Moments {
    /// Zeros, as the rule needs them.
    pub fn new(params: &[Vec<f32>], param_groups: &[ParamGroup]) -> Moments {
        let zeros = |n: usize| vec![0.0; n];
        Moments {
            first: params.iter().map(|p| zeros(p.len())).collect(),
            second: params
                .iter()
                .zip(param_groups)
                .map(|(p, group)| zeros(if group.second { p.len() } else { 0 }))
                .collect(),
        }
    }
}

/// What differs from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate.
    pub lr: f64,
    /// Largest norm of the whole gradient; 0 for none.
    pub clip: f64,
    /// The number of the step, from 1.
    pub step: u64,
}

impl Update {
    /// The numbers of a step of AdamW on a device.
    pub fn new(optimizer: &Optimizer, rates: &Rates) -> Result<Update, Failure> {
        let Method::AdamW { betas: [b1, b2], eps } = optimizer.method else {
            return Err(Failure::invalid("E0406", "kernels update by AdamW only"));
        };
        let [rate, root] = corrected(rates, [b1, b2]);
        Ok(Update {
            keep: (1.0 - rates.lr * optimizer.weight_decay) as f32,
            clip: rates.clip as f32,
            betas: [b1 as f32, b2 as f32],
            rate: rate as f32,
            root: root as f32,
            eps: eps as f32,
        })
    }
}

/// The learning rate over the correction of the first mean, and one over the root of that of the
/// second.
fn corrected(rates: &Rates, betas: [f64; 2]) -> [f64; 2] {
    let correct = |beta: f64| 1.0 - beta.powi(rates.step.min(i32::MAX as u64) as i32);
    [rates.lr / correct(betas[0]), (1.0 / correct(betas[1])).sqrt()]
}

/// Numbers that one thread handles at a time.
const SHARE: usize = 1 << 15;

/// The norm of gradients, as one: sums of parts of a fixed size, added in order, so that it is the
/// same on any number of threads.
pub fn norm(grads: &[Vec<f32>]) -> f64 {
    let squares: Vec<f64> = grads
        .iter()
        .flat_map(|grad| grad.chunks(SHARE))
        .collect::<Vec<&[f32]>>()
        .into_par_iter()
        .map(|part| pulp::Arch::new().dispatch(Squares(part)))
        .collect();
    squares.iter().sum::<f64>().sqrt()
}

/// Updates all parameters by gradients whose norm is known.
pub fn step(
    optimizer: &Optimizer,
    param_groups: &[ParamGroup],
    rates: &Rates,
    norm: f64,
    params: &mut [Vec<f32>],
    grads: &[Vec<f32>],
    moments: &mut Moments,
) {
    let clip = if rates.clip > 0.0 && norm > rates.clip { rates.clip / norm } else { 1.0 } as f32;
    let mut parts = Vec::new();
    let pairs = params.iter_mut().zip(grads);
    let means = moments.first.iter_mut().zip(&mut moments.second);
    for (((x, g), (m, v)), group) in pairs.zip(means).zip(param_groups) {
        let lr = rates.lr * group.lr_scale;
        let keep = (1.0 - lr * group.weight_decay) as f32;
        if let (Method::Muon { momentum, .. }, Some(shape)) = (optimizer.method, group.matrix) {
            let momentum = momentum as f32;
            muon::step(x, g, m, shape, muon::Numbers { momentum, clip, keep, lr: lr as f32 });
            continue;
        }
        let rule = match optimizer.method {
            Method::AdamW { betas, eps } | Method::Muon { betas, eps, .. } => {
                let [rate, root] = corrected(&Rates { lr, ..*rates }, betas);
                let [b1, b2] = betas.map(|beta| beta as f32);
                UpdateRule::AdamW { b1, b2, rate: rate as f32, root: root as f32, eps: eps as f32 }
            }
            Method::Lion { beta1, beta2 } => {
                UpdateRule::Lion { b1: beta1 as f32, b2: beta2 as f32, rate: lr as f32 }
            }
            Method::Sgd { momentum, nesterov } => {
                UpdateRule::Sgd { momentum: momentum as f32, nesterov, rate: lr as f32 }
            }
        };
        // Rules without a second mean have empty ones.
        let empty = v.is_empty();
        let mut v = v.chunks_mut(SHARE);
        for ((x, g), m) in x.chunks_mut(SHARE).zip(g.chunks(SHARE)).zip(m.chunks_mut(SHARE)) {
            let v = if empty { &mut [] } else { v.next().unwrap_or_default() };
            parts.push(Part { x, g, m, v, keep, clip, rule });
        }
    }
    parts.into_par_iter().for_each(|part| pulp::Arch::new().dispatch(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weight_decay: f64, second: bool) -> ParamGroup {
        ParamGroup { lr_scale: 1.0, weight_decay, matrix: None, second }
    }

    /// Runs gradients through a rule on one parameter that starts at 1.
    fn run(method: Method, group: &ParamGroup, rates: Rates, grads: &[f64]) -> (f64, Moments) {
        let optimizer =
            Optimizer { method, lr: rates.lr, weight_decay: 0.0, clip: rates.clip, groups: vec![] };
        let mut params = vec![vec![1.0_f32]];
        let param_groups = [group.clone()];
        let mut moments = Moments::new(&params, &param_groups);
        for (n, g) in grads.iter().enumerate() {
            let grads = [vec![*g as f32]];
            let rates = Rates { step: n as u64 + 1, ..rates };
            let norm = norm(&grads);
            step(&optimizer, &param_groups, &rates, norm, &mut params, &grads, &mut moments);
        }
        (f64::from(params[0][0]), moments)
    }

    const GRADS: [f64; 3] = [0.5, -0.25, 2.0];

    #[test]
    fn adamw_by_hand() {
        let method = Method::AdamW { betas: [0.9, 0.99], eps: 1e-8 };
        let rates = Rates { lr: 0.1, clip: 0.0, step: 1 };
        let (mut m, mut v, mut decayed, mut plain) = (0.0_f64, 0.0_f64, 1.0_f64, 1.0_f64);
        for (n, g) in GRADS.into_iter().enumerate() {
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            let power = n as i32 + 1;
            let move_by = 0.1 * (m / (1.0 - 0.9_f64.powi(power)))
                / ((v / (1.0 - 0.99_f64.powi(power))).sqrt() + 1e-8);
            decayed = decayed * (1.0 - 0.05) - move_by;
            plain -= move_by;
        }
        assert!((run(method, &group(0.5, true), rates, &GRADS).0 - decayed).abs() < 1e-6);
        assert!((run(method, &group(0.0, true), rates, &GRADS).0 - plain).abs() < 1e-6);
    }

    #[test]
    fn lion_and_gradient_descent_by_hand() {
        let rates = Rates { lr: 0.01, clip: 0.0, step: 1 };
        let (mut m, mut x) = (0.0, 1.0);
        for g in GRADS {
            let update: f64 = 0.9 * m + 0.1 * g;
            x = x * (1.0 - 0.01 * 0.3) - 0.01 * update.signum();
            m = 0.99 * m + 0.01 * g;
        }
        let lion = Method::Lion { beta1: 0.9, beta2: 0.99 };
        assert!((run(lion, &group(0.3, false), rates, &GRADS).0 - x).abs() < 1e-6);
        for nesterov in [false, true] {
            let (mut m, mut x) = (0.0, 1.0);
            for g in GRADS {
                m = 0.8 * m + g;
                x -= 0.01 * if nesterov { g + 0.8 * m } else { m };
            }
            let sgd = Method::Sgd { momentum: 0.8, nesterov };
            assert!((run(sgd, &group(0.0, false), rates, &GRADS).0 - x).abs() < 1e-6);
        }
    }

    #[test]
    fn a_large_gradient_is_clipped_to_its_norm() {
        let method = Method::AdamW { betas: [0.0, 0.0], eps: 1.0 };
        let rates = Rates { lr: 1.0, clip: 1.0, step: 1 };
        let (_, moments) = run(method, &group(0.0, true), rates, &[50.0]);
        assert!((moments.first[0][0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, want) in [
            ("*.decay*", "layers.0.mixer.decay.weight", true),
            ("*.decay", "layers.0.mixer.decay.weight", false),
            ("layers.0.*.weight", "layers.0.mixer.decay.weight", true),
            ("layers.0", "layers.0.mixer", false),
            ("head", "head", true),
            ("*", "anything", true),
            ("a*b*b", "ab", false),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }
}
