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
    const std::int64_t n = V.n(), ld = V.ld();
    value_.assign(2 * ld, 0.0);  // values, then ones
    double* one = value_.data() + ld;
    std::copy(w, w + n, value_.begin());
    std::fill(one, one + n, 1.0);
    count_.assign(n, 1.0);
    bool any_merged = false;
    for (std::int64_t i = 0; i < n; ++i) {
      if (V.merged(i) < 0) continue;
      any_merged = true;
      value_[V.merged(i)] += value_[i];
      count_[V.merged(i)] += 1.0;
      value_[i] = one[i] = 0.0;
    }
    if (any_merged)  // a row stands for the mean of its group
      for (std::int64_t i = 0; i < n; ++i) value_[i] /= count_[i];
    in_model = 0;
    for (std::int64_t i = 0; i < n; ++i) in_model += V.merged(i) < 0;
    double middle = 0.0;
    if (constant_mean && n > 0)
      for (std::int64_t i = 0; i < n; ++i) middle += value_[i] / static_cast<double>(in_model);
    for (std::int64_t i = 0; i < n; ++i) value_[i] -= middle * one[i];

    a_.resize(2 * ld);
    u_.resize(2 * ld);
    V.gram(constant_mean ? 2 : 1, value_.data(), a_.data(), u_.data(), threads);
    double step = 0.0;
    if (constant_mean && n > 0) {
      double numerator = 0.0, denominator = 0.0;
      for (std::int64_t i = 0; i < n; ++i) {
        numerator += a_[ld + i] * a_[i];
        denominator += a_[ld + i] * a_[ld + i];
      }
      step = numerator / denominator;
    }
    mu = middle + step;
    alpha.resize(n);
    quadratic = log_det = 0.0;
    for (std::int64_t i = 0; i < n; ++i) {
      value_[i] -= step * one[i];
      const double residual = step == 0.0 ? a_[i] : a_[i] - step * a_[ld + i];
      alpha[i] = step == 0.0 ? u_[i] : u_[i] - step * u_[ld + i];
      quadratic += residual * residual;
      if (V.merged(i) < 0) log_det -= 2.0 * std::log(V.diagonal(i));
    }
  }

  double log_likelihood() const {
    constexpr double log_2pi = 1.8378770664093454836;
    return -0.5 * (quadratic + log_det + static_cast<double>(in_model) * log_2pi);
  }

  // Row i's value minus the mean, 0 where it is merged.
  double centred(std::int64_t i) const { return value_[i]; }

 private:
  std::vector<double> value_, count_, a_, u_;
};

}  // namespace hpo
