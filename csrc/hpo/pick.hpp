// Which of the scored points is returned: the best that need not be avoided, though not all have got their value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "known_points.hpp"
#include "layout.hpp"
#include "rng.hpp"
#include "scored.hpp"

namespace hpo {

class Pick {
 public:
  // rough: whose bounds are closer than those that the points have, or null.  promising: the first of half as many rows
  // as `lanes` that are likely the best, or -1.  lanes: values that cost no more than one.
  Pick(const Layout& layout, Scored& scored, const std::vector<const KnownPoints*>& avoid, Scorer* rough,
       std::int64_t promising, std::int64_t lanes, Draws draws)
      : layout_(layout),
        scored_(scored),
        avoid_(avoid),
        rough_(rough),
        promising_(promising),
        lanes_(lanes),
        draws_(draws) {}

  bool avoided(const double* u) const {
    return std::any_of(avoid_.begin(), avoid_.end(), [&](const KnownPoints* k) { return k->contains(u); });
  }

  // The row of the best point scored that need not be avoided. Everything scored can be known only where points are
  // few: then of other points, drawn evenly, and at last, in a finite space, all in turn. If the space has no other
  // point: of the best.
  std::int64_t row() {
    prune([&](std::int64_t row) { return !avoided(scored_.point(row)); });
    const std::int64_t free = best_free(0);
    if (free >= 0) return free;
    const std::int64_t first = scored_.n();
    look_for_free();
    scored_.score();
    const std::int64_t other = best_free(first);
    if (other >= 0) return other;
    prune([](std::int64_t) { return true; });
    for (const std::int64_t row : scored_.ranked())
      if (scored_.exact(row)) return row;  // a bound may be equal
    return scored_.ranked().front();
  }

 private:
  const Layout& layout_;
  Scored& scored_;
  const std::vector<const KnownPoints*>& avoid_;
  Scorer* rough_;
  std::int64_t promising_, lanes_;
  bool nearby_ = false;
  Draws draws_;

  bool promising(std::int64_t row) const {
    return promising_ >= 0 && row >= promising_ && row < promising_ + lanes_ / 2;
  }

  // Puts closer bounds in place of larger ones: the rough idea's, which are close around the best, and where more are
  // left than one batch of values takes, those by what lies near them.  Each once; false where there is nothing to try.
  bool tighten(const std::vector<std::int64_t>& rows) {
    Scorer* rough = rough_;
    rough_ = nullptr;
    if (rough) return scored_.tighten(rows, [&](Mat<const double> U, double* bound) { return rough->bound(U, bound); });
    // Of many, the bounds do not tell the good ones from the others: some values come first.
    const auto m = static_cast<std::int64_t>(rows.size());
    if (nearby_ || m <= lanes_ || m > 8 * lanes_) return false;
    nearby_ = true;
    return scored_.tighten_nearby(rows);
  }

  // Of the bounds that are above the best value of the rows that count, some become values, until there are none: what
  // is returned is what the values of all would give.
  template <class Counts>
  void prune(Counts&& counts) {
    for (;;) {
      double best = -std::numeric_limits<double>::infinity();
      std::vector<std::int64_t> above;
      for (std::int64_t row = 0; row < scored_.n(); ++row)
        if (scored_.exact(row) && scored_.value(row) > best && counts(row)) best = scored_.value(row);
      for (std::int64_t row = 0; row < scored_.n(); ++row)
        if (!scored_.exact(row) && scored_.value(row) > best && counts(row)) above.push_back(row);
      if (above.empty()) return;
      if (tighten(above)) continue;
      const std::size_t count = std::min(above.size(), static_cast<std::size_t>(lanes_));
      std::partial_sort(above.begin(), above.begin() + static_cast<std::ptrdiff_t>(count), above.end(),
                        [&](auto i, auto j) {
                          if (promising(i) != promising(j)) return promising(i);
                          return scored_.value(i) > scored_.value(j) || (scored_.value(i) == scored_.value(j) && i < j);
                        });
      above.resize(count);
      scored_.make_exact(above);
    }
  }

  // The best of the rows from `first` on that has a value and is free, or of those that have a bound where there are
  // none; -1 where no row is free.
  std::int64_t best_free(std::int64_t first) const {
    std::int64_t best = -1;
    for (std::int64_t row = first; row < scored_.n(); ++row)
      if (scored_.exact(row) && (best < 0 || scored_.value(row) > scored_.value(best))) best = row;
    if (best >= 0 && !avoided(scored_.point(best))) {  // nearly always: no need to sort
      return best;
    }
    for (const bool exact : {true, false})
      for (const std::int64_t row : scored_.ranked(first)) {
        if (scored_.exact(row) != exact || avoided(scored_.point(row))) continue;
        return row;
      }
    return -1;
  }

  // Lets some points that need not be avoided wait for scoring.
  void look_for_free() {
    constexpr std::int64_t kEnough = 64, kTries = 4096;
    std::vector<double> u(layout_.d);
    for (std::int64_t i = 0; i < kTries && scored_.waiting() < kEnough; ++i) {
      for (double& code : u) code = draws_.uniform();
      layout_.snap(u.data());
      if (!avoided(u.data())) scored_.add(u.data());
    }
    if (scored_.waiting() > 0) return;
    for (std::int64_t j = 0; j < layout_.b; ++j)
      if (!layout_.discrete(j)) return;
    // From the point drawn last once around the space; no further than there are points to avoid.
    std::int64_t known = 1;
    for (const KnownPoints* k : avoid_) known += k->n();
    for (std::int64_t i = 0; i < known + kEnough && scored_.waiting() < kEnough; ++i) {
      layout_.next_point(u.data());
      if (!avoided(u.data())) scored_.add(u.data());
    }
  }
};

}  // namespace hpo
