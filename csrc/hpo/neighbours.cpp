#include "hpo/neighbours.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
constexpr std::int64_t POINTS = 16;        // that one reading of all rows serves
constexpr std::int64_t SHARED_FROM = 256;  // thousands of distances' terms: some 30 us of work

using Near = std::pair<float, std::int64_t>;  // squared distance and row: ordered, so that equal ones are too

// The `count` least of what it was given.
class Least {
 public:
  explicit Least(std::int64_t count) : count_(static_cast<std::size_t>(count)) {}
  float limit() const { return heap_.size() < count_ ? std::numeric_limits<float>::infinity() : heap_.front().first; }
  void add(Near near) {
    if (heap_.size() == count_) {
      if (!(near < heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
    }
    heap_.push_back(near);
    std::push_heap(heap_.begin(), heap_.end());
  }
  const std::vector<Near>& all() const { return heap_; }

 private:
  std::size_t count_;
  std::vector<Near> heap_;
};
}  // namespace

Neighbours::Neighbours(const Embedding& embedding) : scales_(embedding.columns(), embedding) {
  for (std::int64_t c = embedding.e_num(); c < embedding.e(); ++c)
    weight_.push_back(static_cast<float>(embedding.weight()[c - embedding.e_num()]));
  weight_.push_back(0.0f);  // never empty, so that data() may be handed on
}

void Neighbours::reserve(std::int64_t n) {
  X_.reserve((n + LANES - 1) / LANES * LANES * scales_.e());
  excluded_.reserve(n);
}

void Neighbours::append(const double* u) {
  const std::int64_t lane = n_ % LANES, e = scales_.e();
  if (lane == 0) X_.resize(X_.size() + e * LANES, std::numeric_limits<float>::infinity());
  float* chunk = X_.data() + n_ / LANES * e * LANES;
  scales_.embed(u, [&](std::int64_t c, double z) { chunk[c * LANES + lane] = static_cast<float>(z); });
  excluded_.push_back(0);
  ++n_;
}

void Neighbours::truncate(std::int64_t n) {
  n_ = std::min(n, n_);
  X_.resize((n_ + LANES - 1) / LANES * LANES * scales_.e());
  excluded_.resize(n_);
}

std::vector<std::vector<std::int64_t>> Neighbours::nearest(Mat<const double> Q, std::int64_t count, std::int64_t until,
                                                           int threads) const {
  const Kernels& k = kernels();
  const std::int64_t e = scales_.e(), e_num = scales_.e_num();
  std::vector<std::vector<std::int64_t>> found(Q.rows);
  if (count < 1 || until == 0) return found;
  const std::int64_t blocks = (until + NEAR_ROWS - 1) / NEAR_ROWS;
  const std::int64_t shares = until * std::min(Q.rows, POINTS) * e / 1000 < SHARED_FROM ? 1 : threads;
  std::vector<float> q(POINTS * e);
  for (std::int64_t first = 0; first < Q.rows; first += POINTS) {
    const std::int64_t points = std::min(POINTS, Q.rows - first);
    for (std::int64_t a = 0; a < points; ++a)
      scales_.embed(Q.row(first + a), [&](std::int64_t c, double z) { q[a * e + c] = static_cast<float>(z); });
    std::vector<std::vector<Least>> least(shares, std::vector<Least>(points, Least(count)));
    parallel_for(static_cast<int>(shares), shares, [&](std::int64_t t, int) {
      alignas(64) float D[POINTS * NEAR_ROWS], low[POINTS * LANES];
      for (std::int64_t block = blocks * t / shares; block < blocks * (t + 1) / shares; ++block) {
        const std::int64_t row0 = block * NEAR_ROWS, rows = std::min(NEAR_ROWS, until - row0);
        k.near_distances((rows + LANES - 1) / LANES, e_num, e, X_.data() + row0 * e, points, q.data(), weight_.data(),
                         D, low);
        for (std::int64_t a = 0; a < points; ++a) {
          Least& mine = least[t][a];
          const float nearest = *std::min_element(low + a * LANES, low + (a + 1) * LANES);
          if (!(nearest < mine.limit())) continue;
          for (std::int64_t r = 0; r < rows; ++r)
            if (D[a * NEAR_ROWS + r] < mine.limit() && !excluded_[row0 + r]) mine.add({D[a * NEAR_ROWS + r], row0 + r});
        }
      }
    });
    for (std::int64_t a = 0; a < points; ++a) {
      std::vector<Near> all;
      for (const auto& share : least) all.insert(all.end(), share[a].all().begin(), share[a].all().end());
      std::sort(all.begin(), all.end());
      for (std::size_t i = 0; i < all.size() && static_cast<std::int64_t>(i) < count; ++i)
        found[first + a].push_back(all[i].second);
    }
  }
  return found;
}

std::vector<std::int64_t> in_turn(const std::vector<std::vector<std::int64_t>>& nearest, std::int64_t count,
                                  const std::vector<std::int64_t>& without) {
  std::unordered_set<std::int64_t> taken;
  std::vector<std::int64_t> rows;
  std::size_t most = 0;
  for (const auto& of_one : nearest) most = std::max(most, of_one.size());
  for (std::size_t rank = 0; rank < most; ++rank)
    for (const auto& of_one : nearest) {
      if (static_cast<std::int64_t>(rows.size()) == count) return rows;
      if (rank < of_one.size() && !std::binary_search(without.begin(), without.end(), of_one[rank]) &&
          taken.insert(of_one[rank]).second)
        rows.push_back(of_one[rank]);
    }
  return rows;
}

std::vector<std::int64_t> near_best(const Neighbours& neighbours, Mat<const double> U_nd, const double* w_n,
                                    std::int64_t best, std::int64_t count, std::int64_t until, int threads) {
  std::vector<std::int64_t> rows(until);
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  best = std::min(best, until);
  std::partial_sort(rows.begin(), rows.begin() + best, rows.end(),
                    [&](std::int64_t i, std::int64_t j) { return w_n[i] < w_n[j] || (w_n[i] == w_n[j] && i < j); });
  std::vector<double> U;
  for (std::int64_t i = 0; i < best; ++i) U.insert(U.end(), U_nd.row(rows[i]), U_nd.row(rows[i]) + U_nd.cols);
  rows = in_turn(neighbours.nearest({U.data(), best, U_nd.cols}, count, until, threads), count, {});
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace hpo
