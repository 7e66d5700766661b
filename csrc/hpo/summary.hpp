// What many observations say about the function at few of their points, as pseudo-observations there.
//
// With f the function at m inducing points, a subset of the told ones, and p_i = K_mm^-1 k_m(x_i), every observation is
//   w_i = p_i' f + r_i + noise_i,   var r_i = k(x_i, x_i) - k_m' K_mm^-1 k_m,
// and with the r_i taken as independent (FITC: Snelson & Ghahramani, NIPS 2005) all of them together are worth the
// pseudo-observations P^-1 b of f with noise covariance P^-1, where P = sum p_i p_i' / l_i, b = sum p_i (w_i - mu) /
// l_i and l_i = var r_i + noise_i.  Rows near a point of interest are taken out of the sums again and enter as they are
// (PIC: Snelson & Ghahramani, AISTATS 2007): see local.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "hpo/buffer.hpp"
#include "hpo/covariance.hpp"
#include "hpo/factor.hpp"
#include "hpo/span.hpp"

namespace hpo {

// What a model in pieces reads of the observations, all of which somebody else keeps.
struct Rows {
  Mat<const double> U_nd;
  const double* w_n;      // values, warped and standardised
  const double* known_n;  // known variances, NaN where the noise is inferred
  double noise_scale;     // known variances are divided by its square
  double inferred;        // the inferred noise variance

  double noise(std::int64_t i) const { return noise_variance(known_n[i], noise_scale, inferred); }
};

class Summary {
 public:
  // The most inducing points, and from how many observations on the lower number counts: an ask is twice as fast with
  // it.  Held-out errors of five functions, d = 3 to 20, with 256 were 1.04 to 1.17 of those with 512 at n = 10,000;
  // the point asked was worth 0.97 (d = 20) and 1.00 (d = 5) of the best in the median (expected improvement).
  static constexpr std::int64_t INDUCING = 512, FEWER = 256, FEWER_FROM = 8192;
  static constexpr std::int64_t SUMMED = 65536;  // of the base, evenly spread; the others enter as neighbours alone

  // Pseudo-observations of the function at the inducing points.
  struct Pseudo {
    std::vector<double> value;  // (m), of the function minus mu
    Buffer noise;               // (m, ld) symmetric
  };

  // `points` without points, for its length scales; the first `base` rows choose the inducing points.
  Summary(const Embedding& scales, Kernel kind, double s2, bool constant_mean, std::int64_t base);

  // Takes in the base, then the rows after it, PANEL at a time as long as there are so many, in pieces of `work`
  // floating-point operations, one at least; returns those done.
  double advance(const Rows& data, double work, int threads);
  static double usual_work(std::int64_t base);

  std::int64_t m() const { return points_.n(); }
  std::int64_t ld() const { return ld_; }
  std::int64_t end() const { return base_ + extended_ * PANEL; }  // no row from here on is summed
  const std::vector<std::int64_t>& inducing_rows() const { return rows_; }
  bool inducing(std::int64_t row) const { return row < base_ && inducing_[row]; }
  double mu() const { return mu_; }

  // Takes what these rows brought to the sums out of all pseudo-observations to come, in place of the rows named last.
  // O(rows m^2).
  void leave_out(const Rows& data, const std::vector<std::int64_t>& rows, int threads);
  // The pseudo-observations without what `rows` and those left out brought to the sums.  O(m^3 + rows m^2).
  void pseudo(const Rows& data, const std::vector<std::int64_t>& rows, Pseudo& out, int threads);

  // Takes the mean, by generalised least squares where it is not zero, and the log likelihood of the rows summed from
  // the pseudo-observations of all of them (values with mu = 0, and of ones), given V, the factor of K_mm + noise.
  void conclude(const Factor& V, Pseudo& all, int threads);
  double log_likelihood() const { return log_likelihood_; }

 private:
  Kernel kind_;
  double s2_;
  bool constant_mean_;
  std::int64_t base_, stride_, ld_ = 0;
  Embedding points_;
  Factor V_;  // of K_mm
  std::vector<std::int64_t> rows_;
  std::vector<char> inducing_;
  std::int64_t next_ = 0, extended_ = 0;  // rows of the base that were looked at; panels after it
  struct Sums {
    Buffer P;                     // (m, ld), the upper triangle
    std::vector<double> b, ones;  // (ld) sum p w / l and sum p / l
  };
  Sums all_, left_, here_;  // of all rows, of all but those left out, of those that pseudo works with
  double ww_ = 0.0, w1_ = 0.0, one_ = 0.0, log_l_ = 0.0;  // sums of w w / l, w / l, 1 / l, ln l
  std::int64_t count_ = 0;
  double mu_ = 0.0, log_likelihood_ = 0.0;

  struct Scratch {
    std::vector<double> query;
    Buffer K, U;
  };
  std::vector<Scratch> scratch_;
  Buffer projected_, scaled_;
  std::vector<double> lambda_;
  Factor P_inverse_root_;

  void choose(const Rows& data, int threads);
  bool summed(std::int64_t row) const {
    return row < base_ ? row < next_ && (row % stride_ == 0 || inducing_[row]) : row < end();
  }
  std::int64_t project(const Rows& data, const std::vector<std::int64_t>& rows, int threads);
  double add(const Rows& data, const std::vector<std::int64_t>& rows, int threads);
  void change(const Rows& data, const std::vector<std::int64_t>& rows, double sign, Sums& sums, int threads);
  void without(const Rows& data, const std::vector<std::int64_t>& rows, const Sums& from, Sums& to, int threads);
  std::vector<double> solved(const Buffer& noise, const std::vector<double>& b) const;
};

}  // namespace hpo
