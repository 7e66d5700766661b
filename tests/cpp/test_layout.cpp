// hpo/layout.hpp and hpo/known_points.hpp.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "check.hpp"
#include "hpo/known_points.hpp"
#include "hpo/layout.hpp"
#include "hpo/rng.hpp"
#include "layouts.hpp"

namespace {

const double kNan = std::nan("");

// Categorical parent 0 of 3 choices: 1 (ordered, 4) under choice 0, 2 (continuous) under 1 or 2; 3 (categorical, 2)
// under points 2..3 of block 1; 4 is a plain logarithmic integer 1..100.
hpo::Layout nested() {
  LayoutBuilder s;
  s.categorical(3), s.ordered(4), s.continuous(), s.categorical(2), s.log_int(1, 100);
  s.when_index(1, 0, 0, 0);
  s.when_index(2, 0, 1, 2);
  s.when_index(3, 1, 2, 3);
  return s.build();
}

bool same_bits(const std::vector<double>& p, const std::vector<double>& q) {
  for (std::size_t j = 0; j < p.size(); ++j)
    if (!(p[j] == q[j] || (std::isnan(p[j]) && std::isnan(q[j])))) return false;
  return p.size() == q.size();
}

std::vector<double> random_point(const hpo::Layout& layout, std::uint64_t i) {
  std::vector<double> u(static_cast<std::size_t>(layout.d));
  for (std::size_t j = 0; j < u.size(); ++j) u[j] = hpo::uniform(7, i, j);
  layout.snap(u.data());
  return u;
}

}  // namespace

TEST(layout_codes_return_to_their_point) {
  LayoutBuilder s;
  for (const std::int64_t size : {1LL, 2LL, 3LL, 7LL, 10000LL, 1LL << 30, 1LL << 50}) s.ordered(size);
  s.log_int(1, 7), s.log_int(3, 1e6), s.log_int(1, 17592186044416.0);  // 2^44, the largest that a space allows
  const hpo::Layout layout = s.build();
  for (std::int64_t j = 0; j < layout.b; ++j) {
    const std::int64_t size = layout.size[static_cast<std::size_t>(j)];
    std::vector<std::int64_t> points{0, 1, size / 2, size - 2, size - 1};
    for (std::uint64_t i = 0; i < 2000; ++i)
      points.push_back(static_cast<std::int64_t>(hpo::uniform(1, i, 2) * static_cast<double>(size)));
    for (const std::int64_t i : points) {
      if (i < 0 || i >= size) continue;
      const double code = layout.code_of(j, i);
      CHECK(code > 0.0 && code < 1.0);
      CHECK(layout.index_of(j, code) == i);
      CHECK(layout.nearest(j, code) == code);
    }
    CHECK(layout.index_of(j, -0.5) == 0 && layout.index_of(j, 0.0) == 0);
    CHECK(layout.index_of(j, 1.0) == size - 1 && layout.index_of(j, 1.5) == size - 1);
  }
}

TEST(layout_log_integers_are_rounded_fairly) {
  LayoutBuilder s;
  s.log_int(1, 3);
  const hpo::Layout layout = s.build();
  const double width = std::log(3.5) - std::log(0.5);
  const double edge = (std::log(1.5) - std::log(0.5)) / width;  // between values 1 and 2
  CHECK(layout.index_of(0, edge - 1e-9) == 0);
  CHECK(layout.index_of(0, edge + 1e-9) == 1);
  CHECK_NEAR(layout.code_of(0, 1), (std::log(2.0) - std::log(0.5)) / width, 1e-15);
}

TEST(layout_snap_gives_the_nearest_point_of_the_space) {
  const hpo::Layout layout = nested();
  std::vector<double> u{0.1, 0.8, 0.3, 0.7, 2.0};
  layout.snap(u.data());
  CHECK(same_bits(u, {0.5 / 3.0, 0.875, kNan, 0.75, layout.code_of(4, 99)}));
  u = {0.1, 0.2, 0.3, 0.7, kNan};  // a block without a code takes the middle one
  layout.snap(u.data());
  CHECK(same_bits(u, {0.5 / 3.0, 0.125, kNan, kNan, layout.nearest(4, 0.5)}));
  u = {0.9, 0.9, -3.0, 0.7, 0.0};
  layout.snap(u.data());
  CHECK(same_bits(u, {2.5 / 3.0, kNan, 0.0, kNan, layout.code_of(4, 0)}));
  std::vector<char> active(5);
  layout.activity(u.data(), active.data());
  CHECK(active == (std::vector<char>{1, 0, 1, 0, 1}));
  for (std::uint64_t i = 0; i < 500; ++i) {
    const std::vector<double> p = random_point(layout, i);
    std::vector<double> q = p;
    layout.snap(q.data());
    CHECK(same_bits(p, q));
  }
}

TEST(layout_conditions_hold_at_codes_that_rounding_moved) {
  // A parent's code from another logarithm may differ in the last bit; the interval is a single code here.
  LayoutBuilder s;
  s.log_int(1, 1000), s.continuous(), s.continuous(), s.continuous();
  const double code = s.build().code_of(0, 41);
  s.when(1, 0, {{code, code}});
  s.when(2, 0, {{std::nextafter(code, 1.0), std::nextafter(code, 1.0)}});
  s.when(3, 0, {{std::nextafter(code, 0.0), std::nextafter(code, 0.0)}});
  const hpo::Layout layout = s.build();
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::vector<double> u{layout.code_of(0, i), 0.5, 0.5, 0.5};
    for (std::int64_t j = 1; j < 4; ++j) CHECK(layout.exists(j, u.data()) == (i == 41));
  }
}

TEST(layout_order_may_differ_from_the_columns) {
  LayoutBuilder s;
  s.continuous(), s.categorical(2);
  s.when_index(0, 1, 1, 1);
  s.order = {1, 0};
  const hpo::Layout layout = s.build();
  std::vector<double> u{0.3, 0.2};
  layout.snap(u.data());
  CHECK(same_bits(u, {kNan, 0.25}));
  s.order = {0, 1};
  CHECK_THROWS(s.build(), std::invalid_argument);
}

TEST(layout_refuses_arrays_that_do_not_fit) {
  LayoutBuilder s;
  s.continuous(), s.categorical(2);
  s.size[1] = 0;
  CHECK_THROWS(s.build(), std::invalid_argument);
  s.size[1] = 2;
  s.order = {0, 0};
  CHECK_THROWS(s.build(), std::invalid_argument);
  s.order = {0, 1};
  s.when(0, 5, {{0.0, 1.0}});
  CHECK_THROWS(s.build(), std::invalid_argument);
}

TEST(layout_walks_over_every_point_once) {
  LayoutBuilder s;
  s.categorical(3), s.ordered(4), s.categorical(2), s.log_int(2, 4);
  s.when_index(1, 0, 0, 0);
  s.when_index(2, 1, 2, 3);
  const hpo::Layout layout = s.build();
  std::set<std::string> seen;
  std::vector<double> u(4);
  layout.first_point(u.data());
  const std::vector<double> first = u;
  do {
    std::vector<double> v = u;
    layout.snap(v.data());
    CHECK(same_bits(u, v));
    std::string key;
    for (const double code : u) key += std::to_string(code) + " ";
    CHECK(seen.insert(key).second);
  } while (layout.next_point(u.data()));
  CHECK(same_bits(u, first));
  CHECK(seen.size() == 3 * (2 + 2 * 2 + 1 + 1));  // block 1: points 0, 1 alone, 2, 3 with two of block 2; or missing
  CHECK(layout.count_points(1000000) >= static_cast<std::int64_t>(seen.size()));
  CHECK(layout.count_points(10) == 10);
  CHECK(nested().count_points(1000) == 1000);  // has a continuous block
}

TEST(layout_stretch_keeps_children_as_they_are) {
  LayoutBuilder s;
  s.continuous(), s.continuous(), s.continuous();
  s.when(1, 0, {{0.2, 0.4}, {0.7, 1.0}});
  s.when(2, 0, {{0.3, 0.5}});
  const hpo::Layout layout = s.build();
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const double code = i == 0 ? 0.4 : hpo::uniform(3, i, 0);
    const auto [lo, hi] = layout.stretch(0, code);
    CHECK(lo <= code && code <= hi && 0.0 <= lo && hi <= 1.0);
    for (const double end : {lo, hi, 0.5 * (lo + hi)}) {
      const std::vector<double> p{code, 0.5, 0.5}, q{end, 0.5, 0.5};
      for (std::int64_t j = 1; j < 3; ++j) CHECK(layout.exists(j, p.data()) == layout.exists(j, q.data()));
    }
  }
  CHECK(layout.stretch(0, 0.25) == std::make_pair(0.2, 0.3 - hpo::Layout::same_code));
}

TEST(known_points_agree_with_a_scan) {
  const hpo::Layout layout = nested();
  hpo::KnownPoints known(layout);
  std::vector<std::vector<double>> told;
  const auto scan = [&](const std::vector<double>& u) {
    return std::any_of(told.begin(), told.end(), [&](const auto& p) { return layout.same_point(p.data(), u.data()); });
  };
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const std::vector<double> u = random_point(layout, i % 2000);  // some come twice
    CHECK(known.contains(u.data()) == scan(u));
    known.insert(u.data());
    told.push_back(u);
    if (i % 700 == 699) {
      told.resize(told.size() - 250);
      known.truncate(static_cast<std::int64_t>(told.size()));
    }
    std::vector<double> v = told[static_cast<std::size_t>(hpo::uniform(9, i, 1) * static_cast<double>(told.size()))];
    CHECK(known.contains(v.data()));
    if (!std::isnan(v[2])) {
      v[2] += i % 2 == 0 ? 0.9e-9 : 1.2e-9;  // equal within 1e-9, different beyond
      CHECK(known.contains(v.data()) == scan(v));
    }
  }
  CHECK(known.n() == static_cast<std::int64_t>(told.size()));
  known.truncate(0);
  CHECK(known.n() == 0 && !known.contains(told[0].data()));
}

// A point that was told a hundred thousand times is found and forgotten.
TEST(known_points_that_repeat) {
  const hpo::Layout layout = nested();
  hpo::KnownPoints known(layout);
  const std::vector<double> first = random_point(layout, 1), second = random_point(layout, 2);
  known.insert(second.data());
  for (int i = 0; i < 100000; ++i) known.insert(first.data());
  known.insert(second.data());
  CHECK(known.n() == 100002 && known.contains(first.data()) && known.contains(second.data()));
  known.truncate(2);
  CHECK(known.contains(first.data()) && known.contains(second.data()));
  known.truncate(1);
  CHECK(!known.contains(first.data()) && known.contains(second.data()));
  known.insert(first.data());
  known.truncate(0);
  CHECK(known.n() == 0 && !known.contains(first.data()) && !known.contains(second.data()));
}

// A search that converged: distinct points within a few tolerances of each other, and equal ones with codes of their
// own. A table that searches them one by one would take minutes.
TEST(known_points_in_a_cluster) {
#ifdef __SANITIZE_THREAD__
  constexpr std::uint64_t N = 50000;  // twenty times slower there, and nothing here has threads
#else
  constexpr std::uint64_t N = 200000;
#endif
  LayoutBuilder s;
  for (int j = 0; j < 5; ++j) s.continuous();
  const hpo::Layout layout = s.build();
  for (const double width : {1e-7, 1e-12}) {
    hpo::KnownPoints known(layout);
    const auto point = [&](std::uint64_t i) {
      std::vector<double> u(5);
      for (std::uint64_t j = 0; j < 5; ++j) u[j] = 0.5 + width * (hpo::uniform(5, i, j) - 0.5);
      return u;
    };
    for (std::uint64_t i = 0; i < N; ++i) known.insert(point(i).data());
    CHECK(known.n() == static_cast<std::int64_t>(N));
    for (std::uint64_t i = 0; i < 1000; ++i) {
      std::vector<double> u = point(N / 1000 * i);
      CHECK(known.contains(u.data()));
      u[i % 5] += 2e-9 + width;
      CHECK(!known.contains(u.data()));
    }
  }
}

TEST(known_points_find_neighbours_across_cells) {
  LayoutBuilder s;
  for (int j = 0; j < 30; ++j) s.continuous();
  const hpo::Layout layout = s.build();
  hpo::KnownPoints known(layout);
  for (std::uint64_t i = 0; i < 2000; ++i) known.insert(random_point(layout, i).data());
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::vector<double> u = random_point(layout, i);
    for (std::size_t j = 0; j < u.size(); ++j)
      u[j] += 0.99e-9 * (i % 3 == 0 ? 1.0 : i % 3 == 1 ? -1.0 : 2.0 * hpo::uniform(4, i, j) - 1.0);
    CHECK(known.contains(u.data()));
    u[i % 30] += u[i % 30] < 0.5 ? 4e-9 : -4e-9;
    CHECK(!known.contains(u.data()));
  }
}
