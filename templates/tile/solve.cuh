// Systems of equations.

// x with (I + a) x = b, or (I + aᵀ) x = b from the last row to the first, b standing in x: blocks of
// 8 rows; what earlier blocks have solved is taken off by all threads, then each thread substitutes
// in columns of its own. (Blocks of 16 rows take the compiler half a second more.)
template <int N, int COLS, bool T> INLINE void solve(const float* a, float* x) {
    // The n-th row in the order of solving, and how much of row m is taken off row n.
    auto row = [](int n) { return T ? N - 1 - n : n; };
    auto weight = [&](int n, int m) { return T ? a[row(m) * N + row(n)] : a[row(n) * N + row(m)]; };
    #pragma unroll 1
    for (int first = 0; first < N; first += 8) {
        if (first > 0) {
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8 * COLS; e += THREADS) {
                const int n = first + e / COLS, c = e % COLS;
                if (N % 8 == 0 || n < N) {
                    float sum = 0.f;
                    #pragma unroll 4
                    for (int m = 0; m < first; m++) sum += weight(n, m) * x[row(m) * COLS + c];
                    x[row(n) * COLS + c] -= sum;
                }
            }
            wait_for_block();
        }
        #pragma unroll 1
        for (int c = threadIdx.x; c < COLS; c += THREADS) {
            float y[8];
            #pragma unroll
            for (int n = 0; n < 8; n++) {
                if (N % 8 == 0 || first + n < N) {
                    y[n] = x[row(first + n) * COLS + c];
                    #pragma unroll
                    for (int m = 0; m < n; m++) y[n] -= weight(first + n, first + m) * y[m];
                    x[row(first + n) * COLS + c] = y[n];
                }
            }
        }
        wait_for_block();
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
