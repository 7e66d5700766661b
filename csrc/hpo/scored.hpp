// What a search has looked at: every representable point that it scored, with its value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "layout.hpp"
#include "span.hpp"

namespace hpo {

// The function that a search maximises. One call scores all rows of U (m, d); a column that does not exist is NaN.
// value (m) is larger where the point is better; d_value, (m, d) row by row, gets the derivatives by u, 0 in missing
// and categorical columns, or is nullptr. A batch should cost little more than its longest row: the search counts on
// it.
struct Scorer {
  virtual ~Scorer() = default;
  virtual void score(Mat<const double> U, double* value, double* d_value) = 0;

  // What `score` gives or more, where that is much cheaper: returns whether the values are only bounds.
  virtual bool bound(Mat<const double> U, double* value) {
    score(U, value, nullptr);
    return false;
  }

  // Gives the values of these points, and another scorer, much cheaper, that has the same values and slopes there. What
  // that gives as bounds are bounds of this one's values too (see Nearby::posterior for the one exception).  It holds
  // until the next call; null where there is none.
  virtual Scorer* rough(Mat<const double>, double*) { return nullptr; }

  // Bounds of these by what lies near them, with the exception of `rough`: dearer than those, and close wherever the
  // points are, if these are few.  They can change what `rough` gave; false where there are none.
  virtual bool bound_nearby(Mat<const double>, double*) { return false; }

  // Whether `score` is a first idea, which can be far too good away from the points that were looked at closer.
  virtual bool vague() const { return false; }
  // Looks closer: from now on `score` gives the values at and around these points.
  virtual void look_closer(Mat<const double>) {}
};

// A NaN value is no value: the worst.
inline double or_worst(double value) {
  return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
}

class Scored {
 public:
  Scored(const Layout& layout, Scorer& scorer) : d_(layout.d), scorer_(scorer) {}

  std::int64_t n() const { return static_cast<std::int64_t>(value_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(points_.size()) / d_ - n(); }
  // Points whose value `score` asked for.
  std::int64_t evaluations() const { return evaluations_; }
  const double* point(std::int64_t i) const { return points_.data() + i * d_; }
  double value(std::int64_t i) const {
    HPO_CHECK(i >= 0 && i < n());
    return value_[i];
  }

  // Lets `u`, canonical, wait for the next `score`.
  void add(const double* u) { points_.insert(points_.end(), u, u + d_); }
  // Adds a point whose value is known already.
  void add(const double* u, double value) {
    add(u);
    value_.push_back(or_worst(value));
    exact_.push_back(1);
  }
  // False where `value` may be more than the value.
  bool exact(std::int64_t i) const {
    HPO_CHECK(i >= 0 && i < n());
    return exact_[i] != 0;
  }

  // Scores all that wait, in one batch, and returns the row of the first of them.
  std::int64_t score() {
    const std::int64_t first = n(), m = waiting();
    if (m == 0) return first;
    evaluations_ += m;
    value_.resize(first + m);
    exact_.resize(first + m, 1);
    scorer_.score({points_.data() + first * d_, m, d_}, value_.data() + first, nullptr);
    for (std::int64_t i = first; i < first + m; ++i) value_[i] = or_worst(value_[i]);
    return first;
  }

  // The same for candidates, whose values may remain bounds.
  void bound() {
    const std::int64_t first = n(), m = waiting();
    if (m == 0) return;
    value_.resize(first + m);
    const bool bounds = scorer_.bound({points_.data() + first * d_, m, d_}, value_.data() + first);
    exact_.resize(first + m, bounds ? 0 : 1);
    if (!bounds) evaluations_ += m;
    for (std::int64_t i = first; i < first + m; ++i) value_[i] = or_worst(value_[i]);
  }

  void clear() {
    points_.clear();
    value_.clear();
    exact_.clear();
  }

  // Puts the bounds that `find` gives in the place of larger ones; returns whether it gave any.
  template <class Find>
  bool tighten(const std::vector<std::int64_t>& rows, Find&& find) {
    std::vector<double> U, bound(rows.size());
    for (const std::int64_t row : rows) U.insert(U.end(), point(row), point(row) + d_);
    if (!find(Mat<const double>{U.data(), static_cast<std::int64_t>(rows.size()), d_}, bound.data())) return false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      HPO_CHECK(!exact(rows[i]));
      value_[rows[i]] = std::min(value_[rows[i]], or_worst(bound[i]));
    }
    return true;
  }
  bool tighten_nearby(const std::vector<std::int64_t>& rows) {
    return tighten(rows, [&](Mat<const double> U, double* bound) { return scorer_.bound_nearby(U, bound); });
  }

  // Puts a value that was found elsewhere in the place of a bound.
  void know(std::int64_t row, double value) {
    HPO_CHECK(!exact(row));
    value_[row] = or_worst(value);
    exact_[row] = 1;
  }

  // Puts the value in the place of the bounds of these rows.
  void make_exact(const std::vector<std::int64_t>& rows) {
    std::vector<double> U, value;
    std::vector<std::int64_t> which;
    for (const std::int64_t row : rows) {
      if (exact(row)) continue;
      which.push_back(row);
      U.insert(U.end(), point(row), point(row) + d_);
    }
    if (which.empty()) return;
    const auto m = static_cast<std::int64_t>(which.size());
    value.resize(which.size());
    scorer_.score({U.data(), m, d_}, value.data(), nullptr);
    evaluations_ += m;
    for (std::size_t i = 0; i < which.size(); ++i) {
      value_[which[i]] = or_worst(value[i]);
      exact_[which[i]] = 1;
    }
  }

  // Rows from `first` on, the best first; equal values in the order in which they were scored.
  std::vector<std::int64_t> ranked(std::int64_t first = 0) const {
    std::vector<std::int64_t> rows(n() - first);
    std::iota(rows.begin(), rows.end(), first);
    std::stable_sort(rows.begin(), rows.end(), [&](auto i, auto j) { return value_[i] > value_[j]; });
    return rows;
  }

 private:
  std::int64_t d_, evaluations_ = 0;
  Scorer& scorer_;
  std::vector<double> points_, value_;
  std::vector<char> exact_;
};

// A point that the search improves step by step.
struct Start {
  std::vector<double> u;
  double value = 0.0;
  std::int64_t row = -1;  // of the scored points, where the value is still to come or only a bound
  bool exact = true;      // false: the value is only a bound so far
};

}  // namespace hpo
