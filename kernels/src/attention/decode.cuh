// Decode: one block goes through one range of 256 tokens for one row and a bundle of the query heads that share a key
// head; then a row's ranges are merged in their order.

#pragma once

// Tokens that one block goes through: fixed, so that a row's ranges depend on its own position only.
constexpr int RANGE = 256;
constexpr int DECODE_THREADS = WARPS * int(WARP);
// Reads that each lane has under way at a time.
constexpr int AHEAD = 4;

struct RangesTask {
    const float *queries;  // [rows, heads, head_dim]
    Cached keys, values;
    const uint32_t *positions, *table_starts;  // [rows]
    const uint32_t *tables;
    const uint32_t *ranges;  // [ranges] of (row, which of its ranges)
    float *sums;             // [ranges, heads, head_dim]
    float2 *weights;         // [ranges, heads] of (maximum, sum)
    int kv_heads, group, head_dim;
    float scale;
};

// LANES lanes share a token's head, each with CHUNKS times 8 elements, and HEADS query heads share what they read.
template <class Format, int HEADS, int LANES, int CHUNKS>
struct Range {
    static constexpr int TOKENS_WARP = 32 / LANES;
    static constexpr int STEP = WARPS * TOKENS_WARP * AHEAD;
    static constexpr int SUMS = WARPS / 2 * HEADS * CHUNKS * CHUNK * LANES;
    // Floats for the scores and, once they are used, for the sums of half the warps.
    static constexpr int POOL = SUMS > HEADS * RANGE ? SUMS : HEADS * RANGE;
    typedef float Numbers[HEADS][CHUNKS * CHUNK];

    const RangesTask &task;
    const uint32_t *blocks;  // [16], of this range
    int kv_head, tokens, lane, warp;

    __device__ __forceinline__ int chunk(int i) const { return lane % LANES + i * LANES; }
    __device__ __forceinline__ bool has(int i) const { return chunk(i) * CHUNK < task.head_dim; }
    // The tokens of a step are dealt out so that the lanes of the block read one run of them.
    __device__ __forceinline__ int token(int first, int ahead) const {
        return first + (ahead * WARPS + warp) * TOKENS_WARP + lane / LANES;
    }

    // Scaled, in registers; zeros past the head's end.
    __device__ __forceinline__ void take_query(const float *query, float (&numbers)[CHUNKS * CHUNK]) const {
#pragma unroll
        for (int i = 0; i < CHUNKS * 2; i++) {
            float4 four = make_float4(0, 0, 0, 0);
            if (has(i / 2)) four = reinterpret_cast<const float4 *>(query)[chunk(i / 2) * 2 + i % 2];
            numbers[4 * i] = four.x * task.scale;
            numbers[4 * i + 1] = four.y * task.scale;
            numbers[4 * i + 2] = four.z * task.scale;
            numbers[4 * i + 3] = four.w * task.scale;
        }
    }

    // The last token stands for those behind it, the first chunk for those past the head's end: so that no lane branches.
    // Neither counts: the former get no weight, the latter meet queries of 0 and are not given.
    __device__ __forceinline__ void read(const Cached &cached, int first, typename Format::Raw (&raw)[AHEAD][CHUNKS]) const {
#pragma unroll
        for (int ahead = 0; ahead < AHEAD; ahead++) {
            const int at = min(token(first, ahead), tokens - 1);
            const size_t place = place_of(blocks[at / BLOCK_TOKENS], task.kv_heads, kv_head, at % BLOCK_TOKENS);
#pragma unroll
            for (int i = 0; i < CHUNKS; i++) {
                raw[ahead][i] = Format::read(cached, place, task.head_dim, has(i) ? chunk(i) : 0);
            }
        }
    }

    __device__ __forceinline__ void score(const Numbers &queries, float *scores) const {
        for (int first = 0; first < tokens; first += STEP) {
            typename Format::Raw raw[AHEAD][CHUNKS];
            float dots[AHEAD][HEADS] = {};
            read(task.keys, first, raw);
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ahead++) {
#pragma unroll
                for (int i = 0; i < CHUNKS; i++) {
                    float key[CHUNK];
                    Format::to_floats(raw[ahead][i], key);
#pragma unroll
                    for (int h = 0; h < HEADS; h++) {
#pragma unroll
                        for (int e = 0; e < CHUNK; e++) dots[ahead][h] += queries[h][i * CHUNK + e] * key[e];
                    }
                }
            }
            const int own = token(first, reduce(dots));
#pragma unroll
            for (int h = 0; h < HEADS; h++) {
                if (lane % (LANES / AHEAD) == h % (LANES / AHEAD)) scores[h * RANGE + own] = dots[0][h];
            }
        }
    }

    // Adds up the dots over the lanes that share a token. Four tokens take fewer exchanges together than each alone: at
    // first a lane gives half of what it has away for the other half of its partner's. Afterwards every quarter of the
    // lanes has one token's dots, in `dots[0]`: which of the four is returned.
    __device__ __forceinline__ int reduce(float (&dots)[AHEAD][HEADS]) const {
        static_assert(AHEAD == 4, "two halvings");
        const bool second = lane & LANES / 2, odd = lane & LANES / 4;
#pragma unroll
        for (int h = 0; h < HEADS; h++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float given = second ? dots[i][h] : dots[i + 2][h], kept = second ? dots[i + 2][h] : dots[i][h];
                dots[i][h] = kept + __shfl_xor_sync(ALL_LANES, given, LANES / 2);
            }
            const float given = odd ? dots[0][h] : dots[1][h], kept = odd ? dots[1][h] : dots[0][h];
            dots[0][h] = kept + __shfl_xor_sync(ALL_LANES, given, LANES / 4);
#pragma unroll
            for (int other = LANES / 8; other > 0; other /= 2) {
                dots[0][h] += __shfl_xor_sync(ALL_LANES, dots[0][h], other);
            }
        }
        return 2 * second + odd;
    }

    // Turns a head's scores into weights, and those of tokens that are not seen into 0.
    __device__ __forceinline__ float2 weigh(float *scores) const {
        float mine[RANGE / 32], most = -INFINITY, sum = 0;
#pragma unroll
        for (int i = 0; i < RANGE / 32; i++) {
            const int token = i * 32 + lane;
            mine[i] = token < tokens ? scores[token] : -INFINITY;
            most = fmaxf(most, mine[i]);
        }
#pragma unroll
        for (int other = 16; other > 0; other /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, other));
#pragma unroll
        for (int i = 0; i < RANGE / 32; i++) {
            const float weight = power_of_2(mine[i] - most);
            scores[i * 32 + lane] = weight;
            sum += weight;
        }
#pragma unroll
        for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, other);
        return make_float2(most, sum);
    }

    __device__ __forceinline__ void mix(const float *weights, Numbers &sums) const {
        for (int first = 0; first < tokens; first += STEP) {
            typename Format::Raw raw[AHEAD][CHUNKS];
            read(task.values, first, raw);
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ahead++) {
#pragma unroll
                for (int i = 0; i < CHUNKS; i++) {
                    float value[CHUNK];
                    Format::to_floats(raw[ahead][i], value);
#pragma unroll
                    for (int h = 0; h < HEADS; h++) {
                        const float weight = weights[h * RANGE + token(first, ahead)];
#pragma unroll
                        for (int e = 0; e < CHUNK; e++) sums[h][i * CHUNK + e] += weight * value[e];
                    }
                }
            }
        }
#pragma unroll
        for (int other = LANES; other < 32; other *= 2) {
#pragma unroll
            for (int h = 0; h < HEADS; h++) {
#pragma unroll
                for (int e = 0; e < CHUNKS * CHUNK; e++) {
                    sums[h][e] += __shfl_xor_sync(ALL_LANES, sums[h][e], other);
                }
            }
        }
    }

    // Adds up what the warps have: half of them hand their sums to the others through `pool`, until warp 0 has all.
    __device__ __forceinline__ void gather(Numbers &sums, float *pool) const {
        constexpr int ELEMENTS = CHUNKS * CHUNK;
#pragma unroll
        for (int by = WARPS / 2; by > 0; by /= 2) {
            __syncthreads();
            float *mine = pool + (warp % by) * HEADS * ELEMENTS * LANES + lane % LANES;
            if (warp >= by && warp < 2 * by && lane < LANES) {
#pragma unroll
                for (int i = 0; i < HEADS * ELEMENTS; i++) mine[i * LANES] = sums[i / ELEMENTS][i % ELEMENTS];
            }
            __syncthreads();
            if (warp < by) {
#pragma unroll
                for (int i = 0; i < HEADS * ELEMENTS; i++) sums[i / ELEMENTS][i % ELEMENTS] += mine[i * LANES];
            }
        }
    }

    __device__ __forceinline__ void give(const float (&numbers)[CHUNKS * CHUNK], float *sums) const {
#pragma unroll
        for (int i = 0; i < CHUNKS * 2; i++) {
            const float *four = numbers + 4 * i;
            const float4 given = make_float4(four[0], four[1], four[2], four[3]);
            if (has(i / 2)) reinterpret_cast<float4 *>(sums)[chunk(i / 2) * 2 + i % 2] = given;
        }
    }
};

template <class Format, int HEADS, int LANES, int CHUNKS>
__device__ __forceinline__ void attend_range(const RangesTask &task) {
    typedef Range<Format, HEADS, LANES, CHUNKS> Work;
    __shared__ float pool[Work::POOL];
    __shared__ uint32_t blocks[RANGE / BLOCK_TOKENS];

    const uint32_t row = task.ranges[2 * blockIdx.x], range = task.ranges[2 * blockIdx.x + 1];
    const int tokens = min(int(task.positions[row] + 1 - range * RANGE), RANGE);
    const uint32_t *table = task.tables + task.table_starts[row] + range * (RANGE / BLOCK_TOKENS);
    if (int(threadIdx.x * BLOCK_TOKENS) < tokens) blocks[threadIdx.x] = table[threadIdx.x];
    const Work work{task, blocks, int(blockIdx.y), tokens, int(threadIdx.x % WARP), int(threadIdx.x / WARP)};

    // The last bundle may have fewer heads than HEADS: its last head is computed again, and kept once.
    const int first_head = blockIdx.z * HEADS, heads = task.group * task.kv_heads;
    const int kept = min(task.group - first_head, HEADS);
    const size_t head_at = size_t(blockIdx.y) * task.group + first_head;
    typename Work::Numbers queries;
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        const size_t head = size_t(row) * heads + head_at + min(h, kept - 1);
        work.take_query(task.queries + head * task.head_dim, queries[h]);
    }
    __syncthreads();
    work.score(queries, pool);
    __syncthreads();
    const size_t given_at = size_t(blockIdx.x) * heads + head_at;
    for (int h = work.warp; h < kept; h += WARPS) {
        const float2 weight = work.weigh(pool + h * RANGE);
        if (work.lane == 0) task.weights[given_at + h] = weight;
    }
    __syncthreads();
    typename Work::Numbers sums = {};
    work.mix(pool, sums);
    work.gather(sums, pool);
    if (work.warp > 0 || work.lane >= LANES) return;
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        if (h < kept) work.give(sums[h], task.sums + (given_at + h) * task.head_dim);
    }
}

struct MergeTask {
    const float *sums;       // [ranges, heads, head_dim]
    const float2 *weights;   // [ranges, heads] of (maximum, sum)
    const uint32_t *merges;  // [merged rows] of (row, its first in `sums`, its ranges)
    float *output;           // [rows, heads, head_dim]
    uint32_t heads, head_dim;
};

// One block for each merged row and head, one thread for each four elements.
__device__ __forceinline__ void merge_range(const MergeTask &task) {
    const uint32_t *merge = task.merges + 3 * blockIdx.x;
    const uint32_t ranges = merge[2], fours = task.head_dim / 4;
    const size_t first = size_t(merge[1]) * task.heads + blockIdx.y;
    const float2 *weights = task.weights + first;
    const float4 *sums = reinterpret_cast<const float4 *>(task.sums) + first * fours + threadIdx.x;
    float most = -INFINITY, weight = 0;
    for (uint32_t range = 0; range < ranges; range++) most = fmaxf(most, weights[size_t(range) * task.heads].x);
    float4 whole = make_float4(0, 0, 0, 0);
    for (uint32_t range = 0; range < ranges; range++) {
        const float2 own = weights[size_t(range) * task.heads];
        const float factor = power_of_2(own.x - most);
        const float4 four = sums[size_t(range) * task.heads * fours];
        weight += factor * own.y;
        whole.x += factor * four.x;
        whole.y += factor * four.y;
        whole.z += factor * four.z;
        whole.w += factor * four.w;
    }
    const float share = 1 / weight;
    float4 *output = reinterpret_cast<float4 *>(task.output) + (size_t(merge[0]) * task.heads + blockIdx.y) * fours;
    output[threadIdx.x] = make_float4(whole.x * share, whole.y * share, whole.z * share, whole.w * share);
}
