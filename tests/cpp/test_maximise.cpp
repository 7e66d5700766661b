// hpo/maximise.hpp and the rooms it is made of, on functions whose best point is known or found by brute force.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "check.hpp"
#include "hpo/maximise.hpp"
#include "layouts.hpp"

namespace {

using hpo::KnownPoints;
using hpo::Layout;
using hpo::Search;
using hpo::SearchInput;
using hpo::SearchOptions;
using hpo::SearchResult;
using Point = std::vector<double>;

const double kNan = std::nan("");
const double kInf = std::numeric_limits<double>::infinity();

// value(u, d_value or nullptr), one point at a time; counts what the search asks for.
struct Fake : hpo::Scorer {
  using Function = std::function<double(const double*, double*)>;
  Layout layout;
  Function f;
  std::int64_t values = 0, gradients = 0, batches = 0, largest = 0;

  Fake(Layout layout_, Function f_) : layout(std::move(layout_)), f(std::move(f_)) {}

  void score(hpo::Mat<const double> U, double* value, double* d_value) override {
    CHECK(U.rows > 0 && U.cols == layout.d);
    for (std::int64_t i = 0; i < U.rows; ++i) {
      const double* u = U.row(i);
      for (std::int64_t j = 0; j < layout.b; ++j)
        CHECK(layout.exists(j, u) ? u[j] >= 0.0 && u[j] <= 1.0 : std::isnan(u[j]));
      double* g = d_value == nullptr ? nullptr : d_value + i * U.cols;
      if (g != nullptr) std::fill(g, g + U.cols, 0.0);
      value[i] = f(u, g);
    }
    (d_value == nullptr ? values : gradients) += U.rows;
    if (d_value != nullptr) ++batches, largest = std::max(largest, U.rows);
  }
};

// The same, seen from afar at first: more than the value wherever none of the points looked at closer is near.
struct Glance : Fake {
  std::vector<Point> looked;
  int looks = 0;
  double slope = 0.0;  // of what is seen from afar: its best is elsewhere

  using Fake::Fake;

  bool vague() const override { return true; }
  void look_closer(hpo::Mat<const double> points) override {
    CHECK(points.rows > 0 && points.rows <= 16);
    ++looks;
    looked.clear();
    for (std::int64_t i = 0; i < points.rows; ++i) looked.emplace_back(points.row(i), points.row(i) + points.cols);
  }
  void score(hpo::Mat<const double> U, double* value, double* d_value) override {
    Fake::score(U, value, d_value);
    for (std::int64_t i = 0; i < U.rows; ++i)
      if (std::none_of(looked.begin(), looked.end(), [&](const Point& p) { return near(p, U.row(i)); })) {
        value[i] += 0.5 + slope * U(i, 0);
        if (d_value != nullptr) d_value[i * U.cols] += slope;
      }
  }

 private:
  bool near(const Point& p, const double* u) const {
    double r2 = 0.0;
    for (std::size_t j = 0; j < p.size(); ++j) {
      if (p[j] == u[j] || (std::isnan(p[j]) && std::isnan(u[j]))) continue;
      const bool choice = layout.kind[static_cast<std::int64_t>(j)] == hpo::CATEGORICAL;
      r2 += choice || std::isnan(p[j]) || std::isnan(u[j]) ? 1.0 : (p[j] - u[j]) * (p[j] - u[j]);
    }
    return r2 < 0.3 * 0.3;
  }
};

// With a rough idea that gives more than the value, the more the further from what it was made around, and the same
// there, with the same slope.
struct Doubled : Fake {
  struct Rough : Fake {
    std::vector<Point> around;
    using Fake::Fake;
    void score(hpo::Mat<const double> U, double* value, double* d_value) override {
      Fake::score(U, value, d_value);
      for (std::int64_t i = 0; i < U.rows; ++i) value[i] += excess(U.row(i), d_value ? d_value + i * U.cols : nullptr);
    }
    bool bound(hpo::Mat<const double> U, double* value) override {
      score(U, value, nullptr);
      return true;
    }

   private:
    double excess(const double* u, double* g) const {
      double least = kInf;
      const Point* nearest = nullptr;
      for (const Point& p : around) {
        double r2 = 0.0;
        for (std::size_t j = 0; j < p.size(); ++j)
          if (p[j] == p[j] && u[j] == u[j]) r2 += (p[j] - u[j]) * (p[j] - u[j]);
        if (r2 < least) least = r2, nearest = &p;
      }
      for (std::size_t j = 0; g != nullptr && j < nearest->size(); ++j) {
        const bool moves = layout.kind[static_cast<std::int64_t>(j)] != hpo::CATEGORICAL;
        if (moves && u[j] == u[j] && (*nearest)[j] == (*nearest)[j]) g[j] += u[j] - (*nearest)[j];
      }
      return 0.5 * least;
    }
  };

  Rough idea;
  int looks = 0;

  Doubled(Layout layout_, Function f_) : Fake(layout_, f_), idea(layout_, f_) {}

  hpo::Scorer* rough(hpo::Mat<const double> points, double* value) override {
    ++looks;
    std::vector<double> slope(static_cast<std::size_t>(points.rows * points.cols));
    Fake::score(points, value, slope.data());
    idea.around.clear();
    for (std::int64_t i = 0; i < points.rows; ++i) idea.around.emplace_back(points.row(i), points.row(i) + points.cols);
    return &idea;
  }
  bool bound(hpo::Mat<const double> U, double* value) override {
    const std::int64_t before = values;
    Fake::score(U, value, nullptr);
    values = before;
    for (std::int64_t i = 0; i < U.rows; ++i) value[i] += 0.3;
    return true;
  }
};

// The same, with a closer look at the end, at which nothing changes.
struct DoubledGlance : Doubled {
  Point looked;
  std::vector<double> candidates;
  bool values_at_once = false;  // as of the local model, which has no bounds

  using Doubled::Doubled;
  bool vague() const override { return true; }
  void look_closer(hpo::Mat<const double> points) override {
    CHECK(looked.empty() && points.rows == 1);
    looked.assign(points.row(0), points.row(0) + points.cols);
  }
  bool bound(hpo::Mat<const double> U, double* value) override {
    candidates.insert(candidates.end(), U.data, U.data + U.rows * U.cols);
    return values_at_once ? hpo::Scorer::bound(U, value) : Doubled::bound(U, value);
  }
};

// With bounds a little above the values.
struct Close : Fake {
  using Fake::Fake;
  bool bound(hpo::Mat<const double> U, double* value) override {
    for (std::int64_t i = 0; i < U.rows; ++i) value[i] = f(U.row(i), nullptr) + 0.01;
    return true;
  }
};

struct Run {
  std::vector<double> lengthscale, best, carried;
  std::vector<const KnownPoints*> avoid;
  SearchOptions options;

  SearchResult operator()(Fake& fake, std::uint64_t seed) const {
    const std::int64_t d = fake.layout.d;
    std::vector<double> scale =
        lengthscale.empty() ? std::vector<double>(static_cast<std::size_t>(d), 0.4) : lengthscale;
    SearchInput input;
    input.best = {best.data(), static_cast<std::int64_t>(best.size()) / d, d};
    input.carried = {carried.data(), static_cast<std::int64_t>(carried.size()) / d, d};
    input.lengthscale = {scale.data(), d};
    input.avoid = avoid;
    input.key = {seed, 11};
    const std::int64_t values = fake.values, gradients = fake.gradients, batches = fake.batches;
    const SearchResult r = Search(fake.layout, fake, input, options).run();

    // What holds of every search: the point is canonical and scored, nothing was counted wrong, budgets were kept.
    CHECK(same(snapped(fake.layout, r.u), r.u));
    const double again = hpo::or_worst(fake.f(r.u.data(), nullptr));
    CHECK(again == r.value || std::fabs(again - r.value) <= 1e-12 * std::max(1.0, std::fabs(again)));
    CHECK(r.values == fake.values - values && r.gradients == fake.gradients - gradients);
    const SearchOptions& o = options;
    const std::int64_t rounds =
        o.alternations * o.discrete.rounds * (o.discrete.neighbours + o.discrete.combine * (o.polish + 1));
    CHECK(r.values <=
          std::max(o.enumerate_space, o.quasi_random + o.local + o.carry + 1 + o.starts + o.polish + rounds) + 64);
    CHECK(fake.batches - batches <= (1 + o.alternations) * o.ascent.batches && fake.largest <= o.ascent.lanes);
    CHECK(r.n_optima >= 1 && r.n_optima <= o.carry);
    CHECK(static_cast<std::int64_t>(r.optima.size()) == r.n_optima * d);
    for (std::int64_t i = 0; i < r.n_optima; ++i) {
      const Point u(r.optima.begin() + i * d, r.optima.begin() + (i + 1) * d);
      CHECK(same(snapped(fake.layout, u), u));
    }
    return r;
  }

  static Point snapped(const Layout& layout, Point u) {
    layout.snap(u.data());
    return u;
  }
  static bool same(const Point& p, const Point& q) {
    for (std::size_t j = 0; j < p.size(); ++j)
      if (!(p[j] == q[j] || (std::isnan(p[j]) && std::isnan(q[j])))) return false;
    return p.size() == q.size();
  }
};

Layout cube(int d) {
  LayoutBuilder s;
  for (int j = 0; j < d; ++j) s.continuous();
  return s.build();
}

double noise(std::uint64_t i, std::uint64_t j) {
  return hpo::uniform(2024, i, j);
}

// ln of a sum of Gaussian bumps of one width and different heights: many local optima, flat valleys between them, as
// the logarithm of an expected improvement has.
struct Bumps {
  std::int64_t d;
  double width;
  std::vector<Point> centre;
  std::vector<double> height;

  Bumps(std::int64_t d_, int count, double width_) : d(d_), width(width_) {
    for (int k = 0; k < count; ++k) {
      Point c(static_cast<std::size_t>(d));
      for (std::size_t j = 0; j < c.size(); ++j) c[j] = 0.05 + 0.9 * noise(static_cast<std::uint64_t>(100 * d + k), j);
      centre.push_back(c);
      height.push_back(0.3 + 0.7 * noise(static_cast<std::uint64_t>(100 * d + k), 999));
    }
    height[0] = 1.5;
  }

  double operator()(const double* u, double* g) const {
    std::vector<double> log_weight(centre.size());
    for (std::size_t k = 0; k < centre.size(); ++k) {
      double r2 = 0.0;
      for (std::size_t j = 0; j < centre[k].size(); ++j) r2 += (u[j] - centre[k][j]) * (u[j] - centre[k][j]);
      log_weight[k] = std::log(height[k]) - 0.5 * r2 / (width * width);
    }
    const double top = *std::max_element(log_weight.begin(), log_weight.end());
    double sum = 0.0;
    for (const double w : log_weight) sum += std::exp(w - top);
    if (g != nullptr)
      for (std::size_t k = 0; k < centre.size(); ++k)
        for (std::size_t j = 0; j < centre[k].size(); ++j)
          g[j] += std::exp(log_weight[k] - top) / sum * (centre[k][j] - u[j]) / (width * width);
    return top + std::log(sum);
  }

  // The best that plain gradient ascent with small steps reaches from the top of each bump.
  double best() const {
    double best = -kInf;
    for (Point u : centre) {
      Point g(u.size());
      for (int i = 0; i < 400; ++i) {
        std::fill(g.begin(), g.end(), 0.0);
        best = std::max(best, (*this)(u.data(), g.data()));
        for (std::size_t j = 0; j < u.size(); ++j)
          u[j] = std::min(std::max(u[j] + 0.3 * width * width * g[j], 0.0), 1.0);
      }
    }
    return best;
  }
};

}  // namespace

TEST(maximise_continuous_reaches_the_best_of_many_optima) {
  for (const int d : {1, 2, 3, 5, 10, 20}) {
    const Bumps bumps(d, 20, 0.12 * std::sqrt(static_cast<double>(d)));
    Fake fake(cube(d), bumps);
    const double best = bumps.best();
    int reached = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) reached += Run()(fake, seed).value >= best + std::log(0.95);
    CHECK(reached >= 18);
  }
}

TEST(maximise_finds_the_peak_beside_the_best_point) {
  // A basin too small for quasi-random candidates, a few hundredths of a length scale from what was told.
  for (const int d : {2, 10, 20}) {
    Point centre(static_cast<std::size_t>(d), 0.3), told = centre;
    for (std::size_t j = 0; j < told.size(); ++j) told[j] += 0.02 * (noise(j, 5) - 0.5);
    Fake fake(cube(d), [&](const double* u, double* g) {
      double r2 = 0.0;
      for (std::size_t j = 0; j < centre.size(); ++j) r2 += (u[j] - centre[j]) * (u[j] - centre[j]);
      const double inside = std::exp(-0.5 * r2 / (0.03 * 0.03));
      for (std::size_t j = 0; g != nullptr && j < centre.size(); ++j)
        g[j] = (centre[j] - u[j]) / (0.03 * 0.03) * inside;
      return inside;
    });
    Run run;
    for (int i = 0; i < 3; ++i) run.best.insert(run.best.end(), told.begin(), told.end());
    for (std::uint64_t seed = 0; seed < 5; ++seed) CHECK(run(fake, seed).value > 0.999);
  }
}

TEST(maximise_takes_up_carried_optima) {
  const Bumps bumps(20, 1, 0.05);
  Fake fake(cube(20), [&](const double* u, double* g) {
    // Invisible outside a ball of 0.4: only the carried point lies in it.
    double r2 = 0.0;
    for (std::size_t j = 0; j < 20; ++j) r2 += (u[j] - bumps.centre[0][j]) * (u[j] - bumps.centre[0][j]);
    return r2 > 0.16 ? -kInf : bumps(u, g);
  });
  Run run;
  run.carried = bumps.centre[0];
  for (double& u : run.carried) u += 0.05;
  const SearchResult r = run(fake, 3);
  CHECK(r.value > std::log(1.5) - 1e-3);
  CHECK(Run::same(Point(r.optima.begin(), r.optima.begin() + 20), r.u));
}

TEST(maximise_reaches_corners_and_bounds) {
  Fake fake(cube(6), [](const double* u, double* g) {
    double sum = 0.0;
    for (int j = 0; j < 6; ++j) {
      sum += (j % 2 == 0 ? 1.0 : -1.0) * u[j];
      if (g != nullptr) g[j] = j % 2 == 0 ? 1.0 : -1.0;
    }
    return sum;
  });
  CHECK(Run::same(Run()(fake, 1).u, {1.0, 0.0, 1.0, 0.0, 1.0, 0.0}));
}

TEST(maximise_mixed_agrees_with_brute_force) {
  // Two categorical and one short ordered block with a random value for each combination, and the peak of the
  // continuous ones elsewhere in each: what is best can only be found by trying both together.
  LayoutBuilder s;
  s.categorical(5), s.continuous(), s.categorical(4), s.ordered(6), s.continuous();
  const Layout layout = s.build();
  const auto combination = [&](const double* u) {
    return static_cast<std::uint64_t>(layout.index_of(0, u[0]) + 5 * layout.index_of(2, u[2]) +
                                      20 * layout.index_of(3, u[3]));
  };
  double best = -kInf;
  for (std::uint64_t c = 0; c < 120; ++c) best = std::max(best, 3.0 * noise(c, 1));
  Fake fake(layout, [&](const double* u, double* g) {
    const std::uint64_t c = combination(u);
    const double x = u[1] - noise(c, 2), y = u[4] - noise(c, 3);
    if (g != nullptr) g[1] = -40.0 * x, g[4] = -40.0 * y;
    return 3.0 * noise(c, 1) - 20.0 * (x * x + y * y);
  });
  int reached = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) reached += Run()(fake, seed).value >= best + std::log(0.95);
  CHECK(reached >= 16);  // an unordered table of 120 entries, at some 15 evaluations each
}

TEST(maximise_long_integers_and_many_choices) {
  LayoutBuilder s;
  s.ordered(1000000), s.log_int(1, 100000), s.categorical(10000), s.ordered(40), s.continuous();
  const Layout layout = s.build();
  Fake fake(layout, [&](const double* u, double* g) {
    const double x = u[0] - 0.31234567, y = u[1] - 0.62, z = u[3] - u[4];
    if (g != nullptr) g[0] = -60.0 * x, g[1] = -60.0 * y, g[3] = -2000.0 * z, g[4] = 2000.0 * z - 8.0 * (u[4] - 0.7);
    return -30.0 * (x * x + y * y) - 1000.0 * z * z - 4.0 * (u[4] - 0.7) * (u[4] - 0.7) +
           (layout.index_of(2, u[2]) == 7777 ? 1.0 : 0.0);
  });
  Run run;
  run.best = {0.5, 0.5, layout.code_of(2, 7777), 0.5, 0.5};
  layout.snap(run.best.data());
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const SearchResult r = run(fake, seed);
    CHECK(layout.index_of(2, r.u[2]) == 7777);  // the choice that the best point has
    CHECK(r.value > 1.0 - 0.01);
  }
}

TEST(maximise_conditional_switches_branches) {
  // Each of three branches has a continuous and an ordered child of its own; the best branch looks worst at the middle
  // of its children, and the told point lies in another.
  LayoutBuilder s;
  s.categorical(3);
  for (std::int64_t k = 0; k < 3; ++k) {
    s.when_index(s.continuous(), 0, k, k);
    s.when_index(s.ordered(30), 0, k, k);
  }
  const Layout layout = s.build();
  const std::vector<double> top{1.0, 2.0, 3.0}, steep{2.0, 8.0, 60.0};
  Fake fake(layout, [&](const double* u, double* g) {
    const std::size_t k = static_cast<std::size_t>(layout.index_of(0, u[0]));
    const double x = u[1 + 2 * k] - 0.9, y = u[2 + 2 * k] - layout.code_of(2, 3);
    if (g != nullptr) g[1 + 2 * k] = -2.0 * steep[k] * x, g[2 + 2 * k] = -2.0 * steep[k] * y;
    return top[k] - steep[k] * (x * x + y * y);
  });
  Run run;
  run.best = {0.5 / 3.0, 0.9, layout.code_of(2, 3), kNan, kNan, kNan, kNan};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const SearchResult r = run(fake, seed);
    CHECK(r.value > 3.0 - 1e-3);
    CHECK(layout.index_of(0, r.u[0]) == 2 && layout.index_of(6, r.u[6]) == 3);
  }
}

TEST(maximise_continuous_parent_decides_about_children) {
  // The child brings the gain, and exists only in a thin stretch of its parent, where the parent itself is worse.
  LayoutBuilder s;
  s.continuous(), s.continuous(), s.continuous();
  s.when(1, 0, {{0.6, 0.602}});
  const Layout layout = s.build();
  Fake fake(layout, [](const double* u, double* g) {
    const bool child = !std::isnan(u[1]);
    const double x = u[0] - 0.2, y = child ? u[1] - 0.8 : 0.0, z = u[2] - 0.4;
    if (g != nullptr) g[0] = -2.0 * x, g[1] = child ? -10.0 * y : 0.0, g[2] = -10.0 * z;
    return (child ? 1.0 : 0.0) - x * x - 5.0 * (y * y + z * z);
  });
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const SearchResult r = Run()(fake, seed);
    CHECK_NEAR(r.value, 1.0 - 0.16, 1e-3);
    CHECK_NEAR(r.u[0], 0.6, 1e-4);  // as near to its own optimum as the child allows
  }
}

TEST(maximise_small_discrete_space_is_exact) {
  LayoutBuilder s;
  s.categorical(4), s.ordered(20), s.ordered(3), s.categorical(5);
  s.when_index(2, 0, 1, 2);
  s.when_index(3, 1, 10, 19);
  const Layout layout = s.build();
  Fake fake(layout, [](const double* u, double*) {
    double sum = 0.0;
    for (std::uint64_t j = 0; j < 4; ++j)
      sum += noise(std::isnan(u[j]) ? 0 : static_cast<std::uint64_t>(u[j] * 1000.0), j);
    return sum;
  });
  double best = -kInf;
  std::int64_t points = 0;
  Point u(4);
  layout.first_point(u.data());
  do best = std::max(best, fake.f(u.data(), nullptr)), ++points;
  while (layout.next_point(u.data()));
  const SearchResult r = Run()(fake, 1);
  CHECK(r.value == best && r.values == points && r.gradients == 0);
  // Where bounds tell, most points need no value.
  Close close(layout, fake.f);
  const SearchResult again = Run()(close, 1);
  CHECK(Run::same(again.u, r.u) && again.values <= 2 * 16 && 2 * again.values < points && again.gradients == 0);
}

TEST(maximise_looks_closer_before_it_chooses) {
  for (const int d : {1, 2, 5}) {
    const Bumps bumps(d, 20, 0.12 * std::sqrt(static_cast<double>(d)));
    const double best = bumps.best();
    int reached = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Glance glance(cube(d), bumps);
      Run run;
      run.options.starts = 16;
      run.best.assign(static_cast<std::size_t>(2 * d), 0.4);
      const SearchResult r = run(glance, seed);
      reached += r.value >= best + std::log(0.95);
      CHECK(glance.looks == 1);

      // What was looked at closer is carried first, though all others are said to be worth more.
      Glance slanted(cube(d), bumps);
      slanted.slope = 0.5;
      const SearchResult s = run(slanted, seed);
      CHECK(s.optima.size() >= static_cast<std::size_t>(d) && Point(s.optima.begin(), s.optima.begin() + d) == s.u);
    }
    CHECK(reached >= 18);
  }
  // With choices, where what the change of one promises is only an idea; and all points of few.
  LayoutBuilder s, few;
  s.categorical(4), s.continuous(), s.ordered(6), s.continuous();
  s.when_index(3, 0, 1, 2);
  few.categorical(3), few.ordered(7);
  for (const Layout& layout : {s.build(), few.build()}) {
    const auto f = [&](const double* u, double* g) {
      const double k = static_cast<double>(layout.index_of(0, u[0]));
      if (layout.d == 2) return k - 4.0 * (u[1] - 0.3) * (u[1] - 0.3);
      const double x = u[1] - 0.2 * k, z = std::isnan(u[3]) ? 0.3 : u[3] - 0.6;
      if (g != nullptr) g[1] = -2.0 * x, g[3] = std::isnan(u[3]) ? 0.0 : -2.0 * z;
      return k - x * x - z * z - 2.0 * (u[2] - 0.4) * (u[2] - 0.4);
    };
    double best = -kInf;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      Glance glance(layout, f);
      Run run;
      run.options.starts = 16;
      run.best = layout.d == 2 ? Point{0.5, 0.5} : Point{0.1, 0.5, 0.5, kNan};
      layout.snap(run.best.data());
      const SearchResult r = run(glance, seed);
      best = std::max(best, r.value);
      CHECK(layout.index_of(0, r.u[0]) == layout.size[0] - 1);
    }
    CHECK(best > (layout.d == 2 ? 2.0 - 0.03 : 3.0 - 0.12));
  }
}

// With bounds that are too large by far, but for those of points nearby.
struct Loose : Fake {
  int nearby = 0;
  bool helps = true;
  std::vector<Point> first;  // batch of values
  using Fake::Fake;
  void score(hpo::Mat<const double> U, double* value, double* d_value) override {
    for (std::int64_t i = 0; values == 0 && i < U.rows; ++i) first.emplace_back(U.row(i), U.row(i) + U.cols);
    Fake::score(U, value, d_value);
  }
  bool bound(hpo::Mat<const double> U, double* value) override { return above(U, value, 10.0); }
  bool bound_nearby(hpo::Mat<const double> U, double* value) override {
    ++nearby;
    return above(U, value, 1e-3) && helps;
  }

 private:
  bool above(hpo::Mat<const double> U, double* value, double excess) {
    for (std::int64_t i = 0; i < U.rows; ++i) value[i] = f(U.row(i), nullptr) + excess;
    return true;
  }
};

TEST(maximise_picks_the_best_of_many_bounds_with_few_values) {
  for (const std::int64_t count : {10, 16, 17, 128, 200}) {
    Loose loose(cube(2), [](const double* u, double*) { return std::sin(40.0 * u[0]) - u[1]; });
    hpo::Scored scored(loose.layout, loose);
    double best = -kInf;
    for (std::int64_t i = 0; i < count; ++i) {
      const double u[] = {hpo::uniform(5, i, 0), hpo::uniform(5, i, 1)};
      best = std::max(best, loose.f(u, nullptr));
      scored.add(u);
    }
    scored.bound();
    const std::vector<const hpo::KnownPoints*> avoid;
    hpo::Pick pick(loose.layout, scored, avoid, nullptr, -1, 16, hpo::Draws({1, 2}, 3));
    const std::int64_t row = pick.row();
    CHECK(scored.exact(row) && scored.value(row) == best);
    // Of more than eight batches so many get values first that eight are left.
    CHECK(loose.nearby == (count > 16 ? 1 : 0) && loose.values <= 16 + (count > 128 ? 80 : 0));
    if (count <= 16) continue;
    // Half a batch goes to rows that are said to be promising, whatever their bounds are: here the worst.
    Loose order(cube(2), loose.f);
    order.helps = false;
    hpo::Scored again(order.layout, order);
    std::vector<std::int64_t> ranked = scored.ranked();
    std::reverse(ranked.begin(), ranked.end());
    for (const std::int64_t i : ranked) again.add(scored.point(i));
    again.bound();
    hpo::Pick other(order.layout, again, avoid, nullptr, 0, 16, hpo::Draws({1, 2}, 3));
    CHECK(again.value(other.row()) == best && order.first.size() == 16);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto in = std::count(order.first.begin(), order.first.end(), Point(again.point(i), again.point(i) + 2));
      CHECK(in == (i < 8 || i >= count - 8));  // and the other half to the largest bounds
    }
  }
}

TEST(maximise_climbs_by_a_rough_idea) {
  for (const int d : {1, 2, 5}) {
    const Bumps bumps(d, 20, 0.12 * std::sqrt(static_cast<double>(d)));
    const double best = bumps.best();
    int reached = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Doubled doubled(cube(d), bumps);
      Run run;
      run.best.assign(static_cast<std::size_t>(2 * d), 0.4);
      const SearchResult r = run(doubled, seed);
      reached += r.value >= best + std::log(0.95);
      CHECK(doubled.looks == run.options.rough_rounds && doubled.batches == doubled.looks);
      CHECK(doubled.idea.batches <= doubled.looks * run.options.rough_batches);
      CHECK(doubled.idea.largest <= run.options.ascent.lanes);
      CHECK(doubled.values <= run.options.quasi_random);  // most bounds are bound enough
    }
    CHECK(reached >= 18);
  }
  // With choices, and integers that are climbed as if they were continuous: nothing that is returned is in between.
  LayoutBuilder s;
  s.categorical(4), s.continuous(), s.ordered(60), s.continuous();
  s.when_index(3, 0, 1, 2);
  const Layout layout = s.build();
  const auto f = [&](const double* u, double* g) {
    const double k = static_cast<double>(layout.index_of(0, u[0]));
    const double x = u[1] - 0.2 * k, y = u[2] - 0.4, z = std::isnan(u[3]) ? 0.3 : u[3] - 0.6;
    if (g != nullptr) g[1] = -2.0 * x, g[2] = -4.0 * y, g[3] = std::isnan(u[3]) ? 0.0 : -2.0 * z;
    return k - x * x - z * z - 2.0 * y * y;
  };
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Doubled doubled(layout, f);
    Run run;
    run.best = {0.1, 0.5, 0.5, kNan};
    layout.snap(run.best.data());
    const SearchResult r = run(doubled, seed);
    CHECK(layout.index_of(0, r.u[0]) == 3 && r.value > 3.0 - 0.1);
    CHECK(doubled.looks >= run.options.rough_rounds && doubled.looks <= run.options.rough_rounds + 2);
  }
  // Of choices alone, where there is nothing to climb.
  LayoutBuilder choices;
  for (int j = 0; j < 8; ++j) choices.categorical(5);
  Doubled doubled(choices.build(), [](const double* u, double*) {
    double sum = 0.0;
    for (int j = 0; j < 8; ++j) sum -= (u[j] - 0.3) * (u[j] - 0.3);
    return sum;
  });
  Run run;
  run.best.assign(8, 0.1);
  doubled.layout.snap(run.best.data());
  CHECK(run(doubled, 1).value > -0.1 && doubled.looks == 0);
}

// It is the best of all that is looked at closer, whatever the rough ideas promised of others.
TEST(maximise_looks_closer_at_the_best_end_of_rough_climbs) {
  for (const int d : {1, 2, 5}) {
    const Bumps bumps(d, 20, 0.12 * std::sqrt(static_cast<double>(d)));
    int reached = 0;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      DoubledGlance glance(cube(d), bumps);
      glance.values_at_once = seed % 2 == 1;
      KnownPoints known(glance.layout);
      Run run;
      run.best.assign(static_cast<std::size_t>(2 * d), 0.4);
      run.options.last_batches = 0;
      run.avoid = {&known};
      for (int again = 0; again < 2; ++again) {
        glance.looked.clear(), glance.candidates.clear();
        const SearchResult r = run(glance, seed);
        double most = -kInf;  // of the candidates, among them the ends, that may be returned
        for (std::size_t i = 0; i < glance.candidates.size(); i += static_cast<std::size_t>(d))
          if (!known.contains(&glance.candidates[i])) most = std::max(most, bumps(&glance.candidates[i], nullptr));
        CHECK(r.u == glance.looked && r.value >= most && !known.contains(r.u.data()));
        CHECK(Point(r.optima.begin(), r.optima.begin() + d) == r.u);
        if (again == 0) reached += r.value >= bumps.best() + std::log(0.95);
        known.insert(r.u.data());
      }
    }
    CHECK(reached >= 36);
  }
}

// A bound that equals the best value is no value.
TEST(maximise_returns_a_value_and_not_a_bound) {
  struct Flat : Fake {
    using Fake::Fake;
    bool bound(hpo::Mat<const double> U, double* value) override {
      std::fill(value, value + U.rows, 0.0);
      return true;
    }
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Flat flat(cube(2), [](const double* u, double*) { return u[0] > 0.5 ? 0.0 : -1.0; });
    Run run;
    run.best = {0.2, 0.2};
    CHECK(run(flat, seed).value == 0.0);  // and Run looks whether it is the value of the point
  }
}

TEST(maximise_large_discrete_space_comes_near_brute_force) {
  // 6^7 points; pairs of blocks interact.
  LayoutBuilder s;
  for (int j = 0; j < 7; ++j) j % 2 == 0 ? s.categorical(6) : s.ordered(6);
  const Layout layout = s.build();
  const auto f = [&](const double* u, double*) {
    double sum = 0.0;
    for (std::uint64_t j = 0; j < 7; ++j) {
      const auto i = static_cast<std::uint64_t>(u[j] * 6.0), k = static_cast<std::uint64_t>(u[(j + 1) % 7] * 6.0);
      sum += 0.5 * noise(i, j) + 0.5 * noise(10 + 6 * i + k, j);
    }
    return sum;
  };
  Fake fake(layout, f);
  double best = -kInf;
  Point u(7);
  layout.first_point(u.data());
  do best = std::max(best, f(u.data(), nullptr));
  while (layout.next_point(u.data()));
  int reached = 0;
  Close close(layout, f);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const SearchResult r = Run()(fake, seed), again = Run()(close, seed);
    reached += r.value >= best + std::log(0.95);
    // A change whose bound is below what it would improve on needs no value, and nothing else differs.
    CHECK(Run::same(r.u, again.u) && r.value == again.value && 2 * again.values < r.values);
  }
  CHECK(reached >= 16);
}

TEST(maximise_survives_plateaus_and_missing_values) {
  const std::vector<Fake::Function> hard{
      [](const double*, double*) { return 0.5; }, [](const double*, double*) { return -kInf; },
      [](const double*, double*) { return kNan; }, [](const double*, double*) { return kInf; },
      [](const double* u, double* g) {  // NaN derivatives
        if (g != nullptr) g[0] = kNan;
        return -u[0];
      }};
  LayoutBuilder s;
  s.continuous(), s.continuous(), s.categorical(3), s.ordered(50);
  const Layout layout = s.build();
  for (const Fake::Function& f : hard) {
    Fake fake(layout, f);
    Run()(fake, 1);
    Run empty;
    empty.options.quasi_random = 0;  // one candidate there is always
    empty.options.local = 0;
    empty(fake, 2);
  }
}

TEST(maximise_leaves_regions_without_value) {
  Fake fake(cube(3), [](const double* u, double* g) {  // only where u0 > 0.8 there is anything
    if (u[0] <= 0.8) return u[1] < 0.5 ? -kInf : kNan;
    const double x = u[0] - 0.85, y = u[1] - 0.3, z = u[2] - 0.6;
    if (g != nullptr) g[0] = -2.0 * x, g[1] = -2.0 * y, g[2] = -2.0 * z;
    return -x * x - y * y - z * z;
  });
  for (std::uint64_t seed = 0; seed < 10; ++seed) CHECK(Run()(fake, seed).value > -1e-3);
}

TEST(maximise_never_returns_a_point_to_avoid) {
  LayoutBuilder s;
  s.categorical(3), s.ordered(5), s.ordered(4);
  s.when_index(2, 0, 0, 0);
  const Layout layout = s.build();  // 5 * 4 + 2 * 5 points
  Fake fake(layout, [](const double* u, double*) { return u[0] + u[1] + (std::isnan(u[2]) ? 0.0 : u[2]); });
  KnownPoints told(layout), pending(layout);
  Run run;
  run.avoid = {&told, &pending};
  double before = kInf;
  for (int i = 0; i < 30; ++i) {
    const SearchResult r = run(fake, static_cast<std::uint64_t>(i));
    CHECK(!told.contains(r.u.data()) && !pending.contains(r.u.data()));
    CHECK(r.value <= before);  // the best that is left, each time
    before = r.value;
    (i % 2 == 0 ? told : pending).insert(r.u.data());
  }
  const SearchResult r = run(fake, 99);  // nothing is left: the best known
  CHECK_NEAR(r.value, 1.0 / 6.0 + 0.9 + 0.875, 1e-12);
}

TEST(maximise_finds_the_last_free_point_of_a_larger_space) {
  LayoutBuilder s;
  s.ordered(50), s.categorical(50), s.ordered(40);  // far more than are drawn at random
  const Layout layout = s.build();
  Fake fake(layout, [](const double* u, double* g) {
    if (g != nullptr) g[0] = -2.0 * (u[0] - 0.3);
    return -(u[0] - 0.3) * (u[0] - 0.3);
  });
  KnownPoints known(layout);
  const Point last{layout.code_of(0, 33), layout.code_of(1, 44), layout.code_of(2, 17)};
  Point u(3);
  layout.first_point(u.data());
  do
    if (!Run::same(u, last)) known.insert(u.data());
  while (layout.next_point(u.data()));
  Run run;
  run.avoid = {&known};
  CHECK(Run::same(run(fake, 5).u, last));
  // Also with a closer look at it: Run sees whether the value is that of the point.
  Glance glance(layout, fake.f);
  CHECK(Run::same(run(glance, 5).u, last) && glance.looks == 1);
  known.insert(last.data());
  CHECK(known.contains(run(fake, 5).u.data()));
  run(glance, 5);
  CHECK(glance.looks == 2);
}

TEST(maximise_returns_the_best_where_all_points_are_known) {
  LayoutBuilder s;
  s.ordered(50), s.categorical(50), s.ordered(40);
  const Layout layout = s.build();
  const auto f = [&](const double* u, double* g) {
    if (g != nullptr) g[0] = -2.0 * (u[0] - 0.3), g[1] = 0.0, g[2] = -0.4 * (u[2] - 0.6);
    return -(u[0] - 0.3) * (u[0] - 0.3) - 0.2 * (u[2] - 0.6) * (u[2] - 0.6) +
           (layout.index_of(1, u[1]) == 44 ? 0.1 : 0.0);
  };
  KnownPoints known(layout);
  Point u(3);
  double best = -kInf;
  layout.first_point(u.data());
  do known.insert(u.data()), best = std::max(best, f(u.data(), nullptr));
  while (layout.next_point(u.data()));
  Run run;
  run.avoid = {&known};
  Doubled doubled(layout, f);  // most candidates have bounds alone, which are above the best value
  CHECK(run(doubled, 5).value == best);
}

TEST(maximise_avoids_known_points_beside_continuous_ones) {
  // The branch without a continuous block is the better one, and known: the search must go to the other.
  LayoutBuilder s;
  s.categorical(2), s.continuous();
  s.when_index(1, 0, 1, 1);
  const Layout layout = s.build();
  Fake fake(layout, [](const double* u, double* g) {
    if (std::isnan(u[1])) return 1.0;
    if (g != nullptr) g[1] = -2.0 * (u[1] - 1.0);
    return -(u[1] - 1.0) * (u[1] - 1.0);
  });
  KnownPoints known(layout);
  Run run;
  CHECK(run(fake, 1).value == 1.0);
  known.insert(Point{0.25, kNan}.data());
  known.insert(Point{0.75, 1.0}.data());
  run.avoid = {&known};
  const SearchResult r = run(fake, 1);
  CHECK(!known.contains(r.u.data()) && r.value > -1e-2);
}

TEST(maximise_is_a_function_of_its_key) {
  LayoutBuilder s;
  s.continuous(), s.continuous(), s.categorical(4), s.ordered(30);
  const Bumps bumps(2, 8, 0.2);
  Fake fake(s.build(),
            [&](const double* u, double* g) { return bumps(u, g) + 0.1 * u[2] - 0.3 * std::fabs(u[3] - 0.4); });
  Run run;
  run.best = {0.4, 0.4, 0.125, 0.5 / 30.0, 0.1, 0.9, 0.625, 0.95};
  hpo::Layout(s.build()).snap(run.best.data() + 4);
  const SearchResult a = run(fake, 7), b = run(fake, 7), c = run(fake, 8);
  CHECK(a.u == b.u && a.value == b.value && a.optima == b.optima && a.values == b.values && a.gradients == b.gradients);
  CHECK(a.optima != c.optima);
}

TEST(candidates_cover_the_space_and_stay_in_it) {
  LayoutBuilder s;
  s.categorical(3), s.ordered(7), s.continuous(), s.log_int(1, 500), s.continuous();
  s.when_index(2, 0, 1, 1);
  s.when_index(3, 1, 3, 6);
  const Layout layout = s.build();
  std::vector<double> U(512 * 5), scale(5, 0.3);
  const hpo::Mat<double> view{U.data(), 512, 5};
  const auto canonical = [&] {
    for (std::int64_t i = 0; i < 512; ++i) {
      const Point u(view.row(i), view.row(i) + 5);
      CHECK(Run::same(Run::snapped(layout, u), u));
    }
  };
  hpo::spread_evenly(layout, {1, 2}, view);
  canonical();
  std::vector<int> count(3, 0);
  for (std::int64_t i = 0; i < 512; ++i) ++count[static_cast<std::size_t>(layout.index_of(0, view(i, 0)))];
  for (const int c : count) CHECK(c > 150 && c < 190);  // 512/3, evenly

  Point centre{0.5, 0.1, 0.9, 0.5, 0.4};
  layout.snap(centre.data());
  CHECK(std::isnan(centre[3]));
  hpo::Draws draws({1, 2}, 3);
  hpo::perturb_best(layout, {centre.data(), 1, 5}, {scale.data(), 5}, {0.2, 0.05}, draws, view);
  canonical();
  int unchanged = 0;
  double near = 0.0, far = 0.0;
  for (std::int64_t i = 0; i < 512; ++i) {
    unchanged += layout.same_point(view.row(i), centre.data());
    if (!std::isnan(view(i, 2))) (i / 2 % 2 == 0 ? far : near) += std::fabs(view(i, 2) - 0.9);
  }
  CHECK(unchanged == 0);  // one block moves always
  CHECK(near > 0.0 && far > 2.0 * near);
}

TEST(starts_are_good_and_far_from_one_another) {
  Fake fake(cube(2), [](const double* u, double*) { return -10.0 * std::fabs(u[0] - 0.5); });
  hpo::Scored scored(fake.layout, fake);
  std::vector<double> U(400 * 2), scale{0.5, 0.5};
  hpo::spread_evenly(fake.layout, {3, 4}, {U.data(), 400, 2});
  for (std::int64_t i = 0; i < 400; ++i) scored.add(U.data() + 2 * i);
  scored.score();
  hpo::Draws draws({3, 4}, 5);
  const std::int64_t worst = scored.ranked().back();
  const auto rows = hpo::choose_starts(fake.layout, scored, {scale.data(), 2}, {worst}, 12, 2.0, 0.2, draws);
  CHECK(rows.size() == 12 && rows[0] == scored.ranked()[0] && rows[1] == worst);
  double mean = 0.0, all = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i != 1) mean += scored.value(rows[i]) / 11.0;
    for (std::size_t k = 0; k < i; ++k)
      CHECK(hpo::scaled_distance2(fake.layout, {scale.data(), 2}, scored.point(rows[i]), scored.point(rows[k])) > 0.04);
  }
  for (std::int64_t i = 0; i < 400; ++i) all += scored.value(i) / 400.0;
  CHECK(mean > 0.8 * all);  // values are negative
  // Where too few are so far apart, nearer ones make up the number.
  CHECK(hpo::choose_starts(fake.layout, scored, {scale.data(), 2}, {}, 30, 1.0, 5.0, draws).size() == 30);
}
