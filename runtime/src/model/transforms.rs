//! What training does to a model besides updating it: dropout, a term of the loss, the precision that
//! parameters are read in, and what is computed again to save memory.

use lrc_compiler::graph::prepare::Unprepared;
use lrc_compiler::graph::{Model, Options, Prepared, Recompute, prepare};

use crate::ground::error::Failure;
use crate::optim::{Which, roles};

/// What is done to a model in training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transforms {
    /// Each number that a layer adds to the residual stream becomes 0 with this probability.
    pub dropout: f64,
    /// The weight of `ln²Z` in the loss: see [`crate::ops::loss::Head::gradient`].
    pub z_loss: f64,
    /// Bytes that the values between the nodes of the graph may take.
    pub activations: Option<f64>,
    /// Parameters that are read in bf16, or that are not although others before them say so. The
    /// last one that fits counts.
    pub precision: Vec<(Which, Precision)>,
    /// Whether values between the nodes of the graph are held in bf16, as far as they may be.
    pub bf16_values: bool,
}

/// The precision that a parameter is read in. What is updated is in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them exponent.
    Bf16,
}

impl Transforms {
    /// Prepares a model for training in parts of so many tokens; `frozen` says which parameters stay as they are.
    pub fn prepare(
        &self,
        model: Model,
        rows: usize,
        frozen: Vec<bool>,
    ) -> Result<Prepared, Failure> {
        let per_row = |bytes: f64| (bytes / rows as f64) as usize;
        let recompute =
            self.activations.map_or(Recompute::Nothing, |bytes| Recompute::Budget(per_row(bytes)));
        let bf16 = self.rounded(&model)?;
        let options = Options {
            dropout: self.dropout,
            recompute,
            bf16,
            bf16_values: self.bf16_values,
            frozen,
            ..Options::default()
        };
        prepare(model, &options).map_err(|why| match why {
            Unprepared::NoBranches => Failure::invalid(
                "E0406",
                "`dropout` is for what layers add to a residual stream, and the model has none"
                    .to_string(),
            ),
            Unprepared::OverBudget { least } => {
                let message = format!(
                    "values between the nodes of the graph take {} at least for parts of {rows} tokens, and `activations` allows {}",
                    gigabytes(least as f64 * rows as f64),
                    gigabytes(self.activations.unwrap_or(0.0))
                );
                let diag = lrc_dsl::Diag::global("E0406", message)
                    .help("every layer is computed again already: make `micro_batch` smaller");
                Failure::Invalid(vec![diag])
            }
        })
    }

    /// Which parameters are read in bf16.
    pub fn rounded(&self, model: &Model) -> Result<Vec<bool>, Failure> {
        let roles = roles(model);
        let mut rounded = vec![false; roles.len()];
        for (which, precision) in &self.precision {
            let mut used = false;
            for ((at, param), role) in model.graph.params.iter().enumerate().zip(&roles) {
                if which.picks(param, role) {
                    used = true;
                    // What is declared f32 stays so, unless it is named itself.
                    let may = !param.f32 || matches!(which, Which::Name(_));
                    rounded[at] = may && *precision == Precision::Bf16;
                }
            }
            if !used {
                let why = format!("`precision`: {which} fits no parameter of the model");
                return Err(Failure::invalid("E0406", why));
            }
        }
        Ok(rounded)
    }
}

/// Bytes of so many numbers per row.
pub fn bytes(per_row: usize, rows: usize) -> f64 {
    4.0 * per_row as f64 * rows as f64
}

/// A number of bytes for people.
pub fn gigabytes(bytes: f64) -> String {
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.2} GB", bytes / 1e9) }
}
