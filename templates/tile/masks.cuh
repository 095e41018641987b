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

// Each warp makes a band of rows, which lie P numbers apart.
template <int ROWS, int M, int P, class Seen>
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
                    if (own) to[i * P + j] = j < seen(i) ? p[e] : 0.f;
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
            if (j >= 0) to[i * P + j] = j < last ? p[e] : 0.f;
        }
    }
}

// Numbers that a lane may hold of a band.
#define HELD 32

// Adds BAND numbers up over lanes, a power of two of them: lane n * 32 / BAND has the n-th sum.
template <int BAND> INLINE float scattered_sum(float (&x)[BAND]) {
    int mask = 16;
    #pragma unroll
    for (int half = BAND / 2; half > 0; half /= 2, mask /= 2) {
        const bool upper = threadIdx.x & mask;
        #pragma unroll
        for (int n = 0; n < half; n++) {
            const float own = upper ? x[n + half] : x[n], given = upper ? x[n] : x[n + half];
            x[n] = own + other_lane(given, mask);
        }
    }
    #pragma unroll
    for (; mask > 0; mask /= 2) x[0] += other_lane(x[0], mask);
    return x[0];
}

// The same as below, where each row sees one micro-step more than the one before: each warp has a band of micro-steps, what
// flows in from those behind it is added from what their warps have found, and a row's sum is one over lanes.
template <int ROWS, int M, int EACH, int BAND, class Seen>
INLINE void decay_mask_grad_bands(float* to, const float* a, const float* dy, float* scratch, Seen seen) {
    const int lane = threadIdx.x % 32, band = threadIdx.x / 32, first = band * BAND;
    // Decays from the band's second micro-step to the next band's first.
    float decay[BAND], flow[BAND][EACH], through = 1.f;
    #pragma unroll
    for (int n = 0; n < BAND; n++) {
        const float some = a[min(first + n + 1, M - 1)];
        decay[n] = first + n + 1 < M ? some : 1.f;
        through *= decay[n];
    }
    #pragma unroll
    for (int n = BAND - 1; n >= 0; n--) {
        const int l = first + n, i = l + 1 - seen(0);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int j = column<M, EACH>(e);
            const float some = dy[min(i, ROWS - 1) * M + max(j, 0)];
            flow[n][e] = (i < ROWS && j >= 0 && j < l ? some : 0.f) + (n + 1 < BAND ? flow[n + 1][e] * decay[n] : 0.f);
        }
    }
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int j = column<M, EACH>(e);
        if (j >= 0) scratch[band * M + j] = flow[0][e];
    }
    // Each lane needs the decays through the band of its number.
    float p[EACH], carry[EACH] = {};
    if (lane == 0) scratch[WARPS * M + band] = through;
    decays_from_columns<M>(p, a, min(first, M));
    wait_for_block();
    through = scratch[WARPS * M + min(lane, WARPS - 1)];
    #pragma unroll
    for (int w = WARPS - 1; w > 0; w--) {
        const float past = of_lane(through, w);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const float found = scratch[w * M + max(column<M, EACH>(e), 0)];
            carry[e] = w > band ? carry[e] * past + found : carry[e];
        }
    }
    float sums[BAND];
    #pragma unroll
    for (int n = BAND - 1; n >= 0; n--) {
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            carry[e] *= decay[n];
            flow[n][e] += carry[e];
        }
    }
    float own = a[min(first, M - 1)];
    #pragma unroll
    for (int n = 0; n < BAND; n++) {
        sums[n] = 0.f;
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int j = column<M, EACH>(e);
            const bool before = j >= 0 && j < first + n;
            sums[n] += before ? p[e] * flow[n][e] : 0.f;
            p[e] *= before ? own : 1.f;
        }
        own = decay[n];
    }
    const float sum = scattered_sum(sums);
    const int l = first + lane / (32 / BAND);
    if (lane % (32 / BAND) == 0 && l < M) to[l] = sum;
}

// What flows into the products of the decays behind each column, up to each micro-step, by a thread for each column from
// the last micro-step on. Then a thread for each micro-step adds that up, times the decays before it.
template <int ROWS, int M, class Seen>
INLINE void decay_mask_grad(float* to, const float* a, const float* dy, float* scratch, Seen seen) {
    constexpr int EACH = (M + 31) / 32, BAND = (M + WARPS - 1) / WARPS;
    if constexpr (even<ROWS>(seen) && WARPS < M && EACH * BAND <= HELD && (BAND & (BAND - 1)) == 0) {
        decay_mask_grad_bands<ROWS, M, EACH, BAND>(to, a, dy, scratch, seen);
        return;
    }
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
