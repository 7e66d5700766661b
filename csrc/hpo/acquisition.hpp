// Acquisition of one point from its posterior mean and variance, and its derivatives to both. y is minimised; every
// utility is larger where the point is better.
//
// z = (best - mean) / sd, sd = sqrt(var), h(z) = phi(z) + z Phi(z); for pi and log_pi, best has PI_MARGIN taken off:
//   log_ei  ln sd + ln h(z)      logarithm of the expected improvement (Ament et al., NeurIPS 2023, eq. 8-9)
//   ei      sd h(z)              Jones, Schonlau, Welch, J. Global Optim. 13 (1998), eq. 15
//   log_pi  ln Phi(z)
//   pi      Phi(z)               Kushner, J. Basic Eng. 86 (1964)
//   ucb     -(mean - beta sd)    Srinivas et al., ICML 2010, with beta in place of its square root; here a lower bound
#pragma once

#include "host_scalar.hpp"

namespace hpo {

enum class UtilityKind : int { log_ei = 0, ei = 1, log_pi = 2, pi = 3, ucb = 4 };

struct Utility {
  UtilityKind kind = UtilityKind::log_ei;
  double beta = 1.8;  // ucb only, in standard deviations
  double best = 0.0;  // the value to improve on, in the units of mean
};

// The improvement that counts, in standardised units, for the probability of improvement: without it that is largest a
// hair's breadth from the best point (Kushner 1964 has such a margin too; regret on Branin 8.7 without, 0.04 with it).
constexpr double PI_MARGIN = 0.01;
inline Utility with_margin(Utility utility) {
  if (utility.kind == UtilityKind::pi || utility.kind == UtilityKind::log_pi) utility.best -= PI_MARGIN;
  return utility;
}

struct UtilityGradient {
  double value;
  double d_mean;
  double d_var;
};

// var > 0 (the posterior clamps it); a NaN in mean or var gives NaN.
inline double utility_value(const Utility& u, double mean, double var) {
  const double sd = std::sqrt(var);
  const double z = (u.best - mean) / sd;
  switch (u.kind) {
    case UtilityKind::log_ei:
      return std::log(sd) + scalar::log_ei_h(z).value;
    case UtilityKind::ei:
      return sd * scalar::ei_h(z);
    case UtilityKind::log_pi:
      return scalar::log_normal_cdf(z).value;
    case UtilityKind::pi:
      return scalar::normal_cdf(z);
    case UtilityKind::ucb:
      return -(mean - u.beta * sd);
  }
  return 0.0;  // not reached: every kind returns above
}

// The largest value that a variance up to `var` can give.
inline double utility_bound(const Utility& u, double mean, double var) {
  if (u.kind == UtilityKind::pi && mean < u.best) return 1.0;  // the less variance the better there
  if (u.kind == UtilityKind::log_pi && mean < u.best) return 0.0;
  return utility_value(u, mean, var);
}

inline UtilityGradient utility_gradient(const Utility& u, double mean, double var) {
  const double sd = std::sqrt(var);       // d sd / d var = 1 / (2 sd)
  const double z = (u.best - mean) / sd;  // d z / d mean = -1 / sd,  d z / d sd = -z / sd
  const double half = 0.5 / sd;           // reverses  sd = sqrt(var)
  switch (u.kind) {
    case UtilityKind::log_ei: {  // value = ln sd + ln h(z),  h' = Phi
      const auto t = scalar::log_ei_h(z);
      const double d_mean = -t.cdf_over_h / sd;  // h'/h * dz/dmean
      const double d_sd = t.pdf_over_h / sd;     // 1/sd - h'/h * z/sd = (h - z Phi) / (h sd), and h - z Phi = phi
      return {std::log(sd) + t.value, d_mean, d_sd * half};
    }
    case UtilityKind::ei: {                          // value = sd h(z)
      const double d_mean = -scalar::normal_cdf(z);  // sd * Phi * dz/dmean
      const double d_sd = scalar::normal_pdf(z);     // h + sd * Phi * dz/dsd = h - z Phi = phi
      return {sd * scalar::ei_h(z), d_mean, d_sd * half};
    }
    case UtilityKind::log_pi: {  // value = ln Phi(z)
      const auto t = scalar::log_normal_cdf(z);
      const double d_mean = -t.slope / sd;    // phi/Phi * dz/dmean
      const double d_sd = -t.slope * z / sd;  // phi/Phi * dz/dsd
      return {t.value, d_mean, d_sd * half};
    }
    case UtilityKind::pi: {  // value = Phi(z)
      const double pdf = scalar::normal_pdf(z);
      const double d_mean = -pdf / sd;    // phi * dz/dmean
      const double d_sd = -pdf * z / sd;  // phi * dz/dsd
      return {scalar::normal_cdf(z), d_mean, d_sd * half};
    }
    case UtilityKind::ucb:  // value = -(mean - beta sd)
      return {-(mean - u.beta * sd), -1.0, u.beta * half};
  }
  return {0.0, 0.0, 0.0};  // not reached: every kind returns above
}

}  // namespace hpo
