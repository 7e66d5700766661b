// The surrogate: observations, theta, factor and weights in one object, with the verbs of backends/base.py.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "hpo/acquisition.hpp"
#include "hpo/factor.hpp"
#include "hpo/known_points.hpp"
#include "hpo/layout.hpp"
#include "hpo/likelihood.hpp"
#include "hpo/maximise.hpp"
#include "hpo/posterior.hpp"
#include "hpo/prior.hpp"
#include "hpo/refit.hpp"
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

// The observations under one theta: the model that answers, or the one that a refit prepares.
struct Conditioned {
  explicit Conditioned(const Columns& columns) : points(columns) {}

  std::vector<double> theta, noise;
  Embedding points;
  Factor V;
};

class GaussianProcess {
 public:
  GaussianProcess(const LayoutArrays& layout, const GpConfig& config);

  std::int64_t n() const { return static_cast<std::int64_t>(Y_.size()); }
  std::int64_t d() const { return layout_.d; }
  std::int64_t b() const { return layout_.b; }
  const std::vector<double>& theta() const { return now_.theta; }
  double shift() const { return warp_.shift; }
  double scale() const { return warp_.scale; }

  // Y (q): +inf is a failed trial.  known (q) or empty: variances in the units of Y squared, NaN where inferred.
  void append(Mat<const double> U, Vec<const double> Y, Vec<const double> known);
  void truncate(std::int64_t n);
  void set_theta(Vec<const double> theta);
  // Plans a refit on the first n observations, does part of it, and, with what is left, moves theta.
  void begin_refit(std::int64_t n);
  double advance_refit(double work);
  FitResult finish_refit();
  FitResult refit() {
    begin_refit(n());
    return finish_refit();
  }
  static double refit_work(std::int64_t n) { return Refit::usual_work(n) + 2.0 / 3.0 * cube(n); }
  double log_likelihood(Vec<const double> theta, double* gradient, bool prior);
  void predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var);
  void score(Utility utility, Mat<const double> U, double* value);
  // out (n_samples, m)
  void sample(Mat<const double> U, std::int64_t n_samples, Key key, double* out);
  MaximumResult maximise(Utility utility, std::int64_t q, Mat<const double> pending, Key key, Mat<const double> starts,
                         bool avoid_known);

 private:
  // A refit under way: the fit, then the model under the theta that it found.
  struct Planned {
    Planned(const Columns& columns, FitSettings settings, FitData data, std::vector<double> theta)
        : n(data.n()), fit(columns, std::move(settings), std::move(data), std::move(theta)), model(columns) {}

    std::int64_t n;
    Refit fit;
    Conditioned model;
  };

  Layout layout_;
  Columns columns_;
  GpConfig config_;
  Prior prior_;

  std::vector<double> U_, Y_, known_;  // as told; known_ NaN where the noise is inferred
  // Derived from the above.
  Warp warp_;
  double noise_scale_ = 1.0;  // the quantised scale that known variances were divided by
  Conditioned now_;
  std::unique_ptr<Planned> next_;
  Weights weights_;
  bool weights_current_ = false;
  std::vector<double> alpha_;  // weights, then 0 for pending rows
  KnownPoints told_, failed_;
  Posterior posterior_;
  std::unique_ptr<Likelihood> likelihood_;

  CovarianceMatrix matrix(const Conditioned& model) const {
    return {&model.points, config_.kind, std::exp(model.theta[layout_.b]), model.noise.data()};
  }
  void check_points(Mat<const double> U, const char* name) const;
  void check_theta(Vec<const double> theta) const;
  void push(const double* U, const double* Y, const double* known, std::int64_t rows);
  void renew_warp();
  void rebuild(Conditioned& model);
  void embed(Conditioned& model, std::int64_t n);
  void catch_up(Conditioned& model, std::int64_t n);
  double quantised(const std::vector<double>& known, const Warp& warp) const;
  void cut(std::int64_t n);
  const Weights& weights();
  Posterior& posterior();
  FitData observed(std::int64_t n) const;
  double advance_factor(double work);
  void push_pending(const double* u);
  void drop_pending();
};

}  // namespace hpo
