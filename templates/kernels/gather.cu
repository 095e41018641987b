// Rows of a table: to[r] = table[which[r]]; the embedding of tokens, and the rows that a loss asks for.
extern "C" __global__ void gather(TO* to, const FROM* table, const int* which, int rows, int width) {
    for (int r = blockIdx.x; r < rows; r += gridDim.x) {
        const FROM* from = table + (long long)which[r] * width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) put(to[(long long)r * width + i], get(from[i]));
    }
}
