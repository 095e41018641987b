//! Functions of mixers with parameters of their own: dense products, convolutions, norms.

use lrc_dsl::ast::BinaryOp;
use lrc_dsl::{Diag, Span, print};

use super::functions::Call;
use super::product::Product;
use super::{Bound, GraphBuilder, Tried};
use crate::elaborate::Dim;
use crate::graph::pointwise::{self, Named};
use crate::graph::{Init, Kind, Node, Param};
use crate::tile::{Leaf, Number, Value, size};

impl GraphBuilder<'_> {
    /// The axis named by `each = a`.
    pub(super) fn each(&self, call: &Call) -> Option<String> {
        let arg = call.args.iter().find(|a| a.name.as_ref().is_some_and(|n| n.text == "each"))?;
        Some(print::expr(&arg.value))
    }

    pub(super) fn linear(&mut self, call: &Call) -> Tried<Bound> {
        let Call { name, expected, scope, .. } = *call;
        let Some(out) = expected else {
            return self.fail(
                Diag::error("E0205", name.span, "how wide `linear` is must be written on the left")
                    .help(format!(
                        "`{} : [size] = linear(…)`; inside another call it gets a line of its own",
                        scope.target
                    )),
            );
        };
        let out = out.to_vec();
        let x = self.first(&call.alone())?;
        if self.experts.is_some() {
            return self.expert_linear(call, &x, &out);
        }
        let each = self.each(call);
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
        let label = scope.label();
        let of = Product {
            name: label.clone(),
            kind: Kind::Dense { groups },
            several: each.map(|_| (groups, out[0].clone())),
            inner: x_axes.iter().map(|a| a.size).product(),
            outer: out_axes.iter().map(|a| a.size).product(),
            inputs: vec![self.settle(x.value, &label, true)],
            axes: out,
            span: name.span,
        };
        let product = self.product(&of, &label)?;
        Some(Bound::Tensor(self.biased(call, product, "bias")?))
    }

    /// Adds a learned vector where a call says `bias = true`; it is called `NAME.what`, and starts at 0.
    fn biased(&mut self, call: &Call, x: Named, what: &str) -> Tried<Named> {
        if !self.truth_arg(call, "bias")? {
            return Some(x);
        }
        let Call { scope, span, .. } = *call;
        let bias = self.norm_param(&scope.path, &scope.target, what, 0.0, &x.axes, span)?;
        pointwise::binary(&mut self.b, BinaryOp::Add, &x, &bias)
    }

    /// `positions(n)`: a learned vector for each of the first `n` positions of a sequence.
    pub(super) fn positions(&mut self, call: &Call) -> Tried<Bound> {
        let Call { name, expected, scope, args, .. } = *call;
        self.outside_experts("positions", name.span)?;
        let Some(axes) = expected else {
            let help = format!("`{} : [size] = positions(n)`", scope.target);
            let message = "how wide `positions` is must be written on the left";
            return self.fail(Diag::error("E0205", name.span, message).help(help));
        };
        let count = match args.first().map(|arg| scope.numbers.size(&arg.value)) {
            Some(Ok(count)) => count,
            Some(Err(diag)) => return self.fail(*diag),
            None => {
                let message = "`positions` needs their number";
                return self
                    .fail(Diag::error("E0205", name.span, message).help("`positions(1024)`"));
            }
        };
        let (axes, shape) = (axes.to_vec(), axes.iter().map(|a| a.size).collect::<Vec<_>>());
        let param = Param {
            name: format!("{}.{}.positions.weight", scope.path, scope.target),
            shape: [&[count], shape.as_slice()].concat(),
            init: Init::Normal(0.0, 0.02),
            decay: true,
            f32: false,
            number: Number::F32,
        };
        let table = self.param(param, name.span)?;
        let node = Node { params: vec![table], ..Node::plain(Kind::Place, scope.label(), vec![]) };
        let id = self.graph.add(node, &[(shape, false)])[0];
        Some(Bound::Tensor(self.stream(id, axes)))
    }

    /// A causal convolution over tokens, each channel by itself.
    pub(super) fn conv(&mut self, call: &Call) -> Tried<Bound> {
        let Call { name, expected, scope, .. } = *call;
        self.outside_experts("conv", name.span)?;
        let x = self.first(call)?;
        let taps = self.number_arg(call, 1, "taps", 4.0)?;
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
            number: Number::F32,
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
        let filtered = Named { value: sum?, axes: x.axes };
        Some(Bound::Tensor(self.biased(call, filtered, "conv.bias")?))
    }

    /// `rmsnorm(x)`, `layernorm(x)` over the last axis with learned weights; `each = a` gives every
    /// entry of axis `a` its own.
    pub(super) fn norm(&mut self, call: &Call) -> Tried<Bound> {
        let Call { name, scope, .. } = *call;
        self.outside_experts(&name.text, name.span)?;
        let x = self.first(call)?;
        let Some(last) = x.axes.last().cloned() else {
            return self.fail(Diag::error("E0202", name.span, "a scalar cannot be normalised"));
        };
        let each = self.each(call);
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
        let eps = self.eps(call)?;
        let normal = Named { value: pointwise::rms(&mut self.b, centred, eps), axes: x.axes };
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
            number: Number::F32,
        };
        let id = self.param(param, span)?;
        Some(self.param_value(id, axes.to_vec()))
    }
}
