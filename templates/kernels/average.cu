// The mean over rows, a thread for each column.
extern "C" __global__ void average(float* to, const float* from, int rows, int width) {
    for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < width; c += gridDim.x * blockDim.x) {
        float sum = 0.f;
        for (int r = 0; r < rows; r++) sum += from[(long long)r * width + c];
        to[c] = sum / (float)rows;
    }
}
