// The local model of hpo/gp.hpp: the sanitizers look at every access on its ways through panels, tails, refits and
// searches. The values are compared with the reference backend by the contract kit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.hpp"
#include "histories.hpp"
#include "hpo/gp.hpp"

namespace {

using hpo::GaussianProcess;
using hpo::GpConfig;

GpConfig local(int threads) {
  GpConfig c;
  c.surrogate = hpo::Surrogate::vecchia;
  c.threads = threads;
  return c;
}

hpo::MaximumResult ask(GaussianProcess& gp, const History& h, std::int64_t q) {
  return gp.maximise({hpo::UtilityKind::log_ei}, q, h.points(1, 2), {3, 4}, h.points(5, 2), true);
}

}  // namespace

TEST(local_state_depends_on_the_observations_alone) {
  const History h(330);
  for (const int threads : {1, 3}) {
    GaussianProcess at_once(h.arrays, local(1)), in_parts(h.arrays, local(threads)), gone(h.arrays, local(1));
    for (GaussianProcess* gp : {&at_once, &in_parts, &gone}) gp->set_theta({gp->theta().data(), 7}, 120);
    h.tell(at_once, 0, 300);
    for (std::int64_t i = 0; i < 300; i += 25) {
      h.tell(in_parts, i, 25);
      if (i % 75 == 0) predict(in_parts, h.points(0, 1));
    }
    h.tell(gone, 0, 330);
    predict(gone, h.points(0, 1));
    gone.truncate(310);  // within the tail
    predict(gone, h.points(0, 1));
    gone.truncate(200);  // a panel is gone
    h.tell(gone, 200, 100);
    const auto expected = predict(at_once, h.points(300, 20));
    CHECK(expected == predict(in_parts, h.points(300, 20)));
    CHECK(expected == predict(gone, h.points(300, 20)));
    const auto a = ask(at_once, h, 3), b = ask(in_parts, h, 3), c = ask(gone, h, 3);
    CHECK(a.U.size() == b.U.size() && a.values == b.values && a.values == c.values);
  }
}

TEST(local_search_in_mixed_spaces) {
  const History h(200);
  GaussianProcess gp(h.arrays, local(2));
  gp.set_theta({gp.theta().data(), 7}, 100);
  h.tell(gp, 0, 190);
  const auto before = predict(gp, h.points(190, 10));
  const auto found = ask(gp, h, 4);
  CHECK(found.U.size() == 4u * static_cast<std::size_t>(h.d) && found.n_optima >= 1);
  hpo::Layout layout(h.arrays);
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<double> u(found.U.begin() + static_cast<std::ptrdiff_t>(i) * h.d,
                          found.U.begin() + static_cast<std::ptrdiff_t>(i + 1) * h.d);
    std::vector<double> snapped = u;
    layout.snap(snapped.data());
    CHECK(layout.same_point(u.data(), snapped.data()));
    CHECK(std::isfinite(found.values[i]) && found.var[i] > 0.0);
  }
  CHECK(before == predict(gp, h.points(190, 10)));
  std::vector<double> draws(4 * 10);
  gp.sample(h.points(190, 10), 4, {1, 2}, draws.data());
  for (const double x : draws) CHECK(std::isfinite(x));
}

// More rows than stand in every model: points have neighbours of their own, and models of their own.
TEST(local_neighbours_of_ones_own) {
  constexpr std::int64_t n = 5200;
  const History h(n + 10);
  CHECK(has_own_neighbours(h, n, h.points(n, 1), 64));
  GaussianProcess at_once(h.arrays, local(2)), gone(h.arrays, local(2));
  const std::vector<double> theta(7, -1.0);
  for (GaussianProcess* gp : {&at_once, &gone}) gp->set_theta({theta.data(), 7}, 64);
  h.tell(at_once, 0, n);
  h.tell(gone, 0, n + 5);
  predict(gone, h.points(n, 1));
  gone.truncate(n);
  const auto expected = predict(at_once, h.points(n, 2));
  CHECK(expected == predict(gone, h.points(n, 2)));
  std::vector<double> draws(2 * 2);
  at_once.sample(h.points(n, 2), 2, {1, 2}, draws.data());
  for (const double x : draws) CHECK(std::isfinite(x));
  const auto far_away = [&](GaussianProcess& gp) {
    return gp.maximise({hpo::UtilityKind::ucb, 10.0}, 2, h.points(1, 1), {3, 4}, h.points(5, 2), true);
  };
  const auto found = far_away(at_once), again = far_away(gone);
  CHECK(found.values == again.values && found.var[0] > 0.0 && found.var[1] > 0.0);
  CHECK(expected == predict(at_once, h.points(n, 2)));
}

// As the search sees it: values and no bounds, ideas that know the values and slopes of the first look, and after the
// closer look what is seen then, without ideas.
TEST(local_scorer_has_rough_ideas_of_the_first_look) {
  constexpr std::int64_t n = 5200;
  const History h(n + 48);
  const hpo::Layout layout(h.arrays);
  const hpo::Columns columns(layout);
  const std::vector<double> theta(7, -1.0), inferred(n, std::nan(""));
  hpo::Local model(columns, hpo::Kernel::matern52, true, theta, 64);
  const hpo::Rows rows{h.points(0, n), h.Y.data(), inferred.data(), 1.0, std::exp(-1.0)};
  model.catch_up(rows, 2);
  // The first rows are the pseudo-observations, whose variances on the diagonal are no noise; those of the others are.
  const hpo::Noise noise = model.far_noise();
  CHECK(noise.first == 64);
  for (std::int64_t i = noise.first; i < model.far().V->n(); ++i) CHECK_NEAR(noise.variance[i], rows.noise(0), 1e-12);
  hpo::Utility utility{hpo::UtilityKind::log_ei};
  utility.best = -1.0;
  const hpo::Mat<const double> U = h.points(n, 16);
  const auto m = static_cast<std::size_t>(U.rows * U.cols);
  std::vector<double> value(16), again(16), slope(m), slope_again(m), mean(1), var(1);
  for (const bool ideas : {false, true}) {
    hpo::LocalScorer scorer(model, rows, utility, ideas, 2);
    CHECK(scorer.vague() && !scorer.bound(U, value.data()));
    model.far().score(utility, U, again.data(), slope.data());
    for (std::size_t i = 0; i < 16; ++i) CHECK_NEAR(value[i], again[i], 1e-9 * (1.0 + std::fabs(value[i])));
    hpo::Scorer* rough = scorer.rough(U, value.data());
    CHECK((rough != nullptr) == ideas);
    if (ideas) {
      rough->score(U, again.data(), slope_again.data());
      for (std::size_t i = 0; i < 16; ++i) CHECK_NEAR(value[i], again[i], 1e-9 * (1.0 + std::fabs(value[i])));
      for (std::size_t i = 0; i < m; ++i) CHECK_NEAR(slope_again[i], slope[i], 1e-6 * (1.0 + std::fabs(slope[i])));
      // Away from those points no bound is below the value.
      const hpo::Mat<const double> others = h.points(n + 16, 32);
      std::vector<double> bound(32), exact(32);
      CHECK(rough->bound(others, bound.data()));
      model.far().score(utility, others, exact.data(), nullptr);
      for (std::size_t i = 0; i < 32; ++i) CHECK(bound[i] >= exact[i] - 1e-9 * (1.0 + std::fabs(exact[i])));
    }
    const hpo::Mat<const double> one = h.points(n, 1);
    scorer.look_closer(one);
    CHECK(scorer.rough(U, value.data()) == nullptr);
    hpo::Posterior& near = model.near(rows, one, 2);
    CHECK(&near != &model.far());
    near.predict(one, mean.data(), var.data(), nullptr, nullptr);
    double seen_mean, seen_var;
    scorer.score(one, value.data(), nullptr);
    scorer.moments({one.row(0), U.cols}, &seen_mean, &seen_var);
    CHECK(seen_mean == mean[0] && seen_var == var[0]);
    CHECK_NEAR(value[0], hpo::utility_value(utility, mean[0], var[0]), 1e-12);
  }
}

TEST(local_refit_in_pieces) {
  const History h(260);
  GaussianProcess at_once(h.arrays, local(1)), in_pieces(h.arrays, local(2));
  h.tell(at_once, 0, 150);
  at_once.begin_refit(150);
  at_once.finish_refit();
  h.tell(at_once, 150, 110);
  h.tell(in_pieces, 0, 150);
  in_pieces.begin_refit(150);
  for (std::int64_t i = 150; i < 260; i += 11) {
    h.tell(in_pieces, i, 10 + (i < 249));
    in_pieces.advance_refit(in_pieces.refit_work(150) / 8.0);
    predict(in_pieces, h.points(0, 1));
  }
  h.tell(in_pieces, in_pieces.n(), 260 - in_pieces.n());
  in_pieces.finish_refit();
  CHECK(at_once.theta() == in_pieces.theta());
  CHECK(predict(at_once, h.points(0, 10)) == predict(in_pieces, h.points(0, 10)));
}

TEST(local_and_exact_back_and_forth) {
  const History h(240);
  GpConfig c = local(2);
  c.surrogate = hpo::Surrogate::automatic;
  c.exact_below = 200;
  GaussianProcess gp(h.arrays, c), fresh(h.arrays, c);
  std::vector<double> known(240, std::nan(""));
  for (std::size_t i = 0; i < 240; i += 20) known[i] = 0.02;
  const auto tell = [&](GaussianProcess& to, std::int64_t first, std::int64_t count) {
    to.append(h.points(first, count), {h.Y.data() + first, count}, {known.data() + first, count});
  };
  tell(gp, 0, 190);
  gp.begin_refit(190);
  CHECK(gp.advance_refit(10.0 * gp.refit_work(190)) > 0.0 && !gp.is_local());
  tell(gp, 190, 30);
  CHECK(gp.is_local());
  CHECK(gp.advance_refit(1.0) > 0.0 && gp.advance_refit(1.0) > 0.0);  // a piece each: no credit is left
  gp.truncate(195);
  CHECK(!gp.is_local());
  tell(gp, 195, 3);  // the plan's factor follows a scale that moved
  gp.advance_refit(1.0);
  gp.finish_refit();
  gp.begin_refit(198);
  tell(gp, 198, 12);
  gp.finish_refit();
  CHECK(gp.is_local());
  gp.truncate(160);  // under the theta of the fit
  fresh.set_theta({gp.theta().data(), 7}, 198);
  tell(fresh, 0, 160);
  CHECK(predict(gp, h.points(0, 10)) == predict(fresh, h.points(0, 10)));
  tell(gp, 160, 80);
  tell(fresh, 160, 80);
  CHECK(predict(gp, h.points(0, 10)) == predict(fresh, h.points(0, 10)));
}

TEST(local_failure_leaves_theta_and_observations) {
  const History h(150);
  GaussianProcess gp(h.arrays, local(1));
  h.tell(gp, 0, 100);
  const auto before = predict(gp, h.points(100, 5));
  std::vector<double> far(h.U.begin(), h.U.begin() + h.d);
  far[0] = 1e170;  // its square is no number
  const double y = 1.0;
  for (int i = 0; i < 3; ++i) gp.append({far.data(), 1, h.d}, {&y, 1}, {});
  const std::vector<double> theta = gp.theta();
  CHECK_THROWS(predict(gp, h.points(100, 5)), hpo::numerical_error);
  CHECK_THROWS(gp.refit(), hpo::numerical_error);
  CHECK(gp.theta() == theta && gp.n() == 103);
  gp.truncate(100);
  CHECK(before == predict(gp, h.points(100, 5)));
}
