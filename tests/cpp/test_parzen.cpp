// hpo/mixture.hpp and hpo/parzen.hpp where the window of the bad density turns over: bits, order, refusals. The values
// themselves are compared with the reference backend by the contract kit; here the sanitizers look at every access.
#include "hpo/parzen.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "layouts.hpp"

namespace {

using hpo::Parzen;
using hpo::ParzenConfig;

constexpr double INFINITE = std::numeric_limits<double>::infinity();

struct History : MixedPoints {
  std::vector<double> y;

  explicit History(std::int64_t n_) : MixedPoints(n_) {
    for (std::int64_t i = 0; i < n; ++i)
      y.push_back(i % 7 == 0 ? INFINITE : std::floor(10.0 * hpo::uniform(2, i, 0)));  // failures and ties
  }
  void tell(Parzen& parzen, std::int64_t first, std::int64_t count) const {
    parzen.append(points(first, count), {y.data() + first, count});
  }
};

ParzenConfig small(bool multivariate) {
  ParzenConfig config;
  config.multivariate = multivariate;
  config.window = 37;
  config.most_good = 6;
  return config;
}

// The densities at some points, then the candidates and their values.
std::vector<double> readings(const Parzen& parzen, const History& h) {
  const hpo::Mat<const double> X = h.points(0, 9), pending = h.points(9, 4);
  const std::int64_t m = 24;
  std::vector<double> out(static_cast<std::size_t>(18 + m * h.d + m));
  parzen.log_density(X, pending, out.data(), out.data() + 9);
  parzen.propose(pending, {5, 6}, {out.data() + 18, m, h.d}, out.data() + 18 + m * h.d);
  return out;
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

}  // namespace

TEST(parzen_one_by_one_or_at_once) {
  const History h(120);
  for (const bool multivariate : {true, false}) {
    for (const std::int64_t n : {1, 5, 36, 37, 38, 74, 120}) {
      Parzen whole(h.arrays, small(multivariate)), parts(h.arrays, small(multivariate)),
          two(h.arrays, small(multivariate));
      h.tell(whole, 0, n);
      for (std::int64_t i = 0; i < n; ++i) h.tell(parts, i, 1);
      h.tell(two, 0, n / 3);
      h.tell(two, n / 3, n - n / 3);
      CHECK(whole.n() == n && parts.n() == n);
      CHECK(same(readings(whole, h), readings(parts, h)));
      CHECK(same(readings(whole, h), readings(two, h)));
    }
  }
}

TEST(parzen_candidates_come_best_first_and_exist) {
  const History h(90);
  const hpo::Layout layout(h.arrays);
  for (const bool multivariate : {true, false}) {
    for (const std::int64_t n : {0, 1, 90}) {
      Parzen parzen(h.arrays, small(multivariate));
      h.tell(parzen, 0, n);
      std::vector<double> U(static_cast<std::size_t>(24 * h.d)), values(24), good(24), bad(24);
      parzen.propose({nullptr, 0, h.d}, {1, 2}, {U.data(), 24, h.d}, values.data());
      parzen.log_density({U.data(), 24, h.d}, {nullptr, 0, h.d}, good.data(), bad.data());
      for (std::size_t i = 0; i < 24; ++i) {
        std::vector<double> u(U.begin() + static_cast<std::ptrdiff_t>(i * 5),
                              U.begin() + static_cast<std::ptrdiff_t>(i * 5 + 5));
        const std::vector<double> before = u;
        layout.snap(u.data());
        CHECK(same(u, before));
        CHECK_NEAR(values[i], good[i] - bad[i], 1e-12);  // the same sums, block by block
        if (multivariate) CHECK(i == 0 || values[i - 1] >= values[i]);
      }
    }
  }
}

TEST(parzen_refusals_change_nothing) {
  const History h(50);
  Parzen parzen(h.arrays, small(true));
  h.tell(parzen, 0, 40);
  const std::vector<double> before = readings(parzen, h);
  const double nan = std::nan("");
  for (const std::vector<double>& u :
       {std::vector<double>{nan, 0.5, 0.5, 0.5, 0.5}, {1.5, 0.5, 0.5, 0.5, 0.5}, {-INFINITE, 0.5, 0.5, 0.5, 0.5}}) {
    const double y = 0.0;
    CHECK_THROWS(parzen.append({u.data(), 1, 5}, {&y, 1}), std::invalid_argument);
  }
  for (const double y : {nan, -INFINITE}) CHECK_THROWS(parzen.append(h.points(40, 1), {&y, 1}), std::invalid_argument);
  CHECK(parzen.n() == 40 && same(readings(parzen, h), before));
}

TEST(parzen_normal_masses) {
  // Against the difference of two tails where that is exact enough, and far out against Mills' ratio itself.
  for (const double a : {-9.0, -3.0, -0.3, 0.0, 0.4, 2.0, 8.0})
    for (const double h : {0.13, 1.0, 5.0}) {
      const double direct = 0.5 * (std::erfc(a / std::sqrt(2.0)) - std::erfc((a + h) / std::sqrt(2.0)));
      const double mirrored = 0.5 * (std::erfc(-(a + h) / std::sqrt(2.0)) - std::erfc(-a / std::sqrt(2.0)));
      const double mass = a > 0.0 ? direct : mirrored;
      CHECK_NEAR(hpo::log_normal_mass(a, a + h), std::log(mass), 1e-12);
      CHECK_NEAR(hpo::log_normal_mass(-a - h, -a), hpo::log_normal_mass(a, a + h), 1e-12);
    }
  CHECK_NEAR(hpo::log_normal_mass(50.0, 51.0), -1254.83136113942, 1e-8);  // mpmath: log(ncdf(-50) - ncdf(-51))
  CHECK_NEAR(hpo::log_inside(0.5, 0.01), 0.0, 1e-15);
  CHECK_NEAR(hpo::log_inside(0.0, 0.01), std::log(0.5), 1e-14);
}

TEST(parzen_many_blocks_neither_over_nor_underflow) {
  LayoutBuilder builder;
  for (int j = 0; j < 600; ++j) builder.continuous();
  const hpo::LayoutArrays arrays = builder.arrays();
  Parzen parzen(arrays, {});
  const std::vector<double> u(600, 0.25), far(600, 0.95);
  const std::vector<double> y{1.0};
  for (int i = 0; i < 30; ++i) parzen.append({u.data(), 1, 600}, {y.data(), 1});
  double good, bad;
  parzen.log_density({u.data(), 1, 600}, {nullptr, 0, 600}, &good, &bad);
  CHECK(good > 100.0 && bad > 710.0 && bad < 1000.0);  // 600 ln(0.4/0.1): e^bad is beyond a double
  parzen.log_density({far.data(), 1, 600}, {nullptr, 0, 600}, &good, &bad);
  CHECK_NEAR(bad, -std::log(26.0), 1e-9);  // of 25 bad kernels nothing is left: the prior alone
}
