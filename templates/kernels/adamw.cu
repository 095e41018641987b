// AdamW (Loshchilov and Hutter 2019) over all parameters at once, which lie one after the other in
// pieces of 1024 numbers: a block for each piece. `decays` says of each piece whether its weights
// decay; `square` is the square of the norm of the whole gradient.
extern "C" __global__ void adamw(float* x, const float* g, float* m, float* v, const int* decays,
                                 const float* square, float keep, float clip, float b1, float b2,
                                 float rate, float root, float eps) {
    float norm;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(norm) : "f"(square[0]));
    const float factor = clip > 0.f && norm > clip ? clip / norm : 1.f;
    const float held = decays[blockIdx.x] ? keep : 1.f;
    for (int i = threadIdx.x; i < 1024; i += 256) {
        const long long e = blockIdx.x * 1024ll + i;
        const float d = g[e] * factor;
        const float first = b1 * m[e] + (1.f - b1) * d;
        const float second = b2 * v[e] + (1.f - b2) * d * d;
        float deep;
        asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(deep) : "f"(second));
        m[e] = first;
        v[e] = second;
        x[e] = x[e] * held - rate * first / (deep * root + eps);
    }
}
