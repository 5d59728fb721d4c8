// The gated activation of the feed-forward layer: output = gate / (1 + e^-gate) * up.
//
// One thread an element, 256 to a block, a row along y. Bytes moved: 12 an element, 9 / 8 more with the 8-bit form.
#include "cuda/common.cuh"

// `blocks` is null or [rows, padded / 32]; columns past the row's end are zeros there.
extern "C" __global__ void swiglu(const float *gate, const float *up, uint32_t columns, float *output, Q8_1 *blocks,
                                  uint32_t padded) {
    const size_t row = blockIdx.y;
    const uint32_t column = blockIdx.x * blockDim.x + threadIdx.x;
    float value = 0.0f;
    if (column < columns) {
        const float x = gate[row * columns + column];
        value = x / (1.0f + expf(-x)) * up[row * columns + column];
        output[row * columns + column] = value;
    }
    // Whole warps are within or past the padded row: its length is a multiple of 32.
    if (blocks && column < padded) write_q8_1(blocks + row * (padded / WARP) + column / WARP, value);
}
