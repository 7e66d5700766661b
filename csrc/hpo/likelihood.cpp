#include "hpo/likelihood.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
constexpr double LOG_2PI = 1.8378770664093454836;
constexpr std::int64_t THREADED_FROM = 256;
constexpr std::int64_t CHUNKS = PANEL / LANES;
}  // namespace

double Likelihood::operator()(const Observed& data, const double* theta, double* gradient, int threads) {
  const std::int64_t n = data.U_nd.rows, b = data.U_nd.cols;
  if (gradient) std::fill(gradient, gradient + b + 2, 0.0);
  if (n == 0) return 0.0;
  points_.reset(theta);
  for (std::int64_t i = 0; i < n; ++i) points_.append(data.U_nd.row(i));
  const double noise = std::exp(theta[b + 1]);
  noise_.resize(n);
  for (std::int64_t i = 0; i < n; ++i) {
    const double known = data.known_n[i] / data.noise_scale / data.noise_scale;
    noise_[i] = std::isnan(known) ? noise : known;
  }
  V_.build({&points_, data.kind, std::exp(theta[b]), noise_.data()}, n, threads);
  weights_.compute(V_, data.w_n, data.constant_mean, threads);
  if (gradient) add_gradient(data, theta, gradient, n < THREADED_FROM ? 1 : threads);
  return -0.5 * (weights_.quadratic + weights_.log_det + static_cast<double>(weights_.in_model) * LOG_2PI);
}

// With W = alpha alpha' - K^-1, d/d theta = 1/2 tr(W dK/d theta) (Rasmussen & Williams 2006, eq. 5.9); mu is at its
// optimum, so its own change adds nothing.  K^-1 = V'V is formed a tile of PANEL x PANEL at a time and used at once:
//   ln l_c:  dK_ij = h_ij d2_c(i, j), so the sum over i < j of W_ij h_ij d2_c(i, j);
//   ln s2:   dK = K - diag(noise);  ln noise:  dK = noise I on the rows where it is inferred.
void Likelihood::add_gradient(const Observed& data, const double* theta, double* gradient, int threads) {
  const Kernels& k = kernels();
  const std::int64_t n = V_.n(), b = data.U_nd.cols, e = points_.e(), panels = V_.panels();
  const double s2 = std::exp(theta[b]);
  const double* alpha = weights_.alpha.data();
  const std::int64_t stride = e + 2;  // per block row: one sum a column, tr(K^-1 D) and the noise term
  partial_.assign(panels * stride, 0.0);

  // Block rows are independent and summed in order afterwards: the same bits whichever thread took which.
  parallel_for(threads, panels, [&](std::int64_t task, int) {
    const std::int64_t I = task, i0 = I * PANEL, rows = V_.rows(I);
    double* sum = partial_.data() + I * stride;
    alignas(64) double T[CHUNKS * PANEL * LANES], H[PANEL * LANES], K[PANEL * LANES];
    std::vector<double> G(e * LANES, 0.0);
    for (std::int64_t J = 0; J <= I; ++J) {
      std::memset(T, 0, sizeof(T));
      for (std::int64_t p = I; p < panels; ++p) {
        const double* V = V_.panel(p);
        for (std::int64_t c = 0; c < CHUNKS; ++c)
          k.panel_transposed(V + i0, V_.rows(p), V_.stride(p), p == I ? 0 : PANEL, rows, V + J * PANEL + c * LANES,
                             V_.stride(p), T + c * PANEL * LANES);
      }
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
  });

  double trace = static_cast<double>(weights_.in_model), product = 0.0;  // jitter is part of dK: it is in units of s2
  for (std::int64_t i = 0; i < n; ++i) product += alpha[i] * (weights_.centred(i) - noise_[i] * alpha[i]);
  for (std::int64_t I = 0; I < panels; ++I) {
    const double* sum = partial_.data() + I * stride;
    for (std::int64_t c = 0; c < e; ++c) gradient[points_.columns()[c].block] += sum[c];
    trace -= sum[e];
    gradient[b + 1] += sum[e + 1];
  }
  gradient[b] = 0.5 * (product - trace);
}

}  // namespace hpo
