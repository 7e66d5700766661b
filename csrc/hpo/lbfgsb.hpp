// Box-constrained minimisation from several starts in lock-step: every round evaluates all starts that still move in
// one batch, so that a surrogate sees matrices instead of single points.
//
// Each start runs limited-memory BFGS on the variables that are free (not at a bound that the gradient pushes against):
// the two-loop recursion (Nocedal & Wright, "Numerical Optimization", 2nd ed., algorithm 7.4) on pairs restricted to
// the free variables, the step projected onto the box (Bertsekas, SIAM J. Control Optim. 20 (1982) 221-246; Morales &
// Nocedal, ACM TOMS 38 (2011), article 7, for searching along the segment to the projected point), then a line search
// on that segment.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "line_search.hpp"
#include "span.hpp"

namespace hpo {

struct LbfgsbOptions {
  int memory = 10;
  double gradient_tol = 1e-5;  // of the largest component of the projected gradient, per scaled variable
  double value_tol = 2.2e-9;   // of (f_k - f_{k+1}) / max(|f_k|, |f_{k+1}|, 1)
  double least_fall = 0.0;     // of f_k - f_{k+1} itself: a smaller one is an end as well
  int max_iterations = 200;
  int max_evaluations = 1000;  // per start
  // The longest first step, in scaled variables, while no curvature is known (infinity: the whole negative gradient, as
  // L-BFGS-B does in a box; it finds corners sooner and leaves the basin of the start more often).
  double first_step = 1.0;
};

enum class LbfgsbStatus : int {
  running = 0,
  gradient = 1,  // the projected gradient is small enough
  value = 2,     // the value no longer falls
  max_iterations = 3,
  max_evaluations = 4,
  line_search = 5,   // no step along the steepest descent decreases the value: as good as rounding allows
  invalid_start = 6  // the value or the gradient at the start is not finite
};

// Minimises; the caller turns the sign to maximise. A variable whose gradient is always 0 never moves: that is how a
// start keeps a discrete or missing column fixed. Nothing is allocated after construction.
class LockStep {
 public:
  // At most `max_starts` starts of d variables. Variable j moves in units of scale[j] (empty: 1), between lower[j] and
  // upper[j] (infinities allowed).
  LockStep(std::int64_t max_starts, std::int64_t d, Vec<const double> lower, Vec<const double> upper,
           Vec<const double> scale = {}, const LbfgsbOptions& options = {})
      : d_(d),
        options_(options),
        lower_(lower.data, lower.data + lower.n),
        upper_(upper.data, upper.data + upper.n),
        scale_(scale.n > 0 ? std::vector<double>(scale.data, scale.data + scale.n)
                           : std::vector<double>(static_cast<std::size_t>(d), 1.0)),
        z_lower_(lower_),
        z_upper_(upper_),
        free_(size(d)),
        alpha_(size(options.memory)),
        rho_(size(options.memory)),
        runs_(size(max_starts)) {
    if (lower.n != d || upper.n != d || (scale.n != 0 && scale.n != d) || options.memory < 1)
      throw std::invalid_argument("LockStep: bounds and scale must have d entries, and memory must be at least 1");
    for (std::int64_t j = 0; j < d; ++j) {
      if (!(lower[j] <= upper[j]) || !(scale_[size(j)] > 0.0))
        throw std::invalid_argument("LockStep: lower <= upper and scale > 0 must hold");
      z_lower_[size(j)] /= scale_[size(j)];
      z_upper_[size(j)] /= scale_[size(j)];
    }
    ids_.reserve(size(max_starts));
    const std::int64_t rows = kVectors + 2 * options.memory;
    store_.resize(size(max_starts * rows * d));
    for (std::int64_t i = 0; i < max_starts; ++i) {
      double* p = store_.data() + i * rows * d;
      Run& r = runs_[size(i)];
      r.x = p, r.g = p + d, r.dir = p + 2 * d, r.trial = p + 3 * d, r.trial_g = p + 4 * d;
      r.low_x = p + 5 * d, r.low_g = p + 6 * d, r.s = p + kVectors * d, r.y = r.s + options.memory * d;
    }
  }

  LockStep(const LockStep&) = delete;
  LockStep& operator=(const LockStep&) = delete;

  // Begins anew from the rows of X (clamped to the box), at most max_starts of them.
  void start(Mat<const double> X) {
    if (X.rows > static_cast<std::int64_t>(runs_.size()) || X.cols != d_)
      throw std::invalid_argument("LockStep: X must be (at most max_starts, d)");
    starts_ = X.rows;
    ids_.clear();
    for (std::int64_t i = 0; i < starts_; ++i) {
      Run& r = runs_[size(i)];
      r.f = std::numeric_limits<double>::quiet_NaN();
      r.status = LbfgsbStatus::running;
      r.iterations = r.evaluations = r.pairs = r.newest = 0;
      for (std::int64_t j = 0; j < d_; ++j)
        r.x[j] = r.trial[j] = std::min(std::max(X(i, j) / scale_[size(j)], z_lower_[size(j)]), z_upper_[size(j)]);
      ids_.push_back(i);
    }
  }

  // Start i, just begun, goes on with the curvature that start `from` of another search of the same scaled variables
  // has found, `times` as strong.
  void remember(std::int64_t i, const LockStep& other, std::int64_t from, double times) {
    if (other.d_ != d_ || other.scale_ != scale_ || !(times > 0.0))
      throw std::invalid_argument("LockStep: curvature must be of the same scaled variables, and times > 0");
    Run& r = runs_[size(i)];
    const Run& known = other.runs_[size(from)];
    r.pairs = std::min(known.pairs, options_.memory);
    r.newest = std::max(r.pairs - 1, 0);
    for (int k = 0; k < r.pairs; ++k) {
      const int slot = (known.newest - k + other.options_.memory) % other.options_.memory, mine = r.newest - k;
      for (std::int64_t j = 0; j < d_; ++j) {
        r.s[mine * d_ + j] = known.s[slot * d_ + j];
        r.y[mine * d_ + j] = known.y[slot * d_ + j] * times;
      }
    }
  }

  // Writes the points to evaluate into the first rows of X and whose they are into ids; returns how many (0: done).
  std::int64_t propose(Mat<double> X, Vec<std::int64_t> ids) const {
    const std::int64_t n = active();
    for (std::int64_t k = 0; k < n; ++k) {
      ids[k] = ids_[size(k)];
      unscale(runs_[size(ids[k])].trial, X.row(k));
    }
    return n;
  }

  // Takes values and gradients (to the unscaled variables) of the points of the last propose, in its order.
  void tell(Vec<const double> f, Mat<const double> G) {
    std::size_t kept = 0;
    const std::size_t n = ids_.size();
    for (std::size_t k = 0; k < n; ++k) {
      const std::int64_t row = static_cast<std::int64_t>(k);
      Run& r = runs_[size(ids_[k])];
      advance(r, f[row], G.row(row));
      if (r.status == LbfgsbStatus::running) ids_[kept++] = ids_[k];
    }
    ids_.resize(kept);
  }

  std::int64_t active() const { return static_cast<std::int64_t>(ids_.size()); }
  std::int64_t starts() const { return starts_; }

  // The best point and value of start i so far; value NaN before the first tell and for an invalid start.
  void point(std::int64_t i, double* x) const { unscale(runs_[size(i)].x, x); }
  double value(std::int64_t i) const { return runs_[size(i)].f; }
  LbfgsbStatus status(std::int64_t i) const { return runs_[size(i)].status; }
  int iterations(std::int64_t i) const { return runs_[size(i)].iterations; }
  int evaluations(std::int64_t i) const { return runs_[size(i)].evaluations; }

 private:
  static constexpr std::int64_t kVectors = 7;

  struct Run {
    double *x = nullptr, *g = nullptr, *dir = nullptr;  // the accepted point, its gradient, the segment to search
    double *trial = nullptr, *trial_g = nullptr;        // the point being evaluated
    double *low_x = nullptr, *low_g = nullptr;          // the line search's best so far
    double *s = nullptr, *y = nullptr;                  // (memory, d) rings of steps and gradient changes
    double f = 0.0;
    LineSearch search;
    LbfgsbStatus status = LbfgsbStatus::running;
    int iterations = 0, evaluations = 0, pairs = 0, newest = 0;
  };

  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  double dot(const double* a, const double* b) const {
    double sum = 0.0;
    for (std::int64_t j = 0; j < d_; ++j) sum += a[j] * b[j];
    return sum;
  }

  void unscale(const double* z, double* x) const {
    for (std::int64_t j = 0; j < d_; ++j) {
      const std::size_t k = size(j);  // a bound must come back as itself, not as (bound / scale) * scale
      x[j] = z[j] <= z_lower_[k]   ? lower_[k]
             : z[j] >= z_upper_[k] ? upper_[k]
                                   : std::min(std::max(z[j] * scale_[k], lower_[k]), upper_[k]);
    }
  }

  // max |x - P(x - g)|
  double projected_gradient(const Run& r) const {
    double worst = 0.0;
    for (std::int64_t j = 0; j < d_; ++j) {
      const double to = std::min(std::max(r.x[j] - r.g[j], z_lower_[size(j)]), z_upper_[size(j)]);
      worst = std::max(worst, std::fabs(to - r.x[j]));
    }
    return worst;
  }

  void advance(Run& r, double f, const double* gradient) {
    ++r.evaluations;
    bool valid = std::isfinite(f);
    for (std::int64_t j = 0; j < d_; ++j) {
      r.trial_g[j] = gradient[j] * scale_[size(j)];
      valid = valid && std::isfinite(r.trial_g[j]);
    }
    if (r.evaluations == 1) {
      if (!valid) {
        r.status = LbfgsbStatus::invalid_start;
        return;
      }
      r.f = f;
      std::copy(r.trial_g, r.trial_g + d_, r.g);
      next_segment(r);
      return;
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    switch (r.search.tell(valid ? f : nan, valid ? dot(r.trial_g, r.dir) : nan)) {
      case LineSearch::Next::accept:
        return accept(r, r.trial, r.trial_g, f);
      case LineSearch::Next::accept_low:
        return accept(r, r.low_x, r.low_g, r.search.f_low());
      case LineSearch::Next::fail:
        if (r.pairs == 0) {
          r.status = LbfgsbStatus::line_search;
        } else {
          r.pairs = 0;  // the curvature misled: once more along the steepest descent
          next_segment(r);
        }
        return;
      case LineSearch::Next::evaluate_keep:
        std::copy(r.trial, r.trial + d_, r.low_x);
        std::copy(r.trial_g, r.trial_g + d_, r.low_g);
        break;
      case LineSearch::Next::evaluate:
        break;
    }
    if (r.evaluations >= options_.max_evaluations) {
      if (r.search.low() > 0.0) {
        std::copy(r.low_x, r.low_x + d_, r.x);
        r.f = r.search.f_low();
      }
      r.status = LbfgsbStatus::max_evaluations;
      return;
    }
    set_trial(r);
  }

  void accept(Run& r, const double* x, const double* g, double f) {
    double sy = 0.0, yy = 0.0;
    for (std::int64_t j = 0; j < d_; ++j) {
      sy += (x[j] - r.x[j]) * (g[j] - r.g[j]);
      yy += (g[j] - r.g[j]) * (g[j] - r.g[j]);
    }
    if (sy > kEps * yy) {  // keeps the inverse Hessian positive definite
      r.newest = r.pairs == 0 ? 0 : (r.newest + 1) % options_.memory;
      r.pairs = std::min(r.pairs + 1, options_.memory);
      double *s = r.s + r.newest * d_, *y = r.y + r.newest * d_;
      for (std::int64_t j = 0; j < d_; ++j) {
        s[j] = x[j] - r.x[j];
        y[j] = g[j] - r.g[j];
      }
    }
    const double fall = r.f - f, size_f = std::max(std::max(std::fabs(r.f), std::fabs(f)), 1.0);
    std::copy(x, x + d_, r.x);
    std::copy(g, g + d_, r.g);
    r.f = f;
    ++r.iterations;
    if (fall <= std::max(options_.value_tol * size_f, options_.least_fall)) {
      r.status = projected_gradient(r) <= options_.gradient_tol ? LbfgsbStatus::gradient : LbfgsbStatus::value;
    } else {
      next_segment(r);
    }
  }

  // Chooses the next segment from x and sets the first trial on it, or ends the start.
  void next_segment(Run& r) {
    if (projected_gradient(r) <= options_.gradient_tol)
      r.status = LbfgsbStatus::gradient;
    else if (r.iterations >= options_.max_iterations)
      r.status = LbfgsbStatus::max_iterations;
    else if (r.evaluations >= options_.max_evaluations)
      r.status = LbfgsbStatus::max_evaluations;
    if (r.status != LbfgsbStatus::running) return;

    for (std::int64_t j = 0; j < d_; ++j) {
      const bool pushed =
          (r.x[j] <= z_lower_[size(j)] && r.g[j] > 0.0) || (r.x[j] >= z_upper_[size(j)] && r.g[j] < 0.0);
      free_[size(j)] = pushed ? 0.0 : 1.0;
    }
    quasi_newton(r);
    bool clipped = project(r);
    double slope = dot(r.g, r.dir);
    // Clipping can turn a projected Newton step uphill; the projected steepest descent never is.
    if (r.pairs > 0 && !(slope < -kEps * std::sqrt(dot(r.g, r.g) * dot(r.dir, r.dir)))) {
      r.pairs = 0;
      quasi_newton(r);
      clipped = project(r);
      slope = dot(r.g, r.dir);
    }
    if (!(slope < 0.0)) {
      r.status = LbfgsbStatus::line_search;
      return;
    }
    r.search.begin(r.f, slope, 1.0, clipped ? 1.0 : longest_step(r));
    set_trial(r);
  }

  // dir = -H g on the free variables, 0 on the others.
  void quasi_newton(Run& r) {
    const double* mask = free_.data();
    double* q = r.dir;
    for (std::int64_t j = 0; j < d_; ++j) q[j] = mask[j] * r.g[j];
    double gamma = 0.0;
    for (int k = 0; k < r.pairs; ++k) {
      const int slot = (r.newest - k + options_.memory) % options_.memory;
      const double *s = r.s + slot * d_, *y = r.y + slot * d_;
      double sy = 0.0, yy = 0.0, sq = 0.0;
      for (std::int64_t j = 0; j < d_; ++j) {
        const double ym = mask[j] * y[j];
        sy += s[j] * ym;
        yy += y[j] * ym;
        sq += s[j] * q[j];
      }
      if (!(sy > kEps * yy)) {  // no curvature left among the free variables
        rho_[size(k)] = 0.0;
        continue;
      }
      rho_[size(k)] = 1.0 / sy;
      if (gamma == 0.0) gamma = sy / yy;
      alpha_[size(k)] = sq / sy;
      for (std::int64_t j = 0; j < d_; ++j) q[j] -= alpha_[size(k)] * mask[j] * y[j];
    }
    if (gamma == 0.0) gamma = std::min(1.0, options_.first_step / std::sqrt(dot(q, q)));
    for (std::int64_t j = 0; j < d_; ++j) q[j] *= gamma;
    for (int k = r.pairs - 1; k >= 0; --k) {
      if (rho_[size(k)] == 0.0) continue;
      const int slot = (r.newest - k + options_.memory) % options_.memory;
      const double *s = r.s + slot * d_, *y = r.y + slot * d_;
      const double change = alpha_[size(k)] - rho_[size(k)] * dot(y, q);
      for (std::int64_t j = 0; j < d_; ++j) q[j] += change * mask[j] * s[j];
    }
    for (std::int64_t j = 0; j < d_; ++j) q[j] = -q[j];
  }

  // dir = P(x + dir) - x; true when the box cut it.
  bool project(Run& r) const {
    bool clipped = false;
    for (std::int64_t j = 0; j < d_; ++j) {
      const double low = z_lower_[size(j)] - r.x[j], high = z_upper_[size(j)] - r.x[j];
      const double to = std::min(std::max(r.dir[j], low), high);
      clipped = clipped || to != r.dir[j];
      r.dir[j] = to;
    }
    return clipped;
  }

  double longest_step(const Run& r) const {
    double step = kLongest;
    for (std::int64_t j = 0; j < d_; ++j) {
      if (r.dir[j] > 0.0) step = std::min(step, (z_upper_[size(j)] - r.x[j]) / r.dir[j]);
      if (r.dir[j] < 0.0) step = std::min(step, (z_lower_[size(j)] - r.x[j]) / r.dir[j]);
    }
    return std::max(step, 1.0);
  }

  void set_trial(Run& r) const {
    for (std::int64_t j = 0; j < d_; ++j) {
      const double z = r.x[j] + r.search.step() * r.dir[j];
      // x + (bound - x) need not be the bound; a variable meant to reach it must, or it never counts as fixed.
      const double low = z_lower_[size(j)], high = z_upper_[size(j)];
      r.trial[j] = z <= low + 4.0 * kEps * std::fabs(low) ? low : z >= high - 4.0 * kEps * std::fabs(high) ? high : z;
    }
  }

  static constexpr double kEps = std::numeric_limits<double>::epsilon();
  static constexpr double kLongest = 1e10;

  std::int64_t d_;
  LbfgsbOptions options_;
  std::vector<double> lower_, upper_, scale_, z_lower_, z_upper_;
  std::vector<double> free_, alpha_, rho_;  // scratch of one direction
  std::vector<Run> runs_;
  std::vector<double> store_;
  std::vector<std::int64_t> ids_;
  std::int64_t starts_ = 0;
};

}  // namespace hpo
