//! Models in numbers: the walk over a graph, its measures, texts that grow, graphs inside of other programs.

mod across;
pub mod between;
mod launches;
mod loss;
pub mod low_rank;
pub mod measure;
pub mod plans;
pub mod promises;
pub mod segments;
mod session;
pub mod stability;
mod text;
mod training;
pub mod transforms;
pub mod walk;

use lrc_compiler::graph::Param;
use lrc_compiler::tile::size;

use crate::ground::random::{Purpose, Stream};
pub use session::Session;
pub use training::Trained;
pub use walk::Walk;

/// Draws fresh parameters.
pub fn fresh(params: &[Param], seed: u64) -> Vec<Vec<f32>> {
    params
        .iter()
        .enumerate()
        .map(|(at, param)| {
            let mut stream = Stream::new(seed, Purpose::Init, at as u64);
            let width = param.shape.last().copied().unwrap_or(1);
            (0..size(&param.shape))
                .map(|i| param.init.draw(i % width, width, &mut || stream.uniform()) as f32)
                .collect()
        })
        .collect()
}
