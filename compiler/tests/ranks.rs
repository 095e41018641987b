//! Choosing the largest entries by comparing each with each chooses what sorting chooses.

use lrc_compiler::interpret::{Machine, Plan};
use lrc_compiler::plan::ranks::ranked;
use lrc_compiler::tile::{Builder, Int, Leaf, Program, Stream};

#[test]
fn ranks_choose_what_sorting_chooses() {
    let rows = [[0.5, -1.0, 0.5, 2.0, 0.5], [1.0; 5], [3.0, 2.0, 1.0, 0.0, -1.0]];
    for count in 1..=5 {
        let mut b = Builder::new();
        let x = b.leaf(Leaf::Read(Stream::Input(0), Int::T), &[3, 5]);
        let chosen = b.largest(x, count);
        let program = b.finish(&[chosen]);
        let run = |program: &Program| {
            let plan = Plan::new(program);
            let mut machine = Machine::<f64>::new(&plan);
            plan.run(&mut machine, 0, &[], &mut |_, _, to| to.copy_from_slice(&rows.concat()));
            plan.output(&machine, 0).to_vec()
        };
        assert_eq!(run(&ranked(&program)), run(&program), "{count}");
    }
}
