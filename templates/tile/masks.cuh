// Products of decays between all pairs of a chunk, one decay for all channels.

// Column j of a mask's band of rows or micro-steps that a lane holds: the last ones lie in the first lanes.
template <int M, int EACH> INLINE int column(int e) { return M - 1 - (threadIdx.x % 32 * EACH + e); }

// Of each column j the product of the decays behind j that lie before l.
template <int M, int EACH> INLINE void decays_from_columns(float (&p)[EACH], const float* a, int l) {
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int j = column<M, EACH>(e);
        p[e] = j >= 0 && j < l ? a[j] : 1.f;
    }
    products(p);
}

// Each warp makes a band of rows.
template <int ROWS, int M, class Seen>
INLINE void decay_mask(float* to, const float* a, Seen seen) {
    const int EACH = (M + 31) / 32, BAND = (ROWS + WARPS - 1) / WARPS;
    const int first = threadIdx.x / 32 * BAND;
    if (first >= ROWS) return;
    int l = seen(first);
    float p[EACH];
    decays_from_columns<M>(p, a, l);
    if constexpr (even<ROWS>(seen)) {
        #pragma unroll 1
        for (int block = first; block < min(first + BAND, ROWS); block += AT_ONCE) {
            float next[AT_ONCE];
            #pragma unroll
            for (int n = 0; n < AT_ONCE; n++) next[n] = a[max(seen(min(block + n, ROWS - 1)) - 1, 0)];
            #pragma unroll
            for (int n = 0; n < AT_ONCE; n++) {
                const int i = block + n;
                #pragma unroll
                for (int e = 0; e < EACH; e++) {
                    const int j = column<M, EACH>(e);
                    p[e] *= j + 1 < seen(i) && i > first ? next[n] : 1.f;
                    const bool own = j >= 0 && i < min(first + BAND, ROWS);
                    if (own) to[i * M + j] = j < seen(i) ? p[e] : 0.f;
                }
            }
        }
        return;
    }
    #pragma unroll 1
    for (int i = first; i < min(first + BAND, ROWS); i++) {
        const int last = seen(i);
        #pragma unroll 1
        for (; l < last; l++) {
            const float next = a[l];
            #pragma unroll
            for (int e = 0; e < EACH; e++) {
                if (column<M, EACH>(e) < l) p[e] = p[e] * next;
            }
        }
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int j = column<M, EACH>(e);
            if (j >= 0) to[i * M + j] = j < last ? p[e] : 0.f;
        }
    }
}

// What flows into the products of the decays behind each column, up to each micro-step, by a thread for each column from
// the last micro-step on. Then a thread for each micro-step adds that up, times the decays before it.
template <int ROWS, int M, class Seen>
INLINE void decay_mask_grad(float* to, const float* a, const float* dy, float* scratch, Seen seen) {
    #pragma unroll 1
    for (int j = threadIdx.x; j < M; j += THREADS) {
        float flow = 0.f;
        if constexpr (even<ROWS>(seen)) {
            #pragma unroll 1
            for (int far = 0; far < M; far += AT_ONCE) {
                float next[AT_ONCE], said[AT_ONCE];
                #pragma unroll
                for (int n = 0; n < AT_ONCE; n++) {
                    const int l = max(M - 1 - far - n, 0), i = l + 1 - seen(0);
                    const float decay = a[min(l + 1, M - 1)], some = dy[min(i, ROWS - 1) * M + j];
                    next[n] = l + 1 < M ? decay : 1.f;
                    said[n] = i < ROWS && j < l ? some : 0.f;
                }
                #pragma unroll
                for (int n = 0; n < AT_ONCE; n++) {
                    const int l = M - 1 - far - n;
                    flow = flow * next[n] + said[n];
                    if (M % AT_ONCE == 0 || l >= 0) scratch[l * M + j] = flow;
                }
            }
        } else {
            int i = ROWS - 1;
            #pragma unroll 1
            for (int l = M - 1; l >= 0; l--) {
                if (l + 1 < M) flow *= a[l + 1];
                #pragma unroll 1
                for (; i >= 0 && seen(i) > l; i--) flow += j < l ? dy[i * M + j] : 0.f;
                scratch[l * M + j] = flow;
            }
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int l = threadIdx.x; l < M; l += THREADS) {
        float sum = 0.f, p = 1.f;
        #pragma unroll 1
        for (int far = 1; far <= l; far += AT_ONCE) {
            float decay[AT_ONCE], flow[AT_ONCE];
            #pragma unroll
            for (int n = 0; n < AT_ONCE; n++) {
                const int j = max(l - far - n, 0);
                decay[n] = a[j];
                flow[n] = scratch[l * M + j];
            }
            #pragma unroll
            for (int n = 0; n < AT_ONCE; n++) {
                sum += l - far - n >= 0 ? p * flow[n] : 0.f;
                p *= decay[n];
            }
        }
        to[l] = sum;
    }
}
