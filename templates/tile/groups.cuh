// Numbers that lie side by side, read and written at once.

template <int N> struct Group { float x[N]; };

// The two numbers of bf16 in 32 bits, the first one in the lower half.
INLINE float lower(u32 x) { return bits(x << 16); }
INLINE float upper(u32 x) { return bits(x & 0xffff0000u); }

INLINE u32 narrow(float low, float high) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

template <int N> INLINE Group<N> get(const float* from) {
    Group<N> to;
    if constexpr (N == 4) {
        const float4 y = *(const float4*)from;
        to.x[0] = y.x, to.x[1] = y.y, to.x[2] = y.z, to.x[3] = y.w;
    } else if constexpr (N == 2) {
        const float2 y = *(const float2*)from;
        to.x[0] = y.x, to.x[1] = y.y;
    } else {
        to.x[0] = *from;
    }
    return to;
}

template <int N> INLINE Group<N> halves(const u32 (&y)[N / 2]) {
    Group<N> to;
    #pragma unroll
    for (int i = 0; i < N / 2; i++) to.x[2 * i] = lower(y[i]), to.x[2 * i + 1] = upper(y[i]);
    return to;
}

template <int N> INLINE Group<N> get(const bf16* from) {
    if constexpr (N == 8) {
        const uint4 y = *(const uint4*)from;
        return halves<8>({y.x, y.y, y.z, y.w});
    } else if constexpr (N == 4) {
        const uint2 y = *(const uint2*)from;
        return halves<4>({y.x, y.y});
    } else if constexpr (N == 2) {
        return halves<2>({*(const u32*)from});
    } else {
        return {widen(*from)};
    }
}

// Reads of what nobody writes while the kernel runs, and of nothing where they must not be made: zeros then. The
// instruction itself is under the condition, so that several such reads are in flight.
INLINE u32 word_if(const void* from, bool when) {
    u32 y = 0;
    asm("{\n\t.reg .pred q<1>;\n\tsetp.ne.s32 q0, %2, 0;\n\t@q0 ld.global.nc.u32 %0, [%1];\n\t}"
        : "+r"(y) : "l"(from), "r"((int)when));
    return y;
}

INLINE u32 half_if(const void* from, bool when) {
    unsigned short y = 0;
    asm("{\n\t.reg .pred q<1>;\n\tsetp.ne.s32 q0, %2, 0;\n\t@q0 ld.global.nc.u16 %0, [%1];\n\t}"
        : "+h"(y) : "l"(from), "r"((int)when));
    return y;
}

INLINE uint2 words_if(const void* from, bool when) {
    uint2 y = {0, 0};
    asm("{\n\t.reg .pred q<1>;\n\tsetp.ne.s32 q0, %3, 0;\n\t@q0 ld.global.nc.v2.u32 {%0, %1}, [%2];\n\t}"
        : "+r"(y.x), "+r"(y.y) : "l"(from), "r"((int)when));
    return y;
}

INLINE uint4 four_words_if(const void* from, bool when) {
    uint4 y = {0, 0, 0, 0};
    asm("{\n\t.reg .pred q<1>;\n\tsetp.ne.s32 q0, %5, 0;\n\t@q0 ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];\n\t}"
        : "+r"(y.x), "+r"(y.y), "+r"(y.z), "+r"(y.w) : "l"(from), "r"((int)when));
    return y;
}

template <int N> INLINE Group<N> get_if(const float* from, bool when) {
    if constexpr (N == 4) {
        const uint4 y = four_words_if(from, when);
        return {bits(y.x), bits(y.y), bits(y.z), bits(y.w)};
    } else if constexpr (N == 2) {
        const uint2 y = words_if(from, when);
        return {bits(y.x), bits(y.y)};
    } else {
        return {bits(word_if(from, when))};
    }
}

template <int N> INLINE Group<N> get_if(const bf16* from, bool when) {
    if constexpr (N == 8) {
        const uint4 y = four_words_if(from, when);
        return halves<8>({y.x, y.y, y.z, y.w});
    } else if constexpr (N == 4) {
        const uint2 y = words_if(from, when);
        return halves<4>({y.x, y.y});
    } else if constexpr (N == 2) {
        return halves<2>({word_if(from, when)});
    } else {
        return {lower(half_if(from, when))};
    }
}

// Writes of 4, 8 or 16 bytes at once to the device's memory: NVRTC takes them apart where it does not see that a place is
// aligned, which it sees of shared memory alone.
INLINE void put_words(void* to, u32 a) { *(u32*)to = a; }
INLINE void put_words(void* to, u32 a, u32 b) {
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" :: "l"(to), "r"(a), "r"(b) : "memory");
}
INLINE void put_words(void* to, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" :: "l"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
INLINE void put_words(void* to, uint2 y) { put_words(to, y.x, y.y); }
INLINE void put_words(void* to, uint4 y) { put_words(to, y.x, y.y, y.z, y.w); }
INLINE u32 word(float x) { return (u32)__float_as_int(x); }

template <int N> INLINE void put_out(float* to, const Group<N>& y) {
    if constexpr (N == 4) put_words(to, word(y.x[0]), word(y.x[1]), word(y.x[2]), word(y.x[3]));
    else if constexpr (N == 2) put_words(to, word(y.x[0]), word(y.x[1]));
    else *to = y.x[0];
}

template <int N> INLINE void put_out(bf16* to, const Group<N>& y) {
    if constexpr (N == 8) {
        put_words(to, narrow(y.x[0], y.x[1]), narrow(y.x[2], y.x[3]), narrow(y.x[4], y.x[5]), narrow(y.x[6], y.x[7]));
    } else if constexpr (N == 4) {
        put_words(to, narrow(y.x[0], y.x[1]), narrow(y.x[2], y.x[3]));
    } else if constexpr (N == 2) {
        put_words(to, narrow(y.x[0], y.x[1]));
    } else {
        *to = narrow(y.x[0]);
    }
}

template <int N> INLINE void put(float* to, const Group<N>& y) {
    if constexpr (N == 4) *(float4*)to = {y.x[0], y.x[1], y.x[2], y.x[3]};
    else if constexpr (N == 2) *(float2*)to = {y.x[0], y.x[1]};
    else *to = y.x[0];
}

template <int N> INLINE void put(bf16* to, const Group<N>& y) {
    if constexpr (N == 8) {
        *(uint4*)to = {narrow(y.x[0], y.x[1]), narrow(y.x[2], y.x[3]), narrow(y.x[4], y.x[5]), narrow(y.x[6], y.x[7])};
    } else if constexpr (N == 4) {
        *(uint2*)to = {narrow(y.x[0], y.x[1]), narrow(y.x[2], y.x[3])};
    } else if constexpr (N == 2) {
        *(u32*)to = narrow(y.x[0], y.x[1]);
    } else {
        *to = narrow(y.x[0]);
    }
}

// The same added to what is there.
template <int N, class T> INLINE void put_sum(T* to, const Group<N>& y) {
    Group<N> sum = get<N>(to);
    #pragma unroll
    for (int i = 0; i < N; i++) sum.x[i] += y.x[i];
    put<N>(to, sum);
}

template <int N, class T> INLINE void put_out_sum(T* to, const Group<N>& y) {
    Group<N> sum = get<N>(to);
    #pragma unroll
    for (int i = 0; i < N; i++) sum.x[i] += y.x[i];
    put_out<N>(to, sum);
}

// What rounding to bf16 leaves.
template <int N> INLINE void take_off_rounded(Group<N>& y) {
    #pragma unroll
    for (int l = 0; l < N; l++) y.x[l] -= widen(narrow(y.x[l]));
}
