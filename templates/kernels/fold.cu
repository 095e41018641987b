// Sums of terms: to[o, i] = Σ_n from[o, n, i], in the order of n; added to what is there if asked.
extern "C" __global__ void fold(TO* to, const FROM* from, int outer, int terms, int inner, int add) {
    const long long count = (long long)outer * inner;
    for (long long e = blockIdx.x * (long long)blockDim.x + threadIdx.x; e < count;
         e += (long long)gridDim.x * blockDim.x) {
        const FROM* at = from + e / inner * terms * inner + e % inner;
        float sum = add ? get(to[e]) : 0.f;
        for (int n = 0; n < terms; n++) sum += get(at[(long long)n * inner]);
        put(to[e], sum);
    }
}
