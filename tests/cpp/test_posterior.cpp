// hpo/posterior.hpp: the rows near some points, and a search that bounds before it computes.
#include "hpo/posterior.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
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

TEST(posterior_of_the_rows_nearby_knows_no_more_and_little_less) {
  Given given(1500);
  const History probe(40);
  hpo::Nearby near(given.points_);
  near.look(given.posterior, given.noise.data(), probe.points(0, 4));
  CHECK(near.posterior().V->n() == hpo::Nearby::ROWS);
  std::vector<double> mean(40), var(40), value(40), bound(40), exact(40);
  given.posterior.predict(probe.points(0, 40), mean.data(), var.data(), nullptr, nullptr);
  for (const hpo::UtilityKind kind : KINDS) {
    const hpo::Utility u = utility(kind);
    given.posterior.score(u, probe.points(0, 40), exact.data(), nullptr);
    given.posterior.score_near(near.posterior(), u, probe.points(0, 40), value.data(), nullptr);
    given.posterior.bound_near(near.posterior(), u, probe.points(0, 40), bound.data());
    for (std::size_t i = 0; i < 40; ++i) {
      const double slack = 1e-9 * (1.0 + std::fabs(exact[i]));
      CHECK(bound[i] >= exact[i] - slack && bound[i] >= value[i] - slack);
      if (i < 4 && kind == hpo::UtilityKind::ucb) {  // around what was looked at the variance is nearly that of all
        const double sd = (value[i] + mean[i]) / u.beta, all = std::sqrt(var[i]);
        CHECK(sd >= all * (1.0 - 1e-9) && sd < 1.02 * all);
      }
    }
  }
}

TEST(posterior_of_all_rows_nearby_is_the_posterior) {
  Given given(400, 2);
  const History probe(70);  // more than a group
  hpo::Nearby near(given.points_);
  near.look(given.posterior, given.noise.data(), probe.points(0, 33));
  CHECK(near.posterior().V->n() == 400);
  std::vector<double> value(70), exact(70), slope(70 * 5), exact_slope(70 * 5);
  for (const hpo::UtilityKind kind : KINDS) {
    const hpo::Utility u = utility(kind);
    given.posterior.score(u, probe.points(0, 70), exact.data(), exact_slope.data());
    given.posterior.score_near(near.posterior(), u, probe.points(0, 70), value.data(), slope.data());
    for (std::size_t i = 0; i < 70; ++i) CHECK_NEAR(value[i], exact[i], 1e-8 * (1.0 + std::fabs(exact[i])));
    for (std::size_t i = 0; i < 70 * 5; ++i)
      CHECK_NEAR(slope[i], exact_slope[i], 1e-6 * (1.0 + std::fabs(exact_slope[i])));
  }
}

TEST(posterior_gradients_by_the_rows_nearby) {
  Given given(1100);
  const History probe(20);
  hpo::Nearby near(given.points_);
  near.look(given.posterior, given.noise.data(), probe.points(0, 20));
  const hpo::Utility u = utility(hpo::UtilityKind::log_ei);
  std::vector<double> value(20), slope(20 * 5), up(20), down(20);
  given.posterior.score_near(near.posterior(), u, probe.points(0, 20), value.data(), slope.data());
  for (const std::int64_t column : {0, 3}) {
    std::vector<double> U(probe.U.begin(), probe.U.begin() + 20 * 5);
    const Mat<const double> moved{U.data(), 20, 5};
    for (std::int64_t i = 0; i < 20; ++i) U[i * 5 + column] += 1e-6;
    given.posterior.score_near(near.posterior(), u, moved, up.data(), nullptr);
    for (std::int64_t i = 0; i < 20; ++i) U[i * 5 + column] -= 2e-6;
    given.posterior.score_near(near.posterior(), u, moved, down.data(), nullptr);
    for (std::int64_t i = 0; i < 20; ++i) {
      if (std::isnan(probe.U[i * 5 + column])) {
        CHECK(slope[i * 5 + column] == 0.0);
        continue;
      }
      CHECK_NEAR(slope[i * 5 + column], (up[i] - down[i]) / 2e-6, 1e-4 * (1.0 + std::fabs(slope[i * 5 + column])));
    }
  }
}

// Passes on what the search asks for, and keeps the candidates.
struct Witness : hpo::Scorer {
  hpo::PosteriorScorer inner;
  bool roughly;
  std::vector<double> candidates;
  std::int64_t values = 0, gradients = 0;

  Witness(Given& given, const hpo::Utility& u, bool roughly_)
      : inner(given.posterior, given.noise.data(), u), roughly(roughly_) {}
  void score(Mat<const double> U, double* value, double* d_value) override {
    (d_value ? gradients : values) += U.rows;
    inner.score(U, value, d_value);
  }
  bool bound(Mat<const double> U, double* value) override {
    candidates.assign(U.data, U.data + U.rows * U.cols);
    return inner.bound(U, value);
  }
  hpo::Scorer* rough(Mat<const double> points) override { return roughly ? inner.rough(points) : nullptr; }
};

// What is returned is the best of all candidates, though few got their value.
TEST(posterior_bounds_lose_no_candidate) {
  for (const std::int64_t n : {std::int64_t{1100}, std::int64_t{2100}}) {
    Given given(n, 2);
    for (const hpo::UtilityKind kind : KINDS) {
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        for (const bool climbing : {false, true}) {
          const hpo::Utility u = utility(kind);
          Witness witness(given, u, climbing);
          hpo::SearchOptions options;
          if (!climbing) options.ascent.batches = options.alternations = options.polish = 0;
          const hpo::SearchInput input{
              given.points(0, 5), {nullptr, 0, 5}, {given.lengthscale.data(), 5}, {}, {seed, 3}};
          const hpo::SearchResult found = hpo::Search(given.layout, witness, input, options).run();
          const auto m = static_cast<std::int64_t>(witness.candidates.size()) / 5;
          CHECK(m == options.quasi_random + options.local + 1);
          std::vector<double> exact(m);
          given.posterior.score(u, {witness.candidates.data(), m, 5}, exact.data(), nullptr);
          const double best = *std::max_element(exact.begin(), exact.end());
          CHECK(found.value >= best - 1e-9 * (1.0 + std::fabs(best)));
          if (!climbing) CHECK_NEAR(found.value, best, 1e-9 * (1.0 + std::fabs(best)));
          // The bounds of a probability of improvement say nothing where the mean is better than the best value.
          if (!climbing && kind != hpo::UtilityKind::pi && kind != hpo::UtilityKind::log_pi)
            CHECK(found.values < m / 2);
          if (climbing && n >= hpo::PosteriorScorer::ROUGH_FROM) CHECK(witness.gradients == 0);

          double mean, var, again_mean, again_var;
          witness.inner.moments({found.u.data(), 5}, &mean, &var);
          given.posterior.predict({found.u.data(), 1, 5}, &again_mean, &again_var, nullptr, nullptr);
          CHECK_NEAR(mean, again_mean, 1e-9 * (1.0 + std::fabs(mean)));
          CHECK_NEAR(var, again_var, 1e-9);
          CHECK_NEAR(hpo::utility_value(u, mean, var), found.value, 1e-9 * (1.0 + std::fabs(found.value)));
        }
      }
    }
  }
}

TEST(posterior_search_does_without_rows_nearby_that_cannot_be_factored) {
  Given given(2100, 2);
  const std::vector<double> impossible(2100, -10.0 * given.s2);
  hpo::PosteriorScorer scorer(given.posterior, impossible.data(), utility(hpo::UtilityKind::log_ei));
  CHECK(scorer.rough(given.points(0, 3)) == nullptr);
  hpo::PosteriorScorer sound(given.posterior, given.noise.data(), utility(hpo::UtilityKind::log_ei));
  CHECK(sound.rough(given.points(0, 3)) != nullptr);
}
