//! Synthetic tasks: every sequence is a function of the seed and its number, so that a run has as many
//! as it wants, and never sees those of evaluation.

mod classification;
mod compression;
mod copy;
mod cycle;
mod induction;
mod majority;
mod memorisation;
mod modular;
mod mqar;
mod needles;
mod parity;
mod permutations;
mod recall;

use super::order::Order;
use crate::fields::{self, Field, Given, Preset, Variant, field, variant, whole};
use crate::ground::random::{Purpose, Stream};
pub use classification::Classification;
pub use compression::Compression;
pub use copy::{Copy, SelectiveCopy};
pub use cycle::Cycle;
pub use induction::Induction;
pub use majority::Majority;
pub use memorisation::Memorisation;
pub use modular::Modular;
pub use mqar::Mqar;
pub use needles::{Haystack, Needles, Phonebook};
pub use parity::Parity;
pub use permutations::Permutations;
pub use recall::Recall;

/// A sequence: its tokens, and what is asked at each.
pub type Sequence = (Vec<u32>, Vec<u32>);

/// A synthetic task.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// What is to be done.
    pub kind: Kind,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences that training has; none where it has as many as it wants.
    pub examples: Option<u64>,
}

/// A task without the length of its sequences.
pub trait Generator {
    /// Tokens there are.
    fn vocab(&self) -> usize;

    /// The fewest tokens that a sequence can have.
    fn shortest(&self) -> usize {
        2
    }

    /// Why sequences of a length cannot be, and what helps; beside those that are too short.
    fn wrong(&self, _length: usize) -> Option<(String, &'static str)> {
        None
    }

    /// One of [`LEVELS`] that it has.
    fn level(&mut self, _what: &str) -> Option<&mut usize> {
        None
    }

    /// Follows a level that was set.
    fn levelled(&mut self) {}

    /// A sequence.
    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence;
}

/// A task as a spec names it.
pub trait Named: Generator + Sized {
    /// Its name in a spec, its fields, and what it is.
    const FIELDS: Variant;

    /// Reads its fields but for the length.
    fn read(given: &mut dyn Given) -> Self;
}

/// `length`, which every task has.
const LENGTH: Field =
    whole("length", 64, [2, super::LONGEST as u64], "of a sequence").unit("tokens");

/// `examples`, likewise.
const EXAMPLES: Field = field(
    "examples",
    fields::Kind::Whole([1, 1 << 40]),
    Preset::Words("without end"),
    "training sequences there are; they come again, each time in a new order",
);

const fn vocab(default: u64, least: u64) -> Field {
    whole("vocab", default, [least, 1 << 24], "tokens")
}

/// The bytes of files, which are no synthetic task.
const TEXT: Variant = variant(
    "text",
    &[
        LENGTH,
        field(
            "path",
            fields::Kind::Path,
            Preset::Needed("`path: my.txt`"),
            "a file, or a folder of files (at most 4 GiB)",
        ),
    ],
    "bytes, documents ignored; the last tenth is held out",
);

/// Makes [`Kind`] of its members.
macro_rules! tasks {
    ($($task:ident),* $(,)?) => {
        /// What is to be done.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Kind {
            $(#[doc = concat!("See [`", stringify!($task), "`].")] $task($task),)*
        }

        /// What a spec may say of each.
        pub const KINDS: &[Variant] = &[$($task::FIELDS,)* TEXT];

        impl Kind {
            /// Its name in a spec.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Kind::$task(_) => $task::FIELDS.key,)*
                }
            }

            fn generator(&self) -> &dyn Generator {
                match self {
                    $(Kind::$task(task) => task,)*
                }
            }

            fn generator_mut(&mut self) -> &mut dyn Generator {
                match self {
                    $(Kind::$task(task) => task,)*
                }
            }

            /// The task of a name in a spec, with the fields that are given.
            pub fn read(name: &str, given: &mut dyn Given) -> Option<Kind> {
                $(if name == $task::FIELDS.key {
                    return Some(Kind::$task($task::read(given)));
                })*
                None
            }
        }
    };
}
tasks!(
    Mqar,
    Needles,
    Phonebook,
    Copy,
    SelectiveCopy,
    Induction,
    Classification,
    Parity,
    Modular,
    Permutations,
    Cycle,
    Majority,
    Recall,
    Memorisation,
    Compression,
);

/// What of a task can be made easier or harder: see [`Synthetic::vary`].
pub const LEVELS: [&str; 4] = ["pairs", "needles", "marked", "features"];

impl Synthetic {
    /// One word.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Tokens there are.
    pub fn vocab(&self) -> usize {
        self.kind.generator().vocab()
    }

    /// The fewest tokens that a sequence can have.
    pub fn shortest(&self) -> usize {
        self.kind.generator().shortest()
    }

    /// Why the task cannot be, if it cannot.
    pub fn wrong(&self) -> Option<(String, &'static str)> {
        let short = (self.length < self.shortest()).then(|| {
            let why = format!("{} tokens are too few for `{}`", self.length, self.name());
            (why, "make `length` larger")
        });
        self.kind.generator().wrong(self.length).or(short)
    }

    /// Makes it easier or harder; says whether the task has such a thing.
    pub fn vary(&mut self, what: &str, to: usize) -> bool {
        let task = self.kind.generator_mut();
        let Some(level) = task.level(what) else { return false };
        *level = to;
        task.levelled();
        true
    }

    /// Sequence `item`.
    pub fn sequence(&self, seed: u64, purpose: Purpose, item: u64) -> Sequence {
        let item = match self.examples {
            Some(count) if purpose == Purpose::Train => {
                Order::new(count, seed, item / count).at(item % count)
            }
            _ => item,
        };
        self.kind.generator().sequence(&mut Stream::new(seed, purpose, item), self.length)
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

    /// What a spec says that gives none of a task's fields.
    struct Usual(&'static Variant);

    impl Given for Usual {
        fn number(&mut self, name: &'static str) -> f64 {
            match self.0.table.field(name).unwrap().default {
                Preset::Number(x) => x,
                other => panic!("{name}: {other:?}"),
            }
        }

        fn size(&mut self, name: &'static str) -> usize {
            self.number(name) as usize
        }

        fn size_up_to(&mut self, _: &'static str, default: usize, _: usize) -> usize {
            default
        }

        fn truth(&mut self, _: &'static str) -> bool {
            false
        }

        fn word(&mut self, _: &'static str) -> usize {
            0
        }

        fn has(&mut self, _: &'static str) -> bool {
            false
        }
    }

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
            Kind::Mqar(Mqar { vocab: 64, pairs: 5, fewest: 2, updates: 2, power: 0.1 }),
            needles(Some(1), Haystack::Noise, 1),
            needles(Some(3), Haystack::Repeat, 2),
            needles(None, Haystack::Needles, 2),
            Kind::Classification(Classification { features: 3, values: 4, labels: 2 }),
            Kind::Modular(Modular { modulus: 5, brackets: true }),
            Kind::SelectiveCopy(SelectiveCopy { vocab: 9, marked: 4, blind: true }),
            Kind::Recall(Recall {
                vocab: 40,
                key_tokens: 3,
                value_tokens: 2,
                noise: 0.5,
                noise_vocab: 8,
            }),
        ];
        // And each by its defaults.
        let names = KINDS.iter().filter(|kind| kind.key != TEXT.key);
        let usual = names.map(|kind| Kind::read(kind.key, &mut Usual(kind)).unwrap());
        let kinds = kinds.into_iter().chain(usual);
        kinds.map(|kind| Synthetic { kind, length: 61, examples: None }).collect()
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

    /// All of them each time, in another order; evaluation has its own.
    #[test]
    fn a_number_of_examples_comes_again() {
        let kind = Kind::Copy(Copy { vocab: 64 });
        let task = Synthetic { kind, length: 20, examples: Some(7) };
        let times = |from: u64, purpose| -> Vec<_> {
            (from..from + 7).map(|item| task.sequence(3, purpose, item)).collect()
        };
        let sorted = |mut all: Vec<Sequence>| {
            all.sort();
            all.dedup();
            all
        };
        let [first, second] = [0, 7].map(|from| times(from, Purpose::Train));
        assert_ne!(first, second);
        assert_eq!(sorted(first.clone()).len(), 7);
        assert_eq!(sorted(first), sorted(second));
        assert_eq!(sorted([times(0, Purpose::Eval), times(7, Purpose::Eval)].concat()).len(), 14);
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
