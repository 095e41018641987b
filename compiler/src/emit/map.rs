//! The text of maps and sums: which thread makes which elements, and what it has read before it computes.

use super::Text;
use super::expr::{condition, element, expr, placed};
use super::step::{inside, place_of};
use crate::plan::index::Ix;
use crate::plan::lower::WARP;
use crate::plan::{Access, Expr, Kernel, Reduction, Step, Target, Tile, groups};

/// Elements of a thread that are computed before any of them is stored, and parts of their expressions: enough reads in
/// flight, and little to compile.
const ELEMENTS: usize = 16;
const PARTS: usize = 160;
/// The same of what reads the device's memory, which answers late.
const FAR: usize = 32;
/// Rounds of a loop over terms that are written out.
const TERMS: usize = 8;
/// Results of a warp that are made together.
const RESULTS: usize = 4;

/// What is read for all elements of a group before any is computed.
#[derive(Default)]
pub(super) struct Reads {
    /// The reads, and what stands in their place.
    pub(super) named: Vec<(Expr, String)>,
    /// The lines that read.
    pub(super) lines: Vec<String>,
}

/// A read of a step.
struct Read {
    of: Expr,
    /// How many numbers it brings.
    size: usize,
    place: String,
    /// Whether nobody writes there while the kernel runs.
    constant: bool,
    /// Any of these must hold, if there are some, for the place to be one.
    when: Vec<String>,
    /// The read, or zero where the first of them does not hold.
    or_zero: Option<Expr>,
}

impl Read {
    /// What the read itself says: where it is not made, it brings zeros.
    fn zero_if_not(&self) -> Option<Expr> {
        self.or_zero.clone().filter(|_| self.constant && self.when.len() == 1)
    }

    /// What stands in its place, and the line that reads; nothing where it is left to each element.
    fn first(self, number: usize) -> Option<(Expr, String, String)> {
        let Read { of, size, place, constant, when, .. } = self;
        let when: Vec<String> = when.iter().map(|when| format!("({when})")).collect();
        let (name, when) = (format!("x{number}"), when.join(" || "));
        let line = match (size, when.is_empty()) {
            (1, true) => return None,
            (size, true) => format!("const Group<{size}> {name} = get<{size}>(&{place});"),
            (size, false) if constant => {
                format!("const Group<{size}> {name} = get_if<{size}>(&{place}, {when});")
            }
            (1, false) => return None,
            (size, false) => {
                format!("Group<{size}> {name} = {{}}; if ({when}) {name} = get<{size}>(&{place});")
            }
        };
        let own = if size > 1 { "l" } else { "0" };
        Some((of, format!("{name}.x[{own}]"), line))
    }
}

/// The lines that some text becomes.
type Lines = Box<dyn Fn(&str) -> Vec<String>>;

/// How rounds of a loop give a thread its groups.
pub(super) struct Spread {
    /// The lines of a group's indices, given the text of its round.
    pub(super) indices: Lines,
    /// Rounds of the loop.
    pub(super) rounds: usize,
    /// Under which condition there is such a group, where threads are left over.
    pub(super) when: Option<String>,
    /// The axis along which a thread moves on from round to round, and how far, where its place along all others stays.
    pub(super) along: Option<(usize, usize)>,
}

/// Shares a loop's groups: a thread keeps its place along all axes but the first, where that comes out even.
pub(super) fn spread(sizes: &[usize], axis: Option<usize>, group: usize, threads: usize) -> Spread {
    let mut counts = sizes.to_vec();
    axis.iter().for_each(|axis| counts[*axis] /= group);
    let first = counts.iter().position(|n| *n > 1).unwrap_or(0);
    let inner: usize = counts.iter().skip(first + 1).product();
    let count = counts.first().map_or(1, |_| counts[first]);
    let named = move |place: String, from: usize| -> Vec<String> {
        let mut below = 1;
        // A group that is all of its axis.
        let alone = axis.filter(|at| group > 1 && counts[*at] == 1);
        let mut lines: Vec<String> =
            alone.iter().map(|axis| format!("const int i{axis} = 0;")).collect();
        for at in (from..counts.len()).rev().filter(|at| counts[*at] > 1) {
            let n = counts[at];
            let own = if below == 1 { place.clone() } else { format!("({place}) / {below}") };
            let all = counts[from..at].iter().all(|n| *n == 1);
            let own = if all { own } else { format!("({own}) % {n}") };
            let own =
                if axis == Some(at) && group > 1 { format!("({own}) * {group}") } else { own };
            lines.insert(0, format!("const int i{at} = {own};"));
            below *= n;
        }
        lines
    };
    let even = threads.is_multiple_of(inner) && threads / inner <= count.max(1);
    if even && count > 1 {
        let per = threads / inner;
        let along = if axis == Some(first) { group } else { 1 };
        let times = if along > 1 { format!(" * {along}") } else { String::new() };
        let own = if inner == 1 { "threadIdx.x".into() } else { format!("threadIdx.x / {inner}") };
        let indices = move |round: &str| {
            let mut lines =
                vec![format!("const int i{first} = {};", later(&own, round, per, &times))];
            let place = if inner == 1 { String::new() } else { format!("threadIdx.x % {inner}") };
            lines.extend(named(place, first + 1));
            lines
        };
        let rounds = count.div_ceil(per);
        let when = (!count.is_multiple_of(per)).then(|| format!("i{first} < {}", count * along));
        return Spread {
            indices: Box::new(indices),
            rounds,
            when,
            along: Some((first, per * along)),
        };
    }
    let all = count.max(1) * inner;
    let rounds = all.div_ceil(threads);
    let indices = move |round: &str| {
        let mut lines =
            vec![format!("const int e = {};", later("threadIdx.x", round, threads, ""))];
        lines.extend(named("e".into(), first));
        lines
    };
    let when = (!all.is_multiple_of(threads)).then(|| format!("e < {all}"));
    Spread { indices: Box::new(indices), rounds, when, along: None }
}

/// A place some rounds later, times something.
fn later(own: &str, round: &str, per: usize, times: &str) -> String {
    let place = match round {
        "0" => own.to_string(),
        round if round.contains(' ') => format!("{own} + ({round}) * {per}"),
        round => format!("{own} + {round} * {per}"),
    };
    if times.is_empty() { place } else { format!("({place}){times}") }
}

/// How many parts an expression has.
fn parts(value: &Expr) -> usize {
    let mut found = 0;
    value.walk(&mut |_| found += 1);
    found
}

/// The largest divisor of a number up to a bound.
pub(super) fn divisor(n: usize, most: usize) -> usize {
    (1..=most.max(1)).rev().find(|at| n.is_multiple_of(*at)).unwrap_or(1)
}

impl Text<'_> {
    pub(super) fn map(&mut self, k: &Kernel, step: &Step) {
        let Step::Map { sizes, filled, value, to, rest, add, group, .. } = step else { return };
        let axis = groups::axis(step);
        let spread = spread(filled, axis, *group, k.threads);
        let short = inside(sizes, filled);
        let reads = self.reads(k, step, &short);
        // Registers for more would keep another block out, or have no room beside tiles in registers.
        let room = k.cost.blocks == 1 && !k.tiles.iter().any(Tile::in_registers);
        let elements = if value.reads_buffers() && room { FAR } else { ELEMENTS };
        let most = (elements / group).min(PARTS / (group * parts(value)));
        let value = expr(self.of, k, value, &reads.named);
        let value = if short.is_empty() { value } else { format!("{short} ? {value} : 0.f") };
        let ahead = if spread.when.is_none() { divisor(spread.rounds, most) } else { 1 };
        let body = |t: &mut Self, round: &str| {
            let compute = |t: &mut Self, own: &str| {
                reads.lines.iter().for_each(|line| t.line(line));
                t.group(axis, *group, &format!("{own}.x[l] = {value};"));
            };
            if ahead == 1 {
                (spread.indices)(round).iter().for_each(|line| t.line(line));
                let all = |t: &mut Self| {
                    if *group == 1 && rest.is_none() {
                        reads.lines.iter().for_each(|line| t.line(line));
                        return t.store(k, to, &value, *add);
                    }
                    t.line(&format!("Group<{group}> y;"));
                    compute(t, "y");
                    t.put_all(k, step, "y");
                };
                return match &spread.when {
                    Some(when) => t.block(&format!("if ({when})"), all),
                    None => all(t),
                };
            }
            t.line(&format!("Group<{group}> y[{ahead}];"));
            let each = format!("for (int u = 0; u < {ahead}; u++)");
            let round = if round == "0" { "u".into() } else { format!("{round} + u") };
            t.line("#pragma unroll");
            t.block(&each, |t| {
                (spread.indices)(&round).iter().for_each(|line| t.line(line));
                compute(t, "y[u]");
            });
            t.line("#pragma unroll");
            t.block(&each, |t| {
                (spread.indices)(&round).iter().for_each(|line| t.line(line));
                t.put_all(k, step, "y[u]");
            });
        };
        if spread.rounds <= ahead {
            return self.block("", |t| body(t, "0"));
        }
        self.line("#pragma unroll 1");
        let step = if ahead == 1 { "r++".to_string() } else { format!("r += {ahead}") };
        let head = format!("for (int r = 0; r < {}; {step})", spread.rounds);
        self.block(&head, |t| body(t, "r"));
    }

    /// A line for each element of a group, its own index being in reach.
    fn group(&mut self, axis: Option<usize>, group: usize, line: &str) {
        let Some(axis) = axis.filter(|_| group > 1) else {
            return self.line(&line.replace("x[l]", "x[0]"));
        };
        self.line(&format!("const int first = i{axis};"));
        self.line("#pragma unroll");
        self.block(&format!("for (int l = 0; l < {group}; l++)"), |t| {
            t.line(&format!("const int i{axis} = first + l;"));
            t.line(line);
        });
    }

    /// What a step's elements read, where the whole of a group is read at once, or where it must not be read at all: what
    /// is read under a condition would wait for it, one read after the other. `short` says which elements are there.
    pub(super) fn reads(&self, k: &Kernel, step: &Step, short: &str) -> Reads {
        let (mut found, mut guards) = (vec![], vec![]);
        if !short.is_empty() {
            guards.push(short.to_string());
        }
        for value in step.values() {
            self.collect(k, step, value, &mut guards, &mut found);
        }
        let mut reads = Reads::default();
        for (number, read) in found.into_iter().enumerate() {
            let zero_if_not = read.zero_if_not();
            if let Some((of, name, line)) = read.first(number) {
                reads.named.extend(zero_if_not.map(|e| (e, name.clone())));
                reads.named.push((of, name));
                reads.lines.push(line);
            }
        }
        reads
    }

    fn collect(
        &self,
        k: &Kernel,
        step: &Step,
        e: &Expr,
        guards: &mut Vec<String>,
        found: &mut Vec<Read>,
    ) {
        match e {
            // What some elements of a group read and others do not is left to each, but for what lies in tiles: all of
            // it is there.
            Expr::Where(when, both) if !groups::is_shared(k, &self.of.buffers, step, when) => {
                both.iter().for_each(|e| self.tiles_of(k, step, e, guards, found));
            }
            Expr::Where(when, both) => {
                let when = condition(self.of, when);
                guards.push(when.clone());
                let known = found.len();
                self.collect(k, step, &both[0], guards, found);
                guards.pop();
                if let [read] = &mut found[known..]
                    && matches!(&both[1], Expr::Number(x) if x.value() == 0.0)
                    && (both[0] == read.of || Some(&both[0]) == read.or_zero.as_ref())
                {
                    read.or_zero = Some(e.clone());
                }
                guards.push(format!("!({when})"));
                self.collect(k, step, &both[1], guards, found);
                guards.pop();
            }
            Expr::Unary(_, x) => self.collect(k, step, x, guards, found),
            Expr::Binary(_, both) | Expr::Mul(both) | Expr::Weight(both) => {
                both.iter().for_each(|e| self.collect(k, step, e, guards, found));
            }
            Expr::Select(all) => all.iter().for_each(|e| self.collect(k, step, e, guards, found)),
            Expr::Tile(..) | Expr::Buffer(_) => self.read(k, step, e, guards, found),
            _ => {}
        }
    }

    /// Groups of tiles' elements that an expression reads, where the loop's own index lies inside the tile.
    fn tiles_of(
        &self,
        k: &Kernel,
        step: &Step,
        e: &Expr,
        guards: &[String],
        found: &mut Vec<Read>,
    ) {
        let (Step::Map { filled: sizes, .. }
        | Step::Reduce { sizes, .. }
        | Step::Product { sizes, .. }) = step
        else {
            return;
        };
        e.walk(&mut |e| {
            let inside = |(i, n): (&Ix, &usize)| i.as_axis().is_some_and(|axis| sizes[axis] <= *n);
            if let Expr::Tile(id, index) = e
                && index.iter().zip(&k.tile(*id).shape).all(inside)
                && groups::moves(k, &self.of.buffers, step, e) == Some(true)
            {
                self.read(k, step, e, guards, found);
            }
        });
    }

    /// One read, if it is of those that come first, beside where else it stands.
    fn read(&self, k: &Kernel, step: &Step, e: &Expr, guards: &[String], found: &mut Vec<Read>) {
        let when = guards.join(" && ");
        if let Some(read) = found.iter_mut().find(|read| read.of == *e) {
            read.when.retain(|_| !when.is_empty());
            if !read.when.is_empty() && !read.when.contains(&when) {
                read.when.push(when);
            }
            return;
        }
        let Some(moves) = groups::moves(k, &self.of.buffers, step, e) else { return };
        let size = if moves { group_of(step) } else { 1 };
        let (place, constant) = match e {
            Expr::Tile(id, index) => (element(k, *id, index), false),
            Expr::Buffer(from) => {
                let buffer = self.of.buffer(from.buffer);
                let constant = buffer.access == Access::Read && !buffer.in_place;
                (placed(k, buffer, from), constant)
            }
            _ => return,
        };
        let when = if when.is_empty() { vec![] } else { vec![when] };
        found.push(Read { of: e.clone(), size, place, constant, when, or_zero: None });
    }

    /// Stores a group of a map where it belongs, and what rounding leaves of it.
    fn put_all(&mut self, k: &Kernel, step: &Step, name: &str) {
        let Step::Map { to, rest, add, group, .. } = step else { return };
        self.put(k, to, *group, name, *add);
        if let (Some(rest), Target::Tile(_, index)) = (rest, to) {
            self.line(&format!("take_off_rounded({name});"));
            let to = Target::Tile(*rest, index.clone());
            self.block("", |t| t.put(k, &to, *group, name, false));
        }
    }

    /// Stores a group where it belongs, where all conditions hold.
    pub(super) fn put(&mut self, k: &Kernel, to: &Target, group: usize, name: &str, add: bool) {
        if group == 1 {
            return self.store(k, to, &format!("{name}.x[0]"), add);
        }
        let (place, guard) = place_of(self.of, k, to);
        let put = match (to, add) {
            (Target::Tile(..), false) => "put",
            (Target::Tile(..), true) => "put_sum",
            (Target::Buffer(..), false) => "put_out",
            (Target::Buffer(..), true) => "put_out_sum",
        };
        // The place stands before the question, so that neighbours in a row share what finds it.
        self.line(&format!("auto const there = &{place};"));
        self.line(&format!("{guard}{put}<{group}>(there, {name});"));
    }

    pub(super) fn reduce(&mut self, k: &Kernel, step: &Step) {
        let Step::Reduce { sizes, over, reduction, lanes, value, to, .. } = step else { return };
        if *lanes == WARP {
            return self.reduce_by_warps(k, step);
        }
        let Step::Reduce { group, .. } = step else { return };
        let kept: Vec<usize> = (0..sizes.len()).filter(|axis| !over.contains(axis)).collect();
        let terms: usize = over.iter().map(|axis| sizes[*axis]).product();
        let reads = self.reads(k, step, "");
        let (start, put, _) = added(*reduction, &expr(self.of, k, value, &reads.named));
        let put = put.replace("x = ", "y.x[l] = ").replace("x += ", "y.x[l] += ");
        let put = put.replace("larger(x,", "larger(y.x[l],");
        let axis = groups::axis(step).filter(|_| *group > 1);
        let mut counts = sizes.clone();
        axis.iter().for_each(|axis| counts[*axis] /= group);
        let results: usize = kept.iter().map(|axis| counts[*axis]).product();
        self.line("#pragma unroll 1");
        let each = format!("for (int e = threadIdx.x; e < {results}; e += THREADS)");
        self.block(&each, |t| {
            t.grouped("e", &counts, &kept, axis.map(|axis| (axis, *group)));
            t.line(&format!("Group<{group}> y;"));
            t.line("#pragma unroll");
            t.line(&format!("for (int l = 0; l < {group}; l++) y.x[l] = {start};"));
            // Of a few terms NVRTC would read eight at a time, more than there are.
            let unroll = divisor(terms, (TERMS / group).max(2));
            t.line(&format!("#pragma unroll {unroll}"));
            t.block(&format!("for (int s = 0; s < {terms}; s++)"), |t| {
                t.indices("s", sizes, over);
                reads.lines.iter().for_each(|line| t.line(line));
                t.group(axis, *group, &put);
            });
            t.put(k, to, *group, "y", false);
        });
    }

    /// A warp makes several results at a time, so that reads and exchanges of one need not wait for another's.
    fn reduce_by_warps(&mut self, k: &Kernel, step: &Step) {
        let Step::Reduce { sizes, over, reduction, group, value, to, .. } = step else { return };
        let kept: Vec<usize> = (0..sizes.len()).filter(|axis| !over.contains(axis)).collect();
        let count = |axes: &[usize]| axes.iter().map(|axis| sizes[*axis]).product::<usize>();
        let (results, terms, warps) = (count(&kept), count(over), k.threads / WARP);
        let reads = self.reads(k, step, "");
        let text = expr(self.of, k, value, &reads.named);
        let (start, put, all) = added(*reduction, &text);
        let rounds = terms.div_ceil(WARP * group);
        let whole = terms.is_multiple_of(WARP * group);
        let unroll = if whole { divisor(rounds, (TERMS / group).max(1)) } else { 1 };
        let even = results.is_multiple_of(warps);
        let together = if even { divisor(results / warps, RESULTS) } else { 1 };
        let head =
            format!("for (int e = threadIdx.x / 32; e < {results}; e += {})", together * warps);
        self.line("#pragma unroll 1");
        self.block(&head, |t| {
            t.line(&format!("float x[{together}];"));
            let each = format!("for (int u = 0; u < {together}; u++)");
            let indices = |t: &mut Self| {
                t.line("const int result = e + u * WARPS;");
                t.indices("result", sizes, &kept);
            };
            t.line("#pragma unroll");
            t.block(&each, |t| {
                indices(t);
                t.line(&format!("x[u] = {start};"));
                t.line(&format!("#pragma unroll {unroll}"));
                let from = if *group > 1 { format!(" * {group}") } else { String::new() };
                let head = format!(
                    "for (int s = threadIdx.x % 32{from}; s < {terms}; s += {})",
                    WARP * group
                );
                let put = put.replace("x = ", "x[u] = ").replace("x += ", "x[u] += ");
                let put = put.replace("larger(x,", "larger(x[u],");
                t.block(&head, |t| {
                    t.indices("s", sizes, over);
                    reads.lines.iter().for_each(|line| t.line(line));
                    t.group(groups::axis(step), *group, &put);
                });
            });
            t.line("#pragma unroll");
            t.block(&each, |t| t.line(&format!("x[u] = {all}(x[u]);")));
            t.block("if (threadIdx.x % 32 == 0)", |t| {
                t.line("#pragma unroll");
                t.block(&each, |t| {
                    indices(t);
                    t.store(k, to, "x[u]", false);
                });
            });
        });
    }
}

/// How many neighbours a thread of a step makes together.
fn group_of(step: &Step) -> usize {
    match step {
        Step::Map { group, .. } | Step::Reduce { group, .. } | Step::Product { group, .. } => {
            *group
        }
        _ => 1,
    }
}

/// Where a sum or a maximum starts, the line that takes a term in, and the function that puts lanes together.
fn added(reduction: Reduction, term: &str) -> (&'static str, String, &'static str) {
    match reduction {
        Reduction::Sum => ("0.f", format!("x += {term};"), "warp_sum"),
        Reduction::Largest => ("LOWEST", format!("x = larger(x, {term});"), "warp_largest"),
    }
}

/// Whether a target is what threads hold.
pub(super) fn in_registers(k: &Kernel, to: &Target) -> bool {
    matches!(to, Target::Tile(id, _) if k.tile(*id).in_registers())
}
