// Which of the scored candidates the ascent starts from: the best, and others that are good and far from one another.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "candidates.hpp"
#include "layout.hpp"
#include "scored.hpp"
#include "span.hpp"

namespace hpo {

// Squared distance in length scales, as the covariance measures it: categories differ or not, and a block that is
// missing stands at the middle, half a range off. Sums no further once it is above `enough`.
inline double scaled_distance2(const Layout& layout, Vec<const double> lengthscale, const double* p, const double* q,
                               double enough = std::numeric_limits<double>::infinity()) {
  double r2 = 0.0;
  for (std::int64_t j = 0; j < layout.b && r2 <= enough; ++j) {
    const double x = p[layout.column(j)], y = q[layout.column(j)];
    const bool no_x = std::isnan(x), no_y = std::isnan(y);
    double gap2;
    if (no_x && no_y)
      gap2 = 0.0;
    else if (layout.kind[j] == CATEGORICAL)
      gap2 = no_x || no_y || x != y ? 1.0 : 0.0;
    else if (no_x || no_y)
      gap2 = (no_x ? (y - 0.5) * (y - 0.5) : (x - 0.5) * (x - 0.5)) + 0.25;
    else
      gap2 = (x - y) * (x - y);
    r2 += gap2 / (lengthscale[j] * lengthscale[j]);
  }
  return r2;
}

// Log weights for drawing by value: the z-scores, as BoTorch's initialize_q_batch uses them. The tail of a log
// improvement reaches down to -1e8 and further; values below the median count as the median, or the tail would set the
// scale and the good ones would all look alike.
inline std::vector<double> z_scores(const Scored& scored, const std::vector<std::int64_t>& ranked) {
  std::vector<double> z(ranked.size(), 0.0);
  std::size_t finite = 0;
  while (finite < ranked.size() && std::isfinite(scored.value(ranked[finite]))) ++finite;
  if (finite < 2) return z;
  const double floor = scored.value(ranked[finite / 2]);
  double mean = 0.0, square = 0.0;
  for (std::size_t i = 0; i < finite; ++i) mean += std::max(scored.value(ranked[i]), floor) / finite;
  for (std::size_t i = 0; i < finite; ++i) {
    const double gap = std::max(scored.value(ranked[i]), floor) - mean;
    square += gap * gap / finite;
  }
  const double sd = std::sqrt(square);
  if (!(sd > 0.0) || !std::isfinite(sd)) return z;
  for (std::size_t i = 0; i < ranked.size(); ++i)
    z[i] =
        i < finite ? (std::max(scored.value(ranked[i]), floor) - mean) / sd : -std::numeric_limits<double>::infinity();
  return z;
}

// Rows of `scored` to start from, `count` at most: the best row, the rows named in `always`, and others drawn by value
// without replacement (weights e^(eta z)), none nearer than `spread` length scales to one taken before. Where too few
// are so far apart, the nearer ones fill up, in the order of their draw.
inline std::vector<std::int64_t> choose_starts(const Layout& layout, const Scored& scored,
                                               Vec<const double> lengthscale, const std::vector<std::int64_t>& always,
                                               std::int64_t count, double eta, double spread, Draws& draws) {
  const std::vector<std::int64_t> ranked = scored.ranked();
  std::vector<std::int64_t> chosen;
  const auto near_chosen = [&](std::int64_t row, double radius) {
    return std::any_of(chosen.begin(), chosen.end(), [&](std::int64_t other) {
      return scaled_distance2(layout, lengthscale, scored.point(row), scored.point(other), radius * radius) <=
             radius * radius;
    });
  };
  const auto take = [&](std::int64_t row, double radius) {
    if (static_cast<std::int64_t>(chosen.size()) < count && !near_chosen(row, radius)) chosen.push_back(row);
  };
  if (ranked.empty() || count < 1) return chosen;
  take(ranked[0], 0.0);
  for (const std::int64_t row : always) take(row, 1e-6);

  const std::vector<double> z = z_scores(scored, ranked);
  std::vector<std::pair<double, std::int64_t>> drawn(ranked.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) drawn[i] = {eta * z[i] + draws.gumbel(), ranked[i]};
  std::stable_sort(drawn.begin(), drawn.end(), [](const auto& p, const auto& q) { return p.first > q.first; });
  for (const double radius : {spread, 1e-6})
    for (const auto& entry : drawn) {
      if (static_cast<std::int64_t>(chosen.size()) >= count) return chosen;
      take(entry.second, radius);
    }
  return chosen;
}

}  // namespace hpo
