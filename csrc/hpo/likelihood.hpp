// The log marginal likelihood at any theta, with its gradient, in memory of its own: the model that asked stays as it
// is.
#pragma once

#include <cstdint>
#include <vector>

#include "hpo/factor.hpp"
#include "hpo/weights.hpp"

namespace hpo {

// What a likelihood is a function of besides theta = [ln l (b), ln s2, ln noise].
struct Observed {
  Mat<const double> U_nd;
  const double* w_n;      // values, warped and standardised
  const double* known_n;  // known variances, NaN where the noise is inferred
  double noise_scale;     // known variances are divided by its square
  Kernel kind;
  bool constant_mean;
};

class Likelihood {
 public:
  explicit Likelihood(const Columns& columns) : points_(columns) {}

  // Returns nats; gradient (b + 2) may be null.  Throws numerical_error.
  // O(2 n^3 / 3) for the value, n^3 / 3 + O(n^2 e) more for the gradient of all parameters; memory n^2 / 2.
  double operator()(const Observed& data, const double* theta, double* gradient, int threads);

 private:
  Embedding points_;
  Factor V_;
  Weights weights_;
  std::vector<double> noise_, partial_;

  void add_gradient(const Observed& data, const double* theta, double* gradient, int threads);
};

}  // namespace hpo
