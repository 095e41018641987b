//! `compression`: all tokens of a text out of one place.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence, vocab};
use crate::fields::{Given, Variant, variant};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// Compression of MAD (Poli et al. 2024): a random text, a token that gathers it, then as many blanks, at each of which the text's
/// token of that place is asked. MAD decodes each of them from the vector at the gathering token and a place alone; that is the
/// model's part (`specs/experiments/mad.arch`): a model without such a decoder may remember the text in its states.
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    /// Tokens: the text's, and the last one, which gathers and is the blank.
    pub vocab: usize,
}

impl Named for Compression {
    const FIELDS: Variant = variant(
        "compression",
        &[LENGTH, EXAMPLES, vocab(16, 3)],
        "compression of MAD (Poli et al. 2024): a text, a token that gathers it, and blanks that ask for its tokens in their order; the model decodes them from that token's vector",
    );

    fn read(given: &mut dyn Given) -> Compression {
        Compression { vocab: given.size("vocab") }
    }
}

impl Generator for Compression {
    fn vocab(&self) -> usize {
        self.vocab
    }

    fn shortest(&self) -> usize {
        3
    }

    /// A blank more in front where the length is even.
    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        let text = (length - 1) / 2;
        let mut tokens = vec![(self.vocab - 1) as u32; length];
        let mut targets = vec![NONE; length];
        let front = length - 2 * text - 1;
        for at in 0..text {
            let token = random.below(self.vocab - 1) as u32;
            tokens[front + at] = token;
            targets[length - text + at] = token;
        }
        (tokens, targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    #[test]
    fn every_token_of_the_text_is_asked_in_its_order() {
        for (length, front) in [(63, 0), (64, 1), (3, 0)] {
            for item in 0..50 {
                let random = &mut Stream::new(3, Purpose::Train, item);
                let (tokens, targets) = Compression { vocab: 16 }.sequence(random, length);
                let text = (length - 1) / 2;
                assert_eq!(targets[length - text..], tokens[front..front + text]);
                assert!(tokens[front + text..].iter().all(|token| *token == 15));
                assert!(tokens[front..front + text].iter().all(|token| *token < 15));
                assert_eq!(targets.iter().filter(|target| **target != NONE).count(), text);
            }
        }
    }
}
