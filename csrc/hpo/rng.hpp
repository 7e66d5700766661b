// Counter-based random numbers: a number is a pure function of (seed, number, stream), so trial i is the same for any
// count of workers, in any order, after any restart, and nothing has to be stored.
//
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11, section 3.3.
#pragma once

#include <array>
#include <cstdint>

#include "host_scalar.hpp"

namespace hpo {

// What a random draw hangs on besides its own name: the study's seed and, most often, the trial's number.
struct Key {
  std::uint64_t seed = 0;
  std::uint64_t number = 0;
};

namespace rng_detail {

// Multipliers and key increments of SC'11, table 2 and section 3.3 (golden ratio, sqrt(3) - 1).
constexpr std::uint64_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
constexpr double kTwoToMinus53 = 1.0 / 9007199254740992.0;

}  // namespace rng_detail

// Four independent 32-bit words for one counter (number, stream) under one key (seed).
inline std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t number, std::uint64_t stream) {
  using namespace rng_detail;
  std::uint32_t c0 = static_cast<std::uint32_t>(number), c1 = static_cast<std::uint32_t>(number >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kMul0 * c0, p1 = kMul1 * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

// 64 random bits: the first half of the four words.
inline std::uint64_t bits(std::uint64_t seed, std::uint64_t number, std::uint64_t stream) {
  const auto w = philox(seed, number, stream);
  return static_cast<std::uint64_t>(w[1]) << 32 | w[0];
}

// Uniform on [0, 1), a multiple of 2^-53.
inline double uniform(std::uint64_t seed, std::uint64_t number, std::uint64_t stream) {
  return static_cast<double>(bits(seed, number, stream) >> 11) * rng_detail::kTwoToMinus53;
}

// Standard normal by the quantile. One bit is the sign and 52 give the tail (k + 1/2) 2^-53 in (0, 1/2), which is
// exact, so the distribution is symmetric to the last bit and never infinite.
inline double normal(std::uint64_t seed, std::uint64_t number, std::uint64_t stream) {
  const std::uint64_t b = bits(seed, number, stream);
  const double tail = (static_cast<double>(b >> 12) + 0.5) * rng_detail::kTwoToMinus53;
  const double z = scalar::normal_quantile(tail);
  return (b & 1) != 0 ? -z : z;
}

}  // namespace hpo
