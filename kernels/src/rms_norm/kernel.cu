// Root-mean-square normalisation: output = input / sqrt(mean(input^2) + epsilon) * weight, row by row.
//
// One block a row, a number of threads that follows from the row's length alone, so that a row's sum has one order whatever
// is beside it. Bytes moved: 12 an element (the second reading comes from the cache), 8 more with the residual addition,
// 9 / 8 more with the 8-bit form. Rows of one head each are normalised in place: a thread reads only what it writes itself.
#include "cuda/common.cuh"

// The row's factor. With `sum`, input += sum comes first.
template <bool ADDS>
__device__ __forceinline__ float row_factor(float *input, const float *sum, float epsilon, uint32_t columns) {
    float square = 0.0f;
    for (uint32_t column = threadIdx.x; column < columns; column += blockDim.x) {
        float value = input[column];
        if (ADDS) {
            value += sum[column];
            input[column] = value;
        }
        square += value * value;
    }
    return 1.0f / sqrtf(block_sum(square) / static_cast<float>(columns) + epsilon);
}

// Writes the row, and its 8-bit form if `blocks` is a place: `padded` columns, those past the row's end zeros.
__device__ __forceinline__ void write_row(const float *input, const float *weight, float factor, uint32_t columns,
                                          float *output, Q8_1 *blocks, uint32_t padded) {
    const uint32_t end = blocks ? padded : columns;
    for (uint32_t column = threadIdx.x; column < end; column += blockDim.x) {
        const float value = column < columns ? input[column] * factor * weight[column] : 0.0f;
        if (column < columns) output[column] = value;
        if (blocks) write_q8_1(blocks + column / WARP, value);
    }
}

// `input` and `output` may be the same rows; `blocks` is null or [rows, padded / 32].
extern "C" __global__ void rms_norm(const float *input, const float *weight, float epsilon, uint32_t columns, float *output,
                                    Q8_1 *blocks, uint32_t padded) {
    const size_t row = blockIdx.x;
    const float *from = input + row * columns;
    const float factor = row_factor<false>(const_cast<float *>(from), nullptr, epsilon, columns);
    write_row(from, weight, factor, columns, output + row * columns, blocks ? blocks + row * (padded / WARP) : nullptr,
              padded);
}

// hidden += sum, then as above.
extern "C" __global__ void add_rms_norm(float *hidden, const float *sum, const float *weight, float epsilon,
                                        uint32_t columns, float *output, Q8_1 *blocks, uint32_t padded) {
    const size_t row = blockIdx.x;
    float *from = hidden + row * columns;
    const float factor = row_factor<true>(from, sum + row * columns, epsilon, columns);
    write_row(from, weight, factor, columns, output + row * columns, blocks ? blocks + row * (padded / WARP) : nullptr,
              padded);
}
