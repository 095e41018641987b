//! Models: the layout of sub-layers, resolved and built.

use std::collections::BTreeMap;

use lrc_dsl::ast::{Arg, BinaryOp, Decl, Expr, ExprKind, Item, Kind as DeclKind, Range};
use lrc_dsl::{Diag, Namespace, Span, print};

use super::mixer::{Bound, Maker, Scope};
use super::pointwise::Named;
use super::{Graph, Init, Kind, Node, Param, ParamId, ValueId};
use crate::apportion::apportion;
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
    /// What mixers add to the loss, such as the balance of experts: a number each.
    pub losses: Vec<ValueId>,
    /// One line per sub-layer, as laid out.
    pub layout: Vec<String>,
}

/// One resolved sub-layer call.
struct Layer {
    call: Expr,
    numbers: Numbers,
    path: String,
    name: Option<String>,
    shared: bool,
}

/// Builds a model. `given` overrides its parameters.
pub fn build(
    namespace: &Namespace,
    decl: &Decl,
    given: &BTreeMap<String, Setting>,
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
    let mut parts = Parts::default();
    let mut flat = Flattener { namespace, layers: Vec::new(), diags, shared: BTreeMap::new() };
    flat.items(&decl.items, &numbers, &mut parts, true);
    let layers = flat.layers;
    let model = parts.complete(decl, &numbers, &layers, diags).and_then(|whole| {
        let mut maker = Maker::new(namespace, whole.width);
        let model = assemble(&mut maker, decl, &whole, &layers);
        diags.append(&mut maker.diags);
        model
    });
    let after = diags.iter().filter(|d| d.is_error()).count();
    model.filter(|_| before == after)
}

/// What a model declares besides sub-layers.
#[derive(Default)]
struct Parts<'d> {
    vocab: Option<&'d Expr>,
    residual: Option<&'d Expr>,
    head: Option<(&'d Expr, &'d lrc_dsl::ast::Name)>,
}

struct Whole<'d> {
    vocab: usize,
    width: usize,
    residual: &'d Expr,
    head: &'d Expr,
    tied: bool,
}

impl<'d> Parts<'d> {
    fn complete(
        &self,
        decl: &'d Decl,
        numbers: &Numbers,
        layers: &[Layer],
        diags: &mut Vec<Diag>,
    ) -> Option<Whole<'d>>
    where
        'd: 'd,
    {
        let mut lacks = |what: &str, help: &str| {
            let message = format!("the model `{}` lacks {what}", decl.name.text);
            diags.push(Diag::error("E0220", decl.name.span, message).help(help));
        };
        let width = match numbers.known.get("width") {
            Some(Setting::Number(x)) if *x >= 1.0 && x.fract() == 0.0 => Some(*x as usize),
            _ => {
                lacks("a `width`", "declare it as a parameter: `model name(width = 256) { … }`");
                None
            }
        };
        if self.vocab.is_none() {
            lacks("`vocab`", "add a line such as `vocab 256`");
        }
        if self.residual.is_none() {
            lacks("`residual`", "add a line such as `residual x + f(rmsnorm(x))`");
        }
        if self.head.is_none() {
            lacks("`head`", "add a line such as `head rmsnorm(x), untied`");
        }
        if layers.is_empty() && diags.iter().all(|d| !d.is_error()) {
            let message = format!("the model `{}` has no sub-layer", decl.name.text);
            diags.push(Diag::error("E0220", decl.name.span, message));
        }
        let vocab = match numbers.size(self.vocab?) {
            Ok(vocab) => vocab,
            Err(diag) => {
                diags.push(*diag);
                return None;
            }
        };
        let (head, tied) = self.head?;
        let tied = match tied.text.as_str() {
            "tied" => true,
            "untied" => false,
            other => {
                diags.push(
                    Diag::error("E0220", tied.span, format!("unknown word `{other}`"))
                        .help("a head is `tied` to the embedding or `untied`"),
                );
                return None;
            }
        };
        Some(Whole { vocab, width: width?, residual: self.residual?, head, tied })
    }
}

struct Flattener<'a, 'n> {
    namespace: &'n Namespace,
    layers: Vec<Layer>,
    diags: &'a mut Vec<Diag>,
    shared: BTreeMap<String, Vec<Item>>,
}

impl Flattener<'_, '_> {
    fn items<'d>(
        &mut self,
        items: &'d [Item],
        numbers: &Numbers,
        parts: &mut Parts<'d>,
        top: bool,
    ) {
        for item in items {
            match item {
                Item::Vocab(expr) if top => parts.vocab = Some(expr),
                Item::Residual(expr) if top => parts.residual = Some(expr),
                Item::Head { value, tied } if top => parts.head = Some((value, tied)),
                Item::Repeat { range, items, .. } => self.repeat(range, items, numbers),
                Item::Statement(expr) => self.call(expr, numbers, None),
                Item::Equation { out: false, targets, value, .. } if targets.len() == 1 => {
                    self.call(value, numbers, Some(targets[0].name.text.clone()));
                }
                Item::Shared { name, items, .. } => {
                    self.shared.insert(name.text.clone(), items.clone());
                }
                Item::Spread { count, portions, span } => {
                    self.spread(count, portions, numbers, *span);
                }
                Item::Declare { span, .. }
                | Item::Equation { span, .. }
                | Item::Function { span, .. } => self.diags.push(
                    Diag::error("E0212", *span, "this does not belong in a model")
                        .help("a model holds `vocab`, `residual`, `head` and sub-layers"),
                ),
                Item::Loss(e)
                | Item::Vocab(e)
                | Item::Residual(e)
                | Item::Head { value: e, .. } => {
                    self.diags.push(Diag::error("E0212", e.span, "this does not belong here"));
                }
            }
        }
    }

    fn repeat(&mut self, range: &Range, items: &[Item], numbers: &Numbers) {
        let name = range.terms[0].as_name().map(str::to_string);
        let high = range.terms.get(1).map(|high| numbers.number(high));
        let (Some(name), Some(high), 2) = (name, high, range.terms.len()) else {
            self.diags.push(Diag::error(
                "E0103",
                range.span,
                "a repetition is written `for i < n`",
            ));
            return;
        };
        let high = match high {
            Ok(high) => high + if range.ops[0] == BinaryOp::Le { 1.0 } else { 0.0 },
            Err(diag) => return self.diags.push(*diag),
        };
        let mut parts = Parts::default();
        let mut i = 0.0;
        while i < high && self.layers.len() < 4096 {
            let mut inner = numbers.clone();
            inner.known.insert(name.clone(), Setting::Number(i));
            let errors = self.diags.len();
            self.items(items, &inner, &mut parts, false);
            if self.diags.len() > errors {
                return;
            }
            i += 1.0;
        }
    }

    fn call(&mut self, expr: &Expr, numbers: &Numbers, name: Option<String>) {
        match &expr.kind {
            ExprKind::Choice(condition, a, b) => match numbers.truth(condition) {
                Ok(true) => self.call(a, numbers, name),
                Ok(false) => self.call(b, numbers, name),
                Err(diag) => self.diags.push(*diag),
            },
            ExprKind::Call(mixer, _) => match self.namespace.get(&mixer.text) {
                Some(decl) if decl.kind == DeclKind::Mixer => {
                    let at = self.layers.len();
                    self.layers.push(Layer {
                        call: expr.clone(),
                        numbers: numbers.clone(),
                        path: format!("layers.{at}.{}", mixer.text),
                        name,
                        shared: false,
                    });
                }
                _ => {
                    let message = format!("there is no mixer `{}`", mixer.text);
                    let known: Vec<&str> = self.namespace.names(DeclKind::Mixer).collect();
                    self.diags.push(Diag::error("E0217", mixer.span, message).help_nearest(
                        &mixer.text,
                        "mixers",
                        known,
                    ));
                }
            },
            ExprKind::Name(shared) if self.shared.contains_key(shared) => {
                let items = self.shared[shared].clone();
                let first = self.layers.len();
                self.items(&items, numbers, &mut Parts::default(), false);
                for (at, layer) in self.layers[first..].iter_mut().enumerate() {
                    let mixer = layer.path.rsplit('.').next().unwrap_or_default().to_string();
                    layer.path = format!("shared.{shared}.{at}.{mixer}");
                    layer.shared = true;
                }
            }
            _ => self.diags.push(
                Diag::error("E0212", expr.span, "a sub-layer is a call of a mixer")
                    .help("for example `attention(heads = 4)`"),
            ),
        }
    }

    /// Counts by largest remainder; copy k of n stands at (k + ½) / n.
    fn spread(&mut self, count: &Expr, portions: &[(Expr, Expr)], numbers: &Numbers, span: Span) {
        let count = match numbers.size(count) {
            Ok(count) => count,
            Err(diag) => return self.diags.push(*diag),
        };
        let shares: Result<Vec<f64>, _> = portions.iter().map(|(p, _)| numbers.number(p)).collect();
        let shares = match shares {
            Ok(shares) => shares,
            Err(diag) => return self.diags.push(*diag),
        };
        let total: f64 = shares.iter().sum();
        if (total - 100.0).abs() > 0.5 {
            let message = format!("the percentages add up to {total}, not 100");
            return self.diags.push(Diag::error("E0213", span, message));
        }
        for at in spread_order(count, &shares) {
            self.call(&portions[at].1, numbers, None);
        }
    }
}

/// Which portion stands at each of `count` places.
pub fn spread_order(count: usize, shares: &[f64]) -> Vec<usize> {
    let mut places: Vec<(f64, usize)> = apportion(shares, count as u64)
        .iter()
        .enumerate()
        .flat_map(|(at, &n)| (0..n).map(move |k| ((k as f64 + 0.5) / n as f64, at)))
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().map(|(_, at)| at).collect()
}

fn assemble(maker: &mut Maker, decl: &Decl, whole: &Whole, layers: &[Layer]) -> Option<Model> {
    let width = maker.width.clone();
    let table = |name: &str| Param {
        name: name.into(),
        shape: vec![whole.vocab, whole.width],
        init: Init::Normal(0.0, 0.02),
        decay: true,
        f32: false,
    };
    let embedding = maker.param(table("embedding.weight"), decl.name.span)?;
    let node = Node {
        kind: Kind::Embed,
        label: "embedding".into(),
        inputs: vec![],
        params: vec![embedding],
        outputs: vec![],
        gives: vec![],
    };
    let id = maker.graph.add(node, &[(vec![whole.width], false)])[0];
    let embedded = maker.stream(id, vec![width.clone()]);
    let mut x = embedded.clone();
    let mut names = BTreeMap::new();
    let mut layout = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        layout.push(print::expr(&layer.call));
        let mut numbers = layer.numbers.clone();
        numbers.known.insert("layer".into(), Setting::Number(at as f64));
        numbers.known.insert("layers".into(), Setting::Number(layers.len() as f64));
        maker.sharing = layer.shared;
        let mut residual = Residual {
            maker,
            layer,
            numbers,
            names: &mut names,
            embedded: embedded.clone(),
            x: x.clone(),
        };
        let made = residual.eval(whole.residual)?;
        let id = maker.materialise(made.value, &format!("{}.residual", layer.path));
        x = maker.stream(id, vec![width.clone()]);
    }
    maker.sharing = false;
    let scope = Scope {
        names: [("x".to_string(), Bound::Tensor(x))].into(),
        numbers: layers.last()?.numbers.clone(),
        path: "head".into(),
        target: "norm".into(),
    };
    let bound = maker.eval(whole.head, Some(&[width]), &scope)?;
    let hidden = maker.tensor(bound, whole.head.span)?;
    let hidden = maker.materialise(hidden.value, "head.norm");
    let head = if whole.tied {
        embedding
    } else {
        let mut param = table("head.weight");
        param.init = Init::Normal(0.0, 1.0 / (whole.width as f64).sqrt());
        maker.param(param, decl.name.span)?
    };
    let mut graph = std::mem::take(&mut maker.graph);
    graph.forward = graph.nodes.node_count();
    let needed = graph.needed(hidden);
    let mut nodes = graph.nodes.node_weights().zip(&needed);
    if let Some((node, _)) =
        nodes.find(|(node, needed)| **needed && matches!(node.kind, Kind::Average))
    {
        let message = format!("an `average` in `{}` reaches what the model says", node.label);
        return maker.fail(
            Diag::global("E0215", message)
                .help("it knows tokens to come: it may only stand in a `loss`"),
        );
    }
    Some(Model {
        name: decl.name.text.clone(),
        graph,
        vocab: whole.vocab,
        width: whole.width,
        embedding,
        head,
        hidden,
        losses: std::mem::take(&mut maker.losses),
        layout,
    })
}

/// Evaluates the residual rule around one sub-layer.
struct Residual<'m, 'n, 'l> {
    maker: &'m mut Maker<'n>,
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
        let width = self.maker.width.clone();
        let mut scope = self.scope();
        let inner = find_f(expr);
        if let Some(argument) = inner {
            let bound = self.maker.eval(argument, Some(std::slice::from_ref(&width)), &scope)?;
            let input = self.maker.tensor(bound, argument.span)?;
            let id = self.maker.materialise(input.value, &format!("{}.input", self.layer.path));
            let input = self.maker.stream(id, input.axes);
            let output = self.mixer(input)?;
            // What a layer adds is a value of its own: passes drop it, or take it out.
            let id = self.maker.materialise(output.value, &format!("{}.out", self.layer.path));
            let output = self.maker.stream(id, output.axes);
            scope.names.insert("f".into(), Bound::Tensor(output));
        }
        scope.target = "residual".into();
        let rest = replace_f(expr);
        let bound = self.maker.eval(&rest, Some(&[width]), &scope)?;
        self.maker.tensor(bound, expr.span)
    }

    fn mixer(&mut self, x: Named) -> Option<Named> {
        let ExprKind::Call(name, args) = &self.layer.call.kind else { return None };
        let decl = self.maker.namespace.get(&name.text)?.clone();
        let scope = self.scope();
        let mut given = BTreeMap::new();
        for Arg { name, value, .. } in args {
            let Some(name) = name else {
                return self.maker.fail(Diag::error(
                    "E0205",
                    value.span,
                    "parameters of a sub-layer are passed by name",
                ));
            };
            given.insert(name.text.clone(), self.maker.eval(value, None, &scope)?);
        }
        let path = self.layer.path.clone();
        let span = self.layer.call.span;
        let (y, names) = self.maker.mixer(&decl, x, given, &self.numbers, path, span)?;
        if let Some(own) = &self.layer.name {
            for (name, bound) in names {
                self.names.insert(format!("{own}.{name}"), bound);
            }
        }
        let width: Vec<Dim> = vec![self.maker.width.clone()];
        if y.axes.len() != 1 || y.axes[0].size != width[0].size {
            return self.maker.fail(Diag::error(
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
