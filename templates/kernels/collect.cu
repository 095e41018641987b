// Adds rows to a table: to[which[n]] += Σ from[order[j]] for j in starts[n] .. starts[n + 1], in this
// order; the gradient of an embedding. No row of the table is named twice, but by
// what has no rows to add.
extern "C" __global__ void collect(TO* to, const FROM* from, const int* which, const int* starts,
                                   const int* order, int count, int width) {
    for (int n = blockIdx.x; n < count; n += gridDim.x) {
        if (starts[n] == starts[n + 1]) continue;
        TO* row = to + (long long)which[n] * width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float sum = get(row[i]);
            for (int j = starts[n]; j < starts[n + 1]; j++) sum += get(from[(long long)order[j] * width + i]);
            put(row[i], sum);
        }
    }
}
