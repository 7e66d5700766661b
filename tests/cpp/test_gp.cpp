// hpo/gp.hpp and what it is made of, at sizes that cross a panel of the factor: bits, gradients, failures. The values
// themselves are compared with the reference backend by the contract kit; here the sanitizers look at every access.
#include "hpo/gp.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "histories.hpp"

using hpo::GaussianProcess;
using hpo::GpConfig;

TEST(gp_state_depends_on_the_observations_alone) {
  const History h(150);
  const History probe(33);
  GaussianProcess at_once(h.arrays, config(1)), one_by_one(h.arrays, config(1)), back_and_forth(h.arrays, config(1));
  h.tell(at_once, 0, 150);
  for (std::int64_t i = 0; i < 150; ++i) h.tell(one_by_one, i, 1);
  h.tell(back_and_forth, 0, 150);
  back_and_forth.truncate(70);  // inside a panel that was computed as a block
  back_and_forth.truncate(3);
  h.tell(back_and_forth, 3, 60);
  h.tell(back_and_forth, 63, 87);
  const auto expected = predict(at_once, probe.points(0, 33));
  CHECK(expected == predict(one_by_one, probe.points(0, 33)));
  CHECK(expected == predict(back_and_forth, probe.points(0, 33)));
}

TEST(gp_a_bulk_leaves_its_factor_for_later) {
  const std::int64_t n = 1100;
  const History h(n);
  const History probe(33);
  const auto X = probe.points(0, 33);
  GaussianProcess eager(h.arrays, config(1)), bulk(h.arrays, config(1)), shorter(h.arrays, config(1));
  for (std::int64_t i = 0; i < n; i += 100) h.tell(eager, i, 100);
  h.tell(bulk, 0, n);
  bulk.truncate(1050);  // still without a factor
  h.tell(bulk, 1050, 50);
  CHECK(predict(eager, X) == predict(bulk, X));
  h.tell(shorter, 0, 300);
  bulk.truncate(300);
  h.tell(bulk, 300, 800);  // behind by a bulk, with a factor of 300
  bulk.truncate(200);      // into what the factor has
  shorter.truncate(200);
  CHECK(predict(shorter, X) == predict(bulk, X));
}

// What is told in bulk and has no covariance is an error of the verb that needs one, each time, and can be taken back.
TEST(gp_a_bulk_that_fails) {
  const std::int64_t n = 1010;
  const History h(n);
  const History probe(5);
  const auto X = probe.points(0, 5);
  GaussianProcess gp(h.arrays, config(1)), same(h.arrays, config(1));
  const auto all = h.points(0, n);
  std::vector<double> U(all.data, all.data + n * all.cols);
  U[1005 * all.cols] = 1e170;
  gp.append({U.data(), n, all.cols}, {h.Y.data(), n}, {});
  same.append({U.data(), 1005, all.cols}, {h.Y.data(), 1005}, {});
  CHECK_THROWS(predict(gp, X), hpo::numerical_error);
  CHECK_THROWS(gp.incumbent(), hpo::numerical_error);  // again
  CHECK(gp.n() == n);
  gp.truncate(1005);
  CHECK(predict(gp, X) == predict(same, X));
}

TEST(gp_a_refit_that_leaves_theta_leaves_the_factor) {
  const std::int64_t n = 1000;
  const double factor = 2.0 / 3.0 * n * n * n;
  const History h(n);
  GaussianProcess gp(h.arrays, config(2));
  h.tell(gp, 0, n);
  for (const bool stays : {false, true}) {
    const std::vector<double> theta = gp.theta();
    gp.begin_refit(n, 64);
    const double work = gp.advance_refit(1e300);
    gp.finish_refit();
    CHECK((gp.theta() == theta) == stays);
    CHECK(stays ? work < 0.3 * factor : work > factor);
    gp.refit();  // to all: the nearest have little to add
  }
}

// After 1,024 rows the weights go along with the reading of V for a new row; the bits are those of a pass of their own,
// which is what a bulk, a truncation and a new theta leave to do.
TEST(gp_weights_that_go_along_with_a_row) {
  const std::int64_t from = 1020, n = 1091;
  const History h(n);
  const History probe(7);
  const auto X = probe.points(0, 7);
  for (const bool repeats : {false, true}) {
    GpConfig c = config(1);
    c.constant_mean = !repeats;
    if (repeats) c.fixed_noise = true, c.noise = 0.0;  // they merge
    const auto row = [&](std::int64_t i) { return repeats && i >= 1060 && i % 8 == 7 ? i - 300 : i; };
    const auto bulk = [&](std::int64_t rows, const std::vector<double>& theta) {
      GaussianProcess gp(h.arrays, c);
      h.tell(gp, 0, from);
      for (std::int64_t i = from; i < rows; ++i) h.tell(gp, row(i), 1);
      gp.set_theta({theta.data(), 7});
      std::vector<double> other(theta);
      other[0] += 0.1;
      gp.set_theta({other.data(), 7});
      gp.set_theta({theta.data(), 7});  // V and weights anew
      return predict(gp, X);
    };
    GaussianProcess told(h.arrays, c);
    h.tell(told, 0, from);
    predict(told, X);  // a bulk has no factor yet
    for (std::int64_t i = from; i < n; ++i) {
      h.tell(told, row(i), 1);
      if (i == 1050) {  // theta moves, and rows come while a refit is under way
        told.begin_refit(i + 1, 64);
        told.advance_refit(0.5 * told.refit_work(i + 1, 64));
      }
      if (i == 1053) told.finish_refit();
      if (i == 1056) {
        told.truncate(i);
        CHECK(predict(told, X) == bulk(i, told.theta()));
        h.tell(told, row(i), 1);
      }
      // The first rows after 1,024, one after two that nobody asked after, those of the refit, repeats, a new panel.
      for (const std::int64_t looked_at : {1024, 1025, 1028, 1053, 1054, 1063, 1064, 1088, 1090})
        if (i == looked_at) CHECK(predict(told, X) == bulk(i + 1, told.theta()));
    }
    const auto before = predict(told, X);
    std::vector<double> bad(h.U.begin(), h.U.begin() + h.d);
    bad[0] = 1e170;
    const double y = 1.0;
    CHECK_THROWS(told.append({bad.data(), 1, h.d}, {&y, 1}, {}), hpo::numerical_error);
    CHECK(told.n() == n && before == predict(told, X));
  }
}

TEST(gp_two_threads_agree_with_one) {
  const History h(700);
  const History probe(100);
  GaussianProcess one(h.arrays, config(1)), two(h.arrays, config(2));
  h.tell(one, 0, 700);
  h.tell(two, 0, 700);
  const auto a = predict(one, probe.points(0, 10)), b = predict(two, probe.points(0, 10));
  for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], 1e-9 * (1.0 + std::fabs(a[i])));
  std::vector<double> ga(7), gb(7);
  const double la = one.log_likelihood({one.theta().data(), 7}, ga.data(), true);
  CHECK_NEAR(la, two.log_likelihood({two.theta().data(), 7}, gb.data(), true), 1e-9 * std::fabs(la));
  for (std::size_t i = 0; i < 7; ++i) CHECK_NEAR(ga[i], gb[i], 1e-7 * (1.0 + std::fabs(ga[i])));
}

// Central differences with a step of 1e-5: their own error is about 1e-10 of the third derivative plus 1e-11 of
// rounding, both relative to values near 100.
TEST(gp_gradients) {
  const History h(90);
  GaussianProcess gp(h.arrays, config(1));
  h.tell(gp, 0, 90);
  std::vector<double> theta = gp.theta(), gradient(7);
  theta[6] = -3.0;
  gp.log_likelihood({theta.data(), 7}, gradient.data(), true);
  for (std::size_t j = 0; j < 7; ++j) {
    std::vector<double> up = theta, down = theta;
    up[j] += 1e-5, down[j] -= 1e-5;
    const double slope =
        (gp.log_likelihood({up.data(), 7}, nullptr, true) - gp.log_likelihood({down.data(), 7}, nullptr, true)) / 2e-5;
    CHECK_NEAR(gradient[j], slope, 1e-6 * (1.0 + std::fabs(slope)));
  }
}

TEST(gp_a_failing_append_changes_nothing) {
  const History h(80);
  GpConfig c = config(1);
  c.fixed_noise = true;
  c.noise = 0.0;
  GaussianProcess gp(h.arrays, c);
  h.tell(gp, 0, 80);
  h.tell(gp, 0, 5);  // repeats merge
  CHECK(gp.n() == 85);
  gp.truncate(80);
  const auto before = predict(gp, h.points(0, 20));
  std::vector<double> bad(h.U.begin(), h.U.begin() + h.d);
  bad[0] = std::nan("");
  const double y = 1.0;
  CHECK_THROWS(gp.append({bad.data(), 1, h.d}, {&y, 1}, {}), std::invalid_argument);
  CHECK(gp.n() == 80);
  CHECK(before == predict(gp, h.points(0, 20)));
}

TEST(gp_a_verb_that_fails_half_way_changes_nothing) {
  const History h(150);
  GaussianProcess gp(h.arrays, config(2));
  std::vector<double> known(150, std::nan(""));
  known[0] = 0.25;
  gp.append(h.points(0, 150), {h.Y.data(), 150}, {known.data(), 150});
  const auto before = predict(gp, h.points(0, 20));
  std::vector<double> U(h.U.begin(), h.U.begin() + 80 * h.d), Y(80, 1.0);
  U[79 * h.d] = 1e170;  // its covariance is not a number: 79 rows and a panel were there before it was seen
  CHECK_THROWS(gp.append({U.data(), 80, h.d}, {Y.data(), 80}, {}), hpo::numerical_error);
  CHECK(gp.n() == 150);
  CHECK(before == predict(gp, h.points(0, 20)));

  std::vector<double> huge = gp.theta();
  huge[5] = 800.0;  // the variance overflows
  CHECK_THROWS(gp.set_theta({huge.data(), 7}), hpo::numerical_error);
  CHECK(before == predict(gp, h.points(0, 20)));

  // Three values that are nearly one: the known variance in units of their spread is infinite.
  GaussianProcess other(h.arrays, config(1));
  const double values[4] = {0.0, 1e-10, 2e-10, 1.0}, variances[4] = {1e300, std::nan(""), std::nan(""), std::nan("")};
  other.append(h.points(0, 4), {values, 4}, {variances, 4});
  const auto four = predict(other, h.points(0, 20));
  CHECK_THROWS(other.truncate(3), hpo::numerical_error);
  CHECK(other.n() == 4);
  CHECK(four == predict(other, h.points(0, 20)));
  other.maximise({}, 1, {nullptr, 0, h.d}, {1, 1}, {nullptr, 0, h.d}, false);
}

TEST(gp_known_noise_failed_rows_and_samples) {
  const History h(75);
  GaussianProcess gp(h.arrays, config(1));
  std::vector<double> Y = h.Y, known(75, std::nan(""));
  Y[3] = Y[70] = INFINITY;
  for (std::size_t i = 10; i < 20; ++i) known[i] = 0.01;
  gp.append(h.points(0, 75), {Y.data(), 75}, {known.data(), 75});
  gp.refit();
  std::vector<double> draws(4 * 20);
  gp.sample(h.points(0, 20), 4, {1, 2}, draws.data());
  for (const double x : draws) CHECK(std::isfinite(x));
  gp.truncate(0);
  CHECK(gp.n() == 0);
  for (const double x : predict(gp, h.points(0, 3))) CHECK(std::isfinite(x));
}

TEST(gp_maximise_gives_new_points_and_leaves_the_model) {
  const History h(62);
  GaussianProcess gp(h.arrays, config(2));
  h.tell(gp, 0, 62);
  gp.refit();
  const auto before = predict(gp, h.points(0, 20));
  const auto found = gp.maximise({hpo::UtilityKind::log_ei}, 5, h.points(10, 2), {3, 4}, {}, true);
  CHECK(found.U.size() == 5u * static_cast<std::size_t>(h.d));
  CHECK(before == predict(gp, h.points(0, 20)));
  hpo::Layout layout(h.arrays);
  hpo::KnownPoints known(layout);
  for (std::int64_t i = 0; i < 62; ++i) known.insert(h.U.data() + i * h.d);
  for (std::int64_t i = 0; i < 5; ++i) {
    const double* u = found.U.data() + i * h.d;
    CHECK(!known.contains(u));
    known.insert(u);
    std::vector<double> snapped(u, u + h.d);
    layout.snap(snapped.data());
    CHECK(layout.same_point(u, snapped.data()));
  }
}
