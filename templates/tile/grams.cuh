// The same with a decay for each channel, met by keys and queries.

// Lanes that share the channels of a column.
#define SHARING 16

// Of four sums of which SHARING lanes have parts: each lane gets all of one, by a quarter of the lanes.
INLINE float shared_sum(const float (&x)[4]) {
    const int lane = threadIdx.x % 32;
    const bool high = lane & 8, odd = lane & 4;
    const float a = (high ? x[2] : x[0]) + other_lane(high ? x[0] : x[2], 8);
    const float b = (high ? x[3] : x[1]) + other_lane(high ? x[1] : x[3], 8);
    float sum = (odd ? b : a) + other_lane(odd ? a : b, 4);
    sum += other_lane(sum, 2);
    return sum + other_lane(sum, 1);
}

// Each column's product of decays goes down the rows in registers, SHARING lanes for its channels.
template <int ROWS, int M, int D, class Seen>
INLINE void gram(float* to, const float* x, const float* y, const float* a, Seen seen) {
    const int EACH = (D + SHARING - 1) / SHARING, COLUMNS = THREADS / SHARING;
    const int own = threadIdx.x % SHARING;
    #pragma unroll 1
    for (int column = 0; column < M; column += COLUMNS) {
        const int j = column + threadIdx.x / SHARING;
        float p[EACH];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int d = e * SHARING + own;
            p[e] = j < M && d < D ? y[j * D + d] : 0.f;
        }
        int l = column + 1;
        #pragma unroll 1
        for (int row = 0; row < ROWS; row += 4) {
            float sums[4];
            #pragma unroll
            for (int r = 0; r < 4; r++) {
                const int i = row + r, last = i < ROWS ? seen(i) : 0;
                #pragma unroll 1
                for (; l < last; l++) {
                    #pragma unroll
                    for (int e = 0; e < EACH; e++) {
                        const int d = e * SHARING + own;
                        if (l > j && d < D) p[e] *= a[l * D + d];
                    }
                }
                sums[r] = 0.f;
                #pragma unroll
                for (int e = 0; e < EACH; e++) {
                    const int d = e * SHARING + own;
                    if (j < last && d < D) sums[r] += x[i * D + d] * p[e];
                }
            }
            const float sum = shared_sum(sums);
            const int i = row + own / 4;
            if (own % 4 == 0 && i < ROWS && j < M) to[i * M + j] = sum;
        }
    }
}

template <int ROWS, int M, int D, class Seen>
INLINE void apply(float* to, const float* w, const float* y, const float* a, Seen seen) {
    #pragma unroll 1
    for (int e = threadIdx.x; e < ROWS * D; e += THREADS) {
        const int i = e / D, d = e % D, last = seen(i);
        float h = 0.f;
        #pragma unroll 1
        for (int l = 0; l < last; l++) h = h * a[l * D + d] + w[i * M + l] * y[l * D + d];
        to[e] = h;
    }
}

// What rows that have seen at least `from` micro-steps say of column j, as seen from there.
template <int ROWS, int M, int D, class Seen>
INLINE float behind(const float* w, const float* x, const float* a, int j, int d, int from, Seen seen) {
    float h = 0.f;
    int at = M;
    #pragma unroll 1
    for (int i = ROWS - 1; i >= 0 && seen(i) >= from; i--) {
        #pragma unroll 1
        for (; at > seen(i); at--) h *= a[(at - 1) * D + d];
        h += w[i * M + j] * x[i * D + d];
    }
    #pragma unroll 1
    for (; at > from; at--) h *= a[(at - 1) * D + d];
    return h;
}

template <int ROWS, int M, int D, class Seen>
INLINE void apply_t(float* to, const float* w, const float* x, const float* a, Seen seen) {
    #pragma unroll 1
    for (int e = threadIdx.x; e < M * D; e += THREADS) {
        const int j = e / D, d = e % D;
        to[e] = behind<ROWS, M, D>(w, x, a, j, d, j + 1, seen);
    }
}

// Micro-steps up to which a channel's numbers have room in registers.
#define IN_REGISTERS 16

template <int ROWS, int M, int D, class Seen>
INLINE void gram_grad(float* to, const float* w, const float* x, const float* y, const float* a, Seen seen) {
    if (M > IN_REGISTERS) {
        #pragma unroll 1
        for (int e = threadIdx.x; e < M * D; e += THREADS) {
            const int l = e / D, d = e % D;
            float sum = 0.f, p = 1.f;
            #pragma unroll 1
            for (int j = l - 1; j >= 0; j--) {
                sum += y[j * D + d] * p * behind<ROWS, M, D>(w, x, a, j, d, l + 1, seen);
                p *= a[j * D + d];
            }
            to[e] = sum;
        }
        return;
    }
    // Two lanes for each channel, one for the even columns and one for the odd ones.
    const int half = threadIdx.x % 32 / 16;
    #pragma unroll 1
    for (int channel = threadIdx.x / 32 * 16; channel < D; channel += THREADS / 2) {
        const int d = channel + threadIdx.x % 16;
        float decay[IN_REGISTERS], sum[IN_REGISTERS], r[IN_REGISTERS];
        #pragma unroll
        for (int l = 0; l < IN_REGISTERS; l++) {
            decay[l] = l < M && d < D ? a[l * D + d] : 1.f;
            sum[l] = 0.f;
        }
        #pragma unroll 1
        for (int j = half; j < M; j += 2) {
            // What rows that have seen l say of the column, as seen from there.
            float flow = 0.f;
            int i = ROWS - 1;
            #pragma unroll
            for (int l = IN_REGISTERS - 1; l >= 0; l--) {
                if (l < M) {
                    if (l + 1 < M) flow *= decay[l + 1 < IN_REGISTERS ? l + 1 : l];
                    #pragma unroll 1
                    for (; i >= 0 && seen(i) > l; i--) {
                        if (j < l && d < D) flow += w[i * M + j] * x[i * D + d];
                    }
                    r[l] = flow;
                }
            }
            float p = d < D ? y[j * D + d] : 0.f;
            #pragma unroll
            for (int l = 0; l < IN_REGISTERS; l++) {
                if (l < M && l > j) {
                    sum[l] += p * r[l];
                    p *= decay[l];
                }
            }
        }
        #pragma unroll
        for (int l = 0; l < IN_REGISTERS; l++) {
            if (l < M) {
                const float all = sum[l] + other_lane(sum[l], 16);
                if (half == 0 && d < D) to[l * D + d] = all;
            }
        }
    }
}
