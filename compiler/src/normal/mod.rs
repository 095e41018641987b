//! The normal form: a recurrence whose states are updated as diagonal plus low rank.
//!
//! Problem: a declared update may be written in many ways (`(I - beta*k*k^T) * S[t-1] + …`, a
//! gradient step, micro-steps), and only its algebra says whether many tokens can be done at once.
//!
//! Idea: interpret the program of one token with the states as symbols. A matrix is a sum of terms
//! `scale · diag(left) · core · diag(right)` whose core is a state, an outer product, the identity
//! or an opaque matrix; a state times a vector becomes a *read*, a new leaf. What comes out is
//! state-free except for reads, so each update can be collected:
//!
//! ```text
//! S_i = a_i ∘ S_{i-1} + Σ key (value + Σ coefficient · read)ᵀ
//! ```
//!
//! Phases: [`symbols`] translates the token's program; this file collects the updates, turns
//! value-side structure into key-side structure by transposing, moves scalars off the keys so that
//! writes with one key merge, and orders the states by what they read of each other.

mod symbols;
pub mod text;

pub(crate) use symbols::word;

use lrc_dsl::Span;

use crate::elaborate::Recurrence;
use crate::tile::interval::Intervals;
use crate::tile::{Binary, Builder, Leaf, Op, Program, Unary, Value};
use symbols::{Core, Made, Matrix, Symbols};

/// Why a recurrence is not in the normal form, and where.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The offending expression.
    pub span: Option<Span>,
    /// What it does, in a few words.
    pub why: String,
}

/// A state times a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The state.
    pub state: usize,
    /// How many of the token's updates the state has seen.
    pub version: usize,
    /// The vector: of the key size for a row read, of the value size for a column read.
    pub vector: Value,
    /// `S p` instead of `Sᵀ q`.
    pub column: bool,
}

/// How a state forgets in one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// By a factor, shape `[]`.
    Scalar(Value),
    /// By a factor per key, shape `[K]`.
    Vector(Value),
}

/// A rank-one write: `key (value + Σ coefficient · read)ᵀ`.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key, `[K]`.
    pub key: Value,
    /// What is written besides reads, `[V]`.
    pub value: Option<Value>,
    /// Coefficients, shape `[]`, and reads of the same state.
    pub reads: Vec<(Value, usize)>,
}

/// One update of a state.
#[derive(Clone, Debug)]
pub struct Update {
    /// What is forgotten.
    pub decay: Decay,
    /// What is written; all reads see the state before the update.
    pub writes: Vec<Write>,
}

/// One state in the normal form.
#[derive(Clone, Debug)]
pub struct StateForm {
    /// The algebra holds for the transposed state: keys are columns of the declared one.
    pub transposed: bool,
    /// Keys.
    pub k: usize,
    /// Values; 1 for a vector.
    pub v: usize,
    /// The token's updates in order.
    pub updates: Vec<Update>,
}

/// A recurrence in the normal form. Values are nodes of `program`, in which `Leaf::Outer(r)` stands
/// for read `r`.
#[derive(Clone, Debug)]
pub struct Normal {
    /// Everything of a token that depends on no state except through reads.
    pub program: Program,
    /// The reads.
    pub reads: Vec<Read>,
    /// The states.
    pub states: Vec<StateForm>,
    /// Results in declared order.
    pub outs: Vec<Value>,
}

impl Normal {
    /// Whether no decay exceeds 1, by what is promised of the inputs and parameters.
    pub fn fades(&self, recurrence: &Recurrence) -> bool {
        let mut ends = Intervals::default();
        for (value, leaf, _) in self.program.leaves() {
            ends.promise(value, recurrence.promised(leaf));
        }
        let mut updates = self.states.iter().flat_map(|state| &state.updates);
        updates.all(|update| match update.decay {
            Decay::None => true,
            Decay::Scalar(a) | Decay::Vector(a) => {
                let (low, high) = ends.of(&self.program, a);
                low >= -1.0 && high <= 1.0
            }
        })
    }
}

/// Extracts the normal form.
pub fn extract(recurrence: &Recurrence) -> Result<Normal, Refusal> {
    if recurrence.states.is_empty() {
        return Err(Refusal { span: None, why: "it has no state".into() });
    }
    let mut symbols = Symbols::new(recurrence);
    symbols.translate()?;
    let mut outs = Vec::new();
    for (k, slot) in recurrence.outs.iter().enumerate() {
        let place = |r: Refusal| Refusal { span: r.span.or(Some(slot.span)), ..r };
        outs.push(symbols.plain(recurrence.token.outputs[k]).map_err(place)?);
    }
    let mut states = Vec::new();
    for state in 0..recurrence.states.len() {
        let mut updates = Vec::new();
        let mut side = Side::Free;
        for (at, update) in recurrence.updates.iter().enumerate() {
            if update.state == state {
                let refuse = |why: String| Refusal { span: Some(update.span), why };
                let matrix = symbols
                    .matrix(update.value)
                    .map_err(|r| Refusal { span: r.span.or(Some(update.span)), ..r })?;
                let version = updates.len();
                let collected = Collector { symbols: &mut symbols, state, version }
                    .collect(&matrix, &mut side)
                    .map_err(refuse)?;
                debug_assert_eq!(recurrence.updates[at].state, state);
                updates.push(collected);
            }
        }
        let shape = &recurrence.states[state].shape;
        let (rows, cols) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let transposed = side == Side::Columns;
        let (k, v) = if transposed { (cols, rows) } else { (rows, cols) };
        states.push(StateForm { transposed, k, v, updates });
    }
    let Symbols { b, reads, .. } = symbols;
    let normal = Normal { program: b.program, reads, states, outs };
    normal.check_order(recurrence)?;
    Ok(normal)
}

/// Which side of a state its keys are on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Free,
    Rows,
    Columns,
}

struct Collector<'a, 'r> {
    symbols: &'a mut Symbols<'r>,
    state: usize,
    version: usize,
}

impl Collector<'_, '_> {
    fn name(&self, state: usize) -> &str {
        self.symbols.name(state)
    }

    /// Collects one update, `Err` in words.
    fn collect(&mut self, matrix: &Matrix, side: &mut Side) -> Result<Update, String> {
        let mut decays: Vec<(Option<Value>, Option<Value>)> = Vec::new();
        let mut outers = Vec::new();
        for term in &matrix.terms {
            match &term.core {
                Core::State { state, version, transposed } => {
                    if *state != self.state {
                        return Err(format!(
                            "the whole of `{}` enters the update of `{}`",
                            self.name(*state),
                            self.name(self.state)
                        ));
                    }
                    if *version != self.version || *transposed {
                        return Err(format!(
                            "`{}` enters its own update transposed, or as it was before an update in between",
                            self.name(self.state)
                        ));
                    }
                    let diagonal = match (term.left, term.right) {
                        (Some(_), Some(_)) => {
                            let name = self.name(self.state);
                            return Err(format!("`{name}` decays by rows and by columns at once"));
                        }
                        (Some(left), None) => {
                            set_side(side, Side::Rows)?;
                            Some(left)
                        }
                        (None, Some(right)) => {
                            set_side(side, Side::Columns)?;
                            Some(right)
                        }
                        (None, None) => None,
                    };
                    decays.push((term.scale, diagonal));
                }
                Core::Outer(u, w) => outers.push((term.scale, *u, *w)),
                Core::Eye | Core::Dense(_) => {
                    let name = self.name(self.state);
                    return Err(format!(
                        "what `{name}` is given is a full matrix, not a key times a value"
                    ));
                }
            }
        }
        for &(_, u, w) in &outers {
            if self.symbols.reads_state(u, self.state) {
                set_side(side, Side::Columns)?;
            }
            if self.symbols.reads_state(w, self.state) {
                set_side(side, Side::Rows)?;
            }
        }
        let mut writes: Vec<Write> = Vec::new();
        for (scale, u, w) in outers {
            let (key, value) = if *side == Side::Columns { (w, u) } else { (u, w) };
            self.write(&mut writes, scale, key, value, *side)?;
        }
        Ok(Update { decay: self.decay(&decays), writes })
    }

    fn decay(&mut self, terms: &[(Option<Value>, Option<Value>)]) -> Decay {
        if let [(None, None)] = terms {
            return Decay::None;
        }
        let b = &mut self.symbols.b;
        let width = terms.iter().find_map(|(_, d)| d.map(|d| b.shape(d)[0]));
        let shape: Vec<usize> = width.into_iter().collect();
        let mut sum = b.fill(0.0, &shape);
        for (scale, diagonal) in terms {
            let one = b.fill(1.0, &shape);
            let mut factor = diagonal.unwrap_or(one);
            if let Some(scale) = scale {
                let scale = b.reshape(*scale, &vec![1; shape.len()]);
                factor = b.mul(factor, scale);
            }
            sum = b.add(sum, factor);
        }
        if shape.is_empty() { Decay::Scalar(sum) } else { Decay::Vector(sum) }
    }

    /// Adds a write; one with a known key joins it.
    fn write(
        &mut self,
        writes: &mut Vec<Write>,
        scale: Option<Value>,
        key: Value,
        value: Value,
        side: Side,
    ) -> Result<(), String> {
        let (factor, key) = peel(&mut self.symbols.b, key);
        let scale = times(&mut self.symbols.b, scale, factor);
        let (constant, reads) = self.affine(value, side)?;
        let b = &mut self.symbols.b;
        let constant = constant.map(|c| scaled(b, c, scale));
        let reads: Vec<(Value, usize)> =
            reads.into_iter().map(|(c, r)| (scale.map_or(c, |scale| b.mul(c, scale)), r)).collect();
        let Some(known) = writes.iter_mut().find(|w| w.key == key) else {
            writes.push(Write { key, value: constant, reads });
            return Ok(());
        };
        known.value = match (known.value, constant) {
            (Some(a), Some(c)) => Some(b.add(a, c)),
            (a, c) => a.or(c),
        };
        for (coefficient, read) in reads {
            match known.reads.iter_mut().find(|(_, r)| *r == read) {
                Some((sum, _)) => *sum = b.add(*sum, coefficient),
                None => known.reads.push((coefficient, read)),
            }
        }
        Ok(())
    }

    /// Splits a vector into what depends on no read of this state, and multiples of such reads.
    fn affine(&mut self, x: Value, side: Side) -> Result<Affine, String> {
        if !self.symbols.reads_state(x, self.state) {
            return Ok((Some(x), vec![]));
        }
        let node = self.symbols.b.node(x).clone();
        match &node.op {
            Op::Leaf(Leaf::Outer(r)) => {
                let read = &self.symbols.reads[*r];
                if read.column != (side == Side::Columns) {
                    return Err(
                        "the update reads the state along its values, not along its keys".into()
                    );
                }
                let one = self.symbols.b.fill(1.0, &[]);
                Ok((None, vec![(one, *r)]))
            }
            Op::Unary(Unary::Neg) => {
                let inner = self.affine(node.args[0], side)?;
                let minus = self.symbols.b.fill(-1.0, &[]);
                Ok(self.scale_affine(inner, minus))
            }
            Op::Binary(op @ (Binary::Add | Binary::Sub)) => {
                let (c, mut reads) = self.affine(node.args[0], side)?;
                let mut other = self.affine(node.args[1], side)?;
                if *op == Binary::Sub {
                    let minus = self.symbols.b.fill(-1.0, &[]);
                    other = self.scale_affine(other, minus);
                }
                reads.extend(other.1);
                let constant = match (c, other.0) {
                    (Some(a), Some(b)) => Some(self.symbols.b.add(a, b)),
                    (a, b) => a.or(b),
                };
                Ok((constant, reads))
            }
            Op::MulSum(axes) if axes.is_empty() => {
                let (a, b) = (node.args[0], node.args[1]);
                for (inner, factor) in [(a, b), (b, a)] {
                    let shape = self.symbols.b.shape(factor).to_vec();
                    if shape.iter().all(|n| *n == 1)
                        && !self.symbols.reads_state(factor, self.state)
                    {
                        let factor = self.symbols.b.reshape(factor, &[]);
                        let inner = self.affine(inner, side)?;
                        return Ok(self.scale_affine(inner, factor));
                    }
                }
                Err("the state enters its own update entry by entry, or squared".into())
            }
            Op::Reshape | Op::Expand
                if self.symbols.b.shape(node.args[0]) == [1] || node.shape == [1] =>
            {
                self.affine(node.args[0], side)
            }
            op => Err(format!(
                "the update holds {} of what it reads of the state: it is not linear in it",
                word(op)
            )),
        }
    }

    fn scale_affine(&mut self, (c, reads): Affine, by: Value) -> Affine {
        let b = &mut self.symbols.b;
        let c = c.map(|c| scaled(b, c, Some(by)));
        let reads = reads.into_iter().map(|(x, r)| (b.mul(x, by), r)).collect();
        (c, reads)
    }
}

/// A state-free vector and multiples of reads.
type Affine = (Option<Value>, Vec<(Value, usize)>);

fn set_side(side: &mut Side, to: Side) -> Result<(), String> {
    if *side != Side::Free && *side != to {
        return Err("the state decays, or is read by its own update, by rows and by columns".into());
    }
    *side = to;
    Ok(())
}

fn times(b: &mut Builder, x: Option<Value>, y: Option<Value>) -> Option<Value> {
    match (x, y) {
        (Some(x), Some(y)) => Some(b.mul(x, y)),
        (x, y) => x.or(y),
    }
}

fn scaled(b: &mut Builder, x: Value, by: Option<Value>) -> Value {
    let Some(by) = by else { return x };
    let shape = vec![1; b.shape(x).len()];
    let by = b.reshape(by, &shape);
    b.mul(x, by)
}

/// Takes scalar factors off a vector: `x = factor · rest`.
fn peel(b: &mut Builder, x: Value) -> (Option<Value>, Value) {
    let node = b.node(x).clone();
    match &node.op {
        Op::Unary(Unary::Neg) => {
            let (factor, rest) = peel(b, node.args[0]);
            let minus = b.fill(-1.0, &[]);
            (times(b, factor, Some(minus)), rest)
        }
        Op::MulSum(axes) if axes.is_empty() => {
            for (vector, scalar) in [(node.args[0], node.args[1]), (node.args[1], node.args[0])] {
                let single = b.shape(scalar).iter().all(|n| *n == 1);
                if single && b.shape(vector) == node.shape && b.as_fill(vector).is_none() {
                    let scalar = b.reshape(scalar, &[]);
                    let (factor, rest) = peel(b, vector);
                    return (times(b, factor, Some(scalar)), rest);
                }
            }
            (None, x)
        }
        Op::Binary(Binary::Div) if b.shape(node.args[1]).iter().all(|n| *n == 1) => {
            let one = b.fill(1.0, &[]);
            let divisor = b.reshape(node.args[1], &[]);
            let scalar = b.div(one, divisor);
            let (factor, rest) = peel(b, node.args[0]);
            (times(b, factor, Some(scalar)), rest)
        }
        _ => (None, x),
    }
}

impl Normal {
    /// Refuses states that read each other in a circle.
    fn check_order(&self, recurrence: &Recurrence) -> Result<(), Refusal> {
        let n = self.states.len();
        let mut needs = vec![vec![false; n]; n];
        for (state, form) in self.states.iter().enumerate() {
            for update in &form.updates {
                let mut roots: Vec<Value> = Vec::new();
                match update.decay {
                    Decay::None => {}
                    Decay::Scalar(x) | Decay::Vector(x) => roots.push(x),
                }
                for write in &update.writes {
                    roots.push(write.key);
                    roots.extend(write.value);
                    roots.extend(write.reads.iter().map(|(c, _)| *c));
                    roots.extend(write.reads.iter().map(|(_, r)| self.reads[*r].vector));
                }
                for root in roots {
                    self.mark_reads(root, &mut needs[state]);
                }
            }
        }
        for through in 0..n {
            for from in 0..n {
                for to in 0..n {
                    needs[from][to] |= needs[from][through] && needs[through][to];
                }
            }
        }
        match (0..n).find(|&state| needs[state][state]) {
            None => Ok(()),
            Some(state) => {
                let span = recurrence.updates.iter().find(|u| u.state == state).map(|u| u.span);
                let name = &recurrence.states[state].name;
                let why =
                    format!("what `{name}` forgets, or the keys it writes, depends on `{name}`");
                Err(Refusal { span, why })
            }
        }
    }

    fn mark_reads(&self, root: Value, needs: &mut [bool]) {
        let mut seen = vec![false; self.program.nodes.len()];
        let mut open = vec![root];
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut seen[value.at()], true) {
                continue;
            }
            let node = self.program.node(value);
            if let Op::Leaf(Leaf::Outer(r)) = node.op {
                needs[self.reads[r].state] = true;
                open.push(self.reads[r].vector);
            }
            open.extend(&node.args);
        }
    }
}

impl Made {
    pub(crate) fn is_matrix(&self) -> bool {
        matches!(self, Made::Matrix(_))
    }
}
