//! A text that grows token by token or piece by piece: the walk over the model's graph, once for every
//! piece, with what the nodes remember of those before.

use super::Walk;
use super::text::Text;
use crate::ground::error::Failure;
use crate::ops::batch::Batch;
use crate::ops::loss::NONE;

/// One sequence, fed in pieces of any length.
pub struct Session<'w> {
    walk: &'w mut Walk,
    text: Text,
}

impl Walk {
    /// Begins a text.
    pub fn session(&mut self) -> Session<'_> {
        Session { walk: self, text: Text::default() }
    }
}

impl Session<'_> {
    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.text.tokens
    }

    /// Appends tokens. Gives the logits after the last of them; none for no tokens.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Failure> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::default();
        batch.push(tokens, &vec![NONE; tokens.len()]);
        self.walk.extend(&batch, &mut self.text)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        for tensor in std::mem::take(&mut self.text).tensors() {
            self.walk.parameters.backend.free(tensor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::library::LIBRARY;
    use crate::model::fresh;
    use crate::ops::batch::Batch;
    use crate::ops::loss::NONE;
    use lrc_dsl::{Sources, load_text};

    /// A model with a node of every kind of memory.
    const KINDS: &str = r#"
        use "mixers/attention.arch"
        use "mixers/gated_deltanet.arch"
        use "mixers/hyena.arch"
        use "mixers/moe.arch"
        use "mixers/rwkv6_time.arch"
        use "mixers/swiglu.arch"
        mixer placed() { p : [width] = positions(90)
            out y = linear(x .* p) }
        recurrence decaying { in x : [d]
            state s : [d]
            s[t] = s[t-1] * t / (t + 1) + x
            out y = s[t] + x[t-2] }
        mixer slow(d = 8) { v : [1, d] = linear(x)
            o = decaying(v)
            out y = linear(o) }
        model m(width = 32) { vocab 16
            residual x + f(rmsnorm(x))
            gated_deltanet(heads = 2, dk = 16, dv = 16)
            attention(heads = 2, window = 5)
            attention(heads = 2)
            rwkv6_time(heads = 2)
            slow()
            placed()
            hyena(filter = 16, span = 64)
            moe(experts = 4, hidden = 24)
            swiglu(hidden = 48)
            head rmsnorm(x), untied }
    "#;

    /// Fed in pieces, token by token at last, a text gives the logits it gives as a whole.
    #[test]
    fn pieces_give_what_the_whole_gives() {
        let mut sources = Sources::default();
        let (namespace, mut diags) = load_text("m", KINDS.into(), None, LIBRARY, &mut sources);
        let built = lrc_compiler::graph::build(
            &namespace,
            &namespace.decls["m"],
            &Default::default(),
            &mut diags,
        );
        let model = built.unwrap_or_else(|| panic!("{}", lrc_dsl::render(&sources, &diags, false)));
        let params = fresh(&model.graph.params, 3);
        let width = model.width;
        let mut walk = Walk::new(model, &params).unwrap();
        let tokens: Vec<u32> = (0..90).map(|i| (i * i + i / 3) % 16).collect();
        let mut batch = Batch::default();
        batch.push(&tokens, &vec![NONE; tokens.len()]);
        let hidden = walk.hidden(&batch).unwrap();
        let logits_of = |walk: &mut Walk, hidden: &[f32]| walk.logits(hidden).unwrap();
        let ends: Vec<usize> = [1, 2, 70, 1, 3, 1, 1, 1, 1, 9]
            .iter()
            .scan(0, |from, count| {
                *from += count;
                Some(*from)
            })
            .collect();
        let wanted: Vec<Vec<f32>> = ends
            .iter()
            .map(|end| logits_of(&mut walk, &hidden[(end - 1) * width..end * width]))
            .collect();
        let mut session = walk.session();
        let mut from = 0;
        for (count, want) in [1, 2, 70, 1, 3, 1, 1, 1, 1, 9].into_iter().zip(wanted) {
            let logits = session.feed(&tokens[from..from + count]).unwrap();
            from += count;
            let gap = logits.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-4, "after {from} tokens: {gap}");
        }
        assert_eq!(session.tokens(), 90);
        let beyond = session.feed(&[3]).map(|_| ()).unwrap_err().to_string();
        assert!(
            beyond.contains("a sequence has 91 tokens or more") && beyond.contains("90 positions"),
            "{beyond}"
        );
        assert!(session.feed(&[]).unwrap().is_empty());
    }
}
