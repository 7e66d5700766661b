// A posterior as the search sees it, and a rough idea of it around some points, for a climb of many steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hpo/acquisition.hpp"
#include "hpo/posterior.hpp"
#include "hpo/scored.hpp"

namespace hpo {

// What stands on the diagonal of the rows' covariance, and alone there from row `first` on: those before are never
// taken as near.
struct Noise {
  const double* variance;  // null: of no row
  std::int64_t first;

  Noise(const double* variance_, std::int64_t first_ = 0) : variance(variance_), first(first_) {}
};

// The rows of a posterior that lie nearest to some points, with a factor of their own.
class Nearby {
 public:
  // How many of n.  At n = 2,500, two functions with d = 5 and 20, 40 asks, corrected as below: with 128 the search
  // found 0.758 of the best expected improvement, with 256 0.847, with 512 0.880, in 0.72, 0.77 and 1 of the time.
  // Where more trials than that have gathered, those that are left out tell as much: at d = 20, 200 to 1,001 asks after
  // 10,000 random points, 512 found 0.61, 1,024 0.93, in 1.15 of the time.
  static std::int64_t most_rows(std::int64_t n) { return std::clamp<std::int64_t>(n / 8, 512, 1024); }

  explicit Nearby(const Embedding& scales) : points_(scales.columns(), scales) {}
  Nearby(const Nearby&) = delete;  // the posterior refers to what lies beside it
  Nearby& operator=(const Nearby&) = delete;

  // Takes, up to `most_rows`, the nearest row of each point, then the second nearest.  O(m n e + r^3) with r rows.
  void look(const Posterior& all, const Noise& noise, Mat<const double> U);
  // Of the mean it knows nothing.  Its variance is no smaller than that of all rows, but for what the factor of those
  // added to a diagonal without noise.
  Posterior& posterior() { return posterior_; }

 private:
  Embedding points_;
  std::vector<double> noise_, zero_;
  Factor V_;
  Posterior posterior_;
};

// The mean given all rows, and the variance given those nearby, corrected so that value and slope at some points are
// those given all rows (but for the slope where a variance is at its least): a model of first order there (Alexandrov &
// Lewis 2001, Optim. Eng. 2), for whose many steps V is read once.  Between the points the correction of the nearest
// holds.
class RoughScorer : public Scorer {
 public:
  RoughScorer(Posterior& all, const Utility& utility)
      : all_(all), utility_(utility), near_(*all.points), around_(all.points->columns(), *all.points) {}

  // Takes the points and gives their values.  One batch of gradients, and what Nearby costs.
  void look(const Noise& noise, Mat<const double> U, double* value);

  // O(m (n e + r^2)) with r rows nearby, and so is `bound`, of all rows' score; that asks for no correction.
  void score(Mat<const double> U, double* value, double* d_value) override;
  bool bound(Mat<const double> U, double* value) override;
  // The same by the rows near U, in place of those that `look` took.
  bool bound_nearby(const Noise& noise, Mat<const double> U, double* value);

 private:
  // The logarithm of the variance given all rows less that of those nearby, which is no larger than 0, and its slope.
  struct Correction {
    std::vector<double> u, slope;
    double log_ratio;
  };

  Posterior& all_;
  const Utility& utility_;
  Nearby near_;
  Embedding around_;                     // the points
  std::vector<Correction> corrections_;  // and theirs
  std::vector<double> mean_, var_, d_mean_, d_var_, unused_, embedded_;

  const Correction& nearest(const double* u);
  void moments(Mat<const double> U, bool gradient);
};

// A posterior with a utility, as the search sees it.
class PosteriorScorer : public Scorer {
 public:
  // noise: null: without rough ideas.
  PosteriorScorer(Posterior& posterior, const Utility& utility, const Noise& noise)
      : posterior_(&posterior), utility_(utility), noise_(noise), rough_(posterior, utility_) {}
  PosteriorScorer(const PosteriorScorer&) = delete;
  PosteriorScorer& operator=(const PosteriorScorer&) = delete;

  void score(Mat<const double> U, double* value, double* d_value) override;
  bool bound(Mat<const double> U, double* value) override { return posterior_->bound(utility_, U, value); }
  Scorer* rough(Mat<const double> points, double* value) override;
  bool bound_nearby(Mat<const double> U, double* value) override;

  // The mean and the variance at u, which `score` mostly has seen.
  void moments(Vec<const double> u, double* mean, double* var);

 protected:
  // From now on another posterior answers, without rough ideas.
  void turn_to(Posterior& posterior) {
    posterior_ = &posterior;
    noise_ = nullptr;
    seen_.clear(), mean_.clear(), var_.clear();
  }

 private:
  Posterior* posterior_;
  Utility utility_;
  Noise noise_;
  RoughScorer rough_;
  std::vector<double> seen_, mean_, var_;  // points scored without a gradient
};

}  // namespace hpo
