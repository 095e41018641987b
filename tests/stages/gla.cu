extern "C" __global__ void __launch_bounds__(128, 1)
gla_forward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 512);
    float* const tile1 = (float*)(shared + 0);
    float* const tile2 = (float*)(shared + 0);
    float* const tile3 = (float*)(shared + 0);
    float* const tile4 = (float*)(shared + 128);
    float* const tile5 = (float*)(shared + 256);
    float* const tile6 = (float*)(shared + 0);
    float* const tile7 = (float*)(shared + 512);
    float* const tile8 = (float*)(shared + 0);
    float* const tile9 = (float*)(shared + 384);
    float* const tile10 = (float*)(shared + 128);
    float* const tile11 = (float*)(shared + 0);
    float* const tile12 = (float*)(shared + 256);
    {
        // copy async by 16 bytes: tile11 = in_g[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile11[8 * (i0) + i1], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + i1]);
        }
        // copy async by 16 bytes: tile10 = in_q[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile10[8 * (i0) + i1], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1]);
        }
        // copy async by 16 bytes: tile12 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile12[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile9 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile9[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile11, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: tile0[i0, i1] = add((exp(tile11[i0, i1]) * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile0[8 * (i0) + i1] = (op_exp(tile11[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile1 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile0
    cumulative_product<4, 4, 8>(tile1, tile0, [](int i) -> int { return i + 1; });
    // wait for tile10, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: kept_0[i0, i1] = ((tile10[i0, i1] * 0.35355339059327373) * tile1[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile10[8 * (i0) + i1] * 0.35355338f * tile1[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile3[i0, i1] = (tile10[i0, i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile3[8 * (i0) + i1] = tile10[8 * (i0) + i1] * 0.35355338f;
        }
    }
    // wait for tile12, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [4, 8]: tile4[i0, i1] = (tile12[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile4[8 * (i0) + i1] = tile12[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile5 = Gram(Versions { micro: 1, offsets: [1] }) tile3 tile4 tile0
    gram<4, 4, 8>(tile5, tile3, tile4, tile0, [](int i) -> int { return i + 1; });
    // wait for tile9, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // reduce [4, 4, 8] over [1]: tile2[i0, 0, i2] = Sum (i1 < i0+1 ? (tile5[i0, i1] * tile9[i1, i2]) : 0)
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
            y.x[0] += (i1 < i0 + 1 ? tile5[4 * (i0) + i1] * tile9[8 * (i1) + i2] : 0.0f);
        }
        tile2[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: kept_1[i0, i1] = tile2[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile2[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile6 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile0
    cumulative_product<1, 4, 8>(tile6, tile0, [](int i) -> int { return 4 * (i) + 4; });
    wait_for_block();
    // map [1, 8]: kept_2[0, i1] = tile6[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile6[i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile8 = ReverseCumulativeProduct tile0
    reverse_cumulative_product<4, 8>(tile8, tile0);
    wait_for_block();
    // reduce [8, 4, 8] over [1]: tile7[i0, 0, i2] = Sum (tile9[i1, i2] * (tile4[i1, i0] * tile8[i1, i0]))
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
            y.x[0] += tile9[8 * (i1) + i2] * tile4[i0 + 8 * (i1)] * tile8[i0 + 8 * (i1)];
        }
        tile7[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [8, 8]: kept_3[i0, i1] = tile7[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile7[8 * (i0) + i1];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gla_forward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 640);
    float* const tile2_stages = (float*)(shared + 0);
    float* const tile3_stages = (float*)(shared + 128);
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
        // copy async by 16 bytes: tile2 = kept_2[0, i1] of round 0
        {
            float* const tile2 = tile2_stages + 0 % 2 * 8;
            const int e = threadIdx.x;
            const int i1 = (e) * 4;
            if (e < 2) copy_async<16>(&tile2[i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile3 = kept_3[i0, i1] of round 0
        {
            float* const tile3 = tile3_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        float* const tile2 = tile2_stages + round % 2 * 8;
        float* const tile3 = tile3_stages + round % 2 * 64;
        // wait for tile2 tile3, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile2 = kept_2[0, i1] of 1 ahead
            {
                float* const tile2 = tile2_stages + next % 2 * 8;
                const int e = threadIdx.x;
                const int i1 = (e) * 4;
                if (e < 2) copy_async<16>(&tile2[i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile3 = kept_3[i0, i1] of 1 ahead
            {
                float* const tile3 = tile3_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
        }
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
        // map [8, 8]: tile0[i0, i1] = add((tile0[i0, i1] * tile2[0, i0]), tile3[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile2[i0] + tile3[8 * (i0) + i1]);
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
gla_forward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 256);
    float* const tile1 = (float*)(shared + 0);
    float* const tile2 = (float*)(shared + 128);
    {
        // copy async by 16 bytes: tile1 = kept_0[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile1[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile2 = kept_1[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile2[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile1, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 8, 8] over [1]: tile0[i0, 0, i2] = Sum (tile1[i0, i1] * state_S_at_chunks[i1, i2])
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
            y.x[0] += tile1[8 * (i0) + i1] * state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2];
        }
        tile0[8 * (i0) + i2] = y.x[0];
    }
    // wait for tile2, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: out_o[t of row i0; i1] where row i0 is among the queries = add(tile0[i0, 0, i1], tile2[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile0[8 * (i0) + i1] + tile2[8 * (i0) + i1]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gla_backward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ d_state_S_at_chunks) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 128);
    float* const tile1 = (float*)(shared + 896);
    float* const tile2 = (float*)(shared + 896);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 1024);
    float* const tile6 = (float*)(shared + 1152);
    float* const tile7 = (float*)(shared + 384);
    float* const tile8 = (float*)(shared + 384);
    float* const tile9 = (float*)(shared + 128);
    float* const tile10 = (float*)(shared + 384);
    float* const tile11 = (float*)(shared + 512);
    float* const tile12 = (float*)(shared + 768);
    float* const tile13 = (float*)(shared + 640);
    float* const tile14 = (float*)(shared + 128);
    float* const tile15 = (float*)(shared + 512);
    float* const tile16 = (float*)(shared + 640);
    float* const tile17 = (float*)(shared + 0);
    float* const tile18 = (float*)(shared + 512);
    float* const tile19 = (float*)(shared + 128);
    float* const tile20 = (float*)(shared + 256);
    float* const tile21 = (float*)(shared + 384);
    float* const tile22 = (float*)(shared + 768);
    {
        // copy async by 16 bytes: tile17 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async_if<16>(&tile17[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
        }
        // copy async by 16 bytes: tile19 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile19[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile20 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile20[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile21 = in_g[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile21[8 * (i0) + i1], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + i1]);
        }
        // copy async by 16 bytes: tile18 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile18[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile22 = in_q[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile22[8 * (i0) + i1], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile17, 5 copies pending
    wait_for_copies<5>();
    // wait for tile19, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // reduce [4, 4, 8] over [2]: tile1[i0, i1, 0] = Sum (tile19[i1, i2] * tile17[i0, i2])
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
            y.x[0] += tile19[8 * (i1) + i2] * tile17[8 * (i0) + i2];
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
    // wait for tile20, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: tile2[i0, i1] = (tile20[i0, i1] * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile2[8 * (i0) + i1] = tile20[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    // wait for tile21, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: tile3[i0, i1] = add((exp(tile21[i0, i1]) * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile3[8 * (i0) + i1] = (op_exp(tile21[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
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
    // scan of 4 rows, 4 steps, 8 wide: tile5 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile3
    cumulative_product<4, 4, 8>(tile5, tile3, [](int i) -> int { return i + 1; });
    // wait for tile18, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 8, 8] over [2]: tile6[i0, i1, 0] = Sum (tile18[i1, i2] * tile17[i0, i2])
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
            y.x[0] += tile18[8 * (i1) + i2] * tile17[8 * (i0) + i2];
        }
        tile6[8 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: d_in_q[t of row i0; i1] where row i0 is among the queries = (0.35355339059327373 * add(tile4[i0, i1], (tile5[i0, i1] * tile6[i0, i1, 0])))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_q[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = 0.35355338f * (tile4[8 * (i0) + i1] + tile5[8 * (i0) + i1] * tile6[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile7 = ReverseCumulativeProduct tile3
    reverse_cumulative_product<4, 8>(tile7, tile3);
    wait_for_block();
    // map [4, 8]: kept_1[i0, i1] = tile7[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile7[8 * (i0) + i1];
        }
    }
    // map [4, 8]: kept_2[i0, i1] = (tile2[i0, i1] * tile7[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile2[8 * (i0) + i1] * tile7[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile8 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile3
    cumulative_product<1, 4, 8>(tile8, tile3, [](int i) -> int { return 4 * (i) + 4; });
    wait_for_block();
    // map [1, 8]: kept_3[0, i1] = tile8[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile8[i1];
        }
    }
    // wait for tile22, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: tile10[i0, i1] = (tile22[i0, i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile10[8 * (i0) + i1] = tile22[8 * (i0) + i1] * 0.35355338f;
        }
    }
    wait_for_block();
    // map [4, 8]: tile15[i0, i1] = (tile10[i0, i1] * tile6[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile15[8 * (i0) + i1] = tile10[8 * (i0) + i1] * tile6[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile16 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile3 tile15
    cumulative_product_grad<4, 4, 8>(tile16, tile3, tile15, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_8[i0, i1] = tile16[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_8[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile16[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 4 steps, 8 wide: tile11 = Gram(Versions { micro: 1, offsets: [1] }) tile10 tile2 tile3
    gram<4, 4, 8>(tile11, tile10, tile2, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile13 = GramGrad(Versions { micro: 1, offsets: [1] }) tile0 tile10 tile2 tile3
    gram_grad<4, 4, 8>(tile13, tile0, tile10, tile2, tile3, [](int i) -> int { return i + 1; });
    // scan of 4 rows, 4 steps, 8 wide: tile12 = ApplyT(Versions { micro: 1, offsets: [1] }) tile0 tile10 tile3
    apply_t<4, 4, 8>(tile12, tile0, tile10, tile3, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [4, 8]: kept_5[i0, i1] = tile12[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile12[8 * (i0) + i1];
        }
    }
    // map [4, 8]: kept_6[i0, i1] = tile13[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile13[8 * (i0) + i1];
        }
    }
    // reduce [4, 8, 8] over [0]: tile14[0, i1, i2] = Sum ((tile10[i0, i1] * tile5[i0, i1]) * tile17[i0, i2])
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
            y.x[0] += tile10[8 * (i0) + i1] * tile5[8 * (i0) + i1] * tile17[8 * (i0) + i2];
        }
        tile14[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [8, 8]: kept_7[i0, i1] = tile14[0, i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile14[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 4, 8] over [0]: tile9[0, i1, i2] = Sum (tile11[i0, i1] * tile17[i0, i2])
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
            y.x[0] += tile11[4 * (i0) + i1] * tile17[8 * (i0) + i2];
        }
        tile9[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 4, 8]: kept_4[0, i1, i2] = tile9[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 32) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2] = tile9[8 * (i1) + i2];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gla_backward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ d_state_S_at_chunks) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 640);
    float* const tile2_stages = (float*)(shared + 0);
    float* const tile3_stages = (float*)(shared + 128);
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
        // copy async by 16 bytes: tile2 = kept_3[0, i1] of round 0
        {
            float* const tile2 = tile2_stages + 0 % 2 * 8;
            const int e = threadIdx.x;
            const int i1 = (e) * 4;
            if (e < 2) copy_async<16>(&tile2[i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile3 = kept_7[i0, i1] of round 0
        {
            float* const tile3 = tile3_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        float* const tile2 = tile2_stages + round % 2 * 8;
        float* const tile3 = tile3_stages + round % 2 * 64;
        // wait for tile2 tile3, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile2 = kept_3[0, i1] of 1 ahead
            {
                float* const tile2 = tile2_stages + next % 2 * 8;
                const int e = threadIdx.x;
                const int i1 = (e) * 4;
                if (e < 2) copy_async<16>(&tile2[i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile3 = kept_7[i0, i1] of 1 ahead
            {
                float* const tile3 = tile3_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
        }
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
        // map [8, 8]: tile0[i0, i1] = add((tile2[0, i0] * tile0[i0, i1]), tile3[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile0[8 * (i0) + i1] = (tile2[i0] * tile0[8 * (i0) + i1] + tile3[8 * (i0) + i1]);
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
gla_backward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ d_state_S_at_chunks) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 1664);
    float* const tile1 = (float*)(shared + 512);
    float* const tile2 = (float*)(shared + 768);
    float* const tile3 = (float*)(shared + 384);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 384);
    float* const tile6 = (float*)(shared + 640);
    float* const tile7 = (float*)(shared + 384);
    float* const tile8 = (float*)(shared + 0);
    float* const tile9 = (float*)(shared + 256);
    float* const tile10 = (float*)(shared + 256);
    float* const tile11 = (float*)(shared + 896);
    float* const tile12 = (float*)(shared + 384);
    float* const tile13 = (float*)(shared + 512);
    float* const tile14 = (float*)(shared + 640);
    float* const tile15 = (float*)(shared + 768);
    float* const tile16 = (float*)(shared + 1152);
    float* const tile17 = (float*)(shared + 1280);
    float* const tile18 = (float*)(shared + 1408);
    float* const tile19 = (float*)(shared + 1536);
    {
        // copy async by 16 bytes: tile8 = d_state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile8[8 * (i0) + i1], &d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile9 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile9[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile12 = kept_1[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile12[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile13 = kept_5[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile13[8 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile14 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile14[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile15 = kept_0[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile15[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile11 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile11[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile16 = in_g[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile16[8 * (i0) + i1], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + i1]);
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
    // wait for tile8, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile17 = kept_6[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile17[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // wait for tile9, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile18 = kept_8[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile18[8 * (i0) + i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // reduce [8, 4, 8] over [2]: tile0[i0, i1, 0] = Sum (tile9[i1, i2] * tile8[i0, i2])
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
            y.x[0] += tile9[8 * (i1) + i2] * tile8[8 * (i0) + i2];
        }
        tile0[i0 + 8 * (i1)] = y.x[0];
    }
    // wait for tile12, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile10 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile10[8 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // wait for tile13, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile19 = kept_4[0, i1, i2] of round 0
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile19[8 * (i1) + i2], &kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i1) + i2]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [4, 8]: d_in_k[t of row i0; i1] where row i0 is among the queries = ((row i0 is among the queries ? 1 : 0) * add((tile12[i0, i1] * tile0[i1, i0, 0]), tile13...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (i0 < at.valid ? 1.0f : 0.0f) * (tile12[8 * (i0) + i1] * tile0[8 * (i0) + i1] + tile13[8 * (i0) + i1]);
        }
    }
    // wait for tile14, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    // map [4, 8]: tile5[i0, i1] = ((tile14[i0, i1] * (row i0 is among the queries ? 1 : 0)) * tile0[i1, i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile5[8 * (i0) + i1] = tile14[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f) * tile0[8 * (i0) + i1];
        }
    }
    // wait for tile15, 6 copies pending
    wait_for_copies<6>();
    wait_for_block();
    // map [4, 8]: tile1[i0, i1] = tile15[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile1[8 * (i0) + i1] = tile15[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 4 steps, 8 wide: tile6 = ReverseCumulativeProductGrad tile1 tile5
    reverse_cumulative_product_grad<4, 8>(tile6, tile1, tile5);
    // wait for tile11, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // reduce [8, 8] over [1]: tile3[i0, 0] = Sum (tile11[i0, i1] * tile8[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile11[8 * (i0) + i1] * tile8[8 * (i0) + i1];
        }
        tile3[i0] = y.x[0];
    }
    wait_for_block();
    // map [1, 8]: tile2[0, i1] = tile3[i1, 0]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            tile2[i1] = tile3[i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 4 steps, 8 wide: tile4 = CumulativeProductGrad(Versions { micro: 4, offsets: [4] }) tile1 tile2
    cumulative_product_grad<1, 4, 8>(tile4, tile1, tile2, [](int i) -> int { return 4 * (i) + 4; });
    // wait for tile16, 4 copies pending
    wait_for_copies<4>();
    // wait for tile17, 3 copies pending
    wait_for_copies<3>();
    // wait for tile18, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: d_in_g[t of row i0; i1] where row i0 is among the queries = (exp(tile16[i0, i1]) * ((row i0 is among the queries ? 1 : 0) * add(add(add(tile4[i0, i1...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_g[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = op_exp(tile16[8 * (i0) + i1]) * (i0 < at.valid ? 1.0f : 0.0f) * (((tile4[8 * (i0) + i1] + tile6[8 * (i0) + i1]) + tile17[8 * (i0) + i1]) + tile18[8 * (i0) + i1]);
        }
    }
    // wait for tile10, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [8, 4, 8] over [0]: tile7[0, i1, i2] = Sum (tile10[i1, i0] * tile8[i0, i2])
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
            y.x[0] += tile10[i0 + 8 * (i1)] * tile8[8 * (i0) + i2];
        }
        tile7[8 * (i1) + i2] = y.x[0];
    }
    // wait for tile19, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = add(tile7[0, i0, i1], tile19[0, i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile7[8 * (i0) + i1] + tile19[8 * (i0) + i1]);
        }
    }
}
