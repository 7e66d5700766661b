#include "memory.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace memory {

std::atomic<std::int64_t> calls{0}, ends_at{-1};
std::atomic<bool> lasts{false};

}  // namespace memory

namespace {

void* get(std::size_t bytes, std::size_t alignment) noexcept {
  void* p = nullptr;
  // Relaxed: an allocation must not order the threads that it is asked by, or no sanitizer would see them race.
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::int64_t call = memory::calls.fetch_add(1, relaxed), end = memory::ends_at.load(relaxed);
  if (end >= 0 && (memory::lasts.load(relaxed) ? call >= end : call == end)) return p;
  alignment = std::max(alignment, sizeof(void*));
  return posix_memalign(&p, alignment, std::max<std::size_t>(bytes, 1)) == 0 ? p : nullptr;
}

void* get_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* p = get(bytes, alignment)) return p;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) {
  return get_or_throw(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return get_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {  // std::stable_sort's buffer comes this way
  return get(bytes, alignof(std::max_align_t));
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
