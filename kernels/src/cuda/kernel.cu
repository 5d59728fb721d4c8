// What the other kernels rely on, small enough to check by itself: exchanges between lanes, f16, integer dot products and
// the matrix unit. Tests run these on the emulator and on a card, and expect the same.
#include "cuda/common.cuh"

// One warp; 8 numbers a lane, [8, 32].
extern "C" __global__ void check_exchanges(uint32_t *found) {
    const uint32_t lane = threadIdx.x, value = 100 + lane;
    found[0 * WARP + lane] = __shfl_xor_sync(ALL_LANES, value, 5);
    found[1 * WARP + lane] = __shfl_down_sync(ALL_LANES, value, 3);
    found[2 * WARP + lane] = __shfl_up_sync(ALL_LANES, value, 3);
    found[3 * WARP + lane] = __shfl_sync(ALL_LANES, value, 7, 8);
    found[4 * WARP + lane] = __ballot_sync(ALL_LANES, lane % 3 == 0);
    uint32_t of_half = 0; // Each half of the warp by itself.
    if (lane < 16) of_half = __shfl_down_sync(0x0000ffffu, value, 1, 16);
    else of_half = __shfl_down_sync(0xffff0000u, value + 1000, 1, 16);
    __syncwarp();
    found[5 * WARP + lane] = of_half;
    found[6 * WARP + lane] = __any_sync(ALL_LANES, lane == 31) + 2 * __all_sync(ALL_LANES, lane < 31);
    found[7 * WARP + lane] = __dp4a(static_cast<int>(0x80ff7f01u + lane), 0x02030405, static_cast<int>(lane));
}

// The sum of `values` [threads] in every thread, by way of block_sum and of dynamic shared memory.
extern "C" __global__ void check_block(const float *values, float *sums) {
    DYNAMIC_SHARED(float, shared);
    shared[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    sums[threadIdx.x] = block_sum(shared[blockDim.x - 1 - threadIdx.x]);
}

// The bits of each f32 as f16, and of those as f32 again.
extern "C" __global__ void check_halves(const float *values, uint32_t *bits, float *back, uint32_t count) {
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    const half value = __float2half_rn(values[index]);
    bits[index] = __half_as_ushort(value);
    back[index] = __half2float(value);
}

// d [16, 8] += a [16, 8] b [8, 8], by one warp.
extern "C" __global__ void check_mma(const half *a, const half *b, float *d) {
    const uint32_t row = threadIdx.x / 4, pair = 2 * (threadIdx.x % 4);
    auto packed = [](half low, half high) { return uint32_t(__half_as_ushort(high)) << 16 | __half_as_ushort(low); };
    const uint32_t left[2] = {packed(a[row * 8 + pair], a[row * 8 + pair + 1]),
                              packed(a[(row + 8) * 8 + pair], a[(row + 8) * 8 + pair + 1])};
    const uint32_t right[1] = {packed(b[pair * 8 + row], b[(pair + 1) * 8 + row])};
    float sums[4] = {d[row * 8 + pair], d[row * 8 + pair + 1], d[(row + 8) * 8 + pair], d[(row + 8) * 8 + pair + 1]};
    mma_m16n8k8_f16(sums, left, right);
    d[row * 8 + pair] = sums[0];
    d[row * 8 + pair + 1] = sums[1];
    d[(row + 8) * 8 + pair] = sums[2];
    d[(row + 8) * 8 + pair + 1] = sums[3];
}

#ifdef TANDEM_EMULATOR // What would hang a card or break what lies beside.

// Half a warp waits for the block, the other half for the whole warp.
extern "C" __global__ void check_deadlock(uint32_t *found) {
    if (threadIdx.x < 16) __syncthreads();
    found[threadIdx.x] = __shfl_xor_sync(ALL_LANES, threadIdx.x, 1);
}

// Each lane writes past the end of `found`, or of an array.
extern "C" __global__ void check_bounds(uint32_t *found, uint32_t count, uint32_t index) {
    __shared__ uint32_t numbers[32];
    numbers[threadIdx.x + index] = threadIdx.x;
    found[count] = numbers[threadIdx.x];
}

#endif
