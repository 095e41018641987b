// Who sits in the slots of each row: the experts whose weight is not 0, in their order, at most `slots`,
// and of more the largest; -1 where nobody sits. A thread for each row.
extern "C" __global__ void route(float* ids, float* kept, const float* weights, int rows, int experts,
                                 int slots) {
    for (int r = blockIdx.x * blockDim.x + threadIdx.x; r < rows; r += gridDim.x * blockDim.x) {
        const float* row = weights + (long long)r * experts;
        int filled = 0;
        for (int e = 0; e < experts; e++) {
            const float mine = row[e] < 0.f ? -row[e] : row[e];
            int before = 0;
            for (int o = 0; o < experts; o++) {
                const float other = row[o] < 0.f ? -row[o] : row[o];
                if (other > mine || (other == mine && o < e)) before++;
            }
            if (row[e] != 0.f && before < slots) {
                ids[(long long)r * slots + filled] = (float)e;
                kept[(long long)r * slots + filled] = row[e];
                filled++;
            }
        }
        for (; filled < slots; filled++) {
            ids[(long long)r * slots + filled] = -1.f;
            kept[(long long)r * slots + filled] = 0.f;
        }
    }
}
