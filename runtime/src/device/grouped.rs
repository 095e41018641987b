//! Products by expert: the host reads who sits where, and each expert's rows are one product.

use std::rc::Rc;

use super::accelerator::Accelerator;
use super::backend::Backend;
use super::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::experts;
use lrc_compiler::tile::Number;

/// The slots of each expert.
pub(super) type Seats = Rc<Vec<Vec<u32>>>;

/// Why steps of models with experts are not replayed.
const EXPERTS: &str =
    "the host reads who sits with which expert, and starts products of as many rows";

impl Accelerator {
    /// The slots of each expert, in order: read once for all products of the numbers that were routed last.
    fn seats(&mut self, ids: Tensor, experts: usize) -> Result<Seats, Failure> {
        if let Some((_, known)) = self.seats.iter().find(|(routed, _)| *routed == ids) {
            return Ok(Rc::clone(known));
        }
        self.store.fall_out(EXPERTS)?;
        let mut seats = vec![Vec::new(); experts];
        for (at, id) in self.store.get(ids)?.into_iter().enumerate().filter(|(_, id)| *id >= 0.0) {
            seats[id as usize].push(at as u32);
        }
        let seats = Rc::new(seats);
        self.seats.push((ids, Rc::clone(&seats)));
        Ok(seats)
    }

    /// The rows of each expert are gathered, multiplied as one matrix and put back.
    pub(super) fn by_expert(
        &mut self,
        kind: Dense,
        to: Tensor,
        [a, b]: [Tensor; 2],
        ids: Tensor,
        sizes: experts::Sizes,
    ) -> Result<(), Failure> {
        let [inner, outer] = sizes.shape;
        let seats = self.seats(ids, sizes.experts)?;
        // Sums over slots are rounded once.
        let whole = to;
        let to = match (kind, whole.number) {
            (Dense::GradInput, Number::Bf16) => {
                self.store.take("gradient of slots", whole.words)?
            }
            _ => whole,
        };
        if !kind.adds() {
            self.store.clear(to)?;
        }
        let tokens = |seats: &[u32]| -> Vec<u32> {
            let token = |seat: &u32| if sizes.own { *seat } else { *seat / sizes.slots as u32 };
            seats.iter().map(token).collect()
        };
        for (e, seats) in seats.iter().enumerate().filter(|(_, seats)| !seats.is_empty()) {
            let rows = seats.len();
            let one = Sizes { rows, groups: 1, shape: [inner, outer] };
            let matrix = |all: Tensor| all.part(e * inner * outer, inner * outer);
            let x = self.store.take("rows of an expert", rows * inner)?;
            let y = self.store.take("rows of an expert", rows * outer)?;
            match kind {
                Dense::Forward => {
                    self.gather(x, a, &tokens(seats), inner)?;
                    self.dense(kind, y, [x, matrix(b)], one)?;
                    self.scatter(to, y, seats, outer)?;
                }
                Dense::GradInput => {
                    self.gather(y, a, seats, outer)?;
                    self.dense(kind, x, [y, matrix(b)], one)?;
                    self.collect(to, x, &tokens(seats), inner)?;
                }
                Dense::GradWeight => {
                    self.gather(x, a, &tokens(seats), inner)?;
                    self.gather(y, b, seats, outer)?;
                    self.dense(kind, matrix(to), [x, y], one)?;
                }
            }
            self.store.give(x);
            self.store.give(y);
        }
        if to != whole {
            self.convert(whole, to)?;
            self.store.give(to);
        }
        Ok(())
    }
}
