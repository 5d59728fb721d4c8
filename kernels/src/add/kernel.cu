// Element by element additions: the residual and the biases.
//
// One thread an element, 256 to a block. Bytes moved: 12 an element (two read, one written).
#include "cuda/common.cuh"

// sums[i] += values[i]
extern "C" __global__ void add(float *sums, const float *values, uint32_t count) {
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count) sums[index] += values[index];
}

// rows[row][column] += bias[column]; a row is blockIdx.y.
extern "C" __global__ void add_bias(float *rows, const float *bias, uint32_t columns) {
    const uint32_t column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column < columns) rows[size_t(blockIdx.y) * columns + column] += bias[column];
}
