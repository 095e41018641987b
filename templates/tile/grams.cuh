// The same with a decay for each channel, met by keys and queries.

// Channels that a thread reads at once.
template <int D> INLINE constexpr int wide() { return D % 4 == 0 ? 4 : 1; }

// Channels that lie side by side for a lane of a warp that shares them all.
template <int D> INLINE constexpr int beside() { return D % 128 == 0 ? 4 : D % 64 == 0 ? 2 : 1; }

// Of eight sums of which the lanes of a warp have parts: each lane gets all of one, by an eighth of the lanes.
INLINE float shared_sum(const float (&x)[8]) {
    const int lane = threadIdx.x % 32;
    const bool high = lane & 16, middle = lane & 8, odd = lane & 4;
    float four[4];
    #pragma unroll
    for (int i = 0; i < 4; i++) four[i] = (high ? x[i + 4] : x[i]) + other_lane(high ? x[i] : x[i + 4], 16);
    const float a = (middle ? four[2] : four[0]) + other_lane(middle ? four[0] : four[2], 8);
    const float b = (middle ? four[3] : four[1]) + other_lane(middle ? four[1] : four[3], 8);
    float sum = (odd ? b : a) + other_lane(odd ? a : b, 4);
    sum += other_lane(sum, 2);
    return sum + other_lane(sum, 1);
}

// Those channels of a row that a lane has of its warp, W neighbours at a time.
template <int EACH, int W, int D> INLINE void channels(float (&x)[EACH], const float* row) {
    const int own = threadIdx.x % 32;
    #pragma unroll
    for (int e = 0; e < EACH; e += W) {
        const int d = (e * 32 + own * W);
        if (D % (32 * W) == 0 || d < D) {
            const Group<W> some = get<W>(row + d);
            #pragma unroll
            for (int c = 0; c < W; c++) x[e + c] = some.x[c];
        } else {
            #pragma unroll
            for (int c = 0; c < W; c++) x[e + c] = 0.f;
        }
    }
}

// The products of decays of two columns go down the rows in a warp's registers, all its lanes for their channels.
template <int ROWS, int M, int D, class Seen>
INLINE void gram(float* to, const float* x, const float* y, const float* a, Seen seen) {
    constexpr bool EVEN = even<ROWS>(seen);
    constexpr int W = beside<D>(), EACH = (D + 32 * W - 1) / (32 * W) * W;
    const int lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int j = threadIdx.x / 32 * 2; j < M; j += WARPS * 2) {
        float p[2][EACH];
        #pragma unroll
        for (int c = 0; c < 2; c++) channels<EACH, W, D>(p[c], y + min(j + c, M - 1) * D);
        int l = j + 1;
        #pragma unroll 1
        for (int row = 0; row < ROWS; row += 4) {
            float sums[8];
            // Rows that have seen neither column yet need not be read.
            const bool any = seen(min(row + 3, ROWS - 1)) > j;
            #pragma unroll
            for (int r = 0; r < 4; r++) {
                sums[r] = sums[r + 4] = 0.f;
                if (!any) continue;
                const int i = min(row + r, ROWS - 1), last = seen(i);
                float decay[EACH], key[EACH];
                if (EVEN) {
                    channels<EACH, W, D>(decay, a + max(last - 1, 0) * D);
                    #pragma unroll
                    for (int c = 0; c < 2; c++) {
                        #pragma unroll
                        for (int e = 0; e < EACH; e++) p[c][e] *= last - 1 > j + c && row + r < ROWS ? decay[e] : 1.f;
                    }
                } else {
                    #pragma unroll 1
                    for (; l < last; l++) {
                        channels<EACH, W, D>(decay, a + l * D);
                        #pragma unroll
                        for (int c = 0; c < 2; c++) {
                            #pragma unroll
                            for (int e = 0; e < EACH; e++) p[c][e] *= l > j + c ? decay[e] : 1.f;
                        }
                    }
                }
                channels<EACH, W, D>(key, x + i * D);
                #pragma unroll
                for (int c = 0; c < 2; c++) {
                    float sum = 0.f;
                    #pragma unroll
                    for (int e = 0; e < EACH; e++) sum += key[e] * p[c][e];
                    sums[4 * c + r] = j + c < last ? sum : 0.f;
                }
            }
            const float sum = any ? shared_sum(sums) : 0.f;
            const int i = row + lane / 4 % 4, column = j + lane / 16;
            if (lane % 4 == 0 && i < ROWS && column < M) to[i * M + column] = sum;
        }
    }
}

// Rows or columns that a thread goes through together.
#define TOGETHER 4

template <int ROWS, int M, int D, class Seen>
INLINE void apply(float* to, const float* w, const float* y, const float* a, Seen seen) {
    constexpr int W = wide<D>();
    const int ACROSS = D / W, GROUPS = (ROWS + TOGETHER - 1) / TOGETHER;
    #pragma unroll 1
    for (int e = threadIdx.x; e < GROUPS * ACROSS; e += THREADS) {
        // The last rows first: they take longest.
        const int row = (GROUPS - 1 - e / ACROSS) * TOGETHER, d = e % ACROSS * W;
        float h[TOGETHER][W];
        int at[TOGETHER], last[TOGETHER];
        #pragma unroll
        for (int r = 0; r < TOGETHER; r++) {
            at[r] = min(row + r, ROWS - 1);
            last[r] = seen(at[r]);
            #pragma unroll
            for (int c = 0; c < W; c++) h[r][c] = 0.f;
        }
        int l = 0;
        #pragma unroll 4
        for (; l < last[0]; l++) {
            const Group<W> decay = get<W>(a + l * D + d), own = get<W>(y + l * D + d);
            #pragma unroll
            for (int r = 0; r < TOGETHER; r++) {
                const float weight = w[at[r] * M + l];
                #pragma unroll
                for (int c = 0; c < W; c++) h[r][c] = h[r][c] * decay.x[c] + weight * own.x[c];
            }
        }
        #pragma unroll 1
        for (; l < last[TOGETHER - 1]; l++) {
            const Group<W> decay = get<W>(a + l * D + d), own = get<W>(y + l * D + d);
            #pragma unroll
            for (int r = 1; r < TOGETHER; r++) {
                const float weight = w[at[r] * M + l];
                #pragma unroll
                for (int c = 0; c < W; c++) {
                    const float next = h[r][c] * decay.x[c] + weight * own.x[c];
                    if (l < last[r]) h[r][c] = next;
                }
            }
        }
        #pragma unroll
        for (int r = 0; r < TOGETHER; r++) {
            Group<W> own;
            #pragma unroll
            for (int c = 0; c < W; c++) own.x[c] = h[r][c];
            if (ROWS % TOGETHER == 0 || row + r < ROWS) put<W>(to + (row + r) * D + d, own);
        }
    }
}

// What rows say of neighbouring columns, from the last row to the first: for each column those that have seen it.
template <int ROWS, int M, int D, class Seen>
INLINE void apply_t(float* to, const float* w, const float* x, const float* a, Seen seen) {
    constexpr bool EVEN = even<ROWS>(seen);
    constexpr int W = wide<D>();
    const int ACROSS = D / W, GROUPS = (M + TOGETHER - 1) / TOGETHER;
    #pragma unroll 1
    for (int e = threadIdx.x; e < GROUPS * ACROSS; e += THREADS) {
        const int column = e / ACROSS * TOGETHER, d = e % ACROSS * W;
        float h[TOGETHER][W];
        #pragma unroll
        for (int r = 0; r < TOGETHER; r++) {
            #pragma unroll
            for (int c = 0; c < W; c++) h[r][c] = 0.f;
        }
        // The micro-step is taken off those columns that lie before it: all of them where `all` says so.
        auto decayed = [&](int l, bool all) {
            const Group<W> decay = get<W>(a + min(l, M - 1) * D + d);
            #pragma unroll
            for (int c = 0; c < W; c++) {
                const float x = l < M ? decay.x[c] : 1.f;
                #pragma unroll
                for (int r = 0; r < TOGETHER; r++) h[r][c] *= all || l > column + r ? x : 1.f;
            }
        };
        auto said = [&](int i, int last, bool all) {
            const Group<W> own = get<W>(x + i * D + d);
            #pragma unroll
            for (int r = 0; r < TOGETHER; r++) {
                const float weight = w[i * M + min(column + r, M - 1)];
                #pragma unroll
                for (int c = 0; c < W; c++) {
                    const float next = h[r][c] + weight * own.x[c];
                    h[r][c] = all || last > column + r ? next : h[r][c];
                }
            }
        };
        int l = M, i = ROWS - 1;
        const int first = EVEN ? max(column + 1 - seen(0), 0) : rows_up_to<ROWS>(column, seen);
        if (EVEN) {
            // Rows that have seen all columns of the thread, then the others.
            #pragma unroll 4
            for (; i >= first && seen(i) >= column + TOGETHER; i--) {
                decayed(seen(i), true);
                said(i, seen(i), true);
            }
        }
        #pragma unroll 1
        for (; i >= first; i--) {
            const int last = seen(i);
            if (EVEN) {
                decayed(last, false);
            } else {
                #pragma unroll 1
                for (; l > last; l--) decayed(l - 1, false);
            }
            said(i, last, false);
        }
        if (!EVEN) {
            #pragma unroll 1
            for (; l > column + 1; l--) decayed(l - 1, false);
        }
        #pragma unroll
        for (int r = 0; r < TOGETHER; r++) {
            Group<W> own;
            #pragma unroll
            for (int c = 0; c < W; c++) own.x[c] = h[r][c];
            if (M % TOGETHER == 0 || column + r < M) put<W>(to + (column + r) * D + d, own);
        }
    }
}

// Micro-steps up to which a channel's numbers have room in registers.
#define IN_REGISTERS 32

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
INLINE void gram_grad(float* to, const float* w, const float* x, const float* y, const float* a, Seen seen) {
    if constexpr (M > IN_REGISTERS) {
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
    // Two lanes for each channel, each with every other pair of columns.
    constexpr int C = 2;
    const int half = threadIdx.x % 32 / 16;
    #pragma unroll 1
    for (int channel = threadIdx.x / 32 * 16; channel < D; channel += THREADS / 2) {
        const int d = min(channel + threadIdx.x % 16, D - 1);
        float decay[M], sum[M];
        #pragma unroll
        for (int l = 0; l < M; l++) {
            decay[l] = a[l * D + d];
            sum[l] = 0.f;
        }
        // Where the columns are known, what lies before them is not even asked for.
        #pragma unroll (M <= 16 ? M : 1)
        for (int base = 0; base < M; base += 2 * C) {
            const int column = base + half * C;
            // What rows that have seen l say of the columns, as seen from there.
            float flow[M][C], p[C], now[C];
            #pragma unroll
            for (int r = 0; r < C; r++) now[r] = 0.f;
            #pragma unroll
            for (int l = M - 1; l > 0; l--) {
                if (l <= base) continue;
                #pragma unroll
                for (int r = 0; r < C; r++) now[r] *= l + 1 < M ? decay[l + 1 < M ? l + 1 : l] : 1.f;
                #pragma unroll
                for (int i = 0; i < ROWS; i++) {
                    if (seen(i) == l + 1) {
                        const float own = x[i * D + d];
                        #pragma unroll
                        for (int r = 0; r < C; r++) {
                            const float next = now[r] + w[i * M + min(column + r, M - 1)] * own;
                            now[r] = l > column + r ? next : 0.f;
                        }
                    }
                }
                #pragma unroll
                for (int r = 0; r < C; r++) flow[l][r] = now[r];
            }
            #pragma unroll
            for (int r = 0; r < C; r++) p[r] = y[min(column + r, M - 1) * D + d];
            #pragma unroll
            for (int l = 1; l < M; l++) {
                if (l <= base) continue;
                #pragma unroll
                for (int r = 0; r < C; r++) {
                    const bool behind = l > column + r && column + r < M;
                    sum[l] += behind ? p[r] * flow[l][r] : 0.f;
                    p[r] *= behind ? decay[l] : 1.f;
                }
            }
        }
        #pragma unroll
        for (int l = 0; l < M; l++) {
            const float all = sum[l] + other_lane(sum[l], 16);
            if (half == 0 && channel + threadIdx.x % 16 < D) to[l * D + d] = all;
        }
    }
}
