// From a factor and the values: the mean, the weights alpha = K^-1 (w - mu) and what the likelihood needs of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "hpo/factor.hpp"

namespace hpo {

struct Weights {
  double mu = 0.0;
  double quadratic = 0.0;     // (w - mu)' K^-1 (w - mu)
  double log_det = 0.0;       // ln |K|
  std::int64_t in_model = 0;  // rows that are not merged into another
  std::vector<double> alpha;

  // One pass over V, O(n^2): V w and V 1 with V'V w and V'V 1.  Rasmussen & Williams 2006, eq. 2.30 for the likelihood;
  // the mean by generalised least squares, mu = (1'K^-1 w) / (1'K^-1 1).  Values are taken from their plain mean first,
  // so that nothing large cancels.
  void compute(const Factor& V, const double* w, bool constant_mean, int threads) {
    prepare(V, w, V.n(), constant_mean);
    V.gram(columns_, value_.data(), ld_, a_.data(), u_.data(), V.n(), threads);
    finish(V);
  }

  // The same where rows come one at a time: of a last row that came alone (V.last_alone()), with none merged, the part
  // is added after the pass, whether that was made for the row (`ride`) or is made now.
  void compute_as_told(const Factor& V, const double* w, bool constant_mean, int threads) {
    const bool any_merged = prepare(V, w, V.n(), constant_mean);
    const bool alone = V.last_alone() && !any_merged;
    V.gram(columns_, value_.data(), ld_, a_.data(), u_.data(), V.n() - (alone ? 1 : 0), threads);
    if (alone) add_last(V);
    finish(V);
  }
  // What is to go along with the reading for row V.n(), the last of w; false where rows are merged.  Until `arrive`,
  // once that is done, or another computation, there are no weights.
  bool ride(const Factor& V, const double* w, bool constant_mean, Factor::Along& along) {
    if (prepare(V, w, V.n() + 1, constant_mean)) return false;
    along = {columns_, ld_, value_.data(), a_.data(), u_.data()};
    return true;
  }
  void arrive(const Factor& V) {
    add_last(V);
    finish(V);
  }

  double log_likelihood() const {
    constexpr double log_2pi = 1.8378770664093454836;
    return -0.5 * (quadratic + log_det + static_cast<double>(in_model) * log_2pi);
  }

  // Row i's value minus the mean, 0 where it is merged.
  double centred(std::int64_t i) const { return value_[i]; }

 private:
  std::int64_t columns_ = 0, ld_ = 0;  // values alone, or values and ones
  double middle_ = 0.0;                // what was taken from the values
  std::vector<double> value_, count_, a_, u_;

  // Values and ones of n rows, of which V may not have the last yet; returns whether some are merged into others.
  bool prepare(const Factor& V, const double* w, std::int64_t n, bool constant_mean) {
    columns_ = constant_mean ? 2 : 1;
    ld_ = (n + PANEL - 1) / PANEL * PANEL;
    value_.assign(2 * ld_, 0.0);
    a_.resize(2 * ld_);
    u_.resize(2 * ld_);
    double* one = value_.data() + ld_;
    std::copy(w, w + n, value_.begin());
    std::fill(one, one + n, 1.0);
    count_.assign(n, 1.0);
    in_model = n;
    for (std::int64_t i = 0; i < std::min(n, V.n()); ++i) {
      if (V.merged(i) < 0) continue;
      --in_model;
      value_[V.merged(i)] += value_[i];
      count_[V.merged(i)] += 1.0;
      value_[i] = one[i] = 0.0;
    }
    if (in_model < n)  // a row stands for the mean of its group
      for (std::int64_t i = 0; i < n; ++i) value_[i] /= count_[i];
    middle_ = 0.0;
    if (constant_mean && n > 0)
      for (std::int64_t i = 0; i < n; ++i) middle_ += value_[i] / static_cast<double>(in_model);
    for (std::int64_t i = 0; i < n; ++i) value_[i] -= middle_ * one[i];
    return in_model < n;
  }

  // The part of the last row: of the rows before it a_ and u_ are there.
  void add_last(const Factor& V) {
    const std::int64_t i = V.n() - 1;
    const double* v = V.row(i);
    for (std::int64_t c = 0; c < columns_; ++c) {
      const double* x = value_.data() + c * ld_;
      double* u = u_.data() + c * ld_;
      double a = 0.0;
      for (std::int64_t j = 0; j <= i; ++j) a += v[j] * x[j];
      a_[c * ld_ + i] = a;
      u[i] = 0.0;
      for (std::int64_t j = 0; j <= i; ++j) u[j] += v[j] * a;
    }
  }

  // From a_ and u_.
  void finish(const Factor& V) {
    const std::int64_t n = V.n();
    const double* one = value_.data() + ld_;
    double step = 0.0;
    if (columns_ == 2 && n > 0) {
      double numerator = 0.0, denominator = 0.0;
      for (std::int64_t i = 0; i < n; ++i) {
        numerator += a_[ld_ + i] * a_[i];
        denominator += a_[ld_ + i] * a_[ld_ + i];
      }
      step = numerator / denominator;
    }
    mu = middle_ + step;
    alpha.resize(n);
    quadratic = log_det = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      value_[i] -= step * one[i];
      const double residual = step == 0.0 ? a_[i] : a_[i] - step * a_[ld_ + i];
      alpha[i] = step == 0.0 ? u_[i] : u_[i] - step * u_[ld_ + i];
      quadratic += residual * residual;
      if (V.merged(i) < 0) log_det -= 2.0 * std::log(V.diagonal(i));
    }
  }
};

}  // namespace hpo
