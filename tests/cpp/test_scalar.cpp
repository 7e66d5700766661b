// device/scalar.hpp and hpo/acquisition.hpp. Accuracy is tested from Python against mpmath, through the evaluators.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "hpo/acquisition.hpp"

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr hpo::UtilityKind kKinds[] = {hpo::UtilityKind::log_ei, hpo::UtilityKind::ei, hpo::UtilityKind::log_pi,
                                       hpo::UtilityKind::pi, hpo::UtilityKind::ucb};

void check_covariance(hpo::scalar::Covariance (*k)(double)) {
  CHECK_NEAR(k(0.0).g, 1.0, 0.0);
  for (double r2 : {1e-6, 0.03, 1.0, 7.0, 90.0}) {
    const double step = 1e-4 * r2;  // of a central difference: error about step^2, rounding about eps / step
    const double slope = (k(r2 + step).g - k(r2 - step).g) / (2.0 * step);
    CHECK_NEAR(k(r2).h, -2.0 * slope, 1e-7 * k(r2).h + 1e-15 / step);
  }
  CHECK(k(1e4).g < 1e-40 && k(1e4).g >= 0.0);
  CHECK(std::isnan(k(kNan).g));
}

}  // namespace

TEST(covariances) {
  check_covariance(hpo::scalar::matern52);
  check_covariance(hpo::scalar::matern32);
  check_covariance(hpo::scalar::rbf);
}

TEST(normal_limits) {
  using namespace hpo::scalar;
  CHECK(normal_quantile(0.0) == -kInfinity && normal_quantile(1.0) == kInfinity && normal_quantile(0.5) == 0.0);
  CHECK(std::isnan(normal_quantile(-0.1)) && std::isnan(normal_quantile(1.1)) && std::isnan(normal_quantile(kNan)));
  CHECK(normal_quantile(0.25) == -normal_quantile(0.75));
  CHECK_NEAR(erfcx(0.0), 1.0, 1e-15);
  CHECK(erfcx(kInfinity) == 0.0 && std::isnan(erfcx(kNan)));
  CHECK(normal_cdf(-kInfinity) == 0.0 && normal_cdf(kInfinity) == 1.0 && std::isnan(normal_cdf(kNan)));
  CHECK(log_normal_cdf(kInfinity).value == 0.0 && log_normal_cdf(-kInfinity).value == -kInfinity);
  CHECK(log_ei_h(-kInfinity).value == -kInfinity && log_ei_h(kInfinity).value == kInfinity &&
        std::isnan(log_ei_h(kNan).value));
  CHECK(std::isfinite(log_ei_h(-1e150).value) && std::isfinite(log_ei_h(-1e150).pdf_over_h));
}

TEST(utility_gradients) {
  for (hpo::UtilityKind kind : kKinds) {
    for (double mean : {-3.0, -0.2, 0.4, 2.0, 30.0}) {
      for (double var : {0.04, 1.0, 2.5}) {
        const hpo::Utility u{kind, 1.8, 0.3};
        const auto g = hpo::utility_gradient(u, mean, var);
        CHECK(g.value == hpo::utility_value(u, mean, var));
        const double hm = 1e-5, hv = 1e-5 * var;
        const double dm = (hpo::utility_value(u, mean + hm, var) - hpo::utility_value(u, mean - hm, var)) / (2.0 * hm);
        const double dv = (hpo::utility_value(u, mean, var + hv) - hpo::utility_value(u, mean, var - hv)) / (2.0 * hv);
        const double noise = 1e-15 * std::fabs(g.value);  // of the values that the differences take
        CHECK_NEAR(g.d_mean, dm, 1e-5 * std::fabs(g.d_mean) + noise / hm);
        CHECK_NEAR(g.d_var, dv, 1e-5 * std::fabs(g.d_var) + noise / hv);
      }
    }
  }
}

TEST(utilities_prefer_lower_means) {
  for (hpo::UtilityKind kind : kKinds) {
    const hpo::Utility u{kind, 1.8, 0.0};
    CHECK(hpo::utility_value(u, -0.5, 0.7) > hpo::utility_value(u, 0.5, 0.7));
    CHECK(std::isnan(hpo::utility_value(u, kNan, 0.7)));
  }
}

EVAL(log_ei) {  // z -> ln h, h'/h, h''/h
  for (double z; check::read(z);) {
    const auto t = hpo::scalar::log_ei_h(z);
    std::printf("%.17g %.17g %.17g\n", t.value, t.cdf_over_h, t.pdf_over_h);
  }
}

EVAL(log_cdf) {  // z -> ln Phi, phi/Phi
  for (double z; check::read(z);) {
    const auto t = hpo::scalar::log_normal_cdf(z);
    std::printf("%.17g %.17g\n", t.value, t.slope);
  }
}

EVAL(normal) {  // z -> h, Phi, phi
  for (double z; check::read(z);)
    std::printf("%.17g %.17g %.17g\n", hpo::scalar::ei_h(z), hpo::scalar::normal_cdf(z), hpo::scalar::normal_pdf(z));
}

EVAL(erfcx) {
  for (double x; check::read(x);) std::printf("%.17g\n", hpo::scalar::erfcx(x));
}

EVAL(quantile) {
  for (double p; check::read(p);) std::printf("%.17g\n", hpo::scalar::normal_quantile(p));
}

EVAL(covariance) {  // r2 -> g, h of matern52, matern32, rbf
  for (double r2; check::read(r2);) {
    const auto a = hpo::scalar::matern52(r2), b = hpo::scalar::matern32(r2), c = hpo::scalar::rbf(r2);
    std::printf("%.17g %.17g %.17g %.17g %.17g %.17g\n", a.g, a.h, b.g, b.h, c.g, c.h);
  }
}

EVAL(utility) {  // kind, beta, best, mean, var -> value, d_mean, d_var
  for (double kind, beta, best, mean, var;
       check::read(kind) && check::read(beta) && check::read(best) && check::read(mean) && check::read(var);) {
    const hpo::Utility u{static_cast<hpo::UtilityKind>(static_cast<int>(kind)), beta, best};
    const auto g = hpo::utility_gradient(u, mean, var);
    std::printf("%.17g %.17g %.17g\n", g.value, g.d_mean, g.d_var);
  }
}
