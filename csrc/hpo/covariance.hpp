// Points in the form that the kernels read: scaled numbers first, then codes that only differ or do not.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "hpo/kernels.hpp"
#include "hpo/layout.hpp"
#include "hpo/span.hpp"

namespace hpo {

// Which columns a layout embeds into. A number that need not exist gets two: its value (1/2 where it is missing) and an
// indicator of height 1/2, so that the squared distance stays Euclidean and every covariance positive definite.
struct Columns {
  struct Column {
    std::int64_t source, block;
    double factor;   // what a difference adds, in units of 1/l^2; 1 for numbers
    bool indicator;  // codes 0 and 1: whether the block exists
  };
  std::vector<Column> numbers, codes;

  explicit Columns(const Layout& layout) {
    for (std::int64_t j = 0; j < layout.b; ++j) {
      const std::int64_t source = layout.column(j);
      const bool constant = layout.discrete(j) && layout.size[j] == 1;
      if (layout.kind[j] == CATEGORICAL) {
        if (!constant || layout.conditional[j]) codes.push_back({source, j, 1.0, false});
      } else {
        if (!constant) numbers.push_back({source, j, 1.0, false});
        if (layout.conditional[j]) codes.push_back({source, j, 0.25, true});
      }
    }
  }

  std::int64_t e_num() const { return static_cast<std::int64_t>(numbers.size()); }
  std::int64_t e() const { return static_cast<std::int64_t>(numbers.size() + codes.size()); }
  const Column& operator[](std::int64_t c) const { return c < e_num() ? numbers[c] : codes[c - e_num()]; }
};

// n points, twice: row by row (Z, the side that a kernel broadcasts) and in chunks of LANES (Q, the side it
// vectorises).
class Embedding {
 public:
  explicit Embedding(const Columns& columns) : columns_(&columns) {}
  // No points, and the length scales of another.
  Embedding(const Columns& columns, const Embedding& other)
      : columns_(&columns), inverse_(other.inverse_), weight_(other.weight_) {}

  // Takes the length scales and forgets all points.
  void reset(const double* log_lengthscale) {
    n_ = 0;
    inverse_.resize(columns_->e());
    weight_.resize(columns_->codes.size() + 1);  // never empty, so that data() may be handed on
    for (std::int64_t c = 0; c < columns_->e(); ++c) {
      const auto& column = (*columns_)[c];
      inverse_[c] = std::exp(-log_lengthscale[column.block]);
      if (c >= columns_->e_num()) weight_[c - columns_->e_num()] = column.factor * inverse_[c] * inverse_[c];
    }
    Z_.clear();
    Q_.clear();
  }

  // Calls put(c, z) with each embedded coordinate of the codes `u` (d).
  template <class Put>
  void embed(const double* u, Put&& put) const {
    for (std::int64_t c = 0; c < e(); ++c) {
      const auto& column = (*columns_)[c];
      const double code = u[column.source];
      const bool missing = std::isnan(code);
      put(c, c < e_num()        ? (missing ? 0.5 : code) * inverse_[c]
             : column.indicator ? (missing ? 0.0 : 1.0)
                                : (missing ? -1.0 : code));
    }
  }

  void append(const double* u) {
    add([&](auto&& put) { embed(u, put); });
  }

  // A point of another with the same length scales.
  void append(const Embedding& other, std::int64_t i) {
    add([&](auto&& put) {
      for (std::int64_t c = 0; c < e(); ++c) put(c, other.rows(i)[c]);
    });
  }

  void truncate(std::int64_t n) {
    n_ = n;
    const std::int64_t e = columns_->e();
    Z_.resize(n * e);
    Q_.resize((n + LANES - 1) / LANES * LANES * e);
  }

  std::int64_t n() const { return n_; }
  std::int64_t e() const { return columns_->e(); }
  std::int64_t e_num() const { return columns_->e_num(); }
  const Columns& columns() const { return *columns_; }
  const double* rows(std::int64_t i) const { return Z_.data() + i * e(); }
  const double* chunk(std::int64_t c) const { return Q_.data() + c * e() * LANES; }
  const double* weight() const { return weight_.data(); }
  double inverse(std::int64_t c) const { return inverse_[c]; }

  double squared_distance(std::int64_t i, std::int64_t j) const { return squared_distance(rows(i), j); }
  // From a point that is embedded already.
  double squared_distance(const double* a, std::int64_t j) const {
    double sum = 0.0;
    const double* b = rows(j);
    for (std::int64_t c = 0; c < e(); ++c) {
      if (c < e_num())
        sum += (a[c] - b[c]) * (a[c] - b[c]);
      else if (a[c] != b[c])
        sum += weight_[c - e_num()];
    }
    return sum;
  }

 private:
  const Columns* columns_;
  std::int64_t n_ = 0;
  std::vector<double> Z_, Q_, inverse_, weight_;

  // each(put) calls put(c, z) with each coordinate.
  template <class Each>
  void add(Each&& each) {
    const std::int64_t lane = n_ % LANES;
    if (lane == 0) Q_.resize(Q_.size() + e() * LANES, 0.0);
    double* chunk = Q_.data() + n_ / LANES * e() * LANES;
    each([&](std::int64_t c, double z) {
      Z_.push_back(z);
      chunk[c * LANES + lane] = z;
    });
    ++n_;
  }
};

}  // namespace hpo
