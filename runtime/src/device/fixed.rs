//! Kernels that are written by hand, since a tile program cannot say what they do.

use super::jit::Source;
use super::store::{Argument, Loaded, Machine, Store, Tensor};
use crate::ground::error::Failure;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks of a kernel whose threads go over all elements: enough to fill a GPU.
const BLOCKS: usize = 1024;
/// Numbers of a piece of the parameters, all of one kind.
pub const PIECE: usize = 1024;

macro_rules! kernels {
    ($($name:ident),* $(,)?) => {
        /// The kernels, by the name of their file under `templates/kernels`.
        #[derive(Clone, Debug)]
        pub struct Fixed {
            $($name: Loaded,)*
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

kernels!(fold, add, gather, scatter, collect, cross_entropy, squares, adamw);

/// The numbers of a step of AdamW; see `train::adamw`.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// What is left of a weight that decays.
    pub keep: f32,
    /// Norm to which the gradient is clipped; 0 for none.
    pub clip: f32,
    /// Weights of the running means.
    pub betas: [f32; 2],
    /// Learning rate over the correction of the first mean.
    pub rate: f32,
    /// One over the root of the correction of the second.
    pub root: f32,
    /// Added to the root of the second mean.
    pub eps: f32,
}

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

    /// Loss and best guess of each row of logits, `said: [rows, 2]`; unless `scale` is 0 the logits
    /// become the gradient of `scale` times the sum of the losses.
    pub fn cross_entropy(
        &self,
        store: &mut Store,
        logits: Tensor,
        targets: &[u32],
        said: Tensor,
        vocab: usize,
        scale: f32,
    ) -> Result<(), Failure> {
        let rows = targets.len();
        let targets = store.table(targets.to_vec())?;
        let arguments = [logits.into(), targets.into(), said.into(), vocab.into(), scale.into()];
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

    /// A step of AdamW over parameters that lie one after the other in pieces; `state` is the
    /// parameters, their gradients and both means.
    pub fn adamw(
        &self,
        store: &mut Store,
        state: [Tensor; 4],
        decays: Tensor,
        square: Tensor,
        update: Update,
    ) -> Result<(), Failure> {
        let Update { keep, clip, betas: [b1, b2], rate, root, eps } = update;
        let mut arguments: Vec<Argument> = state.into_iter().map(Argument::from).collect();
        arguments.extend([decays, square].map(Argument::from));
        arguments.extend([keep, clip, b1, b2, rate, root, eps].map(Argument::from));
        store.launch(&self.adamw, [state[0].words / PIECE, THREADS, 0], &arguments)
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
