// hpo/lbfgsb.hpp. The comparison with SciPy is made from Python, through the evaluator.
#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "hpo/lbfgsb.hpp"
#include "memory.hpp"

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
using Point = std::vector<double>;
using Function = double (*)(const double* x, double* g, std::int64_t d);

double rosenbrock(const double* x, double* g, std::int64_t d) {
  double f = 0.0;
  for (std::int64_t i = 0; i < d; ++i) g[i] = 0.0;
  for (std::int64_t i = 0; i + 1 < d; ++i) {
    const double a = x[i + 1] - x[i] * x[i], b = 1.0 - x[i];
    f += 100.0 * a * a + b * b;
    g[i] += -400.0 * a * x[i] - 2.0 * b;
    g[i + 1] += 200.0 * a;
  }
  return f;
}

// Curvatures from 1 to 1e6, coupled through the sum.
double quadratic(const double* x, double* g, std::int64_t d) {
  double f = 0.0, sum = 0.0;
  for (std::int64_t i = 0; i < d; ++i) sum += x[i];
  for (std::int64_t i = 0; i < d; ++i) {
    const double c = std::pow(10.0, 6.0 * static_cast<double>(i) / static_cast<double>(d > 1 ? d - 1 : 1));
    const double r = x[i] - (0.3 + 0.05 * static_cast<double>(i));
    f += 0.5 * c * r * r;
    g[i] = c * r + sum;
  }
  return f + 0.5 * sum * sum;
}

// Its minimum in the unit cube is the corner (0, 1, 0, 1, ...).
double corner(const double* x, double* g, std::int64_t d) {
  double f = 0.0;
  for (std::int64_t i = 0; i < d; ++i) {
    const double s = i % 2 == 0 ? 1.0 : -1.0;
    f += s * x[i] + 0.1 * x[i] * x[i] * std::cos(3.0 * x[i]);
    g[i] = s + 0.2 * x[i] * std::cos(3.0 * x[i]) - 0.3 * x[i] * x[i] * std::sin(3.0 * x[i]);
  }
  return f;
}

// Smooth on x > 0, no number elsewhere: minimum at x = 2.
double walled(const double* x, double* g, std::int64_t d) {
  double f = 0.0;
  for (std::int64_t i = 0; i < d; ++i) {
    f += x[i] - 2.0 * std::log(x[i]);
    g[i] = 1.0 - 2.0 / x[i];
  }
  return f;
}

// Runs all starts to their ends, in batches.
void go_on(hpo::LockStep& solver, Function f, std::int64_t d) {
  const std::int64_t s = solver.starts();
  Point X(static_cast<std::size_t>(s * d)), F(static_cast<std::size_t>(s)), G(X.size());
  std::vector<std::int64_t> ids(static_cast<std::size_t>(s));
  const std::int64_t before = memory::calls;
  while (const std::int64_t n = solver.propose({X.data(), s, d}, {ids.data(), s})) {
    for (std::int64_t k = 0; k < n; ++k) F[static_cast<std::size_t>(k)] = f(X.data() + k * d, G.data() + k * d, d);
    solver.tell({F.data(), n}, {G.data(), n, d});
  }
  CHECK(memory::calls == before);
}

// From the rows of X.
void minimise(hpo::LockStep& solver, Function f, const Point& X, std::int64_t d) {
  solver.start({X.data(), static_cast<std::int64_t>(X.size()) / d, d});
  go_on(solver, f, d);
}

Point at(const hpo::LockStep& solver, std::int64_t i, std::size_t d) {
  Point x(d);
  solver.point(i, x.data());
  return x;
}

hpo::LockStep make(std::int64_t s, const Point& lower, const Point& upper, const Point& scale = {},
                   const hpo::LbfgsbOptions& options = {}) {
  const std::int64_t d = static_cast<std::int64_t>(lower.size());
  return {s, d, {lower.data(), d}, {upper.data(), d}, {scale.data(), static_cast<std::int64_t>(scale.size())}, options};
}

}  // namespace

TEST(lbfgsb_batch_equals_single) {
  const Point starts[] = {{-1.2, 1.0, 0.3}, {0.1, -1.9, 2.0}, {2.0, 2.0, 2.0}, {1.0, 1.0, 1.0}};
  const Point lower(3, -2.0), upper(3, 2.0);
  Point all;
  for (const Point& x : starts) all.insert(all.end(), x.begin(), x.end());
  auto batch = make(4, lower, upper);
  minimise(batch, rosenbrock, all, 3);
  for (std::int64_t i = 0; i < 4; ++i) {
    auto single = make(1, lower, upper);
    minimise(single, rosenbrock, starts[i], 3);
    CHECK(at(batch, i, 3) == at(single, 0, 3) && batch.value(i) == single.value(0));
    CHECK(batch.evaluations(i) == single.evaluations(0) && batch.status(i) == single.status(0));
    CHECK_NEAR(batch.value(i), 0.0, 1e-9);
  }
  CHECK(batch.evaluations(3) == 1 && batch.status(3) == hpo::LbfgsbStatus::gradient);  // started at the minimum
  // A solver used again forgets what it did before.
  minimise(batch, rosenbrock, starts[0], 3);
  auto single = make(1, lower, upper);
  minimise(single, rosenbrock, starts[0], 3);
  CHECK(at(batch, 0, 3) == at(single, 0, 3) && batch.starts() == 1);
}

TEST(lbfgsb_stays_in_the_box) {
  const Point lower{-0.1, 0.0, 0.05, 0.7}, upper{0.3, 0.2, 0.05, kInfinity}, scale{0.3, 7.0, 0.013, 1e-3};
  hpo::LockStep solver(1, 4, {lower.data(), 4}, {upper.data(), 4}, {scale.data(), 4});
  Point x{5.0, -5.0, 0.0, 1.0}, g(4);  // outside: clamped
  std::int64_t id = 0;
  solver.start({x.data(), 1, 4});
  while (solver.propose({x.data(), 1, 4}, {&id, 1}) > 0) {
    for (std::size_t j = 0; j < 4; ++j) CHECK(x[j] >= lower[j] && x[j] <= upper[j]);
    const double f = rosenbrock(x.data(), g.data(), 4);
    solver.tell({&f, 1}, {g.data(), 1, 4});
  }
  const Point best = at(solver, 0, 4);
  CHECK(best[2] == 0.05 && best[3] == 0.7);  // exactly at the bounds
}

TEST(lbfgsb_corners) {
  for (std::size_t d : {1, 2, 7, 20}) {
    auto solver = make(3, Point(d, 0.0), Point(d, 1.0));
    Point X(3 * d, 0.5);
    for (std::size_t j = 0; j < d; ++j) X[d + j] = 0.0, X[2 * d + j] = 1.0;  // starts on the bounds
    minimise(solver, corner, X, static_cast<std::int64_t>(d));
    for (std::int64_t i = 0; i < 3; ++i) {
      const Point x = at(solver, i, d);
      for (std::size_t j = 0; j < d; ++j) CHECK(x[j] == (j % 2 == 0 ? 0.0 : 1.0));
    }
  }
}

TEST(lbfgsb_backs_away_from_nan) {
  // The first steps are long on purpose: they land where the logarithm is no number.
  hpo::LbfgsbOptions options;
  options.first_step = 50.0;
  auto solver = make(2, Point(3, -kInfinity), Point(3, kInfinity), {}, options);
  minimise(solver, walled, {40.0, 0.01, 3.0, 1e-3, 1e-3, 1e-3}, 3);
  for (std::int64_t i = 0; i < 2; ++i) {
    CHECK(solver.status(i) == hpo::LbfgsbStatus::gradient || solver.status(i) == hpo::LbfgsbStatus::value);
    for (double x : at(solver, i, 3)) CHECK_NEAR(x, 2.0, 1e-3);
  }
  auto lost = make(1, Point(1, -kInfinity), Point(1, kInfinity));
  minimise(lost, walled, {-1.0}, 1);
  CHECK(lost.status(0) == hpo::LbfgsbStatus::invalid_start && lost.evaluations(0) == 1 && std::isnan(lost.value(0)));
}

TEST(lbfgsb_ends_when_nothing_is_finite_but_the_start) {
  auto solver = make(1, Point(2, 0.0), Point(2, 1.0));
  Point x{0.25, 0.75}, g{1.0, 1.0};
  std::int64_t id = 0;
  solver.start({x.data(), 1, 2});
  for (int i = 0; solver.propose({x.data(), 1, 2}, {&id, 1}) > 0; ++i) {
    const double f = i == 0 ? 1.0 : (i % 2 == 0 ? kNan : -kInfinity);
    solver.tell({&f, 1}, {g.data(), 1, 2});
  }
  CHECK(solver.status(0) == hpo::LbfgsbStatus::line_search && solver.value(0) == 1.0);
  CHECK((at(solver, 0, 2) == Point{0.25, 0.75}) && solver.evaluations(0) <= 25);
}

TEST(lbfgsb_zero_gradient_never_moves) {
  auto solver = make(1, Point(3, 0.0), Point(3, 1.0));
  const Function f = [](const double* x, double* g, std::int64_t) {
    g[0] = 2.0 * (x[0] - 0.4), g[1] = 0.0, g[2] = 4.0 * (x[2] - 0.6) * (x[2] - 0.6) * (x[2] - 0.6);
    return (x[0] - 0.4) * (x[0] - 0.4) + std::pow(x[2] - 0.6, 4);
  };
  minimise(solver, f, {0.9, 0.123, 0.1}, 3);
  CHECK(at(solver, 0, 3)[1] == 0.123);
  CHECK_NEAR(at(solver, 0, 3)[0], 0.4, 1e-4);
}

TEST(lbfgsb_goes_on_with_the_curvature_of_another) {
  constexpr std::int64_t d = 8;
  const Point lower(d, -2.0), upper(d, 2.0), near(d, 0.35);
  const Function stronger = [](const double* x, double* g, std::int64_t n) {
    const double f = 4.0 * quadratic(x, g, n);
    for (std::int64_t i = 0; i < n; ++i) g[i] *= 4.0;
    return f;
  };
  Point both(d, 2.0);
  both.insert(both.end(), d, 1.0);
  auto before = make(2, lower, upper);
  minimise(before, quadratic, both, d);
  CHECK(before.iterations(1) > 10);  // the ring of pairs has gone round
  auto plain = make(1, lower, upper);
  minimise(plain, stronger, near, d);
  for (const double times : {4.0, 1.0}) {
    auto informed = make(1, lower, upper);
    informed.start({near.data(), 1, d});
    informed.remember(0, before, 1, times);
    go_on(informed, stronger, d);
    CHECK_NEAR(informed.value(0), plain.value(0), 1e-7 * (1.0 + std::fabs(plain.value(0))));
    CHECK(2 * informed.evaluations(0) < plain.evaluations(0));
  }
  // Four times the curvature for four times the function: the same step, to the bit.
  Point steps[2];
  for (const bool strong : {true, false}) {
    auto informed = make(1, lower, upper);
    informed.start({near.data(), 1, d});
    informed.remember(0, before, 1, strong ? 4.0 : 1.0);
    Point x(d), g(d);
    std::int64_t id = 0;
    informed.propose({x.data(), 1, d}, {&id, 1});
    const double f = (strong ? stronger : quadratic)(x.data(), g.data(), d);
    informed.tell({&f, 1}, {g.data(), 1, d});
    informed.propose({x.data(), 1, d}, {&id, 1});
    steps[strong] = x;
  }
  CHECK(steps[0] == steps[1] && steps[0] != near);
  // A start of the same search again, with nothing remembered, is the plain one.
  auto other = make(1, lower, upper);
  other.start({near.data(), 1, d});
  other.remember(0, before, 1, 4.0);
  minimise(other, stronger, near, d);
  CHECK(at(other, 0, d) == at(plain, 0, d) && other.evaluations(0) == plain.evaluations(0));
  // One that has seen no curvature gives none.
  auto fresh = make(1, lower, upper);
  fresh.start({near.data(), 1, d});
  other.start({near.data(), 1, d});
  other.remember(0, fresh, 0, 4.0);
  go_on(other, stronger, d);
  CHECK(at(other, 0, d) == at(plain, 0, d));
  auto smaller = make(1, Point(2, -2.0), Point(2, 2.0));
  CHECK_THROWS(other.remember(0, smaller, 0, 1.0), std::invalid_argument);
  CHECK_THROWS(other.remember(0, before, 0, 0.0), std::invalid_argument);
}

TEST(lbfgsb_limits) {
  hpo::LbfgsbOptions few;
  few.max_evaluations = 5;
  auto a = make(1, Point(2, -2.0), Point(2, 2.0), {}, few);
  minimise(a, rosenbrock, {-1.2, 1.0}, 2);
  CHECK(a.status(0) == hpo::LbfgsbStatus::max_evaluations && a.evaluations(0) == 5 && a.value(0) < 24.2);
  Point g(2);
  CHECK(rosenbrock(at(a, 0, 2).data(), g.data(), 2) == a.value(0));  // value and point belong together
  hpo::LbfgsbOptions short_run;
  short_run.max_iterations = 3;
  auto b = make(1, Point(2, -2.0), Point(2, 2.0), {}, short_run);
  minimise(b, rosenbrock, {-1.2, 1.0}, 2);
  CHECK(b.status(0) == hpo::LbfgsbStatus::max_iterations && b.iterations(0) == 3);
  CHECK_THROWS(make(1, {0.0}, {-1.0}), std::invalid_argument);
  CHECK_THROWS(make(1, {0.0}, {1.0}, {0.0}), std::invalid_argument);
}

// Numbers of a case: function (0 Rosenbrock, 1 quadratic, 2 corner, 3 walled), d, first_step, lower, upper, start.
// Prints value, evaluations, status and the point.
EVAL(lbfgsb) {
  const Function functions[] = {rosenbrock, quadratic, corner, walled};
  for (double which, d, first; check::read(which) && check::read(d) && check::read(first);) {
    const std::size_t n = static_cast<std::size_t>(d);
    Point lower(n), upper(n), x(n);
    for (Point* p : {&lower, &upper, &x})
      for (double& v : *p) CHECK(check::read(v));
    hpo::LbfgsbOptions options;
    options.first_step = first;
    options.max_iterations = options.max_evaluations = 15000;  // SciPy's
    auto solver = make(1, lower, upper, {}, options);
    minimise(solver, functions[static_cast<int>(which)], x, static_cast<std::int64_t>(n));
    std::printf("%.17g %d %d", solver.value(0), solver.evaluations(0), static_cast<int>(solver.status(0)));
    for (double v : at(solver, 0, n)) std::printf(" %.17g", v);
    std::printf("\n");
  }
}
