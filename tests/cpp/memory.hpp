// The program's operator new: it counts its calls, and can run out of memory at any of them.
#pragma once

#include <atomic>
#include <cstdint>

namespace memory {

extern std::atomic<std::int64_t> calls;    // so far
extern std::atomic<std::int64_t> ends_at;  // the call that finds no memory; -1: none
extern std::atomic<bool> lasts;            // those after it find none either

}  // namespace memory
