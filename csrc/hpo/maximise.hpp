// The search for the next point: candidates, starts, a climb of all starts at once, moves between discrete points.
//
// Every budget is a count, so an ask costs the same on every machine and gives the same point. With m = quasi_random +
// local + carry + 1, s = starts and B = ascent.batches of up to ascent.lanes points, one search scores at most
//   m values and B batches of gradients      where every block is continuous,
//   s values more, and `alternations` times discrete.rounds * (discrete.neighbours + discrete.combine * (polish + 1))
//   values and B batches of gradients        where some are discrete,
//   enumerate_space values, and nothing else, in a space of no more points than that,
//   64 values more                           where every point among these is to be avoided,
//   of a scorer with rough ideas, in place of the first B batches: `rough_rounds` of gradients and ascent.lanes values,
//   and in place of B batches later one of gradients and a value for each that climbs,
//   and, of a scorer that first looks from afar, one value and `last_batches` of gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "ascent.hpp"
#include "candidates.hpp"
#include "discrete.hpp"
#include "known_points.hpp"
#include "layout.hpp"
#include "pick.hpp"
#include "rng.hpp"
#include "scored.hpp"
#include "span.hpp"
#include "starts.hpp"

namespace hpo {

struct SearchOptions {
  std::int64_t quasi_random = 256;
  std::int64_t local = 256;                          // perturbations of the best points told
  std::vector<double> scales{0.2, 0.05, 0.5, 0.01};  // of those, in units of min(length scale, 1)
  std::int64_t starts = 64;                          // most are given up early: AscentOptions::patience
  double eta = 1.0;                                  // of the Boltzmann weights e^(eta z) by which starts are drawn
  double spread = 0.1;                               // in length scales: starts and carried optima lie further apart
  std::int64_t polish = 8;                           // the best starts, to which the discrete search goes
  std::int64_t alternations = 2;                     // of discrete search and climb
  std::int64_t enumerate_space = 2048;
  std::int64_t carry = 4;  // local optima handed to the next search
  // Batches of the climb after the closer look at the best end.  A second look found nothing better.
  std::int64_t last_batches = 8;
  // Rough ideas that a climb follows, each made around where the one before led, the batches of each, and how far it is
  // followed, in length scales.  At n = 2,500, on four functions with d = 5 and 20, 60 asks: 10 batches found 0.912 of
  // the best expected improvement, 15 0.916, and with a third idea 0.932 in 1.3 of the time; by all rows 0.873.
  std::int64_t rough_rounds = 2, rough_batches = 15;
  double rough_radius = 0.5;
  AscentOptions ascent;
  DiscreteOptions discrete;
};

struct SearchInput {
  Mat<const double> best;                 // (t, d) points told, best first; t may be 0
  Mat<const double> carried;              // (s0, d) optima of the last search
  Vec<const double> lengthscale;          // (b)
  std::vector<const KnownPoints*> avoid;  // no point of these is returned while the space has others
  Key key;
};

struct SearchResult {
  std::vector<double> u;  // (d), canonical: exactly the point that was scored
  double value = 0.0;
  std::vector<double> optima;  // (n_optima, d), canonical, best first
  std::int64_t n_optima = 0;
  std::int64_t values = 0, gradients = 0;  // points scored without and with a gradient
};

class Search {
 public:
  Search(const Layout& layout, Scorer& scorer, const SearchInput& input, const SearchOptions& options = {})
      : layout_(layout), scorer_(scorer), input_(input), options_(options), scored_(layout, scorer) {}

  // Finds the best point that is not to be avoided. A function of the arguments and of nothing else.
  SearchResult run() {
    std::vector<Start> ends;
    if (layout_.count_points(options_.enumerate_space + 1) <= options_.enumerate_space)
      score_whole_space();
    else
      ends = climb_from_candidates();
    if (scorer_.vague()) ends = finish(ends.empty() ? best_scored() : ends);
    const std::int64_t row = pick().row();
    carry(ends.empty() ? best_scored() : ends);
    result_.u.assign(scored_.point(row), scored_.point(row) + layout_.d);
    result_.value = scored_.value(row);
    result_.values = scored_.evaluations();
    return result_;
  }

 private:
  enum Purpose : std::uint64_t { kPerturb = 1, kStarts = 2, kDiscrete = 3, kRefuge = 4 };

  const Layout& layout_;
  Scorer& scorer_;
  SearchInput input_;
  SearchOptions options_;
  Scored scored_;
  SearchResult result_;
  Scorer* rough_ = nullptr;      // see Scorer::rough
  std::int64_t promising_ = -1;  // the first of the rows that ends of rough climbs are; -1: there are none

  void score_whole_space() {
    std::vector<double> u(layout_.d);
    layout_.first_point(u.data());
    do scored_.add(u.data());
    while (layout_.next_point(u.data()));
    scored_.bound();
  }

  std::vector<Start> climb_from_candidates() {
    std::vector<std::int64_t> always = score_candidates();
    add_branches(always);
    Draws start_draws(input_.key, kStarts), discrete_draws(input_.key, kDiscrete);
    std::vector<Start> starts;
    for (const std::int64_t row : choose_starts(layout_, scored_, input_.lengthscale, always, options_.starts,
                                                options_.eta, options_.spread, start_draws))
      starts.push_back(start_at(row));
    sort(starts);
    std::vector<Start> told;  // the best one
    if (input_.best.rows > 0) told.push_back(start_at(always.front()));
    Ascent ascent(layout_, scorer_, input_.lengthscale, options_.ascent);
    if (!climb_roughly(starts, ascent)) {
      ascent.climb(starts, true, scored_);
      // One that no batch was left for, or that has nothing to climb with, is worth no more than its bound says.  Among
      // the candidates it has that still, and `prune` asks no more of it; a discrete search must know what it is worth.
      if (DiscreteSearch::blocks_of(layout_).empty())
        starts.erase(std::remove_if(starts.begin(), starts.end(), [](const Start& start) { return !start.exact; }),
                     starts.end());
      else
        settle(starts);
    }
    remember(starts);
    DiscreteSearch discrete(layout_, scored_, options_.discrete);
    sort(starts);
    std::vector<Start> best, again;
    if (!discrete.empty()) best = apart(starts, options_.polish, options_.spread);
    // What is told scores low, but what differs from it in one block often well: the search goes to the best told too.
    if (!best.empty()) {
      settle(told);
      best.insert(best.end(), told.begin(), told.end());
    }
    for (std::int64_t i = 0; i < options_.alternations && !best.empty(); ++i) {
      std::vector<char> moved = discrete.improve(best, discrete_draws);
      if (i == 0 && ascent.rounds()) moved.assign(moved.size(), 1);  // what rounding cost the others can make good
      again.clear();
      for (std::size_t s = 0; s < best.size(); ++s)
        if (moved[s]) again.push_back(best[s]);
      if (again.empty()) break;
      climb_on(again, ascent);
      for (std::size_t s = 0, a = 0; s < best.size(); ++s)
        if (moved[s]) best[s] = again[a++];
    }
    remember(best);
    starts.insert(starts.end(), best.begin(), best.end());
    sort(starts);
    result_.gradients += ascent.evaluations();
    return starts;
  }

  // Whether the scorer has a rough idea of what is around these, which get their values; `rough_` then is that.
  bool look_around(std::vector<Start>& starts) {
    std::vector<double> U, value(starts.size());
    for (const Start& start : starts) U.insert(U.end(), start.u.begin(), start.u.end());
    rough_ = scorer_.rough({U.data(), static_cast<std::int64_t>(starts.size()), layout_.d}, value.data());
    if (!rough_) return false;
    result_.gradients += static_cast<std::int64_t>(starts.size());
    for (std::size_t i = 0; i < starts.size(); ++i) know(starts[i], value[i]);
    return true;
  }

  // Moves the starts to where the rough idea leads; their values are then its own.
  void follow(std::vector<Start>& starts, bool relax) {
    Scored seen(layout_, *rough_);
    AscentOptions rough = options_.ascent;
    rough.batches = options_.rough_batches;
    rough.radius = options_.rough_radius;
    for (Start& start : starts) start.exact = false;
    Ascent(layout_, *rough_, input_.lengthscale, rough).climb(starts, relax, seen);
    for (Start& start : starts) start.exact = false;
  }

  // Climbs by rough ideas, and leaves all points that came to have a value on the way, and the ends; false where there
  // is none.  As climbs meet, the next starts take the places.
  bool climb_roughly(std::vector<Start>& starts, const Ascent& ascent) {
    if (ascent.empty()) return false;
    std::vector<Start> climbing, valued;
    auto next = starts.begin();
    for (std::int64_t round = 0; round < options_.rough_rounds; ++round) {
      for (; static_cast<std::int64_t>(climbing.size()) < options_.ascent.lanes && next != starts.end(); ++next)
        climbing.push_back(*next);
      if (climbing.empty() || !look_around(climbing)) break;
      valued.insert(valued.end(), climbing.begin(), climbing.end());
      follow(climbing, true);
      sort(climbing);
      climbing = apart(climbing, options_.ascent.lanes, options_.spread);
    }
    if (valued.empty()) return false;
    if (DiscreteSearch::blocks_of(layout_).empty())
      enter(climbing);
    else
      settle(climbing);  // a discrete search must know what they are worth
    valued.insert(valued.end(), climbing.begin(), climbing.end());
    starts = std::move(valued);
    return true;
  }

  // Climbs on from points that have their values, and leaves none lower than it was.
  void climb_on(std::vector<Start>& starts, Ascent& ascent) {
    if (ascent.empty()) return;
    if (!look_around(starts)) return ascent.climb(starts, false, scored_);
    std::vector<Start> ends = starts;
    follow(ends, false);
    settle(ends);
    for (std::size_t i = 0; i < starts.size(); ++i)
      if (ends[i].value > starts[i].value) starts[i] = ends[i];
  }

  // Climbs from the best of what a first look found, with a closer look at where it is, and forgets all values that
  // were not seen so.
  std::vector<Start> finish(std::vector<Start> ends) {
    std::vector<Start> best(1, start_at(pick().row()));
    weigh(ends);
    scorer_.look_closer({best.front().u.data(), 1, layout_.d});
    scored_.clear();
    promising_ = -1, rough_ = nullptr;
    for (Start& end : ends) end.row = -1;  // later ones are starts for the next search
    best.front().row = -1;
    best.front().exact = false;
    settle(best);
    AscentOptions last = options_.ascent;
    last.batches = options_.last_batches;
    Ascent ascent(layout_, scorer_, input_.lengthscale, last);
    ascent.climb(best, false, scored_);
    result_.gradients += ascent.evaluations();
    remember(best);
    ends.insert(ends.begin(), best.front());
    return ends;
  }

  // Scores the candidates in one batch; returns the rows to start from in any case: the best point told, and what the
  // last search carried over.
  std::vector<std::int64_t> score_candidates() {
    const std::int64_t evenly = std::max<std::int64_t>(options_.quasi_random, 1);
    std::vector<double> rows(std::max(evenly, options_.local) * layout_.d);
    const auto add = [&](std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) scored_.add(rows.data() + i * layout_.d);
    };
    spread_evenly(layout_, input_.key, {rows.data(), evenly, layout_.d});
    add(evenly);
    if (input_.best.rows > 0) {
      Draws draws(input_.key, kPerturb);
      perturb_best(layout_, input_.best, input_.lengthscale, options_.scales, draws,
                   {rows.data(), options_.local, layout_.d});
      add(options_.local);
    }
    std::vector<std::int64_t> always;
    std::vector<double> u(layout_.d);
    const auto add_always = [&](Mat<const double> points, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        u.assign(points.row(i), points.row(i) + layout_.d);
        layout_.snap(u.data());
        always.push_back(scored_.waiting());
        scored_.add(u.data());
      }
    };
    add_always(input_.best, std::min<std::int64_t>(input_.best.rows, 1));
    add_always(input_.carried, std::min(input_.carried.rows, options_.carry));
    scored_.bound();
    return always;
  }

  // One start for each set of blocks that exist together, half of all starts at most: only a climb can tell what a
  // branch of the space is worth, because its own blocks are nowhere near their best in a candidate.
  void add_branches(std::vector<std::int64_t>& always) const {
    if (layout_.cond_child.empty()) return;
    std::vector<std::vector<char>> seen;
    std::vector<char> active(layout_.b);
    for (const std::int64_t row : scored_.ranked()) {
      if (2 * static_cast<std::int64_t>(seen.size()) >= options_.starts) break;
      layout_.activity(scored_.point(row), active.data());
      if (std::find(seen.begin(), seen.end(), active) != seen.end()) continue;
      seen.push_back(active);
      always.push_back(row);
    }
  }

  Start start_at(std::int64_t row) const {
    const bool exact = scored_.exact(row);
    return {std::vector<double>(scored_.point(row), scored_.point(row) + layout_.d), scored_.value(row),
            exact ? -1 : row, exact};
  }

  // Puts the ends of rough climbs, best first, among the candidates: the pick gives the best of them their values, in
  // one batch with candidates, and others only where it must.  Until then their values are those of the rough idea.
  void enter(std::vector<Start>& ends) {
    promising_ = scored_.n();
    for (Start& end : ends) {
      end.row = scored_.n() + scored_.waiting();
      scored_.add(end.u.data());
    }
    scored_.bound();
  }

  // Gives the starts that still have a bound their value.
  void settle(std::vector<Start>& starts) {
    const std::int64_t first = scored_.n();
    std::vector<Start*> waiting;
    for (Start& start : starts) {
      if (start.exact) continue;
      scored_.add(start.u.data());
      waiting.push_back(&start);
    }
    scored_.score();
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      know(*waiting[i], scored_.value(first + static_cast<std::int64_t>(i)));
    }
  }

  // Gives the start its value, and the candidate that it is, if it is one.
  void know(Start& start, double value) {
    start.value = or_worst(value);
    start.exact = true;
    if (start.row >= 0 && !scored_.exact(start.row)) scored_.know(start.row, value);
    start.row = -1;
  }

  void remember(const std::vector<Start>& ends) {
    for (const Start& end : ends)
      if (end.exact) scored_.add(end.u.data(), end.value);
  }

  static void sort(std::vector<Start>& starts) {
    std::stable_sort(starts.begin(), starts.end(), [](const Start& p, const Start& q) { return p.value > q.value; });
  }

  // The first `count` of `starts`, best first, that lie further than `radius` length scales from those before.
  std::vector<Start> apart(const std::vector<Start>& starts, std::int64_t count, double radius) const {
    std::vector<Start> kept;
    for (const Start& start : starts) {
      if (static_cast<std::int64_t>(kept.size()) >= count) break;
      if (std::none_of(kept.begin(), kept.end(), [&](const Start& other) {
            return scaled_distance2(layout_, input_.lengthscale, start.u.data(), other.u.data(), radius * radius) <=
                   radius * radius;
          }))
        kept.push_back(start);
    }
    return kept;
  }

  // Those that have a value; where none has, those that have a bound.
  std::vector<Start> best_scored() const {
    std::vector<Start> starts;
    for (const bool exact : {true, false}) {
      if (!starts.empty()) break;
      for (const std::int64_t row : scored_.ranked())
        if (scored_.exact(row) == exact) starts.push_back(start_at(row));
    }
    return starts;
  }

  Pick pick() {
    return {layout_, scored_, input_.avoid, rough_, promising_, options_.ascent.lanes, Draws(input_.key, kRefuge)};
  }

  // What the pick learned of the ends of rough climbs is more than these knew.
  void weigh(std::vector<Start>& ends) const {
    if (promising_ < 0) return;
    for (Start& end : ends)
      if (!end.exact && end.row >= 0) end.value = std::min(end.value, scored_.value(end.row));
    sort(ends);
  }

  void carry(std::vector<Start> ends) {
    weigh(ends);
    for (const Start& end : apart(ends, options_.carry, options_.spread)) {
      result_.optima.insert(result_.optima.end(), end.u.begin(), end.u.end());
      ++result_.n_optima;
    }
  }
};

}  // namespace hpo
