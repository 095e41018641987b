// Dropout: a number becomes 0 where its 32 random bits are below `least`, else it grows by `kept`. The
// bits are those of Philox4x32-10 (Salmon et al. 2011) with `key` as its key and the row, counted from `first`, as the
// item, as on the processor.
extern "C" __global__ void drop_out(TO* to, const FROM* from, const int* key, int count, int width,
                                    int least, int first, float kept) {
    for (int e = blockIdx.x * blockDim.x + threadIdx.x; e < count; e += gridDim.x * blockDim.x) {
        const int column = e % width;
        unsigned c0 = column / 4, c1 = 0, c2 = first + e / width, c3 = 0;
        unsigned k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; round++) {
            const unsigned long long a = c0 * 0xD2511F53ull, b = c2 * 0xCD9E8D57ull;
            c0 = (unsigned)(b >> 32) ^ c1 ^ k0;
            c1 = (unsigned)b;
            c2 = (unsigned)(a >> 32) ^ c3 ^ k1;
            c3 = (unsigned)a;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        const int word = column % 4;
        const unsigned bits = word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
        put(to[e], bits < (unsigned)least ? 0.f : get(from[e]) * kept);
    }
}
