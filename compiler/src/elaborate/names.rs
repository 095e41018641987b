//! Declared names of what programs read and give, for their texts.

use super::Recurrence;
use super::recurrence::Slot;
use crate::tile::{Leaf, Stream};

impl Recurrence {
    /// A leaf of a derived program in the words of the declaration.
    pub fn leaf_name(&self, leaf: &Leaf) -> String {
        let name = |slots: &[Slot], at: usize| slots[at].name.clone();
        match leaf {
            Leaf::Read(stream, at) if at.lag() == Some(0) => self.stream_name(*stream),
            Leaf::Read(stream, at) => format!("{}[{at}]", self.stream_name(*stream)),
            Leaf::Param(i) => name(&self.params, *i),
            Leaf::Cotangent(stream) => format!("d_{}", self.stream_name(*stream)),
            Leaf::Carry(k) => format!("{}.entering", name(&self.states, *k)),
            Leaf::CarryCotangent(k) => format!("d_{}.leaving", name(&self.states, *k)),
            other => other.to_string(),
        }
    }

    /// The declared name of a stream.
    pub fn stream_name(&self, stream: Stream) -> String {
        let slot = match stream {
            Stream::Input(i) => &self.inputs[i],
            Stream::State(k) => &self.states[k],
            Stream::Export(i) => &self.exports[i],
            Stream::Out(k) => &self.outs[k],
        };
        slot.name.clone()
    }
}
