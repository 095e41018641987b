//! Operations that run along a chunk as steps of their own.

use crate::plan::{ScanOp, ScanSizes};
use crate::tile::{Op, Scan};

impl ScanOp {
    /// How large it is, from the shapes of the arguments and of the result.
    pub(super) fn sizes(&self, args: &[&[usize]], out: &[usize]) -> ScanSizes {
        let [rows, steps, width] = match self {
            ScanOp::CumulativeProduct(_) => [out[0], args[0][0], out[1]],
            ScanOp::CumulativeProductGrad(_) | ScanOp::DecayMaskGrad(_) => {
                [args[1][0], args[0][0], args[0][1]]
            }
            ScanOp::ReverseCumulativeProduct | ScanOp::ReverseCumulativeProductGrad => {
                [out[0], out[0], out[1]]
            }
            ScanOp::DecayMask(_) => [out[0], out[1], 1],
            ScanOp::Gram(_) => [out[0], out[1], args[0][1]],
            ScanOp::Apply(_) => [out[0], args[1][0], out[1]],
            ScanOp::ApplyT(_) | ScanOp::GramGrad(_) => [args[1][0], out[0], out[1]],
            ScanOp::Linear | ScanOp::LinearGrad | ScanOp::Max => [out[0], out[1], out[2]],
        };
        ScanSizes { rows, steps, width }
    }

    /// The shape of its scratch memory.
    pub(super) fn scratch(&self, sizes: ScanSizes) -> Option<Vec<usize>> {
        matches!(self, ScanOp::DecayMaskGrad(_)).then(|| vec![sizes.steps, sizes.steps])
    }
}

/// The scan that an operation is, if it is one.
pub(super) fn scan(op: &Op) -> Option<ScanOp> {
    Some(match op {
        Op::CumulativeProduct(v) => ScanOp::CumulativeProduct(v.clone()),
        Op::CumulativeProductGrad(v) => ScanOp::CumulativeProductGrad(v.clone()),
        Op::ReverseCumulativeProduct => ScanOp::ReverseCumulativeProduct,
        Op::ReverseCumulativeProductGrad => ScanOp::ReverseCumulativeProductGrad,
        Op::DecayMask(v) => ScanOp::DecayMask(v.clone()),
        Op::DecayMaskGrad(v) => ScanOp::DecayMaskGrad(v.clone()),
        Op::Gram(v) => ScanOp::Gram(v.clone()),
        Op::Apply(v) => ScanOp::Apply(v.clone()),
        Op::ApplyT(v) => ScanOp::ApplyT(v.clone()),
        Op::GramGrad(v) => ScanOp::GramGrad(v.clone()),
        Op::Scan(Scan::Linear) => ScanOp::Linear,
        Op::Scan(Scan::Max { .. }) => ScanOp::Max,
        Op::ScanGrad => ScanOp::LinearGrad,
        _ => return None,
    })
}
