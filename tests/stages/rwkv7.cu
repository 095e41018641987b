extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = at.job;
    at.positions = 0;
    at.start = job[2];
    at.length = job[3];
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 384);
    float* const tile1 = (float*)(shared + 896);
    float* const tile2 = (float*)(shared + 768);
    float* const tile3 = (float*)(shared + 0);
    float* const tile4 = (float*)(shared + 896);
    float* const tile5 = (float*)(shared + 128);
    float* const tile6 = (float*)(shared + 256);
    float* const tile7 = (float*)(shared + 256);
    float* const tile8 = (float*)(shared + 1024);
    float* const tile9 = (float*)(shared + 896);
    float* const tile10 = (float*)(shared + 384);
    float* const tile11 = (float*)(shared + 1024);
    float* const tile12 = (float*)(shared + 384);
    float* const tile13 = (float*)(shared + 256);
    float* const tile14 = (float*)(shared + 256);
    float* const tile15 = (float*)(shared + 384);
    float* const tile16 = (float*)(shared + 256);
    float* const tile17 = (float*)(shared + 384);
    float* const tile18 = (float*)(shared + 256);
    float* const tile19 = (float*)(shared + 0);
    float* const tile20 = (float*)(shared + 0);
    float* const tile21 = (float*)(shared + 512);
    float* const tile22 = (float*)(shared + 0);
    float* const tile23 = (float*)(shared + 640);
    float* const tile24 = (float*)(shared + 128);
    float* const tile25 = (float*)(shared + 256);
    float* const tile26 = (float*)(shared + 384);
    {
        // copy async by 16 bytes: tile22 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile22[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
        // copy async by 16 bytes: tile24 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile24[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
        // copy async by 16 bytes: tile25 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile25[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // copy async by 16 bytes: tile26 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile26[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile21 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile21[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile23 = in_r[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile23[8 * (i0) + i1], &in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile22, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // map [4, 8]: tile2[i0, i1] = neg(tile22[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile2[8 * (i0) + i1] = op_neg(tile22[8 * (i0) + i1]);
        }
    }
    // wait for tile24, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [4, 8]: tile4[i0, i1] = (tile22[i0, i1] * tile24[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile4[8 * (i0) + i1] = tile22[8 * (i0) + i1] * tile24[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile3[i0, i1] = (tile4[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile3[8 * (i0) + i1] = tile4[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    // wait for tile25, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: tile5[i0, i1] = add((exp(tile25[i0, i1]) * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile5[8 * (i0) + i1] = (op_exp(tile25[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile6 = Gram(Versions { micro: 1, offsets: [0] }) tile2 tile3 tile5
    gram<4, 4, 8>(tile6, tile2, tile3, tile5, [](int i) -> int { return i; });
    wait_for_block();
    // map [4, 4]: tile1[i0, i1] = neg(tile6[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile1[4 * (i0) + i1] = op_neg(tile6[4 * (i0) + i1]);
        }
    }
    wait_for_block();
    // invert tile1: tile7
    invert<4, 4, 4>(tile1, tile7);
    // wait for tile26, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: tile9[i0, i1] = (tile26[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile9[8 * (i0) + i1] = tile26[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile10 = Gram(Versions { micro: 1, offsets: [0] }) tile2 tile9 tile5
    gram<4, 4, 8>(tile10, tile2, tile9, tile5, [](int i) -> int { return i; });
    // wait for tile21, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile8[i0, 0, i2] = Sum (i1 < i0 ? (tile10[i0, i1] * tile21[i1, i2]) : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += (i1 < i0 ? tile10[4 * (i0) + i1] * tile21[8 * (i1) + i2] : 0.0f);
        }
        tile8[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile0[i0, 0, i2] = Sum (i1 < i0+1 ? (tile7[i0, i1] * tile8[i1, 0, i2]) : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += (i1 < i0 + 1 ? tile7[4 * (i0) + i1] * tile8[8 * (i1) + i2] : 0.0f);
        }
        tile0[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_0[i0, i1] = tile0[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile12 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile5
    cumulative_product<4, 4, 8>(tile12, tile5, [](int i) -> int { return i; });
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile11[i0, 0, i2] = Sum (i1 < i0+1 ? (tile7[i0, i1] * (tile2[i1, i2] * tile12[i1, i2])) : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += (i1 < i0 + 1 ? tile7[4 * (i0) + i1] * tile2[8 * (i1) + i2] * tile12[8 * (i1) + i2] : 0.0f);
        }
        tile11[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_1[i0, i1] = tile11[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile11[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile13 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile5
    cumulative_product<4, 4, 8>(tile13, tile5, [](int i) -> int { return i + 1; });
    // wait for tile23, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: kept_3[i0, i1] = (tile23[i0, i1] * tile13[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile23[8 * (i0) + i1] * tile13[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile14[i0, i1] = tile23[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile14[8 * (i0) + i1] = tile23[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile15 = Gram(Versions { micro: 1, offsets: [1] }) tile14 tile3 tile5
    gram<4, 4, 8>(tile15, tile14, tile3, tile5, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 4]: kept_4[i0, i1] = tile15[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1] = tile15[4 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile17 = Gram(Versions { micro: 1, offsets: [1] }) tile14 tile9 tile5
    gram<4, 4, 8>(tile17, tile14, tile9, tile5, [](int i) -> int { return i + 1; });
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile16[i0, 0, i2] = Sum (i1 < i0+1 ? (tile21[i1, i2] * tile17[i0, i1]) : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += (i1 < i0 + 1 ? tile21[8 * (i1) + i2] * tile17[4 * (i0) + i1] : 0.0f);
        }
        tile16[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_5[i0, i1] = tile16[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile16[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile18 = ReverseCumulativeProduct tile5
    reverse_cumulative_product<4, 8>(tile18, tile5);
    wait_for_block();
    // map [4, 8]: kept_6[i0, i1] = (tile3[i0, i1] * tile18[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile3[8 * (i0) + i1] * tile18[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile19 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile5
    cumulative_product<1, 4, 8>(tile19, tile5, [](int i) -> int { return 4 * (i) + 4; });
    wait_for_block();
    // map [1, 8]: kept_7[0, i1] = tile19[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile19[i1];
        }
    }
    wait_for_block();
    // reduce [8, 4, 8] over [1]: tile20[i0, 0, i2] = Sum (tile21[i1, i2] * (tile9[i1, i0] * tile18[i1, i0]))
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile21[8 * (i1) + i2] * tile9[i0 + 8 * (i1)] * tile18[i0 + 8 * (i1)];
        }
        tile20[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [8, 8]: kept_8[i0, i1] = tile20[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile20[8 * (i0) + i1];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.part = blockIdx.x % 1;
    at.head = blockIdx.x / 1 % heads;
    at.sequence = blockIdx.x / 1 / heads;
    at.job = at.sequence;
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    const int rounds = (at.length + 3) / 4;
    const int chunks_before = chunks[at.sequence];
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 1408);
    float* const tile2 = (float*)(shared + 1792);
    float* const tile3 = (float*)(shared + 1664);
    float* const tile4_stages = (float*)(shared + 0);
    float* const tile5_stages = (float*)(shared + 256);
    float* const tile6_stages = (float*)(shared + 512);
    float* const tile7_stages = (float*)(shared + 768);
    float* const tile8_stages = (float*)(shared + 896);
    // map [8, 8]: tile0[i0, i1] = 0
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile0[8 * (i0) + i1] = 0.0f;
        }
    }
    wait_for_block();
    // map [8, 8]: tile0[i0, i1] = (given state_S_before ? state_S_before[i0, i1] : tile0[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            const Group<1> x0 = get_if<1>(&state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1], (state_S_before != 0));
            tile0[8 * (i0) + i1] = (state_S_before != 0 ? x0.x[0] : tile0[8 * (i0) + i1]);
        }
    }
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile4 = kept_0[i0, i1] of round 0
        {
            float* const tile4 = tile4_stages + 0 % 2 * 32;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile4[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile5 = kept_1[i0, i1] of round 0
        {
            float* const tile5 = tile5_stages + 0 % 2 * 32;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 8) copy_async<16>(&tile5[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 64 on: tile6 = kept_6[i0, i1] of round 0
        {
            float* const tile6 = tile6_stages + 0 % 2 * 32;
            const int e = (int)threadIdx.x - 64;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 8) copy_async<16>(&tile6[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 96 on: tile7 = kept_7[0, i1] of round 0
        {
            float* const tile7 = tile7_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 96;
            const int i1 = (e) * 4;
            if (e >= 0 && e < 2) copy_async<16>(&tile7[i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
        // copy async by 16 bytes: tile8 = kept_8[i0, i1] of round 0
        {
            float* const tile8 = tile8_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile8[8 * (i0) + i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        float* const tile4 = tile4_stages + round % 2 * 32;
        float* const tile5 = tile5_stages + round % 2 * 32;
        float* const tile6 = tile6_stages + round % 2 * 32;
        float* const tile7 = tile7_stages + round % 2 * 8;
        float* const tile8 = tile8_stages + round % 2 * 64;
        // wait for tile4 tile5 tile6 tile7 tile8, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile4 = kept_0[i0, i1] of 1 ahead
            {
                float* const tile4 = tile4_stages + next % 2 * 32;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 8) copy_async<16>(&tile4[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile5 = kept_1[i0, i1] of 1 ahead
            {
                float* const tile5 = tile5_stages + next % 2 * 32;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 8) copy_async<16>(&tile5[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 64 on: tile6 = kept_6[i0, i1] of 1 ahead
            {
                float* const tile6 = tile6_stages + next % 2 * 32;
                const int e = (int)threadIdx.x - 64;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 8) copy_async<16>(&tile6[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 96 on: tile7 = kept_7[0, i1] of 1 ahead
            {
                float* const tile7 = tile7_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 96;
                const int i1 = (e) * 4;
                if (e >= 0 && e < 2) copy_async<16>(&tile7[i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
            // copy async by 16 bytes: tile8 = kept_8[i0, i1] of 1 ahead
            {
                float* const tile8 = tile8_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile8[8 * (i0) + i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
        }
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        // map [8, 8]: state_S_at_chunks[i0, i1] = tile0[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
            }
        }
        wait_for_block();
        // reduce [4, 8, 8] over [1]: tile3[i0, 0, i2] = Sum (tile5[i0, i1] * tile0[i1, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile5[8 * (i0) + i1] * tile0[8 * (i1) + i2];
            }
            tile3[8 * (i0) + i2] = y.x[0];
        }
        wait_for_block();
        // reduce [8, 4, 8] over [1]: tile2[i0, 0, i2] = Sum (add(tile4[i1, i2], tile3[i1, 0, i2]) * tile6[i1, i0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i1 = s;
                y.x[0] += (tile4[8 * (i1) + i2] + tile3[8 * (i1) + i2]) * tile6[i0 + 8 * (i1)];
            }
            tile2[8 * (i0) + i2] = y.x[0];
        }
        wait_for_block();
        // map [8, 8]: tile0[i0, i1] = add(add((tile0[i0, i1] * tile7[0, i0]), tile2[i0, 0, i1]), tile8[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile0[8 * (i0) + i1] = ((tile0[8 * (i0) + i1] * tile7[i0] + tile2[8 * (i0) + i1]) + tile8[8 * (i0) + i1]);
            }
        }
        // map [4, 8]: kept_2[i0, i1] = add(tile4[i0, i1], tile3[i0, 0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 32) {
                kept_2[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = (tile4[8 * (i0) + i1] + tile3[8 * (i0) + i1]);
            }
        }
        wait_for_block();
    }
    // map [8, 8]: state_S_after[i0, i1] = tile0[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = at.job;
    at.positions = 0;
    at.start = job[2];
    at.length = job[3];
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 512);
    float* const tile1 = (float*)(shared + 0);
    float* const tile2 = (float*)(shared + 0);
    float* const tile3 = (float*)(shared + 128);
    float* const tile4 = (float*)(shared + 256);
    float* const tile5 = (float*)(shared + 384);
    {
        // copy async by 16 bytes: tile2 = kept_3[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile2[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile3 = kept_4[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 4) copy_async<16>(&tile3[4 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile4 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile4[8 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile5 = kept_5[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile5[8 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile2, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // reduce [4, 8, 8] over [1]: tile0[i0, 0, i2] = Sum (state_S_at_chunks[i1, i2] * tile2[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2] * tile2[8 * (i0) + i1];
        }
        tile0[8 * (i0) + i2] = y.x[0];
    }
    // wait for tile3, 2 copies pending
    wait_for_copies<2>();
    // wait for tile4, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile1[i0, 0, i2] = Sum (i1 < i0+1 ? (tile3[i0, i1] * tile4[i1, i2]) : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += (i1 < i0 + 1 ? tile3[4 * (i0) + i1] * tile4[8 * (i1) + i2] : 0.0f);
        }
        tile1[8 * (i0) + i2] = y.x[0];
    }
    // wait for tile5, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: out_o[t of row i0; i1] where row i0 is among the queries = add(tile0[i0, 0, i1], add(tile1[i0, 0, i1], tile5[i0, i1]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile0[8 * (i0) + i1] + (tile1[8 * (i0) + i1] + tile5[8 * (i0) + i1]));
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, float* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = at.job;
    at.positions = 0;
    at.start = job[2];
    at.length = job[3];
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 1280);
    float* const tile1 = (float*)(shared + 1152);
    float* const tile2 = (float*)(shared + 1152);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 1664);
    float* const tile6 = (float*)(shared + 1536);
    float* const tile7 = (float*)(shared + 1792);
    float* const tile8 = (float*)(shared + 1536);
    float* const tile9 = (float*)(shared + 1408);
    float* const tile10 = (float*)(shared + 512);
    float* const tile11 = (float*)(shared + 1536);
    float* const tile12 = (float*)(shared + 640);
    float* const tile13 = (float*)(shared + 640);
    float* const tile14 = (float*)(shared + 1664);
    float* const tile15 = (float*)(shared + 1536);
    float* const tile16 = (float*)(shared + 1536);
    float* const tile17 = (float*)(shared + 128);
    float* const tile18 = (float*)(shared + 128);
    float* const tile19 = (float*)(shared + 640);
    float* const tile20 = (float*)(shared + 1408);
    float* const tile21 = (float*)(shared + 128);
    float* const tile22 = (float*)(shared + 128);
    float* const tile23 = (float*)(shared + 768);
    float* const tile24 = (float*)(shared + 128);
    float* const tile25 = (float*)(shared + 384);
    float* const tile26 = (float*)(shared + 384);
    float* const tile27 = (float*)(shared + 768);
    float* const tile28 = (float*)(shared + 128);
    float* const tile29 = (float*)(shared + 384);
    float* const tile30 = (float*)(shared + 512);
    float* const tile31 = (float*)(shared + 768);
    float* const tile32 = (float*)(shared + 768);
    float* const tile33 = (float*)(shared + 384);
    float* const tile34 = (float*)(shared + 768);
    float* const tile35 = (float*)(shared + 1536);
    float* const tile36 = (float*)(shared + 128);
    float* const tile37 = (float*)(shared + 0);
    float* const tile38 = (float*)(shared + 768);
    float* const tile39 = (float*)(shared + 128);
    float* const tile40 = (float*)(shared + 512);
    float* const tile41 = (float*)(shared + 256);
    float* const tile42 = (float*)(shared + 384);
    float* const tile43 = (float*)(shared + 640);
    float* const tile44 = (float*)(shared + 1024);
    {
        // copy async by 16 bytes: tile37 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async_if<16>(&tile37[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
        }
        // copy async by 16 bytes: tile39 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile39[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile41 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile41[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile42 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile42[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // copy async by 16 bytes: tile40 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile40[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
        // copy async by 16 bytes: tile43 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile43[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
        // copy async by 16 bytes: tile38 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile38[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile44 = in_r[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile44[8 * (i0) + i1], &in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile37, 7 copies pending
    wait_for_copies<7>();
    // wait for tile39, 6 copies pending
    wait_for_copies<6>();
    wait_for_block();
    // reduce [4, 4, 8] over [2]: tile1[i0, i1, 0] = Sum (tile39[i1, i2] * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 16; e += THREADS) {
        const int i0 = e / 4;
        const int i1 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile39[8 * (i1) + i2] * tile37[8 * (i0) + i2];
        }
        tile1[4 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 4]: tile0[i0, i1] = tile1[i0, i1, 0]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile0[4 * (i0) + i1] = tile1[4 * (i0) + i1];
        }
    }
    // wait for tile41, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // map [4, 8]: tile2[i0, i1] = (tile41[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile2[8 * (i0) + i1] = tile41[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    // wait for tile42, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [4, 8]: tile3[i0, i1] = add((exp(tile42[i0, i1]) * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile3[8 * (i0) + i1] = (op_exp(tile42[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    wait_for_block();
    // map [4, 8]: kept_0[i0, i1] = tile3[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile3[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile4 = Apply(Versions { micro: 1, offsets: [1] }) tile0 tile2 tile3
    apply<4, 4, 8>(tile4, tile0, tile2, tile3, [](int i) -> int { return i + 1; });
    // wait for tile40, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: tile9[i0, i1] = neg(tile40[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile9[8 * (i0) + i1] = op_neg(tile40[8 * (i0) + i1]);
        }
    }
    // wait for tile43, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: tile11[i0, i1] = (tile40[i0, i1] * tile43[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile11[8 * (i0) + i1] = tile40[8 * (i0) + i1] * tile43[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile10[i0, i1] = (tile11[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile10[8 * (i0) + i1] = tile11[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile12 = Gram(Versions { micro: 1, offsets: [0] }) tile9 tile10 tile3
    gram<4, 4, 8>(tile12, tile9, tile10, tile3, [](int i) -> int { return i; });
    wait_for_block();
    // map [4, 4]: tile8[i0, i1] = neg(tile12[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile8[4 * (i0) + i1] = op_neg(tile12[4 * (i0) + i1]);
        }
    }
    wait_for_block();
    // invert tile8: tile13
    invert<4, 4, 4>(tile8, tile13);
    wait_for_block();
    // map [4, 4]: kept_2[i0, i1] = tile13[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1] = tile13[4 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile15 = Gram(Versions { micro: 1, offsets: [0] }) tile9 tile2 tile3
    gram<4, 4, 8>(tile15, tile9, tile2, tile3, [](int i) -> int { return i; });
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile14[i0, 0, i2] = Sum (tile15[i0, i1] * tile39[i1, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile15[4 * (i0) + i1] * tile39[8 * (i1) + i2];
        }
        tile14[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // reduce [4, 4, 4] over [1]: tile36[i0, 0, i2] = Sum (tile13[i0, i1] * tile15[i1, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 16; e += THREADS) {
        const int i0 = e / 4;
        const int i2 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile13[4 * (i0) + i1] * tile15[4 * (i1) + i2];
        }
        tile36[4 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 4]: kept_18[i0, i1] = tile36[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            kept_18[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1] = tile36[4 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile17 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile3
    cumulative_product<4, 4, 8>(tile17, tile3, [](int i) -> int { return i; });
    wait_for_block();
    // map [4, 8]: kept_1[i0, i1] = tile17[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile17[8 * (i0) + i1];
        }
    }
    // wait for tile38, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 8, 8] over [1]: tile16[i0, 0, i2] = Sum ((tile9[i0, i1] * tile17[i0, i1]) * tile38[i1, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile9[8 * (i0) + i1] * tile17[8 * (i0) + i1] * tile38[8 * (i1) + i2];
        }
        tile16[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile7[i0, 0, i2] = Sum (tile13[i0, i1] * add(tile14[i1, 0, i2], tile16[i1, 0, i2]))
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile13[4 * (i0) + i1] * (tile14[8 * (i1) + i2] + tile16[8 * (i1) + i2]);
        }
        tile7[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_3[i0, i1] = tile7[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile7[8 * (i0) + i1];
        }
    }
    // reduce [4, 4, 8] over [2]: tile6[i0, i1, 0] = Sum (tile7[i1, 0, i2] * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 16; e += THREADS) {
        const int i0 = e / 4;
        const int i1 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile7[8 * (i1) + i2] * tile37[8 * (i0) + i2];
        }
        tile6[4 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 4]: tile5[i0, i1] = tile6[i0, i1, 0]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile5[4 * (i0) + i1] = tile6[4 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile35[i0, 0, i2] = Sum (tile13[i0, i1] * (tile9[i1, i2] * tile17[i1, i2]))
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile13[4 * (i0) + i1] * tile9[8 * (i1) + i2] * tile17[8 * (i1) + i2];
        }
        tile35[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_17[i0, i1] = tile35[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_17[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile35[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile18 = Apply(Versions { micro: 1, offsets: [1] }) tile5 tile10 tile3
    apply<4, 4, 8>(tile18, tile5, tile10, tile3, [](int i) -> int { return i + 1; });
    // scan of 4 rows, 4 steps, 8 wide: tile19 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile3
    cumulative_product<4, 4, 8>(tile19, tile3, [](int i) -> int { return i + 1; });
    // reduce [4, 8, 8] over [2]: tile20[i0, i1, 0] = Sum (tile38[i1, i2] * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile38[8 * (i1) + i2] * tile37[8 * (i0) + i2];
        }
        tile20[8 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: d_in_r[t of row i0; i1] where row i0 is among the queries = add(add(tile4[i0, i1], tile18[i0, i1]), (tile19[i0, i1] * tile20[i0, i1, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_r[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = ((tile4[8 * (i0) + i1] + tile18[8 * (i0) + i1]) + tile19[8 * (i0) + i1] * tile20[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile21 = ReverseCumulativeProduct tile3
    reverse_cumulative_product<4, 8>(tile21, tile3);
    wait_for_block();
    // map [4, 8]: kept_4[i0, i1] = tile21[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile21[8 * (i0) + i1];
        }
    }
    // map [4, 8]: kept_5[i0, i1] = (tile10[i0, i1] * tile21[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile10[8 * (i0) + i1] * tile21[8 * (i0) + i1];
        }
    }
    // map [4, 8]: kept_6[i0, i1] = (tile2[i0, i1] * tile21[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile2[8 * (i0) + i1] * tile21[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile22 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile3
    cumulative_product<1, 4, 8>(tile22, tile3, [](int i) -> int { return 4 * (i) + 4; });
    wait_for_block();
    // map [1, 8]: kept_7[0, i1] = tile22[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile22[i1];
        }
    }
    // wait for tile44, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: tile24[i0, i1] = tile44[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile24[8 * (i0) + i1] = tile44[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile33[i0, i1] = (tile24[i0, i1] * tile20[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile33[8 * (i0) + i1] = tile24[8 * (i0) + i1] * tile20[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile34 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile3 tile33
    cumulative_product_grad<4, 4, 8>(tile34, tile3, tile33, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_16[i0, i1] = tile34[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_16[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile34[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile25 = Gram(Versions { micro: 1, offsets: [1] }) tile24 tile2 tile3
    gram<4, 4, 8>(tile25, tile24, tile2, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile27 = GramGrad(Versions { micro: 1, offsets: [1] }) tile0 tile24 tile2 tile3
    gram_grad<4, 4, 8>(tile27, tile0, tile24, tile2, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_10[i0, i1] = tile27[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_10[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile27[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 4, 8] over [0]: tile23[0, i1, i2] = Sum (tile25[i0, i1] * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i1 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i0 = s;
            y.x[0] += tile25[4 * (i0) + i1] * tile37[8 * (i0) + i2];
        }
        tile23[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 4, 8]: kept_8[0, i1, i2] = tile23[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 32) {
            kept_8[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2] = tile23[8 * (i1) + i2];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile26 = ApplyT(Versions { micro: 1, offsets: [1] }) tile0 tile24 tile3
    apply_t<4, 4, 8>(tile26, tile0, tile24, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_9[i0, i1] = tile26[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_9[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile26[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile29 = Gram(Versions { micro: 1, offsets: [1] }) tile24 tile10 tile3
    gram<4, 4, 8>(tile29, tile24, tile10, tile3, [](int i) -> int { return i + 1; });
    // scan of 4 rows, 4 steps, 8 wide: tile31 = GramGrad(Versions { micro: 1, offsets: [1] }) tile5 tile24 tile10 tile3
    gram_grad<4, 4, 8>(tile31, tile5, tile24, tile10, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile30 = ApplyT(Versions { micro: 1, offsets: [1] }) tile5 tile24 tile3
    apply_t<4, 4, 8>(tile30, tile5, tile24, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_13[i0, i1] = tile30[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_13[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile30[8 * (i0) + i1];
        }
    }
    // map [4, 8]: kept_14[i0, i1] = tile31[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_14[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile31[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 8, 8] over [0]: tile32[0, i1, i2] = Sum ((tile24[i0, i1] * tile19[i0, i1]) * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i1 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i0 = s;
            y.x[0] += tile24[8 * (i0) + i1] * tile19[8 * (i0) + i1] * tile37[8 * (i0) + i2];
        }
        tile32[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 8, 8]: kept_15[0, i1, i2] = tile32[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 64) {
            kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2] = tile32[8 * (i1) + i2];
        }
    }
    // reduce [4, 4, 8] over [0]: tile28[0, i1, i2] = Sum (tile29[i0, i1] * tile37[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i1 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i0 = s;
            y.x[0] += tile29[4 * (i0) + i1] * tile37[8 * (i0) + i2];
        }
        tile28[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 4, 8]: kept_11[0, i1, i2] = tile28[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 32) {
            kept_11[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2] = tile28[8 * (i1) + i2];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, float* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.part = blockIdx.x % 1;
    at.head = blockIdx.x / 1 % heads;
    at.sequence = blockIdx.x / 1 / heads;
    at.job = at.sequence;
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    const int rounds = (at.length + 3) / 4;
    const int chunks_before = chunks[at.sequence];
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 1408);
    float* const tile2 = (float*)(shared + 1792);
    float* const tile3 = (float*)(shared + 1664);
    float* const tile4_stages = (float*)(shared + 0);
    float* const tile5_stages = (float*)(shared + 256);
    float* const tile6_stages = (float*)(shared + 512);
    float* const tile7_stages = (float*)(shared + 768);
    float* const tile8_stages = (float*)(shared + 896);
    // map [8, 8]: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            const Group<1> x0 = get_if<1>(&d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1], (d_state_S_after != 0));
            tile0[8 * (i0) + i1] = x0.x[0];
        }
    }
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile4 = kept_11[0, i1, i2] of round 0
        {
            float* const tile4 = tile4_stages + 0 % 2 * 32;
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile4[8 * (i1) + i2], &kept_11[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2]);
        }
        // copy async by 16 bytes from thread 32 on: tile5 = kept_5[i0, i1] of round 0
        {
            float* const tile5 = tile5_stages + 0 % 2 * 32;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 8) copy_async<16>(&tile5[8 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 64 on: tile6 = kept_17[i0, i1] of round 0
        {
            float* const tile6 = tile6_stages + 0 % 2 * 32;
            const int e = (int)threadIdx.x - 64;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 8) copy_async<16>(&tile6[8 * (i0) + i1], &kept_17[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 96 on: tile7 = kept_7[0, i1] of round 0
        {
            float* const tile7 = tile7_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 96;
            const int i1 = (e) * 4;
            if (e >= 0 && e < 2) copy_async<16>(&tile7[i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
        // copy async by 16 bytes: tile8 = kept_15[0, i1, i2] of round 0
        {
            float* const tile8 = tile8_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile8[8 * (i1) + i2], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        float* const tile4 = tile4_stages + round % 2 * 32;
        float* const tile5 = tile5_stages + round % 2 * 32;
        float* const tile6 = tile6_stages + round % 2 * 32;
        float* const tile7 = tile7_stages + round % 2 * 8;
        float* const tile8 = tile8_stages + round % 2 * 64;
        // wait for tile4 tile5 tile6 tile7 tile8, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile4 = kept_11[0, i1, i2] of 1 ahead
            {
                float* const tile4 = tile4_stages + next % 2 * 32;
                const int e = threadIdx.x;
                const int i1 = (e) / 2;
                const int i2 = ((e) % 2) * 4;
                if (e < 8) copy_async<16>(&tile4[8 * (i1) + i2], &kept_11[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2]);
            }
            // copy async by 16 bytes from thread 32 on: tile5 = kept_5[i0, i1] of 1 ahead
            {
                float* const tile5 = tile5_stages + next % 2 * 32;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 8) copy_async<16>(&tile5[8 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 64 on: tile6 = kept_17[i0, i1] of 1 ahead
            {
                float* const tile6 = tile6_stages + next % 2 * 32;
                const int e = (int)threadIdx.x - 64;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 8) copy_async<16>(&tile6[8 * (i0) + i1], &kept_17[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 96 on: tile7 = kept_7[0, i1] of 1 ahead
            {
                float* const tile7 = tile7_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 96;
                const int i1 = (e) * 4;
                if (e >= 0 && e < 2) copy_async<16>(&tile7[i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
            // copy async by 16 bytes: tile8 = kept_15[0, i1, i2] of 1 ahead
            {
                float* const tile8 = tile8_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i1 = (e) / 2;
                const int i2 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile8[8 * (i1) + i2], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
            }
        }
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        // map [8, 8]: d_state_S_at_chunks[i0, i1] = tile0[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
            }
        }
        wait_for_block();
        // reduce [8, 4, 8] over [0]: tile3[0, i1, i2] = Sum (tile5[i1, i0] * tile0[i0, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                y.x[0] += tile5[i0 + 8 * (i1)] * tile0[8 * (i0) + i2];
            }
            tile3[8 * (i1) + i2] = y.x[0];
        }
        wait_for_block();
        // reduce [4, 8, 8] over [0]: tile2[0, i1, i2] = Sum (tile6[i0, i1] * add(tile3[0, i0, i2], tile4[0, i0, i2]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i0 = s;
                y.x[0] += tile6[8 * (i0) + i1] * (tile3[8 * (i0) + i2] + tile4[8 * (i0) + i2]);
            }
            tile2[8 * (i1) + i2] = y.x[0];
        }
        wait_for_block();
        // map [8, 8]: tile0[i0, i1] = add((tile7[0, i0] * tile0[i0, i1]), add(tile8[0, i0, i1], tile2[0, i0, i1]))
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile0[8 * (i0) + i1] = (tile7[i0] * tile0[8 * (i0) + i1] + (tile8[8 * (i0) + i1] + tile2[8 * (i0) + i1]));
            }
        }
        // map [4, 8]: kept_12[i0, i1] = add(tile3[0, i0, i1], tile4[0, i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 32) {
                kept_12[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = (tile3[8 * (i0) + i1] + tile4[8 * (i0) + i1]);
            }
        }
        wait_for_block();
    }
    if (d_state_S_before != 0) {
        // map [8, 8]: d_state_S_before[i0, i1] = tile0[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                d_state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, float* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = at.job;
    at.positions = 0;
    at.start = job[2];
    at.length = job[3];
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 2304);
    float* const tile1 = (float*)(shared + 1792);
    float* const tile2 = (float*)(shared + 2432);
    float* const tile3 = (float*)(shared + 1664);
    float* const tile4 = (float*)(shared + 2688);
    float* const tile5 = (float*)(shared + 2816);
    float* const tile6 = (float*)(shared + 2944);
    float* const tile7 = (float*)(shared + 2560);
    float* const tile8 = (float*)(shared + 1920);
    float* const tile9 = (float*)(shared + 3072);
    float* const tile10 = (float*)(shared + 2048);
    float* const tile11 = (float*)(shared + 3200);
    float* const tile12 = (float*)(shared + 3712);
    float* const tile13 = (float*)(shared + 3328);
    float* const tile14 = (float*)(shared + 3456);
    float* const tile15 = (float*)(shared + 3584);
    float* const tile16 = (float*)(shared + 1024);
    float* const tile17 = (float*)(shared + 2560);
    float* const tile18 = (float*)(shared + 256);
    float* const tile19 = (float*)(shared + 128);
    float* const tile20 = (float*)(shared + 128);
    float* const tile21 = (float*)(shared + 512);
    float* const tile22 = (float*)(shared + 1664);
    float* const tile23 = (float*)(shared + 1024);
    float* const tile24 = (float*)(shared + 1152);
    float* const tile25 = (float*)(shared + 512);
    float* const tile26 = (float*)(shared + 2304);
    float* const tile27 = (float*)(shared + 128);
    float* const tile28 = (float*)(shared + 256);
    float* const tile29 = (float*)(shared + 1280);
    float* const tile30 = (float*)(shared + 512);
    float* const tile31 = (float*)(shared + 640);
    float* const tile32 = (float*)(shared + 256);
    float* const tile33 = (float*)(shared + 0);
    float* const tile34 = (float*)(shared + 640);
    float* const tile35 = (float*)(shared + 128);
    float* const tile36 = (float*)(shared + 2176);
    float* const tile37 = (float*)(shared + 1024);
    float* const tile38 = (float*)(shared + 1152);
    float* const tile39 = (float*)(shared + 128);
    float* const tile40 = (float*)(shared + 768);
    float* const tile41 = (float*)(shared + 896);
    float* const tile42 = (float*)(shared + 1536);
    float* const tile43 = (float*)(shared + 1664);
    float* const tile44 = (float*)(shared + 1792);
    float* const tile45 = (float*)(shared + 768);
    float* const tile46 = (float*)(shared + 896);
    float* const tile47 = (float*)(shared + 1920);
    float* const tile48 = (float*)(shared + 2048);
    float* const tile49 = (float*)(shared + 1536);
    {
        // copy async by 16 bytes: tile33 = kept_12[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile33[8 * (i0) + i1], &kept_12[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile35 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 4) copy_async<16>(&tile35[4 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile32 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile32[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile30 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile30[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile31 = kept_3[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile31[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile40 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile40[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile41 = kept_0[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile41[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile37 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile37[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile33, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile38 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile38[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
    }
    commit_copies();
    // wait for tile35, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile29 = d_state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile29[8 * (i0) + i1], &d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile1[i0, 0, i2] = Sum (tile35[i1, i0] * tile33[i1, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i1 = s;
            y.x[0] += tile35[i0 + 4 * (i1)] * tile33[8 * (i1) + i2];
        }
        tile1[8 * (i0) + i2] = y.x[0];
    }
    // wait for tile32, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile39 = kept_4[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile39[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // reduce [4, 8, 8] over [2]: tile0[i0, i1, 0] = Sum (tile32[i1, i2] * tile1[i0, 0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile32[8 * (i1) + i2] * tile1[8 * (i0) + i2];
        }
        tile0[8 * (i0) + i1] = y.x[0];
    }
    // wait for tile30, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile42 = kept_13[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile42[8 * (i0) + i1], &kept_13[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // reduce [4, 4, 8] over [2]: tile3[i0, i1, 0] = Sum (tile30[i1, i2] * tile1[i0, 0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 16; e += THREADS) {
        const int i0 = e / 4;
        const int i1 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile30[8 * (i1) + i2] * tile1[8 * (i0) + i2];
        }
        tile3[4 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 4]: tile2[i0, i1] = tile3[i0, i1, 0]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile2[4 * (i0) + i1] = tile3[4 * (i0) + i1];
        }
    }
    // wait for tile31, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile43 = kept_1[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile43[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // reduce [4, 8, 4] over [1]: tile8[i0, 0, i2] = Sum (tile1[i0, 0, i1] * tile31[i2, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 16; e += THREADS) {
        const int i0 = e / 4;
        const int i2 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile1[8 * (i0) + i1] * tile31[i1 + 8 * (i2)];
        }
        tile8[4 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 4]: tile7[i0, i1] = (tile8[i0, 0, i1] * (i1 < i0 ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile7[4 * (i0) + i1] = tile8[4 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f);
        }
    }
    // wait for tile40, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile44 = kept_9[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile44[8 * (i0) + i1], &kept_9[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [4, 8]: tile4[i0, i1] = (tile40[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile4[8 * (i0) + i1] = tile40[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    // wait for tile41, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile45 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile45[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
    }
    commit_copies();
    // map [4, 8]: tile5[i0, i1] = tile41[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile5[8 * (i0) + i1] = tile41[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile6 = Apply(Versions { micro: 1, offsets: [0] }) tile2 tile4 tile5
    apply<4, 4, 8>(tile6, tile2, tile4, tile5, [](int i) -> int { return i; });
    // wait for tile37, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile46 = kept_10[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile46[8 * (i0) + i1], &kept_10[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // wait for tile38, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile47 = kept_14[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile47[8 * (i0) + i1], &kept_14[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [4, 8]: tile10[i0, i1] = (tile37[i0, i1] * tile38[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile10[8 * (i0) + i1] = tile37[8 * (i0) + i1] * tile38[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile9[i0, i1] = (tile10[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile9[8 * (i0) + i1] = tile10[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile11 = Apply(Versions { micro: 1, offsets: [0] }) tile7 tile9 tile5
    apply<4, 4, 8>(tile11, tile7, tile9, tile5, [](int i) -> int { return i; });
    // wait for tile29, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile48 = kept_16[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile48[8 * (i0) + i1], &kept_16[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // reduce [8, 4, 8] over [2]: tile13[i0, i1, 0] = Sum (tile31[i1, i2] * tile29[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 4;
        const int i1 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile31[8 * (i1) + i2] * tile29[8 * (i0) + i2];
        }
        tile13[i0 + 8 * (i1)] = y.x[0];
    }
    // map [4, 8]: tile14[i0, i1] = neg(tile37[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile14[8 * (i0) + i1] = op_neg(tile37[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile15 = ApplyT(Versions { micro: 1, offsets: [0] }) tile7 tile14 tile5
    apply_t<4, 4, 8>(tile15, tile7, tile14, tile5, [](int i) -> int { return i; });
    // wait for tile39, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile34 = kept_6[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile34[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // wait for tile42, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile36 = kept_18[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 4) copy_async<16>(&tile36[4 * (i0) + i1], &kept_18[((long long)(at.chunk) * heads + at.head) * 16 + 4 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [4, 8]: tile12[i0, i1] = ((row i0 is among the queries ? 1 : 0) * add(add((tile39[i0, i1] * tile13[i1, i0, 0]), tile42[i0, i1]), tile15[i0, i1]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile12[8 * (i0) + i1] = (i0 < at.valid ? 1.0f : 0.0f) * ((tile39[8 * (i0) + i1] * tile13[8 * (i0) + i1] + tile42[8 * (i0) + i1]) + tile15[8 * (i0) + i1]);
        }
    }
    // wait for tile43, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile49 = kept_8[0, i1, i2] of round 0
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile49[8 * (i1) + i2], &kept_8[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2]);
        }
    }
    commit_copies();
    // map [4, 8]: d_in_kk[t of row i0; i1] where row i0 is among the queries = add(neg(add(add((tile43[i0, i1] * tile0[i0, i1, 0]), tile6[i0, i1]), tile11[i0, i1])), ...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_kk[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (op_neg(((tile43[8 * (i0) + i1] * tile0[8 * (i0) + i1] + tile6[8 * (i0) + i1]) + tile11[8 * (i0) + i1])) + tile38[8 * (i0) + i1] * tile12[8 * (i0) + i1]);
        }
    }
    // map [4, 8]: d_in_a[t of row i0; i1] where row i0 is among the queries = (tile37[i0, i1] * tile12[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_a[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile37[8 * (i0) + i1] * tile12[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile23[i0, i1] = (tile14[i0, i1] * tile0[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile23[8 * (i0) + i1] = tile14[8 * (i0) + i1] * tile0[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile24 = CumulativeProductGrad(Versions { micro: 1, offsets: [0] }) tile5 tile23
    cumulative_product_grad<4, 4, 8>(tile24, tile5, tile23, [](int i) -> int { return i; });
    wait_for_block();
    // reduce [8, 4, 8] over [2]: tile16[i0, i1, 0] = Sum (tile30[i1, i2] * tile29[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i0 = e / 4;
        const int i1 = e % 4;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i2 = s;
            y.x[0] += tile30[8 * (i1) + i2] * tile29[8 * (i0) + i2];
        }
        tile16[i0 + 8 * (i1)] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: tile21[i0, i1] = add((tile4[i0, i1] * tile16[i1, i0, 0]), (tile9[i0, i1] * tile13[i1, i0, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile21[8 * (i0) + i1] = (tile4[8 * (i0) + i1] * tile16[8 * (i0) + i1] + tile9[8 * (i0) + i1] * tile13[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile22 = ReverseCumulativeProductGrad tile5 tile21
    reverse_cumulative_product_grad<4, 8>(tile22, tile5, tile21);
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile25 = GramGrad(Versions { micro: 1, offsets: [0] }) tile2 tile14 tile4 tile5
    gram_grad<4, 4, 8>(tile25, tile2, tile14, tile4, tile5, [](int i) -> int { return i; });
    // scan of 4 rows, 4 steps, 8 wide: tile26 = GramGrad(Versions { micro: 1, offsets: [0] }) tile7 tile14 tile9 tile5
    gram_grad<4, 4, 8>(tile26, tile7, tile14, tile9, tile5, [](int i) -> int { return i; });
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile17 = ApplyT(Versions { micro: 1, offsets: [0] }) tile2 tile14 tile5
    apply_t<4, 4, 8>(tile17, tile2, tile14, tile5, [](int i) -> int { return i; });
    // wait for tile44, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    // map [4, 8]: d_in_k[t of row i0; i1] where row i0 is among the queries = ((row i0 is among the queries ? 1 : 0) * add(add((tile39[i0, i1] * tile16[i1, i0, 0]), t...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (i0 < at.valid ? 1.0f : 0.0f) * ((tile39[8 * (i0) + i1] * tile16[8 * (i0) + i1] + tile44[8 * (i0) + i1]) + tile17[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // reduce [8, 8] over [1]: tile19[i0, 0] = Sum (tile32[i0, i1] * tile29[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile32[8 * (i0) + i1] * tile29[8 * (i0) + i1];
        }
        tile19[i0] = y.x[0];
    }
    wait_for_block();
    // map [1, 8]: tile18[0, i1] = tile19[i1, 0]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            tile18[i1] = tile19[i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile20 = CumulativeProductGrad(Versions { micro: 4, offsets: [4] }) tile5 tile18
    cumulative_product_grad<1, 4, 8>(tile20, tile5, tile18, [](int i) -> int { return 4 * (i) + 4; });
    // wait for tile45, 6 copies pending
    wait_for_copies<6>();
    // wait for tile46, 5 copies pending
    wait_for_copies<5>();
    // wait for tile47, 4 copies pending
    wait_for_copies<4>();
    // wait for tile48, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: d_in_w[t of row i0; i1] where row i0 is among the queries = (exp(tile45[i0, i1]) * ((row i0 is among the queries ? 1 : 0) * add(add(add(add(add(add(...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_w[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = op_exp(tile45[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) * (((((((tile20[8 * (i0) + i1] + tile22[8 * (i0) + i1]) + tile46[8 * (i0) + i1]) + tile47[8 * (i0) + i1]) + tile48[8 * (i0) + i1]) + tile24[8 * (i0) + i1]) + tile25[8 * (i0) + i1]) + tile26[8 * (i0) + i1]);
        }
    }
    // wait for tile34, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // reduce [8, 4, 8] over [0]: tile27[0, i1, i2] = Sum (tile34[i1, i0] * tile29[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i1 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i0 = s;
            y.x[0] += tile34[i0 + 8 * (i1)] * tile29[8 * (i0) + i2];
        }
        tile27[8 * (i1) + i2] = y.x[0];
    }
    // wait for tile36, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 4, 8] over [0]: tile28[0, i1, i2] = Sum (tile36[i0, i1] * tile33[i0, i2])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 32; e += THREADS) {
        const int i1 = e / 8;
        const int i2 = e % 8;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 4
        for (int s = 0; s < 4; s++) {
            const int i0 = s;
            y.x[0] += tile36[4 * (i0) + i1] * tile33[8 * (i0) + i2];
        }
        tile28[8 * (i1) + i2] = y.x[0];
    }
    // wait for tile49, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = add(add(tile27[0, i0, i1], tile49[0, i0, i1]), tile28[0, i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = ((tile27[8 * (i0) + i1] + tile49[8 * (i0) + i1]) + tile28[8 * (i0) + i1]);
        }
    }
}
