// Products with plain weights, and the 8-bit form of activations; products with quantised weights are candle's kernels.
//
// product_*: one warp an output, four to a block, an activation row along y; a lane's sum and the warp's have one order.
// Reads the weights once for each activation row: for the small matrices that are not quantised.
// quantise_q8_1: one warp 32 values. Bytes moved: 4 + 36 / 32 a value.
#include "cuda/common.cuh"

__device__ __forceinline__ float value_of(float value) { return value; }
__device__ __forceinline__ float value_of(half value) { return __half2float(value); }
struct Bf16 {
    uint16_t bits;
};
__device__ __forceinline__ float value_of(Bf16 value) { return __uint_as_float(uint32_t(value.bits) << 16); }

template <typename Weight>
__device__ __forceinline__ void product(const Weight *weights, const float *activations, float *output, uint32_t rows,
                                        uint32_t columns) {
    const uint32_t row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return; // The whole warp.
    const Weight *weight = weights + size_t(row) * columns;
    const float *activation = activations + size_t(blockIdx.y) * columns;
    float sum = 0.0f;
    for (uint32_t column = lane; column < columns; column += WARP) sum += value_of(weight[column]) * activation[column];
    sum = warp_sum(sum);
    if (lane == 0) output[size_t(blockIdx.y) * rows + row] = sum;
}

extern "C" __global__ void product_f32(const float *weights, const float *activations, float *output, uint32_t rows,
                                       uint32_t columns) {
    product(weights, activations, output, rows, columns);
}

extern "C" __global__ void product_f16(const half *weights, const float *activations, float *output, uint32_t rows,
                                       uint32_t columns) {
    product(weights, activations, output, rows, columns);
}

extern "C" __global__ void product_bf16(const Bf16 *weights, const float *activations, float *output, uint32_t rows,
                                        uint32_t columns) {
    product(weights, activations, output, rows, columns);
}

// blocks [rows, padded / 32] of values [rows, columns]; columns past the row's end are zeros. A row is blockIdx.y.
extern "C" __global__ void quantise_q8_1(const float *values, uint32_t columns, Q8_1 *blocks, uint32_t padded) {
    const size_t row = blockIdx.y;
    const uint32_t column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= padded) return; // The whole warp.
    const float value = column < columns ? values[row * columns + column] : 0.0f;
    write_q8_1(blocks + row * (padded / WARP) + column / WARP, value);
}
