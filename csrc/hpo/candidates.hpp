// Points worth a first look: quasi-random over the whole space, and perturbations of the best points told so far.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "halton.hpp"
#include "layout.hpp"
#include "rng.hpp"
#include "span.hpp"

namespace hpo {

// Numbers drawn one after another, a function of the key and of how many were drawn before.
class Draws {
 public:
  // `purpose` keeps the draws of two users of one key apart.
  Draws(Key key, std::uint64_t purpose) : key_(key), stream_(purpose << 32) {}

  double uniform() { return hpo::uniform(key_.seed, key_.number, stream_++); }

  // 0 .. n-1
  std::int64_t below(std::int64_t n) {
    return std::min(static_cast<std::int64_t>(uniform() * static_cast<double>(n)), n - 1);
  }

  double normal() { return hpo::normal(key_.seed, key_.number, stream_++); }

  // Standard Gumbel: adding one to each log weight and keeping the largest draws without replacement.
  double gumbel() { return -std::log(-std::log(uniform() + 0x1p-54)); }

 private:
  Key key_;
  std::uint64_t stream_;
};

// Another point of a numeric block, about sd away from `code` and never on it where the block has other points. Steps
// over a bound stop on it: many acquisition functions are best there.
inline double step_from(const Layout& layout, std::int64_t block, double code, double sd, Draws& draws) {
  const double step = sd * draws.normal();
  const double moved = std::min(std::max(code + step, 0.0), 1.0);
  if (!layout.discrete(block)) return moved;
  const std::int64_t here = layout.index_of(block, code), last = layout.size[block] - 1;
  std::int64_t there = layout.index_of(block, moved);
  if (there == here) there += step < 0.0 ? -1 : 1;
  if (there < 0 || there > last) there = here + (there < here ? 1 : -1);
  return layout.code_of(block, std::min(std::max<std::int64_t>(there, 0), last));
}

// 0 .. size-1, but not `here` if there is another.
inline std::int64_t other_choice(std::int64_t size, std::int64_t here, Draws& draws) {
  if (size < 2) return 0;
  const std::int64_t other = draws.below(size - 1);
  return other < here ? other : other + 1;
}

// Fills the rows of U with points spread evenly over the representable ones; children exist as their parents have it.
inline void spread_evenly(const Layout& layout, Key key, Mat<double> U) {
  if (U.rows == 0) return;
  Halton(key, layout.d, U.rows).fill(0, U);
  for (std::int64_t i = 0; i < U.rows; ++i) layout.snap(U.row(i));
}

// Writes perturbed copies of the `best` points (t, d), best first, t >= 1, into the rows of U: the local half of the
// starts that make plain Bayesian optimization work in many dimensions (RAASP: Regis and Shoemaker, "Combining radial
// basis function surrogates and dynamic coordinate search", 2013; Rashidi et al., AISTATS'24).
//
// Half of the rows start from the best point, the others from all in turn. A coordinate moves with probability
// min(1, 20/d), in half of the rows min(1, 2/d), and one moves always. A numeric one moves by a scale times the smaller
// of its length scale and 1, a categorical one to any other choice; blocks that come to exist by a change of their
// parent are drawn afresh.
inline void perturb_best(const Layout& layout, Mat<const double> best, Vec<const double> lengthscale,
                         const std::vector<double>& scales, Draws& draws, Mat<double> U) {
  const double b = static_cast<double>(layout.b);
  for (std::int64_t i = 0; i < U.rows; ++i) {
    double* u = U.row(i);
    const auto n_scales = static_cast<std::int64_t>(scales.size());  // the digits of i choose, so that all combine
    const double* centre = best.row(i % 2 == 0 ? 0 : (i / 2) % best.rows);
    const double scale = scales[i / 2 % n_scales];
    const double probability = std::min(1.0, (i / 2 / n_scales % 2 == 0 ? 20.0 : 2.0) / b);
    std::int64_t sure = draws.below(layout.b);
    while (std::isnan(centre[layout.column(sure)])) sure = (sure + 1) % layout.b;  // the first in order always exists
    for (const std::int64_t j : layout.order) {
      const double code = centre[layout.column(j)];
      double& to = u[layout.column(j)];
      if (!layout.exists(j, u)) {
        to = std::nan("");
      } else if (std::isnan(code)) {
        to = layout.nearest(j, draws.uniform());
      } else if (layout.kind[j] == CATEGORICAL) {
        // One expected change among all: with every category drawn anew nothing of the centre would be left.
        const std::int64_t here = layout.index_of(j, code);
        const bool moves = j == sure || draws.uniform() * b < 1.0;
        to = layout.code_of(j, moves ? other_choice(layout.size[j], here, draws) : here);
      } else {
        const bool moves = j == sure || draws.uniform() < probability;
        to = moves ? step_from(layout, j, code, scale * std::min(lengthscale[j], 1.0), draws) : layout.nearest(j, code);
      }
    }
  }
}

}  // namespace hpo
