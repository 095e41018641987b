//! The program of a chunk for states whose entries never meet.
//!
//! Problem: gated and state space models update vectors entry by entry; one token after the other
//! runs a dozen tiny operations per token.
//!
//! Idea: everything of a token that does not need its own state is lifted over the rows of the chunk
//! as anywhere; what the state adds is `h_i = a_i h_{i-1} + b_i`, one operation for all rows. `a` and
//! `b` are found by interpreting the update with the state before it as a symbol: an expression is
//! `Σ_s coefficient_s · h_s + rest` or it is refused. Several states may carry each other (the parts
//! of a complex one), and a stabiliser `h_i = max(h_{i-1} + a_i, b_i)` is a scan too. A state may use
//! another in any way once the other one is known for all rows.

use std::collections::HashMap;

use lrc_dsl::Span;

use super::token::wider_reads;
use super::{Chunk, over_rows};
use crate::elaborate::Recurrence;
use crate::normal::{Refusal, word};
use crate::tile::{Binary, Builder, Leaf, Node, Op, Scan, Stream, Unary, Value, size};

/// Numbers that a state has at all rows of a chunk together, about: they are all in memory.
const NUMBERS: usize = 1 << 13;
/// Numbers of a state from which on a chunk has fewer tokens than work for the processor asks for.
const WIDE: usize = 256;

/// Tokens of a chunk unless a length is given: longer for smaller states.
pub fn tokens(r: &Recurrence, given: Option<usize>) -> usize {
    let widest = r.states.iter().map(|slot| size(&slot.shape)).max().unwrap_or(1).max(1);
    let least = if widest > WIDE { 8 } else { 64 };
    given.unwrap_or((NUMBERS / widest).clamp(least, 1024))
}

/// Whether states are vectors: a matrix at every row would be dearer than one token after the
/// other.
pub fn vectors(r: &Recurrence) -> Result<(), Refusal> {
    let matrix = r.states.iter().find(|slot| slot.shape.len() > 1);
    matrix.map_or(Ok(()), |slot| {
        let why = format!("`{}` is no vector", slot.name);
        Err(Refusal { span: Some(slot.span), why })
    })
}

/// Derives the program of a chunk. With `masked`, padding rows leave the states as they are.
pub fn derive(r: &Recurrence, tokens: usize, masked: bool) -> Result<Chunk, Refusal> {
    let refuse = |span, why: String| Refusal { span, why };
    if r.states.is_empty() {
        return Err(refuse(None, "no state".into()));
    }
    if let Some((span, why)) = wider_reads(&r.token) {
        return Err(refuse(span, why.into()));
    }
    let mut updates = Vec::with_capacity(r.states.len());
    for (state, slot) in r.states.iter().enumerate() {
        let mut own = r.updates.iter().filter(|update| update.state == state);
        let (Some(update), None) = (own.next(), own.next()) else {
            return Err(refuse(None, format!("`{}` is set more than once a token", slot.name)));
        };
        updates.push(update.value);
    }
    let mut builder = ScanBuilder {
        r,
        updates,
        b: Builder::new(),
        tokens,
        masked,
        lifted: HashMap::new(),
        seen: HashMap::new(),
        known: vec![None; r.states.len()],
    };
    let known = builder.solve_states()?;
    let mut outputs = Vec::new();
    for (slot, out) in r.outs.iter().zip(&r.token.outputs) {
        let value = builder.lift(*out)?;
        outputs.push(builder.b.expand(value, &[&[tokens], slot.shape.as_slice()].concat()));
    }
    for (state, slot) in known.iter().zip(&r.states) {
        let last = builder.b.slice(state.after, 0, tokens - 1, 1);
        outputs.push(builder.b.reshape(last, &slot.shape));
    }
    Ok(Chunk { tokens, program: builder.b.finish(&outputs) })
}

/// A state at every row: before its token's update and after it, `[tokens, …]`.
#[derive(Clone, Debug)]
struct Known {
    before: Value,
    after: Value,
}

/// `Σ coefficient · state + rest`, lifted over the rows; nothing stands for zero.
#[derive(Clone, Debug)]
struct Affine {
    coefficients: Vec<Option<Value>>,
    rest: Option<Value>,
}

struct ScanBuilder<'a> {
    r: &'a Recurrence,
    /// The new value of each state.
    updates: Vec<Value>,
    b: Builder,
    tokens: usize,
    masked: bool,
    lifted: HashMap<Value, Value>,
    /// What has been found of values for the group at hand.
    seen: HashMap<Value, Option<Affine>>,
    known: Vec<Option<Known>>,
}

type Tried<T> = Result<T, Refusal>;

impl ScanBuilder<'_> {
    /// States one after the other, or two together, as far as what they use is known.
    fn solve_states(&mut self) -> Tried<Vec<Known>> {
        loop {
            let open: Vec<usize> =
                (0..self.known.len()).filter(|s| self.known[*s].is_none()).collect();
            let Some(&first) = open.first() else {
                return Ok(self.known.iter().flatten().cloned().collect());
            };
            let pairs = open.windows(2).map(|pair| pair.to_vec());
            let groups: Vec<Vec<usize>> = open.iter().map(|s| vec![*s]).chain(pairs).collect();
            let mut why = None;
            let done = groups.iter().any(|group| match self.together(group) {
                Ok(()) => true,
                Err(refusal) => {
                    why.get_or_insert(refusal);
                    false
                }
            });
            if !done {
                let name = &self.r.states[first].name;
                let unknown = || Refusal { span: None, why: format!("`{name}` is no scan") };
                return Err(why.unwrap_or_else(unknown));
            }
        }
    }

    /// Finds states that carry only each other.
    fn together(&mut self, group: &[usize]) -> Tried<()> {
        self.seen.clear();
        let shape = self.r.states[group[0]].shape.clone();
        let found = match group {
            [state] => match self.maximum(*state)? {
                Some((found, first)) => Ok((Scan::Max { first }, vec![found])),
                None => self.linear(group).map(|found| (Scan::Linear, found)),
            },
            _ => self.linear(group).map(|found| (Scan::Linear, found)),
        };
        let (scan, found) = found?;
        if group.iter().any(|state| self.r.states[*state].shape != shape) {
            let why = "states of different shapes carry each other".into();
            return Err(Refusal { span: None, why });
        }
        self.scan(scan, group, &found);
        Ok(())
    }

    fn linear(&mut self, group: &[usize]) -> Tried<Vec<Affine>> {
        group
            .iter()
            .map(|state| {
                let update = self.updates[*state];
                match self.affine(update, group)? {
                    Some(affine) => Ok(affine),
                    None => {
                        let rest = Some(self.lift_fresh(update)?);
                        Ok(Affine { coefficients: vec![None; group.len()], rest })
                    }
                }
            })
            .collect()
    }

    /// `max(h + a, b)` with `a` and `b` free of `h`, and whether the state stands first.
    fn maximum(&mut self, state: usize) -> Tried<Option<(Affine, bool)>> {
        let mut root = self.updates[state];
        while matches!(self.node(root).op, Op::Alias(_)) {
            root = self.node(root).args[0];
        }
        let node = self.node(root).clone();
        if node.op != Op::Binary(Binary::Max) {
            return Ok(None);
        }
        let sides = [self.affine(node.args[0], &[state])?, self.affine(node.args[1], &[state])?];
        let (own, other, first) = match sides {
            [Some(own), None] => (own, node.args[1], true),
            [None, Some(own)] => (own, node.args[0], false),
            _ => return Ok(None),
        };
        let one = own.coefficients[0].is_some_and(|c| self.b.as_fill(c) == Some(1.0));
        if !one {
            return Ok(None);
        }
        let shape = [&[1], node.shape.as_slice()].concat();
        let added = own.rest.unwrap_or_else(|| self.b.fill(0.0, &shape));
        let other = self.lift(other)?;
        Ok(Some((Affine { coefficients: vec![Some(added)], rest: Some(other) }, first)))
    }

    /// Builds the scan of a group.
    fn scan(&mut self, scan: Scan, group: &[usize], found: &[Affine]) {
        let (m, s) = (self.tokens, group.len());
        let shape = self.r.states[group[0]].shape.clone();
        let n = size(&shape);
        let full = [&[m], shape.as_slice()].concat();
        let rows = |b: &mut Builder, value: Option<Value>, to: &[usize]| {
            let value = value.unwrap_or_else(|| b.fill(0.0, &full));
            let value = b.expand(value, &full);
            b.reshape(value, to)
        };
        let mut lines = Vec::new();
        let mut rests = Vec::new();
        for affine in found {
            let entries: Vec<Value> =
                affine.coefficients.iter().map(|c| rows(&mut self.b, *c, &[m, 1, 1, n])).collect();
            lines.push(self.b.concat(&entries, 2));
            rests.push(rows(&mut self.b, affine.rest, &[m, 1, n]));
        }
        let (mut a, mut rest) = (self.b.concat(&lines, 1), self.b.concat(&rests, 1));
        if self.masked {
            (a, rest) = self.mask(scan, a, rest, s);
        }
        let starts: Vec<Value> = group
            .iter()
            .map(|state| {
                let carry = self.b.leaf(Leaf::Carry(*state), &shape);
                self.b.reshape(carry, &[1, n])
            })
            .collect();
        let start = self.b.concat(&starts, 0);
        let all = self.b.raw(Op::Scan(scan), vec![a, rest, start], vec![m, s, n]);
        for (at, state) in group.iter().enumerate() {
            let own = self.b.slice(all, 1, at, 1);
            let first = self.b.reshape(starts[at], &[1, 1, n]);
            let before = if m == 1 {
                first
            } else {
                let earlier = self.b.slice(own, 0, 0, m - 1);
                self.b.concat(&[first, earlier], 0)
            };
            let (before, after) = (self.b.reshape(before, &full), self.b.reshape(own, &full));
            self.known[*state] = Some(Known { before, after });
        }
    }

    /// Padding rows carry the states on.
    fn mask(&mut self, scan: Scan, a: Value, rest: Value, s: usize) -> (Value, Value) {
        let m = self.tokens;
        let valid = self.b.leaf(Leaf::Valid, &[m, 1]);
        let (of_a, of_rest) =
            (self.b.reshape(valid, &[m, 1, 1, 1]), self.b.reshape(valid, &[m, 1, 1]));
        if matches!(scan, Scan::Max { .. }) {
            let none = self.b.fill(0.0, &[1, 1, 1, 1]);
            let a = self.b.select(of_a, a, none);
            let low = self.b.fill(f64::NEG_INFINITY, &[1, 1, 1]);
            return (a, self.b.select(of_rest, rest, low));
        }
        let a = self.b.mul(a, of_a);
        let one = self.b.fill(1.0, &[1, 1, 1, 1]);
        let padding = self.b.sub(one, of_a);
        let eye = self.b.raw(Op::Eye, vec![], vec![s, s]);
        let eye = self.b.reshape(eye, &[1, s, s, 1]);
        let same = self.b.mul(eye, padding);
        (self.b.add(a, same), self.b.mul(rest, of_rest))
    }

    fn node(&self, value: Value) -> &Node {
        self.r.token.node(value)
    }

    /// The state whose update a value is.
    fn version(&self, value: Value) -> Option<usize> {
        self.r.updates.iter().find(|update| update.version == value).map(|update| update.state)
    }

    /// A value of a token for all rows, `[tokens or 1, …]`.
    fn lift(&mut self, value: Value) -> Tried<Value> {
        if let Some(&done) = self.lifted.get(&value) {
            return Ok(done);
        }
        let made = match self.version(value) {
            Some(state) => self.known_state(state, value)?.after,
            None => self.lift_fresh(value)?,
        };
        self.lifted.insert(value, made);
        Ok(made)
    }

    fn known_state(&self, state: usize, value: Value) -> Tried<Known> {
        self.known[state].clone().ok_or_else(|| Refusal {
            span: self.node(value).span,
            why: format!("`{}` depends on itself here", self.r.states[state].name),
        })
    }

    /// The same for a value that may be the update of a state.
    fn lift_fresh(&mut self, value: Value) -> Tried<Value> {
        let node = self.node(value).clone();
        if let Op::Leaf(Leaf::Read(Stream::State(state), _)) = &node.op {
            return Ok(self.known_state(*state, value)?.before);
        }
        let mut args = Vec::with_capacity(node.args.len());
        for arg in &node.args {
            args.push(self.lift(*arg)?);
        }
        self.b.span = node.span;
        over_rows(&mut self.b, &node, &args, self.tokens)
    }

    /// A value as a sum over states of a group before their update; `None` for one without them.
    fn affine(&mut self, value: Value, group: &[usize]) -> Tried<Option<Affine>> {
        if let Some(done) = self.seen.get(&value) {
            return Ok(done.clone());
        }
        let found = self.affine_fresh(value, group)?;
        self.seen.insert(value, found.clone());
        Ok(found)
    }

    fn affine_fresh(&mut self, value: Value, group: &[usize]) -> Tried<Option<Affine>> {
        let node = self.node(value).clone();
        let refuse = |what: &str| Err(no_scan(node.span, what));
        if let Op::Leaf(Leaf::Read(Stream::State(state), _)) = &node.op
            && let Some(at) = group.iter().position(|own| own == state)
        {
            let mut coefficients = vec![None; group.len()];
            let shape = [&[1], node.shape.as_slice()].concat();
            coefficients[at] = Some(self.b.fill(1.0, &shape));
            return Ok(Some(Affine { coefficients, rest: None }));
        }
        if self.version(value).is_some_and(|state| self.known[state].is_some()) {
            return Ok(None);
        }
        let mut args = Vec::new();
        for arg in &node.args {
            args.push(self.affine(*arg, group)?);
        }
        if args.iter().all(Option::is_none) {
            return Ok(None);
        }
        self.b.span = node.span;
        let same =
            |this: &Self, i: usize| size(&this.node(node.args[i]).shape) == size(&node.shape);
        if (0..args.len()).any(|i| args[i].is_some() && !same(self, i)) {
            return refuse("a value of another shape");
        }
        let shape = node.shape.clone();
        Ok(Some(match (&node.op, &args[..]) {
            (Op::Alias(_), [Some(x)]) => x.clone(),
            (Op::Reshape, [Some(x)]) => {
                let from = self.node(node.args[0]).shape.clone();
                self.each(x, |b, v| {
                    let lead = b.shape(v)[0];
                    let v = b.expand(v, &[&[lead], from.as_slice()].concat());
                    b.reshape(v, &[&[lead], shape.as_slice()].concat())
                })
            }
            (Op::Unary(Unary::Neg), [Some(x)]) => self.each(x, |b, v| b.unary(Unary::Neg, v)),
            (Op::Binary(op @ (Binary::Add | Binary::Sub)), [x, y]) => {
                self.sum(*op, [x, y], [node.args[0], node.args[1]], group.len())?
            }
            (Op::Binary(Binary::Div), [Some(x), None]) => {
                let by = self.lift(node.args[1])?;
                self.each(x, |b, v| b.div(v, by))
            }
            (Op::MulSum(axes), [Some(x), None]) if axes.is_empty() => {
                let by = self.lift(node.args[1])?;
                self.each(x, |b, v| b.mul(v, by))
            }
            (Op::MulSum(axes), [None, Some(x)]) if axes.is_empty() => {
                let by = self.lift(node.args[0])?;
                self.each(x, |b, v| b.mul(by, v))
            }
            (op, _) => return refuse(&word(op)),
        }))
    }

    /// Applies a linear function to all parts.
    fn each(&mut self, x: &Affine, mut f: impl FnMut(&mut Builder, Value) -> Value) -> Affine {
        let b = &mut self.b;
        let coefficients = x.coefficients.iter().map(|c| c.map(|c| f(b, c))).collect();
        let rest = x.rest.map(|rest| f(b, rest));
        Affine { coefficients, rest }
    }

    fn sum(
        &mut self,
        op: Binary,
        [x, y]: [&Option<Affine>; 2],
        args: [Value; 2],
        states: usize,
    ) -> Tried<Affine> {
        let parts = |this: &mut Self, side: &Option<Affine>, arg: Value| match side {
            Some(affine) => Ok(affine.clone()),
            None => Ok(Affine { coefficients: vec![None; states], rest: Some(this.lift(arg)?) }),
        };
        let (x, y) = (parts(self, x, args[0])?, parts(self, y, args[1])?);
        let b = &mut self.b;
        let mut join = |x: Option<Value>, y: Option<Value>| match (x, y) {
            (Some(x), Some(y)) => Some(b.binary(op, x, y)),
            (None, Some(y)) if op == Binary::Sub => Some(b.unary(Unary::Neg, y)),
            (x, y) => x.or(y),
        };
        let both = x.coefficients.iter().zip(&y.coefficients);
        let coefficients = both.map(|(x, y)| join(*x, *y)).collect();
        Ok(Affine { coefficients, rest: join(x.rest, y.rest) })
    }
}

/// Says that an update holds something that no scan's does.
fn no_scan(span: Option<Span>, what: &str) -> Refusal {
    let why = format!(
        "the update holds {what} of a state, and a scan's is `a .* h[t-1] + b` or `max(h[t-1] + a, b)`"
    );
    Refusal { span, why }
}
