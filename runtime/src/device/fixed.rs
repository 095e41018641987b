//! Kernels that are written by hand, since a tile program cannot say what they do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lrc_compiler::tile::Number;

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

/// The text of a kernel under `templates/kernels`, by its name.
macro_rules! texts {
    ($($name:ident),* $(,)?) => {
        [$((
            stringify!($name),
            include_str!(concat!("../../../templates/kernels/", stringify!($name), ".cu")),
        )),*]
    };
}

macro_rules! kernels {
    ($($name:ident),* $(,)?) => {
        /// The kernels, by the name of their file under `templates/kernels`.
        #[derive(Clone, Debug)]
        pub struct Fixed {
            machine: Machine,
            /// Those for numbers that are held in several ways: what is written, and what is read.
            typed: HashMap<(&'static str, [Number; 2]), Loaded>,
            $(pub(super) $name: Loaded,)*
        }

        impl Fixed {
            /// Compiles and loads them.
            pub fn new(machine: &Machine) -> Result<Fixed, Failure> {
                let arch = machine.kind().arch;
                let plain = texts![$($name),*].map(|(name, text)| Source {
                    name: name.to_string(),
                    text: text.to_string(),
                    arch,
                });
                let f32 = [Number::F32; 2];
                let typed = TYPED.iter().map(|(name, text)| source(name, text, f32, arch));
                let sources: Vec<Source> = plain.into_iter().chain(typed).collect();
                let mut loaded = machine.load(&sources, &vec![0; sources.len()])?.into_iter();
                let mut next = || loaded.next().expect("one per text");
                let mut made = Fixed {
                    machine: machine.clone(),
                    typed: HashMap::new(),
                    $($name: next(),)*
                };
                for (name, _) in TYPED {
                    made.typed.insert((name, f32), next());
                }
                Ok(made)
            }
        }
    };
}

kernels!(
    cross_entropy,
    squares,
    unit,
    transpose,
    route,
    route_grad,
    long_conv,
    long_conv_grad,
    average,
    average_grad,
);

/// Kernels whose numbers are held in several ways.
const TYPED: &[(&str, &str)] =
    &texts![fold, add, accumulate, gather, scatter, collect, scale_rows, convert, drop_out];
/// What they are written with.
const NUMBERS: &str = include_str!("../../../templates/number.cuh");

/// The text of a kernel that writes and reads numbers that are held so.
fn source<'a>(name: &str, text: &str, numbers: [Number; 2], arch: &'a str) -> Source<'a> {
    let [to, from] = numbers.map(|number| match number {
        Number::F32 => "float",
        Number::Bf16 => "bf16",
    });
    let text = format!("#define TO {to}\n#define FROM {from}\n{NUMBERS}{text}");
    Source { name: name.to_string(), text, arch }
}

impl Fixed {
    /// The kernel for numbers that are held as those of two tensors; compiled when it is first asked for.
    pub(super) fn typed(
        &mut self,
        name: &'static str,
        [to, from]: [Tensor; 2],
    ) -> Result<&Loaded, Failure> {
        let numbers = [to.number, from.number];
        match self.typed.entry((name, numbers)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let text = TYPED.iter().find(|(known, _)| *known == name);
                let none =
                    || Failure::World(format!("a mistake of lrc: no kernel is called {name}"));
                let (_, text) = text.ok_or_else(none)?;
                let source = source(name, text, numbers, self.machine.kind().arch);
                let loaded = self.machine.load(&[source], &[0])?.into_iter().next();
                Ok(new.insert(loaded.ok_or_else(none)?))
            }
        }
    }

    /// `to[o, i] = Σ_n from[o, n, i]`, or added to what is there.
    pub fn fold(
        &mut self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        sizes: [usize; 3],
        add: bool,
    ) -> Result<(), Failure> {
        fold(store, self.typed("fold", [to, from])?, to, from, sizes, add)
    }

    /// `to += from`.
    pub fn accumulate(
        &mut self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
    ) -> Result<(), Failure> {
        let blocks = to.words.div_ceil(THREADS).min(BLOCKS);
        let arguments = [to.into(), from.into(), to.words.into()];
        store.launch(self.typed("accumulate", [to, from])?, [blocks, THREADS, 0], &arguments)
    }

    /// `to = a + b`, which are held alike.
    pub fn add(
        &mut self,
        store: &mut Store,
        to: Tensor,
        [a, b]: [Tensor; 2],
    ) -> Result<(), Failure> {
        let blocks = to.words.div_ceil(THREADS).min(BLOCKS);
        let arguments = [to.into(), a.into(), b.into(), to.words.into()];
        store.launch(self.typed("add", [to, a])?, [blocks, THREADS, 0], &arguments)
    }

    /// `to[r] = table[which[r]]`, rows of `width` numbers.
    pub fn gather(
        &mut self,
        store: &mut Store,
        to: Tensor,
        table: Tensor,
        which: Tensor,
        width: usize,
    ) -> Result<(), Failure> {
        move_rows(store, self.typed("gather", [to, table])?, [to, table], which, width)
    }

    /// `to[which[r]] = from[r]`; no row is named twice.
    pub fn scatter(
        &mut self,
        store: &mut Store,
        to: Tensor,
        from: Tensor,
        which: Tensor,
        width: usize,
    ) -> Result<(), Failure> {
        move_rows(store, self.typed("scatter", [to, from])?, [to, from], which, width)
    }

    /// `to[which[r]] += from[r]`; rows that are named more than once add up in their order.
    pub fn collect(
        &mut self,
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
        // As many as there are rows, the last ones of no row: what is started does not depend on the data.
        let count = order.len();
        named.resize(count, 0);
        starts.resize(count + 1, count as u32);
        let (named, starts) = (store.send(&named)?, store.send(&starts)?);
        let order = store.send(&order)?;
        let arguments: [Argument; 7] = [
            to.into(),
            from.into(),
            named.into(),
            starts.into(),
            order.into(),
            count.into(),
            width.into(),
        ];
        store.launch(
            self.typed("collect", [to, from])?,
            [count.min(BLOCKS), THREADS, 0],
            &arguments,
        )
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
        let targets = store.send(on.targets)?;
        let (scale, z) = on.gradient.map_or((0.0, 0.0), |gradient| (gradient.scale, gradient.z));
        let arguments = [
            on.logits.into(),
            targets.into(),
            said.into(),
            Argument::Tensor(on.gradient.map(|gradient| gradient.factors)),
            on.vocab.into(),
            scale.into(),
            z.into(),
            on.cap.unwrap_or(0.0).into(),
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

    /// `to = from / √square`; nothing is divided by less than 1e-7.
    pub fn unit(
        &self,
        store: &mut Store,
        [to, from]: [Tensor; 2],
        square: Tensor,
    ) -> Result<(), Failure> {
        let blocks = to.words.div_ceil(THREADS).min(BLOCKS);
        let arguments = [to.into(), from.into(), square.into(), to.words.into()];
        store.launch(&self.unit, [blocks, THREADS, 0], &arguments)
    }
}

/// The text of the kernel that adds terms up.
const FOLD: &str = include_str!("../../../templates/kernels/fold.cu");

/// Its text for terms of f32 that become these.
pub fn fold_source(to: Number, arch: &str) -> Source<'_> {
    source("fold", FOLD, [to, Number::F32], arch)
}

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
    which: Tensor,
    width: usize,
) -> Result<(), Failure> {
    let rows = which.words;
    let arguments = [to.into(), from.into(), which.into(), rows.into(), width.into()];
    store.launch(kernel, [rows.min(BLOCKS), THREADS, 0], &arguments)
}
