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
// of the continuous codes only the cell of one weighted sum; a look-up near the cell's wall reads the neighbour too.
class KnownPoints {
 public:
  explicit KnownPoints(const Layout& layout) : layout_(&layout) {
    // Equal points differ in the sum by at most 2 d same_code; a cell is at least four times that, and no finer than
    // 2^-20.
    reach_ = 2.0 * static_cast<double>(layout.d) * Layout::same_code;
    cell_ = std::max(4.0 * reach_, 0x1p-20);
  }

  std::int64_t n() const { return static_cast<std::int64_t>(hash_.size()); }

  // Adds a canonical point (d), equal ones again too, so that `truncate` undoes exactly the latest insertions.  One
  // that is there with the very same codes takes no slot: a million that failed at one point would be searched one by
  // one.
  void insert(const double* u) {
    if (2 * (hash_.size() + 1) > slot_.size()) grow();
    double cell;
    const std::uint64_t base = hash_of(u, &cell), hash = mix(base + integer(std::floor(cell)));
    const bool again = find(hash, [&](const double* v) { return same_codes(u, v); });
    points_.insert(points_.end(), u, u + layout_->d);
    hash_.push_back(hash);
    repeats_.push_back(again);
    if (!again) place(n() - 1);
  }

  bool contains(const double* u) const {
    if (hash_.empty()) return false;
    double cell;
    const std::uint64_t base = hash_of(u, &cell);
    const double here = std::floor(cell), margin = reach_ / cell_;
    const auto same = [&](const double* v) { return layout_->same_point(v, u); };
    if (find(mix(base + integer(here)), same)) return true;
    if (cell - here < margin) return find(mix(base + integer(here - 1.0)), same);
    if (here + 1.0 - cell < margin) return find(mix(base + integer(here + 1.0)), same);
    return false;
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
  const Layout* layout_;
  double reach_, cell_;
  std::vector<double> points_;       // (n, d)
  std::vector<std::uint64_t> hash_;  // (n)
  std::vector<char> repeats_;        // (n) whether an earlier point has the same codes; such a row has no slot
  std::vector<std::int64_t> slot_;   // rows; -1: empty; a power of two, at most half full

  std::uint64_t mask() const { return slot_.size() - 1; }

  // The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA'14, figure 16).
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  // Cells beyond 2^62, of codes far outside the unit cube, are one: a cast of them would be undefined.
  static std::uint64_t integer(double x) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(std::min(std::max(x, -0x1p62), 0x1p62)));
  }

  std::uint64_t hash_of(const double* u, double* cell) const {
    std::uint64_t h = 0;
    double sum = 0.0;
    for (std::int64_t j = 0; j < layout_->b; ++j) {
      const double code = u[layout_->column(j)];
      if (std::isnan(code)) {
        h = mix(h + 1);
      } else if (layout_->discrete(j)) {
        h = mix(h + 3 + static_cast<std::uint64_t>(layout_->index_of(j, code)));
      } else {
        h = mix(h + 2);
        // Weights in [1, 2), spread by the golden ratio: permuted coordinates do not meet in one cell.
        const double w = 0.6180339887498949 * static_cast<double>(j + 1);
        sum += (1.0 + w - std::floor(w)) * code;
      }
    }
    *cell = sum / cell_;
    return h;
  }

  // Whether one of the points of this hash is one that is looked for.
  template <class Wanted>
  bool find(std::uint64_t hash, Wanted&& wanted) const {
    for (std::uint64_t at = hash & mask(); slot_[at] >= 0; at = (at + 1) & mask()) {
      const std::int64_t row = slot_[at];
      if (hash_[row] == hash && wanted(points_.data() + row * layout_->d)) return true;
    }
    return false;
  }

  bool same_codes(const double* u, const double* v) const {
    for (std::int64_t c = 0; c < layout_->d; ++c)
      if (!(u[c] == v[c] || (std::isnan(u[c]) && std::isnan(v[c])))) return false;
    return true;
  }

  void place(std::int64_t row) {
    std::uint64_t at = hash_[row] & mask();
    while (slot_[at] >= 0) at = (at + 1) & mask();
    slot_[at] = row;
  }

  void grow() {
    slot_.assign(slot_.empty() ? 64 : 2 * slot_.size(), -1);
    for (std::int64_t row = 0; row < n(); ++row)
      if (!repeats_[row]) place(row);
  }
};

}  // namespace hpo
