// Rows into a table: to[which[r]] = from[r]; no row is named twice.
extern "C" __global__ void scatter(float* to, const float* from, const int* which, int rows, int width) {
    for (int r = blockIdx.x; r < rows; r += gridDim.x) {
        float* row = to + (long long)which[r] * width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) row[i] = from[(long long)r * width + i];
    }
}
