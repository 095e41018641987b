//! Mixers: from their equations to dense products, recurrences and pointwise programs.

use std::collections::{BTreeMap, HashMap};

use lrc_dsl::ast::{
    Arg, Attr, BinaryOp, Decl, Expr, ExprKind, Item, Kind as DeclKind, Name, Role, Shape,
};
use lrc_dsl::{Diag, Namespace, Span, print};

use super::pointwise::{self, Named};
use super::{Graph, Init, Kind, Node, Param, ParamId, Recur, ValueId};
use crate::elaborate::functions::{UNARY, softmax};
use crate::elaborate::signature::{Numbers, Signature};
use crate::elaborate::{Dim, Setting, elaborate};
use crate::tile::{Binary, Builder, Int, Leaf, Op, Program, Stream, Unary, Value, size};

/// What a name of a mixer stands for.
#[derive(Clone, Debug)]
pub enum Bound {
    /// Known before the run.
    Known(Setting),
    /// A value per token.
    Tensor(Named),
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
    /// Attributes of declared parameters, by parameter.
    pub width: Dim,
}

type Tried<T> = Option<T>;

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
            Op::Leaf(Leaf::Read(Stream::Input(id), Int::T)) => return ValueId(*id),
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
        self.made.insert(value, id);
        id
    }

    /// The pointwise program below a value, down to what exists already.
    fn cut(&self, root: Value) -> (Program, Vec<ValueId>, Vec<ParamId>) {
        let mut cut = Cut {
            maker: self,
            root,
            b: Builder::new(),
            inputs: vec![],
            params: vec![],
            new: HashMap::new(),
        };
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
        self.declares(decl, &mut scope, &mut given, at);
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

    /// Declared parameters and second inputs.
    fn declares(
        &mut self,
        decl: &Decl,
        scope: &mut Scope,
        given: &mut BTreeMap<String, Bound>,
        at: Span,
    ) {
        for item in &decl.items {
            let Item::Declare { role, names, shape, attrs, span } = item else { continue };
            for (name, _) in names {
                let bound = match role {
                    Role::Param => self.declared_param(name, shape, attrs, scope),
                    Role::In => match given.remove(&name.text) {
                        Some(value) => Some(value),
                        None => self.fail(
                            Diag::error(
                                "E0205",
                                at,
                                format!("`{}` needs the input `{}`", decl.name.text, name.text),
                            )
                            .other(*span, "declared here"),
                        ),
                    },
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
        Some(axes)
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
                if let ([_, _, ..], Some(Bound::Tensor(named))) = (&targets[..], &bound) {
                    return self.rows(named, targets.iter().map(|t| &t.name), scope, *span);
                }
                if *out && let Some(Bound::Tensor(named)) = &bound {
                    *result = Some(named.clone());
                }
                scope.names.insert(scope.target.clone(), bound.unwrap_or(Bound::Broken));
            }
            Item::Loss(expr) => {
                self.diags.push(
                    Diag::error("E0215", expr.span, "auxiliary losses are not supported yet")
                        .help("mixtures of experts can be parsed and printed, not run"),
                );
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
        named: &Named,
        targets: impl ExactSizeIterator<Item = &'a Name>,
        scope: &mut Scope,
        span: Span,
    ) {
        if named.axes.first().map(|a| a.size) != Some(targets.len()) {
            self.diags.push(Diag::error(
                "E0202",
                span,
                format!("{} names need as many rows", targets.len()),
            ));
            return;
        }
        for (at, name) in targets.enumerate() {
            let row = self.b.slice(named.value, 0, at, 1);
            let axes = named.axes[1..].to_vec();
            let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
            let value = self.b.reshape(row, &shape);
            scope.names.insert(name.text.clone(), Bound::Tensor(Named { value, axes }));
        }
    }

    /// Gives a value the axes written on the left, where the sizes allow it.
    fn annotated(&mut self, bound: Bound, axes: Option<&[Dim]>, span: Span) -> Tried<Bound> {
        let (Some(axes), Bound::Tensor(named)) = (axes, &bound) else { return Some(bound) };
        let same = named.axes.len() == axes.len()
            && named.axes.iter().zip(axes).all(|(a, b)| a.text == b.text && a.size == b.size);
        if same {
            return Some(bound);
        }
        let total: usize = axes.iter().map(|a| a.size).product();
        if size(&named.shape()) == total {
            let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
            let value = self.b.reshape(named.value, &shape);
            return Some(Bound::Tensor(Named { value, axes: axes.to_vec() }));
        }
        let text = |axes: &[Dim]| {
            let texts: Vec<String> =
                axes.iter().map(|a| format!("{} = {}", a.text, a.size)).collect();
            format!("[{}]", texts.join(", "))
        };
        let message = format!("the value has axes {}, not {}", text(&named.axes), text(axes));
        self.fail(Diag::error("E0202", span, message).label(text(&named.axes)))
    }

    /// Elaborates an expression; `expected` are the axes written on the left.
    pub fn eval(&mut self, expr: &Expr, expected: Option<&[Dim]>, scope: &Scope) -> Tried<Bound> {
        let outer = self.b.span.replace(expr.span);
        let value = self.eval_inner(expr, expected, scope);
        self.b.span = outer;
        value
    }

    fn eval_inner(&mut self, expr: &Expr, expected: Option<&[Dim]>, scope: &Scope) -> Tried<Bound> {
        match &expr.kind {
            ExprKind::Number(x) => Some(Bound::Known(Setting::Number(*x))),
            ExprKind::Truth(x) => Some(Bound::Known(Setting::Truth(*x))),
            ExprKind::Name(name) => match scope.names.get(name) {
                Some(Bound::Broken) => None,
                Some(bound) => Some(bound.clone()),
                None if name == "inf" => Some(Bound::Known(Setting::Number(f64::INFINITY))),
                None => {
                    let known: Vec<String> = scope.names.keys().cloned().collect();
                    self.fail(
                        Diag::error("E0201", expr.span, format!("unknown name `{name}`"))
                            .help_nearest(name, "known here", known.iter().map(String::as_str)),
                    )
                }
            },
            ExprKind::Negate(inner) => match self.eval(inner, expected, scope)? {
                Bound::Known(Setting::Number(x)) => Some(Bound::Known(Setting::Number(-x))),
                bound => {
                    let named = self.tensor(bound, inner.span)?;
                    let value = self.b.unary(Unary::Neg, named.value);
                    Some(Bound::Tensor(Named { value, ..named }))
                }
            },
            ExprKind::Binary(op, a, c) => self.binary(*op, a, c, expected, scope, expr.span),
            ExprKind::Choice(c, a, d) => match scope.numbers.truth(c) {
                Ok(true) => self.eval(a, expected, scope),
                Ok(false) => self.eval(d, expected, scope),
                Err(diag) => self.fail(*diag),
            },
            ExprKind::Index(base, index) => self.shift(base, index, scope, expr.span),
            ExprKind::Call(name, args) => self.call(name, args, expected, scope, expr.span),
            ExprKind::Field(base, name) => match &base.kind {
                ExprKind::Name(first) => {
                    let full = format!("{first}.{}", name.text);
                    match scope.names.get(&full) {
                        Some(bound) => Some(bound.clone()),
                        None => self.fail(Diag::error(
                            "E0201",
                            expr.span,
                            format!("unknown name `{full}`"),
                        )),
                    }
                }
                _ => {
                    self.fail(Diag::error("E0201", expr.span, "`.name` follows a sub-layer's name"))
                }
            },
            ExprKind::Transpose(_) | ExprKind::Length(_) => self.fail(
                Diag::error("E0212", expr.span, "matrix algebra belongs in a recurrence")
                    .help("a mixer works on named axes"),
            ),
        }
    }

    /// A value as a tensor; numbers become scalars.
    pub fn tensor(&mut self, bound: Bound, span: Span) -> Tried<Named> {
        match bound {
            Bound::Tensor(named) => Some(named),
            Bound::Known(Setting::Number(x)) => {
                Some(Named { value: self.b.fill(x, &[]), axes: vec![] })
            }
            Bound::Known(Setting::Truth(_)) => {
                self.fail(Diag::error("E0202", span, "a tensor is needed").label("true or false"))
            }
            Bound::Broken => None,
        }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        a: &Expr,
        c: &Expr,
        expected: Option<&[Dim]>,
        scope: &Scope,
        span: Span,
    ) -> Tried<Bound> {
        let (left, right) = (self.eval(a, expected, scope), self.eval(c, expected, scope));
        let (left, right) = (left?, right?);
        if let (Bound::Known(Setting::Number(x)), Bound::Known(Setting::Number(y))) =
            (&left, &right)
        {
            return Some(Bound::Known(crate::elaborate::signature::arithmetic(op, *x, *y)));
        }
        let (x, y) = (self.tensor(left, a.span)?, self.tensor(right, c.span)?);
        let entrywise =
            matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Each | BinaryOp::Div);
        if op == BinaryOp::Pow
            && let Some(c) = self.b.as_fill(y.value)
        {
            let value = match c {
                2.0 => self.b.mul(x.value, x.value),
                c => self.b.unary(Unary::Pow(crate::tile::Bits::of(c)), x.value),
            };
            return Some(Bound::Tensor(Named { value, ..x }));
        }
        if !entrywise && !(op == BinaryOp::Mul && (x.axes.is_empty() || y.axes.is_empty())) {
            return self.fail(
                Diag::error("E0202", span, format!("`{}` does not work between these", op.text()))
                    .help("entry by entry it is written `.*`; products belong in a recurrence or `linear`"),
            );
        }
        match pointwise::binary(&mut self.b, op, &x, &y) {
            Some(named) => Some(Bound::Tensor(named)),
            None => {
                self.fail(Diag::error("E0202", span, "axes of one name have different sizes here"))
            }
        }
    }

    /// `x[t-1]`: the token shift; before the first token it is 0.
    fn shift(&mut self, base: &Expr, index: &Expr, scope: &Scope, span: Span) -> Tried<Bound> {
        let lag = match &index.kind {
            ExprKind::Binary(BinaryOp::Sub, t, n) if t.as_name() == Some("t") => {
                scope.numbers.number(n).ok().filter(|n| n.fract() == 0.0 && *n >= 0.0)
            }
            _ => None,
        };
        let Some(lag) = lag else {
            return self.fail(Diag::error(
                "E0206",
                span,
                "a mixer reads earlier tokens as `x[t-1]`",
            ));
        };
        let bound = self.eval(base, None, scope)?;
        let named = self.tensor(bound, base.span)?;
        Some(Bound::Tensor(self.lagged(&named, lag as i64, &scope.label())))
    }

    fn lagged(&mut self, named: &Named, lag: i64, label: &str) -> Named {
        let id = self.settle(named.value, label, true);
        let at = Int::op(crate::tile::IntOp::Sub, Int::T, Int::Const(lag));
        let value = self.b.leaf(Leaf::Read(Stream::Input(id.0), at), &named.shape());
        Named { value, axes: named.axes.clone() }
    }

    fn call(
        &mut self,
        name: &Name,
        args: &[Arg],
        expected: Option<&[Dim]>,
        scope: &Scope,
        span: Span,
    ) -> Tried<Bound> {
        if let Some((_, op)) = UNARY.iter().find(|(known, _)| *known == name.text) {
            let x = self.first(name, args, expected, scope)?;
            let value = self.b.unary(*op, x.value);
            return Some(Bound::Tensor(Named { value, ..x }));
        }
        match name.text.as_str() {
            "linear" => return self.linear(name, args, expected, scope),
            "conv" => return self.conv(name, args, expected, scope),
            "rope" => {
                let x = self.first(name, args, expected, scope)?;
                let base = self.number_arg(args, 1, "base", 10000.0, scope)?;
                let fraction = self.number_arg(args, 2, "fraction", 1.0, scope)?;
                let value = pointwise::rope(&mut self.b, x.value, base, fraction);
                return Some(Bound::Tensor(Named { value, ..x }));
            }
            "l2norm" | "softmax" => {
                let x = self.first(name, args, expected, scope)?;
                let last = x.axes.len().saturating_sub(1);
                let value = match name.text.as_str() {
                    "l2norm" => pointwise::l2norm(&mut self.b, x.value),
                    _ => softmax(&mut self.b, x.value, last),
                };
                return Some(Bound::Tensor(Named { value, ..x }));
            }
            "rmsnorm" | "layernorm" => return self.norm(name, args, expected, scope),
            "sum" => return self.sum(name, args, scope),
            "concat" => return self.concat(args, scope),
            "max" | "min" if args.len() == 2 => {
                let x = self.first(name, args, expected, scope)?;
                let bound = self.eval(&args[1].value, expected, scope)?;
                let y = self.tensor(bound, args[1].value.span)?;
                let ones = vec![1; x.axes.len()];
                if !y.axes.is_empty() {
                    return self.fail(
                        Diag::error("E0202", span, "a number is needed").label("not a number"),
                    );
                }
                let other = self.b.reshape(y.value, &ones);
                let op = if name.text == "max" { Binary::Max } else { Binary::Min };
                let value = self.b.binary(op, x.value, other);
                return Some(Bound::Tensor(Named { value, ..x }));
            }
            "top_k" | "average" => {
                return self.fail(
                    Diag::error("E0215", span, format!("`{}` is not supported yet", name.text))
                        .help("mixtures of experts can be parsed and printed, not run"),
                );
            }
            _ => {}
        }
        match self.namespace.get(&name.text) {
            Some(decl) if decl.kind == DeclKind::Recurrence => {
                let decl = decl.clone();
                self.recurrence(&decl, args, scope, span)
            }
            Some(decl) if decl.kind == DeclKind::Mixer => {
                let decl = decl.clone();
                self.inner_mixer(&decl, args, scope, span)
            }
            _ => {
                let known: Vec<String> = self.namespace.decls.keys().cloned().collect();
                let functions = [
                    "linear",
                    "conv",
                    "rope",
                    "l2norm",
                    "rmsnorm",
                    "layernorm",
                    "softmax",
                    "sum",
                    "concat",
                ];
                let all = known
                    .iter()
                    .map(String::as_str)
                    .chain(functions)
                    .chain(UNARY.iter().map(|(n, _)| *n));
                self.fail(
                    Diag::error("E0204", name.span, format!("unknown function `{}`", name.text))
                        .help_nearest(&name.text, "known", all),
                )
            }
        }
    }

    fn first(
        &mut self,
        name: &Name,
        args: &[Arg],
        expected: Option<&[Dim]>,
        scope: &Scope,
    ) -> Tried<Named> {
        match args.first() {
            Some(arg) if arg.name.is_none() && arg.over.is_none() => {
                let bound = self.eval(&arg.value, expected, scope)?;
                self.tensor(bound, arg.value.span)
            }
            _ => {
                self.fail(Diag::error("E0205", name.span, format!("`{}` needs a value", name.text)))
            }
        }
    }

    fn number_arg(
        &mut self,
        args: &[Arg],
        at: usize,
        name: &str,
        default: f64,
        scope: &Scope,
    ) -> Tried<f64> {
        let given = args
            .iter()
            .find(|arg| arg.name.as_ref().is_some_and(|n| n.text == name))
            .or_else(|| args.get(at).filter(|arg| arg.name.is_none()));
        match given.map(|arg| scope.numbers.number(&arg.value)) {
            None => Some(default),
            Some(Ok(x)) => Some(x),
            Some(Err(diag)) => self.fail(*diag),
        }
    }

    /// The axis named by `each = a`.
    fn each(&mut self, args: &[Arg]) -> Option<String> {
        let arg = args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.text == "each"))?;
        Some(print::expr(&arg.value))
    }

    fn linear(
        &mut self,
        name: &Name,
        args: &[Arg],
        expected: Option<&[Dim]>,
        scope: &Scope,
    ) -> Tried<Bound> {
        let Some(out) = expected else {
            return self.fail(
                Diag::error("E0205", name.span, "how wide `linear` is must be written on the left")
                    .help(format!("`{} : [size] = linear(…)`", scope.target)),
            );
        };
        let out = out.to_vec();
        let x = self.first(name, args, None, scope)?;
        let each = self.each(args);
        let mut x_axes = x.axes.clone();
        let mut out_axes = out.clone();
        let mut groups = 1;
        if let Some(axis) = &each {
            let leads = |axes: &[Dim]| axes.first().is_some_and(|a| *a.text == **axis);
            if !leads(&x.axes) || !leads(&out) {
                return self.fail(
                    Diag::error(
                        "E0205",
                        name.span,
                        format!("`{axis}` must be the first axis of both sides"),
                    )
                    .help("`each` gives every entry of an axis its own matrix"),
                );
            }
            groups = x_axes.remove(0).size;
            out_axes.remove(0);
        }
        let inner: usize = x_axes.iter().map(|a| a.size).product();
        let outer: usize = out_axes.iter().map(|a| a.size).product();
        let shape = if each.is_some() { vec![groups, outer, inner] } else { vec![outer, inner] };
        let param = Param {
            name: format!("{}.{}.weight", scope.path, scope.target),
            shape,
            init: Init::Normal(0.0, 1.0 / (inner as f64).sqrt()),
            decay: true,
            f32: false,
        };
        let weight = self.param(param, name.span)?;
        let input = self.settle(x.value, &scope.label(), true);
        let node = Node {
            kind: Kind::Dense { groups },
            label: scope.label(),
            inputs: vec![input],
            params: vec![weight],
            outputs: vec![],
            gives: vec![],
        };
        let shape: Vec<usize> = out.iter().map(|a| a.size).collect();
        let id = self.graph.add(node, &[(shape, false)])[0];
        Some(Bound::Tensor(self.stream(id, out)))
    }

    /// A causal convolution over tokens, each channel by itself, without bias.
    fn conv(
        &mut self,
        name: &Name,
        args: &[Arg],
        expected: Option<&[Dim]>,
        scope: &Scope,
    ) -> Tried<Bound> {
        let x = self.first(name, args, expected, scope)?;
        let taps = self.number_arg(args, 1, "taps", 4.0, scope)?;
        if !(1.0..=64.0).contains(&taps) || taps.fract() != 0.0 {
            return self.fail(Diag::error(
                "E0213",
                name.span,
                format!("{taps} is no number of taps"),
            ));
        }
        let taps = taps as usize;
        let x = match expected {
            Some(axes) if size(&x.shape()) == axes.iter().map(|a| a.size).product::<usize>() => {
                let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
                Named { value: self.b.reshape(x.value, &shape), axes: axes.to_vec() }
            }
            _ => x,
        };
        // A row of weights per tap keeps the channels next to each other.
        let bound = 1.0 / (taps as f64).sqrt();
        let param = Param {
            name: format!("{}.{}.conv.weight", scope.path, scope.target),
            shape: [&[taps], x.shape().as_slice()].concat(),
            init: Init::Uniform(-bound, bound),
            decay: true,
            f32: false,
        };
        let shape = param.shape.clone();
        let weight = self.param(param, name.span)?;
        let weight = self.b.leaf(Leaf::Param(weight.0), &shape);
        let mut sum: Option<Value> = None;
        for tap in 0..taps {
            let lagged = self.lagged(&x, (taps - 1 - tap) as i64, &scope.label());
            let row = self.b.slice(weight, 0, tap, 1);
            let row = self.b.reshape(row, &x.shape());
            let term = self.b.mul(lagged.value, row);
            sum = Some(match sum {
                Some(sum) => self.b.add(sum, term),
                None => term,
            });
        }
        Some(Bound::Tensor(Named { value: sum?, axes: x.axes }))
    }

    /// `rmsnorm(x)`, `layernorm(x)` over the last axis with learned weights; `each = a` gives every
    /// entry of axis `a` its own.
    fn norm(
        &mut self,
        name: &Name,
        args: &[Arg],
        expected: Option<&[Dim]>,
        scope: &Scope,
    ) -> Tried<Bound> {
        let x = self.first(name, args, expected, scope)?;
        let Some(last) = x.axes.last().cloned() else {
            return self.fail(Diag::error("E0202", name.span, "a scalar cannot be normalised"));
        };
        let each = self.each(args);
        let axes: Vec<Dim> = x
            .axes
            .iter()
            .filter(|a| each.as_ref().is_some_and(|e| *a.text == **e))
            .cloned()
            .chain([last])
            .collect();
        let weight = self.norm_param(
            &scope.path,
            &format!("{}.{}", scope.target, name.text),
            "weight",
            1.0,
            &axes,
            name.span,
        )?;
        let layer = name.text == "layernorm";
        let centred = if layer { pointwise::centred(&mut self.b, x.value) } else { x.value };
        let normal = Named { value: pointwise::rms(&mut self.b, centred), axes: x.axes };
        let mut y = pointwise::binary(&mut self.b, BinaryOp::Each, &normal, &weight)?;
        if layer {
            let bias = self.norm_param(
                &scope.path,
                &format!("{}.{}", scope.target, name.text),
                "bias",
                0.0,
                &axes,
                name.span,
            )?;
            y = pointwise::binary(&mut self.b, BinaryOp::Add, &y, &bias)?;
        }
        Some(Bound::Tensor(y))
    }

    fn norm_param(
        &mut self,
        path: &str,
        target: &str,
        what: &str,
        start: f64,
        axes: &[Dim],
        span: Span,
    ) -> Tried<Named> {
        let target = target.trim_start_matches('.');
        let param = Param {
            name: format!("{path}.{target}.{what}"),
            shape: axes.iter().map(|a| a.size).collect(),
            init: Init::Number(start),
            decay: false,
            f32: false,
        };
        let id = self.param(param, span)?;
        Some(self.param_value(id, axes.to_vec()))
    }

    /// `sum(x, axis)`.
    fn sum(&mut self, name: &Name, args: &[Arg], scope: &Scope) -> Tried<Bound> {
        let x = self.first(name, args, None, scope)?;
        let axis = args.get(1).map(|arg| print::expr(&arg.value)).unwrap_or_default();
        let Some(at) = x.axes.iter().position(|a| *a.text == *axis) else {
            let known: Vec<String> = x.axes.iter().map(|a| a.text.to_string()).collect();
            return self.fail(
                Diag::error("E0205", name.span, format!("there is no axis `{axis}` to sum along"))
                    .help_nearest(&axis, "axes", known.iter().map(String::as_str)),
            );
        };
        let sum = self.b.sum(x.value, &[at]);
        let mut axes = x.axes;
        axes.remove(at);
        let shape: Vec<usize> = axes.iter().map(|a| a.size).collect();
        let value = self.b.reshape(sum, &shape);
        Some(Bound::Tensor(Named { value, axes }))
    }

    fn concat(&mut self, args: &[Arg], scope: &Scope) -> Tried<Bound> {
        let mut parts = Vec::new();
        let mut texts = Vec::new();
        for arg in args {
            let bound = self.eval(&arg.value, None, scope)?;
            let named = self.tensor(bound, arg.value.span)?;
            if named.axes.len() != 1 {
                return self.fail(Diag::error(
                    "E0202",
                    arg.value.span,
                    "`concat` is for values with one axis",
                ));
            }
            texts.push(named.axes[0].text.to_string());
            parts.push(named.value);
        }
        if parts.is_empty() {
            return None;
        }
        let value = self.b.concat(&parts, 0);
        let size = self.b.shape(value)[0];
        Some(Bound::Tensor(Named { value, axes: vec![Dim::new(size, texts.join(" + "))] }))
    }

    fn inner_mixer(
        &mut self,
        decl: &Decl,
        args: &[Arg],
        scope: &Scope,
        span: Span,
    ) -> Tried<Bound> {
        let x = self.first(&decl.name, args, None, scope)?;
        let mut given = BTreeMap::new();
        for arg in &args[1..] {
            let Some(name) = &arg.name else {
                return self.fail(Diag::error(
                    "E0205",
                    arg.value.span,
                    "a mixer's parameters are passed by name",
                ));
            };
            given.insert(name.text.clone(), self.eval(&arg.value, None, scope)?);
        }
        let path = format!("{}.{}", scope.path, scope.target);
        let (y, _) = self.mixer(decl, x, given, &scope.numbers, path, span)?;
        Some(Bound::Tensor(y))
    }

    /// A call of a recurrence: run for every entry of the axes in front of the declared shapes.
    fn recurrence(&mut self, decl: &Decl, args: &[Arg], scope: &Scope, span: Span) -> Tried<Bound> {
        let mut found = Vec::new();
        let signature = Signature::of(decl, &mut found);
        let slots: Vec<_> = signature.variables.iter().filter(|v| v.role != Role::State).collect();
        let mut settings = BTreeMap::new();
        let mut operands: Vec<Option<(Named, Span)>> = vec![None; slots.len()];
        let mut position = 0;
        for arg in args {
            let slot = match &arg.name {
                None => {
                    position += 1;
                    Some(position - 1)
                }
                Some(name) => slots.iter().position(|v| v.name == name.text),
            };
            if let (None, Some(name)) = (slot, &arg.name) {
                if !signature.settings.iter().any(|(known, _)| *known == name.text) {
                    let known = signature
                        .settings
                        .iter()
                        .map(|(n, _)| n.as_str())
                        .chain(slots.iter().map(|v| v.name.as_str()));
                    return self.fail(
                        Diag::error(
                            "E0216",
                            name.span,
                            format!("`{}` has no parameter `{}`", decl.name.text, name.text),
                        )
                        .help_nearest(&name.text, "it has", known),
                    );
                }
                match self.eval(&arg.value, None, scope)? {
                    Bound::Known(value) => settings.insert(name.text.clone(), value),
                    _ => {
                        return self.fail(Diag::error(
                            "E0208",
                            arg.value.span,
                            "a parameter is a number known before the run",
                        ));
                    }
                };
                continue;
            }
            let Some(slot) = slot.filter(|slot| *slot < operands.len()) else {
                return self.fail(Diag::error(
                    "E0205",
                    arg.value.span,
                    format!("`{}` takes {} values", decl.name.text, slots.len()),
                ));
            };
            let bound = self.eval(&arg.value, None, scope)?;
            let named = self.tensor(bound, arg.value.span)?;
            operands[slot] = Some((named, arg.value.span));
        }
        let mut given = Vec::new();
        for (variable, operand) in slots.iter().zip(operands) {
            match operand {
                Some(operand) => given.push(operand),
                None => {
                    return self.fail(Diag::error(
                        "E0205",
                        span,
                        format!("`{}` needs `{}`", decl.name.text, variable.name),
                    ));
                }
            }
        }
        RecurrenceCall { maker: self, decl, signature: &signature, settings, given }.run(scope)
    }
}

impl Scope {
    fn label(&self) -> String {
        format!("{}.{}", self.path, self.target)
    }
}

/// A width that many sizes divide: enough for the defaults of every mixer to come out even.
const WITNESS_WIDTH: usize = 15_360;

/// Checks a mixer by itself, on an input of a width that divides well.
pub fn check(namespace: &Namespace, decl: &Decl, diags: &mut Vec<Diag>) {
    let mut maker = Maker::new(namespace, WITNESS_WIDTH);
    let node = Node {
        kind: Kind::Embed,
        label: "x".into(),
        inputs: vec![],
        params: vec![],
        outputs: vec![],
        gives: vec![],
    };
    let id = maker.graph.add(node, &[(vec![WITNESS_WIDTH], false)])[0];
    let width = maker.width.clone();
    let x = maker.stream(id, vec![width.clone()]);
    let mut given = BTreeMap::new();
    for item in &decl.items {
        // A second input gets a value of its declared shape.
        if let Item::Declare { role: Role::In, names, shape, .. } = item {
            let mut numbers = Numbers::default();
            numbers.known.insert("width".into(), Setting::Number(WITNESS_WIDTH as f64));
            for (name, default) in &decl.settings {
                if let Ok(value) = numbers.eval(default) {
                    numbers.known.insert(name.text.clone(), value);
                }
            }
            let scope = Scope { numbers, ..Scope::default() };
            let Some(axes) = maker.axes(shape, &scope) else { continue };
            let sizes: Vec<usize> = axes.iter().map(|a| a.size).collect();
            for (name, _) in names {
                let node = Node {
                    kind: Kind::Embed,
                    label: name.text.clone(),
                    inputs: vec![],
                    params: vec![],
                    outputs: vec![],
                    gives: vec![],
                };
                let id = maker.graph.add(node, &[(sizes.clone(), false)])[0];
                let value = maker.stream(id, axes.clone());
                given.insert(name.text.clone(), Bound::Tensor(value));
            }
        }
    }
    let numbers = Numbers::default();
    maker.mixer(decl, x, given, &numbers, decl.name.text.clone(), decl.name.span);
    diags.append(&mut maker.diags);
}

/// Copies the pointwise program below a value.
struct Cut<'m, 'n> {
    maker: &'m Maker<'n>,
    root: Value,
    b: Builder,
    inputs: Vec<ValueId>,
    params: Vec<ParamId>,
    new: HashMap<Value, Value>,
}

impl Cut<'_, '_> {
    fn input(&mut self, id: ValueId) -> usize {
        match self.inputs.iter().position(|known| *known == id) {
            Some(at) => at,
            None => {
                self.inputs.push(id);
                self.inputs.len() - 1
            }
        }
    }

    fn copy(&mut self, value: Value) -> Value {
        if let Some(&done) = self.new.get(&value) {
            return done;
        }
        let node = self.maker.b.node(value).clone();
        let made = match (&node.op, self.maker.made.get(&value)) {
            (_, Some(&id)) if value != self.root => {
                let at = self.input(id);
                self.b.leaf(Leaf::Read(Stream::Input(at), Int::T), &node.shape)
            }
            (Op::Leaf(Leaf::Read(Stream::Input(id), at)), _) => {
                let slot = self.input(ValueId(*id));
                self.b.leaf(Leaf::Read(Stream::Input(slot), at.clone()), &node.shape)
            }
            (Op::Leaf(Leaf::Param(id)), _) => {
                let slot = match self.params.iter().position(|known| known.0 == *id) {
                    Some(slot) => slot,
                    None => {
                        self.params.push(ParamId(*id));
                        self.params.len() - 1
                    }
                };
                self.b.leaf(Leaf::Param(slot), &node.shape)
            }
            _ => {
                let args = node.args.iter().map(|arg| self.copy(*arg)).collect();
                self.b.span = node.span;
                self.b.raw(node.op.clone(), args, node.shape.clone())
            }
        };
        self.new.insert(value, made);
        made
    }
}

/// One call of a recurrence with its arguments in declared order.
struct RecurrenceCall<'c, 'n> {
    maker: &'c mut Maker<'n>,
    decl: &'c Decl,
    signature: &'c Signature,
    settings: BTreeMap<String, Setting>,
    given: Vec<(Named, Span)>,
}

impl RecurrenceCall<'_, '_> {
    fn run(mut self, scope: &Scope) -> Tried<Bound> {
        let mut sizes: BTreeMap<String, Dim> = BTreeMap::new();
        let mut front: Vec<Dim> = Vec::new();
        let slots: Vec<_> =
            self.signature.variables.iter().filter(|v| v.role != Role::State).cloned().collect();
        for (variable, (named, span)) in slots.iter().zip(&self.given.clone()) {
            let own = variable.shape.axes.len() + usize::from(variable.count.is_some());
            if named.axes.len() < own {
                let want: Vec<String> = variable.shape.axes.iter().map(print::expr).collect();
                let message = format!(
                    "`{}` of `{}` has axes [{}] behind the heads",
                    variable.name,
                    self.decl.name.text,
                    want.join(", ")
                );
                return self.maker.fail(Diag::error("E0202", *span, message));
            }
            let (heads, rest) = named.axes.split_at(named.axes.len() - own);
            if heads.len() > front.len() {
                front = heads.to_vec();
            }
            let rest = &rest[own - variable.shape.axes.len()..];
            for (axis, dim) in variable.shape.axes.iter().zip(rest) {
                self.bind(axis, dim, &mut sizes, *span)?;
            }
        }
        let mut given = self.settings.clone();
        for (name, dim) in &sizes {
            given.insert(name.clone(), Setting::Number(dim.size as f64));
        }
        let heads: usize = front.iter().map(|a| a.size).product();
        given.insert("heads".into(), Setting::Number(heads as f64));
        for name in ["layer", "layers"] {
            if let Some(x) = scope.numbers.known.get(name) {
                given.insert(name.into(), *x);
            }
        }
        let mut found = Vec::new();
        let Some(recurrence) = elaborate(self.decl, &given, &mut found) else {
            self.maker.diags.extend(found);
            return None;
        };
        let mut recur = Recur { heads, input_heads: vec![], param_heads: vec![], recurrence };
        let mut inputs = Vec::new();
        let mut params = Vec::new();
        for (variable, (named, span)) in slots.iter().zip(std::mem::take(&mut self.given)) {
            let (value, own) = self.operand(
                &front,
                named,
                span,
                variable.shape.axes.len() + usize::from(variable.count.is_some()),
            )?;
            if variable.role == Role::In {
                inputs.push(self.maker.settle(value, &scope.label(), true));
                recur.input_heads.push(own);
            } else {
                let id = self.maker.settle(value, &scope.label(), false);
                if !self.maker.graph.value(id).once {
                    return self.maker.fail(Diag::error(
                        "E0205",
                        span,
                        format!(
                            "`{}` is a parameter: it must be the same for all tokens",
                            variable.name
                        ),
                    ));
                }
                params.push(id);
                recur.param_heads.push(own);
            }
        }
        let out = recur.recurrence.outs[0].clone();
        let shapes: Vec<(Vec<usize>, bool)> = recur
            .recurrence
            .outs
            .iter()
            .map(|o| ([&[heads], o.shape.as_slice()].concat(), false))
            .collect();
        inputs.extend(params);
        let node = Node {
            kind: Kind::Recur(Box::new(recur)),
            label: scope.label(),
            inputs,
            params: vec![],
            outputs: vec![],
            gives: vec![],
        };
        let id = self.maker.graph.add(node, &shapes)[0];
        let own = out.axes.iter().zip(&out.shape).map(|(text, n)| match sizes.get(text) {
            Some(dim) => dim.clone(),
            None => Dim::new(*n, text.as_str()),
        });
        let axes: Vec<Dim> = front.into_iter().chain(own).collect();
        Some(Bound::Tensor(self.maker.stream(id, axes)))
    }

    fn bind(
        &mut self,
        axis: &Expr,
        dim: &Dim,
        sizes: &mut BTreeMap<String, Dim>,
        span: Span,
    ) -> Tried<()> {
        let Some(name) = axis.as_name().filter(|n| self.signature.sizes.iter().any(|s| s == n))
        else {
            return Some(());
        };
        match sizes.get(name) {
            Some(known) if known.size != dim.size => {
                let message = format!(
                    "`{name}` of `{}` is {} ({}) here and {} ({}) elsewhere",
                    self.decl.name.text, dim.size, dim.text, known.size, known.text
                );
                self.maker.fail(Diag::error("E0202", span, message))
            }
            Some(_) => Some(()),
            None => {
                sizes.insert(name.to_string(), dim.clone());
                Some(())
            }
        }
    }

    /// An argument whose heads are the first axes of the call, and how many there are.
    fn operand(
        &mut self,
        front: &[Dim],
        named: Named,
        span: Span,
        own: usize,
    ) -> Tried<(Value, usize)> {
        let (heads, rest) = named.axes.split_at(named.axes.len() - own);
        let prefix = heads.iter().zip(front).all(|(a, b)| a.text == b.text && a.size == b.size);
        if prefix {
            return Some((named.value, heads.iter().map(|a| a.size).product()));
        }
        // Heads that are not the first axes are repeated along the others.
        let sound =
            heads.iter().all(|a| front.iter().any(|b| a.text == b.text && a.size == b.size));
        if !sound {
            let texts: Vec<String> =
                front.iter().map(|a| format!("{} = {}", a.text, a.size)).collect();
            return self.maker.fail(
                Diag::error(
                    "E0202",
                    span,
                    format!("the heads of this call are [{}]", texts.join(", ")),
                )
                .label(format!(
                    "has [{}]",
                    heads
                        .iter()
                        .map(|a| format!("{} = {}", a.text, a.size))
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
            );
        }
        let shape: Vec<usize> = front
            .iter()
            .map(|b| if heads.iter().any(|a| a.text == b.text) { b.size } else { 1 })
            .chain(rest.iter().map(|a| a.size))
            .collect();
        let full: Vec<usize> = front.iter().chain(rest).map(|a| a.size).collect();
        let value = self.maker.b.reshape(named.value, &shape);
        let value = self.maker.b.expand(value, &full);
        Some((value, front.iter().map(|a| a.size).product()))
    }
}
