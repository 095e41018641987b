"""What each instruction does to a warp: whole numbers, predicates and addresses exactly, floats as 0.

A decoder of an opcode sets `run(warp, mask)` and says which pipe the instruction keeps busy and how late its
result comes. What no decoder knows is counted in `missing`, and nothing of a kernel with such an instruction may be told.
"""

import collections
import re

import numpy as np

from sass import (ALL, LANE, NONE, WORD, Operand, address, bits_of_half, floats, is_predicate, of_floats, predicate,
                  signed)

# Whole-number operations of a warp as a whole, by their names without the `U`.
UNIFORM = ("MOV", "LDC", "IADD3", "IMAD", "LEA", "SHF", "LOP3", "SEL", "ISETP", "PLOP3", "SGXT", "PRMT", "VIADD", "P2UR",
           "BREV", "POPC", "FLO", "BMSK")
DECODERS = {}


def decodes(*names):
    """Registers a decoder for opcodes."""
    def put(function):
        DECODERS.update(dict.fromkeys(names, function))
        return function
    return put


def nothing(_w, _m):
    """What leaves everything as it is."""


class Decoder:
    """Decodes the instructions of a kernel that is started with `constants`: {offset in c[0]: word}."""

    def __init__(self, constants, labels, hardware):
        self.constants, self.labels, self.hardware = constants, labels, hardware
        self.missing = collections.Counter()

    def constant(self, offset):
        return self.constants.get(offset, 0) & WORD

    def operand(self, text):
        return Operand(text, self.constant)

    def decode(self, i, offsets):
        """Fills an instruction in; `offsets` gives its place from the byte at which it stands."""
        base, uniform = i.parts[0], False
        if base.startswith("U") and base[1:] in UNIFORM:
            base, uniform = base[1:], True
        i.pipe, i.busy = ("uniform", self.hardware["uniform_busy"]) if uniform else ("alu", self.hardware["alu_busy"])
        try:
            DECODERS[base](self, i)
        except (KeyError, ValueError, IndexError) as why:
            self.missing[f"{i.op} ({why})" if base in DECODERS else i.op] += 1
            i.run = nothing
        if i.guard is not None:
            i.guard = predicate(i.guard)
        if i.target is not None and i.target not in offsets.values():
            self.missing["a jump to nowhere: " + i.text] += 1

    def costs(self, i, kind, pipe, latency=None):
        """Says what an instruction is and which pipe it keeps."""
        i.kind, i.pipe = kind, pipe
        i.busy = self.hardware[pipe + "_busy"] if pipe else 0.0
        i.latency = self.hardware[latency] if latency else 0


def to_register(text, value, wide=False):
    """Writes a value, of 64 bits if wide, to a register of the lanes that are on."""
    name = text.replace(".reuse", "")
    if name in ("RZ", "URZ"):
        return nothing
    n = int(re.sub(r"\D", "", name))
    if name.startswith("UR"):
        def put_uniform(w, m):
            lane = 0 if m is ALL else int(m.argmax())
            x = int(value(w)[lane])
            w.U[n] = x & WORD
            if wide:
                w.U[n + 1] = x >> 32 & WORD
        return put_uniform

    def put(w, m):
        x = value(w)
        if m is ALL:
            w.R[n] = x & WORD
            if wide:
                w.R[n + 1] = x >> 32 & WORD
        else:
            np.copyto(w.R[n], x & WORD, where=m)
            if wide:
                np.copyto(w.R[n + 1], x >> 32 & WORD, where=m)
    return put


def into(text):
    """Writes 32 bits that are there already."""
    name = text.replace(".reuse", "")
    if name == "RZ":
        return lambda v, w, m: None
    n = int(name[1:])

    def put(v, w, m):
        if m is ALL:
            w.R[n] = v & WORD
        else:
            np.copyto(w.R[n], v & WORD, where=m)
    return put


def to_predicate(text, w, m, x):
    """Writes a truth of each lane to a predicate."""
    name = text.strip()
    if name in ("PT", "UPT"):
        return
    if name.startswith("UP"):
        w.UP[int(name[2:])] = bool(x[0 if m is ALL else int(m.argmax())])
    else:
        np.copyto(w.P[int(name[1:])], x, where=m)


def zeros(text, count=1):
    """Floats that nobody follows: registers become 0."""
    name = text.replace(".reuse", "")
    if not re.match(r"R\d+", name):
        return nothing
    n = int(re.sub(r"\D", "", name))

    def put(w, m):
        if m is ALL:
            w.R[n:n + count] = 0
        else:
            w.R[n:n + count, m] = 0
    return put


def take_predicates(args, at=1):
    """Takes the predicates that stand from a place of the operands on."""
    taken = []
    while len(args) > at and is_predicate(args[at]):
        taken.append(args.pop(at))
    return taken


@decodes("NOP", "BSSY", "BSYNC", "WARPSYNC", "BREAK", "ENDCOLLECTIVE", "FENCE", "MEMBAR", "ERRBAR", "CCTL", "YIELD", "BMOV",
         "NANOSLEEP", "ACQBULK", "UTMACCTL", "USETMAXREG", "PREEXIT", "CGAERRBAR")
def control(d, i):
    d.costs(i, "control", None)
    i.run = nothing


@decodes("DEPBAR", "LDGDEPBAR", "WARPGROUP", "UTMACMDFLUSH")
def groups_of_copies(d, i):
    control(d, i)
    if i.op.startswith("DEPBAR.LE"):
        i.kind, i.count = "copies_wait", int(i.args[1], 16)
    elif i.parts[0] in ("LDGDEPBAR", "UTMACMDFLUSH"):
        i.kind = "copies_commit"
    elif "DEPBAR" in i.parts:
        i.kind = "wgmma_wait"


@decodes("BRA", "EXIT", "BAR", "CALL", "RET")
def jumps(d, i):
    kinds = {"BRA": "branch", "EXIT": "exit", "BAR": "barrier", "CALL": "branch", "RET": "return"}
    d.costs(i, kinds[i.parts[0]], None)
    i.run = nothing
    if i.kind == "return":
        i.reads_if = d.operand(i.args[0].split()[0])  # the byte to go on at
    if i.kind == "barrier" and ("SYNC" not in i.parts or len(i.args) > 1):
        raise ValueError("a barrier of some warps")
    if i.kind == "branch":
        i.target = d.labels[re.search(r"`\((.*?)\)", i.text).group(1)]
        i.count = int("ANY" in i.parts)  # all lanes go where one wants to
        if "DIV" in i.parts and i.parts[0] == "BRA":
            i.kind, i.target = "control", None
        elif len(i.args) > 1 and is_predicate(i.args[0]) and i.guard is None:
            i.guard = i.args[0]


@decodes("MOV", "CS2R", "R2UR", "UR2R")
def moves(d, i):
    if i.parts[0] == "CS2R":
        i.run = zeros(i.args[0], 1 if "32" in i.parts else 2)
    else:
        i.run = to_register(i.args[0], d.operand(i.args[1 if i.parts[0] != "R2UR" else -1]))
    i.kind = "move"
    i.latency = 12 if i.parts[0] == "R2UR" else 0


@decodes("S2R", "S2UR")
def special(d, i):
    name = i.args[1]

    def value(w):
        if name == "SR_TID.X":
            return w.tid
        if name == "SR_LANEID":
            return LANE
        if name.startswith("SR_CTAID."):
            return np.full(32, w.block.place["XYZ".index(name[-1])], np.int64)
        return np.zeros(32, np.int64)
    i.run = to_register(i.args[0], value)
    i.pipe, i.busy, i.latency = "xu", 2.0, d.hardware["s2r"]


@decodes("LDC")
def constants(d, i):
    place = re.match(r"c\[0x\w+\]\[(?:(U?R\w+)(?:\.\w+)?(?:\+)?)?(0x\w+)?\]", i.args[1])
    offset, wide = int(place.group(2) or "0", 16), "64" in i.parts
    if place.group(1) in (None, "RZ", "URZ"):
        x = d.constant(offset) | (d.constant(offset + 4) << 32 if wide else 0)
        x -= (1 << 64) if x >> 63 else 0
        whole = np.full(32, x, np.int64)
        i.run = to_register(i.args[0], lambda w: whole, wide)
    else:
        at = d.operand(place.group(1))

        def value(w):
            words = [d.constant(int(x) + offset) | (d.constant(int(x) + offset + 4) << 32 if wide else 0) for x in at(w)]
            return np.array(words, np.uint64).astype(np.int64)
        i.run = to_register(i.args[0], value, wide)
    i.kind, i.latency = "constant", 0 if i.op.startswith("U") else d.hardware["ldc"]


@decodes("IADD3", "VIADD")
def sums(d, i):
    args = list(i.args)
    carries_out = take_predicates(args)
    terms = [d.operand(x) for x in args[1:] if not is_predicate(x)]
    carries = [predicate(x) for x in args[1:] if is_predicate(x)] if "X" in i.parts else []

    def value(w):
        x = terms[0](w)
        for term in terms[1:]:
            x = x + term(w)
        for carry in carries:
            x = x + carry(w)
        return x
    i.run = with_carries(args[0], value, carries_out)


def with_carries(to, value, carries_out, wide=False):
    """Writes a sum, and whether it went beyond 32 bits."""
    if not carries_out:
        return to_register(to, value, wide)

    def run(w, m):
        x = value(w)
        for n, out in enumerate(carries_out):
            to_predicate(out, w, m, x >> 32 >= n + 1)
        to_register(to, lambda _: x, wide)(w, m)
    return run


@decodes("IMAD")
def products(d, i):
    if i.pipe != "uniform":
        i.pipe, i.busy = "imad", d.hardware["imad_busy"]
    args = list(i.args)
    carries_out = take_predicates(args)
    x, y, z = (d.operand(text) for text in args[1:4])
    carries = [predicate(text) for text in args[4:]] if "X" in i.parts else []
    unsigned = "U32" in i.parts
    if "MOV" in i.parts:
        i.kind = "move"
    def one(v):
        return v & WORD if unsigned else signed(v)
    if "WIDE" in i.parts:
        def value(w):
            v = one(x(w)) * one(y(w)) + z.wide(w)
            for carry in carries:
                v = v + carry(w)
            return v
        if carries_out:
            def run(w, m):
                low = (x(w) * y(w)).astype(np.uint64)
                beyond = low + z.wide(w).astype(np.uint64) < low
                to_register(args[0], value, True)(w, m)
                for out in carries_out:
                    to_predicate(out, w, m, beyond)
            i.run = run
        else:
            i.run = to_register(args[0], value, True)
    elif "HI" in i.parts:
        def value(w):
            terms = zip(one(x(w)), one(y(w)), z.wide(w))
            return np.array([(int(p) * int(q) + int(r)) >> 32 & WORD for p, q, r in terms], np.int64)
        i.run = to_register(args[0], value)
    else:
        def value(w):
            v = (x(w) & WORD) * (y(w) & WORD) + z(w)
            for carry in carries:
                v = v + carry(w)
            return v
        i.run = with_carries(args[0], value, carries_out)


@decodes("LEA")
def shifted_sums(d, i):
    args = list(i.args)
    carries_out = take_predicates(args)
    carry = predicate(args.pop()) if "X" in i.parts else None
    x, y, shift = d.operand(args[1]), d.operand(args[2]), int(args[-1], 16)
    high = None if "SX32" in i.parts or "HI" not in i.parts else d.operand(args[3])

    def value(w):
        low = x(w) & WORD
        if "HI" in i.parts:
            above = (signed(low) >> 31) if high is None else high(w)
            v = ((above << shift) | (low >> (32 - shift) if shift else 0)) & WORD
        else:
            v = (low << shift) & WORD
        v = v + y(w)
        return v + carry(w) if carry else v
    i.run = with_carries(args[0], value, carries_out)


@decodes("SHF")
def shifts(d, i):
    x, s, y = d.operand(i.args[1]), d.operand(i.args[2]), d.operand(i.args[3])
    left, high, u32, s32 = i.parts[1] == "L", "HI" in i.parts, "U32" in i.parts, "S32" in i.parts
    long, wraps = "U64" in i.parts or "S64" in i.parts, "W" in i.parts

    def value(w):
        low, top, n = x(w) & WORD, y(w) & WORD, s(w) & WORD
        n = n & (63 if long else 31) if wraps else np.minimum(n, 63 if long else 32)
        if left:
            if high and u32:
                return np.where(n >= 32, low, (top << n) | (low >> (32 - n)))
            if high:
                return ((top << 32 | low) << n) >> 32
            return np.where(n >= 32, 0, low << n)
        if long:
            both = ((top << 32 | low).astype(np.uint64) >> n.astype(np.uint64)).astype(np.int64)
            return both >> 32 if high else both
        if s32:
            return signed(top) >> np.minimum(n, 31)
        if high:
            return np.where(n >= 32, 0, top >> n)
        return np.where(n >= 32, top, (low >> n) | (top << (32 - n)))
    i.run = to_register(i.args[0], value)


COMMON = {0xC0: lambda a, b, c: a & b, 0xFC: lambda a, b, c: a | b, 0x3C: lambda a, b, c: a ^ b,
          0x33: lambda a, b, c: ~b & WORD, 0xF8: lambda a, b, c: a | b & c, 0xEA: lambda a, b, c: a & b | c,
          0xFE: lambda a, b, c: a | b | c}


def table(entries):
    """A function of three bits by its table."""
    def value(a, b, c):
        v = np.zeros(32, np.int64)
        for k in range(8):
            if entries >> k & 1:
                v |= (a if k & 4 else ~a) & (b if k & 2 else ~b) & (c if k & 1 else ~c)
        return v & WORD
    return COMMON.get(entries, value)


@decodes("LOP3")
def logic(d, i):
    args = list(i.args)
    out = args.pop(0) if is_predicate(args[0]) else None
    x, y, z, of = d.operand(args[1]), d.operand(args[2]), d.operand(args[3]), table(int(args[4], 16))
    def value(w):
        return of(x(w) & WORD, y(w) & WORD, z(w) & WORD)
    if out is None:
        i.run = to_register(args[0], value)
        return

    def run(w, m):
        v = value(w)
        to_predicate(out, w, m, v != 0)
        to_register(args[0], lambda _: v)(w, m)
    i.run = run


@decodes("PLOP3")
def logic_of_predicates(d, i):
    first, second = i.args[0], i.args[1]
    terms = [predicate(x) for x in i.args[2:5]]
    tables = [int(x, 16) for x in i.args[5:7]]

    def run(w, m):
        bits = [term(w) for term in terms]
        outs = []
        for entries in tables:
            out = np.zeros(32, bool)
            for k in range(8):
                if entries >> k & 1:
                    out |= (bits[0] == bool(k & 4)) & (bits[1] == bool(k & 2)) & (bits[2] == bool(k & 1))
            outs.append(out)
        for to, out in zip((first, second), outs):
            to_predicate(to, w, m, out)
    i.run = run


COMPARE = {"GE": np.greater_equal, "GT": np.greater, "LT": np.less, "LE": np.less_equal, "EQ": np.equal, "NE": np.not_equal}


@decodes("ISETP")
def comparisons(d, i):
    x, y, also = d.operand(i.args[2]), d.operand(i.args[3]), predicate(i.args[4])
    below = predicate(i.args[5]) if "EX" in i.parts else None
    name, unsigned = i.parts[1], "U32" in i.parts
    join = np.logical_or if "OR" in i.parts else np.logical_xor if "XOR" in i.parts else np.logical_and
    strict = COMPARE["GT" if name in ("GE", "GT") else "LT" if name in ("LE", "LT") else name]

    def run(w, m):
        a, b = x(w) & WORD, y(w) & WORD
        if not unsigned:
            a, b = signed(a), signed(b)
        if below is None:
            r = COMPARE[name](a, b)
        elif name == "EQ":
            r = (a == b) & below(w)
        elif name == "NE":
            r = (a != b) | below(w)
        else:
            r = strict(a, b) | (a == b) & below(w)
        k = also(w)
        to_predicate(i.args[0], w, m, join(r, k))
        to_predicate(i.args[1], w, m, join(~r, k))
    i.run = run


@decodes("SEL", "FSEL")
def choices(d, i):
    x, y, which = d.operand(i.args[1]), d.operand(i.args[2]), predicate(i.args[3])
    i.run = to_register(i.args[0], lambda w: np.where(which(w), x(w), y(w)))
    i.kind = "fp32" if i.parts[0] == "FSEL" else "int"


@decodes("VIMNMX", "IMNMX", "VIADDMNMX")
def extremes(d, i):
    terms = [d.operand(x) for x in i.args[1:-1]]
    which, unsigned = predicate(i.args[-1]), "U32" in i.parts

    def value(w):
        a = terms[0](w) + terms[1](w) if len(terms) == 3 else terms[0](w)
        a, b = a & WORD, terms[-1](w) & WORD
        if not unsigned:
            a, b = signed(a), signed(b)
        return np.where(which(w), np.minimum(a, b), np.maximum(a, b))
    i.run = to_register(i.args[0], value)


@decodes("IABS", "SGXT", "BMSK", "BREV")
def bits(d, i):
    x = d.operand(i.args[1])
    n = d.operand(i.args[2]) if len(i.args) > 2 else None
    name, unsigned = i.parts[0].removeprefix("U"), "U32" in i.parts

    def value(w):
        v = x(w) & WORD
        if name == "IABS":
            return np.abs(signed(v))
        if name == "BREV":
            return np.array([int(f"{int(one):032b}"[::-1], 2) for one in v], np.int64)
        if name == "BMSK":
            return ((1 << np.minimum(n(w), 32)) - 1) << v
        k = np.clip(n(w), 1, 32)
        v = v & ((1 << k) - 1)
        return v if unsigned else np.where(v >> (k - 1) & 1, v | (WORD ^ ((1 << k) - 1)), v)
    i.run = to_register(i.args[0], value)


@decodes("PRMT")
def bytes_moved(d, i):
    x, s, y = d.operand(i.args[1]), d.operand(i.args[2]), d.operand(i.args[3])

    def value(w):
        a, b, picks = x(w) & WORD, y(w) & WORD, s(w)
        all_bytes = np.stack([(a >> 8 * k) & 255 for k in range(4)] + [(b >> 8 * k) & 255 for k in range(4)])
        v = np.zeros(32, np.int64)
        for k in range(4):
            n = picks >> 4 * k & 15
            byte = all_bytes[n & 7, LANE]
            v |= np.where(n & 8, np.where(byte & 128, 255, 0), byte) << 8 * k
        return v
    i.run = to_register(i.args[0], value)


@decodes("P2R", "R2P")
def packed_predicates(d, i):
    if i.parts[0] == "P2R":
        keep = d.operand(i.args[-1])
        def value(w):
            return sum(w.P[n].astype(np.int64) << n for n in range(7)) & keep(w)
        i.run = to_register(i.args[0], value)
        return
    x, keep = d.operand(i.args[1]), d.operand(i.args[2])

    def run(w, m):
        v, which = x(w), keep(w)
        for n in range(7):
            np.copyto(w.P[n], (v >> n & 1).astype(bool), where=m & (which >> n & 1).astype(bool))
    i.run = run


@decodes("VOTE", "VOTEU")
def votes(d, i):
    args = list(i.args)
    outs = [args.pop(0)] if not is_predicate(args[0]) else []
    said, of = args[0], predicate(args[-1])
    every = "ALL" in i.parts

    def run(w, m):
        yes = of(w) & m
        bits_of = int((yes.astype(np.int64) << LANE).sum())
        holds = bool(yes[m].all()) if every else bool(yes.any())
        for out in outs:
            to_register(out, lambda _: np.full(32, bits_of, np.int64))(w, m)
        if is_predicate(said):
            to_predicate(said, w, m, np.full(32, holds))
    i.run, i.latency = run, d.hardware["vote"]


@decodes("ELECT")
def elected(d, i):
    said = [x for x in i.args if is_predicate(x)]

    def run(w, m):
        to_predicate(said[0], w, m, LANE == int(np.argmax(m)))
    i.run, i.latency = run, d.hardware["vote"]


@decodes("SHFL")
def shuffles(d, i):
    x, n, kind = d.operand(i.args[2]), d.operand(i.args[3]), i.parts[1]
    clamp = d.operand(i.args[4])

    def lanes(w):
        k, mask = n(w) & 31, clamp(w) >> 8 & 31
        least = LANE & mask
        most = least | (clamp(w) & 31 & ~mask)
        at = {"BFLY": LANE ^ k, "IDX": least | (k & ~mask), "UP": LANE - k, "DOWN": LANE + k}[kind]
        inside = at >= (clamp(w) & 31 if kind == "UP" else least) if kind == "UP" else at <= most
        return np.where(inside, at, LANE), inside

    literal = all(not re.match(r"U?R\d", text) for text in i.args[3:5])
    known = lanes(None) if literal else None
    says = i.args[0].strip() != "PT"

    def run(w, m):
        at, inside = known or lanes(w)
        v = x(w)[at]
        if says:
            to_predicate(i.args[0], w, m, inside)
        put(v, w, m)
    put = into(i.args[1])
    i.run, i.kind, i.pipe, i.busy, i.latency = run, "shuffle", "lsu", 1.0, d.hardware["shfl"]


@decodes("REDUX")
def sums_of_warps(d, i):
    x = d.operand(i.args[1])
    of = {"SUM": np.sum, "OR": np.bitwise_or.reduce, "AND": np.bitwise_and.reduce, "MIN": np.min, "MAX": np.max,
          "XOR": np.bitwise_xor.reduce}[next((p for p in i.parts[1:] if p not in ("S32", "U32")), "SUM")]

    def run(w, m):
        v = np.full(32, int(of(signed(x(w))[m])) & WORD, np.int64)
        to_register(i.args[0], lambda _: v)(w, m)
    d.costs(i, "xu", "xu", "redux")
    i.run = run


@decodes("POPC", "FLO")
def counted_bits(d, i):
    x, name = d.operand(i.args[-1]), i.parts[0].removeprefix("U")

    def value(w):
        if name == "POPC":
            return np.array([int(v).bit_count() for v in x(w) & WORD], np.int64)
        return np.array([int(v).bit_length() - 1 for v in x(w) & WORD], np.int64)
    d.costs(i, "xu", "xu", "xu")
    i.run = to_register(i.args[0], value)


@decodes("I2F", "I2FP")
def floats_of_numbers(d, i):
    x, unsigned, up = d.operand(i.args[1]), "U32" in i.parts, "RP" in i.parts

    def value(w):
        v = x(w) & WORD if unsigned else signed(x(w))
        r = v.astype(np.float32)
        return of_floats(np.where(r.astype(np.float64) < v, np.nextafter(r, np.float32(np.inf)), r) if up else r)
    if i.parts[0] == "I2F":
        d.costs(i, "xu", "xu", "xu")
    i.run = to_register(i.args[0], value)


@decodes("F2I")
def numbers_of_floats(d, i):
    x = d.operand(i.args[1])

    def value(w):
        return np.nan_to_num(np.clip(floats(x(w)).astype(np.float64), 0, WORD), nan=0).astype(np.int64)
    d.costs(i, "xu", "xu", "xu")
    i.run = to_register(i.args[0], value)


@decodes("MUFU")
def functions(d, i):
    x, reciprocal = d.operand(i.args[1]), i.parts[1] == "RCP"

    def value(w):
        # Reciprocals serve divisions of whole numbers too.
        with np.errstate(all="ignore"):
            return of_floats(np.float32(1) / floats(x(w))) if reciprocal else np.zeros(32, np.int64)
    d.costs(i, "xu", "xu", "mufu")
    i.run = to_register(i.args[0], value)


@decodes("FADD", "FMUL", "FFMA", "FMNMX", "F2FP", "F2F", "FRND", "I2I", "FSWZADD", "HADD2", "HMUL2", "HFMA2", "HMNMX2",
         "F2IP", "I2IP", "HADD2_32I", "FADD32I")
def arithmetic(d, i):
    base = i.parts[0]
    if base == "HFMA2" and len(i.args) >= 5 and i.args[1].lstrip("-") == "RZ":
        halves = np.full(32, bits_of_half(i.args[3]) << 16 | bits_of_half(i.args[4]), np.int64)
        i.run, i.kind, i.pipe, i.busy = to_register(i.args[0], lambda w: halves), "move", "fma", d.hardware["half_busy"]
        return
    i.run, i.kind = zeros(i.args[0]), "convert" if base in ("F2FP", "F2IP", "I2IP") else "fp32"
    if base in ("FADD", "FMUL", "FFMA"):
        d.costs(i, "fp32", "fma")
    elif base in ("F2F", "FRND"):
        d.costs(i, "xu", "xu", "xu")
    elif base in ("HADD2", "HMUL2", "HFMA2"):
        i.pipe, i.busy = "fma", d.hardware["half_busy"]


@decodes("FSETP", "HSETP2", "FCHK")
def comparisons_of_floats(d, i):
    outs = [x for x in i.args[:2] if is_predicate(x)]

    def run(w, m):
        for out in outs:
            to_predicate(out, w, m, NONE)
    i.run, i.kind = run, "fp32"


@decodes("HMMA")
def matrices(d, i):
    i.run, i.kind, i.pipe = zeros(i.args[0], 4), "mma", "tensor"
    i.size = {"16816": 4096, "1688": 2048, "1684": 1024}[i.parts[1]]
    # tf32 runs at half of the rate of bf16.
    i.busy = d.hardware["hmma_busy"] * i.size / 4096 * (2 if "TF32" in i.parts else 1)


@decodes("HGMMA")
def matrices_of_groups(d, i):
    m, n, k = (int(x) for x in re.match(r"(\d+)x(\d+)x(\d+)", i.parts[1]).groups())
    i.run, i.kind, i.pipe, i.size = zeros(i.args[0], n // 2), "wgmma", None, 2 * m * n * k // 4
    # tf32 runs at half of the rate of bf16.
    i.busy = 2.0 if "TF32" in i.parts else 1.0


@decodes("MOVM")
def transposed(d, i):
    i.run, i.kind, i.pipe, i.busy, i.latency = zeros(i.args[0]), "shuffle", "lsu", 1.0, d.hardware["shfl"]


def width(parts):
    """Bytes of a lane's access."""
    known = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
    return next((known[p] for p in parts if p in known), 4)


@decodes("LDS", "STS", "LDSM", "STSM", "LDG", "STG", "LDGSTS", "LDL", "STL", "LD", "ST")
def memory(d, i):
    base = {"LD": "LDG", "ST": "STG"}.get(i.parts[0], i.parts[0])
    i.kind, i.pipe = base.lower(), "lsu"
    i.size = 16 if base in ("LDSM", "STSM") else width(i.parts)
    i.count = int(i.parts[-1]) if base in ("LDSM", "STSM") and i.parts[-1] in "24" else 1
    i.address = [address(x) for x in i.args if "[" in x]
    words = i.count if base == "LDSM" else max(1, i.size // 4)
    loads = base in ("LDS", "LDG", "LDL", "LDSM")
    to = next((x for x in i.args if not is_predicate(x)), "RZ")
    i.run = zeros(to, words) if loads else nothing
    # Some have a predicate that says whether to read at all.
    if base in ("LDGSTS", "LDG") and is_predicate(i.args[-1]):
        i.reads_if = predicate(i.args[-1])


@decodes("RED", "ATOMG", "ATOM", "ATOMS", "REDG")
def atomics(d, i):
    shared = i.parts[0] == "ATOMS"
    i.kind, i.pipe, i.size = "atoms" if shared else "atomg", "lsu", width(i.parts)
    i.address = [address(x) for x in i.args if "[" in x]
    i.run = zeros(next((x for x in i.args if x.startswith("R")), "RZ"), max(1, i.size // 4))


@decodes("SYNCS")
def mbarriers(d, i):
    """Barriers in shared memory: init, arrive with or without expected bytes, and the try at waiting."""
    i.address = [address(x) for x in i.args if "[" in x]
    d.costs(i, "mbarrier", None)
    if "EXCH" in i.parts:
        i.kind, i.reads_if = "mbarrier_init", d.operand(i.args[-1])
    elif "PHASECHK" in i.parts:
        i.kind, i.reads_if = "mbarrier_wait", d.operand(i.args[-1])
        i.args = [i.args[0]]  # the predicate that says whether the phase is over
    elif "ARRIVE" in i.parts:
        i.kind = "mbarrier_arrive"
        i.reads_if = d.operand(i.args[-1]) if "A1T0" not in i.parts else None
    elif "CCTL" in i.parts:
        i.kind = "control"
    else:
        raise ValueError("an mbarrier's operation")
    i.run = nothing


@decodes("UBLKCP")
def bulk_copies(d, i):
    """Copies between device memory and shared memory of as many bytes as its last operand says times 16."""
    d.costs(i, "bulk", None)
    to, source = i.args[0], i.args[1]
    i.count = 1 if i.parts[1] == "S" else 0
    i.address = [bulk_place(to, i.count == 0), bulk_place(source, i.count == 1)]
    i.reads_if = d.operand(i.args[2])
    i.run = nothing


def bulk_place(text, device):
    """A place of a bulk copy: two uniform registers of device memory, or a shared address with its barrier behind it."""
    n = int(re.search(r"UR(\d+)", text).group(1))
    if device:
        return lambda w: w.U[n] | w.U[n + 1] << 32
    return lambda w: (w.U[n], w.U[n + 1])
