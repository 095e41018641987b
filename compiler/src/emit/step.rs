//! The text of each kind of step: how the threads of a block share its elements is said by the step.

use super::Text;
use super::expr::{condition, element, expr, placed, seen};
use super::map::in_registers;
use crate::plan::lower::{FRAGMENT, WARP};
use crate::plan::{
    Expr, Fragment, Kernel, Number, Operand, ScanOp, ScanSizes, Schedule, Sees, Space, Step,
    Swizzle, Target, Term,
};

/// Letters of a step that its comment shows.
const COMMENT: usize = 160;
/// Rounds of a loop that are written out: enough reads in flight, and little more to compile.
pub(super) const UNROLL: usize = 4;

impl Text<'_> {
    /// The text of a step, behind a comment that says what it does.
    pub(super) fn step(&mut self, k: &Kernel, step: &Step) {
        if *step == Step::Barrier {
            return self.line("wait_for_block();");
        }
        self.comment(step);
        match step {
            Step::Map { fragment: Some(fragment), .. } => self.map_fragments(k, step, *fragment),
            Step::Map { .. } => self.map(k, step),
            Step::Wait { pending, .. } => self.line(&format!("wait_for_copies<{pending}>();")),
            Step::Reduce { .. } => self.reduce(k, step),
            Step::Product { .. } => self.product(k, step),
            Step::Scan { .. } => self.scan(k, step),
            Step::Solve { a, x, transposed } => {
                let shape = &k.tile(*x).shape;
                let [rows, cols] = [shape[0], shape[1]];
                self.line(&format!(
                    "solve<{rows}, {cols}, {transposed}>(tile{}, tile{});",
                    a.0, x.0
                ));
            }
            Step::Invert { a, x } => {
                let [rows, own, made] =
                    [k.tile(*x).shape[0], k.tile(*a).strides[0], k.tile(*x).strides[0]];
                self.line(&format!("invert<{rows}, {own}, {made}>(tile{}, tile{});", a.0, x.0));
            }
            Step::LinearSolve { a, x } => {
                let shape = &k.tile(*x).shape;
                let [n, cols] = [shape[shape.len() - 2], shape[shape.len() - 1]];
                let count: usize = shape[..shape.len() - 2].iter().product();
                self.line(&format!(
                    "linear_solve<{count}, {n}, {cols}>(tile{}, tile{});",
                    a.0, x.0
                ));
            }
            // Copies stand together.
            Step::Copy { .. } | Step::Barrier => {}
        }
    }

    /// What a step does, from where on lines are the step's.
    pub(super) fn comment(&mut self, step: &Step) {
        let text = self.of.shown(step).to_string();
        let shown: String = text.chars().take(COMMENT).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        self.line(&format!("// {shown}{more}"));
        self.steps.push((self.lines, text));
    }

    /// The indices along all axes of the element `place` of a loop.
    pub(super) fn indices(&mut self, place: &str, sizes: &[usize], axes: &[usize]) {
        self.grouped(place, sizes, axes, None);
    }

    /// The same of the first element of a group along an axis, of which `sizes` has the number of groups.
    pub(super) fn grouped(
        &mut self,
        place: &str,
        sizes: &[usize],
        axes: &[usize],
        group: Option<(usize, usize)>,
    ) {
        let mut below = 1;
        let mut lines = Vec::new();
        for &axis in axes.iter().rev() {
            let n = sizes[axis];
            let times = group.filter(|(along, _)| *along == axis).map_or(1, |(_, size)| size);
            if n == 1 {
                lines.extend((times > 1).then(|| format!("const int i{axis} = 0;")));
                continue;
            }
            let div = if below == 1 { place.to_string() } else { format!("{place} / {below}") };
            let first = axes.iter().take_while(|a| **a != axis).all(|a| sizes[*a] == 1);
            let rem = if first { div } else { format!("{div} % {n}") };
            let first = if times > 1 { format!("({rem}) * {times}") } else { rem };
            lines.push(format!("const int i{axis} = {first};"));
            below *= n;
        }
        lines.iter().rev().for_each(|line| self.line(line));
    }

    fn product(&mut self, k: &Kernel, step: &Step) {
        let Step::Product { sizes, axes: [p, q], terms, warp, .. } = step else { return };
        let fragment = Fragment { warp: *warp, axes: [*p, *q] };
        self.warp_tiles(k, sizes, fragment, holds(k, step), |t| {
            for sum in 0..Term::sums(terms) {
                t.line(&format!("Sums<{}> {};", warp.cols / 8, named(sum)));
            }
            let terms: Vec<&Term> = terms.iter().collect();
            for run in terms.chunk_by(|a, b| alike(k, a, b)) {
                t.each_term(run, |t, names| t.line(&added(k, run[0], "add", names)));
            }
            t.again(k, &terms);
            t.results(k, step);
        });
    }

    /// Does products again whose sums are no numbers, where terms are kept apart.
    fn again(&mut self, k: &Kernel, all: &[&Term]) {
        for sum in 0..all.iter().map(|term| term.sum + 1).max().unwrap_or(0) {
            let terms: Vec<&Term> = all.iter().copied().filter(|term| term.sum == sum).collect();
            if terms.iter().all(|term| term.sees.is_none()) {
                continue;
            }
            let runs = || terms.chunk_by(|a, b| alike(k, a, b));
            self.block(&format!("if ({}.lost())", named(sum)), |t| {
                t.line(&format!("{}.clear();", named(sum)));
                for run in runs() {
                    let how = if run[0].sees.is_some() { "add_finite" } else { "add" };
                    t.each_term(run, |t, names| t.line(&added(k, run[0], how, names)));
                }
                for run in runs().filter(|run| run[0].sees.is_some()) {
                    t.each_term(run, |t, names| t.lose(k, run[0], names));
                }
            });
        }
    }

    /// Something for each of some terms that are alike, given the names of its operands: a loop, since texts of products take
    /// long to compile.
    fn each_term(&mut self, terms: &[&Term], body: impl FnOnce(&mut Self, [&str; 2])) {
        let sides = |term: &Term| [&term.left, &term.right].map(|o| format!("tile{}", o.tile.0));
        if let [term] = terms {
            let [left, right] = sides(term);
            return body(self, [&left, &right]);
        }
        self.line("#pragma unroll 1");
        self.block(&format!("for (int term = 0; term < {}; term++)", terms.len()), |t| {
            let mut chosen: [String; 2] = Default::default();
            for (n, term) in terms.iter().enumerate().rev() {
                for (text, own) in chosen.iter_mut().zip(sides(term)) {
                    let last = text.is_empty();
                    *text = if last { own } else { format!("term == {n} ? {own} : {text}") };
                }
            }
            for (name, text) in ["left", "right"].into_iter().zip(chosen) {
                t.line(&format!("const bf16* const {name} = {text};"));
            }
            body(t, ["left", "right"]);
        });
    }

    /// The call that makes those sums no numbers of which a term is none.
    fn lose(&mut self, k: &Kernel, term: &Term, [left, right]: [&str; 2]) {
        let Some(Sees { mask, columns }) = &term.sees else { return };
        self.line(&format!(
            "{}.lose<{}, {}, {}, {columns}>({left}, {right}, row0, col0, [&](int i0, int i1) -> bool {{ return {} != 0.f; }});",
            named(term.sum),
            term.length,
            layout(k, &term.left),
            layout(k, &term.right),
            expr(self.of, k, mask, &[])
        ));
    }

    /// What becomes of a product's sums. What is read for that is read for all of them before anything is stored.
    fn results(&mut self, k: &Kernel, step: &Step) {
        let Step::Product {
            sizes, axes: [p, q], warp, filled, group, value, to, add, also, ..
        } = step
        else {
            return;
        };
        let mut whole = sizes.clone();
        whole[*p] = sizes[*p].next_multiple_of(warp.rows);
        whole[*q] = sizes[*q].next_multiple_of(warp.cols);
        let short = inside(sizes, &whole);
        let reads = self.reads(k, step, &short);
        let (place, guard) = place_of(self.of, k, to);
        let adds = *add
            && !in_registers(k, to)
            && guard.is_empty()
            && *group == 1
            && is_f32(self.of, k, to);
        let mut text = expr(self.of, k, value, &reads.named);
        if adds {
            text = format!("{place} + {text}");
        }
        if *filled && !short.is_empty() {
            text = format!("{short} ? {text} : 0.f");
        }
        let unless = if *filled { "" } else { &short };
        if !(adds || touches_memory(k, value)) && also.is_empty() {
            return self.put_sums(k, step, unless, &reads.lines, (&text, *add));
        }
        let own = if *group > 1 { "of[l]" } else { "sum" };
        for n in 0..also.len() {
            self.line(&format!("Sums<{}> also{n};", warp.cols / 8));
        }
        self.each_sum("sums", step, unless, |t| {
            reads.lines.iter().for_each(|line| t.line(line));
            t.held(*q, *group, |t| {
                t.sums(step);
                for (n, (value, _)) in also.iter().enumerate() {
                    let value = expr(t.of, k, value, &reads.named);
                    t.line(&format!("also{n}.x[held / 4][held % 4] = {value};"));
                }
                t.line(&format!("{own} = {text};"));
            });
        });
        self.put_sums(k, step, unless, &[], (own, *add && !adds));
        also.iter().enumerate().for_each(|(n, (_, to))| self.put_also(k, step, unless, n, to));
    }

    /// Stores what else has been made of a product's sums.
    fn put_also(&mut self, k: &Kernel, step: &Step, unless: &str, n: usize, to: &Target) {
        let Step::Product { axes, group, .. } = step else { return };
        self.each_sum(&format!("also{n}"), step, unless, |t| {
            if *group == 1 {
                return t.store(k, to, "sum", false);
            }
            t.line(&format!("Group<{group}> y;"));
            t.held(axes[1], *group, |t| t.line("y.x[l] = of[l];"));
            t.put(k, to, *group, "y", false);
        });
    }

    /// Stores something for each sum of a product, or adds it to what is there, behind lines that read for it.
    fn put_sums(
        &mut self,
        k: &Kernel,
        step: &Step,
        unless: &str,
        lines: &[String],
        (text, add): (&str, bool),
    ) {
        let Step::Product { axes, group, exchanged, to, .. } = step else { return };
        let pair = |t: &mut Self| {
            lines.iter().for_each(|line| t.line(line));
            t.held(axes[1], *group, |t| {
                t.sums(step);
                t.line(&format!("y.x[l] = {text};"));
            });
        };
        if *exchanged > 1 {
            let each = format!("sums.each_wide<{exchanged}>");
            let call = [each.as_str(), "float* of, "];
            return self.exchanged(k, call, *exchanged, (*axes, unless), to, pair);
        }
        self.each_sum("sums", step, unless, |t| {
            if *group == 1 || in_registers(k, to) {
                lines.iter().for_each(|line| t.line(line));
                return t.held(axes[1], *group, |t| {
                    t.sums(step);
                    t.store(k, to, text, add);
                });
            }
            t.line(&format!("Group<{group}> y;"));
            pair(t);
            t.put(k, to, *group, "y", add);
        });
    }

    /// The names of a product's sums at an element that a thread holds.
    fn sums(&mut self, step: &Step) {
        let Step::Product { terms, group, .. } = step else { return };
        if *group > 1 {
            self.line("const float sum = of[l];");
        }
        for sum in 1..Term::sums(terms) {
            self.line(&format!("const float sum{sum} = sums{sum}.x[held / 4][held % 4];"));
        }
    }

    /// Something for each sum of a product that a thread holds, or for each group of them.
    fn each_sum(&mut self, sums: &str, step: &Step, unless: &str, body: impl FnOnce(&mut Self)) {
        let Step::Product { axes: [p, q], group, .. } = step else { return };
        let (each, sum) =
            if *group > 1 { ("each_pair", "float* of") } else { ("each", "float& sum") };
        self.line(&format!(
            "{sums}.{each}(row0, col0, [&](int i{p}, int i{q}, {sum}, int held) {{"
        ));
        self.depth += 1;
        self.only(unless, body);
        self.depth -= 1;
        self.line("});");
    }

    /// A loop over the warp tiles of a matrix; one whose rounds are unrolled where threads hold something.
    pub(super) fn warp_tiles(
        &mut self,
        k: &Kernel,
        sizes: &[usize],
        fragment: Fragment,
        held: bool,
        body: impl FnOnce(&mut Self),
    ) {
        let (jobs, across) = fragment.jobs(sizes);
        let start = format!(
            "const int row0 = job / {across} * {}, col0 = job % {across} * {};",
            fragment.warp.rows, fragment.warp.cols
        );
        let warps = k.threads / WARP;
        if !held {
            self.line("#pragma unroll 1");
            let head = format!("for (int job = threadIdx.x / 32; job < {jobs}; job += WARPS)");
            return self.block(&head, |t| {
                t.line(&start);
                body(t);
            });
        }
        self.line("#pragma unroll");
        self.block(&format!("for (int slot = 0; slot < {}; slot++)", jobs.div_ceil(warps)), |t| {
            t.line("const int job = threadIdx.x / 32 + slot * WARPS;");
            if !jobs.is_multiple_of(warps) {
                t.line(&format!("if (job >= {jobs}) break;"));
            }
            t.line(&start);
            body(t);
        });
    }

    fn scan(&mut self, k: &Kernel, step: &Step) {
        let Step::Scan { op, sizes, from, to, scratch } = step else { return };
        let ScanSizes { rows, steps, width } = *sizes;
        let whole = vec![rows, steps, width];
        let (name, sizes, versions) = match op {
            ScanOp::CumulativeProduct(v) => ("cumulative_product", whole, Some(v)),
            ScanOp::CumulativeProductGrad(v) => ("cumulative_product_grad", whole, Some(v)),
            ScanOp::ReverseCumulativeProduct => {
                ("reverse_cumulative_product", vec![steps, width], None)
            }
            ScanOp::ReverseCumulativeProductGrad => {
                ("reverse_cumulative_product_grad", vec![steps, width], None)
            }
            ScanOp::DecayMask(v) => {
                ("decay_mask", vec![rows, steps, k.tile(*to).strides[0]], Some(v))
            }
            ScanOp::DecayMaskGrad(v) => ("decay_mask_grad", vec![rows, steps], Some(v)),
            ScanOp::Gram(v) => ("gram", whole, Some(v)),
            ScanOp::GramGrad(v) => ("gram_grad", whole, Some(v)),
            ScanOp::Apply(v) => ("apply", whole, Some(v)),
            ScanOp::ApplyT(v) => ("apply_t", whole, Some(v)),
            ScanOp::Linear => ("scan", whole, None),
            ScanOp::LinearGrad => ("scan_grad", whole, None),
            ScanOp::Max => ("scan_max", vec![rows, width], None),
        };
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let mut arguments = vec![format!("tile{}", to.0)];
        arguments.extend(from.iter().chain(scratch).map(|id| format!("tile{}", id.0)));
        arguments.extend(versions.map(|v| format!("[](int i) -> int {{ return {}; }}", seen(v))));
        self.line(&format!("{name}<{}>({});", sizes.join(", "), arguments.join(", ")));
    }

    /// Puts a value where it belongs, where all conditions hold.
    pub(super) fn store(&mut self, k: &Kernel, to: &Target, value: &str, add: bool) {
        let (place, guard) = place_of(self.of, k, to);
        let text = match (is_f32(self.of, k, to), add) {
            (true, false) => format!("{guard}{place} = {value};"),
            (true, true) => format!("{guard}{place} += {value};"),
            (false, false) => format!("{guard}{place} = narrow({value});"),
            (false, true) => format!("{guard}{place} = narrow(widen({place}) + {value});"),
        };
        self.line(&text);
    }
}

/// Where a target lies, and the question behind which it is written, if there is one.
pub(super) fn place_of(of: &Schedule, k: &Kernel, to: &Target) -> (String, String) {
    match to {
        Target::Tile(id, index) => (element(k, *id, index), String::new()),
        Target::Buffer(element, when) => {
            let when: Vec<String> = when.iter().map(|when| condition(of, when)).collect();
            let guard = match when.as_slice() {
                [] => String::new(),
                all => format!("if ({}) ", all.join(" && ")),
            };
            (placed(k, of.buffer(element.buffer), element), guard)
        }
    }
}

fn is_f32(of: &Schedule, k: &Kernel, to: &Target) -> bool {
    let number = match to {
        Target::Tile(id, _) => k.tile(*id).number,
        Target::Buffer(element, _) => of.buffer(element.buffer).number,
    };
    number == Number::F32
}

/// Whether an expression reads memory.
fn touches_memory(k: &Kernel, value: &Expr) -> bool {
    let mut found = false;
    value.walk(&mut |e| {
        found |= match e {
            Expr::Buffer(_) => true,
            Expr::Tile(id, _) => !k.tile(*id).in_registers(),
            _ => false,
        };
    });
    found
}

/// Whether a step touches something that threads hold.
fn holds(k: &Kernel, step: &Step) -> bool {
    step.reads().into_iter().chain(step.writes()).any(|id| k.tile(id).in_registers())
}

/// What a warp's sums are called.
fn named(sum: usize) -> String {
    if sum == 0 { "sums".into() } else { format!("sums{sum}") }
}

/// Whether terms of a product differ in their operands' tiles alone.
fn alike(k: &Kernel, a: &Term, b: &Term) -> bool {
    let place = |term: &Term| [layout(k, &term.left), layout(k, &term.right)];
    a.sum == b.sum && a.length == b.length && a.sees == b.sees && place(a) == place(b)
}

/// The call that adds a product of operands of these names to a warp's sums.
fn added(
    k: &Kernel,
    Term { left, right, length, sum, .. }: &Term,
    how: &str,
    [a, b]: [&str; 2],
) -> String {
    format!(
        "{}.{how}<{}, {}, {}>({a}, {b}, row0, col0);",
        named(*sum),
        length.next_multiple_of(FRAGMENT),
        layout(k, left),
        layout(k, right)
    )
}

/// How an operand lies: whether it is transposed, the distance of its rows, and among how many pieces
/// of a row these are exchanged.
fn layout(k: &Kernel, operand: &Operand) -> String {
    let tile = k.tile(operand.tile);
    let pieces = match (tile.space, tile.swizzled()) {
        (Space::Shared(Swizzle::Rows), Some((pieces, _))) => pieces,
        _ => 0,
    };
    format!("{}, {}, {pieces}", operand.transposed, tile.strides[0])
}

/// The condition under which an element of a filled-up loop is one of the loop itself.
pub(super) fn inside(sizes: &[usize], padded: &[usize]) -> String {
    let axes = sizes.iter().zip(padded).enumerate();
    let short: Vec<String> = axes
        .filter(|(_, (n, full))| n < full)
        .map(|(axis, (n, _))| format!("i{axis} < {n}"))
        .collect();
    short.join(" && ")
}
