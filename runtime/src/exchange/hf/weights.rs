//! Where the numbers of stored tensors have their places among the parameters of a model, both ways.

use std::collections::BTreeMap;

use lrc_compiler::graph::Param;

use super::map::{self, Map, Part, Piece, Place};
use super::value::{Names, Value};

/// The parameters of a model by name.
pub type Known<'p> = BTreeMap<&'p str, usize>;

/// How the parts of a tensor lie in it: as a matrix of `columns`, whose rows come in groups.
#[derive(Clone, Debug)]
pub struct Laid {
    rows: usize,
    columns: usize,
    groups: usize,
    /// Whether the tensor is the transpose of that matrix.
    transposed: bool,
    /// Its parts.
    pub parts: Vec<LaidPart>,
}

/// A part of a tensor.
#[derive(Clone, Debug)]
pub struct LaidPart {
    /// The parameter.
    pub param: usize,
    /// Where it begins in the parameter.
    pub from: usize,
    /// Its numbers.
    pub numbers: usize,
    /// Where its first axis comes last: the size of that, in each group.
    first: Option<usize>,
}

fn without_ones(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|size| *size != 1).collect()
}

/// Ends of the axes of a shape, in numbers from behind.
fn cuts(shape: &[usize]) -> Vec<usize> {
    let mut product = 1;
    without_ones(shape)
        .iter()
        .rev()
        .map(|size| {
            product *= size;
            product
        })
        .collect()
}

/// Whether one shape is the other with axes that were merged.
fn regroups(a: &[usize], b: &[usize]) -> bool {
    let (a, b) = (cuts(a), cuts(b));
    let within = |a: &[usize], b: &[usize]| a.iter().all(|cut| b.contains(cut));
    a.last() == b.last() && (within(&a, &b) || within(&b, &a))
}

fn sizes(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// Finds the places of a tensor: nothing where it is only taken along. The error says why it has none.
pub fn lay(
    map: &Map,
    names: &Names,
    params: &[Param],
    known: &Known,
    tensor: &str,
    shape: &[usize],
) -> Result<Option<Laid>, String> {
    let mut why = format!("no line of {}.map names it", map.name);
    for place in &map.weights {
        let Some(numbers) = map::numbers(&place.tensor, tensor) else { continue };
        if place.parts.is_empty() {
            return Ok(None);
        }
        let mut names = names.clone();
        names.known.extend(numbers.into_iter().map(|(name, x)| (name, Value::Number(x))));
        match parts(place, &names, params, known)? {
            Ok(parts) => return laid(place, &names, parts, params, shape).map(Some),
            Err(missing) => why = missing,
        }
    }
    Err(why)
}

/// A parameter that a line names, and which of its entries.
type Named<'l> = (usize, Option<usize>, &'l Part);

/// The parts that a line names, as parameter and entry; the inner error names one that the model does not have.
fn parts<'l>(
    place: &'l Place,
    names: &Names,
    params: &[Param],
    known: &Known,
) -> Result<Result<Vec<Named<'l>>, String>, String> {
    let mut found = Vec::new();
    for part in &place.parts {
        let name = match name(part, names) {
            Ok(name) => name,
            Err(why) => return Ok(Err(why)),
        };
        let Some(&param) = known.get(name.as_str()) else {
            return Ok(Err(format!("the model has no parameter `{name}`")));
        };
        let entry = part.entry.as_ref().map(|entry| names.number(entry)).transpose()?;
        let first = params[param].shape.first().copied().unwrap_or(1);
        match entry {
            Some(at) if !(at >= 0.0 && at.fract() == 0.0 && at < first as f64) => {
                return Err(format!("`{name}` has {first} entries, not one numbered {at}"));
            }
            _ => found.push((param, entry.map(|at| at as usize), part)),
        }
    }
    Ok(Ok(found))
}

fn name(part: &Part, names: &Names) -> Result<String, String> {
    part.name.iter().try_fold(String::new(), |text, piece| match piece {
        Piece::Text(more) => Ok(text + more),
        Piece::Value(value) => Ok(text + &names.eval(value)?.text()?),
    })
}

fn laid(
    place: &Place,
    names: &Names,
    found: Vec<Named>,
    params: &[Param],
    shape: &[usize],
) -> Result<Laid, String> {
    let mut dims = without_ones(shape);
    if place.transposed {
        if dims.len() > 2 {
            return Err(format!("its shape is {}, which is no matrix", sizes(shape)));
        }
        dims.reverse();
    }
    let columns = if dims.len() > 1 { dims[dims.len() - 1] } else { 1 };
    let groups = place.by.as_ref().map_or(Ok(1.0), |by| names.number(by))?;
    if !(groups >= 1.0 && groups.fract() == 0.0 && groups <= u32::MAX.into()) {
        return Err(format!("its rows cannot come in {groups} groups"));
    }
    let groups = groups as usize;
    let mut laid = Laid { rows: 0, columns, groups, transposed: place.transposed, parts: vec![] };
    let alone = found.len() == 1 && groups == 1;
    for (param, entry, part) in found {
        let own = match entry {
            Some(_) => &params[param].shape[1..],
            None => &params[param].shape[..],
        };
        let numbers: usize = own.iter().product();
        let fits = numbers.is_multiple_of(groups * columns);
        let share =
            share(own, groups).filter(|_| fits).ok_or_else(|| unlike(shape, params, param))?;
        let share = without_ones(&share);
        let first = (part.transposed && share.len() > 1).then(|| share[0]);
        let as_it_is = match first {
            Some(first) => first == columns,
            None if alone => regroups(&dims, own),
            None => columns == 1 || cuts(&share).contains(&columns),
        };
        if !as_it_is {
            return Err(unlike(shape, params, param));
        }
        laid.rows += numbers / columns;
        let from = entry.unwrap_or(0) * numbers;
        laid.parts.push(LaidPart { param, from, numbers, first });
    }
    if laid.rows * columns != shape.iter().product::<usize>() {
        let wanted = if place.transposed { [columns, laid.rows] } else { [laid.rows, columns] };
        return Err(format!(
            "its shape is {}, expected {} numbers as {}",
            sizes(shape),
            laid.rows * columns,
            sizes(&wanted)
        ));
    }
    Ok(laid)
}

fn unlike(shape: &[usize], params: &[Param], param: usize) -> String {
    let Param { name, shape: own, .. } = &params[param];
    format!("its shape is {}, and that of `{name}` is {}", sizes(shape), sizes(own))
}

/// The shape of a group's share.
fn share(shape: &[usize], groups: usize) -> Option<Vec<usize>> {
    if groups == 1 {
        return Some(shape.to_vec());
    }
    let shape = without_ones(shape);
    let (first, rest) = shape.split_first()?;
    first.is_multiple_of(groups).then(|| [&[first / groups], rest].concat())
}

impl Laid {
    /// Calls `with` for each number: its place in the tensor, the part, and its place in the part's parameter.
    pub fn each(&self, mut with: impl FnMut(usize, &LaidPart, usize)) {
        let at = |row: usize, column: usize| match self.transposed {
            true => column * self.rows + row,
            false => row * self.columns + column,
        };
        let mut row = 0;
        for group in 0..self.groups {
            for part in &self.parts {
                let share = part.numbers / self.groups;
                let rows = share / self.columns;
                let from = part.from + group * share;
                for r in 0..rows {
                    for c in 0..self.columns {
                        let own =
                            if part.first.is_some() { c * rows + r } else { r * self.columns + c };
                        with(at(row + r, c), part, from + own);
                    }
                }
                row += rows;
            }
        }
    }

    /// The tensor's numbers, from those of all parameters.
    pub fn read(&self, params: &[Vec<f32>]) -> Vec<f32> {
        let mut numbers = vec![0.0; self.rows * self.columns];
        self.each(|at, part, own| numbers[at] = params[part.param][own]);
        numbers
    }
}
