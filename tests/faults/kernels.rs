//! Kernels, their cache, and what they refuse.
