#include "hpo/posterior.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

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
    alignas(64) double A[GROUP * PANEL];
    if (gradient && t < sums)
      std::memset(Uacc + t * work.chunks * work.size, 0,
                  static_cast<std::size_t>(work.chunks * work.size) * sizeof(double));
    for (std::int64_t p = t; p < panels; p += inner) {
      k.panel_product(V->panel(p), V->rows(p), V->stride(p), p * PANEL, work.chunks, K, work.size, A, PANEL * LANES,
                      LANES);
      for (std::int64_t c = 0; c < work.chunks; ++c)
        k.add_squares(A + c * PANEL * LANES, V->rows(p), work.partial_q.data() + (t * work.chunks + c) * LANES);
      if (gradient)
        k.panel_transposed(V->panel(p), V->rows(p), V->stride(p), p * PANEL, std::min(V->width(p), n), work.chunks, A,
                           PANEL * LANES, LANES, Uacc + t * work.chunks * work.size, work.size);
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
  const double least = least_variance();  // what rounding leaves of a variance at a told point may be below zero
  for (std::int64_t c = 0; c < work.chunks; ++c) {
    double* mean = work.mean.data() + c * LANES;
    k.panel_product(alpha, 1, n, n - 1, 1, K + c * work.size, 0, mean, 0, LANES);
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
  each_group(U, d_mean || d_var, V->panels(), [&](Work& work, Mat<const double> part, std::int64_t first) {
    std::copy(work.mean.begin(), work.mean.begin() + part.rows, mean + first);
    std::copy(work.var.begin(), work.var.begin() + part.rows, var + first);
    if (d_mean) {
      work.a.assign(work.chunks * LANES, 1.0);
      work.b.assign(work.chunks * LANES, 0.0);
      gradient(work, part, d_mean + first * U.cols);
    }
    if (d_var) {
      work.a.assign(work.chunks * LANES, 0.0);
      work.b.assign(work.chunks * LANES, 1.0);
      gradient(work, part, d_var + first * U.cols);
    }
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
      k.panel_product(alpha, 1, n, n - 1, 1, K.data(), 0, lane, 0, LANES);
      for (std::int64_t p = 0; p < panels; ++p)
        k.panel_product(V->panel(p), V->rows(p), V->stride(p), p * PANEL, 1, K.data(), 0,
                        A.data() + c * size + p * PANEL * LANES, 0, LANES);
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
