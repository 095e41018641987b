// Cross-entropy of rows of logits, a block of 256 threads for each: said[row] = (loss, best guess, ln Z).
// Where there is room for factors, the logits become the gradient of `scale` times the sum of the losses
// and of `z` times ln²Z, but for the factor of each row. Where `cap` is not 0, logits are `cap` times tanh(x / cap), and the
// gradient is by x.
__device__ __forceinline__ float exponential(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
    return y;
}

__device__ __forceinline__ float logarithm(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y * 0.693147181f;
}

// See `op_tanh` of the tile library: a polynomial near 0, where the quotient would lose digits.
__device__ __forceinline__ float hyperbolic(float x) {
    const float a = x < 0.f ? -x : x, s = x * x;
    float p = -5.7049887e-3f;
    p = p * s + 2.063909e-2f;
    p = p * s - 5.3739716e-2f;
    p = p * s + 1.3331442e-1f;
    p = p * s - 0.3333328f;
    const float far = 1.f - 2.f / (exponential(2.f * a) + 1.f);
    return a < 0.625f ? p * s * x + x : x < 0.f ? -far : far;
}

extern "C" __global__ void cross_entropy(float* logits, const int* targets, float* said, float* factors, int vocab,
                                         float scale, float z, float cap) {
    extern __shared__ float shared[];
    float* row = logits + (long long)blockIdx.x * vocab;
    const int me = threadIdx.x, target = targets[blockIdx.x];
    // The largest logit, and of equal ones the first.
    float top = -3.0e38f;
    int guess = vocab;
    for (int i = me; i < vocab; i += 256) {
        float x = row[i];
        if (cap != 0.f) row[i] = x = cap * hyperbolic(x / cap);
        if (x > top) {
            top = x;
            guess = i;
        }
    }
    shared[me] = top;
    shared[256 + me] = (float)guess;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (me < half) {
            const float other = shared[me + half], index = shared[256 + me + half];
            if (other > shared[me] || (other == shared[me] && index < shared[256 + me])) {
                shared[me] = other;
                shared[256 + me] = index;
            }
        }
        __syncthreads();
    }
    top = shared[0];
    const float best = shared[256], given = row[target];
    float sum = 0.f;
    for (int i = me; i < vocab; i += 256) sum += exponential(row[i] - top);
    __syncthreads();
    shared[me] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (me < half) shared[me] += shared[me + half];
        __syncthreads();
    }
    sum = shared[0];
    const float log_z = logarithm(sum) + top;
    if (me == 0) {
        said[3 * blockIdx.x] = log_z - given;
        said[3 * blockIdx.x + 1] = best;
        said[3 * blockIdx.x + 2] = log_z;
    }
    if (!factors) return;
    if (me == 0) factors[blockIdx.x] = scale / sum;
    const float steeper = 1.f + 2.f * z * log_z;
    for (int i = me; i < vocab; i += 256) {
        const float y = row[i], share = cap != 0.f ? y / cap : 0.f;
        row[i] = (exponential(y - top) * steeper - (i == target ? sum : 0.f)) * (1.f - share * share);
    }
}
