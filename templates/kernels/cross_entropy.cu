// Cross-entropy of rows of logits, a block of 256 threads for each: said[row] = (loss, best guess, ln Z).
// Where there is room for factors, the logits become the gradient of `scale` times the sum of the losses
// and of `z` times ln²Z, but for the factor of each row.
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

extern "C" __global__ void cross_entropy(float* logits, const int* targets, float* said, float* factors, int vocab,
                                         float scale, float z) {
    extern __shared__ float shared[];
    float* row = logits + (long long)blockIdx.x * vocab;
    const int me = threadIdx.x, target = targets[blockIdx.x];
    // The largest logit, and of equal ones the first.
    float top = -3.0e38f;
    int guess = vocab;
    for (int i = me; i < vocab; i += 256) {
        const float x = row[i];
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
        row[i] = exponential(row[i] - top) * steeper - (i == target ? sum : 0.f);
    }
}
