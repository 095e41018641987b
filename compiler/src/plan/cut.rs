//! Elements of the tensors of a recurrence or of a pointwise node, whole or cut into parts.

use std::collections::HashMap;

use super::buffer::{Binding, Buffer, BufferId, Dim};
use super::index::Ix;
use super::value_split::Whole;
use super::{Condition, Element, Expr, Side, Step, Stmt, Target, Token};
use crate::tile::{Bits, Int, Leaf, Stream};

/// Where tensors lie, and which of their axes the parts of a head, or of a row, cut.
pub(super) struct Cut<'a> {
    pub(super) buffers: &'a [Buffer],
    pub(super) axis: &'a HashMap<Whole, usize>,
    pub(super) parts: usize,
}

pub(super) fn zero() -> Expr {
    Expr::Number(Bits::of(0.0))
}

pub(super) fn one() -> Expr {
    Expr::Number(Bits::of(1.0))
}

/// The buffer that is a tensor of the caller.
pub(super) fn find(buffers: &[Buffer], binding: Binding) -> BufferId {
    let at = buffers.iter().position(|buffer| buffer.binding == binding);
    BufferId(at.expect("what a plan reads or writes has a buffer"))
}

impl Cut<'_> {
    /// An element of a tensor of tokens.
    pub(super) fn row(&self, binding: Binding, whole: Whole, at: &Int, index: &[Ix]) -> Element {
        let row = Some(Token { at: at.clone(), row: index[0].clone() });
        Element { row, ..self.own(binding, whole, &index[1..]) }
    }

    /// An element of what the block's head has of a tensor.
    pub(super) fn own(&self, binding: Binding, whole: Whole, index: &[Ix]) -> Element {
        let buffer = find(self.buffers, binding);
        let split = self.axis.get(&whole).copied();
        Element { buffer, row: None, index: index.to_vec(), split }
    }

    /// An element of an input or of what flows into an output, as leaves of a program name them.
    pub(super) fn leaf_row(&self, leaf: &Leaf, index: &[Ix]) -> Expr {
        match leaf {
            Leaf::Read(Stream::Input(i), at) => {
                read(self.row(Binding::Input(*i), Whole::Input(*i), at, index))
            }
            Leaf::Cotangent(Stream::Out(k)) => {
                flows(self.row(Binding::OutGrad(*k), Whole::Out(*k), &Int::T, index))
            }
            other => unreachable!("{other} has no tokens"),
        }
    }

    /// Where an element is written. One part of a head writes what all of them hold, but for what
    /// each adds to.
    pub(super) fn store(&self, element: Element) -> Target {
        let dims = &self.buffers[element.buffer.0].dims;
        let own = element.split.is_some() || dims.iter().any(|dim| matches!(dim, Dim::Parts(_)));
        let mut when = conditions(&element);
        when.extend((self.parts > 1 && !own).then_some(Condition::FirstPart));
        Target::Buffer(element, when)
    }

    /// An element of an output.
    pub(super) fn out(&self, k: usize, index: &[Ix]) -> Element {
        self.row(Binding::Out(k), Whole::Out(k), &Int::T, index)
    }

    /// An element of the gradient of an input that was read at a position.
    pub(super) fn input_grad(&self, i: usize, at: &Int, index: &[Ix]) -> Element {
        self.row(Binding::InputGrad(i), Whole::Input(i), at, index)
    }

    /// An element of a parameter.
    pub(super) fn leaf_param(&self, i: usize, index: &[Ix]) -> Expr {
        Expr::Buffer(self.shared(Binding::Param(i), Whole::Param(i), index))
    }

    /// An element of the gradient of a parameter.
    pub(super) fn param_grad(&self, i: usize, index: &[Ix]) -> Element {
        self.shared(Binding::ParamGrad(i), Whole::Param(i), index)
    }

    /// An element of what all rows share, given an index that may begin with a row.
    pub(super) fn shared(&self, binding: Binding, whole: Whole, index: &[Ix]) -> Element {
        let dims = &self.buffers[find(self.buffers, binding).0].dims;
        let own = dims.iter().filter(|dim| matches!(dim, Dim::Number(_))).count();
        self.own(binding, whole, &index[index.len() - own..])
    }

    /// What flows in from behind into something that all parts of a head hold whole: their gradients
    /// add up, so one of them takes it.
    pub(super) fn once(&self, whole: Whole, flows: Expr) -> Expr {
        if self.parts == 1 || self.axis.contains_key(&whole) {
            return flows;
        }
        Expr::Where(Condition::FirstPart, Box::new([flows, zero()]))
    }
}

/// An element of a buffer; nothing before the first token.
pub(super) fn read(element: Element) -> Expr {
    match element.row.clone().filter(|token| !token.is_certain()) {
        None => Expr::Buffer(element),
        Some(token) => {
            let both = [Expr::Buffer(element), zero()];
            Expr::Where(Condition::Reached(token), Box::new(both))
        }
    }
}

/// What flows into a row: nothing if nobody gave it, or past the sequence's end.
pub(super) fn flows(element: Element) -> Expr {
    let given = Condition::Given(element.buffer);
    let flow = match element.row.clone() {
        Some(token) => inside(Side::Queries, token.row, Expr::Buffer(element)),
        None => Expr::Buffer(element),
    };
    Expr::Where(given, Box::new([flow, zero()]))
}

/// A value where the row is a token of the sequence, else nothing.
pub(super) fn inside(side: Side, row: Ix, value: Expr) -> Expr {
    Expr::Where(Condition::Inside(side, row), Box::new([value, zero()]))
}

/// Where an element is written, by a block that holds whole heads.
pub(super) fn store(element: Element) -> Target {
    let when = conditions(&element);
    Target::Buffer(element, when)
}

/// Rows that are no tokens are not written.
fn conditions(element: &Element) -> Vec<Condition> {
    let mut when = Vec::new();
    if let Some(token) = &element.row {
        let side = if token.at.binds(0) { Side::Keys } else { Side::Queries };
        when.push(Condition::Inside(side, token.row.clone()));
        when.extend((!token.is_certain()).then(|| Condition::Reached(token.clone())));
    }
    when
}

/// Steps as statements; those that write what a call may go without run only where it does not.
pub(super) fn statements(buffers: &[Buffer], steps: Vec<Step>) -> Vec<Stmt> {
    let one = |step: Step| {
        let to = step.target().and_then(Target::element).map(|element| element.buffer);
        match to.filter(|id| buffers[id.0].may_be_absent) {
            Some(id) => Stmt::Given(id, vec![Stmt::Step(step)]),
            None => Stmt::Step(step),
        }
    };
    steps.into_iter().map(one).collect()
}
