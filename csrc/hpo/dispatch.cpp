// Which table of kernels this machine runs: the only place that asks the processor.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "hpo/kernels.hpp"

namespace hpo {

#ifdef __x86_64__
static bool has(int level) {
  __builtin_cpu_init();
  if (level == 2) return __builtin_cpu_supports("sse4.2");
  if (level == 3)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}

extern const Kernels kernels_v2, kernels_v3, kernels_v4;

static const Kernels& choose() {
  const Kernels* const tables[] = {&kernels_v2, &kernels_v3, &kernels_v4};
  int level = has(4) ? 4 : has(3) ? 3 : has(2) ? 2 : 0;
  if (level == 0)
    throw std::runtime_error("an x86-64 processor must have at least SSE 4.2 (x86-64-v2), but this one has not");
  const char* forced = std::getenv("HPO_FAST_SIMD");
  if (forced && *forced) {
    const int wish = std::strlen(forced) == 1 ? forced[0] - '0' : 0;
    if (wish < 2 || wish > 4)
      throw std::runtime_error(std::string("HPO_FAST_SIMD must be 2, 3 or 4 (x86-64-v2, v3, v4), but got \"") + forced +
                               "\"; unset it to let the machine decide.");
    if (wish > level)
      throw std::runtime_error(std::string("HPO_FAST_SIMD=") + forced + " asks for x86-64-v" + forced +
                               ", but this machine has x86-64-v" + std::to_string(level) + "; lower it or unset it.");
    level = wish;
  }
  return *tables[level - 2];
}
#else
extern const Kernels kernels_base;
static const Kernels& choose() {
  if (const char* forced = std::getenv("HPO_FAST_SIMD"); forced && *forced)
    throw std::runtime_error(std::string("HPO_FAST_SIMD chooses between the levels of x86-64, but this processor is "
                                         "none, and got \"") +
                             forced + "\"; unset it.");
  return kernels_base;
}
#endif

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

}  // namespace hpo
