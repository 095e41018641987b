//! The program of a pair of blocks with its gradient, cut at what passes between kernels.

use super::super::buffer::{name_apart, numbers};
use super::super::chunk::buffers::{arguments, input_grad, out_grads, outs, param_grad};
use super::super::lower::around_quotients;
use super::super::{Binding, Buffer, Dim, Pass, Role};
use super::KEYS;
use crate::chunk::attention::{Target as Gradient, gradient, pair_program};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::tile::split::piece;
use crate::tile::{Builder, Node, Op, Program, Value};

/// The program of a pair of blocks with its gradient, and what passes between kernels.
pub struct Derived {
    /// All of it.
    pub program: Program,
    /// The outputs.
    pub outputs: Vec<Value>,
    /// Gradients, and what each belongs to.
    pub gradients: Vec<(Value, Gradient)>,
    /// Values gathered over keys on the way forward that the way back needs.
    pub forward: Vec<Value>,
    /// Values gathered over keys on the way back that gradients of keys need.
    pub backward: Vec<Value>,
    /// Which products read their operands in two pieces; a pass over keys sees its own part of the program only.
    pub whole: Vec<bool>,
}

/// Whether a node gathers over an axis of the pair.
pub fn gathers(program: &Program, node: &Node, axis: usize) -> bool {
    let over = match &node.op {
        Op::Sum(over) | Op::MulSum(over) => over.contains(&axis),
        Op::LogSumExp(over) => *over == axis,
        _ => false,
    };
    over && node.args.iter().any(|arg| program.shape(*arg)[axis] > 1)
}

impl Derived {
    /// Derives it for blocks of so many tokens.
    pub fn new(r: &Recurrence, queries: usize, keys: usize) -> Result<Derived, Refusal> {
        let mut b = Builder::extending(pair_program(r, queries, keys)?);
        let (outputs, forward_nodes) = (b.program.outputs.clone(), b.program.nodes.len());
        let found = gradient(&mut b);
        let program = b.program;
        let gathered = |value: Value| gathers(&program, program.node(value), KEYS);
        let early = |value: Value| value.at() < forward_nodes && gathered(value);
        let forward = piece(&program, &found.values, &early).kept;
        let gradients: Vec<(Value, Gradient)> =
            found.values.into_iter().zip(found.targets).collect();
        let of_keys: Vec<Value> = gradients
            .iter()
            .filter(|(_, target)| matches!(target, Gradient::Key(_)))
            .map(|(value, _)| *value)
            .collect();
        let mut backward = piece(&program, &of_keys, &gathered).kept;
        // What the way forward gathers it leaves itself.
        backward.retain(|value| value.at() >= forward_nodes);
        let whole = around_quotients(&program);
        Ok(Derived { program, outputs, gradients, forward, backward, whole })
    }
}

/// The arguments of a pass, in order.
pub fn buffers(r: &Recurrence, pass: Pass, derived: &Derived) -> Vec<Buffer> {
    let mut all = arguments(r);
    let saved = |values: &[Value], first: usize, role: Role| -> Vec<Buffer> {
        let named = values.iter().zip(first..);
        let one = |(value, at): (&Value, usize)| {
            let axes = numbers(&derived.program.shape(*value)[1..]);
            let dims = [Dim::Rows, Dim::Heads].into_iter().chain(axes).collect();
            Buffer::new(&format!("saved_{at}"), Binding::Saved(at), role, dims)
        };
        named.map(one).collect()
    };
    if pass == Pass::Backward {
        all.extend(out_grads(r));
        all.extend(saved(&derived.forward, 0, Role::Argument));
        all.extend(saved(&derived.backward, derived.forward.len(), Role::Temporary));
        all.extend((0..r.inputs.len()).map(|i| input_grad(r, i)));
        let jobs = Dim::Jobs { kernel: 0 };
        all.extend((0..r.params.len()).map(|i| param_grad(r, i).summed(vec![jobs])));
    } else {
        all.extend(outs(r));
        all.extend(saved(&derived.forward, 0, Role::Saved).into_iter().map(Buffer::optional));
    }
    name_apart(&mut all);
    all
}
