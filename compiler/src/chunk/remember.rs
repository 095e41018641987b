//! What a token reads of tokens before it, as further states.
//!
//! Problem: a kernel that goes token by token holds the states of the token before. Online learners read
//! the state before a mini-batch (`S[t - t mod 16 - 1]`) and add up over it, others the token before the last.
//!
//! Idea: what will be read again is remembered in a state of its own. A value at a position that stays while
//! tokens go on (`t - t mod 16`) is taken over where the position moves; a value some tokens back goes from
//! one state to the next; a sum whose terms are the same for every token that adds them is a running sum;
//! a sum over a few tokens is written out.

use lrc_dsl::Span;

use super::attention::SAMPLES;
use crate::elaborate::Recurrence;
use crate::elaborate::recurrence::Slot;
use crate::normal::Refusal;
use crate::tile::{
    Binary, Builder, Gather, Int, IntOp, Leaf, Number, Op, Past, Program, Stream, Value,
};

/// A recurrence whose tokens read only the states of the token before, and inputs.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The recurrence; states that are not declared come last.
    pub recurrence: Recurrence,
    /// How many states are declared.
    pub declared: usize,
}

/// Terms of a sum that is written out, at most.
const TERMS: i64 = 64;

/// Makes states of what tokens read of tokens before them. The error says what cannot be remembered.
pub fn remembered(r: &Recurrence) -> Result<Remembered, Refusal> {
    let streams = r.outs.len()..r.token.outputs.len();
    let Some(like) = r.states.iter().chain(&r.outs).next() else {
        return Err(refuse(None, "it computes nothing"));
    };
    let mut maker = Maker {
        r,
        like,
        b: Builder::new(),
        new: Vec::with_capacity(r.token.nodes.len()),
        extra: vec![],
        finals: r.token.outputs[streams].to_vec(),
    };
    for node in &r.token.nodes {
        maker.b.span = node.span;
        let args: Vec<Value> = node.args.iter().map(|arg| maker.new[arg.at()]).collect();
        let value = match &node.op {
            Op::Leaf(Leaf::Read(stream, at)) => maker.read(*stream, at, &node.shape, node.span)?,
            Op::Past(past) => maker.past(past, &args, &node.shape, node.span)?,
            op => maker.b.raw(op.clone(), args, node.shape.clone()),
        };
        maker.new.push(value);
    }
    maker.finish()
}

/// A state that is not declared.
struct Extra {
    what: What,
    slot: Slot,
    /// What it is before the first token.
    init: f64,
    /// Its value after a token.
    next: Next,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq)]
enum What {
    /// A stream at a position that stays, or as many tokens back.
    Stream(Stream, Int),
    /// A sum over the past.
    Sum(Box<Past>),
}

/// The value of such a state after a token.
enum Next {
    /// This one.
    Value(Value),
    /// That of a stream: where a number is 0 if there is one, else what was remembered.
    Now(Stream, Option<Int>),
    /// The sum up to the token before, and the token's own term.
    Term(Value, Box<Past>),
}

struct Maker<'a> {
    r: &'a Recurrence,
    /// A declared slot, beside which others are said to stand.
    like: &'a Slot,
    b: Builder,
    new: Vec<Value>,
    extra: Vec<Extra>,
    /// The nodes of states and named values after the token.
    finals: Vec<Value>,
}

fn refuse(span: Option<Span>, why: &str) -> Refusal {
    Refusal { span, why: why.into() }
}

/// Whether a position is some tokens back from `t`, or else where it was for the token before.
fn stays(at: &Int, back: i64) -> bool {
    (0..SAMPLES).all(|t| {
        let here = at.eval(t, &[]);
        here == t - back || t > 0 && here == at.eval(t - 1, &[])
    })
}

impl Maker<'_> {
    /// The remembered state of something: what it was after the token before.
    fn state(&mut self, what: What, name: &str, shape: &[usize], init: f64, next: Next) -> Value {
        let known = self.extra.iter().position(|extra| extra.what == what);
        let at = known.unwrap_or_else(|| {
            let slot = Slot {
                name: name.to_string(),
                count: None,
                shape: shape.to_vec(),
                text: format!("{shape:?}"),
                axes: vec![],
                interval: None,
                unit: false,
                complex: false,
                number: Number::F32,
                gradient: Number::F32,
                span: self.like.span,
            };
            self.extra.push(Extra { what, slot, init, next });
            self.extra.len() - 1
        });
        let before = Int::op(IntOp::Sub, Int::T, Int::Const(1));
        let stream = Stream::State(self.r.states.len() + at);
        self.b.leaf(Leaf::Read(stream, before), shape)
    }

    fn name(&self, stream: Stream) -> String {
        match stream {
            Stream::State(k) => self.r.states[k].name.clone(),
            Stream::Export(k) => self.r.exports[k].name.clone(),
            Stream::Input(k) => self.r.inputs[k].name.clone(),
            Stream::Out(k) => self.r.outs[k].name.clone(),
        }
    }

    /// A whole number for choosing: `[1, …]` of a value's axes.
    fn number(&mut self, at: Int, rank: usize) -> Value {
        let number = self.b.leaf(Leaf::Number(at), &[]);
        self.b.reshape(number, &vec![1; rank])
    }

    /// A stream at a position.
    fn read(
        &mut self,
        stream: Stream,
        at: &Int,
        shape: &[usize],
        span: Option<Span>,
    ) -> Result<Value, Refusal> {
        let own = !matches!(stream, Stream::State(_) | Stream::Export(_));
        if own || matches!(stream, Stream::State(_)) && at.lag() == Some(1) {
            return Ok(self.b.leaf(Leaf::Read(stream, at.clone()), shape));
        }
        if let Some(lag) = at.lag() {
            return self.back(stream, lag, shape, span);
        }
        let what = What::Stream(stream, at.clone());
        let name = format!("{}_kept", self.name(stream));
        if stays(at, 1) {
            let last = self.back(stream, 1, shape, span)?;
            let moved = Int::op(IntOp::Sub, Int::op(IntOp::Sub, Int::T, Int::Const(1)), at.clone());
            let moved = self.number(moved, shape.len());
            let held = self.state(what.clone(), &name, shape, 0.0, Next::Value(last));
            let value = self.b.select(moved, held, last);
            if let Some(extra) = self.extra.iter_mut().find(|extra| extra.what == what) {
                extra.next = Next::Value(value);
            }
            return Ok(value);
        }
        if stays(at, 0) {
            let since = Int::op(IntOp::Sub, Int::T, at.clone());
            let next = Next::Now(stream, Some(since));
            return Ok(self.state(what, &name, shape, 0.0, next));
        }
        Err(refuse(
            span,
            "a token reads a value of another token, and which one follows no pattern",
        ))
    }

    /// A state or a named value some tokens back.
    fn back(
        &mut self,
        stream: Stream,
        lag: i64,
        shape: &[usize],
        span: Option<Span>,
    ) -> Result<Value, Refusal> {
        if !(1..=TERMS).contains(&lag) {
            return Err(refuse(span, "a token reads a value of a token too far back"));
        }
        let ago = |lag: i64| Int::op(IntOp::Sub, Int::T, Int::Const(lag));
        let named = format!("{}_{lag}_back", self.name(stream));
        let what = What::Stream(stream, ago(lag));
        match (stream, lag) {
            (Stream::State(_), 1) => Ok(self.b.leaf(Leaf::Read(stream, ago(1)), shape)),
            (Stream::State(_), _) => {
                let later = self.back(stream, lag - 1, shape, span)?;
                let last = self.back(stream, 1, shape, span)?;
                let held = self.state(what, &named, shape, 0.0, Next::Value(later));
                // Before the first token a state is what it begins with.
                let begun = self.number(Int::T, shape.len());
                Ok(self.b.select(begun, held, last))
            }
            (_, 1) => Ok(self.state(what, &named, shape, 0.0, Next::Now(stream, None))),
            _ => {
                let later = self.back(stream, lag - 1, shape, span)?;
                Ok(self.state(what, &named, shape, 0.0, Next::Value(later)))
            }
        }
    }

    /// A sum over the past.
    fn past(
        &mut self,
        past: &Past,
        args: &[Value],
        shape: &[usize],
        span: Option<Span>,
    ) -> Result<Value, Refusal> {
        let (low, high) = (past.low.lag(), past.high.lag());
        if let (Some(low), Some(high)) = (low, high)
            && low - high < TERMS
        {
            return self.written_out(past, high..=low, args, span);
        }
        let whole = matches!(past.low, Int::Const(low) if low <= 0);
        let fixed = whole || stays(&past.low, 0);
        if !args.is_empty() || !fixed || !matches!(high, Some(0 | 1)) {
            let why = if !args.is_empty() {
                "a token sums over many tokens before it, each weighed by this one, beside states or named values"
            } else if fixed {
                "a sum over the past ends at a token that follows no pattern"
            } else {
                "a sum over the past begins at a token that follows no pattern"
            };
            return Err(refuse(span, why));
        }
        let begin = |gather| if gather == Gather::Sum { 0.0 } else { f64::NEG_INFINITY };
        let init = begin(past.gather);
        let what = What::Sum(Box::new(past.clone()));
        let zero = self.b.fill(init, &vec![1; shape.len()]);
        let held = self.state(what.clone(), "sum_so_far", shape, init, Next::Value(zero));
        let before = if whole {
            held
        } else {
            let since = Int::op(IntOp::Sub, Int::T, past.low.clone());
            let since = self.number(since, shape.len());
            self.b.select(since, held, zero)
        };
        let (value, next) = if high == Some(0) {
            let term = self.term(past, &Int::T, args, span)?;
            let value = self.gathered(past.gather, before, term);
            (value, Next::Value(value))
        } else {
            (before, Next::Term(before, Box::new(past.clone())))
        };
        if let Some(extra) = self.extra.iter_mut().find(|extra| extra.what == what) {
            extra.next = next;
        }
        Ok(value)
    }

    fn gathered(&mut self, gather: Gather, a: Value, b: Value) -> Value {
        match gather {
            Gather::Sum => self.b.add(a, b),
            Gather::LogSumExp => self.b.binary(Binary::LogAddExp, a, b),
        }
    }

    /// A sum over a few tokens, term by term; those before the first token are left out.
    fn written_out(
        &mut self,
        past: &Past,
        back: std::ops::RangeInclusive<i64>,
        args: &[Value],
        span: Option<Span>,
    ) -> Result<Value, Refusal> {
        let mut sum: Option<Value> = None;
        for lag in back {
            let at = Int::op(IntOp::Sub, Int::T, Int::Const(lag));
            let mut term = self.term(past, &at, args, span)?;
            if lag > 0 {
                let rank = self.b.shape(term).len();
                let reached = Int::op(IntOp::Add, at, Int::Const(1));
                let reached = self.number(Int::op(IntOp::Max, reached, Int::Const(0)), rank);
                let nothing = if past.gather == Gather::Sum { 0.0 } else { f64::NEG_INFINITY };
                let nothing = self.b.fill(nothing, &vec![1; rank]);
                term = self.b.select(reached, term, nothing);
            }
            sum = Some(match sum {
                Some(sum) => self.gathered(past.gather, sum, term),
                None => term,
            });
        }
        sum.ok_or_else(|| refuse(span, "a sum over the past has no terms"))
    }

    /// One term of a sum, of the token at a position.
    fn term(
        &mut self,
        past: &Past,
        at: &Int,
        args: &[Value],
        span: Option<Span>,
    ) -> Result<Value, Refusal> {
        let term: Program = past.term.at_position(past.level, at);
        let mut new: Vec<Value> = Vec::with_capacity(term.nodes.len());
        for node in &term.nodes {
            let of: Vec<Value> = node.args.iter().map(|arg| new[arg.at()]).collect();
            let value = match &node.op {
                Op::Leaf(Leaf::Outer(k)) => args[*k],
                Op::Leaf(Leaf::Read(stream, at)) => match self.now(*stream, at) {
                    Some(value) => value,
                    None => self.read(*stream, at, &node.shape, span)?,
                },
                op => self.b.raw(op.clone(), of, node.shape.clone()),
            };
            new.push(value);
        }
        Ok(new[term.outputs[0].at()])
    }

    /// What this token itself computes of a stream.
    fn now(&self, stream: Stream, at: &Int) -> Option<Value> {
        let at = if *at == Int::T { self.result(stream)? } else { return None };
        self.new.get(at.at()).copied()
    }

    /// The node of a stream's value after the token.
    fn result(&self, stream: Stream) -> Option<Value> {
        match stream {
            Stream::State(k) => self.finals.get(k).copied(),
            Stream::Export(k) => self.finals.get(self.r.states.len() + k).copied(),
            Stream::Input(_) | Stream::Out(_) => None,
        }
    }

    fn finish(mut self) -> Result<Remembered, Refusal> {
        let declared = self.r.states.len();
        let kept = self.r.outs.len() + declared;
        let mut outputs: Vec<Value> =
            self.r.token.outputs[..kept].iter().map(|output| self.new[output.at()]).collect();
        // Terms may ask for more to be remembered.
        let mut at = 0;
        while at < self.extra.len() {
            let shape = self.extra[at].slot.shape.clone();
            let next = std::mem::replace(&mut self.extra[at].next, Next::Value(Value(0)));
            let value = match next {
                Next::Value(value) => value,
                Next::Term(before, past) => {
                    let term = self.term(&past, &Int::T, &[], None)?;
                    self.gathered(past.gather, before, term)
                }
                Next::Now(stream, since) => {
                    let why = "a value that nobody computes is to be remembered";
                    let now = self.result(stream).and_then(|value| self.new.get(value.at()));
                    let now = *now.ok_or_else(|| refuse(None, why))?;
                    match since {
                        None => now,
                        Some(since) => {
                            let before = Int::op(IntOp::Sub, Int::T, Int::Const(1));
                            let own = Leaf::Read(Stream::State(declared + at), before);
                            let held = self.b.leaf(own, &shape);
                            let since = self.number(since, shape.len());
                            self.b.select(since, held, now)
                        }
                    }
                }
            };
            outputs.push(self.b.expand(value, &shape));
            at += 1;
        }
        let mut init = Builder::extending(self.r.init.clone());
        let mut begins = self.r.init.outputs.clone();
        begins.extend(self.extra.iter().map(|extra| init.fill(extra.init, &extra.slot.shape)));
        let mut states = self.r.states.clone();
        states.extend(self.extra.into_iter().map(|extra| extra.slot));
        let recurrence = Recurrence {
            states,
            exports: vec![],
            token: self.b.finish(&outputs),
            init: init.finish(&begins),
            updates: vec![],
            derivations: vec![],
            ..self.r.clone()
        };
        Ok(Remembered { recurrence, declared })
    }
}
