//! A machine that runs nothing: it writes down what would be started, with sizes and without numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{Argument, Tensor};

/// A kernel's text, for whoever compiles what was written down.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The kernel's symbol.
    pub name: String,
    /// CUDA C++.
    pub text: String,
}

impl Text {
    /// The types and names of its parameters, as its text lists them.
    pub fn parameters(&self) -> Vec<(&str, &str)> {
        let head = format!("{}(", self.name);
        let definition = self.text.find("__global__").map_or("", |at| &self.text[at..]);
        let inside = definition.split_once(&head).and_then(|(_, rest)| rest.split_once(')'));
        let all = inside.map_or("", |(list, _)| list).split(',');
        let one = |text: &'_ str| -> Option<(usize, usize)> {
            let end = text.trim_end().len();
            let name = text[..end].rfind([' ', '*'])? + 1;
            Some((name, end))
        };
        all.filter_map(|text| one(text).map(|(at, end)| (text[..at].trim(), &text[at..end])))
            .collect()
    }
}

/// An argument of a kernel that was not started.
#[derive(Clone, Debug)]
pub enum Given {
    /// A tensor, and the words of one that says where things lie: those are never many.
    Tensor(Tensor, Option<Vec<u32>>),
    /// A null pointer.
    Null,
    /// A whole number.
    Number(i32),
    /// A float.
    Float(f32),
}

/// Something that would have been started.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// A kernel.
    Launch {
        /// What it is.
        kernel: Arc<Text>,
        /// Blocks, threads of a block, bytes of shared memory.
        size: [usize; 3],
        /// Its arguments, in order.
        arguments: Vec<Given>,
    },
    /// Filling a tensor with zeros.
    Clear(Tensor),
}

impl Recorded {
    pub(super) fn launch(
        kernel: &Arc<Text>,
        size: [usize; 3],
        arguments: &[Argument],
        tables: &BTreeMap<Vec<u32>, Tensor>,
    ) -> Recorded {
        let words = |tensor: Tensor| {
            let known = tables.iter().find(|(_, table)| table.slot == tensor.slot);
            known.map(|(words, _)| words.clone())
        };
        let given = |argument: &Argument| match *argument {
            Argument::Tensor(None) => Given::Null,
            Argument::Tensor(Some(tensor)) => Given::Tensor(tensor, words(tensor)),
            Argument::Number(x) => Given::Number(x),
            Argument::Float(x) => Given::Float(x),
        };
        let arguments = arguments.iter().map(given).collect();
        Recorded::Launch { kernel: kernel.clone(), size, arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_text() {
        let text = "// fold(this)\nextern \"C\" __global__ void __launch_bounds__(256, 1)\nfold(bf16* __restrict__ to, const float* from, int n) { put(to, from[n]); }";
        let kernel = Text { name: "fold".into(), text: text.into() };
        let all = [("bf16* __restrict__", "to"), ("const float*", "from"), ("int", "n")];
        assert_eq!(kernel.parameters(), all);
    }
}
