//! Sums that are no work for the matrix units, and other terms put together.

use super::Lower;
use super::product::count;
use super::tiles::{WARP, axes_of, new_tile};
use crate::plan::index::Ix;
use crate::plan::{Expr, Number, Reduction, Step, Target, Tile, TileId};
use crate::tile::{Binary, Unary, Value, size};

/// Results side by side that a thread makes together.
const NEIGHBOURS: usize = 4;

impl Lower<'_> {
    /// A step that puts terms together; where there are fewer results than threads, or terms lie along the last axis, warps
    /// share them. Where there are fewer than warps, the terms along the last axis come first.
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
        // Terms that lie side by side are for lanes that do.
        let along = sizes.iter().rposition(|n| *n > 1).is_some_and(|last| over.contains(&last));
        let enough = size(&sizes) / terms >= self.choice.threads() && !along;
        let lanes = if enough || terms < WARP { 1 } else { WARP };
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
        let to = Target::Tile(tile, axes_of(&node.shape));
        if let Some(pieces) = self.pieces(&sizes, over) {
            return self.in_pieces(of, pieces, &sizes, to);
        }
        let index = axes_of(&sizes);
        let value = self.terms(of, &index, &sizes);
        let value = self.term_seen(of, over, value, &index, &sizes);
        self.gather(&sizes, over, Reduction::Sum, value, to);
    }

    /// What a sum adds up, at an index of a loop.
    fn terms(&mut self, of: Value, index: &[Ix], sizes: &[usize]) -> Expr {
        let args = self.program.node(of).args.clone();
        let terms = args.iter().map(|&arg| {
            let index = self.repeated(arg, index);
            self.closed(arg, &index, sizes)
        });
        match <[Expr; 2]>::try_from(terms.collect::<Vec<_>>()) {
            Ok(both) => Expr::Mul(Box::new(both)),
            Err(mut one) => one.remove(0),
        }
    }

    /// How many pieces of each column of a sum over rows are added up apart. Lanes that share a column would read numbers
    /// that lie a row apart, all from the same bank.
    fn pieces(&self, sizes: &[usize], over: &[usize]) -> Option<usize> {
        let [rows, columns @ ..] = sizes else { return None };
        let columns = size(columns);
        if over != [0] || *rows < WARP || !columns.is_multiple_of(WARP) {
            return None;
        }
        let most = self.choice.threads() * NEIGHBOURS / columns;
        let pieces = (2..=most).filter(|n| n.is_power_of_two() && rows.is_multiple_of(*n));
        pieces.max()
    }

    /// A sum over rows: first over so many pieces of them, then over these.
    fn in_pieces(&mut self, of: Value, pieces: usize, sizes: &[usize], to: Target) {
        let [rows, columns @ ..] = sizes else { return };
        let each = rows / pieces;
        let loops = [&[pieces, each], columns].concat();
        let axes = axes_of(&loops);
        let row = axes[0].times(each as i64).plus(&axes[1]);
        let index = [&[row], &axes[2..]].concat();
        let value = self.terms(of, &index, &loops);
        let shape = [&[pieces], columns].concat();
        let partial = new_tile(&mut self.tiles, "pieces of a sum".to_string(), Number::F32, &shape);
        let between = Target::Tile(partial, [&axes[..1], &axes[2..]].concat());
        self.gather(&loops, &[1], Reduction::Sum, value, between);
        let value = Expr::Tile(partial, axes_of(&shape));
        self.gather(&shape, &[0], Reduction::Sum, value, to);
    }
}

/// `largest + log(sum)`.
pub fn log_of([peak, sum]: [TileId; 2], shape: &[usize], to: TileId) -> Step {
    let index = axes_of(shape);
    let log = Expr::Unary(Unary::Log, Box::new(Expr::Tile(sum, index.clone())));
    let value = Expr::Binary(Binary::Add, Box::new([Expr::Tile(peak, index.clone()), log]));
    Step::map(shape, value, Target::Tile(to, index))
}
