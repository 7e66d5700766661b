// The continuous half of the search: starts climb side by side, one batch of values and gradients a step.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "layout.hpp"
#include "lbfgsb.hpp"
#include "scored.hpp"
#include "span.hpp"

namespace hpo {

struct AscentOptions {
  std::int64_t lanes = 16;     // starts that climb at a time: a batch of so many costs no more than one point alone
  std::int64_t steps = 50;     // evaluations of one start
  std::int64_t batches = 32;   // of all starts together
  double gradient_tol = 1e-2;  // of the derivative by one length scale, where the value is a logarithm
  double value_tol = 1e-6;     // of the gain in one iteration, relative to max(|value|, 1)
  // A start is given up when `patience` more gains like its last would not bring it to the best value reached: 64
  // starts took 27 batches in place of 67. The median search reached as much, the worst twentieth 0.91 of the best in
  // place of 0.99 (expected improvement, d = 2 to 20, n = 20 to 140).
  double patience = 5.0;
  double radius = std::numeric_limits<double>::infinity();  // in length scales, how far a start moves along an axis
  // Ordered blocks of more points move as if they were continuous, and are rounded after. From 4 on took 7 batches more
  // in mixed spaces and reached no more.
  std::int64_t relax = 16;
};

class Ascent {
 public:
  // A continuous block on which others depend stays within the stretch of codes that changes nothing for those. A
  // discrete one of these, every short ordered one and every categorical one is left to the discrete search.
  Ascent(const Layout& layout, Scorer& scorer, Vec<const double> lengthscale, const AscentOptions& options)
      : layout_(layout), scorer_(scorer), options_(options) {
    for (std::int64_t j = 0; j < layout.b; ++j) {
      const bool relaxed = layout.kind[j] == ORDERED && layout.size[j] > options.relax && !layout.parent[j];
      if (layout.kind[j] != CONTINUOUS && !relaxed) continue;
      variables_.push_back({j, layout.column(j), relaxed});
      scale_.push_back(lengthscale[j]);
    }
  }

  // Whether no start can move.
  bool empty() const { return variables_.empty(); }

  // Whether there are ordered blocks that the first climb relaxes and rounds.
  bool rounds() const {
    return std::any_of(variables_.begin(), variables_.end(), [](const Variable& v) { return v.relaxed; });
  }

  // Points whose gradient was computed so far.
  std::int64_t evaluations() const { return evaluations_; }

  // Moves each start uphill, and then to the nearest representable point. A start ends no lower than it began, unless
  // rounding moved it: it then has its new value, which `scored` keeps too. With `relax` false the ordered blocks are
  // held, once the discrete search has placed them. As one start arrives the next takes its place; those for which no
  // batch is left stay where they are.
  void climb(std::vector<Start>& starts, bool relax, Scored& scored) {
    const std::int64_t v = static_cast<std::int64_t>(variables_.size()), d = layout_.d;
    if (v == 0) return;
    std::vector<std::unique_ptr<Climb>> climbs;
    std::vector<std::size_t> lanes;
    std::vector<double> U(options_.lanes * d), G(options_.lanes * d), value(options_.lanes), x(v), slope(v);
    double best = -std::numeric_limits<double>::infinity();
    for (std::int64_t batch = 0; batch < options_.batches; ++batch) {
      while (static_cast<std::int64_t>(lanes.size()) < options_.lanes && climbs.size() < starts.size()) {
        lanes.push_back(climbs.size());
        climbs.push_back(begin(starts[climbs.size()], relax));
      }
      if (lanes.empty()) break;
      const auto n = static_cast<std::int64_t>(lanes.size());
      for (std::int64_t r = 0; r < n; ++r) {
        std::int64_t id = 0;
        climbs[lanes[r]]->path.propose({x.data(), 1, v}, {&id, 1});
        place(starts[lanes[r]], x, &U[r * d]);
      }
      scorer_.score({U.data(), n, d}, value.data(), G.data());
      evaluations_ += n;
      for (std::int64_t r = 0; r < n; ++r) {
        for (std::int64_t k = 0; k < v; ++k) slope[k] = -G[r * d + variables_[k].column];
        Climb& climb = *climbs[lanes[r]];
        const double fall = -value[r];
        climb.path.tell({&fall, 1}, {slope.data(), 1, v});
        climb.note();
        best = std::max(best, climb.value);
      }
      lanes.erase(std::remove_if(lanes.begin(), lanes.end(),
                                 [&](std::size_t s) { return climbs[s]->over(best, options_.patience); }),
                  lanes.end());
    }
    for (std::size_t s = 0; s < climbs.size(); ++s) arrive(starts[s], *climbs[s], scored);
    scored.score();
    for (std::size_t s = 0; s < climbs.size(); ++s) {  // the others are the candidates that they were
      if (starts[s].row >= 0) starts[s].value = scored.value(starts[s].row);
      starts[s].row = -1;
    }
  }

 private:
  struct Variable {
    std::int64_t block, column;
    bool relaxed;
  };

  struct Climb {
    LockStep path;
    double value = -std::numeric_limits<double>::infinity();  // of the last accepted point
    double gain = std::numeric_limits<double>::infinity();    // of the last iteration

    void note() {
      const double now = or_worst(-path.value(0));
      if (now == value) return;  // still on its line search
      gain = now - value;        // infinite at the first value
      value = now;
    }
    bool over(double best, double patience) const { return path.active() == 0 || value + patience * gain < best; }
  };

  const Layout& layout_;
  Scorer& scorer_;
  AscentOptions options_;
  std::int64_t evaluations_ = 0;
  std::vector<Variable> variables_;  // v
  std::vector<double> scale_;

  std::unique_ptr<Climb> begin(const Start& start, bool relax) const {
    const auto v = static_cast<std::int64_t>(variables_.size());
    std::vector<double> x(v), low(v), high(v);
    for (std::int64_t k = 0; k < v; ++k) {
      const double code = start.u[variables_[k].column];
      if (std::isnan(code) || (variables_[k].relaxed && !relax)) {
        x[k] = low[k] = high[k] = std::isnan(code) ? 0.5 : code;
      } else {
        x[k] = code;
        std::tie(low[k], high[k]) =
            layout_.parent[variables_[k].block] ? layout_.stretch(variables_[k].block, code) : std::make_pair(0.0, 1.0);
        low[k] = std::max(low[k], code - options_.radius * scale_[k]);
        high[k] = std::min(high[k], code + options_.radius * scale_[k]);
      }
    }
    LbfgsbOptions settings;
    settings.gradient_tol = options_.gradient_tol;
    settings.value_tol = options_.value_tol;
    settings.max_iterations = settings.max_evaluations = static_cast<int>(options_.steps);
    std::unique_ptr<Climb> climb(new Climb{{1, v, {low.data(), v}, {high.data(), v}, {scale_.data(), v}, settings}});
    climb->path.start({x.data(), 1, v});
    return climb;
  }

  void place(const Start& start, const std::vector<double>& x, double* u) const {
    std::copy(start.u.begin(), start.u.end(), u);
    for (std::size_t k = 0; k < variables_.size(); ++k)
      if (!std::isnan(u[variables_[k].column])) u[variables_[k].column] = x[k];
  }

  // Moves the start to where its climb ended; if that must be rounded, its new value waits for the next scoring.
  void arrive(Start& start, const Climb& climb, Scored& scored) const {
    start.row = -1;
    if (start.exact && !(climb.value > start.value)) return;
    start.exact = true;
    std::vector<double> x(variables_.size()), u(layout_.d), snapped;
    climb.path.point(0, x.data());
    place(start, x, u.data());
    snapped = u;
    layout_.snap(snapped.data());
    for (std::int64_t c = 0; c < layout_.d; ++c)
      if (!std::isnan(u[c]) && snapped[c] != u[c]) start.row = scored.n() + scored.waiting();
    if (start.row >= 0) scored.add(snapped.data());
    start.u = snapped;
    start.value = climb.value;
  }
};

}  // namespace hpo
