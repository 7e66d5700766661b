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
#include "hpo/local.hpp"
#include "hpo/maximise.hpp"
#include "hpo/posterior.hpp"
#include "hpo/prior.hpp"
#include "hpo/refit.hpp"
#include "hpo/warp.hpp"
#include "hpo/weights.hpp"

namespace hpo {

enum class Surrogate : int { exact = 0, vecchia = 1, automatic = 2 };

struct GpConfig {
  Surrogate surrogate = Surrogate::exact;
  std::int64_t exact_below = 1;  // automatic: exact with fewer observations, >= 1
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
  // fitted: observations told when theta was fitted, 0 where that is not known; what the local model of many
  // observations keeps fixed is taken from these.
  void set_theta(Vec<const double> theta, std::int64_t fitted = 0);
  // Whether the model is the local one.
  bool is_local() const { return local_with(n()); }
  // Plans a refit on the first n observations, or on so many of them that are nearest to the best, does part of it,
  // and, with what is left, moves theta.
  void begin_refit(std::int64_t n, std::int64_t nearest = 0);
  double advance_refit(double work);
  FitResult finish_refit();
  FitResult refit() {
    begin_refit(n());
    return finish_refit();
  }
  double refit_work(std::int64_t n, std::int64_t nearest = 0) const {
    const double rows = static_cast<double>(n), last = SINGLE_ROW * 2.0 * rows * rows * static_cast<double>(PANEL);
    return Refit::usual_work(nearest > 0 ? std::min(n, nearest) : n) +
           (local_with(n) ? Local::usual_work(n) : 2.0 / 3.0 * cube(n) + last);
  }
  double log_likelihood(Vec<const double> theta, double* gradient, bool prior);
  void predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var);
  void score(Utility utility, Mat<const double> U, double* value);
  double incumbent();
  // out (n_samples, m)
  void sample(Mat<const double> U, std::int64_t n_samples, Key key, double* out);
  MaximumResult maximise(Utility utility, std::int64_t q, Mat<const double> pending, Key key, Mat<const double> starts,
                         bool avoid_known);

 private:
  // What a row of a panel that is not full takes, in rows of a full one: it comes alone, and waits for memory.  (63
  // rows from n = 4,096 on took 5 times as long as the 64 of a panel; at 10,000 one takes 18 ms, the 64 160.)
  static constexpr double SINGLE_ROW = 8.0;

  // A refit under way: the fit, then the model under the theta that it found.
  struct Planned {
    // data: of the first n rows, those that theta is fitted to.
    Planned(std::int64_t n, const Columns& columns, FitSettings settings, const Observed& data,
            std::vector<double> theta)
        : n(n), fit(columns, std::move(settings), data, std::move(theta)), model(columns) {}

    std::int64_t n;
    Refit fit;
    Conditioned model;
    // In place of `model` where the model is local.
    std::unique_ptr<Local> local;
    Warp warp;  // of the first n, and of rows told since as far as the local model has them
    double noise_scale = 1.0;
    double balance = 0.0;  // work that was asked for, less what was done: a piece is often more than a share
    bool waited = false;   // at the last share
  };

  Layout layout_;
  Columns columns_;
  GpConfig config_;
  Prior prior_;

  std::vector<double> U_, Y_, known_;  // as told; known_ NaN where the noise is inferred
  // Derived from the above.
  Warp warp_;
  double noise_scale_ = 1.0;  // the quantised scale that known variances were divided by
  Conditioned now_;           // of the local model, theta alone
  std::unique_ptr<Local> local_;
  std::int64_t fitted_ = 0;  // observations told when theta was fitted, 0 where that is not known
  std::int64_t base_ = 0;    // those that the local model's warp and summary begin with
  std::unique_ptr<Planned> next_;
  double taken_ = 0.0;              // work of the blocks that rows appended since the last ask brought
  std::vector<std::int64_t> best_;  // the best rows that did not fail, best first
  Weights weights_;
  bool weights_current_ = false;
  std::vector<double> alpha_;  // weights, then 0 for pending rows
  KnownPoints told_, failed_;  // told_: of the first told_.n() rows, as far as a search had to avoid them
  Posterior posterior_;
  std::unique_ptr<Likelihood> likelihood_;

  CovarianceMatrix matrix(const Conditioned& model) const {
    return {&model.points, config_.kind, std::exp(model.theta[layout_.b]), model.noise.data()};
  }
  void check_points(Mat<const double> U, const char* name) const;
  void check_theta(Vec<const double> theta) const;
  void push(const double* U, const double* Y, const double* known, std::int64_t rows);
  void renew_warp();
  void exchange_warp(Warp& other);
  void rebuild(Conditioned& model);
  void embed(Conditioned& model, std::int64_t n);
  double catch_up(Conditioned& model, std::int64_t n, Factor::Along* along = nullptr);
  double catch_up_with_weights();
  double quantised(const std::vector<double>& known, const Warp& warp) const;
  void cut(std::int64_t n, Warp* former = nullptr);
  const Weights& weights();
  Posterior& posterior();
  std::vector<std::int64_t> near_the_best(const Observed& all, std::int64_t count) const;
  void settle_for(const FitData& data, FitSettings& settings) const;
  double advance_factor(double work);
  void push_pending(const double* u);
  void drop_pending();
  void rank(std::int64_t first);

  bool local_with(std::int64_t n) const {
    return n > 0 && (config_.surrogate == Surrogate::vecchia ||
                     (config_.surrogate == Surrogate::automatic && n >= config_.exact_below));
  }
  // With how many of n observations the local model's warp and summary begin: with those told when theta was fitted;
  // without a fit with all, or with those with which the model became a local one.
  std::int64_t begins_with(std::int64_t n) const {
    if (fitted_ > 0) return std::min(n, fitted_);
    return config_.surrogate == Surrogate::automatic ? std::min(n, config_.exact_below) : n;
  }
  Rows rows(const std::vector<double>& theta, const Warp& warp, double noise_scale) const {
    return {{U_.data(), static_cast<std::int64_t>(warp.w.size()), d()},
            warp.w.data(),
            known_.data(),
            noise_scale,
            std::exp(theta[layout_.b + 1])};
  }
  Rows rows() const { return rows(now_.theta, warp_, noise_scale_); }
  Local& local();
  void freeze();
  bool extend(Warp& warp, std::int64_t& base) const;
  void extend_warp();
  void release();
  // Of what comes after the base nobody knows yet whether its noise is known.
  double local_noise_scale(const Warp& warp) const { return config_.standardise ? warp.quantised_scale() : 1.0; }
  double advance_local(double work);
  void take_local();
  // Calls use(posterior, point, row) with a posterior that serves that point of U; of the exact model with all at once.
  template <class Use>
  void each_local(Mat<const double> U, Use&& use);
};

}  // namespace hpo
