// Tensors in the device's memory, as kernels of recurrences read and write them.

struct Place {
    int sequence, head, part;         // which block this is
    int start, length;                // rows of the sequence
    int rows;                         // rows of all sequences
    const int* positions;             // of each row in its sequence, where rows are of any sequence
    int first, valid;                 // first token of the chunk, and its tokens
    int chunk;                        // which chunk of all sequences
    int first_key, valid_keys;        // the same of a block of keys
    int job;                          // which partial result is this block's
};

// Row i of the chunk; rows past the end repeat the last one.
INLINE int inside(const Place& at, int i) {
    return at.first + (i < at.valid ? i : at.valid - 1);
}

// The position in its sequence of row i of the chunk.
INLINE int token(const Place& at, int i) {
    return at.positions == 0 ? inside(at, i) : __ldg(at.positions + inside(at, i));
}

// The row of all sequences at which a position lies that row i of the chunk names; -1 before the
// first token.
INLINE int row_at(const Place& at, int i, int position) {
    if (position < 0) return -1;
    return at.positions == 0 ? at.start + position : inside(at, i) + position - token(at, i);
}

// The same for row i of a block of keys.
INLINE int key(const Place& at, int i) {
    return at.first_key + (i < at.valid_keys ? i : at.valid_keys - 1);
}

// Whether the query of row i may read the key of row j, given what it may read.
INLINE float allowed(const Place& at, int i, int j, int low, int high) {
    const int t = token(at, i), u = at.first_key + j;
    return j < at.valid_keys && u >= min(max(low, 0), t) && u <= max(min(high, t), 0) ? 1.f : 0.f;
}
