// hpo/buffer.hpp: where the memory lies, and whose it is.
#include "hpo/buffer.hpp"

#include <cstdint>
#include <utility>

#include "check.hpp"

namespace {
using hpo::Buffer;

constexpr std::int64_t LARGE_PAGE = 2 << 20, LARGE = LARGE_PAGE / 8;

std::int64_t past(const double* data, std::int64_t border) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(border));
}
}  // namespace

TEST(buffer_lies_on_borders_of_what_it_fills) {
  for (const std::int64_t count : {std::int64_t{1}, std::int64_t{9}, LARGE - 1}) {
    Buffer small;
    CHECK(past(small.need(count), 64) == 0);
  }
  for (const std::int64_t count : {LARGE, LARGE + 1, 3 * LARGE + 7}) {
    Buffer large;
    double* data = large.need(count);
    CHECK(past(data, LARGE_PAGE) == 0);
    data[0] = data[count - 1] = 1.0;
  }
}

TEST(buffer_grows_and_does_not_shrink) {
  Buffer buffer;
  CHECK(buffer.size() == 0 && buffer.data() == nullptr);
  double* first = buffer.need(100);
  CHECK(buffer.need(10) == first && buffer.need(100) == first && buffer.size() == 100);
  double* large = buffer.zeros(2 * LARGE);  // the small one goes back as what it was
  CHECK(buffer.size() == 2 * LARGE && large[0] == 0.0 && large[2 * LARGE - 1] == 0.0);
  CHECK(buffer.need(100) == large);
}

TEST(buffer_keeps_its_memory_when_it_moves) {
  Buffer small, large;
  small.need(100)[99] = 3.0;
  large.need(LARGE)[LARGE - 1] = 4.0;
  double *at_small = small.data(), *at_large = large.data();
  std::swap(small, large);
  CHECK(small.data() == at_large && small.size() == LARGE && small.data()[LARGE - 1] == 4.0);
  CHECK(large.data() == at_small && large.size() == 100 && large.data()[99] == 3.0);
  Buffer moved = std::move(small);
  CHECK(moved.data() == at_large && moved.size() == LARGE);
  moved = std::move(large);
  CHECK(moved.data() == at_small && moved.size() == 100);
}
