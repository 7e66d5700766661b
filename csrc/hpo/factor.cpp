#include "hpo/factor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
constexpr std::int64_t CHUNKS = PANEL / LANES;
// Below 256 older rows a panel is 0.1 ms of work, and waking a thread costs some microseconds.
constexpr std::int64_t THREADED_FROM = 256;
// A pivot is a difference of numbers near s2: what is left below 1e-10 of them is rounding for the most part, and a
// factor built on it fails a few rows later (measured with RBF and no noise: 1e-12 and 1e-11 still fail, 1e-10 never up
// to n = 400).
constexpr double LEAST_PIVOT = 1e-10;
constexpr double SAME_POINT = 1e-16;  // squared distance: equal to eight digits in units of the length scale
}  // namespace

double* Factor::prepare(std::int64_t p) {
  if (p == static_cast<std::int64_t>(panels_.size())) panels_.emplace_back();
  return panels_[p].need(PANEL * stride(p));
}

double Factor::guard(const CovarianceMatrix& K, std::int64_t i, double pivot) {
  merged_.resize(i + 1);
  merged_[i] = -1;
  const double unit = std::max(LEAST_PIVOT, 32.0 * std::numeric_limits<double>::epsilon() * static_cast<double>(i + 1));
  if (pivot > 0.0 && std::isfinite(pivot) && pivot >= unit * (K.s2 + K.noise[i])) return pivot;
  for (std::int64_t j = 0; j < i; ++j) {
    if (merged_[j] < 0 && K.points->squared_distance(i, j) < SAME_POINT) {
      merged_[i] = j;
      return 0.0;
    }
  }
  for (const double part : {1e-8, 1e-7, 1e-6, 1e-5, 1e-4}) {
    const double added = K.s2 * part;
    if (std::isfinite(pivot) && pivot + added > 0.0 && pivot + added >= unit * (K.s2 + K.noise[i] + added))
      return pivot + added;
  }
  throw numerical_error("covariance must be positive definite, but it is not at row " + std::to_string(i) +
                            ", not even with 1e-4 of the variance added to the diagonal; give it noise > 0 or shorter "
                            "length scales",
                        i);
}

void Factor::build_panel(const CovarianceMatrix& K, std::int64_t p, std::int64_t rows, int threads) {
  const Kernels& k = kernels();
  const Embedding& E = *K.points;
  const std::int64_t i0 = p * PANEL, chunks = (rows + LANES - 1) / LANES;
  if (i0 < THREADED_FROM) threads = 1;
  double* V = prepare(p);
  const std::int64_t ldv = stride(p);
  const std::int64_t size = (i0 + PANEL) * LANES;  // one chunk of C, A or U
  double* C = C_.need(CHUNKS * size);
  double* A = A_.need(CHUNKS * size);
  double* U = U_.need(CHUNKS * size);
  double* S = S_.need(PANEL * PANEL);
  double* W = W_.zeros(PANEL * PANEL);

  parallel_for(threads, chunks, [&](std::int64_t c, int) {
    double *Cc = C + c * size, *Ac = A + c * size, *Uc = U + c * size;
    k.covariance(K.kind, K.s2, i0 + rows, E.e_num(), E.e(), E.rows(0), E.chunk(p * CHUNKS + c), E.weight(), Cc,
                 nullptr);
    std::memset(Uc, 0, static_cast<std::size_t>(i0 * LANES) * sizeof(double));
    for (std::int64_t pp = 0; pp < p; ++pp) {
      double* Ap = Ac + pp * PANEL * LANES;
      k.panel_product(panel(pp), PANEL, stride(pp), pp * PANEL, Cc, Ap);
      k.panel_transposed(panel(pp), PANEL, stride(pp), pp * PANEL, stride(pp), Ap, LANES, Uc);
    }
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(S + i * PANEL + c * LANES, Cc + (i0 + i) * LANES, LANES * sizeof(double));
  });
  for (std::int64_t i = 0; i < rows; ++i) S[i * PANEL + i] = K.s2 + K.noise[i0 + i];

  // S -= A'A, the tiles of the upper triangle.
  parallel_for(threads, i0 ? chunks * (chunks + 1) / 2 : 0, [&](std::int64_t t, int) {
    std::int64_t ci = 0;
    while (t >= chunks - ci) t -= chunks - ci++;
    const std::int64_t cj = ci + t;
    k.gram_subtract(A + ci * size, A + cj * size, i0, S + ci * LANES * PANEL + cj * LANES, PANEL);
  });

  for (std::int64_t r = 0; r < rows; ++r) {
    const double pivot = guard(K, i0 + r, S[r * PANEL + r]);
    if (pivot > 0.0) {
      W[r * PANEL + r] = 1.0;
      k.eliminate(S, W, rows, PANEL, r, pivot);
    } else {
      std::memset(W + r * PANEL, 0, PANEL * sizeof(double));
    }
  }

  // V_new = [-W U', W], LANES columns at a time.
  const std::int64_t tiles = i0 / LANES, tasks = std::min<std::int64_t>(threads, std::max<std::int64_t>(tiles, 1));
  parallel_for(threads, tasks, [&](std::int64_t t, int) {
    double Ut[PANEL * LANES], out[PANEL * LANES];
    std::memset(Ut, 0, sizeof(Ut));
    for (std::int64_t tile = tiles * t / tasks; tile < tiles * (t + 1) / tasks; ++tile) {
      for (std::int64_t c = 0; c < chunks; ++c)
        for (std::int64_t j = 0; j < LANES; ++j)
          for (std::int64_t l = 0; l < LANES; ++l)
            Ut[(c * LANES + l) * LANES + j] = U[c * size + (tile * LANES + j) * LANES + l];
      k.panel_product(W, PANEL, PANEL, 0, Ut, out);
      for (std::int64_t r = 0; r < PANEL; ++r)
        for (std::int64_t j = 0; j < LANES; ++j) V[r * ldv + tile * LANES + j] = -out[r * LANES + j];
    }
  });
  for (std::int64_t r = 0; r < PANEL; ++r) std::memcpy(V + r * ldv + i0, W + r * PANEL, PANEL * sizeof(double));
}

void Factor::append_row(const CovarianceMatrix& K) {
  const Kernels& k = kernels();
  const Embedding& E = *K.points;
  const std::int64_t i = n_, p = i / PANEL, r = i % PANEL;
  double* V = prepare(p) + r * stride(p);
  double* u = row_.zeros(i + 1 + PANEL + E.e() * LANES);  // u (i), a (PANEL), and the point as a chunk of its own
  double* a = u + i + 1;
  double* q = a + PANEL;
  for (std::int64_t c = 0; c < E.e(); ++c) q[c * LANES] = E.rows(i)[c];
  double* C = C_.need((i + 1) * LANES);
  k.covariance(K.kind, K.s2, i, E.e_num(), E.e(), E.rows(0), q, E.weight(), C, nullptr);
  double* x = A_.need(i + 1);
  for (std::int64_t j = 0; j < i; ++j) x[j] = C[j * LANES];

  double pivot = K.s2 + K.noise[i];
  for (std::int64_t pp = 0; pp < panels(); ++pp) {
    k.panel_dot(panel(pp), rows(pp), stride(pp), pp * PANEL, x, a);
    k.panel_axpy(panel(pp), rows(pp), stride(pp), pp * PANEL, a, u);
    for (std::int64_t j = 0; j < rows(pp); ++j) pivot -= a[j] * a[j];
  }
  pivot = guard(K, i, pivot);
  const double scale = pivot > 0.0 ? 1.0 / std::sqrt(pivot) : 0.0;
  for (std::int64_t j = 0; j < i; ++j) V[j] = -scale * u[j];
  V[i] = scale;
  std::fill(V + i + 1, V + stride(p), 0.0);
  ++n_;
}

void Factor::extend(const CovarianceMatrix& K, std::int64_t n, int threads) {
  while (n_ < n) {
    const std::int64_t p = n_ / PANEL, end = stride(p);
    if (end <= n) {
      const std::int64_t start = p * PANEL;
      n_ = start;  // what a failure leaves is the panels before this one
      build_panel(K, p, PANEL, threads);
      n_ = end;
      blocked_ = p + 1;
    } else {
      append_row(K);
    }
  }
}

void Factor::extend_by_rows(const CovarianceMatrix& K, std::int64_t n) {
  while (n_ < n) append_row(K);
}

void Factor::build(const CovarianceMatrix& K, std::int64_t n, int threads) {
  clear();
  for (std::int64_t p = 0; n_ < n; ++p) {
    const std::int64_t rows = std::min(PANEL, n - n_);
    build_panel(K, p, rows, threads);
    n_ += rows;
  }
}

void Factor::truncate(const CovarianceMatrix& K, std::int64_t n) {
  const std::int64_t full = n / PANEL;
  if (full < blocked_) {
    blocked_ = full;
    n_ = full * PANEL;
  }
  n_ = std::min(n_, n);
  extend_by_rows(K, n);
}

void Factor::product(const double* x, double* y) const {
  for (std::int64_t p = 0; p < panels(); ++p)
    kernels().panel_dot(panel(p), rows(p), stride(p), p * PANEL, x, y + p * PANEL);
}

void Factor::add_transposed(const double* y, double* u) const {
  for (std::int64_t p = 0; p < panels(); ++p)
    kernels().panel_axpy(panel(p), rows(p), stride(p), p * PANEL, y + p * PANEL, u);
}

}  // namespace hpo
