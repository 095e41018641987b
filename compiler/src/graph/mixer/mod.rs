//! Mixers: from their equations to dense products, recurrences and pointwise programs.

mod alone;
mod arguments;
mod cut;
mod experts;
mod expression;
mod functions;
mod promise;
mod recurrence;

use std::collections::{BTreeMap, HashMap, HashSet};

use lrc_dsl::ast::{Attr, Decl, Item, Name, Role, Shape};
use lrc_dsl::{Diag, Namespace, Span, print};

use super::pointwise::Named;
use super::{Graph, Init, Kind, Node, Param, ParamId, ValueId};
use crate::elaborate::signature::{Numbers, numbers_in};
use crate::elaborate::{Dim, Setting};
use crate::tile::interval::Intervals;
use crate::tile::{Builder, Int, Leaf, Op, Program, Stream, Value};
pub use alone::{alone, check};
pub(super) use arguments::twice;
use cut::Cut;
use experts::Experts;

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
pub struct Maker<'n> {
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
}

type Tried<T> = Option<T>;

/// How deep mixers may stand in one another.
const MAX_DEPTH: usize = 16;

/// Most calls of mixers in one model, those inside others included.
const MAX_CALLS: usize = 1 << 14;

impl<'n> Maker<'n> {
    /// An empty graph over the declarations of a file.
    pub fn new(namespace: &'n Namespace, width: usize) -> Maker<'n> {
        Maker {
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

    /// Refuses names of a mixer that are set twice: the later one would count in silence.
    fn set_once(&mut self, decl: &Decl) {
        let mut first: BTreeMap<&str, Span> =
            decl.settings.iter().map(|(name, _)| (name.text.as_str(), name.span)).collect();
        let names = decl.items.iter().flat_map(|item| match item {
            Item::Declare { names, .. } => names.iter().map(|(name, _)| name).collect(),
            Item::Equation { targets, .. } => targets.iter().map(|target| &target.name).collect(),
            _ => vec![],
        });
        for name in names {
            if let Some(place) = first.insert(&name.text, name.span) {
                self.diags.push(
                    Diag::error("E0105", name.span, format!("`{}` is set twice", name.text))
                        .label("set again")
                        .other(place, "set here"),
                );
            }
        }
    }

    /// Declared parameters and second inputs.
    fn declares(&mut self, decl: &Decl, scope: &mut Scope, given: &mut BTreeMap<String, Bound>) {
        for item in &decl.items {
            let Item::Declare { role, names, shape, attrs, span } = item else { continue };
            for (name, _) in names {
                let bound = match role {
                    Role::Param => self
                        .outside_experts("param", name.span)
                        .and_then(|()| self.declared_param(name, shape, attrs, scope)),
                    Role::In => Some(given.remove(&name.text).unwrap_or(Bound::Absent)),
                    Role::State => {
                        self.fail(Diag::error("E0212", *span, "states belong to recurrences"))
                    }
                };
                scope.names.insert(name.text.clone(), bound.unwrap_or(Bound::Broken));
            }
        }
    }

    fn declared_param(
        &mut self,
        name: &Name,
        shape: &Shape,
        attrs: &[(Attr, Span)],
        scope: &Scope,
    ) -> Tried<Bound> {
        let axes = self.axes(shape, scope)?;
        let mut param = Param {
            name: format!("{}.{}", scope.path, name.text),
            shape: axes.iter().map(|a| a.size).collect(),
            init: Init::Number(0.0),
            decay: true,
            f32: false,
        };
        for (attr, span) in attrs {
            match attr {
                Attr::Init(expr) => match Init::parse(expr, &scope.numbers) {
                    Ok(init) => param.init = init,
                    Err(diag) => return self.fail(*diag),
                },
                Attr::F32 => param.f32 = true,
                Attr::NoDecay => param.decay = false,
                _ => {
                    return self.fail(Diag::error(
                        "E0212",
                        *span,
                        "this does not belong to a parameter of a mixer",
                    ));
                }
            }
        }
        let id = self.param(param, name.span)?;
        Some(Bound::Tensor(self.param_value(id, axes)))
    }

    fn axes(&mut self, shape: &Shape, scope: &Scope) -> Tried<Vec<Dim>> {
        let mut axes = Vec::new();
        for axis in &shape.axes {
            match scope.numbers.size(axis) {
                Ok(size) => axes.push(Dim::new(size, print::expr(axis))),
                Err(diag) => return self.fail(*diag),
            }
        }
        self.sound(&axes, shape.span)?;
        Some(axes)
    }

    /// Refuses axes of one name, which nothing could tell apart, and more numbers than fit a tensor.
    fn sound(&mut self, axes: &[Dim], span: Span) -> Tried<()> {
        let again = |(at, axis): (usize, &Dim)| axes[..at].iter().any(|a| a.text == axis.text);
        if let Some((_, axis)) = axes.iter().enumerate().find(|(at, axis)| again((*at, *axis))) {
            let message = format!("the axis `{}` stands twice here", axis.text);
            return self.fail(Diag::error("E0202", span, message).help(format!(
                "a mixer knows axes by their names: give one of them its own, as a parameter `other = {}` of the mixer",
                axis.text
            )));
        }
        let shape: Vec<usize> = axes.iter().map(|axis| axis.size).collect();
        match numbers_in(&shape, "a value", span) {
            Ok(_) => Some(()),
            Err(diag) => self.fail(*diag),
        }
    }

    fn item(&mut self, item: &Item, scope: &mut Scope, result: &mut Option<Named>) {
        match item {
            Item::Declare { .. } => {}
            Item::Equation { out, targets, shape, value, span } => {
                let axes = match shape {
                    Some(shape) => match self.axes(shape, scope) {
                        Some(axes) => Some(axes),
                        None => {
                            for target in targets {
                                scope.names.insert(target.name.text.clone(), Bound::Broken);
                            }
                            return;
                        }
                    },
                    None => out.then(|| vec![self.width.clone()]),
                };
                scope.target = targets[0].name.text.clone();
                let bound = self.eval(value, axes.as_deref(), scope);
                let bound = bound.and_then(|b| self.annotated(b, axes.as_deref(), value.span));
                if targets.len() > 1 {
                    let named = bound.and_then(|bound| self.tensor(bound, value.span));
                    return self.rows(named, targets.iter().map(|t| &t.name), scope, *span);
                }
                if *out && let Some(Bound::Tensor(named)) = &bound {
                    *result = Some(named.clone());
                }
                scope.names.insert(scope.target.clone(), bound.unwrap_or(Bound::Broken));
            }
            Item::Loss(expr) => {
                scope.target = "loss".into();
                self.loss(expr, scope);
            }
            Item::Statement(expr) => {
                self.diags.push(
                    Diag::error("E0212", expr.span, "this stands alone and has no effect").help(
                        "an equation is `name = expression`, the output `out y = expression`",
                    ),
                );
            }
            Item::Function { span, .. }
            | Item::Repeat { span, .. }
            | Item::Shared { span, .. }
            | Item::Spread { span, .. } => {
                self.diags.push(Diag::error("E0212", *span, "this does not belong in a mixer"));
            }
            Item::Vocab(e) | Item::Residual(e) | Item::Head { value: e, .. } => {
                self.diags.push(Diag::error("E0212", e.span, "this belongs to a model"));
            }
        }
    }

    /// `a, b = X` takes rows of the first axis.
    fn rows<'a>(
        &mut self,
        named: Option<Named>,
        targets: impl ExactSizeIterator<Item = &'a Name>,
        scope: &mut Scope,
        span: Span,
    ) {
        let fits = |named: &Named, lead: usize| {
            named.axes.get(lead).map(|a| a.size) == Some(targets.len())
        };
        let found = named.map(|named| (self.slot_axes(&named), named));
        let (lead, named) = match found {
            Some((lead, named)) if fits(&named, lead) => (lead, named),
            other => {
                if other.is_some() {
                    let message = format!("{} names need as many rows", targets.len());
                    self.diags.push(Diag::error("E0202", span, message));
                }
                targets.for_each(|name| {
                    scope.names.insert(name.text.clone(), Bound::Broken);
                });
                return;
            }
        };
        let mut axes = named.axes.clone();
        axes.remove(lead);
        let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
        for (at, name) in targets.enumerate() {
            let row = self.b.slice(named.value, lead, at, 1);
            let value = self.b.reshape(row, &shape);
            let axes = axes.clone();
            scope.names.insert(name.text.clone(), Bound::Tensor(Named { value, axes }));
        }
    }
}

impl Scope {
    fn label(&self) -> String {
        format!("{}.{}", self.path, self.target)
    }
}
