//! Models: sub-layers built one after the other, with the residual rule around each.

use crate::tile::Number;
use std::collections::BTreeMap;

use lrc_dsl::ast::{Arg, Decl, Expr, ExprKind};
use lrc_dsl::{Diag, Namespace, print};

use super::layout::{self, Layer, Whole};
use super::mixer::{Bound, GraphBuilder, LowRank, Scope, twice};
use super::pointwise::Named;
use super::{Adapter, Graph, Init, Kind, Node, Param, ParamId, ValueId};
use crate::elaborate::signature::Numbers;
use crate::elaborate::{Dim, Setting};

/// A model's graph up to the final hidden state, and its output matrix.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// Tokens that exist.
    pub vocab: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// The embedding `[vocab, width]`.
    pub embedding: ParamId,
    /// The matrix `[vocab, width]` that gives logits; the embedding itself if tied.
    pub head: ParamId,
    /// The normalised hidden state that the head reads.
    pub hidden: ValueId,
    /// Where logits have a soft cap: `x` becomes `cap tanh(x / cap)` (Bello et al. 2017; Gemma 2).
    pub cap: Option<f64>,
    /// What mixers add to the loss, such as the balance of experts: a number each.
    pub losses: Vec<ValueId>,
    /// One line per sub-layer, as laid out.
    pub layout: Vec<String>,
    /// Low-rank products beside others.
    pub adapters: Vec<Adapter>,
}

/// Sub-layers that are others than laid out: calls by their number.
pub type Replaced = BTreeMap<usize, Expr>;

/// What is other than declared.
#[derive(Default)]
pub struct Amended<'a> {
    /// Sub-layers.
    pub replaced: Replaced,
    /// Products with a low-rank one beside them.
    pub low_rank: Option<LowRank<'a>>,
}

/// Builds a model. `given` overrides its parameters.
pub fn build(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    diags: &mut Vec<Diag>,
) -> Option<Model> {
    build_with(namespace, decl, given, &Amended::default(), diags)
}

/// Builds a model that is amended.
pub fn build_with<'a>(
    namespace: &'a Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
    amended: &Amended<'a>,
    diags: &mut Vec<Diag>,
) -> Option<Model> {
    let before = diags.iter().filter(|d| d.is_error()).count();
    let mut numbers = Numbers::default();
    for name in given.keys() {
        if !decl.settings.iter().any(|(known, _)| known.text == *name) {
            let known = decl.settings.iter().map(|(n, _)| n.text.as_str());
            let message = format!("the model `{}` has no parameter `{name}`", decl.name.text);
            diags.push(Diag::global("E0216", message).help_nearest(name, "parameters", known));
        }
    }
    for (name, default) in &decl.settings {
        let value = given.get(&name.text).copied().map_or_else(|| numbers.eval(default), Ok);
        match value {
            Ok(value) => {
                numbers.known.insert(name.text.clone(), value);
            }
            Err(diag) => diags.push(*diag),
        }
    }
    let (mut layers, whole) = layout::resolve(namespace, decl, &numbers, diags);
    if whole.is_some() {
        layout::replace(namespace, &mut layers, &amended.replaced, diags);
    }
    let model = whole.and_then(|whole| {
        let mut builder = GraphBuilder::new(namespace, whole.width);
        builder.low_rank = amended.low_rank;
        let model = assemble(&mut builder, decl, &whole, &layers);
        diags.append(&mut builder.diags);
        model
    });
    let after = diags.iter().filter(|d| d.is_error()).count();
    model.filter(|_| before == after)
}

fn assemble(
    builder: &mut GraphBuilder,
    decl: &Decl,
    whole: &Whole,
    layers: &[Layer],
) -> Option<Model> {
    let width = builder.width.clone();
    let table = |name: &str| Param {
        name: name.into(),
        shape: vec![whole.vocab, whole.width],
        init: Init::Normal(0.0, 0.02),
        decay: true,
        f32: false,
        number: Number::F32,
    };
    let embedding = builder.param(table("embedding.weight"), decl.name.span)?;
    let node = Node {
        kind: Kind::Embed,
        label: "embedding".into(),
        inputs: vec![],
        params: vec![embedding],
        outputs: vec![],
        gives: vec![],
    };
    let id = builder.graph.add(node, &[(vec![whole.width], false)])[0];
    let row = builder.stream(id, vec![width]);
    let embedded = embedded(builder, whole, layers, row)?;
    let x = stack(builder, whole, layers, embedded)?;
    let hidden = normalised(builder, whole, layers, x)?;
    let head = if whole.tied {
        embedding
    } else {
        let mut param = table("head.weight");
        param.init = Init::Normal(0.0, 1.0 / (whole.width as f64).sqrt());
        builder.param(param, decl.name.span)?
    };
    let mut graph = std::mem::take(&mut builder.graph);
    graph.forward = graph.nodes.node_count();
    keeps_to_the_past(builder, &graph, hidden)?;
    Some(Model {
        name: decl.name.text.clone(),
        graph,
        vocab: whole.vocab,
        width: whole.width,
        embedding,
        head,
        hidden,
        cap: whole.cap,
        losses: std::mem::take(&mut builder.losses),
        layout: layers.iter().map(|layer| print::expr(&layer.call)).collect(),
        adapters: std::mem::take(&mut builder.adapters),
    })
}

/// What the first sub-layer reads: the row of a token, or what `embed` makes of it.
fn embedded(
    builder: &mut GraphBuilder,
    whole: &Whole,
    layers: &[Layer],
    row: Named,
) -> Option<Named> {
    let Some(rule) = whole.embed else { return Some(row) };
    let width = builder.width.clone();
    let id = rule_over(builder, rule, layers.first()?, row, "embedding")?;
    Some(builder.stream(id, vec![width]))
}

/// What a rule of the model makes of `x`, as a value of the graph. Its parameters stand below `path`.
fn rule_over(
    builder: &mut GraphBuilder,
    rule: &Expr,
    layer: &Layer,
    x: Named,
    path: &str,
) -> Option<ValueId> {
    let width = builder.width.clone();
    let known = layer.numbers.known.iter().map(|(name, x)| (name.clone(), Bound::Known(*x)));
    let scope = Scope {
        names: known.chain([("x".to_string(), Bound::Tensor(x))]).collect(),
        numbers: layer.numbers.clone(),
        path: path.into(),
        target: "norm".into(),
    };
    let bound = builder.eval(rule, Some(std::slice::from_ref(&width)), &scope)?;
    let made = builder.tensor(bound, rule.span)?;
    if made.axes.len() != 1 || made.axes[0].size != width.size {
        let message = "this does not give a value of the model's width";
        return builder.fail(Diag::error("E0202", rule.span, message));
    }
    Some(builder.materialise(made.value, &format!("{path}.norm")))
}

/// The sub-layers one after the other, with the residual rule around each; gives the residual stream behind the last.
fn stack(
    builder: &mut GraphBuilder,
    whole: &Whole,
    layers: &[Layer],
    embedded: Named,
) -> Option<Named> {
    let width = builder.width.clone();
    let mut x = embedded.clone();
    let mut names = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let mut numbers = layer.numbers.clone();
        numbers.known.insert("layer".into(), Setting::Number(at as f64));
        numbers.known.insert("layers".into(), Setting::Number(layers.len() as f64));
        builder.sharing = layer.shared;
        let mut residual = Residual {
            builder,
            layer,
            numbers,
            names: &mut names,
            embedded: embedded.clone(),
            x: x.clone(),
        };
        let made = residual.eval(whole.residual)?;
        let id = builder.materialise(made.value, &format!("{}.residual", layer.path));
        x = builder.stream(id, vec![width.clone()]);
    }
    builder.sharing = false;
    Some(x)
}

/// The hidden state that the output matrix reads.
fn normalised(
    builder: &mut GraphBuilder,
    whole: &Whole,
    layers: &[Layer],
    x: Named,
) -> Option<ValueId> {
    rule_over(builder, whole.head, layers.last()?, x, "head")
}

/// Refuses a model whose output depends on an average over all tokens.
fn keeps_to_the_past(builder: &mut GraphBuilder, graph: &Graph, hidden: ValueId) -> Option<()> {
    let needed = graph.needed(hidden);
    let mut nodes = graph.nodes.node_weights().zip(&needed);
    if let Some((node, _)) =
        nodes.find(|(node, needed)| **needed && matches!(node.kind, Kind::Average))
    {
        let message = format!("an `average` in `{}` reaches what the model says", node.label);
        return builder.fail(
            Diag::global("E0215", message)
                .help("it knows tokens to come: it may only stand in a `loss`"),
        );
    }
    Some(())
}

/// Evaluates the residual rule around one sub-layer.
struct Residual<'m, 'n, 'l> {
    builder: &'m mut GraphBuilder<'n>,
    layer: &'l Layer,
    numbers: Numbers,
    names: &'l mut BTreeMap<String, Bound>,
    embedded: Named,
    x: Named,
}

impl Residual<'_, '_, '_> {
    fn scope(&self) -> Scope {
        let mut names = self.names.clone();
        for (name, value) in &self.numbers.known {
            names.insert(name.clone(), Bound::Known(*value));
        }
        names.insert("x".into(), Bound::Tensor(self.x.clone()));
        names.insert("embedding".into(), Bound::Tensor(self.embedded.clone()));
        Scope {
            names,
            numbers: self.numbers.clone(),
            path: self.layer.path.clone(),
            target: "norm".into(),
        }
    }

    fn eval(&mut self, expr: &Expr) -> Option<Named> {
        let width = self.builder.width.clone();
        let mut scope = self.scope();
        let inner = find_f(expr);
        if let Some(argument) = inner {
            let bound = self.builder.eval(argument, Some(std::slice::from_ref(&width)), &scope)?;
            let input = self.builder.tensor(bound, argument.span)?;
            let id = self.builder.materialise(input.value, &format!("{}.input", self.layer.path));
            let input = self.builder.stream(id, input.axes);
            let output = self.mixer(input)?;
            // What a layer adds is a value of its own: passes drop it, or take it out.
            let id = self.builder.materialise(output.value, &format!("{}.out", self.layer.path));
            let output = self.builder.stream(id, output.axes);
            scope.names.insert("f".into(), Bound::Tensor(output));
        }
        scope.target = "residual".into();
        let rest = replace_f(expr);
        let bound = self.builder.eval(&rest, Some(&[width]), &scope)?;
        self.builder.tensor(bound, expr.span)
    }

    fn mixer(&mut self, x: Named) -> Option<Named> {
        let ExprKind::Call(name, args) = &self.layer.call.kind else { return None };
        let decl = self.builder.namespace.get(&name.text)?.clone();
        let scope = self.scope();
        let mut given = BTreeMap::new();
        if let Some(diag) = twice(args) {
            return self.builder.fail(diag);
        }
        for Arg { name, value, .. } in args {
            let Some(name) = name else {
                return self.builder.fail(Diag::error(
                    "E0205",
                    value.span,
                    "parameters of a sub-layer are passed by name",
                ));
            };
            given.insert(name.text.clone(), self.builder.eval(value, None, &scope)?);
        }
        let path = self.layer.path.clone();
        let span = self.layer.call.span;
        let (y, names) = self.builder.mixer(&decl, x, given, &self.numbers, path, span)?;
        if let Some(own) = &self.layer.name {
            for (name, bound) in names {
                self.names.insert(format!("{own}.{name}"), bound);
            }
        }
        let width: Vec<Dim> = vec![self.builder.width.clone()];
        if y.axes.len() != 1 || y.axes[0].size != width[0].size {
            return self.builder.fail(Diag::error(
                "E0202",
                span,
                format!("`{}` does not give a value of the model's width", decl.name.text),
            ));
        }
        Some(Named { value: y.value, axes: width })
    }
}

/// The argument of the one call of `f` in a residual rule.
fn find_f(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        ExprKind::Call(name, args) if name.text == "f" => args.first().map(|arg| &arg.value),
        ExprKind::Call(_, args) => args.iter().find_map(|arg| find_f(&arg.value)),
        ExprKind::Binary(_, a, b) => find_f(a).or_else(|| find_f(b)),
        ExprKind::Negate(inner) => find_f(inner),
        _ => None,
    }
}

/// The rule with `f(…)` replaced by the name `f`.
fn replace_f(expr: &Expr) -> Expr {
    let kind = match &expr.kind {
        ExprKind::Call(name, _) if name.text == "f" => ExprKind::Name("f".into()),
        ExprKind::Call(name, args) => ExprKind::Call(
            name.clone(),
            args.iter().map(|arg| Arg { value: replace_f(&arg.value), ..arg.clone() }).collect(),
        ),
        ExprKind::Binary(op, a, b) => {
            ExprKind::Binary(*op, Box::new(replace_f(a)), Box::new(replace_f(b)))
        }
        ExprKind::Negate(inner) => ExprKind::Negate(Box::new(replace_f(inner))),
        other => other.clone(),
    };
    Expr { kind, span: expr.span }
}
