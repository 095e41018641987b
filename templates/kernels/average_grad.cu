// A share of what flows into a mean for every row.
extern "C" __global__ void average_grad(float* to, const float* from, int count, int width, float share) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        to[e] = share * from[e % width];
    }
}
