class LrcConfig(PretrainedConfig):
    """What transformers asks for; what the model computes stands in this file."""

    model_type = "lrc"

    def __init__(self, vocab_size=0, hidden_size=0, num_hidden_layers=0, use_lrc=True, **kwargs):
        self.vocab_size, self.hidden_size, self.num_hidden_layers = vocab_size, hidden_size, num_hidden_layers
        # Whether the package `lrc` computes recurrences where it is installed.
        self.use_lrc = use_lrc
        super().__init__(**kwargs)


class Tokens:
    """What a program reads at some tokens, whose positions are `t`. A value has axes of sequences, heads and tokens, then its
    own; where one in front has size 1, or is lacking, all share the value. Beside the past, `u`, one more axis stands behind
    that of tokens."""

    def __init__(self, first, count, base, like, inputs, params, heads=1, states=(), exports=()):
        self.like, self.inputs, self.params, self.heads, self.states, self.exports = like, inputs, params, heads, states, exports
        # Rows of inputs begin with the token at `base`.
        self.base, self.here = base, slice(first - base, first - base + count)
        self.t, self.u = torch.arange(first, first + count, device=like.device), None

    def past(self):
        """The same tokens, each beside all tokens up to the last of them."""
        both = copy.copy(self)
        both.u, both.t = torch.arange(int(self.t[-1]) + 1, device=self.like.device), self.t[:, None]
        return both

    def _whole(self, x):
        return torch.as_tensor(x, device=self.like.device)

    def _at(self, rows, at):
        # What lies outside is 0, or not kept.
        at = at.clamp(0, rows.shape[2] - 1)
        return rows[:, :, align(at, 1 if self.u is None else 2)]

    def input(self, number, shape, at=None):
        """An input at positions, at the tokens themselves where none are given; 0 before the first token."""
        rows = self.inputs[number]
        if at is None and self.u is None:
            return split(rows[:, :, self.here], shape)
        at = self._whole(self.t if at is None else at)
        x = split(self._at(rows, at - self.base), shape)
        return x if at.min() >= 0 else torch.where(wide(at >= 0, len(shape)), x, 0)

    def state(self, number, at=None):
        """A state after the tokens at positions; before these tokens where none are given."""
        return self._after(self.states[number], at)

    def export(self, number, at):
        """A named value of the tokens at positions."""
        return self._after(self.exports[number], at)

    def _after(self, kept, at):
        if at is None:
            return kept[-1] if self.u is None else kept[-1].unsqueeze(3)
        return self._at(torch.cat(kept, 2), self._whole(at) + 1)

    def param(self, number, shape):
        """A parameter."""
        x = split(self.params[number], shape)
        return x if self.u is None else x.unsqueeze(3)

    def head(self):
        """The number of each head."""
        return wide(torch.arange(self.heads, device=self.like.device).to(self.like), 1 if self.u is None else 2)

    def number(self, x):
        """Whole numbers as a value."""
        return self._whole(x).to(self.like)

    def fill(self, x, shape):
        """A constant."""
        return torch.full(shape, x, dtype=self.like.dtype, device=self.like.device)

    def eye(self, n):
        """The identity."""
        return torch.eye(n, dtype=self.like.dtype, device=self.like.device)


def split(x, shape):
    """`x` with its last axis cut into others."""
    return x.reshape(*x.shape[:-1], *shape)


def shaped(x, rank, shape):
    """`x` with other axes for its last ones, so many."""
    return x.reshape(*x.shape[: x.dim() - rank], *shape)


def turned(x, order):
    """`x` with its last axes in another order."""
    front = x.dim() - len(order)
    return x.permute(*range(front), *[front + axis for axis in order])


def spread(x, shape):
    """`x` with its last axes repeated to a shape."""
    return x.expand(*x.shape[: x.dim() - len(shape)], *shape)


def wide(x, rank):
    """`x` with so many axes of size 1 behind its own."""
    return x[(..., *[None] * rank)]


def align(x, rank):
    """`x` with axes of size 1 in front, so that it has as many."""
    return x[(None,) * max(rank - x.dim(), 0)]


def beside(x, rank):
    """A value of tokens beside their past."""
    return x.unsqueeze(-1 - rank) if x.dim() > rank else x


def contract(a, b, rank, axes):
    """The product entry by entry, summed over some of the last `rank` axes, which stay with size 1."""
    if math.prod(torch.broadcast_shapes(a.shape, b.shape)) <= max(a.numel(), b.numel()):
        return (a * b).sum(axes, keepdim=True)
    names = "abcdefghijklmnop"[:rank]
    left = "".join(name for at, name in enumerate(names) if at - rank not in axes)
    y = torch.einsum(f"...{names},...{names}->...{left}", align(a, rank), align(b, rank))
    for axis in sorted(axes, reverse=True):
        y = y.unsqueeze(axis)
    return y


def joined(parts, rank, axis):
    """Values one after the other along one of their last `rank` axes."""
    front = torch.broadcast_shapes(*[x.shape[: x.dim() - rank] for x in parts])
    return torch.cat([x.expand(*front, *x.shape[x.dim() - rank :]) for x in parts], axis)


def padded(x, axis, before, after):
    """Zeros around a value along an axis, counted from the last one."""
    return functional.pad(x, (0, 0) * (-1 - axis) + (before, after))


def pick(x, rank, at):
    """The entry of the last of `rank` axes at whole numbers, one for each token; the axis stays with size 1."""
    at = wide(torch.as_tensor(at, device=x.device).clamp(0, x.shape[-1] - 1), rank)
    return torch.take_along_dim(align(x, at.dim()), align(at, x.dim()), -1)


def place(x, rank, at, width):
    """Zeros but for one entry of the last of `rank` axes, which has size 1 in `x`."""
    at = wide(torch.as_tensor(at, device=x.device).clamp(0, width - 1), rank)
    return torch.where(torch.arange(width, device=x.device) == at, x, 0)


def largest(x, count):
    """1 for this many of the largest entries of the last axis, of equal ones the first, 0 for the others."""
    return (x.argsort(dim=-1, descending=True, stable=True).argsort(-1) < count).to(x)


def solved(a, b):
    """`x` with `a x = b`, matrices in the last two axes."""
    rank = max(a.dim(), b.dim())
    return torch.linalg.solve(align(a, rank), align(b, rank))


def past_sum(x, keep, rank):
    """The sum of what is kept of the past."""
    return torch.where(wide(keep, rank), x, 0).sum(-1 - rank)


def past_logsumexp(x, keep, rank):
    """log Σ exp of what is kept of the past; minus infinity where nothing is."""
    return torch.where(wide(keep, rank), x, -math.inf).logsumexp(-1 - rank)


def past_product(a, b, keep, rank, axes):
    """The sum of what is kept of the past of a product that is itself summed over axes."""
    return contract(torch.where(wide(keep, rank), a, 0), b, rank + 1, (*axes, -1 - rank)).squeeze(-1 - rank)


def quotient(a, b):
    """A whole quotient whose rest is not negative; 0 where `b` is."""
    return a // (abs(b) + 1 * (b == 0)) * (1 * (b > 0) - 1 * (b < 0))


def rest(a, b):
    """The rest of that division."""
    return a % (abs(b) + 1 * (b == 0)) * (b != 0)


def digits(a):
    """How many binary digits a whole number has."""
    return sum(1 * (a >> n > 0) for n in range(63))


def larger(a, b):
    """The larger of two whole numbers."""
    return a * (a >= b) + b * (a < b)


def remember(memory, at, rows, first, reach):
    """Rows of inputs behind those from before that a node still reads, so many tokens back, all where `reach` is None; and the
    position of the first."""
    if memory is None or reach == 0:
        return rows, first
    base, before = memory.get(at, (first, None))
    if before is not None:
        rows = [torch.cat([old, new], 2) for old, new in zip(before, rows)]
    count = rows[0].shape[2] if rows else 0
    keep = count if reach is None else min(count, reach)
    memory[at] = base + count - keep, [x[:, :, count - keep :] for x in rows]
    return rows, base


class Recurrence:
    """A declared recurrence at its sizes. `token` is the program of one token, which gives outputs, states and named values;
    `begin` that of the states before the first."""

    def __init__(self, name, token, begin, heads, inputs, params, outs, states, exports, settings, reach, history, local):
        self.name, self.token, self.begin, self.heads, self.settings = name, token, begin, heads, settings
        # Of each input: its own number of heads, how many of it a token has, and its shape; of each parameter: heads and shape.
        self.inputs, self.params = inputs, params
        self.outs, self.states, self.exports = outs, states, exports
        # How many tokens back inputs are read, None for all; whether states before the last are; whether nothing else is known
        # of earlier tokens than the last states.
        self.reach, self.history, self.local = reach, history, local

    def _by_lrc(self, op, inputs, params, states):
        """Outputs and states as the package gives them."""
        batch, tokens, _ = inputs[0].shape
        rows = [
            x.reshape(batch, tokens * (count or 1), heads, *(shape[1:] if count else shape))
            for x, (heads, count, shape) in zip(inputs, self.inputs)
        ]
        params = [x.reshape(heads, *shape) for x, (heads, shape) in zip(params, self.params)]
        settings = {name: x for name, x in self.settings.items() if name in op.settings}
        outs, after = op(*rows, *params, initial_state=states, return_state=True, **settings)
        return outs if isinstance(outs, tuple) else (outs,), list(after) if isinstance(after, tuple) else [after]

    def run(self, op, memory, at, first, inputs, params):
        """Outputs `[B, T, width]` of tokens from the position `first` on, by the package `lrc` where `op` is what it makes of the
        recurrence; `memory` is what the tokens before them left, None if nothing is kept."""
        kept = None if memory is None else memory.get((at, "kept"))
        if op is not None and (self.local or memory is None):
            outs, after = self._by_lrc(op, inputs, params, kept and [x[-1].squeeze(2) for x in kept])
            if memory is not None:
                memory[at, "kept"] = [[x.unsqueeze(2)] for x in after]
            return [x.flatten(2) for x in outs]
        batch, tokens, _ = inputs[0].shape
        rows = [self._by_head(x, heads, count or 1) for x, (heads, count, _) in zip(inputs, self.inputs)]
        params = [self._repeated(x.reshape(1, heads, 1, -1), heads) for x, (heads, _) in zip(params, self.params)]
        rows, base = remember(memory, at, rows, first, self.reach)
        full = lambda x, count, shape: x.expand(batch, self.heads, count, *shape)
        if kept is None:
            made = self.begin(Tokens(0, 1, 0, inputs[0], [], params, self.heads))
            kept = [[full(x, 1, shape)] for x, shape in zip(made, self.states)]
            kept += [[inputs[0].new_zeros(batch, self.heads, 1, *shape)] for shape in self.exports]
        states, exports = kept[: len(self.states)], kept[len(self.states) :]
        outs = [[] for _ in self.outs]
        # What is handed on from token to token is computed one token after the other.
        step = 1 if kept else 256
        for here in range(first, first + tokens, step):
            count = min(step, first + tokens - here)
            made = self.token(Tokens(here, count, base, inputs[0], rows, params, self.heads, states, exports))
            made = [full(x, count, shape) for x, shape in zip(made, self.outs + self.states + self.exports)]
            for own, x in zip(outs, made):
                own.append(x)
            for own, x in zip(kept, made[len(outs) :]):
                own[:] = [*own, x] if self.history else [x]
        if memory is not None:
            memory[at, "kept"] = kept
        return [torch.cat(own, 2).transpose(1, 2).flatten(2) for own in outs]

    def _repeated(self, x, heads):
        return x if heads in (1, self.heads) else x.repeat_interleave(self.heads // heads, 1)

    def _by_head(self, x, heads, count):
        batch, tokens, _ = x.shape
        x = x.reshape(batch, tokens, count, heads, -1).permute(0, 3, 1, 2, 4)
        return self._repeated(x.reshape(batch, heads, tokens, -1), heads)


class Pass:
    """A walk over the graph with the tokens `[B, T]` from the position `first` on. Values are `[B, T, width]`, `[1, 1, width]`
    where they are the same for all tokens."""

    def __init__(self, model, tokens, first, memory):
        self.weights, self.ops = dict(model.named_parameters()), model.ops
        self.tokens, self.first, self.memory = tokens, first, memory
        self.dtype = torch.promote_types(model.dtype, torch.float32)
        self.like = torch.empty(0, dtype=self.dtype, device=tokens.device)

    def _weight(self, name):
        return self.weights[name].to(self.dtype)

    def embed(self, name):
        """Rows of a table by token."""
        return functional.embedding(self.tokens, self.weights[name]).to(self.dtype)

    def positions(self, name):
        """Rows of a table by position."""
        table, last = self.weights[name], self.first + self.tokens.shape[1]
        if last > len(table):
            raise ValueError(f"a sequence has {last} tokens, and `{name}` holds {len(table)} positions")
        return table[self.first : last].flatten(1).to(self.dtype)[None]

    def dense(self, x, name, groups):
        """A product with a matrix, or with one for each group of entries."""
        w = self.weights[name]
        y = torch.einsum("...gi,goi->...go", split(x.to(w.dtype), (groups, -1)), w.view(groups, *w.shape[-2:]))
        return y.flatten(-2).to(self.dtype)

    def rows(self, at, program, inputs, params, shape, reach=0, once=False):
        """A program that acts on the row of each token; `once` on the only row."""
        batch, count = (1, 1) if once else self.tokens.shape
        first, memory = (0, None) if once else (self.first, self.memory)
        rows = [x[:, None].expand(batch, 1, count, -1) for x in inputs]
        rows, base = remember(memory, at, rows, first, reach)
        params = [self._weight(name).reshape(1, 1, 1, -1) for name in params]
        y = program(Tokens(first, count, base, self.like, rows, params))
        return y.expand(batch, 1, count, *shape).reshape(batch, count, -1)

    def recur(self, at, recurrence, inputs, params):
        """A recurrence over the tokens."""
        inputs = [x.expand(*self.tokens.shape, -1) for x in inputs]
        return recurrence.run(self.ops.get(recurrence.name), self.memory, at, self.first, inputs, params)

    def route(self, weights, slots):
        """Who sits in each slot of a token: experts whose weight is not 0, the largest where there are more, and their weights; -1
        where nobody sits."""
        who = weights.abs().argsort(dim=-1, descending=True, stable=True)[..., :slots].sort(-1).values
        kept = weights.gather(-1, who)
        return torch.where(kept != 0, who, -1), kept

    def experts(self, x, who, name):
        """A product with the matrix of the expert in each slot; 0 where nobody sits."""
        w = self.weights[name]
        x = split(x, (-1, w.shape[-1])).expand(-1, -1, who.shape[-1], -1).to(w.dtype)
        y = x.new_zeros(*who.shape, w.shape[-2])
        for expert in who.unique().tolist():
            if expert >= 0:
                y[who == expert] = functional.linear(x[who == expert], w[expert])
        return y.flatten(2).to(self.dtype)

    def long_conv(self, at, x, h):
        """A causal convolution as long as the sequence: tap `j` of the filter stands in the row of token `j`."""
        count = self.tokens.shape[1]
        rows = [y.expand(*self.tokens.shape, -1)[:, None] for y in (x, h)]
        (x, h), _ = remember(self.memory, at, rows, self.first, None)
        size = 2 * x.shape[2]
        y = torch.fft.irfft(torch.fft.rfft(x, size, 2) * torch.fft.rfft(h, size, 2), size, 2)
        return y[:, 0, x.shape[2] - count : x.shape[2]]


class Text:
    """Texts that grow, and what the model remembers of them. Texts without padding on the left, and with so much of it, are
    groups of their own."""

    def __init__(self):
        self.groups = {}

    def going_on(self, start, tokens):
        """How many tokens of each text the model has seen, and what it remembers of them: all, where each goes on from one that it has seen."""
        seen, memory = self.groups.get(start, (tokens[:0], {}))
        count = seen.shape[1]
        if not memory or count >= tokens.shape[1]:
            return 0, {}
        same = (tokens[:, None, :count] == seen[None]).all(-1)
        if not same.any(1).all():
            return 0, {}
        rows = same.float().argmax(1)
        return count, memory if rows.tolist() == list(range(len(seen))) else chosen(memory, rows)


def chosen(x, rows):
    """What is remembered of some texts."""
    if isinstance(x, torch.Tensor):
        return x[rows]
    if isinstance(x, dict):
        return {key: chosen(value, rows) for key, value in x.items()}
    return type(x)(chosen(value, rows) for value in x) if isinstance(x, (list, tuple)) else x


class LrcForCausalLM(PreTrainedModel, GenerationMixin):
    """The model, as transformers calls it."""

    config_class = LrcConfig
    _is_stateful = True

    def __init__(self, config):
        super().__init__(config)
        for name, shape in PARAMETERS.items():
            *folders, leaf = name.split(".")
            module = self
            for folder in folders:
                if folder not in module._modules:
                    module.add_module(folder, torch.nn.Module())
                module = module._modules[folder]
            module.register_parameter(leaf, torch.nn.Parameter(torch.zeros(shape)))
        by_lrc = RECURRENCES if lrc is not None and config.use_lrc else ()
        self.ops = {recurrence.name: lrc.recurrence(TEXT, recurrence.name) for recurrence in by_lrc}
        self._text = None
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, text=None, use_cache=None, return_dict=True):
        """Logits of the next token `[B, T, vocab]`; of the last tokens alone where a `text` goes on. Tokens that the mask leaves
        out are padding, before or behind a text: no text sees them."""
        starts = self._starts(input_ids, attention_mask)
        hidden = None
        for start in sorted(set(starts)):
            rows = [row for row, own in enumerate(starts) if own == start]
            tokens = input_ids[rows, start:]
            first, memory = (0, None) if text is None else text.going_on(start, tokens)
            made = graph(Pass(self, tokens[:, first:], first, memory))
            if text is not None:
                text.groups[start] = tokens, memory
                made = made[:, -1:]
            if hidden is None:
                hidden = made.new_zeros(*input_ids.shape, made.shape[-1]) if text is None else made.new_zeros(len(input_ids), 1, made.shape[-1])
            hidden[rows, hidden.shape[1] - made.shape[1] :] = made
        head = self.get_parameter(HEAD)
        logits = functional.linear(hidden.to(head.dtype), head).to(hidden.dtype)
        if CAP is not None:
            logits = CAP * torch.tanh(logits / CAP)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits) if return_dict else (loss, logits)[loss is None :]

    @staticmethod
    def _starts(input_ids, mask):
        """Where each text begins."""
        if mask is None or bool(mask.bool().all()):
            return [0] * len(input_ids)
        mask = mask.bool()
        if mask.shape != input_ids.shape:
            raise ValueError(f"the attention mask is {list(mask.shape)}, the tokens are {list(input_ids.shape)}: expected the same")
        first = mask.float().argmax(1)
        behind = torch.arange(mask.shape[1], device=mask.device) - first[:, None]
        if bool((mask != ((behind >= 0) & (behind < mask.sum(1, keepdim=True)))).any()):
            raise ValueError("the attention mask leaves out tokens inside a text: only padding before or behind it can be left out")
        return first.tolist()

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, use_cache=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask, "text": None if use_cache is False else self._text}

    def generate(self, *args, **kwargs):
        self._text = Text()
        try:
            return super().generate(*args, **kwargs)
        finally:
            self._text = None

    def _supports_default_dynamic_cache(self):
        return False
