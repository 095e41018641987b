//! Rules that only the sequence itself tells.

use super::{EXAMPLES, Generator, LENGTH, Named, Sequence};
use crate::fields::{Given, Variant, variant, whole};
use crate::ground::random::Stream;
use crate::ops::loss::NONE;

/// Labels of examples, by a rule that every sequence draws anew: one feature decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Features of an example.
    pub features: usize,
    /// Values of a feature.
    pub values: usize,
    /// Labels.
    pub labels: usize,
}

impl Named for Classification {
    const FIELDS: Variant = variant(
        "classification",
        &[
            LENGTH,
            EXAMPLES,
            whole("features", 4, [1, 64], "of an example"),
            whole("values", 6, [2, 1 << 12], "that a feature can have"),
            whole("labels", 2, [2, 64], "of examples"),
        ],
        "in-context learning: one feature decides the labels, another one in every sequence; the second half of the examples is asked",
    );

    fn read(given: &mut dyn Given) -> Classification {
        Classification {
            features: given.size("features"),
            values: given.size("values"),
            labels: given.size("labels"),
        }
    }
}

impl Generator for Classification {
    fn vocab(&self) -> usize {
        self.features * self.values + self.labels
    }

    /// An example to learn from, and one to be asked.
    fn shortest(&self) -> usize {
        2 * (self.features + 1)
    }

    fn level(&mut self, what: &str) -> Option<&mut usize> {
        (what == "features").then_some(&mut self.features)
    }

    fn sequence(&self, random: &mut Stream, length: usize) -> Sequence {
        classification(random, length, [self.features, self.values, self.labels])
    }
}

/// Examples of features and a label. One feature of the sequence decides, by labels of its values
/// that are drawn as evenly as may be; the second half of the examples is asked. Tokens: the values
/// of the first feature, of the second and so on, then the labels; what is left in front is filled
/// with the first label.
pub fn classification(
    random: &mut Stream,
    length: usize,
    [features, values, labels]: [usize; 3],
) -> Sequence {
    let decides = random.below(features);
    let mut rule: Vec<usize> = (0..values).map(|value| value % labels).collect();
    random.shuffle(&mut rule);
    let examples = length / (features + 1);
    let label = |label: usize| (features * values + label) as u32;
    let mut tokens = vec![label(0); length - examples * (features + 1)];
    let mut targets = vec![NONE; tokens.len()];
    for example in 0..examples {
        let drawn: Vec<usize> = (0..features).map(|_| random.below(values)).collect();
        tokens.extend(drawn.iter().enumerate().map(|(at, value)| (at * values + value) as u32));
        let is = label(rule[drawn[decides]]);
        targets.resize(tokens.len(), NONE);
        if let Some(last) = targets.last_mut()
            && 2 * example >= examples
        {
            *last = is;
        }
        tokens.push(is);
        targets.push(NONE);
    }
    (tokens, targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::random::Purpose;

    #[test]
    fn one_feature_decides_every_label() {
        for item in 0..50 {
            let mut random = Stream::new(1, Purpose::Train, item);
            let (tokens, targets) = classification(&mut random, 161, [4, 6, 2]);
            let examples: Vec<&[u32]> = tokens[1..].chunks(5).collect();
            let agrees = |at: usize| {
                examples.iter().all(|one| {
                    examples.iter().all(|other| one[at] != other[at] || one[4] == other[4])
                })
            };
            assert!((0..4).any(agrees));
            for (at, example) in examples.iter().enumerate() {
                let target = targets[1 + 5 * at + 3];
                assert_eq!(target, if at >= 16 { example[4] } else { NONE });
            }
        }
    }
}
