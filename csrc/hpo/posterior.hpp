// Mean, variance, utility and their gradients at many points from one pass over V.
#pragma once

#include <cstdint>
#include <memory>
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

  // `score` and `bound` with the mean given all rows and the variance given those of `near` alone, some of these: never
  // smaller, and close to it where they are near.  O(m (n e + r^2)) with r of them.
  void score_near(Posterior& near, const Utility& utility, Mat<const double> U, double* value, double* d_value);
  void bound_near(Posterior& near, const Utility& utility, Mat<const double> U, double* value);

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
  template <class F>
  void each_group_near(Posterior& near, Mat<const double> U, bool gradient, F&& use);
};

// The rows of a posterior that lie nearest to some points, with a factor of their own.
class Nearby {
 public:
  // At n = 2,500 and with 16 starts, 256 found 0.875 of the best expected improvement, 512 0.902, 1,024 0.907 in 1.6 of
  // the time (means of 192 asks).
  static constexpr std::int64_t ROWS = 512;

  explicit Nearby(const Embedding& scales) : points_(scales.columns(), scales) {}

  // Takes, up to ROWS, the nearest row of each point, then the second nearest.  `noise` stands on the diagonal of all
  // rows' covariance.  O(m n (e + log n) + ROWS^3).
  void look(const Posterior& all, const double* noise, Mat<const double> U);
  // With these rows; of the mean it knows nothing.
  Posterior& posterior() { return posterior_; }

 private:
  Embedding points_;
  std::vector<double> noise_, zero_;
  Factor V_;
  Posterior posterior_;
};

// A posterior with a utility, as the search sees it.
class PosteriorScorer : public Scorer {
 public:
  // From how many observations on the search climbs with the rows nearby: at 2,500 a batch of 16 gradients took 3 ms
  // with all rows, and 0.4 with those.
  static constexpr std::int64_t ROUGH_FROM = 2048;

  // noise: what stands on the diagonal of the rows' covariance.
  PosteriorScorer(Posterior& posterior, const double* noise, const Utility& utility)
      : posterior_(posterior), noise_(noise), utility_(utility), rough_(posterior, utility_) {}

  void score(Mat<const double> U, double* value, double* d_value) override;
  bool bound(Mat<const double> U, double* value) override { return posterior_.bound(utility_, U, value); }
  Scorer* rough(Mat<const double> points) override;

  // The mean and the variance at u, which `score` mostly has seen.
  void moments(Vec<const double> u, double* mean, double* var);

 private:
  struct Rough : Scorer {
    Rough(Posterior& all_, const Utility& utility_) : all(all_), utility(utility_), near(*all_.points) {}
    void score(Mat<const double> U, double* value, double* d_value) override {
      all.score_near(near.posterior(), utility, U, value, d_value);
    }
    bool bound(Mat<const double> U, double* value) override {
      all.bound_near(near.posterior(), utility, U, value);
      return true;
    }
    Posterior& all;
    const Utility& utility;
    Nearby near;
  };

  Posterior& posterior_;
  const double* noise_;
  Utility utility_;
  Rough rough_;
  std::vector<double> seen_, mean_, var_;  // points scored without a gradient
};

}  // namespace hpo
