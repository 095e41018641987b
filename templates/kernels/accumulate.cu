// to += from, number by number.
extern "C" __global__ void accumulate(TO* to, const FROM* from, int count) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        put(to[e], get(to[e]) + get(from[e]));
    }
}
