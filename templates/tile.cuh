// The tile library: what all threads of a block do together with tiles in shared memory.
//
// No CUDA header is included, so that NVRTC alone compiles a kernel. `THREADS` is defined by the
// kernel. Functions end without a barrier; the plan says where threads wait.

typedef unsigned short bf16;
typedef unsigned int u32;

#define INLINE __device__ __forceinline__
#define WARPS (THREADS / 32)

INLINE void wait_for_block() { asm volatile("bar.sync 0;" ::: "memory"); }

// ---- numbers ---------------------------------------------------------------------------------

INLINE float bits(u32 x) { return __int_as_float((int)x); }

INLINE bf16 narrow(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

INLINE float widen(bf16 x) { return bits((u32)x << 16); }

INLINE float exp2_(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

INLINE float log2_(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

INLINE float divide(float a, float b) {
    float y;
    asm("div.full.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

INLINE float root(float x) {
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The largest number of none: finite, so that what is less than nothing stays nothing.
#define LOWEST -3.0e38f
INLINE float larger(float a, float b) { return a >= b ? a : b; }
INLINE float smaller(float a, float b) { return a <= b ? a : b; }
INLINE float absolute(float x) { return x < 0.f ? -x : x; }

// A product of decays below 2^-80 has faded; see num.rs.
INLINE float fade(float x) { return absolute(x) < 8.271806e-25f ? 0.f : x; }

INLINE float op_neg(float x) { return -x; }
INLINE float op_exp(float x) { return exp2_(x * 1.44269504f); }
INLINE float op_log(float x) { return log2_(x) * 0.693147181f; }
// What rounding takes from 1 + x is put back to first order.
INLINE float log_1p(float x) {
    float u = 1.f + x;
    return op_log(u) + divide(x - (u - 1.f), u);
}
INLINE float op_sqrt(float x) { return root(x); }
INLINE float op_sigmoid(float x) { return divide(1.f, 1.f + op_exp(-x)); }
INLINE float op_softplus(float x) { return larger(x, 0.f) + log_1p(op_exp(-absolute(x))); }
INLINE float op_logsigmoid(float x) { return -op_softplus(-x); }
INLINE float op_silu(float x) { return x * op_sigmoid(x); }
INLINE float op_tanh(float x) {
    float a = absolute(x);
    float s = x * x;
    float p = -5.7049887e-3f;
    p = p * s + 2.063909e-2f;
    p = p * s - 5.3739716e-2f;
    p = p * s + 1.3331442e-1f;
    p = p * s - 0.3333328f;
    float near = p * s * x + x;
    float far = 1.f - divide(2.f, op_exp(2.f * a) + 1.f);
    return a < 0.625f ? near : x < 0.f ? -far : far;
}
INLINE float op_gelu(float x) {
    return 0.5f * x * (1.f + op_tanh(0.79788456f * (x + 0.044715f * x * x * x)));
}
INLINE float op_expm1(float x) { return op_tanh(0.5f * x) * (op_exp(x) + 1.f); }
INLINE float op_elu(float x) { return x > 0.f ? x : op_exp(x) - 1.f; }
INLINE float op_relu(float x) { return x != x ? x : larger(x, 0.f); }
INLINE float op_abs(float x) { return absolute(x); }
INLINE float op_sign(float x) { return x > 0.f ? 1.f : x < 0.f ? -1.f : 0.f; }
INLINE float op_step(float x) { return x > 0.f ? 1.f : 0.f; }
// The argument less whole turns, in three parts, so that large positions keep their digits.
INLINE float turn(float x) {
    float n;
    asm("cvt.rni.f32.f32 %0, %1;" : "=f"(n) : "f"(x * 0.15915494f));
    float r = x - n * 6.28125f;
    r = r - n * 1.93500518e-3f;
    return r - n * 3.01991599e-7f;
}
INLINE float op_sin(float x) {
    float y;
    asm("sin.approx.f32 %0, %1;" : "=f"(y) : "f"(turn(x)));
    return y;
}
INLINE float op_cos(float x) {
    float y;
    asm("cos.approx.f32 %0, %1;" : "=f"(y) : "f"(turn(x)));
    return y;
}
INLINE float op_pow(float x, float c) { return exp2_(c * log2_(x)); }
INLINE float op_div(float a, float b) { return divide(a, b); }
// A comparison with what is no number is false, which gives the second one.
INLINE float op_max(float a, float b) { return a != a ? a : larger(a, b); }
INLINE float op_min(float a, float b) { return a != a ? a : smaller(a, b); }
INLINE float op_logaddexp(float a, float b) {
    float top = larger(a, b);
    float rest = log_1p(op_exp(-absolute(a - b)));
    return top == -bits(0x7f800000u) ? top : top + rest;
}
INLINE float op_ge(float a, float b) { return a >= b ? 1.f : 0.f; }

// Whole numbers of the language: division rounds down, the rest is never negative.
INLINE int floor_div(int a, int b) {
    if (b == 0) return 0;
    int q = a / b;
    return a % b < 0 ? (b > 0 ? q - 1 : q + 1) : q;
}
INLINE int floor_mod(int a, int b) { return b == 0 ? 0 : a - floor_div(a, b) * b; }
INLINE int digits(int a) { return a > 0 ? 32 - __clz(a) : 0; }

// ---- copies ----------------------------------------------------------------------------------

INLINE u32 shared_address(const void* p) {
    unsigned long long address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(p));
    return (u32)address;
}

template <int BYTES> INLINE void copy_async(void* to, const void* from) {
    if (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(shared_address(to)), "l"(from) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" :: "r"(shared_address(to)), "l"(from), "n"(BYTES) : "memory");
    }
}

template <int BYTES> INLINE void copy(void* to, const void* from) {
    #pragma unroll
    for (int i = 0; i < BYTES / 4; i++) ((u32*)to)[i] = ((const u32*)from)[i];
}

INLINE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING> INLINE void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

// ---- sums over threads -----------------------------------------------------------------------

INLINE float other_lane(float x, int mask) {
    float y;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(y) : "f"(x), "r"(mask));
    return y;
}

// What a lane has: this one's x where the lane's number is out of range.
INLINE float of_lane(float x, int lane) {
    float y;
    asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=f"(y) : "f"(x), "r"(lane));
    return y;
}

INLINE float warp_sum(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x += other_lane(x, mask);
    return x;
}

INLINE float warp_largest(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x = larger(x, other_lane(x, mask));
    return x;
}

// ---- matrix products -------------------------------------------------------------------------

// Four 8x8 matrices of bf16; lane l gives the shared address of row l % 8 of matrix l / 8.
INLINE void load_matrices(u32 (&r)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

INLINE void load_transposed(u32 (&r)[4], u32 from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from) : "memory");
}

INLINE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Where an element lies whose rows are PITCH numbers long. Pieces of PER numbers are exchanged, S of them
// among each other, by the row's number; none if S is 0.
template <int PITCH, int S, int PER = 8> INLINE int swizzled(int row, int col) {
    if (S == 0) return row * PITCH + col;
    const int turn = row / (8 / (S ? S : 1)) % (S ? S : 1);
    return row * PITCH + ((col / PER) ^ turn) * PER + col % PER;
}

// Calls f(row, column, number) for every element of a warp's 16 rows and 8 N columns that this thread
// holds, and its number among them.
template <int N, class F> INLINE void each_place(int row0, int col0, F f) {
    const int lane = threadIdx.x % 32;
    #pragma unroll
    for (int n = 0; n < N; n++) {
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            f(row0 + lane / 4 + i / 2 * 8, col0 + n * 8 + lane % 4 * 2 + i % 2, n * 4 + i);
        }
    }
}

// Sums of one warp: 16 rows and 8 N columns of a product.
template <int N> struct Sums {
    float x[N][4];

    INLINE Sums() {
        #pragma unroll
        for (int n = 0; n < N; n++) {
            #pragma unroll
            for (int i = 0; i < 4; i++) x[n][i] = 0.f;
        }
    }

    // Adds a b over K terms. A holds its operand as [row][term], or as [term][row] if AT; B as
    // [term][column], or as [column][term] if BT. Rows lie AP and BP numbers apart, AS and BS pieces of
    // them exchanged.
    template <int K, bool AT, int AP, int AS, bool BT, int BP, int BS>
    INLINE void add(const bf16* a, const bf16* b, int row0, int col0) {
        const int lane = threadIdx.x % 32, matrix = lane / 8, r = lane % 8;
        // Bytes between what 16 terms read and what the next 16 do, and between columns and the next 16.
        const int next_a = AT ? 32 * AP : 32, next_b = BT ? 32 : 32 * BP, wide = BT ? 32 * BP : 32;
        const int at_a = AT ? (matrix / 2 * 8 + r) * AP + row0 + matrix % 2 * 8
                            : (row0 + matrix % 2 * 8 + r) * AP + matrix / 2 * 8;
        const int at_b = BT ? (col0 + matrix / 2 * 8 + r) * BP + matrix % 2 * 8
                            : (matrix % 2 * 8 + r) * BP + col0 + matrix / 2 * 8;
        const u32 base_a = shared_address(a), base_b = shared_address(b);
        u32 from_a = base_a + 2 * at_a, from_b = base_b + 2 * at_b;
        #pragma unroll 2
        for (int k = 0; k < K; k += 16) {
            u32 left[4];
            if (AS) {
                from_a = base_a + 2 * (AT ? swizzled<AP, AS>(k + matrix / 2 * 8 + r, row0 + matrix % 2 * 8)
                                          : swizzled<AP, AS>(row0 + matrix % 2 * 8 + r, k + matrix / 2 * 8));
            }
            if (AT) load_transposed(left, from_a);
            else load_matrices(left, from_a);
            #pragma unroll
            for (int n = 0; n < N; n += 2) {
                u32 right[4];
                u32 here = from_b + n / 2 * wide;
                if (BS) {
                    const int col = col0 + n * 8 + matrix / 2 * 8;
                    here = base_b + 2 * (BT ? swizzled<BP, BS>(col + r, k + matrix % 2 * 8)
                                            : swizzled<BP, BS>(k + matrix % 2 * 8 + r, col));
                }
                if (BT) load_matrices(right, here);
                else load_transposed(right, here);
                multiply(x[n], left, right[0], right[1]);
                multiply(x[n + 1], left, right[2], right[3]);
            }
            from_a += next_a;
            from_b += next_b;
        }
    }

    // Calls f(row, column, sum) for every sum that this thread holds.
    template <class F> INLINE void each(int row0, int col0, F f) {
        each_held(row0, col0, [&](int row, int col, float sum, int) { f(row, col, sum); });
    }

    // The same with the number of the sum.
    template <class F> INLINE void each_held(int row0, int col0, F f) {
        each_place<N>(row0, col0, [&](int row, int col, int held) {
            f(row, col, x[held / 4][held % 4], held);
        });
    }
};

// ---- along the chunk -------------------------------------------------------------------------
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
        all_a = fade(own_a * all_a);
    }
    #pragma unroll
    for (int far = 1; far < 32; far *= 2) {
        const float before_a = of_lane(all_a, lane - far), before_b = of_lane(all_b, lane - far);
        if (lane >= far) {
            all_b = all_a * before_b + all_b;
            all_a = fade(all_a * before_a);
        }
    }
    const float before_a = of_lane(all_a, lane - 1), before_b = of_lane(all_b, lane - 1);
    #pragma unroll
    for (int e = 0; e < EACH; e++) {
        if (lane > 0) {
            b[e] = a[e] * before_b + b[e];
            a[e] = fade(a[e] * before_a);
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
        all = fade(own * all);
    }
    #pragma unroll
    for (int far = 1; far < 32; far *= 2) {
        const float before = of_lane(all, lane - far);
        if (lane >= far) all = fade(all * before);
    }
    const float before = of_lane(all, lane - 1);
    #pragma unroll
    for (int e = 0; e < EACH; e++) a[e] = lane > 0 ? fade(a[e] * before) : a[e];
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

template <int ROWS, int M, int D, class Seen>
INLINE void cumulative_product(float* to, const float* a, Seen seen) {
    if (D > FEW) {
        #pragma unroll 1
        for (int d = threadIdx.x; d < D; d += THREADS) {
            float p = 1.f;
            int l = 0;
            #pragma unroll 1
            for (int i = 0; i < ROWS; i++) {
                #pragma unroll 1
                for (; l < seen(i); l++) p = fade(p * a[l * D + d]);
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
            #pragma unroll 1
            for (int l = M - 1; l >= 0; l--) {
                to[l * D + d] = p;
                p = fade(p * a[l * D + d]);
            }
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
            int i = ROWS - 1;
            #pragma unroll 1
            for (int l = M - 1; l >= 0; l--) {
                if (l + 1 < M) r *= a[(l + 1) * D + d];
                #pragma unroll 1
                for (; i >= 0 && seen(i) > l; i--) r += dy[i * D + d];
                to[l * D + d] = r;
            }
            float p = 1.f;
            #pragma unroll 1
            for (int l = 0; l < M; l++) {
                to[l * D + d] *= p;
                p = fade(p * a[l * D + d]);
            }
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
            #pragma unroll 1
            for (int l = 0; l < M; l++) {
                to[l * D + d] = q;
                q = q * a[l * D + d] + dy[l * D + d];
            }
            float p = 1.f;
            #pragma unroll 1
            for (int l = M - 1; l >= 0; l--) {
                to[l * D + d] *= p;
                p = fade(p * a[l * D + d]);
            }
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
                if (column<M, EACH>(e) < l) p[e] = fade(p[e] * next);
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
        all = fade(all * next);
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
                p[e] = fade(p[e] * own);
            }
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) to[l] = sum;
    }
}

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

// ---- scans -----------------------------------------------------------------------------------

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

// ---- solve -----------------------------------------------------------------------------------

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
