//! `copy`, `selective_copy`: a text again, whole or what is marked of it.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, distinct, vocab};
use crate::fields::{Given, Variant, truth, variant, whole};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// The first half of the sequence again.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Tokens; 0 stands between the halves.
    pub vocab: usize,
}

impl Named for Copy {
    const FIELDS: Variant =
        variant("copy", &[LENGTH, EXAMPLES, vocab(64, 3)], "the first half again");

    fn read(given: &mut dyn Given) -> Copy {
        Copy { vocab: given.size("vocab") }
    }
}

impl Generator for Copy {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        copy(random, length, self.vocab)
    }
}

/// A few tokens among blanks, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectiveCopy {
    /// Tokens; 0 is the blank, 1 asks.
    pub vocab: usize,
    /// How many there are to copy.
    pub marked: usize,
    /// Blanks stand where the copy is asked, as in MAD (Poli et al. 2024): what was asked before is not shown.
    pub blind: bool,
}

impl Named for SelectiveCopy {
    const FIELDS: Variant = variant(
        "selective_copy",
        &[
            LENGTH,
            EXAMPLES,
            vocab(16, 4),
            whole("marked", 16, [1, 1 << 20], "tokens to copy"),
            truth(
                "blind",
                false,
                "blanks stand where the copy is asked, as in MAD (Poli et al. 2024), not the tokens before",
            ),
        ],
        "tokens among blanks, in their order",
    );

    fn read(given: &mut dyn Given) -> SelectiveCopy {
        SelectiveCopy {
            vocab: given.size("vocab"),
            marked: given.size("marked"),
            blind: given.truth("blind"),
        }
    }
}

impl Generator for SelectiveCopy {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn shortest(&self) -> usize {
        2 * self.marked
    }

    fn level(&mut self, what: &str) -> Option<&mut usize> {
        (what == "marked").then_some(&mut self.marked)
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let (mut tokens, targets) = selective_copy(random, length, self.vocab, self.marked);
        if self.blind {
            tokens[length + 1 - self.marked..].fill(0);
        }
        (tokens, targets)
    }
}

/// Tokens `1..vocab`, a 0, and the same tokens again; a 0 more in front where the length is odd.
pub fn copy(random: &mut Stream, length: usize, vocab: usize) -> Sequence {
    let half = length / 2;
    let mut tokens = vec![0; length % 2];
    let text: Vec<u32> = (0..half).map(|_| 1 + random.below(vocab - 1) as u32).collect();
    tokens.extend(&text);
    repeat(tokens, 0, &text)
}

/// Tokens `2..vocab` in random places among zeros, a 1, and the tokens without the zeros.
pub fn selective_copy(random: &mut Stream, length: usize, vocab: usize, marked: usize) -> Sequence {
    let text: Vec<u32> = (0..marked).map(|_| 2 + random.below(vocab - 2) as u32).collect();
    let mut tokens = vec![0; length - marked];
    let mut places = distinct(random, tokens.len(), marked);
    places.sort_unstable();
    places.into_iter().zip(&text).for_each(|(at, token)| tokens[at] = *token);
    repeat(tokens, 1, &text)
}

/// Behind what was told comes a token that asks, then the text, each token asked one before.
fn repeat(mut tokens: Vec<u32>, asks: u32, text: &[u32]) -> Sequence {
    let mut targets = vec![NONE; tokens.len()];
    tokens.push(asks);
    tokens.extend(&text[..text.len() - 1]);
    targets.extend(text);
    (tokens, targets)
}

#[cfg(test)]
mod tests {
    use super::super::{Induction, Kind, Synthetic};
    use super::*;
    use crate::ground::random::Purpose;

    fn task(kind: Kind, length: usize) -> impl Fn(u64) -> Sequence {
        move |item| {
            Synthetic { kind: kind.clone(), length, examples: None }.sequence(
                3,
                Purpose::Train,
                item,
            )
        }
    }

    #[test]
    fn copies_are_those_of_the_text() {
        let (tokens, targets) = task(Kind::Copy(Copy { vocab: 9 }), 11)(5);
        assert_eq!((tokens[0], tokens[6]), (0, 0));
        assert_eq!(targets[6..], tokens[1..6]);
        assert_eq!(tokens[7..], targets[6..10]);
        let (tokens, targets) =
            task(Kind::SelectiveCopy(SelectiveCopy { vocab: 9, marked: 4, blind: false }), 20)(5);
        let text: Vec<u32> = tokens[..16].iter().copied().filter(|t| *t > 0).collect();
        assert_eq!((text.len(), tokens[16], &targets[16..]), (4, 1, &text[..]));
        assert_eq!(tokens[17..], targets[16..19]);
        let blind = SelectiveCopy { vocab: 9, marked: 4, blind: true };
        let (unseen, asked) = task(Kind::SelectiveCopy(blind), 20)(5);
        assert_eq!((&unseen[..17], &unseen[17..], asked), (&tokens[..17], &[0; 3][..], targets));
        for item in 0..100 {
            let (tokens, targets) = task(Kind::Induction(Induction { vocab: 9 }), 12)(item);
            let at = tokens.iter().position(|t| *t == 0).unwrap();
            assert_eq!(targets[11], tokens[at + 1]);
        }
    }
}
