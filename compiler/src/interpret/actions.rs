//! Which loop over memory a node becomes.

use std::ops::Range;

use super::layout::{self, Layout, View};
use super::loops::Loops;
use super::mask::placed;
use super::product::Product;
use super::sums::Fused;
use super::{Action, Plan, Region, Step, Work, decay, scan};
use crate::tile::mask::Mask;
use crate::tile::wanted::{Plane, Wanted};
use crate::tile::{Node, Op, Past, Program, Value, size};

impl Plan {
    pub(super) fn push(&mut self, to: Range<usize>, action: Action) {
        self.steps.push(Work::Loop(Step { to, action }));
    }

    /// Adds what computes a node.
    pub(super) fn compute(&mut self, layout: &Layout, at: usize, node: &Node, to: Range<usize>) {
        let views = self.arguments(layout, at, node);
        let args: Vec<&View> = views.iter().collect();
        match &node.op {
            Op::Past(past) => self.past_of(past, &args, to),
            Op::MulSum(axes) if !axes.is_empty() => {
                let strides = layout.distances(at);
                let product = Product::new(axes, args[0], args[1], &node.shape, &strides);
                self.push(to, Action::Product(product));
            }
            op => {
                let action = self.action(op, &args, &node.shape, &to);
                self.push(to, action);
            }
        }
    }

    /// Adds a sum over the past.
    fn past_of(&mut self, past: &Past, args: &[&View], to: Range<usize>) {
        let captured = args.iter().map(|view| view.start..view.start + size(&view.shape)).collect();
        let plan = Plan::new(&past.term);
        self.steps.push(Work::Past(self.regions.len(), to));
        self.regions.push(Region { plan, past: past.clone(), captured });
    }

    /// Adds a product to a value.
    pub(super) fn sum(
        &mut self,
        program: &Program,
        layout: &Layout,
        fused: &Fused,
        to: Range<usize>,
    ) {
        if !fused.in_place {
            let base = layout.view(fused.base);
            let action = Action::Copy(Loops::new(&base.shape, [base]));
            self.push(to.clone(), action);
        }
        let node = &program.nodes[fused.product];
        let [a, b] = [layout.view(node.args[0]), layout.view(node.args[1])];
        let product = Product::onto(&fused.axes, a, b, &node.shape, &fused.strides);
        self.push(to, Action::Product(product));
    }

    /// Leaves out of the product that was just planned what nobody reads, and what a mask makes 0. `at` is the
    /// node that holds the product.
    pub(super) fn narrow(
        &mut self,
        program: &Program,
        layout: &Layout,
        masks: &[Option<Mask>],
        wanted: &[Wanted],
        [at, product]: [usize; 2],
    ) {
        let node = &program.nodes[product];
        let Some(Work::Loop(Step { action: Action::Product(last), .. })) = self.steps.last_mut()
        else {
            return;
        };
        let operand = |arg: &Value| Some((Plane::of(program, masks, *arg)?, *arg));
        let (plane, of) = match (node.args.iter().find_map(operand), &wanted[product]) {
            (Some(found), _) => found,
            (None, Wanted::Within(plane)) => (plane.clone(), Value(product as u32)),
            _ => return,
        };
        let Mask::Seen(versions) = plane.mask else { return };
        let [rows, columns] = plane.axes.map(|axis| program.shape(of)[axis]);
        let seen: Vec<usize> = (0..rows).map(|row| versions.seen(row).min(columns)).collect();
        let to = layout.distances(at);
        let views = [0, 1].map(|k| layout.view(node.args[k]));
        last.limit(plane.axes, (&seen, columns), views, &to);
    }

    /// Keeps what a mask excludes out of the product that was just planned, also where it is not
    /// finite: 0 times it is no number. `at` is the node that holds the product.
    pub(super) fn keep_apart(
        &mut self,
        program: &Program,
        layout: &Layout,
        masks: &[Option<Mask>],
        [at, product]: [usize; 2],
        to: Range<usize>,
    ) {
        let node = &program.nodes[product];
        let Op::MulSum(axes) = &node.op else { return };
        let of = |arg: usize| masks[node.args[arg].at()].as_ref();
        // Two of the same leave nothing to keep out.
        if of(0) == of(1) {
            return;
        }
        let view = |leaf| layout.view(leaf);
        if let Some(mask) = &masks[at] {
            let shape = &program.nodes[at].shape;
            let mask = placed(mask, shape, view);
            let action = Action::Mask(mask, [shape[0], shape[1], size(&shape[2..])]);
            self.push(to, action);
        } else if let Some((masked, mask)) = (0..2).find_map(|k| Some((k, of(k)?)))
            && *axes == [1]
            && let Some(Work::Loop(Step { action: Action::Product(last), .. })) =
                self.steps.last_mut()
        {
            let strides = layout.distances(at);
            let views = [layout.view(node.args[0]), layout.view(node.args[1])];
            let mask = placed(mask, program.shape(node.args[masked]), view);
            last.guard(masked, mask, views, &strides);
        }
    }

    /// Where a node reads its arguments; those that it needs dense are copied first.
    fn arguments(&mut self, layout: &Layout, at: usize, node: &Node) -> Vec<View> {
        let mut views = Vec::with_capacity(node.args.len());
        for (slot, arg) in node.args.iter().enumerate() {
            let mut view = layout.view(*arg).clone();
            if let Some(to) = layout.copies.get(&(at, slot)) {
                let action = Action::Copy(Loops::new(&view.shape, [&view]));
                self.push(to.clone(), action);
                view.strides = layout::row_major(&view.shape);
                view.start = to.start;
            }
            views.push(view);
        }
        views
    }

    /// The loop that computes a node.
    #[expect(clippy::too_many_lines, reason = "a flat match: one case for each operation")]
    fn action(&mut self, op: &Op, args: &[&View], shape: &[usize], to: &Range<usize>) -> Action {
        match op {
            Op::Fill(x) => Action::Fill(x.value()),
            Op::Eye => Action::Eye(shape[0]),
            Op::Reshape | Op::Permute(_) | Op::Slice(..) | Op::Expand | Op::Alias(_) => {
                Action::Copy(Loops::new(&args[0].shape, [args[0]]))
            }
            Op::Unary(op) => Action::Unary(*op, Loops::new(shape, [args[0]])),
            Op::Binary(op) => Action::Binary(*op, Loops::new(shape, [args[0], args[1]])),
            Op::MulSum(_) => Action::Mul(Loops::new(shape, [args[0], args[1]])),
            Op::Weight => Action::Weight(Loops::new(shape, [args[0], args[1]])),
            Op::Select => Action::Select(Loops::new(shape, [args[0], args[1], args[2]])),
            Op::Sum(_) => Action::Sum(Loops::reducing(shape, args[0])),
            Op::LogSumExp(axis) => {
                let of = &args[0].shape;
                Action::LogSumExp(args[0].start, [of[*axis], size(&of[axis + 1..])])
            }
            Op::Pad(axis, before) => {
                let start: usize = before * size(&shape[axis + 1..]);
                Action::Pad { from: Loops::strided(shape, args[0]), start }
            }
            Op::Concat(axis) => {
                let mut start = 0;
                let inner = size(&shape[axis + 1..]);
                let mut parts = Vec::new();
                for arg in args {
                    parts.push((Loops::strided(shape, arg), start * inner));
                    start += arg.shape[*axis];
                }
                Action::Concat(parts)
            }
            Op::Pick(index) | Op::Place(index) => {
                let place = matches!(op, Op::Place(_));
                let wide = if place { shape } else { &args[0].shape };
                let width = wide.last().copied().unwrap_or(1);
                Action::Pick { index: index.clone(), from: args[0].start, width, place }
            }
            Op::Scan(scan) => {
                let sizes = scan::Sizes { rows: shape[0], states: shape[1], width: shape[2] };
                Action::Scan(*scan, [args[0].start, args[1].start, args[2].start], sizes)
            }
            Op::ScanGrad => {
                let sizes = scan::Sizes { rows: shape[0], states: shape[1], width: shape[2] };
                Action::ScanGrad([args[0].start, args[1].start], sizes)
            }
            Op::Largest(count) => {
                let width = shape.last().copied().unwrap_or(1);
                Action::Largest { from: args[0].start, width, count: *count }
            }
            Op::LinearSolve(transposed) => {
                let n = shape[shape.len() - 2];
                self.scratch = self.scratch.max(n * n);
                let sizes = [n, shape[shape.len() - 1]];
                Action::LinearSolve([args[0].start, args[1].start], sizes, *transposed)
            }
            _ => {
                let (kind, versions) = decay::Kind::of(op);
                let ranges: Vec<Range<usize>> =
                    args.iter().map(|view| view.start..view.start + size(&view.shape)).collect();
                let sizes = kind.sizes(args, shape);
                self.scratch = self.scratch.max(kind.scratch(&versions, sizes, self.fades));
                debug_assert_eq!(to.len(), size(shape));
                Action::Decay(kind, versions, ranges, sizes, self.fades)
            }
        }
    }
}
