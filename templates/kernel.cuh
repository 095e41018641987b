// Tensors in the device's memory, as kernels of recurrences read and write them.

struct Place {
    int sequence, head, heads, part;  // which block this is
    int start, length;                // rows of the sequence
    int rows;                         // rows of all sequences
    int first, valid;                 // first token of the chunk, and its tokens
    int chunk;                        // which chunk of all sequences
};

// The position in its sequence of row i of the chunk; rows past the end repeat the last one.
INLINE int token(const Place& at, int i) {
    return at.first + (i < at.valid ? i : at.valid - 1);
}

// An element of a tensor [rows, COUNT, own heads, ONE].
template <int COUNT, int ONE>
INLINE long long row_element(const Place& at, int token, int slot, int inner, int own, int heads) {
    return (((long long)(at.start + token) * COUNT + slot) * heads + own) * ONE + inner;
}

// Before the first token an input is zero.
template <int COUNT, int ONE>
INLINE float read_input(const float* x, const Place& at, int token, int slot, int inner, int own, int heads) {
    return token < 0 ? 0.f : x[row_element<COUNT, ONE>(at, token, slot, inner, own, heads)];
}

// Nothing flows into rows past the end, nor into an output that nobody asked about.
template <int ONE>
INLINE float read_gradient(const float* x, const Place& at, int i, int inner) {
    if (x == 0 || i >= at.valid) return 0.f;
    return x[row_element<1, ONE>(at, at.first + i, 0, inner, at.head, at.heads)];
}
