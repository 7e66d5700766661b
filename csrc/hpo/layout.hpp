// The columns of a search space as plain arrays: which column is what, which values it can take, and when it exists.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "span.hpp"

namespace hpo {

enum Kind : std::int32_t { CONTINUOUS = 0, ORDERED = 1, CATEGORICAL = 2 };

// The arrays as they cross from Python; `Layout` copies them. Shapes: start (b+1), the next six (b), cond_child and
// cond_parent (c), cond_start (c+1), cond_lo and cond_hi (t).
struct LayoutArrays {
  std::int64_t d = 0, b = 0;
  Vec<const std::int64_t> start;
  Vec<const std::int32_t> kind;
  Vec<const std::int64_t> size;
  Vec<const double> low, log_low, log_high;
  Vec<const std::int64_t> order;
  Vec<const std::int64_t> cond_child, cond_parent, cond_start;
  Vec<const double> cond_lo, cond_hi;
};

// Block j owns column start[j]. Its code is u itself where it is continuous, (i + 1/2)/size for point i of a discrete
// one, and evenly spaced in ln(value) for a logarithmic integer. A column whose block does not exist is NaN.
class Layout {
 public:
  std::int64_t d = 0, b = 0;
  std::vector<std::int64_t> start;
  std::vector<std::int32_t> kind;
  std::vector<std::int64_t> size;  // representable points; 0: continuous
  std::vector<double> low, log_low, log_high;
  std::vector<std::int64_t> order;  // parents before children
  std::vector<std::int64_t> cond_child, cond_parent, cond_start;
  std::vector<double> cond_lo, cond_hi;
  // Derived: whether a block can be missing, and whether others hang on it.
  std::vector<char> conditional, parent;

  Layout() = default;

  explicit Layout(const LayoutArrays& a)
      : d(a.d),
        b(a.b),
        start(copy(a.start)),
        kind(copy(a.kind)),
        size(copy(a.size)),
        low(copy(a.low)),
        log_low(copy(a.log_low)),
        log_high(copy(a.log_high)),
        order(copy(a.order)),
        cond_child(copy(a.cond_child)),
        cond_parent(copy(a.cond_parent)),
        cond_start(copy(a.cond_start)),
        cond_lo(copy(a.cond_lo)),
        cond_hi(copy(a.cond_hi)) {
    check();
    derive();
  }

  std::int64_t column(std::int64_t block) const { return start[block]; }
  bool discrete(std::int64_t block) const { return kind[block] != CONTINUOUS; }
  bool logarithmic(std::int64_t block) const { return discrete(block) && !std::isnan(low[block]); }

  // The point of a discrete block whose bin holds `code`; codes outside [0, 1] count as the nearest end.
  std::int64_t index_of(std::int64_t block, double code) const {
    const double last = static_cast<double>(size[block] - 1);
    double i;
    if (logarithmic(block))
      i = std::floor(std::exp(log_low[block] + code * (log_high[block] - log_low[block])) + 0.5) - low[block];
    else
      i = std::floor(code * static_cast<double>(size[block]));
    if (!(i > 0.0)) return 0;
    return static_cast<std::int64_t>(std::min(i, last));
  }

  // The canonical code of point `index` of a discrete block.
  double code_of(std::int64_t block, std::int64_t index) const {
    const double i = static_cast<double>(index);
    if (logarithmic(block)) return (std::log(low[block] + i) - log_low[block]) / (log_high[block] - log_low[block]);
    return (i + 0.5) / static_cast<double>(size[block]);
  }

  // The nearest code that a block can take. NaN, a value nobody gave, becomes the middle.
  double nearest(std::int64_t block, double code) const {
    const double u = std::isnan(code) ? 0.5 : std::min(std::max(code, 0.0), 1.0);
    return discrete(block) ? code_of(block, index_of(block, u)) : u;
  }

  // Whether a block exists in `u`, of which its parents' columns are canonical.
  bool exists(std::int64_t block, const double* u) const {
    for (std::int64_t i = first_condition_[block]; i < first_condition_[block + 1]; ++i)
      if (!holds(conditions_[i], u)) return false;
    return true;
  }

  // Moves `u` (d) to the nearest representable point: canonical codes, NaN where a block does not exist.
  void snap(double* u) const {
    for (const std::int64_t block : order) {
      double& code = u[column(block)];
      code = exists(block, u) ? nearest(block, code) : std::numeric_limits<double>::quiet_NaN();
    }
  }

  // active[j] = 1 where block j exists in the canonical point `u`.
  void activity(const double* u, char* active) const {
    for (std::int64_t j = 0; j < b; ++j) active[j] = !std::isnan(u[column(j)]);
  }

  // Equal as a trial: the same point of each discrete block, continuous codes within 1e-9, the same blocks missing.
  bool same_point(const double* p, const double* q) const {
    for (std::int64_t j = 0; j < b; ++j) {
      const double x = p[column(j)], y = q[column(j)];
      if (std::isnan(x) || std::isnan(y)) {
        if (std::isnan(x) != std::isnan(y)) return false;
      } else if (discrete(j) ? index_of(j, x) != index_of(j, y) : !(std::fabs(x - y) <= same_code)) {
        return false;
      }
    }
    return true;
  }

  // How many points the space has, at most `limit`; `limit` also where a continuous block can exist. Conditions that
  // exclude one another are counted as if they could meet, so the count is an upper bound.
  std::int64_t count_points(std::int64_t limit) const {
    std::int64_t count = 1;
    for (std::int64_t j = 0; j < b; ++j) {
      if (!discrete(j)) return limit;
      const std::int64_t choices = size[j] + conditional[j];
      if (count > limit / choices) return limit;
      count *= choices;
    }
    return std::min(count, limit);
  }

  // Sets `u` to the first point of a wholly discrete space, or moves it to the next one; false after the last, and
  // `u` is then the first again. Every representable point comes exactly once.
  void first_point(double* u) const { restart(0, u); }
  bool next_point(double* u) const {
    for (std::int64_t k = b - 1; k >= 0; --k) {
      const std::int64_t j = order[k];
      double& code = u[column(j)];
      if (std::isnan(code) || index_of(j, code) + 1 >= size[j]) continue;
      code = code_of(j, index_of(j, code) + 1);
      restart(k + 1, u);
      return true;
    }
    first_point(u);
    return false;
  }

  // The stretch of codes around `code` in which a continuous block can move without any child coming or going. The ends
  // of an interval belong to it; outside, it keeps a hair's breadth away, so that rounding elsewhere cannot step over
  // them.
  std::pair<double, double> stretch(std::int64_t block, double code) const {
    double lo = 0.0, hi = 1.0;
    for (std::size_t i = 0; i < cond_parent.size(); ++i) {
      if (cond_parent[i] != block) continue;
      for (std::int64_t t = cond_start[i]; t < cond_start[i + 1]; ++t) {
        if (code >= cond_lo[t] && code <= cond_hi[t]) {
          lo = std::max(lo, cond_lo[t]);
          hi = std::min(hi, cond_hi[t]);
        } else if (code < cond_lo[t]) {
          hi = std::min(hi, cond_lo[t] - same_code);
        } else {
          lo = std::max(lo, cond_hi[t] + same_code);
        }
      }
    }
    if (code >= lo && code <= hi) return {lo, hi};
    return {code, code};
  }

  static constexpr double same_code = 1e-9;

 private:
  struct Interval {
    double lo, hi;
  };
  struct Condition {
    std::int64_t parent;
    std::vector<Interval> intervals;  // of codes, or of indices where the parent is discrete
  };
  std::vector<Condition> conditions_;          // sorted by child
  std::vector<std::int64_t> first_condition_;  // (b+1)

  template <class T>
  static std::vector<T> copy(Vec<const T> v) {
    return std::vector<T>(v.data, v.data + v.n);
  }

  bool holds(const Condition& condition, const double* u) const {
    const double code = u[column(condition.parent)];
    if (std::isnan(code)) return false;
    const double x = discrete(condition.parent) ? static_cast<double>(index_of(condition.parent, code)) : code;
    for (const Interval& interval : condition.intervals)
      if (x >= interval.lo && x <= interval.hi) return true;
    return false;
  }

  void restart(std::int64_t from, double* u) const {
    for (std::int64_t k = from; k < b; ++k) {
      const std::int64_t j = order[k];
      u[column(j)] = exists(j, u) ? code_of(j, 0) : std::numeric_limits<double>::quiet_NaN();
    }
  }

  // An interval of a discrete parent's codes as one of indices: a code that another logarithm routine computed may be
  // one rounding away from ours, and a closed interval with such a code as its end must still hold its point.
  Interval indices(std::int64_t block, double lo, double hi) const {
    const double slack = std::numeric_limits<double>::epsilon();
    std::int64_t first = index_of(block, lo), last = index_of(block, hi);
    if (code_of(block, first) < lo - slack) ++first;
    if (code_of(block, last) > hi + slack) --last;
    return {static_cast<double>(first), static_cast<double>(last)};
  }

  void derive() {
    conditional.assign(b, 0);
    parent.assign(b, 0);
    for (const std::int64_t child : cond_child) conditional[child] = 1;
    for (const std::int64_t p : cond_parent) parent[p] = 1;
    first_condition_.assign(b + 1, 0);
    for (std::int64_t j = 0; j < b; ++j) {
      for (std::size_t i = 0; i < cond_child.size(); ++i) {
        if (cond_child[i] != j) continue;
        Condition condition{cond_parent[i], {}};
        for (std::int64_t t = cond_start[i]; t < cond_start[i + 1]; ++t)
          condition.intervals.push_back(discrete(condition.parent) ? indices(condition.parent, cond_lo[t], cond_hi[t])
                                                                   : Interval{cond_lo[t], cond_hi[t]});
        conditions_.push_back(std::move(condition));
      }
      first_condition_[j + 1] = static_cast<std::int64_t>(conditions_.size());
    }
  }

  static void require(bool ok, const char* rule) {
    if (!ok) throw std::invalid_argument(rule);
  }

  void check() const {
    const auto blocks = static_cast<std::size_t>(b);
    const std::size_t conditions = cond_child.size();
    require(d >= 1 && b == d, "layout: every block must own one column");
    require(start.size() == blocks + 1 && kind.size() == blocks && size.size() == blocks && low.size() == blocks &&
                log_low.size() == blocks && log_high.size() == blocks && order.size() == blocks,
            "layout: the arrays of the blocks must have b entries, start b + 1");
    require(cond_parent.size() == conditions && cond_start.size() == conditions + 1 && cond_start.front() == 0 &&
                cond_start.back() == static_cast<std::int64_t>(cond_lo.size()) && cond_lo.size() == cond_hi.size(),
            "layout: the arrays of the conditions must fit together");
    for (std::int64_t j = 0; j <= b; ++j) require(start[j] == j, "layout: every block must own one column");
    for (std::int64_t j = 0; j < b; ++j)
      require(kind[j] == CONTINUOUS ? size[j] == 0 : (kind[j] == ORDERED || kind[j] == CATEGORICAL) && size[j] >= 1,
              "layout: a discrete block must have at least one point, a continuous one size 0");
    std::vector<std::int64_t> place(blocks, -1);
    for (std::int64_t k = 0; k < b; ++k) {
      require(order[k] >= 0 && order[k] < b && place[order[k]] < 0, "layout: order must be a permutation");
      place[order[k]] = k;
    }
    for (std::size_t i = 0; i < conditions; ++i) {
      require(cond_child[i] >= 0 && cond_child[i] < b && cond_parent[i] >= 0 && cond_parent[i] < b,
              "layout: a condition must name blocks of the space");
      require(place[cond_parent[i]] < place[cond_child[i]], "layout: order must put parents before children");
      require(cond_start[i] <= cond_start[i + 1], "layout: cond_start must not fall");
    }
  }
};

}  // namespace hpo
