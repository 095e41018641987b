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

// What flows into the products of the decays behind each column up to l, from the last micro-step of a band to the first;
// gives the product of the decays on the way.
template <int ROWS, int M, int EACH, class Seen>
INLINE float flow_back(float (&r)[EACH], float* scratch, const float* a, const float* dy, int first, int end, Seen seen) {
    float all = 1.f;
    int i = rows_up_to<ROWS>(end, seen) - 1;
    #pragma unroll 1
    for (int l = end - 1; l >= first; l--) {
        const float next = l + 1 < M ? a[l + 1] : 1.f;
        all = all * next;
        #pragma unroll
        for (int e = 0; e < EACH; e++) r[e] *= next;
        #pragma unroll 1
        for (; i >= 0 && seen(i) > l; i--) {
            #pragma unroll
            for (int e = 0; e < EACH; e++) {
                const int j = column<M, EACH>(e);
                if (j >= 0 && j < l) r[e] += dy[i * M + j];
            }
        }
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int j = column<M, EACH>(e);
            if (scratch != 0 && j >= 0) scratch[l * M + j] = r[e];
        }
    }
    return all;
}

// Each warp has a band of micro-steps. What flows into a band from those behind it is told from what flows through each.
template <int ROWS, int M, class Seen>
INLINE void decay_mask_grad(float* to, const float* a, const float* dy, float* scratch, Seen seen) {
    const int EACH = (M + 31) / 32, MOST = (M + 7) / 8, BANDS = MOST < WARPS ? MOST : WARPS;
    const int BAND = (M + BANDS - 1) / BANDS;
    const int band = threadIdx.x / 32, first = min(band * BAND, M), end = min(first + BAND, M);
    float r[EACH];
    #pragma unroll
    for (int e = 0; e < EACH; e++) r[e] = 0.f;
    if (BANDS > 1) {
        if (band < BANDS) {
            const float all = flow_back<ROWS, M>(r, (float*)0, a, dy, first, end, seen);
            #pragma unroll
            for (int e = 0; e < EACH; e++) {
                const int j = column<M, EACH>(e);
                if (j >= 0) scratch[band * M + j] = r[e];
                r[e] = 0.f;
            }
            if (threadIdx.x % 32 == 0) scratch[BANDS * M + band] = all;
        }
        wait_for_block();
        if (band < BANDS) {
            #pragma unroll 1
            for (int other = BANDS - 1; other > band; other--) {
                const float all = scratch[BANDS * M + other];
                #pragma unroll
                for (int e = 0; e < EACH; e++) {
                    const int j = column<M, EACH>(e);
                    r[e] = r[e] * all + (j >= 0 ? scratch[other * M + j] : 0.f);
                }
            }
        }
        wait_for_block();
    }
    if (band >= BANDS) return;
    flow_back<ROWS, M>(r, scratch, a, dy, first, end, seen);
    float p[EACH];
    decays_from_columns<M>(p, a, first);
    #pragma unroll 1
    for (int l = first; l < end; l++) {
        float sum = 0.f;
        const float own = a[l];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int j = column<M, EACH>(e);
            if (j >= 0 && j < l) {
                sum += p[e] * scratch[l * M + j];
                p[e] = p[e] * own;
            }
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) to[l] = sum;
    }
}
