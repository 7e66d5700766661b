// The discrete half of the search: from each start to the best point that differs in one block, until none is better.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "candidates.hpp"
#include "layout.hpp"
#include "scored.hpp"
#include "span.hpp"

namespace hpo {

struct DiscreteOptions {
  std::int64_t enumerate = 16;    // blocks with up to so many points are enumerated; of longer ones so many are tried
  std::int64_t neighbours = 512;  // scored in one round, over all starts
  std::int64_t rounds = 4;
  std::int64_t combine = 8;  // so many of the best single changes are also tried together
};

class DiscreteSearch {
 public:
  // `scored` holds the candidates: where a change brings a block into existence, its value comes from the best of them.
  DiscreteSearch(const Layout& layout, Scored& scored, const DiscreteOptions& options)
      : layout_(layout), scored_(scored), options_(options), blocks_(blocks_of(layout)) {
    if (!empty()) ranked_ = scored.ranked();
  }

  // What there is to change: the discrete blocks, and the continuous ones that decide about others.
  static std::vector<std::int64_t> blocks_of(const Layout& layout) {
    std::vector<std::int64_t> blocks;
    for (std::int64_t j = 0; j < layout.b; ++j)
      if (layout.discrete(j) ? layout.size[j] > 1 : layout.parent[j] != 0) blocks.push_back(j);
    return blocks;
  }

  bool empty() const { return blocks_.empty(); }

  // Moves each start to better points as long as single changes, or several of the best ones together, improve it;
  // after each round only the better half goes on, so that the best get most of the budget. Scores at most rounds *
  // (neighbours + combine * starts) points. Returns which starts moved.
  std::vector<char> improve(std::vector<Start>& starts, Draws& draws) {
    std::vector<char> moved(starts.size(), 0), open(starts.size(), 1);
    for (std::int64_t round = 0; round < options_.rounds && !empty(); ++round) {
      close_all_but(starts, std::max<std::int64_t>(1, static_cast<std::int64_t>(starts.size()) >> round), open);
      const std::int64_t n_open = std::count(open.begin(), open.end(), 1);
      if (n_open == 0) break;
      const std::int64_t share = std::max<std::int64_t>(1, options_.neighbours / n_open);
      std::vector<Change> changes;
      for (std::size_t s = 0; s < starts.size(); ++s)
        if (open[s]) collect(static_cast<std::int64_t>(s), starts[s].u, share, draws, changes);
      // One whose bound does not exceed the start's value is no improvement: what it is worth need not be known.
      const std::int64_t first = scored_.n();
      scored_.bound();
      std::vector<std::int64_t> above;
      for (std::size_t i = 0; i < changes.size(); ++i)
        if (scored_.value(first + i) > starts[changes[i].start].value) above.push_back(first + i);
      scored_.make_exact(above);
      for (std::size_t i = 0; i < changes.size(); ++i) changes[i].value = scored_.value(first + i);
      const std::int64_t best_rows = first + static_cast<std::int64_t>(changes.size());
      const std::vector<std::int64_t> owner = combine(starts, changes, first);
      scored_.score();

      open.assign(starts.size(), 0);
      const auto offer = [&](std::int64_t s, std::int64_t row) {
        Start& start = starts[s];
        if (!(scored_.value(row) > start.value)) return;
        start.u.assign(scored_.point(row), scored_.point(row) + layout_.d);
        start.value = scored_.value(row);
        moved[s] = open[s] = 1;
      };
      for (std::size_t i = 0; i < changes.size(); ++i) offer(changes[i].start, first + i);
      for (std::size_t i = 0; i < owner.size(); ++i) offer(owner[i], best_rows + i);
    }
    return moved;
  }

 private:
  struct Change {
    std::int64_t start, block;
    double value;
  };

  const Layout& layout_;
  Scored& scored_;
  std::vector<std::int64_t> ranked_;
  DiscreteOptions options_;
  std::vector<std::int64_t> blocks_;

  // Closes all open starts but the `count` best.
  static void close_all_but(const std::vector<Start>& starts, std::int64_t count, std::vector<char>& open) {
    std::vector<std::size_t> order;
    for (std::size_t s = 0; s < starts.size(); ++s)
      if (open[s]) order.push_back(s);
    std::stable_sort(order.begin(), order.end(), [&](auto p, auto q) { return starts[p].value > starts[q].value; });
    for (std::size_t i = static_cast<std::size_t>(count); i < order.size(); ++i) open[order[i]] = 0;
  }

  // Lets the neighbours of `u` wait for scoring, `share` at most: whole blocks, in an order of their own each time, so
  // that over the rounds every block has its turn where the share does not hold them all.
  void collect(std::int64_t s, const std::vector<double>& u, std::int64_t share, Draws& draws,
               std::vector<Change>& changes) {
    std::vector<std::int64_t> order = blocks_;
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
    std::vector<double> codes, v;
    for (const std::int64_t block : order) {
      const double here = u[layout_.column(block)];
      if (std::isnan(here)) continue;
      codes.clear();
      codes_near(block, here, draws, codes);
      for (const double code : codes) {
        if (share-- <= 0) return;
        v = u;
        v[layout_.column(block)] = code;
        settle(v.data(), block, code);
        scored_.add(v.data());
        changes.push_back({s, block, 0.0});
      }
    }
  }

  // The codes to try in place of `here`.
  void codes_near(std::int64_t block, double here, Draws& draws, std::vector<double>& codes) const {
    if (!layout_.discrete(block)) return other_stretches(block, here, codes);
    const std::int64_t size = layout_.size[block], at = layout_.index_of(block, here);
    if (size <= options_.enumerate) {
      for (std::int64_t i = 0; i < size; ++i)
        if (i != at) codes.push_back(layout_.code_of(block, i));
    } else if (layout_.kind[block] == CATEGORICAL) {
      some_choices(block, at, draws, codes);
    } else {
      // Steps 1, r, r^2, ... both ways, r >= 2 so that `enumerate` of them span the range.
      const double per_side = static_cast<double>(std::max<std::int64_t>(1, options_.enumerate / 2));
      const double ratio = std::max(2.0, std::pow(static_cast<double>(size), 1.0 / per_side));
      for (double step = 1.0; step < static_cast<double>(size); step = std::ceil(step * ratio)) {
        const auto by = static_cast<std::int64_t>(step);
        if (at - by >= 0) codes.push_back(layout_.code_of(block, at - by));
        if (at + by < size) codes.push_back(layout_.code_of(block, at + by));
      }
    }
  }

  // Of many choices: those of the best points, then any. Two choices that no told point has are the same to the model.
  void some_choices(std::int64_t block, std::int64_t at, Draws& draws, std::vector<double>& codes) const {
    const auto limit = static_cast<std::size_t>(options_.enumerate);
    const auto add = [&](double code) {
      if (layout_.index_of(block, code) != at && std::find(codes.begin(), codes.end(), code) == codes.end())
        codes.push_back(code);
    };
    for (const std::int64_t row : ranked_) {
      if (2 * codes.size() >= limit) break;
      const double code = scored_.point(row)[layout_.column(block)];
      if (!std::isnan(code)) add(code);
    }
    for (std::size_t tries = 0; tries < limit && codes.size() < limit; ++tries)
      add(layout_.code_of(block, other_choice(layout_.size[block], at, draws)));
  }

  // The middles of the other stretches of a continuous block on which others depend, the nearest `enumerate` at most.
  void other_stretches(std::int64_t block, double here, std::vector<double>& codes) const {
    std::vector<double> ends{0.0, 1.0};
    for (std::size_t i = 0; i < layout_.cond_parent.size(); ++i)
      if (layout_.cond_parent[i] == block)
        for (std::int64_t t = layout_.cond_start[i]; t < layout_.cond_start[i + 1]; ++t)
          for (const double end : {layout_.cond_lo[t], layout_.cond_hi[t]})
            if (end > 0.0 && end < 1.0) ends.push_back(end);
    std::sort(ends.begin(), ends.end());
    for (std::size_t i = 0; i + 1 < ends.size(); ++i)
      if (ends[i] < ends[i + 1] && !(here >= ends[i] && here <= ends[i + 1]))
        codes.push_back(0.5 * (ends[i] + ends[i + 1]));
    std::stable_sort(codes.begin(), codes.end(),
                     [&](double p, double q) { return std::fabs(p - here) < std::fabs(q - here); });
    codes.resize(std::min(codes.size(), static_cast<std::size_t>(options_.enumerate)));
  }

  // Makes `v` a point of the space again after `block` took `code`: blocks that no longer exist go, those that now
  // exist take their values from the best candidate that has them under the same code, or else from the best that has
  // them.
  void settle(double* v, std::int64_t block, double code) const {
    if (!layout_.parent[block]) return;
    const std::int64_t column = layout_.column(block);
    const double* donor = nullptr;
    for (const std::int64_t j : layout_.order) {
      double& to = v[layout_.column(j)];
      if (!layout_.exists(j, v)) {
        to = std::nan("");
      } else if (std::isnan(to)) {
        if (donor == nullptr || std::isnan(donor[layout_.column(j)]))
          donor = find([&](const double* u) { return u[column] == code && !std::isnan(u[layout_.column(j)]); });
        if (donor == nullptr) donor = find([&](const double* u) { return !std::isnan(u[layout_.column(j)]); });
        to = layout_.nearest(j, donor == nullptr ? 0.5 : donor[layout_.column(j)]);
      }
    }
  }

  template <class Has>
  const double* find(Has has) const {
    for (const std::int64_t row : ranked_)
      if (has(scored_.point(row))) return scored_.point(row);
    return nullptr;
  }

  // For each start, the best change of each block, the best 2, 3, ... `combine` of them made together: where blocks
  // hardly interact, one round then does the work of many. Adds these points to `scored_`; returns whose they are.
  std::vector<std::int64_t> combine(const std::vector<Start>& starts, const std::vector<Change>& changes,
                                    std::int64_t first) {
    std::vector<std::int64_t> owner;
    std::vector<double> v;
    for (std::size_t from = 0; from < changes.size();) {
      std::size_t to = from;
      while (to < changes.size() && changes[to].start == changes[from].start) ++to;
      const Start& start = starts[changes[from].start];
      std::vector<std::size_t> best;  // one change a block: those of a block stand together
      for (std::size_t i = from; i < to; ++i) {
        if (!(changes[i].value > start.value)) continue;
        if (!best.empty() && changes[best.back()].block == changes[i].block) {
          if (changes[i].value > changes[best.back()].value) best.back() = i;
        } else {
          best.push_back(i);
        }
      }
      std::stable_sort(best.begin(), best.end(),
                       [&](std::size_t p, std::size_t q) { return changes[p].value > changes[q].value; });
      best.resize(std::min(best.size(), static_cast<std::size_t>(options_.combine)));
      v = start.u;
      for (std::size_t k = 0; k < best.size(); ++k) {
        const std::int64_t block = changes[best[k]].block, column = layout_.column(block);
        if (std::isnan(v[column])) continue;  // gone by an earlier change
        v[column] = scored_.point(first + static_cast<std::int64_t>(best[k]))[column];
        settle(v.data(), block, v[column]);
        if (k == 0) continue;
        scored_.add(v.data());
        owner.push_back(changes[from].start);
      }
      from = to;
    }
    return owner;
  }
};

}  // namespace hpo
