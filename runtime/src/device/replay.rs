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
            self.wait()?;
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
        self.lists.replays += 1;
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
        match &known.how {
            How::Graph(graph) => graph.launch(),
            How::Written | How::Refused => known.ops.iter().try_for_each(|op| self.run(op)),
        }
    }
}
