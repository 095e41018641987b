//! Sums that are no work for the matrix units, and other terms put together.

use super::Lower;
use super::product::count;
use super::tiles::{WARP, axes_of, new_tile};
use crate::plan::{Expr, Number, Reduction, Step, Target, Tile, TileId};
use crate::tile::{Binary, Unary, Value, size};

impl Lower<'_> {
    /// A step that puts terms together; where there are fewer results than threads, warps share them. Where
    /// there are fewer than warps, the terms along the last axis come first.
    fn gather(
        &mut self,
        sizes: &[usize],
        over: &[usize],
        reduction: Reduction,
        value: Expr,
        to: Target,
    ) {
        let (sizes, over) = (sizes.to_vec(), over.to_vec());
        let terms = count(&sizes, &over);
        if let ([first @ .., last], true) =
            (over.as_slice(), size(&sizes) / terms < self.choice.warps)
            && count(&sizes, first) > 1
        {
            let mut shape = sizes.clone();
            shape[*last] = 1;
            let name = "terms of a sum".to_string();
            let partial = new_tile(&mut self.tiles, name, Number::F32, &shape);
            let index = axes_of(&shape);
            let between = Target::Tile(partial, index.clone());
            self.gather(&sizes, &[*last], reduction, value, between);
            return self.gather(&shape, first, reduction, Expr::Tile(partial, index), to);
        }
        let alone = size(&sizes) / terms >= self.choice.threads() || terms < WARP;
        let lanes = if alone { 1 } else { WARP };
        let group = 1;
        self.steps.push(Step::Reduce { sizes, over, reduction, lanes, group, value, to });
    }

    /// The largest entry along an axis, and what the exponentials relative to it add up to.
    pub fn exponentials(&mut self, of: Value, axis: usize) -> [TileId; 2] {
        let x = self.tile(of);
        let sizes = self.program.shape(of).to_vec();
        let mut shape = sizes.clone();
        shape[axis] = 1;
        let fresh = |tiles: &mut Vec<Tile>, what: &str| {
            new_tile(tiles, format!("{what} of %{}", of.0), Number::F32, &shape)
        };
        let peak = fresh(&mut self.tiles, "largest");
        let sum = fresh(&mut self.tiles, "sum of exponentials");
        let entry = Expr::Tile(x, axes_of(&sizes));
        let relative = Expr::Weight(Box::new([entry.clone(), Expr::Tile(peak, axes_of(&shape))]));
        for (reduction, value, tile) in
            [(Reduction::Largest, entry, peak), (Reduction::Sum, relative, sum)]
        {
            self.gather(&sizes, &[axis], reduction, value, Target::Tile(tile, axes_of(&shape)));
        }
        [peak, sum]
    }

    /// A sum that is no work for the matrix units.
    pub(super) fn reduce(&mut self, of: Value, over: &[usize], tile: TileId) {
        let node = self.program.node(of).clone();
        let mut sizes = self.program.shape(node.args[0]).to_vec();
        for arg in &node.args {
            for (n, own) in sizes.iter_mut().zip(self.program.shape(*arg)) {
                *n = (*n).max(*own);
            }
        }
        let index = axes_of(&sizes);
        let terms: Vec<Expr> = node
            .args
            .iter()
            .map(|&arg| {
                let index = self.repeated(arg, &index);
                self.closed(arg, &index, &sizes)
            })
            .collect();
        let value = match <[Expr; 2]>::try_from(terms) {
            Ok(both) => Expr::Mul(Box::new(both)),
            Err(mut one) => one.remove(0),
        };
        let value = self.term_seen(of, over, value, &index, &sizes);
        let to = Target::Tile(tile, axes_of(&node.shape));
        self.gather(&sizes, over, Reduction::Sum, value, to);
    }
}

/// `largest + log(sum)`.
pub fn log_of([peak, sum]: [TileId; 2], shape: &[usize], to: TileId) -> Step {
    let index = axes_of(shape);
    let log = Expr::Unary(Unary::Log, Box::new(Expr::Tile(sum, index.clone())));
    let value = Expr::Binary(Binary::Add, Box::new([Expr::Tile(peak, index.clone()), log]));
    Step::map(shape, value, Target::Tile(to, index))
}
