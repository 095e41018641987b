//! Sizes from the shapes of given tensors.

use std::collections::BTreeMap;

use lrc_compiler::elaborate::signature::Numbers;
use lrc_compiler::elaborate::{Setting, Signature};
use lrc_dsl::Diag;
use lrc_dsl::ast::{Decl, Expr, Role};

use super::fitted::Shapes;
use super::io::NAME;

/// What settings are: as given, or as declared.
pub(super) fn numbers(
    decl: &Decl,
    settings: &BTreeMap<String, Setting>,
) -> BTreeMap<String, Setting> {
    let declared = Numbers::default();
    let defaults = decl.settings.iter();
    let mut known: BTreeMap<String, Setting> = defaults
        .filter_map(|(name, default)| Some((name.text.clone(), declared.eval(default).ok()?)))
        .collect();
    known.extend(settings.clone());
    known
}

/// Binds sizes, batch, tokens and heads from the shapes of the tensors.
pub(super) struct Binder<'a> {
    pub(super) signature: &'a Signature,
    pub(super) shapes: &'a Shapes,
    pub(super) given: BTreeMap<String, Setting>,
    pub(super) counts: BTreeMap<String, Setting>,
    pub(super) batch: Option<usize>,
    pub(super) tokens: Option<usize>,
    pub(super) heads: Option<usize>,
    pub(super) diags: Vec<Diag>,
}

impl<'a> Binder<'a> {
    pub(super) fn new(
        decl: &Decl,
        signature: &'a Signature,
        shapes: &'a Shapes,
        settings: &BTreeMap<String, Setting>,
    ) -> Self {
        let counts = numbers(decl, settings);
        Binder {
            signature,
            shapes,
            given: settings.clone(),
            counts,
            batch: None,
            tokens: None,
            heads: None,
            diags: Vec::new(),
        }
    }

    pub(super) fn bind_all(&mut self) {
        for variable in self.signature.variables.iter().filter(|v| v.role != Role::State) {
            let Some(shape) = self.shapes.get(&variable.name) else {
                let known = self.shapes.keys().map(String::as_str).filter(|n| n.len() <= NAME);
                let message = format!("the tensor `{}` is missing", variable.name);
                self.diags.push(Diag::global("E0301", message).help_nearest(
                    &variable.name,
                    "there are",
                    known,
                ));
                continue;
            };
            let front = if variable.role == Role::In { 2 } else { 0 };
            let axes = &variable.shape.axes;
            let rank = shape.len();
            if rank != front + axes.len() && rank != front + axes.len() + 1 {
                self.wrong_rank(&variable.name, variable.role, axes, shape);
                continue;
            }
            if variable.role == Role::In {
                let count = variable.count.as_ref().map_or(1, |c| self.count(c));
                self.same("sequences", &variable.name, shape[0], |s| &mut s.batch);
                if shape[1] % count != 0 {
                    let message = format!(
                        "`{}` has {} rows, which {count} per token does not divide",
                        variable.name, shape[1]
                    );
                    self.diags.push(Diag::global("E0302", message));
                }
                self.same("tokens", &variable.name, shape[1] / count, |s| &mut s.tokens);
            }
            if rank == front + axes.len() + 1 {
                self.head(shape[front]);
            }
            for (axis, size) in axes.iter().zip(&shape[rank - axes.len()..]) {
                self.axis(&variable.name, axis, *size);
            }
        }
        self.check_heads();
    }

    pub(super) fn count(&self, expr: &Expr) -> usize {
        let numbers = Numbers { known: self.counts.clone() };
        numbers.size(expr).unwrap_or(1)
    }

    pub(super) fn same(
        &mut self,
        what: &str,
        name: &str,
        got: usize,
        slot: impl Fn(&mut Self) -> &mut Option<usize>,
    ) {
        let want = *slot(self).get_or_insert(got);
        if want != got {
            let message = format!("`{name}` has {got} {what}, tensors before it have {want}");
            let diag = Diag::global("E0302", message);
            self.diags.push(diag.help("inputs are [B, T, H, …]: all share B and T"));
        }
    }

    pub(super) fn head(&mut self, got: usize) {
        self.heads = Some(self.heads.map_or(got, |h| h.max(got)));
    }

    pub(super) fn check_heads(&mut self) {
        let heads = self.heads.unwrap_or(1);
        for variable in self.signature.variables.iter().filter(|v| v.role != Role::State) {
            let Some(shape) = self.shapes.get(&variable.name) else { continue };
            let front = if variable.role == Role::In { 2 } else { 0 };
            if shape.len() == front + variable.shape.axes.len() + 1 {
                let own = shape[front];
                if own == 0 || !heads.is_multiple_of(own) {
                    let message = format!(
                        "`{}` has {own} heads, which does not divide the {heads} of other tensors",
                        variable.name
                    );
                    self.diags.push(Diag::global("E0302", message));
                }
            }
        }
    }

    pub(super) fn axis(&mut self, name: &str, axis: &Expr, got: usize) {
        let Some(size) = axis.as_name() else { return };
        if !self.signature.sizes.iter().any(|s| s == size) {
            return;
        }
        match self.given.get(size) {
            Some(Setting::Number(want)) if *want != got as f64 => {
                let message =
                    format!("`{name}` has {got} entries along `{size}`, which is {want} elsewhere");
                self.diags.push(Diag::global("E0302", message));
            }
            _ => {
                self.given.insert(size.to_string(), Setting::Number(got as f64));
            }
        }
    }

    pub(super) fn wrong_rank(&mut self, name: &str, role: Role, axes: &[Expr], shape: &[usize]) {
        let mut want: Vec<String> = Vec::new();
        if role == Role::In {
            want.extend(["B".into(), "T".into()]);
        }
        want.push("H".into());
        want.extend(axes.iter().map(lrc_dsl::print::expr));
        let message = format!(
            "`{name}` has shape {shape:?}, expected [{}] (H may be left out)",
            want.join(", ")
        );
        self.diags.push(Diag::global("E0302", message));
    }
}
