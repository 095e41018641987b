// Products of decays along the chunk, multiplied as they are: a decay of 0, below 0 or above 1 is like any other.
//
// M micro-steps with decays a: [M, D]; row i has seen the first seen(i) of them, and seen never
// falls. See the operations of the same name.

// Rows that have seen at most n micro-steps.
template <int ROWS, class Seen> INLINE int rows_up_to(int n, Seen seen) {
    int low = 0, high = ROWS;
    #pragma unroll 1
    while (low < high) {
        const int middle = (low + high) / 2;
        if (seen(middle) <= n) low = middle + 1;
        else high = middle;
    }
    return low;
}

// Whether each row has seen one micro-step more than the row before it, and the first one at most one.
template <int ROWS, class Seen> INLINE constexpr bool even(Seen seen) {
    bool all = seen(0) <= 1;
    for (int i = 1; i < ROWS; i++) all = all && seen(i) == seen(i - 1) + 1;
    return all;
}

// y = a y + b one element after the other, from y = 0, for N elements that a warp holds: lane l those from l * EACH on.
// The composition of all elements before each is left in a and b, so that y before it is b.
template <int EACH> INLINE void compose(float (&a)[EACH], float (&b)[EACH]) {
    const int lane = threadIdx.x % 32;
    float all_a = 1.f, all_b = 0.f;
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        const float own_a = a[e], own_b = b[e];
        a[e] = all_a;
        b[e] = all_b;
        all_b = own_a * all_b + own_b;
        all_a = own_a * all_a;
    }
    #pragma unroll
    for (int far = 1; far < 32; far *= 2) {
        const float before_a = of_lane(all_a, lane - far), before_b = of_lane(all_b, lane - far);
        if (lane >= far) {
            all_b = all_a * before_b + all_b;
            all_a = all_a * before_a;
        }
    }
    const float before_a = of_lane(all_a, lane - 1), before_b = of_lane(all_b, lane - 1);
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        if (lane > 0) {
            b[e] = a[e] * before_b + b[e];
            a[e] = a[e] * before_a;
        }
    }
}

// The product of all elements before each, as compose has them.
template <int EACH> INLINE void products(float (&a)[EACH]) {
    const int lane = threadIdx.x % 32;
    float all = 1.f;
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        const float own = a[e];
        a[e] = all;
        all = own * all;
    }
    #pragma unroll
    for (int far = 1; far < 32; far *= 2) {
        const float before = of_lane(all, lane - far);
        if (lane >= far) all = all * before;
    }
    const float before = of_lane(all, lane - 1);
    #pragma unroll
    for (int e = 0; e < EACH; e++) a[e] = lane > 0 ? a[e] * before : a[e];
}

// Of numbers that a warp holds, EACH in a lane, the n-th; n may differ from lane to lane.
template <int EACH> INLINE float pick(const float (&x)[EACH], int n) {
    float found = 0.f;
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        const float y = of_lane(x[e], n / EACH);
        if (n % EACH == e) found = y;
    }
    return found;
}

// Up to so many channels, a warp goes through each together; more of them have a thread each.
#define FEW 4

// Calls f(l, decay, other) for the micro-steps 0, 1, ... of a channel, or from the last one down, with b of a row that lies
// so far behind, or of the last one. Several are read before f is called, which may write where it has read.
#define AT_ONCE 8
template <int M, int D, bool DOWN, int ROWS, class F>
INLINE void each_step(const float* a, const float* b, int behind, int d, F f) {
    #pragma unroll 1
    for (int first = 0; first < M; first += AT_ONCE) {
        float decay[AT_ONCE], other[AT_ONCE];
        #pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            const int at = min(first + n, M - 1), l = DOWN ? M - 1 - at : at;
            decay[n] = a[l * D + d];
            other[n] = b[min(l + behind, ROWS - 1) * D + d];
        }
        #pragma unroll
        for (int n = 0; n < AT_ONCE; n++) {
            const int l = DOWN ? M - 1 - first - n : first + n;
            if (M % AT_ONCE == 0 || first + n < M) f(l, decay[n], other[n]);
        }
    }
}

template <int ROWS, int M, int D, class Seen>
INLINE void cumulative_product(float* to, const float* a, Seen seen) {
    if (D > FEW) {
        #pragma unroll 1
        for (int d = threadIdx.x; d < D; d += THREADS) {
            float p = 1.f;
            if constexpr (even<ROWS>(seen)) {
                if (seen(0) == 0) to[d] = p;
                each_step<M, D, false, M>(a, a, 0, d, [&](int l, float decay, float) {
                    p *= decay;
                    const int i = l + 1 - seen(0);
                    if (i < ROWS) to[i * D + d] = p;
                });
                continue;
            }
            if constexpr (ROWS == 1) {
                each_step<M, D, false, M>(a, a, 0, d, [&](int l, float decay, float) { p *= l < seen(0) ? decay : 1.f; });
                to[d] = p;
                continue;
            }
            int l = 0;
            #pragma unroll 1
            for (int i = 0; i < ROWS; i++) {
                #pragma unroll 1
                for (; l < seen(i); l++) p = p * a[l * D + d];
                to[i * D + d] = p;
            }
        }
        return;
    }
    const int EACH = M / 32 + 1, lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int d = threadIdx.x / 32; d < D; d += WARPS) {
        float p[EACH];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int l = lane * EACH + e;
            p[e] = l < M ? a[l * D + d] : 1.f;
        }
        products(p);
        #pragma unroll 1
        for (int first = 0; first < ROWS; first += 32) {
            const int i = first + lane;
            const float product = pick(p, seen(min(i, ROWS - 1)));
            if (i < ROWS) to[i * D + d] = product;
        }
    }
}

template <int M, int D> INLINE void reverse_cumulative_product(float* to, const float* a) {
    if (D > FEW) {
        #pragma unroll 1
        for (int d = threadIdx.x; d < D; d += THREADS) {
            float p = 1.f;
            each_step<M, D, true, M>(a, a, 0, d, [&](int l, float decay, float) {
                to[l * D + d] = p;
                p *= decay;
            });
        }
        return;
    }
    const int EACH = (M + 31) / 32, lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int d = threadIdx.x / 32; d < D; d += WARPS) {
        float p[EACH];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int l = M - 1 - (lane * EACH + e);
            p[e] = l >= 0 ? a[l * D + d] : 1.f;
        }
        products(p);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int l = M - 1 - (lane * EACH + e);
            if (l >= 0) to[l * D + d] = p[e];
        }
    }
}

template <int ROWS, int M, int D, class Seen>
INLINE void cumulative_product_grad(float* to, const float* a, const float* dy, Seen seen) {
    if (D > FEW) {
        #pragma unroll 1
        for (int d = threadIdx.x; d < D; d += THREADS) {
            // What flows into the product of the first l + 1 decays, without the l-th.
            float r = 0.f;
            if constexpr (even<ROWS>(seen) || ROWS == 1) {
                const int behind = ROWS == 1 ? 0 : 1 - seen(0);
                each_step<M, D, true, ROWS>(a, dy, behind, d, [&](int l, float decay, float said) {
                    // What the row says that has seen this micro-step last.
                    const int i = ROWS == 1 ? 0 : l + behind;
                    r += i < ROWS && seen(i) == l + 1 ? said : 0.f;
                    to[l * D + d] = r;
                    r *= decay;
                });
            } else {
                int i = ROWS - 1;
                #pragma unroll 1
                for (int l = M - 1; l >= 0; l--) {
                    if (l + 1 < M) r *= a[(l + 1) * D + d];
                    #pragma unroll 1
                    for (; i >= 0 && seen(i) > l; i--) r += dy[i * D + d];
                    to[l * D + d] = r;
                }
            }
            float p = 1.f;
            each_step<M, D, false, M>(a, to, 0, d, [&](int l, float decay, float flow) {
                to[l * D + d] = flow * p;
                p *= decay;
            });
        }
        return;
    }
    const int EACH = (M + 31) / 32, lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int d = threadIdx.x / 32; d < D; d += WARPS) {
        // From the last micro-step to the first: r = a[l + 1] r + what the rows say that have seen l and no more.
        float p[EACH], own_a[EACH], own_b[EACH], before_a[EACH], before_b[EACH];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int forward = lane * EACH + e, l = M - 1 - forward;
            p[e] = forward < M ? a[forward * D + d] : 1.f;
            own_a[e] = l >= 0 && l + 1 < M ? a[(l + 1) * D + d] : 1.f;
            own_b[e] = 0.f;
            if (l >= 0) {
                #pragma unroll 1
                for (int i = rows_up_to<ROWS>(l, seen); i < ROWS && (seen(i) == l + 1 || l + 1 == M); i++) {
                    own_b[e] += dy[i * D + d];
                }
            }
            before_a[e] = own_a[e];
            before_b[e] = own_b[e];
        }
        products(p);
        compose(before_a, before_b);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int l = M - 1 - (lane * EACH + e);
            const float before = pick(p, max(l, 0));
            if (l >= 0) to[l * D + d] = before * (own_a[e] * before_b[e] + own_b[e]);
        }
    }
}

template <int M, int D> INLINE void reverse_cumulative_product_grad(float* to, const float* a, const float* dy) {
    if (D > FEW) {
        #pragma unroll 1
        for (int d = threadIdx.x; d < D; d += THREADS) {
            float q = 0.f;
            each_step<M, D, false, M>(a, dy, 0, d, [&](int l, float decay, float said) {
                to[l * D + d] = q;
                q = q * decay + said;
            });
            float p = 1.f;
            each_step<M, D, true, M>(a, to, 0, d, [&](int l, float decay, float flow) {
                to[l * D + d] = flow * p;
                p *= decay;
            });
        }
        return;
    }
    const int EACH = (M + 31) / 32, lane = threadIdx.x % 32;
    #pragma unroll 1
    for (int d = threadIdx.x / 32; d < D; d += WARPS) {
        float p[EACH], q_a[EACH], q[EACH];
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int forward = lane * EACH + e, l = M - 1 - forward;
            p[e] = l >= 0 ? a[l * D + d] : 1.f;
            q_a[e] = forward < M ? a[forward * D + d] : 1.f;
            q[e] = forward < M ? dy[forward * D + d] : 0.f;
        }
        products(p);
        compose(q_a, q);
        #pragma unroll
        for (int e = 0; e < EACH; e++) {
            const int l = lane * EACH + e;
            const float behind = pick(p, max(M - 1 - l, 0));
            if (l < M) to[l * D + d] = q[e] * behind;
        }
    }
}
