// The prior of theta, dimension-scaled, and its mode.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace hpo {

// Log-normal density of a parameter as a function of its logarithm x:
//   ln p = -x - (x - m)^2 / (2 s^2) - ln(s sqrt(2 pi)).
// The length scale's m grows with the number of blocks, so that distances stay comparable to it (Hvarfner et al., ICML
// 2024, section 4); noise as in BoTorch >= 0.12, output variance around the standardised 1.
struct LogNormal {
  double m, s;

  double log_density(double x) const {
    const double t = (x - m) / s;
    return -x - 0.5 * t * t - std::log(s) - 0.91893853320467274178;
  }
  double slope(double x) const { return -1.0 - (x - m) / (s * s); }
};

struct Prior {
  LogNormal lengthscale, variance{0.0, 1.0}, noise{-4.0, 1.0};

  explicit Prior(std::int64_t b)
      : lengthscale{std::sqrt(2.0) + 0.5 * std::log(static_cast<double>(b)), std::sqrt(3.0)} {}

  // theta (b + 2); adds to gradient when it is not null.  `with_noise` false: the noise is fixed and has no prior.
  double operator()(std::int64_t b, const double* theta, bool with_noise, double* gradient) const {
    double sum = 0.0;
    for (std::int64_t j = 0; j < b + (with_noise ? 2 : 1); ++j) {
      const LogNormal& part = j < b ? lengthscale : j == b ? variance : noise;
      sum += part.log_density(theta[j]);
      if (gradient) gradient[j] += part.slope(theta[j]);
    }
    return sum;
  }
};

// Where a fit starts besides the theta at hand: the mode of the length scale's density, 0.205 sqrt(b), unit variance,
// and the mode of the noise's, e^-5.
inline std::vector<double> prior_mode(std::int64_t b) {
  const LogNormal l = Prior(b).lengthscale;
  std::vector<double> theta(b + 2, l.m - l.s * l.s);
  theta[b] = 0.0;
  theta[b + 1] = -5.0;
  return theta;
}

}  // namespace hpo
