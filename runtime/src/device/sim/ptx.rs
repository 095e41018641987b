//! Reads PTX, as NVRTC writes it, into instructions that [`super::warp`] executes.

use std::collections::HashMap;

use super::instruction::{Address, Entry, Inst, Lane, One, Op, Order, Reg, Space, Src, Two, Type};

/// Reads the only kernel of a PTX text.
pub fn parse(text: &str) -> Result<Entry, String> {
    let mut reader = Reader::default();
    for statement in statements(text) {
        reader
            .statement(statement.trim())
            .map_err(|why| format!("{why}: `{}`", statement.trim()))?;
    }
    reader.finish()
}

/// Cuts a text into statements: at semicolons, labels, and lines of directives without one.
fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut body = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or("").trim();
        if line.starts_with(".section") {
            break;
        }
        if line.is_empty() {
            continue;
        }
        if !body {
            found.push(line);
            body = line.starts_with('{');
            continue;
        }
        for part in line.split_inclusive([';']) {
            let mut part = part.trim();
            while let Some((label, rest)) = part.split_once(':')
                && label.starts_with('$')
                && !label.contains(' ')
            {
                found.push(&part[..=label.len()]);
                part = rest.trim();
            }
            if !part.is_empty() {
                found.push(part);
            }
        }
    }
    found
}

#[derive(Default)]
struct Reader {
    entry: Entry,
    /// Prefix of register names, and the file and first place of each.
    files: Vec<(String, Type, usize)>,
    labels: HashMap<String, usize>,
    jumps: Vec<(usize, String)>,
    line: [usize; 2],
    /// Lines of the kernel itself, by line and column of what was inlined there last.
    places: HashMap<[usize; 2], usize>,
}

impl Reader {
    fn finish(mut self) -> Result<Entry, String> {
        for (at, label) in self.jumps {
            let to = *self.labels.get(&label).ok_or(format!("no label {label}"))?;
            self.entry.code[at].op = Op::Branch(to);
        }
        if self.entry.name.is_empty() {
            return Err("the text holds no kernel".into());
        }
        Ok(self.entry)
    }

    fn statement(&mut self, text: &str) -> Result<(), String> {
        if let Some(label) = text.strip_suffix(':') {
            self.labels.insert(label.to_string(), self.entry.code.len());
            return Ok(());
        }
        if let Some(name) = text.strip_prefix(".visible .entry ") {
            self.entry.name = name.trim_end_matches(['(', ')', '{']).trim().to_string();
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix(".param ") {
            let ty = rest.trim_start_matches('.').split(' ').next().unwrap_or("");
            let size = Type::of(ty).ok_or("unknown type of an argument")?.bytes();
            let end = self.entry.params.last().map_or(0, |(at, n)| at + n);
            self.entry.params.push((end.next_multiple_of(size), size));
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix(".reg .") {
            return self.registers(rest.trim_end_matches(';'));
        }
        if let Some(rest) = text.strip_prefix(".loc") {
            self.place(rest);
            return Ok(());
        }
        if text.starts_with(['.', '{', '}', ')']) {
            return Ok(());
        }
        self.instruction(text.trim_end_matches(';').trim())
    }

    /// `FILE LINE COLUMN`, and perhaps `inlined_at FILE LINE COLUMN`: a place that has come before, which may itself stand
    /// in a function that was inlined.
    fn place(&mut self, text: &str) {
        let numbers: Vec<usize> =
            text.split([' ', '\t', ',']).filter_map(|word| word.parse().ok()).collect();
        let at = |first: usize| Some([*numbers.get(first)?, *numbers.get(first + 1)?]);
        // Line 0 is nowhere in particular: what several places have in common stays with what comes before it.
        let Some(own) = at(1).filter(|[line, _]| *line > 0) else { return };
        let outer = match numbers.len().checked_sub(2).filter(|_| numbers.len() >= 6).and_then(at) {
            Some(caller) => self.places.get(&caller).copied().unwrap_or(caller[0]),
            // The function that it was inlined into goes on.
            None => self.places.get(&own).copied().unwrap_or(own[0]),
        };
        self.places.insert(own, outer);
        self.line = [own[0], outer];
    }

    /// `b32 %r<100>`
    fn registers(&mut self, text: &str) -> Result<(), String> {
        let (ty, name) = text.split_once(['\t', ' ']).ok_or("a declaration without a name")?;
        let (prefix, count) = name.trim().split_once('<').ok_or("a register without a count")?;
        let count: usize = count.trim_end_matches('>').parse().map_err(|_| "a strange count")?;
        let ty = match ty {
            "f32" => Type::F32,
            other => Type::of(other).ok_or("a strange type of registers")?,
        };
        let file = match ty {
            Type::Pred => 2,
            Type::U64 | Type::S64 => 1,
            _ => 0,
        };
        self.files.push((prefix.to_string(), ty, self.entry.registers[file]));
        self.entry.registers[file] += count;
        Ok(())
    }

    fn reg(&self, text: &str) -> Result<Reg, String> {
        let digits =
            text.find(|c: char| c.is_ascii_digit()).ok_or(format!("no register: {text}"))?;
        let (prefix, number) = text.split_at(digits);
        let number: usize = number.parse().map_err(|_| format!("no register: {text}"))?;
        let (_, ty, first) = self
            .files
            .iter()
            .find(|(name, ..)| name == prefix)
            .ok_or(format!("no register: {text}"))?;
        Ok(match ty {
            Type::Pred => Reg::Pred(first + number),
            Type::U64 | Type::S64 => Reg::Long(first + number),
            _ => Reg::Word(first + number),
        })
    }

    fn src(&self, text: &str) -> Result<Src, String> {
        Ok(match text {
            "%tid.x" => Src::Thread,
            "%ctaid.x" => Src::Block,
            "%ntid.x" => Src::Threads,
            "%nctaid.x" => Src::Blocks,
            "shared" => Src::Value(0),
            _ if text.starts_with('%') => Src::Reg(self.reg(text)?),
            _ => Src::Value(value(text)?),
        })
    }

    /// `[%rd1+16]`, `[shared+8]`, `[kernel_param_3]`
    fn address(&self, text: &str) -> Result<Address, String> {
        let inside = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inside = inside.ok_or(format!("no address: {text}"))?;
        let (base, offset) = match inside.split_once('+') {
            Some((base, offset)) => {
                (base.trim(), offset.trim().parse::<i64>().map_err(|_| "a strange offset")?)
            }
            None => (inside.trim(), 0),
        };
        if base.starts_with('%') {
            return Ok(Address { base: Some(self.reg(base)?), offset });
        }
        if base == "shared" {
            return Ok(Address { base: None, offset });
        }
        let number = base.rsplit_once("_param_").and_then(|(_, n)| n.parse::<usize>().ok());
        let param = number.and_then(|n| self.entry.params.get(n));
        let (at, _) = param.ok_or(format!("unknown symbol {base}"))?;
        Ok(Address { base: None, offset: *at as i64 + offset })
    }

    fn instruction(&mut self, text: &str) -> Result<(), String> {
        let (guard, text) = match text.strip_prefix('@') {
            Some(rest) => {
                let (p, rest) = rest.split_once([' ', '\t']).ok_or("a guard alone")?;
                let (p, holds) = p.strip_prefix('!').map_or((p, true), |p| (p, false));
                (Some((self.reg(p)?, holds)), rest.trim())
            }
            None => (None, text),
        };
        let (name, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let parts: Vec<&str> = name.split('.').collect();
        let args = arguments(rest);
        let op = if let ("mov", [to, from]) = (parts[0], args.as_slice())
            && to.starts_with('{')
        {
            // Both halves of 32 bits: two operations.
            let [low, high] = list(to)[..] else { return Err("two halves".into()) };
            let (low, high, from) = (self.reg(low)?, self.reg(high)?, self.src(from)?);
            let op = Op::Two(Two::And, Type::U32, low, from, Src::Value(0xffff));
            self.entry.code.push(Inst { guard, op, line: self.line });
            Op::Two(Two::Shr, Type::U32, high, from, Src::Value(16))
        } else if parts[0] == "bra" {
            self.jumps.push((self.entry.code.len(), args[0].to_string()));
            Op::Branch(0)
        } else {
            match self.op(&parts, &args)? {
                Some(op) => op,
                None => return Ok(()),
            }
        };
        self.entry.code.push(Inst { guard, op, line: self.line });
        Ok(())
    }

    /// The operation; `None` for hints that change nothing.
    fn op(&self, parts: &[&str], args: &[&str]) -> Result<Option<Op>, String> {
        let of = Arguments { reader: self, parts, args };
        let two = |f: Two| -> Result<Option<Op>, String> {
            Ok(Some(Op::Two(f, of.ty()?, of.reg(0)?, of.src(1)?, of.src(2)?)))
        };
        let has = |part: &str| parts.contains(&part);
        if let Some(f) = Two::named(parts[0]) {
            return two(f);
        }
        if let Some(f) = One::named(parts[0]) {
            return Ok(Some(Op::One(f, of.ty()?, of.reg(0)?, of.src(1)?)));
        }
        Ok(Some(match parts[0] {
            "mov" | "cvta" => of.moved()?,
            "mul" if has("wide") => Op::Wide(of.ty()?, of.reg(0)?, of.src(1)?, of.src(2)?, None),
            "mul" if has("hi") => return two(Two::High),
            "mul" => return two(Two::Mul),
            "mad" if has("wide") => {
                Op::Wide(of.ty()?, of.reg(0)?, of.src(1)?, of.src(2)?, Some(of.src(3)?))
            }
            "mad" | "fma" => Op::Fused(of.ty()?, of.reg(0)?, [of.src(1)?, of.src(2)?, of.src(3)?]),
            "cvt" if has("bf16x2") => Op::Pack(of.reg(0)?, of.src(1)?, of.src(2)?),
            "cvt" => {
                let types: Vec<Type> = parts.iter().filter_map(|part| Type::of(part)).collect();
                let [to, from] = types[..] else { return Err("a conversion has two types".into()) };
                Op::Convert {
                    to,
                    from,
                    whole: has("rni") || has("rzi"),
                    d: of.reg(0)?,
                    a: of.src(1)?,
                }
            }
            "setp" => self.compare(parts, args, of.ty()?)?,
            "selp" => Op::Choose(of.ty()?, of.reg(0)?, of.src(1)?, of.src(2)?, of.reg(3)?),
            "bfi" => Op::Insert(of.reg(0)?, [of.src(1)?, of.src(2)?, of.src(3)?, of.src(4)?]),
            "ld" => Op::Load(space(parts), of.ty()?, of.regs(0)?, of.address(1)?),
            "st" => Op::Store(space(parts), of.ty()?, of.srcs(1)?, of.address(0)?),
            "bar" | "barrier" => Op::Barrier,
            "ret" | "exit" => Op::Return,
            "shfl" if has("bfly") || has("idx") => Op::Shuffle(
                if has("idx") { Lane::Is } else { Lane::Differs },
                self.reg(of.arg(0)?.split('|').next().unwrap_or(""))?,
                of.src(1)?,
                of.src(2)?,
            ),
            "redux" if has("or") => Op::Either(of.reg(0)?, of.src(1)?),
            "vote" if has("any") => Op::Either(of.reg(0)?, of.src(1)?),
            "ldmatrix" if has("x4") => Op::Matrices(has("trans"), of.four(0)?, of.address(1)?),
            "mma" if parts.ends_with(&["m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"]) => {
                let b = <[Src; 2]>::try_from(of.srcs(2)?).map_err(|_| "two values")?;
                Op::Multiply { d: of.four(0)?, a: of.four_values(1)?, b, c: of.four_values(3)? }
            }
            "cp" if has("async") => of.copied()?,
            "prefetch" | "membar" | "fence" => return Ok(None),
            _ => return Err("an instruction that the sim device does not know".into()),
        }))
    }

    fn compare(&self, parts: &[&str], args: &[&str], ty: Type) -> Result<Op, String> {
        let name = parts[1];
        let unordered = name == "nan" || name.len() == 3 && name.ends_with('u');
        let order = match name.trim_end_matches('u') {
            "eq" => Order::Eq,
            "ne" => Order::Ne,
            "lt" | "lo" => Order::Lt,
            "le" | "ls" => Order::Le,
            "gt" | "hi" => Order::Gt,
            "ge" | "hs" => Order::Ge,
            "nan" | "num" => Order::Num,
            _ => return Err("a strange comparison".into()),
        };
        let with = match (parts.get(2), args.get(3)) {
            (Some(&f @ ("and" | "or" | "xor")), Some(p)) => {
                let f = match f {
                    "and" => Two::And,
                    "or" => Two::Or,
                    _ => Two::Xor,
                };
                let (p, holds) = p.strip_prefix('!').map_or((*p, true), |p| (p, false));
                Some((f, self.reg(p)?, holds))
            }
            _ => None,
        };
        let (d, a, b) = (self.reg(args[0])?, self.src(args[1])?, self.src(args[2])?);
        Ok(Op::Compare { order, unordered, ty, d, a, b, with })
    }
}

/// The arguments of an instruction, read as what it takes.
struct Arguments<'a> {
    reader: &'a Reader,
    parts: &'a [&'a str],
    args: &'a [&'a str],
}

impl Arguments<'_> {
    fn ty(&self) -> Result<Type, String> {
        let named = self.parts.iter().rev().find_map(|part| Type::of(part));
        named.ok_or("an instruction without a type".to_string())
    }

    fn arg(&self, at: usize) -> Result<&str, String> {
        self.args.get(at).copied().ok_or("an argument is missing".to_string())
    }

    fn reg(&self, at: usize) -> Result<Reg, String> {
        self.reader.reg(self.arg(at)?)
    }

    fn src(&self, at: usize) -> Result<Src, String> {
        self.reader.src(self.arg(at)?)
    }

    fn regs(&self, at: usize) -> Result<Vec<Reg>, String> {
        list(self.arg(at)?).into_iter().map(|text| self.reader.reg(text)).collect()
    }

    fn srcs(&self, at: usize) -> Result<Vec<Src>, String> {
        list(self.arg(at)?).into_iter().map(|text| self.reader.src(text)).collect()
    }

    fn four(&self, at: usize) -> Result<[Reg; 4], String> {
        self.regs(at)?.try_into().map_err(|_| "four registers".to_string())
    }

    fn four_values(&self, at: usize) -> Result<[Src; 4], String> {
        self.srcs(at)?.try_into().map_err(|_| "four values".to_string())
    }

    /// The two halves that a move puts together, if it does.
    fn srcs_of_pair(&self) -> Result<Vec<Src>, String> {
        if self.arg(1)?.starts_with('{') { self.srcs(1) } else { Ok(vec![]) }
    }

    /// `mov`, and `cvta` between shared addresses and generic ones.
    fn moved(&self) -> Result<Op, String> {
        let d = self.reg(0)?;
        if let [low, high] = self.srcs_of_pair()?[..] {
            // Two halves of 32 bits: the upper one put in above the lower one.
            return Ok(Op::Insert(d, [high, low, Src::Value(16), Src::Value(16)]));
        }
        let from = self.src(1)?;
        let has = |part: &str| self.parts.contains(&part);
        if !(self.parts[0] == "cvta" && has("shared")) {
            return Ok(Op::Move(self.ty()?, d, from));
        }
        let window = Src::Value(super::memory::SHARED_WINDOW);
        let f = if has("to") { Two::Sub } else { Two::Add };
        Ok(Op::Two(f, Type::U64, d, from, window))
    }

    /// `cp.async`: a copy, or what is done with groups of them.
    fn copied(&self) -> Result<Op, String> {
        let has = |part: &str| self.parts.contains(&part);
        let number = |at: usize| Ok::<usize, String>(value(self.arg(at)?)? as usize);
        Ok(match () {
            () if has("commit_group") => Op::CopyGroup,
            () if has("wait_group") => Op::CopyWait(number(0)?),
            () if has("wait_all") => Op::CopyWait(0),
            () => {
                let bytes = number(2)?;
                let some = self.arg(3).is_ok();
                let brought = if some { self.src(3)? } else { Src::Value(bytes as u64) };
                Op::Copy(bytes, self.address(0)?, self.address(1)?, brought)
            }
        })
    }

    fn address(&self, at: usize) -> Result<Address, String> {
        self.reader.address(self.arg(at)?)
    }
}

fn space(parts: &[&str]) -> Space {
    let has = |part: &str| parts.contains(&part);
    if has("shared") {
        Space::Shared
    } else if has("global") && has("nc") {
        Space::Constant
    } else if has("global") {
        Space::Global
    } else if has("param") {
        Space::Param
    } else {
        Space::Generic
    }
}

/// Arguments between commas that no brackets hold together.
fn arguments(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        found.push(last);
    }
    found
}

/// The items of `{a, b}`, or the text alone.
fn list(text: &str) -> Vec<&str> {
    match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        Some(inside) => inside.split(',').map(str::trim).collect(),
        None => vec![text],
    }
}

/// A number as PTX writes it, as bits.
fn value(text: &str) -> Result<u64, String> {
    let strange = || format!("no number: {text}");
    if let Some(bits) = text.strip_prefix("0f").or_else(|| text.strip_prefix("0F")) {
        return u64::from_str_radix(bits, 16).map_err(|_| strange());
    }
    if let Some(bits) = text.strip_prefix("0x") {
        return u64::from_str_radix(bits.trim_end_matches('U'), 16).map_err(|_| strange());
    }
    let plain = text.trim_end_matches('U');
    plain.parse::<i64>().map(|x| x as u64).or_else(|_| plain.parse()).map_err(|_| strange())
}
