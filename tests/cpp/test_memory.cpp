// What is left when memory ends in the middle of a verb, at many of its allocations: as if it had not been called.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "check.hpp"
#include "histories.hpp"
#include "hpo/gp.hpp"
#include "memory.hpp"

namespace {

// Whether `verb` found no memory at its k-th call and ended; one that can do without, as a sort can, goes on.
template <class Verb>
bool ends_at(std::int64_t k, Verb&& verb) {
  bool ended = false;
  memory::ends_at = memory::calls + k;
  try {
    verb();
  } catch (const std::bad_alloc&) {
    ended = true;
  } catch (...) {
    memory::ends_at = -1;
    throw;
  }
  memory::ends_at = -1;
  return ended;
}

// make() gives a handle, verb(handle) is to end, same(handle) checks what is left, and done(handle) what a verb did
// that went on.  Call k fails, for k = 0, 1, 2 .. while k < 2 part, then every k / part further, and the last eight:
// below 8 alone and with all after it, from there on in turn.  No CHECK in a verb: it asks for memory where it fails.
template <class Make, class Verb, class Same, class Done>
void at_many_calls(Make&& make, Verb&& verb, Same&& same, Done&& done, std::int64_t part = 4) {
  const auto undisturbed = make();
  const std::int64_t before = memory::calls;
  verb(*undisturbed);
  const std::int64_t calls = memory::calls - before;
  std::int64_t ended = 0;
  const auto fail = [&](std::int64_t k, bool lasts) {
    const auto handle = make();
    memory::lasts = lasts;
    if (ends_at(k, [&] { verb(*handle); })) {
      ++ended;
      same(*handle);
    } else {
      done(*handle);
    }
  };
  bool lasts = false;
  const std::int64_t last = calls - 8;
  for (std::int64_t k = 0; k < calls; k = k < last ? std::min(k + std::max<std::int64_t>(1, k / part), last) : k + 1) {
    fail(k, lasts);
    if (k < 8) fail(k, !lasts);
    lasts = !lasts;
  }
  CHECK(ended > 0);
}

using hpo::GaussianProcess;

hpo::GpConfig local(int threads) {
  hpo::GpConfig c = config(threads);
  c.surrogate = hpo::Surrogate::vecchia;
  return c;
}

hpo::GpConfig exact_below(std::int64_t n) {
  hpo::GpConfig c = config(1);
  c.surrogate = hpo::Surrogate::automatic;
  c.exact_below = n;
  return c;
}

constexpr std::int64_t N = 120, MORE = 16;  // a panel begins among the new ones

// Every verb of a handle with N rows that runs out of memory leaves what it answered before, and succeeds when it is
// called again as it would have the first time.
void check_verbs(const hpo::GpConfig& c) {
  const History h(N + MORE);
  const auto probe = h.points(100, 20);
  const auto make = [&] {
    auto gp = std::make_unique<GaussianProcess>(h.arrays, c);
    h.tell(*gp, 0, N);
    return gp;
  };
  const auto before = predict(*make(), probe);
  std::vector<double> said;  // what a verb answered
  const auto check = [&](auto&& verb) {
    auto undisturbed = make();
    said.clear();
    verb(*undisturbed);
    const auto answer = said;
    for (const double value : answer) CHECK(std::isfinite(value));
    const auto after = predict(*undisturbed, probe);
    const auto done = [&](GaussianProcess& gp) {
      CHECK(said == answer);
      CHECK(gp.n() == undisturbed->n());
      CHECK(gp.theta() == undisturbed->theta());
      CHECK(after == predict(gp, probe));
    };
    const auto same = [&](GaussianProcess& gp) {
      CHECK(gp.n() == N);
      CHECK(before == predict(gp, probe));
      verb(gp);
      done(gp);
    };
    at_many_calls(make, verb, same, done);
  };
  check([&](GaussianProcess& gp) { h.tell(gp, N, MORE); });
  check([&](GaussianProcess& gp) {  // of values so unlike the others that all are warped anew
    std::vector<double> Y(h.Y.begin(), h.Y.begin() + MORE);
    Y[3] = INFINITY, Y[5] = -1e4, Y[9] = -1e6;
    gp.append(h.points(N, MORE), {Y.data(), MORE}, {});
  });
  check([&](GaussianProcess& gp) { gp.truncate(N - MORE); });
  check([&](GaussianProcess& gp) { said = predict(gp, probe); });
  check([&](GaussianProcess& gp) {
    std::vector<double> values(20 + 3 * 20);
    gp.score({hpo::UtilityKind::log_ei}, probe, values.data());
    gp.sample(probe, 3, {1, 2}, values.data() + 20);
    said = std::move(values);
  });
  check([&](GaussianProcess& gp) {
    const std::vector<double> theta = gp.theta();
    std::vector<double> values(7 + 2);
    values[7] = gp.log_likelihood({theta.data(), 7}, values.data(), true);
    values[8] = gp.incumbent();
    said = std::move(values);
  });
  check([&](GaussianProcess& gp) {
    const hpo::FitResult fit = gp.refit();
    said.assign({fit.log_likelihood, fit.log_posterior});
  });
  check([&](GaussianProcess& gp) {
    std::vector<double> theta = gp.theta();
    theta[0] += 0.5;
    gp.set_theta({theta.data(), 7}, 100);
  });
  check([&](GaussianProcess& gp) {
    auto found = gp.maximise({hpo::UtilityKind::log_ei}, 3, h.points(1, 2), {3, 4}, {}, true);
    said = std::move(found.values);
    for (const auto* more : {&found.U, &found.mean, &found.var, &found.optima})
      for (const double x : *more) said.push_back(std::isnan(x) ? -1.0 : x);  // a column that does not exist
  });
}

// A refit to the nearest that moves theta, and one that leaves it: of an exact model the factor, too.
void check_near(const hpo::GpConfig& c) {
  const History h(N);
  const auto probe = h.points(100, 20);
  GaussianProcess all(h.arrays, c);
  h.tell(all, 0, N);
  all.refit();
  const std::vector<double> fitted = all.theta();
  for (const bool stays : {false, true}) {
    const auto make = [&] {
      auto gp = std::make_unique<GaussianProcess>(h.arrays, c);
      if (stays) gp->set_theta({fitted.data(), 7}, N / 2);
      h.tell(*gp, 0, N);
      return gp;
    };
    const auto verb = [](GaussianProcess& gp) {
      gp.begin_refit(N, N - MORE);
      gp.finish_refit();
    };
    const std::vector<double> theta = make()->theta();
    const auto before = predict(*make(), probe);
    auto undisturbed = make();
    verb(*undisturbed);
    CHECK((undisturbed->theta() == theta) == stays);
    const auto after = predict(*undisturbed, probe);
    const auto done = [&](GaussianProcess& gp) {
      CHECK(gp.theta() == undisturbed->theta());
      CHECK(after == predict(gp, probe));
    };
    const auto same = [&](GaussianProcess& gp) {
      CHECK(gp.theta() == theta);
      CHECK(before == predict(gp, probe));
      verb(gp);
      done(gp);
    };
    at_many_calls(make, verb, same, done);
  }
}

// A refit in pieces: the piece that ran out of memory ends the refit, and another one can be begun.
void check_pieces(const hpo::GpConfig& c) {
  const History h(N);
  const auto probe = h.points(100, 20);
  const auto make = [&] {
    auto gp = std::make_unique<GaussianProcess>(h.arrays, c);
    h.tell(*gp, 0, N);
    gp->begin_refit(N);
    return gp;
  };
  const double share = make()->refit_work(N) / 5.0;
  const auto before = predict(*make(), probe);
  auto undisturbed = make();
  undisturbed->finish_refit();
  const auto after = predict(*undisturbed, probe);
  at_many_calls(
      make,
      [&](GaussianProcess& gp) {
        for (int piece = 0; piece < 40; ++piece) gp.advance_refit(share);
      },
      [&](GaussianProcess& gp) {
        CHECK_THROWS(gp.finish_refit(), std::invalid_argument);
        CHECK(before == predict(gp, probe));
        gp.refit();
        CHECK(after == predict(gp, probe));
      },
      [&](GaussianProcess& gp) {
        CHECK(before == predict(gp, probe));
        gp.finish_refit();
        CHECK(after == predict(gp, probe));
      });
}

// A verb that ends beside a refit under way, some of whose rows have known variances, leaves that one as well.
void check_beside_a_refit(const hpo::GpConfig& c) {
  const History h(N + MORE);
  const auto probe = h.points(100, 20);
  std::vector<double> known(N + MORE, std::nan(""));
  known[3] = known[N - 1] = 0.02;
  const auto make = [&] {
    auto gp = std::make_unique<GaussianProcess>(h.arrays, c);
    gp->append(h.points(0, N), {h.Y.data(), N}, {known.data(), N});
    gp->begin_refit(N - 4);
    gp->advance_refit(1.0);
    return gp;
  };
  const auto before = predict(*make(), probe);
  auto undisturbed = make();
  undisturbed->finish_refit();
  const auto after = predict(*undisturbed, probe);
  const auto check = [&](bool leaves_it, auto&& verb) {
    auto other = make();
    verb(*other);
    const auto changed = predict(*other, probe);
    if (leaves_it) other->finish_refit();
    const auto finished = predict(*other, probe);
    at_many_calls(
        make, verb,
        [&](GaussianProcess& gp) {
          CHECK(gp.n() == N);
          CHECK(before == predict(gp, probe));
          gp.finish_refit();
          CHECK(after == predict(gp, probe));
        },
        [&](GaussianProcess& gp) {
          CHECK(changed == predict(gp, probe));
          if (leaves_it)
            gp.finish_refit();
          else
            CHECK_THROWS(gp.finish_refit(), std::invalid_argument);
          CHECK(finished == predict(gp, probe));
        });
  };
  check(true, [&](GaussianProcess& gp) {
    std::vector<double> Y(h.Y.begin(), h.Y.begin() + MORE);
    Y[5] = 1e3;  // another scale
    gp.append(h.points(N, MORE), {Y.data(), MORE}, {known.data(), MORE});
  });
  check(true, [&](GaussianProcess& gp) { gp.truncate(N - 2); });
  check(false, [&](GaussianProcess& gp) { gp.truncate(N - MORE); });  // fewer than the refit is of
}

}  // namespace

TEST(memory_known_points_are_added_whole_or_not_at_all) {
  const MixedPoints points(70);
  const hpo::Layout layout(points.arrays);
  for (const std::int64_t n : {0, 1, 2, 4, 7, 8, 15, 16, 31, 32, 63, 64}) {
    const double* u = points.points(n, 1).data;
    const auto check_known = [&](const hpo::KnownPoints& known) {
      CHECK(known.n() == n + 1);
      for (std::int64_t i = 0; i <= n; ++i) CHECK(known.contains(points.points(i, 1).data));
    };
    at_many_calls(
        [&] {
          auto known = std::make_unique<hpo::KnownPoints>(layout);
          for (std::int64_t i = 0; i < n; ++i) known->insert(points.points(i, 1).data);
          return known;
        },
        [&](hpo::KnownPoints& known) {
          std::vector<double> another(u, u + points.d);  // memory that can end even where the set does not grow
          known.insert(another.data());
        },
        [&](hpo::KnownPoints& known) {
          CHECK(known.n() == n && !known.contains(u));
          known.insert(u);
          check_known(known);
          known.truncate(0);
          CHECK(!known.contains(u));
        },
        check_known);
  }
}

TEST(memory_exact_verbs) {
  check_verbs(config(2));
}

TEST(memory_local_verbs) {
  check_verbs(local(1));
}

// The model near points with neighbours of their own.
TEST(memory_local_neighbours_of_ones_own) {
  constexpr std::int64_t n = 5200;
  const History h(n + 1);
  const auto probe = h.points(n, 1);
  CHECK(has_own_neighbours(h, n, probe, 64));
  const std::vector<double> theta(7, -1.0);
  const auto make = [&] {
    auto gp = std::make_unique<GaussianProcess>(h.arrays, local(1));
    gp->set_theta({theta.data(), 7}, 64);
    h.tell(*gp, 0, n);
    gp->incumbent();  // needs the model far from all, which leaves the near one to the verb
    return gp;
  };
  const auto expected = predict(*make(), probe);
  const auto same = [&](GaussianProcess& gp) { CHECK(expected == predict(gp, probe)); };
  at_many_calls(make, [&](GaussianProcess& gp) { predict(gp, probe); }, same, same, 1);
}

TEST(memory_where_the_model_becomes_another_one) {
  check_verbs(exact_below(N + MORE / 2));
  check_verbs(exact_below(N - MORE / 2));
}

TEST(memory_refit_to_the_nearest) {
  check_near(config(1));
  check_near(local(2));
  check_near(exact_below(N - MORE / 2));
}

TEST(memory_refit_in_pieces) {
  check_pieces(config(1));
  check_pieces(local(2));
}

TEST(memory_beside_a_refit) {
  check_beside_a_refit(config(1));
  check_beside_a_refit(local(1));
}
