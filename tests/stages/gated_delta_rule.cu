extern "C" __global__ void __launch_bounds__(128, 1)
gated_delta_rule_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    float* const tile0 = (float*)(shared + 3840);
    bf16* const tile2 = (bf16*)(shared + 0);
    bf16* const tile3 = (bf16*)(shared + 768);
    float* const tile4 = (float*)(shared + 4224);
    float* const tile5 = (float*)(shared + 4096);
    float* const tile6 = (float*)(shared + 1536);
    bf16* const tile7 = (bf16*)(shared + 3072);
    bf16* const tile8 = (bf16*)(shared + 1536);
    float* const tile9 = (float*)(shared + 4352);
    bf16* const tile10 = (bf16*)(shared + 2304);
    float* const tile11 = (float*)(shared + 4608);
    bf16* const tile12 = (bf16*)(shared + 1536);
    float* const tile13 = (float*)(shared + 4992);
    bf16* const tile14 = (bf16*)(shared + 2304);
    float* const tile15 = (float*)(shared + 4608);
    float* const tile16 = (float*)(shared + 4736);
    float* const tile17 = (float*)(shared + 2304);
    bf16* const tile18 = (bf16*)(shared + 1536);
    float* const tile19 = (float*)(shared + 2304);
    float* const tile20 = (float*)(shared + 768);
    bf16* const tile21 = (bf16*)(shared + 0);
    float* const tile22 = (float*)(shared + 896);
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
        // map [8, 8] filled to [16, 16]: tile2[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile2[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        // map [8]: tile5[i0] = exp(in_g[t of row i0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile5[i0] = op_exp(in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
        }
        wait_for_block();
        // map [8, 1]: tile4[i0, 0] = add((tile5[i0] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile4[i0] = (tile5[i0] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile6 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile4
        cumulative_product<8, 8, 1>(tile6, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile3[i0, i1] = ((in_q[t of row i0; i1] * 0.35355339059327373) * tile6[i0, 0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile3[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1] * 0.35355338f * tile6[i0] : 0.f);
        }
        // map [8, 8]: tile9[i0, i1] = (in_k[t of row i0; i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile9[8 * (i0) + i1] = in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile8[i0, i1] = tile9[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile8[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile9[8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile10[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile10[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1] * 0.35355338f : 0.f);
        }
        // scan of 8 rows, 8 steps, 1 wide: tile11 = DecayMask(Versions { micro: 1, offsets: [1] }) tile4
        decay_mask<8, 8>(tile11, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // product [8, 8] in 16x16, filled: sum = tile8 tile10ᵀ over 8; tile7[i0, i1] = (sum * tile11[i0, i1])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile8, tile10, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                tile7[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? sum * tile11[8 * (i0) + i1] : 0.f);
            });
        }
        wait_for_block();
        // map [8]: tile15[i0] = (in_beta[t of row i0] * neg(tile5[i0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile15[i0] = in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * op_neg(tile5[i0]);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile14[i0, i1] = (in_k[t of row i0; i1] * tile15[i0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile14[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * tile15[i0] : 0.f);
        }
        // scan of 8 rows, 8 steps, 1 wide: tile16 = DecayMask(Versions { micro: 1, offsets: [0] }) tile4
        decay_mask<8, 8>(tile16, tile4, [](int i) -> int { return i; });
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile14 tile8ᵀ over 8; tile13[i0, i1] = neg((sum * tile16[i0, i1]))
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile14, tile8, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile13[8 * (i0) + i1] = op_neg(sum * tile16[8 * (i0) + i1]);
                }
            });
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile19 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile4
        cumulative_product<8, 8, 1>(tile19, tile4, [](int i) -> int { return i; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile18[i0, i1] = ((in_k[t of row i0; i1] * tile15[i0]) * tile19[i0, 0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile18[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * tile15[i0] * tile19[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile18 tile2 over 8; tile17[i0, i1] = add((in_beta[t of row i0] * in_v[t of row i0; i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile18, tile2, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile17[8 * (i0) + i1] = (in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1] + sum);
                }
            });
        }
        wait_for_block();
        // solve tile13: tile17
        solve<8, 8, false>(tile13, tile17);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile12[i0, i1] = tile17[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile12[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile17[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile2ᵀ tile3ᵀ over 8 + tile12ᵀ tile7ᵀ over 8; out_o[t of row i0; i1] where row i0 is among the queries = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, true, 24>(tile2, tile3, row0, col0);
            sums.add<16, true, 24, true, 24>(tile12, tile7, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = sum;
                }
            });
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile20 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile4
        cumulative_product<1, 8, 1>(tile20, tile4, [](int i) -> int { return 8 * (i) + 8; });
        // scan of 8 rows, 8 steps, 1 wide: tile22 = ReverseCumulativeProduct tile4
        reverse_cumulative_product<8, 1>(tile22, tile4);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile21[i0, i1] = (tile9[i0, i1] * tile22[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile21[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile9[8 * (i0) + i1] * tile22[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile12ᵀ tile21 over 8; tile0[i0, i1] = add((tile0[i0, i1] * tile20[0, 0]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile12, tile21, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile20[0] + sum);
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
gated_delta_rule_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_in_beta, float* __restrict__ d_state_S_before) {
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
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    float* const tile0 = (float*)(shared + 7680);
    float* const tile2 = (float*)(shared + 8064);
    float* const tile3 = (float*)(shared + 7936);
    float* const tile4 = (float*)(shared + 8192);
    float* const tile5 = (float*)(shared + 8320);
    float* const tile6 = (float*)(shared + 10112);
    bf16* const tile7 = (bf16*)(shared + 0);
    bf16* const tile8 = (bf16*)(shared + 2304);
    float* const tile9 = (float*)(shared + 6144);
    float* const tile10 = (float*)(shared + 8704);
    bf16* const tile11 = (bf16*)(shared + 768);
    bf16* const tile12 = (bf16*)(shared + 1536);
    float* const tile13 = (float*)(shared + 8448);
    float* const tile14 = (float*)(shared + 8960);
    float* const tile15 = (float*)(shared + 9856);
    bf16* const tile16 = (bf16*)(shared + 2304);
    float* const tile17 = (float*)(shared + 9216);
    bf16* const tile18 = (bf16*)(shared + 3072);
    bf16* const tile19 = (bf16*)(shared + 4608);
    float* const tile20 = (float*)(shared + 9344);
    bf16* const tile21 = (bf16*)(shared + 3840);
    float* const tile22 = (float*)(shared + 9600);
    bf16* const tile23 = (bf16*)(shared + 5376);
    float* const tile24 = (float*)(shared + 8960);
    bf16* const tile25 = (bf16*)(shared + 6912);
    float* const tile26 = (float*)(shared + 10368);
    bf16* const tile27 = (bf16*)(shared + 6144);
    float* const tile28 = (float*)(shared + 6912);
    bf16* const tile29 = (bf16*)(shared + 4608);
    float* const tile30 = (float*)(shared + 6400);
    float* const tile31 = (float*)(shared + 10624);
    bf16* const tile32 = (bf16*)(shared + 3072);
    float* const tile33 = (float*)(shared + 10880);
    float* const tile34 = (float*)(shared + 768);
    float* const tile35 = (float*)(shared + 1024);
    float* const tile36 = (float*)(shared + 896);
    float* const tile37 = (float*)(shared + 896);
    float* const tile38 = (float*)(shared + 1024);
    float* const tile39 = (float*)(shared + 1152);
    float* const tile40 = (float*)(shared + 1280);
    float* const tile41 = (float*)(shared + 1024);
    float* const tile42 = (float*)(shared + 3840);
    float* const tile43 = (float*)(shared + 0);
    float* const tile44 = (float*)(shared + 1280);
    float* const tile45 = (float*)(shared + 128);
    float* const tile46 = (float*)(shared + 0);
    float* const tile47 = (float*)(shared + 256);
    float* const tile48 = (float*)(shared + 384);
    float* const tile49 = (float*)(shared + 0);
    float* const tile50 = (float*)(shared + 3840);
    float* const tile51 = (float*)(shared + 896);
    bf16* const tile52 = (bf16*)(shared + 0);
    float* const tile53 = (float*)(shared + 1024);
    float* const tile54 = (float*)(shared + 0);
    // map [8, 8]: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    #pragma unroll 1
    for (int e = threadIdx.x; e < 64; e += THREADS) {
        const int i0 = e / 8;
        const int i1 = e % 8;
        tile0[8 * (i0) + i1] = (d_state_S_after != 0 ? d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.0f);
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = (at.length + 7) / 8 - 1; c >= 0; c--) {
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks[at.sequence] + c;
        // map [8]: tile3[i0] = exp(in_g[t of row i0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile3[i0] = op_exp(in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
        }
        wait_for_block();
        // map [8]: tile2[i0] = (in_beta[t of row i0] * neg(tile3[i0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile2[i0] = in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * op_neg(tile3[i0]);
        }
        // map [8, 1]: tile4[i0, 0] = add((tile3[i0] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            tile4[i0] = (tile3[i0] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile5 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile4
        cumulative_product<8, 8, 1>(tile5, tile4, [](int i) -> int { return i; });
        // map [8, 8] filled to [16, 16]: tile7[i0, i1] = state_S_at_chunks[i0, i1]
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile7[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile11[i0, i1] = (in_k[t of row i0; i1] * tile2[i0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile11[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * tile2[i0] : 0.f);
        }
        // map [8, 8]: tile13[i0, i1] = (in_k[t of row i0; i1] * (row i0 is among the queries ? 1 : 0))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile13[8 * (i0) + i1] = in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * (i0 < at.valid ? 1.0f : 0.0f);
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile12[i0, i1] = tile13[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile12[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile13[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile11 tile12ᵀ over 8; tile10[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile11, tile12, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile10[8 * (i0) + i1] = sum;
                }
            });
        }
        // scan of 8 rows, 8 steps, 1 wide: tile14 = DecayMask(Versions { micro: 1, offsets: [0] }) tile4
        decay_mask<8, 8>(tile14, tile4, [](int i) -> int { return i; });
        wait_for_block();
        // map [8, 8]: tile9[i0, i1] = neg((tile10[i0, 0, i1] * tile14[i0, i1]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile9[8 * (i0) + i1] = op_neg(tile10[8 * (i0) + i1] * tile14[8 * (i0) + i1]);
        }
        // scan of 8 rows, 8 steps, 1 wide: tile17 = ReverseCumulativeProduct tile4
        reverse_cumulative_product<8, 1>(tile17, tile4);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile16[i0, i1] = (tile13[i0, i1] * tile17[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile16[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile13[8 * (i0) + i1] * tile17[i0] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile18[i0, i1] = tile0[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile18[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile0[8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile21[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile21[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1] * 0.35355338f : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile12 tile21ᵀ over 8; tile20[i1, 0, i0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile12, tile21, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile20[i0 + 8 * (i1)] = sum;
                }
            });
        }
        // scan of 8 rows, 8 steps, 1 wide: tile22 = DecayMask(Versions { micro: 1, offsets: [1] }) tile4
        decay_mask<8, 8>(tile22, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile19[i0, i1] = (tile20[i0, 0, i1] * tile22[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile19[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile20[8 * (i0) + i1] * tile22[8 * (i0) + i1] : 0.f);
        }
        // map [8, 8] filled to [16, 16]: tile23[i0, i1] = (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : 0)
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile23[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? (d_out_o != 0 ? (i0 < at.valid ? d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] : 0.0f) : 0.0f) : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile16 tile18 over 8 + tile19ᵀ tile23 over 8; tile15[i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile16, tile18, row0, col0);
            sums.add<16, true, 24, false, 24>(tile19, tile23, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile15[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // solve tile9ᵀ: tile15
        solve<8, 8, true>(tile9, tile15);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile8[i0, i1] = tile15[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile8[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile15[8 * (i0) + i1] : 0.f);
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
        // map [8, 8]: tile30[i0, i1] = ((in_k[t of row i0; i1] * tile2[i0]) * tile5[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile30[8 * (i0) + i1] = in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * tile2[i0] * tile5[i0];
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile29[i0, i1] = tile30[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile29[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile30[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile29 tile7 over 8; tile28[i0, i1] = add((in_beta[t of row i0] * in_v[t of row i0; i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, false, 24>(tile29, tile7, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile28[8 * (i0) + i1] = (in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1] + sum);
                }
            });
        }
        wait_for_block();
        // solve tile9: tile28
        solve<8, 8, false>(tile9, tile28);
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile27[i0, i1] = tile28[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile27[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile28[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile8 tile27ᵀ over 8; tile26[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile8, tile27, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile26[8 * (i0) + i1] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile25[i0, i1] = (tile14[i0, i1] * (tile26[i0, 0, i1] * (i1 < i0 ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile25[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile14[8 * (i0) + i1] * tile26[8 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f) : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile12ᵀ tile25ᵀ over 8; tile24[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, true, 24>(tile12, tile25, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile24[i0 + 8 * (i1)] = sum;
                }
            });
        }
        // product [8, 8] in 16x16: sum = tile27 tile18ᵀ over 8; tile31[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile27, tile18, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile31[i0 + 8 * (i1)] = sum;
                }
            });
        }
        // product [8, 8] in 16x16: sum = tile27 tile23ᵀ over 8; tile33[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile27, tile23, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile33[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile32[i0, i1] = (tile22[i0, i1] * tile33[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 256; e += THREADS) {
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile32[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? tile22[8 * (i0) + i1] * tile33[8 * (i0) + i1] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile21ᵀ tile32 over 8 + tile11ᵀ tile25 over 8; d_in_k[t of row i0; i1] where row i0 is among the queries = add((tile2[i0] * add((...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile21, tile32, row0, col0);
            sums.add<16, true, 24, false, 24>(tile11, tile25, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile2[i0] * (tile5[i0] * tile6[8 * (i0) + i1] + tile24[8 * (i0) + i1]) + (i0 < at.valid ? 1.0f : 0.0f) * (tile17[i0] * tile31[i0 + 8 * (i1)] + sum));
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile34[i0, 0] = Sum (in_k[t of row i0; i1] * add((tile5[i0, 0] * tile6[i0, i1, 0]), tile24[i0, i1, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * (tile5[i0] * tile6[8 * (i0) + i1] + tile24[8 * (i0) + i1]);
            }
            tile34[i0] = x;
        }
        // reduce [8, 8] over [0, 1] by warps: tile36[0, 0] = Sum (state_S_at_chunks[i0, i1] * tile0[i0, i1])
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
                tile36[0] = x;
            }
        }
        wait_for_block();
        // map [1, 1]: tile35[0, 0] = tile36[0, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            tile35[0] = tile36[0];
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile37 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile4 tile35
        cumulative_product_grad<1, 8, 1>(tile37, tile4, tile35, [](int i) -> int { return 8 * (i) + 8; });
        wait_for_block();
        // reduce [8, 8] over [1]: tile38[i0, 0] = Sum (tile13[i0, i1] * tile31[i1, i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += tile13[8 * (i0) + i1] * tile31[i0 + 8 * (i1)];
            }
            tile38[i0] = x;
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile39 = ReverseCumulativeProductGrad tile4 tile38
        reverse_cumulative_product_grad<8, 1>(tile39, tile4, tile38);
        // map [8, 8]: tile40[i0, i1] = (tile20[i0, 0, i1] * tile33[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile40[8 * (i0) + i1] = tile20[8 * (i0) + i1] * tile33[8 * (i0) + i1];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile41 = DecayMaskGrad(Versions { micro: 1, offsets: [1] }) tile4 tile40
        decay_mask_grad<8, 8>(tile41, tile4, tile40, tile42, [](int i) -> int { return i + 1; });
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile7 tile23ᵀ over 8; tile44[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, true, 24>(tile7, tile23, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile44[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile43[i0, 0] = Sum ((in_q[t of row i0; i1] * 0.35355339059327373) * tile44[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1] * 0.35355338f * tile44[8 * (i0) + i1];
            }
            tile43[i0] = x;
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile45 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile4 tile43
        cumulative_product_grad<8, 8, 1>(tile45, tile4, tile43, [](int i) -> int { return i + 1; });
        wait_for_block();
        // reduce [8, 8] over [1]: tile46[i0, 0] = Sum ((in_k[t of row i0; i1] * tile2[i0]) * tile6[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1] * tile2[i0] * tile6[8 * (i0) + i1];
            }
            tile46[i0] = x;
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile47 = CumulativeProductGrad(Versions { micro: 1, offsets: [0] }) tile4 tile46
        cumulative_product_grad<8, 8, 1>(tile47, tile4, tile46, [](int i) -> int { return i; });
        // map [8, 8]: tile48[i0, i1] = (tile10[i0, 0, i1] * (tile26[i0, 0, i1] * (i1 < i0 ? 1 : 0)))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            tile48[8 * (i0) + i1] = tile10[8 * (i0) + i1] * tile26[8 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f);
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile49 = DecayMaskGrad(Versions { micro: 1, offsets: [0] }) tile4 tile48
        decay_mask_grad<8, 8>(tile49, tile4, tile48, tile50, [](int i) -> int { return i; });
        wait_for_block();
        // map [8]: d_in_g[t of row i0] where row i0 is among the queries = (tile3[i0] * add(neg((in_beta[t of row i0] * tile34[i0, 0])), ((row i0 is among the queries ? 1...
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            if (i0 < at.valid) d_in_g[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = tile3[i0] * (op_neg(in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * tile34[i0]) + (i0 < at.valid ? 1.0f : 0.0f) * (((((tile37[i0] + tile39[i0]) + tile41[i0]) + tile45[i0]) + tile47[i0]) + tile49[i0]));
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile51 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile4
        cumulative_product<1, 8, 1>(tile51, tile4, [](int i) -> int { return 8 * (i) + 8; });
        // scan of 8 rows, 8 steps, 1 wide: tile53 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile4
        cumulative_product<8, 8, 1>(tile53, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16]: tile52[i0, i1] = ((in_q[t of row i0; i1] * 0.35355339059327373) * tile53[i0, 0])
        #pragma unroll 4
        for (int r = 0; r < 2; r++) {
            const int e = threadIdx.x + r * THREADS;
            const int i0 = e / 16;
            const int i1 = e % 16;
            tile52[24 * (i0) + i1] = narrow(i0 < 8 && i1 < 8 ? in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1] * 0.35355338f * tile53[i0] : 0.f);
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile52ᵀ tile23 over 8 + tile29ᵀ tile8 over 8; tile0[i0, i1] = add((tile51[0, 0] * tile0[i0, i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, false, 24>(tile52, tile23, row0, col0);
            sums.add<16, true, 24, false, 24>(tile29, tile8, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float sum) {
                if (i0 < 8 && i1 < 8) {
                    tile0[8 * (i0) + i1] = (tile51[0] * tile0[8 * (i0) + i1] + sum);
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile54[i0, 0] = Sum (in_v[t of row i0; i1] * tile15[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS / 1) {
            const int i0 = e;
            float x = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                x += in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1] * tile15[8 * (i0) + i1];
            }
            tile54[i0] = x;
        }
        wait_for_block();
        // map [8]: d_in_beta[t of row i0] where row i0 is among the queries = add((neg(tile3[i0]) * tile34[i0, 0]), tile54[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            if (i0 < at.valid) d_in_beta[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = (op_neg(tile3[i0]) * tile34[i0] + tile54[i0]);
        }
        // map [8, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = (in_beta[t of row i0] * tile15[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 64; e += THREADS) {
            const int i0 = e / 8;
            const int i1 = e % 8;
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0] * tile15[8 * (i0) + i1];
        }
        // product [8, 8] in 16x16: sum = tile12ᵀ tile32ᵀ over 8; d_in_q[t of row i0; i1] where row i0 is among the queries = (0.35355339059327373 * add(sum, (tile53[i0, 0...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, true, 24>(tile12, tile32, row0, col0);
            sums.each(row0, col0, [&](int i1, int i0, float sum) {
                if (i0 < 8 && i1 < 8) {
                    if (i0 < at.valid) d_in_q[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = 0.35355338f * (sum + tile53[i0] * tile44[8 * (i0) + i1]);
                }
            });
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
