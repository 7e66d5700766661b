// Two Parzen densities of a history, one of its good trials and one of the others: the state behind a
// tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, NIPS 2011, section 4). The model stands in
// hpo_fast/backends/parzen.py.
//
// What is kept does not grow with the history: the best rows, and the newest `window` rows with the logarithms of the
// masses that their kernels have inside the space. A tell costs O(d) (the masses of the whole window are computed anew
// whenever the shared bandwidth changes: about forty times while the window fills), an ask O(candidates window d).
#pragma once

#include <cstdint>
#include <vector>

#include "layout.hpp"
#include "mixture.hpp"
#include "rng.hpp"
#include "span.hpp"

namespace hpo {

struct ParzenConfig {
  bool multivariate = true;
  std::int64_t candidates = 24;
  double gamma = 0.15;  // share of the history that is good
  std::int64_t most_good = 25;
  double prior_weight = 1.0;   // of the uniform component, in kernels
  std::int64_t window = 1024;  // newest rows whose kernels make up the bad density
};

class Parzen {
 public:
  Parzen(const LayoutArrays& arrays, const ParzenConfig& config);

  std::int64_t n() const { return n_; }
  std::int64_t d() const { return layout_.d; }

  // Rows after those told; y = +inf marks a failed trial.
  void append(Mat<const double> U, Vec<const double> y);

  // ln of the good and of the bad density at the rows of U, relative to the uniform one.
  void log_density(Mat<const double> U, Mat<const double> pending, double* good, double* bad) const;

  // Draws from the good density into the rows of U.
  void sample(Key key, Mat<double> U) const;

  // `candidates` draws into the rows of U, the best first, with ln(good/bad) of each.
  void propose(Mat<const double> pending, Key key, Mat<double> U, double* values) const;

 private:
  struct Best {
    double y;
    std::int64_t row;
    std::vector<double> u;
  };
  // The good density, as an ask builds it: a row a block in `code`, `inside` and `width`.
  struct Good {
    std::int64_t count = 0;
    double total = 0.0;
    std::vector<double> code, inside, width, weight, log_weight;
  };
  // The bad one: the window less the good rows, and the pending points.
  struct Bad {
    double total = 0.0;
    std::vector<double> weight, log_weight, pending_weight, pending_log_weight, pending_code, pending_inside;
  };

  Layout layout_;
  ParzenConfig config_;
  double numeric_ = 0.0;               // how many blocks are numbers
  std::vector<double> code_, inside_;  // (d, window): row i in slot i % window
  std::vector<Best> best_;             // by (y, row), at most most_good
  std::int64_t n_ = 0;
  double width_ = 0.0;  // of all kernels of the window

  std::int64_t held() const { return n_ < config_.window ? n_ : config_.window; }
  double bandwidth() const;
  bool numeric(std::int64_t block) const { return layout_.kind[block] != CATEGORICAL; }
  void check(Mat<const double> U, const char* name) const;
  Good good() const;
  Bad bad(Mat<const double> pending, const Good& good) const;
  Mixture mixture(const Good& good) const;
  Mixture mixture(const Bad& bad) const;
  std::int64_t choose(const Good& good, std::int64_t block, double r) const;
  double draw(const Good& good, const Mixture& mixture, std::int64_t block, std::int64_t k, double r) const;
  void draw_jointly(const Good& good, const Mixture& mixture, Key key, Mat<double> U) const;
  void draw_marginals(const Good& good, const Mixture& mixture, Key key, Mat<double> U) const;
};

}  // namespace hpo
