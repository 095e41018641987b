// The tile library: what all threads of a block do together with tiles in shared memory.
//
// No CUDA header is included, so that NVRTC alone compiles a kernel. `THREADS` is defined by the
// kernel. Functions end without a barrier; the plan says where threads wait.

typedef unsigned short bf16;
typedef unsigned int u32;

#define INLINE __device__ __forceinline__
#define WARPS (THREADS / 32)

INLINE void wait_for_block() { asm volatile("bar.sync 0;" ::: "memory"); }

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
