//! Neighbouring heads as one wide head.
//!
//! Heads lie next to each other in the rows, so a recurrence whose tensors have an axis of heads in
//! front reads the same memory with fewer, wider heads: rows are long enough for the processor.

use super::{Operand, Problem};
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::{Slot, Update};
use crate::tile::lift::lift_token;
use crate::tile::{Builder, Leaf, Program, Stream, Value, size};

/// Numbers of a row that are enough.
const ROW: usize = 128;

/// How many heads to take together: a divisor of the heads, at most so many if given; 1 where some input is shared by some
/// heads only, where a token has several rows of it, or where a head asks for its number.
pub fn lanes<R>(problem: &Problem<R>, most: Option<usize>) -> usize {
    let r = problem.recurrence;
    let operands = problem.inputs.iter().chain(&problem.params);
    let plain = operands.clone().all(|o| o.heads == 1 || o.heads == problem.heads)
        && r.inputs.iter().all(|slot| slot.count.is_none());
    let asks = |program: &Program| program.leaves().any(|(_, leaf, _)| *leaf == Leaf::Head);
    if !plain || problem.sum != 1 || asks(&r.token) || asks(&r.init) {
        return 1;
    }
    let width = r.states.iter().map(|slot| size(&slot.shape)).max().unwrap_or(1);
    let most = most.unwrap_or(ROW / width.max(1)).clamp(1, problem.heads);
    (1..=most).rev().find(|lanes| problem.heads.is_multiple_of(*lanes)).unwrap_or(1)
}

/// The recurrence of so many heads at once; an operand that all heads share stays as it is.
pub fn widen<R>(problem: &Problem<R>, lanes: usize) -> Recurrence {
    let r = problem.recurrence;
    // A count of values per token stays the first axis.
    if lanes == 1 {
        return r.clone();
    }
    let own = |operands: &[Operand<R>]| -> Vec<usize> {
        let shared = |o: &Operand<R>| o.heads == 1 && problem.heads > 1;
        operands.iter().map(|o| if shared(o) { 1 } else { lanes }).collect()
    };
    let (inputs, params) = (own(&problem.inputs), own(&problem.params));
    let lead = |leaf: &Leaf| match leaf {
        Leaf::Read(Stream::Input(i), _) => inputs[*i],
        Leaf::Param(i) => params[*i],
        Leaf::Number(_) => 1,
        _ => lanes,
    };
    // Values of updates are results while the program is pruned.
    let lifted = |program: &Program, more: &[Value]| -> Program {
        let mut b = Builder::new();
        let mut leaf = |b: &mut Builder, leaf: &Leaf, shape: &[usize]| {
            b.leaf(leaf.clone(), &[&[lead(leaf)], shape].concat())
        };
        let new = lift_token(&mut b, program, &mut leaf);
        let outputs: Vec<Value> = program
            .outputs
            .iter()
            .chain(more)
            .map(|value| b.expand(new[value.at()], &[&[lanes], program.shape(*value)].concat()))
            .collect();
        b.finish(&outputs)
    };
    let values: Vec<Value> = r.updates.iter().map(|update| update.value).collect();
    let mut token = lifted(&r.token, &values);
    let results = r.token.outputs.len();
    let updates = r.updates.iter().zip(&token.outputs[results..]);
    let updates: Vec<Update> =
        updates.map(|(old, value)| Update { value: *value, version: *value, ..*old }).collect();
    token.outputs.truncate(results);
    let wide = |slots: &[Slot], lead: &dyn Fn(usize) -> usize| -> Vec<Slot> {
        let each = slots.iter().enumerate();
        each.map(|(i, slot)| {
            let shape = [&[lead(i)], slot.shape.as_slice()].concat();
            Slot { shape, ..slot.clone() }
        })
        .collect()
    };
    Recurrence {
        inputs: wide(&r.inputs, &|i| inputs[i]),
        params: wide(&r.params, &|i| params[i]),
        states: wide(&r.states, &|_| lanes),
        outs: wide(&r.outs, &|_| lanes),
        token,
        init: lifted(&r.init, &[]),
        updates,
        ..r.clone()
    }
}

/// The problem of the wide recurrence, on the same memory.
pub fn problem<'a, R: Copy>(
    problem: &'a Problem<'a, R>,
    wide: &'a Recurrence,
    lanes: usize,
) -> Problem<'a, R> {
    let fewer = |operands: &[Operand<'a, R>]| -> Vec<Operand<'a, R>> {
        let heads = |o: &Operand<R>| if o.heads == 1 { 1 } else { o.heads / lanes };
        operands.iter().map(|o| Operand { data: o.data, heads: heads(o) }).collect()
    };
    Problem {
        recurrence: wide,
        heads: problem.heads / lanes,
        sum: 1,
        bounds: problem.bounds.clone(),
        inputs: fewer(&problem.inputs),
        params: fewer(&problem.params),
        initial: problem.initial.clone(),
    }
}
