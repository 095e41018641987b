//! What a step starts, as a list: a list that comes again, as it was, is replayed, on a GPU as one CUDA graph.
//!
//! A step is walked over every time, and what it starts is written down. As long as that is how a known list begins, nothing
//! runs; once it is the whole of one, that is started at once. What differs from every known list (another shape, another
//! address) runs as it comes and is known from then on. So a replay starts nothing but what the step asks for, and
//! there is one graph for each class of shapes without anybody saying what a class is.

use std::sync::Arc;

use super::argument::Argument;
use super::cuda::gpu::Graph;
use super::machine::Loaded;
use super::store::{Store, Tensor};
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};

/// Lists that are known at a time: those of the classes of a run, forward and backward and the update. What never comes
/// again, such as packed documents of ever other lengths, pushes nothing out that comes more often.
const KNOWN: usize = 16;

/// Something that a machine does to tensors without asking the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A kernel: what it is, blocks, threads of a block, bytes of shared memory, and its arguments.
    Launch(Loaded, [usize; 3], Vec<Argument>),
    /// A tensor is filled with zeros.
    Clear(Tensor),
    /// A dense product; the result, the operands.
    Dense(Dense, Tensor, [Tensor; 2], Sizes),
    /// Nobody has written what a tensor is to hold next: its name.
    Forget(Tensor, Arc<str>),
}

/// A list that was started before.
struct Known {
    ops: Vec<Op>,
    how: How,
}

/// How a known list is started.
enum How {
    /// As it stands.
    Written,
    /// As a graph.
    Graph(Graph),
    /// As it stands: the device makes no graph of it.
    Refused,
}

/// The list that is being written.
struct Open {
    ops: Vec<Op>,
    /// How many of them have run.
    ran: usize,
    /// Known lists that begin so.
    alike: Vec<usize>,
    /// Why it is started piece by piece for ever.
    refused: bool,
}

/// Known lists, the last one used at the end, and the one that is being written.
#[derive(Default)]
pub struct Lists {
    known: Vec<Known>,
    open: Option<Open>,
    /// Lists that were replayed as a whole.
    pub replays: u64,
    /// Why lists were started piece by piece, each reason once.
    pub refusals: Vec<String>,
}

impl Lists {
    /// Whether something is written down that has not run.
    pub fn waits(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.ran < open.ops.len())
    }

    /// Whether a list is being written.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn refuse(&mut self, why: &str) {
        if !self.refusals.iter().any(|known| known == why) {
            self.refusals.push(why.to_string());
        }
    }
}

impl Store {
    /// Begins a list. What is timed or counted kernel by kernel is not written down.
    pub fn open(&mut self) {
        let alike = (0..self.lists.known.len()).collect();
        let open = Open { ops: vec![], ran: 0, alike, refused: false };
        self.lists.open = self.runs_freely().then_some(open);
        self.begin_sending();
    }

    /// Ends the list: what of it has not run is started now.
    pub fn close(&mut self) -> Result<(), Failure> {
        let Some(open) = &self.lists.open else { return Ok(()) };
        let known = &self.lists.known;
        let whole = open.alike.iter().find(|at| known[**at].ops.len() == open.ops.len());
        if let (Some(at), true) = (whole.copied(), self.lists.waits()) {
            self.lists.open = None;
            let mut known = self.lists.known.remove(at);
            let done = self.replay(&mut known);
            self.lists.known.push(known);
            return done;
        }
        self.flush()?;
        let Some(open) = self.lists.open.take() else { return Ok(()) };
        if open.refused || open.ops.is_empty() {
            return Ok(());
        }
        if self.lists.known.len() == KNOWN {
            // A graph that still runs is not taken away.
            if let How::Graph(_) = self.lists.known[0].how {
                self.wait()?;
            }
            self.lists.known.remove(0);
        }
        self.lists.known.push(Known { ops: open.ops, how: How::Written });
        Ok(())
    }

    /// Starts what waits, and from here to the end of the list everything as it comes.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.lists.open else { return Ok(()) };
        open.alike.clear();
        let (ops, ran) = (std::mem::take(&mut open.ops), open.ran);
        let done = ops[ran..].iter().try_for_each(|op| self.run(op));
        if let Some(open) = &mut self.lists.open {
            open.ran = ops.len();
            open.ops = ops;
        }
        done
    }

    /// Says that the list can never be replayed, since the host must see what lies in between.
    pub fn fall_out(&mut self, why: &str) -> Result<(), Failure> {
        let Some(open) = &mut self.lists.open else { return Ok(()) };
        open.refused = true;
        self.lists.refuse(why);
        self.flush()
    }

    /// Forgets all lists: the memory that they name is given away.
    pub(super) fn forget_lists(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.wait()?;
        self.lists.known.clear();
        Ok(())
    }

    /// Starts something, or writes it down.
    pub(super) fn issue(&mut self, op: Op) -> Result<(), Failure> {
        let Some(open) = &mut self.lists.open else { return self.run(&op) };
        let (at, known) = (open.ops.len(), &self.lists.known);
        open.alike.retain(|one| known[*one].ops.get(at) == Some(&op));
        open.ops.push(op);
        if open.alike.is_empty() { self.flush() } else { Ok(()) }
    }

    /// Starts a known list as a whole.
    fn replay(&mut self, known: &mut Known) -> Result<(), Failure> {
        if let (How::Written, Some(gpu)) = (&known.how, self.gpu()) {
            let all = || known.ops.iter().try_for_each(|op| self.run(op));
            known.how = match gpu.capture(all) {
                Ok(graph) => How::Graph(graph),
                Err(why) => {
                    self.lists.refuse(&why.to_string());
                    How::Refused
                }
            };
        }
        self.lists.replays += u64::from(!matches!(known.how, How::Refused));
        match &known.how {
            How::Graph(graph) => graph.launch(),
            How::Written | How::Refused => known.ops.iter().try_for_each(|op| self.run(op)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::store::Machine;
    use lrc_compiler::tile::Number;

    /// A list that fills tensors with zeros, one after the other.
    fn cleared(store: &mut Store, all: &[Tensor]) {
        store.open();
        all.iter().try_for_each(|one| store.clear(*one)).unwrap();
    }

    fn ones(store: &mut Store, count: usize) -> Vec<Tensor> {
        (0..count).map(|_| store.holding("ones", &[1.0; 5], Number::F32).unwrap()).collect()
    }

    fn first(store: &Store, of: &[Tensor]) -> Vec<f32> {
        of.iter().map(|one| store.get(*one).unwrap()[0]).collect()
    }

    #[test]
    fn a_known_list_waits_until_it_is_whole_and_any_other_runs_at_once() {
        let mut store = Store::new(&Machine::sim());
        let all = ones(&mut store, 3);
        cleared(&mut store, &all[..2]);
        assert!(!store.lists.waits(), "nobody knows it");
        store.close().unwrap();
        all.iter().for_each(|one| store.put(*one, &[1.0; 5]).unwrap());
        cleared(&mut store, &all[..2]);
        assert!(store.lists.waits());
        let why = store.get(all[0]).unwrap_err().to_string();
        assert!(why.contains("has not run"), "{why}");
        store.close().unwrap();
        assert_eq!((first(&store, &all), store.lists.replays), (vec![0.0, 0.0, 1.0], 1));
        // It begins like a known one, and goes on otherwise; then it ends before.
        store.put(all[0], &[1.0; 5]).unwrap();
        cleared(&mut store, &[all[0], all[2]]);
        assert!(!store.lists.waits());
        assert_eq!(first(&store, &all), [0.0; 3]);
        store.close().unwrap();
        store.put(all[0], &[1.0; 5]).unwrap();
        cleared(&mut store, &all[..1]);
        store.close().unwrap();
        assert_eq!((first(&store, &all[..1]), store.lists.replays), (vec![0.0], 1));
    }

    /// What is written at once keeps its place among what waits.
    #[test]
    fn what_is_written_in_between_comes_after_what_waits() {
        let mut store = Store::new(&Machine::sim());
        let all = ones(&mut store, 2);
        for _ in 0..2 {
            cleared(&mut store, &all);
            store.close().unwrap();
        }
        cleared(&mut store, &all[..1]);
        store.put(all[0], &[2.0; 5]).unwrap();
        store.clear(all[1]).unwrap();
        store.close().unwrap();
        assert_eq!(first(&store, &all), [2.0, 0.0]);
        // A table takes memory that something which waits may still write.
        cleared(&mut store, &all[..1]);
        assert!(store.lists.waits());
        let table = store.table(vec![7; 3]).unwrap();
        assert!(!store.lists.waits());
        assert_eq!(store.get(table).unwrap()[0].to_bits(), 7);
        store.close().unwrap();
    }

    /// What is sent has a place of its own for each time in a list, and the same one in the next.
    #[test]
    fn what_is_sent_lies_where_it_lay() {
        let mut store = Store::new(&Machine::sim());
        let mut sent = |count: usize| {
            store.open();
            let both = [store.send(&vec![1; count]).unwrap(), store.send(&[2]).unwrap()];
            store.close().unwrap();
            let bits = both.map(|one| store.get(one).unwrap()[0].to_bits());
            assert_eq!(bits, [1, 2]);
            both
        };
        let before = sent(3);
        assert_ne!(before[0].slot, before[1].slot);
        assert_eq!(sent(3), before);
        // A little more stays there, much more does not.
        assert_eq!(sent(60)[0].slot, before[0].slot);
        assert_ne!(sent(600)[0].slot, before[0].slot);
    }

    #[test]
    fn a_list_that_falls_out_is_never_replayed() {
        let mut store = Store::new(&Machine::sim());
        let all = ones(&mut store, 2);
        for _ in 0..3 {
            cleared(&mut store, &all[..1]);
            store.fall_out("the host looks").unwrap();
            assert_eq!(first(&store, &all[..1]), [0.0]);
            store.clear(all[1]).unwrap();
            store.close().unwrap();
        }
        assert_eq!((store.lists.replays, store.refusals()), (0, &["the host looks".into()][..]));
    }

    #[test]
    fn lists_that_come_no_more_make_room() {
        let mut store = Store::new(&Machine::sim());
        let all = ones(&mut store, KNOWN + 4);
        let run = |store: &mut Store, at: usize| {
            let before = store.lists.replays;
            cleared(store, &all[at..=at]);
            store.close().unwrap();
            store.lists.replays > before
        };
        for at in 0..all.len() {
            assert!(!run(&mut store, at));
            assert!(at == 0 || run(&mut store, 0), "one that comes again and again stays");
        }
        assert!(run(&mut store, KNOWN) && !run(&mut store, 1));
        // Memory that is given back to the machine takes all lists with it.
        store.forget_lists().unwrap();
        assert!(!run(&mut store, 0) && run(&mut store, 0));
    }
}
