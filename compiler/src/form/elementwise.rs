//! Programs that treat every number alone, such as the update of an optimiser: run in place over
//! vectors of any length.

use rayon::prelude::*;

use crate::chunk::pointwise::lifted;
use crate::interpret::{Machine, Plan};
use crate::num::prefetch;
use crate::tile::{Leaf, Program, Stream};

/// Numbers at a time: what the program makes of them fits the nearest cache.
const BLOCK: usize = 1024;
/// Numbers of a task.
const SHARE: usize = 1 << 15;

/// A planned program of single numbers: input `i` is a vector, parameter `i` a number, and output `i`
/// takes the place of input `i`.
#[derive(Clone, Debug)]
pub struct Elementwise {
    plan: Plan,
}

impl Elementwise {
    /// Plans a program whose inputs, parameters and outputs have no axes.
    pub fn new(program: &Program) -> Elementwise {
        let inputs = program.leaves().filter_map(|(_, leaf, _)| match leaf {
            Leaf::Read(Stream::Input(i), _) => Some(i + 1),
            _ => None,
        });
        let once = vec![false; inputs.max().unwrap_or(0)];
        let (b, outputs) = lifted(program, BLOCK, &once, false);
        Elementwise { plan: Plan::lending(&b.finish(&outputs), &|_| true) }
    }

    /// Updates the first inputs, as many as there are outputs, and reads the others.
    pub fn run(&self, state: Vec<&mut [f32]>, given: &[&[f32]], numbers: &[f32]) {
        let length = state.first().map_or(0, |first| first.len());
        let mut tasks: Vec<(usize, Vec<&mut [f32]>)> =
            (0..length).step_by(SHARE).map(|first| (first, vec![])).collect();
        for part in state {
            for ((_, task), part) in tasks.iter_mut().zip(part.chunks_mut(SHARE)) {
                task.push(part);
            }
        }
        tasks.into_par_iter().for_each_init(
            || Machine::new(&self.plan),
            |machine, (first, mut state)| {
                let count = state.first().map_or(0, |part| part.len());
                for at in (0..count).step_by(BLOCK) {
                    let end = count.min(at + BLOCK);
                    // A program reads one vector after the other: without this each would wait for memory alone.
                    let soon = end..count.min(end + BLOCK);
                    state.iter().for_each(|data| prefetch(&data[soon.clone()]));
                    for data in given {
                        prefetch(&data[first + soon.start..first + soon.end]);
                    }
                    let given = given.iter().map(|data| &data[first + at..first + end]);
                    self.block(machine, &mut state, at..end, &given.collect::<Vec<_>>(), numbers);
                }
            },
        );
    }

    fn block(
        &self,
        machine: &mut Machine<f32>,
        state: &mut [&mut [f32]],
        part: std::ops::Range<usize>,
        given: &[&[f32]],
        numbers: &[f32],
    ) {
        let full = part.len() == BLOCK;
        let input = |i: usize| match state.get(i) {
            Some(data) => &data[part.clone()],
            None => given[i - state.len()],
        };
        let lend = |leaf: &Leaf| match leaf {
            Leaf::Read(Stream::Input(i), _) => full.then(|| input(*i)),
            Leaf::Param(i) => Some(&numbers[*i..=*i]),
            _ => None,
        };
        self.plan.run_lent(machine, 0, &[], &lend, &mut |leaf, _, to| {
            if let Leaf::Read(Stream::Input(i), _) = leaf {
                // Padding repeats a number, so that every number stays ordinary.
                let data = input(*i);
                to[..data.len()].copy_from_slice(data);
                to[data.len()..].fill(data[0]);
            }
        });
        for (index, data) in state.iter_mut().enumerate().take(self.plan.outputs()) {
            let made = self.plan.output(machine, index);
            data[part.clone()].copy_from_slice(&made[..part.len()]);
        }
    }
}
