extern "C" __global__ void __launch_bounds__(128, 1)
mamba2_ssd_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_dt, int heads_in_dt, const float* __restrict__ in_B, int heads_in_B, const float* __restrict__ in_C, int heads_in_C, const float* __restrict__ param_A, int heads_param_A, const float* __restrict__ param_D, int heads_param_D, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks) {
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
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
    float* const tile0 = (float*)(shared + 3840);
    bf16* const tile2 = (bf16*)(shared + 0);
    float* const tile3 = (float*)(shared + 4096);
    float* const tile4 = (float*)(shared + 128);
    float* const tile5 = (float*)(shared + 0);
    float* const tile6 = (float*)(shared + 768);
    bf16* const tile7 = (bf16*)(shared + 768);
    bf16* const tile8 = (bf16*)(shared + 3072);
    bf16* const tile9 = (bf16*)(shared + 1536);
    bf16* const tile10 = (bf16*)(shared + 2304);
    float* const tile11 = (float*)(shared + 4224);
    float* const tile12 = (float*)(shared + 4480);
    bf16* const tile13 = (bf16*)(shared + 1536);
    float* const tile14 = (float*)(shared + 2304);
    float* const tile15 = (float*)(shared + 768);
    bf16* const tile16 = (bf16*)(shared + 0);
    float* const tile17 = (float*)(shared + 896);
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
    for (int c = 0; c < (at.length + 7) / 8; c++) {
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
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
        // map [8]: tile5[i0] = (in_dt[t of row i0] * param_A[])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile5[i0] = in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * param_A[(long long)(own_param_A) * 1 + 0];
        }
        wait_for_block();
        // map [8, 1]: tile4[i0, 0] = (exp(tile5[i0]) * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile4[i0] = op_exp(tile5[i0]) * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 1]: tile3[i0, 0] = add(tile4[i0, 0], sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile3[i0] = (tile4[i0] + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile6 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile3
        cumulative_product<8, 8, 1>(tile6, tile3, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile2[i0, i1] = (in_C[t of row i0; i1] * tile6[i0, 0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile2[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1] * tile6[i0] : 0.f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile7[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile7[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile9[i0, i1] = in_C[t of row i0; i1]
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile9[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1] : 0.f);
        }
        // map [8, 8]: tile11[i0, i1] = (in_B[t of row i0; i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile11[8 * (i0) + i1] = in_B[((long long)(at.start + inside(at, i0)) * heads_in_B + own_in_B) * 8 + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile10[i0, i1] = tile11[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile10[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile11[8 * (i0) + i1] : 0.f);
        }
        // scan of 8 rows, 8 steps, 1 wide: tile12 = DecayMask(Versions { micro: 1, offsets: [1] }) tile3
        decay_mask<8, 8>(tile12, tile3, [](int i) -> int { return i + 1; });
        wait_for_block();
        // product [8, 8] in 16x16, filled: sum = tile9 tile10ᵀ over 8; tile8[i0, i1] = (sum * tile12[i0, i1])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile9, tile10, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                tile8[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? sum * tile12[8 * (i0) + i1] : 0.f);
            });
        }
        wait_for_block();
        // map [8, 8]: tile14[i0, i1] = (in_dt[t of row i0] * in_x[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile14[8 * (i0) + i1] = in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1];
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile13[i0, i1] = tile14[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile13[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile14[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile2 tile7 over 8 + tile8 tile13 over 8; out_o[t of row i0; i1] where row i0 is among the queries = add(sum, (in_x[t of row i0; ...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile2, tile7, row0, col0);
            sums.add<16, false, 24, false, 24>(tile8, tile13, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (sum + in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1] * param_D[(long long)(own_param_D) * 1 + 0]);
                }
            });
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile15 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile3
        cumulative_product<1, 8, 1>(tile15, tile3, [](int i) -> int { return 8 * (i) + 8; });
        // scan of 8 rows, 8 steps, 1 wide: tile17 = ReverseCumulativeProduct tile3
        reverse_cumulative_product<8, 1>(tile17, tile3);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile16[i0, i1] = (tile11[i0, i1] * tile17[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile16[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile11[8 * (i0) + i1] * tile17[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile13ᵀ tile16 over 8; tile0[i0, i1] = add((tile0[i0, i1] * tile15[0, 0]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile13, tile16, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile15[0] + sum);
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
mamba2_ssd_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_dt, int heads_in_dt, const float* __restrict__ in_B, int heads_in_B, const float* __restrict__ in_C, int heads_in_C, const float* __restrict__ param_A, int heads_param_A, const float* __restrict__ param_D, int heads_param_D, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_x, float* __restrict__ d_in_dt, float* __restrict__ d_in_B, float* __restrict__ d_in_C, float* __restrict__ d_param_A, float* __restrict__ d_param_D, float* __restrict__ d_state_S_before) {
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
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
    float* const tile0 = (float*)(shared + 3840);
    float* const tile1 = (float*)(shared + 4096);
    float* const tile2 = (float*)(shared + 4224);
    float* const tile4 = (float*)(shared + 4480);
    float* const tile5 = (float*)(shared + 0);
    float* const tile6 = (float*)(shared + 4352);
    float* const tile7 = (float*)(shared + 4608);
    float* const tile8 = (float*)(shared + 4736);
    bf16* const tile9 = (bf16*)(shared + 0);
    float* const tile10 = (float*)(shared + 768);
    bf16* const tile11 = (bf16*)(shared + 768);
    bf16* const tile12 = (bf16*)(shared + 1536);
    bf16* const tile13 = (bf16*)(shared + 0);
    float* const tile14 = (float*)(shared + 4992);
    float* const tile15 = (float*)(shared + 5248);
    bf16* const tile16 = (bf16*)(shared + 2304);
    float* const tile17 = (float*)(shared + 3584);
    float* const tile18 = (float*)(shared + 5760);
    bf16* const tile19 = (bf16*)(shared + 3072);
    float* const tile20 = (float*)(shared + 5504);
    float* const tile21 = (float*)(shared + 3328);
    bf16* const tile22 = (bf16*)(shared + 1536);
    float* const tile23 = (float*)(shared + 3072);
    bf16* const tile24 = (bf16*)(shared + 768);
    float* const tile25 = (float*)(shared + 1664);
    float* const tile26 = (float*)(shared + 1536);
    float* const tile27 = (float*)(shared + 1664);
    float* const tile28 = (float*)(shared + 1536);
    float* const tile29 = (float*)(shared + 3712);
    float* const tile30 = (float*)(shared + 1536);
    float* const tile31 = (float*)(shared + 4608);
    float* const tile32 = (float*)(shared + 1536);
    float* const tile33 = (float*)(shared + 3072);
    float* const tile34 = (float*)(shared + 1792);
    float* const tile35 = (float*)(shared + 1536);
    float* const tile36 = (float*)(shared + 4736);
    bf16* const tile37 = (bf16*)(shared + 1536);
    float* const tile38 = (float*)(shared + 1664);
    float* const tile39 = (float*)(shared + 1536);
    float* const tile40 = (float*)(shared + 3072);
    bf16* const tile41 = (bf16*)(shared + 1536);
    float* const tile42 = (float*)(shared + 3200);
    float* const tile43 = (float*)(shared + 0);
    // map [8, 8]: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = (d_state_S_after != 0 ? d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.0f);
    }
    // map []: tile1[] = 0
    #pragma unroll 1
    for (int e = threadIdx.x; e < 1; e += THREADS) {
        tile1[0] = 0.0f;
    }
    // map []: tile2[] = 0
    #pragma unroll 1
    for (int e = threadIdx.x; e < 1; e += THREADS) {
        tile2[0] = 0.0f;
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = (at.length + 7) / 8 - 1; c >= 0; c--) {
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks[at.sequence] + c;
        // map [8]: tile6[i0] = (in_dt[t of row i0] * param_A[])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile6[i0] = in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * param_A[(long long)(own_param_A) * 1 + 0];
        }
        wait_for_block();
        // map [8, 1]: tile5[i0, 0] = (exp(tile6[i0]) * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile5[i0] = op_exp(tile6[i0]) * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 1]: tile4[i0, 0] = add(tile5[i0, 0], sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile4[i0] = (tile5[i0] + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile7 = ReverseCumulativeProduct tile4
        reverse_cumulative_product<8, 1>(tile7, tile4);
        // map [8, 8]: tile10[i0, i1] = (in_dt[t of row i0] * in_x[t of row i0; i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile10[8 * (i0) + i1] = in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1];
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile9[i0, i1] = tile10[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile9[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile10[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile11[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile11[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile9 tile11ᵀ over 8; tile8[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile9, tile11, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile8[i0 + 8 * (i1)] = sum;
                }
            });
        }
        // map [8, 8] filled to [16, 16]: tile12[i0, i1] = in_C[t of row i0; i1]
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile12[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1] : 0.f);
        }
        // scan of 8 rows, 8 steps, 1 wide: tile14 = DecayMask(Versions { micro: 1, offsets: [1] }) tile4
        decay_mask<8, 8>(tile14, tile4, [](int i) -> int { return i + 1; });
        // map [8, 8] filled to [16, 16]: tile16[i0, i1] = (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : 0)
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile16[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] : 0.0f) : 0.0f) : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile9 tile16ᵀ over 8; tile15[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile9, tile16, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile15[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile13[i0, i1] = (tile14[i0, i1] * tile15[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile13[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile14[8 * (i0) + i1] * tile15[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile12ᵀ tile13 over 8; d_in_B[t of row i0; i1] where row i0 is among the queries = ((row i0 is among the queries ? 1 : 0) * add((...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile12, tile13, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) d_in_B[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (i0 < at.valid ? 1.0f : 0.0f) * (tile7[i0] * tile8[i0 + 8 * (i1)] + sum);
                }
            });
        }
        // map [8, 8]: tile20[i0, i1] = (in_B[t of row i0; i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile20[8 * (i0) + i1] = in_B[((long long)(at.start + inside(at, i0)) * heads_in_B + own_in_B) * 8 + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile19[i0, i1] = (tile20[i0, i1] * tile7[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile19[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile20[8 * (i0) + i1] * tile7[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile19 tile11 over 8; tile18[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile19, tile11, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile18[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile24[i0, i1] = tile20[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile24[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile20[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile12 tile24ᵀ over 8; tile23[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile12, tile24, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile23[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile22[i0, i1] = (tile23[i0, 0, i1] * tile14[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile22[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile23[8 * (i0) + i1] * tile14[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile22ᵀ tile16 over 8; tile21[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile22, tile16, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile21[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile17[i0, 0] = Sum (in_x[t of row i0; i1] * add(tile18[0, i0, i1], tile21[0, i0, i1]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1] * (tile18[8 * (i0) + i1] + tile21[8 * (i0) + i1]);
            }
            tile17[i0] = x;
        }
        // reduce [8, 8] over [0, 1] by warps: tile28[0, 0] = Sum (state_S_at_chunks[i0, i1] * tile0[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x / 32; e < 1; e += THREADS / 32) {
            float x = 0.f;
            #pragma unroll 4
            for (int s = threadIdx.x % 32; s < 64; s += 32) {
                const int i0 = s / 8;
                const int i1 = s % 8;
                x += state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] * tile0[8 * (i0) + i1];
            }
            x = warp_sum(x);
            if (threadIdx.x % 32 == 0) {
                tile28[0] = x;
            }
        }
        wait_for_block();
        // map [1, 1]: tile27[0, 0] = tile28[0, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            tile27[0] = tile28[0];
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile29 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile4 tile27
        cumulative_product_grad<1, 8, 1>(tile29, tile4, tile27, [](int i) -> int { return 8 * (i) + 8; });
        // reduce [8, 8] over [1]: tile30[i0, 0] = Sum (tile20[i0, i1] * tile8[i1, i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile20[8 * (i0) + i1] * tile8[i0 + 8 * (i1)];
            }
            tile30[i0] = x;
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile31 = ReverseCumulativeProductGrad tile4 tile30
        reverse_cumulative_product_grad<8, 1>(tile31, tile4, tile30);
        wait_for_block();
        // map [8, 8]: tile32[i0, i1] = (tile23[i0, 0, i1] * tile15[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile32[8 * (i0) + i1] = tile23[8 * (i0) + i1] * tile15[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile33 = DecayMaskGrad(Versions { micro: 1, offsets: [1] }) tile4 tile32
        decay_mask_grad<8, 8>(tile33, tile4, tile32, tile34, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile37[i0, i1] = state_S_at_chunks[i0, i1]
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile37[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile37 tile16ᵀ over 8; tile36[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile37, tile16, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile36[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile35[i0, 0] = Sum (in_C[t of row i0; i1] * tile36[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1] * tile36[8 * (i0) + i1];
            }
            tile35[i0] = x;
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile38 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile4 tile35
        cumulative_product_grad<8, 8, 1>(tile38, tile4, tile35, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 1]: tile26[i0, 0] = add(add(add(tile29[i0, 0], tile31[i0, 0]), tile33[i0, 0]), tile38[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile26[i0] = (((tile29[i0] + tile31[i0]) + tile33[i0]) + tile38[i0]);
        }
        wait_for_block();
        // map [8]: tile25[i0] = (exp(tile6[i0]) * ((row i0 is among the queries ? 1 : 0) * tile26[i0, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile25[i0] = op_exp(tile6[i0]) * (i0 < at.valid ? 1.0f : 0.0f) * tile26[i0];
        }
        wait_for_block();
        // map [8]: d_in_dt[t of row i0] where row i0 is among the queries = add(tile17[i0, 0], (param_A[] * tile25[i0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            if (i0 < at.valid) d_in_dt[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = (tile17[i0] + param_A[(long long)(own_param_A) * 1 + 0] * tile25[i0]);
        }
        // reduce [8] over [0]: tile39[0] = Sum (in_dt[t of row i0] * tile25[i0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS / 1) {
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                x += in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * tile25[i0];
            }
            tile39[0] = x;
        }
        wait_for_block();
        // map [1]: tile1[] += tile39[0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            tile1[0] += tile39[0];
        }
        // scan of 1 rows, 8 steps, 1 wide: tile40 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile4
        cumulative_product<1, 8, 1>(tile40, tile4, [](int i) -> int { return 8 * (i) + 8; });
        // scan of 8 rows, 8 steps, 1 wide: tile42 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile4
        cumulative_product<8, 8, 1>(tile42, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile41[i0, i1] = (in_C[t of row i0; i1] * tile42[i0, 0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile41[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1] * tile42[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile41ᵀ tile16 over 8; tile0[i0, i1] = add((tile40[0, 0] * tile0[i0, i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile41, tile16, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile40[0] * tile0[8 * (i0) + i1] + sum);
                }
            });
        }
        // map [8, 8]: d_in_x[t of row i0; i1] where row i0 is among the queries = add((param_D[] * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_x[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (param_D[(long long)(own_param_D) * 1 + 0] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] : 0.0f) : 0.0f) + in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0] * (tile18[8 * (i0) + i1] + tile21[8 * (i0) + i1]));
        }
        // product [8, 8] in 16x16: sum = tile24ᵀ tile13ᵀ over 8; d_in_C[t of row i0; i1] where row i0 is among the queries = add(sum, (tile42[i0, 0] * tile36[i0, i1, 0]))
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, true, 24>(tile24, tile13, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) d_in_C[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (sum + tile42[i0] * tile36[8 * (i0) + i1]);
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [0, 1] by warps: tile43[0, 0] = Sum (in_x[t of row i0; i1] * (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : ...
        #pragma unroll 1
        for (int e = threadIdx.x / 32; e < 1; e += THREADS / 32) {
            float x = 0.f;
            #pragma unroll 4
            for (int s = threadIdx.x % 32; s < 64; s += 32) {
                const int i0 = s / 8;
                const int i1 = s % 8;
                x += in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1] * (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] : 0.0f) : 0.0f);
            }
            x = warp_sum(x);
            if (threadIdx.x % 32 == 0) {
                tile43[0] = x;
            }
        }
        wait_for_block();
        // map [1]: tile2[] += tile43[0, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            tile2[0] += tile43[0];
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
    // map []: d_param_A[] = tile1[]
    #pragma unroll 1
    for (int e = threadIdx.x; e < 1; e += THREADS) {
        d_param_A[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile1[0];
    }
    // map []: d_param_D[] = tile2[]
    #pragma unroll 1
    for (int e = threadIdx.x; e < 1; e += THREADS) {
        d_param_D[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile2[0];
    }
}
