//! `cycle`: the place on a circle.

use super::Sequence;
use crate::ground::random::Stream;

/// Tokens: stay, forward, backward.
pub fn cycle(random: &mut Stream, length: usize, places: usize) -> Sequence {
    let mut at = 0;
    (0..length)
        .map(|_| {
            let step = random.below(3);
            at = (at + [0, 1, places - 1][step]) % places;
            (step as u32, at as u32)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    fn random(item: u64) -> Stream {
        Stream::new(1, Purpose::Eval, item)
    }

    #[test]
    fn cycles_go_round() {
        let (tokens, targets) = cycle(&mut random(2), 50, 5);
        let steps: i64 = tokens.iter().map(|t| [0, 1, -1][*t as usize]).sum();
        assert_eq!(i64::from(targets[49]), steps.rem_euclid(5));
    }
}
