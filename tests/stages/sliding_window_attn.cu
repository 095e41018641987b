extern "C" __global__ void __launch_bounds__(256, 1)
sliding_window_attn_forward(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, float* __restrict__ out_o, float* __restrict__ saved_0) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 16);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 3840);
    float* const tile1 = (float*)(shared + 3968);
    float* const tile2 = (float*)(shared + 2304);
    bf16* const tile3 = (bf16*)(shared + 0);
    bf16* const tile4 = (bf16*)(shared + 768);
    float* const tile5 = (float*)(shared + 768);
    float* const tile6 = (float*)(shared + 896);
    float* const tile7 = (float*)(shared + 1024);
    float* const tile8 = (float*)(shared + 4096);
    float* const tile9 = (float*)(shared + 4224);
    bf16* const tile10 = (bf16*)(shared + 768);
    bf16* const tile11 = (bf16*)(shared + 3072);
    bf16* const tile12 = (bf16*)(shared + 1536);
    bf16* const tile13 = (bf16*)(shared + 2304);
    // map [16, 1]: tile0[i0, 0] = -300000000000000000000000000000000000000
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 16) {
            tile0[i0] = -3e38f;
        }
    }
    // map [16, 1]: tile1[i0, 0] = 0
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 16) {
            tile1[i0] = 0.0f;
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile3[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] * 0.35355338f : 0.f;
            }
            auto const there = &tile3[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = job[2]; c < job[3]; c += 16) {
        at.first_key = c;
        at.valid_keys = min(at.length - at.first_key, 16);
        // map [16, 8] filled to [16, 16] in groups of 2: tile4[i0, i1] = in_k[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_k[((long long)(at.start + key(at, i0)) * heads_in_k + own_in_k) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile4[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16 in groups of 2: sum = tile3 tile4ᵀ over 8; tile2[i0, i1] = (allowed[i0, i1] ? sum : -inf)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile3, tile4, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = (allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? sum : -bits(0x7f800000u));
                }
                auto const there = &tile2[16 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // reduce [16, 16] over [1]: tile5[i0, 0] = Largest tile2[i0, i1]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = LOWEST;
            #pragma unroll 8
            for (int s = 0; s < 16; s++) {
                const int i1 = s;
                y.x[0] = larger(y.x[0], tile2[16 * (i0) + i1]);
            }
            tile5[i0] = y.x[0];
        }
        wait_for_block();
        // reduce [16, 16] over [1]: tile6[i0, 0] = Sum exp(tile2[i0, i1] - tile5[i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 16; s++) {
                const int i1 = s;
                y.x[0] += op_exp(tile2[16 * (i0) + i1] - tile5[i0]);
            }
            tile6[i0] = y.x[0];
        }
        // map [16, 1]: tile7[i0, 0] = max(tile0[i0, 0], tile5[i0, 0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 16) {
                tile7[i0] = op_max(tile0[i0], tile5[i0]);
            }
        }
        wait_for_block();
        // map [16, 1]: tile1[i0, 0] = add((tile1[i0, 0] * exp(tile0[i0, 0] - tile7[i0, 0])), (tile6[i0, 0] * exp(tile5[i0, 0] - tile7[i0, 0])))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 16) {
                tile1[i0] = (tile1[i0] * op_exp(tile0[i0] - tile7[i0]) + tile6[i0] * op_exp(tile5[i0] - tile7[i0]));
            }
        }
        wait_for_block();
        // map [16, 1]: tile0[i0, 0] = tile7[i0, 0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 16) {
                tile0[i0] = tile7[i0];
            }
        }
        wait_for_block();
    }
    // map [16, 1]: tile8[i0, 0] = add(tile0[i0, 0], log(tile1[i0, 0]))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 16) {
            tile8[i0] = (tile0[i0] + op_log(tile1[i0]));
        }
    }
    // map [16, 1, 8]: tile9[i0, 0, i2] = 0
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 128) {
            tile9[8 * (i0) + i2] = 0.0f;
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile12[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] * 0.35355338f : 0.f;
            }
            auto const there = &tile12[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = job[2]; c < job[3]; c += 16) {
        at.first_key = c;
        at.valid_keys = min(at.length - at.first_key, 16);
        // map [16, 8] filled to [16, 16] in groups of 2: tile10[i0, i1] = in_v[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_v[((long long)(at.start + key(at, i0)) * heads_in_v + own_in_v) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile10[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        // map [16, 8] filled to [16, 16] in groups of 2: tile13[i0, i1] = in_k[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_k[((long long)(at.start + key(at, i0)) * heads_in_k + own_in_k) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile13[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16, filled in groups of 2: sum = tile12 tile13ᵀ over 8; tile11[i0, i1] = exp((allowed[i0, i1] ? sum : -inf) - tile8[i0, 0])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile12, tile13, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = op_exp((allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? sum : -bits(0x7f800000u)) - tile8[i0]);
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile11[24 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // product [16, 1, 8] in 16x16 in groups of 2: sum = tile11 tile10 over 16, kept apart; tile9[i0, 0, i2] += sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile11, tile10, row0, col0);
            if (sums.lost()) {
                sums.clear();
                sums.add_finite<16, false, 24, 0, false, 24, 0>(tile11, tile10, row0, col0);
                sums.lose<16, false, 24, 0, false, 24, 0, false>(tile11, tile10, row0, col0, [&](int i0, int i1) -> bool { return (allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? 1.0f : 0.0f) != 0.f; });
            }
            sums.each_pair(row0, col0, [&](int i0, int i2, float* of, int held) {
                if (i2 < 8) {
                    Group<2> y;
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile9[8 * (i0) + i2];
                    put_sum<2>(there, y);
                }
            });
        }
        wait_for_block();
    }
    // map [16, 8]: out_o[t of row i0; i1] where row i0 is among the queries = tile9[i0, 0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 128) {
            if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = tile9[8 * (i0) + i1];
        }
    }
    if (saved_0 != 0) {
        // map [16, 1]: saved_0[t of row i0; 0] where row i0 is among the queries = tile8[i0, 0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 16) {
                if (i0 < at.valid) saved_0[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = tile8[i0];
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
sliding_window_attn_backward(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ d_out_o, const float* __restrict__ saved_0, float* __restrict__ saved_1, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first = job[1];
    at.valid = min(at.length - at.first, 16);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 5376);
    float* const tile1 = (float*)(shared + 1536);
    float* const tile2 = (float*)(shared + 3840);
    bf16* const tile3 = (bf16*)(shared + 0);
    bf16* const tile4 = (bf16*)(shared + 1536);
    float* const tile5 = (float*)(shared + 6016);
    bf16* const tile6 = (bf16*)(shared + 1536);
    bf16* const tile7 = (bf16*)(shared + 768);
    float* const tile8 = (float*)(shared + 5504);
    bf16* const tile9 = (bf16*)(shared + 1536);
    bf16* const tile10 = (bf16*)(shared + 4608);
    float* const tile11 = (float*)(shared + 6016);
    bf16* const tile12 = (bf16*)(shared + 2304);
    bf16* const tile13 = (bf16*)(shared + 3840);
    bf16* const tile14 = (bf16*)(shared + 3072);
    // map [16, 1]: tile0[i0, 0] = 0
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 16) {
            tile0[i0] = 0.0f;
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile3[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] * 0.35355338f : 0.f;
            }
            auto const there = &tile3[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile7[i0, i1] = (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], (i1 < 8 && d_out_o != 0 && i0 < at.valid));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile7[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = job[2]; c < job[3]; c += 16) {
        at.first_key = c;
        at.valid_keys = min(at.length - at.first_key, 16);
        // map [16, 8] filled to [16, 16] in groups of 2: tile4[i0, i1] = in_k[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_k[((long long)(at.start + key(at, i0)) * heads_in_k + own_in_k) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile4[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16 in groups of 2: sum = tile3 tile4ᵀ over 8; tile2[i0, i1, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile3, tile4, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = sum;
                }
                auto const there = &tile2[16 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // map [16, 8] filled to [16, 16] in groups of 2: tile6[i0, i1] = in_v[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_v[((long long)(at.start + key(at, i0)) * heads_in_v + own_in_v) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile6[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16: sum = tile6 tile7ᵀ over 8; tile5[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile6, tile7, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
                tile5[i0 + 16 * (i1)] = sum;
            });
        }
        wait_for_block();
        // reduce [16, 16] over [1]: tile1[i0, 0] = Sum neg((exp((allowed[i0, i1] ? tile2[i0, i1, 0] : -inf) - saved_0[t of row i0; 0]) * tile5[i0, i1, 0]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 16; s++) {
                const int i1 = s;
                y.x[0] += op_neg(op_exp((allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? tile2[16 * (i0) + i1] : -bits(0x7f800000u)) - saved_0[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0]) * tile5[16 * (i0) + i1]);
            }
            tile1[i0] = y.x[0];
        }
        wait_for_block();
        // map [16, 1]: tile0[i0, 0] += tile1[i0, 0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 16) {
                tile0[i0] += tile1[i0];
            }
        }
        wait_for_block();
    }
    // map [16, 1, 8]: tile8[i0, 0, i2] = 0
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 128) {
            tile8[8 * (i0) + i2] = 0.0f;
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile12[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] * 0.35355338f : 0.f;
            }
            auto const there = &tile12[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile14[i0, i1] = (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : 0)
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], (i1 < 8 && d_out_o != 0 && i0 < at.valid));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile14[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = job[2]; c < job[3]; c += 16) {
        at.first_key = c;
        at.valid_keys = min(at.length - at.first_key, 16);
        // map [16, 8] filled to [16, 16] in groups of 2: tile9[i0, i1] = in_k[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_k[((long long)(at.start + key(at, i0)) * heads_in_k + own_in_k) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile9[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16 in groups of 2: sum = tile12 tile9ᵀ over 8; tile11[i0, i1] = exp((allowed[i0, i1] ? sum : -inf) - saved_0[t of row i0; 0])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile12, tile9, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = op_exp((allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? sum : -bits(0x7f800000u)) - saved_0[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0]);
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile11[16 * (i0) + i1];
                put<2>(there, y);
            });
        }
        // map [16, 8] filled to [16, 16] in groups of 2: tile13[i0, i1] = in_v[u of row i0; i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_v[((long long)(at.start + key(at, i0)) * heads_in_v + own_in_v) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile13[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16, filled in groups of 2: sum = tile14 tile13ᵀ over 8; tile10[i0, i1] = (allowed[i0, i1] ? add((tile11[i0, i1] * sum), (tile11[i0, i1] *...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile14, tile13, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                const Group<2> x0 = get<2>(&tile11[16 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = (allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? (x0.x[l] * sum + x0.x[l] * tile0[i0]) : 0.0f);
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile10[24 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // product [16, 1, 8] in 16x16 in groups of 2: sum = tile10 tile9 over 16; tile8[i0, 0, i2] += sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile10, tile9, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i2, float* of, int held) {
                if (i2 < 8) {
                    Group<2> y;
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile8[8 * (i0) + i2];
                    put_sum<2>(there, y);
                }
            });
        }
        wait_for_block();
    }
    // map [16, 8]: d_in_q[t of row i0; i1] where row i0 is among the queries = (0.35355339059327373 * tile8[i0, 0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 128) {
            if (i0 < at.valid) d_in_q[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = 0.35355338f * tile8[8 * (i0) + i1];
        }
    }
    // map [16, 1]: saved_1[t of row i0; 0] where row i0 is among the queries = tile0[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 16) {
            if (i0 < at.valid) saved_1[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = tile0[i0];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
sliding_window_attn_backward_keys(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_q, int heads_in_q, const float* __restrict__ in_k, int heads_in_k, const float* __restrict__ in_v, int heads_in_v, const float* __restrict__ d_out_o, const float* __restrict__ saved_0, float* __restrict__ saved_1, float* __restrict__ d_in_q, float* __restrict__ d_in_k, float* __restrict__ d_in_v) {
    extern __shared__ __align__(128) unsigned char shared[];
    Place at;
    at.job = blockIdx.x / heads;
    const int* job = jobs + 4 * at.job;
    at.part = 0;
    at.head = blockIdx.x % heads;
    at.sequence = job[0];
    at.positions = 0;
    at.start = bounds[at.sequence];
    at.length = bounds[at.sequence + 1] - at.start;
    at.rows = bounds[sequences];
    at.first_key = job[1];
    at.valid_keys = min(at.length - at.first_key, 16);
    const int own_in_q = at.head / (heads / heads_in_q);
    const int own_in_k = at.head / (heads / heads_in_k);
    const int own_in_v = at.head / (heads / heads_in_v);
    float* const tile0 = (float*)(shared + 3840);
    float* const tile1 = (float*)(shared + 4352);
    bf16* const tile2 = (bf16*)(shared + 2304);
    float* const tile3 = (float*)(shared + 4864);
    bf16* const tile4 = (bf16*)(shared + 1536);
    bf16* const tile5 = (bf16*)(shared + 0);
    bf16* const tile6 = (bf16*)(shared + 3072);
    bf16* const tile7 = (bf16*)(shared + 2304);
    bf16* const tile8 = (bf16*)(shared + 768);
    // map [1, 16, 8]: tile0[0, i1, i2] = 0
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 128) {
            tile0[8 * (i1) + i2] = 0.0f;
        }
    }
    // map [1, 16, 8]: tile1[0, i1, i2] = 0
    {
        const int e = threadIdx.x;
        const int i1 = (e) / 8;
        const int i2 = (e) % 8;
        if (e < 128) {
            tile1[8 * (i1) + i2] = 0.0f;
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile5[i0, i1] = in_k[u of row i0; i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_k[((long long)(at.start + key(at, i0)) * heads_in_k + own_in_k) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile5[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    // map [16, 8] filled to [16, 16] in groups of 2: tile8[i0, i1] = in_v[u of row i0; i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = ((e) % 8) * 2;
        if (e < 128) {
            Group<2> y;
            const Group<2> x0 = get_if<2>(&in_v[((long long)(at.start + key(at, i0)) * heads_in_v + own_in_v) * 8 + i1], (i1 < 8));
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l;
                y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
            }
            auto const there = &tile8[24 * (i0) + i1];
            put<2>(there, y);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int c = job[2]; c < job[3]; c += 16) {
        at.first = c;
        at.valid = min(at.length - at.first, 16);
        // map [16, 8] filled to [16, 16] in groups of 2: tile4[i0, i1] = (in_q[t of row i0; i1] * 0.35355339059327373)
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&in_q[((long long)(at.start + inside(at, i0)) * heads_in_q + own_in_q) * 8 + i1], (i1 < 8));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] * 0.35355338f : 0.f;
                }
                auto const there = &tile4[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [16, 16] in 16x16 in groups of 2: sum = tile4 tile5ᵀ over 8; tile3[i0, i1] = exp((allowed[i0, i1] ? sum : -inf) - saved_0[t of row i0; 0])
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile4, tile5, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = op_exp((allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? sum : -bits(0x7f800000u)) - saved_0[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0]);
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile3[16 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // map [16, 16] in groups of 2: tile2[i0, i1] = tile3[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get<2>(&tile3[16 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = x0.x[l];
                }
                auto const there = &tile2[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        // map [16, 8] filled to [16, 16] in groups of 2: tile6[i0, i1] = (given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) : 0)
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = ((e) % 8) * 2;
            if (e < 128) {
                Group<2> y;
                const Group<2> x0 = get_if<2>(&d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], (i1 < 8 && d_out_o != 0 && i0 < at.valid));
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l;
                    y.x[l] = i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile6[24 * (i0) + i1];
                put<2>(there, y);
            }
        }
        wait_for_block();
        // product [1, 16, 8] in 16x16 in groups of 2: sum = tile2ᵀ tile6 over 16; tile0[0, i1, i2] += sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile2, tile6, row0, col0);
            sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
                if (i2 < 8) {
                    Group<2> y;
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile0[8 * (i1) + i2];
                    put_sum<2>(there, y);
                }
            });
        }
        wait_for_block();
        // product [16, 16] in 16x16, filled in groups of 2: sum = tile6 tile8ᵀ over 8; tile7[i0, i1] = (allowed[i0, i1] ? add((tile3[i0, i1] * sum), (tile3[i0, i1] * (row...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile6, tile8, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                const Group<2> x0 = get<2>(&tile3[16 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = (allowed(at, i0, i1, (token(at, i0) - 3), token(at, i0)) != 0.f ? (x0.x[l] * sum + x0.x[l] * (i0 < at.valid ? saved_1[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] : 0.0f)) : 0.0f);
                }
            });
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                Group<2> y;
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    y.x[l] = of[l];
                }
                auto const there = &tile7[24 * (i0) + i1];
                put<2>(there, y);
            });
        }
        wait_for_block();
        // product [1, 16, 8] in 16x16 in groups of 2: sum = tile7ᵀ tile4 over 16; tile1[0, i1, i2] += sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile7, tile4, row0, col0);
            sums.each_pair(row0, col0, [&](int i1, int i2, float* of, int held) {
                if (i2 < 8) {
                    Group<2> y;
                    const int first = i2, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i2 = first + l, held = of_group + l;
                        const float sum = of[l];
                        y.x[l] = sum;
                    }
                    auto const there = &tile1[8 * (i1) + i2];
                    put_sum<2>(there, y);
                }
            });
        }
        wait_for_block();
    }
    // map [16, 8]: d_in_k[u of row i0; i1] where row i0 is among the keys = tile1[0, i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 128) {
            if (i0 < at.valid_keys) d_in_k[((long long)(at.start + key(at, i0)) * heads + at.head) * 8 + i1] = tile1[8 * (i0) + i1];
        }
    }
    // map [16, 8]: d_in_v[u of row i0; i1] where row i0 is among the keys = tile0[0, i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 128) {
            if (i0 < at.valid_keys) d_in_v[((long long)(at.start + key(at, i0)) * heads + at.head) * 8 + i1] = tile0[8 * (i0) + i1];
        }
    }
}
