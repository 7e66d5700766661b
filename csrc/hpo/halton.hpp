// The scrambled Halton sequence: low-discrepancy points for any number of dimensions.
//
// Coordinate j of point i is the radical inverse of i in the j-th prime b, each digit sent through a random permutation
// of its own (one for every dimension and digit position): Owen, "A randomized Halton algorithm in R", arXiv 1706.02808
// (2017). Plain Halton is useless from about dimension 10 on, where neighbouring primes give nearly the same points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "rng.hpp"
#include "span.hpp"

namespace hpo {

// Points 0 .. max_points-1 in d dimensions for one key. A point does not depend on max_points, nor on the block it is
// asked in: coordinates are summed as integers in units of 2^-64.
class Halton {
 public:
  Halton(Key key, std::int64_t d, std::int64_t max_points) : max_points_(max_points) {
    if (d < 1 || max_points < 1) throw std::invalid_argument("Halton: d and max_points must be at least 1");
    // Draws of other uses of the same key have other counters under another Philox key.
    const std::uint64_t seed = bits(key.seed, key.number, kStream);
    std::vector<std::uint32_t> digits;
    std::int64_t b = 1;
    for (std::int64_t j = 0; j < d; ++j) {
      b = next_prime(b);
      axes_.push_back(make_axis(seed, static_cast<std::uint64_t>(j), static_cast<std::uint64_t>(b), digits));
    }
  }

  std::int64_t d() const { return static_cast<std::int64_t>(axes_.size()); }

  // Fills U (m, d) with points first .. first+m-1, all in [0, 1).
  void fill(std::int64_t first, Mat<double> U) const {
    if (first < 0 || first + U.rows > max_points_ || U.cols != d())
      throw std::invalid_argument("Halton: points must lie within max_points, and U must have d columns");
    for (std::int64_t j = 0; j < U.cols; ++j) {
      const Axis& axis = axes_[static_cast<std::size_t>(j)];
      const std::uint64_t base = axis.base;
      std::uint64_t high = static_cast<std::uint64_t>(first) / base, low = static_cast<std::uint64_t>(first) % base;
      double* out = U.data + j;
      for (std::int64_t i = 0; i < U.rows;) {
        const std::uint64_t sum = high_digits(axis, high);
        const std::uint64_t* table = table_.data() + axis.table;
        const std::int64_t stop = std::min<std::int64_t>(U.rows, i + static_cast<std::int64_t>(base - low));
        for (; i < stop; ++i, ++low)
          out[i * U.cols] = static_cast<double>(static_cast<std::int64_t>((sum + table[low]) >> 11)) * kTwoToMinus53;
        low = 0;
        ++high;
      }
    }
  }

 private:
  static constexpr std::uint64_t kStream = 0x68616c746f6eu;  // "halton"
  static constexpr double kTwoToMinus53 = rng_detail::kTwoToMinus53;
  // Small primes: several digits are looked up at once, in a table of at most this size, so that the inner loop is
  // long.
  static constexpr std::uint64_t kTable = 256;

  // Level l of the table holds the contributions of the l-th group of digits. Only entries that a point below
  // max_points can reach exist; what the digits above contribute, which are all 0 there, is one constant.
  struct Axis {
    std::uint64_t base = 0;  // prime ** (digits in a group)
    std::size_t table = 0;   // where level 0 begins
    int levels = 0;          // each of `base` entries but the last
    std::uint64_t rest = 0;
  };

  static std::int64_t next_prime(std::int64_t b) {
    for (++b;; ++b) {
      bool prime = true;
      for (std::int64_t f = 2; f * f <= b && prime; ++f) prime = b % f != 0;
      if (prime) return b;
    }
  }

  std::uint64_t high_digits(const Axis& axis, std::uint64_t index) const {
    std::uint64_t sum = axis.rest;
    for (int level = 1; level < axis.levels; ++level) {
      sum += table_[axis.table + static_cast<std::uint64_t>(level) * axis.base + index % axis.base];
      index /= axis.base;
    }
    return sum;
  }

  // The first `count` values of the random permutation of digit position k (Fisher-Yates; the bias of b / 2^32 is
  // nothing).
  static void permute(std::uint64_t seed, std::uint64_t axis, std::uint64_t k, std::uint64_t b, std::uint64_t count,
                      std::vector<std::uint32_t>& digits) {
    digits.resize(b);
    for (std::uint64_t v = 0; v < b; ++v) digits[v] = static_cast<std::uint32_t>(v);
    for (std::uint64_t v = 0; v < count; v += 4) {
      const auto words = philox(seed, v, axis << 32 | k);
      for (std::uint64_t w = 0; w < 4 && v + w < count; ++w)
        std::swap(digits[v + w], digits[v + w + (words[w] * (b - v - w) >> 32)]);
    }
  }

  Axis make_axis(std::uint64_t seed, std::uint64_t j, std::uint64_t b, std::vector<std::uint32_t>& digits) {
    const std::uint64_t points = static_cast<std::uint64_t>(max_points_);
    Axis axis;
    int group = 1;
    for (axis.base = b; axis.base * b <= kTable; ++group) axis.base *= b;
    axis.table = table_.size();
    std::uint64_t k = 0;             // digit position
    std::uint64_t unit = ~0ull / b;  // of digit k: 2^64 / b^(k+1), rounded down
    std::uint64_t reach = points;    // how many values the digits from k on take together
    for (; reach > 1 || axis.levels == 0; ++axis.levels) {
      const std::size_t start = table_.size();
      const std::uint64_t entries = std::min(axis.base, reach);
      table_.resize(start + entries, 0);
      std::uint64_t stride = 1;
      for (int g = 0; g < group; ++g, ++k, unit /= b, stride *= b) {
        permute(seed, j, k, b, std::min(b, (entries - 1) / stride + 1), digits);
        for (std::uint64_t e = 0; e < entries; ++e) table_[start + e] += digits[e / stride % b] * unit;
      }
      reach = (reach - 1) / axis.base + 1;
    }
    for (; unit > 0; ++k, unit /= b) {
      permute(seed, j, k, b, 1, digits);
      axis.rest += digits[0] * unit;
    }
    return axis;
  }

  std::int64_t max_points_;
  std::vector<Axis> axes_;
  std::vector<std::uint64_t> table_;
};

}  // namespace hpo
