// hpo/rough.hpp: the rows near some points, and a search that bounds before it computes.
#include "hpo/rough.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "histories.hpp"
#include "hpo/maximise.hpp"
#include "hpo/weights.hpp"

using hpo::Mat;

namespace {

// A history in the mixed space, conditioned.
struct Given : History {
  hpo::Layout layout;
  hpo::Columns columns;
  hpo::Embedding points_;
  std::vector<double> lengthscale, noise;
  hpo::Factor V;
  hpo::Weights weights;
  hpo::Posterior posterior;
  double s2 = 1.5;

  explicit Given(std::int64_t n_, int threads = 1)
      : History(n_),
        layout(arrays),
        columns(layout),
        points_(columns),
        lengthscale{0.5, 0.8, 1.2, 0.6, 0.7},
        noise(n_) {
    std::vector<double> logs;
    for (const double l : lengthscale) logs.push_back(std::log(l));
    points_.reset(logs.data());
    for (std::int64_t i = 0; i < n; ++i) points_.append(points(i, 1).data);
    for (std::int64_t i = 0; i < n; ++i) noise[i] = 1e-3 * (1.0 + i % 3);
    V.extend({&points_, hpo::Kernel::matern52, s2, noise.data()}, n, threads);
    weights.compute(V, Y.data(), true, threads);
    posterior.points = &points_;
    posterior.V = &V;
    posterior.alpha = weights.alpha.data();
    posterior.mu = weights.mu;
    posterior.s2 = s2;
    posterior.threads = threads;
  }
};

hpo::Utility utility(hpo::UtilityKind kind) {
  hpo::Utility u;
  u.kind = kind;
  u.best = -1.0;
  return u;
}

constexpr hpo::UtilityKind KINDS[] = {hpo::UtilityKind::log_ei, hpo::UtilityKind::ei, hpo::UtilityKind::log_pi,
                                      hpo::UtilityKind::pi, hpo::UtilityKind::ucb};

}  // namespace

TEST(rough_of_the_rows_nearby_knows_no_more_and_little_less) {
  Given given(1500);
  const History probe(40);
  hpo::Nearby near(given.points_);
  near.look(given.posterior, given.noise.data(), probe.points(0, 4));
  CHECK(near.posterior().V->n() == hpo::Nearby::most_rows(1500) && hpo::Nearby::most_rows(1500) == 512);
  CHECK(hpo::Nearby::most_rows(6000) == 750 && hpo::Nearby::most_rows(10000) == 1024);
  std::vector<double> mean(40), var(40), unused(40), rough(40);
  given.posterior.predict(probe.points(0, 40), mean.data(), var.data(), nullptr, nullptr);
  near.posterior().predict(probe.points(0, 40), unused.data(), rough.data(), nullptr, nullptr);
  for (std::size_t i = 0; i < 40; ++i) CHECK(rough[i] >= var[i] * (1.0 - 1e-9) && (i >= 4 || rough[i] < 1.04 * var[i]));
  std::vector<double> d_mean(40 * 5), d_unused(40 * 5), d_var(40 * 5);
  given.posterior.predict(probe.points(0, 40), unused.data(), var.data(), d_mean.data(), d_var.data());
  given.posterior.predict_mean(probe.points(0, 40), unused.data(), d_unused.data());
  CHECK(unused == mean);
  for (std::size_t i = 0; i < 200; ++i) CHECK_NEAR(d_unused[i], d_mean[i], 1e-12 * (1.0 + std::fabs(d_mean[i])));
}

// Rows whose noise does not stand alone on the diagonal are never near, not even to themselves.
TEST(rough_leaves_the_first_rows_out) {
  const Given given(600, 2), probe(40);
  std::vector<double> noise = given.noise, var(40), unused(40), rough(40);
  std::fill(noise.begin(), noise.begin() + 300, std::nan(""));
  hpo::Nearby near(given.points_);
  near.look(given.posterior, {noise.data(), 300}, given.points(0, 16));
  CHECK(near.posterior().points->n() == 300);
  near.posterior().predict(probe.points(0, 40), unused.data(), rough.data(), nullptr, nullptr);
  Given without(600);
  without.posterior.predict(probe.points(0, 40), unused.data(), var.data(), nullptr, nullptr);
  for (std::size_t i = 0; i < 40; ++i) CHECK(rough[i] >= var[i] * (1.0 - 1e-9) && rough[i] <= given.s2);
}

// At the points that it was made for, the value and the slope are those of all rows; its bounds hold everywhere.
TEST(rough_agrees_to_first_order) {
  Given given(1300, 2);
  const History probe(70);  // more than a group
  std::vector<double> value(70), exact(70), bound(70), slope(70 * 5), exact_slope(70 * 5);
  for (const hpo::UtilityKind kind : KINDS) {
    const hpo::Utility u = utility(kind);
    given.posterior.score(u, probe.points(0, 70), exact.data(), exact_slope.data());
    hpo::RoughScorer rough(given.posterior, u);
    rough.look(given.noise.data(), probe.points(0, 16), value.data());
    for (std::size_t i = 0; i < 16; ++i) CHECK_NEAR(value[i], exact[i], 1e-9 * (1.0 + std::fabs(exact[i])));
    rough.score(probe.points(0, 70), value.data(), slope.data());
    rough.bound(probe.points(0, 70), bound.data());
    for (std::size_t i = 0; i < 16; ++i) {
      CHECK_NEAR(value[i], exact[i], 1e-8 * (1.0 + std::fabs(exact[i])));
      for (std::size_t j = 5 * i; j < 5 * i + 5; ++j)
        CHECK_NEAR(slope[j], exact_slope[j], 1e-6 * (1.0 + std::fabs(exact_slope[j])));
    }
    for (std::size_t i = 0; i < 70; ++i) CHECK(bound[i] >= exact[i] - 1e-9 * (1.0 + std::fabs(exact[i])));
  }
}

// By the rows near each of them, no point is bounded below its value, and most are closer than by the rows near others.
TEST(rough_bounds_by_what_lies_near) {
  Given given(1300, 2);
  const History probe(70);
  std::vector<double> value(16), exact(70), bound(70), nearby(70);
  for (const hpo::UtilityKind kind : KINDS) {
    const hpo::Utility u = utility(kind);
    given.posterior.score(u, probe.points(0, 70), exact.data(), nullptr);
    hpo::PosteriorScorer scorer(given.posterior, u, given.noise.data());
    hpo::Scorer* rough = scorer.rough(given.points(0, 16), value.data());
    rough->bound(probe.points(0, 70), bound.data());
    CHECK(scorer.bound_nearby(probe.points(0, 70), nearby.data()));
    int closer = 0;
    for (std::size_t i = 0; i < 70; ++i) {
      CHECK(nearby[i] >= exact[i] - 1e-9 * (1.0 + std::fabs(exact[i])));
      closer += nearby[i] < bound[i];
    }
    // Where the mean is better than the best value, the bound of a probability is 1.
    CHECK(closer > 35 || kind == hpo::UtilityKind::pi || kind == hpo::UtilityKind::log_pi);
  }
  hpo::PosteriorScorer without(given.posterior, utility(hpo::UtilityKind::log_ei), nullptr);
  CHECK(!without.bound_nearby(probe.points(0, 70), nearby.data()));
  const std::vector<double> impossible(1300, -10.0 * given.s2);
  hpo::PosteriorScorer unsound(given.posterior, utility(hpo::UtilityKind::log_ei), impossible.data());
  CHECK(!unsound.bound_nearby(probe.points(0, 70), nearby.data()));
}

// Points that differ in a choice alone, or in whether a block exists, have corrections of their own.
TEST(rough_tells_choices_apart) {
  Given given(1300);
  const hpo::Utility u = utility(hpo::UtilityKind::ucb);
  std::vector<double> U, value(12), exact(12), slope(12 * 5), exact_slope(12 * 5);
  for (std::int64_t i = 0; i < 12; ++i) {
    const double category = (static_cast<double>(i % 3) + 0.5) / 3.0;
    std::vector<double> point{0.3 + 0.2 * static_cast<double>(i / 3), 0.5, category, 0.4, 0.6};
    given.layout.snap(point.data());
    U.insert(U.end(), point.begin(), point.end());
  }
  const Mat<const double> points{U.data(), 12, 5};
  given.posterior.score(u, points, exact.data(), exact_slope.data());
  hpo::RoughScorer rough(given.posterior, u);
  rough.look(given.noise.data(), points, value.data());
  rough.score(points, value.data(), slope.data());
  for (std::size_t i = 0; i < 12; ++i) CHECK_NEAR(value[i], exact[i], 1e-8 * (1.0 + std::fabs(exact[i])));
  for (std::size_t i = 0; i < 60; ++i) CHECK_NEAR(slope[i], exact_slope[i], 1e-6 * (1.0 + std::fabs(exact_slope[i])));
}

TEST(rough_of_all_rows_is_the_posterior) {
  Given given(400);
  const History probe(40);
  const hpo::Utility u = utility(hpo::UtilityKind::log_ei);
  std::vector<double> value(40), exact(40), slope(40 * 5), exact_slope(40 * 5);
  hpo::RoughScorer rough(given.posterior, u);
  rough.look(given.noise.data(), probe.points(0, 3), value.data());
  rough.score(probe.points(0, 40), value.data(), slope.data());
  given.posterior.score(u, probe.points(0, 40), exact.data(), exact_slope.data());
  for (std::size_t i = 0; i < 40; ++i) CHECK_NEAR(value[i], exact[i], 1e-7 * (1.0 + std::fabs(exact[i])));
  for (std::size_t i = 0; i < 200; ++i) CHECK_NEAR(slope[i], exact_slope[i], 1e-5 * (1.0 + std::fabs(exact_slope[i])));
}

// Central differences, between the points that it was made for; at most of these the correction is in force.
TEST(rough_gradients_of_a_rough_idea) {
  Given given(1100);
  const History probe(36);
  const hpo::Utility u = utility(hpo::UtilityKind::log_ei);
  hpo::RoughScorer rough(given.posterior, u);
  std::vector<double> value(36), slope(36 * 5), up(36), down(36);
  rough.look(given.noise.data(), probe.points(0, 16), value.data());
  rough.score(probe.points(16, 20), value.data(), slope.data());
  rough.bound(probe.points(16, 20), up.data());
  std::int64_t corrected = 0;
  for (std::size_t i = 0; i < 20; ++i) corrected += value[i] < up[i] - 1e-6 * std::fabs(up[i]);
  CHECK(corrected >= 12);
  for (const std::int64_t column : {0, 3}) {
    std::vector<double> U(probe.U.begin() + 16 * 5, probe.U.begin() + 36 * 5);
    const Mat<const double> moved{U.data(), 20, 5};
    for (std::int64_t i = 0; i < 20; ++i) U[i * 5 + column] += 1e-6;
    rough.score(moved, up.data(), nullptr);
    for (std::int64_t i = 0; i < 20; ++i) U[i * 5 + column] -= 2e-6;
    rough.score(moved, down.data(), nullptr);
    for (std::int64_t i = 0; i < 20; ++i) {
      const double expected = std::isnan(probe.U[(16 + i) * 5 + column]) ? 0.0 : (up[i] - down[i]) / 2e-6;
      CHECK_NEAR(slope[i * 5 + column], expected, 1e-4 * (1.0 + std::fabs(expected)));
    }
  }
}

// Passes on what the search asks for, and keeps the candidates, of a continuous space with the ends of rough climbs,
// and where these began.
struct Witness : hpo::Scorer {
  hpo::PosteriorScorer inner;
  std::vector<double> candidates, began;

  int nearby = 0;

  Witness(hpo::Posterior& posterior, const hpo::Utility& u, const double* noise) : inner(posterior, u, noise) {}
  void score(Mat<const double> U, double* value, double* d_value) override { inner.score(U, value, d_value); }
  bool bound(Mat<const double> U, double* value) override {
    candidates.insert(candidates.end(), U.data, U.data + U.rows * U.cols);
    return inner.bound(U, value);
  }
  hpo::Scorer* rough(Mat<const double> points, double* value) override {
    began.insert(began.end(), points.data, points.data + points.rows * points.cols);
    return inner.rough(points, value);
  }
  bool bound_nearby(Mat<const double> U, double* value) override {
    ++nearby;
    return inner.bound_nearby(U, value);
  }
};

// The row of `points` that is u, bit for bit: a block may be NaN.
std::size_t place_of(const std::vector<double>& u, const std::vector<double>& points) {
  for (std::size_t i = 0; i < points.size(); i += u.size())
    if (std::memcmp(u.data(), &points[i], u.size() * sizeof(double)) == 0) return i / u.size();
  CHECK(false);
  return 0;
}

// What is returned is the best of all candidates, though few got their value.
TEST(rough_bounds_lose_no_candidate) {
  Given given(1100, 2);
  for (const hpo::UtilityKind kind : KINDS) {
    for (const bool climbing : {false, true}) {
      const hpo::Utility u = utility(kind);
      Witness witness(given.posterior, u, climbing ? given.noise.data() : nullptr);
      hpo::SearchOptions options;
      // With one start the best bound of this seed is not the best value, for every utility.
      if (!climbing) options.ascent.batches = options.alternations = options.polish = 0, options.starts = 1;
      const hpo::SearchInput input{given.points(0, 5), {nullptr, 0, 5}, {given.lengthscale.data(), 5}, {}, {8, 3}};
      const hpo::SearchResult found = hpo::Search(given.layout, witness, input, options).run();
      const auto m = static_cast<std::int64_t>(witness.candidates.size()) / 5;
      const std::int64_t candidates = options.quasi_random + options.local + 1;
      CHECK(climbing ? m >= candidates : m == candidates);  // the changes of a discrete search have bounds too
      std::vector<double> exact(m);
      given.posterior.score(u, {witness.candidates.data(), m, 5}, exact.data(), nullptr);
      const double best = *std::max_element(exact.begin(), exact.end());
      CHECK(found.value >= best - 1e-9 * (1.0 + std::fabs(best)));
      if (!climbing) {
        CHECK_NEAR(found.value, best, 1e-9 * (1.0 + std::fabs(best)));
        CHECK_NEAR(exact[place_of(found.u, witness.candidates)], best, 1e-9 * (1.0 + std::fabs(best)));
      }
      // The bounds of a probability of improvement say nothing where the mean is better than the best value.
      if (!climbing && kind != hpo::UtilityKind::pi && kind != hpo::UtilityKind::log_pi) CHECK(found.values < m / 2);
      if (climbing) CHECK(found.gradients <= 2 * 16 + 2 * 9);

      double mean, var, again_mean, again_var;
      witness.inner.moments({found.u.data(), 5}, &mean, &var);
      given.posterior.predict({found.u.data(), 1, 5}, &again_mean, &again_var, nullptr, nullptr);
      CHECK_NEAR(mean, again_mean, 1e-9 * (1.0 + std::fabs(mean)));
      CHECK_NEAR(var, again_var, 1e-9);
      CHECK_NEAR(hpo::utility_value(u, mean, var), found.value, 1e-9 * (1.0 + std::fabs(found.value)));
    }
  }
}

// Where all blocks are continuous, too: what no batch was left for keeps its bound.
TEST(rough_bounds_lose_no_candidate_of_a_continuous_space) {
  LayoutBuilder s;
  for (int j = 0; j < 3; ++j) s.continuous();
  const hpo::Layout layout = s.build();
  const hpo::Columns columns(layout);
  hpo::Embedding points(columns);
  std::vector<double> lengthscale(3, 0.4), logs(3, std::log(0.4)), noise(1200, 1e-3), U, Y;
  points.reset(logs.data());
  for (std::uint64_t i = 0; i < 1200; ++i) {
    for (std::uint64_t j = 0; j < 3; ++j) U.push_back(hpo::uniform(8, i, j));
    points.append(&U[3 * i]);
    Y.push_back(std::sin(6.0 * U[3 * i]) + U[3 * i + 1] * U[3 * i + 2] + 0.03 * hpo::normal(9, i, 0));
  }
  hpo::Factor V;
  V.extend({&points, hpo::Kernel::matern52, 1.0, noise.data()}, 1200, 2);
  hpo::Weights weights;
  weights.compute(V, Y.data(), true, 2);
  hpo::Posterior posterior;
  posterior.points = &points, posterior.V = &V, posterior.alpha = weights.alpha.data();
  posterior.mu = weights.mu, posterior.s2 = 1.0, posterior.threads = 2;
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    for (const std::int64_t batches : {0, 1, 3}) {
      hpo::PosteriorScorer scorer(posterior, utility(hpo::UtilityKind::ucb), nullptr);
      hpo::SearchOptions options;
      options.ascent.batches = batches;
      options.ascent.lanes = 4;
      const hpo::SearchInput input{{U.data(), 5, 3}, {nullptr, 0, 3}, {lengthscale.data(), 3}, {}, {seed, 5}};
      const hpo::SearchResult found = hpo::Search(layout, scorer, input, options).run();
      CHECK(found.values < 64 && found.gradients <= 4 * batches);
      double exact;
      posterior.score(utility(hpo::UtilityKind::ucb), {found.u.data(), 1, 3}, &exact, nullptr);
      CHECK_NEAR(found.value, exact, 1e-9);
    }
  // And where the climbs are rough: their ends are among the candidates, and what is returned is the best of all.
  int nearby = 0;
  hpo::SearchOptions narrow;
  narrow.ascent.lanes = 4;  // more bounds are left than that
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const hpo::Utility u = utility(KINDS[seed % 5]);
    Witness witness(posterior, u, noise.data());
    hpo::KnownPoints known(layout);
    for (int again = 0; again < 2; ++again) {  // and when the best of them is known
      witness.candidates.clear(), witness.began.clear();
      const hpo::SearchInput input{{U.data(), 5, 3}, {nullptr, 0, 3}, {lengthscale.data(), 3}, {&known}, {seed, 5}};
      const hpo::SearchResult found = hpo::Search(layout, witness, input, narrow).run();
      const auto m = static_cast<std::int64_t>(witness.candidates.size()) / 3;
      CHECK(m > hpo::SearchOptions().quasi_random + hpo::SearchOptions().local + 1);
      std::vector<double> exact(m);
      posterior.score(u, {witness.candidates.data(), m, 3}, exact.data(), nullptr);
      for (std::int64_t i = 0; i < m; ++i)
        CHECK(known.contains(&witness.candidates[3 * i]) ||
              found.value >= exact[i] - 1e-9 * (1.0 + std::fabs(exact[i])));
      CHECK(!known.contains(found.u.data()));
      // Where all had their values it would be the same: of what the search has seen and may return, the best.
      std::vector<double> seen = witness.candidates;
      seen.insert(seen.end(), witness.began.begin(), witness.began.end());
      exact.resize(seen.size() / 3);
      posterior.score(u, {seen.data(), static_cast<std::int64_t>(exact.size()), 3}, exact.data(), nullptr);
      double best = -std::numeric_limits<double>::infinity();
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(exact.size()); ++i)
        if (!known.contains(&seen[3 * i])) best = std::max(best, exact[i]);
      CHECK_NEAR(exact[place_of(found.u, seen)], best, 1e-9 * (1.0 + std::fabs(best)));
      if (u.kind == hpo::UtilityKind::log_ei) CHECK(found.values <= m / 4);
      known.insert(found.u.data());
    }
    nearby += witness.nearby;
  }
  CHECK(nearby > 0);
}

TEST(rough_search_does_without_rows_nearby_that_cannot_be_factored) {
  Given given(1100, 2);
  const std::vector<double> impossible(1100, -10.0 * given.s2);
  double value[3];
  hpo::PosteriorScorer scorer(given.posterior, utility(hpo::UtilityKind::log_ei), impossible.data());
  CHECK(scorer.rough(given.points(0, 3), value) == nullptr);
  hpo::PosteriorScorer sound(given.posterior, utility(hpo::UtilityKind::log_ei), given.noise.data());
  CHECK(sound.rough(given.points(0, 3), value) != nullptr);
  const hpo::SearchInput input{given.points(0, 5), {nullptr, 0, 5}, {given.lengthscale.data(), 5}, {}, {1, 3}};
  const hpo::SearchResult found = hpo::Search(given.layout, scorer, input).run();
  hpo::PosteriorScorer without(given.posterior, utility(hpo::UtilityKind::log_ei), nullptr);
  CHECK(hpo::Search(given.layout, without, input).run().u == found.u);
}
