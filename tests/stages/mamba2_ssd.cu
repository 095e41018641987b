extern "C" __global__ void __launch_bounds__(128, 1)
mamba2_ssd_forward_prepare(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_dt, int heads_in_dt, const float* __restrict__ in_B, int heads_in_B, const float* __restrict__ in_C, int heads_in_C, const float* __restrict__ param_A, int heads_param_A, const float* __restrict__ param_D, int heads_param_D, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4) {
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
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
    float* const tile0 = (float*)(shared + 3200);
    float* const tile1 = (float*)(shared + 896);
    float* const tile2 = (float*)(shared + 896);
    bf16* const tile3 = (bf16*)(shared + 2432);
    bf16* const tile4 = (bf16*)(shared + 896);
    bf16* const tile5 = (bf16*)(shared + 1664);
    float* const tile6 = (float*)(shared + 384);
    bf16* const tile7 = (bf16*)(shared + 896);
    float* const tile8 = (float*)(shared + 384);
    bf16* const tile9 = (bf16*)(shared + 896);
    bf16* const tile10 = (bf16*)(shared + 1664);
    float* const tile11 = (float*)(shared + 384);
    float* const tile12 = (float*)(shared + 0);
    float* const tile13 = (float*)(shared + 256);
    float* const tile14 = (float*)(shared + 640);
    float* const tile15 = (float*)(shared + 384);
    {
        // copy async by 16 bytes: tile12 = in_x[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile12[8 * (i0) + i1], &in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1]);
        }
        // copy async by 4 bytes: tile13 = in_dt[t of row i0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile13[i0], &in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0]);
        }
        // copy async by 16 bytes: tile15 = in_C[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile15[8 * (i0) + i1], &in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1]);
        }
        // copy async by 16 bytes: tile14 = in_B[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile14[8 * (i0) + i1], &in_B[((long long)(at.start + inside(at, i0)) * heads_in_B + own_in_B) * 8 + i1]);
        }
    }
    commit_copies();
    commit_copies();
    commit_copies();
    commit_copies();
    wait_for_block();
    // wait for tile12, 3 copies pending
    wait_for_copies<3>();
    wait_for_block();
    // map [8, 8]: kept_2[i0, i1] = (tile12[i0, i1] * param_D[])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 8;
        const int i1 = (e) % 8;
        if (e < 64) {
            kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1] = tile12[8 * (i0) + i1] * param_D[(long long)(own_param_D) * 1 + 0];
        }
    }
    // wait for tile13, 2 copies pending
    wait_for_copies<2>();
    wait_for_block();
    // map [8, 1]: tile1[i0, 0] = (exp((tile13[i0] * param_A[])) * (row i0 is among the queries ? 1 : 0))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile1[i0] = op_exp(tile13[i0] * param_A[(long long)(own_param_A) * 1 + 0]) * (i0 < at.valid ? 1.0f : 0.0f);
        }
    }
    wait_for_block();
    // map [8, 1]: tile0[i0, 0] = add(tile1[i0, 0], sub(1, (row i0 is among the queries ? 1 : 0)))
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            tile0[i0] = (tile1[i0] + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile2 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile0
    cumulative_product<8, 8, 1>(tile2, tile0, [](int i) -> int { return i + 1; });
    wait_for_block();
    // map [8, 1]: kept_0[i0, 0] = tile2[i0, 0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 8) {
            kept_0[((long long)(at.chunk) * heads + at.head) * 8 + i0] = tile2[i0];
        }
    }
    // wait for tile15, 1 copies pending
    wait_for_copies<1>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile4[i0, i1] = tile15[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile15[8 * (i0) + i1]);
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
    // wait for tile14, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile5[i0, i1] = tile14[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile14[8 * (i0) + i1]);
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
    // scan of 8 rows, 8 steps, 1 wide: tile6 = DecayMask(Versions { micro: 1, offsets: [1] }) tile0
    decay_mask<8, 8, 8>(tile6, tile0, [](int i) -> int { return i + 1; });
    wait_for_block();
    // product [8, 8] in 16x16, filled in groups of 2: sum = tile4 tile5ᵀ over 8; tile3[i0, i1] = (i1 < i0+1 ? ((i1 < i0+1 ? ((sum * (row i1 is among the queries ? 1 :...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, true, 24, 0>(tile4, tile5, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            Group<2> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<2>(&tile6[8 * (i0) + i1]);
            Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile13[i1]);
            const int first = i1, of_group = held;
            #pragma unroll
            for (int l = 0; l < 2; l++) {
                const int i1 = first + l, held = of_group + l;
                const float sum = of[l];
                of[l] = i0 < 8 && i1 < 8 ? (i1 < i0 + 1 ? (i1 < i0 + 1 ? sum * (i1 < at.valid ? 1.0f : 0.0f) * x0.x[l] : 0.0f) * x1.x[l] : 0.0f) : 0.f;
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
            auto const there = &tile3[24 * (i0) + i1];
            put<2>(there, y);
        });
    }
    wait_for_block();
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
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile3 tile7 over 8, kept apart; kept_1[i0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile3, tile7, row0, col0);
        if (sums.lost()) {
            sums.clear();
            sums.add_finite<16, false, 24, 0, false, 24, 0>(tile3, tile7, row0, col0);
            sums.lose<8, false, 24, 0, false, 24, 0, false>(tile3, tile7, row0, col0, [&](int i0, int i1) -> bool { return (i1 < i0 + 1 ? 1.0f : 0.0f) != 0.f; });
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
    // scan of 1 rows, 8 steps, 1 wide: tile8 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile0
    cumulative_product<1, 8, 1>(tile8, tile0, [](int i) -> int { return 8 * (i) + 8; });
    wait_for_block();
    // map [1, 1]: kept_3[0, 0] = tile8[0, 0]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            kept_3[((long long)(at.chunk) * heads + at.head) * 1 + 0] = tile8[0];
        }
    }
    wait_for_block();
    // scan of 8 rows, 8 steps, 1 wide: tile11 = ReverseCumulativeProduct tile0
    reverse_cumulative_product<8, 1>(tile11, tile0);
    // map [8, 8] filled to [16, 16] in groups of 4: tile9[i0, i1] = (tile13[i0] * tile12[i0, i1])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile12[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? tile13[i0] * x1.x[l] : 0.f;
            }
            auto const there = &tile9[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // map [8, 8] filled to [16, 16] in groups of 4: tile10[i0, i1] = ((tile14[i0, i1] * (row i0 is among the queries ? 1 : 0)) * tile11[i0, 0])
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile14[8 * (i0) + i1]);
            const int first = i1;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i1 = first + l;
                y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * (i0 < at.valid ? 1.0f : 0.0f) * tile11[i0] : 0.f;
            }
            auto const there = &tile10[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile10ᵀ tile9 over 8; kept_4[i0, i1] = sum
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, true, 24, 0, false, 24, 0>(tile10, tile9, row0, col0);
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
                auto const there = &kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1];
                put_out<2>(there, y);
            }
        });
    }
}

extern "C" __global__ void __launch_bounds__(128, 1)
mamba2_ssd_forward_carry(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_dt, int heads_in_dt, const float* __restrict__ in_B, int heads_in_B, const float* __restrict__ in_C, int heads_in_C, const float* __restrict__ param_A, int heads_param_A, const float* __restrict__ param_D, int heads_param_D, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4) {
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
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
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
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        // copy async by 4 bytes: tile2 = kept_3[0, 0] of round 0
        {
            float* const tile2 = tile2_stages + 0 % 2 * 1;
            const int e = threadIdx.x;
            if (e < 1) copy_async<4>(&tile2[0], &kept_3[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
        }
        // copy async by 16 bytes from thread 32 on: tile3 = kept_4[i0, i1] of round 0
        {
            float* const tile3 = tile3_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
    }
    commit_copies();
    commit_copies();
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        float* const tile2 = tile2_stages + round % 2 * 1;
        float* const tile3 = tile3_stages + round % 2 * 64;
        // wait for tile2 tile3, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = next;
            at.first = c * 8;
            at.valid = min(at.length - at.first, 8);
            at.chunk = chunks_before + c;
            // copy async by 4 bytes: tile2 = kept_3[0, 0] of 1 ahead
            {
                float* const tile2 = tile2_stages + next % 2 * 1;
                const int e = threadIdx.x;
                if (e < 1) copy_async<4>(&tile2[0], &kept_3[((long long)(at.chunk) * heads + at.head) * 1 + 0]);
            }
            // copy async by 16 bytes from thread 32 on: tile3 = kept_4[i0, i1] of 1 ahead
            {
                float* const tile3 = tile3_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile3[8 * (i0) + i1], &kept_4[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
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
        // map [8, 8]: tile0[i0, i1] = add((tile0[i0, i1] * tile2[0, 0]), tile3[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile0[8 * (i0) + i1] = (tile0[8 * (i0) + i1] * tile2[0] + tile3[8 * (i0) + i1]);
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
mamba2_ssd_forward_read(const int* bounds, const int* jobs, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_dt, int heads_in_dt, const float* __restrict__ in_B, int heads_in_B, const float* __restrict__ in_C, int heads_in_C, const float* __restrict__ param_A, int heads_param_A, const float* __restrict__ param_D, int heads_param_D, const float* __restrict__ state_S_before, float* __restrict__ out_o, float* __restrict__ state_S_after, float* __restrict__ state_S_at_chunks, float* __restrict__ kept_0, float* __restrict__ kept_1, float* __restrict__ kept_2, float* __restrict__ kept_3, float* __restrict__ kept_4) {
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
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
    bf16* const tile0 = (bf16*)(shared + 896);
    bf16* const tile1 = (bf16*)(shared + 1664);
    float* const tile2 = (float*)(shared + 0);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 640);
    {
        // copy async by 16 bytes: tile2 = in_C[t of row i0; i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile2[8 * (i0) + i1], &in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1]);
        }
        // copy async by 4 bytes: tile3 = kept_0[i0, 0] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) copy_async<4>(&tile3[i0], &kept_0[((long long)(at.chunk) * heads + at.head) * 8 + i0]);
        }
        // copy async by 16 bytes: tile4 = kept_1[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile4[8 * (i0) + i1], &kept_1[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes: tile5 = kept_2[i0, i1] of round 0
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile5[8 * (i0) + i1], &kept_2[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
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
    // map [8, 8] filled to [16, 16] in groups of 4: tile0[i0, i1] = tile2[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = ((e) % 4) * 4;
        if (e < 64) {
            Group<4> y;
            Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile2[8 * (i0) + i1]);
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
    // map [8, 8] filled to [16, 16] in groups of 4: tile1[i0, i1] = state_S_at_chunks[i0, i1]
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
            auto const there = &tile1[24 * (i0) + i1];
            put<4>(there, y);
        }
    }
    // wait for tile3, 2 copies pending
    wait_for_copies<2>();
    // wait for tile4, 1 copies pending
    wait_for_copies<1>();
    // wait for tile5, 0 copies pending
    wait_for_copies<0>();
    wait_for_block();
    // product [8, 8] in 16x16 in groups of 2: sum = tile0 tile1 over 8; out_o[t of row i0; i1] where row i0 is among the queries = add(add((sum * tile3[i0, 0]), tile4...
    #pragma unroll 1
    for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
        const int row0 = job / 1 * 16, col0 = job % 1 * 16;
        Sums<2> sums;
        sums.add<16, false, 24, 0, false, 24, 0>(tile0, tile1, row0, col0);
        sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
            if (i0 < 8 && i1 < 8) {
                Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile4[8 * (i0) + i1]);
                Group<2> x2 = {}; if ((i0 < 8 && i1 < 8)) x2 = get<2>(&tile5[8 * (i0) + i1]);
                const int first = i1, of_group = held;
                #pragma unroll
                for (int l = 0; l < 2; l++) {
                    const int i1 = first + l, held = of_group + l;
                    const float sum = of[l];
                    of[l] = ((sum * tile3[i0] + x1.x[l]) + x2.x[l]);
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
                auto const there = &out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                if (i0 < at.valid) put_out<2>(there, y);
            }
        });
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
    const int rounds = (at.length + 7) / 8;
    const int chunks_before = chunks[at.sequence];
    const int own_in_x = at.head / (heads / heads_in_x);
    const int own_in_dt = at.head / (heads / heads_in_dt);
    const int own_in_B = at.head / (heads / heads_in_B);
    const int own_in_C = at.head / (heads / heads_in_C);
    const int own_param_A = at.head / (heads / heads_param_A);
    const int own_param_D = at.head / (heads / heads_param_D);
    float* const tile0 = (float*)(shared + 6528);
    float* const tile1 = (float*)(shared + 6784);
    float* const tile2 = (float*)(shared + 6912);
    float* const tile4 = (float*)(shared + 7168);
    float* const tile5 = (float*)(shared + 2688);
    float* const tile6 = (float*)(shared + 7040);
    float* const tile7 = (float*)(shared + 7296);
    float* const tile8 = (float*)(shared + 7424);
    bf16* const tile9 = (bf16*)(shared + 2688);
    bf16* const tile10 = (bf16*)(shared + 3456);
    bf16* const tile11 = (bf16*)(shared + 4224);
    bf16* const tile12 = (bf16*)(shared + 2688);
    float* const tile13 = (float*)(shared + 7680);
    float* const tile14 = (float*)(shared + 7936);
    bf16* const tile15 = (bf16*)(shared + 4992);
    float* const tile16 = (float*)(shared + 6272);
    float* const tile17 = (float*)(shared + 8448);
    bf16* const tile18 = (bf16*)(shared + 5760);
    float* const tile19 = (float*)(shared + 8192);
    float* const tile20 = (float*)(shared + 6016);
    bf16* const tile21 = (bf16*)(shared + 4224);
    float* const tile22 = (float*)(shared + 5760);
    bf16* const tile23 = (bf16*)(shared + 3456);
    float* const tile24 = (float*)(shared + 4224);
    float* const tile25 = (float*)(shared + 4224);
    float* const tile26 = (float*)(shared + 4352);
    float* const tile27 = (float*)(shared + 4224);
    float* const tile28 = (float*)(shared + 6400);
    float* const tile29 = (float*)(shared + 4224);
    float* const tile30 = (float*)(shared + 7296);
    float* const tile31 = (float*)(shared + 4224);
    float* const tile32 = (float*)(shared + 5760);
    float* const tile33 = (float*)(shared + 4480);
    float* const tile34 = (float*)(shared + 4224);
    float* const tile35 = (float*)(shared + 7424);
    bf16* const tile36 = (bf16*)(shared + 4224);
    float* const tile37 = (float*)(shared + 4352);
    float* const tile38 = (float*)(shared + 4352);
    float* const tile39 = (float*)(shared + 5760);
    bf16* const tile40 = (bf16*)(shared + 4224);
    float* const tile41 = (float*)(shared + 5888);
    float* const tile42 = (float*)(shared + 2816);
    float* const tile43 = (float*)(shared + 2688);
    float* const tile44_stages = (float*)(shared + 0);
    float* const tile45_stages = (float*)(shared + 512);
    float* const tile46_stages = (float*)(shared + 1024);
    float* const tile47_stages = (float*)(shared + 1536);
    float* const tile48_stages = (float*)(shared + 1664);
    float* const tile49_stages = (float*)(shared + 2176);
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
    // map []: tile1[] = 0
    {
        const int e = threadIdx.x;
        if (e < 1) {
            tile1[0] = 0.0f;
        }
    }
    // map []: tile2[] = 0
    {
        const int e = threadIdx.x;
        if (e < 1) {
            tile2[0] = 0.0f;
        }
    }
    if (0 < rounds) {
        const Place now = at;
        Place at = now;
        const int c = rounds - 1 - 0;
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        // copy async by 16 bytes: tile44 = in_x[t of row i0; i1] of round 0
        {
            float* const tile44 = tile44_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile44[8 * (i0) + i1], &in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile45 = in_C[t of row i0; i1] of round 0
        {
            float* const tile45 = tile45_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile45[8 * (i0) + i1], &in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1]);
        }
        // copy async by 16 bytes from thread 64 on: tile46 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of round 0
        {
            float* const tile46 = tile46_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 64;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async_if<16>(&tile46[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
        }
        // copy async by 4 bytes from thread 96 on: tile47 = in_dt[t of row i0] of round 0
        {
            float* const tile47 = tile47_stages + 0 % 2 * 8;
            const int e = (int)threadIdx.x - 96;
            const int i0 = e;
            if (e >= 0 && e < 8) copy_async<4>(&tile47[i0], &in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0]);
        }
        // copy async by 16 bytes: tile48 = state_S_at_chunks[i0, i1] of round 0
        {
            float* const tile48 = tile48_stages + 0 % 2 * 64;
            const int e = threadIdx.x;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e < 16) copy_async<16>(&tile48[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
        }
        // copy async by 16 bytes from thread 32 on: tile49 = in_B[t of row i0; i1] of round 0
        {
            float* const tile49 = tile49_stages + 0 % 2 * 64;
            const int e = (int)threadIdx.x - 32;
            const int i0 = (e) / 2;
            const int i1 = ((e) % 2) * 4;
            if (e >= 0 && e < 16) copy_async<16>(&tile49[8 * (i0) + i1], &in_B[((long long)(at.start + inside(at, i0)) * heads_in_B + own_in_B) * 8 + i1]);
        }
    }
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
        float* const tile44 = tile44_stages + round % 2 * 64;
        float* const tile45 = tile45_stages + round % 2 * 64;
        float* const tile46 = tile46_stages + round % 2 * 64;
        float* const tile47 = tile47_stages + round % 2 * 8;
        float* const tile48 = tile48_stages + round % 2 * 64;
        float* const tile49 = tile49_stages + round % 2 * 64;
        // wait for tile44 tile45 tile46 tile47 tile48 tile49, 0 copies pending
        wait_for_copies<0>();
        if (round + 1 < rounds) {
            const int next = round + 1;
            const Place now = at;
            Place at = now;
            const int c = rounds - 1 - next;
            at.first = c * 8;
            at.valid = min(at.length - at.first, 8);
            at.chunk = chunks_before + c;
            // copy async by 16 bytes: tile44 = in_x[t of row i0; i1] of 1 ahead
            {
                float* const tile44 = tile44_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile44[8 * (i0) + i1], &in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 8 + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile45 = in_C[t of row i0; i1] of 1 ahead
            {
                float* const tile45 = tile45_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile45[8 * (i0) + i1], &in_C[((long long)(at.start + inside(at, i0)) * heads_in_C + own_in_C) * 8 + i1]);
            }
            // copy async by 16 bytes from thread 64 on: tile46 = (given d_out_o, row i0 is among the queries ? d_out_o[t of row i0; i1] : 0) of 1 ahead
            {
                float* const tile46 = tile46_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 64;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async_if<16>(&tile46[8 * (i0) + i1], &d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1], d_out_o != 0 && i0 < at.valid);
            }
            // copy async by 4 bytes from thread 96 on: tile47 = in_dt[t of row i0] of 1 ahead
            {
                float* const tile47 = tile47_stages + next % 2 * 8;
                const int e = (int)threadIdx.x - 96;
                const int i0 = e;
                if (e >= 0 && e < 8) copy_async<4>(&tile47[i0], &in_dt[((long long)(at.start + inside(at, i0)) * heads_in_dt + own_in_dt) * 1 + 0]);
            }
            // copy async by 16 bytes: tile48 = state_S_at_chunks[i0, i1] of 1 ahead
            {
                float* const tile48 = tile48_stages + next % 2 * 64;
                const int e = threadIdx.x;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e < 16) copy_async<16>(&tile48[8 * (i0) + i1], &state_S_at_chunks[((long long)(at.chunk) * heads + at.head) * 64 + 8 * (i0) + i1]);
            }
            // copy async by 16 bytes from thread 32 on: tile49 = in_B[t of row i0; i1] of 1 ahead
            {
                float* const tile49 = tile49_stages + next % 2 * 64;
                const int e = (int)threadIdx.x - 32;
                const int i0 = (e) / 2;
                const int i1 = ((e) % 2) * 4;
                if (e >= 0 && e < 16) copy_async<16>(&tile49[8 * (i0) + i1], &in_B[((long long)(at.start + inside(at, i0)) * heads_in_B + own_in_B) * 8 + i1]);
            }
        }
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        commit_copies();
        wait_for_block();
        // map [8]: tile6[i0] = (tile47[i0] * param_A[])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile6[i0] = tile47[i0] * param_A[(long long)(own_param_A) * 1 + 0];
            }
        }
        wait_for_block();
        // map [8, 1]: tile5[i0, 0] = (exp(tile6[i0]) * (row i0 is among the queries ? 1 : 0))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile5[i0] = op_exp(tile6[i0]) * (i0 < at.valid ? 1.0f : 0.0f);
            }
        }
        wait_for_block();
        // map [8, 1]: tile4[i0, 0] = add(tile5[i0, 0], sub(1, (row i0 is among the queries ? 1 : 0)))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile4[i0] = (tile5[i0] + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)));
            }
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile7 = ReverseCumulativeProduct tile4
        reverse_cumulative_product<8, 1>(tile7, tile4);
        // map [8, 8] filled to [16, 16] in groups of 4: tile9[i0, i1] = (tile47[i0] * tile44[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile44[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? tile47[i0] * x1.x[l] : 0.f;
                }
                auto const there = &tile9[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile10[i0, i1] = tile0[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile0[8 * (i0) + i1]);
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
        // product [8, 8] in 16x16 in groups of 2: sum = tile9 tile10ᵀ over 8; tile8[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile9, tile10, row0, col0);
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
                    auto const there = &tile8[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        // map [8, 8] filled to [16, 16] in groups of 4: tile11[i0, i1] = tile45[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile45[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile11[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        // scan of 8 rows, 8 steps, 1 wide: tile13 = DecayMask(Versions { micro: 1, offsets: [1] }) tile4
        decay_mask<8, 8, 8>(tile13, tile4, [](int i) -> int { return i + 1; });
        // map [8, 8] filled to [16, 16] in groups of 4: tile15[i0, i1] = tile46[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile46[8 * (i0) + i1]);
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
        // product [8, 8] in 16x16: sum = tile9 tile15ᵀ over 8; tile14[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile9, tile15, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
                if (i0 < 8 && i1 < 8) {
                    tile14[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile12[i0, i1] = (tile13[i0, i1] * tile14[i0, i1, 0])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile13[8 * (i0) + i1]);
                Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile14[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] : 0.f;
                }
                auto const there = &tile12[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile12ᵀ tile11 over 8; d_in_B[t of row i0; i1] where row i0 is among the queries = ((row i0 is among the queries ?...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile12, tile11, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile8[8 * (i0) + i1]);
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (i0 < at.valid ? 1.0f : 0.0f) * (tile7[i0] * x1.x[l] + sum);
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
                    auto const there = &d_in_B[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                    if (i0 < at.valid) put_out<2>(there, y);
                }
            });
        }
        // map [8, 8]: tile19[i0, i1] = (tile49[i0, i1] * (row i0 is among the queries ? 1 : 0))
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile19[8 * (i0) + i1] = tile49[8 * (i0) + i1] * (i0 < at.valid ? 1.0f : 0.0f);
            }
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile18[i0, i1] = (tile19[i0, i1] * tile7[i0, 0])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile19[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * tile7[i0] : 0.f;
                }
                auto const there = &tile18[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile18 tile10 over 8; tile17[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile18, tile10, row0, col0);
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
                    auto const there = &tile17[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile23[i0, i1] = tile19[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile19[8 * (i0) + i1]);
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
        // product [8, 8] in 16x16 in groups of 2: sum = tile11 tile23ᵀ over 8; tile22[i0, 0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile11, tile23, row0, col0);
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
                    auto const there = &tile22[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile21[i0, i1] = (tile22[i0, 0, i1] * tile13[i0, i1])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile22[8 * (i0) + i1]);
                Group<4> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<4>(&tile13[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * x1.x[l] : 0.f;
                }
                auto const there = &tile21[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile21ᵀ tile15 over 8; tile20[0, i0, i1] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile21, tile15, row0, col0);
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
                    auto const there = &tile20[8 * (i0) + i1];
                    put<2>(there, y);
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile16[i0, 0] = Sum (tile44[i0, i1] * add(tile17[0, i0, i1], tile20[0, i0, i1]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile44[8 * (i0) + i1] * (tile17[8 * (i0) + i1] + tile20[8 * (i0) + i1]);
            }
            tile16[i0] = y.x[0];
        }
        // reduce [8, 8] over [1]: tile27[i0, 0] = Sum (tile48[i0, i1] * tile0[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile48[8 * (i0) + i1] * tile0[8 * (i0) + i1];
            }
            tile27[i0] = y.x[0];
        }
        wait_for_block();
        // reduce [8, 1] over [0]: tile26[0, 0] = Sum tile27[i0, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                y.x[0] += tile27[i0];
            }
            tile26[0] = y.x[0];
        }
        wait_for_block();
        // map [1, 1]: tile25[0, 0] = tile26[0, 0]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile25[0] = tile26[0];
            }
        }
        wait_for_block();
        // scan of 1 rows, 8 steps, 1 wide: tile28 = CumulativeProductGrad(Versions { micro: 8, offsets: [8] }) tile4 tile25
        cumulative_product_grad<1, 8, 1>(tile28, tile4, tile25, [](int i) -> int { return 8 * (i) + 8; });
        wait_for_block();
        // reduce [8, 8] over [1]: tile29[i0, 0] = Sum (tile19[i0, i1] * tile8[i1, i0, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile19[8 * (i0) + i1] * tile8[8 * (i0) + i1];
            }
            tile29[i0] = y.x[0];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile30 = ReverseCumulativeProductGrad tile4 tile29
        reverse_cumulative_product_grad<8, 1>(tile30, tile4, tile29);
        wait_for_block();
        // map [8, 8]: tile31[i0, i1] = (tile22[i0, 0, i1] * tile14[i0, i1, 0])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                tile31[8 * (i0) + i1] = tile22[8 * (i0) + i1] * tile14[8 * (i0) + i1];
            }
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile32 = DecayMaskGrad(Versions { micro: 1, offsets: [1] }) tile4 tile31
        decay_mask_grad<8, 8>(tile32, tile4, tile31, tile33, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile36[i0, i1] = tile48[i0, i1]
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile48[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] : 0.f;
                }
                auto const there = &tile36[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16: sum = tile36 tile15ᵀ over 8; tile35[i1, i0, 0] = sum
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, true, 24, 0>(tile36, tile15, row0, col0);
            sums.each(row0, col0, [&](int i0, int i1, float& sum, int held) {
                if (i0 < 8 && i1 < 8) {
                    tile35[i0 + 8 * (i1)] = sum;
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile34[i0, 0] = Sum (tile45[i0, i1] * tile35[i0, i1, 0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile45[8 * (i0) + i1] * tile35[8 * (i0) + i1];
            }
            tile34[i0] = y.x[0];
        }
        wait_for_block();
        // scan of 8 rows, 8 steps, 1 wide: tile37 = CumulativeProductGrad(Versions { micro: 1, offsets: [1] }) tile4 tile34
        cumulative_product_grad<8, 8, 1>(tile37, tile4, tile34, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8]: tile24[i0] = (exp(tile6[i0]) * ((row i0 is among the queries ? 1 : 0) * add(add(add(tile28[i0, 0], tile30[i0, 0]), tile32[i0, 0]), tile37[i0, 0])))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile24[i0] = op_exp(tile6[i0]) * (i0 < at.valid ? 1.0f : 0.0f) * (((tile28[i0] + tile30[i0]) + tile32[i0]) + tile37[i0]);
            }
        }
        wait_for_block();
        // map [8]: d_in_dt[t of row i0] where row i0 is among the queries = add(tile16[i0, 0], (param_A[] * tile24[i0]))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                if (i0 < at.valid) d_in_dt[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = (tile16[i0] + param_A[(long long)(own_param_A) * 1 + 0] * tile24[i0]);
            }
        }
        // reduce [8] over [0]: tile38[0] = Sum (tile47[i0] * tile24[i0])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                y.x[0] += tile47[i0] * tile24[i0];
            }
            tile38[0] = y.x[0];
        }
        wait_for_block();
        // map [1]: tile1[] += tile38[0]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile1[0] += tile38[0];
            }
        }
        // scan of 1 rows, 8 steps, 1 wide: tile39 = CumulativeProduct(Versions { micro: 8, offsets: [8] }) tile4
        cumulative_product<1, 8, 1>(tile39, tile4, [](int i) -> int { return 8 * (i) + 8; });
        // scan of 8 rows, 8 steps, 1 wide: tile41 = CumulativeProduct(Versions { micro: 1, offsets: [1] }) tile4
        cumulative_product<8, 8, 1>(tile41, tile4, [](int i) -> int { return i + 1; });
        wait_for_block();
        // map [8, 8] filled to [16, 16] in groups of 4: tile40[i0, i1] = (tile45[i0, i1] * tile41[i0, 0])
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 4;
            const int i1 = ((e) % 4) * 4;
            if (e < 64) {
                Group<4> y;
                Group<4> x0 = {}; if ((i0 < 8 && i1 < 8)) x0 = get<4>(&tile45[8 * (i0) + i1]);
                const int first = i1;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i1 = first + l;
                    y.x[l] = i0 < 8 && i1 < 8 ? x0.x[l] * tile41[i0] : 0.f;
                }
                auto const there = &tile40[24 * (i0) + i1];
                put<4>(there, y);
            }
        }
        wait_for_block();
        // product [8, 8] in 16x16 in groups of 2: sum = tile40ᵀ tile15 over 8; tile0[i0, i1] = add((tile39[0, 0] * tile0[i0, i1]), sum)
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, true, 24, 0, false, 24, 0>(tile40, tile15, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile0[8 * (i0) + i1]);
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (tile39[0] * x1.x[l] + sum);
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
        // map [8, 8]: d_in_x[t of row i0; i1] where row i0 is among the queries = add((param_D[] * tile46[i0, i1]), (tile47[i0] * add(tile17[0, i0, i1], tile20[0, i0, i1]...
        {
            const int e = threadIdx.x;
            const int i0 = (e) / 8;
            const int i1 = (e) % 8;
            if (e < 64) {
                if (i0 < at.valid) d_in_x[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1] = (param_D[(long long)(own_param_D) * 1 + 0] * tile46[8 * (i0) + i1] + tile47[i0] * (tile17[8 * (i0) + i1] + tile20[8 * (i0) + i1]));
            }
        }
        // product [8, 8] in 16x16 in groups of 2: sum = tile12 tile23 over 8; d_in_C[t of row i0; i1] where row i0 is among the queries = add(sum, (tile41[i0, 0] * tile35...
        #pragma unroll 1
        for (int job = threadIdx.x / 32; job < 1; job += WARPS) {
            const int row0 = job / 1 * 16, col0 = job % 1 * 16;
            Sums<2> sums;
            sums.add<16, false, 24, 0, false, 24, 0>(tile12, tile23, row0, col0);
            sums.each_pair(row0, col0, [&](int i0, int i1, float* of, int held) {
                if (i0 < 8 && i1 < 8) {
                    Group<2> x1 = {}; if ((i0 < 8 && i1 < 8)) x1 = get<2>(&tile35[8 * (i0) + i1]);
                    const int first = i1, of_group = held;
                    #pragma unroll
                    for (int l = 0; l < 2; l++) {
                        const int i1 = first + l, held = of_group + l;
                        const float sum = of[l];
                        of[l] = (sum + tile41[i0] * x1.x[l]);
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
                    auto const there = &d_in_C[((long long)(at.start + inside(at, i0)) * heads + at.head) * 8 + i1];
                    if (i0 < at.valid) put_out<2>(there, y);
                }
            });
        }
        wait_for_block();
        // reduce [8, 8] over [1]: tile43[i0, 0] = Sum (tile44[i0, i1] * tile46[i0, i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 8; e += THREADS) {
            const int i0 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i1 = s;
                y.x[0] += tile44[8 * (i0) + i1] * tile46[8 * (i0) + i1];
            }
            tile43[i0] = y.x[0];
        }
        wait_for_block();
        // reduce [8, 1] over [0]: tile42[0, 0] = Sum tile43[i0, 0]
        #pragma unroll 1
        for (int e = threadIdx.x; e < 1; e += THREADS) {
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 8; s++) {
                const int i0 = s;
                y.x[0] += tile43[i0];
            }
            tile42[0] = y.x[0];
        }
        wait_for_block();
        // map [1]: tile2[] += tile42[0, 0]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile2[0] += tile42[0];
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
    // map []: d_param_A[] = tile1[]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            d_param_A[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile1[0];
        }
    }
    // map []: d_param_D[] = tile2[]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            d_param_D[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile2[0];
        }
    }
}
