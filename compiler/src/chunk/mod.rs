//! The program of a whole chunk of tokens, derived from the normal form.
//!
//! Problem: one token after the other is a chain of small steps; matrix units want large products.
//!
//! Idea: inside a chunk of M micro-steps `S_j = a_j ∘ S_{j-1} + κ_j u_jᵀ` unrolls. A row that reads
//! the state with vector `b` after `seen` micro-steps gets
//! `(b ∘ Π_{l<seen} a_l) S_0 + Σ_{j<seen} (b · κ_j decayed from j to seen) u_j`:
//! a product with the entering state and a decay-weighted Gram times the writes. What is written may
//! itself contain such reads, which makes `U` the solution of a unit-triangular system:
//!
//! ```text
//! b'  = coefficient · b                       [M, K]
//! A   = -Gram(b', κ)                          strictly lower
//! U   = solve(I + A, value + (b' ∘ prefix) S0)
//! O   = (q ∘ prefix) S0 + Gram(q, κ) U        for every row read
//! S'  = total ∘ S0 + (κ ∘ suffix)ᵀ U
//! ```
//!
//! (math.md, section 2, with decays multiplied as they are.) A column read `S p` is
//! `prefix ∘ (S0 p) + apply(p Uᵀ, κ)`. Without reads in the writes, or without decay, the terms are
//! never built. Everything else of a token is lifted over the rows of the chunk.

pub mod attention;
mod cost;
pub mod gradient;
mod micro;
pub mod pointwise;
pub mod remember;
pub mod scan;
pub mod token;

use std::collections::HashMap;

use crate::elaborate::Recurrence;
use crate::normal::{Decay, Normal, Refusal};
use crate::tile::lift::{self, Over};
use crate::tile::{Builder, Int, Leaf, Node, Op, Program, Stream, Value, Versions};
use micro::{Micro, Row, Write};

/// The program of one chunk. Results: outputs `[chunk, …]`, then states.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Tokens.
    pub tokens: usize,
    /// The program.
    pub program: Program,
}

/// Derives the program of a chunk. With `masked`, rows that `Leaf::Valid` marks as padding leave
/// the states as they are. `shared_inputs` and `shared_params` are not needed: one head runs.
pub fn derive(
    recurrence: &Recurrence,
    normal: &Normal,
    tokens: usize,
    masked: bool,
) -> Result<Chunk, Refusal> {
    let micro = normal.states.iter().map(|_| Vec::new()).collect();
    let mut builder = ChunkBuilder {
        r: recurrence,
        n: normal,
        b: Builder::new(),
        tokens,
        masked,
        lifted: HashMap::new(),
        states: vec![None; normal.states.len()],
        reads: vec![None; normal.reads.len()],
        micro,
    };
    for state in 0..normal.states.len() {
        builder.micro[state] = builder.micro_steps(state);
    }
    let mut outputs = Vec::new();
    for (slot, out) in recurrence.outs.iter().zip(&normal.outs) {
        let value = builder.lift(*out)?;
        let full = [&[tokens], slot.shape.as_slice()].concat();
        outputs.push(builder.b.expand(value, &full));
    }
    for state in 0..normal.states.len() {
        let value = builder.leaving(state)?;
        outputs.push(value);
    }
    Ok(Chunk { tokens, program: builder.b.finish(&outputs) })
}

/// Writes of micro-steps, one of each.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Keys `[M, K]`.
    keys: Value,
    /// Writes `[M, V]`.
    writes: Value,
}

/// A state's tiles inside a chunk.
#[derive(Clone, Debug)]
struct Tiles {
    /// Decays `[M, K]`, `[M, 1]`, or none at all.
    decay: Option<Value>,
    /// What is written, side by side; only writes of the first lane contain reads.
    lanes: Vec<Lane>,
    /// The entering state `[K, V]`.
    carry: Value,
}

struct ChunkBuilder<'a> {
    r: &'a Recurrence,
    n: &'a Normal,
    b: Builder,
    tokens: usize,
    masked: bool,
    lifted: HashMap<Value, Value>,
    states: Vec<Option<Tiles>>,
    reads: Vec<Option<Value>>,
    micro: Vec<Vec<Micro>>,
}

type Tried<T> = Result<T, Refusal>;

impl ChunkBuilder<'_> {
    /// A value of a token for all rows of the chunk, `[chunk or 1, …]`.
    fn lift(&mut self, value: Value) -> Tried<Value> {
        if let Some(&done) = self.lifted.get(&value) {
            return Ok(done);
        }
        let node = self.n.program.node(value).clone();
        let mut args = Vec::with_capacity(node.args.len());
        for arg in &node.args {
            args.push(self.lift(*arg)?);
        }
        self.b.span = node.span;
        let made = match &node.op {
            Op::Leaf(Leaf::Outer(read)) => self.read_tile(*read, &node.shape)?,
            _ => over_rows(&mut self.b, &node, &args, self.tokens)?,
        };
        self.lifted.insert(value, made);
        Ok(made)
    }

    /// The result of a read that is used outside its state's own update: `[chunk, length]`.
    fn read_tile(&mut self, read: usize, shape: &[usize]) -> Tried<Value> {
        if let Some(done) = self.reads[read] {
            return Ok(done);
        }
        let state = self.n.reads[read].state;
        let tiles = self.tiles(state)?;
        let row = self.row(read);
        let vector = self.row_vector(row)?;
        let length = self.b.shape(vector)[1];
        let vector = self.b.expand(vector, &[self.tokens, length]);
        let versions = Versions { micro: self.micro[state].len(), offsets: vec![row.seen] };
        let column = self.n.reads[read].column != self.n.states[state].transposed;
        let made = if column {
            self.column_read(&tiles, vector, &versions)
        } else {
            self.row_read(&tiles, vector, &versions)
        };
        debug_assert_eq!(self.b.shape(made)[1..], *shape);
        self.reads[read] = Some(made);
        Ok(made)
    }

    /// The vector of a read, with a folded decay multiplied in, `[chunk or 1, length]`.
    fn row_vector(&mut self, row: Row) -> Tried<Value> {
        let read = &self.n.reads[row.read];
        let vector = self.lift(read.vector)?;
        let Some(update) = row.folded else { return Ok(vector) };
        match self.n.states[read.state].updates[update].decay {
            Decay::None => Ok(vector),
            Decay::Scalar(a) => {
                let a = self.lift(a)?;
                let lead = self.b.shape(a)[0];
                let a = self.b.reshape(a, &[lead, 1]);
                Ok(self.b.mul(vector, a))
            }
            Decay::Vector(a) => {
                let a = self.lift(a)?;
                Ok(self.b.mul(vector, a))
            }
        }
    }

    /// Puts the micro-steps' rows of every token together: `[chunk · micro, width]`.
    fn stack(&mut self, rows: &[Value], width: usize) -> Value {
        let (c, m) = (self.tokens, rows.len());
        let parts: Vec<Value> = rows
            .iter()
            .map(|&row| {
                let row = self.b.expand(row, &[c, width]);
                self.b.reshape(row, &[c, 1, width])
            })
            .collect();
        let all = self.b.concat(&parts, 1);
        self.b.reshape(all, &[c * m, width])
    }

    /// 1 for micro-steps of tokens, 0 for padding, `[chunk · micro, 1]`.
    fn valid(&mut self, micro: usize) -> Value {
        let valid = self.b.leaf(Leaf::Valid, &[self.tokens, 1]);
        self.stack(&vec![valid; micro], 1)
    }

    fn tiles(&mut self, state: usize) -> Tried<Tiles> {
        if let Some(tiles) = &self.states[state] {
            return Ok(tiles.clone());
        }
        let form = &self.n.states[state];
        let (k, v) = (form.k, form.v);
        let steps = self.micro[state].clone();
        let m = steps.len();
        let count = steps.iter().map(|step| step.writes.len()).max().unwrap_or(0).max(1);
        let mut keys = Vec::new();
        for lane in 0..count {
            keys.push(self.of_lane(&steps, lane, k, |write| Some(write.key))?);
        }
        let mut decay = self.decays(&steps, k)?;
        if self.masked {
            let valid = self.valid(m);
            keys.iter_mut().for_each(|keys| *keys = self.b.mul(*keys, valid));
            if let Some(a) = decay {
                let one = self.b.fill(1.0, &[1, 1]);
                let padding = self.b.sub(one, valid);
                let kept = self.b.mul(a, valid);
                decay = Some(self.b.add(kept, padding));
            }
        }
        let carry = self.b.leaf(Leaf::Carry(state), &self.r.states[state].shape);
        let carry =
            if form.transposed { self.b.transpose(carry) } else { self.b.reshape(carry, &[k, v]) };
        let mut lanes = Vec::new();
        for (lane, keys) in keys.into_iter().enumerate() {
            let writes = self.of_lane(&steps, lane, v, |write| write.value)?;
            lanes.push(Lane { keys, writes });
        }
        let mut tiles = Tiles { decay, lanes, carry };
        tiles.lanes[0].writes = self.solve(&steps, &tiles, k)?;
        self.states[state] = Some(tiles.clone());
        Ok(tiles)
    }

    /// Vectors of a lane's writes, `[chunk · micro, width]`: zeros where a micro-step has none.
    fn of_lane(
        &mut self,
        steps: &[Micro],
        lane: usize,
        width: usize,
        of: impl Fn(&Write) -> Option<Value>,
    ) -> Tried<Value> {
        let mut rows = Vec::new();
        for step in steps {
            rows.push(match step.writes.get(lane).and_then(&of) {
                Some(value) => self.lift(value)?,
                None => self.b.fill(0.0, &[1, width]),
            });
        }
        Ok(self.stack(&rows, width))
    }

    fn decays(&mut self, steps: &[Micro], k: usize) -> Tried<Option<Value>> {
        if steps.iter().all(|s| s.decay == Decay::None) {
            return Ok(None);
        }
        let wide = steps.iter().any(|s| matches!(s.decay, Decay::Vector(_)));
        let width = if wide { k } else { 1 };
        let mut rows = Vec::new();
        for step in steps {
            let row = match step.decay {
                Decay::None => self.b.fill(1.0, &[1, width]),
                Decay::Scalar(a) => {
                    let a = self.lift(a)?;
                    let lead = self.b.shape(a)[0];
                    let a = self.b.reshape(a, &[lead, 1]);
                    self.b.expand(a, &[lead, width])
                }
                Decay::Vector(a) => self.lift(a)?,
            };
            rows.push(row);
        }
        Ok(Some(self.stack(&rows, width)))
    }

    /// The writes, given what they contain of reads of the same state.
    fn solve(&mut self, steps: &[Micro], tiles: &Tiles, k: usize) -> Tried<Value> {
        let reads = |step: &Micro| step.writes.first().map_or(vec![], |write| write.reads.clone());
        let reads: Vec<Vec<(Value, Row)>> = steps.iter().map(reads).collect();
        let slots = reads.iter().map(Vec::len).max().unwrap_or(0);
        let (first, others) = (&tiles.lanes[0], &tiles.lanes[1..]);
        let mut right = first.writes;
        let mut left: Option<Value> = None;
        for slot in 0..slots {
            let mut rows = Vec::new();
            let mut offsets = Vec::new();
            for reads in &reads {
                let Some((coefficient, row)) = reads.get(slot) else {
                    // A row of zeros may have seen anything; what rows have seen never falls.
                    rows.push(self.b.fill(0.0, &[1, k]));
                    offsets.push(offsets.last().copied().unwrap_or(0));
                    continue;
                };
                let vector = self.row_vector(*row)?;
                let coefficient = self.lift(*coefficient)?;
                let lead = self.b.shape(coefficient)[0];
                let coefficient = self.b.reshape(coefficient, &[lead, 1]);
                rows.push(self.b.mul(vector, coefficient));
                offsets.push(row.seen);
            }
            let rows = self.stack(&rows, k);
            let versions = Versions { micro: steps.len(), offsets };
            let gram = self.gram(tiles, first, rows, &versions);
            let others = self.inside(tiles, others, rows, &versions);
            let entering = self.entering(tiles, rows, &versions);
            for seen in others.into_iter().chain([entering]) {
                right = self.b.add(right, seen);
            }
            left = Some(match left {
                Some(sum) => self.b.add(sum, gram),
                None => gram,
            });
        }
        let Some(left) = left else { return Ok(right) };
        let left = self.b.unary(crate::tile::Unary::Neg, left);
        Ok(self.b.solve(left, right, false))
    }

    /// `(x ∘ prefix) S0` for rows that read the entering state.
    fn entering(&mut self, tiles: &Tiles, x: Value, versions: &Versions) -> Value {
        let x = match tiles.decay {
            None => x,
            Some(a) => {
                let prefix = self.prefix(a, versions);
                self.b.mul(x, prefix)
            }
        };
        self.b.matmul(x, tiles.carry)
    }

    fn prefix(&mut self, a: Value, versions: &Versions) -> Value {
        let (m, d) = (self.b.shape(a)[0], self.b.shape(a)[1]);
        self.b.raw(Op::CumulativeProduct(versions.clone()), vec![a], vec![versions.rows(m), d])
    }

    /// What rows read of writes in lanes; nothing where there is none.
    fn inside(
        &mut self,
        tiles: &Tiles,
        lanes: &[Lane],
        x: Value,
        versions: &Versions,
    ) -> Option<Value> {
        let read = lanes.iter().map(|lane| {
            let gram = self.gram(tiles, lane, x, versions);
            self.b.matmul(gram, lane.writes)
        });
        let read: Vec<Value> = read.collect();
        read.into_iter().reduce(|sum, one| self.b.add(sum, one))
    }

    /// What each row sees of each write of a lane.
    fn gram(&mut self, tiles: &Tiles, lane: &Lane, x: Value, versions: &Versions) -> Value {
        let m = self.b.shape(lane.keys)[0];
        let rows = self.b.shape(x)[0];
        match tiles.decay {
            Some(a) if self.b.shape(a)[1] > 1 => {
                self.b.raw(Op::Gram(versions.clone()), vec![x, lane.keys, a], vec![rows, m])
            }
            decay => {
                let product = self.b.matmul_t(x, lane.keys);
                let weights = self.weights(decay, versions, m);
                self.b.mul(product, weights)
            }
        }
    }

    /// The mask of a scalar decay, or of none.
    fn weights(&mut self, decay: Option<Value>, versions: &Versions, m: usize) -> Value {
        match decay {
            Some(a) => {
                let shape = vec![versions.rows(m), m];
                self.b.raw(Op::DecayMask(versions.clone()), vec![a], shape)
            }
            None => self.b.below(versions, m),
        }
    }

    fn row_read(&mut self, tiles: &Tiles, q: Value, versions: &Versions) -> Value {
        let entering = self.entering(tiles, q, versions);
        let inside = self.inside(tiles, &tiles.lanes, q, versions);
        inside.map_or(entering, |inside| self.b.add(entering, inside))
    }

    fn column_read(&mut self, tiles: &Tiles, p: Value, versions: &Versions) -> Value {
        let mut entering = self.b.matmul_t(p, tiles.carry);
        if let Some(a) = tiles.decay {
            let prefix = self.prefix(a, versions);
            entering = self.b.mul(entering, prefix);
        }
        for lane in &tiles.lanes {
            let inside = self.column_inside(tiles, lane, p, versions);
            entering = self.b.add(entering, inside);
        }
        entering
    }

    fn column_inside(
        &mut self,
        tiles: &Tiles,
        lane: &Lane,
        p: Value,
        versions: &Versions,
    ) -> Value {
        let weights = self.b.matmul_t(p, lane.writes);
        let [m, k] = [0, 1].map(|axis| self.b.shape(lane.keys)[axis]);
        match tiles.decay {
            Some(a) if self.b.shape(a)[1] > 1 => {
                let shape = vec![self.b.shape(p)[0], k];
                self.b.raw(Op::Apply(versions.clone()), vec![weights, lane.keys, a], shape)
            }
            decay => {
                let mask = self.weights(decay, versions, m);
                let weights = self.b.mul(weights, mask);
                self.b.matmul(weights, lane.keys)
            }
        }
    }

    /// The state after the chunk, as declared.
    fn leaving(&mut self, state: usize) -> Tried<Value> {
        let tiles = self.tiles(state)?;
        let m = self.tokens * self.micro[state].len();
        let (mut lanes, mut leaving) = (tiles.lanes, tiles.carry);
        if let Some(a) = tiles.decay {
            let shape = self.b.shape(a).to_vec();
            let suffix = self.b.raw(Op::ReverseCumulativeProduct, vec![a], shape);
            lanes.iter_mut().for_each(|lane| lane.keys = self.b.mul(lane.keys, suffix));
            let total = self.prefix(a, &Versions { micro: m, offsets: vec![m] });
            let total = self.b.transpose(total);
            leaving = self.b.mul(leaving, total);
        }
        for Lane { keys, writes } in lanes {
            let keys = self.b.transpose(keys);
            let written = self.b.matmul(keys, writes);
            leaving = self.b.add(leaving, written);
        }
        let leaving =
            if self.n.states[state].transposed { self.b.transpose(leaving) } else { leaving };
        let shape = self.r.states[state].shape.clone();
        Ok(self.b.reshape(leaving, &shape))
    }
}

/// A node of a token for all rows of a chunk, given its arguments for all rows: leaves of tokens have
/// a row each, all else one.
fn over_rows(
    b: &mut Builder,
    node: &Node,
    args: &[Value],
    tokens: usize,
) -> Result<Value, Refusal> {
    if let Op::Leaf(leaf) = &node.op {
        let rows = if matches!(leaf, Leaf::Read(..) | Leaf::Number(_)) { tokens } else { 1 };
        return Ok(b.leaf(leaf.clone(), &[&[rows], node.shape.as_slice()].concat()));
    }
    if let Op::Pick(at) | Op::Place(at) = &node.op
        && !matches!(at, Int::Const(_))
    {
        let number = b.leaf(Leaf::Number(at.clone()), &[tokens]);
        return Ok(lift::chosen(b, &node.op, args[0], &node.shape, number));
    }
    lift::one(b, &node.op, args, &node.shape, Over::Tokens, 1)
        .map_err(|why| Refusal { span: node.span, why: why.into() })
}

/// The stream that the k-th result belongs to.
pub fn result_stream(recurrence: &Recurrence, k: usize) -> Stream {
    let outs = recurrence.outs.len();
    if k < outs { Stream::Out(k) } else { Stream::State(k - outs) }
}
