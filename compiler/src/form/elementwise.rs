//! Formulas that treat every number alone, such as the update of an optimiser. Each is written once,
//! over any arithmetic: as a loop in place for the processor, and as a program for kernels.

use rayon::prelude::*;

use crate::tile::{Binary, Builder, Int, Leaf, Program, Stream, Unary, Value};

/// Numbers of a task.
const SHARE: usize = 1 << 15;

/// What formulas compute with.
pub trait Arithmetic {
    /// What stands for a number.
    type Number: Copy;

    /// A function of one number.
    fn unary(&mut self, op: Unary, x: Self::Number) -> Self::Number;

    /// A function of two numbers.
    fn binary(&mut self, op: Binary, a: Self::Number, b: Self::Number) -> Self::Number;

    /// `a b`
    fn mul(&mut self, a: Self::Number, b: Self::Number) -> Self::Number;

    /// `a + b`
    #[inline(always)]
    fn add(&mut self, a: Self::Number, b: Self::Number) -> Self::Number {
        self.binary(Binary::Add, a, b)
    }

    /// `a - b`
    #[inline(always)]
    fn sub(&mut self, a: Self::Number, b: Self::Number) -> Self::Number {
        self.binary(Binary::Sub, a, b)
    }

    /// `a / b`
    #[inline(always)]
    fn div(&mut self, a: Self::Number, b: Self::Number) -> Self::Number {
        self.binary(Binary::Div, a, b)
    }

    /// `a x + b y`
    #[inline(always)]
    fn mix(&mut self, [a, x]: [Self::Number; 2], [b, y]: [Self::Number; 2]) -> Self::Number {
        let (x, y) = (self.mul(a, x), self.mul(b, y));
        self.add(x, y)
    }
}

/// A formula over `S` vectors that it updates, `G` that it reads, and `N` single numbers. On a device
/// each result is written before the next is computed: what is updated first may not be read by what
/// is updated later.
pub trait Formula<const S: usize, const G: usize, const N: usize>: Send + Sync + 'static {
    /// What becomes of the vectors' numbers at one place. Implementations are `#[inline(always)]`, so
    /// that they are compiled for the best vector unit.
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        state: [A::Number; S],
        given: [A::Number; G],
        numbers: [A::Number; N],
    ) -> [A::Number; S];
}

/// Writes a program over numbers of a shape.
type Write = dyn Fn(&[usize]) -> Program + Send + Sync;
/// A loop over vectors that are updated, vectors that are read, and single numbers.
type Loop = dyn Fn(Vec<&mut [f32]>, &[&[f32]], &[f32]) + Send + Sync;

/// A formula, ready to run on the processor and to be made a kernel of.
pub struct InPlace {
    program: Box<Write>,
    run: Box<Loop>,
}

impl InPlace {
    /// From a formula.
    pub fn new<const S: usize, const G: usize, const N: usize>(
        formula: impl Formula<S, G, N> + Clone,
    ) -> InPlace {
        let written = formula.clone();
        InPlace {
            program: Box::new(move |shape| program(&written, shape)),
            run: Box::new(move |state, given, numbers| run(&formula, state, given, numbers)),
        }
    }

    /// As a program over numbers of a shape: input `i` is a vector, those that are updated first,
    /// parameter `i` a single number, and output `i` takes the place of input `i`.
    pub fn program(&self, shape: &[usize]) -> Program {
        (self.program)(shape)
    }

    /// Updates the vectors of `state` and reads the others, all of one length. Each must be given.
    pub fn run(&self, state: Vec<&mut [f32]>, given: &[&[f32]], numbers: &[f32]) {
        (self.run)(state, given, numbers);
    }
}

/// Nodes of a program.
struct Nodes(Builder);

impl Arithmetic for Nodes {
    type Number = Value;

    fn unary(&mut self, op: Unary, x: Value) -> Value {
        self.0.unary(op, x)
    }

    fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        self.0.binary(op, a, b)
    }

    fn mul(&mut self, a: Value, b: Value) -> Value {
        self.0.mul(a, b)
    }
}

fn program<const S: usize, const G: usize, const N: usize>(
    formula: &impl Formula<S, G, N>,
    shape: &[usize],
) -> Program {
    let mut nodes = Nodes(Builder::new());
    let mut input = |i| nodes.0.leaf(Leaf::Read(Stream::Input(i), Int::T), shape);
    let (state, given) = (std::array::from_fn(&mut input), std::array::from_fn(|i| input(S + i)));
    let single = vec![1; shape.len()];
    let numbers = std::array::from_fn(|i| nodes.0.leaf(Leaf::Param(i), &single));
    let outputs = formula.write(&mut nodes, state, given, numbers);
    nodes.0.finish(&outputs)
}

/// Numbers themselves.
struct Plain;

impl Arithmetic for Plain {
    type Number = f32;

    #[inline(always)]
    fn unary(&mut self, op: Unary, x: f32) -> f32 {
        op.eval(x)
    }

    #[inline(always)]
    fn binary(&mut self, op: Binary, a: f32, b: f32) -> f32 {
        op.eval(a, b)
    }

    #[inline(always)]
    fn mul(&mut self, a: f32, b: f32) -> f32 {
        a * b
    }
}

fn run<const S: usize, const G: usize, const N: usize>(
    formula: &impl Formula<S, G, N>,
    state: Vec<&mut [f32]>,
    given: &[&[f32]],
    numbers: &[f32],
) {
    assert!(
        (state.len(), given.len(), numbers.len()) == (S, G, N),
        "a formula of {S} vectors, {G} that it reads and {N} numbers"
    );
    let length = state.first().map_or(0, |first| first.len());
    let numbers: [f32; N] = std::array::from_fn(|i| numbers[i]);
    let mut parts: Vec<_> = state.into_iter().map(|data| data.chunks_mut(SHARE)).collect();
    let tasks = (0..length).step_by(SHARE).map(|first| {
        let given = std::array::from_fn(|i| &given[i][first..length.min(first + SHARE)]);
        let state = std::array::from_fn(|i| parts[i].next().unwrap_or_default());
        Part { formula, state, given, numbers }
    });
    let tasks: Vec<Part<_, S, G, N>> = tasks.collect();
    tasks.into_par_iter().for_each(|part| pulp::Arch::new().dispatch(part));
}

/// A part of all vectors.
struct Part<'a, F, const S: usize, const G: usize, const N: usize> {
    formula: &'a F,
    state: [&'a mut [f32]; S],
    given: [&'a [f32]; G],
    numbers: [f32; N],
}

impl<F: Formula<S, G, N>, const S: usize, const G: usize, const N: usize> pulp::NullaryFnOnce
    for Part<'_, F, S, G, N>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Part { formula, state, given, numbers } = self;
        let length = state.first().map_or(0, |first| first.len());
        let state = state.map(|data| &mut data[..length]);
        let given = given.map(|data| &data[..length]);
        for at in 0..length {
            let own = std::array::from_fn(|i| state[i][at]);
            let read = std::array::from_fn(|i| given[i][at]);
            let next = formula.write(&mut Plain, own, read, numbers);
            for i in 0..S {
                state[i][at] = next[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Machine, Plan};

    #[derive(Clone)]
    struct Mixed;

    impl Formula<2, 1, 2> for Mixed {
        fn write<A: Arithmetic>(
            &self,
            a: &mut A,
            [x, y]: [A::Number; 2],
            [z]: [A::Number; 1],
            [p, q]: [A::Number; 2],
        ) -> [A::Number; 2] {
            let root = a.unary(Unary::Sqrt, y);
            let sum = a.mix([p, x], [q, root]);
            let least = a.binary(Binary::Min, sum, z);
            let next = a.div(least, q);
            let apart = a.sub(z, y);
            [next, a.add(apart, p)]
        }
    }

    /// The loop and the program are one formula: the same bits, also where vectors end between tasks and
    /// between vector registers.
    #[test]
    fn loop_and_program_agree() {
        let made = InPlace::new(Mixed);
        let numbers = [0.75_f32, 1.3];
        for length in [0, 1, 15, 33, SHARE - 1, SHARE + 17] {
            let vector = |k: usize| -> Vec<f32> {
                (0..length).map(|i| ((i * 37 + k * 11) % 101) as f32 * 0.37 + 0.01).collect()
            };
            let [mut x, mut y, z] = [0, 1, 2].map(vector);
            let before = [x.clone(), y.clone(), z.clone()];
            made.run(vec![&mut x, &mut y], &[&z], &numbers);
            if length == 0 {
                continue;
            }
            let plan = Plan::new(&made.program(&[length]));
            let mut machine = Machine::<f32>::new(&plan);
            plan.run(&mut machine, 0, &[], &mut |leaf, _, to| match leaf {
                Leaf::Read(Stream::Input(i), _) => to.copy_from_slice(&before[*i]),
                Leaf::Param(i) => to.fill(numbers[*i]),
                _ => unreachable!("no other leaves"),
            });
            assert_eq!(plan.output(&machine, 0), x, "{length}");
            assert_eq!(plan.output(&machine, 1), y, "{length}");
        }
    }
}
