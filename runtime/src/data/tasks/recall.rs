//! `recall`: pairs of key and value again and again, the value asked where its key was there before.

use std::collections::BTreeMap;

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, distinct, vocab};
use crate::fields::{Given, Variant, number, variant, whole};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// In-context recall of MAD (Poli et al. 2024), its fuzzy and its noisy variant: pairs one after the other, each key with one value
/// all through the sequence. A key's value is asked wherever the key comes again, token by token, and the last pair is one that
/// was there. Keys and values of several tokens make it fuzzy, tokens of neither kind among the pairs noisy.
#[derive(Clone, Debug, PartialEq)]
pub struct Recall {
    /// Tokens: keys, then values (half of what is no noise, each), then noise; the last one fills up in front where keys or values
    /// have several tokens.
    pub vocab: usize,
    /// Tokens of a key, from 1 to so many, no token twice.
    pub key_tokens: usize,
    /// Tokens of a value, likewise.
    pub value_tokens: usize,
    /// How likely noise stands where a pair could.
    pub noise: f64,
    /// Tokens that are noise.
    pub noise_vocab: usize,
}

/// Most tokens of a key or a value.
const LONGEST: usize = 16;

impl Named for Recall {
    const FIELDS: Variant = variant(
        "recall",
        &[
            LENGTH,
            EXAMPLES,
            vocab(16, 4),
            whole(
                "key_tokens",
                1,
                [1, LONGEST as u64],
                "of a key at most; each draws its own number",
            ),
            whole("value_tokens", 1, [1, LONGEST as u64], "of a value, likewise"),
            number("noise", 0.0, [0.0, 0.95], "share of noise among the pairs"),
            whole("noise_vocab", 0, [0, 1 << 24], "tokens of the vocabulary that are noise"),
        ],
        "in-context recall of MAD (Poli et al. 2024): pairs, each key with one value all through a sequence; asked wherever a key comes again. `key_tokens` and `value_tokens` make it fuzzy, `noise` noisy",
    );

    fn read(given: &mut dyn Given) -> Recall {
        Recall {
            vocab: given.size("vocab"),
            key_tokens: given.size("key_tokens"),
            value_tokens: given.size("value_tokens"),
            noise: given.number("noise"),
            noise_vocab: given.size("noise_vocab"),
        }
    }
}

impl Recall {
    /// Whether a token of its own fills up in front: pairs of several tokens may leave any room.
    fn fills(&self) -> bool {
        self.key_tokens > 1 || self.value_tokens > 1
    }

    /// Tokens of keys, and of keys and values together.
    fn split(&self) -> [usize; 2] {
        let both = self.vocab.saturating_sub(self.noise_vocab + usize::from(self.fills()));
        [both / 2, both]
    }

    /// Tokens of the longest pair.
    fn pair(&self) -> usize {
        self.key_tokens + self.value_tokens
    }

    /// So many different tokens from one up to another.
    fn tokens(random: &mut Stream, [from, to]: [usize; 2], most: usize) -> Vec<u32> {
        let count = 1 + random.below(most);
        distinct(random, to - from, count).into_iter().map(|token| (from + token) as u32).collect()
    }

    /// Pairs and noise for at most so many tokens, and the pairs that were shown; the first of a key holds for all of them.
    fn body(&self, random: &mut Stream, room: usize) -> (Sequence, Shown) {
        let [keys, both] = self.split();
        let mut shown = Shown::new();
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        loop {
            let key = Recall::tokens(random, [0, keys], self.key_tokens);
            let value = Recall::tokens(random, [keys, both], self.value_tokens);
            if self.noise > 0.0 && random.uniform() < self.noise {
                let size = key.len() + value.len();
                if tokens.len() + size > room {
                    return ((tokens, targets), shown);
                }
                tokens.extend((0..size).map(|_| (both + random.below(self.noise_vocab)) as u32));
                targets.resize(tokens.len(), NONE);
                continue;
            }
            let again = shown.contains_key(&key);
            let value = shown.get(&key).cloned().unwrap_or(value);
            if tokens.len() + key.len() + value.len() > room {
                return ((tokens, targets), shown);
            }
            tell(&mut tokens, &mut targets, &key, &value, again);
            shown.insert(key, value);
        }
    }
}

/// Values by their keys.
type Shown = BTreeMap<Vec<u32>, Vec<u32>>;

/// Adds a pair; where it is asked, each token of the value is what the token before it asks for.
fn tell(tokens: &mut Vec<u32>, targets: &mut Vec<u32>, key: &[u32], value: &[u32], asked: bool) {
    tokens.extend(key.iter().chain(value));
    targets.resize(tokens.len(), NONE);
    if asked {
        let from = tokens.len() - value.len() - 1;
        targets[from..from + value.len()].copy_from_slice(value);
    }
}

impl Generator for Recall {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn shortest(&self) -> usize {
        2 * self.pair() - 1
    }

    fn wrong(&self, _length: usize) -> Option<(String, &'static str)> {
        let [keys, both] = self.split();
        let Recall { key_tokens, value_tokens, noise, noise_vocab, vocab } = self;
        if *noise > 0.0 && *noise_vocab == 0 {
            let why = "`noise` has no tokens to draw from".to_string();
            return Some((why, "give `noise_vocab`, such as 16, and as many more of `vocab`"));
        }
        (keys < *key_tokens || both - keys < *value_tokens).then(|| {
            let why = format!(
                "a vocabulary of {vocab} with {noise_vocab} of noise leaves {keys} for keys of {key_tokens} tokens and {} for values of {value_tokens}",
                both - keys
            );
            (why, "make `vocab` larger, or `noise_vocab`, `key_tokens` and `value_tokens` smaller")
        })
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let ((mut tokens, mut targets), shown) = loop {
            let body = self.body(random, length + 1 - self.pair());
            // All noise: nothing could be asked.
            if !body.1.is_empty() {
                break body;
            }
        };
        let last = shown.iter().nth(random.below(shown.len()));
        if let Some((key, value)) = last {
            tell(&mut tokens, &mut targets, key, value, true);
        }
        // The last token of the last value asks for nothing.
        tokens.truncate(length);
        targets.truncate(length);
        let fill = length - tokens.len();
        tokens.splice(0..0, std::iter::repeat_n((self.vocab - 1) as u32, fill));
        targets.splice(0..0, std::iter::repeat_n(NONE, fill));
        (tokens, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    const PLAIN: Recall =
        Recall { vocab: 16, key_tokens: 1, value_tokens: 1, noise: 0.0, noise_vocab: 0 };
    const FUZZY: Recall = Recall { key_tokens: 3, value_tokens: 3, ..PLAIN };
    const NOISY: Recall = Recall { vocab: 32, noise: 0.4, noise_vocab: 16, ..PLAIN };

    fn drawn(task: &Recall, length: usize, item: u64) -> Sequence {
        task.sequence(&mut Stream::new(3, Purpose::Train, item), length)
    }

    /// Reads a sequence as a reader who knows which tokens are keys: what was written after a key is its value, and an answer is
    /// the token that this value has next. Gives how many answers there are.
    fn answered(task: &Recall, (tokens, targets): &Sequence) -> usize {
        let [keys, both] = task.split();
        let mut values: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
        let (mut key, mut value, mut asked) = (vec![], vec![], 0);
        for (token, target) in tokens.iter().zip(targets) {
            let is_key = (*token as usize) < keys;
            if (is_key || *token as usize >= both) && !value.is_empty() {
                let first = values.entry(std::mem::take(&mut key)).or_insert(value.clone());
                assert_eq!(*first, value, "a key has one value");
                value.clear();
            }
            match *token as usize {
                _ if is_key => key.push(*token),
                token if token < both => value.push(token as u32),
                _ => assert_eq!(*target, NONE, "noise asks nothing"),
            }
            if *target != NONE {
                asked += 1;
                let known = values.get(&key).expect("the key was there before");
                assert_eq!(known[value.len()], *target);
                assert!((keys..both).contains(&(*target as usize)), "a value is asked");
            }
        }
        asked
    }

    #[test]
    fn what_is_asked_was_shown_before() {
        for task in [PLAIN, FUZZY, NOISY] {
            let mut asked = 0;
            for item in 0..200 {
                for length in [task.shortest(), 32, 127, 128] {
                    asked += answered(&task, &drawn(&task, length, item));
                }
            }
            assert!(asked > 200 * 4, "{asked}");
        }
    }

    /// Every key that comes again is asked, not only the last one.
    #[test]
    fn each_key_that_comes_again_is_asked() {
        for item in 0..50 {
            let (tokens, targets) = drawn(&PLAIN, 127, item);
            for at in (0..127).step_by(2) {
                let again = (0..at).step_by(2).any(|before| tokens[before] == tokens[at]);
                assert_eq!(targets[at] != NONE, again, "{item} at {at}");
            }
            assert!((1..127).step_by(2).all(|at| targets[at] == NONE));
        }
    }

    #[test]
    fn noise_is_as_frequent_as_said() {
        for noise in [0.2, 0.4, 0.8] {
            let task = Recall { noise, ..NOISY };
            let (mut of, mut all) = (0, 0);
            for item in 0..200 {
                let (tokens, _) = drawn(&task, 129, item);
                // The last pair is none where noise could stand.
                of += tokens[..128].iter().filter(|token| **token >= 16).count();
                all += 128;
            }
            let share = of as f64 / all as f64;
            assert!((share - noise).abs() < 0.02, "{share} for {noise}");
        }
    }

    #[test]
    fn keys_and_values_have_every_number_of_tokens() {
        let mut lengths = [0; 4];
        for item in 0..200 {
            let (tokens, _) = drawn(&FUZZY, 64, item);
            let mut run = 0;
            for token in tokens {
                if token < 7 {
                    run += 1;
                } else if run > 0 {
                    lengths[run] += 1;
                    run = 0;
                }
            }
        }
        let all: usize = lengths.iter().sum();
        assert_eq!(lengths[0], 0);
        assert!(lengths[1..].iter().all(|n| n.abs_diff(all / 3) < all / 20), "{lengths:?}");
    }

    #[test]
    fn vocabularies_without_room_say_so() {
        let wrong = |task: Recall| task.wrong(64).unwrap().0;
        assert!(wrong(Recall { noise_vocab: 0, ..NOISY }).contains("no tokens to draw from"));
        assert!(wrong(Recall { vocab: 6, ..FUZZY }).contains("leaves 2 for keys of 3"));
        assert!(wrong(Recall { noise_vocab: 40, ..NOISY }).contains("leaves 0 for keys"));
    }
}
