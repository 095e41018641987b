//! The text form of the normal form, in the words of the declaration.

use std::fmt::{self, Write};

use super::{Decay, Normal};
use crate::elaborate::Recurrence;
use crate::tile::print::{expression, tight};
use crate::tile::{Leaf, Value};

/// Prints a normal form with the names of its recurrence.
pub struct Shown<'a>(pub &'a Normal, pub &'a Recurrence);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(normal, recurrence) = self;
        let names = Names { normal, recurrence };
        for (slot, form) in recurrence.states.iter().zip(&normal.states) {
            let turned = if form.transposed { ", transposed" } else { "" };
            writeln!(f, "state {} : {} keys x {} values{turned}", slot.name, form.k, form.v)?;
            for (at, update) in form.updates.iter().enumerate() {
                writeln!(f, "  update {at}")?;
                match update.decay {
                    Decay::None => writeln!(f, "    decay  none")?,
                    Decay::Scalar(x) => writeln!(f, "    decay  scalar  {}", names.text(x))?,
                    Decay::Vector(x) => writeln!(f, "    decay  per key {}", names.text(x))?,
                }
                for write in &update.writes {
                    let mut sum = write.value.map(|v| names.text(v)).unwrap_or_default();
                    for (coefficient, read) in &write.reads {
                        let plus = if sum.is_empty() { "" } else { " + " };
                        let c = names.text(*coefficient);
                        write!(sum, "{plus}({c}) * {}", names.read(*read))?;
                    }
                    writeln!(f, "    write  key {}  value {sum}", names.text(write.key))?;
                }
            }
        }
        for (slot, out) in recurrence.outs.iter().zip(&normal.outs) {
            writeln!(f, "out {} = {}", slot.name, names.text(*out))?;
        }
        Ok(())
    }
}

struct Names<'a> {
    normal: &'a Normal,
    recurrence: &'a Recurrence,
}

impl Names<'_> {
    fn read(&self, r: usize) -> String {
        let read = &self.normal.reads[r];
        let name = &self.recurrence.states[read.state].name;
        let updates = self.normal.states[read.state].updates.len();
        let state = match read.version {
            0 => format!("{name}[t-1]"),
            version if version == updates => format!("{name}[t]"),
            version => format!("{name}[t, {version} of {updates}]"),
        };
        let turn = if read.column { "" } else { "^T" };
        format!("{state}{turn} * {}", self.tight(read.vector))
    }

    fn text(&self, value: Value) -> String {
        expression(&self.normal.program, value, &|leaf| self.leaf(leaf), &|_| None, 12)
    }

    fn tight(&self, value: Value) -> String {
        tight(self.text(value))
    }

    fn leaf(&self, leaf: &Leaf) -> String {
        match leaf {
            Leaf::Outer(r) => self.read(*r),
            other => self.recurrence.leaf_name(other),
        }
    }
}
