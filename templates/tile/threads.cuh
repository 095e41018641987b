// Copies to shared memory, and sums over threads.

INLINE u32 shared_address(const void* p) {
    unsigned long long address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(p));
    return (u32)address;
}

template <int BYTES> INLINE void copy_async(u32 to, const void* from) {
    if (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(to), "l"(from) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" :: "r"(to), "l"(from), "n"(BYTES) : "memory");
    }
}

template <int BYTES> INLINE void copy_async(void* to, const void* from) { copy_async<BYTES>(shared_address(to), from); }

template <int BYTES> INLINE void copy(void* to, const void* from) {
    #pragma unroll
    for (int i = 0; i < BYTES / 4; i++) ((u32*)to)[i] = ((const u32*)from)[i];
}

// The same, or zeros where there is nothing to copy, of which nothing is read.
template <int BYTES> INLINE void copy_async_if(u32 to, const void* from, bool when) {
    const int bytes = when ? BYTES : 0;
    if (BYTES == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" :: "r"(to), "l"(from), "n"(BYTES), "r"(bytes) : "memory");
    }
}

template <int BYTES> INLINE void copy_async_if(void* to, const void* from, bool when) {
    copy_async_if<BYTES>(shared_address(to), from, when);
}

template <int BYTES> INLINE void copy_if(void* to, const void* from, bool when) {
    #pragma unroll
    for (int i = 0; i < BYTES / 4; i++) ((u32*)to)[i] = when ? ((const u32*)from)[i] : 0;
}

INLINE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING> INLINE void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
}

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

INLINE bool any_lane(bool x) { return __any_sync(0xffffffffu, x); }

INLINE float warp_sum(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x += other_lane(x, mask);
    return x;
}

INLINE float warp_largest(float x) {
    for (int mask = 16; mask > 0; mask /= 2) x = larger(x, other_lane(x, mask));
    return x;
}
