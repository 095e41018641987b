//! Which parameters mind being read in bf16: the loss with one class of them rounded, then all.

use half::bf16;
use lrc_compiler::graph::{Model, Prepared};
use serde::Serialize;

use crate::data::{Dataset, HeldOut};
use crate::device::Device;
use crate::ground::error::Failure;
use crate::optim::{Class, Which, roles};
use crate::train::engine::Engine;
use crate::train::evaluate::held_out;

/// What rounding one class of parameters does.
#[derive(Clone, Debug, Serialize)]
pub struct Rounded {
    /// The class.
    pub class: String,
    /// Parameters of it.
    pub numbers: usize,
    /// Loss with them in bf16.
    pub loss: f64,
    /// How much that is more than with all in f32.
    pub more: f64,
}

/// Measures the classes of a model's parameters.
pub fn precision(
    model: &Model,
    params: &[Vec<f32>],
    source: &Dataset,
    set: &HeldOut,
    batch: usize,
) -> Result<(f64, Vec<Rounded>), Failure> {
    let loss = |params: Vec<Vec<f32>>| -> Result<f64, Failure> {
        let mut engine = Engine::asked(Prepared::plain(model.clone()), &params, Device::Cpu)?;
        Ok(held_out(&mut engine, source, set, batch)?.score.loss)
    };
    let exact = loss(params.to_vec())?;
    let roles = roles(model);
    let kinds = [Class::Matrices, Class::Embedding, Class::Head, Class::Vectors, Class::F32];
    let mut found = Vec::new();
    let mut measure = |name: String, picks: &dyn Fn(usize) -> bool| -> Result<(), Failure> {
        let mut rounded = params.to_vec();
        let mut numbers = 0;
        for (_, param) in rounded.iter_mut().enumerate().filter(|(at, _)| picks(*at)) {
            numbers += param.len();
            param.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
        }
        if numbers > 0 {
            let loss = loss(rounded)?;
            found.push(Rounded { class: name, numbers, loss, more: loss - exact });
        }
        Ok(())
    };
    let declared = &model.graph.params;
    for class in kinds {
        let which = Which::Class(class);
        measure(which.to_string().replace('`', ""), &|at| {
            which.picks(&declared[at], &roles[at]) && (class == Class::F32 || !declared[at].f32)
        })?;
    }
    measure("all but f32".into(), &|at| !declared[at].f32)?;
    measure("all".into(), &|_| true)?;
    Ok((exact, found))
}
