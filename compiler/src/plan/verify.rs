//! Checks a plan on its own: tiles lie inside their memory, expressions inside their tiles, and no
//! two steps meet without a barrier between them.

use super::index::Ix;
use super::place::touched;
use super::{
    Condition, Dim, Element, Expr, Kernel, Number, Place, Schedule, Section, Step, Target, Tile,
};

/// What is wrong with a schedule; nothing if it is sound.
pub fn verify(schedule: &Schedule, room: usize) -> Vec<String> {
    schedule.kernels.iter().flat_map(|kernel| verify_kernel(schedule, kernel, room)).collect()
}

fn verify_kernel(schedule: &Schedule, kernel: &Kernel, room: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    if kernel.shared > room {
        wrong.push(format!("{} bytes of shared memory where {room} exist", kernel.shared));
    }
    for (name, Section { steps, .. }) in kernel.sections.iter().enumerate() {
        let (mut reads, mut writes) = (vec![], vec![]);
        for (at, step) in steps.iter().enumerate() {
            if *step == Step::Barrier {
                (reads, writes) = (vec![], vec![]);
                continue;
            }
            let mut say = |what: String| wrong.push(format!("section {name}, step {at}: {what}"));
            check_step(schedule, kernel, step, &mut say);
            let (r, w) = touched(&kernel.tiles, step);
            for (new, old) in [(&r, &writes), (&w, &writes), (&w, &reads)] {
                for a in new {
                    if old.iter().any(|b| a.meets(b)) {
                        say(format!("{a:?} is touched before a barrier"));
                    }
                }
            }
            reads.extend(r);
            writes.extend(w);
        }
    }
    wrong
}

fn check_step(schedule: &Schedule, kernel: &Kernel, step: &Step, say: &mut dyn FnMut(String)) {
    for id in step.reads().into_iter().chain(step.writes()) {
        let tile = kernel.tile(id);
        match tile.place {
            None => say(format!("{} has no place", tile.name)),
            Some(Place::Shared(at)) if at + tile.bytes > kernel.shared => {
                say(format!("{} ends outside shared memory", tile.name));
            }
            Some(Place::Working(at)) if at + tile.bytes > kernel.working => {
                say(format!("{} ends outside the working memory", tile.name));
            }
            Some(Place::Working(_)) if tile.number == Number::Bf16 => {
                say(format!("operand {} lies outside shared memory", tile.name));
            }
            _ => {}
        }
    }
    let (Step::Map { sizes, .. } | Step::Reduce { sizes, .. } | Step::Product { sizes, .. }) = step
    else {
        return;
    };
    match step.target() {
        Some(Target::Tile(id, index)) => check_index(kernel.tile(*id), index, sizes, say),
        Some(Target::Buffer(element)) => check_element(schedule, kernel, element, sizes, say),
        None => {}
    }
    // Elements behind a condition are read only where it holds.
    let mut stack: Vec<&Expr> = step.value().into_iter().collect();
    while let Some(e) = stack.pop() {
        match e {
            Expr::Tile(id, index) => check_index(kernel.tile(*id), index, sizes, say),
            Expr::Buffer(element) => check_element(schedule, kernel, element, sizes, say),
            Expr::Where(Condition::FirstPart, of) => stack.extend(of.iter()),
            Expr::Where(Condition::Less(..) | Condition::Equal(..), _) => {}
            Expr::Unary(_, x) => stack.push(x),
            Expr::Binary(_, of) | Expr::Mul(of) | Expr::Weight(of) => stack.extend(of.iter()),
            Expr::Given(_, of) => stack.extend(of.iter()),
            Expr::Select(of) => stack.extend(of.iter()),
            _ => {}
        }
    }
}

fn check_index(tile: &Tile, index: &[Ix], sizes: &[usize], say: &mut dyn FnMut(String)) {
    check(&tile.name, &tile.shape, index, sizes, say);
}

fn check_element(
    schedule: &Schedule,
    kernel: &Kernel,
    element: &Element,
    sizes: &[usize],
    say: &mut dyn FnMut(String),
) {
    let buffer = schedule.buffer(element.buffer);
    if buffer.dims.contains(&Dim::Rows) != element.row.is_some() {
        say(format!("{} is read at a row that it lacks, or at none", buffer.name));
    }
    let mut shape = buffer.value();
    if let Some(n) = element.split.and_then(|axis| shape.get_mut(axis)) {
        *n /= kernel.parts;
    }
    check(&buffer.name, &shape, &element.index, sizes, say);
}

fn check(name: &str, shape: &[usize], index: &[Ix], sizes: &[usize], say: &mut dyn FnMut(String)) {
    if index.len() != shape.len() {
        return say(format!("{name} has {} axes, not {}", shape.len(), index.len()));
    }
    for (i, n) in index.iter().zip(shape) {
        let (low, high) = i.range(sizes);
        if low < 0 || high >= *n as i64 {
            say(format!("{name}: index {low}..={high} of {n}"));
        }
    }
}
