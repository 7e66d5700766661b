// The points nearest to others, in units of the length scales, found by reading all points.
//
// No tree: beyond some five dimensions a tree reads most of its leaves anyway, and points come one by one.  Single
// precision halves the bytes, which are what the time goes into, and decides only which of two points that are equally
// far counts.
#pragma once

#include <cstdint>
#include <vector>

#include "hpo/covariance.hpp"
#include "hpo/kernels.hpp"
#include "hpo/span.hpp"

namespace hpo {

class Neighbours {
 public:
  // Takes the length scales of `embedding` and forgets all points.
  explicit Neighbours(const Embedding& embedding);

  std::int64_t n() const { return n_; }
  void append(const double* u);
  void truncate(std::int64_t n);
  // Never returned again.
  void exclude(std::int64_t row) { excluded_[row] = 1; }

  // For each of the points Q (a, d) the `count` nearest of the first `until` rows, nearest first, of equal ones the
  // first; fewer where there are no more.  Reads 4 e bytes a row for 16 points; O(a n e).
  std::vector<std::vector<std::int64_t>> nearest(Mat<const double> Q, std::int64_t count, std::int64_t until,
                                                 int threads) const;
  std::vector<std::vector<std::int64_t>> nearest(Mat<const double> Q, std::int64_t count, int threads) const {
    return nearest(Q, count, n_, threads);
  }

 private:
  Embedding scales_;  // without points
  std::int64_t n_ = 0;
  std::vector<float> X_, weight_;  // chunks [e][LANES]; lanes past the last row hold anything
  std::vector<char> excluded_;
};

}  // namespace hpo
