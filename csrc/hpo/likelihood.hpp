// The log marginal likelihood at any theta, with its gradient, in memory of its own: the model that asked stays as it
// is.
#pragma once

#include <cstdint>
#include <limits>
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
  double operator()(const Observed& data, const double* theta, double* gradient, int threads) {
    begin(data, theta, gradient != nullptr);
    advance(std::numeric_limits<double>::infinity(), threads);
    return result(gradient);
  }

  // The same in pieces, with the same bits: after `begin`, `advance` does at least one piece and goes on until `work`
  // floating-point operations are done or all; it returns those done.  `data` must stay where it is until `result`.
  void begin(const Observed& data, const double* theta, bool gradient);
  double advance(double work, int threads);
  bool done() const { return stage_ == Stage::done; }
  double result(double* gradient) const;

 private:
  enum class Stage { factor, gradient, done };

  Stage stage_ = Stage::done;
  bool want_gradient_ = false;
  const Observed* data_ = nullptr;
  std::vector<double> theta_;
  std::int64_t row_ = 0;  // the block row of the gradient that is next
  Embedding points_;
  Factor V_;
  Weights weights_;
  std::vector<double> noise_, partial_;

  std::int64_t stride() const { return points_.e() + 2; }
  CovarianceMatrix matrix() const;
  void add_block_row(std::int64_t I);
};

}  // namespace hpo
