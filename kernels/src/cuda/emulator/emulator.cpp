// Runs the blocks of a kernel one after another, and the threads of a block as fibers in turn.
//
// A fiber runs until it waits. A barrier opens when every thread that has not returned is there. Where nobody can go on the
// program ends and says who waits for what: on a card it would hang.

#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__) && defined(__linux__)
#define OWN_SWITCH // Without a system call at every switch, which the usual one makes.
#else
#include <ucontext.h>
#endif

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {
namespace {

constexpr size_t STACK_BYTES = 128 << 10;
constexpr size_t SHARED_BYTES = 64 << 10; // A whole number of pages.
constexpr uint32_t WARP = 32;
constexpr uint64_t CANARY = 0x7461'6e64'656d'2121;

enum class State { ready, at_barrier, trading, returned };

// Where a fiber left off.
#ifdef OWN_SWITCH
struct Context {
    void *stack = nullptr;
};
#else
struct Context {
    ucontext_t context;
};
#endif

struct Fiber {
    Context context;
    std::unique_ptr<unsigned char[]> stack;
    State state = State::returned;
    dim3 index;
    Trade *trade = nullptr;
};

struct Machine {
    std::vector<Fiber> fibers;
    Context scheduler;
    uint32_t threads = 0;
    uint32_t current = 0;
    uint32_t unfinished = 0;
    uint32_t at_barrier = 0;
    Kernel kernel = nullptr;
    const char *name = "";
    void **arguments = nullptr;
    unsigned char *shared_pages = nullptr; // SHARED_BYTES, then a page that nobody may touch.
    unsigned char *shared = nullptr;       // The block's, which ends where they do.

    Machine() {
        const size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        void *pages = mmap(nullptr, SHARED_BYTES + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) abort();
        shared_pages = static_cast<unsigned char *>(pages);
        mprotect(shared_pages + SHARED_BYTES, guard, PROT_NONE);
    }
};
thread_local std::unique_ptr<Machine> machine;

// Says which kernel touched what it may not: the guard after a buffer or after dynamic shared memory, or (by a trap that
// the compiler put there) an element past an array's end. Then the program ends as it would have without this.
void on_fault(int signal, siginfo_t *what, void *) {
    struct sigaction usual = {};
    usual.sa_handler = SIG_DFL;
    sigaction(signal, &usual, nullptr);
    const Machine *m = machine.get();
    if (m && m->unfinished > 0) {
        char text[400];
        const int length = snprintf(text, sizeof text,
                                    "emulator: %s, in %s, block (%u, %u, %u), thread %u, address %p\n",
                                    signal == SIGSEGV ? "memory past a buffer's end, or of no buffer, was touched"
                                                      : "an element past an array's end was touched",
                                    m->name, blockIdx.x, blockIdx.y, blockIdx.z, m->current, what->si_addr);
        if (write(2, text, static_cast<size_t>(length)) < 0) _exit(1);
    }
    raise(signal);
}

// Once a process.
bool watch() {
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    for (int signal : {SIGSEGV, SIGBUS, SIGILL}) sigaction(signal, &action, nullptr);
    return true;
}

[[noreturn]] void give_up(const char *why) {
    Machine &m = *machine;
    fprintf(stderr, "emulator: %s, in %s, block (%u, %u, %u)\n", why, m.name, blockIdx.x, blockIdx.y, blockIdx.z);
    const char *states[] = {"can run", "is at the barrier", "waits for its warp", "has returned"};
    for (uint32_t thread = 0; thread < m.threads; thread++) {
        const Fiber &fiber = m.fibers[thread];
        fprintf(stderr, "  thread %u %s", thread, states[static_cast<int>(fiber.state)]);
        if (fiber.state == State::trading)
            fprintf(stderr, " (exchange %u, mask %08x)", static_cast<uint32_t>(fiber.trade->what), fiber.trade->mask);
        fprintf(stderr, "\n");
    }
    abort();
}

void fiber_main();

#ifdef OWN_SWITCH
// Saves what a call must keep, and goes on where `to` left off.
extern "C" void emulator_switch(void **from, void *to);
asm(R"(
.text
.p2align 4
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");

void switch_to(Context &from, Context &to) { emulator_switch(&from.stack, to.stack); }

void prepare(Fiber &fiber) {
    auto end = reinterpret_cast<uintptr_t>(fiber.stack.get() + STACK_BYTES) & ~uintptr_t(15);
    auto top = reinterpret_cast<uint64_t *>(end);
    *--top = 0; // Keeps the stack as a call would leave it.
    *--top = reinterpret_cast<uint64_t>(&fiber_main);
    for (int saved = 0; saved < 6; saved++) *--top = 0;
    fiber.context.stack = top;
}
#else
void switch_to(Context &from, Context &to) { swapcontext(&from.context, &to.context); }

void prepare(Fiber &fiber) {
    getcontext(&fiber.context.context);
    fiber.context.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.context.uc_link = nullptr;
    makecontext(&fiber.context.context, fiber_main, 0);
}
#endif

void resume(uint32_t thread) {
    Machine &m = *machine;
    m.current = thread;
    threadIdx = m.fibers[thread].index;
    switch_to(m.scheduler, m.fibers[thread].context);
}

void leave() {
    Machine &m = *machine;
    switch_to(m.fibers[m.current].context, m.scheduler);
}

void fiber_main() {
    Machine &m = *machine;
    m.kernel(m.arguments);
    m.fibers[m.current].state = State::returned;
    m.unfinished--;
    leave();
    abort();
}

void run_block() {
    Machine &m = *machine;
    for (uint32_t thread = 0; thread < m.threads; thread++) {
        Fiber &fiber = m.fibers[thread];
        memcpy(fiber.stack.get(), &CANARY, sizeof CANARY);
        fiber.state = State::ready;
        fiber.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
        prepare(fiber);
    }
    m.unfinished = m.threads;
    m.at_barrier = 0;
    while (m.unfinished > 0) {
        bool moved = false;
        for (uint32_t thread = 0; thread < m.threads; thread++) {
            if (m.fibers[thread].state == State::ready) {
                moved = true;
                resume(thread);
            }
        }
        if (m.at_barrier > 0 && m.at_barrier == m.unfinished) {
            for (uint32_t thread = 0; thread < m.threads; thread++)
                if (m.fibers[thread].state == State::at_barrier) m.fibers[thread].state = State::ready;
            m.at_barrier = 0;
            moved = true;
        }
        if (!moved) give_up("nobody can go on: a barrier or an exchange that not all threads reach");
    }
    for (uint32_t thread = 0; thread < m.threads; thread++) {
        uint64_t canary;
        memcpy(&canary, m.fibers[thread].stack.get(), sizeof canary);
        if (canary != CANARY) give_up("a thread's stack overflowed");
    }
}

// The lane that `lane` reads from, or `lane` where there is none.
uint32_t source(const Trade &trade, uint32_t lane) {
    const uint32_t width = trade.width, start = lane / width * width;
    uint32_t other = lane;
    switch (trade.what) {
    case Exchange::index: return start + trade.detail % width;
    case Exchange::up: other = lane - trade.detail; return lane < start + trade.detail ? lane : other;
    case Exchange::down: other = lane + trade.detail; break;
    case Exchange::mirror: other = lane ^ trade.detail; break;
    default: break;
    }
    return other < start + width ? other : lane;
}

// The 16x8 times 8x8 product of a warp, added up in f32 from the first column to the last.
void mma(Trade *trades[WARP]) {
    float a[16][8], b[8][8], d[16][8];
    auto each = [&](auto visit) {
        for (uint32_t lane = 0; lane < WARP; lane++) visit(*trades[lane], lane / 4, 2 * (lane % 4));
    };
    auto low = [](uint32_t pair) { return half_value(static_cast<uint16_t>(pair)); };
    auto high = [](uint32_t pair) { return half_value(static_cast<uint16_t>(pair >> 16)); };
    each([&](Trade &trade, uint32_t row, uint32_t column) {
        for (uint32_t half = 0; half < 2; half++) {
            a[row + 8 * half][column] = low(trade.given[half]);
            a[row + 8 * half][column + 1] = high(trade.given[half]);
            memcpy(&d[row + 8 * half][column], &trade.given[3 + 2 * half], 8);
        }
        b[column][row] = low(trade.given[2]);
        b[column + 1][row] = high(trade.given[2]);
    });
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++)
            for (int k = 0; k < 8; k++) d[row][column] += a[row][k] * b[k][column];
    each([&](Trade &trade, uint32_t row, uint32_t column) {
        for (uint32_t half = 0; half < 2; half++) memcpy(&trade.taken[2 * half], &d[row + 8 * half][column], 8);
    });
}

void trade_all(Trade *trades[WARP], uint32_t mask) {
    Trade &first = *trades[__builtin_ctz(mask)];
    if (first.what == Exchange::mma) return mma(trades);
    uint32_t ballot = 0;
    for (uint32_t lane = 0; lane < WARP; lane++)
        if (mask >> lane & 1 && trades[lane]->given[0]) ballot |= 1u << lane;
    for (uint32_t lane = 0; lane < WARP; lane++) {
        if (!(mask >> lane & 1)) continue;
        Trade &trade = *trades[lane];
        switch (trade.what) {
        case Exchange::wait: break;
        case Exchange::any: trade.taken[0] = ballot != 0; break;
        case Exchange::all: trade.taken[0] = ballot == mask; break;
        case Exchange::ballot: trade.taken[0] = ballot; break;
        default:
            const uint32_t other = source(trade, lane);
            if (!(mask >> other & 1)) give_up("a shuffle reads a lane that is not in its mask");
            std::copy_n(trades[other]->given, WORDS_MAX, trade.taken);
        }
    }
}

} // namespace

void *dynamic_shared() { return machine->shared; }

void wait_for_block() {
    Machine &m = *machine;
    m.fibers[m.current].state = State::at_barrier;
    m.at_barrier++;
    leave();
}

void exchange(Trade &trade) {
    Machine &m = *machine;
    const uint32_t thread = m.current, first = thread / WARP * WARP, lane = thread % WARP;
    const uint32_t lanes = std::min(WARP, m.threads - first);
    const uint32_t mask = lanes == WARP ? trade.mask : trade.mask & ((1u << lanes) - 1);
    if (!(mask >> lane & 1)) give_up("a lane is not in the mask of its own exchange");
    Fiber &own = m.fibers[thread];
    own.state = State::trading;
    own.trade = &trade;
    Trade *trades[WARP] = {};
    for (uint32_t other = 0; other < lanes; other++) {
        if (!(mask >> other & 1)) continue;
        const Fiber &fiber = m.fibers[first + other];
        if (fiber.state == State::returned) give_up("an exchange names a lane that has returned");
        if (fiber.state != State::trading) return leave();
        if (fiber.trade->what != trade.what || fiber.trade->mask != trade.mask) return leave();
        trades[other] = fiber.trade;
    }
    if (trade.what == Exchange::mma && lanes < WARP) give_up("an mma needs a whole warp");
    trade_all(trades, mask);
    for (uint32_t other = 0; other < lanes; other++)
        if (mask >> other & 1) m.fibers[first + other].state = State::ready;
}

uint16_t half_bits(double value) {
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::fabs(value);
    if (std::isnan(value)) return 0x7fff;
    if (magnitude == 0.0) return sign;
    if (magnitude >= 65520.0) return sign | 0x7c00;
    int exponent = 0;
    std::frexp(magnitude, &exponent);
    exponent = std::max(exponent - 1, -14); // Below 2^-14 numbers are multiples of 2^-24.
    const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
    // From 1024 steps on the exponent's field is 1 more than counted below; a carry runs into it.
    return static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent + 14) * 1024 + steps));
}

float half_value(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude;
    if (exponent == 31) magnitude = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0) magnitude = std::ldexp(static_cast<float>(fraction), -24);
    else magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

} // namespace emulator

extern "C" const char *emulator_launch(const char *name, const uint32_t *grid, const uint32_t *block, uint32_t shared_bytes,
                                       void **arguments, uint32_t argument_count) {
    using namespace emulator;
    const Entry *entry = ENTRIES;
    while (entry->name && strcmp(entry->name, name) != 0) entry++;
    if (!entry->name) return "there is no kernel of that name";
    if (entry->arguments != argument_count) return "the kernel takes another number of arguments";
    if (shared_bytes > SHARED_BYTES) return "a block has at most 64 KiB of shared memory";
    const uint64_t threads = uint64_t(block[0]) * block[1] * block[2];
    if (threads == 0 || threads > 1024) return "a block has 1 to 1024 threads";
    if (grid[1] > 65535 || grid[2] > 65535) return "a grid has at most 65535 blocks along y and z";
    static const bool is_watched = watch();
    (void)is_watched;
    if (!machine) machine = std::make_unique<Machine>();
    Machine &m = *machine;
    m.kernel = entry->run;
    m.name = entry->name;
    m.arguments = arguments;
    m.threads = static_cast<uint32_t>(threads);
    while (m.fibers.size() < threads) {
        m.fibers.emplace_back();
        m.fibers.back().stack.reset(new unsigned char[STACK_BYTES]);
    }
    m.shared = m.shared_pages + SHARED_BYTES - (shared_bytes + 15) / 16 * 16;
    blockDim = {block[0], block[1], block[2]};
    gridDim = {grid[0], grid[1], grid[2]};
    for (uint32_t z = 0; z < grid[2]; z++)
        for (uint32_t y = 0; y < grid[1]; y++)
            for (uint32_t x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                // What a block before left there is no answer: every byte is a NaN's.
                memset(m.shared, 0xff, shared_bytes);
                run_block();
            }
    return nullptr;
}
