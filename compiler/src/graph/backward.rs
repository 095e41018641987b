//! The backward pass as nodes of the same graph.
//!
//! Each forward node, from the last to the first, gets the nodes that turn the gradients of its
//! outputs into those of its inputs and parameters. Gradients that meet are added. A pointwise node
//! whose gradient by an input is the incoming gradient itself (a residual branch) needs no node.
//! What no parameter that is trained stands behind has no gradient.

use std::collections::{HashMap, HashSet};

use petgraph::graph::NodeIndex;

use super::{Graph, Kind, Model, Node, ParamId, ValueId};
use crate::form::rows::RowsGrad;
use crate::grad::gradient;
use crate::tile::{Builder, Leaf, Op, Program, Stream, Value};

/// Appends the backward pass. Gives the value that holds the gradient of the model's hidden state:
/// the loss fills it. Parameters that are `frozen` get no gradient; none are where nothing is said.
pub fn differentiate(model: &mut Model, frozen: &[bool]) -> ValueId {
    let hidden = model.graph.value(model.hidden).shape.clone();
    let trained = Trained::of(&model.graph, frozen);
    let seed = Node {
        kind: Kind::Loss,
        label: "loss".into(),
        inputs: vec![model.hidden],
        params: vec![model.head],
        outputs: vec![],
        gives: trained.of_params(&[model.head]),
    };
    let d_hidden = model.graph.add(seed, &[(hidden, false)])[0];
    let losses = model.losses.clone();
    let one = (!losses.is_empty()).then(|| {
        let mut b = Builder::new();
        let one = b.fill(1.0, &[]);
        let node = Node::plain(Kind::Rows(Box::new(b.finish(&[one]))), "one", vec![]);
        model.graph.add(node, &[(vec![], true)])[0]
    });
    let mut reverse = Reverse { model, trained, pending: HashMap::new(), held: HashSet::new() };
    for (loss, one) in losses.into_iter().zip(one.into_iter().cycle()) {
        reverse.give(loss, one);
    }
    reverse.give(reverse.model.hidden, d_hidden);
    for at in (0..reverse.model.graph.forward).rev() {
        reverse.node(NodeIndex::new(at));
    }
    d_hidden
}

/// What training changes.
struct Trained {
    /// Parameters.
    params: Vec<bool>,
    /// Values that depend on one of them.
    values: HashSet<ValueId>,
}

impl Trained {
    /// Of a forward graph.
    fn of(graph: &Graph, frozen: &[bool]) -> Trained {
        let all = 0..graph.params.len();
        let params = all.map(|at| !frozen.get(at).copied().unwrap_or(false)).collect();
        let mut trained = Trained { params, values: HashSet::new() };
        for node in graph.nodes.node_weights() {
            let reads = node.inputs.iter().any(|input| trained.values.contains(input));
            if reads || !trained.of_params(&node.params).is_empty() {
                trained.values.extend(&node.outputs);
            }
        }
        trained
    }

    /// Those of some parameters that are trained.
    fn of_params(&self, params: &[ParamId]) -> Vec<ParamId> {
        params.iter().copied().filter(|param| self.params[param.0]).collect()
    }
}

struct Reverse<'m> {
    model: &'m mut Model,
    trained: Trained,
    pending: HashMap<ValueId, Vec<ValueId>>,
    /// Gradients of which it is known how they are held.
    held: HashSet<ValueId>,
}

impl Reverse<'_> {
    /// Something that flows into a value, held as the first that it flows into.
    fn give(&mut self, value: ValueId, d: ValueId) {
        if !self.trained.values.contains(&value) {
            return;
        }
        if self.held.insert(d) {
            let values = &mut self.model.graph.values;
            values[d.0].number = values[value.0].number;
        }
        self.pending.entry(value).or_default().push(d);
    }

    /// The whole gradient of a value, if anything flows into it.
    fn take(&mut self, value: ValueId) -> Option<ValueId> {
        let parts = self.pending.remove(&value)?;
        let info = self.model.graph.value(value);
        let number = info.number;
        if let [only] = parts[..]
            && self.model.graph.value(only).number == number
        {
            return Some(only);
        }
        let shape = (info.shape.clone(), info.once);
        let node = Node::plain(Kind::Sum, "sum of gradients", parts);
        let sum = self.model.graph.add(node, &[shape])[0];
        self.model.graph.values[sum.0].number = number;
        self.held.insert(sum);
        Some(sum)
    }

    fn shapes(&self, values: &[ValueId]) -> Vec<(Vec<usize>, bool)> {
        let info = |value: &ValueId| self.model.graph.value(*value);
        values.iter().map(|v| (info(v).shape.clone(), info(v).once)).collect()
    }

    fn node(&mut self, index: NodeIndex) {
        let node = self.model.graph.nodes[index].clone();
        let cotangents: Vec<Option<ValueId>> =
            node.outputs.iter().map(|output| self.take(*output)).collect();
        if cotangents.iter().all(Option::is_none) {
            return;
        }
        match &node.kind {
            Kind::Embed | Kind::Place => {
                let inputs = cotangents.into_iter().flatten().collect();
                let by_token = matches!(node.kind, Kind::Embed);
                let kind = if by_token { Kind::EmbedGrad } else { Kind::PlaceGrad };
                self.of_params(Node::plain(kind, node.label.as_str(), inputs), &node.params);
            }
            Kind::Dense { groups } => self.dense(&node, *groups, cotangents[0]),
            Kind::Rows(program) => self.rows(&node, program, &cotangents),
            Kind::Recur(_) => self.recurrence(index, &node, cotangents),
            Kind::Route { .. } => {
                let Some(dw) = cotangents[1] else { return };
                let inputs = vec![node.outputs[0], dw];
                self.one(Node::plain(Kind::RouteGrad, node.label.as_str(), inputs), node.inputs[0]);
            }
            Kind::Expert => self.expert(&node, cotangents[0]),
            Kind::LongConv => self.long_conv(&node, cotangents[0]),
            Kind::Drop { .. } => {
                let inputs = cotangents.into_iter().flatten().collect();
                let kind = node.kind.clone();
                self.one(Node::plain(kind, node.label.as_str(), inputs), node.inputs[0]);
            }
            Kind::Average => {
                let inputs = cotangents.into_iter().flatten().collect();
                self.one(
                    Node::plain(Kind::AverageGrad, node.label.as_str(), inputs),
                    node.inputs[0],
                );
            }
            _ => unreachable!("only forward nodes are differentiated"),
        }
    }

    fn recurrence(&mut self, of: NodeIndex, node: &Node, cotangents: Vec<Option<ValueId>>) {
        let outs = cotangents.iter().map(Option::is_some).collect();
        let inputs: Vec<ValueId> =
            node.inputs.iter().copied().chain(cotangents.into_iter().flatten()).collect();
        let grad = Node::plain(Kind::RecurGrad { of, outs }, node.label.as_str(), inputs);
        let shapes = self.shapes(&node.inputs);
        let made = self.model.graph.add(grad, &shapes);
        for (input, d) in node.inputs.iter().zip(made) {
            self.give(*input, d);
        }
    }

    fn expert(&mut self, node: &Node, dy: Option<ValueId>) {
        let Some(dy) = dy else { return };
        let (x, ids) = (node.inputs[0], node.inputs[1]);
        let weight = Node::plain(Kind::ExpertGradWeight, node.label.as_str(), vec![x, dy, ids]);
        self.of_params(weight, &node.params);
        let mut input = Node::plain(Kind::ExpertGradInput, node.label.as_str(), vec![dy, ids]);
        input.params.clone_from(&node.params);
        self.one(input, x);
    }

    fn long_conv(&mut self, node: &Node, dy: Option<ValueId>) {
        let Some(dy) = dy else { return };
        let (x, h) = (node.inputs[0], node.inputs[1]);
        let shapes = self.shapes(&[x, h]);
        let grad = Node::plain(Kind::LongConvGrad, node.label.as_str(), vec![x, h, dy]);
        let made = self.model.graph.add(grad, &shapes);
        self.give(x, made[0]);
        self.give(h, made[1]);
    }

    /// Adds a node that makes the gradient of parameters, where they have one.
    fn of_params(&mut self, node: Node, params: &[ParamId]) {
        let gives = self.trained.of_params(params);
        if !gives.is_empty() {
            self.model.graph.add(Node { gives, ..node }, &[]);
        }
    }

    /// Adds a node that makes the gradient of one value, where it has one.
    fn one(&mut self, node: Node, of: ValueId) {
        if !self.trained.values.contains(&of) {
            return;
        }
        let shapes = self.shapes(&[of]);
        let made = self.model.graph.add(node, &shapes);
        self.give(of, made[0]);
    }

    fn dense(&mut self, node: &Node, groups: usize, dy: Option<ValueId>) {
        let Some(dy) = dy else { return };
        let weight = Node::plain(
            Kind::DenseGradWeight { groups },
            node.label.as_str(),
            vec![node.inputs[0], dy],
        );
        self.of_params(weight, &node.params);
        let mut input = Node::plain(Kind::DenseGradInput { groups }, node.label.as_str(), vec![dy]);
        input.params.clone_from(&node.params);
        self.one(input, node.inputs[0]);
    }

    fn rows(&mut self, node: &Node, program: &Program, cotangents: &[Option<ValueId>]) {
        let Some(dy) = cotangents[0] else { return };
        let reach = reaches(program);
        let mut wanted = Vec::new();
        for (slot, input) in node.inputs.iter().enumerate() {
            match reach.inputs.get(&slot) {
                Some(Reach::Same)
                    if self.model.graph.value(*input).once == self.model.graph.value(dy).once =>
                {
                    self.give(*input, dy);
                }
                Some(_) if self.trained.values.contains(input) => wanted.push(slot),
                _ => {}
            }
        }
        let mut params: Vec<usize> = reach.params.clone();
        params.retain(|slot| self.trained.params[node.params[*slot].0]);
        params.sort_unstable();
        if wanted.is_empty() && params.is_empty() {
            return;
        }
        let targets: Vec<ValueId> = wanted.iter().map(|slot| node.inputs[*slot]).collect();
        let shapes = self.shapes(&targets);
        let gives: Vec<ParamId> = params.iter().map(|slot| node.params[*slot]).collect();
        let grad = RowsGrad { program: program.clone(), inputs: node.inputs.len(), wanted, params };
        let inputs = node.inputs.iter().copied().chain([dy]).collect();
        let mut made = Node::plain(Kind::RowsGrad(Box::new(grad)), node.label.as_str(), inputs);
        made.params.clone_from(&node.params);
        made.gives = gives;
        let made = self.model.graph.add(made, &shapes);
        for (input, d) in targets.into_iter().zip(made) {
            self.give(input, d);
        }
    }
}

/// How the gradient of a pointwise program reaches an input.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    /// It is the gradient of the output itself.
    Same,
    /// It has to be computed.
    Computed,
}

struct Reaches {
    inputs: HashMap<usize, Reach>,
    params: Vec<usize>,
}

fn reaches(program: &Program) -> Reaches {
    let mut b = Builder::extending(program.clone());
    let output = program.outputs[0];
    let shape = b.shape(output).to_vec();
    let seed = b.leaf(Leaf::Cotangent(Stream::Out(0)), &shape);
    let leaves: Vec<(Value, Leaf)> =
        program.leaves().map(|(value, leaf, _)| (value, leaf.clone())).collect();
    let wrt: Vec<Value> = leaves.iter().map(|(value, _)| *value).collect();
    let found = gradient(&mut b, &[(output, seed)], &wrt);
    let mut reaches = Reaches { inputs: HashMap::new(), params: Vec::new() };
    for ((_, leaf), d) in leaves.iter().zip(found.values) {
        let Some(d) = d else { continue };
        match leaf {
            Leaf::Param(slot) if !reaches.params.contains(slot) => reaches.params.push(*slot),
            Leaf::Read(Stream::Input(slot), at) => {
                let mut root = d;
                while b.node(root).op == Op::Reshape {
                    root = b.node(root).args[0];
                }
                let same =
                    root == seed && at.lag() == Some(0) && !reaches.inputs.contains_key(slot);
                let reach = if same { Reach::Same } else { Reach::Computed };
                reaches.inputs.insert(*slot, reach);
            }
            _ => {}
        }
    }
    reaches
}
