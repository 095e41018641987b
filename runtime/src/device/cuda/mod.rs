//! NVIDIA's compiler and driver. The only folder that calls into libraries of others.

pub mod gpu;
pub mod nvrtc;
