// hpo/factor.hpp: the inverse, and what is added above the diagonal, against a factorisation written down plainly.
#include "hpo/factor.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "check.hpp"
#include "hpo/rng.hpp"
#include "hpo/weights.hpp"
#include "layouts.hpp"

namespace {

using hpo::CovarianceMatrix;
using hpo::Factor;

constexpr double INF = std::numeric_limits<double>::infinity();

struct Matrix {
  std::int64_t n;
  std::vector<double> a;  // (n, n)
  explicit Matrix(std::int64_t n_) : n(n_), a(static_cast<std::size_t>(n_ * n_), 0.0) {}
  double& operator()(std::int64_t i, std::int64_t j) { return a[static_cast<std::size_t>(i * n + j)]; }
  double operator()(std::int64_t i, std::int64_t j) const { return a[static_cast<std::size_t>(i * n + j)]; }
};

// A positive definite matrix: identity and products of random rows.
Matrix random_matrix(std::int64_t n, double scale) {
  Matrix out(n);
  std::vector<double> B(static_cast<std::size_t>(n * 8));
  for (std::size_t i = 0; i < B.size(); ++i) B[i] = hpo::normal(3, i, 0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 1.0 : 0.0;
      for (std::int64_t k = 0; k < 8; ++k)
        sum += 0.1 * B[static_cast<std::size_t>(i * 8 + k)] * B[static_cast<std::size_t>(j * 8 + k)];
      out(i, j) = scale * sum;
    }
  return out;
}

// Points of two continuous blocks and one categorical one.
struct Space {
  LayoutBuilder builder;
  hpo::Layout layout;
  hpo::Columns columns;
  hpo::Embedding points;
  explicit Space(std::int64_t n) : layout(described()), columns(layout), points(columns) {
    const double log_lengthscale[] = {-1.0, -0.7, 0.2};
    points.reset(log_lengthscale);
    for (std::int64_t i = 0; i < n; ++i) {
      double u[3] = {hpo::uniform(7, i, 0), hpo::uniform(7, i, 1), hpo::uniform(7, i, 2)};
      layout.snap(u);
      points.append(u);
    }
  }
  hpo::Layout described() {
    builder.continuous(), builder.continuous(), builder.categorical(3);
    return builder.build();
  }
};

// The entries that K stands for.
Matrix entries(const CovarianceMatrix& K, std::int64_t n) {
  Matrix out(n);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      if (K.points) {
        const double t = std::sqrt(5.0 * K.points->squared_distance(i, j));
        out(i, j) = K.s2 * (1.0 + t + t * t / 3.0) * std::exp(-t);
      }
      if (i == j)
        out(i, j) = K.s2 + K.noise[i];
      else if (i < K.dense_n && j < K.dense_n)
        out(i, j) += i < j ? K.dense[i * K.dense_ld + j] : K.dense[j * K.dense_ld + i];
    }
  return out;
}

// V K V' = I: V is the inverse of the Cholesky factor, whatever way it was made.
void check_inverts(const Factor& V, const Matrix& K) {
  const std::int64_t n = K.n;
  CHECK(V.n() == n);
  const auto entry = [&](std::int64_t i, std::int64_t j) {
    return V.panel(i / hpo::PANEL)[i % hpo::PANEL * V.stride(i / hpo::PANEL) + j];
  };
  for (std::int64_t i = 0; i < n; ++i) CHECK(V.diagonal(i) == entry(i, i));
  Matrix VK(n);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k <= i; ++k)
      for (std::int64_t j = 0; j < n; ++j) VK(i, j) += entry(i, k) * K(k, j);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = 0.0;
      for (std::int64_t k = 0; k <= j; ++k) sum += VK(i, k) * entry(j, k);
      CHECK_NEAR(sum, i == j ? 1.0 : 0.0, 1e-9);
    }
}

void check_inverse(const Factor& V, const Matrix& K, int threads) {
  const std::int64_t n = K.n, ld = n + 5;
  std::vector<double> inverse(static_cast<std::size_t>(n * ld), -7.0);
  V.inverse(inverse.data(), ld, threads);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const double* row = inverse.data() + i * ld;
      CHECK(row[j] == inverse[static_cast<std::size_t>(j * ld + i)]);
      double sum = 0.0;
      for (std::int64_t k = 0; k < n; ++k) sum += row[k] * K(k, j);
      CHECK_NEAR(sum, i == j ? 1.0 : 0.0, 1e-8);
    }
    for (std::int64_t j = n; j < ld; ++j) CHECK(inverse[static_cast<std::size_t>(i * ld + j)] == -7.0);
  }
}

// Whether the rows of V are equal to the last bit.
bool same(const Factor& a, const Factor& b) {
  for (std::int64_t i = 0; i < a.n(); ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      const std::int64_t p = i / hpo::PANEL, at = i % hpo::PANEL * a.stride(p) + j;
      if (a.panel(p)[at] != b.panel(p)[at]) return false;
    }
  return a.n() == b.n();
}

}  // namespace

TEST(factor_of_a_matrix_without_points) {
  for (const std::int64_t n : {1, 15, 16, 17, 63, 64, 65, 130, 200, 300}) {
    for (const double scale : {1e-4, 1.0, 1e5}) {
      const Matrix K = random_matrix(n, scale);
      std::vector<double> noise(static_cast<std::size_t>(n));
      for (std::int64_t i = 0; i < n; ++i) noise[static_cast<std::size_t>(i)] = K(i, i);
      Matrix upper = K;  // what lies below the diagonal is not read
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < i - i % hpo::LANES; ++j) upper(i, j) = 1e9;
      Factor V;
      V.build_some({nullptr, hpo::Kernel::matern52, 0.0, noise.data(), upper.a.data(), n, n}, n, INF, 2);
      check_inverts(V, K);
      check_inverse(V, K, 1);
      check_inverse(V, K, 2);
    }
  }
}

TEST(factor_with_covariances_of_the_noise) {
  for (const std::int64_t m : {1, 20, 64, 100}) {
    const std::int64_t n = m + 90;
    Space space(n);
    const Matrix dense = random_matrix(m, 0.3);
    std::vector<double> noise(static_cast<std::size_t>(n), 0.02);
    for (std::int64_t i = 0; i < m; ++i) noise[static_cast<std::size_t>(i)] = dense(i, i);
    const CovarianceMatrix K{&space.points, hpo::Kernel::matern52, 1.3, noise.data(), dense.a.data(), m, m};
    const Matrix expected = entries(K, n);
    Factor blocks, rows;
    blocks.build_some(K, n, INF, 2);
    check_inverts(blocks, expected);
    check_inverse(blocks, expected, 2);
    rows.build_some(K, m, INF, 1);  // the rest one by one, some of them twice
    rows.extend_by_rows(K, n, 1);
    rows.truncate(K, m + 30, 1);
    CHECK(rows.n() == m + 30);
    rows.extend_by_rows(K, n, 1);
    check_inverts(rows, expected);
  }
}

// From the sixth panel on, two or more stand in one slab.
TEST(factor_of_panels_that_share_a_slab) {
  const std::int64_t n = 580;
  Space space(n);
  const std::vector<double> noise(static_cast<std::size_t>(n), 0.02);
  const CovarianceMatrix K{&space.points, hpo::Kernel::matern52, 1.3, noise.data()};
  Factor V;
  V.build_some(K, 400, INF, 2);
  V.extend_by_rows(K, n, 2);
  V.truncate(K, 390, 2);
  check_inverts(V, entries(K, 390));
  V.extend_by_rows(K, n, 2);
  check_inverts(V, entries(K, n));
  Factor moved = std::move(V);
  check_inverts(moved, entries(K, n));
}

// A panel in two halves has the bits of one, and a half of points that went is of no use.
TEST(factor_of_a_panel_in_halves) {
  const std::int64_t n = 320;
  Space space(n), other(n);
  double u[3] = {0.9, 0.1, 0.5};
  other.points.truncate(200);
  other.layout.snap(u);
  other.points.append(u);  // row 200 is another
  for (std::int64_t i = 201; i < n; ++i) other.points.append(space.points, i);
  const std::vector<double> noise(static_cast<std::size_t>(n), 1e-3);
  const auto matrix = [&](const Space& s) {
    return CovarianceMatrix{&s.points, hpo::Kernel::matern52, 1.3, noise.data()};
  };
  for (const int threads : {1, 2, 3}) {
    Factor whole, halves, changed;
    whole.extend(matrix(space), n, threads);
    for (const std::int64_t first : {0, 64, 192}) {
      halves.extend(matrix(space), first, threads);
      halves.prepare_half(matrix(space), first, threads);
      CHECK(halves.prepared(first) && !halves.prepared(first + 64) && halves.n() == first);
      halves.extend(matrix(space), first + 64, threads);
      CHECK(!halves.prepared(first));
    }
    halves.extend(matrix(space), n, threads);
    CHECK(same(whole, halves));
    changed.extend(matrix(other), 230, threads);
    changed.prepare_half(matrix(other), 192, threads);
    changed.truncate(matrix(other), 226, threads);
    CHECK(changed.prepared(192));
    changed.truncate(matrix(other), 200, threads);
    CHECK(!changed.prepared(192));
    changed.extend(matrix(space), n, threads);
    CHECK(same(whole, changed));
    changed.prepare_half(matrix(space), 192, threads);
    changed.clear();
    CHECK(!changed.prepared(192));
  }
}

// Blocks of three chunks and of one, of which the last is taken in shares, and others.
TEST(factor_has_the_same_bits_on_any_number_of_threads) {
  const std::int64_t most = 1068;
  Space space(most);
  const std::vector<double> noise(static_cast<std::size_t>(most), 0.02);
  const CovarianceMatrix K{&space.points, hpo::Kernel::matern52, 1.3, noise.data()};
  for (const std::int64_t n : {48, 240, 289, 300, 304, 320, 1040, 1068}) {
    Factor one;
    one.build_some(K, n, INF, 1);
    if (n <= 320) check_inverts(one, entries(K, n));
    for (const int threads : {2, 3, 4}) {
      Factor V;
      V.build_some(K, n, INF, threads);
      CHECK(same(V, one));
    }
  }
  for (const std::int64_t n : {1030, 1040}) {
    Factor one, two;
    one.extend(K, n, 1), two.extend(K, n, 2);
    CHECK(same(one, two));
  }
}

// The products of a vector have the same bits alone, beside others, on any number of threads, and on the way of a row.
TEST(factor_takes_vectors_along_with_a_row) {
  const std::int64_t most = 1100, ld = 1152;
  Space space(most);
  std::vector<double> noise(static_cast<std::size_t>(most), 0.02), x(3 * ld, 0.0), a(3 * ld), u(3 * ld);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = hpo::normal(9, i, 0);
  const CovarianceMatrix K{&space.points, hpo::Kernel::matern52, 1.3, noise.data()};
  Factor V;
  V.extend(K, most, 1);
  for (const std::int64_t n : {5, 66, 127, 1024, 1025, 1030, 1031, 1100})
    for (const std::int64_t count : {1, 2, 3}) {
      V.gram(count, x.data(), ld, a.data(), u.data(), n, 2);
      for (std::int64_t c = 0; c < count; ++c) {
        std::vector<double> one_a(ld), one_u(ld);
        V.gram(1, x.data() + c * ld, ld, one_a.data(), one_u.data(), n, 1);
        for (std::int64_t i = 0; i < n; ++i) CHECK(a[c * ld + i] == one_a[i] && u[c * ld + i] == one_u[i]);
      }
    }
  Factor alone;
  alone.extend(K, 1030, 1);
  CHECK(alone.last_alone());
  for (const bool constant_mean : {true, false}) {  // the part of the last row is what one pass over all has
    hpo::Weights pass, as_told;
    pass.compute(alone, x.data(), constant_mean, 1);
    as_told.compute_as_told(alone, x.data(), constant_mean, 1);
    CHECK_NEAR(as_told.log_likelihood(), pass.log_likelihood(), 1e-9 * std::fabs(pass.log_likelihood()));
    for (std::size_t i = 0; i < 1030; ++i)
      CHECK_NEAR(as_told.alpha[i], pass.alpha[i], 1e-9 * (1.0 + std::fabs(pass.alpha[i])));
  }
  double u_old[3];
  for (std::int64_t c = 0; c < 3; ++c) u_old[c] = hpo::uniform(7, 40, static_cast<std::uint64_t>(c));
  space.layout.snap(u_old);
  Space repeated(1030);
  repeated.points.append(u_old);
  std::vector<double> exact(static_cast<std::size_t>(most), 0.0);
  const CovarianceMatrix R{&repeated.points, hpo::Kernel::matern52, 1.3, exact.data()};
  const auto goes = [&](const CovarianceMatrix& matrix, std::int64_t before) {
    Factor W;
    W.extend(matrix, before, 2);
    Factor::Along along{2, ld, x.data(), a.data(), u.data()};
    W.extend(matrix, before + 1, 2, &along);
    if (!along.done) return false;
    std::vector<double> own_a(2 * ld), own_u(2 * ld);
    W.gram(2, x.data(), ld, own_a.data(), own_u.data(), before, 1);
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t i = c * ld; i < c * ld + before; ++i) CHECK(a[i] == own_a[i] && u[i] == own_u[i]);
    CHECK(W.last_alone());
    return true;
  };
  CHECK(goes(K, 1024) && goes(K, 1029) && goes(K, 1088));
  CHECK(!goes(K, 1000) && !goes(K, 1039) && !goes(K, 1087));  // few rows; the last of a chunk, and of a panel
  CHECK(goes(R, 1029) && !goes(R, 1030));                     // the last row is merged
}

// Asked again it is the same to the last bit as of a factor that was never asked, whatever the rows did meanwhile.
TEST(factor_keeps_the_diagonal_of_the_inverse) {
  const std::int64_t n = 300;
  Space space(n);
  const std::vector<double> noise(static_cast<std::size_t>(n), 0.02), other(static_cast<std::size_t>(n), 0.5);
  const CovarianceMatrix K{&space.points, hpo::Kernel::matern52, 1.3, noise.data()};
  Factor asked;
  const auto compare = [&](const CovarianceMatrix& K, std::int64_t rows) {
    Factor fresh;
    fresh.extend(K, rows, 1);
    std::vector<double> inverse(static_cast<std::size_t>(rows * rows));
    fresh.inverse(inverse.data(), rows, 1);
    CHECK(asked.n() == rows);
    for (std::int64_t i = 0; i < rows; i += 7) {
      CHECK(asked.inverse_diagonal(i) == fresh.inverse_diagonal(i));
      CHECK_NEAR(asked.inverse_diagonal(i), inverse[static_cast<std::size_t>(i * rows + i)], 1e-9);
    }
  };
  for (const std::int64_t rows : {64, 65, 150, 192, 200, 300}) {
    asked.extend(K, rows, 1);
    compare(K, rows);
  }
  asked.truncate(K, 250, 1);
  compare(K, 250);
  asked.extend_by_rows(K, 270, 1);  // a whole panel, but none that stays
  for (std::int64_t i = 0; i < 270; ++i) CHECK(asked.inverse_diagonal(i) > 0.0);
  asked.truncate(K, 250, 1);
  compare(K, 250);
  asked.extend(K, 270, 1);
  compare(K, 270);
  Factor moved = std::move(asked);
  asked = std::move(moved);
  compare(K, 270);
  asked.truncate(K, 100, 1);
  compare(K, 100);
  asked.clear();
  asked.extend({&space.points, hpo::Kernel::matern52, 1.3, other.data()}, 180, 1);
  compare({&space.points, hpo::Kernel::matern52, 1.3, other.data()}, 180);
}

TEST(factor_without_points_has_a_guard_in_units_of_its_diagonal) {
  // What is left of the second row is a 1e-12th of it, or nothing: neither can be told from rounding.
  for (const double left : {1.0, 0.0}) {
    const double diagonal[] = {1e12, 1e12 + left}, K[] = {1e12, 1e12, 1e12, 1e12 + left};
    Factor V;
    V.build_some({nullptr, hpo::Kernel::matern52, 0.0, diagonal, K, 2, 2}, 2, INF, 1);
    CHECK_NEAR(1.0 / V.diagonal(0) / V.diagonal(0), 1e12, 1.0);
    CHECK_NEAR(1.0 / V.diagonal(1) / V.diagonal(1), 1e4 + left, 1e-2);
  }
}

TEST(factor_of_what_is_no_covariance_fails) {
  Matrix K = random_matrix(40, 1.0);
  std::vector<double> noise(40);
  for (std::int64_t i = 0; i < 40; ++i) noise[static_cast<std::size_t>(i)] = K(i, i);
  K(3, 30) = 10.0;
  Factor V;
  CHECK_THROWS(V.build_some({nullptr, hpo::Kernel::matern52, 0.0, noise.data(), K.a.data(), 40, 40}, 40, INF, 1),
               hpo::numerical_error);
  K(3, 30) = std::nan("");
  V.clear();
  CHECK_THROWS(V.build_some({nullptr, hpo::Kernel::matern52, 0.0, noise.data(), K.a.data(), 40, 40}, 40, INF, 1),
               hpo::numerical_error);
}
