//! The stages of an artifact as texts, in the names of the declaration.

use std::fmt::Write;

use super::Artifact;
use crate::chunk::gradient::Wrt;
use crate::emit::cuda;
use crate::normal::text::Shown;
use crate::strategy::Strategy;
use crate::tile::print::Named;
use crate::tile::{Int, Leaf, Stream};

impl Artifact {
    /// How the recurrence is read: its strategy, and its normal form or why it has none.
    pub fn normal_text(&self) -> String {
        let (r, strategy) = (&self.recurrence, &self.strategy);
        let head = format!("strategy: {} ({})\n", strategy.name(), strategy.meaning());
        match strategy {
            Strategy::Chunk(normal) => format!("{head}{}", Shown(normal, r)),
            Strategy::Attention(range) => {
                format!("{head}keys from {} to {}\n", range.low, range.high)
            }
            Strategy::Recurrent(refusal) => format!("{head}not faster: {}\n", refusal.why),
            Strategy::Scan => head,
            Strategy::Halves(_) => head + &self.of_halves(Artifact::normal_text),
        }
    }

    /// A text of each half, under its name.
    fn of_halves(&self, text: impl Fn(&Artifact) -> String) -> String {
        let half = |half: &Artifact| format!("{}:\n{}", half.recurrence.name, text(half));
        self.halves.iter().map(half).collect()
    }

    /// The programs that run for blocks of tokens.
    pub fn chunk_text(&self) -> String {
        let r = &self.recurrence;
        let results: Vec<String> = r
            .outs
            .iter()
            .map(|slot| slot.name.clone())
            .chain(r.states.iter().map(|slot| format!("{}.leaving", slot.name)))
            .collect();
        let leaf = |leaf: &Leaf| r.leaf_name(leaf);
        let mut text = self.of_halves(Artifact::chunk_text);
        for block in &self.blocks {
            let named =
                Named { program: &block.chunk.program, leaf: &leaf, results: results.clone() };
            text += &heading("block", block.chunk.tokens, block.masked);
            // Writing to a string does not fail.
            let _ = write!(text, "{named}");
        }
        text
    }

    /// The gradients of the programs that run for blocks of tokens.
    pub fn grad_text(&self) -> String {
        let r = &self.recurrence;
        let result = |wrt: &Wrt| match wrt {
            Wrt::Input(i, at) if *at == Int::T => format!("d_{}", r.inputs[*i].name),
            Wrt::Input(i, at) => format!("d_{}[{at}]", r.inputs[*i].name),
            Wrt::Param(i) => format!("d_{}", r.params[*i].name),
            Wrt::Carry(k) => format!("d_{}.entering", r.stream_name(Stream::State(*k))),
        };
        let leaf = |leaf: &Leaf| r.leaf_name(leaf);
        let mut text = self.of_halves(Artifact::grad_text);
        for block in &self.blocks {
            let gradient = &block.gradient;
            let results = gradient.wrt.iter().map(result).collect();
            let named = Named { program: &gradient.program, leaf: &leaf, results };
            text += &heading("gradient of a block", block.chunk.tokens, block.masked);
            for (at, value) in gradient.kept.iter().enumerate() {
                let _ = writeln!(text, "kept{at} is %{} of the block", value.0);
            }
            let _ = write!(text, "{named}");
        }
        text
    }

    /// What the blocks of a GPU's threads do.
    pub fn plan_text(&self) -> String {
        self.schedules.iter().map(ToString::to_string).collect()
    }

    /// The CUDA C++ text of every kernel.
    pub fn cuda(&self) -> Vec<String> {
        let kernels = self.schedules.iter().flat_map(|s| s.kernels.iter().map(move |k| (s, k)));
        kernels.map(|(schedule, kernel)| cuda(schedule, kernel)).collect()
    }
}

fn heading(what: &str, tokens: usize, masked: bool) -> String {
    let end = if masked { ", of which some may be past the end" } else { "" };
    format!("{what} of {tokens} tokens{end}\n")
}
