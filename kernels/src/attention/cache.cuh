// How the attention kernels read the paged cache: eight elements of one token's head at a time, whatever the format.

#pragma once

constexpr int WARPS = 4;
// Elements that are read at once: 16 bytes of f16, 8 bytes of q8_0.
constexpr int CHUNK = 8;

// 2^x, 0 where that is below f32's normal numbers; the card's own instruction without the steps for smaller ones.
__device__ __forceinline__ float power_of_2(float x) {
#ifdef TANDEM_EMULATOR
    return exp2f(x);
#else
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#endif
}

// The keys or the values of one layer.
struct Cached {
    const void *elements;  // [blocks, kv_heads, 16, head_dim]
    const half *scales;    // [blocks, kv_heads, 16, groups], q8_0 only
};

union HalfPair {
    uint32_t bits;
    __half2 halves;
};

__device__ __forceinline__ float2 floats_of(uint32_t bits) {
    HalfPair pair;
    pair.bits = bits;
    return __half22float2(pair.halves);
}

__device__ __forceinline__ uint32_t pair_of(float low, float high) {
    HalfPair pair;
    pair.halves = __floats2half2_rn(low, high);
    return pair.bits;
}

// Where a token's head is: in units of heads of tokens, [blocks, kv_heads, 16].
__device__ __forceinline__ size_t place_of(uint32_t block, int kv_heads, int kv_head, int slot) {
    return (size_t(block) * kv_heads + kv_head) * BLOCK_TOKENS + slot;
}

struct F16 {
    typedef uint4 Raw;

    __device__ static __forceinline__ Raw read(const Cached &cached, size_t place, int head_dim, int chunk) {
        const half *head = static_cast<const half *>(cached.elements) + place * head_dim;
        return reinterpret_cast<const uint4 *>(head)[chunk];
    }

    __device__ static __forceinline__ Raw zero() { return make_uint4(0, 0, 0, 0); }

    __device__ static __forceinline__ void to_floats(const Raw &raw, float (&numbers)[CHUNK]) {
        const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 two = floats_of(words[i]);
            numbers[2 * i] = two.x;
            numbers[2 * i + 1] = two.y;
        }
    }

    __device__ static __forceinline__ uint4 to_halves(const Raw &raw) { return raw; }
};

struct Q8 {
    struct Raw {
        uint2 quants;
        uint16_t scale;
    };

    __device__ static __forceinline__ Raw read(const Cached &cached, size_t place, int head_dim, int chunk) {
        const int groups = (head_dim + int(KV_GROUP) - 1) / int(KV_GROUP);
        const int8_t *head = static_cast<const int8_t *>(cached.elements) + place * head_dim;
        const uint16_t *scales = reinterpret_cast<const uint16_t *>(cached.scales) + place * groups;
        return {reinterpret_cast<const uint2 *>(head)[chunk], scales[chunk / (int(KV_GROUP) / CHUNK)]};
    }

    __device__ static __forceinline__ Raw zero() { return {make_uint2(0, 0), 0}; }

    __device__ static __forceinline__ void to_floats(const Raw &raw, float (&numbers)[CHUNK]) {
        const float scale = floats_of(raw.scale).x;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            numbers[i] = float(int8_t(raw.quants.x >> 8 * i)) * scale;
            numbers[4 + i] = float(int8_t(raw.quants.y >> 8 * i)) * scale;
        }
    }

    // The bits 0x6400 + b are the f16 1024 + b, so that a quant becomes an f16 without the slow conversion unit: b is
    // the quant + 128, and 1024 + 128 is taken off again, all of it exact. Only the product with the scale is rounded.
    __device__ static __forceinline__ uint4 to_halves(const Raw &raw) {
        // The largest scale that is written is 516, which 127 times is past f16's range: 515.5 is not.
        const uint32_t bits = raw.scale < 0x6007 ? raw.scale : 0x6007;
        const uint32_t scale = bits | bits << 16;
        return make_uint4(halves_of(raw.quants.x, scale), halves_of(raw.quants.x >> 16, scale),
                          halves_of(raw.quants.y, scale), halves_of(raw.quants.y >> 16, scale));
    }

    __device__ static __forceinline__ uint32_t halves_of(uint32_t quants, uint32_t scale) {
        HalfPair shifted, offset, factor, result;
        shifted.bits = ((quants & 0xff) | (quants & 0xff00) << 8) ^ 0x64806480;
        offset.bits = 0x64806480;
        factor.bits = scale;
        result.halves = __hmul2(__hsub2(shifted.halves, offset.halves), factor.halves);
        return result.bits;
    }
};
