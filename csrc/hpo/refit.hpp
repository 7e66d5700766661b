// A fit of theta that can be interrupted: it does so much work and goes on later, with the same bits.
//
// Up to ALL observations are used as they are.  Of more, all are used, or MOST, whose likelihood is still cheap; but a
// coarse fit on a quarter of these, or on ALL, comes first, from two starts: theta as it is and the mode of the prior.
// What it found is improved on half of these, where that is many more, and the better of that and of theta on these.
// Each search hands its curvature on to the next, so that the last, which costs almost everything, needs few
// evaluations.
//
// Of few observations that are to tell about one place, theta moves only where they tell enough.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "hpo/lbfgsb.hpp"
#include "hpo/likelihood.hpp"
#include "hpo/prior.hpp"

namespace hpo {

inline double cube(std::int64_t n) {
  const double x = static_cast<double>(n);
  return x * x * x;
}

// Observations of a fit, its own copy: the model may grow meanwhile.
struct FitData {
  std::vector<double> U, w, known;
  Observed observed{};  // views of these

  FitData() = default;
  // `count` of all rows, in their order: a quarter the best, a quarter the newest, the others spread evenly.
  FitData(const Observed& all, std::int64_t count);
  // These rows.
  FitData(const Observed& all, const std::vector<std::int64_t>& rows);

  std::int64_t n() const { return static_cast<std::int64_t>(w.size()); }
};

struct FitSettings {
  bool prior = true;
  bool fixed_noise = false;
  double log_noise = 0.0;            // with fixed_noise
  std::vector<double> lower, upper;  // of theta (b + 2); equal for what is fixed
  double least_gain = -1.0;          // theta moves where the log likelihood of the data grows by more; < 0: anyway
};

class Refit {
 public:
  static constexpr std::int64_t ALL =
      256;  // below it a factorisation gains nothing from a second thread, and a start does
  static constexpr std::int64_t MOST = 2560;  // an evaluation takes some 17e9 operations

  // Copies of `all` what it needs; theta (b + 2) is where it begins.
  Refit(const Columns& columns, FitSettings settings, const Observed& all, std::vector<double> theta);

  // Does at least one piece of `work` floating-point operations and goes on until they are done; returns those done.
  double advance(double work, int threads);
  bool done() const { return stage_ == Stage::done; }

  // Floating-point operations of a usual fit: 60 evaluations on few observations, 15 on half of the last, 12 on those.
  static double usual_work(std::int64_t n) {
    if (n <= ALL) return 60.0 * cube(n);
    return 60.0 * cube(coarse(n)) + 14.0 * cube(std::min(n, MOST));
  }

  // Of a fit that is done.  Throws numerical_error where no theta had a finite log posterior.
  const std::vector<double>& theta() const;

 private:
  enum class Stage { coarse, compare, climb, done };

  const Columns& columns_;
  FitSettings settings_;
  std::int64_t n_, b_;
  FitData data_;  // of the stage at hand
  std::vector<FitData> later_;
  std::size_t used_ = 0;    // of later_
  std::int64_t fewer_ = 0;  // observations of the stage before
  Stage stage_ = Stage::done;
  std::vector<double> theta_, found_, as_it_was_;  // where it began, within the bounds; the best so far; theta given
  double value_ = 0.0;                             // log posterior of found_ on data_
  double begun_ = 0.0;                             // of theta_
  std::int64_t best_ = 0;                          // the start that found_ is the end of
  int compared_ = 0;
  bool evaluating_ = false;
  std::vector<std::unique_ptr<Likelihood>> likelihood_;  // one a start that is evaluated at the same time
  std::unique_ptr<LockStep> search_;
  std::vector<double> X_, G_, f_;
  std::vector<std::int64_t> ids_;

  // Observations of the coarse fit: a quarter, but at least ALL; an evaluation then costs a sixty-fourth.
  static std::int64_t coarse(std::int64_t n) { return std::max(std::min(n, MOST) / 4, ALL); }
  std::vector<double> full(const double* theta) const;
  double with_prior(double log_likelihood, const double* theta, double* gradient) const;
  void start(const std::vector<std::vector<double>>& starts, double first_step);
  void end_search();
  double weigh_gain(int threads);
  double next_stage(int threads);
  void climb_from(std::vector<double> theta);
  double climb_coarse(int threads);
  double advance_evaluation(const double* theta, bool gradient, double work, int threads);
};

}  // namespace hpo
