//! Elements of the tensors of a recurrence, whole or cut into the parts of a head.

use std::collections::HashMap;

use super::buffer::{Binding, Buffer, BufferId};
use super::index::Ix;
use super::narrow::Whole;
use super::{Condition, Element, Expr, Token};
use crate::elaborate::Recurrence;
use crate::tile::{Bits, Int, Leaf, Stream};

/// Where the tensors of a recurrence lie, and which of their axes the parts of a head cut.
pub(super) struct Cut<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) buffers: &'a [Buffer],
    pub(super) axis: &'a HashMap<Whole, usize>,
    pub(super) parts: usize,
}

pub(super) fn zero() -> Expr {
    Expr::Number(Bits::of(0.0))
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
                Expr::Buffer(self.row(Binding::Input(*i), Whole::Input(*i), at, index))
            }
            Leaf::Cotangent(Stream::Out(k)) => {
                flows(self.row(Binding::OutGrad(*k), Whole::Out(*k), &Int::T, index))
            }
            other => unreachable!("{other} has no tokens"),
        }
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
        let rows = index.len() - self.r.params[i].shape.len();
        Expr::Buffer(self.own(Binding::Param(i), Whole::Param(i), &index[rows..]))
    }

    /// An element of the gradient of a parameter.
    pub(super) fn param_grad(&self, i: usize, index: &[Ix]) -> Element {
        let rows = index.len() - self.r.params[i].shape.len();
        self.own(Binding::ParamGrad(i), Whole::Param(i), &index[rows..])
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

/// What flows into a row: nothing if nobody gave it, or past the sequence's end.
pub(super) fn flows(element: Element) -> Expr {
    let (buffer, row) = (element.buffer, element.row.clone());
    let flow = match row {
        Some(Token { row, .. }) => {
            Expr::Select(Box::new([Expr::Valid(row), Expr::Buffer(element), zero()]))
        }
        None => Expr::Buffer(element),
    };
    Expr::Given(buffer, Box::new([flow, zero()]))
}
