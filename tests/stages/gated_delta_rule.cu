extern "C" __global__ void __launch_bounds__(128, 1)
gated_delta_rule_forward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, bf16* __restrict__ kept_0, float* __restrict__ kept_1, bf16* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7) {
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
    at.valid = min(at.length - at.first, 8);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    bf16* const tile0 = (bf16*)(shared + 1024);
    bf16* const tile1 = (bf16*)(shared + 1792);
    float* const tile2 = (float*)(shared + 2048);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 1792);
    float* const tile5 = (float*)(shared + 4864);
    float* const tile6 = (float*)(shared + 1792);
    float* const tile7 = (float*)(shared + 4992);
    bf16* const tile8 = (bf16*)(shared + 3328);
    bf16* const tile9 = (bf16*)(shared + 4096);
    bf16* const tile10 = (bf16*)(shared + 2560);
    bf16* const tile11 = (bf16*)(shared + 1792);
    float* const tile12 = (float*)(shared + 384);
    bf16* const tile13 = (bf16*)(shared + 3328);
    bf16* const tile14 = (bf16*)(shared + 2560);
    float* const tile15 = (float*)(shared + 0);
    bf16* const tile16 = (bf16*)(shared + 0);
    float* const tile17 = (float*)(shared + 768);
    float* const tile18 = (float*)(shared + 0);
    float* const tile19 = (float*)(shared + 0);
    float* const tile20 = (float*)(shared + 384);
    float* const tile21 = (float*)(shared + 0);
    float* const tile22 = (float*)(shared + 512);
    float* const tile23 = (float*)(shared + 768);
    float* const tile24 = (float*)(shared + 256);
    {
        // copy async by 16 bytes: tile21 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile21[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 4 bytes: tile24 = in_g[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile24[i0], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
        }
        // copy async by 4 bytes: tile20 = in_beta[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile20[i0], &in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0]);
        }
        // copy async by 16 bytes: tile22 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile22[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile23 = in_q[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile23[8 * (i0) + i1], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile21, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile0[i0, i1] = tile21[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile21[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile0[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // map [8, 8]: kept_0[i0, i1] = tile0[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(widen(tile0[24 * (i0) + i1]));
        }
    }
    // wait for tile24, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8]: tile4[i0] = exp(tile24[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile4[i0] = op_exp(tile24[i0]);
        }
    }
    // wait for tile20, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [8]: tile3[i0] = (tile20[i0] * neg(tile4[i0]))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile3[i0] = tile20[i0] * op_neg(tile4[i0]);
        }
    }
    // map [8, 1]: tile5[i0, 0] = add((tile4[i0] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile5[i0] = (tile4[i0] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile6 = DecayMask(Versions { micro: 1, offsets: [0] }) tile5
    decay_mask<8, 8, 8>(tile6, tile5, [](int i) -> int { return i; });
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile0 tile0ᵀ over 8; tile2[i0, i1] = neg((i1 < i0 ? (((sum * tile3[i0]) * (row i1 is among the queries ? 1 : 0)) *...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile0, tile0, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<2>(&tile6[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = op_neg((i1 < i0 ? sum * tile3[i0] * (i1 < at.valid ? 1.0f : 0.0f) * x0.x[l] : 0.0f));
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile2[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // invert tile2: tile7
    invert<8, 8, 8>(tile2, tile7);
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile1[i0, i1] and the rest tile10 = (i1 < i0+1 ? (tile7[i0, i1] * tile20[i1]) : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (i1 < i0 + 1 ? tile7[8 * (i0) + i1] * tile20[i1] : 0.0f) : 0.f;
            }
            auto const there = &tile1[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile10[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // wait for tile22, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile8[i0, i1] and the rest tile9 = tile22[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile22[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile8[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile9[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile1 tile8 over 8, kept apart + tile1 tile9 over 8, kept apart + tile10 tile8 over 8, kept apart; kept_1[i0, i1] ...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        #pragma unroll 1
        for (int term = 0; term < 3; term++) {
            const bf16* const left = term == 0 ? tile1 : term == 1 ? tile1 : tile10;
            const bf16* const right = term == 0 ? tile8 : term == 1 ? tile9 : tile8;
            sums.add<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
        }
        if (sums.lost()) {
            sums.clear();
            #pragma unroll 1
            for (int term = 0; term < 3; term++) {
                const bf16* const left = term == 0 ? tile1 : term == 1 ? tile1 : tile10;
                const bf16* const right = term == 0 ? tile8 : term == 1 ? tile9 : tile8;
                sums.add_finite<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
            }
            #pragma unroll 1
            for (int term = 0; term < 3; term++) {
                const bf16* const left = term == 0 ? tile1 : term == 1 ? tile1 : tile10;
                const bf16* const right = term == 0 ? tile8 : term == 1 ? tile9 : tile8;
                sums.lose<8, false, 24, 0, false, 24, 0, false>(left, right, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            }
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
                auto const there = &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_out<2>(there, y);
            }
        });
    }
    // scan of 8 rows, 8 steps, 1 wide: tile12 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile5
    cumulative_product<8, 8, 1>(tile12, tile5, [](int i) -> int { return i; });
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile11[i0, i1] and the rest tile14 = (i1 < i0+1 ? ((i1 < i0+1 ? (tile7[i0, i1] * tile3[i1]) : 0) * tile12[i1, 0]) ...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (i1 < i0 + 1 ? (i1 < i0 + 1 ? tile7[8 * (i0) + i1] * tile3[i1] : 0.0f) * tile12[i1] : 0.0f) : 0.f;
            }
            auto const there = &tile11[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile14[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile13[i0, i1] = sub(tile21[i0, i1], tile0[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile21[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile0[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] - x1.x[l]) : 0.f;
            }
            auto const there = &tile13[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2, stored by 4: sum = tile11 tile0 over 8, kept apart + tile11 tile13 over 8, kept apart + tile14 tile0 over 8, kept apart;...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        #pragma unroll 1
        for (int term = 0; term < 3; term++) {
            const bf16* const left = term == 0 ? tile11 : term == 1 ? tile11 : tile14;
            const bf16* const right = term == 0 ? tile0 : term == 1 ? tile13 : tile0;
            sums.add<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
        }
        if (sums.lost()) {
            sums.clear();
            #pragma unroll 1
            for (int term = 0; term < 3; term++) {
                const bf16* const left = term == 0 ? tile11 : term == 1 ? tile11 : tile14;
                const bf16* const right = term == 0 ? tile0 : term == 1 ? tile13 : tile0;
                sums.add_finite<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
            }
            #pragma unroll 1
            for (int term = 0; term < 3; term++) {
                const bf16* const left = term == 0 ? tile11 : term == 1 ? tile11 : tile14;
                const bf16* const right = term == 0 ? tile0 : term == 1 ? tile13 : tile0;
                sums.lose<8, false, 24, 0, false, 24, 0, false>(left, right, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
            }
        }
        sums.each_wide<2>(row0, col0, [&](int i0, int i1, float* of, int held) {
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
                auto const there = &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_words(there, y);
            }
        });
    }
    // scan of 8 rows, 8 steps, 1 wide: tile15 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile5
    cumulative_product<8, 8, 1>(tile15, tile5, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [8, 1]: kept_4[i0, 0] = tile15[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile15[i0];
        }
    }
    // wait for tile23, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile16[i0, i1] = tile23[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile23[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile16[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile17 = DecayMask(Versions { micro: 1, offsets: [1] }) tile5
    decay_mask<8, 8, 8>(tile17, tile5, [](int i) -> int { return i + 1; });
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2, stored by 4: sum = tile16 tile0ᵀ over 8; kept_5[i0, i1] = (i1 < i0+1 ? (((sum * (row i1 is among the queries ? 1 : 0)) *...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile16, tile0, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<2>(&tile17[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = (i1 < i0 + 1 ? sum * (i1 < at.valid ? 1.0f : 0.0f) * 0.35355338f * x0.x[l] : 0.0f);
                }
            }
        });
        sums.each_wide<2>(row0, col0, [&](int i0, int i1, float* of, int held) {
            Group<2> y = {};
            if (i0 < 8 && i1 < 8) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
            }
            return y;
        }, [&](int i0, int i1, uint2 y) {
            if (i0 < 8 && i1 < 8) {
                auto const there = &kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_words(there, y);
            }
        });
    }
    wait_for_block();
    // scan of 1 rows, 8 steps, 1 wide: tile18 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile5
    cumulative_product<1, 8, 1>(tile18, tile5, [](int i) -> int { return 8 * (i) + 8; });
    wait_for_block();
    // map [1, 1]: kept_6[0, 0] = tile18[0, 0]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 1 + 0] = tile18[0];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile19 = ReverseCumulativeProduct tile5
    reverse_cumulative_product<8, 1>(tile19, tile5);
    wait_for_block();
    // map [8, 1]: kept_7[i0, 0] = tile19[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile19[i0];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gated_delta_rule_forward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, bf16* __restrict__ kept_0, float* __restrict__ kept_1, bf16* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7) {
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
    const int rounds = (at.length + 7) / 8;
    const int chunks_before = chunks[at.sequence];
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    float tile0[8];
    bf16* const tile2 = (bf16*)(shared + 3840);
    float* const tile3 = (float*)(shared + 5376);
    bf16* const tile4 = (bf16*)(shared + 3840);
    bf16* const tile5 = (bf16*)(shared + 4608);
    bf16* const tile6 = (bf16*)(shared + 4608);
    float* const tile7_stages = (float*)(shared + 0);
    bf16* const tile8_stages = (bf16*)(shared + 512);
    float* const tile9_stages = (float*)(shared + 2048);
    bf16* const tile10_stages = (bf16*)(shared + 2176);
    float* const tile11_stages = (float*)(shared + 3712);
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
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile7 = kept_1[i0, i1] of round 0
        {
            float* const tile7 = tile7_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile7[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile8 = kept_2[i0, i1] of round 0
        {
            bf16* const tile8 = tile8_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 32;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes from thread 64 on: tile9 = kept_7[i0, 0] of round 0
        {
            float* const tile9 = tile9_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 64;
            const int i0 = e;
            if (e >= 0 && e < 8) copy_async<4>(&tile9[i0], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
        // copy async by 16 bytes from thread 96 on: tile10 = kept_0[i0, i1] of round 0
        {
            bf16* const tile10 = tile10_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 96;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile10[24 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes: tile11 = kept_6[0, 0] of round 0
        {
            float* const tile11 = tile11_stages + 0 % 2 * 1;
            const int e = threadIdx.x;
            if (e < 1) copy_async<4>(&tile11[0], &kept_6[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
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
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        float* const tile7 = tile7_stages + round % 2 * 64;
        bf16* const tile8 = tile8_stages + round % 2 * 384;
        float* const tile9 = tile9_stages + round % 2 * 8;
        bf16* const tile10 = tile10_stages + round % 2 * 384;
        float* const tile11 = tile11_stages + round % 2 * 1;
        // wait for tile7 tile8 tile9 tile10 tile11, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 8;
            at.valid = min(at.length - at.first, 8);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile7 = kept_1[i0, i1] of 1 ahead
            {
                float* const tile7 = tile7_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile7[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile8 = kept_2[i0, i1] of 1 ahead
            {
                bf16* const tile8 = tile8_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 32;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile8[24 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 4 bytes from thread 64 on: tile9 = kept_7[i0, 0] of 1 ahead
            {
                float* const tile9 = tile9_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 64;
                const int i0 = e;
                if (e >= 0 && e < 8) copy_async<4>(&tile9[i0], &kept_7[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
            }
            // copy async by 16 bytes from thread 96 on: tile10 = kept_0[i0, i1] of 1 ahead
            {
                bf16* const tile10 = tile10_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 96;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile10[24 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 4 bytes: tile11 = kept_6[0, 0] of 1 ahead
            {
                float* const tile11 = tile11_stages + next % 2 * 1;
                const int e = threadIdx.x;
                if (e < 1) copy_async<4>(&tile11[0], &kept_6[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
            }
        }
        commit_copies();
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
        // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = ((add(tile7[i0, i1], tile3[i0, 0, i1]) * (row i0 is among the queries ? 1 : 0)) * tile9[i0, 0])
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
                    y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] + x1.x[l]) * (i0 < at.valid ? 1.0f : 0.0f) * tile9[i0] : 0.f;
                }
                auto const there = &tile2[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile6[i0, i1] = tile10[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile10[24 * (i0) + i1]);
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
        // product [8, 8] in 16x16 in groups of 2: sum = tile6ᵀ tile2 over 8; tile0[i0, i1] = add((tile0[i0, i1] * tile11[0, 0]), sum)
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
                        of[l] = (tile0[slot * 8 + held] * tile11[0] + sum);
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
        // map [8, 8]: kept_3[i0, i1] = add(tile7[i0, i1], tile3[i0, 0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = (tile7[8 * (i0) + i1] + tile3[8 * (i0) + i1]);
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
gated_delta_rule_forward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, bf16* __restrict__ kept_0, float* __restrict__ kept_1, bf16* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, bf16* __restrict__ kept_5, float* __restrict__ kept_6, float* __restrict__ kept_7) {
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
    at.valid = min(at.length - at.first, 8);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    bf16* const tile0 = (bf16*)(shared + 1408);
    bf16* const tile1 = (bf16*)(shared + 2176);
    bf16* const tile2 = (bf16*)(shared + 2944);
    bf16* const tile3 = (bf16*)(shared + 0);
    float* const tile4 = (float*)(shared + 0);
    bf16* const tile5 = (bf16*)(shared + 256);
    float* const tile6 = (float*)(shared + 1024);
    float* const tile7 = (float*)(shared + 1280);
    {
        // copy async by 16 bytes: tile4 = in_q[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile4[8 * (i0) + i1], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1]);
        }
        // copy async by 16 bytes: tile5 = kept_5[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 8) copy_async<16>(&tile5[24 * (i0) + i1], &kept_5[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile6 = kept_3[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile6[8 * (i0) + i1], &kept_3[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes: tile7 = kept_4[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile7[i0], &kept_4[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    // map [8, 8] filled to [16, 16] in groups of 4: tile0[i0, i1] = state_S_at_chunks[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile0[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // wait for tile4, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile1[i0, i1] = tile4[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile4[8 * (i0) + i1]);
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
    // wait for tile5, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = tile5[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile5[24 * (i0) + i1]);
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
    // wait for tile6, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile3[i0, i1] = tile6[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile6[8 * (i0) + i1]);
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
    // wait for tile7, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile1 tile0 over 8; sum1 = tile2 tile3 over 8, kept apart; out_o[t of row i0; i1] where row i0 is among the querie...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        Sums<2> sums1;
        sums.add<16, false, 24, 0, false, 24, 0>(tile1, tile0, row0, col0);
        sums1.add<16, false, 24, 0, false, 24, 0>(tile2, tile3, row0, col0);
        if (sums1.lost()) {
            sums1.clear();
            sums1.add_finite<16, false, 24, 0, false, 24, 0>(tile2, tile3, row0, col0);
            sums1.lose<8, false, 24, 0, false, 24, 0, false>(tile2, tile3, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
        }
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    const float sum1 = sums1.x[held / 4][held % 4];
                    of[l] = (sum * 0.35355338f * tile7[i0] + sum1);
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    const float sum1 = sums1.x[held / 4][held % 4];
                    y.x[l] = of[l];
                }
                auto const there = &out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                if (i0 < at.valid) put_out<2>(there, y);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gated_delta_rule_backward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_in_beta, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, bf16* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, bf16* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, bf16* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
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
    at.valid = min(at.length - at.first, 8);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    bf16* const tile0 = (bf16*)(shared + 1536);
    bf16* const tile1 = (bf16*)(shared + 256);
    float* const tile2 = (float*)(shared + 6144);
    float* const tile3 = (float*)(shared + 2304);
    float* const tile4 = (float*)(shared + 6400);
    float* const tile5 = (float*)(shared + 3840);
    bf16* const tile6 = (bf16*)(shared + 5376);
    bf16* const tile7 = (bf16*)(shared + 2304);
    float* const tile8 = (float*)(shared + 2816);
    float* const tile9 = (float*)(shared + 2304);
    float* const tile10 = (float*)(shared + 6272);
    float* const tile11 = (float*)(shared + 2560);
    float* const tile12 = (float*)(shared + 6656);
    bf16* const tile13 = (bf16*)(shared + 3840);
    float* const tile14 = (float*)(shared + 512);
    bf16* const tile15 = (bf16*)(shared + 3072);
    float* const tile16 = (float*)(shared + 6912);
    bf16* const tile17 = (bf16*)(shared + 4608);
    bf16* const tile18 = (bf16*)(shared + 256);
    bf16* const tile19 = (bf16*)(shared + 256);
    float* const tile20 = (float*)(shared + 3072);
    float* const tile21 = (float*)(shared + 2304);
    float* const tile22 = (float*)(shared + 1280);
    bf16* const tile23 = (bf16*)(shared + 256);
    float* const tile24 = (float*)(shared + 1280);
    float* const tile25 = (float*)(shared + 1280);
    float* const tile26 = (float*)(shared + 2304);
    float* const tile27 = (float*)(shared + 1280);
    float* const tile28 = (float*)(shared + 2560);
    bf16* const tile29 = (bf16*)(shared + 2304);
    bf16* const tile30 = (bf16*)(shared + 2304);
    float* const tile31 = (float*)(shared + 256);
    float* const tile32 = (float*)(shared + 384);
    bf16* const tile33 = (bf16*)(shared + 256);
    bf16* const tile34 = (bf16*)(shared + 3072);
    bf16* const tile35 = (bf16*)(shared + 2304);
    float* const tile36 = (float*)(shared + 0);
    float* const tile37 = (float*)(shared + 384);
    float* const tile38 = (float*)(shared + 768);
    float* const tile39 = (float*)(shared + 1024);
    float* const tile40 = (float*)(shared + 1280);
    float* const tile41 = (float*)(shared + 512);
    float* const tile42 = (float*)(shared + 256);
    {
        // copy async by 16 bytes: tile36 = in_k[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile36[8 * (i0) + i1], &in_k[((long long)(at.start + inside(at, i0)) * heads_in_k + own_in_k) * 8 + i1]);
        }
        // copy async by 4 bytes: tile42 = in_g[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile42[i0], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
        }
        // copy async by 4 bytes: tile37 = in_beta[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile37[i0], &in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0]);
        }
        // copy async by 16 bytes: tile41 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile41[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile38 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile38[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile39 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async_if<16>(&tile39[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
        }
        // copy async by 16 bytes: tile40 = in_q[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile40[8 * (i0) + i1], &in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile36, 6 copies pending
    wait_for_copies<6>();
    wait_for_block();
    // map [8, 8]: kept_0[i0, i1] = tile36[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile36[8 * (i0) + i1];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile0[i0, i1] = tile36[i0, i1]
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
            auto const there = &tile0[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile42, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // map [8]: tile3[i0] = exp(tile42[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile3[i0] = op_exp(tile42[i0]);
        }
    }
    wait_for_block();
    // map [8]: kept_2[i0] = neg(tile3[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 8 + i0] = op_neg(tile3[i0]);
        }
    }
    // map [8, 1]: tile2[i0, 0] = add((tile3[i0] * (row i0 is among the queries ? 1 : 0)), sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile2[i0] = (tile3[i0] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    // wait for tile37, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [8]: tile10[i0] = (tile37[i0] * neg(tile3[i0]))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile10[i0] = tile37[i0] * op_neg(tile3[i0]);
        }
    }
    // map [8, 1]: kept_1[i0, 0] = tile2[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_1[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile2[i0];
        }
    }
    wait_for_block();
    // map [8]: kept_3[i0] = tile10[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile10[i0];
        }
    }
    // map [8, 1]: kept_17[i0, 0] = tile10[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_17[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile10[i0];
        }
    }
    // scan of 8 rows, 8 steps, 1 wide: tile4 = DecayMask(Versions { micro: 1, offsets: [1] }) tile2
    decay_mask<8, 8, 8>(tile4, tile2, [](int i) -> int { return i + 1; });
    // product [8, 1, 8] in 16x16 in groups of 2: sum = tile0 tile0ᵀ over 8; tile9[i0, 0, i2] = ((sum * tile10[i0]) * (row i2 is among the queries ? 1 : 0))
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile0, tile0, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i2, float* of, int held) {
            if (i0 < 8 && i2 < 8) {
                const int first = i2, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i2 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = sum * tile10[i0] * (i2 < at.valid ? 1.0f : 0.0f);
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i2, float* of, int held) {
            if (i0 < 8 && i2 < 8) {
                Group<2> y;
                const int first = i2, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i2 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile9[8 * (i0) + i2];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8]: kept_4[i0, i1] = tile9[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile9[8 * (i0) + i1];
        }
    }
    // scan of 8 rows, 8 steps, 1 wide: tile11 = DecayMask(Versions { micro: 1, offsets: [0] }) tile2
    decay_mask<8, 8, 8>(tile11, tile2, [](int i) -> int { return i; });
    wait_for_block();
    // map [8, 8]: tile8[i0, i1] = neg((tile9[i0, 0, i1] * tile11[i0, i1]))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile8[8 * (i0) + i1] = op_neg(tile9[8 * (i0) + i1] * tile11[8 * (i0) + i1]);
        }
    }
    wait_for_block();
    // invert tile8: tile12
    invert<8, 8, 8>(tile8, tile12);
    wait_for_block();
    // map [8, 8]: kept_6[i0, i1] = tile12[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_6[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile12[8 * (i0) + i1];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile7[i0, i1] = tile12[i0, i1]
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
            auto const there = &tile7[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile41, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile15[i0, i1] = tile41[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile41[8 * (i0) + i1]);
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
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile0 tile15 over 8; tile14[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile15, row0, col0);
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
    // scan of 8 rows, 8 steps, 1 wide: tile16 = CumulativeProduct(Versions { micro: 1, offsets: [0] }) tile2
    cumulative_product<8, 8, 1>(tile16, tile2, [](int i) -> int { return i; });
    wait_for_block();
    // map [8, 1]: kept_5[i0, 0] = tile16[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_5[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile16[i0];
        }
    }
    // wait for tile38, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile13[i0, i1] and the rest tile17 = add((tile37[i0] * tile38[i0, i1]), ((tile14[i0, 0, i1] * tile10[i0]) * tile16...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile38[8 * (i0) + i1]);
            Group<4> x2 = {}; if ((i0 < 8 && i1 < 8)) x2 = get<4>(&tile14[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (tile37[i0] * x1.x[l] + x2.x[l] * tile10[i0] * tile16[i0]) : 0.f;
            }
            auto const there = &tile13[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile17[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile18[i0, i1] = sub(tile12[i0, i1], tile7[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile7[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? (x0.x[l] - x1.x[l]) : 0.f;
            }
            auto const there = &tile18[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16, filled in groups of 2: sum = tile7 tile13 over 8 + tile7 tile17 over 8 + tile18 tile13 over 8; tile6[i0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        #pragma unroll 1
        for (int term = 0; term < 3; term++) {
            const bf16* const left = term == 0 ? tile7 : term == 1 ? tile7 : tile18;
            const bf16* const right = term == 0 ? tile13 : term == 1 ? tile17 : tile13;
            sums.add<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
        }
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            Group<2> y;
            const int first = i1, of_group = held;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l, held = of_group + l;
                const float sum = of[l];
                y.x[l] = i0 < 8 && i1 < 8 ? sum : 0.f;
            }
            auto const there = &tile6[24 * (i0) + i1];
            put<2>(there, y);
        });
    }
    wait_for_block();
    // map [8, 8]: kept_7[i0, i1] = tile6[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(widen(tile6[24 * (i0) + i1]));
        }
    }
    // wait for tile39, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile19[i0, i1] = tile39[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile39[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile19[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16: sum = tile6 tile19ᵀ over 8; tile5[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile6, tile19, row0, col0);
        sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
            if (i0 < 8 && i1 < 8) {
                tile5[i0 + 8 * (i1)] = sum;
            }
        });
    }
    // product [8, 8] in 16x16: sum = tile15 tile19ᵀ over 8; tile21[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile15, tile19, row0, col0);
        sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
            if (i0 < 8 && i1 < 8) {
                tile21[i0 + 8 * (i1)] = sum;
            }
        });
    }
    // map [8, 8]: kept_11[i0, i1] = tile19[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_11[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(widen(tile19[24 * (i0) + i1]));
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile1[i0, i1] = ((tile4[i0, i1] * tile5[i0, i1, 0]) * (row i1 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile4[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile5[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] * (i1 < at.valid ? 1.0f : 0.0f) : 0.f;
            }
            auto const there = &tile1[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // scan of 8 rows, 8 steps, 1 wide: tile20 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile2
    cumulative_product<8, 8, 1>(tile20, tile2, [](int i) -> int { return i + 1; });
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile1 tile0 over 8; d_in_q[t of row i0; i1] where row i0 is among the queries = (0.35355339059327373 * add(sum, (t...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile1, tile0, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile21[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = 0.35355338f * (sum + tile20[i0] * x1.x[l]);
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &d_in_q[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                if (i0 < at.valid) put_out<2>(there, y);
            }
        });
    }
    // wait for tile40, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // reduce [8, 8] over [1]: tile31[i0, 0] = Sum ((tile40[i0, i1] * 0.35355339059327373) * tile21[i0, i1, 0])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile40[8 * (i0) + i1] * 0.35355338f * tile21[8 * (i0) + i1];
        }
        tile31[i0] = y.x[0];
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile32 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile2 tile31
    cumulative_product_grad<8, 8, 1>(tile32, tile2, tile31, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [8, 1]: kept_16[i0, 0] = tile32[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_16[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile32[i0];
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile23[i0, i1] = tile40[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile40[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile23[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile23 tile0ᵀ over 8; tile22[i1, 0, i0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile23, tile0, row0, col0);
        sums.each_pair(row0, col0, [&](int i1, int i0, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i0, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i0 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile22[i0 + 8 * (i1)];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8]: kept_8[i0, i1] = (((tile22[i0, 0, i1] * (row i1 is among the queries ? 1 : 0)) * 0.35355339059327373) * tile4[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = narrow(tile22[8 * (i0) + i1] * (i1 < at.valid ? 1.0f : 0.0f) * 0.35355338f * tile4[8 * (i0) + i1]);
        }
    }
    // map [8, 8]: tile26[i0, i1] = (((tile22[i0, 0, i1] * (row i1 is among the queries ? 1 : 0)) * 0.35355339059327373) * tile5[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile26[8 * (i0) + i1] = tile22[8 * (i0) + i1] * (i1 < at.valid ? 1.0f : 0.0f) * 0.35355338f * tile5[8 * (i0) + i1];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile27 = DecayMaskGrad(Versions { micro: 1, offsets: [1] }) tile2 tile26
    decay_mask_grad<8, 8>(tile27, tile2, tile26, tile28, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [8, 1]: kept_13[i0, 0] = tile27[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_13[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile27[i0];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile24 = ReverseCumulativeProduct tile2
    reverse_cumulative_product<8, 1>(tile24, tile2);
    wait_for_block();
    // map [8, 1]: kept_9[i0, 0] = tile24[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_9[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile24[i0];
        }
    }
    wait_for_block();
    // scan of 1 rows, 8 steps, 1 wide: tile25 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile2
    cumulative_product<1, 8, 1>(tile25, tile2, [](int i) -> int { return 8 * (i) + 8; });
    wait_for_block();
    // map [1, 1]: kept_10[0, 0] = tile25[0, 0]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            kept_10[((long long)(at.chunk) * heads + at.head) * 1 + 0] = tile25[0];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile29[i0, i1] = (tile4[i0, i1] * tile5[i0, i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile4[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile5[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] : 0.f;
            }
            auto const there = &tile29[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [1, 8, 8] in 16x16 in groups of 2: sum = tile23ᵀ tile29 over 8; kept_14[0, i1, i2] = (sum * 0.35355339059327373)
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, true, 24, 0, false, 24, 0>(tile23, tile29, row0, col0);
        sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
            if (i1 < 8 && i2 < 8) {
                Group<2> y;
                const int first = i2, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i2 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum * 0.35355338f;
                }
                auto const there = &kept_14[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2];
                put_out<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile30[i0, i1] = (tile39[i0, i1] * tile20[i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile39[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * tile20[i0] : 0.f;
            }
            auto const there = &tile30[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [1, 8, 8] in 16x16 in groups of 2: sum = tile23ᵀ tile30 over 8; kept_15[0, i1, i2] = (sum * 0.35355339059327373)
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, true, 24, 0, false, 24, 0>(tile23, tile30, row0, col0);
        sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
            if (i1 < 8 && i2 < 8) {
                Group<2> y;
                const int first = i2, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i2 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum * 0.35355338f;
                }
                auto const there = &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2];
                put_out<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile33[i0, i1] and the rest tile35 = ((tile12[i0, i1] * tile10[i1]) * tile16[i1, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile10[i1]);
            Group<4> x2 = {}; if ((i0 < 8 && i1 < 8)) x2 = get<4>(&tile16[i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] * x2.x[l] : 0.f;
            }
            auto const there = &tile33[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile35[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile34[i0, i1] = sub(tile36[i0, i1], tile0[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile36[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile0[24 * (i0) + i1]);
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
    // product [8, 8] in 16x16 in groups of 2, stored by 4: sum = tile33 tile0 over 8 + tile33 tile34 over 8 + tile35 tile0 over 8; kept_18[i0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        #pragma unroll 1
        for (int term = 0; term < 3; term++) {
            const bf16* const left = term == 0 ? tile33 : term == 1 ? tile33 : tile35;
            const bf16* const right = term == 0 ? tile0 : term == 1 ? tile34 : tile0;
            sums.add<16, false, 24, 0, false, 24, 0>(left, right, row0, col0);
        }
        sums.each_wide<2>(row0, col0, [&](int i0, int i1, float* of, int held) {
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
                auto const there = &kept_18[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_words(there, y);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
gated_delta_rule_backward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_in_beta, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, bf16* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, bf16* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, bf16* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
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
    const int rounds = (at.length + 7) / 8;
    const int chunks_before = chunks[at.sequence];
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    float tile0[8];
    bf16* const tile2 = (bf16*)(shared + 5888);
    bf16* const tile3 = (bf16*)(shared + 6656);
    float* const tile4 = (float*)(shared + 8192);
    bf16* const tile5 = (bf16*)(shared + 6656);
    bf16* const tile6 = (bf16*)(shared + 7424);
    float* const tile7 = (float*)(shared + 8448);
    bf16* const tile8 = (bf16*)(shared + 6656);
    bf16* const tile9 = (bf16*)(shared + 7424);
    bf16* const tile10_stages = (bf16*)(shared + 0);
    float* const tile11_stages = (float*)(shared + 1536);
    float* const tile12_stages = (float*)(shared + 2048);
    bf16* const tile13_stages = (bf16*)(shared + 2176);
    bf16* const tile14_stages = (bf16*)(shared + 3712);
    float* const tile15_stages = (float*)(shared + 5248);
    float* const tile16_stages = (float*)(shared + 5376);
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
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile10 = kept_18[i0, i1] of round 0
        {
            bf16* const tile10 = tile10_stages + 0 % 2 * 384;
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 8) copy_async<16>(&tile10[24 * (i0) + i1], &kept_18[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile11 = kept_0[i0, i1] of round 0
        {
            float* const tile11 = tile11_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile11[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes from thread 64 on: tile12 = kept_9[i0, 0] of round 0
        {
            float* const tile12 = tile12_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 64;
            const int i0 = e;
            if (e >= 0 && e < 8) copy_async<4>(&tile12[i0], &kept_9[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
        // copy async by 16 bytes from thread 96 on: tile13 = kept_8[i0, i1] of round 0
        {
            bf16* const tile13 = tile13_stages + 0 % 2 * 384;
            const int e = (int)threadIdx.x - 96;
            const int i0 = e;
            const int i1 = 0;
            if (e >= 0 && e < 8) copy_async<16>(&tile13[24 * (i0) + i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile14 = kept_11[i0, i1] of round 0
        {
            bf16* const tile14 = tile14_stages + 0 % 2 * 384;
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 8) copy_async<16>(&tile14[24 * (i0) + i1], &kept_11[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes from thread 32 on: tile15 = kept_10[0, 0] of round 0
        {
            float* const tile15 = tile15_stages + 0 % 2 * 1;
            const int e = (int)threadIdx.x - 32;
            if (e >= 0 && e < 1) copy_async<4>(&tile15[0], &kept_10[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
        }
        // copy async by 16 bytes from thread 64 on: tile16 = kept_15[0, i1, i2] of round 0
        {
            float* const tile16 = tile16_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 64;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile16[8 * (i1) + i2], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        bf16* const tile10 = tile10_stages + round % 2 * 384;
        float* const tile11 = tile11_stages + round % 2 * 64;
        float* const tile12 = tile12_stages + round % 2 * 8;
        bf16* const tile13 = tile13_stages + round % 2 * 384;
        bf16* const tile14 = tile14_stages + round % 2 * 384;
        float* const tile15 = tile15_stages + round % 2 * 1;
        float* const tile16 = tile16_stages + round % 2 * 64;
        // wait for tile10 tile11 tile12 tile13 tile14 tile15 tile16, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 8;
            at.valid = min(at.length - at.first, 8);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile10 = kept_18[i0, i1] of 1 ahead
            {
                bf16* const tile10 = tile10_stages + next % 2 * 384;
                const int e = threadIdx.x;
                const int i0 = e;
                const int i1 = 0;
                if (e < 8) copy_async<16>(&tile10[24 * (i0) + i1], &kept_18[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile11 = kept_0[i0, i1] of 1 ahead
            {
                float* const tile11 = tile11_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile11[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 4 bytes from thread 64 on: tile12 = kept_9[i0, 0] of 1 ahead
            {
                float* const tile12 = tile12_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 64;
                const int i0 = e;
                if (e >= 0 && e < 8) copy_async<4>(&tile12[i0], &kept_9[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
            }
            // copy async by 16 bytes from thread 96 on: tile13 = kept_8[i0, i1] of 1 ahead
            {
                bf16* const tile13 = tile13_stages + next % 2 * 384;
                const int e = (int)threadIdx.x - 96;
                const int i0 = e;
                const int i1 = 0;
                if (e >= 0 && e < 8) copy_async<16>(&tile13[24 * (i0) + i1], &kept_8[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes: tile14 = kept_11[i0, i1] of 1 ahead
            {
                bf16* const tile14 = tile14_stages + next % 2 * 384;
                const int e = threadIdx.x;
                const int i0 = e;
                const int i1 = 0;
                if (e < 8) copy_async<16>(&tile14[24 * (i0) + i1], &kept_11[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 4 bytes from thread 32 on: tile15 = kept_10[0, 0] of 1 ahead
            {
                float* const tile15 = tile15_stages + next % 2 * 1;
                const int e = (int)threadIdx.x - 32;
                if (e >= 0 && e < 1) copy_async<4>(&tile15[0], &kept_10[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
            }
            // copy async by 16 bytes from thread 64 on: tile16 = kept_15[0, i1, i2] of 1 ahead
            {
                float* const tile16 = tile16_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 64;
                const int i1 = (e) / 2;
                const int i2 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile16[8 * (i1) + i2], &kept_15[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
            }
        }
        commit_copies();
        commit_copies();
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
        // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = tile10[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile10[24 * (i0) + i1]);
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
        // map [8, 8] filled to [16, 16] in groups of 4: tile5[i0, i1] = tile11[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile11[8 * (i0) + i1]);
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
        // product [1, 8, 8] in 16x16 in groups of 2: sum = tile5 tile6 over 8; tile4[0, i1, i2] = ((sum * (row i1 is among the queries ? 1 : 0)) * tile12[i1, 0])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile5, tile6, row0, col0);
            sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
                if (i1 < 8 && i2 < 8) {
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = sum * (i1 < at.valid ? 1.0f : 0.0f) * tile12[i1];
                    }
                }
            });
            sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
                if (i1 < 8 && i2 < 8) {
                    Group<2> y;
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = of[l];
                    }
                    auto const there = &tile4[8 * (i1) + i2];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile8[i0, i1] = tile13[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile13[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile8[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile9[i0, i1] = tile14[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile14[24 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile9[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile8ᵀ tile9 over 8; tile7[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile8, tile9, row0, col0);
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
                    auto const there = &tile7[8 * (i0) + i1];
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
        // product [8, 8] in 16x16 in groups of 2: sum = tile2ᵀ tile3 over 8; tile0[i0, i1] = add((tile15[0, 0] * tile0[i0, i1]), add(tile16[0, i0, i1], sum))
        #pragma unroll
        for (int slot = 0; slot < 1; slot++) {
            const int job = threadIdx.x / 32 + slot * WARPS;
            if (job >= 1) break;
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile2, tile3, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> x2 = {}; if ((i0 < 8 && i1 < 8)) x2 = get<2>(&tile16[8 * (i0) + i1]);
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (tile15[0] * tile0[slot * 8 + held] + (x2.x[l] + sum));
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
        // map [8, 8]: kept_12[i0, i1] = add(tile4[0, i0, i1], tile7[0, i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                kept_12[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = (tile4[8 * (i0) + i1] + tile7[8 * (i0) + i1]);
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
gated_delta_rule_backward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ in_beta, int heads_in_beta, const float* __restrict__ state_S_before, const float* __restrict__ state_S_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_S_after, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v, float* __restrict__ d_in_g, float* __restrict__ d_in_beta, float* __restrict__ d_state_S_before, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4, float* __restrict__ kept_5, float* __restrict__ kept_6, bf16* __restrict__ kept_7, bf16* __restrict__ kept_8, float* __restrict__ kept_9, float* __restrict__ kept_10, bf16* __restrict__ kept_11, float* __restrict__ kept_12, float* __restrict__ kept_13, float* __restrict__ kept_14, float* __restrict__ kept_15, float* __restrict__ kept_16, float* __restrict__ kept_17, bf16* __restrict__ kept_18, float* __restrict__ d_state_S_at_chunks) {
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
    at.valid = min(at.length - at.first, 8);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    const int own_in_g = at.head / (heads / heads_in_g);
    const int own_in_beta = at.head / (heads / heads_in_beta);
    float* const tile0 = (float*)(shared + 3456);
    float* const tile1 = (float*)(shared + 5120);
    bf16* const tile2 = (bf16*)(shared + 2432);
    bf16* const tile3 = (bf16*)(shared + 3328);
    float* const tile4 = (float*)(shared + 6400);
    bf16* const tile5 = (bf16*)(shared + 3328);
    bf16* const tile6 = (bf16*)(shared + 4864);
    bf16* const tile7 = (bf16*)(shared + 5632);
    bf16* const tile8 = (bf16*)(shared + 4096);
    bf16* const tile9 = (bf16*)(shared + 2432);
    bf16* const tile10 = (bf16*)(shared + 1536);
    float* const tile11 = (float*)(shared + 6016);
    float* const tile12 = (float*)(shared + 6144);
    float* const tile13 = (float*)(shared + 6400);
    bf16* const tile14 = (bf16*)(shared + 4352);
    float* const tile15 = (float*)(shared + 1920);
    bf16* const tile16 = (bf16*)(shared + 5120);
    bf16* const tile17 = (bf16*)(shared + 4352);
    float* const tile18 = (float*)(shared + 512);
    float* const tile19 = (float*)(shared + 128);
    float* const tile20 = (float*)(shared + 0);
    float* const tile21 = (float*)(shared + 1024);
    float* const tile22 = (float*)(shared + 0);
    float* const tile23 = (float*)(shared + 640);
    float* const tile24 = (float*)(shared + 896);
    float* const tile25 = (float*)(shared + 1664);
    float* const tile26 = (float*)(shared + 1792);
    float* const tile27 = (float*)(shared + 1024);
    float* const tile28 = (float*)(shared + 640);
    float* const tile29 = (float*)(shared + 1920);
    float* const tile30 = (float*)(shared + 5888);
    float* const tile31 = (float*)(shared + 1152);
    float* const tile32 = (float*)(shared + 0);
    float* const tile33 = (float*)(shared + 256);
    float* const tile34 = (float*)(shared + 512);
    float* const tile35 = (float*)(shared + 3200);
    float* const tile36 = (float*)(shared + 256);
    float* const tile37 = (float*)(shared + 768);
    float* const tile38 = (float*)(shared + 896);
    bf16* const tile39 = (bf16*)(shared + 1536);
    float* const tile40 = (float*)(shared + 2304);
    float* const tile41 = (float*)(shared + 512);
    float* const tile42 = (float*)(shared + 640);
    float* const tile43 = (float*)(shared + 896);
    float* const tile44 = (float*)(shared + 4096);
    float* const tile45 = (float*)(shared + 1408);
    float* const tile46 = (float*)(shared + 1408);
    float* const tile47 = (float*)(shared + 3328);
    float* const tile48 = (float*)(shared + 1536);
    float* const tile49 = (float*)(shared + 1664);
    {
        // copy async by 16 bytes: tile32 = state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile32[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile33 = kept_6[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile33[8 * (i0) + i1], &kept_6[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile34 = kept_12[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile34[8 * (i0) + i1], &kept_12[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes: tile37 = in_beta[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile37[i0], &in_beta[((long long)(at.start + inside(at, i0)) * heads_in_beta + own_in_beta) * 1 + 0]);
        }
        // copy async by 16 bytes: tile38 = in_v[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile38[8 * (i0) + i1], &in_v[((long long)(at.start + inside(at, i0)) * heads_in_v + own_in_v) * 8 + i1]);
        }
        // copy async by 16 bytes: tile31 = kept_0[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile31[8 * (i0) + i1], &kept_0[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 4 bytes: tile45 = kept_1[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile45[i0], &kept_1[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
        // copy async by 16 bytes: tile39 = kept_7[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            const int i1 = 0;
            if (e < 8) copy_async<16>(&tile39[24 * (i0) + i1], &kept_7[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
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
    // wait for tile32, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 4 bytes: tile40 = kept_5[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile40[i0], &kept_5[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile2[i0, i1] = tile32[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile32[8 * (i0) + i1]);
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
    // wait for tile33, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile35 = kept_3[i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) * 4;
            if (e < 2) copy_async<16>(&tile35[i0], &kept_3[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile5[i0, i1] and the rest tile8 = tile33[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile33[8 * (i0) + i1]);
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
                auto const there = &tile8[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    // wait for tile34, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile36 = d_state_S_at_chunks[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile36[8 * (i0) + i1], &d_state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    // map [8, 8] filled to [16, 16] in groups of 4: tile6[i0, i1] and the rest tile7 = tile34[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile34[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile6[24 * (i0) + i1];
            put<4>(there, y);
            take_off_rounded(y);
            {
                auto const there = &tile7[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile5ᵀ tile6 over 8 + tile5ᵀ tile7 over 8 + tile8ᵀ tile6 over 8; tile4[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        #pragma unroll 1
        for (int term = 0; term < 3; term++) {
            const bf16* const left = term == 0 ? tile5 : term == 1 ? tile5 : tile8;
            const bf16* const right = term == 0 ? tile6 : term == 1 ? tile7 : tile6;
            sums.add<16, true, 24, 0, false, 24, 0>(left, right, row0, col0);
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
                auto const there = &tile4[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    // wait for tile37, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 4 bytes: tile41 = kept_17[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile41[i0], &kept_17[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8]: d_in_v[t of row i0; i1] where row i0 is among the queries = (tile37[i0] * tile4[i0, 0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            if (i0 < at.valid) d_in_v[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile37[i0] * tile4[8 * (i0) + i1];
        }
    }
    // map [8, 8] filled to [16, 16] in groups of 4: tile3[i0, i1] = tile4[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile4[8 * (i0) + i1]);
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
    wait_for_block();
    // product [8, 8] in 16x16: sum = tile2 tile3ᵀ over 8; tile1[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile2, tile3, row0, col0);
        sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
            if (i0 < 8 && i1 < 8) {
                tile1[i0 + 8 * (i1)] = sum;
            }
        });
    }
    // wait for tile38, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 4 bytes: tile42 = kept_9[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile42[i0], &kept_9[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    wait_for_block();
    // reduce [8, 8] over [1]: tile30[i0, 0] = Sum (tile38[i0, i1] * tile4[i0, 0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile38[8 * (i0) + i1] * tile4[8 * (i0) + i1];
        }
        tile30[i0] = y.x[0];
    }
    // wait for tile31, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 16 bytes: tile43 = kept_14[0, i1, i2] of round 0
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 2;
            const int i2 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile43[8 * (i1) + i2], &kept_14[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i1) + i2]);
        }
    }
    commit_copies();
    // map [8, 8] filled to [16, 16] in groups of 4: tile9[i0, i1] = tile31[i0, i1]
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
            auto const there = &tile9[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile45, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile44 = kept_4[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile44[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 1]: tile11[i0, 0] = tile45[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile11[i0] = tile45[i0];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile12 = DecayMask(Versions { micro: 1, offsets: [0] }) tile11
    decay_mask<8, 8, 8>(tile12, tile11, [](int i) -> int { return i; });
    // wait for tile39, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 16 bytes: tile46 = kept_2[i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) * 4;
            if (e < 2) copy_async<16>(&tile46[i0], &kept_2[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile14[i0, i1] = tile39[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile39[24 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile14[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile3 tile14ᵀ over 8; tile13[i0, 0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile3, tile14, row0, col0);
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
                auto const there = &tile13[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile10[i0, i1] = ((tile12[i0, i1] * (tile13[i0, 0, i1] * (i1 < i0 ? 1 : 0))) * (row i1 is among the queries ? 1 : ...
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile13[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] * (i1 < i0 ? 1.0f : 0.0f) * (i1 < at.valid ? 1.0f : 0.0f) : 0.f;
            }
            auto const there = &tile10[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile40, 7 copies pending
    wait_for_copies<7>();
    {
        // copy async by 4 bytes: tile47 = in_g[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile47[i0], &in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
        }
    }
    commit_copies();
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile10 tile9 over 8; tile0[i0, i1] = add((tile40[i0, 0] * tile1[i0, i1, 0]), sum)
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile10, tile9, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile1[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = (tile40[i0] * x1.x[l] + sum);
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile0[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    // wait for tile35, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 4 bytes: tile48 = kept_13[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile48[i0], &kept_13[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    // reduce [8, 8] over [1]: tile25[i0, 0] = Sum ((tile31[i0, i1] * tile35[i0]) * tile1[i0, i1, 0])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile31[8 * (i0) + i1] * tile35[i0] * tile1[8 * (i0) + i1];
        }
        tile25[i0] = y.x[0];
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile26 = CumulativeProductGrad(Versions { micro: 1, offsets: [0] }) tile11 tile25
    cumulative_product_grad<8, 8, 1>(tile26, tile11, tile25, [](int i) -> int { return i; });
    // wait for tile36, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    {
        // copy async by 4 bytes: tile49 = kept_16[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile49[i0], &kept_16[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
    }
    commit_copies();
    // map [8, 8] filled to [16, 16] in groups of 4: tile16[i0, i1] = tile36[i0, i1]
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
            auto const there = &tile16[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile14 tile16ᵀ over 8; tile15[i1, i0, 0] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile14, tile16, row0, col0);
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
                auto const there = &tile15[8 * (i0) + i1];
                put<2>(there, y);
            }
        });
    }
    // wait for tile41, 7 copies pending
    wait_for_copies<7>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile17[i0, i1] = ((tile12[i0, i1] * (tile13[i0, 0, i1] * (i1 < i0 ? 1 : 0))) * tile41[i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile12[8 * (i0) + i1]);
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile13[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] * (i1 < i0 ? 1.0f : 0.0f) * tile41[i0] : 0.f;
            }
            auto const there = &tile17[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile42, 6 copies pending
    wait_for_copies<6>();
    // wait for tile43, 5 copies pending
    wait_for_copies<5>();
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile17ᵀ tile9 over 8; d_in_k[t of row i0; i1] where row i0 is among the queries = add((tile35[i0] * tile0[i0, i1])...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, true, 24, 0, false, 24, 0>(tile17, tile9, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile0[8 * (i0) + i1]);
                Group<2> x3 = {}; if ((i0 < 8 && i1 < 8)) x3 = get<2>(&tile15[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = (tile35[i0] * x1.x[l] + (i0 < at.valid ? 1.0f : 0.0f) * (tile42[i0] * x3.x[l] + (tile43[i0 + 8 * (i1)] + sum)));
                }
            }
        });
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &d_in_k[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                if (i0 < at.valid) put_out<2>(there, y);
            }
        });
    }
    // reduce [8, 8] over [1]: tile18[i0, 0] = Sum (tile31[i0, i1] * tile0[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile31[8 * (i0) + i1] * tile0[8 * (i0) + i1];
        }
        tile18[i0] = y.x[0];
    }
    wait_for_block();
    // reduce [8, 8] over [1]: tile23[i0, 0] = Sum ((tile31[i0, i1] * (row i0 is among the queries ? 1 : 0)) * tile15[i1, i0, 0])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile31[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f) * tile15[8 * (i0) + i1];
        }
        tile23[i0] = y.x[0];
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile24 = ReverseCumulativeProductGrad tile11 tile23
    reverse_cumulative_product_grad<8, 1>(tile24, tile11, tile23);
    // wait for tile44, 4 copies pending
    wait_for_copies<4>();
    wait_for_block();
    // map [8, 8]: tile27[i0, i1] = (tile44[i0, i1] * (tile13[i0, 0, i1] * (i1 < i0 ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            tile27[8 * (i0) + i1] = tile44[8 * (i0) + i1] * tile13[8 * (i0) + i1] * (i1 < i0 ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile28 = DecayMaskGrad(Versions { micro: 1, offsets: [0] }) tile11 tile27
    decay_mask_grad<8, 8>(tile28, tile11, tile27, tile29, [](int i) -> int { return i; });
    // wait for tile46, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8]: d_in_beta[t of row i0] where row i0 is among the queries = add((tile46[i0] * tile18[i0, 0]), tile30[i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            if (i0 < at.valid) d_in_beta[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = (tile46[i0] * tile18[i0] + tile30[i0]);
        }
    }
    // reduce [8, 8] over [1]: tile21[i0, 0] = Sum (tile32[i0, i1] * tile36[i0, i1])
    #pragma unroll 1
    for (int e = threadIdx.x; e < 8; e += THREADS) {
        const int i0 = e;
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i1 = s;
            y.x[0] += tile32[8 * (i0) + i1] * tile36[8 * (i0) + i1];
        }
        tile21[i0] = y.x[0];
    }
    wait_for_block();
    // reduce [8, 1] over [0]: tile20[0, 0] = Sum tile21[i0, 0]
    #pragma unroll 1
    for (int e = threadIdx.x; e < 1; e += THREADS) {
        Group<1> y;
        #pragma unroll
        for (int l = 0; l < 1; l++) y.x[l] = 0.f;
        #pragma unroll 8
        for (int s = 0; s < 8; s++) {
            const int i0 = s;
            y.x[0] += tile21[i0];
        }
        tile20[0] = y.x[0];
    }
    wait_for_block();
    // map [1, 1]: tile19[0, 0] = tile20[0, 0]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            tile19[0] = tile20[0];
        }
    }
    wait_for_block();
    // scan of 1 rows, 8 steps, 1 wide: tile22 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile11 tile19
    cumulative_product_grad<1, 8, 1>(tile22, tile11, tile19, [](int i) -> int { return 8 * (i) + 8; });
    // wait for tile47, 2 copies pending
    wait_for_copies<2>();
    // wait for tile48, 1 copies pending
    wait_for_copies<1>();
    // wait for tile49, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [8]: d_in_g[t of row i0] where row i0 is among the queries = (exp(tile47[i0]) * add(neg((tile37[i0] * tile18[i0, 0])), ((row i0 is among the queries ? 1 : 0...
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            if (i0 < at.valid) d_in_g[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = op_exp(tile47[i0]) * (op_neg(tile37[i0] * tile18[i0]) + (i0 < at.valid ? 1.0f : 0.0f) * (((((tile22[i0] + tile24[i0]) + tile48[i0]) + tile49[i0]) + tile26[i0]) + tile28[i0]));
        }
    }
}
