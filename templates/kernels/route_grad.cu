// The gradient of the weights of experts: what flows into the slots in which each sits.
extern "C" __global__ void route_grad(float* to, const float* ids, const float* d, int count, int experts,
                                      int slots) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        const long long row = (long long)(e / experts) * slots;
        float sum = 0.f;
        for (int s = 0; s < slots; s++) {
            if (ids[row + s] == (float)(e % experts)) sum += d[row + s];
        }
        to[e] = sum;
    }
}
