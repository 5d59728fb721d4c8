// Causal attention of a step's rows over the paged cache: softmax(query . key / sqrt(head_dim)) times the values, for every
// row and query head, over the positions 0 to the row's own.
//
// Two ways. Decode (decode.cuh) takes any row: f32 throughout.
//   attend_ranges_FORMAT_HEADSxLENGTH: a block of 128 threads for each (range of 256 tokens of a row, key head, bundle of up
//     to 8 query heads that share the key head). 8 lanes (heads up to 64 elements) or 16 (longer) read a token's head, four
//     tokens ahead; every number read meets all heads of the bundle, whose queries lie in registers. All 256 scores come
//     first, so that the softmax of a range needs no running maximum.
//   merge_ranges: a block for each (row, query head) adds up a row's ranges in their order.
// Prefill (prefill.cuh) takes segments, rows of one sequence that follow each other, with heads of 64 or 128 elements: f16
// queries, keys, values and weights, f32 scores and sums, by the tensor cores.
//   attend_tiles_FORMAT_LENGTH: a block of 4 warps for each (64 pairs of a row and a query head, key head). The query heads
//     of a key head are pairs beside each other, so that a segment of 16 rows fills its tiles. A warp has 16 pairs: their
//     queries and sums in registers, weights go from one multiplication to the next without leaving them. Keys and values
//     come by tiles of 8 KiB each (32 or 64 tokens) through shared memory; q8_0 becomes f16 there.
// Ranges and tiles begin at fixed positions and are gone through in order; what a row does not see has weight 0, which
// changes no sum: so a row's bits depend on its position, not on its segment or company.
//
// Bytes moved. Decode: (position + 1) * kv_heads * 2 heads of a token (2 * head_dim bytes in f16, 1.0625 * head_dim in q8_0)
// for each row and bundle, and 4 * head_dim + 8 written and read for each range and query head: for a group of 5 another 8 %
// in f16, 15 % in q8_0, much of it in the L2 cache. Prefill: the same tokens once for each 64 pairs, most of it from there.
//
// T4 limits: no bf16, no cp.async: the next tile waits in registers; m16n8k8 is the widest f16 multiplication. 64 KiB of
// shared memory and 65536 registers a multiprocessor: 16 KiB and up to 220 registers a thread let 2 blocks of prefill share
// one; the launch bounds of decode are the blocks that its registers allow without spills (5 heads: 80 registers, 6 blocks,
// 24 of 32 warps). 16 conversions a clock: quants become f16 by integer operations in prefill, where each is used 64 times;
// in decode conversions keep up with the memory.
//
// Ladder, by what the compiler shows (instructions of the whole kernel, registers); times want a card.
//   decode, f16, 5 heads of 128   each dot summed over its lanes on its own        1752, 80, 131 shuffles
//                                 four tokens' dots summed together; reads of lanes
//                                 past an end moved to a place that is there      1584, 79,  76 shuffles
//   prefill, f16, 128             an index computed at each access, 3 blocks       72 bytes spilled
//                                 indices as one of two bases and a constant       44 bytes spilled, 190 unbounded
//                                 2 blocks, and the next tile read ahead           220, none spilled
#include "cuda/common.cuh"

#include "cache.cuh"
#include "decode.cuh"
#include "prefill.cuh"

#define CACHE_ARGUMENTS                                                                                              \
    const float *queries, const void *keys, const half *key_scales, const void *values, const half *value_scales,   \
        const uint32_t *positions, const uint32_t *table_starts, const uint32_t *tables
#define RANGES_ARGUMENTS                                                                                             \
    CACHE_ARGUMENTS, const uint32_t *ranges, float *sums, float2 *weights, uint32_t kv_heads, uint32_t group,       \
        uint32_t head_dim, float scale
#define RANGES_TASK                                                                                                  \
    {queries, {keys, key_scales}, {values, value_scales}, positions, table_starts, tables, ranges, sums, weights,   \
     int(kv_heads), int(group), int(head_dim), scale}
#define TILES_ARGUMENTS                                                                                              \
    CACHE_ARGUMENTS, const uint32_t *tiles, float *output, uint32_t kv_heads, uint32_t group, float scale
#define TILES_TASK                                                                                                   \
    {queries, {keys, key_scales}, {values, value_scales}, positions, table_starts, tables, tiles, output,           \
     int(kv_heads), int(group), scale}

extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_1x64(RANGES_ARGUMENTS) {
    attend_range<F16, 1, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_2x64(RANGES_ARGUMENTS) {
    attend_range<F16, 2, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_4x64(RANGES_ARGUMENTS) {
    attend_range<F16, 4, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_f16_5x64(RANGES_ARGUMENTS) {
    attend_range<F16, 5, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 5) attend_ranges_f16_6x64(RANGES_ARGUMENTS) {
    attend_range<F16, 6, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_f16_8x64(RANGES_ARGUMENTS) {
    attend_range<F16, 8, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_1x128(RANGES_ARGUMENTS) {
    attend_range<F16, 1, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_2x128(RANGES_ARGUMENTS) {
    attend_range<F16, 2, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_4x128(RANGES_ARGUMENTS) {
    attend_range<F16, 4, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_f16_5x128(RANGES_ARGUMENTS) {
    attend_range<F16, 5, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 5) attend_ranges_f16_6x128(RANGES_ARGUMENTS) {
    attend_range<F16, 6, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_f16_8x128(RANGES_ARGUMENTS) {
    attend_range<F16, 8, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_f16_1x256(RANGES_ARGUMENTS) {
    attend_range<F16, 1, 16, 2>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_f16_2x256(RANGES_ARGUMENTS) {
    attend_range<F16, 2, 16, 2>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_f16_4x256(RANGES_ARGUMENTS) {
    attend_range<F16, 4, 16, 2>(RANGES_TASK);
}

extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_1x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 1, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_2x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 2, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_4x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 4, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_q8_0_5x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 5, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 5) attend_ranges_q8_0_6x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 6, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_q8_0_8x64(RANGES_ARGUMENTS) {
    attend_range<Q8, 8, 8, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_1x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 1, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_2x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 2, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_4x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 4, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_q8_0_5x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 5, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 5) attend_ranges_q8_0_6x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 6, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_q8_0_8x128(RANGES_ARGUMENTS) {
    attend_range<Q8, 8, 16, 1>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 8) attend_ranges_q8_0_1x256(RANGES_ARGUMENTS) {
    attend_range<Q8, 1, 16, 2>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 6) attend_ranges_q8_0_2x256(RANGES_ARGUMENTS) {
    attend_range<Q8, 2, 16, 2>(RANGES_TASK);
}
extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 4) attend_ranges_q8_0_4x256(RANGES_ARGUMENTS) {
    attend_range<Q8, 4, 16, 2>(RANGES_TASK);
}

extern "C" __global__ void merge_ranges(const float *sums, const float2 *weights, const uint32_t *merges, float *output,
                                        uint32_t heads, uint32_t head_dim) {
    merge_range({sums, weights, merges, output, heads, head_dim});
}

extern "C" __global__ void __launch_bounds__(PREFILL_THREADS, 2) attend_tiles_f16_64(TILES_ARGUMENTS) {
    attend_tile<F16, 64>(TILES_TASK);
}
extern "C" __global__ void __launch_bounds__(PREFILL_THREADS, 2) attend_tiles_f16_128(TILES_ARGUMENTS) {
    attend_tile<F16, 128>(TILES_TASK);
}
extern "C" __global__ void __launch_bounds__(PREFILL_THREADS, 2) attend_tiles_q8_0_64(TILES_ARGUMENTS) {
    attend_tile<Q8, 64>(TILES_TASK);
}
extern "C" __global__ void __launch_bounds__(PREFILL_THREADS, 2) attend_tiles_q8_0_128(TILES_ARGUMENTS) {
    attend_tile<Q8, 128>(TILES_TASK);
}
