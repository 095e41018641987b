//! Synthetic tasks: every sequence is a function of the seed and its number, so that a run has as many
//! as it wants, and never sees those of evaluation.

mod classification;
mod copy;
mod cycle;
mod induction;
mod modular;
mod mqar;
mod needles;
mod parity;
mod permutations;

use crate::ground::random::{Purpose, Stream};
pub use needles::{Haystack, Needles};

/// A sequence: its tokens, and what is asked at each.
pub type Sequence = (Vec<u32>, Vec<u32>);

/// A synthetic task.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// What is to be done.
    pub kind: Kind,
    /// Tokens of a sequence.
    pub length: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Multi-query associative recall (Arora et al. 2024): key-value pairs, then the keys again at
    /// gaps drawn from a power law; the value is asked at each repeated key.
    Mqar {
        /// Tokens: keys from the lower half (without 0), values from the upper half.
        vocab: usize,
        /// Key-value pairs.
        pairs: usize,
        /// The fewest pairs: where it is less than `pairs`, each sequence draws its own number.
        fewest: usize,
        /// So many keys get a new value behind the pairs; the newest one is asked.
        updates: usize,
        /// Exponent of the gaps: `p ∝ a x^(a-1)`.
        power: f64,
    },
    /// Needles in a haystack, and people in a phone book.
    Needles(Needles),
    /// The first half of the sequence again.
    Copy {
        /// Tokens; 0 stands between the halves.
        vocab: usize,
    },
    /// A few tokens among blanks, in their order.
    SelectiveCopy {
        /// Tokens; 0 is the blank, 1 asks.
        vocab: usize,
        /// How many there are to copy.
        marked: usize,
    },
    /// The token that followed a special one, when that comes again (Olsson et al. 2022).
    Induction {
        /// Tokens; 0 is the special one.
        vocab: usize,
    },
    /// Labels of examples, by a rule that every sequence draws anew: one feature decides.
    Classification {
        /// Features of an example.
        features: usize,
        /// Values of a feature.
        values: usize,
        /// Labels.
        labels: usize,
    },
    /// Parity of the ones so far, asked at every token.
    Parity,
    /// A chain of additions, subtractions and multiplications modulo a number. Without brackets it
    /// is worked out from left to right, and asked after every operand; with brackets it is one
    /// expression, asked at its end.
    Modular {
        /// The modulus.
        modulus: usize,
        /// An expression with brackets.
        brackets: bool,
    },
    /// The product of permutations so far, asked at every token: state that no diagonal transition
    /// tracks once there are five things to permute (Merrill et al. 2024).
    Permutations {
        /// Things to permute, up to five.
        of: usize,
    },
    /// The place on a circle after steps forward, backward or none, asked at every token.
    Cycle {
        /// Places.
        places: usize,
    },
}

/// What of a task can be made easier or harder: see [`Synthetic::vary`].
pub const LEVELS: [&str; 4] = ["pairs", "needles", "marked", "features"];

impl Synthetic {
    /// One word.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Mqar { .. } => "mqar",
            Kind::Needles(Needles { key_tokens: 2, .. }) => "phonebook",
            Kind::Needles(_) => "niah",
            Kind::Copy { .. } => "copy",
            Kind::SelectiveCopy { .. } => "selective_copy",
            Kind::Induction { .. } => "induction",
            Kind::Classification { .. } => "classification",
            Kind::Parity => "parity",
            Kind::Modular { .. } => "modular",
            Kind::Permutations { .. } => "permutations",
            Kind::Cycle { .. } => "cycle",
        }
    }

    /// Tokens there are.
    pub fn vocab(&self) -> usize {
        match &self.kind {
            Kind::Mqar { vocab, .. }
            | Kind::Copy { vocab }
            | Kind::SelectiveCopy { vocab, .. }
            | Kind::Induction { vocab } => *vocab,
            Kind::Needles(needles) => needles.vocab(),
            Kind::Classification { features, values, labels } => features * values + labels,
            Kind::Parity => 2,
            Kind::Modular { modulus, brackets } => modulus + if *brackets { 6 } else { 3 },
            Kind::Permutations { of } => (1..=*of).product(),
            Kind::Cycle { places } => (*places).max(3),
        }
    }

    /// The fewest tokens that a sequence can have.
    pub fn shortest(&self) -> usize {
        match &self.kind {
            Kind::Mqar { pairs, updates, .. } => 4 * pairs + 2 * updates,
            Kind::Needles(needles) => needles.shortest(),
            Kind::SelectiveCopy { marked, .. } => 2 * marked,
            Kind::Induction { .. } => 3,
            // An example to learn from, and one to be asked.
            Kind::Classification { features, .. } => 2 * (features + 1),
            _ => 2,
        }
    }

    /// Why the task cannot be, if it cannot.
    pub fn wrong(&self) -> Option<(String, &'static str)> {
        let (length, least) = (self.length, self.shortest());
        match &self.kind {
            Kind::Mqar { vocab, pairs, updates, .. }
                if length < least || vocab / 2 <= pairs + 1 || updates > pairs =>
            {
                let more =
                    if *updates > 0 { format!(" and {updates} updates") } else { String::new() };
                Some((
                    format!(
                        "{pairs} pairs{more} do not fit {length} tokens and a vocabulary of {vocab}"
                    ),
                    "a sequence needs 4 tokens per pair and 2 per update, half the vocabulary more keys than pairs; no key is updated twice",
                ))
            }
            Kind::Needles(needles) if length >= least => needles.wrong(length),
            _ if length < least => Some((
                format!("{length} tokens are too few for `{}`", self.name()),
                "make `length` larger",
            )),
            _ => None,
        }
    }

    /// Makes it easier or harder; says whether the task has such a thing.
    pub fn vary(&mut self, what: &str, to: usize) -> bool {
        match (&mut self.kind, what) {
            (Kind::Mqar { pairs, fewest, .. }, "pairs") => (*pairs, *fewest) = (to, to),
            (Kind::Needles(Needles { needles: Some(needles), .. }), "needles") => *needles = to,
            (Kind::SelectiveCopy { marked, .. }, "marked") => *marked = to,
            (Kind::Classification { features, .. }, "features") => *features = to,
            _ => return false,
        }
        true
    }

    /// Sequence `item`.
    pub fn sequence(&self, seed: u64, purpose: Purpose, item: u64) -> Sequence {
        let random = &mut Stream::new(seed, purpose, item);
        let length = self.length;
        match &self.kind {
            Kind::Mqar { vocab, pairs, fewest, updates, power } => {
                let pairs =
                    if fewest == pairs { *pairs } else { doubling(random, *fewest, *pairs) };
                mqar::mqar(random, length, *vocab, [pairs, (*updates).min(pairs)], *power)
            }
            Kind::Needles(needles) => needles.sequence(random, length),
            Kind::Copy { vocab } => copy::copy(random, length, *vocab),
            Kind::SelectiveCopy { vocab, marked } => {
                copy::selective_copy(random, length, *vocab, *marked)
            }
            Kind::Induction { vocab } => induction::induction(random, length, *vocab),
            Kind::Classification { features, values, labels } => {
                classification::classification(random, length, [*features, *values, *labels])
            }
            Kind::Parity => parity::parity(random, length),
            Kind::Modular { modulus, brackets: false } => {
                modular::modular(random, length, *modulus)
            }
            Kind::Modular { modulus, brackets: true } => {
                modular::brackets(random, length, *modulus)
            }
            Kind::Permutations { of } => permutations::permutations(random, length, *of),
            Kind::Cycle { places } => cycle::cycle(random, length, *places),
        }
    }
}

/// A whole number between two others, every doubling as likely as every other.
fn doubling(random: &mut Stream, low: usize, high: usize) -> usize {
    let (low_log, high_log) = ((low as f64).ln(), ((high + 1) as f64).ln());
    let drawn = (low_log + random.uniform() * (high_log - low_log)).exp();
    (drawn as usize).clamp(low, high)
}

/// So many different numbers below `n`.
fn distinct(random: &mut Stream, n: usize, count: usize) -> Vec<usize> {
    if 2 * count > n {
        let mut all: Vec<usize> = (0..n).collect();
        random.shuffle(&mut all);
        all.truncate(count);
        return all;
    }
    let mut seen = std::collections::HashSet::with_capacity(count);
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let one = random.below(n);
        if seen.insert(one) {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::loss::NONE;

    fn every() -> Vec<Synthetic> {
        let needles = |needles, haystack, queries| {
            Kind::Needles(Needles {
                needles,
                haystack,
                queries,
                key_tokens: 1,
                keys: 40,
                symbols: 16,
                value_tokens: 4,
                words: 20,
            })
        };
        let kinds = [
            Kind::Mqar { vocab: 64, pairs: 5, fewest: 2, updates: 2, power: 0.1 },
            needles(Some(1), Haystack::Noise, 1),
            needles(Some(3), Haystack::Repeat, 2),
            needles(None, Haystack::Needles, 2),
            Kind::Copy { vocab: 20 },
            Kind::SelectiveCopy { vocab: 20, marked: 7 },
            Kind::Induction { vocab: 20 },
            Kind::Classification { features: 3, values: 4, labels: 2 },
            Kind::Parity,
            Kind::Modular { modulus: 5, brackets: false },
            Kind::Modular { modulus: 5, brackets: true },
            Kind::Permutations { of: 4 },
            Kind::Cycle { places: 5 },
        ];
        kinds.into_iter().map(|kind| Synthetic { kind, length: 61 }).collect()
    }

    /// Every task, at every length it allows: tokens and answers below its vocabulary, something
    /// asked, and nothing of it told to training.
    #[test]
    fn sequences_have_their_length_and_stay_in_their_vocabulary() {
        for mut task in every() {
            for length in [task.shortest(), task.shortest() + 1, 61, 96] {
                task.length = length.max(task.shortest());
                assert_eq!(task.wrong(), None, "{} {length}", task.name());
                let mut seen = Vec::new();
                for item in 0..40 {
                    let (tokens, targets) = task.sequence(3, Purpose::Train, item);
                    assert_eq!((tokens.len(), targets.len()), (task.length, task.length));
                    assert!(tokens.iter().all(|t| (*t as usize) < task.vocab()), "{task:?}");
                    let asked: Vec<u32> = targets.iter().copied().filter(|t| *t != NONE).collect();
                    assert!(!asked.is_empty(), "{task:?}");
                    assert!(asked.iter().all(|t| (*t as usize) < task.vocab()), "{task:?}");
                    seen.push(tokens);
                }
                if length == 96 {
                    let eval: Vec<_> =
                        (0..40).map(|i| task.sequence(3, Purpose::Eval, i).0).collect();
                    assert!(eval.iter().all(|tokens| !seen.contains(tokens)), "{task:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_too_short_says_so() {
        for mut task in every() {
            task.length = task.shortest() - 1;
            assert!(task.length < 2 || task.wrong().is_some(), "{task:?}");
        }
    }

    #[test]
    fn distinct_numbers_are() {
        for count in [0, 3, 30, 50] {
            let mut found = distinct(&mut Stream::new(1, Purpose::Train, count as u64), 50, count);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), count);
        }
    }
}
