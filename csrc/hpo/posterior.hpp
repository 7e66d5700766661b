// Mean, variance, utility and their gradients at many points from one pass over V.
#pragma once

#include <cstdint>
#include <vector>

#include "hpo/acquisition.hpp"
#include "hpo/buffer.hpp"
#include "hpo/factor.hpp"

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

  // mean (m), var (m) without noise; d_mean and d_var (m, d), each or null.  U (m, d) holds NaN where a block does
  // not exist; the gradient is 0 there and in categorical columns.  O(m n^2).
  void predict(Mat<const double> U, double* mean, double* var, double* d_mean, double* d_var);

  // value (m), larger is better, and its gradient d_value (m, d) or null.
  void score(const Utility& utility, Mat<const double> U, double* value, double* d_value);

  // What `score` gives or more: the variance given the first rows alone, which is never smaller.  Exact, and false,
  // where that would save nothing.  O(m n e) with BOUNDING rows of V.
  bool bound(const Utility& utility, Mat<const double> U, double* value);

  // What no variance falls below.
  double least_variance() const { return 1e-12 * s2; }

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

}  // namespace hpo
