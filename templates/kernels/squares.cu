// Sums of squares: of each 1024 numbers, or, with a single block, of all numbers as they stand; a
// tree of fixed shape.
extern "C" __global__ void squares(float* to, const float* from, int count, int whole) {
    extern __shared__ float shared[];
    const int me = threadIdx.x;
    const int first = whole ? 0 : blockIdx.x * 1024, last = whole ? count : min(first + 1024, count);
    float sum = 0.f;
    for (int i = first + me; i < last; i += 256) sum += whole ? from[i] : from[i] * from[i];
    shared[me] = sum;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (me < half) shared[me] += shared[me + half];
        __syncthreads();
    }
    if (me == 0) to[blockIdx.x] = shared[0];
}
