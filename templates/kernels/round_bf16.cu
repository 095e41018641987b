// Numbers as bf16 holds them: 8 bits of the mantissa, ties to even.
extern "C" __global__ void round_bf16(float* to, const float* from, int count) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        const unsigned bits = __float_as_uint(from[e]);
        to[e] = __uint_as_float((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
    }
}
