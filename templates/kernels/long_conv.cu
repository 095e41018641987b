// Causal convolutions as long as the sequence, by the sum itself: y[t] = Σ h[t - s] x[s] over s from the
// start of the row's sequence to t; tap j of the filter stands in the row of token j.
extern "C" __global__ void long_conv(float* y, const float* x, const float* h, const int* starts, int count,
                                     int width) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        const int t = e / width, c = e % width, start = starts[t];
        float sum = 0.f;
        for (int s = start; s <= t; s++) {
            sum += h[(long long)(start + t - s) * width + c] * x[(long long)s * width + c];
        }
        y[e] = sum;
    }
}
