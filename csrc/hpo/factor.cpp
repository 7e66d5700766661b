#include "hpo/factor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
// The first panel is 10 us of work, as much as waking a thread.
constexpr std::int64_t THREADED_FROM = 64;
// A pivot is a difference of numbers near s2: what is left below 1e-10 of them is rounding for the most part, and a
// factor built on it fails a few rows later (measured with RBF and no noise: 1e-12 and 1e-11 still fail, 1e-10 never up
// to n = 400).
constexpr double LEAST_PIVOT = 1e-10;
// Rows: V has 4 MB then, and reading them takes longer than a thread's start.
constexpr std::int64_t SHARED_FROM = 1024;
constexpr std::int64_t SHARES = 4;
// From so many older rows on one of three chunks is halved, for two threads (Zen 5: at n = 300 0.95 of the time).
constexpr std::int64_t HALVED_FROM = 256;
// A block of 16 rows takes a fifth of 16 single ones, which a bulk saves; but of rows told one by one each was computed
// already, and the block adds a sixth to it (measured at 10,000 rows).  A large factor grows by single rows.
constexpr std::int64_t CHUNKS_BEFORE = 4096;                     // HALVES_FROM of strategies/_refits.py
constexpr std::int64_t HALF = PANEL / LANES / 2;                 // chunks
constexpr std::int64_t MOST_SLAB = (32 << 20) / sizeof(double);  // 32 MB
constexpr double SAME_POINT = 1e-16;  // squared distance: equal to eight digits in units of the length scale

// Into how many sums a pass over n rows is split; not by the count of threads, on which no bit shall depend.
std::int64_t shares_of(std::int64_t n) {
  return n < SHARED_FROM ? 1 : SHARES;
}

// Floating-point operations of `rows` rows after `first` older ones: V_old C and V_old' of that.
double block_work(std::int64_t first, std::int64_t rows) {
  const double older = static_cast<double>(first + rows);
  return 2.0 * older * older * static_cast<double>(rows);
}

// C[j][lane] = covariance of row j of [begin, end) and row i0 + lane, but for what is on the diagonal.
void covariances(const CovarianceMatrix& K, std::int64_t begin, std::int64_t end, std::int64_t i0, const double* query,
                 double* C) {
  if (K.points)
    kernels().covariance(K.kind, K.s2, end - begin, K.points->e_num(), K.points->e(), K.points->rows(begin), query,
                         K.points->weight(), C + begin * LANES, nullptr);
  else
    std::memset(C + begin * LANES, 0, static_cast<std::size_t>((end - begin) * LANES) * sizeof(double));
  const std::int64_t lanes = std::min(LANES, K.dense_n - i0);
  for (std::int64_t j = begin; j < std::min(end, K.dense_n); ++j)
    for (std::int64_t l = 0; l < lanes; ++l) C[j * LANES + l] += K.dense[j * K.dense_ld + i0 + l];
}

// Where share t of `panels` begins: each has the same area of the triangle.
std::int64_t border(std::int64_t panels, std::int64_t t, std::int64_t shares) {
  return std::llround(static_cast<double>(panels) * std::sqrt(static_cast<double>(t) / static_cast<double>(shares)));
}
}  // namespace

// A slab is as large as all before it, up to MOST_SLAB: a small factor stays small, and a large one lies in large
// pages.  A panel of more than a quarter of that has its own.
double* Factor::prepare(std::int64_t p) {
  if (p < static_cast<std::int64_t>(panels_.size())) return panels_[p];
  const std::int64_t size = PANEL * stride(p);
  if (slabs_.empty() || used_ + size > slabs_.back().size()) {
    Buffer slab;
    slab.need(4 * size > MOST_SLAB ? size : std::max(size, std::min(held_, MOST_SLAB)));
    slabs_.push_back(std::move(slab));
    held_ += slabs_.back().size();
    used_ = 0;
  }
  panels_.push_back(slabs_.back().data() + used_);
  used_ += size;
  return panels_[p];
}

double Factor::guard(const CovarianceMatrix& K, std::int64_t i, double pivot) {
  merged_.resize(i + 1);
  diagonal_.resize(i + 1);
  merged_[i] = -1;
  const double unit = std::max(LEAST_PIVOT, 32.0 * std::numeric_limits<double>::epsilon() * static_cast<double>(i + 1));
  if (pivot > 0.0 && std::isfinite(pivot) && pivot >= unit * (K.s2 + K.noise[i])) return pivot;
  for (std::int64_t j = 0; K.points && j < i; ++j) {
    if (merged_[j] < 0 && K.points->squared_distance(i, j) < SAME_POINT) {
      merged_[i] = j;
      return 0.0;
    }
  }
  for (const double part : {1e-8, 1e-7, 1e-6, 1e-5, 1e-4}) {
    const double added = part * (K.points ? K.s2 : K.noise[i]);
    if (std::isfinite(pivot) && pivot + added > 0.0 && pivot + added >= unit * (K.s2 + K.noise[i] + added))
      return pivot + added;
  }
  throw numerical_error("covariance must be positive definite, but it is not at row " + std::to_string(i) +
                            ", not even with 1e-4 of the variance added to the diagonal; give it noise > 0 or shorter "
                            "length scales",
                        i);
}

void Factor::products(std::int64_t first, std::int64_t c0, std::int64_t c1, std::int64_t share, std::int64_t shares,
                      const double* C, double* A, double* U) const {
  const Kernels& k = kernels();
  const std::int64_t size = (first + PANEL) * LANES, older = (first + PANEL - 1) / PANEL;
  for (std::int64_t c = c0; c < c1; ++c)
    std::memset(U + (c - c0) * size, 0, static_cast<std::size_t>(first * LANES) * sizeof(double));
  for (std::int64_t pp = border(older, share, shares); pp < border(older, share + 1, shares); ++pp) {
    const std::int64_t height = std::min(PANEL, first - pp * PANEL);
    double* Ap = A + c0 * size + pp * PANEL * LANES;
    k.panel_product(panel(pp), height, stride(pp), pp * PANEL, c1 - c0, C + c0 * size, size, Ap, size, LANES);
    k.panel_transposed(panel(pp), height, stride(pp), pp * PANEL, std::min(width(pp), first), c1 - c0, Ap, size, LANES,
                       U, size);
  }
}

void Factor::prepare_half(const CovarianceMatrix& K, std::int64_t first, int threads) {
  const std::int64_t size = (first + PANEL) * LANES;
  double* C = C_.need(HALF * size);
  double* A = half_A_.need(HALF * size);
  double* U = half_U_.need(HALF * size);
  half_ = -1;
  const std::int64_t groups = std::min<std::int64_t>(HALF, threads);
  parallel_for(threads, groups, [&](std::int64_t group, int) {
    const std::int64_t c0 = HALF * group / groups, c1 = HALF * (group + 1) / groups;
    for (std::int64_t c = c0; c < c1; ++c)
      covariances(K, 0, first, first + c * LANES, K.points->chunk(first / LANES + c), C + c * size);
    products(first, c0, c1, 0, 1, C, A, U + c0 * size);
  });
  half_ = first;
}

// Rows [first, first + rows), first a multiple of LANES, all in one panel.
void Factor::build_block(const CovarianceMatrix& K, std::int64_t first, std::int64_t rows, int threads) {
  const Kernels& k = kernels();
  const std::int64_t p = first / PANEL, above = first % PANEL, chunks = (rows + LANES - 1) / LANES;
  if (first < THREADED_FROM) threads = 1;
  double* V = prepare(p) + above * stride(p);
  const std::int64_t ldv = stride(p);
  const std::int64_t size = (first + PANEL) * LANES;  // one chunk of C, A or U
  const std::int64_t ready = rows == PANEL && half_ == first ? HALF : 0, left = chunks - ready;
  // Where an odd number of chunks is much work, the last one is taken in shares, of some of the older rows each.
  const std::int64_t shares = left == 1 ? shares_of(first) : left == 3 && first >= HALVED_FROM ? 2 : 1;
  double* C = C_.need(chunks * size);
  double* A = A_.need(chunks * size);
  double* U = U_.need((chunks + shares - 1) * size);
  double* S = S_.zeros(PANEL * PANEL);
  double* W = W_.zeros(PANEL * PANEL);

  const auto fill = [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
    covariances(K, begin, end, first + c * LANES, K.points ? K.points->chunk(first / LANES + c) : nullptr,
                C + c * size);
    for (std::int64_t i = std::max(begin, first); i < end; ++i)
      std::memcpy(S + (i - first) * PANEL + c * LANES, C + c * size + i * LANES, LANES * sizeof(double));
  };
  half_ = -1;
  const std::int64_t n = first + rows;
  for (std::int64_t c = 0; c < ready; ++c) {
    fill(c, 0, n);  // for S
    std::memcpy(A + c * size, half_A_.data() + c * size, static_cast<std::size_t>(first * LANES) * sizeof(double));
    std::memcpy(U + c * size, half_U_.data() + c * size, static_cast<std::size_t>(first * LANES) * sizeof(double));
  }
  // A thread takes chunks from their covariances on, which are then where it needs them, all its chunks in one reading
  // of the older rows; those of the chunk in shares come first, a stretch of rows a thread.
  if (shares > 1) {
    const std::int64_t tiles = (n + LANES - 1) / LANES, tasks = std::min<std::int64_t>(threads, tiles);
    parallel_for(threads, tasks, [&](std::int64_t t, int) {
      fill(chunks - 1, tiles * t / tasks * LANES, std::min(n, tiles * (t + 1) / tasks * LANES));
    });
  }
  const std::int64_t whole = shares > 1 ? left - 1 : left, groups = std::min<std::int64_t>(whole, threads);
  parallel_for(threads, groups + (shares > 1 ? shares : 0), [&](std::int64_t task, int) {
    if (task >= groups) {
      const std::int64_t share = task - groups;
      products(first, chunks - 1, chunks, share, shares, C, A, U + (chunks - 1 + share) * size);
      return;
    }
    const std::int64_t c0 = ready + whole * task / groups, c1 = ready + whole * (task + 1) / groups;
    for (std::int64_t c = c0; c < c1; ++c) fill(c, 0, n);
    products(first, c0, c1, 0, 1, C, A, U + c0 * size);
  });
  double* last = U + (chunks - 1) * size;
  for (std::int64_t t = 1; t < shares; ++t)
    for (std::int64_t i = 0; i < first * LANES; ++i) last[i] += last[t * size + i];
  for (std::int64_t i = 0; i < rows; ++i) S[i * PANEL + i] = K.s2 + K.noise[first + i];

  // S -= A'A, the tiles of the upper triangle.
  parallel_for(threads, first ? chunks * (chunks + 1) / 2 : 0, [&](std::int64_t t, int) {
    std::int64_t ci = 0;
    while (t >= chunks - ci) t -= chunks - ci++;
    const std::int64_t cj = ci + t;
    k.gram_subtract(A + ci * size, A + cj * size, first, S + ci * LANES * PANEL + cj * LANES, PANEL);
  });

  for (std::int64_t k0 = 0; k0 < rows; k0 += LANES) {
    const std::int64_t k1 = std::min(k0 + LANES, rows);
    for (std::int64_t r = k0; r < k1; ++r) {
      const double pivot = guard(K, first + r, S[r * PANEL + r]);
      if (pivot > 0.0) {
        W[r * PANEL + r] = 1.0;
        k.eliminate(S, W, k1, PANEL, r, pivot);
      } else {
        std::memset(S + r * PANEL, 0, PANEL * sizeof(double));
        std::memset(W + r * PANEL, 0, PANEL * sizeof(double));
      }
    }
    k.eliminate_group(S, W, rows, PANEL, k0);
  }

  // V_new = [-W U', W], LANES columns at a time; the last panel's rows are whole, whatever `rows` is.
  const std::int64_t height = chunks * LANES;
  const std::int64_t tiles = first / LANES, tasks = std::min<std::int64_t>(threads, std::max<std::int64_t>(tiles, 1));
  parallel_for(threads, tasks, [&](std::int64_t t, int) {
    double Ut[PANEL * LANES];
    std::memset(Ut, 0, sizeof(Ut));
    for (std::int64_t tile = tiles * t / tasks; tile < tiles * (t + 1) / tasks; ++tile) {
      for (std::int64_t c = 0; c < chunks; ++c)
        for (std::int64_t j = 0; j < LANES; ++j)
          for (std::int64_t l = 0; l < LANES; ++l)
            Ut[(c * LANES + l) * LANES + j] = -U[c * size + (tile * LANES + j) * LANES + l];
      k.panel_product(W, height, PANEL, 0, 1, Ut, 0, V + tile * LANES, 0, ldv);
    }
  });
  const auto wide = static_cast<std::size_t>(PANEL - above) * sizeof(double);
  for (std::int64_t r = 0; r < height; ++r) std::memcpy(V + r * ldv + first, W + r * PANEL, wide);
  for (std::int64_t r = 0; r < rows; ++r) diagonal_[first + r] = W[r * PANEL + r];
}

void Factor::append_row(const CovarianceMatrix& K, int threads, Along* along) {
  const Embedding& E = *K.points;
  const std::int64_t i = n_, p = i / PANEL, padded = width(p);
  double* V = prepare(p) + i % PANEL * stride(p);
  if (i < ALONG_FROM) along = nullptr;
  const std::int64_t count = along ? 1 + along->count : 1;
  double* x = row_.zeros(3 * count * padded + (E.e() + 1) * LANES);  // x, a and u, and the point as a chunk of its own
  double *a = x + count * padded, *u = a + count * padded, *q = u + count * padded;
  for (std::int64_t c = 0; c < E.e(); ++c) q[c * LANES] = E.rows(i)[c];
  double* C = C_.need((i + 1) * LANES);
  covariances(K, 0, i, i, q, C);
  for (std::int64_t j = 0; j < i; ++j) x[j] = C[j * LANES];
  for (std::int64_t c = 1; c < count; ++c)
    std::memcpy(x + c * padded, along->x + (c - 1) * along->ld, static_cast<std::size_t>(i) * sizeof(double));

  gram(count, x, padded, a, u, i, threads);
  double pivot = K.s2 + K.noise[i];
  for (std::int64_t j = 0; j < i; ++j) pivot -= a[j] * a[j];
  pivot = guard(K, i, pivot);
  const double scale = pivot > 0.0 ? 1.0 / std::sqrt(pivot) : 0.0;
  for (std::int64_t j = 0; j < i; ++j) V[j] = -scale * u[j];
  V[i] = diagonal_[i] = scale;
  std::fill(V + i + 1, V + width(p), 0.0);
  ++n_;
  if (!along || pivot == 0.0) return;
  for (std::int64_t c = 1; c < count; ++c) {
    std::memcpy(along->a + (c - 1) * along->ld, a + c * padded, static_cast<std::size_t>(i) * sizeof(double));
    std::memcpy(along->u + (c - 1) * along->ld, u + c * padded, static_cast<std::size_t>(i) * sizeof(double));
  }
  along->done = true;
}

double Factor::extend(const CovarianceMatrix& K, std::int64_t n, int threads, Along* along) {
  double work = 0.0;
  while (n_ < n) {
    const std::int64_t panel = n_ / PANEL * PANEL, chunk = n_ / LANES * LANES;
    const bool chunks = panel < CHUNKS_BEFORE && chunk + LANES <= n;
    const std::int64_t rows = panel + PANEL <= n ? PANEL : chunks ? LANES : 1;
    if (rows == 1) {
      append_row(K, threads, n_ + 1 == n ? along : nullptr);
      // Half of the block that is to come, so that no row has to wait for all of it.
      if (panel >= CHUNKS_BEFORE && n_ == panel + HALF * LANES) {
        prepare_half(K, panel, threads);
        work += 0.5 * block_work(panel, PANEL);
      }
      continue;
    }
    n_ = rows == PANEL ? panel : chunk;  // what a failure leaves is the rows before this block
    blocked_ = std::min(blocked_, n_);
    work += (rows == PANEL && prepared(n_) ? 0.5 : 1.0) * block_work(n_, rows);
    build_block(K, n_, rows, threads);
    n_ += rows;
    blocked_ = n_;
  }
  return work;
}

void Factor::extend_by_rows(const CovarianceMatrix& K, std::int64_t n, int threads) {
  while (n_ < n) append_row(K, threads);
}

double Factor::build_some(const CovarianceMatrix& K, std::int64_t n, double work, int threads) {
  double done = 0.0;
  do {
    const std::int64_t rows = std::min(PANEL, n - n_);
    done += block_work(n_, rows);
    build_block(K, n_, rows, threads);
    n_ += rows;
  } while (n_ < n && done < work);
  return done;
}

void Factor::truncate(const CovarianceMatrix& K, std::int64_t n, int threads) {
  if (n < blocked_) {
    // Panels before n stay.  Of n's own the chunks do, unless it was computed as a whole.
    const std::int64_t panel = n / PANEL * PANEL;
    blocked_ = blocked_ >= panel + PANEL ? panel : n / LANES * LANES;
    n_ = blocked_;
    inverse_.clear();
  }
  if (half_ >= 0 && n < half_ + HALF * LANES) half_ = -1;
  n_ = std::min(n_, n);
  extend(K, n, threads);
}

void Factor::inverse(double* out, std::int64_t ld, int threads) const {
  const Kernels& k = kernels();
  const std::int64_t chunks = (n_ + LANES - 1) / LANES;
  parallel_for(threads, chunks, [&](std::int64_t c, int) {
    std::vector<double> U((c + 1) * LANES * LANES, 0.0);
    const std::int64_t j0 = c * LANES, lanes = std::min(LANES, n_ - j0), height = std::min(n_, j0 + LANES);
    for (std::int64_t p = j0 / PANEL; p < panels(); ++p)
      k.panel_transposed(panel(p), rows(p), stride(p), p * PANEL, height, 1, panel(p) + j0, 0, stride(p), U.data(), 0);
    for (std::int64_t i = 0; i < height; ++i)
      for (std::int64_t l = 0; l < lanes; ++l)
        if (i <= j0 + l) out[i * ld + j0 + l] = out[(j0 + l) * ld + i] = U[i * LANES + l];
  });
}

void Factor::order_in_tiles(int threads) {
  parallel_for(threads, panels(), [&](std::int64_t p, int) {
    const std::int64_t ld = stride(p);
    double* V = panels_[p];
    const std::vector<double> rows_of(V, V + rows(p) * ld);
    for (std::int64_t J = 0; J <= p; ++J)
      for (std::int64_t r = 0; r < rows(p); ++r)
        std::memcpy(V + (J * PANEL + r) * PANEL, rows_of.data() + r * ld + J * PANEL, PANEL * sizeof(double));
  });
}

double Factor::inverse_diagonal(std::int64_t i) {
  inverse_.resize(std::max(inverse_.size(), static_cast<std::size_t>(n_)));
  Part& known = inverse_[i];
  double sum = known.sum;
  for (std::int64_t p = std::max(i / PANEL, known.panels); p < panels(); ++p) {
    for (std::int64_t r = 0; r < rows(p); ++r) {
      const double v = p * PANEL + r < i ? 0.0 : panel(p)[r * stride(p) + i];
      sum += v * v;
    }
    if ((p + 1) * PANEL <= blocked_) known = {sum, p + 1};
  }
  return sum;
}

void Factor::gram(std::int64_t count, const double* x, std::int64_t ld, double* a, double* u, std::int64_t n,
                  int threads) const {
  const Kernels& k = kernels();
  const std::int64_t size = count * ld, shares = shares_of(n), older = (n + PANEL - 1) / PANEL;
  std::memset(u, 0, static_cast<std::size_t>(size) * sizeof(double));
  double* others = shares > 1 ? shares_.zeros((shares - 1) * size) : nullptr;
  parallel_for(threads, shares, [&](std::int64_t t, int) {
    double* mine = t ? others + (t - 1) * size : u;
    for (std::int64_t p = border(older, t, shares); p < border(older, t + 1, shares); ++p)
      k.panel_gram(count, panel(p), std::min(PANEL, n - p * PANEL), stride(p), p * PANEL, x, ld, a + p * PANEL, ld,
                   mine, ld);
  });
  for (std::int64_t t = 0; t + 1 < shares; ++t)
    for (std::int64_t i = 0; i < size; ++i) u[i] += others[t * size + i];
}

}  // namespace hpo
