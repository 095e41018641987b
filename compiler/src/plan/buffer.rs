//! Tensors of a schedule in the device's memory: what each one is, how large it is in a call, and
//! what happens to it before and after the kernels run.

use super::index::{Ix, flat};
use super::{Element, Number};
use crate::elaborate::recurrence::Slot;

/// Names a buffer of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Which tensor of whoever calls a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Binding {
    /// A declared input.
    Input(usize),
    /// A declared parameter.
    Param(usize),
    /// A state before the first token.
    Initial(usize),
    /// A declared output.
    Out(usize),
    /// A state after the last token.
    Final(usize),
    /// The states at the boundaries of chunks: those that enter each one.
    Boundary(usize),
    /// A value per token and head that one kernel leaves for another.
    Saved(usize),
    /// The gradient of such a value.
    SavedGrad(usize),
    /// A value of a chunk and head that one kernel leaves for another.
    Kept(usize),
    /// The gradients that flow into the states at the boundaries of chunks: those behind each one.
    BoundaryGrad(usize),
    /// The gradient that flows into an output.
    OutGrad(usize),
    /// The gradient that flows into a final state.
    FinalGrad(usize),
    /// The gradient of an input.
    InputGrad(usize),
    /// The gradient of a parameter.
    ParamGrad(usize),
    /// The gradient of a state before the first token.
    InitialGrad(usize),
}

/// Who makes a buffer, and who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is given.
    Argument,
    /// It is asked for.
    Result,
    /// The forward pass leaves it for the backward pass.
    Saved,
    /// One kernel leaves it for a later one of the same schedule.
    Temporary,
}

/// What kernels do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All of them only read it.
    Read,
    /// Some write it.
    Write,
}

/// An axis of a buffer; its length is known when the schedule is, or only in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Tokens of all sequences.
    Rows,
    /// One for every so many tokens of each sequence.
    Chunks {
        /// Tokens; the last ones of a sequence may be fewer.
        every: usize,
    },
    /// Sequences.
    Sequences,
    /// Heads of the recurrence.
    Heads,
    /// Heads of the buffer itself, each of which serves as many heads of the recurrence.
    OwnHeads,
    /// Parts of a head's values.
    Parts(usize),
    /// What the blocks of one of the schedule's kernels have one each of, per head.
    Jobs {
        /// The number of the kernel.
        kernel: usize,
    },
    /// An axis of a value.
    Number(usize),
}

/// A tensor in the device's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// What it is called, a name of C: made of the declared one, no two alike in a schedule.
    pub name: String,
    /// Which tensor of the caller it is.
    pub binding: Binding,
    /// Who makes it, and who reads it.
    pub role: Role,
    /// Its axes.
    pub dims: Vec<Dim>,
    /// How many of the first axes hold partial results, which are added up in the end. So are those
    /// of heads that share what the buffer belongs to.
    pub partial: usize,
    /// Its numbers.
    pub number: Number,
    /// What kernels do with it.
    pub access: Access,
    /// Whether a call may go without it.
    pub may_be_absent: bool,
    /// Whether its tensor may be a result as well, written an element behind where it is read.
    pub in_place: bool,
    /// Whether its results are added to those of an earlier buffer that is the same tensor.
    pub adds: bool,
    /// Whether it must hold zeros before the first kernel runs.
    pub starts_at_zero: bool,
}

impl Buffer {
    /// A buffer as yet unread and unwritten.
    pub fn new(name: &str, binding: Binding, role: Role, dims: Vec<Dim>) -> Buffer {
        Buffer {
            name: identifier(name),
            binding,
            role,
            dims,
            partial: 0,
            number: Number::F32,
            access: Access::Read,
            may_be_absent: false,
            in_place: false,
            adds: false,
            starts_at_zero: false,
        }
    }

    /// How many of the first axes stand before those of a value that lie innermost.
    fn outer(&self) -> usize {
        let is_value = |dim: &Dim| matches!(dim, Dim::Number(_));
        self.dims.iter().rposition(|dim| !is_value(dim)).map_or(0, |last| last + 1)
    }

    /// Where an element lies among the numbers of a value that lie innermost, before its part's place is added; what is
    /// counted outside of them, and how many they are.
    pub fn inner<'a>(&self, element: &'a Element) -> (&'a [Ix], Ix, usize) {
        let (outer, value) = self.dims.split_at(self.outer());
        let before = outer.iter().filter(|dim| matches!(dim, Dim::Number(_))).count();
        let (counts, index) = element.index.split_at(before.min(element.index.len()));
        let lengths: Vec<usize> = value
            .iter()
            .filter_map(|dim| if let Dim::Number(n) = dim { Some(*n) } else { None })
            .collect();
        (counts, flat(index, &lengths), lengths.iter().product())
    }

    /// How many of those numbers lie between an element of one part and of the next.
    pub fn part(&self, element: &Element, parts: usize) -> usize {
        let before = self.dims[..self.outer()].iter();
        let before = before.filter(|dim| matches!(dim, Dim::Number(_))).count();
        let value = self.dims[self.outer()..].iter().enumerate();
        value.fold(0, |part, (axis, dim)| {
            let Dim::Number(n) = dim else { return part };
            part * n + if element.split == Some(before + axis) { n / parts } else { 0 }
        })
    }

    /// The same buffer, which a call may go without.
    pub fn optional(self) -> Buffer {
        Buffer { may_be_absent: true, ..self }
    }

    /// The same buffer of numbers that are held so.
    pub fn held(self, number: Number) -> Buffer {
        Buffer { number, ..self }
    }

    /// The same buffer with partial results along axes of their own.
    pub fn summed(self, partial: Vec<Dim>) -> Buffer {
        let count = partial.len();
        let dims = [partial, self.dims].concat();
        // What is added up later is not rounded before.
        let number = if count == 0 { self.number } else { Number::F32 };
        Buffer { dims, partial: count, number, ..self }
    }

    /// Numbers of the buffer, given the length of each axis.
    pub fn numbers(&self, extent: &dyn Fn(&Dim) -> usize) -> usize {
        self.dims.iter().map(extent).product()
    }

    /// Partial results of each number.
    pub fn terms(&self, extent: &dyn Fn(&Dim) -> usize) -> usize {
        self.dims[..self.partial].iter().map(extent).product()
    }

    /// Whether its own number of heads must be known.
    pub fn has_own_heads(&self) -> bool {
        self.dims.contains(&Dim::OwnHeads)
    }

    /// The lengths of a value's axes.
    pub fn value(&self) -> Vec<usize> {
        let number = |dim: &Dim| if let Dim::Number(n) = dim { Some(*n) } else { None };
        self.dims.iter().filter_map(number).collect()
    }
}

/// The axes of a value.
pub fn numbers(shape: &[usize]) -> impl Iterator<Item = Dim> {
    shape.iter().map(|n| Dim::Number(*n))
}

/// The axes of a tensor of tokens, `[rows, count, heads, …]`.
pub fn of_rows(slot: &Slot, heads: Dim) -> Vec<Dim> {
    let mut dims = vec![Dim::Rows];
    dims.extend(slot.count.map(Dim::Number));
    dims.push(heads);
    dims.extend(numbers(slot.one()));
    dims
}

/// The axes of a tensor of heads, `[…, heads, …]`.
pub fn of_heads(outer: &[Dim], heads: Dim, shape: &[usize]) -> Vec<Dim> {
    outer.iter().copied().chain([heads]).chain(numbers(shape)).collect()
}

/// Names that differ, by numbers behind those that others have before them.
pub fn name_apart(buffers: &mut [Buffer]) {
    for at in 1..buffers.len() {
        let (before, rest) = buffers.split_at_mut(at);
        let (name, mut more) = (rest[0].name.clone(), 2);
        while before.iter().any(|other| other.name == rest[0].name) {
            rest[0].name = format!("{name}_{more}");
            more += 1;
        }
    }
}

/// A declared name as a name of C: letters beyond ASCII become their Greek names or their codes.
pub fn identifier(name: &str) -> String {
    const GREEK: [&str; 25] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon",
        "phi", "chi", "psi", "omega",
    ];
    let letter = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '_' => c.to_string(),
        'α'..='ω' => GREEK[c as usize - 'α' as usize].to_string(),
        c if c.is_alphanumeric() => format!("u{:x}", c as u32),
        _ => "_".to_string(),
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_c_and_differ() {
        assert_eq!(identifier("in_β1"), "in_beta1");
        assert_eq!(identifier("state Ω"), "state_u3a9");
        let buffer = |name| Buffer::new(name, Binding::Input(0), Role::Argument, vec![]);
        let mut all = vec![buffer("in_a"), buffer("in_a_2"), buffer("in_a"), buffer("in_a")];
        name_apart(&mut all);
        let names: Vec<&str> = all.iter().map(|buffer| buffer.name.as_str()).collect();
        assert_eq!(names, ["in_a", "in_a_2", "in_a_3", "in_a_4"]);
    }
}
