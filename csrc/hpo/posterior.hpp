// Mean, variance, utility and their gradients at many points from one pass over V.
#pragma once

#include <cstdint>
#include <vector>

#include "hpo/acquisition.hpp"
#include "hpo/buffer.hpp"
#include "hpo/factor.hpp"
#include "hpo/scored.hpp"

namespace hpo {

class Posterior {
 public:
  // What the posterior is conditioned on; the views must outlive each call.  alpha has one entry a row of V.
  const Embedding* points = nullptr;
  const Factor* V = nullptr;
  const double* alpha = nullptr;
  double mu = 0.0, s2 = 1.0;
  Kernel kind = Kernel::matern52;
  int threads = 1;

  // mean (m), var (m) without noise; d_mean and d_var (m, d), both or neither.  U (m, d) holds NaN where a block does
  // not exist; the gradient is 0 there and in categorical columns.  O(m n^2).
  void predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var);

  // value (m), larger is better, and its gradient d_value (m, d) or null.
  void score(const Utility& utility, Mat<const double> U, double* value, double* d_value);

  // What `score` gives or more: the variance given the first rows alone, which is never smaller.  Exact, and false,
  // where that would save nothing.  O(m n e) with BOUNDING rows of V.
  bool bound(const Utility& utility, Mat<const double> U, double* value);

  // The mean (m) alone, and its gradient d_mean (m, d) or null.  O(m n e).
  void predict_mean(Mat<const double> U, double* mean, double* d_mean);

  // The covariance (m, m) of the function at U, without noise, row by row.  O(m n^2 + m^2 n).
  void covariance(Mat<const double> U, double* mean, double* out);

 private:
  // Scratch of one group of up to GROUP points.
  struct Work {
    std::int64_t m = 0, chunks = 0, rows = 0, size = 0;  // size: doubles a chunk of K
    int inner = 1;                                       // threads that share the group
    std::vector<double> queries, mean, var, partial_q, G, a, b;
    Buffer K, H, U, w;
  };
  static constexpr std::int64_t GROUP = PANEL;  // four chunks use a panel of V while it is in cache
  std::vector<Work> work_;

  void embed(Work& work, Mat<const double> U) const;
  void fill(Work& work, Mat<const double> U, int inner, bool gradient, std::int64_t panels) const;
  void gradient(Work& work, Mat<const double> U, double* out) const;  // for the weights work.a, work.b
  template <class F>
  void each_group(Mat<const double> U, bool gradient, std::int64_t panels, F&& use);
};

// The rows of a posterior that lie nearest to some points, with a factor of their own.
class Nearby {
 public:
  // At n = 2,500, two functions with d = 5 and 20, 40 asks: with 128 the search found 0.758 of the best expected
  // improvement, with 256 0.847, with 512 0.880, in 0.72, 0.77 and 1 of the time.
  static constexpr std::int64_t ROWS = 512;

  explicit Nearby(const Embedding& scales) : points_(scales.columns(), scales) {}
  Nearby(const Nearby&) = delete;  // the posterior refers to what lies beside it
  Nearby& operator=(const Nearby&) = delete;

  // Takes, up to ROWS, the nearest row of each point, then the second nearest.  `noise` stands on the diagonal of all
  // rows' covariance.  O(m n e + ROWS^3).
  void look(const Posterior& all, const double* noise, Mat<const double> U);
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
// those given all rows: a model of first order there (Alexandrov & Lewis 2001, Optim. Eng. 2), which one reading of V
// serves for many steps.  Between the points the correction of the nearest holds.
class RoughScorer : public Scorer {
 public:
  RoughScorer(Posterior& all, const Utility& utility) : all_(all), utility_(utility), near_(*all.points) {}

  // Takes the points and gives their values.  One batch of gradients, and what Nearby costs.
  void look(const double* noise, Mat<const double> U, double* value);

  // O(m (n e + ROWS^2)), and so is `bound`, of all rows' score; that asks for no correction.
  void score(Mat<const double> U, double* value, double* d_value) override;
  bool bound(Mat<const double> U, double* value) override;

 private:
  // The logarithm of the variance given all rows less that of those nearby, which is no larger than 0, and its slope.
  struct Correction {
    std::vector<double> u, slope;
    double log_ratio;
  };

  Posterior& all_;
  const Utility& utility_;
  Nearby near_;
  std::vector<Correction> corrections_;
  std::vector<double> mean_, var_, d_mean_, d_var_, unused_;

  const Correction& nearest(const double* u) const;
  void moments(Mat<const double> U, bool gradient);
};

// A posterior with a utility, as the search sees it.
class PosteriorScorer : public Scorer {
 public:
  // noise: what stands on the diagonal of the rows' covariance; null: without rough ideas.
  PosteriorScorer(Posterior& posterior, const Utility& utility, const double* noise)
      : posterior_(posterior), utility_(utility), noise_(noise), rough_(posterior, utility_) {}
  PosteriorScorer(const PosteriorScorer&) = delete;
  PosteriorScorer& operator=(const PosteriorScorer&) = delete;

  void score(Mat<const double> U, double* value, double* d_value) override;
  bool bound(Mat<const double> U, double* value) override { return posterior_.bound(utility_, U, value); }
  Scorer* rough(Mat<const double> points, double* value) override;

  // The mean and the variance at u, which `score` mostly has seen.
  void moments(Vec<const double> u, double* mean, double* var);

 private:
  Posterior& posterior_;
  Utility utility_;
  const double* noise_;
  RoughScorer rough_;
  std::vector<double> seen_, mean_, var_;  // points scored without a gradient
};

}  // namespace hpo
