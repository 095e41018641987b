//! Which memory of a machine is whose: what a step takes and gives back, and what is kept from step to step.

use std::collections::BTreeSet;

use super::store::{Store, Tensor};
use crate::ground::error::Failure;
use lrc_compiler::tile::Number;

/// Tables that are kept from step to step: those of shapes come again, if not all of them.
const TABLES: usize = 256;
/// Sizes of what is kept are multiples of this, so that few of them are of no use to anybody else.
const KEPT: usize = 64;
/// Tensors that the message about full memory names.
const LARGEST: usize = 5;

impl Store {
    /// A tensor with arbitrary contents; the sim device knows that nobody has written it.
    pub fn take(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        self.take_as(name, words, Number::F32)
    }

    /// The same of numbers that are held so.
    pub fn take_as(
        &mut self,
        name: &str,
        numbers: usize,
        number: Number,
    ) -> Result<Tensor, Failure> {
        let numbers = numbers.max(1);
        let whole = self.words(name, (numbers * number.bytes()).div_ceil(4))?;
        Ok(Tensor { words: numbers, number, ..whole })
    }

    /// So many times four bytes.
    pub(super) fn words(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        let tensor = match self.free.get_mut(&words).and_then(BTreeSet::pop_first) {
            Some(slot) => {
                self.names[slot].0 = name.to_string();
                Tensor { slot, start: 0, words, number: Number::F32 }
            }
            None => self.fresh(name, words)?,
        };
        // Fresh memory too, so that the first step of a shape is the same list as the second.
        self.forget(tensor, name)?;
        Ok(tensor)
    }

    /// The same that is kept from step to step, such as a table: what steps take in between lies where it lay.
    pub fn keep(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        let words = words.max(1);
        let whole = words.next_multiple_of(KEPT);
        let whole = match self.spare.get_mut(&whole).and_then(BTreeSet::pop_first) {
            Some(slot) => {
                let spare = Tensor { slot, start: 0, words: whole, number: Number::F32 };
                self.forget(spare, name)?;
                spare
            }
            None => self.fresh(name, whole)?,
        };
        Ok(Tensor { words, ..whole })
    }

    /// All of what lies where a tensor does.
    pub(super) fn whole(&self, tensor: Tensor) -> Tensor {
        let words = self.names[tensor.slot].1;
        Tensor { slot: tensor.slot, start: 0, words, number: Number::F32 }
    }

    /// Gives back what was kept.
    pub(super) fn unkeep(&mut self, tensor: Tensor) {
        self.spare.entry(self.names[tensor.slot].1).or_default().insert(tensor.slot);
    }

    /// Memory that was nobody's before.
    fn fresh(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        let slot = self.names.len();
        // What nobody holds may be in the way: memory that is full is emptied of it once.
        if self.reserve(slot, name, words).is_err() {
            self.empty()?;
            self.reserve(slot, name, words).map_err(|why| self.full(name, words, &why))?;
        }
        self.names.push((name.to_string(), words));
        self.allocations += 1;
        Ok(Tensor { slot, start: 0, words, number: Number::F32 })
    }

    /// Words of all tensors, also of those that nobody holds.
    pub fn reserved(&self) -> usize {
        self.names.iter().map(|(_, words)| words).sum()
    }

    /// Gives the memory of tensors that nobody holds back to the machine.
    fn empty(&mut self) -> Result<(), Failure> {
        self.forget_lists()?;
        let (free, spare) = (std::mem::take(&mut self.free), std::mem::take(&mut self.spare));
        for slot in free.into_values().chain(spare.into_values()).flatten() {
            self.names[slot] = (String::new(), 0);
            self.release(slot);
        }
        self.wait()
    }

    /// Says what fills the memory.
    fn full(&self, name: &str, words: usize, why: &str) -> Failure {
        let mut all: Vec<(&str, usize)> =
            self.names.iter().map(|(n, w)| (n.as_str(), *w)).collect();
        all.sort_by_key(|(_, words)| std::cmp::Reverse(*words));
        let mib = |words: usize| words as f64 * 4.0 / (1 << 20) as f64;
        let total = mib(all.iter().map(|(_, words)| words).sum());
        let largest: Vec<String> = all
            .iter()
            .take(LARGEST)
            .map(|(name, words)| format!("{name} {:.1} MiB", mib(*words)))
            .collect();
        Failure::Memory(format!(
            "no {:.1} MiB for {name} ({why}); {total:.0} MiB are taken, the largest: {}; use a smaller batch or shorter sequences",
            mib(words),
            largest.join(", ")
        ))
    }

    /// Gives a whole tensor back.
    pub fn give(&mut self, tensor: Tensor) {
        let words = tensor.covers().len();
        debug_assert!(
            tensor.start == 0 && self.names[tensor.slot].1 == words,
            "whole tensors are given back"
        );
        self.free.entry(words).or_default().insert(tensor.slot);
    }

    /// A tensor that holds floats so.
    pub fn holding(&mut self, name: &str, data: &[f32], number: Number) -> Result<Tensor, Failure> {
        let tensor = self.take_as(name, data.len(), number)?;
        self.put(tensor, data)?;
        Ok(tensor)
    }

    /// Gives tables back if there are many of them. Not while one of them is in use.
    pub fn trim_tables(&mut self) {
        if self.tables.len() > TABLES {
            for tensor in std::mem::take(&mut self.tables).into_values() {
                self.unkeep(tensor);
            }
        }
    }

    /// A tensor of whole numbers that follow from the shape of a batch and that nobody changes, until [`Store::trim_tables`].
    pub fn table(&mut self, numbers: Vec<u32>) -> Result<Tensor, Failure> {
        if let Some(known) = self.tables.get(&numbers) {
            return Ok(*known);
        }
        self.flush()?;
        let tensor = self.keep("table", numbers.len())?;
        self.put_words(tensor, &numbers)?;
        self.tables.insert(numbers, tensor);
        Ok(tensor)
    }
}
