//! Tensors in a machine's memory, and what runs on them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Instant;

pub use super::argument::Argument;
use super::cuda::gpu::{self, Gpu, Words};
pub use super::machine::{Loaded, Machine};
use super::recorder::Recorded;
use super::sim::count::Counts;
use super::sim::hardware::Hardware;
use super::sim::memory::Memory;
use super::sim::{self, Launch};
use super::timed::{Mark, Timed};
use crate::ground::error::Failure;
use crate::ops::dense;
use crate::ops::dense::Dense;
use lrc_compiler::tile::Number;

/// Numbers in a machine's memory, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub(crate) slot: usize,
    pub(crate) start: usize,
    /// How many.
    pub words: usize,
    /// How each is held.
    pub number: Number,
}

impl Tensor {
    /// Some of the numbers.
    pub fn part(self, start: usize, words: usize) -> Tensor {
        debug_assert!(start + words <= self.words, "a part lies inside its tensor");
        Tensor { start: self.start + start, words, ..self }
    }

    /// The byte of its slot at which it begins.
    fn byte(self) -> usize {
        self.start * self.number.bytes()
    }

    /// The four bytes that it begins in, and all that it lies in.
    fn covers(self) -> Range<usize> {
        self.byte() / 4..(self.byte() + self.words * self.number.bytes()).div_ceil(4)
    }
}

/// What a launch did on the sim device.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The kernel.
    pub kernel: String,
    /// How it was started.
    pub launch: Launch,
    /// What its blocks did.
    pub counts: Counts,
}

enum Backing {
    /// The address of each slot's buffer.
    Sim(Memory, Vec<u64>),
    /// What lies in each slot; nothing in those that were emptied.
    Cuda(Gpu, HashMap<usize, Words>),
    /// What would have been done.
    Recorder(Vec<Recorded>),
}

/// A machine's memory. Tensors that are given back are kept and taken again by those of the same
/// size, so that training steps of one shape allocate little after the first.
pub struct Store {
    backing: Backing,
    names: Vec<(String, usize)>,
    free: BTreeMap<usize, Vec<Tensor>>,
    /// Words that may be held at most, where that is limited.
    most: Option<usize>,
    tables: BTreeMap<Vec<u32>, Tensor>,
    /// What kernels do on a kind of GPU, where somebody asks.
    record: Option<((Hardware, usize), Vec<Counted>)>,
    /// When kernels began and ended, where somebody asks.
    timed: Option<Vec<Timed>>,
    /// Kernels started so far.
    pub launches: u64,
    /// Dense products started so far.
    pub products: u64,
}

/// Tables that are kept from step to step: those of shapes come again, those of tokens do not.
const TABLES: usize = 256;
/// Tensors that the message about full memory names.
const LARGEST: usize = 5;

impl Store {
    /// Empty memory.
    pub fn new(machine: &Machine) -> Store {
        let backing = match machine {
            Machine::Sim(_) => Backing::Sim(Memory::default(), vec![]),
            Machine::Cuda(gpu) => Backing::Cuda(gpu.clone(), HashMap::new()),
            Machine::Recorder(_) => Backing::Recorder(vec![]),
        };
        Store {
            backing,
            names: vec![],
            free: BTreeMap::new(),
            most: None,
            tables: BTreeMap::new(),
            record: None,
            timed: None,
            launches: 0,
            products: 0,
        }
    }

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
    fn words(&mut self, name: &str, words: usize) -> Result<Tensor, Failure> {
        if let Some(tensor) = self.free.get_mut(&words).and_then(Vec::pop) {
            self.names[tensor.slot].0 = name.to_string();
            if let Backing::Sim(memory, addresses) = &mut self.backing {
                memory.forget(addresses[tensor.slot], name);
            }
            return Ok(tensor);
        }
        let slot = self.names.len();
        // What nobody holds may be in the way: memory that is full is emptied of it once.
        if self.reserve(slot, name, words).is_err() {
            self.empty()?;
            self.reserve(slot, name, words).map_err(|why| self.full(name, words, &why))?;
        }
        self.names.push((name.to_string(), words));
        Ok(Tensor { slot, start: 0, words, number: Number::F32 })
    }

    /// Words of all tensors, also of those that nobody holds.
    pub fn reserved(&self) -> usize {
        self.names.iter().map(|(_, words)| words).sum()
    }

    /// Makes a new slot.
    fn reserve(&mut self, slot: usize, name: &str, words: usize) -> Result<(), String> {
        if self.most.is_some_and(|most| self.reserved() + words > most) {
            return Err("more than it was limited to".into());
        }
        match &mut self.backing {
            Backing::Sim(memory, addresses) => addresses.push(memory.reserve(name, words * 4)),
            Backing::Cuda(gpu, slots) => {
                slots.insert(slot, gpu.reserve(words)?);
            }
            Backing::Recorder(_) => {}
        }
        Ok(())
    }

    /// Gives the memory of tensors that nobody holds back to the machine.
    fn empty(&mut self) -> Result<(), Failure> {
        for tensor in std::mem::take(&mut self.free).into_values().flatten() {
            self.names[tensor.slot] = (String::new(), 0);
            match &mut self.backing {
                Backing::Sim(memory, addresses) => memory.release(addresses[tensor.slot]),
                Backing::Cuda(_, slots) => {
                    slots.remove(&tensor.slot);
                }
                Backing::Recorder(_) => {}
            }
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

    /// Lets the sim device know that nobody has written what a tensor is to hold next.
    pub fn forget(&mut self, tensor: Tensor, name: &str) {
        if let Backing::Sim(memory, addresses) = &mut self.backing {
            memory.forget(addresses[tensor.slot], name);
        }
    }

    /// Gives a whole tensor back.
    pub fn give(&mut self, tensor: Tensor) {
        let words = tensor.covers().len();
        debug_assert!(
            tensor.start == 0 && self.names[tensor.slot].1 == words,
            "whole tensors are given back"
        );
        let whole = Tensor { words, number: Number::F32, ..tensor };
        self.free.entry(words).or_default().push(whole);
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
                self.give(tensor);
            }
        }
    }

    /// A tensor of whole numbers that nobody changes, until [`Store::trim_tables`].
    pub fn table(&mut self, numbers: Vec<u32>) -> Result<Tensor, Failure> {
        if let Some(known) = self.tables.get(&numbers) {
            return Ok(*known);
        }
        let tensor = self.take("table", numbers.len())?;
        self.put_words(tensor, &numbers)?;
        self.tables.insert(numbers, tensor);
        Ok(tensor)
    }

    /// From now on, the sim device counts what kernels do on a kind of GPU, where so many such calls run at a time.
    pub fn record(&mut self, hardware: Hardware, calls: usize) {
        self.record = Some(((hardware, calls), vec![]));
    }

    /// What has been counted since the last call.
    pub fn recorded(&mut self) -> Vec<Counted> {
        self.record.as_mut().map(|(_, done)| std::mem::take(done)).unwrap_or_default()
    }

    /// From now on, kernels are timed.
    pub fn time(&mut self) {
        self.timed = Some(vec![]);
    }

    /// The kernels since the last call, with the seconds that each took.
    pub fn timed(&mut self) -> Result<Vec<(String, f64)>, Failure> {
        let all = self.timed.as_mut().map(std::mem::take).unwrap_or_default();
        all.into_iter().map(|one| one.seconds().map(|seconds| (one.kernel, seconds))).collect()
    }

    fn mark(&self) -> Result<Mark, Failure> {
        match &self.backing {
            Backing::Cuda(gpu, _) => gpu.mark().map(Mark::There),
            Backing::Sim(..) | Backing::Recorder(_) => Ok(Mark::Here(Instant::now())),
        }
    }

    /// What would have been started since the last call, of a machine that runs nothing.
    pub fn written_down(&mut self) -> Vec<Recorded> {
        match &mut self.backing {
            Backing::Recorder(done) => std::mem::take(done),
            Backing::Sim(..) | Backing::Cuda(..) => vec![],
        }
    }

    /// Fills a tensor with zeros.
    pub fn clear(&mut self, tensor: Tensor) -> Result<(), Failure> {
        let covers = tensor.covers();
        let whole = tensor.byte().is_multiple_of(4)
            && covers.len() * 4 == tensor.words * tensor.number.bytes();
        match &mut self.backing {
            Backing::Recorder(done) => {
                done.push(Recorded::Clear(tensor));
                Ok(())
            }
            _ if !whole => self.put(tensor, &vec![0.0; tensor.words]),
            Backing::Sim(memory, addresses) => {
                let zeros = std::iter::repeat_n(0, covers.len());
                memory.fill(addresses[tensor.slot], covers.start, zeros);
                Ok(())
            }
            Backing::Cuda(gpu, slots) => gpu.clear(held(slots, tensor)?, covers),
        }
    }

    /// Writes floats, as many as the tensor holds or fewer; rounds them where it holds less of each.
    pub fn put(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure> {
        if tensor.number == Number::F32 {
            let words: Vec<u32> = data.iter().map(|x| x.to_bits()).collect();
            return self.put_words(tensor, &words);
        }
        debug_assert!(data.len() <= tensor.words, "what is written fits");
        let covers = Tensor { words: data.len(), ..tensor }.covers();
        let odd = tensor.start % 2;
        let narrow = |x: &f32| half::bf16::from_f32(*x).to_bits();
        match &mut self.backing {
            Backing::Sim(memory, addresses) => {
                let first = addresses[tensor.slot] + tensor.byte() as u64;
                let mut both = data.iter().enumerate();
                both.try_for_each(|(at, x)| {
                    memory.write(first + 2 * at as u64, 2, u32::from(narrow(x)))
                })
                .map_err(Failure::Verification)
            }
            Backing::Cuda(gpu, slots) => {
                // Numbers beside them share the first and the last four bytes.
                let mut words = gpu.get(held(slots, tensor)?, covers.clone())?;
                for (at, x) in data.iter().enumerate() {
                    let (word, shift) = ((odd + at) / 2, 16 * ((odd + at) % 2));
                    words[word] = words[word] & !(0xffff << shift) | u32::from(narrow(x)) << shift;
                }
                gpu.put(held(slots, tensor)?, covers.start, &words)
            }
            Backing::Recorder(_) => Ok(()),
        }
    }

    /// Writes words of four bytes.
    fn put_words(&mut self, tensor: Tensor, words: &[u32]) -> Result<(), Failure> {
        debug_assert!(words.len() <= tensor.words, "what is written fits");
        if words.is_empty() {
            return Ok(());
        }
        match &mut self.backing {
            Backing::Sim(memory, addresses) => {
                memory.fill(addresses[tensor.slot], tensor.start, words.iter().copied());
                Ok(())
            }
            Backing::Cuda(gpu, slots) => gpu.put(held(slots, tensor)?, tensor.start, words),
            Backing::Recorder(_) => Ok(()),
        }
    }

    /// The floats of a tensor, after everything before has run.
    pub fn get(&self, tensor: Tensor) -> Result<Vec<f32>, Failure> {
        let words = match &self.backing {
            Backing::Sim(memory, addresses) => {
                let first = addresses[tensor.slot] + tensor.byte() as u64;
                return memory
                    .floats(first, tensor.words, tensor.number.bytes())
                    .map_err(Failure::Verification);
            }
            Backing::Cuda(gpu, slots) => gpu.get(&slots[&tensor.slot], tensor.covers())?,
            Backing::Recorder(_) => return Err(Failure::World("nothing has run".into())),
        };
        let half = |at: usize| words[at / 2] >> (16 * (at % 2)) << 16;
        let odd = tensor.start % 2;
        Ok(match tensor.number {
            Number::F32 => words.into_iter().map(f32::from_bits).collect(),
            Number::Bf16 => (odd..odd + tensor.words).map(|at| f32::from_bits(half(at))).collect(),
        })
    }

    /// Waits until everything has run.
    pub fn wait(&self) -> Result<(), Failure> {
        match &self.backing {
            Backing::Sim(..) | Backing::Recorder(_) => Ok(()),
            Backing::Cuda(gpu, _) => gpu.wait(),
        }
    }

    /// Starts a kernel.
    pub fn launch(
        &mut self,
        loaded: &Loaded,
        size: [usize; 3],
        arguments: &[Argument],
    ) -> Result<(), Failure> {
        if size[0] == 0 {
            return Ok(());
        }
        self.launches += 1;
        let began = self.timed.is_some().then(|| self.mark()).transpose()?;
        self.start(loaded, size, arguments)?;
        if let Some(began) = began {
            let one = Timed { kernel: loaded.name().to_string(), marks: [began, self.mark()?] };
            self.timed.get_or_insert_default().push(one);
        }
        Ok(())
    }

    fn start(
        &mut self,
        loaded: &Loaded,
        [blocks, threads, shared]: [usize; 3],
        arguments: &[Argument],
    ) -> Result<(), Failure> {
        match (&mut self.backing, loaded) {
            (Backing::Sim(memory, addresses), Loaded::Sim(entry)) => {
                let arguments: Vec<sim::Argument> = arguments
                    .iter()
                    .map(|argument| match argument {
                        Argument::Tensor(tensor) => sim::Argument::Address(
                            tensor.map_or(0, |t| addresses[t.slot] + t.byte() as u64),
                        ),
                        Argument::Number(x) => sim::Argument::Number(*x),
                        Argument::Float(x) => sim::Argument::Number(x.to_bits() as i32),
                    })
                    .collect();
                let launch = Launch { blocks, threads, shared };
                let failed = |fault: sim::Fault| Failure::Verification(fault.to_string());
                match &mut self.record {
                    None => {
                        sim::launch(entry, launch, &arguments, memory).map_err(failed)?;
                    }
                    Some(((hardware, calls), done)) => {
                        let of = (&*hardware, *calls);
                        let counts =
                            sim::counted(entry, launch, &arguments, memory, of).map_err(failed)?;
                        done.push(Counted { kernel: entry.name.clone(), launch, counts });
                    }
                }
                Ok(())
            }
            (Backing::Cuda(gpu, slots), Loaded::Cuda(function)) => {
                let arguments: Vec<gpu::Argument> = arguments
                    .iter()
                    .map(|argument| match argument {
                        Argument::Tensor(None) => gpu::Argument::Null,
                        Argument::Tensor(Some(t)) => {
                            gpu::Argument::Words(&slots[&t.slot], t.byte())
                        }
                        Argument::Number(x) => gpu::Argument::Number(*x),
                        Argument::Float(x) => gpu::Argument::Number(x.to_bits() as i32),
                    })
                    .collect();
                gpu.launch(function, [blocks, threads, shared], &arguments)
            }
            (Backing::Recorder(done), Loaded::Text(kernel)) => {
                let size = [blocks, threads, shared];
                done.push(Recorded::launch(kernel, size, arguments, &self.tables));
                Ok(())
            }
            _ => Err(Failure::World("a kernel was loaded for another machine".into())),
        }
    }

    /// A dense product; see [`Dense`] for the shapes. Operands, which are held alike, are rounded to bf16, sums
    /// are f32.
    pub fn dense(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        sizes: dense::Sizes,
    ) -> Result<(), Failure> {
        self.products += 1;
        if let Backing::Cuda(gpu, slots) = &mut self.backing {
            let at = |t: Tensor| (&slots[&t.slot], t.byte());
            let held = [from[0].number, to.number];
            return gpu.dense(kind, at(to), from.map(at), sizes, held);
        }
        let [a, b] = [self.get(from[0])?, self.get(from[1])?].map(|mut x| {
            x.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
            x
        });
        let mut y = if kind.adds() { self.get(to)? } else { vec![0.0; to.words] };
        dense::run(kind, &mut y, [&a, &b], sizes);
        self.put(to, &y)
    }
}

/// What lies in a tensor's slot.
fn held(slots: &mut HashMap<usize, Words>, tensor: Tensor) -> Result<&mut Words, Failure> {
    let gone = || Failure::World("a tensor that was given back is written".into());
    slots.get_mut(&tensor.slot).ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_full_is_emptied_of_what_nobody_holds() {
        let mut store = Store { most: Some(100), ..Store::new(&Machine::sim()) };
        let (a, b) = (store.take("a", 40).unwrap(), store.take("b", 50).unwrap());
        store.give(a);
        // No tensor of this size was given back, and beside both there is no room for it.
        let c = store.holding("c", &[1.0; 45], Number::F32).unwrap();
        assert_eq!(store.get(c).unwrap(), [1.0; 45]);
        let why = store.take("d", 20).unwrap_err().to_string();
        assert!(why.contains("for d") && why.contains("b 0.0 MiB"), "{why}");
        store.give(b);
        assert!(store.take("d", 20).is_ok());
    }
}
