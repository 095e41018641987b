// Inverses of triangular systems.

// Four numbers of a row, whose rows are P apart; nothing where there is no row.
template <int P> INLINE void neighbours(float (&w)[4], const float* from, bool here) {
    if (P % 4 == 0 && here) {
        const Group<4> some = get<4>(from);
        #pragma unroll
        for (int i = 0; i < 4; i++) w[i] = some.x[i];
    } else {
        #pragma unroll
        for (int i = 0; i < 4; i++) w[i] = here ? from[i] : 0.f;
    }
}

// x = (I + a)⁻¹ where N are no whole blocks of SOLVED rows: so many rows at a time. What
// earlier rows have solved is taken off first, a few rows to a thread, from where a column begins; then each column is
// substituted in the registers of a thread.
template <int N, int AP, int XP> INLINE void invert_by_rows(const float* a, float* x) {
    constexpr int R = 4, ROWS = N < SOLVED ? N : SOLVED;
    #pragma unroll 1
    for (int first = 0; first < N; first += SOLVED) {
        #pragma unroll 1
        for (int e = threadIdx.x; e < SOLVED / R * first; e += THREADS) {
            const int part = (e >= first) + (e >= 2 * first) + (e >= 3 * first), c = e - part * first;
            const float* const own = a + (first + part * R) * AP;
            float y[R] = {};
            #pragma unroll 4
            for (int m = c / SOLVED * SOLVED; m < first; m += 4) {
                float solved[4];
                #pragma unroll
                for (int i = 0; i < 4; i++) solved[i] = x[(m + i) * XP + c];
                #pragma unroll
                for (int r = 0; r < R; r++) {
                    float w[4];
                    neighbours<AP>(w, own + r * AP + m, first + part * R + r < N);
                    #pragma unroll
                    for (int i = 0; i < 4; i++) y[r] -= w[i] * solved[i];
                }
            }
            #pragma unroll
            for (int r = 0; r < R; r++) {
                if (N % SOLVED == 0 || first + part * R + r < N) x[(first + part * R + r) * XP + c] = y[r];
            }
        }
        if (first > 0) wait_for_block();
        #pragma unroll 1
        for (int c = threadIdx.x; c < N; c += THREADS) {
            float y[ROWS];
            #pragma unroll
            for (int r = 0; r < ROWS; r++) {
                y[r] = c >= first ? (c == first + r ? 1.f : 0.f) : first + r < N ? x[(first + r) * XP + c] : 0.f;
            }
            if (c < first + SOLVED) {
                #pragma unroll
                for (int i = 1; i < ROWS; i++) {
                    #pragma unroll
                    for (int q = 0; q < i; q += 4) {
                        float w[4];
                        neighbours<AP>(w, a + (first + i) * AP + first + q, first + i < N);
                        #pragma unroll
                        for (int j = q; j < i && j < q + 4; j++) y[i] -= w[j - q] * y[j];
                    }
                }
            }
            #pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (first + r < N) x[(first + r) * XP + c] = y[r];
            }
        }
        if (first + SOLVED < N) wait_for_block();
    }
}

// Two numbers in two pieces of 8 bits each.
INLINE void in_pieces(float a, float b, u32& high, u32& low) {
    high = narrow(a, b);
    low = narrow(a - lower(high), b - upper(high));
}

// c += a b, both in two pieces; the product of the lower ones is as small as what both leave.
INLINE void multiply_pieces(float (&c)[4], const u32 (&a)[2][4], const u32 (&b)[2][2]) {
    multiply(c, a[0], b[0][0], b[0][1]);
    multiply(c, a[0], b[1][0], b[1][1]);
    multiply(c, a[1], b[0][0], b[0][1]);
}

// 16 rows of 16 terms of f32, P numbers apart, as a left operand.
template <int P> INLINE void left_pieces(u32 (&to)[2][4], const float* from) {
    const int row = threadIdx.x % 32 / 4, col = threadIdx.x % 4 * 2;
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        const Group<2> two = get<2>(from + (row + i % 2 * 8) * P + col + i / 2 * 8);
        in_pieces(two.x[0], two.x[1], to[0][i], to[1][i]);
    }
}

// 16 terms of 8 columns as a right operand; if FINITE, with 0 for what is no number, whose terms are marked in `lost`.
template <int P, bool FINITE> INLINE void right_pieces(u32 (&to)[2][2], const float* from, u32& lost) {
    const int term = threadIdx.x % 4 * 2, col = threadIdx.x % 32 / 4;
    #pragma unroll
    for (int i = 0; i < 2; i++) {
        float two[2];
        #pragma unroll
        for (int j = 0; j < 2; j++) {
            two[j] = from[(term + i * 8 + j) * P + col];
            if (FINITE && !(two[j] - two[j] == 0.f)) {
                lost |= 1u << (term + i * 8 + j);
                two[j] = 0.f;
            }
        }
        in_pieces(two[0], two[1], to[0][i], to[1][i]);
    }
}

// The inverse of the blocks of SOLVED rows on the diagonal of I + a, each column in the registers of a thread, and zeros above
// them, by the other threads where there are some.
template <int N, int AP, int XP> INLINE void invert_diagonal(const float* a, float* x) {
    constexpr int BUSY = 2 * N < THREADS ? N : 0, FOURS = (N - SOLVED) / 4, ALL = (N - SOLVED) * FOURS;
    if (threadIdx.x >= BUSY) {
        #pragma unroll
        for (int e = threadIdx.x - BUSY; e < ALL; e += THREADS - BUSY) {
            const int row = e / FOURS, col = row / SOLVED * SOLVED + SOLVED + e % FOURS * 4;
            if (col < N) put<4>(x + row * XP + col, Group<4>{});
        }
    }
    #pragma unroll 1
    for (int c = threadIdx.x; c < N; c += THREADS) {
        const float* const own = a + c / SOLVED * SOLVED * (AP + 1);
        float y[SOLVED];
        #pragma unroll
        for (int r = 0; r < SOLVED; r++) y[r] = c % SOLVED == r ? 1.f : 0.f;
        #pragma unroll
        for (int i = 1; i < SOLVED; i++) {
            #pragma unroll
            for (int q = 0; q < i; q += 4) {
                float w[4];
                neighbours<AP>(w, own + i * AP + q, true);
                #pragma unroll
                for (int j = q; j < i && j < q + 4; j++) y[i] -= w[j - q] * y[j];
            }
        }
        #pragma unroll
        for (int r = 0; r < SOLVED; r++) x[(c / SOLVED * SOLVED + r) * XP + c] = y[r];
    }
}

// Of pairs of inverted blocks of S rows, what stands below the first and left of the second: -D a C, C and D being their
// inverses. A warp makes 16 rows of 8 columns. What is no number reaches its own row of a and those below.
template <int S, int N, int AP, int XP> INLINE void merge(const float* a, float* x) {
    const int lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < (N + 2 * S - 1) / (2 * S) * (S / SOLVED) * (S / 8); job += WARPS) {
        const int tile = job / (S / 8), first = tile / (S / SOLVED) * 2 * S, second = first + S;
        const int row0 = second + tile % (S / SOLVED) * SOLVED, col0 = job % (S / 8) * 8;
        if (row0 >= N) continue;
        float y[S / 8][4] = {}, sum[4] = {};
        u32 lost = 0;
        #pragma unroll 1
        for (int k = second; k <= row0; k += 16) {
            u32 left[2][4], none = 0;
            left_pieces<XP>(left, x + row0 * XP + k);
            #pragma unroll
            for (int n = 0; n < S / 8; n++) {
                u32 right[2][2];
                right_pieces<AP, true>(right, a + k * AP + first + n * 8, none);
                multiply_pieces(y[n], left, right);
            }
            lost |= k < row0 && none ? 1u : none;
        }
        #pragma unroll
        for (int n = 0; n < S / 8; n += 2) {
            u32 left[2][4], right[2][2];
            #pragma unroll
            for (int i = 0; i < 4; i++) in_pieces(y[n + i / 2][i % 2 * 2], y[n + i / 2][i % 2 * 2 + 1], left[0][i], left[1][i]);
            right_pieces<XP, false>(right, x + (first + n * 8) * XP + first + col0, lost);
            multiply_pieces(sum, left, right);
        }
        asm volatile("redux.sync.or.b32 %0, %0, 0xffffffff;" : "+r"(lost));
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = lane / 4 + i / 2 * 8;
            const bool gone = lost & ((2u << row) - 1);
            x[(row0 + row) * XP + first + col0 + lane % 4 * 2 + i % 2] = gone ? bits(0x7fc00000u) : -sum[i];
        }
    }
}

// x = (I + a)⁻¹ of what stands below a's diagonal, rows of a and x being AP and XP numbers apart: the blocks on the diagonal
// first, then of pairs of inverted blocks what stands between them, until one is left.
template <int N, int AP, int XP> INLINE void invert(const float* a, float* x) {
    if constexpr (N % SOLVED != 0 || N > 8 * SOLVED || AP % 4 != 0 || XP % 4 != 0) {
        invert_by_rows<N, AP, XP>(a, x);
    } else {
        invert_diagonal<N, AP, XP>(a, x);
        if constexpr (N > SOLVED) {
            wait_for_block();
            merge<SOLVED, N, AP, XP>(a, x);
        }
        if constexpr (N > 2 * SOLVED) {
            wait_for_block();
            merge<2 * SOLVED, N, AP, XP>(a, x);
        }
        if constexpr (N > 4 * SOLVED) {
            wait_for_block();
            merge<4 * SOLVED, N, AP, XP>(a, x);
        }
    }
}
