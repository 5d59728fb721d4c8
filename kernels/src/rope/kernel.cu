// Bias, rotation and the KV cache: what happens between the projections and attention.
//
// rope_angles: one thread an angle, once a step. turn_and_store: one block of 128 threads a head of a row (the query heads,
// then the key heads, then the value heads); the head lies in shared memory while its pairs turn. Queries are turned in
// place, keys and values go into the cache. Bytes moved: 8 an element of the queries, 4 + 2 (f16) or 4 + 1.06 (q8_0) an
// element of the keys and values.
#include "cuda/common.cuh"

constexpr uint32_t HEAD_DIM_MAX = 256;

// angles[row][i] = magnitude * (cosine, sine) of positions[row] * frequencies[i]; a row is blockIdx.y.
extern "C" __global__ void rope_angles(const uint32_t *positions, const float *frequencies, float magnitude, uint32_t pairs,
                                       float2 *angles) {
    const uint32_t pair = blockIdx.x * blockDim.x + threadIdx.x;
    if (pair >= pairs) return;
    float sine, cosine;
    // The angle is an f32 product, as where the models were trained.
    sincosf(__fmul_rn(static_cast<float>(positions[blockIdx.y]), frequencies[pair]), &sine, &cosine);
    angles[size_t(blockIdx.y) * pairs + pair] = make_float2(cosine * magnitude, sine * magnitude);
}

// What f16 holds: what lies in the cache is finite, which attention counts on.
__device__ __forceinline__ float bounded(float value) {
    return isnan(value) ? F16_LARGEST : fminf(fmaxf(value, -F16_LARGEST), F16_LARGEST);
}

__device__ __forceinline__ void store_f16(const float *head, uint32_t head_dim, half *stored) {
    for (uint32_t i = threadIdx.x; i < head_dim; i += blockDim.x) stored[i] = __float2half_rn(bounded(head[i]));
}

// A warp takes 32 elements at a time, which share a scale; the last group of a head may be shorter.
__device__ __forceinline__ void store_q8_0(const float *head, uint32_t head_dim, int8_t *stored, half *scales) {
    for (uint32_t i = threadIdx.x; i / KV_GROUP * KV_GROUP < head_dim; i += blockDim.x) {
        const float value = i < head_dim ? bounded(head[i]) : 0.0f;
        const half scale = __float2half_rn(warp_max(fabsf(value)) / 127.0f);
        // Quants are rounded for the scale as it is stored; one that is too small for f16 is 0, and so are its quants.
        const float step = __half2float(scale);
        const float quant = step > 0.0f ? value / step : 0.0f;
        if (i < head_dim) stored[i] = static_cast<int8_t>(rintf(fminf(fmaxf(quant, -127.0f), 127.0f)));
        if (i % KV_GROUP == 0) scales[i / KV_GROUP] = scale;
    }
}

// * queries [rows, heads, head_dim], turned in place; keys, values [rows, kv_heads, head_dim]
// * biases: null, or one number for each element of a row
// * angles [rows, head_dim / 2]; are_neighbours: pairs are (2i, 2i + 1), else (i, i + head_dim / 2)
// * cached keys and values [blocks, kv_heads, 16, head_dim], their scales [blocks, kv_heads, 16, groups] or null for f16
extern "C" __global__ void turn_and_store(float *queries, const float *keys, const float *values, const float *query_bias,
                                          const float *key_bias, const float *value_bias, const float2 *angles,
                                          uint32_t are_neighbours, const uint32_t *positions, const uint32_t *table_starts,
                                          const uint32_t *tables, void *cached_keys, half *key_scales, void *cached_values,
                                          half *value_scales, uint32_t heads, uint32_t kv_heads, uint32_t head_dim) {
    __shared__ float turned[HEAD_DIM_MAX];
    const uint32_t row = blockIdx.y;
    const bool is_query = blockIdx.x < heads, is_key = !is_query && blockIdx.x < heads + kv_heads;
    const uint32_t head = blockIdx.x - (is_query ? 0 : is_key ? heads : heads + kv_heads);
    const float *source = is_query ? queries : is_key ? keys : values;
    const float *bias = is_query ? query_bias : is_key ? key_bias : value_bias;
    const size_t at = (size_t(row) * (is_query ? heads : kv_heads) + head) * head_dim;

    for (uint32_t i = threadIdx.x; i < head_dim; i += blockDim.x)
        turned[i] = source[at + i] + (bias ? bias[head * head_dim + i] : 0.0f);
    __syncthreads();
    if (is_query || is_key) {
        const uint32_t pairs = head_dim / 2;
        for (uint32_t pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
            const uint32_t first = are_neighbours ? 2 * pair : pair, second = are_neighbours ? first + 1 : pair + pairs;
            const float2 angle = angles[size_t(row) * pairs + pair];
            const float x = turned[first], y = turned[second];
            turned[first] = x * angle.x - y * angle.y;
            turned[second] = x * angle.y + y * angle.x;
        }
        __syncthreads();
    }
    if (is_query) {
        for (uint32_t i = threadIdx.x; i < head_dim; i += blockDim.x) queries[at + i] = turned[i];
        return;
    }
    const uint32_t position = positions[row], block = tables[table_starts[row] + position / BLOCK_TOKENS];
    const size_t token = (size_t(block) * kv_heads + head) * BLOCK_TOKENS + position % BLOCK_TOKENS;
    void *cached = is_key ? cached_keys : cached_values;
    half *scales = is_key ? key_scales : value_scales;
    if (scales)
        store_q8_0(turned, head_dim, static_cast<int8_t *>(cached) + token * head_dim,
                   scales + token * ((head_dim + KV_GROUP - 1) / KV_GROUP));
    else
        store_f16(turned, head_dim, static_cast<half *>(cached) + token * head_dim);
}
