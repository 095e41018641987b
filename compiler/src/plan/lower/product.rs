//! Products on the matrix units: their axes, their operands as bf16 copies, and which of them stay open
//! in the step that uses them.

use super::Lower;
use super::tiles::{FRAGMENT, WARP, new_tile};
use super::values::behind_views;
use crate::plan::index::{Atom, Ix, flat, unflat};
use crate::plan::space::Unit;
use crate::plan::{Expr, Number, Operand, Sees, Step, Target, Term, TileId, WarpTile};
use crate::tile::{Binary, Op, Program, Value};

/// Rows and columns below which a product is no work for the matrix units.
const MATRIX: usize = 8;

/// Sums of a step at most: each takes as many registers.
const SUMS: usize = 2;

/// Products left open inside the expression of the step that is being made.
pub(super) struct Open {
    pub(super) terms: Vec<Term>,
    pub(super) axes: Option<[usize; 2]>,
    allowed: bool,
}

/// A `MulSum` as a matrix product: its axes by role.
pub(super) struct Matrix {
    pub(super) rows: Vec<usize>,
    pub(super) cols: Vec<usize>,
    pub(super) inner: Vec<usize>,
}

pub(super) fn count(shape: &[usize], axes: &[usize]) -> usize {
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

/// Whether a value is a product that is worth the matrix units.
pub fn is_matrix(program: &Program, value: Value) -> bool {
    roles(program, value).is_some()
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

/// What a warp makes of a product of so many rows and columns at a time: as many columns as give every
/// warp work, since each of them reads the rows' operand once.
fn warp_tile(sizes: [usize; 2], threads: usize) -> WarpTile {
    let [rows, cols] = sizes.map(|n| n.next_multiple_of(FRAGMENT));
    let (eights, warps) = (cols / 8, threads / WARP);
    let fits = || [8, 6, 4, 2].into_iter().filter(|n| eights % n == 0);
    let busy = fits().find(|n| rows / FRAGMENT * (eights / n) >= warps);
    let cols = 8 * busy.or(fits().next_back()).unwrap_or(2);
    WarpTile { rows: FRAGMENT, cols }
}

/// A product, or its transpose where what it is written to lies along its columns.
fn along_rows(axes: [usize; 2], terms: Vec<Term>, to: &Target) -> ([usize; 2], Vec<Term>) {
    let index = match to {
        Target::Tile(_, index) => index,
        Target::Buffer(element, _) => &element.index,
    };
    let [p, q] = axes;
    if index.last().and_then(Ix::as_axis) != Some(p) {
        return (axes, terms);
    }
    ([q, p], terms.into_iter().map(transposed).collect())
}

/// The term of the transposed product.
fn transposed(term: Term) -> Term {
    let flip = |o: Operand| Operand { transposed: !o.transposed, ..o };
    Term {
        left: flip(term.right),
        right: flip(term.left),
        sees: term.sees.map(|sees| Sees { columns: !sees.columns, ..sees }),
        ..term
    }
}

/// Which of a step's sums an expression adds to something, if it is a sum itself.
pub(super) fn adds_sum(e: &Expr) -> Option<usize> {
    match e {
        Expr::Sum(sum) => Some(*sum),
        Expr::Binary(Binary::Add, of) => of.iter().find_map(adds_sum),
        _ => None,
    }
}

impl Open {
    /// None as yet; whether there may be some.
    pub(super) fn new(allowed: bool) -> Open {
        Open { terms: vec![], axes: None, allowed }
    }
}

impl Lower<'_> {
    /// Whether a target is an operand, which is filled to whole fragments.
    pub(super) fn fills(&self, to: &Target) -> bool {
        matches!(to, Target::Tile(id, _) if self.tiles[id.0].number == Number::Bf16)
    }

    pub(super) fn multiply(
        &mut self,
        sizes: &[usize],
        axes: [usize; 2],
        terms: Vec<Term>,
        value: Expr,
        to: Target,
        add: bool,
    ) {
        let (axes, terms) = along_rows(axes, terms, &to);
        let warp = warp_tile(axes.map(|axis| sizes[axis]), self.choice.threads());
        let (sizes, filled) = (sizes.to_vec(), self.fills(&to));
        self.steps.push(Step::Product {
            sizes,
            axes,
            terms,
            warp,
            filled,
            group: 1,
            exchanged: 1,
            value,
            to,
            add,
            also: vec![],
        });
    }

    /// Adds a product behind views to an open sum, if both have their rows and columns in common.
    pub(super) fn join_product(
        &mut self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
        sum: usize,
        open: &mut Open,
    ) -> bool {
        let (mut value, mut index) = (value, index.to_vec());
        while self.made[value.at()].is_none() && self.uses[value.at()] == 1 {
            if matches!(self.program.node(value).op, Op::MulSum(_)) {
                return self.term(value, &index, sizes, sum, open);
            }
            match self.through_view(value, &index, sizes) {
                Some(inside) => (value, index) = inside,
                None => return false,
            }
        }
        false
    }

    /// Leaves a product open as a sum of the step that is being made, if it is used nowhere else.
    pub(super) fn open_product(
        &mut self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
        open: &mut Open,
    ) -> Option<usize> {
        let sum = Term::sums(&open.terms);
        let opens = open.allowed
            && sum < SUMS
            && self.uses[value.at()] == 1
            && matches!(self.program.node(value).op, Op::MulSum(_))
            && self.term(value, index, sizes, sum, open);
        opens.then_some(sum)
    }

    /// Adds a product to one of the open sums, if its rows and columns are those of the loop.
    fn term(
        &mut self,
        value: Value,
        index: &[Ix],
        sizes: &[usize],
        sum: usize,
        open: &mut Open,
    ) -> bool {
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
        let terms = self.operands(value, &matrix).into_iter().map(|term| Term { sum, ..term });
        match open.axes {
            Some(axes) if axes == [q, p] => {
                // The open product is the transpose of this one.
                open.terms.extend(terms.map(transposed));
            }
            _ => {
                open.axes = Some([p, q]);
                open.terms.extend(terms);
            }
        }
        true
    }

    /// The roles of a product's axes, if it runs on the matrix units.
    pub(super) fn matrix(&self, value: Value) -> Option<Matrix> {
        roles(self.program, value).filter(|_| self.choice.unit == Unit::Mma)
    }

    /// A bf16 copy of a value as a matrix of the given axes. Of what is wanted `whole`, a rest will be
    /// asked for too.
    pub(super) fn operand(
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
        let transposed = place.terms.contains(&(Atom::Axis(0), 1));
        let (at, sizes) = if transposed { (swapped, [sizes[1], sizes[0]]) } else { (at, sizes) };
        let name = format!("operand of %{}", base.0);
        let tile = new_tile(&mut self.tiles, name, Number::Bf16, &sizes);
        let to = Target::Tile(tile, vec![Ix::axis(0), Ix::axis(1)]);
        if whole {
            let value = self.closed(base, &at, &sizes);
            self.map(&sizes, value, to, false);
        } else {
            self.write(base, &at, &sizes, to, false);
        }
        self.operands.push((base, at, tile));
        Operand { tile, transposed }
    }

    /// A matrix product that becomes a tile.
    pub(super) fn product(&mut self, value: Value, matrix: &Matrix, tile: TileId) {
        let shape = self.program.shape(value).to_vec();
        let sizes = vec![count(&shape, &matrix.rows), count(&shape, &matrix.cols)];
        let index = matrix_index(&shape, [&matrix.rows, &matrix.cols]);
        let terms = self.operands(value, matrix);
        self.multiply(&sizes, [0, 1], terms, Expr::Sum(0), Target::Tile(tile, index), false);
    }

    /// The operands of a matrix product, and the length of its sum. Around a quotient both
    /// come in two pieces of 8 bits; the product of the two lower pieces is left out, since it is as
    /// small as what both leave.
    fn operands(&mut self, value: Value, matrix: &Matrix) -> Vec<Term> {
        let node = self.program.node(value).clone();
        let (a, b) = (node.args[0], node.args[1]);
        let (of_a, of_b) = (self.program.shape(a).to_vec(), self.program.shape(b).to_vec());
        let whole = self.whole[value.at()];
        let left = self.operand(a, &of_a, [&matrix.rows, &matrix.inner], whole);
        let right = self.operand(b, &of_b, [&matrix.inner, &matrix.cols], whole);
        let length = count(&of_a, &matrix.inner);
        let sees = self.sees(value, matrix);
        let term = |left, right| Term { left, right, length, sum: 0, sees: sees.clone() };
        let mut terms = vec![term(left, right)];
        let rounded = [a, b].map(|side| !self.exact[behind_views(self.program, side).at()]);
        if whole && rounded[1] {
            terms.push(term(left, self.rest(right)));
        }
        if whole && rounded[0] {
            terms.push(term(self.rest(left), right));
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
        self.map(&sizes, value, Target::Tile(rest, index), false);
        self.rests.push((first, rest));
        Operand { tile: rest, ..of }
    }
}
