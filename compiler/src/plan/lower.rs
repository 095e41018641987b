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

use super::index::{Ix, flat, unflat};
use super::{Chain, Condition, Expr, Number, Operand, Reduction, Step, Target, Tile, TileId};
use crate::normal::Refusal;
use crate::tile::{Binary, Leaf, Op, Program, Unary, Value, size};

/// Gives the expression for an element of a leaf.
pub type LeafExpr<'a> = &'a dyn Fn(&Leaf, &[usize], &[Ix]) -> Expr;

/// The work of evaluating an expression again, above which a value becomes a tile.
const DEAR: usize = 6;

/// Rows and columns below which a product is no work for the matrix units.
const MATRIX: usize = 8;

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
    /// Whether products may run on the matrix units, whose operands have 8 bits of precision.
    pub matrix_units: bool,
}

/// Products left open inside the expression of the step that is being made.
struct Open {
    terms: Vec<(Operand, Operand, usize)>,
    axes: Option<[usize; 2]>,
    allowed: bool,
}

/// A `MulSum` as a matrix product: its axes by role.
struct Matrix {
    rows: Vec<usize>,
    cols: Vec<usize>,
    inner: Vec<usize>,
}

fn count(shape: &[usize], axes: &[usize]) -> usize {
    axes.iter().map(|&axis| shape[axis]).product()
}

/// The roles of a product's axes, if it is worth the matrix units.
fn roles(program: &Program, value: Value) -> Option<Matrix> {
    let node = program.node(value);
    let Op::MulSum(over) = &node.op else { return None };
    let (a, b) = (program.shape(node.args[0]), program.shape(node.args[1]));
    let mut matrix = Matrix { rows: vec![], cols: vec![], inner: vec![] };
    for axis in 0..a.len() {
        match (over.contains(&axis), a[axis] > 1, b[axis] > 1) {
            (true, ..) => matrix.inner.push(axis),
            (false, true, true) => return None,
            (false, true, false) => matrix.rows.push(axis),
            (false, false, true) => matrix.cols.push(axis),
            (false, false, false) => {}
        }
    }
    let large = count(a, &matrix.rows) >= MATRIX
        && count(b, &matrix.cols) >= MATRIX
        && count(a, &matrix.inner) >= MATRIX;
    large.then_some(matrix)
}

/// The index into a shape for the element (axis 0, axis 1) of a matrix whose rows and columns are
/// the given axes.
fn matrix_index(shape: &[usize], matrix: [&[usize]; 2]) -> Vec<Ix> {
    let sizes = matrix.map(|axes| count(shape, axes));
    let mut index = vec![Ix::default(); shape.len()];
    for (at, axes) in matrix.into_iter().enumerate() {
        let along: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let parts = unflat(&Ix::axis(at), &along, &sizes);
        axes.iter().zip(parts).for_each(|(axis, i)| index[*axis] = i);
    }
    index
}

/// Adds a tile with the given padding after each row.
pub fn new_tile(tiles: &mut Vec<Tile>, name: String, number: Number, shape: &[usize]) -> TileId {
    let mut strides = vec![1; shape.len()];
    let mut row = shape.last().copied().unwrap_or(1);
    let mut rows = size(&shape[..shape.len().saturating_sub(1)]);
    if number == Number::Bf16 {
        // Whole matrix fragments, and rows that start in different banks.
        row = row.next_multiple_of(FRAGMENT) + BANK_SHIFT;
        rows = rows.next_multiple_of(FRAGMENT);
    }
    let mut stride = row;
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let bytes = rows * row * number.bytes();
    let shape = shape.to_vec();
    tiles.push(Tile { name, number, shape, strides, bytes, lasting: false, place: None });
    TileId(tiles.len() - 1)
}

/// Rows, columns and inner length of a fragment of the matrix units, as tiles are padded to.
pub const FRAGMENT: usize = 16;
/// Numbers between the end of an operand's row and the next.
const BANK_SHIFT: usize = 8;

/// The indices of a loop over a shape.
pub fn axes_of(shape: &[usize]) -> Vec<Ix> {
    shape
        .iter()
        .enumerate()
        .map(|(axis, n)| if *n == 1 { Ix::default() } else { Ix::axis(axis) })
        .collect()
}

/// The steps that `write` makes of a program, with the tiles that the kernel has so far.
pub fn steps(
    program: &Program,
    tiles: &mut Vec<Tile>,
    leaf: LeafExpr,
    write: impl FnOnce(&mut Lower),
) -> Vec<Step> {
    let mut lower = Lower::new(program, std::mem::take(tiles), leaf);
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
    pub fn new(program: &'a Program, tiles: Vec<Tile>, leaf: LeafExpr<'a>) -> Lower<'a> {
        let n = program.nodes.len();
        let none = vec![false; n];
        let kept = dear(program, &multiplicity(program, &none));
        let uses = multiplicity(program, &kept);
        let made = vec![None; n];
        let (steps, operands, rests, matrix_units) = (vec![], vec![], vec![], true);
        let whole = around_quotients(program);
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
            matrix_units,
        }
    }

    /// Computes a value at the elements that `index` gives over a loop of the given sizes.
    pub fn write(&mut self, value: Value, index: &[Ix], sizes: &[usize], to: Target, add: bool) {
        let mut open = Open { terms: vec![], axes: None, allowed: true };
        let expr = self.expr(value, index, sizes, &mut open);
        let sizes = sizes.to_vec();
        self.steps.push(match open.axes {
            None => Step::Map { sizes, value: expr, to, add },
            Some(axes) => Step::Product { sizes, axes, terms: open.terms, value: expr, to, add },
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
        let mut open = Open { terms: vec![], axes: None, allowed: false };
        self.expr(value, index, sizes, &mut open)
    }

    fn expr(&mut self, value: Value, index: &[Ix], sizes: &[usize], open: &mut Open) -> Expr {
        if let Some(tile) = self.made[value.at()] {
            return Expr::Tile(tile, index.to_vec());
        }
        let node = self.program.node(value).clone();
        if heavy(self.program, value) {
            if self.open_product(value, index, sizes, open) {
                return Expr::Sum;
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
            Op::Below(v) => {
                let p = v.offsets.len();
                let offsets: Vec<i64> = v.offsets.iter().map(|o| *o as i64).collect();
                let seen = index[0]
                    .div(p, sizes)
                    .times(v.micro as i64)
                    .plus(&index[0].rem(p, sizes).entry(&offsets));
                place(Condition::Less(index[1].clone(), seen))
            }
            Op::Unary(op) => {
                let index = self.repeated(args[0], index);
                Expr::Unary(*op, Box::new(self.expr(args[0], &index, sizes, open)))
            }
            Op::Binary(Binary::Add) => self.sum(args[0], args[1], index, sizes, open),
            Op::Binary(op) => Expr::Binary(*op, self.pair(args, index, sizes, open)),
            Op::MulSum(_) => Expr::Mul(self.pair(args, index, sizes, open)),
            Op::Weight => Expr::Weight(self.pair(args, index, sizes, open)),
            Op::Select => {
                let [a, b] = *self.pair(&args[1..], index, sizes, open);
                let at = self.repeated(args[0], index);
                let condition = self.closed(args[0], &at, sizes);
                Expr::Select(Box::new([condition, a, b]))
            }
            Op::Pad(axis, before) => {
                let (start, end) = (*before, before + self.program.shape(args[0])[*axis]);
                let mut inside = index.to_vec();
                inside[*axis] = inside[*axis].plus(&Ix::number(-(start as i64)));
                let x = self.closed(args[0], &inside, sizes);
                let zero = Expr::Number(crate::tile::Bits::of(0.0));
                let below = Condition::Less(index[*axis].clone(), Ix::number(end as i64));
                let above = Condition::Less(index[*axis].clone(), Ix::number(start as i64));
                let x = Expr::Where(below, Box::new([x, zero.clone()]));
                Expr::Where(above, Box::new([zero, x]))
            }
            Op::Concat(axis) => self.concat(args, *axis, index, sizes),
            Op::Place(at) => {
                let last = index.len() - 1;
                let mut inside = index.to_vec();
                inside[last] = Ix::default();
                let x = self.closed(args[0], &inside, sizes);
                let at = Ix::number(at.eval(0, &[]));
                let zero = Expr::Number(crate::tile::Bits::of(0.0));
                Expr::Where(Condition::Equal(index[last].clone(), at), Box::new([x, zero]))
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
        if adds_sum(&x) && self.join_product(b, &bt, sizes, open) {
            return x;
        }
        let y = self.expr(b, &bt, sizes, open);
        Expr::Binary(Binary::Add, Box::new([x, y]))
    }

    /// Adds a product behind views to the open one, if both have their rows and columns in common.
    fn join_product(
        &mut self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
        open: &mut Open,
    ) -> bool {
        let (mut value, mut index) = (value, index.to_vec());
        while self.made[value.at()].is_none() && self.uses[value.at()] == 1 {
            if matches!(self.program.node(value).op, Op::MulSum(_)) {
                return self.term(value, &index, sizes, open);
            }
            match self.through_view(value, &index, sizes) {
                Some(inside) => (value, index) = inside,
                None => return false,
            }
        }
        false
    }

    /// Leaves a product open in the step that is being made, if it is used nowhere else.
    fn open_product(
        &mut self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
        open: &mut Open,
    ) -> bool {
        open.allowed
            && open.terms.is_empty()
            && self.uses[value.at()] == 1
            && matches!(self.program.node(value).op, Op::MulSum(_))
            && self.term(value, index, sizes, open)
    }

    /// Adds a product to the open ones, if its rows and columns are those of the loop.
    fn term(&mut self, value: Value, index: &[Ix], sizes: &[usize], open: &mut Open) -> bool {
        let Some(matrix) = self.matrix(value) else { return false };
        let node = self.program.node(value).clone();
        let flatten = |axes: &[usize]| {
            let index: Vec<Ix> = axes.iter().map(|&axis| index[axis].clone()).collect();
            let shape: Vec<usize> = axes.iter().map(|&axis| node.shape[axis]).collect();
            flat(&index, &shape).as_axis()
        };
        let (Some(p), Some(q)) = (flatten(&matrix.rows), flatten(&matrix.cols)) else {
            return false;
        };
        let whole = p != q
            && sizes[p] == count(&node.shape, &matrix.rows)
            && sizes[q] == count(&node.shape, &matrix.cols)
            && sizes.iter().enumerate().all(|(at, n)| at == p || at == q || *n == 1);
        if !whole || open.axes.is_some_and(|axes| axes != [p, q] && axes != [q, p]) {
            return false;
        }
        let terms = self.operands(value, &matrix);
        match open.axes {
            Some(axes) if axes == [q, p] => {
                // The open product is the transpose of this one.
                let flip = |o: Operand| Operand { transposed: !o.transposed, ..o };
                let turned = terms.into_iter().map(|(a, b, length)| (flip(b), flip(a), length));
                open.terms.extend(turned);
            }
            _ => {
                open.axes = Some([p, q]);
                open.terms.extend(terms);
            }
        }
        true
    }

    /// The roles of a product's axes, if it runs on the matrix units.
    fn matrix(&self, value: Value) -> Option<Matrix> {
        roles(self.program, value).filter(|_| self.matrix_units)
    }

    /// A bf16 copy of a value as a matrix of the given axes. Of what is wanted `whole`, a rest will be
    /// asked for too.
    fn operand(
        &mut self,
        value: Value,
        shape: &[usize],
        [rows, cols]: [&[usize]; 2],
        whole: bool,
    ) -> Operand {
        let sizes = [count(shape, rows), count(shape, cols)];
        let index = matrix_index(shape, [rows, cols]);
        // The same matrix may have been copied for another product, perhaps as its transpose.
        let (mut base, mut at) = (value, index.clone());
        while let Some(inside) = self.through_view(base, &at, &sizes) {
            (base, at) = inside;
        }
        let swapped: Vec<Ix> = at.iter().map(|i| i.renamed(&|axis| 1 - axis)).collect();
        for (known, index, tile) in &self.operands {
            if *known == base && self.tiles[tile.0].shape == sizes && *index == at {
                return Operand { tile: *tile, transposed: false };
            }
            let turned = self.tiles[tile.0].shape == [sizes[1], sizes[0]];
            if *known == base && turned && *index == swapped {
                return Operand { tile: *tile, transposed: true };
            }
        }
        // Neighbouring threads are to read neighbouring numbers.
        let place = flat(&at, self.program.shape(base));
        let transposed = place.terms.contains(&(super::index::Atom::Axis(0), 1));
        let (at, sizes) = if transposed { (swapped, [sizes[1], sizes[0]]) } else { (at, sizes) };
        let name = format!("operand of %{}", base.0);
        let tile = new_tile(&mut self.tiles, name, Number::Bf16, &sizes);
        let to = Target::Tile(tile, vec![Ix::axis(0), Ix::axis(1)]);
        if whole {
            let value = self.closed(base, &at, &sizes);
            self.steps.push(Step::Map { sizes: sizes.to_vec(), value, to, add: false });
        } else {
            self.write(base, &at, &sizes, to, false);
        }
        self.operands.push((base, at, tile));
        Operand { tile, transposed }
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
                self.write_tile(node.args[1], x, false);
                self.steps.push(Step::Solve { a, x, transposed: *transposed });
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
            op => match chain(op) {
                Some(chain) => self.chain(value, chain),
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

    /// A matrix product that becomes a tile.
    fn product(&mut self, value: Value, matrix: &Matrix, tile: TileId) {
        let shape = self.program.shape(value).to_vec();
        let sizes = vec![count(&shape, &matrix.rows), count(&shape, &matrix.cols)];
        let index = matrix_index(&shape, [&matrix.rows, &matrix.cols]);
        let terms = self.operands(value, matrix);
        let (to, value) = (Target::Tile(tile, index), Expr::Sum);
        self.steps.push(Step::Product { sizes, axes: [0, 1], terms, value, to, add: false });
    }

    /// The operands of a matrix product, and the length of its sum. Around a quotient both
    /// come in two pieces of 8 bits; the product of the two lower pieces is left out, since it is as
    /// small as what both leave.
    fn operands(&mut self, value: Value, matrix: &Matrix) -> Vec<(Operand, Operand, usize)> {
        let node = self.program.node(value).clone();
        let (a, b) = (node.args[0], node.args[1]);
        let (of_a, of_b) = (self.program.shape(a).to_vec(), self.program.shape(b).to_vec());
        let whole = self.whole[value.at()];
        let left = self.operand(a, &of_a, [&matrix.rows, &matrix.inner], whole);
        let right = self.operand(b, &of_b, [&matrix.inner, &matrix.cols], whole);
        let length = count(&of_a, &matrix.inner);
        let mut terms = vec![(left, right, length)];
        if whole {
            let (low_left, low_right) = (self.rest(left), self.rest(right));
            terms.extend([(left, low_right, length), (low_left, right, length)]);
        }
        terms
    }

    /// What the bf16 copy of an operand leaves of it, as an operand of its own.
    fn rest(&mut self, of: Operand) -> Operand {
        let known = self.rests.iter().find(|(tile, _)| *tile == of.tile);
        if let Some((_, rest)) = known {
            return Operand { tile: *rest, ..of };
        }
        let copied = self.operands.iter().find(|(.., tile)| *tile == of.tile);
        let (base, at, first) = copied.cloned().expect("an operand was copied");
        let sizes = self.tiles[first.0].shape.clone();
        let name = format!("rest of the operand of %{}", base.0);
        let rest = new_tile(&mut self.tiles, name, Number::Bf16, &sizes);
        let index = vec![Ix::axis(0), Ix::axis(1)];
        let whole = self.closed(base, &at, &sizes);
        let value = Expr::Binary(Binary::Sub, Box::new([whole, Expr::Tile(first, index.clone())]));
        let to = Target::Tile(rest, index);
        self.steps.push(Step::Map { sizes, value, to, add: false });
        self.rests.push((first, rest));
        Operand { tile: rest, ..of }
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
            let (over, to) = (vec![axis], Target::Tile(tile, axes_of(&shape)));
            self.steps.push(Step::Reduce { sizes: sizes.clone(), over, reduction, value, to });
        }
        [peak, sum]
    }

    /// A sum that is no work for the matrix units.
    fn reduce(&mut self, value: Value, over: &[usize], tile: TileId) {
        let node = self.program.node(value).clone();
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
        let (over, reduction) = (over.to_vec(), Reduction::Sum);
        let to = Target::Tile(tile, axes_of(&node.shape));
        self.steps.push(Step::Reduce { sizes, over, reduction, value, to });
    }

    fn chain(&mut self, value: Value, chain: Chain) -> TileId {
        let node = self.program.node(value).clone();
        let from: Vec<TileId> = node.args.iter().map(|&arg| self.tile(arg)).collect();
        let shapes: Vec<&[usize]> = node.args.iter().map(|&arg| self.program.shape(arg)).collect();
        let sizes = chain.sizes(&shapes, &node.shape);
        let to = self.fresh(value, &node.shape);
        let scratch = chain.scratch(sizes).map(|shape| {
            new_tile(&mut self.tiles, format!("scratch of %{}", value.0), Number::F32, &shape)
        });
        self.steps.push(Step::Chain { chain, sizes, from, to, scratch });
        to
    }
}

/// `largest + log(sum)`.
pub fn log_of([peak, sum]: [TileId; 2], shape: &[usize], to: TileId) -> Step {
    let index = axes_of(shape);
    let log = Expr::Unary(Unary::Log, Box::new(Expr::Tile(sum, index.clone())));
    let value = Expr::Binary(Binary::Add, Box::new([Expr::Tile(peak, index.clone()), log]));
    Step::Map { sizes: shape.to_vec(), value, to: Target::Tile(to, index), add: false }
}

impl Chain {
    /// Rows, micro-steps and width, from the shapes of the arguments and of the result.
    fn sizes(&self, args: &[&[usize]], out: &[usize]) -> [usize; 3] {
        match self {
            Chain::Prefix(_) => [out[0], args[0][0], out[1]],
            Chain::PrefixGrad(_) | Chain::PairsGrad(_) => [args[1][0], args[0][0], args[0][1]],
            Chain::Suffix | Chain::SuffixGrad => [out[0], out[0], out[1]],
            Chain::Pairs(_) => [out[0], out[1], 1],
            Chain::Gram(_) => [out[0], out[1], args[0][1]],
            Chain::Apply(_) => [out[0], args[1][0], out[1]],
            Chain::ApplyT(_) => [args[1][0], out[0], out[1]],
            Chain::GramGrad(_) => [args[1][0], out[0], out[1]],
            Chain::Scan(_) | Chain::ScanGrad => [out[0], out[1], out[2]],
        }
    }

    /// The shape of the working memory.
    fn scratch(&self, [_, m, _]: [usize; 3]) -> Option<Vec<usize>> {
        matches!(self, Chain::PairsGrad(_)).then(|| vec![m, m])
    }
}

fn chain(op: &Op) -> Option<Chain> {
    Some(match op {
        Op::Prefix(v) => Chain::Prefix(v.clone()),
        Op::PrefixGrad(v) => Chain::PrefixGrad(v.clone()),
        Op::Suffix => Chain::Suffix,
        Op::SuffixGrad => Chain::SuffixGrad,
        Op::Pairs(v) => Chain::Pairs(v.clone()),
        Op::PairsGrad(v) => Chain::PairsGrad(v.clone()),
        Op::Gram(v) => Chain::Gram(v.clone()),
        Op::Apply(v) => Chain::Apply(v.clone()),
        Op::ApplyT(v) => Chain::ApplyT(v.clone()),
        Op::GramGrad(v) => Chain::GramGrad(v.clone()),
        Op::Scan(scan) => Chain::Scan(*scan),
        Op::ScanGrad => Chain::ScanGrad,
        _ => return None,
    })
}

/// Which products lose too much with operands of 8 bits: those around a quotient whose divisor is a sum
/// that may cancel to nearly nothing.
///
/// A divisor that comes of a product, and what it divides, have an error relative to the operands of
/// the product, not to the divisor, which may be as much smaller as terms cancel; the quotient
/// multiplies it by as much. So all products that such a quotient depends on are marked. Its gradient
/// gives each term of both sums the difference of what flows by the numerator and by the divisor,
/// nearly equal where one term weighs most: products that read the quotient are marked where they are
/// added to something else that depends on it.
pub fn around_quotients(program: &Program) -> Vec<bool> {
    let is_product = |at: usize| roles(program, Value(at as u32)).is_some();
    let mut marked = vec![false; program.nodes.len()];
    // What depends on a quotient: directly, and at all.
    let (mut near, mut depends) = (marked.clone(), marked.clone());
    for (at, node) in program.nodes.iter().enumerate() {
        let of = |which: &[bool]| node.args.iter().any(|arg| which[arg.at()]);
        near[at] = of(&near) && !heavy(program, Value(at as u32));
        depends[at] = of(&depends);
        let divisor = match &node.op {
            Op::Binary(Binary::Div) => node.args[1],
            Op::Unary(Unary::Pow(c)) if c.value() < 0.0 => node.args[0],
            Op::Binary(Binary::Add | Binary::Sub) => {
                if node.args.iter().all(|arg| depends[arg.at()]) {
                    let light = |at: usize| !heavy(program, Value(at as u32));
                    let added = behind(program, &node.args, &light);
                    let reads = |at: usize| program.nodes[at].args.iter().any(|a| near[a.at()]);
                    (0..at).filter(|at| added[*at] && is_product(*at) && reads(*at)).for_each(
                        |at| {
                            marked[at] = true;
                        },
                    );
                }
                continue;
            }
            _ => continue,
        };
        let cancels = |at: usize| !bounded(&program.nodes[at].op);
        let of_divisor = behind(program, &[divisor], &cancels);
        if (0..at).any(|at| of_divisor[at] && is_product(at)) {
            (near[at], depends[at]) = (true, true);
            let of_both = behind(program, &node.args, &cancels);
            of_both.iter().zip(&mut marked).for_each(|(found, mark)| *mark |= found);
        }
    }
    marked
}

/// What some values depend on, as far as nodes let through.
fn behind(program: &Program, ends: &[Value], through: &dyn Fn(usize) -> bool) -> Vec<bool> {
    let mut found = vec![false; program.nodes.len()];
    ends.iter().for_each(|end| found[end.at()] = true);
    for (at, node) in program.nodes.iter().enumerate().rev() {
        if found[at] && through(at) {
            node.args.iter().for_each(|arg| found[arg.at()] = true);
        }
    }
    found
}

/// Operations whose result has a relative error no larger than the absolute one of its argument, which
/// is small: nothing that cancels inside is lost outside.
fn bounded(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(Unary::Exp | Unary::Sigmoid | Unary::Softplus | Unary::LogSigmoid)
            | Op::LogSumExp(_)
            | Op::Weight
    )
}

/// How many times the expression of each value stands in steps, where `kept` values are tiles.
fn multiplicity(program: &Program, kept: &[bool]) -> Vec<usize> {
    let mut uses = vec![0_usize; program.nodes.len()];
    program.outputs.iter().for_each(|output| uses[output.at()] += 1);
    for (at, node) in program.nodes.iter().enumerate().rev() {
        let alone = kept[at] || heavy(program, Value(at as u32));
        let times = if alone { 1 } else { uses[at] };
        for arg in &node.args {
            uses[arg.at()] = uses[arg.at()].saturating_add(times);
        }
    }
    uses
}

/// Which light values become tiles: those that several steps, or many elements of one step, would
/// compute again.
fn dear(program: &Program, uses: &[usize]) -> Vec<bool> {
    let nodes = &program.nodes;
    let mut spread: Vec<usize> = nodes.iter().map(|node| size(&node.shape)).collect();
    for at in (0..nodes.len()).rev() {
        if !heavy(program, Value(at as u32)) {
            for arg in &nodes[at].args {
                spread[arg.at()] = spread[arg.at()].max(spread[at]);
            }
        }
    }
    let mut cost = vec![0; nodes.len()];
    let mut kept = vec![false; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        if heavy(program, Value(at as u32)) {
            cost[at] = 1;
            continue;
        }
        cost[at] = own_cost(&node.op) + node.args.iter().map(|a| cost[a.at()]).sum::<usize>();
        let again = uses[at] > 1 && cost[at] > DEAR;
        let wide = spread[at] > size(&node.shape) && cost[at] >= DEAR;
        if !is_view(&node.op) && (again || wide) {
            kept[at] = true;
            cost[at] = 1;
        }
    }
    kept
}

/// Whether a value is computed by a step of its own.
fn heavy(program: &Program, value: Value) -> bool {
    match &program.node(value).op {
        Op::MulSum(axes) => !axes.is_empty(),
        Op::Sum(_) | Op::LogSumExp(_) | Op::Solve(_) | Op::LinearSolve(_) => true,
        op => chain(op).is_some(),
    }
}

fn is_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape | Op::Permute(_) | Op::Slice(..) | Op::Expand | Op::Alias(_) | Op::Pick(_)
    )
}

/// Whether an expression is a sum of which one term is what the products accumulate.
fn adds_sum(e: &Expr) -> bool {
    match e {
        Expr::Sum => true,
        Expr::Binary(Binary::Add, of) => of.iter().any(adds_sum),
        _ => false,
    }
}

fn place(condition: Condition) -> Expr {
    let number = |x| Expr::Number(crate::tile::Bits::of(x));
    Expr::Where(condition, Box::new([number(1.0), number(0.0)]))
}

/// What one evaluation costs, in additions.
fn own_cost(op: &Op) -> usize {
    match op {
        Op::Leaf(Leaf::Carry(_) | Leaf::CarryCotangent(_)) => 1,
        Op::Leaf(_) => 3,
        Op::Unary(Unary::Neg | Unary::Abs | Unary::Relu | Unary::Step | Unary::Sign) => 1,
        Op::Unary(Unary::Exp | Unary::Sqrt) => 4,
        Op::Unary(_) => 8,
        Op::Binary(Binary::Div) => 4,
        Op::Binary(Binary::LogAddExp) => 16,
        Op::Binary(_) | Op::MulSum(_) | Op::Select | Op::Pad(..) | Op::Concat(_) => 1,
        Op::Weight => 5,
        _ => 0,
    }
}
