//! Needles in a haystack: a key and its value stand somewhere, and the value is asked at the end
//! (RULER, Hsieh et al. 2024, by tokens); people in a phone book are the same with two names each
//! (Jelassi et al. 2024).
//!
//! Tokens: 0 begins a needle, 1 a question; then the symbols of values, the keys, the words of the
//! haystack.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, distinct};
use crate::fields::{Field, Given, Kind, Preset, Variant, field, variant, whole, word};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// How needles lie, and what they say.
#[derive(Clone, Debug, PartialEq)]
pub struct Needles {
    /// How many there are; as many as fit without a number.
    pub needles: Option<usize>,
    /// What lies between them.
    pub haystack: Haystack,
    /// How many are asked for.
    pub queries: usize,
    /// Tokens of a key.
    pub key_tokens: usize,
    /// Different tokens of keys.
    pub keys: usize,
    /// Different tokens of values: ten digits, or sixteen, or so many words.
    pub symbols: usize,
    /// Tokens of a value.
    pub value_tokens: usize,
    /// Different words of the haystack.
    pub words: usize,
}

/// What lies between needles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haystack {
    /// Random words.
    Noise,
    /// One sentence, again and again.
    Repeat,
    /// Needles that are not asked for.
    Needles,
}

const QUERIES: Field = whole("queries", 1, [1, 1 << 16], "asked at the end of a sequence");

impl Named for Needles {
    const FIELDS: Variant = variant(
        "niah",
        &[
            LENGTH,
            EXAMPLES,
            word(
                "haystack",
                &["noise", "repeat", "needles"],
                "random words, one sentence again and again, or nothing but needles",
            ),
            word(
                "values",
                &["numbers", "uuid", "words"],
                "numbers of 7 digits, 32 of sixteen, or one of `answers` words",
            ),
            whole("answers", 64, [2, 1 << 20], "words that are values"),
            field(
                "needles",
                Kind::Whole([1, 1 << 20]),
                Preset::Words("1, or as many as fit"),
                "one needle is S-NIAH, several are M-NIAH",
            ),
            field(
                "digits",
                Kind::Whole([1, 64]),
                Preset::Words("as `values` says"),
                "tokens of a value",
            ),
            QUERIES,
            whole("keys", 64, [2, 1 << 20], "words that are keys"),
            whole("words", 64, [1, 1 << 20], "of the haystack"),
        ],
        "needles in a haystack (RULER, by tokens): a mark, a key, a value; at the end a key is asked",
    );

    /// RULER's single needle by default, several keys with `needles`, nothing but needles with `haystack: needles`.
    fn read(given: &mut dyn Given) -> Needles {
        let haystack =
            [Haystack::Noise, Haystack::Repeat, Haystack::Needles][given.word("haystack")];
        // RULER's numbers have seven digits; a UUID has 32 of sixteen.
        let (digits, symbols) = [(7, 10), (32, 16), (1, 0)][given.word("values")];
        let answers = given.size("answers");
        let needles = given.has("needles") || haystack != Haystack::Needles;
        let needles = needles.then(|| given.size_up_to("needles", 1, usize::MAX));
        let digits = given.size_up_to("digits", digits, usize::MAX);
        Needles {
            needles,
            haystack,
            queries: given.size("queries"),
            key_tokens: 1,
            keys: given.size("keys"),
            symbols: if symbols == 0 { answers } else { symbols },
            value_tokens: digits,
            words: given.size("words"),
        }
    }
}

/// People with two names each and a number, as many as fit: needles alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Phonebook(pub Needles);

impl Named for Phonebook {
    const FIELDS: Variant = variant(
        "phonebook",
        &[
            LENGTH,
            EXAMPLES,
            QUERIES,
            whole("names", 64, [2, 1 << 16], "first and last ones each"),
            whole("digits", 4, [1, 64], "of a number"),
        ],
        "people with two names and a number, as many as fit; the numbers of some are asked",
    );

    fn read(given: &mut dyn Given) -> Phonebook {
        Phonebook(Needles {
            needles: None,
            haystack: Haystack::Needles,
            queries: given.size("queries"),
            key_tokens: 2,
            keys: given.size("names"),
            symbols: 10,
            value_tokens: given.size("digits"),
            words: 0,
        })
    }
}

impl Generator for Phonebook {
    fn vocab(&self) -> usize {
        self.0.vocab()
    }

    fn shortest(&self) -> usize {
        self.0.shortest()
    }

    fn wrong(&self, length: usize) -> Option<(String, &'static str)> {
        self.0.wrong(length)
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        self.0.sequence(random, length)
    }
}

const BEGINS: u32 = 0;
const ASKS: u32 = 1;
/// Words of the sentence that is repeated.
const SENTENCE: usize = 12;

impl Generator for Needles {
    fn vocab(&self) -> usize {
        2 + self.symbols + self.keys + if self.hay() { self.words } else { 0 }
    }

    fn shortest(&self) -> usize {
        self.needles.unwrap_or(self.queries).max(self.queries) * self.size() + self.questions()
    }

    fn wrong(&self, length: usize) -> Option<(String, &'static str)> {
        if length < self.shortest() {
            return None;
        }
        let (count, keys) = (self.count(length), self.keys.pow(self.key_tokens as u32));
        if count > keys {
            let why = format!("{length} tokens hold {count} needles, and there are {keys} keys");
            return Some((why, "make `keys` larger"));
        }
        if self.queries > count {
            let why = format!("{} of {count} needles cannot be asked for", self.queries);
            return Some((why, "make `queries` smaller"));
        }
        None
    }

    fn level(&mut self, what: &str) -> Option<&mut usize> {
        self.needles.as_mut().filter(|_| what == "needles")
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let count = self.count(length);
        let keys = distinct(random, self.keys.pow(self.key_tokens as u32), count);
        let mut value = || -> Vec<u32> {
            (0..self.value_tokens).map(|_| 2 + random.below(self.symbols) as u32).collect()
        };
        let needles: Vec<(usize, Vec<u32>)> = keys.into_iter().map(|key| (key, value())).collect();
        // Words before each needle: numbers of words in rising order are places without overlap.
        let free = length - self.questions() - count * self.size();
        let mut before: Vec<usize> =
            (0..count).map(|_| if self.hay() { random.below(free + 1) } else { 0 }).collect();
        before.sort_unstable();
        let words = self.hay_words(random, free);
        let mut tokens = Vec::with_capacity(length);
        let mut told = 0;
        for ((key, value), before) in needles.iter().zip(before) {
            tokens.extend(&words[told..before]);
            told = before;
            tokens.push(BEGINS);
            tokens.extend(self.key(*key));
            tokens.extend(value);
        }
        tokens.extend(&words[told..]);
        let mut targets = vec![NONE; tokens.len()];
        for asked in distinct(random, count, self.queries) {
            let (key, value) = &needles[asked];
            tokens.push(ASKS);
            tokens.extend(self.key(*key));
            targets.resize(tokens.len() - 1, NONE);
            targets.extend(value);
            tokens.extend(&value[..value.len() - 1]);
        }
        (tokens, targets)
    }
}

impl Needles {
    /// Whether words lie between needles.
    fn hay(&self) -> bool {
        self.haystack != Haystack::Needles
    }

    fn size(&self) -> usize {
        1 + self.key_tokens + self.value_tokens
    }

    /// Tokens of all questions; the last token of a value is asked, and not told.
    fn questions(&self) -> usize {
        self.queries * (self.size() - 1)
    }

    /// Needles in a sequence.
    fn count(&self, length: usize) -> usize {
        self.needles.unwrap_or_else(|| (length - self.questions()) / self.size())
    }

    fn key(&self, number: usize) -> impl Iterator<Item = u32> {
        let (first, base) = (2 + self.symbols, self.keys);
        let place = move |at: usize| number / base.pow(at as u32) % base;
        (0..self.key_tokens).map(move |at| (first + place(at)) as u32)
    }

    fn hay_words(&self, random: &mut Stream, count: usize) -> Vec<u32> {
        let first = 2 + self.symbols + self.keys;
        match self.haystack {
            Haystack::Noise => {
                (0..count).map(|_| (first + random.below(self.words)) as u32).collect()
            }
            Haystack::Repeat => {
                (0..count).map(|i| (first + i % SENTENCE.min(self.words)) as u32).collect()
            }
            // What is too short for another needle is filled in front of the questions.
            Haystack::Needles => vec![BEGINS; count],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn needles(needles: Option<usize>, haystack: Haystack, queries: usize) -> Needles {
        Needles {
            needles,
            haystack,
            queries,
            key_tokens: 1,
            keys: 64,
            symbols: 10,
            value_tokens: 7,
            words: 30,
        }
    }

    /// What a reader without a model would answer.
    fn looked_up(task: &Needles, tokens: &[u32]) -> Vec<u32> {
        let (key, value) = (task.key_tokens, task.value_tokens);
        let mut answers = Vec::new();
        for (at, _) in tokens.iter().enumerate().filter(|(_, token)| **token == ASKS) {
            let wanted = &tokens[at + 1..][..key];
            let found = (0..at)
                .find(|i| tokens[*i] == BEGINS && tokens.get(i + 1..i + 1 + key) == Some(wanted));
            answers.extend(&tokens[found.unwrap() + 1 + key..][..value]);
        }
        answers
    }

    #[test]
    fn every_question_has_its_needle() {
        let tasks = [
            needles(Some(1), Haystack::Noise, 1),
            needles(Some(4), Haystack::Repeat, 2),
            needles(None, Haystack::Needles, 3),
            Needles { key_tokens: 2, keys: 8, ..needles(None, Haystack::Needles, 1) },
        ];
        for task in tasks {
            for item in 0..100 {
                let length = 80 + item as usize;
                let mut random = Stream::new(7, Purpose::Train, item);
                let (tokens, targets) = task.sequence(&mut random, length);
                assert_eq!((tokens.len(), targets.len()), (length, length));
                let asked: Vec<u32> = targets.into_iter().filter(|t| *t != NONE).collect();
                assert_eq!(asked, looked_up(&task, &tokens), "{task:?}");
            }
        }
    }

    #[test]
    fn needles_lie_everywhere() {
        let task = needles(Some(1), Haystack::Noise, 1);
        let mut seen = [0; 4];
        for item in 0..400 {
            let mut random = Stream::new(7, Purpose::Train, item);
            let (tokens, _) = task.sequence(&mut random, 217);
            let at = tokens.iter().position(|token| *token == BEGINS).unwrap();
            seen[(at * 4 / 200).min(3)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 60), "{seen:?}");
    }
}
