//! Cutting a pointwise program off the one that grows: what exists already becomes an input.

use std::collections::HashMap;

use super::GraphBuilder;
use crate::graph::{ParamId, ValueId};
use crate::tile::{Builder, Int, Leaf, Op, Stream, Value};

/// Copies the pointwise program below a value.
pub struct Cut<'m, 'n> {
    builder: &'m GraphBuilder<'n>,
    root: Value,
    /// The new program.
    pub b: Builder,
    /// What its inputs are.
    pub inputs: Vec<ValueId>,
    /// What its parameters are.
    pub params: Vec<ParamId>,
    new: HashMap<Value, Value>,
}

impl<'m, 'n> Cut<'m, 'n> {
    /// Nothing copied yet of the program below `root`.
    pub fn new(builder: &'m GraphBuilder<'n>, root: Value) -> Cut<'m, 'n> {
        Cut {
            builder,
            root,
            b: Builder::new(),
            inputs: vec![],
            params: vec![],
            new: HashMap::new(),
        }
    }

    fn input(&mut self, id: ValueId) -> usize {
        match self.inputs.iter().position(|known| *known == id) {
            Some(at) => at,
            None => {
                self.inputs.push(id);
                self.inputs.len() - 1
            }
        }
    }

    /// The value in the new program, with everything below it.
    pub fn copy(&mut self, value: Value) -> Value {
        if let Some(&done) = self.new.get(&value) {
            return done;
        }
        let node = self.builder.b.node(value).clone();
        let made = match (&node.op, self.builder.made.get(&value)) {
            (_, Some(&id)) if value != self.root => {
                let at = self.input(id);
                self.b.leaf(Leaf::Read(Stream::Input(at), Int::T), &node.shape)
            }
            (Op::Leaf(Leaf::Read(Stream::Input(id), at)), _) => {
                let slot = self.input(ValueId(*id));
                self.b.leaf(Leaf::Read(Stream::Input(slot), at.clone()), &node.shape)
            }
            (Op::Leaf(Leaf::Param(id)), _) => {
                let slot = match self.params.iter().position(|known| known.0 == *id) {
                    Some(slot) => slot,
                    None => {
                        self.params.push(ParamId(*id));
                        self.params.len() - 1
                    }
                };
                self.b.leaf(Leaf::Param(slot), &node.shape)
            }
            _ => {
                let args = node.args.iter().map(|arg| self.copy(*arg)).collect();
                self.b.span = node.span;
                self.b.raw(node.op.clone(), args, node.shape.clone())
            }
        };
        self.new.insert(value, made);
        made
    }
}
