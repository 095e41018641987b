//! Recurrences whose states go on from segment to segment.
//!
//! A segment that lies inside a sequence makes `A S + W` of the states `S` that enter it. All say their `A` and `W`, and each
//! composes what enters it; on the way back gradients go `Aᵀ D + C`, with `C` what the own outputs give. Where nothing smaller
//! than the recurrence says what a segment does, states are handed over, one segment after the other.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use lrc_compiler::graph::Recur;
use lrc_compiler::tile::size;
use rayon::prelude::*;

use super::super::walk::recurrence;
use super::past::given;
use super::{Carrier, On};
use crate::device::backend::{Call, Flows, Part};
use crate::device::store::Tensor;
use crate::ground::error::Failure;

/// One number list per state: of all heads of one sequence.
type States = Vec<Vec<f32>>;

/// A recurrence at work on a segment.
struct Recurring<'a> {
    /// The forward node.
    of: usize,
    recur: &'a Recur,
    operands: &'a [Tensor],
    /// Rows of the sequence that goes on here.
    head: usize,
    /// Sequences that begin here.
    bounds: Vec<usize>,
}

impl Recurring<'_> {
    fn inputs(&self) -> usize {
        self.recur.recurrence.inputs.len()
    }

    /// Numbers of each state of one sequence.
    fn sizes(&self) -> Vec<usize> {
        let states = self.recur.recurrence.states.iter();
        states.map(|slot| self.recur.heads * size(&slot.shape)).collect()
    }
}

/// What flows out of a recurrence, and where it goes.
struct Back<'a> {
    d_outs: Vec<Option<Tensor>>,
    to: &'a [Tensor],
}

impl Carrier {
    /// Numbers of each transition of all heads.
    fn sizes(&self) -> Vec<usize> {
        let states = 0..self.transition.mixing.len();
        states.map(|k| self.recur.heads * self.transition.size(k)).collect()
    }

    /// `A x + w`, or `Aᵀ x + w` where `turned`.
    fn compose(&self, a: &States, x: &States, turned: bool, w: &States) -> States {
        let mut made = w.clone();
        for (k, to) in made.iter_mut().enumerate() {
            let (n, one) = (self.transition.size(k), to.len() / self.recur.heads);
            let heads = a[k].par_chunks(n).zip(x[k].par_chunks(one));
            to.par_chunks_mut(one)
                .zip(heads)
                .for_each(|(to, (a, x))| self.transition.apply(k, a, x, turned, to));
        }
        made
    }
}

/// Takes lists of these sizes off the front.
fn take(words: &mut &[f32], sizes: &[usize]) -> States {
    let one = |n: &usize| {
        let (own, rest) = words.split_at(*n);
        *words = rest;
        own.to_vec()
    };
    sizes.iter().map(one).collect()
}

impl On<'_, '_, '_> {
    /// The forward pass.
    pub(super) fn carry(
        &mut self,
        recur: &Recur,
        operands: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let (head, bounds) = self.split();
        let on = Recurring { of: self.at, recur, operands, head, bounds };
        let own = self.segment.own;
        let mut leaves = None;
        if head < self.pass.rows() {
            let finals = self.forward(&on, Part::Own, None, outputs)?;
            leaves = Some(finals).filter(|_| self.segment.goes_on(own));
        }
        let Some(carrier) = self.segments.carrier(self.at, recur) else {
            return self.hand_on(&on, leaves, outputs);
        };
        let mut mine: Vec<f32> = vec![];
        if self.segment.inside(own) {
            let a = self.transition(&on, &carrier)?;
            mine.extend(a.iter().flatten());
            leaves = Some(self.leaves_of_nothing(&on, outputs)?);
            if self.keeps() {
                self.segments.kept.insert(self.at, a);
            }
        }
        mine.extend(leaves.iter().flatten().flatten());
        let entering = self.composed(&on, &carrier, &mine, false)?;
        if head > 0 {
            self.forward(&on, Part::Head, entering.as_ref(), outputs)?;
            self.remember(entering);
        }
        Ok(())
    }

    /// The states that enter this segment, or on the way back what flows into those that it leaves, from what all say of theirs;
    /// nothing where no sequence goes on.
    fn composed(
        &mut self,
        on: &Recurring,
        carrier: &Carrier,
        mine: &[f32],
        back: bool,
    ) -> Result<Option<States>, Failure> {
        let (segment, own, count) = (self.segment, self.segment.own, self.segment.count());
        let of = |by| if back { segment.later(by) } else { segment.earlier(by) };
        let (of_a, of_w) = (carrier.sizes(), on.sizes());
        let says = |other| {
            let a = if segment.inside(other) { of_a.iter().sum() } else { 0 };
            a + of_w.iter().sum::<usize>()
        };
        let words = |other| if of(other).contains(&own) { mine.to_vec() } else { vec![] };
        let lengths = |other| if of(own).contains(&other) { says(other) } else { 0 };
        let (to, lengths) = ((0..count).map(words).collect(), (0..count).map(lengths));
        let said = self.exchange(to, &lengths.collect::<Vec<_>>())?;
        let mut order: Vec<usize> = of(own).collect();
        if back {
            order.reverse();
        }
        let mut composed: Option<States> = None;
        for other in order {
            let mut words = said[other].as_slice();
            let a = segment.inside(other).then(|| take(&mut words, &of_a));
            let w = take(&mut words, &of_w);
            composed = Some(match (a, composed) {
                (Some(a), Some(x)) => carrier.compose(&a, &x, back, &w),
                _ => w,
            });
        }
        Ok(composed)
    }

    /// States go from hand to hand.
    fn hand_on(
        &mut self,
        on: &Recurring,
        mut leaves: Option<States>,
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let (own, count) = (self.segment.own, self.segment.count());
        let (sizes, mut entering) = (on.sizes(), None);
        for turn in 0..count {
            if turn == own && on.head > 0 {
                let finals = self.forward(on, Part::Head, entering.as_ref(), outputs)?;
                self.remember(entering.take());
                if self.segment.inside(own) {
                    leaves = Some(finals);
                }
            }
            if turn + 1 < count {
                let gives = self.segment.goes_on(turn);
                let said = self.hand(turn, turn + 1, leaves.as_ref().filter(|_| gives), &sizes)?;
                entering = said.or(entering);
            }
        }
        Ok(())
    }

    /// One segment's word to a neighbour; what the neighbour hears.
    fn hand(
        &mut self,
        from: usize,
        to: usize,
        states: Option<&States>,
        sizes: &[usize],
    ) -> Result<Option<States>, Failure> {
        let (own, count) = (self.segment.own, self.segment.count());
        let told = self.segment.goes_on(from.min(to));
        let (mut words, mut lengths) = (vec![vec![]; count], vec![0; count]);
        if own == from && told {
            words[to] = states.into_iter().flatten().flatten().copied().collect();
        }
        if own == to && told {
            lengths[from] = sizes.iter().sum();
        }
        let said = self.exchange(words, &lengths)?;
        Ok((own == to && told).then(|| take(&mut said[from].as_slice(), sizes)))
    }

    /// Whether the way back reads what the node at hand keeps.
    fn keeps(&self) -> bool {
        self.pass.training && self.walk.prepared.keeps[self.at]
    }

    /// Keeps the states that enter this segment for the way back, which is given the same call.
    fn remember(&mut self, entering: Option<States>) {
        if let Some(entering) = entering.filter(|_| self.keeps()) {
            self.segments.entered.insert(self.at, entering);
        }
    }

    /// The rows of one of the two calls: of the sequence that goes on here, or of those that begin here.
    fn rows_of(&self, on: &Recurring, part: Part) -> Range<usize> {
        if part == Part::Head { 0..on.head } else { on.head..self.pass.rows() }
    }

    /// Runs one of the two calls. Gives the states after its last token.
    fn forward(
        &mut self,
        on: &Recurring,
        part: Part,
        entering: Option<&States>,
        outputs: &[Tensor],
    ) -> Result<States, Failure> {
        let keep = self.keeps();
        let rows = self.rows_of(on, part);
        let (to, sizes) = (self.take_all(outputs, &rows)?, on.sizes());
        let finals = self.called(on, part, entering, |on, call| {
            let finals = on.walk.parameters.backend.recur(call, &to, keep)?;
            on.walk.look(on.node, call, &on.ended(&finals, part, &sizes), 0)?;
            Ok(finals)
        })?;
        self.last(on, finals)
    }

    /// The states of the sequences that end in this segment.
    fn ended(&self, finals: &[Tensor], part: Part, sizes: &[usize]) -> Vec<Tensor> {
        let own = self.segment.own;
        let last =
            if part == Part::Head { self.segment.inside(own) } else { self.segment.goes_on(own) };
        let each = finals.iter().zip(sizes);
        each.map(|(tensor, n)| tensor.part(0, tensor.words - if last { *n } else { 0 })).collect()
    }

    /// Makes one of the two calls.
    fn called<R>(
        &mut self,
        on: &Recurring,
        part: Part,
        entering: Option<&States>,
        run: impl FnOnce(&mut Self, &Call) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let rows = self.rows_of(on, part);
        let (inputs, params) = on.operands.split_at(on.inputs());
        let own = self.lend_all(inputs, &rows)?;
        let operands = [own.as_slice(), params].concat();
        let mut initial = vec![None; on.recur.recurrence.states.len()];
        for (to, state) in initial.iter_mut().zip(entering.into_iter().flatten()) {
            *to = Some(self.held(state)?);
        }
        let head = [0, on.head];
        let bounds = if part == Part::Head { &head[..] } else { &on.bounds };
        let (at, recur) = (on.of, on.recur);
        let call = Call { at, part, recur, bounds, operands: &operands, initial: &initial };
        let made = run(self, &call);
        self.free(initial.into_iter().flatten());
        self.settle()?;
        made
    }

    /// The states of the last sequence.
    fn last(&mut self, on: &Recurring, finals: Vec<Tensor>) -> Result<States, Failure> {
        let sizes = on.sizes();
        let of_last = finals.iter().zip(sizes).map(|(tensor, n)| tensor.part(tensor.words - n, n));
        let states = of_last.map(|part| self.read(part)).collect();
        self.free(finals);
        states
    }

    /// What this segment makes of zeros.
    fn leaves_of_nothing(&mut self, on: &Recurring, outputs: &[Tensor]) -> Result<States, Failure> {
        let zeros: States = on.sizes().into_iter().map(|n| vec![0.0; n]).collect();
        let finals = self.called(on, Part::Head, Some(&zeros), |on, call| {
            on.walk.parameters.backend.recur(call, outputs, false)
        })?;
        self.last(on, finals)
    }

    /// What this segment does to states alone.
    fn transition(&mut self, on: &Recurring, carrier: &Rc<Carrier>) -> Result<States, Failure> {
        let Carrier { transition, recur } = &**carrier;
        let (inputs, params) = on.operands.split_at(on.inputs());
        let own = transition.inputs.iter().map(|at| inputs[*at]);
        let operands: Vec<Tensor> =
            own.chain(transition.params.iter().map(|at| params[*at])).collect();
        let mut initial = vec![];
        for k in 0..transition.mixing.len() {
            let start = transition.start::<f32>(k).repeat(recur.heads);
            initial.push(Some(self.held(&start)?));
        }
        let bounds = [0, on.head];
        let call = Call {
            at: on.of,
            part: Part::Transition,
            recur,
            bounds: &bounds,
            operands: &operands,
            initial: &initial,
        };
        let finals = self.walk.parameters.backend.recur(&call, &[], false)?;
        self.free(initial.into_iter().flatten());
        let states = finals.iter().map(|tensor| self.read(*tensor)).collect();
        self.free(finals);
        states
    }

    /// The way back.
    pub(super) fn carry_grad(
        &mut self,
        of: usize,
        outs: &[bool],
        values: &[Tensor],
        to: &[Tensor],
    ) -> Result<(), Failure> {
        let forward = Arc::clone(&self.walk.nodes[of]);
        let recur = recurrence(&forward);
        let (operands, flows) = values.split_at(forward.inputs.len());
        let (head, bounds) = self.split();
        let on = Recurring { of, recur, operands, head, bounds };
        let back = Back { d_outs: given(outs, flows), to };
        let Some(carrier) = self.segments.carrier(of, recur) else {
            return self.hand_back(&on, &back);
        };
        let own = self.segment.own;
        let inside = self.segment.inside(own);
        let mut mine: Vec<f32> = vec![];
        if head > 0 {
            let c = self.backward(&on, Part::Head, &back, None, inside)?;
            mine.extend(
                self.segments.kept.remove(&of).filter(|_| inside).iter().flatten().flatten(),
            );
            mine.extend(c.iter().flatten());
        }
        let flows = self.composed(&on, &carrier, &mine, true)?;
        if inside {
            self.backward(&on, Part::Head, &back, flows.as_ref(), false)?;
        }
        if head < self.pass.rows() {
            self.backward(&on, Part::Own, &back, flows.as_ref(), false)?;
        }
        Ok(())
    }

    /// Gradients of states go from hand to hand.
    fn hand_back(&mut self, on: &Recurring, back: &Back) -> Result<(), Failure> {
        let (own, count, sizes) = (self.segment.own, self.segment.count(), on.sizes());
        let (mut flowing, mut c) = (None, None);
        for turn in (0..count).rev() {
            if turn == own {
                let inside = self.segment.inside(own);
                if on.head > 0 {
                    let flows = if inside { flowing.as_ref() } else { None };
                    c = Some(self.backward(on, Part::Head, back, flows, false)?);
                }
                if on.head < self.pass.rows() {
                    self.backward(on, Part::Own, back, flowing.as_ref(), false)?;
                }
            }
            if turn > 0 {
                let said = self.hand(turn, turn - 1, c.as_ref(), &sizes)?;
                flowing = said.or(flowing);
            }
        }
        Ok(())
    }

    /// Runs one of the two calls backward. Gives the gradient of the states before its first token, for the sequence that goes on
    /// here.
    fn backward(
        &mut self,
        on: &Recurring,
        part: Part,
        back: &Back,
        flowing: Option<&States>,
        again: bool,
    ) -> Result<States, Failure> {
        let rows = self.rows_of(on, part);
        let d = self.lend_some(&back.d_outs, &rows)?;
        let (to_inputs, to_params) = back.to.split_at(on.inputs());
        let to = self.take_all(to_inputs, &rows)?;
        let head = part == Part::Head;
        let sequences = if head { 1 } else { on.bounds.len() - 1 };
        let (mut finals, mut initial) = (vec![], vec![]);
        for (state, n) in flowing.into_iter().flatten().zip(on.sizes()) {
            let mut all = vec![0.0; (sequences - 1) * n];
            all.extend_from_slice(state);
            finals.push(self.held(&all)?);
        }
        for n in on.sizes().into_iter().filter(|_| head) {
            let backend = &mut self.walk.parameters.backend;
            initial.push(backend.alloc("gradient of a state", n)?);
        }
        let entered = if head { self.segments.entered.remove(&on.of) } else { None };
        self.beside(to_params, !head && on.head > 0, |this, params| {
            let to = [to.as_slice(), params].concat();
            this.called(on, part, entered.as_ref(), |this, call| {
                let flows = Flows {
                    outs: &d,
                    finals: &finals,
                    to: &to,
                    initial: &initial,
                    first: 0,
                    again,
                };
                this.walk.parameters.backend.recur_grad(call, &flows)
            })
        })?;
        if let Some(entered) = entered.filter(|_| again) {
            self.segments.entered.insert(on.of, entered);
        }
        let states = initial.iter().map(|tensor| self.read(*tensor)).collect();
        self.free(initial.into_iter().chain(finals));
        states
    }
}
