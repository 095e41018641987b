//! Optimisers: rules that turn gradients into updates, over groups of parameters.

pub mod adamw;
pub mod adopt;
pub mod lion;
pub mod muon;
pub mod rule;
pub mod sgd;
pub mod state;

use lrc_compiler::graph::{Kind, Model, Param, starts};
use lrc_compiler::tile::size;
use lrc_dsl::Diag;

use crate::fields::{Field, Given, Variant, number};
use crate::ground::error::Failure;
pub use adamw::AdamW;
pub use adopt::Adopt;
pub use lion::Lion;
pub use muon::Muon;
use rule::Rule;
pub use sgd::Sgd;

/// What of running means may stay.
const BETA: [f64; 2] = [0.0, 0.999_999_9];
const CLIP: Field =
    number("clip", 1.0, [0.0, 1e9], "norm that gradients are clipped to; 0 for none");
const EPS: Field = number("eps", 1e-8, [0.0, 1.0], "keeps quotients finite");
const MOMENTUM: Field = number("momentum", 0.9, BETA, "what stays of the mean of gradients");

const fn lr(default: f64) -> Field {
    number("lr", default, [0.0, 100.0], "the learning rate")
}

const fn beta1(default: f64) -> Field {
    number("beta1", default, BETA, "what stays of the mean of gradients")
}

const fn beta2(default: f64) -> Field {
    number("beta2", default, BETA, "what stays of the mean of their squares")
}

const fn decay(default: f64) -> Field {
    number("weight_decay", default, [0.0, 100.0], "weight decay, decoupled")
}

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
    /// Parameters with param_groups of their own; the first group that fits counts.
    pub groups: Vec<Group>,
    /// What stays as it is.
    pub frozen: Frozen,
}

/// Which parameters stay as they are, to the bit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frozen {
    /// These.
    pub freeze: Vec<Which>,
    /// All but these, where that is said.
    pub only: Option<Vec<Which>>,
}

/// The settings of a method, as a spec gives them, and its rule.
pub trait Settings: Sized {
    /// Its name in a spec, its fields, and what it is.
    const FIELDS: Variant;

    /// Reads its fields.
    fn read(given: &mut dyn Given) -> Self;

    /// The rule for what is no matrix of its own, or for everything.
    fn rule(&self) -> Box<dyn Rule>;
}

/// Makes [`Method`] of its members.
macro_rules! methods {
    ($($method:ident),* $(,)?) => {
        /// Rules.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Method {
            $(#[doc = concat!("See [`", stringify!($method), "`].")] $method($method),)*
        }

        /// What a spec may say of each.
        pub const METHODS: &[Variant] = &[$($method::FIELDS),*];

        impl Method {
            /// Its name in a spec.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Method::$method(_) => $method::FIELDS.key,)*
                }
            }

            /// The rule for what is no matrix of its own, or for everything.
            fn rule(&self) -> Box<dyn Rule> {
                match self {
                    $(Method::$method(settings) => settings.rule(),)*
                }
            }

            /// The method of a name in a spec, with the fields that are given.
            pub fn read(name: &str, given: &mut dyn Given) -> Option<Method> {
                $(if name == $method::FIELDS.key {
                    return Some(Method::$method($method::read(given)));
                })*
                None
            }
        }
    };
}
methods!(AdamW, Adopt, Lion, Muon, Sgd);

/// Parameters with param_groups of their own.
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
    /// What a state of a recurrence begins with.
    InitStates,
    /// Of low-rank products beside others.
    Lora,
}

/// The classes by their names in a spec.
const CLASSES: [(&str, Class); 7] = [
    ("matrices", Class::Matrices),
    ("embedding", Class::Embedding),
    ("head", Class::Head),
    ("vectors", Class::Vectors),
    ("f32", Class::F32),
    ("init_states", Class::InitStates),
    ("lora", Class::Lora),
];

impl Class {
    /// Reads a class's name.
    pub fn parse(text: &str) -> Option<Class> {
        CLASSES.iter().find(|(name, _)| *name == text).map(|(_, class)| *class)
    }

    /// Its name.
    fn name(self) -> &'static str {
        CLASSES.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }
}

/// What a parameter is, for who chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// One of matrices, embedding, head, vectors.
    pub class: Class,
    /// Whether a state of a recurrence begins with it.
    start: bool,
    /// Whether it is of a low-rank product beside another.
    low_rank: bool,
}

impl Which {
    /// A class, or else a pattern of names.
    pub fn parse(text: &str) -> Which {
        Class::parse(text).map_or_else(|| Which::Name(text.into()), Which::Class)
    }

    /// Whether it chooses a parameter.
    pub fn picks(&self, param: &Param, role: &Role) -> bool {
        match self {
            Which::Class(Class::F32) => param.f32,
            Which::Class(Class::InitStates) => role.start,
            Which::Class(Class::Lora) => role.low_rank,
            Which::Class(wanted) => *wanted == role.class,
            Which::Name(pattern) => fits(pattern, &param.name),
        }
    }

    /// Whether it chooses the matrix of a product.
    pub fn picks_product(&self, name: &str) -> bool {
        match self {
            Which::Class(class) => *class == Class::Matrices,
            Which::Name(pattern) => fits(pattern, name),
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Which::Class(class) => write!(f, "`{}`", class.name()),
            Which::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// What each parameter is. `F32`, `InitStates` and `Lora` are no class of them, but what any may be besides.
pub fn roles(model: &Model) -> Vec<Role> {
    let starts = starts(model);
    let of = |at: usize| model.adapters.iter().any(|one| one.a.0 == at || one.b.0 == at);
    let classes = classes(model).into_iter().enumerate();
    classes.map(|(at, class)| Role { class, start: starts[at], low_rank: of(at) }).collect()
}

/// The class of each parameter.
pub fn classes(model: &Model) -> Vec<Class> {
    let graph = &model.graph;
    let mut class = vec![Class::Vectors; graph.params.len()];
    for node in graph.nodes.node_weights() {
        let found = match node.kind {
            Kind::Dense { .. } | Kind::Expert => Class::Matrices,
            Kind::Embed | Kind::Place => Class::Embedding,
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
    /// Whether the spec says that it stays as it is.
    kept: bool,
    /// Rows and columns of its matrices, one after the other, where the rule is for matrices.
    matrix: Option<[usize; 2]>,
    /// Numbers of the second running mean.
    second: bool,
}

impl ParamGroup {
    /// Whether the running means of its gradients and of their squares are kept.
    pub fn remembered(&self) -> [bool; 2] {
        [!self.frozen(), !self.frozen() && self.second]
    }

    /// Whether it stays as it is, to the bit.
    pub fn frozen(&self) -> bool {
        self.kept || self.lr_scale == 0.0
    }

    /// Whether it is updated as a matrix, so that one process must have all of it.
    pub fn whole(&self) -> bool {
        self.matrix.is_some()
    }
}

impl Optimizer {
    /// AdamW as it is where a spec says nothing else.
    pub fn adamw(lr: f64) -> Optimizer {
        let method = Method::AdamW(AdamW { betas: [0.9, 0.95], eps: 1e-8 });
        let (groups, frozen) = (vec![], Frozen::default());
        Optimizer { method, lr, weight_decay: 0.1, clip: 1.0, groups, frozen }
    }

    /// How each parameter of a model is updated. Refuses what fits none, and a model of which nothing is trained.
    pub fn param_groups(&self, model: &Model) -> Result<Vec<ParamGroup>, Failure> {
        let graph = &model.graph;
        let roles = roles(model);
        self.frozen.fits(model, &roles)?;
        let mut used = vec![false; self.groups.len()];
        let param_groups = graph.params.iter().zip(&roles).map(|(param, role)| {
            let kept = self.frozen.keeps(param, role);
            let fits = self.groups.iter().position(|group| group.which.picks(param, role));
            let chosen = fits.filter(|_| !kept);
            if let Some(chosen) = chosen {
                used[chosen] = true;
            }
            let class = role.class;
            let group = chosen.map(|at| &self.groups[at]);
            let own = if param.decay { self.weight_decay } else { 0.0 };
            let n = param.shape.len();
            let muon = matches!(self.method, Method::Muon(_)) && class == Class::Matrices;
            let matrix = muon.then(|| [param.shape[n - 2], param.shape[n - 1]]);
            let adaptive = self.method.rule().slots() > 1;
            ParamGroup {
                lr_scale: group.map_or(1.0, |group| group.lr_scale),
                weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(own),
                kept,
                matrix: matrix.filter(|[rows, columns]| *rows > 1 && *columns > 1),
                second: adaptive && matrix.is_none_or(|[rows, columns]| rows < 2 || columns < 2),
            }
        });
        let param_groups: Vec<ParamGroup> = param_groups.collect();
        if let Some(at) = used.iter().position(|used| !used) {
            let but = if self.frozen == Frozen::default() { "" } else { " that is trained" };
            let why = format!("`{}` fits no parameter of the model{but}", self.groups[at].name);
            return Err(Failure::invalid("E0406", why));
        }
        if param_groups.iter().all(ParamGroup::frozen) {
            let why = "nothing of the model is trained: all of its parameters are frozen";
            return Err(Failure::invalid("E0406", why));
        }
        Ok(param_groups)
    }

    /// Numbers of a model that are trained.
    pub fn trained(&self, model: &Model) -> Result<usize, Failure> {
        let groups = self.param_groups(model)?;
        let trained = model.graph.params.iter().zip(&groups).filter(|(_, group)| !group.frozen());
        Ok(trained.map(|(param, _)| size(&param.shape)).sum())
    }
}

impl Frozen {
    /// Whether a parameter stays as it is.
    fn keeps(&self, param: &Param, role: &Role) -> bool {
        let any = |all: &[Which]| all.iter().any(|which| which.picks(param, role));
        any(&self.freeze) || self.only.as_ref().is_some_and(|only| !any(only))
    }

    /// Refuses what fits no parameter.
    fn fits(&self, model: &Model, roles: &[Role]) -> Result<(), Failure> {
        let picks = |which: &Which| {
            let mut each = model.graph.params.iter().zip(roles);
            each.any(|(param, role)| which.picks(param, role))
        };
        let freeze = self.freeze.iter().map(|which| ("freeze", which));
        let all = freeze.chain(self.only.iter().flatten().map(|which| ("only", which)));
        let wrong: Vec<Diag> = all.filter(|(_, which)| !picks(which)).map(stranger).collect();
        if wrong.is_empty() { Ok(()) } else { Err(Failure::Invalid(wrong)) }
    }
}

/// Says that a field names what the model does not have.
fn stranger((field, which): (&str, &Which)) -> Diag {
    let name = which.to_string();
    let name = name.trim_matches('`');
    let diag = Diag::global("E0406", format!("`{field}: {name}` fits no parameter of the model"));
    match which {
        Which::Class(Class::InitStates) => diag.help(
            "no state begins with a parameter: a recurrence declares one, `param S0 : [dk, dv]` and `state S : [dk, dv] init S0`, and its mixer gives it, `param S0 : [heads, dk, dv]`",
        ),
        Which::Class(Class::Lora) => {
            diag.help("the spec has no `lora`: for example `lora: {rank: 8, targets: \"*.q.weight\"}`")
        }
        _ => diag,
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

#[cfg(test)]
mod tests {
    use super::*;

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
