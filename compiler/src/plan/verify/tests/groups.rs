//! Faults of what threads read and write at once.

use super::*;

/// Groups that are larger than what is read at once, that begin beside a whole one, or that lie beside a stage's beginning.
#[test]
fn p19_groups_lie_side_by_side() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Map { group, .. } if *group > 1 => {
            *group = 16;
            true
        }
        _ => false,
    });
    breaks(19, &planted);
    // The same of a step whose elements threads share one by one.
    let mut planted = delta(Pass::Backward);
    change(&mut planted, |step| match step {
        Step::Map { group, fragment: None, .. } if *group > 1 => {
            *group = 16;
            true
        }
        _ => false,
    });
    breaks(19, &planted);
    let mut planted = delta(Pass::Backward);
    change(&mut planted, |step| match step {
        Step::Map { group, to: Target::Tile(_, index), fragment: None, .. } if *group > 1 => {
            let last = index.last_mut().unwrap();
            *last = last.plus(&index::Ix::number(1));
            true
        }
        _ => false,
    });
    breaks(19, &planted);
    let mut planted = delta(Pass::Backward);
    let mut written = None;
    change(&mut planted, |step| match step {
        Step::Map { group, to: Target::Tile(tile, _), fragment: None, .. } if *group > 1 => {
            written = Some(tile.0);
            true
        }
        _ => false,
    });
    *planted.kernels[0].tiles[written.unwrap()].at.as_mut().unwrap() += 2;
    breaks(19, &planted);
    // Sums and products too.
    let mut planted = delta(Pass::Backward);
    change(&mut planted, |step| match step {
        Step::Product { group, to: Target::Tile(_, index), .. }
            if *group > 1 && index.len() == 2 =>
        {
            index.swap(0, 1);
            true
        }
        _ => false,
    });
    breaks(19, &planted);
}

/// Pairs that lanes exchange though threads hold none, that go to tiles, or whose two do not lie side by side.
#[test]
fn p19_exchanged_pairs_lie_side_by_side() {
    let mut planted = delta(Pass::Backward);
    change(&mut planted, |step| match step {
        Step::Map { exchanged, fragment: None, .. } => {
            *exchanged = 2;
            true
        }
        _ => false,
    });
    breaks(19, &planted);
    let mut planted = delta(Pass::Backward);
    change(&mut planted, |step| match step {
        Step::Product { exchanged, group, to: Target::Tile(..), .. } if *group > 1 => {
            *exchanged = 2;
            true
        }
        _ => false,
    });
    breaks(19, &planted);
    let mut planted = delta_split(Pass::Forward, Split::Carry);
    change(&mut planted, |step| match step {
        Step::Product { exchanged: 2 | 4, to: Target::Buffer(element, _), .. } => {
            let last = element.index.last_mut().unwrap();
            *last = last.plus(&index::Ix::number(2));
            true
        }
        _ => false,
    });
    breaks(19, &planted);
}
