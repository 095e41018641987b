//! Every promise, with a fault planted into a sound schedule that breaks it.

mod groups;

use lrc_dsl::Sources;

use super::super::chunk::{Body, Known};
use super::super::space::{Choice, Given, Split, Unit};
use super::super::target::{GPUS, Gpu};
use super::super::*;
use super::verify;
use crate::elaborate::{Setting, elaborate};
use crate::strategy::{self, Strategy};

const GPU: Gpu = GPUS[0];

fn recurrence(text: &str, sizes: &[(&str, f64)]) -> Recurrence {
    let mut sources = Sources::default();
    let (names, _) = lrc_dsl::load_text("planted", text.into(), None, &[], &mut sources);
    let given = sizes.iter().map(|(n, x)| ((*n).to_string(), Setting::Number(*x))).collect();
    let mut diags = Vec::new();
    let decl = names.own.first().and_then(|name| names.decls.get(name)).unwrap();
    elaborate(decl, &given, &mut diags).unwrap()
}

fn schedule(text: &str, sizes: &[(&str, f64)], pass: Pass) -> Schedule {
    let r = recurrence(text, sizes);
    let strategy = strategy::of(&r);
    super::super::schedule(&r, &strategy, pass, GPU, Given::Tokens(16)).unwrap()
}

/// One kernel, chunk after chunk: with a loop, copies and states in registers.
fn delta(pass: Pass) -> Schedule {
    delta_split(pass, Split::Fused)
}

/// The same recurrence, cut as a choice says.
fn delta_split(pass: Pass, split: Split) -> Schedule {
    let text = include_str!("../../../../specs/recurrences/gated_delta_rule.arch");
    let r = recurrence(text, &[("dk", 16.0), ("dv", 16.0)]);
    let Strategy::Chunk(normal) = strategy::of(&r) else { panic!("it has a normal form") };
    let chunk = if pass == Pass::Decode { 1 } else { 16 };
    let choice = Choice {
        chunk,
        other: chunk,
        parts: 1,
        warps: 4,
        unit: Unit::Mma,
        stages: usize::from(chunk > 1),
        split,
    };
    let (body, mut known) = (Body::Normal(&normal), Known::default());
    let made = chunk::build(&r, body, pass, choice, GPU, &mut known).unwrap().unwrap();
    made.finish(GPU)
}

fn attention(pass: Pass) -> Schedule {
    let text = include_str!("../../../../specs/recurrences/softmax_attn.arch");
    schedule(text, &[("d", 16.0)], pass)
}

/// Calls `f` with every step of a body.
fn each(body: &mut [Stmt], f: &mut dyn FnMut(&mut Step)) {
    for stmt in body {
        match stmt {
            Stmt::Step(step) => f(step),
            Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => each(body, f),
        }
    }
}

/// The first step that `f` changes.
fn change(schedule: &mut Schedule, mut f: impl FnMut(&mut Step) -> bool) {
    let mut done = false;
    for kernel in &mut schedule.kernels {
        each(&mut kernel.body, &mut |step| done = done || f(step));
    }
    assert!(done, "there is something to change");
}

fn breaks(promise: u8, schedule: &Schedule) {
    let wrong = verify(schedule, GPU.shared);
    assert!(wrong.iter().any(|broken| broken.promise == promise), "P{promise}: {wrong:#?}");
}

#[test]
fn sound_schedules_keep_all_promises() {
    for schedule in [Pass::Forward, Pass::Backward, Pass::Decode].map(delta) {
        assert_eq!(verify(&schedule, GPU.shared), []);
    }
    for schedule in [Pass::Forward, Pass::Backward].map(attention) {
        assert_eq!(verify(&schedule, GPU.shared), []);
    }
}

#[test]
fn p1_tiles_lie_in_memory() {
    let mut planted = delta(Pass::Forward);
    planted.kernels[0].shared -= 1;
    breaks(1, &planted);
    let sound = delta(Pass::Forward);
    assert!(verify(&sound, sound.kernels[0].shared - 1).iter().any(|broken| broken.promise == 1));
    let mut planted = delta(Pass::Forward);
    let operands = planted.kernels[0].tiles.iter_mut().filter(|t| t.number == Number::Bf16);
    operands.for_each(|tile| (tile.space, tile.at) = (Space::Workspace, Some(0)));
    breaks(1, &planted);
}

#[test]
fn p2_tiles_that_live_together_share_no_bytes() {
    let mut planted = delta(Pass::Forward);
    for tile in &mut planted.kernels[0].tiles {
        if tile.at.is_some() {
            tile.at = Some(0);
        }
    }
    breaks(2, &planted);
}

#[test]
fn p3_indices_lie_inside_tiles() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Map { to: Target::Tile(_, index), .. } if !index.is_empty() => {
            index[0] = index[0].plus(&index::Ix::number(1));
            true
        }
        _ => false,
    });
    breaks(3, &planted);
}

#[test]
fn p4_indices_lie_inside_buffers() {
    let mut planted = delta(Pass::Forward);
    for buffer in &mut planted.buffers {
        buffer.dims.iter_mut().filter(|dim| **dim == Dim::Number(16)).for_each(|dim| {
            *dim = Dim::Number(15);
        });
    }
    breaks(4, &planted);
    let mut planted = delta(Pass::Forward);
    planted.buffers[0].dims.retain(|dim| *dim != Dim::Rows);
    breaks(4, &planted);
}

#[test]
fn p5_steps_that_meet_wait() {
    let count = |schedule: &Schedule| {
        let steps = schedule.kernels[0].steps();
        steps.into_iter().filter(|step| **step == Step::Barrier).count()
    };
    for pass in [Pass::Forward, Pass::Backward] {
        let barriers = count(&delta(pass));
        let needed = (0..barriers).filter(|without| {
            let mut planted = delta(pass);
            let mut at = 0;
            remove(&mut planted.kernels[0].body, &mut |step| {
                at += usize::from(*step == Step::Barrier);
                *step == Step::Barrier && at == without + 1
            });
            assert_eq!(count(&planted), barriers - 1);
            verify(&planted, GPU.shared).iter().any(|broken| broken.promise == 5)
        });
        // Those around a loop stand there in any case.
        assert!(barriers > 6 && needed.count() + 2 >= barriers);
    }
}

/// Takes steps out.
fn remove(body: &mut Vec<Stmt>, which: &mut dyn FnMut(&Step) -> bool) {
    body.retain_mut(|stmt| match stmt {
        Stmt::Step(step) => !which(step),
        Stmt::Loop(Loop { body, .. }) | Stmt::Given(_, body) => {
            remove(body, which);
            true
        }
    });
}

/// Whether a step writes a buffer that is called so.
fn writes(schedule: &Schedule, step: &Step, name: &str) -> bool {
    let to = step.target().and_then(Target::element);
    to.is_some_and(|element| schedule.buffer(element.buffer).name == name)
}

#[test]
fn p6_results_are_written_whole() {
    let sound = delta(Pass::Forward);
    let mut planted = sound.clone();
    remove(&mut planted.kernels[0].body, &mut |step| writes(&sound, step, "out_o"));
    breaks(6, &planted);
    let mut planted = sound.clone();
    change(&mut planted, |step| {
        let found = writes(&sound, step, "state_S_after");
        if let (true, Step::Map { sizes, filled, .. }) = (found, &mut *step) {
            sizes[0] -= 1;
            filled[0] -= 1;
        }
        found
    });
    breaks(6, &planted);
}

#[test]
fn p7_kernels_read_what_others_have_written() {
    let mut planted = attention(Pass::Backward);
    assert!(planted.buffers.iter().any(|buffer| buffer.role == Role::Temporary));
    planted.kernels.reverse();
    breaks(7, &planted);
    // What is copied is read too.
    let mut planted = delta_split(Pass::Forward, Split::Carry);
    assert_eq!(verify(&planted, GPU.shared), []);
    planted.kernels.reverse();
    breaks(7, &planted);
}

#[test]
fn p8_what_may_be_absent_is_asked_for() {
    let mut planted = delta(Pass::Forward);
    let sound = planted.clone();
    let open = |body: &mut Vec<Stmt>| {
        let all = std::mem::take(body).into_iter();
        *body = all
            .flat_map(|stmt| match stmt {
                Stmt::Given(_, body) => body,
                other => vec![other],
            })
            .collect();
    };
    open(&mut planted.kernels[0].body);
    for stmt in &mut planted.kernels[0].body {
        if let Stmt::Loop(Loop { body, .. }) = stmt {
            open(body);
        }
    }
    assert_ne!(planted.kernels[0].body, sound.kernels[0].body);
    breaks(8, &planted);
}

#[test]
fn p9_tiles_are_written_before_they_are_read() {
    let mut planted = delta(Pass::Forward);
    let mut first = true;
    remove(&mut planted.kernels[0].body, &mut |step| {
        let tile = matches!(step, Step::Map { to: Target::Tile(..), .. });
        tile && std::mem::take(&mut first)
    });
    let mut again = planted.clone();
    remove(&mut again.kernels[0].body, &mut |step| {
        matches!(step, Step::Map { to: Target::Tile(..), .. })
    });
    breaks(9, &again);
}

#[test]
fn p10_operands_are_as_large_as_the_product() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Product { terms, .. } => {
            terms[0].length += 16;
            true
        }
        _ => false,
    });
    breaks(10, &planted);
}

#[test]
fn p11_a_step_reads_its_own_element_only() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Map { value, to: Target::Tile(tile, index), fragment: None, .. }
            if index.len() == 2 =>
        {
            let turned = vec![index[1].clone(), index[0].clone()];
            *value = Expr::Tile(*tile, turned);
            true
        }
        _ => false,
    });
    breaks(11, &planted);
}

/// What else a product makes of its sums: outside of its tile, of a sum that is none, of what it writes itself.
#[test]
fn p3_p10_and_p11_hold_for_all_results_of_a_product() {
    let sound = delta_split(Pass::Forward, Split::Carry);
    assert_eq!(verify(&sound, GPU.shared), []);
    let turned = |to: &Target| match to {
        Target::Tile(tile, index) => Expr::Tile(*tile, vec![index[1].clone(), index[0].clone()]),
        Target::Buffer(..) => panic!("it goes to a tile"),
    };
    for promise in [3, 10, 11] {
        let mut planted = sound.clone();
        change(&mut planted, |step| {
            let Step::Product { also, .. } = step else { return false };
            let Some((value, to)) = also.first_mut() else { return false };
            match (promise, &mut *to) {
                (3, Target::Tile(_, index)) => index[0] = index[0].plus(&index::Ix::number(1)),
                (10, _) => *value = Expr::Sum(7),
                (_, to) => *value = turned(to),
            }
            true
        });
        breaks(promise, &planted);
    }
}

#[test]
fn p12_what_a_kernel_touches_is_an_argument() {
    let mut planted = delta(Pass::Forward);
    planted.kernels[0].arguments.retain(|argument| *argument != Argument::Buffer(BufferId(0)));
    breaks(12, &planted);
    let mut planted = delta(Pass::Forward);
    planted.kernels[0].grid = Grid::Rows;
    breaks(12, &planted);
}

#[test]
fn p13_registers_are_touched_by_those_that_hold_them() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Map { fragment, .. } => fragment.take().is_some(),
        _ => false,
    });
    breaks(13, &planted);
    let mut planted = delta(Pass::Forward);
    let register = planted.kernels[0].tiles.iter().position(Tile::in_registers).unwrap();
    change(&mut planted, |step| match step {
        Step::Product { axes, to: Target::Tile(tile, _), .. } if tile.0 == register => {
            axes.swap(0, 1);
            true
        }
        _ => false,
    });
    breaks(13, &planted);
}

#[test]
fn p14_nothing_is_read_before_its_copy_has_landed() {
    let mut planted = delta(Pass::Forward);
    remove(&mut planted.kernels[0].body, &mut |step| matches!(step, Step::Wait { .. }));
    breaks(14, &planted);
    // In a kernel of single chunks, where a few copies run ahead.
    let mut planted = delta_split(Pass::Backward, Split::Read);
    assert_eq!(verify(&planted, GPU.shared), []);
    let last = planted.kernels.last_mut().unwrap();
    remove(&mut last.body, &mut |step| matches!(step, Step::Wait { .. }));
    breaks(14, &planted);
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Copy { round: Round::Ahead(ahead), .. } => {
            *ahead += 1;
            true
        }
        _ => false,
    });
    breaks(14, &planted);
}

#[test]
fn p15_no_stage_is_overwritten_while_it_is_used() {
    let mut planted = delta(Pass::Forward);
    let body = &mut planted.kernels[0].body;
    let is_copy = |stmt: &Stmt| matches!(stmt, Stmt::Step(Step::Copy { .. }));
    let first = body.iter().position(is_copy).unwrap();
    body.insert(first, body[first].clone());
    breaks(15, &planted);
    let mut planted = delta(Pass::Forward);
    for stmt in &mut planted.kernels[0].body {
        if let Stmt::Loop(Loop { body, .. }) = stmt {
            // From behind the barrier that its readers reach to before it.
            let copy = body.iter().position(is_copy).unwrap();
            body.swap(copy - 1, copy);
        }
    }
    breaks(15, &planted);
}

#[test]
fn p16_swizzled_rows_are_whole_pieces() {
    let mut planted = delta(Pass::Forward);
    let padded = planted.kernels[0].tiles.iter_mut().find(|t| t.number == Number::Bf16).unwrap();
    padded.space = Space::Shared(Swizzle::Rows);
    breaks(16, &planted);
}

#[test]
fn p17_copies_move_whole_pieces_in_order() {
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Copy { from, .. } if !from.index.is_empty() => {
            from.index[0] = index::Ix::axis(0);
            true
        }
        _ => false,
    });
    breaks(17, &planted);
    let mut planted = delta(Pass::Forward);
    change(&mut planted, |step| match step {
        Step::Copy { from, piece, .. } if from.index.is_empty() => {
            *piece = 16;
            true
        }
        _ => false,
    });
    breaks(17, &planted);
}

/// Zeros of a copy that asks nobody whether the call has its buffer, that asks nothing, and that differ within a piece.
#[test]
fn p8_and_p17_copies_fill_with_zeros() {
    let torn = Condition::Less(index::Ix::axis(1), index::Ix::number(1));
    for (promise, asks, more) in [(8, 1, None), (8, 0, None), (17, 2, Some(torn))] {
        let mut planted = delta(Pass::Backward);
        change(&mut planted, |step| match step {
            Step::Copy { when, .. } if !when.is_empty() => {
                // Whether the call has the buffer comes first.
                when.reverse();
                when.truncate(asks);
                when.extend(more.clone());
                true
            }
            _ => false,
        });
        breaks(promise, &planted);
    }
}

#[test]
fn p17_there_are_threads_for_all_of_a_copy() {
    let mut planted = delta(Pass::Forward);
    let threads = planted.kernels[0].threads;
    change(&mut planted, |step| match step {
        Step::Copy { first, .. } if *first > 0 => {
            *first = threads - 1;
            true
        }
        _ => false,
    });
    breaks(17, &planted);
}

#[test]
fn p18_rests_lie_as_what_they_are_left_of() {
    let mut planted = delta_split(Pass::Forward, Split::Carry);
    let mut found = false;
    for kernel in &mut planted.kernels {
        let mut beside = None;
        each(&mut kernel.body, &mut |step| {
            if let Step::Map { rest: Some(rest), .. } = step {
                beside = Some(rest.0);
            }
        });
        if let Some(rest) = beside.filter(|_| !found) {
            kernel.tiles[rest].strides.swap(0, 1);
            found = true;
        }
    }
    assert!(found, "a product reads more than bf16");
    breaks(18, &planted);
}

#[test]
fn p18_solves_are_of_plain_numbers() {
    for space in [Space::Shared(Swizzle::Rows), Space::Workspace] {
        let mut planted = delta(Pass::Forward);
        let mut solved = None;
        change(&mut planted, |step| match step {
            Step::Solve { x, .. } | Step::Invert { x, .. } => {
                solved = Some(x.0);
                true
            }
            _ => false,
        });
        let tile = &mut planted.kernels[0].tiles[solved.unwrap()];
        tile.space = space;
        if space == Space::Workspace {
            tile.number = Number::Bf16;
        }
        breaks(18, &planted);
    }
}
