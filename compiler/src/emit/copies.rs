//! The text of copies: which thread copies which pieces.
//!
//! What differs between the pieces of a thread is the row they lie in. So a thread finds the places of its first one, and
//! adds to both; between rows of tensors of tokens lies as much as all heads have.

use super::Text;
use super::expr::{condition, element, placed, placed_in};
use super::map::{Spread, divisor, spread};
use super::step::UNROLL;
use crate::plan::index::{Atom, Ix};
use crate::plan::lower::axes_of;
use crate::plan::{
    Buffer, Dim, Element, Kernel, Over, Round, Space, Step, Stmt, Swizzle, Tile, Transport,
};
use crate::tile::Int;

/// Rows after which pieces of rows are exchanged in the same way again.
const EXCHANGED: usize = 8;

/// How a thread's pieces lie apart, in bytes.
struct Apart {
    axis: usize,
    /// From round to round along that axis, and in the tile.
    round: usize,
    in_tile: usize,
    from: From,
}

/// Where a thread's pieces come from.
enum From {
    /// So many bytes behind each other from round to round.
    Fixed(usize),
    /// A row each, of so many bytes, as text.
    Rows(String),
}

impl Text<'_> {
    /// Copies that stand one after the other, for the same round of the loop over chunks or of the only one, behind one
    /// question whether there is such a round; gives how many there are.
    pub(super) fn copies(&mut self, k: &Kernel, body: &[Stmt]) -> usize {
        let copy = |stmt: &Stmt| match stmt {
            Stmt::Step(step @ Step::Copy { round, .. }) => Some((step.clone(), *round)),
            _ => None,
        };
        let Some((_, round)) = body.first().and_then(copy) else { return 0 };
        let all: Vec<Step> = body
            .iter()
            .map_while(copy)
            .take_while(|(_, own)| *own == round)
            .map(|(step, _)| step)
            .collect();
        let (name, text) = match round {
            Round::First(at) => (at.to_string(), at.to_string()),
            Round::Ahead(at) => ("next".to_string(), format!("round + {at}")),
        };
        let chunks = match k.rounds() {
            Some(Over::Chunks { tokens, reverse }) => Some((tokens, reverse)),
            _ => None,
        };
        let copies = |t: &mut Self| {
            if let Some((tokens, reverse)) = chunks {
                if name == "next" {
                    t.line(&format!("const int next = {text};"));
                }
                t.line("const Place now = at;");
                t.line("Place at = now;");
                t.round(&name, tokens, reverse);
            }
            all.iter().for_each(|step| t.copy(k, step, &name));
        };
        match chunks {
            Some(_) => self.block(&format!("if ({text} < rounds)"), copies),
            None => self.block("", copies),
        }
        // Rounds that are not there count as groups too.
        for step in &all {
            if !matches!(step, Step::Copy { by: Transport::Plain, .. }) {
                self.line("commit_copies();");
            }
        }
        all.len()
    }

    /// One copy to the stage of a round, where the call has the buffer.
    fn copy(&mut self, k: &Kernel, step: &Step, round: &str) {
        let Step::Copy { from, when, to, .. } = step else { return };
        self.comment(step);
        let (tile, buffer) = (k.tile(*to), self.of.buffer(from.buffer));
        let absent = buffer.may_be_absent && when.is_empty();
        let given = if absent { format!("if ({} != 0)", buffer.name) } else { String::new() };
        self.block(&given, |t| {
            if tile.stages > 1 {
                t.stage(*to, tile, round);
            }
            t.pieces(k, step);
        });
    }

    /// All pieces of a copy.
    fn pieces(&mut self, k: &Kernel, step: &Step) {
        let Step::Copy { by, from, when, to, piece, first, .. } = step else { return };
        let (tile, buffer) = (k.tile(*to), self.of.buffer(from.buffer));
        let index = axes_of(&tile.shape);
        let last = tile.shape.iter().rposition(|n| *n > 1);
        let spread = spread(&tile.shape, last, piece / tile.number.bytes(), k.threads);
        if *by == Transport::Async
            && let Some(apart) = apart(tile, buffer, from, &spread)
        {
            return self.pieces_apart(k, step, &spread, &apart);
        }
        let body = |t: &mut Self, round: &str| {
            for line in (spread.indices)(round) {
                t.line(&match first {
                    0 => line,
                    first => line.replace("threadIdx.x", &format!("(int)threadIdx.x - {first}")),
                });
            }
            let (place, from) = (element(k, *to, &index), placed(k, buffer, from));
            let how = if *by == Transport::Plain { "copy" } else { "copy_async" };
            let when: Vec<String> = when.iter().map(|when| condition(t.of, when)).collect();
            let copy = match when.as_slice() {
                [] => format!("{how}<{piece}>(&{place}, &{from});"),
                all => format!("{how}_if<{piece}>(&{place}, &{from}, {});", all.join(" && ")),
            };
            match &spread.when {
                Some(when) if *first > 0 => t.line(&format!("if (e >= 0 && {when}) {copy}")),
                Some(when) => t.line(&format!("if ({when}) {copy}")),
                None => t.line(&copy),
            }
        };
        if spread.rounds == 1 {
            return body(self, "0");
        }
        self.line(&format!("#pragma unroll {}", divisor(spread.rounds, UNROLL)));
        self.block(&format!("for (int r = 0; r < {}; r++)", spread.rounds), |t| body(t, "r"));
    }

    /// All pieces of a copy, as far from a thread's first one as they are.
    fn pieces_apart(&mut self, k: &Kernel, step: &Step, spread: &Spread, apart: &Apart) {
        let Step::Copy { from, when, to, piece, .. } = step else { return };
        let (tile, buffer) = (k.tile(*to), self.of.buffer(from.buffer));
        let Apart { axis, round, in_tile, from: source } = apart;
        (spread.indices)("0").iter().for_each(|line| self.line(line));
        let place = element(k, *to, &axes_of(&tile.shape));
        self.line(&format!("const u32 to = shared_address(&{place});"));
        let (start, there) = match source {
            From::Fixed(bytes) => (placed(k, buffer, from), format!("from + r * {bytes}")),
            From::Rows(bytes) => {
                self.line(&format!("const int first = i{axis}, apart = {bytes};"));
                let row = format!("(long long)min(first + r * {round}, at.valid - 1)");
                let start = placed_in(k, buffer, from, "at.start + at.first");
                (start, format!("from + {row} * apart"))
            }
        };
        self.line(&format!("const char* const from = (const char*)&{start};"));
        let asks = !when.is_empty() || spread.when.is_some();
        if asks && matches!(source, From::Fixed(_)) {
            self.line(&format!("const int first = i{axis};"));
        }
        let when: Vec<String> = when.iter().map(|when| condition(self.of, when)).collect();
        let copied = format!("to + r * {in_tile}, {there}");
        let copy = match when.as_slice() {
            [] => format!("copy_async<{piece}>({copied});"),
            all => format!("copy_async_if<{piece}>({copied}, {});", all.join(" && ")),
        };
        self.line(&format!("#pragma unroll {}", divisor(spread.rounds, UNROLL)));
        self.block(&format!("for (int r = 0; r < {}; r++)", spread.rounds), |t| {
            if asks {
                t.line(&format!("const int i{axis} = first + r * {round};"));
            }
            match &spread.when {
                Some(when) => t.line(&format!("if ({when}) {copy}")),
                None => t.line(&copy),
            }
        });
    }
}

/// How the pieces of a thread lie apart, where that is the same for all of them.
fn apart(tile: &Tile, buffer: &Buffer, from: &Element, spread: &Spread) -> Option<Apart> {
    let (axis, round) = spread.along?;
    let step = round * tile.number.bytes();
    let exchanged = tile.space == Space::Shared(Swizzle::Rows) && tile.swizzled().is_some();
    if exchanged && !(axis == 0 && round.is_multiple_of(EXCHANGED)) {
        return None;
    }
    let is_own = |atom: &Atom| *atom == Atom::Axis(axis as u8);
    let from = match &from.row {
        Some(token) if token.row.as_axis() == Some(axis) && token.at == Int::T => {
            From::Rows(row_bytes(buffer)?)
        }
        Some(_) => return None,
        None => {
            let (before, inner, _) = buffer.inner(from);
            let plain = |i: &Ix| i.terms.iter().all(|(atom, _)| matches!(atom, Atom::Axis(_)));
            let stays = |i: &Ix| plain(i) && !i.terms.iter().any(|(atom, _)| is_own(atom));
            let own = inner.terms.iter().find(|(atom, _)| is_own(atom));
            let fixed = plain(&inner) && before.iter().all(stays);
            From::Fixed(usize::try_from(own.filter(|_| fixed)?.1).ok()? * step)
        }
    };
    Some(Apart { axis, round, in_tile: tile.strides[axis] * step, from })
}

/// The bytes from row to row of a tensor of tokens, as text.
fn row_bytes(buffer: &Buffer) -> Option<String> {
    let rows = buffer.dims.iter().position(|dim| *dim == Dim::Rows)?;
    let mut numbers = buffer.number.bytes();
    let mut heads = String::new();
    for dim in &buffer.dims[rows + 1..] {
        match dim {
            Dim::Number(n) | Dim::Parts(n) => numbers *= n,
            Dim::Heads => heads += "heads * ",
            Dim::OwnHeads => heads += &format!("heads_{} * ", buffer.name),
            _ => return None,
        }
    }
    Some(format!("{heads}{numbers}"))
}
