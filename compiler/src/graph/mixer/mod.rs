//! Mixers: from their equations to dense products, recurrences and pointwise programs.

mod alone;
mod arguments;
mod cut;
mod experts;
mod expression;
mod functions;
mod items;
mod learned;
mod product;
mod promise;
mod recurrence;

use std::collections::{BTreeMap, HashMap, HashSet};

use lrc_dsl::ast::Decl;
use lrc_dsl::{Diag, Namespace, Span};

use super::pointwise::Named;
use super::{Adapter, Graph, Kind, Node, Param, ParamId, ValueId};
use crate::elaborate::signature::{Numbers, numbers_in};
use crate::elaborate::{Dim, Setting};
use crate::tile::interval::Intervals;
use crate::tile::{Builder, Int, Leaf, Op, Program, Stream, Value};
pub use alone::{alone, check};
pub(super) use arguments::twice;
use cut::Cut;
use experts::Experts;
pub use product::LowRank;

/// What a name of a mixer stands for.
#[derive(Clone, Debug)]
pub enum Bound {
    /// Known before the run.
    Known(Setting),
    /// A value per token.
    Tensor(Named),
    /// The index of a sum over experts.
    Slot,
    /// An input that the call has not given: wrong only where it is used.
    Absent,
    /// Its equation is wrong; uses stay silent.
    Broken,
}

/// The names of one mixer call and where its parameters are.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Names in scope.
    pub names: BTreeMap<String, Bound>,
    /// Sizes and settings.
    pub numbers: Numbers,
    /// Where its parameters are, such as `layers.0.attention`.
    pub path: String,
    /// The name on the left of the equation at hand.
    pub target: String,
}

/// Builds a graph, one mixer after the other.
pub struct GraphBuilder<'n> {
    /// Every declaration.
    pub namespace: &'n Namespace,
    /// The graph so far.
    pub graph: Graph,
    /// The pointwise program that grows between nodes.
    pub b: Builder,
    /// Nodes that exist as values.
    made: HashMap<Value, ValueId>,
    /// Parameters by name.
    names: BTreeMap<String, ParamId>,
    /// Whether a known parameter may be used again: inside shared blocks.
    pub sharing: bool,
    /// Findings.
    pub diags: Vec<Diag>,
    /// Mixers being elaborated, to refuse circles.
    pub open: Vec<String>,
    /// Width of the residual stream.
    pub width: Dim,
    /// The experts of the sum at hand.
    experts: Option<Experts>,
    /// How many entries of a value are not 0, where `top_k` made it.
    chosen: HashMap<Value, usize>,
    /// Values whose last axis has length 1.
    units: HashSet<Value>,
    /// Where values lie, as far as it is known.
    intervals: Intervals,
    /// Mixers elaborated so far.
    calls: usize,
    /// What mixers add to the loss.
    pub losses: Vec<ValueId>,
    /// Which products get a low-rank one beside them; none where nothing is said.
    pub low_rank: Option<LowRank<'n>>,
    /// Those that have one.
    pub adapters: Vec<Adapter>,
}

type Tried<T> = Option<T>;

/// How deep mixers may stand in one another.
const MAX_DEPTH: usize = 16;

/// Most calls of mixers in one model, those inside others included.
const MAX_CALLS: usize = 1 << 14;

impl<'n> GraphBuilder<'n> {
    /// An empty graph over the declarations of a file.
    pub fn new(namespace: &'n Namespace, width: usize) -> GraphBuilder<'n> {
        GraphBuilder {
            namespace,
            graph: Graph::default(),
            b: Builder::new(),
            made: HashMap::new(),
            names: BTreeMap::new(),
            sharing: false,
            diags: Vec::new(),
            open: Vec::new(),
            width: Dim::new(width, "width"),
            experts: None,
            chosen: HashMap::new(),
            units: HashSet::new(),
            intervals: Intervals::default(),
            calls: 0,
            losses: Vec::new(),
            low_rank: None,
            adapters: Vec::new(),
        }
    }

    /// Reports and gives up.
    pub fn fail<T>(&mut self, diag: Diag) -> Tried<T> {
        self.diags.push(diag);
        None
    }

    /// A parameter by name, declared once unless shared.
    pub fn param(&mut self, param: Param, span: Span) -> Tried<ParamId> {
        if let Some(&known) = self.names.get(&param.name) {
            if self.sharing && self.graph.params[known.0].shape == param.shape {
                return Some(known);
            }
            return self.fail(
                Diag::error("E0219", span, format!("two parameters are named `{}`", param.name))
                    .help("give the inner call a line of its own: parameters take the name on the left"),
            );
        }
        if let Err(diag) =
            numbers_in(&param.shape, &format!("the parameter `{}`", param.name), span)
        {
            return self.fail(*diag);
        }
        let id = ParamId(self.graph.params.len());
        self.names.insert(param.name.clone(), id);
        self.graph.params.push(param);
        Some(id)
    }

    /// A parameter as a value with axes.
    fn param_value(&mut self, id: ParamId, axes: Vec<Dim>) -> Named {
        let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
        Named { value: self.b.leaf(Leaf::Param(id.0), &shape), axes }
    }

    /// A value of the graph as a leaf of the pointwise program.
    pub fn stream(&mut self, id: ValueId, axes: Vec<Dim>) -> Named {
        let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
        let leaf = Leaf::Read(Stream::Input(id.0), Int::T);
        Named { value: self.b.leaf(leaf, &shape), axes }
    }

    /// Makes a pointwise value a value of the graph.
    pub fn materialise(&mut self, value: Value, label: &str) -> ValueId {
        self.settle(value, label, false)
    }

    fn settle(&mut self, value: Value, label: &str, per_token: bool) -> ValueId {
        if let Some(&done) = self.made.get(&value)
            && !(per_token && self.graph.value(done).once)
        {
            return done;
        }
        let node = self.b.node(value);
        match &node.op {
            // A single row for the whole batch becomes one per token where that is asked for.
            Op::Leaf(Leaf::Read(Stream::Input(id), Int::T))
                if !(per_token && self.graph.value(ValueId(*id)).once) =>
            {
                return ValueId(*id);
            }
            Op::Reshape => {
                let inner = node.args[0];
                return self.settle(inner, label, per_token);
            }
            _ => {}
        }
        let (program, inputs, params) = self.cut(value);
        let moves = program.leaves().any(|(_, leaf, _)| {
            matches!(leaf, Leaf::Number(_))
                || matches!(leaf, Leaf::Read(Stream::Input(i), _) if !self.graph.value(inputs[*i]).once)
        });
        let once = !moves && !per_token;
        let shape = self.b.shape(value).to_vec();
        let node = Node {
            kind: Kind::Rows(Box::new(program)),
            label: label.to_string(),
            inputs,
            params,
            outputs: vec![],
            gives: vec![],
        };
        let id = self.graph.add(node, &[(shape, once)])[0];
        if moves || once {
            self.made.insert(value, id);
        }
        id
    }

    /// The pointwise program below a value, down to what exists already.
    fn cut(&self, root: Value) -> (Program, Vec<ValueId>, Vec<ParamId>) {
        let mut cut = Cut::new(self, root);
        let output = cut.copy(root);
        (cut.b.finish(&[output]), cut.inputs, cut.params)
    }

    /// Elaborates a mixer on an input. Gives its output and every name it computed.
    pub fn mixer(
        &mut self,
        decl: &Decl,
        x: Named,
        given: BTreeMap<String, Bound>,
        base: &Numbers,
        path: String,
        at: Span,
    ) -> Tried<(Named, BTreeMap<String, Bound>)> {
        if self.open.contains(&decl.name.text) {
            return self.fail(Diag::error(
                "E0218",
                at,
                format!("`{}` contains itself", decl.name.text),
            ));
        }
        self.calls += 1;
        if self.open.len() >= MAX_DEPTH || self.calls > MAX_CALLS {
            let message = if self.open.len() >= MAX_DEPTH {
                format!("mixers stand in one another more than {MAX_DEPTH} deep")
            } else {
                format!("more than {MAX_CALLS} calls of mixers")
            };
            return self.fail(Diag::error("E0102", at, message));
        }
        self.open.push(decl.name.text.clone());
        let result = self.mixer_inner(decl, x, given, base, path, at);
        self.open.pop();
        result
    }

    fn mixer_inner(
        &mut self,
        decl: &Decl,
        x: Named,
        mut given: BTreeMap<String, Bound>,
        base: &Numbers,
        path: String,
        at: Span,
    ) -> Tried<(Named, BTreeMap<String, Bound>)> {
        let mut scope = Scope { path, ..Scope::default() };
        for name in ["layer", "layers"] {
            if let Some(x) = base.known.get(name) {
                scope.numbers.known.insert(name.into(), *x);
            }
        }
        scope.numbers.known.insert("width".into(), Setting::Number(self.width.size as f64));
        for (name, default) in &decl.settings {
            let value = match given.remove(&name.text) {
                Some(Bound::Known(value)) => Ok(value),
                Some(_) => Err(Box::new(Diag::error(
                    "E0205",
                    at,
                    format!("`{}` of `{}` is a number", name.text, decl.name.text),
                ))),
                None => scope.numbers.eval(default),
            };
            match value {
                Ok(value) => {
                    scope.numbers.known.insert(name.text.clone(), value);
                }
                Err(diag) => return self.fail(*diag),
            }
        }
        for (name, value) in &scope.numbers.known {
            scope.names.insert(name.clone(), Bound::Known(*value));
        }
        scope.names.insert("x".into(), Bound::Tensor(x));
        self.declares(decl, &mut scope, &mut given);
        if let Some(stranger) = given.keys().next().cloned() {
            let known: Vec<&str> = decl.settings.iter().map(|(n, _)| n.text.as_str()).collect();
            return self.fail(
                Diag::error(
                    "E0216",
                    at,
                    format!("`{}` has no parameter `{stranger}`", decl.name.text),
                )
                .help_nearest(&stranger, "parameters", known),
            );
        }
        self.set_once(decl);
        let mut out = None;
        for item in &decl.items {
            self.item(item, &mut scope, &mut out);
        }
        if out.is_none() && self.diags.iter().all(|d| !d.is_error()) {
            return self.fail(
                Diag::error(
                    "E0211",
                    decl.name.span,
                    format!("nothing comes out of `{}`", decl.name.text),
                )
                .help("add a line such as `out y = linear(o)`"),
            );
        }
        Some((out?, scope.names))
    }
}

impl Scope {
    fn label(&self) -> String {
        format!("{}.{}", self.path, self.target)
    }
}
