//! Nodes that see more than a row and are no recurrence: mixtures of experts, what they average over
//! the batch, and long convolutions.

use lrc_compiler::graph::buffers::Buffers;
use lrc_compiler::graph::{Kind, Node, ParamId, ValueId};

use super::Executor;
use crate::ops::batch::Batch;
use crate::ops::{experts, longconv};

impl Executor {
    /// Runs such a node.
    pub(super) fn across_rows(
        &mut self,
        node: &Node,
        batch: &Batch,
        buffers: &Buffers,
        outputs: &mut [Vec<f32>],
    ) {
        match &node.kind {
            Kind::Route { slots } => {
                let w = self.value(buffers, node.inputs[0]);
                let experts = self.model.graph.value(node.inputs[0]).width();
                let [ids, kept] = &mut outputs[..] else { unreachable!("numbers and weights") };
                experts::route(w, experts, *slots, ids, kept);
            }
            Kind::RouteGrad => {
                let (ids, d) = (node.inputs[0], node.inputs[1]);
                let slots = self.model.graph.value(ids).width();
                let experts = self.model.graph.value(node.outputs[0]).width();
                let (ids, d) = (self.value(buffers, ids), self.value(buffers, d));
                experts::route_grad(ids, d, experts, slots, &mut outputs[0]);
            }
            Kind::Expert => {
                let sizes = self.expert_sizes(node.params[0], node.inputs[1], node.inputs[0]);
                let x = self.value(buffers, node.inputs[0]);
                let ids = self.value(buffers, node.inputs[1]);
                experts::forward(&mut outputs[0], x, &self.params[node.params[0].0], ids, sizes);
            }
            Kind::ExpertGradInput => {
                let sizes = self.expert_sizes(node.params[0], node.inputs[1], node.outputs[0]);
                let dy = self.value(buffers, node.inputs[0]);
                let ids = self.value(buffers, node.inputs[1]);
                let w = &self.params[node.params[0].0];
                experts::grad_input(&mut outputs[0], dy, w, ids, sizes);
            }
            Kind::ExpertGradWeight => {
                let id = node.gives[0];
                let sizes = self.expert_sizes(id, node.inputs[2], node.inputs[0]);
                let mut grad = std::mem::take(&mut self.grads[id.0]);
                let x = self.value(buffers, node.inputs[0]);
                let dy = self.value(buffers, node.inputs[1]);
                let ids = self.value(buffers, node.inputs[2]);
                experts::grad_weight(&mut grad, x, dy, ids, sizes);
                self.grads[id.0] = grad;
            }
            Kind::LongConv => {
                let width = self.model.graph.value(node.outputs[0]).width();
                let x = self.value(buffers, node.inputs[0]);
                let h = self.value(buffers, node.inputs[1]);
                longconv::forward(&mut outputs[0], x, h, &batch.bounds, width);
            }
            Kind::LongConvGrad => {
                let width = self.model.graph.value(node.outputs[0]).width();
                let given = [0, 1, 2].map(|at| self.value(buffers, node.inputs[at]));
                let [dx, dh] = outputs else { unreachable!("gradients of both inputs") };
                longconv::backward([dx, dh], given, &batch.bounds, width);
            }
            Kind::Average => {
                let mut sum = vec![0.0; outputs[0].len()];
                for row in self.value(buffers, node.inputs[0]).chunks_exact(sum.len()) {
                    sum.iter_mut().zip(row).for_each(|(to, x)| *to += f64::from(*x));
                }
                let rows = batch.rows().max(1) as f64;
                outputs[0].iter_mut().zip(sum).for_each(|(to, x)| *to = (x / rows) as f32);
            }
            Kind::AverageGrad => {
                let share = 1.0 / batch.rows().max(1) as f32;
                let d: Vec<f32> =
                    self.value(buffers, node.inputs[0]).iter().map(|d| share * d).collect();
                outputs[0].chunks_exact_mut(d.len()).for_each(|row| row.copy_from_slice(&d));
            }
            _ => unreachable!("all other nodes run elsewhere"),
        }
    }

    /// Sizes of a product by expert: of its matrices, and of what reads or is read as `x`.
    pub(super) fn expert_sizes(&self, weight: ParamId, ids: ValueId, x: ValueId) -> experts::Sizes {
        let graph = &self.model.graph;
        let slots = graph.value(ids).width();
        let shape = self.param_shape(weight.0);
        let experts = graph.params[weight.0].shape[0];
        experts::Sizes { experts, slots, shape, own: graph.value(x).width() != shape[0] }
    }
}
