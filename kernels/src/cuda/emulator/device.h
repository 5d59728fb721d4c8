// CUDA's words for the C++ compiler: what our kernel.cu use of the language, with the meaning that the card gives it.
//
// The threads of a block are fibers of one thread of the host, run in turn; one that waits (at a barrier, or for the other
// lanes of its warp) lets the next run. The last lane to come does a warp's exchange for all of them.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __restrict__ __restrict
// Blocks run one after another on a thread of the host, so that one copy a thread is one copy a block.
#define __shared__ static thread_local
#define __constant__ static const
#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulator::dynamic_shared())

#define CUDART_INF_F INFINITY
#define CUDART_NAN_F NAN

using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;
using uint = unsigned int;

struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned int x, y; };
struct alignas(16) uint4 { unsigned int x, y, z, w; };
struct char4 { signed char x, y, z, w; };
struct uchar4 { unsigned char x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return {x, y, z, w}; }
inline char4 make_char4(signed char x, signed char y, signed char z, signed char w) { return {x, y, z, w}; }

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulator {
// What the lanes of a warp do together.
enum class Exchange : uint32_t { none, wait, any, all, ballot, index, up, down, mirror, mma };

constexpr int WORDS_MAX = 8;
struct Trade {
    Exchange what = Exchange::none;
    uint32_t mask = 0;
    uint32_t detail = 0; // Lane or distance.
    uint32_t width = 32;
    uint32_t given[WORDS_MAX] = {};
    uint32_t taken[WORDS_MAX] = {};
};

void *dynamic_shared();
void wait_for_block();
void exchange(Trade &trade);

template <typename T> T shuffle(Exchange what, uint32_t mask, T value, uint32_t detail, int width) {
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    Trade trade;
    trade.what = what;
    trade.mask = mask;
    trade.detail = detail;
    trade.width = static_cast<uint32_t>(width);
    memcpy(trade.given, &value, sizeof(T));
    exchange(trade);
    memcpy(&value, trade.taken, sizeof(T));
    return value;
}

inline uint32_t vote(Exchange what, uint32_t mask, bool value) {
    Trade trade;
    trade.what = what;
    trade.mask = mask;
    trade.given[0] = value;
    exchange(trade);
    return trade.taken[0];
}

uint16_t half_bits(double value);
float half_value(uint16_t bits);
} // namespace emulator

inline void __syncthreads() { emulator::wait_for_block(); }
inline void __syncwarp(uint32_t mask = 0xffffffffu) { emulator::vote(emulator::Exchange::wait, mask, false); }
inline int __any_sync(uint32_t mask, int value) { return emulator::vote(emulator::Exchange::any, mask, value) != 0; }
inline int __all_sync(uint32_t mask, int value) { return emulator::vote(emulator::Exchange::all, mask, value) != 0; }
inline uint32_t __ballot_sync(uint32_t mask, int value) {
    return emulator::vote(emulator::Exchange::ballot, mask, value);
}
template <typename T> T __shfl_sync(uint32_t mask, T value, int lane, int width = 32) {
    return emulator::shuffle(emulator::Exchange::index, mask, value, static_cast<uint32_t>(lane), width);
}
template <typename T> T __shfl_up_sync(uint32_t mask, T value, uint32_t distance, int width = 32) {
    return emulator::shuffle(emulator::Exchange::up, mask, value, distance, width);
}
template <typename T> T __shfl_down_sync(uint32_t mask, T value, uint32_t distance, int width = 32) {
    return emulator::shuffle(emulator::Exchange::down, mask, value, distance, width);
}
template <typename T> T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32) {
    return emulator::shuffle(emulator::Exchange::mirror, mask, value, static_cast<uint32_t>(lanes), width);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// d += a b over a warp: see common.cuh for who holds what.
inline void mma_m16n8k8_f16(float d[4], const uint32_t a[2], const uint32_t b[1]) {
    emulator::Trade trade;
    trade.what = emulator::Exchange::mma;
    trade.mask = 0xffffffffu;
    memcpy(trade.given, a, 8);
    memcpy(trade.given + 2, b, 4);
    memcpy(trade.given + 3, d, 16);
    emulator::exchange(trade);
    memcpy(d, trade.taken, 16);
}

template <typename T> T __ldg(const T *place) { return *place; }
template <typename T> T __ldcs(const T *place) { return *place; }
template <typename T> void __stcs(T *place, T value) { *place = value; }

inline int __dp4a(int a, int b, int sum) {
    for (int byte = 0; byte < 4; byte++)
        sum += static_cast<int8_t>(a >> (8 * byte)) * static_cast<int8_t>(b >> (8 * byte));
    return sum;
}

inline float __int_as_float(int bits) { float value; memcpy(&value, &bits, 4); return value; }
inline int __float_as_int(float value) { int bits; memcpy(&bits, &value, 4); return bits; }
inline float __uint_as_float(uint32_t bits) { float value; memcpy(&value, &bits, 4); return value; }
inline uint32_t __float_as_uint(float value) { uint32_t bits; memcpy(&bits, &value, 4); return bits; }
inline int __float2int_rn(float value) { return static_cast<int>(rintf(value)); }
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float value) { return sqrtf(value); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __expf(float value) { return expf(value); }
inline float __logf(float value) { return logf(value); }
inline float __saturatef(float value) { return fminf(fmaxf(value, 0.0f), 1.0f); }

template <typename T> T min(T a, T b) { return b < a ? b : a; }
template <typename T> T max(T a, T b) { return a < b ? b : a; }

// Fibers do not run at once, so that a plain operation is atomic.
template <typename T> T atomicAdd(T *place, T value) { T old = *place; *place = old + value; return old; }
template <typename T> T atomicMax(T *place, T value) { T old = *place; *place = old < value ? value : old; return old; }
template <typename T> T atomicMin(T *place, T value) { T old = *place; *place = value < old ? value : old; return old; }
template <typename T> T atomicExch(T *place, T value) { T old = *place; *place = value; return old; }
template <typename T> T atomicCAS(T *place, T expected, T value) {
    T old = *place;
    if (old == expected) *place = value;
    return old;
}

// f16: stored in 16 bits, computed in f32 and rounded to nearest even after every operation, as the card does.
struct alignas(2) __half {
    uint16_t bits;
    __half() = default;
    __half(float value) : bits(emulator::half_bits(value)) {}
    operator float() const { return emulator::half_value(bits); }
};
using half = __half;
struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(__half x, __half y) : x(x), y(y) {}
};
using half2 = __half2;

inline __half __float2half(float value) { return __half(value); }
inline __half __float2half_rn(float value) { return __half(value); }
inline float __half2float(__half value) { return emulator::half_value(value.bits); }
inline __half __ushort_as_half(unsigned short bits) { __half value; value.bits = bits; return value; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half2 __halves2half2(__half x, __half y) { return __half2(x, y); }
inline __half2 make_half2(__half x, __half y) { return __half2(x, y); }
inline __half2 __half2half2(__half value) { return __half2(value, value); }
inline __half2 __float2half2_rn(float value) { return __half2(__half(value), __half(value)); }
inline __half2 __floats2half2_rn(float x, float y) { return __half2(__half(x), __half(y)); }
inline __half2 __float22half2_rn(float2 value) { return __floats2half2_rn(value.x, value.y); }
inline float2 __half22float2(__half2 value) { return {float(value.x), float(value.y)}; }
inline __half __low2half(__half2 value) { return value.x; }
inline __half __high2half(__half2 value) { return value.y; }
inline float __low2float(__half2 value) { return value.x; }
inline float __high2float(__half2 value) { return value.y; }
inline __half __hadd(__half a, __half b) { return __half(float(a) + float(b)); }
inline __half __hsub(__half a, __half b) { return __half(float(a) - float(b)); }
inline __half __hmul(__half a, __half b) { return __half(float(a) * float(b)); }
inline __half __hneg(__half a) { return __half(-float(a)); }
inline __half __hmax(__half a, __half b) { return __half(fmaxf(a, b)); }
inline __half __hfma(__half a, __half b, __half c) {
    // The product is exact in 64 bits, and so is the sum but for additions that lie far below: one rounding counts.
    __half result;
    result.bits = emulator::half_bits(double(float(a)) * double(float(b)) + double(float(c)));
    return result;
}
inline __half2 __hadd2(__half2 a, __half2 b) { return __half2(__hadd(a.x, b.x), __hadd(a.y, b.y)); }
inline __half2 __hsub2(__half2 a, __half2 b) { return __half2(__hsub(a.x, b.x), __hsub(a.y, b.y)); }
inline __half2 __hmul2(__half2 a, __half2 b) { return __half2(__hmul(a.x, b.x), __hmul(a.y, b.y)); }
inline __half2 __hmax2(__half2 a, __half2 b) { return __half2(__hmax(a.x, b.x), __hmax(a.y, b.y)); }
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) { return __half2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)); }

namespace emulator {
using Kernel = void (*)(void **arguments);
struct Entry {
    const char *name;
    Kernel run;
    uint32_t arguments;
};

// Unpacks the arguments of a kernel as its declaration has them.
template <auto function> struct Invoke;
template <typename... Arguments, void (*function)(Arguments...)> struct Invoke<function> {
    static constexpr uint32_t count = sizeof...(Arguments);
    template <size_t... at> static void apply(void **arguments, std::index_sequence<at...>) {
        function(*static_cast<std::remove_cv_t<Arguments> *>(arguments[at])...);
    }
    static void run(void **arguments) { apply(arguments, std::make_index_sequence<count>()); }
};
#define EMULATOR_ENTRY(name, function) {name, emulator::Invoke<function>::run, emulator::Invoke<function>::count}

// All kernels, closed by an entry without a name; written by build.rs.
extern const Entry ENTRIES[];
} // namespace emulator
