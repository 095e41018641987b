// Sums of squares: of each piece of 1024 numbers, one block for each, or, where `pieces` is not 0, of
// those sums by a single block; trees of fixed shape.
extern "C" __global__ void squares(float* to, const float* from, int pieces) {
    extern __shared__ float shared[];
    const int me = threadIdx.x;
    float sum = 0.f;
    if (pieces > 0) {
        for (int i = me; i < pieces; i += 256) sum += from[i];
    } else {
        const float* piece = from + blockIdx.x * 1024ll;
        for (int i = me; i < 1024; i += 256) sum += piece[i] * piece[i];
    }
    shared[me] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (me < half) shared[me] += shared[me + half];
        __syncthreads();
    }
    if (me == 0) to[blockIdx.x] = shared[0];
}
