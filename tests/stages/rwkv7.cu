extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, bf16* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = job[2];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    bf16* const tile0 = (bf16*)(shared + 768);
    float* const tile1 = (float*)(shared + 768);
    float* const tile2 = (float*)(shared + 3840);
    float* const tile3 = (float*)(shared + 4096);
    float* const tile4 = (float*)(shared + 768);
    float* const tile5 = (float*)(shared + 0);
    float* const tile6 = (float*)(shared + 256);
    float* const tile7 = (float*)(shared + 128);
    float* const tile8 = (float*)(shared + 0);
    float* const tile9 = (float*)(shared + 0);
    bf16* const tile10 = (bf16*)(shared + 2304);
    bf16* const tile11 = (bf16*)(shared + 3072);
    bf16* const tile12 = (bf16*)(shared + 1536);
    bf16* const tile13 = (bf16*)(shared + 2304);
    float* const tile14 = (float*)(shared + 0);
    bf16* const tile15 = (bf16*)(shared + 3072);
    float* const tile16 = (float*)(shared + 0);
    float* const tile17 = (float*)(shared + 0);
    float* const tile18 = (float*)(shared + 128);
    float* const tile19 = (float*)(shared + 0);
    float* const tile20 = (float*)(shared + 0);
    float* const tile21 = (float*)(shared + 512);
    float* const tile22 = (float*)(shared + 0);
    float* const tile23 = (float*)(shared + 256);
    float* const tile24 = (float*)(shared + 640);
    float* const tile25 = (float*)(shared + 128);
    float* const tile26 = (float*)(shared + 384);
    {
        // copy async by 16 bytes: tile22 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile22[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
        // copy async by 16 bytes: tile25 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile25[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
        // copy async by 16 bytes: tile23 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile23[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile26 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile26[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // copy async by 16 bytes: tile21 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile21[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile24 = in_r[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile24[8 * (i0) + i1], &in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1]);
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
    // map [8, 8]: tile2[i0, i1] = ((i0)%2 < 1 ? neg(tile22[(i0)/2+(i0)%2, i1]) : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile2[8 * (i0) + i1] = ((i0) % 2 < 1 ? op_neg(tile22[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)]) : 0.0f);
        }
    }
    // wait for tile25, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [4, 8]: tile4[i0, i1] = (tile22[i0, i1] * tile25[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile4[8 * (i0) + i1] = tile22[8 * (i0) + i1] * tile25[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 2, 1]: tile5[i0, i1, 0] = (i1 < 1 ? (row i0+i1 is among the queries ? 1 : 0) : (row i0+i1+-1 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 2;
        const int i1 = (e) % 2;
        if (e < 8) {
            tile5[2 * (i0) + i1] = (i1 < 1 ? (i0 + i1 < at.valid ? 1.0f : 0.0f) : (i0 + i1 + -1 < at.valid ? 1.0f : 0.0f));
        }
    }
    // wait for tile23, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8, 8]: tile3[i0, i1] = (((i0)%2 < 1 ? tile4[(i0)/2+(i0)%2, i1] : tile23[(i0)/2+(i0)%2+-1, i1]) * tile5[(i0)/2, (i0)%2, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile3[8 * (i0) + i1] = ((i0) % 2 < 1 ? tile4[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : tile23[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2) + -8]) * tile5[2 * ((i0) / 2) + (i0) % 2];
        }
    }
    // wait for tile26, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [4, 8]: tile7[i0, i1] = exp(tile26[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile7[8 * (i0) + i1] = op_exp(tile26[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // map [8, 8]: tile6[i0, i1] = add((((i0)%2 < 1 ? tile7[(i0)/2+(i0)%2, i1] : 1) * tile5[(i0)/2, (i0)%2, 0]), sub(1, tile5[(i0)/2, (i0)%2, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile6[8 * (i0) + i1] = (((i0) % 2 < 1 ? tile7[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : 1.0f) * tile5[2 * ((i0) / 2) + (i0) % 2] + (1.0f - tile5[2 * ((i0) / 2) + (i0) % 2]));
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile8 = Gram(Versions { micro: 2, offsets: [0, 0] }) tile2 tile3 tile6
    gram<8, 8, 8>(tile8, tile2, tile3, tile6, [](int i) -> int { return 2 * ((i) / 2); });
    wait_for_block();
    // map [8, 8]: tile1[i0, i1] = neg(tile8[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile1[8 * (i0) + i1] = op_neg(tile8[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // invert tile1: tile9
    invert<8, 8, 8>(tile1, tile9);
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile0[i0, i1] and the rest tile12 = tile9[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile9[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile0[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile12[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // wait for tile21, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile10[i0, i1] and the rest tile11 = ((i0)%2 < 1 ? 0 : tile21[(i0)/2+(i0)%2+-1, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8 && !((i0) % 2 < 1))) x0 = get<4>(&tile21[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2) + -8]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? ((i0) % 2 < 1 ? 0.0f : x0.x[l]) : 0.f;
            }
            auto const there = &tile10[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile11[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile0 tile10 over 8, kept apart + tile0 tile11 over 8, kept apart + tile12 tile10 over 8, kept apart; kept_0[i0, i...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile10, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile11, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile12, tile10, row0, col0);
        if (sums.lost()) {
            sums.clear();
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile0, tile10, row0, col0);
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile0, tile11, row0, col0);
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile12, tile10, row0, col0);
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile0, tile10, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile0, tile11, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile12, tile10, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
        }
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_out<2>(there, y);
            }
        });
    }
    // scan of 8 rows, 8 steps, 8 wide: tile14 = CumulativeProduct(Versions { micro: 2, offsets: [0, 0] }) tile6
    cumulative_product<8, 8, 8>(tile14, tile6, [](int i) -> int { return 2 * ((i) / 2); });
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile13[i0, i1] and the rest tile15 = (tile2[i0, i1] * tile14[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile2[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile14[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] : 0.f;
            }
            auto const there = &tile13[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile15[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2, stored by 4: sum = tile0 tile13 over 8, kept apart + tile0 tile15 over 8, kept apart + tile12 tile13 over 8, kept apart;...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile13, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile15, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile12, tile13, row0, col0);
        if (sums.lost()) {
            sums.clear();
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile0, tile13, row0, col0);
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile0, tile15, row0, col0);
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile12, tile13, row0, col0);
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile0, tile13, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile0, tile15, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile12, tile13, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
        }
        sums.each_four(row0, col0, [&](int i0, int i1, float* of, int held) {
            Group<2> y = {};
            if (i0 < 8 && i1 < 8) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
            }
            return y;
        }, [&](int i0, int i1, uint2 y) {
            if (i0 < 8 && i1 < 8) {
                auto const there = &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_words(there, y.x, y.y);
            }
        });
    }
    // scan of 4 rows, 8 steps, 8 wide: tile16 = CumulativeProduct(Versions { micro: 2, offsets: [2] }) tile6
    cumulative_product<4, 8, 8>(tile16, tile6, [](int i) -> int { return 2 * (i) + 2; });
    // wait for tile24, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: kept_3[i0, i1] = (tile24[i0, i1] * tile16[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile24[8 * (i0) + i1] * tile16[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile17[i0, i1] = tile24[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile17[8 * (i0) + i1] = tile24[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 8 steps, 8 wide: tile18 = Gram(Versions { micro: 2, offsets: [2] }) tile17 tile3 tile6
    gram<4, 8, 8>(tile18, tile17, tile3, tile6, [](int i) -> int { return 2 * (i) + 2; });
    wait_for_block();
    // map [4, 8]: kept_4[i0, i1] = tile18[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1] = tile18[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile19 = ReverseCumulativeProduct tile6
    reverse_cumulative_product<8, 8>(tile19, tile6);
    wait_for_block();
    // map [8, 8]: kept_5[i0, i1] = (tile3[i0, i1] * tile19[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(tile3[8 * (i0) + i1] * tile19[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // scan of 1 rows, 8 steps, 8 wide: tile20 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile6
    cumulative_product<1, 8, 8>(tile20, tile6, [](int i) -> int { return 8 * (i) + 8; });
    wait_for_block();
    // map [1, 8]: kept_6[0, i1] = tile20[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile20[i1];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, bf16* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6) {
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
    float tile0[8];
    bf16* const tile2 = (bf16*)(shared + 3712);
    float* const tile3 = (float*)(shared + 5248);
    bf16* const tile4 = (bf16*)(shared + 3712);
    bf16* const tile5 = (bf16*)(shared + 4480);
    bf16* const tile6 = (bf16*)(shared + 4480);
    float* const tile7_stages = (float*)(shared + 0);
    bf16* const tile8_stages = (bf16*)(shared + 512);
    bf16* const tile9_stages = (bf16*)(shared + 2048);
    float* const tile10_stages = (float*)(shared + 3584);
    // map [8, 8] by fragments in groups of 2: tile0[i0, i1] = 0
    #pragma unroll
    for (int slot = 0; slot < 1; slot++) {
        const int job = threadIdx.x / 32 + slot * WARPS;
        if (job >= 1) break;
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
            if (i0 < 8 && i1 < 8) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    tile0[slot * 8 + held] = 0.0f;
                }
            }
        });
    }
    // map [8, 8] by fragments in groups of 2: tile0[i0, i1] = (given state_S_before ? state_S_before[i0, i1] : tile0[i0, i1])
    #pragma unroll
    for (int slot = 0; slot < 1; slot++) {
        const int job = threadIdx.x / 32 + slot * WARPS;
        if (job >= 1) break;
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
            if (i0 < 8 && i1 < 8) {
                const Group<2> x0 = get_if<2>(&state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1], (i0 < 8 && i1 < 8 && state_S_before != 0));
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    tile0[slot * 8 + held] = (state_S_before != 0 ? x0.x[l] : tile0[slot * 8 + held]);
                }
            }
        });
    }
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile7 = kept_0[i0, i1] of round 0
        {
            float* const tile7 = tile7_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile7[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile8 = kept_1[i0, i1] of round 0
        {
            bf16* const tile8 = tile8_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 32;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 64 on: tile9 = kept_5[i0, i1] of round 0
        {
            bf16* const tile9 = tile9_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 64;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile9[24 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 96 on: tile10 = kept_6[0, i1] of round 0
        {
            float* const tile10 = tile10_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 96;
            const int i1 = (e) * 4;
            if (e >= 0 && e < 2) copy_async<16>(&tile10[i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
    }
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
        float* const tile7 = tile7_stages + round % 2 * 64;
        bf16* const tile8 = tile8_stages + round % 2 * 384;
        bf16* const tile9 = tile9_stages + round % 2 * 384;
        float* const tile10 = tile10_stages + round % 2 * 8;
        // wait for tile7 tile8 tile9 tile10, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile7 = kept_0[i0, i1] of 1 ahead
            {
                float* const tile7 = tile7_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile7[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile8 = kept_1[i0, i1] of 1 ahead
            {
                bf16* const tile8 = tile8_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 32;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 64 on: tile9 = kept_5[i0, i1] of 1 ahead
            {
                bf16* const tile9 = tile9_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 64;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile9[24 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 96 on: tile10 = kept_6[0, i1] of 1 ahead
            {
                float* const tile10 = tile10_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 96;
                const int i1 = (e) * 4;
                if (e >= 0 && e < 2) copy_async<16>(&tile10[i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
        }
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        // map [8, 8] by fragments in groups of 2: state_S_at_chunks[i0, i1] = tile0[i0, i1]
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> y;
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        y.x[l] = tile0[slot * 8 + held];
                    }
                    auto const there = &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                    put_out<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile4[i0, i1] = tile8[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile8[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile4[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] by fragments in groups of 2: tile5[i0, i1] = tile0[i0, i1]
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? tile0[slot * 8 + held] : 0.f;
                }
                auto const there = &tile5[24 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile4 tile5 over 8; tile3[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile4, tile5, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> y;
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile3[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = add(tile7[i0, i1], tile3[i0, 0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile7[8 * (i0) + i1]);
                Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile3[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] + x1.x[l]) : 0.f;
                }
                auto const there = &tile2[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile6[i0, i1] = tile9[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile9[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile6[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile6ᵀ tile2 over 8; tile0[i0, i1] = add((tile0[i0, i1] * tile10[0, i0]), sum)
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile6, tile2, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (tile0[slot * 8 + held] * tile10[i0] + sum);
                    }
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        tile0[slot * 8 + held] = of[l];
                    }
                }
            });
        }
        // map [8, 8]: kept_2[i0, i1] = add(tile7[i0, i1], tile3[i0, 0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = (tile7[8 * (i0) + i1] + tile3[8 * (i0) + i1]);
            }
        }
        wait_for_block();
    }
    // map [8, 8] by fragments in groups of 2: state_S_after[i0, i1] = tile0[i0, i1]
    #pragma unroll
    for (int slot = 0; slot < 1; slot++) {
        const int job = threadIdx.x / 32 + slot * WARPS;
        if (job >= 1) break;
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    y.x[l] = tile0[slot * 8 + held];
                }
                auto const there = &state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_out<2>(there, y);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_forward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, bf16* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = job[2];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
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
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile3[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 32 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile4 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile4[8 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile2, 2 copies pending
    wait_for_copies<2>();
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
    // wait for tile3, 1 copies pending
    wait_for_copies<1>();
    // wait for tile4, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // reduce [4, 8, 8] over [1]: tile1[i0, 0, i2] = Sum (i1 < 2*i0+2 ? (tile3[i0, i1] * tile4[i1, i2]) : 0)
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
            y.x[0] += (i1 < 2 * (i0) + 2 ? tile3[8 * (i0) + i1] * tile4[8 * (i1) + i2] : 0.0f);
        }
        tile1[8 * (i0) + i2] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: out_o[t of row i0; i1] where row i0 is among the queries = add(tile0[i0, 0, i1], tile1[i0, 0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile0[8 * (i0) + i1] + tile1[8 * (i0) + i1]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, bf16* __restrict__ kept_15, float* __restrict__ d_state_S_at_chunks) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = job[2];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 0);
    float* const tile1 = (float*)(shared + 768);
    float* const tile2 = (float*)(shared + 0);
    bf16* const tile3 = (bf16*)(shared + 1152);
    float* const tile4 = (float*)(shared + 1152);
    float* const tile5 = (float*)(shared + 1920);
    float* const tile6 = (float*)(shared + 4992);
    float* const tile7 = (float*)(shared + 1152);
    float* const tile8 = (float*)(shared + 0);
    float* const tile9 = (float*)(shared + 256);
    float* const tile10 = (float*)(shared + 128);
    float* const tile11 = (float*)(shared + 0);
    float* const tile12 = (float*)(shared + 0);
    bf16* const tile13 = (bf16*)(shared + 2688);
    float* const tile14 = (float*)(shared + 4224);
    bf16* const tile15 = (bf16*)(shared + 1920);
    float* const tile16 = (float*)(shared + 5248);
    float* const tile17 = (float*)(shared + 2176);
    bf16* const tile18 = (bf16*)(shared + 2688);
    bf16* const tile19 = (bf16*)(shared + 3456);
    bf16* const tile20 = (bf16*)(shared + 4224);
    float* const tile21 = (float*)(shared + 128);
    float* const tile22 = (float*)(shared + 768);
    float* const tile23 = (float*)(shared + 2688);
    float* const tile24 = (float*)(shared + 512);
    float* const tile25 = (float*)(shared + 128);
    float* const tile26 = (float*)(shared + 2688);
    float* const tile27 = (float*)(shared + 128);
    float* const tile28 = (float*)(shared + 640);
    float* const tile29 = (float*)(shared + 2688);
    float* const tile30 = (float*)(shared + 2688);
    float* const tile31 = (float*)(shared + 2688);
    float* const tile32 = (float*)(shared + 512);
    float* const tile33 = (float*)(shared + 0);
    bf16* const tile34 = (bf16*)(shared + 0);
    float* const tile35 = (float*)(shared + 896);
    float* const tile36 = (float*)(shared + 512);
    float* const tile37 = (float*)(shared + 768);
    float* const tile38 = (float*)(shared + 0);
    float* const tile39 = (float*)(shared + 256);
    float* const tile40 = (float*)(shared + 128);
    float* const tile41 = (float*)(shared + 384);
    float* const tile42 = (float*)(shared + 1024);
    {
        // copy async by 16 bytes: tile38 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile38[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
        // copy async by 16 bytes: tile40 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile40[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
        // copy async by 16 bytes: tile39 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile39[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 16 bytes: tile41 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile41[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
        // copy async by 16 bytes: tile36 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile36[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile37 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile37[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile35 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async_if<16>(&tile35[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
        }
        // copy async by 16 bytes: tile42 = in_r[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile42[8 * (i0) + i1], &in_r[((long long)(at.start + inside(at, i0)) * heads_in_r + own_in_r) * 8 + i1]);
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
    // wait for tile38, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    // map [8, 8]: tile5[i0, i1] = ((i0)%2 < 1 ? neg(tile38[(i0)/2+(i0)%2, i1]) : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile5[8 * (i0) + i1] = ((i0) % 2 < 1 ? op_neg(tile38[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)]) : 0.0f);
        }
    }
    wait_for_block();
    // map [8, 8]: kept_2[i0, i1] = tile5[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile5[8 * (i0) + i1];
        }
    }
    // wait for tile40, 6 copies pending
    wait_for_copies<6>();
    wait_for_block();
    // map [4, 8]: tile7[i0, i1] = (tile38[i0, i1] * tile40[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile7[8 * (i0) + i1] = tile38[8 * (i0) + i1] * tile40[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 2, 1]: tile8[i0, i1, 0] = (i1 < 1 ? (row i0+i1 is among the queries ? 1 : 0) : (row i0+i1+-1 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 2;
        const int i1 = (e) % 2;
        if (e < 8) {
            tile8[2 * (i0) + i1] = (i1 < 1 ? (i0 + i1 < at.valid ? 1.0f : 0.0f) : (i0 + i1 + -1 < at.valid ? 1.0f : 0.0f));
        }
    }
    // wait for tile39, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // map [8, 8]: tile6[i0, i1] = (((i0)%2 < 1 ? tile7[(i0)/2+(i0)%2, i1] : tile39[(i0)/2+(i0)%2+-1, i1]) * tile8[(i0)/2, (i0)%2, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile6[8 * (i0) + i1] = ((i0) % 2 < 1 ? tile7[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : tile39[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2) + -8]) * tile8[2 * ((i0) / 2) + (i0) % 2];
        }
    }
    wait_for_block();
    // map [8, 8]: kept_0[i0, i1] = tile6[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile6[8 * (i0) + i1];
        }
    }
    // wait for tile41, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [4, 8]: tile10[i0, i1] = exp(tile41[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile10[8 * (i0) + i1] = op_exp(tile41[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // map [8, 8]: tile9[i0, i1] = add((((i0)%2 < 1 ? tile10[(i0)/2+(i0)%2, i1] : 1) * tile8[(i0)/2, (i0)%2, 0]), sub(1, tile8[(i0)/2, (i0)%2, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile9[8 * (i0) + i1] = (((i0) % 2 < 1 ? tile10[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2)] : 1.0f) * tile8[2 * ((i0) / 2) + (i0) % 2] + (1.0f - tile8[2 * ((i0) / 2) + (i0) % 2]));
        }
    }
    wait_for_block();
    // map [8, 8]: kept_1[i0, i1] = tile9[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile9[8 * (i0) + i1];
        }
    }
    // scan of 8 rows, 8 steps, 8 wide: tile11 = Gram(Versions { micro: 2, offsets: [0, 0] }) tile5 tile6 tile9
    gram<8, 8, 8>(tile11, tile5, tile6, tile9, [](int i) -> int { return 2 * ((i) / 2); });
    wait_for_block();
    // map [8, 8]: tile4[i0, i1] = neg(tile11[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile4[8 * (i0) + i1] = op_neg(tile11[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // invert tile4: tile12
    invert<8, 8, 8>(tile4, tile12);
    wait_for_block();
    // map [8, 8]: kept_4[i0, i1] = tile12[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile12[8 * (i0) + i1];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile3[i0, i1] = tile12[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile3[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // scan of 8 rows, 8 steps, 8 wide: tile17 = CumulativeProduct(Versions { micro: 2, offsets: [0, 0] }) tile9
    cumulative_product<8, 8, 8>(tile17, tile9, [](int i) -> int { return 2 * ((i) / 2); });
    wait_for_block();
    // map [8, 8]: tile16[i0, i1] = (tile5[i0, i1] * tile17[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile16[8 * (i0) + i1] = tile5[8 * (i0) + i1] * tile17[8 * (i0) + i1];
        }
    }
    // map [8, 8]: kept_3[i0, i1] = tile17[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile17[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile15[i0, i1] = tile16[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile16[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile15[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile36, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile18[i0, i1] = tile36[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile36[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile18[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile15 tile18 over 8; tile14[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile15, tile18, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile14[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    // wait for tile37, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile13[i0, i1] and the rest tile19 = add(((i0)%2 < 1 ? 0 : tile37[(i0)/2+(i0)%2+-1, i1]), tile14[i0, 0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8 && !((i0) % 2 < 1))) x0 = get<4>(&tile37[i1 + 8 * ((i0) / 2) + 8 * ((i0) % 2) + -8]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile14[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (((i0) % 2 < 1 ? 0.0f : x0.x[l]) + x1.x[l]) : 0.f;
            }
            auto const there = &tile13[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile19[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile20[i0, i1] = sub(tile12[i0, i1], tile3[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile3[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] - x1.x[l]) : 0.f;
            }
            auto const there = &tile20[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile3 tile13 over 8 + tile3 tile19 over 8 + tile20 tile13 over 8; tile2[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile3, tile13, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile3, tile19, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile20, tile13, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile2[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8]: kept_5[i0, i1] = tile2[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(tile2[8 * (i0) + i1]);
        }
    }
    // wait for tile35, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // reduce [4, 8, 8] over [2]: tile1[i0, i1, 0] = Sum (tile2[i1, 0, i2] * tile35[i0, i2])
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
            y.x[0] += tile2[8 * (i1) + i2] * tile35[8 * (i0) + i2];
        }
        tile1[8 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: tile0[i0, i1] = tile1[i0, i1, 0]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile0[8 * (i0) + i1] = tile1[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 4 rows, 8 steps, 8 wide: tile21 = Apply(Versions { micro: 2, offsets: [2] }) tile0 tile6 tile9
    apply<4, 8, 8>(tile21, tile0, tile6, tile9, [](int i) -> int { return 2 * (i) + 2; });
    // scan of 4 rows, 8 steps, 8 wide: tile22 = CumulativeProduct(Versions { micro: 2, offsets: [2] }) tile9
    cumulative_product<4, 8, 8>(tile22, tile9, [](int i) -> int { return 2 * (i) + 2; });
    // reduce [4, 8, 8] over [2]: tile23[i0, i1, 0] = Sum (tile36[i1, i2] * tile35[i0, i2])
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
            y.x[0] += tile36[8 * (i1) + i2] * tile35[8 * (i0) + i2];
        }
        tile23[8 * (i0) + i1] = y.x[0];
    }
    wait_for_block();
    // map [4, 8]: d_in_r[t of row i0; i1] where row i0 is among the queries = add(tile21[i0, i1], (tile22[i0, i1] * tile23[i0, i1, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_r[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (tile21[8 * (i0) + i1] + tile22[8 * (i0) + i1] * tile23[8 * (i0) + i1]);
        }
    }
    // scan of 8 rows, 8 steps, 8 wide: tile24 = ReverseCumulativeProduct tile9
    reverse_cumulative_product<8, 8>(tile24, tile9);
    wait_for_block();
    // map [8, 8]: kept_6[i0, i1] = tile24[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile24[8 * (i0) + i1];
        }
    }
    // map [8, 8]: kept_7[i0, i1] = (tile6[i0, i1] * tile24[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(tile6[8 * (i0) + i1] * tile24[8 * (i0) + i1]);
        }
    }
    // scan of 1 rows, 8 steps, 8 wide: tile25 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile9
    cumulative_product<1, 8, 8>(tile25, tile9, [](int i) -> int { return 8 * (i) + 8; });
    wait_for_block();
    // map [1, 8]: kept_8[0, i1] = tile25[0, i1]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            kept_8[((long long)(at.chunk) * heads + at.head) * 8 + i1] = tile25[i1];
        }
    }
    // wait for tile42, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: tile27[i0, i1] = tile42[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile27[8 * (i0) + i1] = tile42[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [4, 8]: tile32[i0, i1] = (tile27[i0, i1] * tile23[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            tile32[8 * (i0) + i1] = tile27[8 * (i0) + i1] * tile23[8 * (i0) + i1];
        }
    }
    // scan of 4 rows, 8 steps, 8 wide: tile28 = Gram(Versions { micro: 2, offsets: [2] }) tile27 tile6 tile9
    gram<4, 8, 8>(tile28, tile27, tile6, tile9, [](int i) -> int { return 2 * (i) + 2; });
    wait_for_block();
    // scan of 4 rows, 8 steps, 8 wide: tile30 = GramGrad(Versions { micro: 2, offsets: [2] }) tile0 tile27 tile6 tile9
    gram_grad<4, 8, 8>(tile30, tile0, tile27, tile6, tile9, [](int i) -> int { return 2 * (i) + 2; });
    wait_for_block();
    // map [8, 8]: kept_12[i0, i1] = tile30[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_12[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile30[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 8, 8] over [0]: tile26[0, i1, i2] = Sum (tile28[i0, i1] * tile35[i0, i2])
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
            y.x[0] += tile28[8 * (i0) + i1] * tile35[8 * (i0) + i2];
        }
        tile26[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 8, 8]: kept_9[0, i1, i2] = tile26[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 64) {
            kept_9[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2] = tile26[8 * (i1) + i2];
        }
    }
    wait_for_block();
    // scan of 4 rows, 8 steps, 8 wide: tile29 = ApplyT(Versions { micro: 2, offsets: [2] }) tile0 tile27 tile9
    apply_t<4, 8, 8>(tile29, tile0, tile27, tile9, [](int i) -> int { return 2 * (i) + 2; });
    wait_for_block();
    // map [8, 8]: kept_11[i0, i1] = tile29[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_11[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile29[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // reduce [4, 8, 8] over [0]: tile31[0, i1, i2] = Sum ((tile27[i0, i1] * tile22[i0, i1]) * tile35[i0, i2])
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
            y.x[0] += tile27[8 * (i0) + i1] * tile22[8 * (i0) + i1] * tile35[8 * (i0) + i2];
        }
        tile31[8 * (i1) + i2] = y.x[0];
    }
    wait_for_block();
    // map [1, 8, 8]: kept_13[0, i1, i2] = tile31[0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 64) {
            kept_13[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2] = tile31[8 * (i1) + i2];
        }
    }
    // scan of 4 rows, 8 steps, 8 wide: tile33 = CumulativeProductGrad(Versions { micro: 2, offsets: [2] }) tile9 tile32
    cumulative_product_grad<4, 8, 8>(tile33, tile9, tile32, [](int i) -> int { return 2 * (i) + 2; });
    wait_for_block();
    // map [8, 8]: kept_14[i0, i1] = tile33[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_14[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile33[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile34[i0, i1] = sub(tile16[i0, i1], tile15[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile16[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile15[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] - x1.x[l]) : 0.f;
            }
            auto const there = &tile34[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2, stored by 4: sum = tile3 tile15 over 8 + tile3 tile34 over 8 + tile20 tile15 over 8; kept_15[i0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile3, tile15, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile3, tile34, row0, col0);
        sums.add<16, false, 24, 0, false, 24, 0>(tile20, tile15, row0, col0);
        sums.each_four(row0, col0, [&](int i0, int i1, float* of, int held) {
            Group<2> y = {};
            if (i0 < 8 && i1 < 8) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
            }
            return y;
        }, [&](int i0, int i1, uint2 y) {
            if (i0 < 8 && i1 < 8) {
                auto const there = &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_words(there, y.x, y.y);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, bf16* __restrict__ kept_15, float* __restrict__ d_state_S_at_chunks) {
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
    float tile0[8];
    bf16* const tile2 = (bf16*)(shared + 4224);
    bf16* const tile3 = (bf16*)(shared + 4992);
    float* const tile4 = (float*)(shared + 6528);
    bf16* const tile5 = (bf16*)(shared + 4992);
    bf16* const tile6 = (bf16*)(shared + 5760);
    float* const tile7_stages = (float*)(shared + 0);
    bf16* const tile8_stages = (bf16*)(shared + 512);
    bf16* const tile9_stages = (bf16*)(shared + 2048);
    float* const tile10_stages = (float*)(shared + 3584);
    float* const tile11_stages = (float*)(shared + 3712);
    // map [8, 8] by fragments in groups of 2: tile0[i0, i1] = (given d_state_S_after ? d_state_S_after[i0, i1] : 0)
    #pragma unroll
    for (int slot = 0; slot < 1; slot++) {
        const int job = threadIdx.x / 32 + slot * WARPS;
        if (job >= 1) break;
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
            if (i0 < 8 && i1 < 8) {
                const Group<2> x0 = get_if<2>(&d_state_S_after[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1], (i0 < 8 && i1 < 8 && d_state_S_after != 0));
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    tile0[slot * 8 + held] = x0.x[l];
                }
            }
        });
    }
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 4;
        at.valid = min(at.length - at.first, 4);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile7 = kept_9[0, i1, i2] of round 0
        {
            float* const tile7 = tile7_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile7[8 * (i1) + i2], &kept_9[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
        }
        // copy async by 16 bytes from thread 32 on: tile8 = kept_15[i0, i1] of round 0
        {
            bf16* const tile8 = tile8_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 32;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 64 on: tile9 = kept_7[i0, i1] of round 0
        {
            bf16* const tile9 = tile9_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 64;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile9[24 * (i0) + i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 96 on: tile10 = kept_8[0, i1] of round 0
        {
            float* const tile10 = tile10_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 96;
            const int i1 = (e) * 4;
            if (e >= 0 && e < 2) copy_async<16>(&tile10[i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
        }
        // copy async by 16 bytes: tile11 = kept_13[0, i1, i2] of round 0
        {
            float* const tile11 = tile11_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile11[8 * (i1) + i2], &kept_13[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
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
        float* const tile7 = tile7_stages + round % 2 * 64;
        bf16* const tile8 = tile8_stages + round % 2 * 384;
        bf16* const tile9 = tile9_stages + round % 2 * 384;
        float* const tile10 = tile10_stages + round % 2 * 8;
        float* const tile11 = tile11_stages + round % 2 * 64;
        // wait for tile7 tile8 tile9 tile10 tile11, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 4;
            at.valid = min(at.length - at.first, 4);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile7 = kept_9[0, i1, i2] of 1 ahead
            {
                float* const tile7 = tile7_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i1 = (e) / 2;
                const int i2 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile7[8 * (i1) + i2], &kept_9[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
            }
            // copy async by 16 bytes from thread 32 on: tile8 = kept_15[i0, i1] of 1 ahead
            {
                bf16* const tile8 = tile8_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 32;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 64 on: tile9 = kept_7[i0, i1] of 1 ahead
            {
                bf16* const tile9 = tile9_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 64;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile9[24 * (i0) + i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 96 on: tile10 = kept_8[0, i1] of 1 ahead
            {
                float* const tile10 = tile10_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 96;
                const int i1 = (e) * 4;
                if (e >= 0 && e < 2) copy_async<16>(&tile10[i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 8 + i1]);
            }
            // copy async by 16 bytes: tile11 = kept_13[0, i1, i2] of 1 ahead
            {
                float* const tile11 = tile11_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i1 = (e) / 2;
                const int i2 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile11[8 * (i1) + i2], &kept_13[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
            }
        }
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        // map [8, 8] by fragments in groups of 2: d_state_S_at_chunks[i0, i1] = tile0[i0, i1]
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> y;
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        y.x[l] = tile0[slot * 8 + held];
                    }
                    auto const there = &d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                    put_out<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = tile8[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile8[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile2[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile5[i0, i1] = tile9[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile9[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile5[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] by fragments in groups of 2: tile6[i0, i1] = tile0[i0, i1]
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? tile0[slot * 8 + held] : 0.f;
                }
                auto const there = &tile6[24 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile5 tile6 over 8; tile4[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile5, tile6, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> y;
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile4[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile3[i0, i1] = add(tile4[0, i0, i1], tile7[0, i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile4[8 * (i0) + i1]);
                Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile7[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] + x1.x[l]) : 0.f;
                }
                auto const there = &tile3[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile2ᵀ tile3 over 8; tile0[i0, i1] = add((tile10[0, i0] * tile0[i0, i1]), add(tile11[0, i0, i1], sum))
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile2, tile3, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> x2 = {}; if ((i0 < 8 && i1 < 8)) x2 = get<2>(&tile11[8 * (i0) + i1]);
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (tile10[i0] * tile0[slot * 8 + held] + (x2.x[l] + sum));
                    }
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        tile0[slot * 8 + held] = of[l];
                    }
                }
            });
        }
        // map [8, 8]: kept_10[i0, i1] = add(tile4[0, i0, i1], tile7[0, i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                kept_10[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = (tile4[8 * (i0) + i1] + tile7[8 * (i0) + i1]);
            }
        }
        wait_for_block();
    }
    if (d_state_S_before != 0) {
        // map [8, 8] by fragments in groups of 2: d_state_S_before[i0, i1] = tile0[i0, i1]
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            each_pair<2>(row0, col0, [&](int i0, int i1, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> y;
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        y.x[l] = tile0[slot * 8 + held];
                    }
                    auto const there = &d_state_S_before[((long long)(at.sequence) * heads + at.head) * 64 + 8 * (i0) + i1];
                    put_out<2>(there, y);
                }
            });
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
rwkv7_backward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_r, int heads_in_r, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_kk, int heads_in_kk, const float* __restrict__ in_w, int heads_in_w, const float* __restrict__ in_a, int heads_in_a, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_r, float* __restrict__ d_in_k, float* __restrict__ d_in_kk, float* __restrict__ d_in_w, float* __restrict__ d_in_a, float* __restrict__ d_in_v, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, float* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, float* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, bf16* __restrict__ kept_15, float* __restrict__ d_state_S_at_chunks) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.chunk = job[2];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 4);
    const int own_in_r = at.head / (heads / heads_in_r);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_kk = at.head / (heads / heads_in_kk);
    const int own_in_w = at.head / (heads / heads_in_w);
    const int own_in_a = at.head / (heads / heads_in_a);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 4608);
    bf16* const tile1 = (bf16*)(shared + 2816);
    bf16* const tile2 = (bf16*)(shared + 3840);
    float* const tile3 = (float*)(shared + 512);
    bf16* const tile4 = (bf16*)(shared + 3840);
    bf16* const tile5 = (bf16*)(shared + 5376);
    bf16* const tile6 = (bf16*)(shared + 6144);
    bf16* const tile7 = (bf16*)(shared + 4608);
    float* const tile8 = (float*)(shared + 3840);
    float* const tile9 = (float*)(shared + 640);
    bf16* const tile10 = (bf16*)(shared + 2816);
    float* const tile11 = (float*)(shared + 4096);
    float* const tile12 = (float*)(shared + 4352);
    float* const tile13 = (float*)(shared + 4864);
    float* const tile14 = (float*)(shared + 1920);
    float* const tile15 = (float*)(shared + 1408);
    float* const tile16 = (float*)(shared + 5120);
    bf16* const tile17 = (bf16*)(shared + 1152);
    float* const tile18 = (float*)(shared + 1664);
    float* const tile19 = (float*)(shared + 2816);
    float* const tile20 = (float*)(shared + 0);
    float* const tile21 = (float*)(shared + 256);
    float* const tile22 = (float*)(shared + 128);
    float* const tile23 = (float*)(shared + 1664);
    float* const tile24 = (float*)(shared + 2304);
    float* const tile25 = (float*)(shared + 256);
    float* const tile26 = (float*)(shared + 512);
    float* const tile27 = (float*)(shared + 2560);
    float* const tile28 = (float*)(shared + 0);
    float* const tile29 = (float*)(shared + 256);
    float* const tile30 = (float*)(shared + 512);
    float* const tile31 = (float*)(shared + 2048);
    bf16* const tile32 = (bf16*)(shared + 768);
    float* const tile33 = (float*)(shared + 1536);
    float* const tile34 = (float*)(shared + 1792);
    float* const tile35 = (float*)(shared + 2304);
    float* const tile36 = (float*)(shared + 2560);
    float* const tile37 = (float*)(shared + 3584);
    float* const tile38 = (float*)(shared + 256);
    float* const tile39 = (float*)(shared + 512);
    float* const tile40 = (float*)(shared + 640);
    float* const tile41 = (float*)(shared + 768);
    float* const tile42 = (float*)(shared + 896);
    float* const tile43 = (float*)(shared + 1152);
    {
        // copy async by 16 bytes: tile28 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile28[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile29 = kept_4[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile29[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile30 = kept_10[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile30[8 * (i0) + i1], &kept_10[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile32 = kept_5[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 8) copy_async<16>(&tile32[24 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile33 = kept_0[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile33[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile34 = kept_1[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile34[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile31 = d_state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile31[8 * (i0) + i1], &d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile35 = kept_6[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile35[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
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
    // wait for tile28, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile36 = kept_11[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile36[8 * (i0) + i1], &kept_11[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile1[i0, i1] = tile28[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile28[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile1[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile29, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile37 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile37[8 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile4[i0, i1] and the rest tile7 = tile29[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile29[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile4[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile7[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // wait for tile30, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile38 = kept_3[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile38[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // map [8, 8] filled to [16, 16] in groups of 4: tile5[i0, i1] and the rest tile6 = tile30[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile30[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile5[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile6[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile4ᵀ tile5 over 8 + tile4ᵀ tile6 over 8 + tile7ᵀ tile5 over 8; tile3[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, true, 24, 0, false, 24, 0>(tile4, tile5, row0, col0);
        sums.add<16, true, 24, 0, false, 24, 0>(tile4, tile6, row0, col0);
        sums.add<16, true, 24, 0, false, 24, 0>(tile7, tile5, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile3[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [4, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = tile3[2*i0+1, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile3[16 * (i0) + i1 + 8];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = tile3[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile3[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile2[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16: sum = tile1 tile2ᵀ over 8; tile0[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile1, tile2, row0, col0);
        sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
            if (i0 < 8 && i1 < 8) {
                tile0[i0 + 8 * (i1)] = sum;
            }
        });
    }
    // wait for tile32, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile39 = in_a[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile39[8 * (i0) + i1], &in_a[((long long)(at.start + inside(at, i0)) * heads_in_a + own_in_a) * 8 + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile10[i0, i1] = tile32[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile32[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile10[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile2 tile10ᵀ over 8; tile9[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile2, tile10, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile9[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8]: tile8[i0, i1] = (tile9[i0, 0, i1] * (i1 < i0 ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile8[8 * (i0) + i1] = tile9[8 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f);
        }
    }
    // wait for tile33, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile40 = in_kk[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile40[8 * (i0) + i1], &in_kk[((long long)(at.start + inside(at, i0)) * heads_in_kk + own_in_kk) * 8 + i1]);
        }
    }
    commit_copies();
    // map [8, 8]: tile11[i0, i1] = tile33[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile11[8 * (i0) + i1] = tile33[8 * (i0) + i1];
        }
    }
    // wait for tile34, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile41 = in_w[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 8) copy_async<16>(&tile41[8 * (i0) + i1], &in_w[((long long)(at.start + inside(at, i0)) * heads_in_w + own_in_w) * 8 + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8]: tile12[i0, i1] = tile34[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile12[8 * (i0) + i1] = tile34[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile13 = Apply(Versions { micro: 2, offsets: [0, 0] }) tile8 tile11 tile12
    apply<8, 8, 8>(tile13, tile8, tile11, tile12, [](int i) -> int { return 2 * ((i) / 2); });
    // map [4, 2, 1]: tile14[i0, i1, 0] = (i1 < 1 ? (row i0+i1 is among the queries ? 1 : 0) : (row i0+i1+-1 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 2;
        const int i1 = (e) % 2;
        if (e < 8) {
            tile14[2 * (i0) + i1] = (i1 < 1 ? (i0 + i1 < at.valid ? 1.0f : 0.0f) : (i0 + i1 + -1 < at.valid ? 1.0f : 0.0f));
        }
    }
    // wait for tile31, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile42 = kept_12[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile42[8 * (i0) + i1], &kept_12[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile17[i0, i1] = tile31[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile31[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile17[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile10 tile17ᵀ over 8; tile16[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile10, tile17, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile16[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    // wait for tile35, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile43 = kept_14[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile43[8 * (i0) + i1], &kept_14[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // wait for tile36, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    // map [8, 8]: tile15[i0, i1] = add((tile35[i0, i1] * tile16[i1, i0, 0]), tile36[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile15[8 * (i0) + i1] = (tile35[8 * (i0) + i1] * tile16[8 * (i0) + i1] + tile36[8 * (i0) + i1]);
        }
    }
    // map [8, 8]: tile23[i0, i1] = (tile11[i0, i1] * tile16[i1, i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile23[8 * (i0) + i1] = tile11[8 * (i0) + i1] * tile16[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile24 = ReverseCumulativeProductGrad tile12 tile23
    reverse_cumulative_product_grad<8, 8>(tile24, tile12, tile23);
    // wait for tile37, 6 copies pending
    wait_for_copies<6>();
    wait_for_block();
    // map [8, 8]: tile18[i0, i1] = tile37[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile18[8 * (i0) + i1] = tile37[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile27 = GramGrad(Versions { micro: 2, offsets: [0, 0] }) tile8 tile18 tile11 tile12
    gram_grad<8, 8, 8>(tile27, tile8, tile18, tile11, tile12, [](int i) -> int { return 2 * ((i) / 2); });
    // scan of 8 rows, 8 steps, 8 wide: tile19 = ApplyT(Versions { micro: 2, offsets: [0, 0] }) tile8 tile18 tile12
    apply_t<8, 8, 8>(tile19, tile8, tile18, tile12, [](int i) -> int { return 2 * ((i) / 2); });
    // wait for tile38, 5 copies pending
    wait_for_copies<5>();
    // wait for tile39, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [4, 8]: d_in_kk[t of row i0; i1] where row i0 is among the queries = add(neg(add((tile38[2*i0, i1] * tile0[2*i0, i1, 0]), tile13[2*i0, i1])), (tile39[i0, i1...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_kk[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (op_neg((tile38[16 * (i0) + i1] * tile0[16 * (i0) + i1] + tile13[16 * (i0) + i1])) + tile39[8 * (i0) + i1] * tile14[2 * (i0)] * (tile15[16 * (i0) + i1] + tile19[16 * (i0) + i1]));
        }
    }
    // wait for tile40, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [4, 8]: d_in_a[t of row i0; i1] where row i0 is among the queries = (tile40[i0, i1] * (tile14[i0, 0, 0] * add(tile15[2*i0, i1], tile19[2*i0, i1])))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_a[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile40[8 * (i0) + i1] * tile14[2 * (i0)] * (tile15[16 * (i0) + i1] + tile19[16 * (i0) + i1]);
        }
    }
    // map [4, 8]: d_in_k[t of row i0; i1] where row i0 is among the queries = (tile14[i0, 1, 0] * add(tile15[2*i0+1, i1], tile19[2*i0+1, i1]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile14[2 * (i0) + 1] * (tile15[16 * (i0) + i1 + 8] + tile19[16 * (i0) + i1 + 8]);
        }
    }
    // map [8, 8]: tile25[i0, i1] = (tile18[i0, i1] * tile0[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile25[8 * (i0) + i1] = tile18[8 * (i0) + i1] * tile0[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 8 wide: tile26 = CumulativeProductGrad(Versions { micro: 2, offsets: [0, 0] }) tile12 tile25
    cumulative_product_grad<8, 8, 8>(tile26, tile12, tile25, [](int i) -> int { return 2 * ((i) / 2); });
    wait_for_block();
    // reduce [8, 8] over [1]: tile21[i0, 0] = Sum (tile28[i0, i1] * tile31[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile28[8 * (i0) + i1] * tile31[8 * (i0) + i1];
        }
        tile21[i0] = y.x[0];
    }
    wait_for_block();
    // map [1, 8]: tile20[0, i1] = tile21[i1, 0]
    {
        const int e = threadIdx.x;
        const int i1 = e;
        if (e < 8) {
            tile20[i1] = tile21[i1];
        }
    }
    wait_for_block();
    // scan of 1 rows, 8 steps, 8 wide: tile22 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile12 tile20
    cumulative_product_grad<1, 8, 8>(tile22, tile12, tile20, [](int i) -> int { return 8 * (i) + 8; });
    // wait for tile41, 2 copies pending
    wait_for_copies<2>();
    // wait for tile42, 1 copies pending
    wait_for_copies<1>();
    // wait for tile43, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [4, 8]: d_in_w[t of row i0; i1] where row i0 is among the queries = (exp(tile41[i0, i1]) * (tile14[i0, 0, 0] * add(add(add(add(add(tile22[2*i0, i1], tile24[...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 32) {
            if (i0 < at.valid) d_in_w[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = op_exp(tile41[8 * (i0) + i1]) * tile14[2 * (i0)] * (((((tile22[16 * (i0) + i1] + tile24[16 * (i0) + i1]) + tile42[16 * (i0) + i1]) + tile43[16 * (i0) + i1]) + tile26[16 * (i0) + i1]) + tile27[16 * (i0) + i1]);
        }
    }
}
