// From a factor and the values: the mean, the weights alpha = K^-1 (w - mu) and what the likelihood needs of them.
#pragma once

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

  // Two passes over V: O(2 n^2).  Rasmussen & Williams 2006, eq. 2.30 for the likelihood; the mean by generalised least
  // squares, mu = (1'K^-1 w) / (1'K^-1 1).
  void compute(const Factor& V, const double* w, bool constant_mean) {
    const std::int64_t n = V.n();
    value_.assign(w, w + n);
    one_.assign(n, 1.0);
    count_.assign(n, 1.0);
    bool any_merged = false;
    for (std::int64_t i = 0; i < n; ++i) {
      if (V.merged(i) < 0) continue;
      any_merged = true;
      value_[V.merged(i)] += value_[i];
      count_[V.merged(i)] += 1.0;
      value_[i] = one_[i] = 0.0;
    }
    if (any_merged)  // a row stands for the mean of its group
      for (std::int64_t i = 0; i < n; ++i) value_[i] /= count_[i];
    residual_.resize(n);
    V.product(value_.data(), residual_.data());
    mu = 0.0;
    if (constant_mean && n > 0) {
      v_one_.resize(n);
      V.product(one_.data(), v_one_.data());
      double numerator = 0.0, denominator = 0.0;
      for (std::int64_t i = 0; i < n; ++i) {
        numerator += v_one_[i] * residual_[i];
        denominator += v_one_[i] * v_one_[i];
      }
      mu = numerator / denominator;
      for (std::int64_t i = 0; i < n; ++i) residual_[i] -= mu * v_one_[i];
    }
    quadratic = log_det = 0.0;
    in_model = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      quadratic += residual_[i] * residual_[i];
      if (V.merged(i) >= 0) continue;
      ++in_model;
      log_det -= 2.0 * std::log(V.diagonal(i));
    }
    alpha.assign(n, 0.0);
    V.add_transposed(residual_.data(), alpha.data());
  }

  // Row i's value minus the mean, 0 where it is merged.
  double centred(std::int64_t i) const { return value_[i] - mu * one_[i]; }

 private:
  std::vector<double> value_, one_, count_, residual_, v_one_;
};

}  // namespace hpo
