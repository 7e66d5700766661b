// hpo/neighbours.hpp against all distances, sorted.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "check.hpp"
#include "hpo/neighbours.hpp"
#include "hpo/rng.hpp"
#include "layouts.hpp"

namespace {

using hpo::Neighbours;
using Found = std::vector<std::vector<std::int64_t>>;

// Numbers, choices, and one of either that need not exist.
struct Points {
  LayoutBuilder builder;
  hpo::Layout layout;
  hpo::Columns columns;
  hpo::Embedding scales;
  std::int64_t d;
  std::vector<double> U;

  explicit Points(std::int64_t n) : layout(described()), columns(layout), scales(columns), d(layout.d) {
    const double log_lengthscale[] = {-1.0, 0.3, 0.0, -0.5, 0.7};
    scales.reset(log_lengthscale);
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<double> u(static_cast<std::size_t>(d));
      for (std::int64_t j = 0; j < d; ++j) u[static_cast<std::size_t>(j)] = hpo::uniform(5, i, j);
      layout.snap(u.data());
      U.insert(U.end(), u.begin(), u.end());
    }
  }

  hpo::Layout described() {
    builder.continuous(), builder.ordered(4), builder.categorical(3), builder.continuous(), builder.categorical(2);
    builder.when_index(3, 2, 0, 1);
    builder.when_index(4, 2, 1, 2);
    return builder.build();
  }

  hpo::Mat<const double> rows(std::int64_t first, std::int64_t count) const { return {U.data() + first * d, count, d}; }
  const double* row(std::int64_t i) const { return U.data() + i * d; }

  // In single precision, term by term as it is specified; instruction sets may round a sum of products in other places.
  double distance(std::int64_t i, const double* q) const {
    std::vector<float> a, b;
    scales.embed(row(i), [&](std::int64_t, double z) { a.push_back(static_cast<float>(z)); });
    scales.embed(q, [&](std::int64_t, double z) { b.push_back(static_cast<float>(z)); });
    double sum = 0.0;
    for (std::int64_t c = 0; c < scales.e(); ++c) {
      const std::size_t at = static_cast<std::size_t>(c);
      const double t = static_cast<double>(a[at]) - static_cast<double>(b[at]);
      sum += c < scales.e_num() ? t * t : a[at] != b[at] ? scales.weight()[c - scales.e_num()] : 0.0;
    }
    return sum;
  }
};

void fill(Neighbours& near, const Points& p, std::int64_t n) {
  for (std::int64_t i = near.n(); i < n; ++i) near.append(p.row(i));
}

// Rows sorted by distance, in order of row where it is the same; two that differ by rounding may change places.
void check_nearest(const Points& p, const Found& found, hpo::Mat<const double> Q, std::int64_t n, std::int64_t count,
                   const std::vector<char>& excluded) {
  CHECK(static_cast<std::int64_t>(found.size()) == Q.rows);
  for (std::int64_t a = 0; a < Q.rows; ++a) {
    const std::vector<std::int64_t>& mine = found[static_cast<std::size_t>(a)];
    std::vector<double> all;
    for (std::int64_t i = 0; i < n; ++i)
      if (!excluded[static_cast<std::size_t>(i)]) all.push_back(p.distance(i, Q.row(a)));
    std::sort(all.begin(), all.end());
    const std::int64_t expected = std::min(count, static_cast<std::int64_t>(all.size()));
    CHECK(static_cast<std::int64_t>(mine.size()) == expected);
    for (std::int64_t k = 0; k < expected; ++k) {
      const std::int64_t row = mine[static_cast<std::size_t>(k)];
      CHECK(row >= 0 && row < n && !excluded[static_cast<std::size_t>(row)]);
      CHECK(std::count(mine.begin(), mine.end(), row) == 1);
      const double r2 = p.distance(row, Q.row(a));
      CHECK_NEAR(r2, all[static_cast<std::size_t>(k)], 1e-5 * (1e-3 + r2));
    }
  }
}

}  // namespace

TEST(neighbours_are_the_nearest) {
  const Points p(1500);
  for (const std::int64_t n : {1, 15, 16, 17, 255, 256, 257, 700}) {
    Neighbours near(p.scales);
    fill(near, p, n);
    CHECK(near.n() == n);
    const std::vector<char> none(static_cast<std::size_t>(n), 0);
    // One point and two groups of those that share a reading, told ones among them.
    for (const std::int64_t points : {1, 40}) {
      const auto Q = p.rows(690, points);
      for (const std::int64_t count : {1, 7, 256, 1000}) check_nearest(p, near.nearest(Q, count, 1), Q, n, count, none);
    }
    const Found nothing = near.nearest(p.rows(0, 2), 0, 1);
    CHECK(nothing.size() == 2 && nothing[0].empty() && nothing[1].empty());
  }
  CHECK(Neighbours(p.scales).nearest(p.rows(0, 3), 5, 1) == Found(3));
  Neighbours some(p.scales);
  fill(some, p, 40);
  CHECK(some.nearest(p.rows(0, 0), 5, 1).empty());
}

TEST(neighbours_that_are_equally_far_come_in_order) {
  const Points p(40);
  Neighbours near(p.scales);
  for (int i = 0; i < 900; ++i) near.append(p.row(i % 3));  // three points, three hundred times each
  for (const int threads : {1, 2, 3}) {
    const Found found = near.nearest(p.rows(0, 20), 350, threads);
    for (std::size_t a = 0; a < 3; ++a)
      for (std::int64_t k = 0; k < 300; ++k)
        CHECK(found[a][static_cast<std::size_t>(k)] == 3 * k + static_cast<std::int64_t>(a));
    for (const auto& mine : found)
      for (std::size_t k = 1; k < mine.size(); ++k)
        if (mine[k] % 3 == mine[k - 1] % 3) CHECK(mine[k] > mine[k - 1]);
  }
}

TEST(neighbours_do_not_depend_on_threads) {
  const Points p(5000);
  Neighbours near(p.scales);
  fill(near, p, 5000);
  for (const std::int64_t points : {1, 16, 21}) {
    const Found one = near.nearest(p.rows(100, points), 256, 1);
    CHECK(one == near.nearest(p.rows(100, points), 256, 2));
    CHECK(one == near.nearest(p.rows(100, points), 256, 7));
  }
}

TEST(neighbours_forget_and_leave_out) {
  const Points p(600);
  std::vector<char> excluded(600, 0);
  Neighbours near(p.scales), fresh(p.scales);
  fill(near, p, 600);
  for (std::int64_t i = 0; i < 600; i += 3) near.exclude(i), excluded[static_cast<std::size_t>(i)] = 1;
  check_nearest(p, near.nearest(p.rows(0, 5), 256, 2), p.rows(0, 5), 600, 256, excluded);
  check_nearest(p, near.nearest(p.rows(0, 5), 500, 2), p.rows(0, 5), 600, 500, excluded);  // all that are left
  for (const std::int64_t n : {301, 300, 287, 0}) {
    near.truncate(n);
    CHECK(near.n() == n);
    check_nearest(p, near.nearest(p.rows(590, 5), 50, 1), p.rows(590, 5), n, 50, excluded);
  }
  fill(near, p, 200);
  fill(fresh, p, 200);
  CHECK(near.nearest(p.rows(590, 5), 200, 1) == fresh.nearest(p.rows(590, 5), 200, 1));
}

TEST(neighbours_of_points_out_of_all_bounds) {
  const Points p(100);
  Neighbours near(p.scales);
  fill(near, p, 100);
  std::vector<double> far(p.row(0), p.row(0) + p.d);
  far[0] = 1e30;  // the square is no number of single precision
  CHECK(near.nearest({far.data(), 1, p.d}, 10, 1)[0].empty());
  near.append(far.data());
  const Found found = near.nearest(p.rows(0, 1), 200, 1);
  CHECK(found[0].size() == 100 && std::count(found[0].begin(), found[0].end(), 100) == 0);
}
