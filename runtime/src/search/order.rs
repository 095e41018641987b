//! Which trials are better: by how far they came, then by whom they are dominated.

/// A trial as it is compared: what is to be small, for each objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Costs; infinite for what failed.
    pub costs: Vec<f64>,
    /// Rungs passed: who was promoted was better than who was not.
    pub depth: usize,
}

/// Whether costs are nowhere worse, and somewhere better.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

/// Those that nobody dominates, in their order; what is not finite is none of them.
pub fn pareto(costs: &[Vec<f64>]) -> Vec<usize> {
    let sound = |at: &usize| costs[*at].iter().all(|x| x.is_finite());
    let free = |at: &usize| !costs.iter().any(|other| dominates(other, &costs[*at]));
    (0..costs.len()).filter(sound).filter(free).collect()
}

/// Places from best to worst.
pub fn order(all: &[Ranked]) -> Vec<usize> {
    let above = |at: usize| {
        let same = all.iter().filter(|other| other.depth == all[at].depth);
        same.filter(|other| dominates(&other.costs, &all[at].costs)).count()
    };
    let above: Vec<usize> = (0..all.len()).map(above).collect();
    let first = |at: usize| all[at].costs.first().copied().unwrap_or(f64::INFINITY);
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_by(|a, b| {
        let depth = all[*b].depth.cmp(&all[*a].depth);
        depth.then(above[*a].cmp(&above[*b])).then(first(*a).total_cmp(&first(*b)))
    });
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nobody_dominates() {
        let costs =
            [[1.0, 4.0], [2.0, 2.0], [2.0, 3.0], [4.0, 1.0], [f64::INFINITY, 0.0], [2.0, 2.0]];
        assert_eq!(pareto(&costs.map(|c| c.to_vec())), [0, 1, 3, 5]);
    }

    #[test]
    fn who_came_farther_stands_before_who_costs_less() {
        let one = |cost: f64, depth| Ranked { costs: vec![cost], depth };
        assert_eq!(order(&[one(0.1, 0), one(0.9, 2), one(0.5, 2), one(0.3, 1)]), [2, 1, 3, 0]);
    }
}
