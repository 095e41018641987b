//! Doors to other programs' files.

pub mod hf;
pub mod onnx;
pub mod torch;
