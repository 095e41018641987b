"""Machine code of a CUBIN as a list of instructions, and operands as functions of a warp.

A warp has 32 lanes; a value is an array of 32 whole numbers, of which 32 bits count.
"""

import functools
import re
import struct
import subprocess

import numpy as np

WORD = 0xFFFFFFFF
LANE = np.arange(32, dtype=np.int64)
ALL = np.ones(32, bool)
NONE = np.zeros(32, bool)
ZERO = np.zeros(32, np.int64)


class Instruction:
    """One instruction: its text, what its control bits say, and what decoding makes of it."""

    __slots__ = ("at", "offset", "op", "parts", "args", "guard", "stall", "sets", "reads", "wait", "text", "where",
                 "run", "kind", "pipe", "busy", "latency", "size", "address", "reads_if", "target", "count")

    def __init__(self, at, offset, text, control, where):
        self.at, self.offset, self.text, self.where = at, offset, text, where
        self.stall, self.sets, self.reads, self.wait = control & 15, control >> 5 & 7, control >> 8 & 7, control >> 11 & 63
        guard = re.match(r"@(!?)(U?P\d|U?PT)\s+", text)
        self.guard = (guard.group(1) + guard.group(2)) if guard else None
        self.op, _, rest = (text[guard.end():] if guard else text).partition(" ")
        self.parts = self.op.split(".")
        self.args = [x.strip() for x in re.split(r",(?![^\[]*\])", rest)] if rest.strip() else []
        self.run, self.kind, self.pipe, self.busy, self.latency = None, "int", None, 0.0, 0
        self.size, self.address, self.reads_if, self.target, self.count = 0, [], None, None, 0


@functools.lru_cache(maxsize=4)
def listing(path, nvdisasm):
    """What nvdisasm says of a CUBIN."""
    done = subprocess.run([nvdisasm, "-c", "-hex", "-gi", path], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")


def disassemble(path, nvdisasm):
    """The instructions of the one kernel of a CUBIN, and where its labels stand."""
    code, labels, pending, where = [], {}, [], 0
    lines = listing(path, nvdisasm)
    for n, line in enumerate(lines):
        label = re.match(r"\s*(\.L_x_\d+|\$[\w.$]+|\.text\.[\w.$]+):", line)
        if label:
            pending.append(label.group(1))
            continue
        place = re.search(r'//## File ".*?", line (\d+)', line)
        if place:  # of a chain of inlined calls the outermost comes last
            where = int(place.group(1))
            continue
        found = re.match(r"\s+/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;\s+/\* 0x([0-9a-f]{16}) \*/", line)
        if not found:
            continue
        high = int(re.search(r"/\* 0x([0-9a-f]{16}) \*/", lines[n + 1]).group(1), 16)
        code.append(Instruction(len(code), int(found.group(1), 16), found.group(2), high >> 41 & 0x1FFFFF, where))
        labels.update({name: len(code) - 1 for name in pending})
        pending = []
    return code, labels


def signed(x):
    """32 bits as a signed number."""
    return ((x & WORD) ^ 0x80000000) - 0x80000000


def bits_of_float(x):
    """The bits of a number as f32."""
    return struct.unpack("<I", struct.pack("<f", x))[0]


def bits_of_half(text):
    """The bits of a number as f16."""
    return int(np.float16(float(text)).view(np.uint16))


def floats(x):
    """32 bits of each lane as f32."""
    return (x & WORD).astype(np.uint32).view(np.float32)


def of_floats(x):
    """f32 of each lane as its bits."""
    return np.asarray(x, np.float32).view(np.uint32).astype(np.int64)


def is_predicate(text):
    """Whether an operand is a predicate."""
    return re.match(r"!?U?P(\d|T)$", text.strip()) is not None


def predicate(text):
    """A predicate as a function of a warp."""
    name = text.strip()
    no = name.startswith("!")
    name = name.lstrip("!")
    if name in ("PT", "UPT"):
        return (lambda w: NONE) if no else (lambda w: ALL)
    if name.startswith("UP"):
        n = int(name[2:])
        return lambda w: ALL if w.UP[n] != no else NONE
    n = int(name[1:])
    return (lambda w: ~w.P[n]) if no else (lambda w: w.P[n])


def number(text):
    """A literal operand: hexadecimal, or a float's bits."""
    if re.match(r"-?0x[0-9a-f]+$", text):
        return int(text, 16) & WORD
    named = {"+INF": "inf", "-INF": "-inf", "+QNAN": "nan", "-QNAN": "nan"}
    return bits_of_float(float(named.get(text, text)))


class Operand:
    """An operand of 32 or, read by `wide`, of 64 bits; a call gives 32 bits, a sign apart."""

    def __init__(self, text, constant):
        name = text.replace(".reuse", "").strip()
        self.negative = name.startswith("-") and not re.match(r"-(0x|\d|\.|INF|QNAN)", name)
        name = name[1:] if self.negative else name
        self.inverse = name.startswith("~")
        name = name[1:] if self.inverse else name
        self.absolute = name.startswith("|")
        name = re.sub(r"\.(64|H0_H0|H1_H1|B\d|F32)$", "", name.strip("|"))
        self.low = self.reader(name, constant, 0)
        self.high = self.reader(name, constant, 1)
        plain = not (self.negative or self.inverse or self.absolute)
        self.read = self.low if plain else self.changed

    @staticmethod
    def reader(name, constant, word):
        """The word of a register, or of something that never changes."""
        register = re.match(r"(U?R)(\d+)$", name)
        if register:
            n = int(register.group(2)) + word
            if register.group(1) == "R":
                return lambda w: w.R[n]
            return lambda w: np.full(32, w.U[n], np.int64)
        bank = re.match(r"c\[0x(\w+)\]\[(?:(U?R\d+|U?RZ)\+?)?(0x\w+)?\]", name)
        if bank and bank.group(2) in (None, "RZ", "URZ"):
            value = constant(int(bank.group(3) or "0", 16) + 4 * word)
        elif bank:
            raise ValueError("a constant at a computed place: " + name)
        elif name in ("RZ", "URZ", "SRZ"):
            value = 0
        else:
            value = 0 if word else number(name)
        whole = np.full(32, value, np.int64)
        return lambda w: whole

    def changed(self, w):
        x = self.low(w)
        if self.absolute:
            x = np.abs(signed(x))
        if self.inverse:
            x = ~x & WORD
        return (~x & WORD) + 1 if self.negative else x

    def __call__(self, w):
        return self.read(w)

    def wide(self, w):
        """All 64 bits."""
        return (self.high(w) << 32) | self.low(w)


def address(text):
    """An address operand as a function of a warp: registers, perhaps scaled, and an offset."""
    inside = re.search(r"\[([^\[\]]*)\]$", text).group(1)
    registers, offset = [], 0
    for term in re.split(r"(?<!^)\+", inside):
        if re.match(r"-?0x", term):
            offset += int(term, 16)
        elif term not in ("RZ", "URZ", ""):
            registers.append(term)
    terms = [address_term(term) for term in registers]
    wide = any(".64" in term for term in registers)

    def value(w):
        x = np.full(32, offset, np.int64)
        for term in terms:
            x = x + term(w)
        return x if wide else x & WORD

    return value


def address_term(text):
    """A register of an address."""
    name = re.sub(r"\.(64|X4|X8|X16|U32)+$", "", text)
    scale = next((n for mark, n in ((".X16", 16), (".X4", 4), (".X8", 8)) if mark in text), 1)
    n, wide = int(re.sub(r"\D", "", name)), ".64" in text
    if name.startswith("UR"):
        return lambda w: w.U[n] | (w.U[n + 1] << 32 if wide else 0)
    if wide:
        return lambda w: (w.R[n + 1] << 32) | w.R[n]
    return lambda w: scale * w.R[n]
