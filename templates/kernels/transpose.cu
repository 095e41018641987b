// to[c, r] = from[r, c].
extern "C" __global__ void transpose(float* to, const float* from, int rows, int columns) {
    const int count = rows * columns;
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        to[e] = from[e % rows * columns + e / rows];
    }
}
