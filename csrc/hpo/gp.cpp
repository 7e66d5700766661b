#include "hpo/gp.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace hpo {

namespace {
constexpr double NaN = std::numeric_limits<double>::quiet_NaN();
// An append after which there are so many rows, half of them new or more, leaves the factor to the verb that needs it,
// and so do those that follow: after a bulk that is most often a refit, and theta another one.
constexpr std::int64_t BULK = 1000;
}  // namespace

GaussianProcess::GaussianProcess(const LayoutArrays& layout, const GpConfig& config)
    : layout_(layout),
      columns_(layout_),
      config_(config),
      prior_(layout_.b),
      now_(columns_),
      told_(layout_),
      failed_(layout_) {
  const std::int64_t b = layout_.b;
  now_.theta = prior_mode(b);
  if (config_.fixed_noise) now_.theta[b + 1] = std::log(config_.noise);
  for (std::int64_t j = 0; j < b + (config_.fixed_noise ? 1 : 2); ++j) {
    const int part = j < b ? 0 : j == b ? 1 : 2;
    now_.theta[j] = std::min(std::max(now_.theta[j], std::log(config_.lower[part])), std::log(config_.upper[part]));
  }
  rebuild(now_);
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
  const std::int64_t before = n(), failed_before = failed_.n();
  const bool later = now_.V.n() < before || (Y.n >= before && before + Y.n >= BULK);
  Warp other;
  bool renewed = false;
  try {
    push(U.data, Y.data, known.data, Y.n);
    rank(before);
    for (std::int64_t i = before; i < n(); ++i)
      if (!std::isfinite(Y_[i])) failed_.insert(U_.data() + i * d());
    if (local_with(before) && begins_with(n()) <= before) {
      extend_warp();
    } else if (is_local()) {
      freeze();
    } else {
      other.apply(Y_, config_.standardise);
      renewed = true;
      exchange_warp(other);
      if (!later) taken_ += catch_up_with_weights();
    }
  } catch (...) {
    failed_.truncate(failed_before);
    cut(before, renewed ? &other : nullptr);
    throw;
  }
}

// known may be null: inferred.
void GaussianProcess::push(const double* U, const double* Y, const double* known, std::int64_t rows) {
  U_.insert(U_.end(), U, U + rows * d());
  Y_.insert(Y_.end(), Y, Y + rows);
  if (known)
    known_.insert(known_.end(), known, known + rows);
  else
    known_.resize(Y_.size(), NaN);
}

void GaussianProcess::truncate(std::int64_t n) {
  if (n < 0 || n > this->n())
    throw std::invalid_argument("n must be between 0 and the " + std::to_string(this->n()) + " rows told, but got " +
                                std::to_string(n) + "; forget fewer rows");
  std::int64_t failed = 0;
  for (std::int64_t i = 0; i < n; ++i) failed += !std::isfinite(Y_[i]);
  // Fewer values have another scale, and known variances divided by it may be more than the guard can pass.
  const std::vector<double> U(U_.begin() + n * d(), U_.end()), Y(Y_.begin() + n, Y_.end()),
      known(known_.begin() + n, known_.end());
  Warp warp = warp_;
  const std::int64_t base = base_;
  std::unique_ptr<Planned> plan;  // of more rows than are left: put back where the verb fails
  if (next_ && n < next_->n) plan = std::move(next_);
  try {
    cut(n);
  } catch (...) {
    if (plan) next_ = std::move(plan);
    if (next_) next_->model = Conditioned(columns_);
    push(U.data(), Y.data(), known.data(), static_cast<std::int64_t>(Y.size()));
    rank(0);
    if (is_local()) {
      std::swap(warp_, warp);
      base_ = base;
      noise_scale_ = local_noise_scale(warp_);
      local_.reset();
      release();
    } else {
      exchange_warp(warp);  // the next verb brings the factor back
    }
    throw;
  }
  told_.truncate(std::min(n, told_.n()));
  failed_.truncate(failed);
}

// Back to the first n observations.  Where they were in the model before, the guard passes them again (but for known
// variances at another scale of the values, see exchange_warp).  former: their warp, where it is at hand.
void GaussianProcess::cut(std::int64_t n, Warp* former) {
  const bool later = !is_local() && now_.V.n() < n;
  U_.resize(n * d());
  Y_.resize(n);
  known_.resize(n);
  if (next_ && n < next_->n) next_.reset();  // it is a fit to rows that are gone
  rank(0);
  if (next_) next_->local.reset();
  if (local_with(n)) {
    if (n < base_) return freeze();
    warp_.w.resize(n);
    warp_.best = best_.empty() ? 0.0 : warp_.w[best_.front()];
    if (local_ && !local_->truncate(n)) local_.reset();
    return;
  }
  local_.reset();
  former ? exchange_warp(*former) : renew_warp();
  for (Conditioned* model : {&now_, next_ ? &next_->model : nullptr}) {
    if (!model || model->theta.empty()) continue;
    model->V.forget_half();
    if (model->points.n() < n) continue;
    model->points.truncate(n);
    model->noise.resize(n);
    model->V.truncate(matrix(*model), n, config_.threads);
  }
  if (!later) catch_up(now_, n);
}

// Warps the values anew.
void GaussianProcess::renew_warp() {
  Warp warp;
  warp.apply(Y_, config_.standardise);
  exchange_warp(warp);
}

// Where another warp moves the quantised scale of known variances, the diagonal of K changes and the factor starts
// again.
void GaussianProcess::exchange_warp(Warp& other) {
  std::swap(warp_, other);
  weights_current_ = false;
  const double scale = quantised(known_, warp_);
  if (scale != noise_scale_) {
    noise_scale_ = scale;
    rebuild(now_);
    if (next_ && !next_->model.theta.empty()) rebuild(next_->model);
  }
}

// The rows that the search perturbs and starts from: at most 50, best first.
void GaussianProcess::rank(std::int64_t first) {
  constexpr std::size_t MOST = 50;
  if (first == 0) best_.clear();
  const auto better = [&](std::int64_t i, std::int64_t j) { return Y_[i] < Y_[j] || (Y_[i] == Y_[j] && i < j); };
  for (std::int64_t i = first; i < n(); ++i) {
    if (!std::isfinite(Y_[i]) || (best_.size() == MOST && !better(i, best_.back()))) continue;
    if (best_.size() == MOST) best_.pop_back();
    best_.insert(std::upper_bound(best_.begin(), best_.end(), i, better), i);
  }
}

// What known variances are divided by, 1 where there are none.
double GaussianProcess::quantised(const std::vector<double>& known, const Warp& warp) const {
  const bool any_known = std::any_of(known.begin(), known.end(), [](double v) { return !std::isnan(v); });
  return any_known && config_.standardise ? warp.quantised_scale() : 1.0;
}

// Forgets what is derived from theta and the points.
void GaussianProcess::rebuild(Conditioned& model) {
  model.points.reset(model.theta.data());
  model.noise.clear();
  model.V.clear();
  if (&model == &now_) weights_current_ = false;
}

// Embeds the points that are new, up to n.
void GaussianProcess::embed(Conditioned& model, std::int64_t n) {
  const double inferred = std::exp(model.theta[layout_.b + 1]);
  for (std::int64_t i = model.points.n(); i < n; ++i) {
    model.points.append(U_.data() + i * d());
    model.noise.push_back(noise_variance(known_[i], noise_scale_, inferred));
  }
}

// The same, and extends the factor by them; where that fails, the model is as it was.  Returns the operations of the
// blocks among that.  O(q n^2).
double GaussianProcess::catch_up(Conditioned& model, std::int64_t n, Factor::Along* along) {
  const std::int64_t held = model.V.n();
  try {
    embed(model, n);
    return model.V.extend(matrix(model), n, config_.threads, along);
  } catch (...) {
    model.points.truncate(held);
    model.noise.resize(held);
    model.V.truncate(matrix(model), held, config_.threads);
    throw;
  }
}

// The same for the model that answers and all that is told.  The values have come already: what the weights need of the
// older rows goes along with the reading of them for one new row.
double GaussianProcess::catch_up_with_weights() {
  Factor::Along along{};
  const bool one = now_.V.n() + 1 == n() && now_.V.n() >= Factor::ALONG_FROM;
  weights_current_ = false;
  const bool rides = one && weights_.ride(now_.V, warp_.w.data(), config_.constant_mean, along);
  const double work = catch_up(now_, n(), rides ? &along : nullptr);
  if (along.done) {
    weights_.arrive(now_.V);
    weights_current_ = true;
  }
  return work;
}

const Weights& GaussianProcess::weights() {
  catch_up(now_, n());  // after a bulk, or a verb that failed
  if (!weights_current_) {
    weights_.compute_as_told(now_.V, warp_.w.data(), config_.constant_mean, config_.threads);
    weights_current_ = true;
  }
  return weights_;
}

// ---- posterior ------------------------------------------------------------------------------------------------------

// Points the posterior at factor and weights; rows behind the told ones, the pending, have weight 0.
Posterior& GaussianProcess::posterior() {
  alpha_ = weights().alpha;
  alpha_.resize(now_.V.n(), 0.0);
  posterior_.points = &now_.points;
  posterior_.V = &now_.V;
  posterior_.alpha = alpha_.data();
  posterior_.mu = weights_.mu;
  posterior_.s2 = std::exp(now_.theta[layout_.b]);
  posterior_.kind = config_.kind;
  posterior_.threads = config_.threads;
  return posterior_;
}

template <class Use>
void GaussianProcess::each_local(Mat<const double> U, Use&& use) {
  Local& model = local();
  for (std::int64_t i = 0; i < U.rows; ++i) {
    const Mat<const double> u{U.row(i), 1, U.cols};
    use(model.near(rows(), u, config_.threads), u, i);
  }
}

void GaussianProcess::predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var) {
  check_points(U, "U");
  if (!is_local()) return posterior().predict(U, mean, var, d_mean, d_var);
  each_local(U, [&](Posterior& near, Mat<const double> u, std::int64_t i) {
    const std::int64_t at = i * U.cols;
    near.predict(u, mean + i, var + i, d_mean ? d_mean + at : nullptr, d_var ? d_var + at : nullptr);
  });
}

void GaussianProcess::score(Utility utility, Mat<const double> U, double* value) {
  check_points(U, "U");
  utility.best = incumbent();
  const Utility what = with_margin(utility);
  if (!is_local()) return posterior().score(what, U, value, nullptr);
  each_local(U, [&](Posterior& near, Mat<const double> u, std::int64_t i) { near.score(what, u, value + i, nullptr); });
}

// Draws mean + R'z with R'R the posterior covariance (Rasmussen & Williams 2006, A.2).  The covariance of close points
// is singular to rounding: a pivot below 1e-12 s2 counts as 0, and its row adds nothing.
void GaussianProcess::sample(Mat<const double> U, std::int64_t n_samples, Key key, double* out) {
  check_points(U, "U");
  const std::int64_t m = U.rows;
  std::vector<double> mean(m), S(m * m);
  Posterior& p = is_local() ? local().near(rows(), U, config_.threads) : posterior();
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

}  // namespace hpo
