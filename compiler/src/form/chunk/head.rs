//! One head of one sequence in the chunk form, and several of them side by side.

use super::{Chunked, Programs, Rows, Task, Wrt};
use crate::form::task::zero_params;
use crate::form::{Cotangents, add};
use crate::interpret::{Machine, Plan};
use crate::memory;
use crate::num::Real;
use crate::tile::{Int, Leaf, Stream, size};

/// One sequence and one head.
pub struct Head<'a, 'p, R> {
    form: &'a Chunked,
    task: Task<'a, 'p, R>,
    /// Where each state lies among all of them.
    offsets: Vec<usize>,
}

/// A chunk of a sequence.
#[derive(Clone, Copy)]
struct Piece {
    /// Which one.
    at: usize,
    /// Its first token.
    first: usize,
    /// Its tokens.
    count: usize,
}

/// The machines of full chunks and of the last one, each made when it is first needed.
struct Machines<'a, R: Real> {
    full: (&'a Plan, Option<Machine<R>>),
    tail: (&'a Plan, Option<Machine<R>>),
}

impl<'a, R: Real> Machines<'a, R> {
    fn new(form: &'a Chunked, plan: impl Fn(&'a Programs) -> &'a Plan) -> Machines<'a, R> {
        Machines { full: (plan(&form.full), None), tail: (plan(&form.tail), None) }
    }

    fn of(&mut self, head: &Head<R>, piece: Piece) -> (&'a Plan, &mut Machine<R>) {
        let full = piece.count == head.form.tokens;
        let (plan, made) = if full { &mut self.full } else { &mut self.tail };
        (*plan, made.get_or_insert_with(|| Machine::new(plan)))
    }
}

impl<'a, 'p, R: Real> Head<'a, 'p, R> {
    /// Prepares a task.
    pub fn new(form: &'a Chunked, task: Task<'a, 'p, R>) -> Head<'a, 'p, R> {
        let mut at = 0;
        let states = task.problem.recurrence.states.iter();
        let offsets = states.map(|slot| {
            at += size(&slot.shape);
            at - size(&slot.shape)
        });
        Head { form, task, offsets: offsets.collect() }
    }

    fn pieces(&self) -> Vec<Piece> {
        let (tokens, c) = (self.task.tokens(), self.form.tokens);
        (0..tokens.div_ceil(c))
            .map(|at| Piece { at, first: at * c, count: c.min(tokens - at * c) })
            .collect()
    }

    /// Where the record of a chunk begins among those of the sequence.
    fn record(&self, piece: Piece) -> usize {
        piece.at * self.form.full.record(self.task.problem.recurrence)
    }

    /// Numbers of all records.
    fn records(&self) -> usize {
        let last = self.pieces().last().copied();
        last.map_or(0, |piece| {
            self.record(piece) + self.programs(piece).record(self.task.problem.recurrence)
        })
    }

    fn programs(&self, piece: Piece) -> &'a Programs {
        if piece.count == self.form.tokens { &self.form.full } else { &self.form.tail }
    }

    /// Fills a leaf that the states have no part in.
    fn feed(&self, leaf: &Leaf, piece: Piece, to: &mut [R]) {
        let Piece { first, count, .. } = piece;
        let token = |row: usize| (first + row.min(count - 1)) as i64;
        match leaf {
            Leaf::Read(Stream::Input(i), at) => match at.lag() {
                Some(lag) => self.task.input(*i, |row| token(row) - lag, to),
                None => self.task.input(*i, |row| at.eval(token(row), &[]), to),
            },
            Leaf::Param(i) => self.task.param(*i, to),
            Leaf::Number(at) => {
                for (row, x) in to.iter_mut().enumerate() {
                    *x = R::of(at.eval(token(row), &[]) as f64);
                }
            }
            Leaf::Head => to.fill(R::of(self.task.head as f64)),
            Leaf::Valid => {
                to[..count].fill(R::ONE);
                to[count..].fill(R::ZERO);
            }
            other => unreachable!("{other} is filled elsewhere"),
        }
    }

    /// All states before the first token, one after the other.
    fn initial(&self) -> Vec<R> {
        let plan = &self.form.init;
        let mut machine = Machine::new(plan);
        let first = Piece { at: 0, first: 0, count: 1 };
        plan.run(&mut machine, 0, &[], &mut |leaf, _, to| self.feed(leaf, first, to));
        let mut carry = Vec::new();
        let p = self.task.problem;
        for (k, slot) in p.recurrence.states.iter().enumerate() {
            match p.initial[k] {
                Some(given) => {
                    carry.extend_from_slice(&given[self.task.place(size(&slot.shape))]);
                }
                None => carry.extend_from_slice(plan.output(&machine, k)),
            }
        }
        carry
    }

    fn final_cotangents(&self, cotangents: &Cotangents<R>) -> Vec<R> {
        let r = self.task.problem.recurrence;
        let mut d = Vec::with_capacity(r.state_size());
        for (k, slot) in r.states.iter().enumerate() {
            let one = size(&slot.shape);
            match cotangents.finals.get(k).copied().flatten() {
                Some(given) => d.extend_from_slice(&given[self.task.place(one)]),
                None => d.resize(d.len() + one, R::ZERO),
            }
        }
        d
    }

    /// A declared initial value may come from parameters.
    fn initial_gradients(&self, d_carry: &[R], params: &mut [Vec<R>]) {
        let (plan, targets) = &self.form.init_params;
        if targets.is_empty() {
            return;
        }
        let mut machine = Machine::new(plan);
        let first = Piece { at: 0, first: 0, count: 1 };
        plan.run(&mut machine, 0, &[], &mut |leaf, _, to| match leaf {
            Leaf::Cotangent(Stream::State(k)) if self.task.problem.initial[*k].is_none() => {
                to.copy_from_slice(&d_carry[self.offsets[*k]..][..to.len()]);
            }
            Leaf::Cotangent(_) => to.fill(R::ZERO),
            other => self.feed(other, first, to),
        });
        for (k, i) in targets.iter().enumerate() {
            add(&mut params[*i], plan.output(&machine, k));
        }
    }
}

/// A head on its way forward.
pub struct Forward<R> {
    /// The states: first those before the first token, at last those after the last one.
    pub carry: Vec<R>,
    /// The records of the chunks, if they are kept.
    pub records: Vec<R>,
}

impl<R: Real> Forward<R> {
    /// Runs heads of one sequence and writes their rows of the outputs; where heads add up, the
    /// first of them has the rows.
    pub fn run(heads: Vec<Head<R>>, mut rows: Vec<Vec<Rows<R>>>, keep: bool) -> Vec<Forward<R>> {
        let mut forwards: Vec<Forward<R>> = heads
            .iter()
            .map(|head| {
                let records = if keep { memory::take(head.records()) } else { Vec::new() };
                Forward { carry: head.initial(), records }
            })
            .collect();
        let Some(first) = heads.first() else { return forwards };
        let mut machines =
            Machines::new(
                first.form,
                |programs| {
                    if keep { &programs.keeping } else { &programs.forward }
                },
            );
        let sum = first.task.problem.sum;
        for piece in first.pieces() {
            for (at, (head, forward)) in heads.iter().zip(&mut forwards).enumerate() {
                let before = head.task.head % sum;
                forward.step(head, &mut rows[at - before], before > 0, piece, &mut machines, keep);
            }
        }
        forwards
    }

    fn step(
        &mut self,
        head: &Head<R>,
        rows: &mut [Rows<R>],
        adds: bool,
        piece: Piece,
        machines: &mut Machines<R>,
        keep: bool,
    ) {
        let r = head.task.problem.recurrence;
        let programs = head.programs(piece);
        let (plan, machine) = machines.of(head, piece);
        let lend = |leaf: &Leaf| match leaf {
            Leaf::Carry(k) => Some(&self.carry[head.offsets[*k]..]),
            _ => None,
        };
        let feed = &mut |leaf: &Leaf, _: &[i64], to: &mut [R]| head.feed(leaf, piece, to);
        plan.run_lent(machine, 0, &[], &lend, feed);
        for (k, slot) in r.outs.iter().enumerate() {
            let made = &plan.output(machine, k)[..piece.count * size(&slot.shape)];
            if adds { rows[k].add(piece.first, made) } else { rows[k].put(piece.first, made) }
        }
        let states = r.outs.len()..r.outs.len() + r.states.len();
        if keep {
            let record = &mut self.records[head.record(piece)..];
            record[..self.carry.len()].copy_from_slice(&self.carry);
            for (place, k) in programs.kept.iter().zip(states.end..) {
                record[place.clone()].copy_from_slice(plan.output(machine, k));
            }
        }
        for (k, offset) in states.zip(&head.offsets) {
            let state = plan.output(machine, k);
            self.carry[*offset..][..state.len()].copy_from_slice(state);
        }
    }
}

/// Takes a gradient of an input: which, at which positions, the rows, and numbers in a row.
type Give<'g, R> = dyn FnMut(usize, &Int, &[R], usize) + 'g;

/// A head and its records.
type Recorded<'a, 'p, 'k, R> = (Head<'a, 'p, R>, &'k [R]);

/// A head on its way back.
pub struct Backward<R> {
    /// The gradients of the parameters.
    pub params: Vec<Vec<R>>,
    /// The gradient of the states: at last of those before the first token.
    pub d_carry: Vec<R>,
}

impl<R: Real> Backward<R> {
    /// Runs heads of one sequence, given their records, and writes their rows of the inputs'
    /// gradients; of `shares[i]` heads that write to the same rows of input `i`, the first has them.
    pub fn run(
        heads: Vec<Recorded<R>>,
        mut rows: Vec<Vec<Rows<R>>>,
        shares: &[usize],
        cotangents: &Cotangents<R>,
    ) -> Vec<Backward<R>> {
        let mut backwards: Vec<Backward<R>> = heads
            .iter()
            .map(|(head, _)| Backward {
                params: zero_params(head.task.problem),
                d_carry: head.final_cotangents(cotangents),
            })
            .collect();
        let Some((first, _)) = heads.first() else { return backwards };
        let mut machines = Machines::new(first.form, |programs| &programs.backward);
        for piece in first.pieces().into_iter().rev() {
            for (at, ((head, records), backward)) in heads.iter().zip(&mut backwards).enumerate() {
                let record = &records[head.record(piece)..];
                let give = &mut |input: usize, target: &Int, d: &[R], one: usize| {
                    let before = head.task.head % shares[input];
                    let rows = &mut rows[at - before][input];
                    if !head.form.full.once[input] {
                        rows.add_read(target, piece.first, d, one);
                    } else if before > 0 {
                        rows.add(piece.first, d);
                    } else {
                        rows.put(piece.first, d);
                    }
                };
                backward.step(head, give, record, cotangents, piece, &mut machines);
            }
        }
        for ((head, _), backward) in heads.iter().zip(&mut backwards) {
            head.initial_gradients(&backward.d_carry, &mut backward.params);
        }
        backwards
    }

    fn step(
        &mut self,
        head: &Head<R>,
        give: &mut Give<R>,
        record: &[R],
        cotangents: &Cotangents<R>,
        piece: Piece,
        machines: &mut Machines<R>,
    ) {
        let p = head.task.problem;
        let r = p.recurrence;
        let programs = head.programs(piece);
        let (plan, machine) = machines.of(head, piece);
        let lend = |leaf: &Leaf| match leaf {
            Leaf::Carry(k) => Some(&record[head.offsets[*k]..]),
            Leaf::CarryCotangent(k) => Some(&self.d_carry[head.offsets[*k]..]),
            Leaf::Kept(k) => Some(&record[programs.kept[*k].clone()]),
            _ => None,
        };
        plan.run_lent(machine, 0, &[], &lend, &mut |leaf, _, to| match leaf {
            Leaf::Cotangent(Stream::Out(k)) => {
                let one = size(&r.outs[*k].shape);
                let row = head.task.start() + piece.first;
                let (heads, own) = (p.heads / p.sum, head.task.head / p.sum);
                cotangents.rows(*k, one, heads, own, row, piece.count, to);
            }
            other => head.feed(other, piece, to),
        });
        self.d_carry.fill(R::ZERO);
        for (k, wrt) in programs.wrt.iter().enumerate() {
            let d = plan.output(machine, k);
            match wrt {
                Wrt::Carry(state) => {
                    add(&mut self.d_carry[head.offsets[*state]..][..d.len()], d);
                }
                Wrt::Param(i) => add(&mut self.params[*i], d),
                Wrt::Input(i, at) => {
                    let one = size(&r.inputs[*i].shape);
                    give(*i, at, &d[..piece.count * one], one);
                }
            }
        }
    }
}
