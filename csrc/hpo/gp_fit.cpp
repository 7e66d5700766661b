// Theta: set, evaluated, fitted.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "hpo/gp.hpp"
#include "hpo/pool.hpp"

namespace hpo {

namespace {
// Up to here the two starts of a fit run side by side: below it a factorisation gains nothing from a second thread.
constexpr std::int64_t SIDE_BY_SIDE = 256;
// A fit is as good as a hundredth of a nat; more would be spent on what the next trial changes anyway.
constexpr LbfgsbOptions FIT_OPTIONS{10, 1e-2, 1e-6, 100, 150, 1.0};
}  // namespace

void GaussianProcess::set_theta(Vec<const double> theta) {
  check_theta(theta);
  std::vector<double> wanted(theta.data, theta.data + theta.n);
  if (config_.fixed_noise) wanted[layout_.b + 1] = theta_[layout_.b + 1];
  if (wanted == theta_) return;
  wanted.swap(theta_);
  rebuild();
  try {
    catch_up();
  } catch (...) {
    wanted.swap(theta_);
    rebuild();
    catch_up();
    throw;
  }
}

// The log likelihood at any theta, with the log prior where it is wanted and there is one.
double GaussianProcess::evaluate(const double* theta, double* gradient, bool prior, Likelihood& likelihood,
                                 int threads) const {
  const std::int64_t b = layout_.b;
  std::vector<double> full(theta, theta + b + 2);
  if (config_.fixed_noise) full[b + 1] = theta_[b + 1];
  const Observed data{{U_.data(), n(), d()}, warp_.w.data(), known_.data(),
                      noise_scale_,          config_.kind,   config_.constant_mean};
  double value = likelihood(data, full.data(), gradient, threads);
  if (gradient && config_.fixed_noise) gradient[b + 1] = 0.0;
  if (prior && config_.prior) value += prior_(b, full.data(), !config_.fixed_noise, gradient);
  return value;
}

Likelihood& GaussianProcess::likelihood(std::size_t i) {
  while (likelihood_.size() <= i) likelihood_.push_back(std::make_unique<Likelihood>(columns_));
  return *likelihood_[i];
}

double GaussianProcess::log_likelihood(Vec<const double> theta, double* gradient, bool prior) {
  check_theta(theta);
  return evaluate(theta.data, gradient, prior, likelihood(0), config_.threads);
}

FitResult GaussianProcess::refit() {
  const std::int64_t b = layout_.b, p = b + 2;
  FitResult result;
  if (n() == 0) {
    if (config_.prior) result.log_posterior = prior_(b, theta_.data(), !config_.fixed_noise, nullptr);
    return result;
  }
  std::vector<double> lower(p), upper(p), starts(theta_);
  for (std::int64_t j = 0; j < p; ++j) {
    const int part = j < b ? 0 : j == b ? 1 : 2;
    lower[j] = std::log(config_.lower[part]);
    upper[j] = std::log(config_.upper[part]);
  }
  const std::vector<double> mode = prior_mode(b);
  starts.insert(starts.end(), mode.begin(), mode.end());
  if (config_.fixed_noise) lower[p - 1] = upper[p - 1] = starts[p - 1] = starts[2 * p - 1] = 0.0;  // it does not move
  for (std::int64_t i = 0; i < 2 * p; ++i) starts[i] = std::min(std::max(starts[i], lower[i % p]), upper[i % p]);
  const bool one = std::equal(starts.begin(), starts.begin() + p, starts.begin() + p);

  LockStep search(2, p, {lower.data(), p}, {upper.data(), p}, {}, FIT_OPTIONS);
  search.start({starts.data(), one ? 1 : 2, p});
  std::vector<double> X(2 * p), G(2 * p), f(2);
  std::vector<std::int64_t> ids(2);
  // Small problems: a thread a start.  Larger ones: all threads on one start after the other, which needs half the
  // memory.
  const bool side_by_side = n() <= SIDE_BY_SIDE;
  likelihood(side_by_side ? 1 : 0);
  while (const std::int64_t active = search.propose({X.data(), 2, p}, {ids.data(), 2})) {
    parallel_for(side_by_side ? config_.threads : 1, active, [&](std::int64_t i, int) {
      try {
        f[i] = -evaluate(X.data() + i * p, G.data() + i * p, true, *likelihood_[side_by_side ? i : 0],
                         side_by_side ? 1 : config_.threads);
        for (std::int64_t j = 0; j < p; ++j) G[i * p + j] = -G[i * p + j];
      } catch (const numerical_error&) {
        f[i] = std::numeric_limits<double>::infinity();  // the search steps back from there
      }
    });
    search.tell({f.data(), active}, {G.data(), active, p});
  }
  std::int64_t best = -1;
  for (std::int64_t i = 0; i < search.starts(); ++i)
    if (std::isfinite(search.value(i)) && (best < 0 || search.value(i) < search.value(best))) best = i;
  if (best < 0)
    throw numerical_error(
        "a fit must find a finite log posterior, but neither theta nor the prior's mode has one; set "
        "theta, or give the observations noise",
        -1);
  std::vector<double> theta(p);
  search.point(best, theta.data());
  if (config_.fixed_noise) theta[p - 1] = theta_[p - 1];
  set_theta({theta.data(), p});
  result.log_posterior = result.log_likelihood = -search.value(best);
  if (config_.prior) result.log_likelihood -= prior_(b, theta.data(), !config_.fixed_noise, nullptr);
  return result;
}

}  // namespace hpo
