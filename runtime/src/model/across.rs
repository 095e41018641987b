//! Nodes that see more than a row or its place, and are no recurrence: mixtures of experts, what they average over the
//! batch, long convolutions, and tables that are read by position.

use lrc_compiler::graph::{Kind, Node, ParamId, ValueId};

use super::walk::{Pass, Walk};
use crate::device::store::Tensor;
use crate::ground::error::Failure;
use crate::ops::dense::Dense;
use crate::ops::experts;

impl Walk {
    /// Nodes that see more than a row and are no recurrence: mixtures of experts, what they average
    /// over the batch, and long convolutions.
    pub(super) fn across_rows(
        &mut self,
        node: &Node,
        pass: &Pass,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<(), Failure> {
        let rows = pass.rows();
        match &node.kind {
            Kind::Route { slots } => {
                let sizes = [self.width(node.inputs[0]), *slots];
                self.parameters.backend.route([outputs[0], outputs[1]], inputs[0], sizes)
            }
            Kind::RouteGrad => {
                let sizes = [self.width(node.outputs[0]), self.width(node.inputs[0])];
                self.parameters.backend.route_grad(outputs[0], [inputs[0], inputs[1]], sizes)
            }
            Kind::Expert => {
                let sizes = self.experts(node.params[0], node.inputs[1], node.inputs[0]);
                let from = [inputs[0], self.value(node.params[0])];
                self.parameters.backend.expert(Dense::Forward, outputs[0], from, inputs[1], sizes)
            }
            Kind::ExpertGradInput => {
                let sizes = self.experts(node.params[0], node.inputs[1], node.outputs[0]);
                let from = [inputs[0], self.value(node.params[0])];
                self.parameters.backend.expert(Dense::GradInput, outputs[0], from, inputs[1], sizes)
            }
            Kind::ExpertGradWeight => {
                let sizes = self.experts(node.gives[0], node.inputs[2], node.inputs[0]);
                let (to, from) = (self.grad(node.gives[0]), [inputs[0], inputs[1]]);
                self.parameters.backend.expert(Dense::GradWeight, to, from, inputs[2], sizes)
            }
            Kind::LongConv => {
                let width = self.width(node.outputs[0]);
                let from = [inputs[0], inputs[1]];
                self.parameters.backend.long_conv(outputs[0], from, pass.bounds, width)
            }
            Kind::LongConvGrad => {
                let width = self.width(node.outputs[0]);
                let (to, from) = ([outputs[0], outputs[1]], [inputs[0], inputs[1], inputs[2]]);
                self.parameters.backend.long_conv_grad(to, from, pass.bounds, width)
            }
            Kind::Place => {
                let (table, width) = (self.value(node.params[0]), self.width(node.outputs[0]));
                self.within_places(node.params[0], pass)?;
                self.parameters.backend.gather(outputs[0], table, &pass.positions, width)
            }
            Kind::PlaceGrad => {
                let (to, width) = (self.grad(node.gives[0]), self.width(node.inputs[0]));
                self.parameters.backend.collect(to, inputs[0], &pass.positions, width)
            }
            Kind::Average => self.parameters.backend.average(outputs[0], inputs[0], rows),
            Kind::AverageGrad => self.parameters.backend.average_grad(outputs[0], inputs[0], rows),
            other => unreachable!("{other:?} runs elsewhere"),
        }
    }

    /// Refuses sequences that are longer than a table of positions.
    fn within_places(&self, table: ParamId, pass: &Pass) -> Result<(), Failure> {
        let param = &self.model().graph.params[table.0];
        let most = param.shape.first().copied().unwrap_or(0);
        match pass.positions.iter().max() {
            Some(&last) if last as usize >= most => Err(Failure::World(format!(
                "a sequence has {} tokens or more, and `{}` holds {most} positions",
                last + 1,
                param.name
            ))),
            _ => Ok(()),
        }
    }

    /// Sizes of a product by expert: of its matrices, and of what reads or is read as `x`.
    fn experts(&self, weight: ParamId, ids: ValueId, x: ValueId) -> experts::Sizes {
        let shape = self.shape_of(weight);
        let experts = self.model().graph.params[weight.0].shape[0];
        let slots = self.width(ids);
        experts::Sizes { experts, slots, shape, own: self.width(x) != shape[0] }
    }
}
