extern "C" __global__ void __launch_bounds__(128, 1)
gla_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 512);
    float* const tile2 = (float*)(shared + 1024);
    float* const tile3 = (float*)(shared + 896);
    float* const tile4 = (float*)(shared + 768);
    float* const tile5 = (float*)(shared + 768);
    float* const tile6 = (float*)(shared + 768);
    float* const tile7 = (float*)(shared + 768);
    float* const tile8 = (float*)(shared + 1152);
    float* const tile9 = (float*)(shared + 1280);
    float* const tile10 = (float*)(shared + 768);
    float* const tile11 = (float*)(shared + 1280);
    float* const tile12 = (float*)(shared + 1024);
    float* const tile13 = (float*)(shared + 0);
    float* const tile14 = (float*)(shared + 128);
    float* const tile15 = (float*)(shared + 256);
    float* const tile16 = (float*)(shared + 384);
    // map [8, 8]: tile0[i0, i1] = 0
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = 0.0f;
    }
    wait_for_block();
    // map [8, 8]: tile0[i0, i1] = (given state_S_before ? state_S_before[i0, i1] : tile0[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = (state_S_before != 0 ? state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] : tile0[8 * (i0) + i1]);
    }
    // copy async by 16 bytes: tile13 = in_v[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile13[8 * (i0) + 4 * (i1)], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile14 = in_q[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile14[8 * (i0) + 4 * (i1)], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile15 = in_g[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile15[8 * (i0) + 4 * (i1)], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile16 = in_k[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile16[8 * (i0) + 4 * (i1)], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        // wait for tile13 tile14 tile15 tile16, 0 copies pending
        wait_for_copies<0>();
        if (state_S_at_chunks != 0) {
            // map [8, 8]: state_S_at_chunks[i0, i1] = tile0[i0, i1]
            #pragma unroll 1
            for (int e = threadIdx.x; e < 64; e += THREADS) {
                const int i0 = e / 8;
                const int i1 = e % 8;
                state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
            }
        }
        wait_for_block();
        // map [4, 8]: tile4[i0, i1] = exp(tile15[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile4[8 * (i0) + i1] = op_exp(tile15[8 * (i0) + i1]);
        }
        wait_for_block();
        // copy async by 16 bytes: tile15 = in_g[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile15[8 * (i0) + 4 * (i1)], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: tile3[i0, i1] = add((tile4[i0, i1] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile3[8 * (i0) + i1] = (tile4[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile5 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile3
        cumulative_product<4, 4, 8>(tile5, tile3, [](int i) -> int { return i + 1; });
        wait_for_block();
        // reduce [4, 8, 8] over [1]: tile2[i0, 0, i2] = Sum (((tile14[i0, i1] * 0.35355339059327373) * tile5[i0, i1]) * tile0[i1, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile14[8 * (i0) + i1] * 0.35355338f * tile5[8 * (i0) + i1] * tile0[8 * (i1) + i2];
            }
            tile2[8 * (i0) + i2] = x;
        }
        wait_for_block();
        // map [4, 8]: tile7[i0, i1] = (tile14[i0, i1] * 0.35355339059327373)
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile7[8 * (i0) + i1] = tile14[8 * (i0) + i1] * 0.35355338f;
        }
        wait_for_block();
        // copy async by 16 bytes: tile14 = in_q[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile14[8 * (i0) + 4 * (i1)], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: tile8[i0, i1] = (tile16[i0, i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile8[8 * (i0) + i1] = tile16[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // copy async by 16 bytes: tile16 = in_k[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile16[8 * (i0) + 4 * (i1)], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // scan of 4 rows, 4 steps, 8 wide: tile9 = Gram(Versions { micro: 1, offsets: [1] }) tile7 tile8 tile3
        gram<4, 4, 8>(tile9, tile7, tile8, tile3, [](int i) -> int { return i + 1; });
        wait_for_block();
        // reduce [4, 4, 8] over [1]: tile6[i0, 0, i2] = Sum (tile9[i0, i1] * tile13[i1, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i1 = s;
                x += tile9[4 * (i0) + i1] * tile13[8 * (i1) + i2];
            }
            tile6[8 * (i0) + i2] = x;
        }
        wait_for_block();
        // map [4, 8]: out_o[t of row i0; i1] where row i0 is among the queries = add(tile2[i0, 0, i1], tile6[i0, 0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile2[8 * (i0) + i1] + tile6[8 * (i0) + i1]);
        }
        wait_for_block();
        // scan of 1 rows, 4 steps, 8 wide: tile10 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile3
        cumulative_product<1, 4, 8>(tile10, tile3, [](int i) -> int { return 4 * (i) + 4; });
        // scan of 4 rows, 4 steps, 8 wide: tile12 = ReverseCumulativeProduct tile3
        reverse_cumulative_product<4, 8>(tile12, tile3);
        wait_for_block();
        // reduce [8, 4, 8] over [1]: tile11[i0, 0, i2] = Sum (tile13[i1, i2] * (tile8[i1, i0] * tile12[i1, i0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i1 = s;
                x += tile13[8 * (i1) + i2] * tile8[i0 + 8 * (i1)] * tile12[i0 + 8 * (i1)];
            }
            tile11[8 * (i0) + i2] = x;
        }
        wait_for_block();
        // copy async by 16 bytes: tile13 = in_v[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile13[8 * (i0) + 4 * (i1)], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [8, 8]: tile0[i0, i1] = add((tile0[i0, i1] * tile10[0, i0]), tile11[i0, 0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile10[i0] + tile11[8 * (i0) + i1]);
        }
        wait_for_block();
    }
    // map [8, 8]: state_S_after[i0, i1] = tile0[i0, i1]
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gla_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_state_S_before) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 896);
    float* const tile1 = (float*)(shared + 2688);
    float* const tile2 = (float*)(shared + 1280);
    float* const tile3 = (float*)(shared + 1152);
    float* const tile4 = (float*)(shared + 1408);
    float* const tile5 = (float*)(shared + 1536);
    float* const tile6 = (float*)(shared + 1792);
    float* const tile7 = (float*)(shared + 1664);
    float* const tile8 = (float*)(shared + 1664);
    float* const tile9 = (float*)(shared + 1920);
    float* const tile10 = (float*)(shared + 2048);
    float* const tile11 = (float*)(shared + 1920);
    float* const tile12 = (float*)(shared + 1920);
    float* const tile13 = (float*)(shared + 2176);
    float* const tile14 = (float*)(shared + 2048);
    float* const tile15 = (float*)(shared + 1536);
    float* const tile16 = (float*)(shared + 2176);
    float* const tile17 = (float*)(shared + 2432);
    float* const tile18 = (float*)(shared + 2304);
    float* const tile19 = (float*)(shared + 2560);
    float* const tile20 = (float*)(shared + 1152);
    float* const tile21 = (float*)(shared + 2432);
    float* const tile22 = (float*)(shared + 1536);
    float* const tile23 = (float*)(shared + 1152);
    float* const tile24 = (float*)(shared + 1664);
    float* const tile25 = (float*)(shared + 1408);
    float* const tile26 = (float*)(shared + 1152);
    float* const tile27 = (float*)(shared + 0);
    float* const tile28 = (float*)(shared + 128);
    float* const tile29 = (float*)(shared + 256);
    float* const tile30 = (float*)(shared + 512);
    float* const tile31 = (float*)(shared + 640);
    float* const tile32 = (float*)(shared + 768);
    // map [8, 8]: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = (d_state_S_after != 0 ? d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.0f);
    }
    // copy async by 16 bytes: tile27 = d_out_o[t of row i0; i1] of round 0
    if (0 < rounds && d_out_o != 0) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile27[8 * (i0) + 4 * (i1)], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile28 = in_v[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile28[8 * (i0) + 4 * (i1)], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile29 = state_S_at_chunks[i0, i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile29[8 * (i0) + 4 * (i1)], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile30 = in_g[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile30[8 * (i0) + 4 * (i1)], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile31 = in_q[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile31[8 * (i0) + 4 * (i1)], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    // copy async by 16 bytes: tile32 = in_k[t of row i0; i1] of round 0
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            copy_async<16>(&tile32[8 * (i0) + 4 * (i1)], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + 4 * (i1)]);
        }
    }
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        // wait for tile27 tile28 tile29 tile30 tile31 tile32, 0 copies pending
        wait_for_copies<0>();
        wait_for_block();
        // map [4, 8]: tile3[i0, i1] = exp(tile30[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile3[8 * (i0) + i1] = op_exp(tile30[8 * (i0) + i1]);
        }
        wait_for_block();
        // copy async by 16 bytes: tile30 = in_g[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile30[8 * (i0) + 4 * (i1)], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: tile2[i0, i1] = add((tile3[i0, i1] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile2[8 * (i0) + i1] = (tile3[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile4 = ReverseCumulativeProduct tile2
        reverse_cumulative_product<4, 8>(tile4, tile2);
        // reduce [8, 4, 8] over [2]: tile5[i0, i1, 0] = Sum (tile28[i1, i2] * tile0[i0, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 4;
            const int i1 = e % 4;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i2 = s;
                x += tile28[8 * (i1) + i2] * tile0[8 * (i0) + i2];
            }
            tile5[4 * (i0) + i1] = x;
        }
        // reduce [4, 4, 8] over [2]: tile7[i0, i1, 0] = Sum (tile28[i1, i2] * (given d_out_o ? (row i0 is among the queries ? tile27[i0, i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS / 1) {
            const int i0 = e / 4;
            const int i1 = e % 4;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i2 = s;
                x += tile28[8 * (i1) + i2] * (d_out_o != 0 ? (i0 < at.valid ? tile27[8 * (i0) + i2] : 0.0f) : 0.0f);
            }
            tile7[4 * (i0) + i1] = x;
        }
        wait_for_block();
        // copy async by 16 bytes: tile28 = in_v[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile28[8 * (i0) + 4 * (i1)], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 4]: tile6[i0, i1] = tile7[i0, i1, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i0 = e / 4;
            const int i1 = e % 4;
            tile6[4 * (i0) + i1] = tile7[4 * (i0) + i1];
        }
        wait_for_block();
        // map [4, 8]: tile8[i0, i1] = (tile31[i0, i1] * 0.35355339059327373)
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile8[8 * (i0) + i1] = tile31[8 * (i0) + i1] * 0.35355338f;
        }
        wait_for_block();
        // copy async by 16 bytes: tile31 = in_q[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile31[8 * (i0) + 4 * (i1)], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // scan of 4 rows, 4 steps, 8 wide: tile9 = ApplyT(Versions { micro: 1, offsets: [1] }) tile6 tile8 tile2
        apply_t<4, 4, 8>(tile9, tile6, tile8, tile2, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [4, 8]: d_in_k[t of row i0; i1] where row i0 is among the queries = ((row i0 is among the queries ? 1 : 0) * add((tile4[i0, i1] * tile5[i1, i0, 0]), tile9[i...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (i0 < at.valid ? 1.0f : 0.0f) * (tile4[8 * (i0) + i1] * tile5[i0 + 4 * (i1)] + tile9[8 * (i0) + i1]);
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile11[i0, 0] = Sum (tile29[i0, i1] * tile0[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile29[8 * (i0) + i1] * tile0[8 * (i0) + i1];
            }
            tile11[i0] = x;
        }
        wait_for_block();
        // map [1, 8]: tile10[0, i1] = tile11[i1, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i1 = e;
            tile10[i1] = tile11[i1];
        }
        wait_for_block();
        // scan of 1 rows, 4 steps, 8 wide: tile12 = CumulativeProductGrad(Versions { micro: 4, offsets: [4] }) tile2 tile10
        cumulative_product_grad<1, 4, 8>(tile12, tile2, tile10, [](int i) -> int { return 4 * (i) + 4; });
        wait_for_block();
        // map [4, 8]: tile14[i0, i1] = (tile32[i0, i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile14[8 * (i0) + i1] = tile32[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // copy async by 16 bytes: tile32 = in_k[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile32[8 * (i0) + 4 * (i1)], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: tile13[i0, i1] = (tile14[i0, i1] * tile5[i1, i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile13[8 * (i0) + i1] = tile14[8 * (i0) + i1] * tile5[i0 + 4 * (i1)];
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile15 = ReverseCumulativeProductGrad tile2 tile13
        reverse_cumulative_product_grad<4, 8>(tile15, tile2, tile13);
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile16 = GramGrad(Versions { micro: 1, offsets: [1] }) tile6 tile8 tile14 tile2
        gram_grad<4, 4, 8>(tile16, tile6, tile8, tile14, tile2, [](int i) -> int { return i + 1; });
        // reduce [4, 8, 8] over [2]: tile18[i0, i1, 0] = Sum (tile29[i1, i2] * (given d_out_o ? (row i0 is among the queries ? tile27[i0, i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i2 = s;
                x += tile29[8 * (i1) + i2] * (d_out_o != 0 ? (i0 < at.valid ? tile27[8 * (i0) + i2] : 0.0f) : 0.0f);
            }
            tile18[8 * (i0) + i1] = x;
        }
        wait_for_block();
        // copy async by 16 bytes: tile29 = state_S_at_chunks[i0, i1] of 1 ahead
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 16; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile29[8 * (i0) + 4 * (i1)], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: tile17[i0, i1] = (tile8[i0, i1] * tile18[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile17[8 * (i0) + i1] = tile8[8 * (i0) + i1] * tile18[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile19 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile2 tile17
        cumulative_product_grad<4, 4, 8>(tile19, tile2, tile17, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [4, 8]: d_in_g[t of row i0; i1] where row i0 is among the queries = (tile3[i0, i1] * ((row i0 is among the queries ? 1 : 0) * add(add(add(tile12[i0, i1], ti...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_g[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile3[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f) * (((tile12[8 * (i0) + i1] + tile15[8 * (i0) + i1]) + tile16[8 * (i0) + i1]) + tile19[8 * (i0) + i1]);
        }
        wait_for_block();
        // scan of 1 rows, 4 steps, 8 wide: tile20 = CumulativeProduct(Versions { micro: 4, offsets: [4] }) tile2
        cumulative_product<1, 4, 8>(tile20, tile2, [](int i) -> int { return 4 * (i) + 4; });
        // scan of 4 rows, 4 steps, 8 wide: tile22 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile2
        cumulative_product<4, 4, 8>(tile22, tile2, [](int i) -> int { return i + 1; });
        wait_for_block();
        // reduce [4, 8, 8] over [0]: tile21[0, i1, i2] = Sum ((tile8[i0, i1] * tile22[i0, i1]) * (given d_out_o ? (row i0 is among the queries ? tile27[i0, i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS / 1) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i0 = s;
                x += tile8[8 * (i0) + i1] * tile22[8 * (i0) + i1] * (d_out_o != 0 ? (i0 < at.valid ? tile27[8 * (i0) + i2] : 0.0f) : 0.0f);
            }
            tile21[8 * (i1) + i2] = x;
        }
        wait_for_block();
        // map [8, 8]: tile1[i0, i1] = add((tile20[0, i0] * tile0[i0, i1]), tile21[0, i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile1[8 * (i0) + i1] = (tile20[i0] * tile0[8 * (i0) + i1] + tile21[8 * (i0) + i1]);
        }
        wait_for_block();
        // reduce [8, 4, 8] over [0]: tile23[0, i1, i2] = Sum ((tile14[i1, i0] * tile4[i1, i0]) * tile0[i0, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                x += tile14[i0 + 8 * (i1)] * tile4[i0 + 8 * (i1)] * tile0[8 * (i0) + i2];
            }
            tile23[8 * (i1) + i2] = x;
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile25 = Gram(Versions { micro: 1, offsets: [1] }) tile8 tile14 tile2
        gram<4, 4, 8>(tile25, tile8, tile14, tile2, [](int i) -> int { return i + 1; });
        wait_for_block();
        // reduce [4, 4, 8] over [0]: tile24[0, i1, i2] = Sum (tile25[i0, i1] * (given d_out_o ? (row i0 is among the queries ? tile27[i0, i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i0 = s;
                x += tile25[4 * (i0) + i1] * (d_out_o != 0 ? (i0 < at.valid ? tile27[8 * (i0) + i2] : 0.0f) : 0.0f);
            }
            tile24[8 * (i1) + i2] = x;
        }
        wait_for_block();
        // copy async by 16 bytes: tile27 = d_out_o[t of row i0; i1] of 1 ahead
        if (round + 1 < rounds && d_out_o != 0) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks[at.sequence] + c;
            #pragma unroll 1
            for (int e = threadIdx.x; e < 8; e += THREADS) {
                const int i0 = e / 2;
                const int i1 = e % 2;
                copy_async<16>(&tile27[8 * (i0) + 4 * (i1)], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + 4 * (i1)]);
            }
        }
        commit_copies();
        // map [4, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = add(tile23[0, i0, i1], tile24[0, i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile23[8 * (i0) + i1] + tile24[8 * (i0) + i1]);
        }
        wait_for_block();
        // scan of 4 rows, 4 steps, 8 wide: tile26 = Apply(Versions { micro: 1, offsets: [1] }) tile6 tile14 tile2
        apply<4, 4, 8>(tile26, tile6, tile14, tile2, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [4, 8]: d_in_q[t of row i0; i1] where row i0 is among the queries = (0.35355339059327373 * add(tile26[i0, i1], (tile22[i0, i1] * tile18[i0, i1, 0])))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_q[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = 0.35355338f * (tile26[8 * (i0) + i1] + tile22[8 * (i0) + i1] * tile18[8 * (i0) + i1]);
        }
        // map [8, 8]: tile0[i0, i1] = tile1[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile0[8 * (i0) + i1] = tile1[8 * (i0) + i1];
        }
        wait_for_block();
    }
    if (d_state_S_before != 0) {
        // map [8, 8]: d_state_S_before[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            d_state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
        }
    }
}
