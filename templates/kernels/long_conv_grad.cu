// A gradient of a long convolution: to[s] = Σ with[t - s] dy[t] over t from s to the end of the sequence.
extern "C" __global__ void long_conv_grad(float* to, const float* with, const float* dy, const int* starts,
                                          const int* ends, int count, int width) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        const int s = e / width, c = e % width, start = starts[s], end = ends[s];
        float sum = 0.f;
        for (int t = s; t < end; t++) {
            sum += with[(long long)(start + t - s) * width + c] * dy[(long long)t * width + c];
        }
        to[e] = sum;
    }
}
