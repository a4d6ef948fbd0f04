// Stages of a transform on the points that a thread has in registers: by a prime, or by Fourier. Longa and Naehrig 2016, algorithms
// 1 and 2.
#pragma once

#include "portable.cuh"

// Roots as a transform numbers them, group g of its stage s at 2^s + g; `first` is that place of the thread's first group in the
// first of its stages.
template <class Root> struct RootsInOrder {
    const Root *roots;
    uint32_t first;

    HD Root of(uint32_t stage, uint32_t group) const { return roots[(first << stage) + group]; }
};

// STAGES of them on COUNT points, whose places differ in the lowest bits of their index. `roots` has those of the thread, by stage
// and by group. `butterfly` turns a pair by a root.
template <uint32_t STAGES, uint32_t COUNT, class Roots, class Point, class Butterfly>
HD void stages(const Roots &roots, Point *points, const Butterfly &butterfly) {
UNROLL
    for (uint32_t stage = 0; stage < STAGES; stage++) {
        const uint32_t half = (1u << (STAGES - 1)) >> stage;
UNROLL
        for (uint32_t low = 0; low < COUNT; low++) {
            if (!(low & half)) {
                butterfly.forward(points[low], points[low + half], roots.of(stage, low >> (STAGES - stage)));
            }
        }
    }
}

// The other way, with the inverses of roots: the last stage comes first.
template <uint32_t STAGES, uint32_t COUNT, class Roots, class Point, class Butterfly>
HD void stages_back(const Roots &roots, Point *points, const Butterfly &butterfly) {
UNROLL
    for (uint32_t turn = 0; turn < STAGES; turn++) {
        const uint32_t stage = STAGES - 1 - turn;
        const uint32_t half = (1u << (STAGES - 1)) >> stage;
UNROLL
        for (uint32_t low = 0; low < COUNT; low++) {
            if (!(low & half)) {
                butterfly.backward(points[low], points[low + half], roots.of(stage, low >> (STAGES - stage)));
            }
        }
    }
}
