// Numbers as another type holds them, rounded to the nearest, ties to even.
extern "C" __global__ void convert(TO* to, const FROM* from, int count) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        put(to[e], get(from[e]));
    }
}
