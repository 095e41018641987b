// Rows of a table: to[r] = table[which[r]]; the embedding of tokens, and the rows that a loss asks for.
extern "C" __global__ void gather(float* to, const float* table, const int* which, int rows, int width) {
    for (int r = blockIdx.x; r < rows; r += gridDim.x) {
        const float* from = table + (long long)which[r] * width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) to[(long long)r * width + i] = from[i];
    }
}
