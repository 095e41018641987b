//! Mixers and models: what they accept, how large they may be.
