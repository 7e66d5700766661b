// One line search by ask and tell: the caller evaluates at `step` and says what came.
#pragma once

#include <algorithm>
#include <cmath>

namespace hpo {

// Weak Wolfe conditions (Nocedal & Wright, "Numerical Optimization", 2nd ed., eq. 3.6) on a segment [0, max_step]:
// enough decrease, and a slope that rose enough for s'y > 0. `low` is the best step so far that decreased enough,
// `high` (once there is one) a step that went too far; the wanted step lies between them.
class LineSearch {
 public:
  enum class Next {
    evaluate,       // evaluate at step()
    accept,         // take the point just told
    accept_low,     // take the point at low(), told earlier
    evaluate_keep,  // evaluate at step(), and keep the point just told: it is low() now
    fail            // no step decreases enough
  };

  // slope < 0 at step 0; 0 < first <= max_step.
  void begin(double f, double slope, double first, double max_step) {
    f0_ = f_low_ = f;
    slope0_ = slope_low_ = slope;
    low_ = 0.0;
    step_ = first;
    max_step_ = max_step;
    bracketed_ = false;
    count_ = 0;
  }

  double step() const { return step_; }
  double low() const { return low_; }
  double f_low() const { return f_low_; }

  // A value or slope that is not finite counts as too far.
  Next tell(double f, double slope) {
    ++count_;
    const bool valid = std::isfinite(f) && std::isfinite(slope);
    const bool decreased = valid && f <= f0_ + kDecrease * step_ * slope0_ && (low_ == 0.0 || f < f_low_);
    // Near a minimum the decrease drowns in the rounding of f; there the slopes decide (Hager & Zhang, SIAM J. Optim.
    // 16 (2005), eq. 4.1).
    const bool level = valid && f <= f0_ + kRounding * std::fabs(f0_) && slope <= (2.0 * kDecrease - 1.0) * slope0_;
    if ((decreased || level) && slope >= kCurvature * slope0_) return Next::accept;
    if (decreased && !bracketed_ && step_ >= max_step_) return Next::accept;
    if (count_ >= kMaxCount) return decreased ? Next::accept : low_ > 0.0 ? Next::accept_low : Next::fail;
    if (decreased) {
      const double wider = extrapolate(f, slope);
      low_ = step_;
      f_low_ = f;
      slope_low_ = slope;
      step_ = bracketed_ ? interpolate() : wider;
      return Next::evaluate_keep;
    }
    bracketed_ = true;
    high_ = step_;
    f_high_ = valid ? f : kInfinity;
    slope_high_ = slope;
    if (high_ - low_ <= kNarrow * high_) return low_ > 0.0 ? Next::accept_low : Next::fail;
    step_ = interpolate();
    return Next::evaluate;
  }

 private:
  // 1e-3 and 0.9 are those of L-BFGS-B (Zhu, Byrd, Lu, Nocedal, ACM TOMS 23 (1997), section 3).
  static constexpr double kDecrease = 1e-3, kCurvature = 0.9, kRounding = 1e-15;
  static constexpr double kNarrow = 1e-12, kInfinity = HUGE_VAL;
  static constexpr int kMaxCount = 20;

  // The minimum of the cubic through values and slopes of two steps, NaN where it has none (Nocedal & Wright,
  // eq. 3.59).
  static double cubic(double a, double fa, double ga, double b, double fb, double gb) {
    const double d1 = ga + gb - 3.0 * (fa - fb) / (a - b);
    const double d2 = std::copysign(std::sqrt(d1 * d1 - ga * gb), b - a);
    return b - (b - a) * (gb + d2 - d1) / (gb - ga + 2.0 * d2);
  }

  double interpolate() const {
    const double width = high_ - low_;
    if (!std::isfinite(f_high_)) return low_ + 0.25 * width;
    double a = cubic(low_, f_low_, slope_low_, high_, f_high_, slope_high_);
    // The quadratic through f_low, slope_low, f_high, where the cubic has no minimum.
    if (!std::isfinite(a)) a = low_ - 0.5 * slope_low_ * width * width / (f_high_ - f_low_ - slope_low_ * width);
    if (!std::isfinite(a)) a = low_ + 0.5 * width;
    return std::min(std::max(a, low_ + 0.02 * width), low_ + 0.9 * width);
  }

  double extrapolate(double f, double slope) const {
    double a = cubic(low_, f_low_, slope_low_, step_, f, slope);
    if (!(a > step_)) a = 4.0 * step_;  // no minimum ahead, NaN included
    return std::min(std::min(std::max(a, 1.5 * step_), 10.0 * step_), max_step_);
  }

  double f0_ = 0.0, slope0_ = 0.0;
  double low_ = 0.0, f_low_ = 0.0, slope_low_ = 0.0;
  double high_ = 0.0, f_high_ = 0.0, slope_high_ = 0.0;
  double step_ = 0.0, max_step_ = 0.0;
  bool bracketed_ = false;
  int count_ = 0;
};

}  // namespace hpo
