//! How many kernels and dense products a step of training starts, counted from its plans.

use lrc_compiler::graph::{Kind, Node, Recur};
use lrc_compiler::plan::{Binding, Buffer, Dim, Pass, Schedule};

/// What blocks of the loss start: rows taken and put back, three products, the cross-entropy, and the
/// factors of rows twice.
const LOSS: usize = 8;
/// The square of the gradient in two kernels, and the update, for each group of parameters.
const UPDATE: usize = 3;

/// Of a step of one sequence that runs as one part and whose asked rows fit a block of logits, by an
/// optimiser that treats so many groups of parameters apart, and of a model with so many losses of its own;
/// `pointwise` gives the schedule of a pointwise node, `of_pass` that of a pass of a recurrence. `None` where
/// something has no kernels.
pub(super) fn launches<'k>(
    nodes: &[&Node],
    [groups, losses]: [usize; 2],
    pointwise: impl Fn(usize) -> Option<&'k Schedule>,
    of_pass: impl Fn(usize, Pass) -> Option<&'k Schedule>,
) -> Option<usize> {
    let mut all = UPDATE * groups + losses;
    for (at, node) in nodes.iter().enumerate() {
        all += match &node.kind {
            Kind::Sum => node.inputs.len() - 1,
            Kind::Loss => LOSS,
            Kind::Recur(recur) => recurrence(recur, of_pass(at, Pass::Forward)?),
            Kind::RowsGrad(_) => pointwise(at)?.launches(&extent, &|_| 1, &|_| true),
            Kind::RecurGrad { of, .. } => match &nodes[of.index()].kind {
                Kind::Recur(recur) => recurrence(recur, of_pass(of.index(), Pass::Backward)?),
                _ => return None,
            },
            _ => 1,
        };
    }
    Some(all)
}

/// Axes that hold partial results of a step of one sequence have one of them, or several.
fn extent(dim: &Dim) -> usize {
    match dim {
        Dim::Parts(n) => *n,
        Dim::Jobs { .. } => 2,
        _ => 1,
    }
}

/// The kernels of a pass of a recurrence, and those that add up what they leave in several places.
fn recurrence(recur: &Recur, schedule: &Schedule) -> usize {
    let share = |buffer: &Buffer| match buffer.binding {
        Binding::InputGrad(i) => recur.heads / recur.input_heads[i],
        Binding::ParamGrad(i) => recur.heads / recur.param_heads[i],
        _ => 1,
    };
    // Nobody asks for gradients of states before the first token.
    let asked = |buffer: &Buffer| !matches!(buffer.binding, Binding::InitialGrad(_));
    // Subheads add up in a kernel of their own.
    schedule.launches(&extent, &share, &asked) + usize::from(recur.sum > 1)
}
