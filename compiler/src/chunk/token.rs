//! The program of one token as that of a chunk of one, for recurrences without a normal form.

use super::Chunk;
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::tile::lift::{Over, lift};
use crate::tile::{Builder, Leaf, Op, Program, Stream};

/// The chunk of one token, where a token reads of its states only the values before it.
pub fn of_token(r: &Recurrence) -> Result<Chunk, Refusal> {
    if let Some((span, why)) = wider_reads(&r.token) {
        return Err(Refusal { span, why: why.into() });
    }
    let mut b = Builder::new();
    let new = lift(&mut b, &r.token, Over::Tokens, 1, &mut |b, leaf, shape| {
        let front = [&[1], shape].concat();
        match leaf {
            Leaf::Read(Stream::State(k), _) => {
                let carry = b.leaf(Leaf::Carry(*k), shape);
                b.reshape(carry, &front)
            }
            other => b.leaf(other.clone(), &front),
        }
    })
    .map_err(|stuck| Refusal { span: r.token.node(stuck.at).span, why: stuck.why.into() })?;
    let mut outputs = Vec::new();
    for (k, output) in r.token.outputs.iter().take(r.outs.len() + r.states.len()).enumerate() {
        let full = [&[1], r.token.shape(*output)].concat();
        let value = b.expand(new[output.at()], &full);
        let state = k >= r.outs.len();
        outputs.push(if state { b.reshape(value, &full[1..]) } else { value });
    }
    Ok(Chunk { tokens: 1, program: b.finish(&outputs) })
}

/// What a token reads beside its inputs and the states before it.
pub(super) fn wider_reads(token: &Program) -> Option<(Option<lrc_dsl::Span>, &'static str)> {
    token.nodes.iter().find_map(|node| {
        let why = match &node.op {
            Op::Past(_) => "a token sums over tokens before it beside its states",
            Op::Leaf(Leaf::Read(Stream::State(_), at)) if at.lag() != Some(1) => {
                "a token reads a state of another token than the one before it"
            }
            Op::Leaf(Leaf::Read(Stream::Export(_), _)) => "a token reads a value of another token",
            _ => return None,
        };
        Some((node.span, why))
    })
}
