//! Moves factors away from the operands of products.
//!
//! Problem: a chunk scales its keys, queries and values by decays and rates before it multiplies them, for each product
//! otherwise. Each product then has operands of its own, made number by number of the same few tensors.
//!
//! Idea: a factor of each row of an operand is one of each row of the product; one along the sum may as well belong
//! to the other operand. So a tensor is an operand as it stands, the same for all products, and factors go where numbers
//! are computed anyway: `(s ∘ K) Kᵀ = s ∘ (K Kᵀ)`, `(s ∘ K)ᵀ U = Kᵀ (s ∘ U)`.

use super::rewrite::Rewrite;
use super::{Leaf, Node, Op, Program, Stream, Value, size};
use lrc_dsl::Span;

/// The same program, with factors of tensors of tokens taken out of those products that `product` picks.
pub fn factors_apart(program: &Program, product: &dyn Fn(Value) -> bool) -> Program {
    Rewrite::of(program, |made, value, node| match &node.op {
        Op::MulSum(over) if product(value) => made.product(node, over),
        _ => None,
    })
}

/// An operand without its factors, which have as many axes, those of size 1 repeated.
struct Bare {
    value: Value,
    factors: Vec<Value>,
    /// Whether it is a tensor of tokens as it stands.
    is_given: bool,
}

impl Rewrite<'_> {
    fn times(&mut self, value: Value, factor: Value, span: Option<Span>) -> Value {
        let shape = self.shape(value);
        self.push(Op::MulSum(vec![]), vec![value, factor], shape, span)
    }

    /// A value times a factor, by which what a view shows is multiplied, so that it may be kept as it stands there.
    fn within(&mut self, value: Value, factor: Value, span: Option<Span>) -> Value {
        let node = self.node(value).clone();
        if node.op != Op::Reshape {
            return self.times(value, factor, span);
        }
        let inner = self.shape(node.args[0]);
        if !same_axes(&inner, &node.shape) {
            return self.times(value, factor, span);
        }
        let shape = reshaped(&self.shape(factor), &node.shape, &inner);
        let factor = self.push(Op::Reshape, vec![factor], shape, span);
        let scaled = self.within(node.args[0], factor, span);
        self.push(Op::Reshape, vec![scaled], node.shape, node.span)
    }

    /// A product with its factors elsewhere; nothing where there are none to move.
    fn product(&mut self, node: &Node, over: &[usize]) -> Option<Value> {
        let mut sides = [self.bare(node.args[0]), self.bare(node.args[1])];
        let mut behind = Vec::new();
        let mut moved = false;
        for at in 0..2 {
            let other = 1 - at;
            for factor in std::mem::take(&mut sides[at].factors) {
                let shape = self.shape(factor);
                let varies = |axis: &usize| shape[*axis] > 1;
                let summed = (0..shape.len()).filter(varies).all(|axis| over.contains(&axis));
                let apart = !over.iter().any(varies);
                let takes = self.takes(&sides, other, &shape);
                let is_given = sides[at].is_given;
                if is_given && apart {
                    behind.push(factor);
                } else if is_given && summed && takes {
                    sides[other].value = self.within(sides[other].value, factor, node.span);
                } else {
                    sides[at].value = self.times(sides[at].value, factor, node.span);
                    continue;
                }
                moved = true;
            }
        }
        if !moved {
            return None;
        }
        let args = sides.iter().map(|side| side.value).collect();
        let mut value = self.push(node.op.clone(), args, node.shape.clone(), node.span);
        for factor in behind {
            value = self.times(value, factor, node.span);
        }
        Some(value)
    }

    /// Whether one of two operands may take a factor of the other: it is computed, and no larger.
    fn takes(&self, sides: &[Bare; 2], one: usize, factor: &[usize]) -> bool {
        let [own, other] = [one, 1 - one].map(|side| self.shape(sides[side].value));
        let has_axes = own.iter().zip(factor).all(|(own, n)| *n == 1 || own == n);
        !sides[one].is_given && has_axes && size(&own) <= size(&other)
    }

    /// An operand and its factors, behind views that keep their axes apart.
    fn bare(&mut self, value: Value) -> Bare {
        let node = self.from.node(value);
        match &node.op {
            Op::MulSum(over) if over.is_empty() => {
                let whole = node.args.iter().position(|arg| self.from.shape(*arg) == node.shape);
                let Some(whole) = whole else { return self.itself(value) };
                let factor = node.args[1 - whole];
                if self.from.shape(factor) == node.shape {
                    return self.itself(value);
                }
                let mut bare = self.bare(node.args[whole]);
                bare.factors.push(self.new[factor.at()]);
                bare
            }
            Op::Permute(_) => self.viewed(value, |shape, op| match op {
                Op::Permute(order) => order.iter().map(|from| shape[*from]).collect(),
                _ => shape.to_vec(),
            }),
            Op::Reshape if same_axes(self.from.shape(node.args[0]), &node.shape) => {
                let (inner, outer) = (self.from.shape(node.args[0]).to_vec(), node.shape.clone());
                self.viewed(value, |shape, _| reshaped(shape, &inner, &outer))
            }
            _ => self.itself(value),
        }
    }

    /// A view of an operand, and the same one of its factors, whose shapes it makes others.
    fn viewed(&mut self, value: Value, of: impl Fn(&[usize], &Op) -> Vec<usize>) -> Bare {
        let node = self.from.node(value).clone();
        let mut bare = self.bare(node.args[0]);
        let mut all = vec![bare.value];
        all.append(&mut bare.factors);
        let mut seen = all.into_iter().map(|inner| {
            let shape = of(&self.shape(inner), &node.op);
            self.push(node.op.clone(), vec![inner], shape, node.span)
        });
        if let Some(value) = seen.next() {
            bare.value = value;
        }
        bare.factors = seen.collect();
        bare
    }

    fn itself(&self, value: Value) -> Bare {
        let op = &self.from.node(value).op;
        let is_given = matches!(op, Op::Leaf(Leaf::Read(Stream::Input(_), _)));
        Bare { value: self.new[value.at()], factors: vec![], is_given }
    }
}

/// Whether two shapes are the same but for axes of size 1.
fn same_axes(a: &[usize], b: &[usize]) -> bool {
    let long =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|n| *n > 1).collect() };
    long(a) == long(b)
}

/// A factor of something of shape `inner`, as one of the same under the shape `outer`.
fn reshaped(factor: &[usize], inner: &[usize], outer: &[usize]) -> Vec<usize> {
    let mut varies = factor.iter().zip(inner).filter(|(_, n)| **n > 1).map(|(own, _)| *own);
    outer.iter().map(|n| if *n > 1 { varies.next().unwrap_or(1) } else { 1 }).collect()
}
