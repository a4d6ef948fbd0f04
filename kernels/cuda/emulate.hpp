// Blocks of threads on a CPU: each thread is a coroutine with a stack of its own, and one runs until it has to meet the
// others. Any order between two meetings is one that a device may have; two are tried (up and down), so that a kernel that
// forgets to meet is seen to give different answers.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

#include "portable.cuh"

constexpr uint32_t WARP = 32;

class EmulatedBlock;

struct EmulatedThread {
    EmulatedBlock *of;
    uint32_t at;

    uint32_t index() const { return at; }
    inline uint32_t count() const;
    inline uint32_t block() const;
    template <class T> inline T *shared() const;
    inline void meet() const;
    inline void meet_warp() const;
    // One thread runs at a time.
    void add(uint32_t *word, uint32_t value) const { *word += value; }
};

class EmulatedBlock {
  public:
    using Body = std::function<void(EmulatedThread &)>;

    EmulatedBlock(uint32_t block, uint32_t threads, size_t shared_bytes, bool downwards, const Body &body)
        : block_(block), downwards_(downwards), body_(body), contexts_(threads), states_(threads, State::Ready),
          // Shared memory holds anything at first.
          shared_(shared_bytes, 0xa5) {
        const auto &stacks = stacks_for(threads);
        for (uint32_t at = 0; at < threads; at++) {
            getcontext(&contexts_[at]);
            contexts_[at].uc_stack.ss_sp = stacks[at].get();
            contexts_[at].uc_stack.ss_size = STACK;
            contexts_[at].uc_link = &main_;
            makecontext(&contexts_[at], reinterpret_cast<void (*)()>(&EmulatedBlock::enter), 3,
                        static_cast<uint32_t>(reinterpret_cast<uintptr_t>(this) >> 32),
                        static_cast<uint32_t>(reinterpret_cast<uintptr_t>(this)), at);
        }
    }

    void run() {
        const uint32_t threads = static_cast<uint32_t>(states_.size());
        for (;;) {
            bool any = false;
            for (uint32_t turn = 0; turn < threads; turn++) {
                const uint32_t at = downwards_ ? threads - 1 - turn : turn;
                if (states_[at] == State::Ready) {
                    any = true;
                    current_ = at;
                    swapcontext(&main_, &contexts_[at]);
                }
            }
            if (!any && !release()) {
                return;
            }
        }
    }

    void wait(uint32_t at, bool warp) {
        states_[at] = warp ? State::MeetsWarp : State::MeetsBlock;
        swapcontext(&contexts_[at], &main_);
    }

    uint32_t block_;
    uint32_t threads() const { return static_cast<uint32_t>(states_.size()); }
    void *shared() { return shared_.data(); }

  private:
    enum class State { Ready, MeetsWarp, MeetsBlock, Done };
    // Frames of kernels hold arrays that a device keeps in registers.
    static constexpr size_t STACK = 256 << 10;

    // Blocks come one after another: they have the same stacks, which are never filled.
    using Stacks = std::vector<std::unique_ptr<unsigned char[]>>;
    static const Stacks &stacks_for(uint32_t threads) {
        static thread_local Stacks stacks;
        while (stacks.size() < threads) {
            stacks.emplace_back(new unsigned char[STACK]);
        }
        return stacks;
    }

    static void enter(uint32_t high, uint32_t low, uint32_t at) {
        auto *self = reinterpret_cast<EmulatedBlock *>((static_cast<uintptr_t>(high) << 32) | low);
        EmulatedThread thread{self, at};
        self->body_(thread);
        self->states_[at] = State::Done;
    }

    // Lets those go on who have all met. Whether anybody can. Threads that meet while others of theirs have ended would hang a
    // device: that is a fault of the kernel, and ends the program.
    bool release() {
        bool any = false;
        for (uint32_t first = 0; first < threads(); first += WARP) {
            const uint32_t last = first + WARP < threads() ? first + WARP : threads();
            any |= release(first, last, State::MeetsWarp);
        }
        if (any) {
            return true;
        }
        if (release(0, threads(), State::MeetsBlock)) {
            return true;
        }
        for (State state : states_) {
            if (state != State::Done) {
                std::fprintf(stderr, "threads of a block wait for others that do not come\n");
                std::abort();
            }
        }
        return false;
    }

    bool release(uint32_t first, uint32_t last, State where) {
        for (uint32_t at = first; at < last; at++) {
            if (states_[at] != where) {
                return false;
            }
        }
        for (uint32_t at = first; at < last; at++) {
            states_[at] = State::Ready;
        }
        return true;
    }

    bool downwards_;
    const Body &body_;
    std::vector<ucontext_t> contexts_;
    std::vector<State> states_;
    std::vector<unsigned char> shared_;
    ucontext_t main_{};
    uint32_t current_ = 0;
};

uint32_t EmulatedThread::count() const { return of->threads(); }
uint32_t EmulatedThread::block() const { return of->block_; }
template <class T> T *EmulatedThread::shared() const { return static_cast<T *>(of->shared()); }
void EmulatedThread::meet() const { of->wait(at, false); }
void EmulatedThread::meet_warp() const { of->wait(at, true); }

// Runs a kernel as a launch of so many blocks would, one block after another.
inline void emulate(uint32_t blocks, uint32_t threads, size_t shared_bytes, bool downwards,
                    const EmulatedBlock::Body &body) {
    for (uint32_t turn = 0; turn < blocks; turn++) {
        const uint32_t block = downwards ? blocks - 1 - turn : turn;
        EmulatedBlock(block, threads, shared_bytes, downwards, body).run();
    }
}
