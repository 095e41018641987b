//! How many micro-steps a token has: writes of one update are made side by side, where at most one of them contains reads.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lrc_compiler::chunk::derive;
use lrc_compiler::elaborate::{Setting, elaborate};
use lrc_compiler::strategy::{Strategy, of};
use lrc_compiler::tile::Op;
use lrc_dsl::Sources;

/// Rows of the triangular system of a chunk of 8 tokens, and what its Grams with a decay per channel are: rows and writes.
fn of_chunk(text: &str) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut sources = Sources::default();
    let (names, _) = lrc_dsl::load_text("r", text.into(), None, &[], &mut sources);
    let sizes = [("dk", 4.0), ("dv", 4.0)];
    let given = sizes.iter().map(|(n, x)| ((*n).to_string(), Setting::Number(*x))).collect();
    let declared = names.decls.get(&names.own[0]).unwrap();
    let r = elaborate(declared, &given, &mut Vec::new()).unwrap();
    let Strategy::Chunk(normal) = of(&r) else { panic!("{} has a normal form", r.name) };
    let program = derive(&r, &normal, 8, true).unwrap().program;
    let shapes = |is: fn(&Op) -> bool| -> Vec<Vec<usize>> {
        program.nodes.iter().filter(|n| is(&n.op)).map(|n| n.shape.clone()).collect()
    };
    let systems = shapes(|op| matches!(op, Op::Solve(_))).iter().map(|shape| shape[0]).collect();
    (systems, shapes(|op| matches!(op, Op::Gram(_))))
}

#[test]
fn what_an_update_writes_without_reads_is_no_row_of_the_system() {
    for text in [
        include_str!("../../specs/recurrences/rwkv7.arch"),
        include_str!("../../specs/recurrences/dplr.arch"),
    ] {
        // What erases sees itself and what is written; so does the query.
        let (systems, grams) = of_chunk(text);
        assert_eq!(systems, [8]);
        assert_eq!(grams, vec![vec![8, 8]; 4]);
    }
}

#[test]
fn writes_that_all_contain_reads_are_micro_steps() {
    let text = "recurrence r {
    in q, k, a, b : [dk]
    in v          : [dv]
    state S       : [dk, dv]

    S[t] = S[t-1] - a * (a^T * S[t-1]) - b * (b^T * S[t-1]) + k * v^T
    out o = S[t]^T * q
}";
    let (systems, _) = of_chunk(text);
    assert_eq!(systems, [24]);
}
