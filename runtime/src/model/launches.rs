//! How many kernels and dense products a step of training starts, counted from its plans.

use lrc_compiler::graph::{Kind, Node, Recur};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Buffer, Family, Grid, Kernel, Pass, Target};

/// What blocks of the loss start: rows taken and put back, three products, the cross-entropy.
const LOSS: usize = 6;
/// The square of the gradient in two kernels, and the update.
const UPDATE: usize = 3;

/// Of a step of one sequence that runs as one part and whose asked rows fit a block of logits;
/// `pointwise` gives the kernel of a pointwise node. `None` where something has no kernels.
pub(super) fn launches<'k>(
    nodes: &[&Node],
    gpu: Gpu,
    pointwise: impl Fn(usize) -> Option<&'k Kernel>,
) -> Option<usize> {
    let mut all = UPDATE;
    for (at, node) in nodes.iter().enumerate() {
        all += match &node.kind {
            Kind::Sum => node.inputs.len() - 1,
            Kind::Loss => LOSS,
            // Subheads add up in a kernel of their own.
            Kind::Recur(recur) => 1 + usize::from(recur.sum > 1),
            Kind::RowsGrad(_) => {
                let kernel = pointwise(at)?;
                1 + kernel.buffers.iter().filter(|buffer| is_partial(kernel, **buffer)).count()
            }
            Kind::RecurGrad { of, .. } => match &nodes[of.index()].kind {
                Kind::Recur(recur) => backward(recur, gpu)? + usize::from(recur.sum > 1),
                _ => return None,
            },
            _ => 1,
        };
    }
    Some(all)
}

/// Whether blocks of rows leave partial sums in a buffer, which a kernel of its own adds up.
fn is_partial(kernel: &Kernel, buffer: Buffer) -> bool {
    let of_part = |to: &Target| matches!(to, Target::Part(part) if part.buffer == buffer);
    let summed = || kernel.steps().filter_map(|step| step.target()).any(of_part);
    match buffer {
        Buffer::ParamGrad(_) => true,
        Buffer::InputGrad(_) => summed(),
        _ => false,
    }
}

/// The kernels of a recurrence's gradient, and those that add up what they leave in several places.
fn backward(recur: &Recur, gpu: Gpu) -> Option<usize> {
    let r = &recur.recurrence;
    let family = Family::of(r).ok()?;
    let passes = family.passes().into_iter();
    let back = passes.filter(|pass| matches!(pass, Pass::Backward | Pass::Keys));
    let kernels: Vec<Kernel> =
        back.map(|pass| family.kernel(r, pass, gpu, None).ok()).collect::<Option<_>>()?;
    let mut seen = Vec::new();
    let mut all = kernels.len();
    for kernel in &kernels {
        for &buffer in &kernel.buffers {
            // Blocks of tokens each have a sum of their own, and so has each part of a head.
            let blocks = usize::from(!matches!(kernel.grid, Grid::Heads));
            let (share, several) = match buffer {
                Buffer::InputGrad(i) => {
                    (recur.heads / recur.input_heads[i], kernel.slabs(buffer) > 1)
                }
                Buffer::ParamGrad(i) => {
                    (recur.heads / recur.param_heads[i], kernel.slabs(buffer) + blocks > 1)
                }
                _ => continue,
            };
            if seen.contains(&buffer) {
                continue;
            }
            seen.push(buffer);
            let shared = kernels.iter().filter(|k| k.buffers.contains(&buffer)).count() > 1;
            all += match (share > 1, several) {
                (true, true) => 2,
                (false, false) => usize::from(shared),
                _ => 1,
            };
        }
    }
    Some(all)
}
