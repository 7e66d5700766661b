// Told observations on a space with a block of every kind, for tests of the Gaussian process.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "hpo/gp.hpp"
#include "hpo/rng.hpp"
#include "layouts.hpp"

struct History {
  LayoutBuilder builder;
  hpo::LayoutArrays arrays;
  std::int64_t d, n;
  std::vector<double> U, Y;

  // A continuous, an ordered, a categorical block, one that depends on it, and a logarithmic integer.
  explicit History(std::int64_t n_) : n(n_) {
    builder.continuous(), builder.ordered(5), builder.categorical(3), builder.continuous(), builder.log_int(1, 100);
    builder.when_index(3, 2, 0, 1);
    arrays = builder.arrays();
    d = arrays.d;
    const hpo::Layout layout(arrays);
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<double> u(static_cast<std::size_t>(d));
      for (std::int64_t j = 0; j < d; ++j) u[static_cast<std::size_t>(j)] = hpo::uniform(1, i, j);
      layout.snap(u.data());
      U.insert(U.end(), u.begin(), u.end());
      Y.push_back(std::sin(5.0 * u[0]) + u[1] + (std::isnan(u[3]) ? 0.3 : u[3] * u[3]) + 0.1 * hpo::normal(2, i, 0));
    }
  }

  hpo::Mat<const double> points(std::int64_t first, std::int64_t count) const {
    return {U.data() + first * d, count, d};
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

inline hpo::GpConfig config(int threads) {
  hpo::GpConfig c;
  c.threads = threads;
  return c;
}
