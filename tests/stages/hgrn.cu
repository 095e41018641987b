extern "C" __global__ void __launch_bounds__(32, 1)
hgrn_forward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_h_before, float* __restrict__ out_o, float* __restrict__ state_h_after, float* __restrict__ state_h_at_chunks) {
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
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 0);
    float* const tile2 = (float*)(shared + 128);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 512);
    // map []: tile0[] = 0
    {
        const int e = threadIdx.x;
        if (e < 1) {
            tile0[0] = 0.0f;
        }
    }
    wait_for_block();
    // map []: tile0[] = (given state_h_before ? state_h_before[] : tile0[])
    {
        const int e = threadIdx.x;
        if (e < 1) {
            const Group<1> x0 = get_if<1>(&state_h_before[((long long)(at.sequence) * heads + at.head) * 1 + 0], (state_h_before != 0));
            tile0[0] = (state_h_before != 0 ? x0.x[0] : tile0[0]);
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = round;
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        if (state_h_at_chunks != 0) {
            // map []: state_h_at_chunks[] = tile0[]
            {
                const int e = threadIdx.x;
                if (e < 1) {
                    state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 1 + 0] = tile0[0];
                }
            }
        }
        // map [8, 1, 1, 1]: tile2[i0, 0, 0, 0] = add((exp(in_g[t of row i0]) * (row i0 is among the queries ? 1 : 0)), (sub(1, (row i0 is among the queries ? 1 : 0)) * (0...
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile2[i0] = (op_exp(in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]) * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)) * (0 == 0 ? 1.0f : 0.0f));
            }
        }
        // map [8, 1, 1]: tile3[i0, 0, 0] = (in_x[t of row i0] * (row i0 is among the queries ? 1 : 0))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile3[i0] = in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 1 + 0] * (i0 < at.valid ? 1.0f : 0.0f);
            }
        }
        // map [1, 1]: tile4[0, 0] = tile0[]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile4[0] = tile0[0];
            }
        }
        wait_for_block();
        // scan of 8 rows, 1 steps, 1 wide: tile5 = Linear tile2 tile3 tile4
        scan<8, 1, 1>(tile5, tile2, tile3, tile4);
        wait_for_block();
        // map [8]: out_o[t of row i0] where row i0 is among the queries = tile5[i0, 0, 0]
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                if (i0 < at.valid) out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = tile5[i0];
            }
        }
        // map []: tile0[] = tile5[7, 0, 0]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile0[0] = tile5[7];
            }
        }
        wait_for_block();
    }
    // map []: state_h_after[] = tile0[]
    {
        const int e = threadIdx.x;
        if (e < 1) {
            state_h_after[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile0[0];
        }
    }
}

extern "C" __global__ void __launch_bounds__(32, 1)
hgrn_backward(const int* bounds, const int* chunks, int sequences, int heads, const float* __restrict__ in_x, int heads_in_x, const float* __restrict__ in_g, int heads_in_g, const float* __restrict__ state_h_before, const float* __restrict__ state_h_at_chunks, const float* __restrict__ d_out_o, const float* __restrict__ d_state_h_after, float* __restrict__ d_in_x, float* __restrict__ d_in_g, float* __restrict__ d_state_h_before) {
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
    const int own_in_g = at.head / (heads / heads_in_g);
    float* const tile0 = (float*)(shared + 0);
    float* const tile2 = (float*)(shared + 128);
    float* const tile3 = (float*)(shared + 256);
    float* const tile4 = (float*)(shared + 384);
    float* const tile5 = (float*)(shared + 512);
    float* const tile6 = (float*)(shared + 640);
    float* const tile7 = (float*)(shared + 384);
    float* const tile8 = (float*)(shared + 512);
    // map []: tile0[] = (given d_state_h_after ? d_state_h_after[] : 0)
    {
        const int e = threadIdx.x;
        if (e < 1) {
            const Group<1> x0 = get_if<1>(&d_state_h_after[((long long)(at.sequence) * heads + at.head) * 1 + 0], (d_state_h_after != 0));
            tile0[0] = x0.x[0];
        }
    }
    wait_for_block();
    #pragma unroll 1
    for (int round = 0; round < rounds; round++) {
        const int c = rounds - 1 - round;
        at.first = c * 8;
        at.valid = min(at.length - at.first, 8);
        at.chunk = chunks_before + c;
        // map [8]: tile2[i0] = exp(in_g[t of row i0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile2[i0] = op_exp(in_g[((long long)(at.start + inside(at, i0)) * heads_in_g + own_in_g) * 1 + 0]);
            }
        }
        wait_for_block();
        // map [8, 1, 1, 1]: tile3[i0, 0, 0, 0] = add((tile2[i0] * (row i0 is among the queries ? 1 : 0)), (sub(1, (row i0 is among the queries ? 1 : 0)) * (0 == 0 ? 1 : 0...
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile3[i0] = (tile2[i0] * (i0 < at.valid ? 1.0f : 0.0f) + (1.0f - (i0 < at.valid ? 1.0f : 0.0f)) * (0 == 0 ? 1.0f : 0.0f));
            }
        }
        // map [8, 1, 1]: tile4[i0, 0, 0] = (in_x[t of row i0] * (row i0 is among the queries ? 1 : 0))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                tile4[i0] = in_x[((long long)(at.start + inside(at, i0)) * heads_in_x + own_in_x) * 1 + 0] * (i0 < at.valid ? 1.0f : 0.0f);
            }
        }
        // map [1, 1]: tile5[0, 0] = state_h_at_chunks[]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile5[0] = state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 1 + 0];
            }
        }
        wait_for_block();
        // scan of 8 rows, 1 steps, 1 wide: tile6 = Linear tile3 tile4 tile5
        scan<8, 1, 1>(tile6, tile3, tile4, tile5);
        wait_for_block();
        // map [8, 1, 1]: tile7[i0, 0, 0] = add((given d_out_o ? (row i0 is among the queries ? d_out_o[t of row i0] : 0) : 0), (i0 < 7 ? 0 : (i0 < 8 ? tile0[] : 0)))
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                const Group<1> x0 = get_if<1>(&d_out_o[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0], (d_out_o != 0 && i0 < at.valid));
                tile7[i0] = (x0.x[0] + (i0 < 7 ? 0.0f : (i0 < 8 ? tile0[0] : 0.0f)));
            }
        }
        wait_for_block();
        // scan of 8 rows, 1 steps, 1 wide: tile8 = LinearGrad tile3 tile7
        scan_grad<8, 1, 1>(tile8, tile3, tile7);
        wait_for_block();
        // map [8]: d_in_g[t of row i0] where row i0 is among the queries = (tile2[i0] * ((row i0 is among the queries ? 1 : 0) * ((i0 < 1 ? state_h_at_chunks[] : tile6[i0...
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                const Group<1> x1 = get_if<1>(&state_h_at_chunks[((long long)(at.chunk) * heads + at.head) * 1 + 0], (i0 < 1));
                if (i0 < at.valid) d_in_g[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = tile2[i0] * (i0 < at.valid ? 1.0f : 0.0f) * (i0 < 1 ? x1.x[0] : tile6[i0 + -1]) * tile8[i0];
            }
        }
        // map [8]: d_in_x[t of row i0] where row i0 is among the queries = ((row i0 is among the queries ? 1 : 0) * tile8[i0, 0, 0])
        {
            const int e = threadIdx.x;
            const int i0 = e;
            if (e < 8) {
                if (i0 < at.valid) d_in_x[((long long)(at.start + inside(at, i0)) * heads + at.head) * 1 + 0] = (i0 < at.valid ? 1.0f : 0.0f) * tile8[i0];
            }
        }
        // map []: tile0[] = (tile3[0, 0, 0, 0] * tile8[0, 0, 0])
        {
            const int e = threadIdx.x;
            if (e < 1) {
                tile0[0] = tile3[0] * tile8[0];
            }
        }
        wait_for_block();
    }
    if (d_state_h_before != 0) {
        // map []: d_state_h_before[] = tile0[]
        {
            const int e = threadIdx.x;
            if (e < 1) {
                d_state_h_before[((long long)(at.sequence) * heads + at.head) * 1 + 0] = tile0[0];
            }
        }
    }
}
