// The set of points that must not be asked again: O(1) to add, to look up, and to take back the latest ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "layout.hpp"

namespace hpo {

// A hash table of points, equal as Layout::same_point says. Continuous codes count as equal within a tolerance, which
// no hash of the codes alone can respect. So the hash covers the discrete points, and which blocks exist, exactly, and
// of the continuous codes only the cells of a few weighted sums; a look-up near a cell's wall reads the neighbour too.
class KnownPoints {
 public:
  explicit KnownPoints(const Layout& layout) : layout_(&layout) {
    // Equal points differ in a sum by at most 2 same_code a continuous code. A cell is four times that, and no more:
    // thousands of distinct points may lie within a millionth.
    double continuous = 0.0;
    for (std::int64_t j = 0; j < layout.b; ++j) continuous += layout.discrete(j) ? 0.0 : 1.0;
    reach_ = 2.0 * std::max(1.0, continuous) * Layout::same_code;
    cell_ = 4.0 * reach_;
  }

  std::int64_t n() const { return static_cast<std::int64_t>(hash_.size()); }

  // Adds a canonical point (d), equal ones again too, so that `truncate` undoes exactly the latest insertions. One that
  // equals an earlier one takes no slot: a million that failed at one point would be searched one by one. What equals
  // such a repeat alone, and not the earlier one, is not known therefore.
  void insert(const double* u) {
    if (2 * (hash_.size() + 1) > slot_.size()) grow();
    const Cells cells = cells_of(u);
    const bool again = find(u, cells, cells.discrete, 0);
    const std::size_t before = hash_.size();
    try {
      hash_.push_back(hash_of(cells));
      repeats_.push_back(again);
      points_.insert(points_.end(), u, u + layout_->d);
    } catch (...) {  // all three or none
      hash_.resize(before);
      repeats_.resize(before);
      throw;
    }
    if (!again) place(n() - 1);
  }

  bool contains(const double* u) const {
    if (hash_.empty()) return false;
    const Cells cells = cells_of(u);
    return find(u, cells, cells.discrete, 0);
  }

  // Forgets all but the first n points. With linear probing the latest entry can simply be emptied: no other was placed
  // past it.
  void truncate(std::int64_t n) {
    while (this->n() > n) {
      const std::int64_t row = this->n() - 1;
      if (!repeats_[row]) {
        std::uint64_t at = hash_[row] & mask();
        while (slot_[at] != row) at = (at + 1) & mask();
        slot_[at] = -1;
      }
      hash_.pop_back();
      repeats_.pop_back();
    }
    points_.resize(hash_.size() * layout_->d);
  }

 private:
  // Points in a cluster a hundred tolerances wide fall, by estimate, into some five hundred cells in 5 dimensions, into
  // fifty in 20: a cell grows with d, the spread of a sum with its root.
  static constexpr int SUMS = 3;

  struct Cells {
    std::uint64_t discrete = 0;  // hash of the discrete points and of the blocks that exist
    double at[SUMS];             // the sums, in cells, from the middle of one: nothing continuous is at no wall
    Cells() { std::fill(at, at + SUMS, 0.5); }
  };

  const Layout* layout_;
  double reach_, cell_;
  std::vector<double> points_;       // (n, d)
  std::vector<std::uint64_t> hash_;  // (n)
  std::vector<char> repeats_;        // (n) whether an earlier point equals it; such a row has no slot
  std::vector<std::int64_t> slot_;   // rows; -1: empty; a power of two, at most half full

  std::uint64_t mask() const { return slot_.size() - 1; }

  // The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA'14, figure 16).
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  // Cells beyond 2^62, of codes far outside the unit cube, are one, and so is a sum of infinite terms that is not a
  // number: a cast of them would be undefined.
  static std::uint64_t integer(double x) {
    if (!(x > -0x1p62)) x = -0x1p62;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(std::min(x, 0x1p62)));
  }

  Cells cells_of(const double* u) const {
    // Weights in [-2, 2), spread by multiples of irrationals: permuted coordinates do not meet in one cell.
    constexpr double spread[SUMS] = {0.6180339887498949, 0.4142135623730951, 0.7320508075688773};
    Cells cells;
    for (std::int64_t j = 0; j < layout_->b; ++j) {
      const double code = u[layout_->column(j)];
      std::uint64_t& h = cells.discrete;
      if (std::isnan(code)) {
        h = mix(h + 1);
      } else if (layout_->discrete(j)) {
        h = mix(h + 3 + static_cast<std::uint64_t>(layout_->index_of(j, code)));
      } else {
        h = mix(h + 2);
        for (int k = 0; k < SUMS; ++k) {
          const double w = spread[k] * static_cast<double>(j + 1);
          cells.at[k] += (4.0 * (w - std::floor(w)) - 2.0) * code / cell_;
        }
      }
    }
    return cells;
  }

  std::uint64_t hash_of(const Cells& cells) const {
    std::uint64_t h = cells.discrete;
    for (double at : cells.at) h = mix(h + integer(std::floor(at)));
    return h;
  }

  // Whether a point that equals u is in one of the cells where it may be; `hash` is that of the sums before k.
  bool find(const double* u, const Cells& cells, std::uint64_t hash, int k) const {
    if (k == SUMS) {
      for (std::uint64_t at = hash & mask(); slot_[at] >= 0; at = (at + 1) & mask()) {
        const std::int64_t row = slot_[at];
        if (hash_[row] == hash && layout_->same_point(points_.data() + row * layout_->d, u)) return true;
      }
      return false;
    }
    const double here = std::floor(cells.at[k]), margin = reach_ / cell_;
    const auto in = [&](double cell) { return find(u, cells, mix(hash + integer(cell)), k + 1); };
    return in(here) || (cells.at[k] - here < margin && in(here - 1.0)) ||
           (here + 1.0 - cells.at[k] < margin && in(here + 1.0));
  }

  void place(std::int64_t row) {
    std::uint64_t at = hash_[row] & mask();
    while (slot_[at] >= 0) at = (at + 1) & mask();
    slot_[at] = row;
  }

  void grow() {
    std::vector<std::int64_t> wider(slot_.empty() ? 64 : 2 * slot_.size(), -1);
    slot_.swap(wider);
    for (std::int64_t row = 0; row < n(); ++row)
      if (!repeats_[row]) place(row);
  }
};

}  // namespace hpo
