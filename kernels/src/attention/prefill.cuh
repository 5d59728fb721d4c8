// Prefill: one block goes through all tokens that 64 pairs of a row and a query head see, by the tensor cores.

#pragma once

constexpr int PREFILL_THREADS = WARPS * int(WARP);
// Half the threads bring the keys of a tile, the other half its values.
constexpr int BRINGERS = PREFILL_THREADS / 2;
// Pairs of a row and one of the query heads that share a key head: 16 to a warp, as many as the multiplication takes.
constexpr int PAIRS_WARP = 16;
constexpr int PAIRS = WARPS * PAIRS_WARP;
// 16 bytes of f16.
constexpr int EIGHTS = 8;
// A lane reads 16 bytes of each 64: what it needs for four multiplications.
constexpr int WINDOW = 32;
constexpr int STEPS = 4;

struct PrefillTask {
    const float *queries;  // [rows, heads, head_dim]
    Cached keys, values;
    const uint32_t *positions, *table_starts, *tables;
    const uint32_t *tiles;  // of (first row, rows, first pair)
    float *output;          // [rows, heads, head_dim]
    int kv_heads, group;
    float scale;
};

// A tile of keys and values in shared memory, in units of 16 bytes. Eight lanes that are served together always meet
// eight different units modulo 8, so that no bank is asked twice: that is what the exclusive ors are for. Every index is
// one of two that a lane computes once, plus a constant: computed anew they would take the registers of the sums.
template <int HEAD_DIM>
struct Tile {
    // As many keys as make 8 KiB.
    static constexpr int KEYS = 4096 / HEAD_DIM;
    static constexpr int CHUNKS = HEAD_DIM / EIGHTS;
    static constexpr int KEY_EIGHTS = KEYS / EIGHTS;
    static constexpr int UNITS = KEYS * CHUNKS;
    static_assert(KEY_EIGHTS * CHUNKS == BRINGERS, "one square of 8 by 8 values for each thread that brings them");

    // Where elements 8 * chunk .. + 8 of a key lie.
    __device__ static __forceinline__ int key_at(int key, int chunk) { return key * CHUNKS + (chunk ^ (key & 1) << 2); }

    // Where an element of keys 8 * eight .. + 8 lies: values lie transposed.
    __device__ static __forceinline__ int value_at(int element, int eight) {
        if (KEY_EIGHTS == 4) return (element ^ (element >> 3 & 1)) * 4 + eight;
        return element * KEY_EIGHTS + (eight ^ (element & 1) << 2);
    }
};

__device__ __forceinline__ uint32_t lows_of(uint32_t first, uint32_t second) { return (first & 0xffff) | second << 16; }
__device__ __forceinline__ uint32_t highs_of(uint32_t first, uint32_t second) { return first >> 16 | (second & 0xffff0000); }

// A thread's share of the next tile, on its way from memory while this one is computed. Zeros stand for tokens that no
// row sees: whatever lies there, its weight 0 then makes it 0.
template <class Format, int HEAD_DIM>
struct Share {
    typedef Tile<HEAD_DIM> T;
    static constexpr int READS = T::UNITS / BRINGERS;
    static_assert(READS == EIGHTS, "keys and values take the same registers");
    typename Format::Raw raw[READS];

    // Chunk `thread % CHUNKS` of every so many keys.
    __device__ __forceinline__ void read_keys(const PrefillTask &task, const uint32_t *table, int first, int tokens) {
        constexpr int READS_BLOCK = READS * BLOCK_TOKENS / T::KEYS;
        const int thread = threadIdx.x % BRINGERS;
#pragma unroll
        for (int i = 0; i < READS; i++) {
            const int block_key = first + i / READS_BLOCK * BLOCK_TOKENS;
            const int slot = i % READS_BLOCK * (BRINGERS / T::CHUNKS) + thread / T::CHUNKS;
            raw[i] = Format::zero();
            if (block_key + slot < tokens) {
                const uint32_t block = table[block_key / BLOCK_TOKENS];
                const size_t place = place_of(block, task.kv_heads, int(blockIdx.y), slot);
                raw[i] = Format::read(task.keys, place, HEAD_DIM, thread % T::CHUNKS);
            }
        }
    }

    __device__ __forceinline__ void put_keys(uint4 *keys) const {
        const int thread = threadIdx.x % BRINGERS;
        uint4 *own = keys + T::key_at(thread / T::CHUNKS, thread % T::CHUNKS);
#pragma unroll
        for (int i = 0; i < READS; i++) own[i * BRINGERS] = Format::to_halves(raw[i]);
    }

    // A square: 8 elements of 8 values.
    __device__ __forceinline__ void read_values(const PrefillTask &task, const uint32_t *table, int first, int tokens) {
        const int thread = threadIdx.x % BRINGERS, token = first + thread % T::KEY_EIGHTS * EIGHTS;
#pragma unroll
        for (int i = 0; i < EIGHTS; i++) raw[i] = Format::zero();
        if (token >= tokens) return;
        const size_t place =
            place_of(table[token / BLOCK_TOKENS], task.kv_heads, int(blockIdx.y), token % BLOCK_TOKENS);
#pragma unroll
        for (int i = 0; i < EIGHTS; i++) {
            if (token + i < tokens) raw[i] = Format::read(task.values, place + i, HEAD_DIM, thread / T::KEY_EIGHTS);
        }
    }

    // Turns the square round.
    __device__ __forceinline__ void put_values(uint4 *values) const {
        const int thread = threadIdx.x % BRINGERS, eight = thread % T::KEY_EIGHTS, chunk = thread / T::KEY_EIGHTS;
        uint4 rows[EIGHTS];
#pragma unroll
        for (int i = 0; i < EIGHTS; i++) rows[i] = Format::to_halves(raw[i]);
        uint4 *even = values + T::value_at(chunk * EIGHTS, eight);
        uint4 *odd = values + T::value_at(chunk * EIGHTS + 1, eight);
#pragma unroll
        for (int pair = 0; pair < EIGHTS / 2; pair++) {
            uint32_t words[EIGHTS];
#pragma unroll
            for (int i = 0; i < EIGHTS; i++) {
                words[i] = pair == 0 ? rows[i].x : pair == 1 ? rows[i].y : pair == 2 ? rows[i].z : rows[i].w;
            }
            even[2 * pair * T::KEY_EIGHTS] = make_uint4(lows_of(words[0], words[1]), lows_of(words[2], words[3]),
                                                        lows_of(words[4], words[5]), lows_of(words[6], words[7]));
            odd[2 * pair * T::KEY_EIGHTS] = make_uint4(highs_of(words[0], words[1]), highs_of(words[2], words[3]),
                                                       highs_of(words[4], words[5]), highs_of(words[6], words[7]));
        }
    }
};

// What f16 holds; so no score is infinite.
__device__ __forceinline__ float bounded(float number) { return fminf(fmaxf(number, -F16_LARGEST), F16_LARGEST); }

// What a lane keeps of its warp's 16 pairs: parts of the rows `lane / 4` and `lane / 4 + 8` of every matrix, as the
// multiplication hands them out. It sums over elements (and over keys) in an order of our choice, if both factors agree
// on it: lane l % 4 is given elements 8 * (l % 4) .. + 8 of each 32, so that it reads 16 bytes at a time.
template <int HEAD_DIM>
struct Pairs {
    static constexpr int KEYS = Tile<HEAD_DIM>::KEYS;

    uint32_t queries[HEAD_DIM / WINDOW][STEPS][2];
    float sums[HEAD_DIM / 8][4];
    float most[2], weight[2];

    __device__ __forceinline__ void take_query(int half, const float *query, int quarter) {
#pragma unroll
        for (int window = 0; window < HEAD_DIM / WINDOW; window++) {
            const float4 *eight = reinterpret_cast<const float4 *>(query + window * WINDOW + quarter * EIGHTS);
            const float4 low = eight[0], high = eight[1];
            queries[window][0][half] = pair_of(bounded(low.x), bounded(low.y));
            queries[window][1][half] = pair_of(bounded(low.z), bounded(low.w));
            queries[window][2][half] = pair_of(bounded(high.x), bounded(high.y));
            queries[window][3][half] = pair_of(bounded(high.z), bounded(high.w));
        }
        most[half] = -INFINITY;
        weight[half] = 0;
    }

    // Column n of key group `eight` is key 32 * (eight / 4) + 8 * (n / 2) + 2 * (eight % 4) + n % 2, so that the weights
    // which a lane holds afterwards are those of eight neighbours.
    __device__ __forceinline__ void score(const uint4 *keys, int lane, float (&scores)[KEYS / 8][4]) const {
        typedef Tile<HEAD_DIM> T;
        const int column = lane / 4, quarter = lane % 4, own_key = column / 2 * EIGHTS + column % 2;
        const uint4 *even = keys + T::key_at(own_key, quarter);
        const uint4 *odd = keys + T::key_at(own_key, quarter + WINDOW / EIGHTS);
#pragma unroll
        for (int eight = 0; eight < KEYS / 8; eight++) {
            const int key = eight / STEPS * WINDOW + eight % STEPS * 2;
#pragma unroll
            for (int i = 0; i < 4; i++) scores[eight][i] = 0;
#pragma unroll
            for (int window = 0; window < HEAD_DIM / WINDOW; window++) {
                const uint4 unit = (window % 2 ? odd : even)[key * T::CHUNKS + window / 2 * (2 * WINDOW / EIGHTS)];
                mma_m16n8k8_f16(scores[eight], queries[window][0], &unit.x);
                mma_m16n8k8_f16(scores[eight], queries[window][1], &unit.y);
                mma_m16n8k8_f16(scores[eight], queries[window][2], &unit.z);
                mma_m16n8k8_f16(scores[eight], queries[window][3], &unit.w);
            }
        }
    }

    // Turns scores into weights relative to the new maximum; `seen[half]` keys of the tile are seen.
    __device__ __forceinline__ void weigh(float (&scores)[KEYS / 8][4], int lane, const int (&seen)[2], float scale) {
        float factor[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float now = most[half];
#pragma unroll
            for (int eight = 0; eight < KEYS / 8; eight++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int key = eight / STEPS * WINDOW + lane % 4 * EIGHTS + eight % STEPS * 2 + i;
                    float& score = scores[eight][2 * half + i];
                    score = key < seen[half] ? score * scale : -INFINITY;
                    now = fmaxf(now, score);
                }
            }
            now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 1));
            now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 2));
            factor[half] = power_of_2(most[half] - now);
            most[half] = now;
            float sum = 0;
#pragma unroll
            for (int eight = 0; eight < KEYS / 8; eight++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float& score = scores[eight][2 * half + i];
                    score = power_of_2(score - now);
                    sum += score;
                }
            }
            weight[half] = weight[half] * factor[half] + sum;
        }
        // Soon no maximum changes any more, and times 1 changes nothing. Decided together: a warp multiplies as one.
        if (__all_sync(ALL_LANES, factor[0] == 1 && factor[1] == 1)) return;
#pragma unroll
        for (int eight = 0; eight < HEAD_DIM / 8; eight++) {
#pragma unroll
            for (int i = 0; i < 4; i++) sums[eight][i] *= factor[i / 2];
        }
    }

    __device__ __forceinline__ void mix(const float (&weights)[KEYS / 8][4], const uint4 *values, int lane) {
        uint32_t halves[KEYS / 8][2];
#pragma unroll
        for (int eight = 0; eight < KEYS / 8; eight++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                halves[eight][half] = pair_of(weights[eight][2 * half], weights[eight][2 * half + 1]);
            }
        }
        typedef Tile<HEAD_DIM> T;
        // Even and odd are eights of elements if a tile has one window of keys, or else the windows.
        constexpr bool WINDOWS = KEYS > WINDOW;
        const uint4 *even = values + T::value_at(lane / 4, lane % 4);
        const uint4 *odd = values + (WINDOWS ? T::value_at(lane / 4, lane % 4 + WINDOW / EIGHTS)
                                             : T::value_at(8 + lane / 4, lane % 4) - 8 * T::KEY_EIGHTS);
#pragma unroll
        for (int window = 0; window < KEYS / WINDOW; window++) {
#pragma unroll
            for (int eight = 0; eight < HEAD_DIM / 8; eight++) {
                const bool is_odd = (WINDOWS ? window : eight) % 2;
                const uint4 unit = (is_odd ? odd : even)[eight * 8 * T::KEY_EIGHTS];
                mma_m16n8k8_f16(sums[eight], halves[window * STEPS], &unit.x);
                mma_m16n8k8_f16(sums[eight], halves[window * STEPS + 1], &unit.y);
                mma_m16n8k8_f16(sums[eight], halves[window * STEPS + 2], &unit.z);
                mma_m16n8k8_f16(sums[eight], halves[window * STEPS + 3], &unit.w);
            }
        }
    }

    __device__ __forceinline__ void give(int half, float *output, int lane) const {
        float whole = weight[half];
        whole += __shfl_xor_sync(ALL_LANES, whole, 1);
        whole += __shfl_xor_sync(ALL_LANES, whole, 2);
        const float share = 1 / whole;
#pragma unroll
        for (int eight = 0; eight < HEAD_DIM / 8; eight++) {
            // Plus 0, because a sum that underflowed to -0 may or may not have met the 0 of a tile that is not seen.
            const float low = sums[eight][2 * half] * share + 0.0f;
            const float high = sums[eight][2 * half + 1] * share + 0.0f;
            if (output) reinterpret_cast<float2 *>(output)[eight * 4 + lane % 4] = make_float2(low, high);
        }
    }
};

template <class Format, int HEAD_DIM>
__device__ __forceinline__ void attend_tile(const PrefillTask &task) {
    constexpr int KEYS = Tile<HEAD_DIM>::KEYS;
    __shared__ uint4 keys[Tile<HEAD_DIM>::UNITS];
    __shared__ uint4 values[Tile<HEAD_DIM>::UNITS];

    const uint32_t *tile = task.tiles + 3 * blockIdx.x;
    const int first_row = tile[0], pairs = tile[1] * task.group, first_pair = tile[2];
    const int last_row = first_row + (min(first_pair + PAIRS, pairs) - 1) / task.group;
    const int tokens = task.positions[last_row] + 1;
    const uint32_t *table = task.tables + task.table_starts[first_row];

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_pair = first_pair + warp * PAIRS_WARP;
    // The last warps of a segment may have no pairs: they take the last one, and give nothing.
    const auto pair_of_half = [&](int half) { return min(warp_pair + half * 8 + lane / 4, pairs - 1); };
    const auto place_of_pair = [&](int pair) {
        const size_t row = first_row + pair / task.group;
        return ((row * task.kv_heads + blockIdx.y) * task.group + pair % task.group) * HEAD_DIM;
    };
    Pairs<HEAD_DIM> own;
    int seen[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        own.take_query(half, task.queries + place_of_pair(pair_of_half(half)), lane % 4);
        seen[half] = task.positions[first_row + pair_of_half(half) / task.group] + 1;
    }
    const int last_pair = min(warp_pair + PAIRS_WARP, pairs) - 1;
    const int warp_seen = task.positions[first_row + last_pair / task.group] + 1;
#pragma unroll
    for (int eight = 0; eight < HEAD_DIM / 8; eight++) {
#pragma unroll
        for (int i = 0; i < 4; i++) own.sums[eight][i] = 0;
    }

    const bool has_keys = warp < WARPS / 2;
    Share<Format, HEAD_DIM> share;
    const auto read = [&](int first) {
        if (has_keys) {
            share.read_keys(task, table, first, tokens);
        } else {
            share.read_values(task, table, first, tokens);
        }
    };
    read(0);
    for (int first = 0; first < tokens; first += KEYS) {
        __syncthreads();
        if (has_keys) {
            share.put_keys(keys);
        } else {
            share.put_values(values);
        }
        __syncthreads();
        if (first + KEYS < tokens) read(first + KEYS);
        // Nothing of a tile behind a warp's last row counts: it would add weights of 0.
        if (first >= warp_seen) continue;
        __syncwarp();
        float scores[KEYS / 8][4];
        own.score(keys, lane, scores);
        const int ahead[2] = {seen[0] - first, seen[1] - first};
        own.weigh(scores, lane, ahead, task.scale);
        own.mix(scores, values, lane);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const bool is_own = warp_pair + half * 8 + lane / 4 < pairs;
        own.give(half, is_own ? task.output + place_of_pair(pair_of_half(half)) : nullptr, lane);
    }
}

