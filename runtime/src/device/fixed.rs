//! Kernels that are written by hand, since a tile program cannot say what they do.

use super::backend::CrossEntropy;
use super::jit::Source;
use super::store::{Argument, Loaded, Machine, Store, Tensor};
use crate::ground::error::Failure;

/// Threads of a block.
pub(super) const THREADS: usize = 256;
/// Blocks of a kernel whose threads go over all elements: enough to fill a GPU.
pub(super) const BLOCKS: usize = 1024;
/// Numbers of a piece of the parameters, all of one kind.
pub const PIECE: usize = 1024;

macro_rules! kernels {
    ($($name:ident),* $(,)?) => {
        /// The kernels, by the name of their file under `templates/kernels`.
        #[derive(Clone, Debug)]
        pub struct Fixed {
            $(pub(super) $name: Loaded,)*
        }

        impl Fixed {
            /// Compiles and loads them.
            pub fn new(machine: &Machine) -> Result<Fixed, Failure> {
                let texts = [$((
                    stringify!($name),
                    include_str!(concat!("../../../templates/kernels/", stringify!($name), ".cu")),
                )),*];
                let arch = machine.kind().arch;
                let source = |(name, text): (&str, &str)| Source {
                    name: name.to_string(),
                    text: text.to_string(),
                    arch,
                };
                let sources: Vec<Source> = texts.into_iter().map(source).collect();
                let mut loaded = machine.load(&sources, &vec![0; sources.len()])?.into_iter();
                let mut next = || loaded.next().expect("one per text");
                Ok(Fixed { $($name: next(),)* })
            }
        }
    };
}

kernels!(
    fold,
    add,
    gather,
    scatter,
    collect,
    cross_entropy,
    squares,
    scale_rows,
    round_bf16,
    transpose,
    drop_out,
    route,
    route_grad,
    long_conv,
    long_conv_grad,
    average,
    average_grad,
);

impl Fixed {
    /// `to[o, i] = Σ_n from[o, n, i]`, or added to what is there.
    pub fn fold(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        sizes: [usize; 3],
        add: bool,
    ) -> Result<(), Failure> {
        fold(store, &self.fold, to, from, sizes, add)
    }

    /// `to = a + b`.
    pub fn add(&self, store: &mut Store, to: Tensor, [a, b]: [Tensor; 2]) -> Result<(), Failure> {
        let blocks = to.words.div_ceil(THREADS).min(BLOCKS);
        let arguments = [to.into(), a.into(), b.into(), to.words.into()];
        store.launch(&self.add, [blocks, THREADS, 0], &arguments)
    }

    /// `to[r] = table[which[r]]`, rows of `width` numbers.
    pub fn gather(
        &self,
        store: &mut Store,
        to: Tensor,
        table: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        move_rows(store, &self.gather, [to, table], which, width)
    }

    /// `to[which[r]] = from[r]`; no row is named twice.
    pub fn scatter(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        move_rows(store, &self.scatter, [to, from], which, width)
    }

    /// `to[which[r]] += from[r]`; rows that are named more than once add up in their order.
    pub fn collect(
        &self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        let mut order: Vec<u32> = (0..which.len() as u32).collect();
        order.sort_by_key(|row| which[*row as usize]);
        let (mut named, mut starts) = (Vec::new(), Vec::new());
        for (at, row) in order.iter().enumerate() {
            let target = which[*row as usize];
            if named.last() != Some(&target) {
                named.push(target);
                starts.push(at as u32);
            }
        }
        starts.push(order.len() as u32);
        let count = named.len();
        let (named, starts) = (store.table(named)?, store.table(starts)?);
        let order = store.table(order)?;
        let arguments: [Argument; 7] = [
            to.into(),
            from.into(),
            named.into(),
            starts.into(),
            order.into(),
            count.into(),
            width.into(),
        ];
        store.launch(&self.collect, [count.min(BLOCKS), THREADS, 0], &arguments)
    }

    /// Loss, best guess and the logarithm of the sum of exponentials of each row of logits,
    /// `said: [rows, 3]`; see [`CrossEntropy`] for the gradient.
    pub fn cross_entropy(
        &self,
        store: &mut Store,
        on: &CrossEntropy,
        said: Tensor,
    ) -> Result<(), Failure> {
        let rows = on.targets.len();
        let targets = store.table(on.targets.to_vec())?;
        let (scale, z) = on.gradient.map_or((0.0, 0.0), |gradient| (gradient.scale, gradient.z));
        let arguments = [
            on.logits.into(),
            targets.into(),
            said.into(),
            Argument::Tensor(on.gradient.map(|gradient| gradient.factors)),
            on.vocab.into(),
            scale.into(),
            z.into(),
        ];
        store.launch(&self.cross_entropy, [rows, THREADS, THREADS * 8], &arguments)
    }

    /// The sum of the squares of all numbers, which are whole pieces, into the first of `to`; `parts`
    /// is memory for one number per piece.
    pub fn squares(
        &self,
        store: &mut Store,
        to: Tensor,
        parts: Tensor,
        of: Tensor,
    ) -> Result<(), Failure> {
        let (pieces, shared) = (of.words / PIECE, THREADS * 4);
        let first = [parts.into(), of.into(), 0.into()];
        store.launch(&self.squares, [pieces, THREADS, shared], &first)?;
        let second = [to.into(), parts.into(), pieces.into()];
        store.launch(&self.squares, [1, THREADS, shared], &second)
    }
}

/// The text of the kernel that adds terms up.
pub const FOLD: &str = include_str!("../../../templates/kernels/fold.cu");

/// Starts that kernel: `to[o, i] = Σ_n from[o, n, i]`, or added to what is there.
pub fn fold(
    store: &mut Store,
    kernel: &Loaded,
    to: Tensor,
    from: Tensor,
    [outer, terms, inner]: [usize; 3],
    add: bool,
) -> Result<(), Failure> {
    let blocks = (outer * inner).div_ceil(THREADS).min(BLOCKS);
    let numbers = [outer, terms, inner, usize::from(add)].map(Argument::from);
    let arguments = [&[to.into(), from.into()], numbers.as_slice()].concat();
    store.launch(kernel, [blocks, THREADS, 0], &arguments)
}

/// Starts a kernel that moves the rows that a list names.
fn move_rows(
    store: &mut Store,
    kernel: &Loaded,
    [to, from]: [Tensor; 2],
    which: &[u32],
    width: usize,
) -> Result<(), Failure> {
    let rows = which.len();
    let which = store.table(which.to_vec())?;
    let arguments = [to.into(), from.into(), which.into(), rows.into(), width.into()];
    store.launch(kernel, [rows.min(BLOCKS), THREADS, 0], &arguments)
}
