//! Values at positions: what a token may read of itself and of the tokens before it.
//!
//! Every position must be seen to lie in the past at every token ([`Int::beyond`]). One that may be
//! this token's own (`t - t mod 4`) names a value that is not stored yet: it is the one at hand.

use lrc_dsl::ast::Expr;
use lrc_dsl::{Diag, Span, print};

use super::eval::{Binding, Elaborator};
use super::value::{List, Tensor, Val};
use crate::tile::{Bounds, Int, IntOp, Leaf, Stream, Value};

/// Tokens that are tried for an example of a position that is wrong.
const EXAMPLES: i64 = 256;

/// A position in the text.
#[derive(Clone, Copy)]
pub(super) struct At<'e> {
    /// As it is written.
    pub text: &'e Expr,
    /// The name and its position.
    pub span: Span,
}

impl Elaborator<'_> {
    /// `name[position]`.
    pub(super) fn token(&mut self, name: &str, base: Span, int: Int, at: At) -> Option<Val> {
        self.used.insert(name.to_string());
        let binding = self.lookup(name).cloned();
        if binding.is_none() {
            self.free_name(name, base)?;
            return self.no_tokens(name, at);
        }
        let beyond = self.beyond(&int, at)?;
        match binding {
            Some(Binding::Input(i)) => {
                Some(self.read(Stream::Input(i), self.inputs[i].dims.clone(), int))
            }
            Some(Binding::State(i)) => self.state(i, name, int, beyond, at),
            Some(Binding::ComplexState(i)) => {
                let re = self.state(i, name, int.clone(), beyond, at)?;
                match (re, self.state(i + 1, name, int, beyond, at)?) {
                    (Val::Tensor(re), Val::Tensor(im)) => Some(Val::Complex(Box::new([re, im]))),
                    _ => None,
                }
            }
            Some(Binding::Equation(_, Val::List(list))) => self.list_entry(*list, &int, at),
            Some(Binding::Equation(..) | Binding::Value(_)) if int == Int::T => {
                self.name(name, base)
            }
            Some(Binding::Equation(_, Val::Tensor(tensor))) => {
                Some(Val::Tensor(self.export(name, tensor, int, beyond)))
            }
            Some(Binding::Equation(_, Val::Complex(parts))) => {
                let [re, im] = *parts;
                let re = self.export(&format!("{name}_re"), re, int.clone(), beyond);
                let im = self.export(&format!("{name}_im"), im, int, beyond);
                Some(Val::Complex(Box::new([re, im])))
            }
            Some(Binding::Known(_) | Binding::Param(_) | Binding::Equation(_, Val::Number(_))) => {
                let diag =
                    Diag::error("E0206", at.span, format!("`{name}` is the same for all tokens"));
                self.fail(diag.help("leave the position out"))
            }
            Some(Binding::Broken) => None,
            _ => self.no_tokens(name, at),
        }
    }

    fn no_tokens(&mut self, name: &str, at: At) -> Option<Val> {
        let message = format!("`{name}` has no value at other tokens");
        let diag = Diag::error("E0206", at.span, message);
        self.fail(match name {
            "t" => {
                diag.help(format!("a position as a number is written `{}`", print::expr(at.text)))
            }
            _ => diag.help("only inputs, states and named tensors can be read at a position"),
        })
    }

    /// How far a position lies beyond this token at most; an error if that is in the future.
    fn beyond(&mut self, int: &Int, at: At) -> Option<i64> {
        let beyond = int.beyond(self.bounds.as_ref());
        if let Some(beyond) = beyond
            && beyond <= 0
        {
            return Some(beyond);
        }
        self.future(int, at.text, at.text.span)
    }

    /// Refuses a position that is in the future at some tokens.
    pub(super) fn future<T>(&mut self, int: &Int, text: &Expr, span: Span) -> Option<T> {
        let text = print::expr(text);
        let ahead = self.example(|t, bound| int.eval(t, bound) > t);
        let diag = match ahead {
            Some((t, bound)) => {
                let label = format!("at token {t} it is token {}", int.eval(t, &[bound]));
                Diag::error("E0214", span, format!("`{text}` lies in the future")).label(label)
            }
            None => Diag::error("E0214", span, format!("`{text}` may lie in the future")),
        };
        self.fail(diag.help("a token can read itself and what came before it"))
    }

    /// A token and a position of the sum at hand where something holds.
    fn example(&self, holds: impl Fn(i64, &[i64]) -> bool) -> Option<(i64, i64)> {
        (0..EXAMPLES).find_map(|t| {
            let (low, high) = match &self.bounds {
                None => (0, 0),
                Some(Bounds { low, high }) => (low.eval(t, &[]).max(0), high.eval(t, &[]).min(t)),
            };
            [high, low].into_iter().find(|u| low <= high && holds(t, &[*u])).map(|u| (t, u))
        })
    }

    /// A state at a position; at the token itself it must have been set.
    fn state(&mut self, i: usize, name: &str, int: Int, beyond: i64, at: At) -> Option<Val> {
        let dims = self.states[i].0.dims.clone();
        let now = self.states[i].1;
        if beyond < 0 {
            return Some(self.read(Stream::State(i), dims, int));
        }
        let Some(now) = now else {
            let text = print::expr(at.text);
            let same = self.example(|t, bound| int.eval(t, bound) == t).filter(|_| int != Int::T);
            let message = format!("`{name}[{text}]` is used before its equation");
            let mut diag = Diag::error("E0207", at.span, message);
            if let Some((t, _)) = same {
                diag = diag.label(format!("at token {t} it is that token's own, not set yet"));
            }
            let help = format!("write `{name}[t-1]`, or move this line below `{name}[t] = …`");
            return self.fail(diag.help(help));
        };
        let value = self.at_or_now(Stream::State(i), int, now);
        Some(self.tensor(value, dims))
    }

    /// A named value at a position.
    fn export(&mut self, name: &str, tensor: Tensor, int: Int, beyond: i64) -> Tensor {
        let known = |(called, value): &(String, Value)| called == name && *value == tensor.value;
        let export = match self.exports.iter().position(known) {
            Some(export) => export,
            None => {
                self.exports.push((name.to_string(), tensor.value));
                self.exports.len() - 1
            }
        };
        let stream = Stream::Export(export);
        let value = if beyond < 0 {
            let shape = self.b.shape(tensor.value).to_vec();
            self.b.leaf(Leaf::Read(stream, int), &shape)
        } else {
            self.at_or_now(stream, int, tensor.value)
        };
        Tensor { value, ..tensor }
    }

    /// What this token computes, at a position that may be its own.
    fn at_or_now(&mut self, stream: Stream, int: Int, now: Value) -> Value {
        if int == Int::T {
            return now;
        }
        let shape = self.b.shape(now).to_vec();
        let stored = self.b.leaf(Leaf::Read(stream, int.clone()), &shape);
        // The recurrent form takes the current token out of a sum that ends with it.
        let last = self.bounds.as_ref().is_some_and(|bounds| bounds.high == Int::T);
        if last && int == Int::Bound(0) {
            if let Stream::State(state) = stream {
                self.gathered.insert(state);
            }
            return stored;
        }
        let since = self.b.leaf(Leaf::Number(Int::op(IntOp::Sub, Int::T, int)), &[]);
        let since = self.b.reshape(since, &vec![1; shape.len()]);
        self.b.select(since, stored, now)
    }

    fn list_entry(&mut self, list: List, int: &Int, at: At) -> Option<Val> {
        let message = match &self.bounds {
            Some(bounds) if *int == Int::Bound(0) => {
                if bounds.inside(&list.bounds) {
                    return Some(Val::Tensor(list.body));
                }
                "the sum runs beyond the range of this list over the past"
            }
            _ => "a list over the past is read at the bound position only",
        };
        let help = "write it inside `sum(… for …)` over the same range";
        self.fail(Diag::error("E0206", at.span, message).help(help))
    }
}
