//! Runs tile programs on the CPU, in f32 or f64.
//!
//! A [`Plan`] is made once per program: it decides where every value lives in one block of memory
//! and turns each node into a loop over it. Moves (reshape, permute, slice, expand) cost nothing:
//! they are other strides over the same memory. A [`Machine`] holds that memory; running allocates
//! nothing.

mod actions;
mod decay;
mod layout;
mod linear;
mod loops;
mod mask;
mod product;
mod scan;
mod sums;

use std::ops::Range;

use crate::memory;
use crate::num::Real;
use crate::tile::mask::{Mask, masks};
use crate::tile::wanted::{Wanted, wanted};
use crate::tile::{Binary, Gather, Int, Leaf, Op, Past, Program, Scan, Unary, Value, Versions};
use layout::Layout;
use loops::{Loops, Sides, Two};
use mask::Placed;
use product::Product;

/// How to run one program.
#[derive(Clone, Debug)]
pub struct Plan {
    leaves: Vec<(Leaf, Range<usize>)>,
    /// Whether each leaf may be lent.
    lent: Vec<bool>,
    steps: Vec<Work>,
    outputs: Vec<Range<usize>>,
    length: usize,
    scratch: usize,
    regions: Vec<Region>,
    /// Whether no decay exceeds 1.
    fades: bool,
}

/// What is known of a program from outside.
pub struct Surroundings<'a> {
    /// Leaves that the caller may lend.
    pub lent: &'a dyn Fn(&Leaf) -> bool,
    /// Whether no decay exceeds 1.
    pub fades: bool,
    /// The masks of kept leaves.
    pub kept: &'a dyn Fn(usize) -> Option<Mask>,
    /// What is read of each result.
    pub results: &'a dyn Fn(usize) -> Wanted,
}

/// The values of a leaf where the caller has them, dense; `None` for leaves that are fed.
pub type Lend<'f, 'a, R> = dyn Fn(&Leaf) -> Option<&'a [R]> + 'f;

/// Fills a leaf: which one, the positions bound by enclosing sums over the past, and where to.
pub type Feed<'a, R> = dyn FnMut(&Leaf, &[i64], &mut [R]) + 'a;

/// The term of a sum over the past, with its own memory.
#[derive(Clone, Debug)]
struct Region {
    plan: Plan,
    past: Past,
    captured: Vec<Range<usize>>,
}

/// One loop over memory; ranges and offsets are positions in it.
#[derive(Clone, Debug)]
struct Step {
    to: Range<usize>,
    action: Action,
}

/// What a node becomes.
#[derive(Clone, Debug)]
enum Work {
    Loop(Step),
    /// A sum over the past: its region, and where its result lies.
    Past(usize, Range<usize>),
}

#[derive(Clone, Debug)]
enum Action {
    Fill(f64),
    Eye(usize),
    Unary(Unary, Loops<1>),
    Binary(Binary, Loops<2>),
    Mul(Loops<2>),
    Weight(Loops<2>),
    Select(Loops<3>),
    Copy(Loops<1>),
    Sum(Loops<1>),
    /// Where the argument begins, its entries along the axis, and the distance between them.
    LogSumExp(usize, [usize; 2]),
    Product(Product),
    /// Clears what a mask excludes; rows, columns, and numbers of each entry.
    Mask(Placed, [usize; 3]),
    Pad {
        from: Loops<1>,
        start: usize,
    },
    Concat(Vec<(Loops<1>, usize)>),
    Pick {
        index: Int,
        from: usize,
        width: usize,
        place: bool,
    },
    /// Where the matrices and the right sides begin, rows, columns, and whether transposed.
    LinearSolve([usize; 2], [usize; 2], bool),
    Scan(Scan, [usize; 3], scan::Sizes),
    ScanGrad([usize; 2], scan::Sizes),
    Largest {
        from: usize,
        width: usize,
        count: usize,
    },
    /// The flag says that no decay exceeds 1.
    Decay(decay::Kind, Versions, Vec<Range<usize>>, [usize; 3], bool),
}

/// The memory of a running program; see [`crate::memory`].
#[derive(Debug, Default)]
pub struct Machine<R: Real> {
    memory: Vec<R>,
    scratch: Vec<R>,
    regions: Vec<Machine<R>>,
}

impl<R: Real> Machine<R> {
    /// Memory for a plan. In debug builds it is not a number, so that a read of what nobody wrote
    /// shows.
    pub fn new(plan: &Plan) -> Machine<R> {
        let fresh = |length: usize| {
            let mut taken = memory::take(length);
            if cfg!(debug_assertions) {
                taken.fill(R::of(f64::NAN));
            }
            taken
        };
        Machine {
            memory: fresh(plan.length),
            scratch: fresh(plan.scratch),
            regions: plan.regions.iter().map(|region| Machine::new(&region.plan)).collect(),
        }
    }
}

impl<R: Real> Drop for Machine<R> {
    fn drop(&mut self) {
        memory::give(std::mem::take(&mut self.memory));
        memory::give(std::mem::take(&mut self.scratch));
    }
}

impl Plan {
    /// Plans a program; see the promises in [`crate::tile::verify`].
    pub fn new(program: &Program) -> Plan {
        Plan::lending(program, &|_| false)
    }

    /// Plans a program of whose leaves the caller may lend those that `lent` says.
    pub fn lending(program: &Program, lent: &dyn Fn(&Leaf) -> bool) -> Plan {
        let surroundings =
            Surroundings { lent, fades: true, kept: &|_| None, results: &|_| Wanted::All };
        Plan::within(program, &surroundings)
    }

    /// Plans a program given what is known of its surroundings.
    pub fn within(program: &Program, surroundings: &Surroundings) -> Plan {
        let Surroundings { lent, fades, kept, results } = *surroundings;
        debug_assert_eq!(crate::tile::verify::verify(program), Ok(()));
        // Terms over the past copy what they capture from the memory itself.
        let past = program.nodes.iter().any(|node| matches!(node.op, Op::Past(_)));
        let lent = |leaf: &Leaf| !past && lent(leaf);
        let masks = masks(program, kept);
        let layout = Layout::new(program, &lent, &masks);
        let wanted = wanted(program, &masks, results);
        let mut plan = Plan {
            leaves: Vec::new(),
            lent: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
            length: 0,
            scratch: 0,
            regions: Vec::new(),
            fades,
        };
        for (at, node) in program.nodes.iter().enumerate() {
            let value = Value(at as u32);
            let Some(to) = layout.owned(value) else { continue };
            if let Op::Leaf(leaf) = &node.op {
                plan.leaves.push((leaf.clone(), to));
                plan.lent.push(lent(leaf));
                continue;
            }
            let product = match layout.fused.get(&at) {
                Some(fused) => {
                    plan.sum(program, &layout, fused, to.clone());
                    fused.product
                }
                None => {
                    plan.compute(&layout, at, node, to.clone());
                    at
                }
            };
            plan.narrow(program, &layout, &masks, &wanted, [at, product]);
            plan.keep_apart(program, &layout, &masks, [at, product], to);
        }
        for output in &layout.outputs {
            if let Some(copy) = &output.copy {
                let action = Action::Copy(Loops::new(&copy.shape, [copy]));
                plan.push(output.at.clone(), action);
            }
            plan.outputs.push(output.at.clone());
        }
        plan.length = layout.length;
        plan
    }

    /// Runs the program at token `t`. `feed` fills each leaf; `bound` holds the positions that
    /// enclosing sums over the past bind.
    pub fn run<R: Real>(
        &self,
        machine: &mut Machine<R>,
        t: i64,
        bound: &[i64],
        feed: &mut Feed<'_, R>,
    ) {
        self.run_lent(machine, t, bound, &|_| None, feed);
    }

    /// As [`Plan::run`]; leaves that `lend` gives, of those that the plan was told of, are read
    /// where they are.
    pub fn run_lent<'a, R: Real>(
        &self,
        machine: &mut Machine<R>,
        t: i64,
        bound: &[i64],
        lend: &Lend<'_, 'a, R>,
        feed: &mut Feed<'_, R>,
    ) {
        let mut lent: Vec<(Range<usize>, &'a [R])> = Vec::new();
        for ((leaf, at), may) in self.leaves.iter().zip(&self.lent) {
            match lend(leaf) {
                Some(data) if *may => {
                    assert!(data.len() >= at.len(), "a lent leaf has all its numbers");
                    lent.push((at.clone(), data));
                }
                _ if matches!(leaf, Leaf::Outer(_)) => {}
                _ => feed(leaf, bound, &mut machine.memory[at.clone()]),
            }
        }
        let arch = pulp::Arch::new();
        for step in &self.steps {
            match step {
                Work::Past(index, to) => self.past(machine, *index, to, t, bound, feed),
                Work::Loop(Step { to, action }) => {
                    let Machine { memory, scratch, .. } = machine;
                    let (to, from) = Sides::split(memory, to.clone(), &lent);
                    // The loops are compiled once per kind of vector unit; the best one here runs.
                    arch.dispatch(StepRun { action, to, from: &from, scratch, t, bound });
                }
            }
        }
    }

    /// Runs the term of a sum over the past by itself: `feed` fills captured values too.
    pub fn run_term<R: Real>(
        &self,
        machine: &mut Machine<R>,
        t: i64,
        bound: &[i64],
        feed: &mut Feed<'_, R>,
    ) {
        for (leaf, at) in &self.leaves {
            if matches!(leaf, Leaf::Outer(_)) {
                feed(leaf, bound, &mut machine.memory[at.clone()]);
            }
        }
        self.run(machine, t, bound, feed);
    }

    fn past<R: Real>(
        &self,
        machine: &mut Machine<R>,
        index: usize,
        to: &Range<usize>,
        t: i64,
        bound: &[i64],
        feed: &mut Feed<'_, R>,
    ) {
        let region = &self.regions[index];
        let Machine { memory, regions, .. } = machine;
        let inner = &mut regions[index];
        let start = match region.past.gather {
            Gather::Sum => R::ZERO,
            Gather::LogSumExp => R::of(f64::NEG_INFINITY),
        };
        memory[to.clone()].fill(start);
        region.capture(inner, |captured| &memory[captured]);
        let (low, high) = (region.past.low.eval(t, bound), region.past.high.eval(t, bound));
        for u in low.max(0)..=high.min(t) {
            let positions = [bound, &[u]].concat();
            region.plan.run(inner, t, &positions, feed);
            let term = region.plan.output(inner, 0);
            for (sum, &x) in memory[to.clone()].iter_mut().zip(term) {
                *sum = match region.past.gather {
                    Gather::Sum => *sum + x,
                    Gather::LogSumExp => Binary::LogAddExp.eval(*sum, x),
                };
            }
        }
    }

    /// A result of the last run.
    pub fn output<'m, R: Real>(&self, machine: &'m Machine<R>, index: usize) -> &'m [R] {
        &machine.memory[self.outputs[index].clone()]
    }

    /// How many results there are.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The leaves.
    pub fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter().map(|(leaf, _)| leaf)
    }

    /// Numbers that the program's memory holds.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Region {
    fn capture<'a, R: Real>(
        &self,
        inner: &mut Machine<R>,
        outside: impl Fn(Range<usize>) -> &'a [R],
    ) {
        for (leaf, at) in &self.plan.leaves {
            if let Leaf::Outer(k) = leaf {
                inner.memory[at.clone()].copy_from_slice(outside(self.captured[*k].clone()));
            }
        }
    }
}

/// One step with its memory, as a closure that can be inlined into each version of the loops.
struct StepRun<'a, 'm, R> {
    action: &'a Action,
    to: &'a mut [R],
    from: &'a Sides<'m, R>,
    scratch: &'a mut [R],
    t: i64,
    bound: &'a [i64],
}

impl<R: Real> pulp::NullaryFnOnce for StepRun<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        run_step(self.action, self.to, self.from, self.scratch, self.t, self.bound);
    }
}

#[expect(clippy::too_many_lines, reason = "a flat match: one case for each loop")]
#[inline(always)]
fn run_step<R: Real>(
    action: &Action,
    to: &mut [R],
    from: &Sides<'_, R>,
    scratch: &mut [R],
    t: i64,
    bound: &[i64],
) {
    match action {
        Action::Fill(x) => to.fill(R::of(*x)),
        Action::Eye(n) => {
            to.fill(R::ZERO);
            to.iter_mut().step_by(n + 1).for_each(|x| *x = R::ONE);
        }
        Action::Unary(op, loops) => loops::unary(*op, loops, to, from),
        Action::Binary(op, loops) => loops::two(Two::Op(*op), loops, to, from),
        Action::Mul(loops) => loops::two(Two::Mul, loops, to, from),
        Action::Weight(loops) => loops::two(Two::Weight, loops, to, from),
        Action::Select(loops) => loops::select(loops, to, from),
        Action::Copy(loops) => loops::copy(loops, to, from),
        Action::Sum(loops) => {
            to.fill(R::ZERO);
            loops::sum(loops, to, from);
        }
        Action::LogSumExp(start, along) => loops::log_sum_exp(to, from.at(*start), *along),
        Action::Product(product) => product.run(to, from),
        Action::Mask(mask, sizes) => mask.clear(to, from, *sizes),
        Action::Pad { from: loops, start } => {
            to.fill(R::ZERO);
            loops::copy(loops, &mut to[*start..], from);
        }
        Action::Concat(parts) => {
            for (loops, start) in parts {
                loops::copy(loops, &mut to[*start..], from);
            }
        }
        Action::Pick { index, from: start, width, place } => {
            let at = index.eval(t, bound).clamp(0, *width as i64 - 1) as usize;
            if *place {
                to.fill(R::ZERO);
                let given = from.at(*start);
                to.chunks_mut(*width).zip(given).for_each(|(row, x)| row[at] = *x);
            } else {
                let rows = from.at(*start).chunks(*width);
                to.iter_mut().zip(rows).for_each(|(x, row)| *x = row[at]);
            }
        }
        Action::Decay(kind, versions, ranges, sizes, fades) => {
            let args: Vec<&[R]> =
                ranges.iter().map(|range| &from.at(range.start)[..range.len()]).collect();
            decay::run(*kind, versions, *sizes, *fades, &args, to, scratch);
        }
        Action::LinearSolve([a, b], sizes, transposed) => {
            to.copy_from_slice(&from.at(*b)[..to.len()]);
            linear::solve(from.at(*a), to, scratch, *sizes, *transposed);
        }
        Action::Scan(kind, [a, b, start], sizes) => {
            scan::forward(*kind, to, from.at(*a), from.at(*b), from.at(*start), *sizes);
        }
        Action::ScanGrad([a, dy], sizes) => {
            scan::backward(to, from.at(*a), from.at(*dy), *sizes);
        }
        Action::Largest { from: start, width, count } => {
            let rows = from.at(*start).chunks_exact(*width);
            to.chunks_exact_mut(*width).zip(rows).for_each(|(to, row)| {
                let before = |i: usize, j: usize| row[j] > row[i] || (row[j] == row[i] && j < i);
                for (i, x) in to.iter_mut().enumerate() {
                    let ahead = (0..*width).filter(|j| before(i, *j)).count();
                    *x = if ahead < *count { R::ONE } else { R::ZERO };
                }
            });
        }
    }
}
