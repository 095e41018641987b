// Numbers as they are held: TO is what a kernel writes, FROM what it reads.

typedef unsigned short bf16;

__device__ __forceinline__ float get(float x) { return x; }
__device__ __forceinline__ float get(bf16 x) { return __uint_as_float((unsigned)x << 16); }
__device__ __forceinline__ void put(float& to, float x) { to = x; }
__device__ __forceinline__ void put(bf16& to, float x) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to) : "f"(x));
}
