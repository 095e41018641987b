// Products on the matrix units.

// Rounds of a product's loop whose operands are read together: as many as there are registers for.
#ifndef AHEAD
#define AHEAD 2
#endif

// Four 8x8 matrices of bf16; lane l gives the shared address of row l % 8 of matrix l / 8.
INLINE void load_matrices(u32 (&r)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

INLINE void load_transposed(u32 (&r)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

INLINE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Whether a bf16 number is one, and two of them with 0 for what is none.
INLINE bool is_finite(bf16 x) { return (x & 0x7f80) != 0x7f80; }
INLINE u32 finite(u32 two) {
    const u32 none = ((two & 0x7f807f80u) + 0x00800080u) >> 15 & 0x00010001u;
    return two & ~(none * 0xffffu);
}

// Where an element lies whose rows are PITCH numbers long. Pieces of PER numbers are exchanged, S of them
// among each other, by the row's number; none if S is 0.
template <int PITCH, int S, int PER = 8> INLINE int swizzled(int row, int col) {
    if (S == 0) return row * PITCH + col;
    const int turn = row / (8 / (S ? S : 1)) % (S ? S : 1);
    return row * PITCH + ((col / PER) ^ turn) * PER + col % PER;
}

// Calls f(row, column, number) for every element of a warp's 16 rows and 8 N columns that this thread
// holds, and its number among them.
template <int N, class F> INLINE void each_place(int row0, int col0, F f) {
    const int lane = threadIdx.x % 32;
    #pragma unroll
    for (int n = 0; n < N; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            f(row0 + lane / 4 + i / 2 * 8, col0 + n * 8 + lane % 4 * 2 + i % 2, n * 4 + i);
        }
    }
}

// The same for two elements side by side, given the first one's column and number.
template <int N, class F> INLINE void each_pair(int row0, int col0, F f) {
    const int lane = threadIdx.x % 32;
    #pragma unroll
    for (int n = 0; n < N; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i += 2) f(row0 + lane / 4 + i / 2 * 8, col0 + n * 8 + lane % 4 * 2, n * 4 + i);
    }
}

// Of words a and b of this lane and of the one that differs in `mask`: both a of the lower lane, both b of the other.
INLINE void exchange(u32& a, u32& b, int mask) {
    const bool high = threadIdx.x & mask;
    const u32 other = word(other_lane(bits(high ? a : b), mask));
    if (high) a = other;
    else b = other;
}

// The same for P such pairs side by side, two or four, in bf16, as they are stored at once: f makes the pairs that a thread
// holds, put takes those that it has when the lanes of as many rows of eight columns have exchanged them.
template <int N, int P, class F, class T> INLINE void each_wide(int row0, int col0, F f, T put) {
    const int lane = threadIdx.x % 32, row = row0 + lane / 4, col = col0 + lane % 4 * 2;
    u32 all[2][N];
    #pragma unroll
    for (int n = 0; n < N; n++) {
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            const Group<2> a = f(row + i * 8, col + n * 8, n * 4 + i * 2);
            all[i][n] = narrow(a.x[0], a.x[1]);
        }
    }
    #pragma unroll
    for (int n = 0; n < N; n += P) {
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            #pragma unroll
            for (int c = 0; c < P; c += 2) exchange(all[i][n + c], all[i][n + c + 1], 1);
            if constexpr (P == 4) {
                #pragma unroll
                for (int c = 0; c < 2; c++) exchange(all[i][n + c], all[i][n + 2 + c], 2);
            }
        }
    }
    #pragma unroll
    for (int n = 0; n < N; n += P) {
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            const int to = P == 4 ? lane % 4 * 8 : lane % 2 * 8 + lane % 4 / 2 * 4;
            if constexpr (P == 4) put(row + i * 8, col0 + n * 8 + to, uint4{all[i][n], all[i][n + 1], all[i][n + 2], all[i][n + 3]});
            else put(row + i * 8, col0 + n * 8 + to, uint2{all[i][n], all[i][n + 1]});
        }
    }
}

// Sums of one warp: 16 rows and 8 N columns of a product.
template <int N> struct Sums {
    float x[N][4];

    INLINE Sums() { clear(); }

    INLINE void clear() {
        #pragma unroll
        for (int n = 0; n < N; n++) {
            #pragma unroll
            for (int i = 0; i < 4; i++) x[n][i] = 0.f;
        }
    }

    // Adds a b over K terms. A holds its operand as [row][term], or as [term][row] if AT; B as
    // [term][column], or as [column][term] if BT. Rows lie AP and BP numbers apart, AS and BS pieces of
    // them exchanged.
    template <int K, bool AT, int AP, int AS, bool BT, int BP, int BS>
    INLINE void add(const bf16* a, const bf16* b, int row0, int col0) {
        const int lane = threadIdx.x % 32, matrix = lane / 8, r = lane % 8;
        // Bytes between what 16 terms read and what the next 16 do, and between columns and the next 16.
        const int next_a = AT ? 32 * AP : 32, next_b = BT ? 32 : 32 * BP, wide = BT ? 32 * BP : 32;
        const int at_a = AT ? (matrix / 2 * 8 + r) * AP + row0 + matrix % 2 * 8
                            : (row0 + matrix % 2 * 8 + r) * AP + matrix / 2 * 8;
        const int at_b = BT ? (col0 + matrix / 2 * 8 + r) * BP + matrix % 2 * 8
                            : (matrix % 2 * 8 + r) * BP + col0 + matrix / 2 * 8;
        const u32 base_a = shared_address(a), base_b = shared_address(b);
        u32 from_a = base_a + 2 * at_a, from_b = base_b + 2 * at_b;
        #pragma unroll AHEAD
        for (int k = 0; k < K; k += 16) {
            u32 left[4];
            if (AS) {
                from_a = base_a + 2 * (AT ? swizzled<AP, AS>(k + matrix / 2 * 8 + r, row0 + matrix % 2 * 8)
                                          : swizzled<AP, AS>(row0 + matrix % 2 * 8 + r, k + matrix / 2 * 8));
            }
            if (AT) load_transposed(left, from_a);
            else load_matrices(left, from_a);
            #pragma unroll
            for (int n = 0; n < N; n += 2) {
                u32 right[4];
                u32 here = from_b + n / 2 * wide;
                if (BS) {
                    const int col = col0 + n * 8 + matrix / 2 * 8;
                    here = base_b + 2 * (BT ? swizzled<BP, BS>(col + r, k + matrix % 2 * 8)
                                            : swizzled<BP, BS>(k + matrix % 2 * 8 + r, col));
                }
                if (BT) load_matrices(right, here);
                else load_transposed(right, here);
                multiply(x[n], left, right[0], right[1]);
                multiply(x[n + 1], left, right[2], right[3]);
            }
            from_a += next_a;
            from_b += next_b;
        }
    }

    // The same with 0 for what is no number. It hardly ever runs: two columns after the other, in few registers.
    template <int K, bool AT, int AP, int AS, bool BT, int BP, int BS>
    INLINE void add_finite(const bf16* a, const bf16* b, int row0, int col0) {
        const int lane = threadIdx.x % 32, matrix = lane / 8, r = lane % 8;
        const u32 base_a = shared_address(a), base_b = shared_address(b);
        #pragma unroll
        for (int n = 0; n < N; n += 2) {
            #pragma unroll 1
            for (int k = 0; k < K; k += 16) {
                const int row = row0 + matrix % 2 * 8, term = k + matrix / 2 * 8;
                const int col = col0 + n * 8 + matrix / 2 * 8, other = k + matrix % 2 * 8;
                const u32 from_a = base_a + 2 * (AT ? swizzled<AP, AS>(term + r, row) : swizzled<AP, AS>(row + r, term));
                const u32 from_b = base_b + 2 * (BT ? swizzled<BP, BS>(col + r, other) : swizzled<BP, BS>(other + r, col));
                u32 left[4], right[4];
                if (AT) load_transposed(left, from_a);
                else load_matrices(left, from_a);
                if (BT) load_matrices(right, from_b);
                else load_transposed(right, from_b);
                #pragma unroll
                for (int i = 0; i < 4; i++) {
                    left[i] = finite(left[i]);
                    right[i] = finite(right[i]);
                }
                multiply(x[n], left, right[0], right[1]);
                multiply(x[n + 1], left, right[2], right[3]);
            }
        }
    }

    // Whether a sum of the warp is no number.
    INLINE bool lost() {
        float all[4] = {0.f, 0.f, 0.f, 0.f};
        #pragma unroll
        for (int n = 0; n < N; n++) {
            #pragma unroll
            for (int i = 0; i < 4; i++) all[i] += 0.f * x[n][i];
        }
        return any_lane((all[0] + all[1]) + (all[2] + all[3]) != 0.f);
    }

    // Makes those sums no numbers that have a term which is none: sees(row, term), or sees(column, term) if COLUMNS,
    // says which terms there are.
    template <int LENGTH, bool AT, int AP, int AS, bool BT, int BP, int BS, bool COLUMNS, class Sees>
    INLINE void lose(const bf16* a, const bf16* b, int row0, int col0, Sees sees) {
        const int lane = threadIdx.x % 32;
        // Loops that are not unrolled, so that what hardly ever runs takes no registers from what does.
        u32 none = 0;
        #pragma unroll 1
        for (int held = 0; held < 4 * N; held++) {
            const int row = row0 + lane / 4 + held % 4 / 2 * 8, col = col0 + held / 4 * 8 + lane % 4 * 2 + held % 2;
            #pragma unroll 1
            for (int k = 0; k < LENGTH; k++) {
                const bf16 left = a[AT ? swizzled<AP, AS>(k, row) : swizzled<AP, AS>(row, k)];
                const bf16 right = b[BT ? swizzled<BP, BS>(col, k) : swizzled<BP, BS>(k, col)];
                const bool there = COLUMNS ? sees(col, k) : sees(row, k);
                if (there && !(is_finite(left) && is_finite(right))) none |= 1u << held;
            }
        }
        #pragma unroll
        for (int held = 0; held < 4 * N; held++) {
            if (none >> held & 1) x[held / 4][held % 4] = bits(0x7fc00000u);
        }
    }

    // Calls f(row, column, sum, number) for every sum that this thread holds.
    template <class F> INLINE void each(int row0, int col0, F f) {
        each_place<N>(row0, col0, [&](int row, int col, int held) {
            f(row, col, x[held / 4][held % 4], held);
        });
    }

    // The same for two sums side by side, given the first one's column and number.
    template <class F> INLINE void each_pair(int row0, int col0, F f) {
        ::each_pair<N>(row0, col0, [&](int row, int col, int held) {
            f(row, col, &x[held / 4][held % 4], held);
        });
    }

    template <int P, class F, class T> INLINE void each_wide(int row0, int col0, F f, T put) {
        ::each_wide<N, P>(row0, col0, [&](int row, int col, int held) {
            return f(row, col, &x[held / 4][held % 4], held);
        }, put);
    }
};
