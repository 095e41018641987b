//! How much of what trials differ in goes with each parameter.

use super::space::Domain;

/// Parts that the values of a number are cut into.
const PARTS: usize = 4;

/// For each parameter the share of the variance of the costs' ranks that lies between its values (or quarters of its range): a
/// one-way analysis. Parameters that go together share what they explain. Nothing with fewer than four trials.
pub fn importance(space: &[Domain], points: &[&[f64]], costs: &[f64]) -> Vec<f64> {
    if points.len() < PARTS {
        return vec![];
    }
    let ranks = ranks(costs);
    let mean = ranks.iter().sum::<f64>() / ranks.len() as f64;
    let whole: f64 = ranks.iter().map(|x| (x - mean).powi(2)).sum();
    let share = |at: usize| {
        let mut parts: Vec<(f64, Vec<f64>)> = Vec::new();
        for (point, rank) in points.iter().zip(&ranks) {
            let key = match &space[at] {
                Domain::Choices(_) => point[at],
                domain => (domain.unit(point[at]) * PARTS as f64).floor().min(PARTS as f64 - 1.0),
            };
            match parts.iter_mut().find(|(known, _)| *known == key) {
                Some((_, ranks)) => ranks.push(*rank),
                None => parts.push((key, vec![*rank])),
            }
        }
        let between: f64 = parts
            .iter()
            .map(|(_, r)| r.len() as f64 * (r.iter().sum::<f64>() / r.len() as f64 - mean).powi(2))
            .sum();
        if whole > 0.0 { between / whole } else { 0.0 }
    };
    (0..space.len()).map(share).collect()
}

/// The rank of each number; equal ones share theirs.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |x: &f64| {
        let below = values.iter().filter(|y| y.total_cmp(x).is_lt()).count();
        let same = values.iter().filter(|y| y.total_cmp(x).is_eq()).count();
        below as f64 + (same as f64 - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// How the ranks of two measures of the same things go together (Spearman), from -1 to 1; nothing where one says no difference.
pub fn agreement(a: &[f64], b: &[f64]) -> Option<f64> {
    let centred = |values: &[f64]| {
        let ranks = ranks(values);
        let mean = ranks.iter().sum::<f64>() / ranks.len().max(1) as f64;
        ranks.into_iter().map(|x| x - mean).collect::<Vec<f64>>()
    };
    let (a, b) = (centred(a), centred(b));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let norm = (product(&a, &a) * product(&b, &b)).sqrt();
    (norm > 0.0).then(|| product(&a, &b) / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_go_together_or_do_not() {
        let same = |found: Option<f64>, wanted: f64| (found.unwrap_or(9.0) - wanted).abs() < 1e-12;
        assert!(same(agreement(&[1.0, 2.0, 30.0], &[4.0, 5.0, 6.0]), 1.0));
        assert!(same(agreement(&[1.0, 2.0, 30.0], &[-4.0, -5.0, -6.0]), -1.0));
        assert_eq!(agreement(&[1.0, 2.0], &[3.0, 3.0]), None);
        // By hand: ranks 0 1 2 3 against 1 0 2 3.
        assert!(same(agreement(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 3.0, 4.0]), 0.8));
    }

    #[test]
    fn what_decides_is_important() {
        let float = Domain::Float { low: 0.0, high: 1.0, log: false };
        let points: Vec<[f64; 2]> =
            (0..64).map(|i| [f64::from(i % 8) / 7.0, f64::from(i / 8) / 7.0]).collect();
        let costs: Vec<f64> = points.iter().map(|p| p[0] * 10.0 + p[1] * 0.01).collect();
        let points: Vec<&[f64]> = points.iter().map(|p| p.as_slice()).collect();
        let found = importance(&[float.clone(), float], &points, &costs);
        assert!(found[0] > 0.9 && found[1] < 0.05, "{found:?}");
    }
}
