//! The text of what goes over fragments: each thread does the elements that it holds of them.

use super::Text;
use super::expr::expr;
use super::map::in_registers;
use super::step::{inside, place_of};
use crate::plan::{Fragment, Kernel, Step, Target};

impl Text<'_> {
    /// A map over fragments: each thread goes over what it holds of them.
    pub(super) fn map_fragments(&mut self, k: &Kernel, step: &Step, fragment: Fragment) {
        let Step::Map { sizes, filled, value, to, add, group, exchanged, .. } = step else {
            return;
        };
        let [p, q] = fragment.axes;
        let mut whole = sizes.clone();
        whole[p] = sizes[p].next_multiple_of(fragment.warp.rows);
        whole[q] = sizes[q].next_multiple_of(fragment.warp.cols);
        let short = inside(sizes, &whole);
        let reads = self.reads(k, step, &short);
        let value = expr(self.of, k, value, &reads.named);
        self.warp_tiles(k, sizes, fragment, true, |t| {
            let eighths = fragment.warp.cols / 8;
            let zeros = filled != sizes && !short.is_empty();
            let value = if zeros { format!("{short} ? {value} : 0.f") } else { value.clone() };
            let pair = |t: &mut Self| {
                reads.lines.iter().for_each(|line| t.line(line));
                t.held(q, *group, |t| t.line(&format!("y.x[l] = {value};")));
            };
            if *exchanged > 1 {
                let unless = if zeros { "" } else { &short };
                let each = format!("each_wide<{eighths}, {exchanged}>");
                let call = [each.as_str(), ""];
                return t.exchanged(k, call, *exchanged, (fragment.axes, unless), to, pair);
            }
            let each = if *group > 1 { "each_pair" } else { "each_place" };
            let head =
                format!("{each}<{eighths}>(row0, col0, [&](int i{p}, int i{q}, int held) {{");
            t.line(&head);
            t.depth += 1;
            let body = |t: &mut Self| {
                if *group == 1 || in_registers(k, to) {
                    reads.lines.iter().for_each(|line| t.line(line));
                    return t.held(q, *group, |t| t.store(k, to, &value, *add));
                }
                t.line(&format!("Group<{group}> y;"));
                pair(t);
                t.put(k, to, *group, "y", *add);
            };
            if short.is_empty() || zeros {
                body(t);
            } else {
                t.block(&format!("if ({short})"), body);
            }
            t.depth -= 1;
            t.line("});");
        });
    }

    /// Pairs of a fragment, some of which lanes exchange and store at once: the call that goes over them and what it gives
    /// to `pair` beside their place, how many are stored at once, and the condition under which there are elements.
    pub(super) fn exchanged(
        &mut self,
        k: &Kernel,
        [each, of]: [&str; 2],
        pairs: usize,
        ([p, q], unless): ([usize; 2], &str),
        to: &Target,
        pair: impl FnOnce(&mut Self),
    ) {
        let lambda = format!("[&](int i{p}, int i{q}");
        self.line(&format!("{each}(row0, col0, {lambda}, {of}int held) {{"));
        self.depth += 1;
        self.line("Group<2> y = {};");
        self.only(unless, pair);
        self.line("return y;");
        self.depth -= 1;
        self.line(&format!("}}, {lambda}, uint{pairs} y) {{"));
        self.depth += 1;
        self.only(unless, |t| {
            let (place, guard) = place_of(t.of, k, to);
            t.line(&format!("auto const there = &{place};"));
            t.line(&format!("{guard}put_words(there, y);"));
        });
        self.depth -= 1;
        self.line("});");
    }

    /// Lines under a condition, if there is one.
    pub(super) fn only(&mut self, when: &str, body: impl FnOnce(&mut Self)) {
        if when.is_empty() { body(self) } else { self.block(&format!("if ({when})"), body) }
    }

    /// Lines for each element of a group that a thread holds.
    pub(super) fn held(&mut self, axis: usize, group: usize, body: impl FnOnce(&mut Self)) {
        if group == 1 {
            return body(self);
        }
        self.line(&format!("const int first = i{axis}, of_group = held;"));
        self.line("#pragma unroll");
        self.block(&format!("for (int l = 0; l < {group}; l++)"), |t| {
            t.line(&format!("const int i{axis} = first + l, held = of_group + l;"));
            body(t);
        });
    }
}
