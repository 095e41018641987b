//! P6 and P7: what is to be written is written whole, and before it is read.

use super::Wrong;
use crate::plan::index::Ix;
use crate::plan::{
    Access, Buffer, BufferId, Condition, Dim, Element, Expr, Grid, Kernel, Loop, Over, Role,
    Schedule, Side, Step, Stmt, Target,
};

pub fn check(schedule: &Schedule, wrong: &mut Wrong) {
    for (at, buffer) in schedule.buffers.iter().enumerate() {
        let id = BufferId(at);
        let whole: Vec<bool> =
            schedule.kernels.iter().map(|kernel| writes_whole(kernel, buffer, id)).collect();
        match buffer.role {
            Role::Argument if buffer.access == Access::Write => {
                wrong.say(7, format!("{} is given, and written", buffer.name));
            }
            Role::Argument => {}
            Role::Result if !buffer.starts_at_zero && !whole.contains(&true) => {
                wrong.say(6, format!("{} is not written whole", buffer.name));
            }
            Role::Result => {}
            // What is added up begins as zeros.
            Role::Temporary if buffer.starts_at_zero => {}
            Role::Saved if !whole.contains(&true) => {
                wrong.say(7, format!("{} is not written whole", buffer.name));
            }
            Role::Saved | Role::Temporary => {
                for (kernel, k) in schedule.kernels.iter().enumerate() {
                    if reads(k, id) && !whole[..kernel].contains(&true) {
                        let what = "is read before a kernel has written it whole";
                        wrong.say(7, format!("{} {what}: {}", buffer.name, k.name));
                    }
                }
            }
        }
    }
}

fn reads(kernel: &Kernel, id: BufferId) -> bool {
    let copied = |step: &&Step| matches!(step, Step::Copy { from, .. } if from.buffer == id);
    let mut found = kernel.steps().iter().any(copied);
    for value in kernel.steps().into_iter().filter_map(Step::value) {
        value.walk(&mut |e| {
            found |= matches!(e, Expr::Buffer(element) if element.buffer == id);
        });
    }
    found
}

/// The tokens of which a step sees one each in its rows.
#[derive(Clone, Copy)]
struct Tokens {
    side: Side,
    count: usize,
}

/// Whether a step of the kernel writes every element that the kernel's blocks have together.
fn writes_whole(kernel: &Kernel, buffer: &Buffer, id: BufferId) -> bool {
    let own = match &kernel.grid {
        Grid::Pairs { own, .. } => Some(Tokens { side: *own, count: kernel.chunk }),
        Grid::Chunks => Some(Tokens { side: Side::Queries, count: kernel.chunk }),
        Grid::Heads | Grid::Rows => None,
    };
    covered(kernel, &kernel.body, buffer, id, own, None)
}

fn covered(
    kernel: &Kernel,
    body: &[Stmt],
    buffer: &Buffer,
    id: BufferId,
    tokens: Option<Tokens>,
    around: Option<Over>,
) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Step(step) => step_covers(kernel, step, buffer, id, tokens, around),
        Stmt::Given(given, body) => {
            *given == id && covered(kernel, body, buffer, id, tokens, around)
        }
        Stmt::Loop(Loop { over, body }) => {
            let tokens = match over {
                Over::Chunks { tokens, .. } => Tokens { side: Side::Queries, count: *tokens },
                Over::Groups { rows, .. } => Tokens { side: Side::Queries, count: *rows },
                // A block meets only some blocks of the other side.
                Over::Blocks { .. } => return false,
            };
            covered(kernel, body, buffer, id, Some(tokens), Some(*over))
        }
    })
}

fn step_covers(
    kernel: &Kernel,
    step: &Step,
    buffer: &Buffer,
    id: BufferId,
    tokens: Option<Tokens>,
    around: Option<Over>,
) -> bool {
    let (Step::Map { sizes, to, .. }
    | Step::Product { sizes, to, .. }
    | Step::Reduce { sizes, to, .. }) = step
    else {
        return false;
    };
    let Target::Buffer(element, when) = to else { return false };
    if element.buffer != id {
        return false;
    }
    let outer = buffer.dims.iter().all(|dim| match dim {
        Dim::Chunks { every } => {
            matches!(around, Some(Over::Chunks { tokens, .. }) if tokens == *every)
                || kernel.grid == Grid::Chunks && kernel.chunk == *every
        }
        Dim::Sequences => kernel.grid == Grid::Heads,
        _ => true,
    });
    let inside =
        when.iter().all(|when| matches!(when, Condition::Inside(..) | Condition::FirstPart));
    outer && inside && covers(kernel, buffer, element, sizes, tokens)
}

/// Whether the rows and the places of an element take all values over a loop.
fn covers(
    kernel: &Kernel,
    buffer: &Buffer,
    element: &Element,
    sizes: &[usize],
    tokens: Option<Tokens>,
) -> bool {
    let mut lengths = buffer.value();
    if let Some(n) = element.split.and_then(|axis| lengths.get_mut(axis)) {
        *n /= kernel.parts;
    }
    let mut index: Vec<&Ix> = element.index.iter().collect();
    if let Some(token) = &element.row {
        let Some(Tokens { side, count }) = tokens else { return false };
        let own = if token.at.binds(0) { Side::Keys } else { Side::Queries };
        if own != side || !token.is_certain() {
            return false;
        }
        index.push(&token.row);
        lengths.push(count);
    }
    let mut axes = Vec::new();
    let whole = index.iter().zip(&lengths).all(|(i, n)| match (i.as_axis(), i.as_number()) {
        (_, Some(0)) => *n == 1,
        (Some(axis), _) => {
            axes.push(axis);
            sizes[axis] == *n
        }
        _ => false,
    });
    axes.sort_unstable();
    let distinct = axes.windows(2).all(|pair| pair[0] != pair[1]);
    whole && distinct
}
