// Rows into a table: to[which[r]] = from[r]; no row is named twice.
extern "C" __global__ void scatter(TO* to, const FROM* from, const int* which, int rows, int width) {
    for (int r = blockIdx.x; r < rows; r += gridDim.x) {
        TO* row = to + (long long)which[r] * width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) put(row[i], get(from[(long long)r * width + i]));
    }
}
