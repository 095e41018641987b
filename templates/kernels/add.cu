// to = a + b, number by number; `to` may be one of them.
extern "C" __global__ void add(TO* to, const FROM* a, const FROM* b, int count) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        put(to[e], get(a[e]) + get(b[e]));
    }
}
