// Told observations on a space with a block of every kind, for tests of the Gaussian process.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "hpo/gp.hpp"
#include "hpo/rng.hpp"
#include "layouts.hpp"

struct History : MixedPoints {
  std::vector<double> Y;

  explicit History(std::int64_t n_) : MixedPoints(n_) {
    for (std::int64_t i = 0; i < n; ++i) {
      const double* u = points(i, 1).data;
      Y.push_back(std::sin(5.0 * u[0]) + u[1] + (std::isnan(u[3]) ? 0.3 : u[3] * u[3]) + 0.1 * hpo::normal(2, i, 0));
    }
  }
  void tell(hpo::GaussianProcess& gp, std::int64_t first, std::int64_t count) const {
    gp.append(points(first, count), {Y.data() + first, count}, {});
  }
};

inline std::vector<double> predict(hpo::GaussianProcess& gp, hpo::Mat<const double> U) {
  const std::size_t m = static_cast<std::size_t>(U.rows), d = static_cast<std::size_t>(U.cols);
  std::vector<double> out(2 * m + 2 * m * d);
  gp.predict(U, out.data(), out.data() + m, out.data() + 2 * m, out.data() + 2 * m + m * d);
  return out;
}

// Whether the local model of the first n rows, with all of theta -1 and the inducing points of the first `base`, gives
// these points neighbours of their own.
inline bool has_own_neighbours(const History& h, std::int64_t n, hpo::Mat<const double> points, std::int64_t base) {
  const hpo::Layout layout(h.arrays);
  const hpo::Columns columns(layout);
  const std::vector<double> theta(7, -1.0), inferred(n, std::nan(""));
  hpo::Local model(columns, hpo::Kernel::matern52, true, theta, base);
  const hpo::Rows rows{h.points(0, n), h.Y.data(), inferred.data(), 1.0, std::exp(-1.0)};
  model.catch_up(rows, 2);
  return &model.near(rows, points, 2) != &model.far();
}

inline hpo::GpConfig config(int threads) {
  hpo::GpConfig c;
  c.threads = threads;
  return c;
}
