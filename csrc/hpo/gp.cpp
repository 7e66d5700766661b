#include "hpo/gp.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
// What the search climbs in place of `utility`: where that is flat 0 its logarithm still has a slope, and the same
// maximum.
Utility logarithmic(Utility utility) {
  if (utility.kind == UtilityKind::ei) utility.kind = UtilityKind::log_ei;
  if (utility.kind == UtilityKind::pi) utility.kind = UtilityKind::log_pi;
  return utility;
}

// The improvement that counts, in standardised units, for the probability of improvement: without it that is largest a
// hair's breadth from the best point (Kushner 1964 has such a margin too; regret on Branin 8.7 without, 0.04 with it).
constexpr double PI_MARGIN = 0.01;
Utility with_margin(Utility utility) {
  if (utility.kind == UtilityKind::pi || utility.kind == UtilityKind::log_pi) utility.best -= PI_MARGIN;
  return utility;
}

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();
// Up to here the two starts of a fit run side by side: below it a factorisation gains nothing from a second thread.
constexpr std::int64_t SIDE_BY_SIDE = 256;
// A fit is as good as a hundredth of a nat; more would be spent on what the next trial changes anyway.
constexpr LbfgsbOptions FIT_OPTIONS{10, 1e-2, 1e-6, 100, 150, 1.0};
}  // namespace

GaussianProcess::GaussianProcess(const LayoutArrays& layout, const GpConfig& config)
    : layout_(layout),
      columns_(layout_),
      config_(config),
      prior_(layout_.b),
      theta_(prior_mode(layout_.b)),
      points_(columns_),
      told_(layout_),
      failed_(layout_) {
  const std::int64_t b = layout_.b;
  if (config_.fixed_noise) theta_[b + 1] = std::log(config_.noise);
  for (std::int64_t j = 0; j < b + (config_.fixed_noise ? 1 : 2); ++j) {
    const int part = j < b ? 0 : j == b ? 1 : 2;
    theta_[j] = std::min(std::max(theta_[j], std::log(config_.lower[part])), std::log(config_.upper[part]));
  }
  rebuild();
}

void GaussianProcess::check_points(Mat<const double> U, const char* name) const {
  for (std::int64_t i = 0; i < U.rows; ++i) {
    for (std::int64_t j = 0; j < layout_.b; ++j) {
      const double code = U(i, layout_.column(j));
      if (std::isinf(code) || (std::isnan(code) && !layout_.conditional[j]))
        throw std::invalid_argument(
            std::string(name) + " must be finite, NaN only where a block with conditions does not " +
            "exist, but got " + (std::isnan(code) ? "NaN" : "an infinity") + " in row " + std::to_string(i) +
            ", column " + std::to_string(layout_.column(j)) + "; encode the point with its space");
    }
  }
}

void GaussianProcess::check_theta(Vec<const double> theta) const {
  for (std::int64_t j = 0; j < theta.n; ++j)
    if (!std::isfinite(theta[j]) && !(config_.fixed_noise && j == layout_.b + 1))
      throw std::invalid_argument("theta must be finite logarithms, but entry " + std::to_string(j) + " is " +
                                  std::to_string(theta[j]) + "; give ln(length scale), .., ln(variance), ln(noise)");
}

// ---- observations ---------------------------------------------------------------------------------------------------

void GaussianProcess::append(Mat<const double> U, Vec<const double> Y, Vec<const double> known) {
  check_points(U, "U");
  for (std::int64_t i = 0; i < Y.n; ++i) {
    if (std::isnan(Y[i]) || Y[i] == -std::numeric_limits<double>::infinity())
      throw std::invalid_argument("Y must be finite, or +inf for a failed trial, but row " + std::to_string(i) +
                                  " is " + std::to_string(Y[i]) + "; leave the row out, or mark it as failed");
    if (known.n && !std::isnan(known[i]) && (known[i] < 0.0 || std::isinf(known[i])))
      throw std::invalid_argument("noise must be a variance >= 0, or NaN where it is to be inferred, but row " +
                                  std::to_string(i) + " is " + std::to_string(known[i]) +
                                  "; give the square of the "
                                  "standard error");
  }
  const std::int64_t before = n();
  U_.insert(U_.end(), U.data, U.data + U.rows * U.cols);
  Y_.insert(Y_.end(), Y.data, Y.data + Y.n);
  if (known.n)
    known_.insert(known_.end(), known.data, known.data + known.n);
  else
    known_.resize(Y_.size(), NaN);
  try {
    renew_warp();
    catch_up();
  } catch (...) {
    cut(before);
    throw;
  }
  for (std::int64_t i = before; i < n(); ++i) {
    told_.insert(U_.data() + i * d());
    if (!std::isfinite(Y_[i])) failed_.insert(U_.data() + i * d());
  }
}

void GaussianProcess::truncate(std::int64_t n) {
  if (n < 0 || n > this->n())
    throw std::invalid_argument("n must be between 0 and the " + std::to_string(this->n()) + " rows told, but got " +
                                std::to_string(n) + "; forget fewer rows");
  std::int64_t failed = 0;
  for (std::int64_t i = 0; i < n; ++i) failed += !std::isfinite(Y_[i]);
  cut(n);
  told_.truncate(n);
  failed_.truncate(failed);
}

// Back to the first n observations.  They were in the model before, so the guard passes them again (but for known
// variances at another scale of the values, see renew_warp).
void GaussianProcess::cut(std::int64_t n) {
  U_.resize(n * d());
  Y_.resize(n);
  known_.resize(n);
  renew_warp();
  if (points_.n() >= n) {
    points_.truncate(n);
    noise_.resize(n);
    V_.truncate(matrix(), n);
  }
  catch_up();
}

// Warps the values anew; where that moves the quantised scale of known variances, the diagonal of K changes and the
// factor starts again.
void GaussianProcess::renew_warp() {
  warp_.apply(Y_, config_.standardise);
  weights_current_ = false;
  const bool any_known = std::any_of(known_.begin(), known_.end(), [](double v) { return !std::isnan(v); });
  const double scale = any_known && config_.standardise ? warp_.quantised_scale() : 1.0;
  if (scale != noise_scale_) {
    noise_scale_ = scale;
    rebuild();
  }
}

// Forgets what is derived from theta and the points.
void GaussianProcess::rebuild() {
  points_.reset(theta_.data());
  noise_.clear();
  V_.clear();
  weights_current_ = false;
}

// Embeds the points that are new and extends the factor by them.  O(q n^2).
void GaussianProcess::catch_up() {
  for (std::int64_t i = points_.n(); i < n(); ++i) {
    points_.append(U_.data() + i * d());
    const double known = known_[i] / noise_scale_ / noise_scale_;
    noise_.push_back(std::isnan(known) ? theta_noise() : known);
  }
  V_.extend(matrix(), n(), config_.threads);
}

const Weights& GaussianProcess::weights() {
  if (!weights_current_) {
    weights_.compute(V_, warp_.w.data(), config_.constant_mean);
    weights_current_ = true;
  }
  return weights_;
}

// ---- theta ----------------------------------------------------------------------------------------------------------

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

// ---- posterior ------------------------------------------------------------------------------------------------------

// Points the posterior at factor and weights; rows behind the told ones, the pending, have weight 0.
Posterior& GaussianProcess::posterior() {
  alpha_ = weights().alpha;
  alpha_.resize(V_.n(), 0.0);
  posterior_.points = &points_;
  posterior_.V = &V_;
  posterior_.alpha = alpha_.data();
  posterior_.mu = weights_.mu;
  posterior_.s2 = std::exp(theta_[layout_.b]);
  posterior_.kind = config_.kind;
  posterior_.threads = config_.threads;
  return posterior_;
}

void GaussianProcess::predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var) {
  check_points(U, "U");
  posterior().predict(U, mean, var, d_mean, d_var);
}

void GaussianProcess::score(Utility utility, Mat<const double> U, double* value) {
  check_points(U, "U");
  utility.best = warp_.best;
  posterior().score(with_margin(utility), U, value, nullptr);
}

// Draws mean + R'z with R'R the posterior covariance (Rasmussen & Williams 2006, A.2).  The covariance of close points
// is singular to rounding: a pivot below 1e-12 s2 counts as 0, and its row adds nothing.
void GaussianProcess::sample(Mat<const double> U, std::int64_t n_samples, Key key, double* out) {
  check_points(U, "U");
  const std::int64_t m = U.rows;
  std::vector<double> mean(m), S(m * m), z(m);
  Posterior& p = posterior();
  p.covariance(U, mean.data(), S.data());
  for (std::int64_t k = 0; k < m; ++k) {
    double* row = S.data() + k * m;
    const double scale = row[k] > 1e-12 * p.s2 ? 1.0 / std::sqrt(row[k]) : 0.0;
    for (std::int64_t j = k; j < m; ++j) row[j] *= scale;
    for (std::int64_t i = k + 1; i < m; ++i) {
      const double factor = row[i];
      double* other = S.data() + i * m;
      for (std::int64_t j = i; j < m; ++j) other[j] -= factor * row[j];
    }
  }
  for (std::int64_t s = 0; s < n_samples; ++s) {
    double* draw = out + s * m;
    std::copy(mean.begin(), mean.end(), draw);
    for (std::int64_t k = 0; k < m; ++k) {
      const double deviate = normal(key.seed, key.number, static_cast<std::uint64_t>(s * m + k));
      const double* row = S.data() + k * m;
      for (std::int64_t j = k; j < m; ++j) draw[j] += deviate * row[j];
    }
  }
}

// ---- the next points ------------------------------------------------------------------------------------------------

// A pending point enters with the posterior mean as its value: the mean stays as it is, the variance falls.  It counts
// as known almost exactly: with the inferred noise the points of a batch would clump.
void GaussianProcess::push_pending(const double* u) {
  points_.append(u);
  noise_.push_back(1e-6 * std::exp(theta_[layout_.b]));
  V_.extend_by_rows(matrix(), points_.n());
}

void GaussianProcess::drop_pending() {
  points_.truncate(n());
  noise_.resize(n());
  V_.truncate(matrix(), n());
}

MaximumResult GaussianProcess::maximise(Utility utility, std::int64_t q, Mat<const double> pending, Key key,
                                        Mat<const double> starts, bool avoid_known) {
  check_points(pending, "pending");
  check_points(starts, "starts");
  struct Restore {
    GaussianProcess* gp;
    ~Restore() { gp->drop_pending(); }
  } restore{this};

  // The best points told, a twentieth of all but at least 5 and at most 50: the search perturbs them.
  std::vector<std::int64_t> rows(n());
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  rows.erase(std::remove_if(rows.begin(), rows.end(), [&](std::int64_t i) { return !std::isfinite(Y_[i]); }),
             rows.end());
  const std::int64_t count = std::min<std::int64_t>(static_cast<std::int64_t>(rows.size()),
                                                    std::min<std::int64_t>(50, std::max<std::int64_t>(5, n() / 20)));
  std::partial_sort(rows.begin(), rows.begin() + count, rows.end(),
                    [&](std::int64_t i, std::int64_t j) { return Y_[i] < Y_[j] || (Y_[i] == Y_[j] && i < j); });
  std::vector<double> best;
  for (std::int64_t i = 0; i < count; ++i)
    best.insert(best.end(), U_.data() + rows[i] * d(), U_.data() + (rows[i] + 1) * d());
  std::vector<double> lengthscale(layout_.b);
  for (std::int64_t j = 0; j < layout_.b; ++j) lengthscale[j] = std::exp(theta_[j]);

  KnownPoints asked(layout_);
  utility.best = warp_.best;
  if (pending.rows) {
    std::vector<double> mean(pending.rows), var(pending.rows);
    posterior().predict(pending, mean.data(), var.data(), nullptr, nullptr);
    for (std::int64_t i = 0; i < pending.rows; ++i) {
      utility.best = std::min(utility.best, mean[i]);
      asked.insert(pending.row(i));
      push_pending(pending.row(i));
    }
  }
  MaximumResult result;
  for (std::int64_t i = 0; i < q; ++i) {
    PosteriorScorer scorer(posterior(), logarithmic(with_margin(utility)));
    // Each of the q searches draws its own candidates: the high half of the number is free.
    const SearchInput input{{best.data(), count, d()},
                            starts,
                            {lengthscale.data(), layout_.b},
                            {avoid_known ? &told_ : &failed_, &asked},
                            {key.seed, key.number + (static_cast<std::uint64_t>(i) << 40)}};
    const SearchResult found = Search(layout_, scorer, input).run();
    double mean, var;
    posterior_.predict({found.u.data(), 1, d()}, &mean, &var, nullptr, nullptr);
    result.U.insert(result.U.end(), found.u.begin(), found.u.end());
    result.values.push_back(utility_value(with_margin(utility), mean, var));
    result.mean.push_back(mean);
    result.var.push_back(var);
    if (i == 0) {
      result.optima = found.optima;
      result.n_optima = found.n_optima;
    }
    if (i + 1 == q) break;
    utility.best = std::min(utility.best, mean);
    asked.insert(found.u.data());
    push_pending(found.u.data());
  }
  return result;
}

}  // namespace hpo
