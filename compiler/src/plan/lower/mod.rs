//! From a tile program to the steps of a block of threads.
//!
//! Problem: a program has hundreds of nodes; a step for each would write and read shared memory for
//! every addition.
//!
//! Idea: the value of an element is an expression over its index, found by following the program
//! backwards: views change the index, elementwise operations nest. Only what is dear or used again
//! becomes a tile. A matrix product whose result is used once is left open: the expression that uses
//! it is computed where the product leaves its sums, in the threads' registers, and products that
//! are added up share those registers.

mod masked;
mod product;
mod quotients;
mod scan;
mod sums;
mod tiles;
mod values;

use std::collections::BTreeSet;

pub use product::is_matrix;
pub use quotients::{around_quotients, is_inverse, products_of, whole};
pub use sums::log_of;
pub use tiles::{FRAGMENT, WARP, axes_of, new_tile};

use super::cut::{one, zero};
use super::index::{Ix, flat, unflat};
use super::space::{Choice, Unit};
use super::{Condition, Expr, Number, Operand, ScanOp, Step, Target, Tile, TileId};
use crate::normal::Refusal;
use crate::tile::mask::Mask;
use crate::tile::{Binary, Leaf, Op, Program, Value, Versions};
use product::{Open, adds_sum};
use scan::scan;
pub use values::{behind_views, heavy, is_view};
use values::{materialised, multiplicity};

/// Gives the expression for an element of a leaf.
pub type LeafExpr<'a> = &'a dyn Fn(&Leaf, &[usize], &[Ix]) -> Expr;

/// Tiles and steps of a kernel while they are made.
pub struct Lower<'a> {
    program: &'a Program,
    leaf: LeafExpr<'a>,
    /// The tiles of the kernel.
    pub tiles: Vec<Tile>,
    /// The steps so far.
    pub steps: Vec<Step>,
    made: Vec<Option<TileId>>,
    kept: Vec<bool>,
    uses: Vec<usize>,
    operands: Vec<(Value, Vec<Ix>, TileId)>,
    /// Of operands in two pieces: the tile of the first, and that of what it leaves.
    rests: Vec<(TileId, TileId)>,
    /// Which products read their operands in two pieces.
    pub whole: Vec<bool>,
    /// Which leaves bf16 holds whole: nothing is left of them.
    pub exact: Vec<bool>,
    /// What products read as operands, behind views.
    shared: BTreeSet<Value>,
    /// What of each value is excluded, where tokens are kept apart.
    masks: Vec<Option<Mask>>,
    choice: Choice,
}

/// The steps that `write` makes of a program, with the tiles that the kernel has so far; `rounded` are results
/// that are written in bf16.
pub fn steps(
    program: &Program,
    rounded: &[Value],
    choice: Choice,
    tiles: &mut Vec<Tile>,
    leaf: LeafExpr,
    write: impl FnOnce(&mut Lower),
) -> Vec<Step> {
    let mut lower = Lower::new(program, rounded, choice, std::mem::take(tiles), leaf);
    write(&mut lower);
    *tiles = lower.tiles;
    lower.steps
}

/// Refuses a program with an operation that no kernel computes.
pub fn plannable(program: &Program) -> Result<(), Refusal> {
    let stuck = program.nodes.iter().find_map(|node| {
        let what = match node.op {
            Op::Largest(_) => "it chooses the largest entries",
            Op::Past(_) => "it sums over the past",
            _ => return None,
        };
        Some(Refusal { span: node.span, why: format!("{what}, for which there are no kernels") })
    });
    stuck.map_or(Ok(()), Err)
}

impl<'a> Lower<'a> {
    /// Starts with the tiles that the kernel has already.
    fn new(
        program: &'a Program,
        rounded: &[Value],
        choice: Choice,
        tiles: Vec<Tile>,
        leaf: LeafExpr<'a>,
    ) -> Lower<'a> {
        let n = program.nodes.len();
        let whole = whole(program);
        let shares = |at: usize| {
            choice.unit == Unit::Mma && !whole[at] && is_matrix(program, Value(at as u32))
        };
        let products: Vec<bool> = (0..n).map(shares).collect();
        let operands = |at: usize| program.nodes[at].args.iter().copied();
        let shared = (0..n).filter(|at| products[*at]).flat_map(operands);
        let shared: BTreeSet<Value> = shared.map(|arg| behind_views(program, arg)).collect();
        // What products read is written as they read it.
        let alone = |value: &&Value| {
            !rounded.contains(value) || !shared.contains(&behind_views(program, **value))
        };
        let results: Vec<Value> = program.outputs.iter().filter(alone).copied().collect();
        let kept = materialised(program, &results, &products);
        let uses = multiplicity(program, &results, &kept, &products);
        let made = vec![None; n];
        let (steps, operands, rests) = (vec![], vec![], vec![]);
        Lower {
            program,
            leaf,
            tiles,
            steps,
            made,
            kept,
            uses,
            operands,
            rests,
            whole,
            exact: vec![false; n],
            shared,
            masks: vec![None; n],
            choice,
        }
    }

    /// Computes a value at the elements that `index` gives over a loop of the given sizes.
    pub fn write(&mut self, value: Value, index: &[Ix], sizes: &[usize], to: Target, add: bool) {
        let mut open = Open::new(true);
        let expr = self.expr(value, index, sizes, &mut open);
        match open.axes {
            None => self.map(sizes, expr, to, add),
            Some(axes) => self.multiply(sizes, axes, open.terms, expr, to, add),
        }
    }

    /// The same of a matrix that is written in bf16: where products read it, as their operand holds it.
    pub fn write_rounded(&mut self, value: Value, to: Target) {
        let shape = self.shape(value).to_vec();
        let index = axes_of(&shape);
        if shape.len() != 2 || !self.shared.contains(&behind_views(self.program, value)) {
            return self.write(value, &index, &shape, to, false);
        }
        let Operand { tile, transposed } = self.operand(value, &shape, [&[0], &[1]], false);
        let mut at = index;
        if transposed {
            at.swap(0, 1);
        }
        self.steps.push(Step::map(&shape, Expr::Tile(tile, at), to));
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        self.program.shape(value)
    }

    fn map(&mut self, sizes: &[usize], value: Expr, to: Target, add: bool) {
        let whole = |n: &usize| n.next_multiple_of(FRAGMENT);
        let filled =
            if self.fills(&to) { sizes.iter().map(whole).collect() } else { sizes.to_vec() };
        self.steps.push(Step::Map {
            sizes: sizes.to_vec(),
            filled,
            value,
            to,
            rest: None,
            add,
            fragment: None,
            group: 1,
            exchanged: 1,
        });
    }

    /// Computes a whole value into a tile of its shape.
    pub fn write_tile(&mut self, value: Value, tile: TileId, add: bool) {
        let shape = self.program.shape(value).to_vec();
        let index = axes_of(&shape);
        self.write(value, &index, &shape, Target::Tile(tile, index.clone()), add);
    }

    /// The expression of an element that must not hold an open product.
    fn closed(&mut self, value: Value, index: &[Ix], sizes: &[usize]) -> Expr {
        let mut open = Open::new(false);
        self.expr(value, index, sizes, &mut open)
    }

    fn expr(&mut self, value: Value, index: &[Ix], sizes: &[usize], open: &mut Open) -> Expr {
        if let Some(tile) = self.made[value.at()] {
            return Expr::Tile(tile, index.to_vec());
        }
        let node = self.program.node(value).clone();
        if heavy(self.program, value) {
            if let Some(sum) = self.open_product(value, index, sizes, open) {
                return Expr::Sum(sum);
            }
            return Expr::Tile(self.tile(value), index.to_vec());
        }
        if self.kept[value.at()] {
            return Expr::Tile(self.tile(value), index.to_vec());
        }
        if let Some((arg, index)) = self.through_view(value, index, sizes) {
            return self.expr(arg, &index, sizes, open);
        }
        let args = &node.args;
        match &node.op {
            Op::Leaf(leaf) => (self.leaf)(leaf, &node.shape, index),
            Op::Fill(x) => Expr::Number(*x),
            Op::Eye => place(Condition::Equal(index[0].clone(), index[1].clone())),
            Op::Below(v) => below(v, index, sizes),
            Op::Unary(op) => {
                let index = self.repeated(args[0], index);
                Expr::Unary(*op, Box::new(self.expr(args[0], &index, sizes, open)))
            }
            Op::Binary(Binary::Add) => self.sum(args[0], args[1], index, sizes, open),
            Op::Binary(op) => Expr::Binary(*op, self.pair(args, index, sizes, open)),
            Op::MulSum(_) => {
                let product = Expr::Mul(self.pair(args, index, sizes, open));
                self.cleared(value, product, index, sizes)
            }
            Op::Weight => Expr::Weight(self.pair(args, index, sizes, open)),
            Op::Select => {
                let [a, b] = *self.pair(&args[1..], index, sizes, open);
                let at = self.repeated(args[0], index);
                let condition = self.closed(args[0], &at, sizes);
                Expr::Select(Box::new([condition, a, b]))
            }
            Op::Pad(axis, before) => self.pad(args[0], *axis, *before, index, sizes),
            Op::Concat(axis) => self.concat(args, *axis, index, sizes),
            Op::Place(at) => {
                let (mut inside, last) = (index.to_vec(), index.len() - 1);
                inside[last] = Ix::default();
                let x = self.closed(args[0], &inside, sizes);
                let at = Ix::number(at.eval(0, &[]));
                Expr::Where(Condition::Equal(index[last].clone(), at), Box::new([x, zero()]))
            }
            other => unreachable!("{other} is refused before it is planned"),
        }
    }

    /// What a view shows at an element, if the value is a view.
    fn through_view(
        &self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
    ) -> Option<(Value, Vec<Ix>)> {
        let node = self.program.node(value);
        let arg = *node.args.first()?;
        let inner = self.program.shape(arg);
        let index = match &node.op {
            Op::Reshape => unflat(&flat(index, &node.shape), inner, sizes),
            Op::Permute(order) => {
                let mut inside = vec![Ix::default(); order.len()];
                order.iter().zip(index).for_each(|(from, i)| inside[*from] = i.clone());
                inside
            }
            Op::Slice(axis, start) => {
                let mut inside = index.to_vec();
                inside[*axis] = inside[*axis].plus(&Ix::number(*start as i64));
                inside
            }
            Op::Expand => self.repeated(arg, index),
            Op::Alias(_) => index.to_vec(),
            Op::Pick(at) => {
                let mut inside = index.to_vec();
                *inside.last_mut()? = Ix::number(at.eval(0, &[]));
                inside
            }
            _ => return None,
        };
        Some((arg, index))
    }

    /// The index into an argument whose axes of size 1 are repeated.
    fn repeated(&self, arg: Value, index: &[Ix]) -> Vec<Ix> {
        let shape = self.program.shape(arg);
        index
            .iter()
            .zip(shape)
            .map(|(i, n)| if *n == 1 { Ix::default() } else { i.clone() })
            .collect()
    }

    fn pair(
        &mut self,
        args: &[Value],
        index: &[Ix],
        sizes: &[usize],
        open: &mut Open,
    ) -> Box<[Expr; 2]> {
        let (a, b) = (self.repeated(args[0], index), self.repeated(args[1], index));
        let a = self.expr(args[0], &a, sizes, open);
        let b = self.expr(args[1], &b, sizes, open);
        Box::new([a, b])
    }

    /// A sum of two values: products on both sides share their registers.
    fn sum(&mut self, a: Value, b: Value, index: &[Ix], sizes: &[usize], open: &mut Open) -> Expr {
        let (at, bt) = (self.repeated(a, index), self.repeated(b, index));
        let x = self.expr(a, &at, sizes, open);
        if let Some(sum) = adds_sum(&x)
            && self.join_product(b, &bt, sizes, sum, open)
        {
            return x;
        }
        let y = self.expr(b, &bt, sizes, open);
        Expr::Binary(Binary::Add, Box::new([x, y]))
    }

    /// An argument with zeros around it along an axis.
    fn pad(
        &mut self,
        arg: Value,
        axis: usize,
        start: usize,
        index: &[Ix],
        sizes: &[usize],
    ) -> Expr {
        let end = start + self.program.shape(arg)[axis];
        let mut inside = index.to_vec();
        inside[axis] = inside[axis].plus(&Ix::number(-(start as i64)));
        let x = self.closed(arg, &inside, sizes);
        let below = Condition::Less(index[axis].clone(), Ix::number(end as i64));
        let above = Condition::Less(index[axis].clone(), Ix::number(start as i64));
        Expr::Where(above, Box::new([zero(), Expr::Where(below, Box::new([x, zero()]))]))
    }

    fn concat(&mut self, args: &[Value], axis: usize, index: &[Ix], sizes: &[usize]) -> Expr {
        let mut starts = Vec::with_capacity(args.len());
        let mut end = 0;
        for &arg in args {
            starts.push(end);
            end += self.program.shape(arg)[axis];
        }
        let mut whole: Option<Expr> = None;
        for (&arg, &start) in args.iter().zip(&starts).rev() {
            let mut inside = index.to_vec();
            inside[axis] = inside[axis].plus(&Ix::number(-(start as i64)));
            let part = self.closed(arg, &inside, sizes);
            let end = start + self.program.shape(arg)[axis];
            whole = Some(match whole {
                None => part,
                Some(rest) => {
                    let here = Condition::Less(index[axis].clone(), Ix::number(end as i64));
                    Expr::Where(here, Box::new([part, rest]))
                }
            });
        }
        whole.expect("a concatenation has parts")
    }

    /// The f32 tile of a value, made if it is not there yet.
    fn tile(&mut self, value: Value) -> TileId {
        if let Some(tile) = self.made[value.at()] {
            return tile;
        }
        let node = self.program.node(value).clone();
        let tile = match &node.op {
            Op::Solve(transposed) => {
                let a = self.tile(node.args[0]);
                let x = self.fresh(value, &node.shape);
                if !transposed && self.program.node(node.args[1]).op == Op::Eye {
                    self.steps.push(Step::Invert { a, x });
                } else {
                    self.write_tile(node.args[1], x, false);
                    self.steps.push(Step::Solve { a, x, transposed: *transposed });
                }
                x
            }
            Op::LinearSolve(transposed) => {
                let shape = self.program.shape(node.args[0]).to_vec();
                let a = new_tile(
                    &mut self.tiles,
                    format!("matrix of %{}", value.0),
                    Number::F32,
                    &shape,
                );
                let (mut index, last) = (axes_of(&shape), shape.len() - 1);
                if *transposed {
                    index.swap(last - 1, last);
                }
                let to = Target::Tile(a, index);
                self.write(node.args[0], &axes_of(&shape), &shape, to, false);
                let x = self.fresh(value, &node.shape);
                self.write_tile(node.args[1], x, false);
                self.steps.push(Step::LinearSolve { a, x });
                x
            }
            op => match scan(op) {
                Some(op) => self.scan(value, op),
                None => {
                    let tile = self.fresh(value, &node.shape);
                    match (self.matrix(value), op) {
                        (Some(matrix), _) => self.product(value, &matrix, tile),
                        (None, Op::MulSum(over) | Op::Sum(over)) if !over.is_empty() => {
                            self.reduce(value, over, tile);
                        }
                        (None, Op::LogSumExp(axis)) => {
                            let parts = self.exponentials(node.args[0], *axis);
                            self.steps.push(log_of(parts, &node.shape, tile));
                        }
                        _ => {
                            self.kept[value.at()] = false;
                            self.write_tile(value, tile, false);
                        }
                    }
                    tile
                }
            },
        };
        self.made[value.at()] = Some(tile);
        tile
    }

    fn fresh(&mut self, value: Value, shape: &[usize]) -> TileId {
        new_tile(&mut self.tiles, format!("%{}", value.0), Number::F32, shape)
    }

    fn scan(&mut self, value: Value, op: ScanOp) -> TileId {
        let node = self.program.node(value).clone();
        let from: Vec<TileId> = node.args.iter().map(|&arg| self.tile(arg)).collect();
        let shapes: Vec<&[usize]> = node.args.iter().map(|&arg| self.program.shape(arg)).collect();
        let sizes = op.sizes(&shapes, &node.shape);
        let to = self.fresh(value, &node.shape);
        let scratch = op.scratch(sizes).map(|shape| {
            new_tile(&mut self.tiles, format!("scratch of %{}", value.0), Number::F32, &shape)
        });
        self.steps.push(Step::Scan { op, sizes, from, to, scratch });
        to
    }
}

fn place(condition: Condition) -> Expr {
    Expr::Where(condition, Box::new([one(), zero()]))
}

/// 1 at what a row has seen, else 0.
fn below(v: &Versions, index: &[Ix], sizes: &[usize]) -> Expr {
    place(seen(v, index, sizes))
}

/// Whether a row has seen a column.
fn seen(v: &Versions, index: &[Ix], sizes: &[usize]) -> Condition {
    let p = v.offsets.len();
    let offsets: Vec<i64> = v.offsets.iter().map(|o| *o as i64).collect();
    let token = index[0].div(p, sizes).times(v.micro as i64);
    let seen = token.plus(&index[0].rem(p, sizes).entry(&offsets));
    Condition::Less(index[1].clone(), seen)
}
