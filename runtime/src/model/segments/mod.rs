//! A batch whose rows lie with several processes, a segment each (sequence parallelism): the nodes that look across rows.
//!
//! Problem: a sequence that is too long for one process is cut, and what a row reads of rows before it lies elsewhere.
//!
//! Idea: every node says already what it keeps of a text that grows ([`super::text`]), and that is what a segment needs of those
//! before it. States are carried on by summaries ([`carry`]) whose size no length changes; rows that are read back, be it a few
//! of them or all keys, are fetched from those who hold them, and their gradients given back ([`past`]). All processes call the same
//! exchanges in the same order, also where they have nothing to say.

mod carry;
mod past;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::graph::{Kind, Node, Recur};
use lrc_compiler::strategy::transition::{Transition, transition};
use lrc_compiler::tile::{Int, Leaf, Op, Program, Stream};

use super::text::reach;
use super::walk::{Pass, Walk};
use crate::device::parameters::Parameters;
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::segment::Segment;
use crate::parallel::words::{of_numbers, to_numbers};
use crate::parallel::{Group, Place};

/// The processes that hold the segments of a batch, as one of them sees them: so many neighbours.
pub struct Segments {
    group: Arc<Group>,
    count: usize,
    /// Words that this process has sent to others, by node.
    pub sent: BTreeMap<usize, u64>,
    /// What summarises a segment of a recurrence, where anything smaller than running it does.
    transitions: HashMap<usize, Option<Rc<Carrier>>>,
    /// The transitions of the own segment, per state, from the forward pass to the way back.
    kept: HashMap<usize, Vec<Vec<f32>>>,
    /// The states that entered it.
    entered: HashMap<usize, Vec<Vec<f32>>>,
}

/// A transition as it runs beside its recurrence.
struct Carrier {
    transition: Transition,
    recur: Recur,
}

/// How a node looks across rows.
enum Across {
    /// So many rows back.
    Rows(usize),
    /// Through states.
    States,
    /// At anything before, or at no more than so many rows of it.
    Past(Option<usize>),
    /// At all rows.
    Mean,
}

impl Segments {
    /// Of a group in which so many neighbours hold the segments of a batch; their number divides that of all processes.
    pub fn new(group: Arc<Group>, count: usize) -> Segments {
        let (sent, transitions, kept, entered) = Default::default();
        Segments { group, count, sent, transitions, kept, entered }
    }

    /// Which segment this process holds.
    pub fn own(&self) -> usize {
        self.group.place().rank % self.count
    }

    /// Sends numbers to the holders of the other segments, and takes from each as many as it sends.
    fn exchange(
        &mut self,
        at: usize,
        to: Vec<Vec<f32>>,
        lengths: &[usize],
    ) -> Result<Vec<Vec<f32>>, Failure> {
        let Place { rank, size, .. } = self.group.place();
        let (own, first) = (self.own(), rank - self.own());
        let mut all = vec![vec![]; size];
        let mut from = vec![vec![]; size];
        for (other, (words, length)) in to.iter().zip(lengths).enumerate() {
            if other != own {
                all[first + other] = of_numbers(words);
                from[first + other] = vec![0; *length];
            }
        }
        let sent: usize = all.iter().map(Vec::len).sum();
        *self.sent.entry(at).or_default() += sent as u64;
        let asked = self.group.start(move |line| {
            let to: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
            line.exchange(&to, &mut from)?;
            Ok(from)
        });
        let said = asked.wait()?;
        Ok(said[first..first + self.count].iter().map(|words| to_numbers(words)).collect())
    }

    /// Takes part in an exchange to which this process has nothing to say.
    fn idle(&mut self, at: usize) -> Result<(), Failure> {
        let count = self.count;
        self.exchange(at, vec![vec![]; count], &vec![0; count]).map(|_| ())
    }

    /// How a segment of a recurrence is summarised.
    fn carrier(&mut self, at: usize, recur: &Recur) -> Option<Rc<Carrier>> {
        let made = || {
            let transition = transition(&recur.recurrence).ok()?;
            let heads = |all: &[usize], own: &[usize]| own.iter().map(|at| all[*at]).collect();
            let recur = Recur {
                recurrence: transition.recurrence.clone(),
                sum: 1,
                input_heads: heads(&recur.input_heads, &transition.inputs),
                param_heads: heads(&recur.param_heads, &transition.params),
                ..recur.clone()
            };
            Some(Rc::new(Carrier { transition, recur }))
        };
        self.transitions.entry(at).or_insert_with(made).clone()
    }
}

/// The most rows before its own that a token of a recurrence reads, where that is limited, and where a token knows of others how
/// far they are, not where they stand.
fn window(r: &Recurrence) -> Option<usize> {
    let (mut most, mut open) = (0, vec![&r.token]);
    while let Some(program) = open.pop() {
        for node in &program.nodes {
            match &node.op {
                Op::Past(past) => {
                    most = most.max(past.low.behind()?);
                    open.push(&past.term);
                }
                Op::Leaf(Leaf::Read(Stream::Input(_), Int::Bound(_))) => {}
                Op::Leaf(Leaf::Read(Stream::Input(_), at)) => most = most.max(at.lag()?),
                Op::Leaf(Leaf::Read(Stream::Export(_) | Stream::State(_), _)) => return None,
                Op::Leaf(Leaf::Number(at)) | Op::Pick(at) | Op::Place(at) if !at.is_distance() => {
                    return None;
                }
                _ => {}
            }
        }
    }
    usize::try_from(most).ok()
}

/// Inputs of a recurrence that are read at other tokens than the one at hand; all of them where states have to be computed again
/// from the beginning.
fn reads_back(r: &Recurrence) -> Vec<bool> {
    let mut back = vec![!r.states.is_empty(); r.inputs.len()];
    let mut open: Vec<&Program> = vec![&r.token];
    while let Some(program) = open.pop() {
        for node in &program.nodes {
            match &node.op {
                Op::Leaf(Leaf::Read(Stream::Input(i), at)) if at.lag() != Some(0) => {
                    back[*i] = true
                }
                Op::Past(past) => open.push(&past.term),
                _ => {}
            }
        }
    }
    back
}

impl Walk {
    /// How a node looks across rows, where it does.
    fn across(&self, node: &Node) -> Option<Across> {
        let once = |value: Option<&_>| value.is_some_and(|v| self.model().graph.value(*v).once);
        match &node.kind {
            Kind::Rows(program) if !once(node.outputs.first()) => back(program),
            Kind::RowsGrad(grad) if !once(node.inputs.get(grad.inputs)) => back(&grad.program),
            Kind::Recur(recur) => of_recurrence(&recur.recurrence),
            Kind::RecurGrad { of, .. } => match &self.nodes[of.index()].kind {
                Kind::Recur(recur) => of_recurrence(&recur.recurrence),
                _ => None,
            },
            Kind::LongConv | Kind::LongConvGrad => Some(Across::Past(None)),
            Kind::Average | Kind::AverageGrad => Some(Across::Mean),
            _ => None,
        }
    }

    /// Runs a node that looks across rows; says whether it is one.
    pub(super) fn in_segments(
        &mut self,
        at: usize,
        node: &Node,
        segment: &Segment,
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<bool, Failure> {
        let Some(across) = self.across(node) else { return Ok(false) };
        let Some(mut segments) = self.segments.take() else {
            return Err(Failure::World(
                "a segment of a batch needs the processes of the others".into(),
            ));
        };
        let mut on = On {
            walk: self,
            segments: &mut segments,
            at,
            node,
            segment,
            pass,
            lent: vec![],
            owed: vec![],
        };
        let done = match (&node.kind, across) {
            (Kind::Rows(_), Across::Rows(reach)) => on.rows(reach, inputs, outputs[0]),
            (Kind::RowsGrad(grad), Across::Rows(reach)) => {
                on.rows_grad(grad, reach, inputs, outputs)
            }
            (Kind::Recur(recur), Across::States) => on.carry(recur, inputs, outputs),
            (Kind::RecurGrad { of, outs }, Across::States) => {
                on.carry_grad(of.index(), outs, inputs, outputs)
            }
            (Kind::Recur(recur), Across::Past(reach)) => on.gathered(recur, reach, inputs, outputs),
            (Kind::RecurGrad { of, outs }, Across::Past(reach)) => {
                on.gathered_grad((of.index(), outs), reach, inputs, outputs)
            }
            (Kind::LongConv, _) => on.long_conv(inputs, outputs[0]),
            (Kind::LongConvGrad, _) => on.long_conv_grad(inputs, outputs),
            (Kind::Average, _) => on.average(inputs[0], outputs[0]),
            _ => {
                let rows = segment.whole();
                let backend = &mut on.walk.parameters.backend;
                // Every row gets a share of what flows into the mean of all.
                backend.average_grad(outputs[0], inputs[0], rows)
            }
        };
        self.segments = Some(segments);
        done.map(|()| true)
    }

    /// Takes part in a pass to which this process has nothing to say, since no part of a step is left for it.
    pub fn idle(
        &mut self,
        behind: &mut dyn FnMut(usize, &Parameters) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let nodes = self.nodes.clone();
        for (at, node) in nodes.iter().enumerate() {
            if self.segments.is_some()
                && let Some(across) = self.across(node)
                && let Some(mut segments) = self.segments.take()
            {
                let turns = exchanges(node, across, at, &mut segments, self);
                let done = (0..turns).try_for_each(|_| segments.idle(at));
                self.segments = Some(segments);
                done?;
            }
            behind(at, &self.parameters)?;
        }
        Ok(())
    }
}

fn back(program: &Program) -> Option<Across> {
    let reach = reach(program);
    (reach > 0).then_some(Across::Rows(reach))
}

fn of_recurrence(r: &Recurrence) -> Option<Across> {
    match (r.is_local(), r.states.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Across::States),
        (false, true) => Some(Across::Past(window(r))),
        (false, false) => Some(Across::Past(None)),
    }
}

/// How many exchanges a node takes.
fn exchanges(
    node: &Node,
    across: Across,
    at: usize,
    segments: &mut Segments,
    walk: &Walk,
) -> usize {
    let of = match &node.kind {
        Kind::RecurGrad { of, .. } => of.index(),
        _ => at,
    };
    match (across, &node.kind, &walk.nodes[of].kind) {
        (Across::States, _, Kind::Recur(recur)) => match segments.carrier(of, recur) {
            Some(_) => 1,
            None => segments.count - 1,
        },
        (_, Kind::RowsGrad(_), _) => 2,
        (Across::Past(_), Kind::RecurGrad { .. } | Kind::LongConvGrad, _) => 2,
        (Across::Mean, Kind::AverageGrad, _) => 0,
        _ => 1,
    }
}

/// A node of a pass over a segment.
struct On<'w, 'p, 'b> {
    walk: &'w mut Walk,
    segments: &'w mut Segments,
    at: usize,
    node: &'p Node,
    segment: &'p Segment,
    pass: &'p Pass<'b>,
    /// Copies of rows that calls read.
    lent: Vec<Tensor>,
    /// What calls write in place of rows, and these rows.
    owed: Vec<[Tensor; 2]>,
}

impl On<'_, '_, '_> {
    /// Says numbers to the others, and hears as many of each.
    fn exchange(&mut self, to: Vec<Vec<f32>>, lengths: &[usize]) -> Result<Vec<Vec<f32>>, Failure> {
        self.segments.exchange(self.at, to, lengths)
    }

    /// A new tensor with these numbers.
    fn held(&mut self, data: &[f32]) -> Result<Tensor, Failure> {
        let backend = &mut self.walk.parameters.backend;
        let tensor = backend.alloc("numbers of another segment", data.len())?;
        backend.write(tensor, data)?;
        Ok(tensor)
    }

    fn read(&self, tensor: Tensor) -> Result<Vec<f32>, Failure> {
        Ok(self.walk.parameters.backend.read(tensor)?.into_owned())
    }

    /// Adds numbers to those of a tensor.
    fn add(&mut self, to: Tensor, more: &[f32]) -> Result<(), Failure> {
        let mut sum = self.read(to)?;
        sum.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
        self.walk.parameters.backend.write(to, &sum)
    }

    fn free(&mut self, tensors: impl IntoIterator<Item = Tensor>) {
        tensors.into_iter().for_each(|tensor| self.walk.parameters.backend.free(tensor));
    }

    /// Numbers of a row of a tensor of this pass.
    fn width(&self, tensor: Tensor) -> usize {
        tensor.words / self.pass.rows()
    }

    /// Some rows of a tensor of this pass.
    fn some(&self, tensor: Tensor, rows: Range<usize>) -> Tensor {
        let width = self.width(tensor);
        tensor.part(rows.start * width, rows.len() * width)
    }

    /// Some rows as a call reads them: a copy where a call cannot read them from where they begin.
    fn lend(&mut self, tensor: Tensor, rows: Range<usize>) -> Result<Tensor, Failure> {
        let (own, backend) = (self.some(tensor, rows), &mut self.walk.parameters.backend);
        if backend.reaches(own) {
            return Ok(own);
        }
        let copy = backend.alloc_as("rows of a segment", own.words, own.number)?;
        backend.sum(copy, &[own])?;
        self.lent.push(copy);
        Ok(copy)
    }

    fn lend_all(&mut self, all: &[Tensor], rows: &Range<usize>) -> Result<Vec<Tensor>, Failure> {
        all.iter().map(|tensor| self.lend(*tensor, rows.clone())).collect()
    }

    fn lend_some(
        &mut self,
        all: &[Option<Tensor>],
        rows: &Range<usize>,
    ) -> Result<Vec<Option<Tensor>>, Failure> {
        all.iter().map(|d| d.map(|d| self.lend(d, rows.clone())).transpose()).collect()
    }

    /// Some rows as a call writes them, likewise; they have been written once all is [settled](On::settle).
    fn take_all(&mut self, all: &[Tensor], rows: &Range<usize>) -> Result<Vec<Tensor>, Failure> {
        let mut taken = vec![];
        for tensor in all {
            let (own, backend) =
                (self.some(*tensor, rows.clone()), &mut self.walk.parameters.backend);
            taken.push(if backend.reaches(own) {
                own
            } else {
                let made = backend.alloc_as("rows of a segment", own.words, own.number)?;
                self.owed.push([own, made]);
                made
            });
        }
        Ok(taken)
    }

    /// Writes what calls have written elsewhere; gives copies back.
    fn settle(&mut self) -> Result<(), Failure> {
        for [own, made] in std::mem::take(&mut self.owed) {
            self.walk.parameters.backend.sum(own, &[made])?;
            self.lent.push(made);
        }
        let lent = std::mem::take(&mut self.lent);
        self.free(lent);
        Ok(())
    }

    /// The mean over all rows of all segments: sums are said, and added in their order.
    fn average(&mut self, from: Tensor, to: Tensor) -> Result<(), Failure> {
        let (rows, own) = (self.pass.rows(), self.segment.own);
        self.walk.parameters.backend.average(to, from, rows)?;
        let mine = self.read(to)?;
        let count = self.segment.count();
        let mut said = self.exchange(vec![mine.clone(); count], &vec![mine.len(); count])?;
        said[own] = mine;
        let mut sum = vec![0.0_f64; said[own].len()];
        for (at, part) in said.iter().enumerate() {
            let rows = self.segment.rows(at).len() as f64;
            sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x) * rows);
        }
        let whole = self.segment.whole() as f64;
        let mean: Vec<f32> = sum.into_iter().map(|x| (x / whole) as f32).collect();
        self.walk.parameters.backend.write(to, &mean)
    }
}
