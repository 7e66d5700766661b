#include "hpo/summary.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
constexpr double INF = std::numeric_limits<double>::infinity();
// A point whose variance given the inducing points before it is below this part of s2 tells nothing new of the
// function: it is no inducing point, and K_mm stays well conditioned.
constexpr double REDUNDANT = 1e-6;
constexpr double JITTER = 1e-8;  // of s2, on the diagonal of K_mm
constexpr double RIDGE = 1e-6;   // of 1 / s2, on that of P: an observation with a million times the prior variance
constexpr double LOG_2PI = 1.8378770664093454836;

double square(std::int64_t n) {
  return static_cast<double>(n) * static_cast<double>(n);
}

std::int64_t most(std::int64_t base) {
  return std::min(base, base < Summary::FEWER_FROM ? Summary::INDUCING : Summary::FEWER);
}

// Of the base every so manieth row is summed.
std::int64_t stride(std::int64_t base) {
  return std::max<std::int64_t>(1, (base + Summary::SUMMED - 1) / Summary::SUMMED);
}
}  // namespace

Summary::Summary(const Embedding& scales, Kernel kind, double s2, bool constant_mean, std::int64_t base)
    : kind_(kind),
      s2_(s2),
      constant_mean_(constant_mean),
      base_(base),
      stride_(stride(base)),
      points_(scales.columns(), scales),
      inducing_(base, 0) {}

double Summary::usual_work(std::int64_t base) {
  const std::int64_t m = most(base);
  return square(m) * (static_cast<double>(m) + 3.0 * static_cast<double>(base / stride(base)));
}

// Inducing points: rows spread evenly over the base, so that they are dense where the observations are (of random,
// farthest-point and greedy choices, only this one served clusters of noisy observations), without redundant ones.
void Summary::choose(const Rows& data, int threads) {
  const std::int64_t count = most(base_);
  for (std::int64_t j = 0; j < count; ++j) rows_.push_back(j * base_ / count);
  for (bool all = false; !all;) {
    points_.truncate(0);
    for (const std::int64_t row : rows_) points_.append(data.U_nd.row(row));
    const std::vector<double> jitter(rows_.size(), JITTER * s2_);
    V_.clear();
    V_.build_some({&points_, kind_, s2_, jitter.data()}, points_.n(), INF, threads);
    std::vector<std::int64_t> kept;
    for (std::int64_t j = 0; j < points_.n(); ++j) {
      const double root = V_.diagonal(j);
      if (V_.merged(j) < 0 && (j == 0 || 1.0 > REDUNDANT * s2_ * root * root)) kept.push_back(rows_[j]);
    }
    all = kept.size() == rows_.size();
    rows_.swap(kept);
  }
  for (const std::int64_t row : rows_) inducing_[row] = 1;
  ld_ = (m() + LANES - 1) / LANES * LANES;
  all_.P.zeros(ld_ * ld_);
  all_.b.assign(ld_, 0.0);
  all_.ones.assign(ld_, 0.0);
}

double Summary::advance(const Rows& data, double work, int threads) {
  double done = 0.0;
  if (V_.n() == 0) {
    choose(data, threads);
    done += square(m()) * static_cast<double>(m());
  }
  std::vector<std::int64_t> rows;
  while (next_ < base_ && done < work) {
    rows.clear();
    std::int64_t row = next_;
    for (; row < base_ && static_cast<std::int64_t>(rows.size()) < PANEL; ++row)
      if (row % stride_ == 0 || inducing_[row]) rows.push_back(row);
    done += add(data, rows, threads);
    next_ = row;
  }
  rows.resize(PANEL);
  while (next_ == base_ && end() + PANEL <= data.U_nd.rows && done < work) {
    for (std::int64_t i = 0; i < PANEL; ++i) rows[i] = end() + i;
    done += add(data, rows, threads);
    ++extended_;
  }
  return done;
}

// p of each row into projected_, [chunk of inducing points][row][LANES], and l into lambda_; returns the rows, padded
// to whole chunks, whose p is zero.  2 m^2 operations a row.
std::int64_t Summary::project(const Rows& data, const std::vector<std::int64_t>& rows, int threads) {
  const Kernels& k = kernels();
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t chunks = (count + LANES - 1) / LANES, depth = chunks * LANES, e = points_.e();
  double* p = projected_.need(ld_ * depth);
  lambda_.resize(depth);
  if (static_cast<int>(scratch_.size()) < threads) scratch_.resize(threads);
  parallel_for(threads, chunks, [&](std::int64_t c, int worker) {
    Scratch& mine = scratch_[worker];
    mine.query.assign(e * LANES, 0.0);
    const std::int64_t lanes = std::min(LANES, count - c * LANES);
    for (std::int64_t l = 0; l < lanes; ++l)
      points_.embed(data.U_nd.row(rows[c * LANES + l]),
                    [&](std::int64_t j, double z) { mine.query[j * LANES + l] = z; });
    double *K = mine.K.need(V_.ld() * LANES), *U = mine.U.zeros(V_.ld() * LANES);
    alignas(64) double A[PANEL * LANES], q[LANES] = {};
    k.covariance(kind_, s2_, m(), points_.e_num(), e, points_.rows(0), mine.query.data(), points_.weight(), K, nullptr);
    for (std::int64_t panel = 0; panel < V_.panels(); ++panel) {
      const std::int64_t height = V_.rows(panel), stride = V_.stride(panel);
      k.panel_product(V_.panel(panel), height, stride, panel * PANEL, 1, K, 0, A, 0, LANES);
      k.add_squares(A, height, q);
      k.panel_transposed(V_.panel(panel), height, stride, panel * PANEL, std::min(V_.width(panel), m()), 1, A, 0, LANES,
                         U, 0);
    }
    for (std::int64_t l = 0; l < LANES; ++l)
      lambda_[c * LANES + l] = l < lanes ? std::max(0.0, s2_ - q[l]) + data.noise(rows[c * LANES + l]) : 1.0;
    for (std::int64_t i = 0; i < ld_; ++i)
      for (std::int64_t l = 0; l < LANES; ++l)
        p[(i / LANES * depth + c * LANES + l) * LANES + i % LANES] = i < m() && l < lanes ? U[i * LANES + l] : 0.0;
  });
  return depth;
}

// P += sign sum p p' / l, the upper triangle, and so for b and ones.  3 m^2 operations a row.
void Summary::change(const Rows& data, const std::vector<std::int64_t>& rows, double sign, Sums& sums, int threads) {
  const Kernels& k = kernels();
  const std::int64_t depth = project(data, rows, threads), chunks = ld_ / LANES, size = depth * LANES;
  const double* p = projected_.data();
  double* scaled = scaled_.need(ld_ * depth);
  for (std::int64_t i = 0; i < ld_ * depth; ++i) scaled[i] = -sign * p[i] / lambda_[i / LANES % depth];
  parallel_for(threads, chunks, [&](std::int64_t ci, int) {
    for (std::int64_t cj = ci; cj < chunks; ++cj)
      k.gram_subtract(scaled + ci * size, p + cj * size, depth, sums.P.data() + ci * LANES * ld_ + cj * LANES, ld_);
  });
  for (std::int64_t r = 0; r < static_cast<std::int64_t>(rows.size()); ++r)
    for (std::int64_t i = 0; i < ld_; ++i) {
      const double share = scaled[(i / LANES * depth + r) * LANES + i % LANES];
      sums.b[i] -= share * data.w_n[rows[r]];
      sums.ones[i] -= share;
    }
}

double Summary::add(const Rows& data, const std::vector<std::int64_t>& rows, int threads) {
  change(data, rows, 1.0, all_, threads);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double w = data.w_n[rows[r]], l = lambda_[r];
    ww_ += w * w / l, w1_ += w / l, one_ += 1.0 / l, log_l_ += std::log(l);
  }
  count_ += static_cast<std::int64_t>(rows.size());
  return 3.0 * square(m()) * static_cast<double>(rows.size());
}

std::vector<double> Summary::solved(const Buffer& noise, const std::vector<double>& b) const {
  std::vector<double> x(m(), 0.0);
  for (std::int64_t i = 0; i < m(); ++i)
    for (std::int64_t j = 0; j < m(); ++j) x[i] += noise.data()[i * ld_ + j] * b[j];
  return x;
}

void Summary::without(const Rows& data, const std::vector<std::int64_t>& rows, const Sums& from, Sums& to,
                      int threads) {
  std::memcpy(to.P.need(ld_ * ld_), from.P.data(), static_cast<std::size_t>(ld_ * ld_) * sizeof(double));
  to.b = from.b, to.ones = from.ones;
  std::vector<std::int64_t> known;
  for (const std::int64_t row : rows)
    if (summed(row)) known.push_back(row);
  if (!known.empty()) change(data, known, -1.0, to, threads);
}

void Summary::leave_out(const Rows& data, const std::vector<std::int64_t>& rows, int threads) {
  without(data, rows, all_, left_, threads);
}

void Summary::pseudo(const Rows& data, const std::vector<std::int64_t>& rows, Pseudo& out, int threads) {
  without(data, rows, left_, here_, threads);
  const double* P = here_.P.data();
  std::vector<double> b = here_.b, diagonal(m());
  for (std::int64_t i = 0; i < m(); ++i) b[i] -= mu_ * here_.ones[i];
  for (std::int64_t i = 0; i < m(); ++i) diagonal[i] = P[i * ld_ + i] + RIDGE / s2_;
  P_inverse_root_.clear();
  P_inverse_root_.build_some({nullptr, kind_, 0.0, diagonal.data(), P, ld_, m()}, m(), INF, threads);
  P_inverse_root_.inverse(out.noise.need(ld_ * ld_), ld_, threads);
  out.value = solved(out.noise, b);
}

void Summary::conclude(const Factor& V, Pseudo& all, int threads) {
  // With (K^-1 + P)^-1 = K - K (K + P^-1)^-1 K, what the prior takes from x' P y is x' (K + P^-1)^-1 y of the
  // pseudo-observations x and y.
  const std::int64_t ld = V.ld();
  std::vector<double> x(2 * ld, 0.0), a(2 * ld), u(2 * ld);
  const std::vector<double> w = solved(all.noise, all_.b), one = solved(all.noise, all_.ones);
  std::copy(w.begin(), w.end(), x.begin());
  std::copy(one.begin(), one.end(), x.begin() + ld);
  V.gram(2, x.data(), V.ld(), a.data(), u.data(), V.n(), threads);
  double ww = ww_, w1 = w1_, oo = one_, log_det = log_l_;
  for (std::int64_t i = 0; i < m(); ++i) {
    ww += a[i] * a[i] - all_.b[i] * w[i];
    w1 += a[i] * a[ld + i] - all_.ones[i] * w[i];
    oo += a[ld + i] * a[ld + i] - all_.ones[i] * one[i];
    if (V.merged(i) < 0) log_det -= 2.0 * std::log(V.diagonal(i));
    log_det -= 2.0 * std::log(P_inverse_root_.diagonal(i));
  }
  mu_ = constant_mean_ ? w1 / oo : 0.0;
  log_likelihood_ = -0.5 * (ww - mu_ * (2.0 * w1 - mu_ * oo) + log_det + static_cast<double>(count_) * LOG_2PI);
  for (std::int64_t i = 0; i < m(); ++i) all.value[i] = w[i] - mu_ * one[i];
}

}  // namespace hpo
