// Scans of states whose entries never meet.

// y = A y + b row after row, with an A of S by S states for each of N entries.
template <int M, int S, int N>
INLINE void scan(float* to, const float* a, const float* b, const float* start) {
    #pragma unroll 1
    for (int k = threadIdx.x; k < N; k += THREADS) {
        float y[S];
        #pragma unroll
        for (int p = 0; p < S; p++) y[p] = start[p * N + k];
        #pragma unroll 1
        for (int i = 0; i < M; i++) {
            float z[S];
            #pragma unroll
            for (int p = 0; p < S; p++) {
                z[p] = b[(i * S + p) * N + k];
                #pragma unroll
                for (int q = 0; q < S; q++) z[p] += a[((i * S + p) * S + q) * N + k] * y[q];
            }
            #pragma unroll
            for (int p = 0; p < S; p++) to[(i * S + p) * N + k] = y[p] = z[p];
        }
    }
}

// y = max(y + a, b) row after row.
template <int M, int N>
INLINE void scan_max(float* to, const float* a, const float* b, const float* start) {
    #pragma unroll 1
    for (int k = threadIdx.x; k < N; k += THREADS) {
        float y = start[k];
        #pragma unroll 1
        for (int i = 0; i < M; i++) to[i * N + k] = y = larger(y + a[i * N + k], b[i * N + k]);
    }
}

// What reaches the rows of a scan: d = dy + A'd of the row behind.
template <int M, int S, int N> INLINE void scan_grad(float* to, const float* a, const float* dy) {
    #pragma unroll 1
    for (int k = threadIdx.x; k < N; k += THREADS) {
        float d[S];
        #pragma unroll
        for (int p = 0; p < S; p++) d[p] = 0.f;
        #pragma unroll 1
        for (int i = M - 1; i >= 0; i--) {
            float z[S];
            #pragma unroll
            for (int q = 0; q < S; q++) {
                z[q] = dy[(i * S + q) * N + k];
                #pragma unroll
                for (int p = 0; p < S && i + 1 < M; p++) {
                    z[q] += a[(((i + 1) * S + p) * S + q) * N + k] * d[p];
                }
            }
            #pragma unroll
            for (int p = 0; p < S; p++) to[(i * S + p) * N + k] = d[p] = z[p];
        }
    }
}
