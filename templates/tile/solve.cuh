// Systems of equations.

// Rows that are solved in registers before more are taken.
#define SOLVED 16

// The n-th row in the order of solving: by the transpose from the last one to the first.
template <int N, bool T> INLINE int solved_row(int n) { return T ? N - 1 - n : n; }

// How much of the m-th row is taken off the n-th.
template <int N, bool T> INLINE float weight(const float* a, int n, int m) {
    const int i = solved_row<N, T>(n), j = solved_row<N, T>(m);
    return T ? a[j * N + i] : a[i * N + j];
}

// Takes off R rows from the n-th on, of one column, what the first rows have solved.
template <int N, int COLS, bool T, int R>
INLINE void take_off(float (&y)[R], const float* a, const float* x, int first, int n, int c) {
    #pragma unroll 1
    for (int m = 0; m < first; m += 4) {
        float solved[4], w[R][4];
        #pragma unroll
        for (int i = 0; i < 4; i++) solved[i] = x[solved_row<N, T>(m + i) * COLS + c];
        if constexpr (N % SOLVED == 0 && !T) {
            #pragma unroll
            for (int r = 0; r < R; r++) {
                const Group<4> some = get<4>(a + (n + r) * N + m);
                #pragma unroll
                for (int i = 0; i < 4; i++) w[r][i] = some.x[i];
            }
        } else if constexpr (N % SOLVED == 0) {
            #pragma unroll
            for (int i = 0; i < 4; i++) {
                #pragma unroll
                for (int r = 0; r < R; r += 4) {
                    const Group<4> some = get<4>(a + (N - 1 - m - i) * N + N - 4 - n - r);
                    #pragma unroll
                    for (int q = 0; q < 4; q++) w[r + q][i] = some.x[3 - q];
                }
            }
        } else {
            #pragma unroll
            for (int r = 0; r < R; r++) {
                #pragma unroll
                for (int i = 0; i < 4; i++) w[r][i] = weight<N, T>(a, min(n + r, N - 1), m + i);
            }
        }
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            #pragma unroll
            for (int r = 0; r < R; r++) y[r] -= w[r][i] * solved[i];
        }
    }
}

// R rows of one column from the n-th on; rows there are none of are 0.
template <int N, int COLS, bool T, int R> INLINE void rows_of(float (&y)[R], const float* x, int n, int c) {
    #pragma unroll
    for (int r = 0; r < R; r++) y[r] = N % SOLVED == 0 || n + r < N ? x[solved_row<N, T>(n + r) * COLS + c] : 0.f;
}

template <int N, int COLS, bool T, int R> INLINE void put_rows(float* x, const float (&y)[R], int n, int c) {
    #pragma unroll
    for (int r = 0; r < R; r++) {
        if (N % SOLVED == 0 || n + r < N) x[solved_row<N, T>(n + r) * COLS + c] = y[r];
    }
}

// Takes off SOLVED rows what those before each of them solve. Of a, four neighbours are read at once.
template <int N, bool T> INLINE void substitute(float (&y)[SOLVED], const float* a, int first) {
    if constexpr (N % SOLVED == 0) {
        #pragma unroll
        for (int i = 0; i < SOLVED; i++) {
            // Row i of a; by the transpose the column of what the i-th row is taken off.
            const float* const own = a + solved_row<N, T>(first + i) * N;
            #pragma unroll
            for (int q = T ? i / 4 * 4 : 0; q < (T ? SOLVED : i); q += 4) {
                const Group<4> some = get<4>(own + (T ? N - 4 - first - q : first + q));
                #pragma unroll
                for (int r = 0; r < 4; r++) {
                    const int j = q + r;
                    if (!T && j < i) y[i] -= some.x[r] * y[j];
                    if (T && j > i) y[j] -= some.x[3 - r] * y[i];
                }
            }
        }
    } else {
        #pragma unroll
        for (int m = 0; m < SOLVED - 1; m++) {
            #pragma unroll
            for (int n = m + 1; n < SOLVED; n++) {
                if (first + n < N) y[n] -= weight<N, T>(a, first + n, first + m) * y[m];
            }
        }
    }
}

// x with (I + a) x = b, or (I + aᵀ) x = b from the last row to the first, b standing in x: SOLVED rows at a time, in the
// registers of a thread for each column. What earlier rows have solved is taken off first; where there are
// several threads for a column, by all of them.
template <int N, int COLS, bool T> INLINE void solve(const float* a, float* x) {
    constexpr int WHOLE = N > SOLVED && N % SOLVED == 0;
    constexpr int PARTS = !WHOLE ? 1 : THREADS >= 4 * COLS ? 4 : THREADS >= 2 * COLS ? 2 : 1, R = SOLVED / PARTS;
    #pragma unroll 1
    for (int first = 0; first < N; first += SOLVED) {
        if (PARTS > 1 && first > 0) {
            const int c = threadIdx.x % COLS, n = first + threadIdx.x / COLS * R;
            if (threadIdx.x < PARTS * COLS) {
                float y[R];
                rows_of<N, COLS, T>(y, x, n, c);
                take_off<N, COLS, T>(y, a, x, first, n, c);
                put_rows<N, COLS, T>(x, y, n, c);
            }
            wait_for_block();
        }
        #pragma unroll 1
        for (int c = threadIdx.x; c < COLS; c += THREADS) {
            float y[SOLVED];
            rows_of<N, COLS, T>(y, x, first, c);
            if (PARTS == 1) take_off<N, COLS, T>(y, a, x, first, first, c);
            substitute<N, T>(y, a, first);
            put_rows<N, COLS, T>(x, y, first, c);
        }
        if (PARTS > 1 && first + SOLVED < N) wait_for_block();
    }
}

// x with a x = b for each of COUNT systems, b standing in x: Gaussian elimination, the largest entry
// of each column first. a is used up.
template <int COUNT, int N, int COLS> INLINE void linear_solve(float* a, float* x) {
    #pragma unroll 1
    for (int c = 0; c < COUNT; c++, a += N * N, x += N * COLS) {
        #pragma unroll 1
        for (int k = 0; k < N; k++) {
            // Every thread finds the same row.
            int top = k;
            #pragma unroll 1
            for (int i = k + 1; i < N; i++) {
                if (absolute(a[i * N + k]) > absolute(a[top * N + k])) top = i;
            }
            wait_for_block();
            #pragma unroll 1
            for (int j = threadIdx.x; j < N + COLS && top != k; j += THREADS) {
                float* from = j < N ? a + top * N + j : x + top * COLS + j - N;
                float* to = j < N ? a + k * N + j : x + k * COLS + j - N;
                const float kept = *to;
                *to = *from;
                *from = kept;
            }
            wait_for_block();
            #pragma unroll 1
            for (int e = threadIdx.x; e < (N - 1 - k) * (N + COLS); e += THREADS) {
                const int i = k + 1 + e / (N + COLS), j = e % (N + COLS);
                const float factor = divide(a[i * N + k], a[k * N + k]);
                if (j >= N) x[i * COLS + j - N] -= factor * x[k * COLS + j - N];
                else if (j > k) a[i * N + j] -= factor * a[k * N + j];
            }
            wait_for_block();
        }
        #pragma unroll 1
        for (int k = N - 1; k >= 0; k--) {
            #pragma unroll 1
            for (int j = threadIdx.x; j < COLS; j += THREADS) {
                x[k * COLS + j] = divide(x[k * COLS + j], a[k * N + k]);
            }
            wait_for_block();
            #pragma unroll 1
            for (int e = threadIdx.x; e < k * COLS; e += THREADS) {
                const int i = e / COLS, j = e % COLS;
                x[e] -= a[i * N + k] * x[k * COLS + j];
            }
            wait_for_block();
        }
    }
}
