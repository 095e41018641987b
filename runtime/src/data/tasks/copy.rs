//! `copy`, `selective_copy`: a text again, whole or what is marked of it.

use super::{Sequence, distinct};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

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
    use super::super::{Kind, Synthetic};
    use super::*;
    use crate::ground::random::Purpose;

    fn task(kind: Kind, length: usize) -> impl Fn(u64) -> Sequence {
        move |item| Synthetic { kind: kind.clone(), length }.sequence(3, Purpose::Train, item)
    }

    #[test]
    fn copies_are_those_of_the_text() {
        let (tokens, targets) = task(Kind::Copy { vocab: 9 }, 11)(5);
        assert_eq!((tokens[0], tokens[6]), (0, 0));
        assert_eq!(targets[6..], tokens[1..6]);
        assert_eq!(tokens[7..], targets[6..10]);
        let (tokens, targets) = task(Kind::SelectiveCopy { vocab: 9, marked: 4 }, 20)(5);
        let text: Vec<u32> = tokens[..16].iter().copied().filter(|t| *t > 0).collect();
        assert_eq!((text.len(), tokens[16], &targets[16..]), (4, 1, &text[..]));
        for item in 0..100 {
            let (tokens, targets) = task(Kind::Induction { vocab: 9 }, 12)(item);
            let at = tokens.iter().position(|t| *t == 0).unwrap();
            assert_eq!(targets[11], tokens[at + 1]);
        }
    }
}
