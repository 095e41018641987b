extern "C" __global__ void __launch_bounds__(32, 1)
slstm_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_wx, int heads_in_wx, const float* __restrict__ param_R, int heads_param_R, const float* __restrict__ param_b, int heads_param_b, const float* __restrict__ state_h_before, const float* __restrict__ state_c_before, const float* __restrict__ state_n_before, const float* __restrict__ state_m_before, float* __restrict__ out_o, float* __restrict__ state_h_after, float* __restrict__ state_c_after, float* __restrict__ state_n_after, float* __restrict__ state_m_after, float* __restrict__ state_h_at_chunks, float* __restrict__ state_c_at_chunks, float* __restrict__ state_n_at_chunks, float* __restrict__ state_m_at_chunks) {
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
    const int rounds = (at.length + 0) / 1;
    const int chunks_before = chunks[at.sequence];
    const int own_in_wx = at.head / (heads / heads_in_wx);
    const int own_param_R = at.head / (heads / heads_param_R);
    const int own_param_b = at.head / (heads / heads_param_b);
    float* const tile0 = (float*)(shared + 0);
    float* const tile1 = (float*)(shared + 128);
    float* const tile2 = (float*)(shared + 256);
    float* const tile3 = (float*)(shared + 384);
    float* const tile8 = (float*)(shared + 768);
    float* const tile9 = (float*)(shared + 896);
    float* const tile10 = (float*)(shared + 768);
    float* const tile11 = (float*)(shared + 512);
    float* const tile12 = (float*)(shared + 640);
    float* const tile13 = (float*)(shared + 512);
    float* const tile14 = (float*)(shared + 1152);
    float* const tile15 = (float*)(shared + 1024);
    float* const tile16 = (float*)(shared + 1280);
    // map [4]: tile0[i0] = 0
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            tile0[i0] = 0.0f;
        }
    }
    // map [4]: tile1[i0] = 0
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            tile1[i0] = 0.0f;
        }
    }
    // map [4]: tile2[i0] = 0
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            tile2[i0] = 0.0f;
        }
    }
    // map [4]: tile3[i0] = -inf
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            tile3[i0] = -bits(0x7f800000u);
        }
    }
    wait_for_block();
    // map [4]: tile0[i0] = (given state_h_before ? state_h_before[i0] : tile0[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&state_h_before[((long long)(at.sequence) * heads + at.head) * 4 + i0], (state_h_before != 0));
            tile0[i0] = (state_h_before != 0 ? x0.x[0] : tile0[i0]);
        }
    }
    // map [4]: tile1[i0] = (given state_c_before ? state_c_before[i0] : tile1[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&state_c_before[((long long)(at.sequence) * heads + at.head) * 4 + i0], (state_c_before != 0));
            tile1[i0] = (state_c_before != 0 ? x0.x[0] : tile1[i0]);
        }
    }
    // map [4]: tile2[i0] = (given state_n_before ? state_n_before[i0] : tile2[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&state_n_before[((long long)(at.sequence) * heads + at.head) * 4 + i0], (state_n_before != 0));
            tile2[i0] = (state_n_before != 0 ? x0.x[0] : tile2[i0]);
        }
    }
    // map [4]: tile3[i0] = (given state_m_before ? state_m_before[i0] : tile3[i0])
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&state_m_before[((long long)(at.sequence) * heads + at.head) * 4 + i0], (state_m_before != 0));
            tile3[i0] = (state_m_before != 0 ? x0.x[0] : tile3[i0]);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 1;
        at.valid = min(at.length - at.first, 1);
        at.chunk = chunks_before + c;
        if (state_h_at_chunks != 0) {
            // map [4]: state_h_at_chunks[i0] = tile0[i0]
            {
                const int e = threadIdx.x;
                const int i0 = e;
                if (e < 4) {
                    state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i0] = tile0[i0];
                }
            }
        }
        if (state_c_at_chunks != 0) {
            // map [4]: state_c_at_chunks[i0] = tile1[i0]
            {
                const int e = threadIdx.x;
                const int i0 = e;
                if (e < 4) {
                    state_c_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i0] = tile1[i0];
                }
            }
        }
        if (state_n_at_chunks != 0) {
            // map [4]: state_n_at_chunks[i0] = tile2[i0]
            {
                const int e = threadIdx.x;
                const int i0 = e;
                if (e < 4) {
                    state_n_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i0] = tile2[i0];
                }
            }
        }
        if (state_m_at_chunks != 0) {
            // map [4]: state_m_at_chunks[i0] = tile3[i0]
            {
                const int e = threadIdx.x;
                const int i0 = e;
                if (e < 4) {
                    state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i0] = tile3[i0];
                }
            }
        }
        // reduce [1, 4, 4, 4] over [1]: tile13[0, 0, i2, i3] = Sum (param_R[i1, i2, i3] * tile0[i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i2 = e / 4;
            const int i3 = e % 4;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i1 = s;
                y.x[0] += param_R[(long long)(own_param_R) * 64 + 16 * (i1) + 4 * (i2) + i3] * tile0[i1];
            }
            tile13[4 * (i2) + i3] = y.x[0];
        }
        wait_for_block();
        // map [1, 4, 4]: tile12[0, i1, i2] = add(add(in_wx[t of row 0; i1, i2], tile13[0, 0, i1, i2]), param_b[i1, i2])
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile12[4 * (i1) + i2] = ((in_wx[((long long)(at.start + inside(at, 0)) * heads_in_wx + own_in_wx) * 16 + 4 * (i1) + i2] + tile13[4 * (i1) + i2]) + param_b[(long long)(own_param_b) * 16 + 4 * (i1) + i2]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile11[0, i1] = logsigmoid(tile12[0, 1, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile11[i1] = op_logsigmoid(tile12[i1 + 4]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile10[0, i1] = sub(add(tile11[0, i1], tile3[i1]), max(add(tile11[0, i1], tile3[i1]), tile12[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile10[i1] = ((tile11[i1] + tile3[i1]) - op_max((tile11[i1] + tile3[i1]), tile12[i1]));
            }
        }
        wait_for_block();
        // map [1, 4]: tile9[0, i1] = (exp(tile10[0, i1]) * tile1[i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile9[i1] = op_exp(tile10[i1]) * tile1[i1];
            }
        }
        // map [1, 4]: tile15[0, i1] = sub(tile12[0, 0, i1], max(add(tile11[0, i1], tile3[i1]), tile12[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile15[i1] = (tile12[i1] - op_max((tile11[i1] + tile3[i1]), tile12[i1]));
            }
        }
        wait_for_block();
        // map [1, 4]: tile14[0, i1] = (exp(tile15[0, i1]) * tanh(tile12[0, 2, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile14[i1] = op_exp(tile15[i1]) * op_tanh(tile12[i1 + 8]);
            }
        }
        // map [1, 4]: tile16[0, i1] = add((exp(tile10[0, i1]) * tile2[i1]), exp(tile15[0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile16[i1] = (op_exp(tile10[i1]) * tile2[i1] + op_exp(tile15[i1]));
            }
        }
        wait_for_block();
        // map [1, 4]: tile8[0, i1] = div((add(tile9[0, i1], tile14[0, i1]) * sigmoid(tile12[0, 3, i1])), tile16[0, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile8[i1] = op_div((tile9[i1] + tile14[i1]) * op_sigmoid(tile12[i1 + 12]), tile16[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: out_o[t of row 0; i1] where row 0 is among the queries = tile8[0, i1]
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                if (0 < at.valid) out_o[((long long)(at.start + inside(at, 0)) * heads + at.head) * 4 + i1] = tile8[i1];
            }
        }
        // map [4]: tile0[i0] = tile8[0, i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile0[i0] = tile8[i0];
            }
        }
        // map [4]: tile1[i0] = add(tile9[0, i0], tile14[0, i0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile1[i0] = (tile9[i0] + tile14[i0]);
            }
        }
        // map [4]: tile2[i0] = tile16[0, i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile2[i0] = tile16[i0];
            }
        }
        // map [4]: tile3[i0] = max(add(tile11[0, i0], tile3[i0]), tile12[0, 0, i0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile3[i0] = op_max((tile11[i0] + tile3[i0]), tile12[i0]);
            }
        }
        wait_for_block();
    }
    // map [4]: state_h_after[i0] = tile0[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            state_h_after[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile0[i0];
        }
    }
    // map [4]: state_c_after[i0] = tile1[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            state_c_after[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile1[i0];
        }
    }
    // map [4]: state_n_after[i0] = tile2[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            state_n_after[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile2[i0];
        }
    }
    // map [4]: state_m_after[i0] = tile3[i0]
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            state_m_after[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile3[i0];
        }
    }
}

extern "C" __global__ void __launch_bounds__(32, 1)
slstm_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_wx, int heads_in_wx, const float* __restrict__ param_R, int heads_param_R, const float* __restrict__ param_b, int heads_param_b, const float* __restrict__ state_h_before, const float* __restrict__ state_c_before, const float* __restrict__ state_n_before, const float* __restrict__ state_m_before, const float* __restrict__ state_h_at_chunks, const float* __restrict__ state_c_at_chunks, const float* __restrict__ state_n_at_chunks, const float* __restrict__ state_m_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_h_after, const float* __restrict__ d_state_c_after, const float* __restrict__ d_state_n_after, const float* __restrict__ d_state_m_after, float* __restrict__ d_in_wx, float* __restrict__ d_param_R, float* __restrict__ d_param_b, float* __restrict__ d_state_h_before, float* __restrict__ d_state_c_before, float* __restrict__ d_state_n_before, float* __restrict__ d_state_m_before) {
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
    const int rounds = (at.length + 0) / 1;
    const int chunks_before = chunks[at.sequence];
    const int own_in_wx = at.head / (heads / heads_in_wx);
    const int own_param_R = at.head / (heads / heads_param_R);
    const int own_param_b = at.head / (heads / heads_param_b);
    float* const tile0 = (float*)(shared + 0);
    float* const tile1 = (float*)(shared + 128);
    float* const tile2 = (float*)(shared + 256);
    float* const tile3 = (float*)(shared + 384);
    float* const tile4 = (float*)(shared + 512);
    float* const tile5 = (float*)(shared + 768);
    float* const tile10 = (float*)(shared + 896);
    float* const tile11 = (float*)(shared + 2176);
    float* const tile12 = (float*)(shared + 1280);
    float* const tile13 = (float*)(shared + 1152);
    float* const tile14 = (float*)(shared + 896);
    float* const tile15 = (float*)(shared + 1024);
    float* const tile16 = (float*)(shared + 896);
    float* const tile17 = (float*)(shared + 1664);
    float* const tile18 = (float*)(shared + 1408);
    float* const tile19 = (float*)(shared + 1536);
    float* const tile20 = (float*)(shared + 1792);
    float* const tile21 = (float*)(shared + 1920);
    float* const tile22 = (float*)(shared + 1792);
    float* const tile23 = (float*)(shared + 2048);
    float* const tile24 = (float*)(shared + 2432);
    float* const tile25 = (float*)(shared + 2304);
    float* const tile26 = (float*)(shared + 1024);
    float* const tile27 = (float*)(shared + 1920);
    float* const tile28 = (float*)(shared + 1408);
    float* const tile29 = (float*)(shared + 1536);
    float* const tile30 = (float*)(shared + 1280);
    float* const tile31 = (float*)(shared + 2304);
    float* const tile32 = (float*)(shared + 1664);
    float* const tile33 = (float*)(shared + 1664);
    float* const tile34 = (float*)(shared + 1536);
    float* const tile35 = (float*)(shared + 1536);
    float* const tile36 = (float*)(shared + 2304);
    float* const tile37 = (float*)(shared + 896);
    float* const tile38 = (float*)(shared + 1408);
    float* const tile39 = (float*)(shared + 1024);
    float* const tile40 = (float*)(shared + 1024);
    // map [4]: tile0[i0] = (given d_state_h_after ? d_state_h_after[i0] : 0)
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&d_state_h_after[((long long)(at.sequence) * heads + at.head) * 4 + i0], (d_state_h_after != 0));
            tile0[i0] = x0.x[0];
        }
    }
    // map [4]: tile1[i0] = (given d_state_c_after ? d_state_c_after[i0] : 0)
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&d_state_c_after[((long long)(at.sequence) * heads + at.head) * 4 + i0], (d_state_c_after != 0));
            tile1[i0] = x0.x[0];
        }
    }
    // map [4]: tile2[i0] = (given d_state_n_after ? d_state_n_after[i0] : 0)
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&d_state_n_after[((long long)(at.sequence) * heads + at.head) * 4 + i0], (d_state_n_after != 0));
            tile2[i0] = x0.x[0];
        }
    }
    // map [4]: tile3[i0] = (given d_state_m_after ? d_state_m_after[i0] : 0)
    {
        const int e = threadIdx.x;
        const int i0 = e;
        if (e < 4) {
            const Group<1> x0 = get_if<1>(&d_state_m_after[((long long)(at.sequence) * heads + at.head) * 4 + i0], (d_state_m_after != 0));
            tile3[i0] = x0.x[0];
        }
    }
    // map [4, 4, 4] in groups of 4: tile4[i0, i1, i2] = 0
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        const int i2 = 0;
        if (e < 16) {
            Group<4> y;
            const int first = i2;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i2 = first + l;
                y.x[l] = 0.0f;
            }
            auto const there = &tile4[16 * (i0) + 4 * (i1) + i2];
            put<4>(there, y);
        }
    }
    // map [4, 4]: tile5[i0, i1] = 0
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            tile5[4 * (i0) + i1] = 0.0f;
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 1;
        at.valid = min(at.length - at.first, 1);
        at.chunk = chunks_before + c;
        // reduce [1, 4, 4, 4] over [1]: tile16[0, 0, i2, i3] = Sum (param_R[i1, i2, i3] * state_h_at_chunks[i1])
        #pragma unroll 1
        for (int e = threadIdx.x; e < 16; e += THREADS) {
            const int i2 = e / 4;
            const int i3 = e % 4;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 4
            for (int s = 0; s < 4; s++) {
                const int i1 = s;
                y.x[0] += param_R[(long long)(own_param_R) * 64 + 16 * (i1) + 4 * (i2) + i3] * state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1];
            }
            tile16[4 * (i2) + i3] = y.x[0];
        }
        wait_for_block();
        // map [1, 4, 4]: tile15[0, i1, i2] = add(add(in_wx[t of row 0; i1, i2], tile16[0, 0, i1, i2]), param_b[i1, i2])
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile15[4 * (i1) + i2] = ((in_wx[((long long)(at.start + inside(at, 0)) * heads_in_wx + own_in_wx) * 16 + 4 * (i1) + i2] + tile16[4 * (i1) + i2]) + param_b[(long long)(own_param_b) * 16 + 4 * (i1) + i2]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile14[0, i1] = logsigmoid(tile15[0, 1, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile14[i1] = op_logsigmoid(tile15[i1 + 4]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile13[0, i1] = sub(add(tile14[0, i1], state_m_at_chunks[i1]), max(add(tile14[0, i1], state_m_at_chunks[i1]), tile15[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile13[i1] = ((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]) - op_max((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]), tile15[i1]));
            }
        }
        wait_for_block();
        // map [1, 4]: tile12[0, i1] = (exp(tile13[0, i1]) * state_c_at_chunks[i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile12[i1] = op_exp(tile13[i1]) * state_c_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1];
            }
        }
        // map [1, 4]: tile18[0, i1] = sub(tile15[0, 0, i1], max(add(tile14[0, i1], state_m_at_chunks[i1]), tile15[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile18[i1] = (tile15[i1] - op_max((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]), tile15[i1]));
            }
        }
        // map [1, 4]: tile19[0, i1] = tanh(tile15[0, 2, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile19[i1] = op_tanh(tile15[i1 + 8]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile17[0, i1] = (exp(tile18[0, i1]) * tile19[0, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile17[i1] = op_exp(tile18[i1]) * tile19[i1];
            }
        }
        // map [1, 4]: tile22[0, i1] = (exp(tile13[0, i1]) * state_n_at_chunks[i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile22[i1] = op_exp(tile13[i1]) * state_n_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1];
            }
        }
        wait_for_block();
        // map [1, 4]: tile21[0, i1] = add(tile22[0, i1], exp(tile18[0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile21[i1] = (tile22[i1] + op_exp(tile18[i1]));
            }
        }
        wait_for_block();
        // map [1, 4]: tile20[0, i1] = div(add((given d_out_o ? (row 0 is among the queries ? d_out_o[t of row 0; i1] : 0) : 0), tile0[i1]), tile21[0, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                const Group<1> x0 = get_if<1>(&d_out_o[((long long)(at.start + inside(at, 0)) * heads + at.head) * 4 + i1], (d_out_o != 0 && 0 < at.valid));
                tile20[i1] = op_div((x0.x[0] + tile0[i1]), tile21[i1]);
            }
        }
        // map [1, 4]: tile23[0, i1] = sigmoid(tile15[0, 3, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile23[i1] = op_sigmoid(tile15[i1 + 12]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile11[0, i1] = ((add(tile12[0, i1], tile17[0, i1]) * tile20[0, i1]) * (tile23[0, i1] * sub(1, tile23[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile11[i1] = (tile12[i1] + tile17[i1]) * tile20[i1] * tile23[i1] * (1.0f - tile23[i1]);
            }
        }
        // map [1, 4]: tile25[0, i1] = (exp(tile18[0, i1]) * add(tile1[i1], (tile23[0, i1] * tile20[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile25[i1] = op_exp(tile18[i1]) * (tile1[i1] + tile23[i1] * tile20[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile24[0, i1] = (tile25[0, i1] * sub(1, (tile19[0, i1] * tile19[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile24[i1] = tile25[i1] * (1.0f - tile19[i1] * tile19[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile31[0, i1] = div((add(tile12[0, i1], tile17[0, i1]) * tile23[0, i1]), tile21[0, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile31[i1] = op_div((tile12[i1] + tile17[i1]) * tile23[i1], tile21[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile30[0, i1] = add(tile2[i1], neg((tile31[0, i1] * tile20[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile30[i1] = (tile2[i1] + op_neg(tile31[i1] * tile20[i1]));
            }
        }
        // map [1, 4]: tile32[0, i1] = (tile19[0, i1] * add(tile1[i1], (tile23[0, i1] * tile20[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile32[i1] = tile19[i1] * (tile1[i1] + tile23[i1] * tile20[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile29[0, i1] = (exp(tile18[0, i1]) * add(tile30[0, i1], tile32[0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile29[i1] = op_exp(tile18[i1]) * (tile30[i1] + tile32[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile28[0, i1] = (tile29[0, i1] * ge(add(tile14[0, i1], state_m_at_chunks[i1]), tile15[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile28[i1] = tile29[i1] * op_ge((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]), tile15[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile34[0, i1] = (state_c_at_chunks[i1] * add(tile1[i1], (tile23[0, i1] * tile20[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile34[i1] = state_c_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1] * (tile1[i1] + tile23[i1] * tile20[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile33[0, i1] = (exp(tile13[0, i1]) * add((state_n_at_chunks[i1] * tile30[0, i1]), tile34[0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile33[i1] = op_exp(tile13[i1]) * (state_n_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1] * tile30[i1] + tile34[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile35[0, i1] = (ge(add(tile14[0, i1], state_m_at_chunks[i1]), tile15[0, 0, i1]) * tile33[0, i1])
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile35[i1] = op_ge((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]), tile15[i1]) * tile33[i1];
            }
        }
        wait_for_block();
        // map [1, 4]: tile27[0, i1] = add(neg(tile28[0, i1]), sub(tile33[0, i1], tile35[0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile27[i1] = (op_neg(tile28[i1]) + (tile33[i1] - tile35[i1]));
            }
        }
        // map [1, 4]: tile36[0, i1] = (tile3[i1] * ge(add(tile14[0, i1], state_m_at_chunks[i1]), tile15[0, 0, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile36[i1] = tile3[i1] * op_ge((tile14[i1] + state_m_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1]), tile15[i1]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile37[0, i1] = sigmoid(neg(tile15[0, 1, i1]))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile37[i1] = op_sigmoid(op_neg(tile15[i1 + 4]));
            }
        }
        wait_for_block();
        // map [1, 4, 4]: tile26[0, i1, i2] = (i1 < 1 ? 0 : (i1 < 2 ? (add(tile27[0, i2], tile36[0, i2]) * tile37[0, i2]) : 0))
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile26[4 * (i1) + i2] = (i1 < 1 ? 0.0f : (i1 < 2 ? (tile27[i2] + tile36[i2]) * tile37[i2] : 0.0f));
            }
        }
        wait_for_block();
        // map [1, 4, 4]: tile10[0, i1, i2] = add(add((i1 < 3 ? 0 : (i1 < 4 ? tile11[i1+-3, i2] : 0)), (i1 < 2 ? 0 : (i1 < 3 ? tile24[i1+-2, i2] : 0))), tile26[0, i1, i2])
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile10[4 * (i1) + i2] = (((i1 < 3 ? 0.0f : (i1 < 4 ? tile11[4 * (i1) + i2 + -12] : 0.0f)) + (i1 < 2 ? 0.0f : (i1 < 3 ? tile24[4 * (i1) + i2 + -8] : 0.0f))) + tile26[4 * (i1) + i2]);
            }
        }
        wait_for_block();
        // map [1, 4]: tile39[0, i1] = add(tile28[0, i1], neg(sub(tile33[0, i1], tile35[0, i1])))
        {
            const int e = threadIdx.x;
            const int i1 = e;
            if (e < 4) {
                tile39[i1] = (tile28[i1] + op_neg((tile33[i1] - tile35[i1])));
            }
        }
        wait_for_block();
        // map [1, 4, 4]: tile38[0, i1, i2] = (i1 < 0 ? 0 : (i1 < 1 ? add(tile39[0, i2], sub(tile3[i2], tile36[0, i2])) : 0))
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile38[4 * (i1) + i2] = (i1 < 0 ? 0.0f : (i1 < 1 ? (tile39[i2] + (tile3[i2] - tile36[i2])) : 0.0f));
            }
        }
        wait_for_block();
        // map [1, 4, 4]: d_in_wx[t of row 0; i1, i2] where row 0 is among the queries = add(tile10[0, i1, i2], tile38[0, i1, i2])
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                if (0 < at.valid) d_in_wx[((long long)(at.start + inside(at, 0)) * heads + at.head) * 16 + 4 * (i1) + i2] = (tile10[4 * (i1) + i2] + tile38[4 * (i1) + i2]);
            }
        }
        // reduce [1, 4, 4, 4] over [2, 3]: tile40[0, i1, 0, 0] = Sum (param_R[i1, i2, i3] * add(tile10[0, i2, i3], tile38[0, i2, i3]))
        #pragma unroll 1
        for (int e = threadIdx.x; e < 4; e += THREADS) {
            const int i1 = e;
            Group<1> y;
            #pragma unroll
            for (int l = 0; l < 1; l++) y.x[l] = 0.f;
            #pragma unroll 8
            for (int s = 0; s < 16; s++) {
                const int i2 = s / 4;
                const int i3 = s % 4;
                y.x[0] += param_R[(long long)(own_param_R) * 64 + 16 * (i1) + 4 * (i2) + i3] * (tile10[4 * (i2) + i3] + tile38[4 * (i2) + i3]);
            }
            tile40[i1] = y.x[0];
        }
        wait_for_block();
        // map [4]: tile0[i0] = tile40[0, i0, 0, 0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile0[i0] = tile40[i0];
            }
        }
        // map [1, 4, 4, 4] in groups of 4: tile4[i1, i2, i3] += (state_h_at_chunks[i1] * add(tile10[0, i2, i3], tile38[0, i2, i3]))
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            const int i3 = 0;
            if (e < 16) {
                Group<4> y;
                const Group<4> x1 = get<4>(&tile10[4 * (i2) + i3]);
                const Group<4> x2 = get<4>(&tile38[4 * (i2) + i3]);
                const int first = i3;
                #pragma unroll
                for (int l = 0; l < 4; l++) {
                    const int i3 = first + l;
                    y.x[l] = state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 4 + i1] * (x1.x[l] + x2.x[l]);
                }
                auto const there = &tile4[16 * (i1) + 4 * (i2) + i3];
                put_sum<4>(there, y);
            }
        }
        // map [1, 4, 4]: tile5[i1, i2] += add(tile10[0, i1, i2], tile38[0, i1, i2])
        {
            const int e = threadIdx.x;
            const int i1 = (e) / 4;
            const int i2 = (e) % 4;
            if (e < 16) {
                tile5[4 * (i1) + i2] += (tile10[4 * (i1) + i2] + tile38[4 * (i1) + i2]);
            }
        }
        // map [4]: tile3[i0] = add(tile27[0, i0], tile36[0, i0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile3[i0] = (tile27[i0] + tile36[i0]);
            }
        }
        // map [4]: tile1[i0] = (exp(tile13[0, i0]) * add(tile1[i0], (tile23[0, i0] * tile20[0, i0])))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile1[i0] = op_exp(tile13[i0]) * (tile1[i0] + tile23[i0] * tile20[i0]);
            }
        }
        // map [4]: tile2[i0] = (exp(tile13[0, i0]) * tile30[0, i0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                tile2[i0] = op_exp(tile13[i0]) * tile30[i0];
            }
        }
        wait_for_block();
    }
    if (d_state_h_before != 0) {
        // map [4]: d_state_h_before[i0] = tile0[i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                d_state_h_before[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile0[i0];
            }
        }
    }
    if (d_state_c_before != 0) {
        // map [4]: d_state_c_before[i0] = tile1[i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                d_state_c_before[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile1[i0];
            }
        }
    }
    if (d_state_n_before != 0) {
        // map [4]: d_state_n_before[i0] = tile2[i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                d_state_n_before[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile2[i0];
            }
        }
    }
    if (d_state_m_before != 0) {
        // map [4]: d_state_m_before[i0] = tile3[i0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 4) {
                d_state_m_before[((long long)(at.sequence) * heads + at.head) * 4 + i0] = tile3[i0];
            }
        }
    }
    // map [4, 4, 4] in groups of 4: d_param_R[i0, i1, i2] = tile4[i0, i1, i2]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        const int i2 = 0;
        if (e < 16) {
            Group<4> y;
            const Group<4> x0 = get<4>(&tile4[16 * (i0) + 4 * (i1) + i2]);
            const int first = i2;
            #pragma unroll
            for (int l = 0; l < 4; l++) {
                const int i2 = first + l;
                y.x[l] = x0.x[l];
            }
            auto const there = &d_param_R[((long long)(at.sequence) * heads + at.head) * 64 + 16 * (i0) + 4 * (i1) + i2];
            put_out<4>(there, y);
        }
    }
    // map [4, 4]: d_param_b[i0, i1] = tile5[i0, i1]
    {
        const int e = threadIdx.x;
        const int i0 = (e) / 4;
        const int i1 = (e) % 4;
        if (e < 16) {
            d_param_b[((long long)(at.sequence) * heads + at.head) * 16 + 4 * (i0) + i1] = tile5[4 * (i0) + i1];
        }
    }
}
