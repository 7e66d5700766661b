#include "hpo/rough.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hpo/pool.hpp"

namespace hpo {

// Near is what covaries most.
void Nearby::look(const Posterior& all, const Noise& noise, Mat<const double> U) {
  const Kernels& k = kernels();
  const Embedding& points = *all.points;
  const std::int64_t n = all.V->n(), e = points.e(), most = most_rows(n);
  Embedding queries(points.columns(), points);
  for (std::int64_t i = 0; i < U.rows; ++i) queries.append(U.row(i));
  std::vector<std::vector<std::int64_t>> nearest(U.rows);
  Buffer K;
  K.need(n * LANES);
  for (std::int64_t at = 0; at < U.rows; at += LANES) {
    parallel_for(all.threads, all.threads, [&](std::int64_t t, int) {
      const std::int64_t begin = n * t / all.threads, end = n * (t + 1) / all.threads;
      k.covariance(all.kind, all.s2, end - begin, points.e_num(), e, points.rows(begin), queries.chunk(at / LANES),
                   points.weight(), K.data() + begin * LANES, nullptr);
    });
    parallel_for(all.threads, std::min(LANES, U.rows - at), [&](std::int64_t l, int) {
      std::vector<std::int64_t>& rows = nearest[at + l];
      std::vector<double> value(n);
      for (std::int64_t i = noise.first; i < n; ++i) {
        value[i] = K.data()[i * LANES + l];
        if (all.V->merged(i) < 0) rows.push_back(i);
      }
      const auto closer = [&](std::int64_t i, std::int64_t j) {
        return value[i] > value[j] || (value[i] == value[j] && i < j);
      };
      const auto count = static_cast<std::ptrdiff_t>(std::min(rows.size(), static_cast<std::size_t>(most)));
      std::nth_element(rows.begin(), rows.begin() + count, rows.end(), closer);
      rows.resize(count);
      std::sort(rows.begin(), rows.end(), closer);
    });
  }
  std::vector<char> taken(n, 0);
  std::int64_t left = most;
  for (std::int64_t r = 0; r < most; ++r)
    for (const auto& of_one : nearest) {
      if (left == 0 || r >= static_cast<std::int64_t>(of_one.size()) || taken[of_one[r]]) continue;
      taken[of_one[r]] = 1;
      --left;
    }
  points_.truncate(0);
  noise_.clear();
  for (std::int64_t row = 0; row < n; ++row) {
    if (!taken[row]) continue;
    points_.append(points, row);
    noise_.push_back(noise.variance[row]);
  }
  zero_.assign(points_.n(), 0.0);
  V_.clear();
  V_.build_some({&points_, all.kind, all.s2, noise_.data()}, points_.n(), std::numeric_limits<double>::infinity(),
                all.threads);
  posterior_.points = &points_;
  posterior_.V = &V_;
  posterior_.alpha = zero_.data();
  posterior_.s2 = all.s2;
  posterior_.kind = all.kind;
  posterior_.threads = all.threads;
}

const RoughScorer::Correction& RoughScorer::nearest(const double* u) {
  embedded_.resize(around_.e());
  around_.embed(u, [&](std::int64_t c, double z) { embedded_[c] = z; });
  std::int64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i < around_.n(); ++i) {
    const double r2 = around_.squared_distance(embedded_.data(), i);
    if (r2 < least) least = r2, best = i;
  }
  return corrections_[best];
}

void RoughScorer::moments(Mat<const double> U, bool gradient) {
  const std::int64_t m = U.rows, size = gradient ? m * U.cols : 0;
  mean_.resize(m), var_.resize(m), d_mean_.resize(size), d_var_.resize(size), unused_.resize(m);
  all_.predict_mean(U, mean_.data(), gradient ? d_mean_.data() : nullptr);
  near_.posterior().predict(U, unused_.data(), var_.data(), nullptr, gradient ? d_var_.data() : nullptr);
}

void RoughScorer::look(const Noise& noise, Mat<const double> U, double* value) {
  near_.look(all_, noise, U);
  const std::int64_t m = U.rows, d = U.cols;
  std::vector<double> mean(m), var(m), d_var(m * d);
  all_.predict(U, mean.data(), var.data(), nullptr, d_var.data());
  moments(U, true);
  around_.truncate(0);
  corrections_.resize(m);
  for (std::int64_t i = 0; i < m; ++i) {
    Correction& one = corrections_[i];
    value[i] = utility_value(utility_, mean[i], var[i]);
    around_.append(U.row(i));
    one.u.assign(U.row(i), U.row(i) + d);
    one.slope.assign(d, 0.0);
    one.log_ratio = std::min(0.0, std::log(var[i] / var_[i]));
    if (std::min(var[i], var_[i]) <= all_.least_variance()) continue;  // the slopes are what rounding left
    for (std::int64_t j = 0; j < d; ++j) one.slope[j] = d_var[i * d + j] / var[i] - d_var_[i * d + j] / var_[i];
  }
}

void RoughScorer::score(Mat<const double> U, double* value, double* d_value) {
  constexpr double LEAST = 2.0;  // as far below its value at the point as the correction may fall
  const std::int64_t m = U.rows, d = U.cols;
  moments(U, d_value != nullptr);
  for (std::int64_t i = 0; i < m; ++i) {
    const double* u = U.row(i);
    const Correction& one = nearest(u);
    double log_ratio = one.log_ratio;
    for (std::int64_t j = 0; j < d; ++j)
      if (!std::isnan(u[j]) && !std::isnan(one.u[j])) log_ratio += one.slope[j] * (u[j] - one.u[j]);
    const bool slopes = log_ratio < 0.0 && log_ratio > one.log_ratio - LEAST;
    const double ratio = std::exp(std::max(std::min(log_ratio, 0.0), one.log_ratio - LEAST));
    if (!d_value) {
      value[i] = utility_value(utility_, mean_[i], ratio * var_[i]);
      continue;
    }
    const UtilityGradient g = utility_gradient(utility_, mean_[i], ratio * var_[i]);
    value[i] = g.value;
    for (std::int64_t j = 0; j < d; ++j) {
      const std::int64_t at = i * d + j;
      const double d_log_ratio = slopes && !std::isnan(u[j]) && !std::isnan(one.u[j]) ? one.slope[j] : 0.0;
      d_value[at] = g.d_mean * d_mean_[at] + g.d_var * ratio * (d_var_[at] + var_[i] * d_log_ratio);
    }
  }
}

bool RoughScorer::bound(Mat<const double> U, double* value) {
  moments(U, false);
  for (std::int64_t i = 0; i < U.rows; ++i) value[i] = utility_bound(utility_, mean_[i], var_[i]);
  return true;
}

bool RoughScorer::bound_nearby(const Noise& noise, Mat<const double> U, double* value) {
  near_.look(all_, noise, U);
  return bound(U, value);
}

void PosteriorScorer::score(Mat<const double> U, double* value, double* d_value) {
  if (d_value) return posterior_->score(utility_, U, value, d_value);
  const auto first = static_cast<std::int64_t>(mean_.size());
  seen_.insert(seen_.end(), U.data, U.data + U.rows * U.cols);
  mean_.resize(first + U.rows);
  var_.resize(first + U.rows);
  posterior_->predict(U, mean_.data() + first, var_.data() + first, nullptr, nullptr);
  for (std::int64_t i = 0; i < U.rows; ++i) value[i] = utility_value(utility_, mean_[first + i], var_[first + i]);
}

Scorer* PosteriorScorer::rough(Mat<const double> points, double* value) {
  if (!noise_.variance) return nullptr;
  try {
    rough_.look(noise_, points, value);
  } catch (const numerical_error&) {  // some rows of a matrix that was definite enough: rounding alone can do this
    return nullptr;
  }
  return &rough_;
}

bool PosteriorScorer::bound_nearby(Mat<const double> U, double* value) {
  if (!noise_.variance) return false;
  try {
    return rough_.bound_nearby(noise_, U, value);
  } catch (const numerical_error&) {
    return false;
  }
}

void PosteriorScorer::moments(Vec<const double> u, double* mean, double* var) {
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    if (std::memcmp(seen_.data() + static_cast<std::int64_t>(i) * u.n, u.data, u.n * sizeof(double)) != 0) continue;
    *mean = mean_[i];
    *var = var_[i];
    return;
  }
  posterior_->predict({u.data, 1, u.n}, mean, var, nullptr, nullptr);
}

}  // namespace hpo
