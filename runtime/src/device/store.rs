//! Tensors in a machine's memory, and what runs on them.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

pub use super::argument::Argument;
use super::cuda::gpu::{self, Gpu, Words};
pub use super::machine::{Loaded, Machine};
use super::recorder::Recorded;
use super::replay::{Lists, Op};
use super::sent::Sent;
use super::sim::count::Counts;
use super::sim::hardware::Hardware;
use super::sim::memory::Memory;
use super::sim::{self, Launch};
use super::timed::Timed;
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
    pub(super) fn byte(self) -> usize {
        self.start * self.number.bytes()
    }

    /// The four bytes that it begins in, and all that it lies in.
    pub(super) fn covers(self) -> Range<usize> {
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

/// What went between the host and a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Pieces of memory that were asked of the machine.
    pub allocations: u64,
    /// Times that the host waited for numbers.
    pub reads: u64,
    /// Lists that were replayed as a whole.
    pub replays: u64,
}

/// A machine's memory. Tensors that are given back are kept and taken again by those of the same
/// size, the first of them first: training steps of one shape allocate nothing after the first, and lie where it lay.
pub struct Store {
    backing: Backing,
    /// Name and words of each slot.
    pub(super) names: Vec<(String, usize)>,
    /// Slots that nobody holds, by their words.
    pub(super) free: BTreeMap<usize, BTreeSet<usize>>,
    /// Likewise of what was kept from step to step.
    pub(super) spare: BTreeMap<usize, BTreeSet<usize>>,
    /// What the host sends.
    pub(super) sent: Sent,
    /// What is started as a whole.
    pub(super) lists: Lists,
    pub(super) allocations: u64,
    reads: Cell<u64>,
    /// Words that may be held at most, where that is limited.
    pub(super) most: Option<usize>,
    pub(super) tables: BTreeMap<Vec<u32>, Tensor>,
    /// What kernels do on a kind of GPU, where somebody asks.
    record: Option<((Hardware, usize), Vec<Counted>)>,
    /// When kernels began and ended, where somebody asks.
    pub(super) timed: Option<Vec<Timed>>,
    /// Kernels started so far.
    pub launches: u64,
    /// Dense products started so far.
    pub products: u64,
}

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
            spare: BTreeMap::new(),
            sent: Sent::default(),
            lists: Lists::default(),
            allocations: 0,
            reads: Cell::new(0),
            most: None,
            tables: BTreeMap::new(),
            record: None,
            timed: None,
            launches: 0,
            products: 0,
        }
    }

    /// Makes a new slot.
    pub(super) fn reserve(&mut self, slot: usize, name: &str, words: usize) -> Result<(), String> {
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

    /// Gives a slot's memory back to the machine.
    pub(super) fn release(&mut self, slot: usize) {
        match &mut self.backing {
            Backing::Sim(memory, addresses) => memory.release(addresses[slot]),
            Backing::Cuda(_, slots) => {
                slots.remove(&slot);
            }
            Backing::Recorder(_) => {}
        }
    }

    /// Lets the sim device know that nobody has written what a tensor is to hold next.
    pub fn forget(&mut self, tensor: Tensor, name: &str) -> Result<(), Failure> {
        match self.backing {
            Backing::Sim(..) => self.issue(Op::Forget(tensor, name.into())),
            Backing::Cuda(..) | Backing::Recorder(_) => Ok(()),
        }
    }

    /// What went between the host and the machine so far.
    pub fn traffic(&self) -> Traffic {
        let (reads, replays) = (self.reads.get(), self.lists.replays);
        Traffic { allocations: self.allocations, reads, replays }
    }

    /// Why what was started could not be replayed as a whole.
    pub fn refusals(&self) -> &[String] {
        &self.lists.refusals
    }

    /// Whether nobody looks at single kernels.
    pub(super) fn runs_freely(&self) -> bool {
        let here = !matches!(self.backing, Backing::Recorder(_));
        here && self.timed.is_none() && self.record.is_none()
    }

    /// The GPU that it is the memory of.
    pub(super) fn gpu(&self) -> Option<Gpu> {
        match &self.backing {
            Backing::Cuda(gpu, _) => Some(gpu.clone()),
            Backing::Sim(..) | Backing::Recorder(_) => None,
        }
    }

    /// From now on, the sim device counts what kernels do on a kind of GPU, where so many such calls run at a time.
    pub fn record(&mut self, hardware: Hardware, calls: usize) {
        self.record = Some(((hardware, calls), vec![]));
    }

    /// What has been counted since the last call.
    pub fn recorded(&mut self) -> Vec<Counted> {
        self.record.as_mut().map(|(_, done)| std::mem::take(done)).unwrap_or_default()
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
        self.issue(Op::Clear(tensor))
    }

    fn zero(&mut self, tensor: Tensor) -> Result<(), Failure> {
        let (start, bytes) = (tensor.byte(), tensor.words * tensor.number.bytes());
        match &mut self.backing {
            Backing::Recorder(done) => {
                done.push(Recorded::Clear(tensor));
                Ok(())
            }
            Backing::Sim(memory, addresses) => memory
                .zero(addresses[tensor.slot] + start as u64, bytes)
                .map_err(Failure::Verification),
            Backing::Cuda(gpu, slots) => gpu.clear(held(slots, tensor)?, start..start + bytes),
        }
    }

    /// Where a tensor lies on a GPU.
    pub(super) fn address(&mut self, tensor: Tensor) -> Result<u64, Failure> {
        let bytes = tensor.words * tensor.number.bytes();
        match &mut self.backing {
            Backing::Cuda(gpu, slots) => {
                let words = held(slots, tensor)?;
                gpu.address((words, tensor.byte()), bytes)
            }
            Backing::Sim(..) | Backing::Recorder(_) => {
                Err(Failure::World("addresses are those of a GPU".into()))
            }
        }
    }

    /// Starts something now.
    pub(super) fn run(&mut self, op: &Op) -> Result<(), Failure> {
        match op {
            Op::Launch(loaded, size, arguments) => self.start(loaded, *size, arguments),
            Op::Clear(tensor) => self.zero(*tensor),
            Op::Dense(kind, to, from, sizes) => self.multiply(*kind, *to, *from, *sizes),
            Op::Forget(tensor, name) => {
                if let Backing::Sim(memory, addresses) = &mut self.backing {
                    memory.forget(addresses[tensor.slot], name);
                }
                Ok(())
            }
        }
    }

    /// Writes floats, as many as the tensor holds or fewer; rounds them where it holds less of each.
    pub fn put(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure> {
        self.flush()?;
        self.set(tensor, data)
    }

    fn set(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure> {
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
    pub(super) fn put_words(&mut self, tensor: Tensor, words: &[u32]) -> Result<(), Failure> {
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

    /// Writes words into a tensor that nothing reads which waits.
    pub(super) fn deliver(&mut self, whole: Tensor, words: &[u32]) -> Result<(), Failure> {
        match &mut self.backing {
            Backing::Sim(memory, addresses) => {
                memory.forget(addresses[whole.slot], "what the host sends");
                memory.fill(addresses[whole.slot], 0, words.iter().copied());
                Ok(())
            }
            Backing::Cuda(gpu, slots) => {
                let by = match self.sent.staging.entry(whole.slot) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(gpu.staging(whole.words)?),
                };
                gpu.send(held(slots, whole)?, by, words)
            }
            Backing::Recorder(_) => Ok(()),
        }
    }

    /// The floats of a tensor, after everything before has run.
    pub fn get(&self, tensor: Tensor) -> Result<Vec<f32>, Failure> {
        if self.lists.waits() {
            let what = "numbers are read of a step that has not run";
            return Err(Failure::World(format!("a mistake of lrc: {what}")));
        }
        self.reads.set(self.reads.get() + 1);
        self.numbers(tensor)
    }

    fn numbers(&self, tensor: Tensor) -> Result<Vec<f32>, Failure> {
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
        self.issue(Op::Launch(loaded.clone(), size, arguments.to_vec()))?;
        self.sent_are_read();
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
        self.issue(Op::Dense(kind, to, from, sizes))
    }

    fn multiply(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        sizes: dense::Sizes,
    ) -> Result<(), Failure> {
        if let Backing::Cuda(gpu, slots) = &mut self.backing {
            let at = |t: Tensor| (&slots[&t.slot], t.byte());
            let held = [from[0].number, to.number];
            return gpu.dense(kind, at(to), from.map(at), sizes, held);
        }
        let [a, b] = [self.numbers(from[0])?, self.numbers(from[1])?].map(|mut x| {
            x.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
            x
        });
        let mut y = if kind.adds() { self.numbers(to)? } else { vec![0.0; to.words] };
        dense::run(kind, &mut y, [&a, &b], sizes);
        self.set(to, &y)
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
    fn what_lies_beside_zeros_of_two_bytes_stays() {
        let mut store = Store::new(&Machine::sim());
        let all = store.holding("all", &[1.0; 7], Number::Bf16).unwrap();
        store.clear(all.part(1, 4)).unwrap();
        assert_eq!(store.get(all).unwrap(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        store.clear(all.part(6, 1)).unwrap();
        assert_eq!(store.get(all.part(5, 2)).unwrap(), [1.0, 0.0]);
    }

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
