//! A text that grows: what a model must remember of it to go on.
//!
//! Every node of the graph keeps what it needs and no more: a recurrence that looks back through
//! its states only keeps those, shifted rows keep as many rows as they are shifted by, and what
//! reads the past itself, such as attention, keeps its inputs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use lrc_compiler::form::attention::Attention;
use lrc_compiler::form::rows::Rows;
use lrc_compiler::form::{Form, FormKind, Operand, Problem};
use lrc_compiler::graph::{Kind, Model, Node, ParamId, Prepared, Recur, ValueId};
use lrc_compiler::tile::{Leaf, Program, Stream};
use petgraph::graph::NodeIndex;

use super::Walk;
use crate::ground::error::Failure;
use crate::ops::{dense, experts, longconv};

/// What a node keeps of the tokens so far.
enum Memory {
    /// The last rows of each input, as many as are read back.
    Rows(Vec<Vec<f32>>),
    /// The states after the last token, and the form for one token.
    States(Vec<Vec<f32>>, Box<Form>),
    /// All rows of each input, and the form for one token where there is one.
    Past(Vec<Vec<f32>>, Option<Box<Attention>>),
}

/// One sequence, fed in pieces of any length.
pub struct Session<'w> {
    here: Arc<Here<'w>>,
    tokens: usize,
    values: Vec<Vec<f32>>,
    memory: HashMap<usize, Memory>,
}

/// A model's parameters and its planned rows on the processor.
struct Here<'w> {
    prepared: &'w Prepared,
    params: Vec<Cow<'w, [f32]>>,
    rows: HashMap<usize, Rows>,
}

impl Walk {
    /// Begins a text, on the processor.
    pub fn session(&self) -> Result<Session<'_>, Failure> {
        let prepared = self.prepared();
        let graph = &prepared.model.graph;
        let read = |at: usize| self.parameters.backend.read(self.parameters.value(at));
        let params = (0..graph.params.len()).map(read).collect::<Result<_, _>>()?;
        let mut rows = HashMap::new();
        for (at, node) in graph.nodes.node_weights().enumerate().take(graph.forward) {
            if let Kind::Rows(program) = &node.kind {
                let once: Vec<bool> =
                    node.inputs.iter().map(|value| graph.value(*value).once).collect();
                rows.insert(at, Rows::new(program, &once, graph.value(node.outputs[0]).once));
            }
        }
        let values = vec![Vec::new(); graph.values.len()];
        let here = Arc::new(Here { prepared, params, rows });
        Ok(Session { here, tokens: 0, values, memory: HashMap::new() })
    }
}

impl Here<'_> {
    fn model(&self) -> &Model {
        &self.prepared.model
    }

    fn shape(&self, param: ParamId) -> [usize; 2] {
        let shape = &self.model().graph.params[param.0].shape;
        let n = shape.len();
        [shape[n - 1], shape[n - 2]]
    }

    fn once(&self, values: &[ValueId]) -> Vec<bool> {
        values.iter().map(|value| self.model().graph.value(*value).once).collect()
    }

    fn expert_sizes(&self, weight: ParamId, ids: ValueId, x: ValueId) -> experts::Sizes {
        let graph = &self.model().graph;
        let (slots, shape) = (graph.value(ids).width(), self.shape(weight));
        let experts = graph.params[weight.0].shape[0];
        experts::Sizes { experts, slots, shape, own: graph.value(x).width() != shape[0] }
    }

    fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let model = self.model();
        let mut logits = vec![0.0; hidden.len() / model.width * model.vocab];
        let head = &self.params[model.head.0];
        dense::forward(&mut logits, hidden, head, 1, [model.width, model.vocab]);
        logits
    }
}

/// How many rows back a pointwise program reads.
fn reach(program: &Program) -> usize {
    let lags = program.leaves().filter_map(|(_, leaf, _)| match leaf {
        Leaf::Read(Stream::Input(_), at) => at.lag(),
        _ => None,
    });
    lags.max().unwrap_or(0) as usize
}

impl Session<'_> {
    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Appends tokens. Gives the logits after the last of them; none for no tokens.
    pub fn feed(&mut self, tokens: &[u32]) -> Vec<f32> {
        if tokens.is_empty() {
            return Vec::new();
        }
        for at in 0..self.here.model().graph.forward {
            if !self.here.prepared.needed[at] {
                continue;
            }
            self.node(at, tokens);
        }
        self.tokens += tokens.len();
        let hidden = &self.values[self.here.model().hidden.0];
        let width = self.here.model().width;
        self.here.logits(&hidden[hidden.len() - width..])
    }

    fn node(&mut self, at: usize, tokens: &[u32]) {
        let here = Arc::clone(&self.here);
        let executor = &*here;
        let node = &executor.model().graph.nodes[NodeIndex::new(at)];
        let made: Vec<Vec<f32>> = match &node.kind {
            Kind::Embed => {
                let (width, table) = (executor.model().width, &executor.params[node.params[0].0]);
                let row = |token: &u32| &table[*token as usize * width..][..width];
                let rows = tokens.iter().flat_map(row).copied().collect();
                vec![rows]
            }
            Kind::Dense { groups } => {
                let shape = executor.shape(node.params[0]);
                let x = &self.values[node.inputs[0].0];
                let mut y = vec![0.0; x.len() / shape[0] * shape[1]];
                dense::forward(&mut y, x, &executor.params[node.params[0].0], *groups, shape);
                vec![y]
            }
            Kind::Rows(program) => vec![self.rows(at, node, program, tokens.len())],
            Kind::Recur(recur) => self.recur(at, node, recur, tokens.len()),
            Kind::Route { slots } => {
                let w = &self.values[node.inputs[0].0];
                let experts = executor.model().graph.value(node.inputs[0]).width();
                let mut ids = vec![0.0; tokens.len() * slots];
                let mut kept = ids.clone();
                experts::route(w, experts, *slots, &mut ids, &mut kept);
                vec![ids, kept]
            }
            Kind::LongConv => {
                let new = node.inputs.iter().map(|value| self.values[value.0].clone());
                let rows = match self.memory.remove(&at) {
                    Some(Memory::Past(mut rows, _)) => {
                        rows.iter_mut().zip(new).for_each(|(rows, new)| rows.extend(new));
                        rows
                    }
                    _ => new.collect(),
                };
                let width = executor.model().graph.value(node.outputs[0]).width();
                let mut y = vec![0.0; tokens.len() * width];
                if self.tokens == 0 {
                    longconv::forward(&mut y, &rows[0], &rows[1], &[0, tokens.len()], width);
                } else {
                    longconv::last(&mut y, &rows[0], &rows[1], width);
                }
                self.memory.insert(at, Memory::Past(rows, None));
                vec![y]
            }
            Kind::Expert => {
                let (x, ids) = (node.inputs[0], node.inputs[1]);
                let sizes = executor.expert_sizes(node.params[0], ids, x);
                let (x, ids) = (&self.values[x.0], &self.values[ids.0]);
                let mut y = vec![0.0; ids.len() * sizes.shape[1]];
                experts::forward(&mut y, x, &executor.params[node.params[0].0], ids, sizes);
                vec![y]
            }
            _ => unreachable!("what the hidden state needs has no other nodes"),
        };
        for (value, data) in node.outputs.iter().zip(made) {
            self.values[value.0] = data;
        }
    }

    /// Runs a pointwise node on the rows it keeps and the new ones.
    fn rows(&mut self, at: usize, node: &Node, program: &Program, count: usize) -> Vec<f32> {
        let here = Arc::clone(&self.here);
        let executor = &*here;
        let info = executor.model().graph.value(node.outputs[0]);
        if info.once && self.tokens > 0 {
            return std::mem::take(&mut self.values[node.outputs[0].0]);
        }
        let once = executor.once(&node.inputs);
        let back = reach(program);
        let kept = match self.memory.remove(&at) {
            Some(Memory::Rows(rows)) => rows,
            _ => vec![Vec::new(); node.inputs.len()],
        };
        let joined: Vec<Vec<f32>> = node
            .inputs
            .iter()
            .zip(kept)
            .zip(&once)
            .map(|((value, kept), once)| {
                let new = &self.values[value.0];
                if *once { new.clone() } else { [kept.as_slice(), new].concat() }
            })
            .collect();
        let before = back.min(self.tokens);
        // Rows from before count from 0, so that they read nothing before themselves; what they
        // give is not used.
        let positions: Vec<u32> =
            (0..before).chain(self.tokens..self.tokens + count).map(|p| p as u32).collect();
        let rows = if info.once { 1 } else { before + count };
        let input = lrc_compiler::form::rows::RowsInput {
            inputs: joined.iter().map(Vec::as_slice).collect(),
            once: &once,
            params: node.params.iter().map(|p| &*executor.params[p.0]).collect(),
            positions: &positions,
            rows,
        };
        let width = info.width();
        let mut made = vec![0.0; rows * width];
        executor.rows[&at].forward(&input, &mut made);
        if back > 0 {
            let keep = back.min(self.tokens + count);
            let last = joined.iter().zip(&node.inputs).zip(&once).map(|((rows, value), once)| {
                let width = executor.model().graph.value(*value).width();
                if *once { Vec::new() } else { rows[rows.len() - keep * width..].to_vec() }
            });
            self.memory.insert(at, Memory::Rows(last.collect()));
        }
        if info.once { made } else { made.split_off(before * width) }
    }

    fn recur(&mut self, at: usize, node: &Node, recur: &Recur, count: usize) -> Vec<Vec<f32>> {
        let inputs = recur.recurrence.inputs.len();
        let new: Vec<Vec<f32>> =
            node.inputs[..inputs].iter().map(|value| self.values[value.0].clone()).collect();
        match self.memory.remove(&at) {
            Some(Memory::Past(mut rows, single)) => {
                rows.iter_mut().zip(new).for_each(|(rows, new)| rows.extend(new));
                self.past(at, node, recur, rows, single, count)
            }
            None if !recur.recurrence.is_local() => {
                let single = Attention::single(&recur.recurrence).ok().map(Box::new);
                self.past(at, node, recur, new, single, count)
            }
            Some(Memory::States(states, step)) => {
                let kind = if count == 1 { Some(step) } else { None };
                self.states(at, node, recur, &new, Some(states), kind, count)
            }
            _ => self.states(at, node, recur, &new, None, None, count),
        }
    }

    fn operands<'a>(&'a self, node: &Node, recur: &Recur) -> Vec<Operand<'a, f32>> {
        let params = &node.inputs[recur.recurrence.inputs.len()..];
        let operand = |(value, heads): (&ValueId, &usize)| Operand {
            data: self.values[value.0].as_slice(),
            heads: *heads,
        };
        params.iter().zip(&recur.param_heads).map(operand).collect()
    }

    fn states(
        &mut self,
        at: usize,
        node: &Node,
        recur: &Recur,
        new: &[Vec<f32>],
        states: Option<Vec<Vec<f32>>>,
        step: Option<Box<Form>>,
        count: usize,
    ) -> Vec<Vec<f32>> {
        let initial = match &states {
            Some(states) => states.iter().map(|state| Some(state.as_slice())).collect(),
            None => vec![None; recur.recurrence.states.len()],
        };
        let problem = Problem {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            sum: recur.sum,
            bounds: vec![0, count],
            inputs: operands_of(new, &recur.input_heads),
            params: self.operands(node, recur),
            initial,
        };
        let form = |kind| {
            Box::new(Form::new(&problem, kind, None).expect("auto and step fit every recurrence"))
        };
        let step = step.unwrap_or_else(|| form(FormKind::Recurrent));
        let outputs = match count {
            1 => step.forward(&problem, false).0,
            _ => form(FormKind::Auto).forward(&problem, false).0,
        };
        drop(problem);
        self.memory.insert(at, Memory::States(outputs.finals, step));
        outputs.outs
    }

    fn past(
        &mut self,
        at: usize,
        node: &Node,
        recur: &Recur,
        rows: Vec<Vec<f32>>,
        single: Option<Box<Attention>>,
        count: usize,
    ) -> Vec<Vec<f32>> {
        let total = self.tokens + count;
        let problem = Problem {
            recurrence: &recur.recurrence,
            heads: recur.heads,
            sum: recur.sum,
            bounds: vec![0, total],
            inputs: operands_of(&rows, &recur.input_heads),
            params: self.operands(node, recur),
            initial: vec![None; recur.recurrence.states.len()],
        };
        let outputs = match &single {
            Some(form) if count == 1 => form.forward_from(&problem, self.tokens),
            _ => {
                let form = Form::new(&problem, FormKind::Auto, None);
                form.expect("auto fits every recurrence").forward(&problem, false).0
            }
        };
        drop(problem);
        self.memory.insert(at, Memory::Past(rows, single));
        let last = |mut out: Vec<f32>| {
            let width = out.len() / total;
            out.split_off(self.tokens * width)
        };
        outputs.outs.into_iter().map(last).collect()
    }
}

fn operands_of<'a>(rows: &'a [Vec<f32>], heads: &[usize]) -> Vec<Operand<'a, f32>> {
    rows.iter().zip(heads).map(|(data, heads)| Operand { data, heads: *heads }).collect()
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
        let mut session = walk.session().unwrap();
        let mut from = 0;
        for (count, want) in [1, 2, 70, 1, 3, 1, 1, 1, 1, 9].into_iter().zip(wanted) {
            let logits = session.feed(&tokens[from..from + count]);
            from += count;
            let gap = logits.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-4, "after {from} tokens: {gap}");
        }
        assert_eq!(session.tokens(), 90);
        assert!(session.feed(&[]).is_empty());
    }
}
