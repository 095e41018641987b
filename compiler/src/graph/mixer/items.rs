//! The lines of a mixer: what it declares, and its equations.

use crate::tile::Number;
use std::collections::BTreeMap;

use lrc_dsl::ast::{Attr, Decl, Item, Name, Role, Shape};
use lrc_dsl::{Diag, Span, print};

use super::{Bound, GraphBuilder, Scope, Tried};
use crate::elaborate::Dim;
use crate::elaborate::signature::numbers_in;
use crate::graph::pointwise::Named;
use crate::graph::{Init, Param};

impl GraphBuilder<'_> {
    /// Refuses names of a mixer that are set twice: the later one would count in silence.
    pub(super) fn set_once(&mut self, decl: &Decl) {
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
    pub(super) fn declares(
        &mut self,
        decl: &Decl,
        scope: &mut Scope,
        given: &mut BTreeMap<String, Bound>,
    ) {
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
            number: Number::F32,
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

    pub(super) fn axes(&mut self, shape: &Shape, scope: &Scope) -> Tried<Vec<Dim>> {
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
    pub(super) fn sound(&mut self, axes: &[Dim], span: Span) -> Tried<()> {
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

    pub(super) fn item(&mut self, item: &Item, scope: &mut Scope, result: &mut Option<Named>) {
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
            Item::Vocab(e) | Item::Embed(e) | Item::Residual(e) | Item::Head { value: e, .. } => {
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
