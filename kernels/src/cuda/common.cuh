// What every kernel.cu begins with: under nvcc CUDA's own headers, under the C++ compiler the emulator's; then what our
// kernels share. Kernels are `extern "C" __global__`, started by name, and declare dynamic shared memory by
// DYNAMIC_SHARED(type, name). All kernel.cu are compiled as one, each in a namespace of its own.
//
// The T4 limits that all lean on: compute capability 7.5, 48 KiB of shared memory a block (64 if asked for), no bf16
// arithmetic, mma of m16n8k8 in f16.
#pragma once

#ifdef TANDEM_EMULATOR
#include "emulator/device.h"
#else
#include <cuda_fp16.h>
#include <float.h>
#include <math_constants.h>
#include <stdint.h>

#define DYNAMIC_SHARED(type, name)                                                                                       \
    extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];                                               \
    type *name = reinterpret_cast<type *>(dynamic_shared_bytes)

// d += a b for a 16x8 (row), b 8x8 (column) of f16 and d 16x8 of f32, held by the 32 lanes of a warp. With
// row = lane / 4 and pair = lane % 4:
//   a[0] = A[row][2 pair, + 1], a[1] = A[row + 8][2 pair, + 1]
//   b[0] = B[2 pair, + 1][row]
//   d[0, 1] = D[row][2 pair, + 1], d[2, 3] = D[row + 8][2 pair, + 1]
// Source: PTX ISA, matrix fragments for mma.m16n8k8.
__device__ __forceinline__ void mma_m16n8k8_f16(float d[4], const uint32_t a[2], const uint32_t b[1]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}
#endif

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffffu;
constexpr uint32_t BLOCK_TOKENS = 16; // Tokens of a cache block.
constexpr uint32_t KV_GROUP = 32;     // Elements that share a scale in a q8_0 cache.
constexpr float F16_LARGEST = 65504.0f;

// The sum over a warp, the same in every lane, added in the same order whatever the warp does else.
__device__ __forceinline__ float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
}

// The sum over a block of whole warps, the same in every thread: warps first, then their sums in order.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float sums[32];
    value = warp_sum(value);
    __syncthreads(); // Who still reads the sums of a call before.
    if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0.0f;
    for (uint32_t warp = 0; warp < blockDim.x / WARP; warp++) sum += sums[warp];
    return sum;
}

// 32 activations in 8 bits, as MMVQ reads them: the scale, the sum of the values before rounding, the integers.
struct Q8_1 {
    half scale;
    half sum;
    int8_t quants[32];
};
static_assert(sizeof(Q8_1) == 36, "a Q8_1 block has 36 bytes");

// Writes the block whose element `lane` is `value`; all lanes of a warp call it.
__device__ __forceinline__ void write_q8_1(Q8_1 *block, float value) {
    const uint32_t lane = threadIdx.x % WARP;
    // Magnitudes are compared by their bits, in whose order a NaN is the largest: fmaxf would drop it.
    uint32_t magnitude = __float_as_uint(fabsf(value));
    for (int step = 16; step > 0; step /= 2) magnitude = max(magnitude, __shfl_xor_sync(ALL_LANES, magnitude, step));
    const float largest = __uint_as_float(magnitude);
    const float sum = warp_sum(value);
    const float scale = largest / 127.0f;
    block->quants[lane] = largest == 0.0f ? 0 : static_cast<int8_t>(roundf(value / scale));
    if (lane == 0) {
        block->scale = __float2half_rn(scale);
        block->sum = __float2half_rn(sum);
    }
}
