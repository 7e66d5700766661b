#include "hpo/likelihood.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
constexpr std::int64_t THREADED_FROM = 256;
constexpr std::int64_t CHUNKS = PANEL / LANES;
}  // namespace

CovarianceMatrix Likelihood::matrix() const {
  return {&points_, data_->kind, std::exp(theta_[theta_.size() - 2]), noise_.data()};
}

void Likelihood::begin(const Observed& data, const double* theta, bool gradient) {
  const std::int64_t n = data.U_nd.rows, b = data.U_nd.cols;
  data_ = &data;
  theta_.assign(theta, theta + b + 2);
  want_gradient_ = gradient;
  points_.reset(theta);
  for (std::int64_t i = 0; i < n; ++i) points_.append(data.U_nd.row(i));
  const double noise = std::exp(theta[b + 1]);
  noise_.resize(n);
  for (std::int64_t i = 0; i < n; ++i) noise_[i] = noise_variance(data.known_n[i], data.noise_scale, noise);
  V_.clear();
  row_ = 0;
  stage_ = n > 0 ? Stage::factor : Stage::done;
}

double Likelihood::advance(double work, int threads) {
  const std::int64_t n = points_.n();
  double done = 0.0;
  while (stage_ == Stage::factor) {
    done += V_.build_some(matrix(), n, work - done, threads);
    if (V_.n() == n) {
      weights_.compute(V_, data_->w_n, data_->constant_mean, threads);
      partial_.assign(want_gradient_ ? V_.panels() * stride() : 0, 0.0);
      stage_ = want_gradient_ ? Stage::gradient : Stage::done;
      if (want_gradient_) V_.order_in_tiles(n < THREADED_FROM ? 1 : threads);
    }
    if (done >= work) return done;
  }
  while (stage_ == Stage::gradient) {
    // Block rows are independent and summed in order afterwards: the same bits whichever thread took which.
    const std::int64_t panels = V_.panels(), first = row_;
    double planned = 0.0;
    while (row_ < panels && (row_ - first < threads || done + planned < work)) {
      planned += 2.0 * PANEL * PANEL * PANEL * static_cast<double>((row_ + 1) * (panels - row_));
      ++row_;
    }
    parallel_for(n < THREADED_FROM ? 1 : threads, row_ - first, [&](std::int64_t I, int) { add_block_row(first + I); });
    done += planned;
    if (row_ == panels) stage_ = Stage::done;
    if (done >= work) break;
  }
  return done;
}

// With W = alpha alpha' - K^-1, d/d theta = 1/2 tr(W dK/d theta) (Rasmussen & Williams 2006, eq. 5.9); mu is at its
// optimum, so its own change adds nothing.  K^-1 = V'V is formed a tile of PANEL x PANEL at a time and used at once:
//   ln l_c:  dK_ij = h_ij d2_c(i, j), so the sum over i < j of W_ij h_ij d2_c(i, j);
//   ln s2:   dK = K - diag(noise);  ln noise:  dK = noise I on the rows where it is inferred.
void Likelihood::add_block_row(std::int64_t I) {
  const Kernels& k = kernels();
  const Observed& data = *data_;
  const std::int64_t n = V_.n(), e = points_.e(), panels = V_.panels();
  const std::int64_t i0 = I * PANEL, rows = V_.rows(I);
  const double s2 = matrix().s2;
  const double* alpha = weights_.alpha.data();
  double* sum = partial_.data() + I * stride();  // one a column, tr(K^-1 D) and the noise term
  alignas(64) double T[CHUNKS * PANEL * LANES], H[PANEL * LANES], K[PANEL * LANES];
  std::vector<double> G(e * LANES, 0.0);
  for (std::int64_t J = 0; J <= I; ++J) {
    std::memset(T, 0, sizeof(T));
    for (std::int64_t p = I; p < panels; ++p)
      k.panel_transposed(V_.tile(p, I), V_.rows(p), PANEL, p == I ? 0 : PANEL, rows, CHUNKS, V_.tile(p, J), LANES,
                         PANEL, T, PANEL * LANES);
    const double half = I == J ? 0.5 : 1.0;  // the tile on the diagonal holds each pair twice
    for (std::int64_t c = 0; c < CHUNKS; ++c) {
      const std::int64_t j0 = J * PANEL + c * LANES;
      if (j0 >= n) break;
      double* Tc = T + c * PANEL * LANES;
      k.covariance(data.kind, s2, rows, points_.e_num(), e, points_.rows(i0), points_.chunk(j0 / LANES),
                   points_.weight(), K, H);
      const std::int64_t lanes = std::min(LANES, n - j0);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t l = 0; l < lanes; ++l)
          H[i * LANES + l] *= half * (alpha[i0 + i] * alpha[j0 + l] - Tc[i * LANES + l]);
        for (std::int64_t l = lanes; l < LANES; ++l) H[i * LANES + l] = 0.0;
      }
      if (I == J) {
        for (std::int64_t l = 0; l < lanes; ++l) {
          const std::int64_t i = c * LANES + l, row = i0 + i;
          if (V_.merged(row) >= 0) continue;
          const double inverse = Tc[i * LANES + l];  // (K^-1)_ii
          sum[e] += noise_[row] * inverse;
          if (std::isnan(data.known_n[row])) sum[e + 1] += 0.5 * noise_[row] * (alpha[row] * alpha[row] - inverse);
        }
      }
      k.weighted_squares(rows, points_.e_num(), e, points_.rows(i0), points_.chunk(j0 / LANES), points_.weight(), H,
                         G.data());
    }
  }
  for (std::int64_t c = 0; c < e; ++c)
    for (std::int64_t l = 0; l < LANES; ++l) sum[c] += G[c * LANES + l];
}

double Likelihood::result(double* gradient) const {
  const std::int64_t n = V_.n(), e = points_.e(), b = data_->U_nd.cols;
  if (gradient) std::fill(gradient, gradient + b + 2, 0.0);
  if (n == 0) return 0.0;
  if (gradient) {
    const double* alpha = weights_.alpha.data();
    double trace = static_cast<double>(weights_.in_model), product = 0.0;  // jitter is part of dK: in units of s2
    for (std::int64_t i = 0; i < n; ++i) product += alpha[i] * (weights_.centred(i) - noise_[i] * alpha[i]);
    for (std::int64_t I = 0; I < V_.panels(); ++I) {
      const double* sum = partial_.data() + I * stride();
      for (std::int64_t c = 0; c < e; ++c) gradient[points_.columns()[c].block] += sum[c];
      trace -= sum[e];
      gradient[b + 1] += sum[e + 1];
    }
    gradient[b] = 0.5 * (product - trace);
  }
  return weights_.log_likelihood();
}

}  // namespace hpo
