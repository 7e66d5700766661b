// The surrogate: observations, theta, factor and weights in one object, with the verbs of backends/base.py.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hpo/acquisition.hpp"
#include "hpo/factor.hpp"
#include "hpo/known_points.hpp"
#include "hpo/layout.hpp"
#include "hpo/likelihood.hpp"
#include "hpo/maximise.hpp"
#include "hpo/posterior.hpp"
#include "hpo/prior.hpp"
#include "hpo/warp.hpp"
#include "hpo/weights.hpp"

namespace hpo {

struct GpConfig {
  Kernel kind = Kernel::matern52;
  bool standardise = true;
  bool constant_mean = true;
  bool prior = true;
  bool fixed_noise = false;
  double noise = 0.0;  // with fixed_noise: the variance
  // Bounds of a fit: length scales, variance, noise.
  double lower[3] = {0.025, 1e-3, 1e-6};
  double upper[3] = {1e3, 1e3, 10.0};
  int threads = 1;

  // Values in their own units may be anything.
  void raw_bounds() {
    lower[1] = 1e-6, upper[1] = 1e6;
    lower[2] = 1e-10, upper[2] = 1e3;
  }
};

struct FitResult {
  double log_likelihood = 0.0, log_posterior = 0.0;
};

struct MaximumResult {
  std::vector<double> U, values, mean, var, optima;
  std::int64_t n_optima = 0;
};

class GaussianProcess {
 public:
  GaussianProcess(const LayoutArrays& layout, const GpConfig& config);

  std::int64_t n() const { return static_cast<std::int64_t>(Y_.size()); }
  std::int64_t d() const { return layout_.d; }
  std::int64_t b() const { return layout_.b; }
  const std::vector<double>& theta() const { return theta_; }
  double shift() const { return warp_.shift; }
  double scale() const { return warp_.scale; }

  // Y (q): +inf is a failed trial.  known (q) or empty: variances in the units of Y squared, NaN where inferred.
  void append(Mat<const double> U, Vec<const double> Y, Vec<const double> known);
  void truncate(std::int64_t n);
  void set_theta(Vec<const double> theta);
  FitResult refit();
  double log_likelihood(Vec<const double> theta, double* gradient, bool prior);
  void predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var);
  void score(Utility utility, Mat<const double> U, double* value);
  // out (n_samples, m)
  void sample(Mat<const double> U, std::int64_t n_samples, Key key, double* out);
  MaximumResult maximise(Utility utility, std::int64_t q, Mat<const double> pending, Key key, Mat<const double> starts,
                         bool avoid_known);

 private:
  Layout layout_;
  Columns columns_;
  GpConfig config_;
  Prior prior_;

  std::vector<double> U_, Y_, known_;  // as told; known_ NaN where the noise is inferred
  std::vector<double> theta_;

  // Derived from the above.
  Warp warp_;
  double noise_scale_ = 1.0;  // the quantised scale that known variances were divided by
  std::vector<double> noise_;
  Embedding points_;
  Factor V_;
  Weights weights_;
  bool weights_current_ = false;
  std::vector<double> alpha_;  // weights, then 0 for pending rows
  KnownPoints told_, failed_;
  Posterior posterior_;
  std::vector<std::unique_ptr<Likelihood>> likelihood_;  // one a start that is evaluated at the same time

  double theta_noise() const { return std::exp(theta_[layout_.b + 1]); }
  CovarianceMatrix matrix() const { return {&points_, config_.kind, std::exp(theta_[layout_.b]), noise_.data()}; }
  void check_points(Mat<const double> U, const char* name) const;
  void check_theta(Vec<const double> theta) const;
  void push(const double* U, const double* Y, const double* known, std::int64_t rows);
  void renew_warp();
  void rebuild();
  void catch_up();
  void cut(std::int64_t n);
  const Weights& weights();
  Posterior& posterior();
  Likelihood& likelihood(std::size_t i);
  double evaluate(const double* theta, double* gradient, bool prior, Likelihood& likelihood, int threads) const;
  void push_pending(const double* u);
  void drop_pending();
};

}  // namespace hpo
