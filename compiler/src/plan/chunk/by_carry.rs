//! Schedules of several kernels: what does not depend on the state a chunk is handed runs for all chunks at once.

use std::collections::HashMap;

use super::super::buffer::of_heads;
use super::super::late::short_lives;
use super::super::lower::{around_quotients, is_matrix, plannable};
use super::super::pipeline::{pipeline, pipeline_once};
use super::super::place::{least_room, place, place_tightly};
use super::super::registers::registers;
use super::super::space::{Choice, Split};
use super::super::stored::stored;
use super::super::target::Gpu;
use super::super::together::together;
use super::super::value_split::{ValueSplit, Whole, split_values};
use super::super::{Binding, Buffer, Dim, Kernel, Pass, Role, Schedule};
use super::backward::once;
use super::buffers::{between_chunks, buffers};
use super::maker::Maker;
use super::shares::{Made, Share, Shares, shares};
use super::{Body, initial, of_chunk};
use crate::chunk::gradient::{Wrt, gradient};
use crate::chunk::{Chunk, derive};
use crate::elaborate::Recurrence;
use crate::normal::{Normal, Refusal};
use crate::tile::factors::factors_apart;
use crate::tile::linear::{adjoint_apart, by_inverses, solve_apart};
use crate::tile::{Leaf, Number, Program, Stream};

/// The program of a pass, cut by what it carries.
struct Cut {
    shares: Shares,
    /// What results of the gradient are; nothing forward.
    wrt: Vec<Wrt>,
}

/// What is the same for any number of parts.
struct Planned {
    cut: Cut,
    buffers: Vec<Buffer>,
    prepare: Kernel,
    read: Option<Kernel>,
}

/// What has been planned so far for chunks, warps and a way to cut; nothing where these do not go together.
#[derive(Default)]
pub struct Known {
    all: Vec<((usize, usize, Split), Option<Planned>)>,
}

/// A schedule of a prepare kernel, a carry kernel and, where the choice says so, a read kernel. Nothing where
/// the program cannot be cut so, or does not fit.
pub(super) fn by_carry(
    r: &Recurrence,
    normal: &Normal,
    pass: Pass,
    choice: Choice,
    gpu: Gpu,
    known: &mut Known,
) -> Result<Option<Schedule>, Refusal> {
    let key = (choice.chunk, choice.warps, choice.split);
    let at = match known.all.iter().position(|(other, _)| *other == key) {
        Some(at) => at,
        None => {
            let chunk = derive(r, normal, choice.chunk, choice.chunk > 1)?;
            plannable(&chunk.program)?;
            known.all.push((key, planned(r, normal, &chunk, pass, choice, gpu)));
            known.all.len() - 1
        }
    };
    let Some(Planned { cut, buffers, prepare, read }) = &known.all[at].1 else { return Ok(None) };
    let making = Making { r, normal, pass, cut, buffers, gpu };
    let Some(carry) = making.kernel(&cut.shares.carry, "carry", choice) else { return Ok(None) };
    let kernels =
        [Some(prepare.clone()), Some(carry), read.clone()].into_iter().flatten().collect();
    let name = format!("{}_{}", r.name, pass.name());
    Ok(Some(Schedule { name, pass, buffers: buffers.clone(), kernels }))
}

/// Cuts a pass, and plans the kernels of all chunks at once.
fn planned(
    r: &Recurrence,
    normal: &Normal,
    chunk: &Chunk,
    pass: Pass,
    choice: Choice,
    gpu: Gpu,
) -> Option<Planned> {
    let cut = cut(r, chunk, pass, choice.split)?;
    let buffers = all_buffers(r, normal, pass, choice, &cut);
    let making = Making { r, normal, pass, cut: &cut, buffers: &buffers, gpu };
    let whole = Choice { parts: 1, ..choice };
    let prepare = making.kernel(&cut.shares.prepare, "prepare", whole)?;
    let read = match &cut.shares.read {
        share if share.made.is_empty() => None,
        share => Some(making.kernel(share, "read", whole)?),
    };
    Some(Planned { cut, buffers, prepare, read })
}

/// What kernels are made of.
struct Making<'a> {
    r: &'a Recurrence,
    normal: &'a Normal,
    pass: Pass,
    cut: &'a Cut,
    buffers: &'a [Buffer],
    gpu: Gpu,
}

impl Making<'_> {
    /// The kernel of a share; nothing where its values cannot be split so, or it does not fit.
    fn kernel(&self, share: &Share, what: &str, choice: Choice) -> Option<Kernel> {
        let Making { r, normal, pass, cut, buffers, gpu } = *self;
        let body = split(r, normal, share, &cut.wrt, pass, choice.parts)?;
        let init = initial(r, &body, choice.parts)?;
        let (made, tiles) = (share.made.clone(), vec![]);
        let Shares { inverses, masks, .. } = &cut.shares;
        let maker = Maker { r, choice, buffers, body, init, made, inverses, masks, tiles };
        let at_once = what != "carry";
        let mut kernel = match (at_once, pass) {
            (true, Pass::Backward) => maker.backward_of_chunks(&cut.wrt),
            (true, _) => maker.of_chunks(),
            (false, Pass::Backward) => maker.backward(&cut.wrt),
            (false, _) => maker.forward(),
        };
        kernel.name = format!("{}_{}_{what}", r.name, pass.name());
        let fits = if at_once {
            at_once_fits(&mut kernel, buffers, gpu)
        } else {
            registers(&mut kernel);
            stored(&mut kernel, buffers);
            together(&mut kernel);
            pipeline(&mut kernel, buffers, choice.stages, gpu.shared)
        };
        fits.then_some(kernel)
    }
}

/// Lets a kernel of single chunks copy what it reads ahead; where blocks of it would run alone, with tiles that live
/// shortly, if these need less workspace or leave room for more blocks. `false` where it does not fit.
fn at_once_fits(kernel: &mut Kernel, buffers: &[Buffer], gpu: Gpu) -> bool {
    let mut short = kernel.clone();
    let fits = pipeline_once(kernel, buffers, gpu, place);
    if fits && gpu.blocks(kernel.shared, kernel.threads) > 1 {
        return true;
    }
    short_lives(&mut short);
    // What cannot help is not tried.
    if fits && kernel.workspace == 0 && gpu.blocks(least_room(&short), short.threads) < 2 {
        return true;
    }
    let found = pipeline_once(&mut short, buffers, gpu, place_tightly);
    let better = |a: &Kernel, b: &Kernel| {
        let blocks = |kernel: &Kernel| gpu.blocks(kernel.shared, kernel.threads);
        (a.workspace, blocks(b)) < (b.workspace, blocks(a))
    };
    if found && (!fits || better(&short, kernel)) {
        *kernel = short;
    }
    fits || found
}

/// Cuts the program of a pass. Nothing where gradients of chunks add up in one place, where products around
/// quotients would be torn apart, or where nothing could be prepared.
fn cut(r: &Recurrence, chunk: &Chunk, pass: Pass, split: Split) -> Option<Cut> {
    let apart = split == Split::Read;
    let bytes = |leaf: &Leaf| bytes(r, leaf);
    let torn = |program: &Program| around_quotients(program).contains(&true);
    let factors = |program: Program| factors_apart(&program, &|value| is_matrix(&program, value));
    let (shares, wrt) = if pass == Pass::Backward {
        let found = gradient(r, chunk, &|_, _| false);
        let alone = found.wrt.iter().all(|wrt| match wrt {
            Wrt::Input(i, _) => once(&found.wrt, *i),
            Wrt::Param(_) => false,
            Wrt::Carry(_) => true,
        });
        if !alone || torn(&found.program) {
            return None;
        }
        let serial = |k: usize| matches!(found.wrt[k], Wrt::Carry(_));
        let flows = |leaf: &Leaf| matches!(leaf, Leaf::CarryCotangent(_));
        let program = factors(by_inverses(&adjoint_apart(&found.program, &flows)));
        let held = |k: usize| match found.wrt[k] {
            Wrt::Input(i, _) => r.inputs[i].gradient,
            Wrt::Param(_) | Wrt::Carry(_) => Number::F32,
        };
        (shares(&program, &flows, &serial, apart, &bytes, &held), found.wrt)
    } else {
        let program = solve_apart(&chunk.program, &|leaf| matches!(leaf, Leaf::Carry(_)));
        if torn(&program) {
            return None;
        }
        let states = |leaf: &Leaf| matches!(leaf, Leaf::Carry(_));
        let program = factors(by_inverses(&program));
        let held = |k: usize| r.outs.get(k).map_or(Number::F32, |out| out.number);
        (shares(&program, &states, &|k| k >= r.outs.len(), apart, &bytes, &held), vec![])
    };
    (!shares.prepare.made.is_empty()).then_some(Cut { shares, wrt })
}

/// Bytes of a number of what a leaf stands for, in the device's memory.
fn bytes(r: &Recurrence, leaf: &Leaf) -> usize {
    match leaf {
        Leaf::Read(Stream::Input(i), _) => r.inputs[*i].number.bytes(),
        Leaf::Cotangent(Stream::Out(k)) => r.outs[*k].number.bytes(),
        Leaf::Param(_) | Leaf::Carry(_) | Leaf::CarryCotangent(_) => Number::F32.bytes(),
        _ => 0,
    }
}

/// The program of a share for a part of the values.
fn split(
    r: &Recurrence,
    normal: &Normal,
    share: &Share,
    wrt: &[Wrt],
    pass: Pass,
    parts: usize,
) -> Option<ValueSplit> {
    let results = share.made.iter().map(|made| match *made {
        Made::Kept(i) => Whole::Kept(i),
        Made::Result(k) if pass == Pass::Backward => match wrt[k] {
            Wrt::Input(i, _) => Whole::Input(i),
            Wrt::Param(i) => Whole::Param(i),
            Wrt::Carry(k) => Whole::State(k),
        },
        Made::Result(k) => k.checked_sub(r.outs.len()).map_or(Whole::Out(k), Whole::State),
    });
    let results: Vec<(Whole, usize)> = results.map(of_chunk).collect();
    let values = usize::from(!normal.states[0].transposed);
    split_values(&share.program, true, &results, &[(Whole::State(0), values)], parts)
}

/// The buffers of the pass, and what flows between its kernels.
fn all_buffers(
    r: &Recurrence,
    normal: &Normal,
    pass: Pass,
    choice: Choice,
    cut: &Cut,
) -> Vec<Buffer> {
    let whole = Choice { parts: 1, ..choice };
    let mut all = buffers(r, Body::Normal(normal), pass, whole, &HashMap::new());
    // What reads the states at chunks needs them, whether or not somebody else asks for them.
    let read = pass == Pass::Forward && !cut.shares.read.made.is_empty();
    for buffer in all.iter_mut().filter(|buffer| buffer.role == Role::Saved) {
        buffer.may_be_absent &= !read;
    }
    let chunks = Dim::Chunks { every: choice.chunk };
    for (i, (shape, number)) in cut.shares.kept.iter().enumerate() {
        let dims = of_heads(&[chunks], Dim::Heads, shape);
        let buffer = Buffer::new(&format!("kept_{i}"), Binding::Kept(i), Role::Temporary, dims);
        all.push(buffer.held(*number));
    }
    let wants = |k: usize| {
        let mut leaves = cut.shares.read.program.leaves();
        leaves.any(|(_, leaf, _)| *leaf == Leaf::CarryCotangent(k))
    };
    if (0..r.states.len()).any(wants) {
        for (k, state) in r.states.iter().enumerate() {
            let dims = of_heads(&[chunks], Dim::Heads, &state.shape);
            let name = format!("d_state_{}_at_chunks", state.name);
            let buffer = Buffer::new(&name, Binding::BoundaryGrad(k), Role::Temporary, dims);
            all.push(buffer.held(between_chunks(r)));
        }
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use lrc_dsl::Sources;

    use super::super::super::space::Unit;
    use super::super::super::target::GPUS;
    use super::super::super::verify::verify;
    use super::super::{Known, build};
    use super::*;
    use crate::elaborate::{Setting, elaborate};
    use crate::strategy::{Strategy, of};

    fn recurrence(text: &str) -> Recurrence {
        let mut sources = Sources::default();
        let (names, _) = lrc_dsl::load_text("r", text.into(), None, &[], &mut sources);
        let sizes = [("dk", 32.0), ("dv", 64.0)];
        let given = sizes.iter().map(|(n, x)| ((*n).to_string(), Setting::Number(*x))).collect();
        elaborate(names.decls.get(&names.own[0]).unwrap(), &given, &mut Vec::new()).unwrap()
    }

    #[test]
    fn cut_schedules_keep_all_promises() {
        let texts = [
            include_str!("../../../../specs/recurrences/gated_delta_rule.arch"),
            include_str!("../../../../specs/recurrences/simple_gla.arch"),
            include_str!("../../../../specs/recurrences/gla.arch"),
        ];
        for r in texts.map(recurrence) {
            let Strategy::Chunk(normal) = of(&r) else { panic!("{} has a normal form", r.name) };
            for (pass, split, parts) in [
                (Pass::Forward, Split::Carry, 1),
                (Pass::Forward, Split::Carry, 2),
                (Pass::Backward, Split::Carry, 1),
                (Pass::Backward, Split::Read, 1),
                (Pass::Backward, Split::Read, 2),
            ] {
                let choice = Choice {
                    chunk: 16,
                    other: 16,
                    parts,
                    warps: 4,
                    unit: Unit::Mma,
                    stages: 1,
                    split,
                };
                let (body, mut known) = (Body::Normal(&normal), Known::default());
                let made = build(&r, body, pass, choice, GPUS[0], &mut known).unwrap();
                let made = made.unwrap_or_else(|| panic!("{} {pass:?} {split:?} {parts}", r.name));
                let made = made.finish(GPUS[0]);
                assert!(made.kernels.len() >= 2);
                assert_eq!(verify(&made, GPUS[0].shared), [], "{made}");
            }
        }
    }
}
