// Formulas on one point, each written once for every instruction set and for the device.
//
// This file includes nothing and has no include guard: it is compiled once for each namespace. Before including it,
// define
//   HF_EXP(x), HF_LOG(x), HF_SQRT(x)   on doubles; HF_EXP is only ever called with x <= 0, HF_LOG with x > 0 (or 0)
//   HF_NS                              the namespace, one for each instruction set
// Everything is static inline, so that no linker can take the copy of another instruction set.

namespace HF_NS {

// ---- covariance -----------------------------------------------------------------------------------------------------
// With the scaled squared distance r2 >= 0: k = s2 * g, and -2 dk/d(r2) = s2 * h. No branches, so loops over them
// vectorise.

struct Covariance {
  double g;
  double h;
};

// Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), eq. 4.17; h from dg/dt = -t (1 + t) e^-t / 3,
// t^2 = 5 r2.
static inline Covariance matern52(double r2) {
  const double t = HF_SQRT(5.0 * r2);
  const double e = HF_EXP(-t);
  return {(1.0 + t + t * t * (1.0 / 3.0)) * e, (5.0 / 3.0) * (1.0 + t) * e};
}

// The same source, eq. 4.17; h from dg/dt = -t e^-t, t^2 = 3 r2.
static inline Covariance matern32(double r2) {
  const double t = HF_SQRT(3.0 * r2);
  const double e = HF_EXP(-t);
  return {(1.0 + t) * e, 3.0 * e};
}

// The same source, eq. 4.9.
static inline Covariance rbf(double r2) {
  const double e = HF_EXP(-0.5 * r2);
  return {e, e};
}

// ---- the normal distribution ----------------------------------------------------------------------------------------

static constexpr double kLogSqrt2Pi = 0.91893853320467274178;  // ln sqrt(2 pi)
static constexpr double kInvSqrt2Pi = 0.39894228040143267794;  // 1 / sqrt(2 pi)
static constexpr double kSqrtHalf = 0.70710678118654752440;    // sqrt(1/2)
static constexpr double kSqrtHalfPi = 1.25331413731550025121;  // sqrt(pi/2)

// ln(1 + x) for x > -1 without log1p: the quotient cancels the rounding of 1 + x (Higham, "Accuracy and Stability of
// Numerical Algorithms", 2nd ed., section 1.14.1).
static inline double log1p_exact(double x) {
  const double u = 1.0 + x;
  return u == 1.0 ? x : HF_LOG(u) * (x / (u - 1.0));
}

// exp(x^2) erfc(x) for x >= 0, relative error below 1e-15 up to x = inf.
// (1 + 2x) erfcx(x) is smooth in t = (x - 3.75) / (x + 3.75), which maps [0, inf) onto [-1, 1) (Shepherd & Laframboise,
// Math. Comp. 36 (1981) 249-253). The polynomial is the Chebyshev interpolant of degree 24, computed with 40 digits and
// written in powers of t: their absolute values sum to 1.8, so Horner loses nothing. One formula, no branch.
static inline double erfcx(double x) {
  const double t = 1.0 - 7.5 / (x + 3.75);
  double s = 4.2514714447963895e-10;
  s = s * t + 3.1114333809799254e-10;
  s = s * t - 5.1739902140113095e-09;
  s = s * t - 3.744210080962018e-09;
  s = s * t + 3.8675334242222354e-08;
  s = s * t + 2.3263508708859124e-08;
  s = s * t - 2.5866850716155884e-07;
  s = s * t - 5.7218230603224086e-08;
  s = s * t + 1.751637648849062e-06;
  s = s * t - 9.73559896736775e-07;
  s = s * t - 1.1444146237700524e-05;
  s = s * t + 2.238423915508223e-05;
  s = s * t + 5.164909889268241e-05;
  s = s * t - 0.0002901540805408417;
  s = s * t + 0.0002937136655913448;
  s = s * t + 0.0017556258528952954;
  s = s * t - 0.009746579558029276;
  s = s * t + 0.028362277418956406;
  s = s * t - 0.05869339858963677;
  s = s * t + 0.09230432116037748;
  s = s * t - 0.10880393014174886;
  s = s * t + 0.0822767384901452;
  s = s * t + 0.0035854154854644293;
  s = s * t - 0.14024059858554697;
  s = s * t + 1.2375126308378275;
  return s / (1.0 + 2.0 * x);
}

static inline double normal_pdf(double z) {
  return kInvSqrt2Pi * HF_EXP(-0.5 * z * z);
}

// Phi(z) / phi(z) for z <= 0 (Mills' ratio of -z): about 1/|z| far out, where Phi and phi themselves have long
// underflowed.
static inline double normal_ratio(double z) {
  return kSqrtHalfPi * erfcx(-z * kSqrtHalf);
}

// Phi(z); relative precision in the lower tail.
static inline double normal_cdf(double z) {
  const double tail = 0.5 * HF_EXP(-0.5 * z * z) * erfcx((z < 0.0 ? -z : z) * kSqrtHalf);
  return z > 0.0 ? 1.0 - tail : tail;
}

// ln Phi(z) and its derivative phi/Phi.
struct LogCdf {
  double value;
  double slope;
};

static inline LogCdf log_normal_cdf(double z) {
  if (z > 0.0) {  // here Phi is near 1 and ln Phi near -tail
    const double tail = 0.5 * HF_EXP(-0.5 * z * z) * erfcx(z * kSqrtHalf);
    return {log1p_exact(-tail), normal_pdf(z) / (1.0 - tail)};
  }
  const double r = normal_ratio(z);  // Phi = phi r
  return {-0.5 * z * z - kLogSqrt2Pi + HF_LOG(r), 1.0 / r};
}

// z with Phi(z) = p: -inf at 0, inf at 1, NaN outside [0, 1]. Relative error about 1e-15.
// Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988) 477-484,
// routine PPND16 (its coefficients and borders).
static inline double normal_quantile(double p) {
  const double q = p - 0.5;
  if (q >= -0.425 && q <= 0.425) {
    const double r = 0.180625 - q * q;
    const double num =
        (((((((2.5090809287301226727e+3 * r + 3.3430575583588128105e+4) * r + 6.7265770927008700853e+4) * r +
             4.5921953931549871457e+4) *
                r +
            1.3731693765509461125e+4) *
               r +
           1.9715909503065514427e+3) *
              r +
          1.3314166789178437745e+2) *
             r +
         3.3871328727963666080e+0);
    const double den =
        (((((((5.2264952788528545610e+3 * r + 2.8729085735721942674e+4) * r + 3.9307895800092710610e+4) * r +
             2.1213794301586595867e+4) *
                r +
            5.3941960214247511077e+3) *
               r +
           6.8718700749205790830e+2) *
              r +
          4.2313330701600911252e+1) *
             r +
         1.0);
    return q * num / den;
  }
  const double tail = q < 0.0 ? p : 1.0 - p;  // 1 - p is exact for p >= 1/2
  if (!(tail > 0.0)) {
    const double infinite = -HF_LOG(0.0);
    return tail == 0.0 ? (q < 0.0 ? -infinite : infinite) : infinite - infinite;
  }
  const double s = HF_SQRT(-HF_LOG(tail));
  double z;
  if (s <= 5.0) {
    const double r = s - 1.6;
    const double num =
        (((((((7.74545014278341407640e-4 * r + 2.27238449892691845833e-2) * r + 2.41780725177450611770e-1) * r +
             1.27045825245236838258e+0) *
                r +
            3.64784832476320460504e+0) *
               r +
           5.76949722146069140550e+0) *
              r +
          4.63033784615654529590e+0) *
             r +
         1.42343711074968357734e+0);
    const double den =
        (((((((1.05075007164441684324e-9 * r + 5.47593808499534494600e-4) * r + 1.51986665636164571966e-2) * r +
             1.48103976427480074590e-1) *
                r +
            6.89767334985100004550e-1) *
               r +
           1.67638483018380384940e+0) *
              r +
          2.05319162663775882187e+0) *
             r +
         1.0);
    z = num / den;
  } else {
    const double r = s - 5.0;
    const double num =
        (((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 1.24266094738807843860e-3) * r +
             2.65321895265761230930e-2) *
                r +
            2.96560571828504891230e-1) *
               r +
           1.78482653991729133580e+0) *
              r +
          5.46378491116411436990e+0) *
             r +
         6.65790464350110377720e+0);
    const double den =
        (((((((2.04426310338993978564e-15 * r + 1.42151175831644588870e-7) * r + 1.84631831751005468180e-5) * r +
             7.86869131145613259100e-4) *
                r +
            1.48753612908506148525e-2) *
               r +
           1.36929880922735805310e-1) *
              r +
          5.99832206555887937690e-1) *
             r +
         1.0);
    z = num / den;
  }
  return q < 0.0 ? -z : z;
}

// ---- expected improvement -------------------------------------------------------------------------------------------
// h(z) = phi(z) + z Phi(z) is the expected improvement in units of the standard deviation. With r = Phi/phi it is
// h = phi (1 + z r), and h' = Phi, h'' = phi.

// 1 + z r for z < -50 by the asymptotic series of Mills' ratio (Abramowitz & Stegun 26.2.12): z^-2 (1 - 3 z^-2 + 15
// z^-4 - ...). The direct form loses eps z^2 to cancellation, 5e-13 at the border; the first term left out is 15!!
// z^-14 < 4e-18.
static inline double one_plus_zr_tail(double w /* z^-2 */) {
  return 1.0 - w * (3.0 - w * (15.0 - w * (105.0 - w * (945.0 - w * (10395.0 - w * 135135.0)))));
}

static inline double ei_h(double z) {
  if (z > -1.0) return normal_pdf(z) + z * normal_cdf(z);
  if (z < -50.0) return 0.0;  // below 1e-545, less than the smallest double
  return normal_pdf(z) * (1.0 + z * normal_ratio(z));
}

// ln h with the two ratios that its derivatives need: h'/h = Phi/h and h''/h = phi/h (= 1 - z Phi/h over h', without
// the cancellation).
struct LogEiH {
  double value;
  double cdf_over_h;
  double pdf_over_h;
};

// Three branches: h itself, the Mills ratio, its series. (A form with erfcx alone needs its series only from z = -1e6
// for the value, but its gradient is then wrong by eps z^2, 2e-4 there.)
static inline LogEiH log_ei_h(double z) {
  if (z > -1.0) {
    const double pdf = normal_pdf(z), cdf = normal_cdf(z);
    const double h = pdf + z * cdf;
    return {HF_LOG(h), cdf / h, pdf / h};
  }
  if (z >= -50.0) {
    const double r = normal_ratio(z);
    const double s = 1.0 + z * r;
    return {-0.5 * z * z - kLogSqrt2Pi + HF_LOG(s), r / s, 1.0 / s};
  }
  if (z < -50.0) {
    const double w = 1.0 / z / z;
    const double s = one_plus_zr_tail(w);
    // ln(w s) in two parts: w underflows beyond |z| = 1e154, where the first term is infinite anyway.
    return {-0.5 * z * z - kLogSqrt2Pi - 2.0 * HF_LOG(-z) + HF_LOG(s), normal_ratio(z) * z * z / s, z * z / s};
  }
  return {z, z, z};  // NaN stays NaN
}

}  // namespace HF_NS
