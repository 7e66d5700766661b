// Raw values into what the model sees: the far bad tail compressed, then standardised.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace hpo {

// A wide bad tail is what ruins a surrogate's resolution near the optimum: one value of 1e30, and all others are equal.
// With t = 1.5 times the interquartile range, a value more than t above the median becomes median + t + t min(ln(1 +
// excess / t), 12), excess what it lies above median + t (12: from 160,000 t on all are equally bad); all others stay.
// A logarithm and not a cap or a rank: once most trials crowd at the optimum, t is small, and the model must still tell
// the bad from the very bad (on mixed spaces, where that decides between branches, the half-rank warp of Song et al.
// 2024, arXiv 2408.11527, leaves four times the regret).
class Warp {
 public:
  double shift = 0.0, scale = 1.0;
  double best = 0.0;      // the smallest standardised value of a trial that did not fail; 0 where there is none
  std::vector<double> w;  // (n) standardised

  // y (n): +inf marks a failed trial, which takes the worst standardised value.  O(n log n).
  void apply(const std::vector<double>& y, bool standardise) {
    const std::size_t n = y.size();
    w.assign(n, 0.0);
    shift = best = worst_ = 0.0;
    scale = 1.0;
    raw_ = !standardise;
    constant_ = true;
    std::vector<std::size_t> finite;
    for (std::size_t i = 0; i < n; ++i)
      if (std::isfinite(y[i])) finite.push_back(i);
    any_ = !finite.empty();
    if (!any_) return;
    if (standardise)
      warp(y, finite);
    else
      for (const std::size_t i : finite) w[i] = y[i];
    worst_ = -std::numeric_limits<double>::infinity();
    best = -worst_;
    for (const std::size_t i : finite) {
      worst_ = std::max(worst_, w[i]);
      best = std::min(best, w[i]);
    }
    for (std::size_t i = 0; i < n; ++i)
      if (!std::isfinite(y[i])) w[i] = worst_;
  }

  // Adds the value of y as `apply` would have warped it; all others stay as they are.  O(1).
  void add(double y) {
    w.push_back(std::isfinite(y) ? warped(y) : worst_);
    if (std::isfinite(y)) best = std::min(best, w.back());
  }
  // Whether y is so unlike what `apply` saw that all must be warped anew: the first value, one unlike a constant, or
  // one FOREIGN standard deviations better than the best.
  bool foreign(double y) const {
    if (!std::isfinite(y)) return false;
    if (!any_) return true;
    if (raw_) return false;
    return constant_ ? std::fabs(y / unit_ - mean_) > 1e-9 * std::fabs(mean_) : warped(y) < best - FOREIGN;
  }

  // The scale rounded to an eighth of a power of two: what known variances are divided by, so that a tell that moves
  // the scale a little leaves the covariance matrix, and its factor, as they are.
  double quantised_scale() const { return std::exp2(std::nearbyint(8.0 * std::log2(scale)) / 8.0); }

 private:
  static constexpr double FOREIGN = 10.0;

  double unit_ = 1.0, median_ = 0.0, t_ = INFINITY, mean_ = 0.0, deviation_ = 1.0;
  double worst_ = 0.0;
  bool any_ = false, raw_ = false, constant_ = true;  // any_: whether `apply` saw a finite value

  // A value in units of `unit_`, with its tail compressed.
  double compressed(double y) const {
    const double at = y / unit_, excess = at - median_ - t_;
    return excess > 0.0 ? median_ + t_ + t_ * std::min(std::log1p(excess / t_), 12.0) : at;
  }

  void warp(const std::vector<double>& y, std::vector<std::size_t>& order) {
    const std::size_t n = order.size();
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return y[a] < y[b] || (y[a] == y[b] && a < b); });
    // Differences of the largest doubles would overflow. A power of two: no digit changes.
    const double largest = std::max(std::fabs(y[order.front()]), std::fabs(y[order.back()]));
    unit_ = largest > 1e300 ? 16.0 : 1.0;
    const auto at = [&](std::size_t i) { return y[order[i]] / unit_; };
    median_ = n % 2 ? at(n / 2) : 0.5 * (at(n / 2 - 1) + at(n / 2));
    t_ = 1.5 * (at(3 * n / 4) - at(n / 4));
    if (t_ == 0.0) t_ = 1.5 * moments(n, at).deviation;  // half of the values are equal
    for (const std::size_t i : order) w[i] = compressed(y[i]);
    const Moments m = moments(n, [&](std::size_t i) { return w[order[i]]; });
    mean_ = m.mean;
    deviation_ = m.deviation;
    shift = mean_ * unit_;
    // Constant: what is left below 1e-12 may be rounding, and nothing can be divided by less than the smallest normal
    // double.
    constant_ = deviation_ <= 1e-12 * m.size || deviation_ * unit_ < std::numeric_limits<double>::min();
    if (!constant_) scale = deviation_ * unit_;
    for (const std::size_t i : order) w[i] = standardised(w[i]);
  }

  struct Moments {
    double mean, deviation, size;  // size: the largest absolute value
  };

  // In units of the size, a power of two, so that 1e300 can be squared, and 1e-300.
  template <class At>
  static Moments moments(std::size_t n, At at) {
    Moments m{0.0, 0.0, 0.0};
    for (std::size_t i = 0; i < n; ++i) m.size = std::max(m.size, std::fabs(at(i)));
    if (m.size == 0.0) return m;
    const double unit = std::exp2(std::ilogb(m.size));
    const double first = at(0) / unit;  // the mean of equal values is their value
    for (std::size_t i = 0; i < n; ++i) m.mean += at(i) / unit - first;
    m.mean = first + m.mean / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double far = at(i) / unit - m.mean;
      m.deviation += far * far;
    }
    m.deviation = std::sqrt(m.deviation / static_cast<double>(n)) * unit;
    m.mean *= unit;
    return m;
  }

  double warped(double y) const { return raw_ ? y : standardised(compressed(y)); }
  double standardised(double compressed) const { return constant_ ? 0.0 : (compressed - mean_) / deviation_; }
};

}  // namespace hpo
