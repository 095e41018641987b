//! The text of each kind of step: how the threads of a block share its elements is said by the step.

use super::Text;
use super::expr::{condition, element, expr, placed, seen};
use crate::plan::lower::{FRAGMENT, WARP, axes_of};
use crate::plan::{
    Expr, Fragment, Kernel, Number, Operand, Over, Reduction, Round, ScanOp, ScanSizes, Sees,
    Space, Step, Swizzle, Target, Term, Transport,
};

/// Letters of a step that its comment shows.
const COMMENT: usize = 160;
/// Rounds of a loop that are written out: enough reads in flight, and little more to compile.
const UNROLL: usize = 4;

impl Text<'_> {
    /// The text of a step, behind a comment that says what it does.
    pub(super) fn step(&mut self, k: &Kernel, step: &Step) {
        if *step == Step::Barrier {
            return self.line("wait_for_block();");
        }
        let text = self.of.shown(step).to_string();
        let shown: String = text.chars().take(COMMENT).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        self.line(&format!("// {shown}{more}"));
        self.steps.push((self.lines, text));
        match step {
            Step::Map { fragment: Some(fragment), .. } => self.map_fragments(k, step, *fragment),
            Step::Map { .. } => self.map(k, step),
            Step::Copy { .. } => self.copy(k, step),
            Step::Wait { pending, .. } => self.line(&format!("wait_for_copies<{pending}>();")),
            Step::Reduce { .. } => self.reduce(k, step),
            Step::Product { .. } => self.product(k, step),
            Step::Scan { .. } => self.scan(step),
            Step::Solve { a, x, transposed } => {
                let shape = &k.tile(*x).shape;
                let [rows, cols] = [shape[0], shape[1]];
                self.line(&format!(
                    "solve<{rows}, {cols}, {transposed}>(tile{}, tile{});",
                    a.0, x.0
                ));
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
            Step::Barrier => {}
        }
    }

    /// The indices along all axes of the element `place` of a loop.
    fn indices(&mut self, place: &str, sizes: &[usize], axes: &[usize]) {
        let mut below = 1;
        let mut lines = Vec::new();
        for &axis in axes.iter().rev() {
            let n = sizes[axis];
            if n == 1 {
                continue;
            }
            let div = if below == 1 { place.to_string() } else { format!("{place} / {below}") };
            let first = axes.iter().take_while(|a| **a != axis).all(|a| sizes[*a] == 1);
            let rem = if first { div } else { format!("{div} % {n}") };
            lines.push(format!("const int i{axis} = {rem};"));
            below *= n;
        }
        lines.iter().rev().for_each(|line| self.line(line));
    }

    fn map(&mut self, k: &Kernel, step: &Step) {
        let Step::Map { sizes, filled, value, to, add, .. } = step else { return };
        let n: usize = filled.iter().product();
        let axes: Vec<usize> = (0..filled.len()).collect();
        // Several reads of the device's memory in flight at a time; other loops gain nothing.
        let ahead = n.is_multiple_of(k.threads) && n > k.threads && reads_buffers(value);
        let (unroll, head) = if ahead {
            (UNROLL, format!("for (int r = 0; r < {}; r++)", n / k.threads))
        } else {
            (1, format!("for (int e = threadIdx.x; e < {n}; e += THREADS)"))
        };
        self.line(&format!("#pragma unroll {unroll}"));
        self.block(&head, |t| {
            if ahead {
                t.line("const int e = threadIdx.x + r * THREADS;");
            }
            t.indices("e", filled, &axes);
            let (inside, value) = (inside(sizes, filled), expr(t.of, k, value));
            let value = if inside.is_empty() { value } else { format!("{inside} ? {value} : 0.f") };
            t.store(k, to, &value, *add);
        });
    }

    fn reduce(&mut self, k: &Kernel, step: &Step) {
        let Step::Reduce { sizes, over, reduction, lanes, value, to } = step else { return };
        let kept: Vec<usize> = (0..sizes.len()).filter(|axis| !over.contains(axis)).collect();
        let count = |axes: &[usize]| axes.iter().map(|axis| sizes[*axis]).product::<usize>();
        let (results, terms, text) = (count(&kept), count(over), expr(self.of, k, value));
        let (start, put, all) = match reduction {
            Reduction::Sum => ("0.f", format!("x += {text};"), "warp_sum"),
            Reduction::Largest => ("LOWEST", format!("x = larger(x, {text});"), "warp_largest"),
        };
        let term = match lanes {
            1 => format!("for (int s = 0; s < {terms}; s++)"),
            n => format!("for (int s = threadIdx.x % {n}; s < {terms}; s += {n})"),
        };
        // Of a few terms of one thread NVRTC would read four at a time, more than there are.
        let whole = if *lanes == 1 { UNROLL } else { *lanes };
        let inner = if terms.is_multiple_of(whole) { UNROLL } else { 1 };
        // Where a thread has few terms of a result, several results keep reads in flight.
        let ahead = (results * lanes).is_multiple_of(k.threads)
            && results * lanes > k.threads
            && terms.is_multiple_of(whole)
            && reads_buffers(value);
        let outer = if ahead { (UNROLL * lanes / terms).max(1) } else { 1 };
        let own = if *lanes == 1 { "threadIdx.x".into() } else { format!("threadIdx.x / {lanes}") };
        let each = if outer > 1 {
            format!("for (int r = 0; r < {}; r++)", results * lanes / k.threads)
        } else {
            format!("for (int e = {own}; e < {results}; e += THREADS / {lanes})")
        };
        self.line(&format!("#pragma unroll {outer}"));
        self.block(&each, |t| {
            if outer > 1 {
                t.line(&format!("const int e = {own} + r * (THREADS / {lanes});"));
            }
            t.indices("e", sizes, &kept);
            t.line(&format!("float x = {start};"));
            t.line(&format!("#pragma unroll {inner}"));
            t.block(&term, |t| {
                t.indices("s", sizes, over);
                t.line(&put);
            });
            match lanes {
                1 => t.store(k, to, "x", false),
                n => {
                    t.line(&format!("x = {all}(x);"));
                    t.block(&format!("if (threadIdx.x % {n} == 0)"), |t| {
                        t.store(k, to, "x", false)
                    });
                }
            }
        });
    }

    fn product(&mut self, k: &Kernel, step: &Step) {
        let Step::Product { sizes, axes: [p, q], terms, warp, filled, value, to, add } = step
        else {
            return;
        };
        let mut whole = sizes.clone();
        whole[*p] = sizes[*p].next_multiple_of(warp.rows);
        whole[*q] = sizes[*q].next_multiple_of(warp.cols);
        let fragment = Fragment { warp: *warp, axes: [*p, *q] };
        let held = holds(k, step);
        self.warp_tiles(k, sizes, fragment, held, |t| {
            let more = 1..Term::sums(terms);
            for sum in 0..more.end {
                t.line(&format!("Sums<{}> {};", warp.cols / 8, named(sum)));
            }
            terms.iter().for_each(|term| t.line(&added(k, term, "add")));
            t.again(k, terms);
            let numbered = held || !more.is_empty();
            let number = if numbered { ", int held" } else { "" };
            let each = if numbered { "each_held" } else { "each" };
            t.line(&format!(
                "sums.{each}(row0, col0, [&](int i{p}, int i{q}, float sum{number}) {{"
            ));
            t.depth += 1;
            for sum in more {
                t.line(&format!("const float sum{sum} = sums{sum}.x[held / 4][held % 4];"));
            }
            let (inside, value) = (inside(sizes, &whole), expr(t.of, k, value));
            match (inside.is_empty(), filled) {
                (true, _) => t.store(k, to, &value, *add),
                (false, true) => t.store(k, to, &format!("{inside} ? {value} : 0.f"), *add),
                (false, false) => {
                    t.block(&format!("if ({inside})"), |t| t.store(k, to, &value, *add));
                }
            }
            t.depth -= 1;
            t.line("});");
        });
    }

    /// Does products again whose sums are no numbers, where terms are kept apart.
    fn again(&mut self, k: &Kernel, all: &[Term]) {
        for sum in 0..Term::sums(all) {
            let terms: Vec<&Term> = all.iter().filter(|term| term.sum == sum).collect();
            if terms.iter().all(|term| term.sees.is_none()) {
                continue;
            }
            self.block(&format!("if ({}.lost())", named(sum)), |t| {
                t.line(&format!("{}.clear();", named(sum)));
                for term in &terms {
                    let how = if term.sees.is_some() { "add_finite" } else { "add" };
                    t.line(&added(k, term, how));
                }
                for Term { left, right, length, sees, .. } in &terms {
                    let Some(Sees { mask, columns }) = sees else { continue };
                    t.line(&format!(
                        "{}.lose<{length}, {}, {}, {columns}>(tile{}, tile{}, row0, col0, [&](int i0, int i1) -> bool {{ return {} != 0.f; }});",
                        named(sum),
                        layout(k, left),
                        layout(k, right),
                        left.tile.0,
                        right.tile.0,
                        expr(t.of, k, mask)
                    ));
                }
            });
        }
    }

    /// A loop over the warp tiles of a matrix; one whose rounds are unrolled where threads hold something.
    fn warp_tiles(
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

    /// A map over fragments: each thread goes over what it holds of them.
    fn map_fragments(&mut self, k: &Kernel, step: &Step, fragment: Fragment) {
        let Step::Map { sizes, filled, value, to, add, .. } = step else { return };
        let [p, q] = fragment.axes;
        let mut whole = sizes.clone();
        whole[p] = sizes[p].next_multiple_of(fragment.warp.rows);
        whole[q] = sizes[q].next_multiple_of(fragment.warp.cols);
        self.warp_tiles(k, sizes, fragment, true, |t| {
            let eighths = fragment.warp.cols / 8;
            let head =
                format!("each_place<{eighths}>(row0, col0, [&](int i{p}, int i{q}, int held) {{");
            t.line(&head);
            t.depth += 1;
            let (inside, value) = (inside(sizes, &whole), expr(t.of, k, value));
            match (inside.is_empty(), filled == sizes) {
                (true, _) => t.store(k, to, &value, *add),
                (false, false) => t.store(k, to, &format!("{inside} ? {value} : 0.f"), *add),
                (false, true) => {
                    t.block(&format!("if ({inside})"), |t| t.store(k, to, &value, *add));
                }
            }
            t.depth -= 1;
            t.line("});");
        });
    }

    /// A copy of pieces: for a round of the loop over chunks, or of the only one.
    fn copy(&mut self, k: &Kernel, step: &Step) {
        let Step::Copy { by, from, to, round, .. } = step else { return };
        let (tile, buffer) = (k.tile(*to), self.of.buffer(from.buffer));
        let (name, round) = match round {
            Round::First(at) => (at.to_string(), at.to_string()),
            Round::Ahead(at) => ("next".to_string(), format!("round + {at}")),
        };
        let rounds = match k.rounds() {
            Some(Over::Chunks { tokens, reverse }) => Some((tokens, reverse)),
            _ => None,
        };
        let there = rounds.map(|_| format!("{round} < rounds"));
        let given = buffer.may_be_absent.then(|| format!("{} != 0", buffer.name));
        let when: Vec<String> = there.into_iter().chain(given).collect();
        let copies = |t: &mut Self| {
            if let Some((tokens, reverse)) = rounds {
                if name == "next" {
                    t.line(&format!("const int next = {round};"));
                }
                t.line("const Place now = at;");
                t.line("Place at = now;");
                t.round(&name, tokens, reverse);
            }
            if tile.stages > 1 {
                t.stage(*to, tile, &name);
            }
            t.pieces(k, step);
        };
        if when.is_empty() {
            copies(self);
        } else {
            self.block(&format!("if ({})", when.join(" && ")), copies);
        }
        if *by != Transport::Plain {
            self.line("commit_copies();");
        }
    }

    /// All pieces of a copy.
    fn pieces(&mut self, k: &Kernel, step: &Step) {
        let Step::Copy { by, from, to, piece, .. } = step else { return };
        let (tile, buffer) = (k.tile(*to), self.of.buffer(from.buffer));
        let (mut sizes, mut index, mut from) =
            (tile.shape.clone(), axes_of(&tile.shape), from.clone());
        let per = piece / tile.number.bytes();
        if let (Some(n), Some(own), Some(there)) =
            (sizes.last_mut(), index.last_mut(), from.index.last_mut())
        {
            *n /= per;
            // A single piece has no index.
            let pieces = if *n == 1 { 0 } else { per as i64 };
            (*own, *there) = (own.times(pieces), there.times(pieces));
        }
        let (n, axes) = (sizes.iter().product::<usize>(), (0..sizes.len()).collect::<Vec<_>>());
        self.line("#pragma unroll 1");
        self.block(&format!("for (int e = threadIdx.x; e < {n}; e += THREADS)"), |t| {
            t.indices("e", &sizes, &axes);
            let (place, from) = (element(k, *to, &index), placed(k, buffer, &from));
            let how = if *by == Transport::Plain { "copy" } else { "copy_async" };
            t.line(&format!("{how}<{piece}>(&{place}, &{from});"));
        });
    }

    fn scan(&mut self, step: &Step) {
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
            ScanOp::DecayMask(v) => ("decay_mask", vec![rows, steps], Some(v)),
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
    fn store(&mut self, k: &Kernel, to: &Target, value: &str, add: bool) {
        let sign = if add { "+=" } else { "=" };
        let text = match to {
            Target::Tile(id, index) => match k.tile(*id).number {
                Number::F32 => format!("{} {sign} {value};", element(k, *id, index)),
                Number::Bf16 => format!("{} = narrow({value});", element(k, *id, index)),
            },
            Target::Buffer(element, when) => {
                let when: Vec<String> = when.iter().map(|when| condition(self.of, when)).collect();
                let guard = match when.as_slice() {
                    [] => String::new(),
                    all => format!("if ({}) ", all.join(" && ")),
                };
                let buffer = self.of.buffer(element.buffer);
                let place = placed(k, buffer, element);
                match (buffer.number, add) {
                    (Number::F32, _) => format!("{guard}{place} {sign} {value};"),
                    (Number::Bf16, false) => format!("{guard}{place} = narrow({value});"),
                    (Number::Bf16, true) => {
                        format!("{guard}{place} = narrow(widen({place}) + {value});")
                    }
                }
            }
        };
        self.line(&text);
    }
}

/// Whether an expression reads the device's memory.
fn reads_buffers(value: &Expr) -> bool {
    let mut found = false;
    value.walk(&mut |e| found |= matches!(e, Expr::Buffer(_)));
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

/// The call that adds a product to a warp's sums.
fn added(k: &Kernel, Term { left, right, length, sum, .. }: &Term, how: &str) -> String {
    format!(
        "{}.{how}<{}, {}, {}>(tile{}, tile{}, row0, col0);",
        named(*sum),
        length.next_multiple_of(FRAGMENT),
        layout(k, left),
        layout(k, right),
        left.tile.0,
        right.tile.0
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
fn inside(sizes: &[usize], padded: &[usize]) -> String {
    let axes = sizes.iter().zip(padded).enumerate();
    let short: Vec<String> = axes
        .filter(|(_, (n, full))| n < full)
        .map(|(axis, (n, _))| format!("i{axis} < {n}"))
        .collect();
    short.join(" && ")
}
