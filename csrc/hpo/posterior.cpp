#include "hpo/posterior.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
// A group is shared by several threads from this many multiply-adds on: some 60 us of work, against three regions of a
// few microseconds each.
constexpr double SHARED_FROM = 4e6;
// Rows of V that bound a variance, and from how many observations on they do: of 512 candidates at n = 1,000 and 3,000,
// d = 5 and 20, none had a bound above the best value, already with 256 rows, and the 16 best were among the 64 with
// the largest bounds.
constexpr std::int64_t BOUNDING = 512, BOUND_FROM = 1024;

// Rows [begin, end) of share t out of `shares`, on borders of PANEL.
struct Share {
  std::int64_t begin, end;
  Share(std::int64_t n, int shares, std::int64_t t) {
    const std::int64_t panels = (n + PANEL - 1) / PANEL;
    begin = std::min(n, panels * t / shares * PANEL);
    end = std::min(n, panels * (t + 1) / shares * PANEL);
  }
};
}  // namespace

void Posterior::embed(Work& work, Mat<const double> U) const {
  const std::int64_t e = points->e();
  work.queries.assign(work.chunks * e * LANES, 0.0);
  for (std::int64_t i = 0; i < U.rows; ++i) {
    double* chunk = work.queries.data() + i / LANES * e * LANES + i % LANES;
    points->embed(U.row(i), [&](std::int64_t c, double z) { chunk[c * LANES] = z; });
  }
}

// Reads V once for all points of the group: A = V K, var = s2 - colsum(A^2), and for gradients U = V' A (= K^-1 k).
// Of V, the first `panels` count.
void Posterior::fill(Work& work, Mat<const double> U, int inner, bool gradient, std::int64_t panels) const {
  const Kernels& k = kernels();
  const std::int64_t n = V->n(), e = points->e();
  work.m = U.rows;
  work.chunks = (U.rows + LANES - 1) / LANES;
  work.rows = n;
  work.size = V->panels() * PANEL * LANES;
  work.inner = inner;
  embed(work, U);
  double* K = work.K.need(work.chunks * work.size + 1);
  double* H = gradient ? work.H.need(work.chunks * work.size + 1) : nullptr;
  const int sums = panels > 0 ? inner : 1;  // without a panel U is 0
  double* Uacc = gradient ? work.U.need(sums * work.chunks * work.size + 1) : nullptr;
  work.partial_q.assign(inner * work.chunks * LANES, 0.0);
  work.mean.assign(work.chunks * LANES, 0.0);
  work.var.assign(work.chunks * LANES, s2);
  if (n == 0) return;

  parallel_for(inner, inner, [&](std::int64_t t, int) {
    const Share share(n, inner, t);
    for (std::int64_t c = 0; c < work.chunks; ++c)
      k.covariance(kind, s2, share.end - share.begin, points->e_num(), e, points->rows(share.begin),
                   work.queries.data() + c * e * LANES, points->weight(), K + c * work.size + share.begin * LANES,
                   H ? H + c * work.size + share.begin * LANES : nullptr);
  });
  parallel_for(inner, inner, [&](std::int64_t t, int) {
    alignas(64) double A[PANEL * LANES];
    if (gradient && t < sums)
      std::memset(Uacc + t * work.chunks * work.size, 0,
                  static_cast<std::size_t>(work.chunks * work.size) * sizeof(double));
    for (std::int64_t p = t; p < panels; p += inner) {
      for (std::int64_t c = 0; c < work.chunks; ++c) {
        k.panel_product(V->panel(p), V->rows(p), V->stride(p), p * PANEL, K + c * work.size, A, LANES);
        k.add_squares(A, V->rows(p), work.partial_q.data() + (t * work.chunks + c) * LANES);
        if (gradient)
          k.panel_transposed(V->panel(p), V->rows(p), V->stride(p), p * PANEL, std::min(V->stride(p), n), A, LANES,
                             Uacc + (t * work.chunks + c) * work.size);
      }
    }
  });
  // The shares of U add up in order, a stretch of rows a thread.
  if (gradient && sums > 1) {
    parallel_for(inner, inner, [&](std::int64_t t, int) {
      const Share share(n, inner, t);
      for (std::int64_t c = 0; c < work.chunks; ++c) {
        double* sum = Uacc + c * work.size;
        for (int s = 1; s < inner; ++s) {
          const double* other = Uacc + (s * work.chunks + c) * work.size;
          for (std::int64_t i = share.begin * LANES; i < share.end * LANES; ++i) sum[i] += other[i];
        }
      }
    });
  }
  const double least = 1e-12 * s2;  // what rounding leaves of a variance at a told point may be below zero
  for (std::int64_t c = 0; c < work.chunks; ++c) {
    double* mean = work.mean.data() + c * LANES;
    k.panel_product(alpha, 1, n, n - 1, K + c * work.size, mean, LANES);
    for (std::int64_t l = 0; l < LANES; ++l) {
      mean[l] += mu;
      double q = 0.0;
      for (int t = 0; t < inner; ++t) q += work.partial_q[(t * work.chunks + c) * LANES + l];
      work.var[c * LANES + l] = std::max(least, s2 - q);
    }
  }
}

// out (m, d) = a d_mean + b d_var for the weights a, b of each point.  With z the scaled numbers,
//   Reverse: mean = mu + sum_i k_i alpha_i        d_mean = sum_i h_i alpha_i (z_i - q)
//   Reverse: var = s2 - k' K^-1 k = s2 - k'U      d_var  = -2 sum_i h_i U_i (z_i - q)
// since dk/dq = h (z - q); the division by the length scale undoes the scaling.
void Posterior::gradient(Work& work, Mat<const double> U, double* out) const {
  const Kernels& k = kernels();
  const std::int64_t n = work.rows, e_num = points->e_num(), e = points->e(), d = U.cols;
  std::fill(out, out + U.rows * d, 0.0);
  if (n == 0 || e_num == 0) return;
  std::vector<double> minus_2b(work.b);
  for (double& b : minus_2b) b *= -2.0;
  double* w = work.w.need(work.chunks * work.size);
  const std::int64_t columns = e_num * LANES, shares = work.inner;
  work.G.assign(shares * work.chunks * columns, 0.0);
  parallel_for(work.inner, shares, [&](std::int64_t t, int) {
    const Share share(n, work.inner, t);
    const std::int64_t at = share.begin * LANES, rows = share.end - share.begin;
    for (std::int64_t c = 0; c < work.chunks; ++c) {
      k.combine(rows, work.H.data() + c * work.size + at, alpha + share.begin, work.U.data() + c * work.size + at,
                work.a.data() + c * LANES, minus_2b.data() + c * LANES, w + c * work.size + at);
      k.weighted_differences(rows, e_num, e, points->rows(share.begin), work.queries.data() + c * e * LANES,
                             w + c * work.size + at, work.G.data() + (t * work.chunks + c) * columns);
    }
  });
  for (std::int64_t i = 0; i < U.rows; ++i) {
    for (std::int64_t c = 0; c < e_num; ++c) {
      const std::int64_t source = points->columns()[c].source;
      if (std::isnan(U(i, source))) continue;
      double sum = 0.0;
      for (std::int64_t t = 0; t < shares; ++t)
        sum += work.G[(t * work.chunks + i / LANES) * columns + c * LANES + i % LANES];
      out[i * d + source] = sum * points->inverse(c);
    }
  }
}

template <class F>
void Posterior::each_group(Mat<const double> U, bool gradient, std::int64_t panels, F&& use) {
  const std::int64_t groups = (U.rows + GROUP - 1) / GROUP;
  const double n = static_cast<double>(V->n()), rows = static_cast<double>(std::min(V->n(), panels * PANEL));
  const double work = static_cast<double>(std::min(U.rows, GROUP)) *
                      (rows * rows * (gradient ? 1.0 : 0.5) + n * static_cast<double>(points->e() + 8));
  const bool parallel = threads > 1 && work * static_cast<double>(groups) > SHARED_FROM;
  const bool shared = parallel && groups < threads;
  const int outer = parallel && !shared ? threads : 1;
  const int inner = static_cast<int>(std::min<std::int64_t>(threads, panels));  // a share without a panel has no work
  if (static_cast<int>(work_.size()) < outer) work_.resize(outer);
  parallel_for(outer, outer, [&](std::int64_t t, int) {
    for (std::int64_t g = t; g < groups; g += outer) {
      const std::int64_t first = g * GROUP;
      const Mat<const double> part{U.row(first), std::min(GROUP, U.rows - first), U.cols};
      fill(work_[t], part, shared ? inner : 1, gradient, panels);
      use(work_[t], part, first);
    }
  });
}

void Posterior::predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var) {
  each_group(U, d_mean != nullptr, V->panels(), [&](Work& work, Mat<const double> part, std::int64_t first) {
    std::copy(work.mean.begin(), work.mean.begin() + part.rows, mean + first);
    std::copy(work.var.begin(), work.var.begin() + part.rows, var + first);
    if (!d_mean) return;
    work.a.assign(work.chunks * LANES, 1.0);
    work.b.assign(work.chunks * LANES, 0.0);
    gradient(work, part, d_mean + first * U.cols);
    work.a.assign(work.chunks * LANES, 0.0);
    work.b.assign(work.chunks * LANES, 1.0);
    gradient(work, part, d_var + first * U.cols);
  });
}

void Posterior::score(const Utility& utility, Mat<const double> U, double* value, double* d_value) {
  each_group(U, d_value != nullptr, V->panels(), [&](Work& work, Mat<const double> part, std::int64_t first) {
    if (!d_value) {
      for (std::int64_t i = 0; i < part.rows; ++i) value[first + i] = utility_value(utility, work.mean[i], work.var[i]);
      return;
    }
    work.a.assign(work.chunks * LANES, 0.0);
    work.b.assign(work.chunks * LANES, 0.0);
    for (std::int64_t i = 0; i < part.rows; ++i) {
      const UtilityGradient g = utility_gradient(utility, work.mean[i], work.var[i]);
      value[first + i] = g.value;
      work.a[i] = g.d_mean;
      work.b[i] = g.d_var;
    }
    gradient(work, part, d_value + first * U.cols);
  });
}

bool Posterior::bound(const Utility& utility, Mat<const double> U, double* value) {
  if (V->n() < BOUND_FROM) {
    score(utility, U, value, nullptr);
    return false;
  }
  each_group(U, false, BOUNDING / PANEL, [&](Work& work, Mat<const double> part, std::int64_t first) {
    for (std::int64_t i = 0; i < part.rows; ++i) value[first + i] = utility_bound(utility, work.mean[i], work.var[i]);
  });
  return true;
}

void Posterior::predict_mean(Mat<const double> U, double* mean, double* d_mean) {
  if (work_.empty()) work_.resize(1);
  Work& work = work_[0];
  for (std::int64_t first = 0; first < U.rows; first += GROUP) {
    const Mat<const double> part{U.row(first), std::min(GROUP, U.rows - first), U.cols};
    fill(work, part, threads, d_mean != nullptr, 0);
    std::copy(work.mean.begin(), work.mean.begin() + part.rows, mean + first);
    if (!d_mean) continue;
    work.a.assign(work.chunks * LANES, 1.0);
    work.b.assign(work.chunks * LANES, 0.0);
    gradient(work, part, d_mean + first * U.cols);
  }
}

// Near is what covaries most.
void Nearby::look(const Posterior& all, const double* noise, Mat<const double> U) {
  const Kernels& k = kernels();
  const Embedding& points = *all.points;
  const std::int64_t n = all.V->n(), e = points.e();
  Embedding queries(points.columns(), points);
  for (std::int64_t i = 0; i < U.rows; ++i) queries.append(U.row(i));
  std::vector<std::vector<std::int64_t>> nearest(U.rows);
  Buffer K;
  K.need(n * LANES);
  for (std::int64_t at = 0; at < U.rows; at += LANES) {
    parallel_for(all.threads, all.threads, [&](std::int64_t t, int) {
      const Share share(n, all.threads, t);
      k.covariance(all.kind, all.s2, share.end - share.begin, points.e_num(), e, points.rows(share.begin),
                   queries.chunk(at / LANES), points.weight(), K.data() + share.begin * LANES, nullptr);
    });
    parallel_for(all.threads, std::min(LANES, U.rows - at), [&](std::int64_t l, int) {
      std::vector<std::int64_t>& rows = nearest[at + l];
      std::vector<double> value(n);
      for (std::int64_t i = 0; i < n; ++i) {
        value[i] = K.data()[i * LANES + l];
        if (all.V->merged(i) < 0) rows.push_back(i);
      }
      const auto closer = [&](std::int64_t i, std::int64_t j) {
        return value[i] > value[j] || (value[i] == value[j] && i < j);
      };
      const auto count = static_cast<std::ptrdiff_t>(std::min(rows.size(), static_cast<std::size_t>(ROWS)));
      std::nth_element(rows.begin(), rows.begin() + count, rows.end(), closer);
      rows.resize(count);
      std::sort(rows.begin(), rows.end(), closer);
    });
  }
  std::vector<char> taken(n, 0);
  std::int64_t left = ROWS;
  for (std::int64_t r = 0; r < ROWS; ++r)
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
    noise_.push_back(noise[row]);
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

const RoughScorer::Correction& RoughScorer::nearest(const double* u) const {
  const Embedding& scales = *all_.points;
  const Correction* best = &corrections_.front();
  double least = std::numeric_limits<double>::infinity();
  for (const Correction& one : corrections_) {
    double r2 = 0.0;
    for (std::int64_t c = 0; c < scales.e_num(); ++c) {
      const std::int64_t j = scales.columns()[c].source;
      const double gap = (one.u[j] - u[j]) * scales.inverse(c);
      if (!std::isnan(gap)) r2 += gap * gap;
    }
    if (r2 < least) least = r2, best = &one;
  }
  return *best;
}

void RoughScorer::moments(Mat<const double> U, bool gradient) {
  const std::int64_t m = U.rows, size = gradient ? m * U.cols : 0;
  mean_.resize(m), var_.resize(m), d_mean_.resize(size), d_var_.resize(size), unused_.resize(m + size);
  all_.predict_mean(U, mean_.data(), gradient ? d_mean_.data() : nullptr);
  near_.posterior().predict(U, unused_.data(), var_.data(), gradient ? unused_.data() + m : nullptr,
                            gradient ? d_var_.data() : nullptr);
}

void RoughScorer::look(const double* noise, Mat<const double> U, double* value) {
  near_.look(all_, noise, U);
  const std::int64_t m = U.rows, d = U.cols;
  std::vector<double> mean(m), var(m), d_mean(m * d), d_var(m * d);
  all_.predict(U, mean.data(), var.data(), d_mean.data(), d_var.data());
  moments(U, true);
  corrections_.resize(m);
  for (std::int64_t i = 0; i < m; ++i) {
    Correction& one = corrections_[i];
    value[i] = utility_value(utility_, mean[i], var[i]);
    one.u.assign(U.row(i), U.row(i) + d);
    one.slope.resize(d);
    one.log_ratio = std::log(var[i] / var_[i]);
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

void PosteriorScorer::score(Mat<const double> U, double* value, double* d_value) {
  if (d_value) return posterior_.score(utility_, U, value, d_value);
  const auto first = static_cast<std::int64_t>(mean_.size());
  seen_.insert(seen_.end(), U.data, U.data + U.rows * U.cols);
  mean_.resize(first + U.rows);
  var_.resize(first + U.rows);
  posterior_.predict(U, mean_.data() + first, var_.data() + first, nullptr, nullptr);
  for (std::int64_t i = 0; i < U.rows; ++i) value[i] = utility_value(utility_, mean_[first + i], var_[first + i]);
}

Scorer* PosteriorScorer::rough(Mat<const double> points, double* value) {
  if (!noise_) return nullptr;
  try {
    rough_.look(noise_, points, value);
  } catch (const numerical_error&) {  // some rows of a matrix that was definite enough: rounding alone can do this
    return nullptr;
  }
  return &rough_;
}

void PosteriorScorer::moments(Vec<const double> u, double* mean, double* var) {
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    if (std::memcmp(seen_.data() + static_cast<std::int64_t>(i) * u.n, u.data, u.n * sizeof(double)) != 0) continue;
    *mean = mean_[i];
    *var = var_[i];
    return;
  }
  posterior_.predict({u.data, 1, u.n}, mean, var, nullptr, nullptr);
}

void Posterior::covariance(Mat<const double> U, double* mean, double* out) {
  const Kernels& k = kernels();
  const std::int64_t m = U.rows, n = V->n(), e = points->e(), panels = V->panels();
  Embedding queries(points->columns(), *points);
  for (std::int64_t i = 0; i < m; ++i) queries.append(U.row(i));
  const std::int64_t chunks = (m + LANES - 1) / LANES, size = panels * PANEL * LANES + 1, lds = chunks * LANES;
  Buffer K, A, S, prior;
  K.need(size);
  A.zeros(chunks * size);
  S.zeros(lds * lds);
  prior.need(m * LANES);
  double lane[LANES];
  for (std::int64_t c = 0; c < chunks; ++c) {
    std::fill(lane, lane + LANES, 0.0);
    if (n > 0) {
      k.covariance(kind, s2, n, points->e_num(), e, points->rows(0), queries.chunk(c), points->weight(), K.data(),
                   nullptr);
      k.panel_product(alpha, 1, n, n - 1, K.data(), lane, LANES);
      for (std::int64_t p = 0; p < panels; ++p)
        k.panel_product(V->panel(p), V->rows(p), V->stride(p), p * PANEL, K.data(),
                        A.data() + c * size + p * PANEL * LANES, LANES);
    }
    k.covariance(kind, s2, m, points->e_num(), e, queries.rows(0), queries.chunk(c), points->weight(), prior.data(),
                 nullptr);
    for (std::int64_t l = 0; l < std::min(LANES, m - c * LANES); ++l) mean[c * LANES + l] = mu + lane[l];
    for (std::int64_t i = 0; i < m; ++i)
      std::memcpy(S.data() + i * lds + c * LANES, prior.data() + i * LANES, LANES * sizeof(double));
  }
  for (std::int64_t ci = 0; ci < chunks; ++ci)
    for (std::int64_t cj = 0; cj < chunks; ++cj)
      k.gram_subtract(A.data() + ci * size, A.data() + cj * size, n, S.data() + ci * LANES * lds + cj * LANES, lds);
  for (std::int64_t i = 0; i < m; ++i) std::copy(S.data() + i * lds, S.data() + i * lds + m, out + i * m);
}

}  // namespace hpo
