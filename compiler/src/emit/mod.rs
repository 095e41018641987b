//! Prints a kernel plan as CUDA C++, step by step. The plan has decided what is computed, where it lies
//! and when threads wait; this decides how the threads of a block share a step's elements, and what
//! memory an element of a row past the end is read from.

use std::fmt::Write;

use crate::plan::index::{Atom, Ix};
use crate::plan::lower::FRAGMENT;
use crate::plan::{
    Access, Buffer, Chain, Condition, Dim, Element, Expr, Grid, Kernel, Number, Operand, Place,
    Reduction, Schedule, Side, Step, Target, TileId, Token,
};
use crate::tile::{Binary, Int, IntOp, Scan, Unary, Versions};

/// The tile library.
pub const TILE_LIBRARY: &str = include_str!("../../../templates/tile.cuh");
/// How kernels of recurrences find their tensors.
const TENSORS: &str = include_str!("../../../templates/kernel.cuh");

/// Letters of a step that its comment shows.
const COMMENT: usize = 160;

/// The CUDA C++ text of a kernel of a schedule.
pub fn cuda(schedule: &Schedule, kernel: &Kernel) -> String {
    let own = function(schedule, kernel);
    format!("#define THREADS {}\n{TILE_LIBRARY}{TENSORS}\n{own}", kernel.threads)
}

/// The same without the library that it needs.
pub fn function(schedule: &Schedule, kernel: &Kernel) -> String {
    let mut out = Text { of: schedule, text: String::new(), depth: 0 };
    out.kernel(kernel);
    out.text
}

struct Text<'a> {
    of: &'a Schedule,
    text: String,
    depth: usize,
}

impl Text<'_> {
    fn line(&mut self, line: &str) {
        if !line.is_empty() {
            (0..self.depth).for_each(|_| self.text.push_str("    "));
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn block(&mut self, head: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    fn kernel(&mut self, k: &Kernel) {
        let first = match &k.grid {
            Grid::Heads => ["const int* bounds", "const int* chunks", "int sequences"],
            Grid::Pairs { .. } => ["const int* bounds", "const int* jobs", "int sequences"],
            Grid::Rows { .. } => ["const int* positions", "const int* nothing", "int rows"],
        };
        let more = ["int heads", "unsigned char* __restrict__ working_memory"];
        let mut arguments: Vec<String> = first.into_iter().chain(more).map(String::from).collect();
        for buffer in &self.of.buffers {
            let constant = if buffer.access == Access::Read { "const " } else { "" };
            arguments.push(format!("{constant}float* {}", buffer.name));
            if buffer.has_own_heads() {
                arguments.push(format!("int heads_{}", buffer.name));
            }
        }
        self.line(&format!("extern \"C\" __global__ void __launch_bounds__({}, 1)", k.threads));
        self.block(&format!("{}({})", k.name, arguments.join(", ")), |t| t.body(k));
    }

    fn body(&mut self, k: &Kernel) {
        self.line("extern __shared__ __align__(128) unsigned char shared[];");
        self.line("Place at;");
        match &k.grid {
            Grid::Heads => {
                self.line(&format!("at.part = blockIdx.x % {};", k.parts));
                self.line(&format!("at.head = blockIdx.x / {} % heads;", k.parts));
                self.line(&format!("at.sequence = blockIdx.x / {} / heads;", k.parts));
                self.line("at.job = at.sequence;");
            }
            Grid::Pairs { .. } => {
                self.line("at.job = blockIdx.x / heads;");
                self.line("const int* job = jobs + 4 * at.job;");
                self.line("at.part = 0;");
                self.line("at.head = blockIdx.x % heads;");
                self.line("at.sequence = job[0];");
            }
            Grid::Rows { .. } => {
                self.line("at.part = at.head = at.sequence = at.start = 0;");
                self.line("at.job = blockIdx.x;");
                self.line("at.length = at.rows = rows;");
                self.line("at.positions = positions;");
            }
        }
        self.line("at.heads = heads;");
        if !matches!(k.grid, Grid::Rows { .. }) {
            self.line("at.positions = 0;");
            self.line("at.start = bounds[at.sequence];");
            self.line("at.length = bounds[at.sequence + 1] - at.start;");
            self.line("at.rows = bounds[sequences];");
        }
        if let Grid::Pairs { own, .. } = &k.grid {
            self.rows_of(*own, "job[1]", k.chunk);
        }
        if k.working > 0 {
            self.line(&format!(
                "unsigned char* working = working_memory + (long long)blockIdx.x * {};",
                k.working
            ));
        }
        for Buffer { name, .. } in self.of.buffers.iter().filter(|buffer| buffer.has_own_heads()) {
            self.line(&format!("const int own_{name} = at.head / (heads / heads_{name});"));
        }
        for (id, tile) in k.tiles.iter().enumerate() {
            let number = if tile.number == Number::F32 { "float" } else { "bf16" };
            let place = match tile.place {
                Some(Place::Shared(at)) => format!("shared + {at}"),
                Some(Place::Working(at)) => format!("working + {at}"),
                None => continue,
            };
            self.line(&format!("{number}* const tile{id} = ({number}*)({place});"));
        }
        for section in &k.sections {
            if section.each {
                self.rounds(k, &section.steps);
            } else {
                section.steps.iter().for_each(|step| self.step(k, step));
            }
        }
    }

    /// The loop of a kernel.
    fn rounds(&mut self, k: &Kernel, steps: &[Step]) {
        self.line("#pragma unroll 1");
        match &k.grid {
            Grid::Heads => {
                let count = format!("(at.length + {}) / {}", k.chunk - 1, k.chunk);
                let order = if k.reverse {
                    format!("for (int c = {count} - 1; c >= 0; c--)")
                } else {
                    format!("for (int c = 0; c < {count}; c++)")
                };
                self.block(&order, |t| {
                    t.rows_of(Side::Queries, &format!("c * {}", k.chunk), k.chunk);
                    t.line("at.chunk = chunks[at.sequence] + c;");
                    steps.iter().for_each(|step| t.step(k, step));
                });
            }
            // Every block takes its share of the groups of rows.
            Grid::Rows { halo } => {
                let n = k.chunk;
                let step = format!("c < rows; c += gridDim.x * {n}");
                self.block(&format!("for (int c = blockIdx.x * {n}; {step})"), |t| {
                    t.rows_of(Side::Queries, "c", n + halo);
                    steps.iter().for_each(|step| t.step(k, step));
                });
            }
            Grid::Pairs { own, other, .. } => {
                let side = if *own == Side::Queries { Side::Keys } else { Side::Queries };
                self.block(&format!("for (int c = job[2]; c < job[3]; c += {other})"), |t| {
                    t.rows_of(side, "c", *other);
                    steps.iter().for_each(|step| t.step(k, step));
                });
            }
        }
    }

    /// Sets the first token of a side, and how many of a block's are there.
    fn rows_of(&mut self, side: Side, first: &str, rows: usize) {
        let (name, valid) = match side {
            Side::Queries => ("at.first", "at.valid"),
            Side::Keys => ("at.first_key", "at.valid_keys"),
        };
        self.line(&format!("{name} = {first};"));
        self.line(&format!("{valid} = min(at.length - {name}, {rows});"));
    }

    fn step(&mut self, k: &Kernel, step: &Step) {
        if *step == Step::Barrier {
            return self.line("wait_for_block();");
        }
        let text = self.of.shown(step).to_string();
        let shown: String = text.chars().take(COMMENT).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        self.line(&format!("// {shown}{more}"));
        let absent = step.target().and_then(Target::element).map(|e| self.of.buffer(e.buffer));
        match absent.filter(|buffer| buffer.may_be_absent) {
            Some(buffer) => {
                self.block(&format!("if ({} != 0)", buffer.name), |t| t.shared_step(k, step));
            }
            None => self.shared_step(k, step),
        }
    }

    /// The text of a step that all threads share.
    fn shared_step(&mut self, k: &Kernel, step: &Step) {
        match step {
            Step::Map { sizes, value, to, add } => self.map(k, sizes, value, to, *add),
            Step::Reduce { sizes, over, reduction, value, to } => {
                self.reduce(k, sizes, over, *reduction, value, to);
            }
            Step::Product { sizes, axes, terms, value, to, add } => {
                self.product(k, sizes, *axes, terms, value, to, *add);
            }
            Step::Chain { chain, sizes, from, to, scratch } => {
                self.chain(chain, *sizes, from, *to, *scratch);
            }
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

    fn map(&mut self, k: &Kernel, sizes: &[usize], value: &Expr, to: &Target, add: bool) {
        // An operand is filled to whole fragments.
        let padded = match to {
            Target::Tile(id, _) if k.tile(*id).number == Number::Bf16 => {
                sizes.iter().map(|n| n.next_multiple_of(FRAGMENT)).collect()
            }
            _ => sizes.to_vec(),
        };
        let n: usize = padded.iter().product();
        let axes: Vec<usize> = (0..padded.len()).collect();
        let head = format!("for (int e = threadIdx.x; e < {n}; e += THREADS)");
        self.line("#pragma unroll 1");
        self.block(&head, |t| {
            t.indices("e", &padded, &axes);
            let inside = inside(sizes, &padded);
            let value = expr(t.of, k, value);
            let value = if inside.is_empty() { value } else { format!("{inside} ? {value} : 0.f") };
            t.store(k, to, &value, add);
        });
    }

    fn reduce(
        &mut self,
        k: &Kernel,
        sizes: &[usize],
        over: &[usize],
        reduction: Reduction,
        value: &Expr,
        to: &Target,
    ) {
        let kept: Vec<usize> = (0..sizes.len()).filter(|axis| !over.contains(axis)).collect();
        let count = |axes: &[usize]| axes.iter().map(|axis| sizes[*axis]).product::<usize>();
        let (results, terms) = (count(&kept), count(over));
        let (start, put, all) = match reduction {
            Reduction::Sum => ("0.f", "x += ", "warp_sum"),
            Reduction::Largest => ("LOWEST", "x = larger(x, ", "warp_largest"),
        };
        let close = if reduction == Reduction::Sum { "" } else { ")" };
        let put = format!("{put}{}{close};", expr(self.of, k, value));
        let alone = results >= k.threads || terms < 32;
        let head = if alone {
            format!("for (int e = threadIdx.x; e < {results}; e += THREADS)")
        } else {
            format!("for (int e = threadIdx.x / 32; e < {results}; e += WARPS)")
        };
        self.line("#pragma unroll 1");
        self.block(&head, |t| {
            t.indices("e", sizes, &kept);
            t.line(&format!("float x = {start};"));
            let head = if alone {
                format!("for (int s = 0; s < {terms}; s++)")
            } else {
                format!("for (int s = threadIdx.x % 32; s < {terms}; s += 32)")
            };
            t.line("#pragma unroll 1");
            t.block(&head, |t| {
                t.indices("s", sizes, over);
                t.line(&put);
            });
            if alone {
                t.store(k, to, "x", false);
            } else {
                t.line(&format!("x = {all}(x);"));
                t.block("if (threadIdx.x % 32 == 0)", |t| t.store(k, to, "x", false));
            }
        });
    }

    fn product(
        &mut self,
        k: &Kernel,
        sizes: &[usize],
        [p, q]: [usize; 2],
        terms: &[(Operand, Operand, usize)],
        value: &Expr,
        to: &Target,
        add: bool,
    ) {
        let (rows, cols) = (sizes[p], sizes[q]);
        let (padded_rows, padded_cols) =
            (rows.next_multiple_of(FRAGMENT), cols.next_multiple_of(FRAGMENT));
        let strip = k.strip(padded_rows, padded_cols);
        let strips = padded_cols / 8 / strip;
        let jobs = padded_rows / 16 * strips;
        let filled = matches!(to, Target::Tile(id, _) if k.tile(*id).number == Number::Bf16);
        self.line("#pragma unroll 1");
        let head = format!("for (int job = threadIdx.x / 32; job < {jobs}; job += WARPS)");
        self.block(&head, |t| {
            t.line(&format!(
                "const int row0 = job / {strips} * 16, col0 = job % {strips} * {};",
                strip * 8
            ));
            t.line(&format!("Sums<{strip}> sums;"));
            for (a, b, length) in terms {
                let pitch = |o: &Operand| k.tile(o.tile).strides[0];
                t.line(&format!(
                    "sums.add<{}, {}, {}, {}, {}>(tile{}, tile{}, row0, col0);",
                    length.next_multiple_of(FRAGMENT),
                    a.transposed,
                    pitch(a),
                    b.transposed,
                    pitch(b),
                    a.tile.0,
                    b.tile.0
                ));
            }
            let head = format!("sums.each(row0, col0, [&](int i{p}, int i{q}, float sum)");
            t.line(&format!("{head} {{"));
            t.depth += 1;
            let mut full = sizes.to_vec();
            (full[p], full[q]) = (padded_rows, padded_cols);
            let inside = inside(sizes, &full);
            let value = expr(t.of, k, value);
            match (inside.is_empty(), filled) {
                (true, _) => t.store(k, to, &value, add),
                (false, true) => t.store(k, to, &format!("{inside} ? {value} : 0.f"), add),
                (false, false) => {
                    t.block(&format!("if ({inside})"), |t| t.store(k, to, &value, add))
                }
            }
            t.depth -= 1;
            t.line("});");
        });
    }

    fn chain(
        &mut self,
        chain: &Chain,
        [rows, m, d]: [usize; 3],
        from: &[TileId],
        to: TileId,
        scratch: Option<TileId>,
    ) {
        let (name, sizes, versions) = match chain {
            Chain::Prefix(v) => ("prefix", vec![rows, m, d], Some(v)),
            Chain::PrefixGrad(v) => ("prefix_grad", vec![rows, m, d], Some(v)),
            Chain::Suffix => ("suffix", vec![m, d], None),
            Chain::SuffixGrad => ("suffix_grad", vec![m, d], None),
            Chain::Pairs(v) => ("pairs", vec![rows, m], Some(v)),
            Chain::PairsGrad(v) => ("pairs_grad", vec![rows, m], Some(v)),
            Chain::Gram(v) => ("gram", vec![rows, m, d], Some(v)),
            Chain::Apply(v) => ("apply", vec![rows, m, d], Some(v)),
            Chain::ApplyT(v) => ("apply_t", vec![rows, m, d], Some(v)),
            Chain::GramGrad(v) => ("gram_grad", vec![rows, m, d], Some(v)),
            Chain::Scan(Scan::Linear) => ("scan", vec![rows, m, d], None),
            Chain::Scan(Scan::Max { .. }) => ("scan_max", vec![rows, d], None),
            Chain::ScanGrad => ("scan_grad", vec![rows, m, d], None),
        };
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let mut arguments = vec![format!("tile{}", to.0)];
        arguments.extend(from.iter().chain(&scratch).map(|id| format!("tile{}", id.0)));
        arguments.extend(versions.map(|v| format!("[](int i) -> int {{ return {}; }}", seen(v))));
        self.line(&format!("{name}<{}>({});", sizes.join(", "), arguments.join(", ")));
    }

    fn store(&mut self, k: &Kernel, to: &Target, value: &str, add: bool) {
        let sign = if add { "+=" } else { "=" };
        match to {
            Target::Tile(id, index) => {
                let tile = k.tile(*id);
                match tile.number {
                    Number::F32 => {
                        self.line(&format!("{} {sign} {value};", element(k, *id, index)))
                    }
                    Number::Bf16 => {
                        self.line(&format!("{} = narrow({value});", element(k, *id, index)));
                    }
                }
            }
            Target::Buffer(element) => {
                let buffer = self.of.buffer(element.buffer);
                let mut guards: Vec<String> = Vec::new();
                let mut row = String::new();
                if let Some(token) = &element.row {
                    let valid = if token.at.binds(0) { "at.valid_keys" } else { "at.valid" };
                    guards.push(format!("{} < {valid}", ix(&token.row)));
                    if !certain(&token.at) {
                        guards.push("to_row >= 0".to_string());
                    }
                    row = "to_row".to_string();
                    self.line(&format!("const int to_row = {};", row_of(token)));
                }
                // One part of a head writes what all of them hold, but for what each adds to.
                let partial = buffer.dims.iter().any(|dim| matches!(dim, Dim::Parts(_)));
                if k.parts > 1 && element.split.is_none() && !partial {
                    guards.push("at.part == 0".to_string());
                }
                let guard = match guards.as_slice() {
                    [] => String::new(),
                    all => format!("if ({}) ", all.join(" && ")),
                };
                let place = place(buffer, element, &row, k.parts);
                self.line(&format!("{guard}{}[{place}] {sign} {value};", buffer.name));
            }
        }
    }
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

fn element(k: &Kernel, id: TileId, index: &[Ix]) -> String {
    let strides = &k.tile(id).strides;
    let at = index
        .iter()
        .zip(strides)
        .fold(Ix::default(), |at, (i, stride)| at.plus(&i.times(*stride as i64)));
    format!("tile{}[{}]", id.0, ix(&at))
}

/// An index as C.
fn ix(x: &Ix) -> String {
    let mut text = String::new();
    for (atom, c) in &x.terms {
        let atom = match atom {
            Atom::Axis(axis) => format!("i{axis}"),
            Atom::Div(x, by) => format!("({}) / {by}", ix(x)),
            Atom::Mod(x, by) => format!("({}) % {by}", ix(x)),
            Atom::Entry(x, list) => format!("({})", entry(&ix(x), list)),
        };
        let plus = if text.is_empty() { "" } else { " + " };
        match c {
            1 => write!(text, "{plus}{atom}"),
            c => write!(text, "{plus}{c} * ({atom})"),
        }
        .expect("writing to a string");
    }
    match (x.constant, text.is_empty()) {
        (c, true) => c.to_string(),
        (0, false) => text,
        (c, false) => format!("{text} + {c}"),
    }
}

/// The entry of a list, by questions: lists are as long as a token has micro-steps.
fn entry(at: &str, list: &[i64]) -> String {
    let (last, first) = list.split_last().expect("a list is not empty");
    let questions = first.iter().enumerate().map(|(i, x)| format!("{at} == {i} ? {x} : "));
    format!("{}{last}", questions.collect::<String>())
}

/// How many micro-steps row `i` has seen, as C.
fn seen(v: &Versions) -> String {
    let p = v.offsets.len();
    let offsets: Vec<i64> = v.offsets.iter().map(|o| *o as i64).collect();
    let sizes = [usize::MAX >> 8];
    let i = Ix::axis(0);
    let all = i.div(p, &sizes).times(v.micro as i64).plus(&i.rem(p, &sizes).entry(&offsets));
    ix(&all).replace("i0", "i")
}

/// A position of the language as C, given the rows of the token and of the key that it binds.
fn position(at: &Int, rows: [&Ix; 2]) -> String {
    match at {
        Int::T => format!("token(at, {})", ix(rows[0])),
        Int::Bound(_) => format!("key(at, {})", ix(rows[1])),
        Int::Const(c) => c.to_string(),
        Int::Op(op, a, b) => {
            let (a, b) = (position(a, rows), position(b, rows));
            match op {
                IntOp::Add => format!("({a} + {b})"),
                IntOp::Sub => format!("({a} - {b})"),
                IntOp::Mul => format!("({a} * {b})"),
                IntOp::Div => format!("floor_div({a}, {b})"),
                IntOp::Mod => format!("floor_mod({a}, {b})"),
                IntOp::Xor => format!("({a} ^ {b})"),
                IntOp::Bits => format!("digits({a})"),
                IntOp::Max => format!("max({a}, {b})"),
            }
        }
    }
}

/// Whether a position lies in the sequence for certain.
fn certain(at: &Int) -> bool {
    matches!(at, Int::T | Int::Bound(_))
}

/// The row of all sequences that a token is.
fn row_of(token: &Token) -> String {
    let i = ix(&token.row);
    match &token.at {
        Int::T => format!("at.start + inside(at, {i})"),
        Int::Bound(_) => format!("at.start + key(at, {i})"),
        at => format!("row_at(at, {i}, {})", position(at, [&token.row, &token.row])),
    }
}

/// Where an element lies in its buffer, given its row. The axes of a value stand last and are
/// counted in ints.
fn place(buffer: &Buffer, element: &Element, row: &str, parts: usize) -> String {
    let is_value = |dim: &Dim| matches!(dim, Dim::Number(_));
    let outer = buffer.dims.iter().rposition(|dim| !is_value(dim)).map_or(0, |last| last + 1);
    let (outer, value) = buffer.dims.split_at(outer);
    let before = outer.iter().filter(|dim| is_value(dim)).count();
    let mut text = String::new();
    let mut counts = element.index[..before].iter();
    for dim in outer {
        let (length, here) = match dim {
            Dim::Number(n) => (n.to_string(), counts.next().map_or(String::new(), ix)),
            Dim::Rows => ("at.rows".to_string(), row.to_string()),
            Dim::Chunks { .. } => ("chunks[sequences]".to_string(), "at.chunk".to_string()),
            Dim::Sequences => ("sequences".to_string(), "at.sequence".to_string()),
            Dim::Heads => ("heads".to_string(), "at.head".to_string()),
            Dim::OwnHeads => (format!("heads_{}", buffer.name), format!("own_{}", buffer.name)),
            Dim::Parts(n) => (n.to_string(), "at.part".to_string()),
            Dim::Jobs { .. } => ("(gridDim.x / heads)".to_string(), "at.job".to_string()),
        };
        text = if text.is_empty() {
            format!("(long long)({here})")
        } else {
            format!("({text} * {length} + {here})")
        };
    }
    let (mut inner, mut size, mut part) = (Ix::default(), 1, 0);
    for (axis, dim) in value.iter().enumerate() {
        let Dim::Number(n) = dim else { continue };
        inner = inner.times(*n as i64).plus(&element.index[before + axis]);
        size *= n;
        part = part * n + if element.split == Some(before + axis) { n / parts } else { 0 };
    }
    let part = if part > 0 { format!("at.part * {part} + ") } else { String::new() };
    let inner = format!("{part}{}", ix(&inner));
    if text.is_empty() { inner } else { format!("{text} * {size} + {inner}") }
}

/// The element of a buffer, zero before the first token.
fn read(k: &Kernel, buffer: &Buffer, element: &Element) -> String {
    let name = &buffer.name;
    match &element.row {
        None => format!("{name}[{}]", place(buffer, element, "", k.parts)),
        Some(token) if certain(&token.at) => {
            format!("{name}[{}]", place(buffer, element, &row_of(token), k.parts))
        }
        Some(token) => {
            let place = place(buffer, element, "row", k.parts);
            format!("read_row({}, [&](int row) {{ return {name}[{place}]; }})", row_of(token))
        }
    }
}

fn number(x: f64) -> String {
    let x = x as f32;
    if x.is_nan() {
        "bits(0x7fc00000u)".into()
    } else if x.is_infinite() {
        format!("{}bits(0x7f800000u)", if x < 0.0 { "-" } else { "" })
    } else {
        format!("{x:?}f")
    }
}

fn expr(of: &Schedule, k: &Kernel, e: &Expr) -> String {
    let expr = |e: &Expr| expr(of, k, e);
    match e {
        Expr::Number(x) => number(x.value()),
        Expr::Tile(id, index) => match k.tile(*id).number {
            Number::F32 => element(k, *id, index),
            Number::Bf16 => format!("widen({})", element(k, *id, index)),
        },
        Expr::Buffer(element) => read(k, of.buffer(element.buffer), element),
        Expr::Position(at, [row, key]) => format!("(float)({})", position(at, [row, key])),
        Expr::Allowed([row, key]) => {
            let Grid::Pairs { range, .. } = &k.grid else {
                unreachable!("only pairs of tokens may be forbidden")
            };
            let [low, high] = [&range.low, &range.high].map(|at| position(at, [row, key]));
            format!("allowed(at, {}, {}, {low}, {high})", ix(row), ix(key))
        }
        Expr::Head => "(float)at.head".into(),
        Expr::Valid(row) => format!("({} < at.valid ? 1.f : 0.f)", ix(row)),
        Expr::Sum => "sum".into(),
        Expr::Unary(op, x) => unary(*op, &expr(x)),
        Expr::Binary(op, both) => {
            let (a, b) = (expr(&both[0]), expr(&both[1]));
            match op {
                Binary::Add => format!("({a} + {b})"),
                Binary::Sub => format!("({a} - {b})"),
                op => format!("op_{}({a}, {b})", op.name()),
            }
        }
        Expr::Mul(both) => format!("{} * {}", expr(&both[0]), expr(&both[1])),
        Expr::Weight(both) => format!("op_exp({} - {})", expr(&both[0]), expr(&both[1])),
        Expr::Select(both) => {
            let [c, a, b] = [&both[0], &both[1], &both[2]].map(expr);
            format!("({c} != 0.f ? {a} : {b})")
        }
        Expr::Where(condition, both) => {
            let condition = match condition {
                Condition::Less(a, b) => format!("{} < {}", ix(a), ix(b)),
                Condition::Equal(a, b) => format!("{} == {}", ix(a), ix(b)),
                Condition::FirstPart => "at.part == 0".into(),
            };
            format!("({condition} ? {} : {})", expr(&both[0]), expr(&both[1]))
        }
        Expr::Given(buffer, cases) => {
            let name = &of.buffer(*buffer).name;
            format!("({name} != 0 ? {} : {})", expr(&cases[0]), expr(&cases[1]))
        }
    }
}

/// A function of one number as C.
pub fn unary(op: Unary, x: &str) -> String {
    let Unary::Pow(c) = op else { return format!("op_{}({x})", op.name()) };
    let c = c.value();
    // Whole powers hold for negative numbers too.
    match c {
        -1.0 => format!("divide(1.f, {x})"),
        -0.5 => format!("divide(1.f, root({x}))"),
        0.5 => format!("root({x})"),
        c if c.fract() == 0.0 && (1.0..=8.0).contains(&c) => {
            let whole = vec!["y"; c as usize].join(" * ");
            format!("[](float y) {{ return {whole}; }}({x})")
        }
        c => format!("op_pow({x}, {})", number(c)),
    }
}
