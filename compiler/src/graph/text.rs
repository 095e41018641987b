//! The text form of a graph, one line per node.

use crate::tile::Number;
use std::fmt;

use super::{Graph, Kind, ValueId};

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl Kind {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Embed => "embed",
            Kind::Place => "place",
            Kind::Dense { .. } => "dense",
            Kind::Rows(_) => "rows",
            Kind::Recur(_) => "recurrence",
            Kind::Loss => "loss",
            Kind::RowsGrad(_) => "rows_grad",
            Kind::RecurGrad { .. } => "recurrence_grad",
            Kind::DenseGradInput { .. } => "dense_grad_input",
            Kind::DenseGradWeight { .. } => "dense_grad_weight",
            Kind::Route { .. } => "route",
            Kind::RouteGrad => "route_grad",
            Kind::Expert => "expert",
            Kind::ExpertGradInput => "expert_grad_input",
            Kind::ExpertGradWeight => "expert_grad_weight",
            Kind::LongConv => "long_conv",
            Kind::LongConvGrad => "long_conv_grad",
            Kind::Drop { .. } => "drop",
            Kind::Average => "average",
            Kind::AverageGrad => "average_grad",
            Kind::EmbedGrad => "embed_grad",
            Kind::PlaceGrad => "place_grad",
            Kind::Sum => "sum",
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for index in self.nodes.node_indices() {
            let node = &self.nodes[index];
            let list = |values: &[ValueId]| {
                values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let outputs: Vec<String> = node
                .outputs
                .iter()
                .map(|value| {
                    let info = self.value(*value);
                    let once = if info.once { " once" } else { "" };
                    let number = if info.number == Number::Bf16 { " bf16" } else { "" };
                    format!("{value} {:?}{number}{once}", info.shape)
                })
                .collect();
            write!(f, "{} = {}({})", outputs.join(", "), node.kind.word(), list(&node.inputs))?;
            for param in &node.params {
                write!(f, " {}", self.params[param.0].name)?;
            }
            if let Kind::Recur(recur) = &node.kind {
                write!(f, " {} x {}", recur.heads, recur.recurrence.name)?;
            }
            if let Kind::Drop { rate, .. } = &node.kind {
                write!(f, " {rate}")?;
            }
            if let Kind::Rows(program) = &node.kind {
                write!(f, " {} operations", program.nodes.len())?;
            }
            writeln!(f, "  // {}", node.label)?;
        }
        Ok(())
    }
}
