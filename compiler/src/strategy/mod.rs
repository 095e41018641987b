//! Which strategy computes a recurrence: the one classifier for the processor and for kernels.
//!
//! The strategies in order of preference:
//!
//! * **scan**: every state is a vector whose entries never meet, `h = a ∘ h + b`. All rows of a chunk
//!   are one operation.
//! * **chunk**: states that are diagonal plus low rank. A chunk of tokens becomes products.
//! * **attention**: no state, but sums over the past. Blocks of queries against blocks of keys.
//! * **halves**: sums over the past that read states which depend on no such sum. First the states, then
//!   the sums, each by a strategy of its own.
//! * **recurrent**: one token after the other, which any recurrence allows.

mod halves;
pub mod transition;

pub use halves::{Half, Halves};

use crate::chunk::attention::{Range, pair_program};
use crate::chunk::{derive, scan};
use crate::elaborate::Recurrence;
use crate::normal::{self, Normal, Refusal};

/// How a recurrence is computed.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// Entry by entry, many tokens at a time.
    Scan,
    /// Many tokens at a time, from the normal form.
    Chunk(Box<Normal>),
    /// Blocks of queries against the keys of a range.
    Attention(Range),
    /// The states, then the sums over the past that read them.
    Halves(Box<Halves>),
    /// One token at a time; what stands in the way of the others, in words of the text.
    Recurrent(Refusal),
}

impl Strategy {
    /// The name, as commands print it.
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::Scan => "scan",
            Strategy::Chunk(_) => "chunk",
            Strategy::Attention(_) => "attention",
            Strategy::Halves(_) => "halves",
            Strategy::Recurrent(_) => "recurrent",
        }
    }

    /// What the name means.
    pub fn meaning(&self) -> &'static str {
        match self {
            Strategy::Scan => "entry by entry, many tokens at a time",
            Strategy::Chunk(_) => "diagonal plus low rank, many tokens at a time",
            Strategy::Attention(_) => "blocks of queries against the keys in range",
            Strategy::Halves(_) => "the states first, then the sums over the past that read them",
            Strategy::Recurrent(_) => "one token at a time",
        }
    }

    /// Why a recurrence runs one token at a time; nothing where it need not.
    pub fn hindrance(&self) -> Option<&Refusal> {
        match self {
            Strategy::Recurrent(why) => Some(why),
            _ => None,
        }
    }

    /// Whether kernels go on from states, a token at a time: not where sums over the past need more.
    pub fn decodes(&self) -> bool {
        !matches!(self, Strategy::Attention(_) | Strategy::Halves(_))
    }
}

/// The strategy of a recurrence, on every target. What kernels lack is said by
/// [`crate::plan::schedules`].
pub fn of(r: &Recurrence) -> Strategy {
    if r.states.is_empty() {
        let range = Range::of(r).and_then(|range| pair_program(r, 1, 2).map(|_| range));
        return range.map_or_else(Strategy::Recurrent, Strategy::Attention);
    }
    if let Some(halves) = halves::halves(r) {
        return Strategy::Halves(Box::new(halves));
    }
    let vectors = scan::vectors(r);
    let scan = vectors.clone().and_then(|()| scan::derive(r, 1, false));
    let Err(no_scan) = scan else { return Strategy::Scan };
    match normal::extract(r) {
        // Products of states of one column would be one column wide.
        Ok(normal) if normal.states.iter().all(|state| state.v == 1) => {
            Strategy::Recurrent(no_scan)
        }
        Ok(normal) => match derive(r, &normal, 1, false) {
            Ok(_) => Strategy::Chunk(Box::new(normal)),
            Err(why) => Strategy::Recurrent(why),
        },
        // Of two reasons, that of the kind of state.
        Err(why) => Strategy::Recurrent(if vectors.is_ok() { no_scan } else { why }),
    }
}
