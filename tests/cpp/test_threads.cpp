// Every verb with more threads than one, and two objects at once, for the thread sanitizer. What comes out must not
// depend on who else is at work: a region that finds the pool taken runs alone.
#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "check.hpp"
#include "histories.hpp"
#include "hpo/parzen.hpp"

namespace {

using hpo::GaussianProcess;

// Runs `make` in `count` threads at once, and checks that each gives what it gives alone.
template <class Make>
void same_at_once(int count, Make make) {
  std::vector<std::vector<double>> found(static_cast<std::size_t>(count));
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        found[static_cast<std::size_t>(i)] = make(i);
      } catch (...) {
        errors[static_cast<std::size_t>(i)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  for (int i = 0; i < count; ++i) CHECK(!found[static_cast<std::size_t>(i)].empty());
  for (int i = 0; i < count; ++i) CHECK(found[static_cast<std::size_t>(i)] == make(i));
}

void add(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// What a study does with a model, from the first tell to an ask after a fit; NaN marks columns that do not exist.
std::vector<double> everything(std::int64_t n, int threads, std::uint64_t seed) {
  const History h(n), probe(70);
  GaussianProcess gp(h.arrays, config(threads));
  h.tell(gp, 0, n - 3);
  for (std::int64_t i = n - 3; i < n; ++i) h.tell(gp, i, 1);
  gp.refit();
  std::vector<double> all = gp.theta();
  add(all, predict(gp, probe.points(0, 70)));
  std::vector<double> gradient(all.size());
  all.push_back(gp.log_likelihood({gp.theta().data(), 7}, gradient.data(), true));
  add(all, gradient);
  const auto found = gp.maximise({hpo::UtilityKind::log_ei}, 2, probe.points(0, 2), {seed, 4}, {}, false);
  add(all, found.U);
  add(all, found.values);
  add(all, found.optima);
  std::replace_if(all.begin(), all.end(), [](double x) { return std::isnan(x); }, -1.0);
  return all;
}

}  // namespace

// Long enough for shared passes over V, shared block rows of a likelihood and candidates in groups.
TEST(threads_share_a_long_history) {
  const std::int64_t n = 1100;
  const History h(n), probe(130);
  GaussianProcess gp(h.arrays, config(3));
  h.tell(gp, 0, n - 20);
  gp.begin_refit(n - 40);
  for (std::int64_t i = n - 20; i < n; ++i) {
    h.tell(gp, i, 1);
    gp.advance_refit(2e7);
  }
  GaussianProcess one(h.arrays, config(1));
  h.tell(one, 0, n);
  const auto a = predict(gp, probe.points(0, 130)), b = predict(one, probe.points(0, 130));
  for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], 1e-8 * (1.0 + std::fabs(a[i])));
  gp.truncate(n - 30);
  CHECK(gp.n() == n - 30);
}

// The share of a refit that follows a row that brought a block of more work waits for the next one, which changes
// nothing.
TEST(threads_a_share_waits_where_a_panel_was_filled) {
  const History h(150), probe(20);
  GaussianProcess gp(h.arrays, config(2)), at_once(h.arrays, config(2));
  h.tell(gp, 0, 120);
  h.tell(at_once, 0, 120);
  predict(gp, probe.points(0, 20));
  gp.begin_refit(120);
  for (std::int64_t n = 121; n <= 150; ++n) {
    h.tell(gp, n - 1, 1);
    h.tell(at_once, n - 1, 1);
    const double done = gp.advance_refit(1e3);
    const bool wait = n == 121 || n % 16 == 0;  // the 120 rows before brought blocks too, and each sixteenth does
    CHECK((done == 0.0) == wait && (!wait || gp.advance_refit(1e3) > 0.0));
  }
  GaussianProcess other(h.arrays, config(2));
  h.tell(other, 0, 127);
  predict(other, probe.points(0, 20));
  other.begin_refit(120);
  CHECK(other.advance_refit(1e3) == 0.0 && other.advance_refit(1e3) > 0.0);
  h.tell(other, 127, 1);  // fills the second panel
  other.maximise({hpo::UtilityKind::log_ei}, 1, {}, {1, 4}, {}, false);
  CHECK(other.advance_refit(1e3) > 0.0);  // an ask lies between
  h.tell(other, 128, 16);
  CHECK(other.advance_refit(2e6) > 0.0);  // the block of 16 rows was less work than that
  h.tell(other, 144, 1);
  double sum = 0.0, one = other.advance_refit(1.0);
  CHECK(one > 0.0 && one < other.refit_work(120));  // no credit is left over from what went before
  for (int i = 0; i < 20; ++i) sum += one = other.advance_refit(1e5);
  CHECK(sum >= 20 * 1e5 || one == 0.0);
  at_once.begin_refit(120);
  gp.finish_refit();
  at_once.finish_refit();
  CHECK(gp.theta() == at_once.theta());
  CHECK(predict(gp, probe.points(0, 20)) == predict(at_once, probe.points(0, 20)));
}

// A factor that grows by halves of panels has the bits of one that is built at once, also where the rows of a half that
// is there are taken back and others come.
TEST(threads_a_refit_in_halves_of_panels) {
  const History h(460), probe(20);
  GaussianProcess gp(h.arrays, config(2)), at_once(h.arrays, config(2));
  h.tell(gp, 0, 390);
  gp.begin_refit(290);
  double done = 0.0;
  for (std::int64_t step = 0; step < 10000 && done != 64.0 * 384.0 * 384.0; ++step) done = gp.advance_refit(1e5);
  CHECK(done == 64.0 * 384.0 * 384.0);  // half of the panel that begins at row 320
  gp.truncate(325);
  h.tell(gp, 400, 60);
  gp.finish_refit();
  h.tell(at_once, 0, 325);
  h.tell(at_once, 400, 60);
  at_once.begin_refit(290);
  at_once.finish_refit();
  CHECK(gp.theta() == at_once.theta());
  CHECK(predict(gp, probe.points(0, 20)) == predict(at_once, probe.points(0, 20)));
}

TEST(threads_fit_and_search) {
  const auto found = everything(270, 2, 3);
  CHECK(found == everything(270, 2, 3));
}

TEST(threads_two_models_at_once) {
  same_at_once(2, [](int i) { return everything(120 + 10 * i, 2, static_cast<std::uint64_t>(i)); });
}

TEST(threads_two_densities_at_once) {
  same_at_once(2, [](int i) {
    const History h(200 + i);
    hpo::Parzen parzen(h.arrays, {});
    parzen.append(h.points(0, h.n), {h.Y.data(), h.n});
    std::vector<double> U(static_cast<std::size_t>(24 * h.d)), values(24);
    parzen.propose(h.points(0, 3), {1, 2}, {U.data(), 24, h.d}, values.data());
    return values;
  });
}
