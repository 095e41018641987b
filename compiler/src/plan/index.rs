//! Whole-number expressions over the axes of a loop: where an element of a tile lies.
//!
//! Views (permutations, slices, reshapes, repeated axes) never move data in a kernel: they only
//! change the expression by which their argument is read.

/// `constant + Σ coefficient · atom`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ix {
    /// Atoms with their coefficients, which are not zero; no atom twice.
    pub terms: Vec<(Atom, i64)>,
    /// What does not depend on any axis.
    pub constant: i64,
}

/// What an index is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// The index along an axis of the loop.
    Axis(u8),
    /// Division rounded down, by a positive number.
    Div(Box<Ix>, i64),
    /// The rest of that division.
    Mod(Box<Ix>, i64),
    /// The entry of a list that the index selects.
    Entry(Box<Ix>, Vec<i64>),
}

impl Ix {
    /// An axis.
    pub fn axis(axis: usize) -> Ix {
        Ix { terms: vec![(Atom::Axis(axis as u8), 1)], constant: 0 }
    }

    /// A number.
    pub fn number(constant: i64) -> Ix {
        Ix { terms: vec![], constant }
    }

    fn atom(atom: Atom) -> Ix {
        Ix { terms: vec![(atom, 1)], constant: 0 }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The axis, if it is one alone.
    pub fn as_axis(&self) -> Option<usize> {
        match (self.terms.as_slice(), self.constant) {
            ([(Atom::Axis(axis), 1)], 0) => Some(usize::from(*axis)),
            _ => None,
        }
    }

    /// `self + other`.
    pub fn plus(&self, other: &Ix) -> Ix {
        let mut sum = self.clone();
        sum.constant += other.constant;
        for (atom, c) in &other.terms {
            match sum.terms.iter_mut().find(|(have, _)| have == atom) {
                Some((_, have)) => *have += c,
                None => sum.terms.push((atom.clone(), *c)),
            }
        }
        sum.terms.retain(|(_, c)| *c != 0);
        sum.terms.sort();
        sum
    }

    /// `self · c`.
    pub fn times(&self, c: i64) -> Ix {
        if c == 0 {
            return Ix::default();
        }
        let terms = self.terms.iter().map(|(atom, have)| (atom.clone(), have * c)).collect();
        Ix { terms, constant: self.constant * c }
    }

    /// The smallest and the largest value over a loop of the given sizes.
    pub fn range(&self, sizes: &[usize]) -> (i64, i64) {
        self.terms.iter().fold((self.constant, self.constant), |(low, high), (atom, c)| {
            let (a, b) = match atom {
                Atom::Axis(axis) => (0, sizes[usize::from(*axis)] as i64 - 1),
                Atom::Div(x, by) => {
                    let (a, b) = x.range(sizes);
                    (a.div_euclid(*by), b.div_euclid(*by))
                }
                Atom::Mod(_, by) => (0, by - 1),
                Atom::Entry(_, list) => {
                    let (a, b) = (list.iter().min(), list.iter().max());
                    (a.copied().unwrap_or(0), b.copied().unwrap_or(0))
                }
            };
            if *c > 0 { (low + a * c, high + b * c) } else { (low + b * c, high + a * c) }
        })
    }

    /// Splits into multiples of `by` and a rest; the multiples are divided by it.
    fn split(&self, by: i64) -> (Ix, Ix) {
        let (mut whole, mut rest) = (Ix::default(), Ix::default());
        for (atom, c) in &self.terms {
            let to = if c % by == 0 { &mut whole } else { &mut rest };
            let c = if c % by == 0 { c / by } else { *c };
            to.terms.push((atom.clone(), c));
        }
        whole.constant = self.constant.div_euclid(by);
        rest.constant = self.constant.rem_euclid(by);
        (whole, rest)
    }

    /// `self / by`, rounded down, over a loop of the given sizes.
    pub fn div(&self, by: usize, sizes: &[usize]) -> Ix {
        let by = by as i64;
        let (whole, rest) = self.split(by);
        let (low, high) = rest.range(sizes);
        if low >= 0 && high < by {
            return whole;
        }
        match rest.terms.as_slice() {
            _ if by == 1 => self.clone(),
            [] => whole,
            _ => whole.plus(&Ix::atom(Atom::Div(Box::new(rest), by))),
        }
    }

    /// The rest of `self / by`.
    pub fn rem(&self, by: usize, sizes: &[usize]) -> Ix {
        let by = by as i64;
        let (_, rest) = self.split(by);
        let (low, high) = rest.range(sizes);
        if low >= 0 && high < by {
            return rest;
        }
        Ix::atom(Atom::Mod(Box::new(rest), by))
    }

    /// The entry of a list that this index selects.
    pub fn entry(&self, list: &[i64]) -> Ix {
        if let Some(at) = self.as_number() {
            return Ix::number(list[at as usize]);
        }
        if list.iter().all(|x| *x == list[0]) {
            return Ix::number(list[0]);
        }
        let step = list[1] - list[0];
        if list.windows(2).all(|w| w[1] - w[0] == step) {
            return self.times(step).plus(&Ix::number(list[0]));
        }
        Ix::atom(Atom::Entry(Box::new(self.clone()), list.to_vec()))
    }

    /// Whether the value goes up by one with each of `group` neighbours along an axis, from a multiple of `group` on, or
    /// stays the same; nothing where it does neither.
    pub fn moves(&self, axis: usize, group: i64) -> Option<bool> {
        let (mut step, mut whole) = (0, self.constant % group == 0);
        for (atom, c) in &self.terms {
            let moves = match atom {
                Atom::Axis(at) => usize::from(*at) == axis,
                Atom::Div(x, by) => match x.moves(axis, group)? {
                    true if by % group != 0 => return None,
                    _ => false,
                },
                Atom::Mod(x, by) => match x.moves(axis, group)? {
                    true if by % group != 0 => return None,
                    moves => moves,
                },
                Atom::Entry(x, _) => match x.moves(axis, group)? {
                    true => return None,
                    false => false,
                },
            };
            match moves {
                true => step += c,
                false => whole &= c % group == 0,
            }
        }
        match step {
            0 => Some(false),
            1 if whole => Some(true),
            _ => None,
        }
    }

    /// The same expression with every axis replaced.
    pub fn renamed(&self, axis: &dyn Fn(usize) -> usize) -> Ix {
        self.terms.iter().fold(Ix::number(self.constant), |sum, (atom, c)| {
            let inner = |x: &Ix| Box::new(x.renamed(axis));
            let atom = match atom {
                Atom::Axis(at) => Atom::Axis(axis(usize::from(*at)) as u8),
                Atom::Div(x, by) => Atom::Div(inner(x), *by),
                Atom::Mod(x, by) => Atom::Mod(inner(x), *by),
                Atom::Entry(x, list) => Atom::Entry(inner(x), list.clone()),
            };
            sum.plus(&Ix::atom(atom).times(*c))
        })
    }

    /// The value for given indices along the axes.
    pub fn eval(&self, at: &[usize]) -> i64 {
        self.terms.iter().fold(self.constant, |sum, (atom, c)| {
            let value = match atom {
                Atom::Axis(axis) => at[usize::from(*axis)] as i64,
                Atom::Div(x, by) => x.eval(at).div_euclid(*by),
                Atom::Mod(x, by) => x.eval(at).rem_euclid(*by),
                Atom::Entry(x, list) => list[x.eval(at) as usize],
            };
            sum + value * c
        })
    }
}

/// The place of an element among all entries of a shape, row by row.
pub fn flat(index: &[Ix], shape: &[usize]) -> Ix {
    index.iter().zip(shape).fold(Ix::default(), |at, (i, n)| at.times(*n as i64).plus(i))
}

/// The index along every axis of a shape of the element at a place.
pub fn unflat(place: &Ix, shape: &[usize], sizes: &[usize]) -> Vec<Ix> {
    let mut rest = place.clone();
    let mut index: Vec<Ix> = Vec::with_capacity(shape.len());
    for (axis, n) in shape.iter().enumerate().rev() {
        index.push(if axis == 0 { rest.clone() } else { rest.rem(*n, sizes) });
        rest = rest.div(*n, sizes);
    }
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_of_whole_axes_leave_no_division() {
        // [4, 6] seen as [4, 2, 3] and back.
        let sizes = [4, 2, 3];
        let axes = [Ix::axis(0), Ix::axis(1), Ix::axis(2)];
        let place = flat(&axes, &sizes);
        assert_eq!(unflat(&place, &sizes, &sizes), axes);
        let two = unflat(&place, &[4, 6], &sizes);
        assert_eq!(two[0], Ix::axis(0));
        assert_eq!(two[1], Ix::axis(1).times(3).plus(&Ix::axis(2)));
    }

    #[test]
    fn division_agrees_with_numbers() {
        let sizes = [5, 7];
        let x = Ix::axis(0).times(6).plus(&Ix::axis(1).times(5)).plus(&Ix::number(2));
        for by in 1..9 {
            let (div, rem) = (x.div(by, &sizes), x.rem(by, &sizes));
            for i in 0..5 {
                for j in 0..7 {
                    let value = x.eval(&[i, j]);
                    assert_eq!(div.eval(&[i, j]), value / by as i64, "{x:?} / {by}");
                    assert_eq!(rem.eval(&[i, j]), value % by as i64, "{x:?} % {by}");
                }
            }
        }
    }

    #[test]
    fn even_lists_are_no_lists() {
        let i = Ix::axis(0);
        assert_eq!(i.entry(&[0, 1, 2]), i);
        assert_eq!(i.entry(&[5, 5]), Ix::number(5));
        assert_eq!(i.entry(&[0, 2, 1]).eval(&[2]), 1);
    }
}
