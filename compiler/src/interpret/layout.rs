//! Where every value of a program lives in one block of memory.
//!
//! Moves are views: other strides over the storage of their argument. Storage is reused as soon as
//! the last reader of a value has run; leaves are filled before the program runs, so theirs is
//! taken first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::sums::{Fused, fused_sums, product_behind};
use crate::tile::mask::Mask;
use crate::tile::moves::axis_after;
use crate::tile::{Leaf, Op, Program, Value, size};

/// Entries of a value: where the first one is, and the distance between neighbours on each axis.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Position of the first entry.
    pub start: usize,
    /// Sizes of the axes.
    pub shape: Vec<usize>,
    /// Distance between neighbours, 0 where entries repeat.
    pub strides: Vec<usize>,
}

/// Distances of a row-major tile.
pub fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

impl View {
    /// The view of a tile of its own.
    pub fn dense(start: usize, shape: &[usize]) -> View {
        View { start, shape: shape.to_vec(), strides: row_major(shape) }
    }

    /// Whether the entries stand one after the other.
    pub fn is_dense(&self) -> bool {
        self.same(&View::dense(0, &self.shape))
    }

    /// Whether entries lie as far apart as those of a view of this shape.
    fn same(&self, other: &View) -> bool {
        (0..self.shape.len()).all(|i| self.shape[i] == 1 || self.strides[i] == other.strides[i])
    }
}

/// A result: where it is read, and what to copy there first if it is no storage of its own.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where the caller reads it.
    pub at: Range<usize>,
    /// The view to copy.
    pub copy: Option<View>,
}

/// The decisions for one program.
#[derive(Clone, Debug)]
pub struct Layout {
    views: Vec<View>,
    owned: Vec<Option<Range<usize>>>,
    /// Arguments that an operation needs dense: (node, argument) to where they are copied.
    pub copies: BTreeMap<(usize, usize), Range<usize>>,
    /// Sums that a product is added to in place, by node.
    pub fused: BTreeMap<usize, Fused>,
    /// The results.
    pub outputs: Vec<Output>,
    /// Length of the memory.
    pub length: usize,
}

/// Operations that read their arguments as dense tiles.
fn needs_dense(op: &Op) -> bool {
    !matches!(
        op,
        Op::Leaf(_)
            | Op::Fill(_)
            | Op::Eye
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::MulSum(_)
            | Op::Sum(_)
            | Op::Select
            | Op::Weight
            | Op::Reshape
            | Op::Permute(_)
            | Op::Slice(..)
            | Op::Pad(..)
            | Op::Concat(_)
            | Op::Expand
            | Op::Alias(_)
    )
}

/// The view that a move gives, if it needs no copy.
fn moved(op: &Op, from: &View, shape: &[usize]) -> Option<View> {
    let mut view = from.clone();
    view.shape = shape.to_vec();
    match op {
        Op::Alias(_) => {}
        Op::Permute(order) => view.strides = order.iter().map(|&o| from.strides[o]).collect(),
        Op::Slice(axis, start) => view.start += start * from.strides[*axis],
        Op::Expand => {
            for (i, stride) in view.strides.iter_mut().enumerate() {
                if from.shape[i] != shape[i] {
                    *stride = 0;
                }
            }
        }
        Op::Reshape => view.strides = reshaped(from, shape)?,
        _ => return None,
    }
    Some(view)
}

/// Strides for the same entries in the same order under another shape, where they exist.
pub fn reshaped(from: &View, shape: &[usize]) -> Option<Vec<usize>> {
    // Old axes of size > 1, merged where they are laid out as one.
    let mut old: Vec<(usize, usize)> = Vec::new();
    for (&n, &s) in from.shape.iter().zip(&from.strides).filter(|(n, _)| **n != 1) {
        match old.last_mut() {
            Some((m, t)) if *t == n * s => (*m, *t) = (*m * n, s),
            _ => old.push((n, s)),
        }
    }
    let mut strides = vec![0; shape.len()];
    let mut at = shape.len();
    for &(n, s) in old.iter().rev() {
        let (mut left, mut stride) = (n, s);
        while left > 1 {
            at = at.checked_sub(1)?;
            if shape[at] == 1 {
                continue;
            }
            if left % shape[at] != 0 {
                return None;
            }
            strides[at] = stride;
            stride *= shape[at];
            left /= shape[at];
        }
    }
    Some(strides)
}

impl Layout {
    /// Decides for every value of a program. The caller may lend the leaves that `lent` says
    /// instead of copying them: their memory is used for nothing else.
    pub fn new(program: &Program, lent: &dyn Fn(&Leaf) -> bool, masks: &[Option<Mask>]) -> Layout {
        let mut maker = LayoutBuilder::new(program, lent, masks);
        for (at, node) in program.nodes.iter().enumerate() {
            if matches!(node.op, Op::Leaf(_)) {
                maker.own(at, size(&node.shape));
            }
        }
        for at in 0..program.nodes.len() {
            maker.place(at);
        }
        maker.finish()
    }

    /// The memory that a node writes; `None` for views.
    pub fn owned(&self, value: Value) -> Option<Range<usize>> {
        self.owned[value.at()].clone()
    }

    /// Distances between the entries of a product that node `at` holds.
    pub fn distances(&self, at: usize) -> Vec<usize> {
        match self.fused.get(&at) {
            Some(fused) => fused.strides.clone(),
            None => self.views[at].strides.clone(),
        }
    }

    /// Where a value is read.
    pub fn view(&self, value: Value) -> &View {
        &self.views[value.at()]
    }
}

struct LayoutBuilder<'a> {
    program: &'a Program,
    layout: Layout,
    /// Whose storage a value reads.
    root: Vec<usize>,
    /// The last node that reads a storage.
    last: Vec<usize>,
    /// Nodes that a sum computes for itself.
    skipped: BTreeSet<usize>,
    lent: Vec<bool>,
    free: Vec<Range<usize>>,
    /// The order of its axes in memory, outermost first, that the one reader of a product likes.
    orders: Vec<Option<Vec<usize>>>,
}

impl<'a> LayoutBuilder<'a> {
    fn new(
        program: &'a Program,
        lent: &dyn Fn(&Leaf) -> bool,
        masks: &[Option<Mask>],
    ) -> LayoutBuilder<'a> {
        let count = program.nodes.len();
        let empty = View { start: 0, shape: vec![], strides: vec![] };
        let (fused, skipped) = fused_sums(program);
        let lent = program
            .nodes
            .iter()
            .map(|node| matches!(&node.op, Op::Leaf(leaf) if lent(leaf)))
            .collect();
        let mut maker = LayoutBuilder {
            program,
            layout: Layout {
                views: vec![empty; count],
                owned: vec![None; count],
                copies: BTreeMap::new(),
                fused,
                outputs: Vec::new(),
                length: 0,
            },
            root: (0..count).collect(),
            last: Vec::new(),
            skipped,
            lent,
            free: Vec::new(),
            orders: vec![],
        };
        maker.orders = maker.orders(masks);
        maker.last = maker.last_reads();
        maker
    }

    /// The values that a node reads.
    fn reads(&self, at: usize) -> Vec<Value> {
        match self.layout.fused.get(&at) {
            Some(fused) => {
                let factors = &self.program.nodes[fused.product].args;
                [fused.base].iter().chain(factors).copied().collect()
            }
            None if self.skipped.contains(&at) => vec![],
            None => self.program.nodes[at].args.clone(),
        }
    }

    /// Per node the order of axes that its reader likes, if it has but one: a product is then stored as it is
    /// read. Masked ones are cleared as dense tiles.
    fn orders(&self, masks: &[Option<Mask>]) -> Vec<Option<Vec<usize>>> {
        let program = self.program;
        let mut readers: Vec<Vec<usize>> = vec![vec![]; program.nodes.len()];
        for at in 0..program.nodes.len() {
            self.reads(at).iter().for_each(|arg| readers[arg.at()].push(at));
        }
        program.outputs.iter().for_each(|output| readers[output.at()].push(usize::MAX));
        let mut orders: Vec<Option<Vec<usize>>> = vec![None; program.nodes.len()];
        for at in (0..program.nodes.len()).rev() {
            let [reader] = readers[at][..] else { continue };
            let Some(node) = program.nodes.get(reader).filter(|_| masks[at].is_none()) else {
                continue;
            };
            let shape = &program.nodes[at].shape;
            orders[at] = match &node.op {
                Op::Permute(order) => {
                    let long = (0..order.len()).filter(|axis| node.shape[*axis] > 1);
                    Some(long.map(|axis| order[axis]).collect())
                }
                Op::Reshape => orders[reader].as_ref().and_then(|order| {
                    order.iter().map(|axis| axis_after(&node.shape, shape, *axis)).collect()
                }),
                // The other argument of a sum in place, which is stored as the sum.
                _ => {
                    let base = self.layout.fused.get(&reader).map(|fused| fused.base.at());
                    orders[reader].clone().filter(|_| base == Some(at))
                }
            };
        }
        orders
    }

    /// Distances between entries of a product, or of a sum with one, in memory of its own.
    fn distances(&self, at: usize) -> Vec<usize> {
        let shape = &self.program.nodes[at].shape;
        let Some(order) = &self.orders[at] else { return row_major(shape) };
        let (mut strides, mut inner) = (vec![0; shape.len()], 1);
        for &axis in order.iter().rev() {
            strides[axis] = inner;
            inner *= shape[axis];
        }
        strides
    }

    /// For every storage the last node that reads it, through views too; results are read for
    /// ever.
    fn last_reads(&self) -> Vec<usize> {
        let program = self.program;
        let mut last: Vec<usize> = (0..program.nodes.len()).collect();
        for at in 0..program.nodes.len() {
            for arg in self.reads(at) {
                last[arg.at()] = at;
            }
        }
        for output in &program.outputs {
            last[output.at()] = usize::MAX;
        }
        for (at, node) in program.nodes.iter().enumerate() {
            // What a term captures is filled once and read for every position of the past; what a
            // query may read is asked by every product that it masks.
            let lasts = matches!(node.op, Op::Leaf(Leaf::Outer(_) | Leaf::Allowed));
            if lasts || self.lent[at] {
                last[at] = usize::MAX;
            }
        }
        // A possible view keeps its argument alive as long as itself.
        for (at, node) in program.nodes.iter().enumerate().rev() {
            let view = matches!(
                node.op,
                Op::Reshape | Op::Permute(_) | Op::Slice(..) | Op::Expand | Op::Alias(_)
            );
            if view && !self.skipped.contains(&at) {
                let arg = node.args[0].at();
                last[arg] = last[arg].max(last[at]);
            }
        }
        last
    }

    /// Places a sum that a product is added to.
    fn place_sum(&mut self, at: usize) {
        let Some(Fused { product, base, .. }) = self.layout.fused.get(&at).cloned() else { return };
        let root = self.root[base.at()];
        let view = self.layout.views[base.at()].clone();
        let whole = self.layout.owned[root].as_ref().is_some_and(|owned| owned.start == view.start);
        let read = |arg: &Value| self.root[arg.at()] == root;
        let free = self.last[root] == at
            && whole
            && size(&view.shape) == size(&self.program.nodes[root].shape)
            && !self.program.nodes[product].args.iter().any(read);
        let kept = [self.distances(at), row_major(&view.shape)]
            .into_iter()
            .map(|strides| View { strides, ..view.clone() })
            .filter(|kept| free && kept.same(&view))
            .find_map(|kept| Some((self.behind(at, kept.clone())?, kept)));
        if let Some((strides, kept)) = kept {
            self.layout.owned[at] = Some(view.start..view.start + size(&view.shape));
            self.layout.views[at] = kept;
            self.root[at] = root;
            self.last[root] = self.last[at];
            self.layout.fused.entry(at).and_modify(|fused| {
                (fused.in_place, fused.strides) = (true, strides);
            });
        } else {
            self.own(at, size(&view.shape));
        }
        self.release_after(at);
    }

    /// The distances of the product that a sum adds, where the sum lies as `view` says.
    fn behind(&self, at: usize, view: View) -> Option<Vec<usize>> {
        let fused = self.layout.fused.get(&at)?;
        let args = &self.program.nodes[at].args;
        let term = args.iter().find(|arg| **arg != fused.base)?;
        Some(product_behind(self.program, *term, view)?.strides)
    }

    fn take(&mut self, length: usize) -> Range<usize> {
        let length = length.max(1).next_multiple_of(16);
        let fit = (0..self.free.len())
            .filter(|&i| self.free[i].len() >= length)
            .min_by_key(|&i| self.free[i].len());
        if let Some(i) = fit {
            let start = self.free[i].start;
            self.free[i].start += length;
            if self.free[i].is_empty() {
                self.free.swap_remove(i);
            }
            return start..start + length;
        }
        let start = self.layout.length;
        self.layout.length += length;
        start..start + length
    }

    fn release(&mut self, mut range: Range<usize>) {
        // Neighbouring holes become one.
        while let Some(i) =
            self.free.iter().position(|hole| hole.end == range.start || hole.start == range.end)
        {
            let hole = self.free.swap_remove(i);
            range = range.start.min(hole.start)..range.end.max(hole.end);
        }
        self.free.push(range);
    }

    fn own(&mut self, at: usize, length: usize) -> usize {
        let block = self.take(length);
        let start = block.start;
        self.layout.owned[at] = Some(start..start + length);
        self.layout.views[at] = View::dense(start, &self.program.nodes[at].shape);
        start
    }

    fn place(&mut self, at: usize) {
        if self.skipped.contains(&at) {
            return;
        }
        if self.layout.fused.contains_key(&at) {
            return self.place_sum(at);
        }
        let node = &self.program.nodes[at];
        let mut temporary = Vec::new();
        if needs_dense(&node.op) {
            for (slot, arg) in node.args.iter().enumerate() {
                let view = &self.layout.views[arg.at()];
                if !view.is_dense() {
                    let length = size(&view.shape);
                    let block = self.take(length);
                    self.layout.copies.insert((at, slot), block.start..block.start + length);
                    temporary.push(block);
                }
            }
        }
        match &node.op {
            Op::Leaf(_) => {}
            Op::Fill(_) => {
                self.own(at, 1);
                self.layout.views[at].strides.fill(0);
            }
            op => {
                let from = node.args.first().map(|arg| self.layout.views[arg.at()].clone());
                match from.and_then(|from| moved(op, &from, &node.shape)) {
                    Some(view) => {
                        self.layout.views[at] = view;
                        self.root[at] = self.root[node.args[0].at()];
                    }
                    None => {
                        self.own(at, size(&node.shape));
                        if matches!(op, Op::MulSum(axes) if !axes.is_empty()) {
                            self.layout.views[at].strides = self.distances(at);
                        }
                    }
                }
            }
        }
        for block in temporary {
            self.release(block);
        }
        self.release_after(at);
    }

    /// Frees what no later node reads.
    fn release_after(&mut self, at: usize) {
        let mut done: Vec<usize> = self.reads(at).iter().map(|arg| self.root[arg.at()]).collect();
        done.push(self.root[at]);
        done.sort_unstable();
        done.dedup();
        for root in done {
            if self.last[root] == at
                && let Some(range) = self.layout.owned[root].clone()
            {
                let length = range.len().max(1).next_multiple_of(16);
                self.release(range.start..range.start + length);
            }
        }
    }

    fn finish(mut self) -> Layout {
        for &output in &self.program.outputs {
            let view = self.layout.views[output.at()].clone();
            let length = size(&view.shape);
            let made = if view.is_dense() && !self.lent[self.root[output.at()]] {
                Output { at: view.start..view.start + length, copy: None }
            } else {
                let start = self.layout.length;
                self.layout.length += length.next_multiple_of(16);
                Output { at: start..start + length, copy: Some(view) }
            };
            self.layout.outputs.push(made);
        }
        self.layout
    }
}
