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
  void reserve(std::int64_t n);
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

// Of each point the nearest row, then the second nearest, up to `count` that are not in `without` (sorted): points that
// lie close share most of theirs.
std::vector<std::int64_t> in_turn(const std::vector<std::vector<std::int64_t>>& nearest, std::int64_t count,
                                  const std::vector<std::int64_t>& without);

// In order, `count` of the first `until` rows, in turn the nearest to each of the `best` among them whose values are
// the smallest, of equal ones the first.  O(until best e).
std::vector<std::int64_t> near_best(const Neighbours& neighbours, Mat<const double> U_nd, const double* w_n,
                                    std::int64_t best, std::int64_t count, std::int64_t until, int threads);

}  // namespace hpo
