//! The backward kernel of a recurrence in the normal form.

use super::super::cut::{flows as flow, zero};
use super::super::lower::axes_of;
use super::super::value_split::{ValueSplit, Whole};
use super::super::{Binding, Expr, Kernel, Step, Target, TileId};
use super::maker::{Maker, States, replace, tile, write};
use super::shares::Made;
use crate::chunk::gradient::Wrt;
use crate::grad::by_leaves;
use crate::tile::{Builder, Leaf, Stream};

/// Whether each row of an input's gradient comes from the row's own token only.
pub(super) fn once(all: &[Wrt], input: usize) -> bool {
    let mut of_input = all.iter().filter_map(|wrt| match wrt {
        Wrt::Input(i, at) if *i == input => Some(at.lag() == Some(0)),
        _ => None,
    });
    of_input.next() == Some(true) && of_input.next().is_none()
}

impl Maker<'_> {
    /// Chunk by chunk from the last, given the states that enter each one; `wrt` says what the results of the
    /// gradient are that the body is a share of.
    pub(super) fn backward(mut self, wrt: &[Wrt]) -> Kernel {
        let r = self.r;
        let shapes: Vec<Vec<usize>> = (0..r.states.len()).map(|k| self.state(k)).collect();
        let flows: Vec<TileId> = (0..r.states.len())
            .map(|k| self.carried(format!("gradient of {}", r.states[k].name), &shapes[k]))
            .collect();
        let params: Vec<(Vec<usize>, TileId)> = (0..r.params.len())
            .map(|i| {
                let shape = self.param(i);
                let id = self.carried(format!("gradient of {}", r.params[i].name), &shape);
                (shape, id)
            })
            .collect();
        let states = States { carry: vec![], gradient: flows.clone() };
        let mut before = Vec::new();
        for (k, shape) in shapes.iter().enumerate() {
            let index = axes_of(shape);
            let given = self.cut().own(Binding::FinalGrad(k), Whole::State(k), &index);
            let value = self.cut().once(Whole::State(k), flow(given));
            before.push(Step::map(shape, value, tile(flows[k], shape)));
        }
        for (shape, id) in &params {
            before.push(Step::map(shape, zero(), tile(*id, shape)));
        }
        let mut each = Vec::new();
        if self.buffers.iter().any(|buffer| matches!(buffer.binding, Binding::BoundaryGrad(_))) {
            each.extend(self.copies(&flows, &shapes, Binding::BoundaryGrad));
        }
        each.extend(self.chunk_gradient(wrt, &states, &params, &shapes));
        let mut after = self.init_gradient(&states, &params);
        after.extend(self.copies(&flows, &shapes, Binding::InitialGrad));
        for (i, (shape, id)) in params.iter().enumerate() {
            let index = axes_of(shape);
            let cut = self.cut();
            let to = cut.store(cut.own(Binding::ParamGrad(i), Whole::Param(i), &index));
            after.push(Step::map(shape, Expr::Tile(*id, index), to));
        }
        self.kernel(true, [before, each, after])
    }

    /// All chunks at once, given what flows into the states behind each one.
    pub(super) fn backward_of_chunks(mut self, wrt: &[Wrt]) -> Kernel {
        let states = States { carry: vec![], gradient: vec![] };
        let steps = self.chunk_gradient(wrt, &states, &[], &[]);
        self.at_once(steps)
    }

    fn chunk_gradient(
        &mut self,
        all: &[Wrt],
        states: &States,
        params: &[(Vec<usize>, TileId)],
        shapes: &[Vec<usize>],
    ) -> Vec<Step> {
        let next = self.next("next gradient of", shapes);
        let mut started = vec![false; next.len()];
        let (ValueSplit { program, axis, .. }, made) = (self.body.clone(), self.made.clone());
        let rounded = self.rounded();
        let mut each = self.lower(&program, &axis, states, &rounded, |lower, cut| {
            for (&output, made) in program.outputs.iter().zip(&made) {
                let shape = program.shape(output);
                let index = axes_of(shape);
                let result = match made {
                    Made::Kept(i) => {
                        write(lower, cut, output, Whole::Kept(*i));
                        continue;
                    }
                    Made::Result(k) => &all[*k],
                };
                match result {
                    Wrt::Carry(k) => {
                        let again = std::mem::replace(&mut started[*k], true);
                        lower.write_tile(output, next[*k], again);
                    }
                    Wrt::Param(i) => {
                        let rows = shape.len() - params[*i].0.len();
                        let to = Target::Tile(params[*i].1, index[rows..].to_vec());
                        lower.write(output, &index, shape, to, true);
                    }
                    Wrt::Input(i, at) => {
                        let to = cut.store(cut.input_grad(*i, at, &index));
                        lower.write(output, &index, shape, to, !once(all, *i));
                    }
                }
            }
        });
        for (k, started) in started.iter().enumerate() {
            if !started {
                each.push(Step::map(&shapes[k], zero(), tile(next[k], &shapes[k])));
            }
        }
        replace(&mut each, &states.gradient, &next, shapes);
        each
    }

    /// Where no state was given, the declared one may come from parameters.
    fn init_gradient(&mut self, states: &States, params: &[(Vec<usize>, TileId)]) -> Vec<Step> {
        let ValueSplit { program, axis, .. } = self.init.clone();
        let mut b = Builder::extending(program.clone());
        let outputs = program.outputs.iter().enumerate();
        let seeds = outputs.map(|(k, &output)| (output, Leaf::Cotangent(Stream::State(k))));
        let found = by_leaves(&mut b, seeds, |leaf| match leaf {
            Leaf::Param(i) => Some(*i),
            _ => None,
        });
        let program = b.finish(&found.values);
        self.lower(&program, &axis, states, &[], |lower, _| {
            for (&output, &i) in program.outputs.iter().zip(&found.targets) {
                lower.write_tile(output, params[i].1, true);
            }
        })
    }
}
