extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks) {
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
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 1536);
    float* const tile2 = (float*)(shared + 2048);
    float* const tile3 = (float*)(shared + 1792);
    float* const tile4 = (float*)(shared + 0);
    float* const tile5 = (float*)(shared + 128);
    float* const tile6 = (float*)(shared + 0);
    float* const tile7 = (float*)(shared + 0);
    float* const tile8 = (float*)(shared + 0);
    float* const tile9 = (float*)(shared + 2176);
    float* const tile10 = (float*)(shared + 256);
    float* const tile11 = (float*)(shared + 2432);
    float* const tile12 = (float*)(shared + 2560);
    float* const tile13 = (float*)(shared + 768);
    float* const tile14 = (float*)(shared + 0);
    float* const tile15 = (float*)(shared + 2816);
    bf16* const tile16 = (bf16*)(shared + 0);
    float* const tile17 = (float*)(shared + 1024);
    bf16* const tile18 = (bf16*)(shared + 768);
    float* const tile19 = (float*)(shared + 2048);
    bf16* const tile20 = (bf16*)(shared + 0);
    bf16* const tile21 = (bf16*)(shared + 768);
    float* const tile22 = (float*)(shared + 2432);
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
    wait_for_block();
    #pragma unroll 1
    for (int c = 0; c < (at.length + 3) / 4; c++) {
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        if (state_S_at_chunks != 0) {
            // map [8, 8]: state_S_at_chunks[i0, i1] = tile0[i0, i1]
            #pragma unroll 1
            for (int e = threadIdx.x; e < 64; e += THREADS) {
                const int i0 = e / 8;
                const int i1 = e % 8;
                state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile0[8 * (i0) + i1];
            }
        }
        // map [4, 8]: tile4[i0, i1] = exp(in_w[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile4[8 * (i0) + i1] = op_exp(in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // map [4, 2, 1]: tile5[i0, i1, 0] = (i1 < 1 ? (row i0+i1 is among the queries ? 1 : 0) : (row i0+i1+-1 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            tile5[2 * (i0) + i1] = (i1 < 1 ? (i0 + i1 < at.valid ? 1.0f : 0.0f) : (i0 + i1 + -1 < at.valid ? 1.0f : 0.0f));
        }
        wait_for_block();
        // map [8, 8]: tile3[i0, i1] = add((((i0)%2 < 1 ? tile4[(i0)/2+(i0)%2, i1] : 1) * tile5[(i0)/2, (i0)%2, 0]), sub(1, tile5[(i0)/2, (i0)%2, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile3[8 * (i0) + i1] = (((i0) % 2 < 1 ? tile4[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : 1.0f) * tile5[2 * ((i0) / 2) + (i0) % 2] + (1.0f - tile5[2 * ((i0) / 2) + (i0) % 2]));
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile6 = CumulativeProduct(Versions { micro: 2, offsets: [2] }) tile3
        cumulative_product<4, 8, 8>(tile6, tile3, [](int i) -> int { return 2 * (i) + 2; });
        wait_for_block();
        // reduce [4, 8, 8] over [1]: tile2[i0, 0, i2] = Sum (tile0[i1, i2] * (in_r[t of row i0; i1] * tile6[i0, i1]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile0[8 * (i1) + i2] * in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1] * tile6[8 * (i0) + i1];
            }
            tile2[8 * (i0) + i2] = x;
        }
        wait_for_block();
        // map [4, 8]: tile8[i0, i1] = in_r[t of row i0; i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile8[8 * (i0) + i1] = in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1];
        }
        // map [4, 8]: tile10[i0, i1] = (in_kk[t of row i0; i1] * in_a[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile10[8 * (i0) + i1] = in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1] * in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1];
        }
        wait_for_block();
        // map [8, 8]: tile9[i0, i1] = (((i0)%2 < 1 ? tile10[(i0)/2+(i0)%2, i1] : in_k[t of row (i0)/2+(i0)%2+-1; i1]) * tile5[(i0)/2, (i0)%2, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile9[8 * (i0) + i1] = ((i0) % 2 < 1 ? tile10[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : in_k[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2 + -1)) * heads_in_k + own_in_k) * 8 + i1]) * tile5[2 * ((i0) / 2) + (i0) % 2];
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile11 = Gram(Versions { micro: 2, offsets: [2] }) tile8 tile9 tile3
        gram<4, 8, 8>(tile11, tile8, tile9, tile3, [](int i) -> int { return 2 * (i) + 2; });
        // map [8, 8]: tile13[i0, i1] = ((i0)%2 < 1 ? neg(in_kk[t of row (i0)/2+(i0)%2; i1]) : 0)
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile13[8 * (i0) + i1] = ((i0) % 2 < 1 ? op_neg(in_kk[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2)) * heads_in_kk + own_in_kk) * 8 + i1]) : 0.0f);
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile14 = Gram(Versions { micro: 2, offsets: [0, 0] }) tile13 tile9 tile3
        gram<8, 8, 8>(tile14, tile13, tile9, tile3, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // map [8, 8]: tile12[i0, i1] = neg(tile14[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile12[8 * (i0) + i1] = op_neg(tile14[8 * (i0) + i1]);
        }
        // scan of 8 rows, 8 steps, 8 wide: tile17 = CumulativeProduct(Versions { micro: 2, offsets: [0, 0] }) tile3
        cumulative_product<8, 8, 8>(tile17, tile3, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile16[i0, i1] = (tile13[i0, i1] * tile17[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile16[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile13[8 * (i0) + i1] * tile17[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile18[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile18[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile16 tile18 over 8; tile15[i0, i1] = add(((i0)%2 < 1 ? 0 : in_v[t of row (i0)/2+(i0)%2+-1; i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile16, tile18, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile15[8 * (i0) + i1] = (((i0) % 2 < 1 ? 0.0f : in_v[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2 + -1)) * heads_in_v + own_in_v) * 8 + i1]) + sum);
                }
            });
        }
        wait_for_block();
        // solve tile12: tile15
        solve<8, 8, false>(tile12, tile15);
        wait_for_block();
        // reduce [4, 8, 8] over [1]: tile7[i0, 0, i2] = Sum (tile11[i0, i1] * tile15[i1, i2])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile11[8 * (i0) + i1] * tile15[8 * (i1) + i2];
            }
            tile7[8 * (i0) + i2] = x;
        }
        wait_for_block();
        // map [4, 8]: out_o[t of row i0; i1] where row i0 is among the queries = add(tile2[i0, 0, i1], tile7[i0, 0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile2[8 * (i0) + i1] + tile7[8 * (i0) + i1]);
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 8 wide: tile19 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile3
        cumulative_product<1, 8, 8>(tile19, tile3, [](int i) -> int { return 8 * (i) + 8; });
        // map [8, 8] filled to [16, 16]: tile20[i0, i1] = tile15[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile20[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile15[8 * (i0) + i1] : 0.f);
        }
        // scan of 8 rows, 8 steps, 8 wide: tile22 = ReverseCumulativeProduct tile3
        reverse_cumulative_product<8, 8>(tile22, tile3);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile21[i0, i1] = (tile9[i0, i1] * tile22[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile21[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile9[8 * (i0) + i1] * tile22[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile20ᵀ tile21 over 8; tile0[i0, i1] = add((tile0[i0, i1] * tile19[0, i0]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile20, tile21, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile19[i0] + sum);
                }
            });
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
rwkv7_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before) {
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
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 3072);
    float* const tile2 = (float*)(shared + 3584);
    float* const tile3 = (float*)(shared + 3328);
    float* const tile4 = (float*)(shared + 3456);
    float* const tile5 = (float*)(shared + 3840);
    float* const tile6 = (float*)(shared + 5504);
    bf16* const tile7 = (bf16*)(shared + 0);
    bf16* const tile8 = (bf16*)(shared + 768);
    float* const tile9 = (float*)(shared + 4608);
    float* const tile10 = (float*)(shared + 4096);
    float* const tile11 = (float*)(shared + 4352);
    float* const tile12 = (float*)(shared + 768);
    float* const tile13 = (float*)(shared + 768);
    float* const tile14 = (float*)(shared + 5248);
    bf16* const tile15 = (bf16*)(shared + 768);
    float* const tile16 = (float*)(shared + 4864);
    bf16* const tile17 = (bf16*)(shared + 1536);
    float* const tile18 = (float*)(shared + 2432);
    float* const tile19 = (float*)(shared + 5120);
    float* const tile20 = (float*)(shared + 2304);
    float* const tile21 = (float*)(shared + 6016);
    float* const tile22 = (float*)(shared + 4608);
    bf16* const tile23 = (bf16*)(shared + 0);
    float* const tile24 = (float*)(shared + 5760);
    bf16* const tile25 = (bf16*)(shared + 2304);
    float* const tile26 = (float*)(shared + 5760);
    float* const tile27 = (float*)(shared + 4608);
    float* const tile28 = (float*)(shared + 1536);
    float* const tile29 = (float*)(shared + 6272);
    float* const tile30 = (float*)(shared + 128);
    float* const tile31 = (float*)(shared + 0);
    float* const tile32 = (float*)(shared + 256);
    float* const tile33 = (float*)(shared + 512);
    float* const tile34 = (float*)(shared + 256);
    float* const tile35 = (float*)(shared + 0);
    float* const tile36 = (float*)(shared + 384);
    float* const tile37 = (float*)(shared + 1536);
    float* const tile38 = (float*)(shared + 1792);
    float* const tile39 = (float*)(shared + 1536);
    float* const tile40 = (float*)(shared + 256);
    float* const tile41 = (float*)(shared + 0);
    float* const tile42 = (float*)(shared + 2048);
    float* const tile43 = (float*)(shared + 3840);
    float* const tile44 = (float*)(shared + 4608);
    float* const tile45 = (float*)(shared + 3840);
    float* const tile46 = (float*)(shared + 256);
    float* const tile47 = (float*)(shared + 512);
    float* const tile48 = (float*)(shared + 384);
    float* const tile49 = (float*)(shared + 256);
    // map [8, 8]: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = (d_state_S_after != 0 ? d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.0f);
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = (at.length + 3) / 4 - 1; c >= 0; c--) {
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks[at.sequence] + c;
        // map [4, 8]: tile3[i0, i1] = exp(in_w[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile3[8 * (i0) + i1] = op_exp(in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // map [4, 2, 1]: tile4[i0, i1, 0] = (i1 < 1 ? (row i0+i1 is among the queries ? 1 : 0) : (row i0+i1+-1 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e / 2;
            const int i1 = e % 2;
            tile4[2 * (i0) + i1] = (i1 < 1 ? (i0 + i1 < at.valid ? 1.0f : 0.0f) : (i0 + i1 + -1 < at.valid ? 1.0f : 0.0f));
        }
        wait_for_block();
        // map [8, 8]: tile2[i0, i1] = add((((i0)%2 < 1 ? tile3[(i0)/2+(i0)%2, i1] : 1) * tile4[(i0)/2, (i0)%2, 0]), sub(1, tile4[(i0)/2, (i0)%2, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile2[8 * (i0) + i1] = (((i0) % 2 < 1 ? tile3[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : 1.0f) * tile4[2 * ((i0) / 2) + (i0) % 2] + (1.0f - tile4[2 * ((i0) / 2) + (i0) % 2]));
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile5 = CumulativeProduct(Versions { micro: 2, offsets: [0, 0] }) tile2
        cumulative_product<8, 8, 8>(tile5, tile2, [](int i) -> int { return 2 * ((i) / 2); });
        // map [8, 8] filled to [16, 16]: tile7[i0, i1] = state_S_at_chunks[i0, i1]
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile7[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.f);
        }
        // map [8, 8]: tile10[i0, i1] = ((i0)%2 < 1 ? neg(in_kk[t of row (i0)/2+(i0)%2; i1]) : 0)
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile10[8 * (i0) + i1] = ((i0) % 2 < 1 ? op_neg(in_kk[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2)) * heads_in_kk + own_in_kk) * 8 + i1]) : 0.0f);
        }
        // map [4, 8]: tile12[i0, i1] = (in_kk[t of row i0; i1] * in_a[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile12[8 * (i0) + i1] = in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1] * in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1];
        }
        wait_for_block();
        // map [8, 8]: tile11[i0, i1] = (((i0)%2 < 1 ? tile12[(i0)/2+(i0)%2, i1] : in_k[t of row (i0)/2+(i0)%2+-1; i1]) * tile4[(i0)/2, (i0)%2, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile11[8 * (i0) + i1] = ((i0) % 2 < 1 ? tile12[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : in_k[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2 + -1)) * heads_in_k + own_in_k) * 8 + i1]) * tile4[2 * ((i0) / 2) + (i0) % 2];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile13 = Gram(Versions { micro: 2, offsets: [0, 0] }) tile10 tile11 tile2
        gram<8, 8, 8>(tile13, tile10, tile11, tile2, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // map [8, 8]: tile9[i0, i1] = neg(tile13[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile9[8 * (i0) + i1] = op_neg(tile13[8 * (i0) + i1]);
        }
        // scan of 8 rows, 8 steps, 8 wide: tile16 = ReverseCumulativeProduct tile2
        reverse_cumulative_product<8, 8>(tile16, tile2);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile15[i0, i1] = (tile11[i0, i1] * tile16[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile15[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile11[8 * (i0) + i1] * tile16[8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile17[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile17[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        // map [4, 8]: tile19[i0, i1] = in_r[t of row i0; i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile19[8 * (i0) + i1] = in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1];
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile20 = Gram(Versions { micro: 2, offsets: [2] }) tile19 tile11 tile2
        gram<4, 8, 8>(tile20, tile19, tile11, tile2, [](int i) -> int { return 2 * (i) + 2; });
        wait_for_block();
        // reduce [4, 8, 8] over [0]: tile18[0, i1, i2] = Sum (tile20[i0, i1] * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS / 1) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i0 = s;
                x += tile20[8 * (i0) + i1] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i2] : 0.0f) : 0.0f);
            }
            tile18[8 * (i1) + i2] = x;
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile15 tile17 over 8; tile14[i0, i1] = add(sum, tile18[0, i0, i1])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile15, tile17, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile14[8 * (i0) + i1] = (sum + tile18[8 * (i0) + i1]);
                }
            });
        }
        wait_for_block();
        // solve tile9ᵀ: tile14
        solve<8, 8, true>(tile9, tile14);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile8[i0, i1] = tile14[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile8[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile14[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile7 tile8ᵀ over 8; tile6[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile7, tile8, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile6[i0 + 8 * (i1)] = sum;
                }
            });
        }
        // map [8, 8]: tile26[i0, i1] = (tile10[i0, i1] * tile5[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile26[8 * (i0) + i1] = tile10[8 * (i0) + i1] * tile5[8 * (i0) + i1];
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile25[i0, i1] = tile26[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile25[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile26[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile25 tile7 over 8; tile24[i0, i1] = add(((i0)%2 < 1 ? 0 : in_v[t of row (i0)/2+(i0)%2+-1; i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile25, tile7, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile24[8 * (i0) + i1] = (((i0) % 2 < 1 ? 0.0f : in_v[((long long)(at.start + inside(at, (i0) / 2 + (i0) % 2 + -1)) * heads_in_v + own_in_v) * 8 + i1]) + sum);
                }
            });
        }
        wait_for_block();
        // solve tile9: tile24
        solve<8, 8, false>(tile9, tile24);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile23[i0, i1] = tile24[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile23[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile24[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile8 tile23ᵀ over 8; tile22[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile8, tile23, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile22[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8]: tile21[i0, i1] = (tile22[i0, 0, i1] * (i1 < i0 ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile21[8 * (i0) + i1] = tile22[8 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f);
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile27 = Apply(Versions { micro: 2, offsets: [0, 0] }) tile21 tile11 tile2
        apply<8, 8, 8>(tile27, tile21, tile11, tile2, [](int i) -> int { return 2 * ((i) / 2); });
        // product [8, 8] in 16x16: sum = tile23 tile17ᵀ over 8; tile29[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile23, tile17, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile29[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // reduce [4, 8, 8] over [2]: tile31[i0, i1, 0] = Sum (tile24[i1, i2] * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i2] : 0) : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i2 = s;
                x += tile24[8 * (i1) + i2] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i2] : 0.0f) : 0.0f);
            }
            tile31[8 * (i0) + i1] = x;
        }
        wait_for_block();
        // map [4, 8]: tile30[i0, i1] = tile31[i0, i1, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile30[8 * (i0) + i1] = tile31[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile32 = ApplyT(Versions { micro: 2, offsets: [2] }) tile30 tile19 tile2
        apply_t<4, 8, 8>(tile32, tile30, tile19, tile2, [](int i) -> int { return 2 * (i) + 2; });
        // scan of 8 rows, 8 steps, 8 wide: tile33 = ApplyT(Versions { micro: 2, offsets: [0, 0] }) tile21 tile10 tile2
        apply_t<8, 8, 8>(tile33, tile21, tile10, tile2, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // map [8, 8]: tile28[i0, i1] = add(add((tile16[i0, i1] * tile29[i1, i0, 0]), tile32[i0, i1]), tile33[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile28[8 * (i0) + i1] = ((tile16[8 * (i0) + i1] * tile29[i0 + 8 * (i1)] + tile32[8 * (i0) + i1]) + tile33[8 * (i0) + i1]);
        }
        wait_for_block();
        // map [4, 8]: d_in_kk[t of row i0; i1] where row i0 is among the queries = add(neg(add((tile5[2*i0, i1] * tile6[2*i0, i1, 0]), tile27[2*i0, i1])), (in_a[t of row ...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_kk[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (op_neg((tile5[16 * (i0) + i1] * tile6[16 * (i0) + i1] + tile27[16 * (i0) + i1])) + in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1] * tile4[2 * (i0)] * tile28[16 * (i0) + i1]);
        }
        // map [4, 8]: d_in_a[t of row i0; i1] where row i0 is among the queries = (in_kk[t of row i0; i1] * (tile4[i0, 0, 0] * tile28[2*i0, i1]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_a[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1] * tile4[2 * (i0)] * tile28[16 * (i0) + i1];
        }
        // map [4, 8]: d_in_k[t of row i0; i1] where row i0 is among the queries = (tile4[i0, 1, 0] * tile28[2*i0+1, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile4[2 * (i0) + 1] * tile28[16 * (i0) + i1 + 8];
        }
        // reduce [8, 8] over [1]: tile35[i0, 0] = Sum (state_S_at_chunks[i0, i1] * tile0[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] * tile0[8 * (i0) + i1];
            }
            tile35[i0] = x;
        }
        wait_for_block();
        // map [1, 8]: tile34[0, i1] = tile35[i1, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i1 = e;
            tile34[i1] = tile35[i1];
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 8 wide: tile36 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile2 tile34
        cumulative_product_grad<1, 8, 8>(tile36, tile2, tile34, [](int i) -> int { return 8 * (i) + 8; });
        // map [8, 8]: tile37[i0, i1] = (tile11[i0, i1] * tile29[i1, i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile37[8 * (i0) + i1] = tile11[8 * (i0) + i1] * tile29[i0 + 8 * (i1)];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile38 = ReverseCumulativeProductGrad tile2 tile37
        reverse_cumulative_product_grad<8, 8>(tile38, tile2, tile37);
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile39 = GramGrad(Versions { micro: 2, offsets: [2] }) tile30 tile19 tile11 tile2
        gram_grad<4, 8, 8>(tile39, tile30, tile19, tile11, tile2, [](int i) -> int { return 2 * (i) + 2; });
        // reduce [4, 8, 8] over [2]: tile41[i0, i1, 0] = Sum (state_S_at_chunks[i1, i2] * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i2] : 0) : ...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS / 1) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i2 = s;
                x += state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i2] : 0.0f) : 0.0f);
            }
            tile41[8 * (i0) + i1] = x;
        }
        wait_for_block();
        // map [4, 8]: tile40[i0, i1] = (tile19[i0, i1] * tile41[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile40[8 * (i0) + i1] = tile19[8 * (i0) + i1] * tile41[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile42 = CumulativeProductGrad(Versions { micro: 2, offsets: [2] }) tile2 tile40
        cumulative_product_grad<4, 8, 8>(tile42, tile2, tile40, [](int i) -> int { return 2 * (i) + 2; });
        // map [8, 8]: tile43[i0, i1] = (tile10[i0, i1] * tile6[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile43[8 * (i0) + i1] = tile10[8 * (i0) + i1] * tile6[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile44 = CumulativeProductGrad(Versions { micro: 2, offsets: [0, 0] }) tile2 tile43
        cumulative_product_grad<8, 8, 8>(tile44, tile2, tile43, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // scan of 8 rows, 8 steps, 8 wide: tile45 = GramGrad(Versions { micro: 2, offsets: [0, 0] }) tile21 tile10 tile11 tile2
        gram_grad<8, 8, 8>(tile45, tile21, tile10, tile11, tile2, [](int i) -> int { return 2 * ((i) / 2); });
        wait_for_block();
        // map [4, 8]: d_in_w[t of row i0; i1] where row i0 is among the queries = (tile3[i0, i1] * (tile4[i0, 0, 0] * add(add(add(add(add(tile36[2*i0, i1], tile38[2*i0, i...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_w[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile3[8 * (i0) + i1] * tile4[2 * (i0)] * (((((tile36[16 * (i0) + i1] + tile38[16 * (i0) + i1]) + tile39[16 * (i0) + i1]) + tile42[16 * (i0) + i1]) + tile44[16 * (i0) + i1]) + tile45[16 * (i0) + i1]);
        }
        // scan of 1 rows, 8 steps, 8 wide: tile46 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile2
        cumulative_product<1, 8, 8>(tile46, tile2, [](int i) -> int { return 8 * (i) + 8; });
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile48 = CumulativeProduct(Versions { micro: 2, offsets: [2] }) tile2
        cumulative_product<4, 8, 8>(tile48, tile2, [](int i) -> int { return 2 * (i) + 2; });
        wait_for_block();
        // reduce [4, 8, 8] over [0]: tile47[0, i1, i2] = Sum ((tile19[i0, i1] * tile48[i0, i1]) * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i2]...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS / 1) {
            const int i1 = e / 8;
            const int i2 = e % 8;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i0 = s;
                x += tile19[8 * (i0) + i1] * tile48[8 * (i0) + i1] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i2] : 0.0f) : 0.0f);
            }
            tile47[8 * (i1) + i2] = x;
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile25ᵀ tile8 over 8; tile0[i0, i1] = add((tile46[0, i0] * tile0[i0, i1]), add(tile47[0, i0, i1], sum))
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile25, tile8, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile46[i0] * tile0[8 * (i0) + i1] + (tile47[8 * (i0) + i1] + sum));
                }
            });
        }
        // map [4, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = tile14[2*i0+1, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile14[16 * (i0) + i1 + 8];
        }
        wait_for_block();
        // scan of 4 rows, 8 steps, 8 wide: tile49 = Apply(Versions { micro: 2, offsets: [2] }) tile30 tile11 tile2
        apply<4, 8, 8>(tile49, tile30, tile11, tile2, [](int i) -> int { return 2 * (i) + 2; });
        wait_for_block();
        // map [4, 8]: d_in_r[t of row i0; i1] where row i0 is among the queries = add(tile49[i0, i1], (tile48[i0, i1] * tile41[i0, i1, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 32; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_r[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile49[8 * (i0) + i1] + tile48[8 * (i0) + i1] * tile41[8 * (i0) + i1]);
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
