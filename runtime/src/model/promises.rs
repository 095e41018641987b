//! Which promises of a recurrence's inputs a model breaks, and where.

use std::fmt;

use lrc_compiler::form::Problem;
use lrc_compiler::tile::size;

use crate::ground::promises::{COMPUTED, Promise, breaches};

/// A promise that is broken: the value of an input that lies farthest outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Where the recurrence stands in the model.
    pub place: String,
    /// The recurrence.
    pub recurrence: String,
    /// Its input or parameter.
    pub input: String,
    /// What is promised.
    pub promise: String,
    /// What is given: a value, or the length of a vector.
    pub given: f64,
    /// The token, counted over all sequences of a batch; nothing for a parameter.
    pub token: Option<usize>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { place, recurrence, input, promise, given, .. } = self;
        write!(
            f,
            "`{input}` of `{recurrence}` in {place} is promised {promise}, and is {given:.4}"
        )?;
        match self.token {
            Some(token) => write!(f, " at token {token}"),
            None => Ok(()),
        }
    }
}

/// The promises that a recurrence's operands break, one at most for each operand.
pub fn broken(place: &str, problem: &Problem<f32>) -> Vec<Broken> {
    let r = problem.recurrence;
    let inputs = r.inputs.iter().zip(&problem.inputs).map(|(slot, x)| (slot, x, true));
    let params = r.params.iter().zip(&problem.params).map(|(slot, x)| (slot, x, false));
    let worst = inputs.chain(params).filter_map(|(slot, operand, moves)| {
        let breach = breaches(slot, operand.data, COMPUTED).into_iter().next()?;
        let (at, given) = breach.worst;
        let row = operand.heads.max(1) * size(&slot.shape);
        Some(Broken {
            place: place.to_string(),
            recurrence: r.name.clone(),
            input: slot.name.clone(),
            promise: match breach.promise {
                Promise::Between(low, high) => format!("between {low} and {high}"),
                Promise::Unit => "of length 1".into(),
            },
            given,
            token: moves.then(|| at / row),
        })
    });
    worst.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lrc_compiler::elaborate::{Setting, elaborate};
    use lrc_compiler::form::Operand;
    use lrc_dsl::Sources;

    use super::*;

    #[test]
    fn what_lies_farthest_outside_is_named() {
        let (names, _) =
            crate::ground::library::load("recurrences/kda.arch", &mut Sources::default()).unwrap();
        let sizes = [("dk", 2.0), ("dv", 2.0)];
        let given: BTreeMap<String, Setting> =
            sizes.map(|(name, n)| (name.to_string(), Setting::Number(n))).into();
        let recurrence = elaborate(names.get("kda").unwrap(), &given, &mut vec![]).unwrap();
        let data: Vec<Vec<f32>> = recurrence
            .inputs
            .iter()
            .map(|slot| match slot.name.as_str() {
                "g" => vec![-1.0, 0.5, 0.0, -2.0, 3.0, f32::NAN],
                "k" => vec![0.6, 0.8, 0.0, 0.0, 1.0, 0.0],
                "beta" => vec![0.0, 1.0, 2.0],
                _ => vec![7.0; 6],
            })
            .collect();
        let problem = Problem {
            recurrence: &recurrence,
            heads: 1,
            sum: 1,
            bounds: vec![0, 3],
            inputs: data.iter().map(|data| Operand { data, heads: 1 }).collect(),
            params: vec![],
            initial: vec![None],
        };
        let found = broken("layers.0.m.o", &problem);
        assert_eq!(found.len(), 1, "{found:?}");
        let words =
            "`g` of `kda` in layers.0.m.o is promised between -inf and 0, and is 3.0000 at token 2";
        assert_eq!(found[0].to_string(), words);
    }
}
