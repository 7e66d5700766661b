// V, the inverse of the Cholesky factor of a covariance matrix, in panels of PANEL rows.
//
// V, and neither the factor nor the inverse of the matrix: a variance is then a sum of squares, whose error grows with
// the square root of the condition number (an explicit inverse is useless from a condition of 1e8 on), and one pass
// over V serves mean, variance and gradients as matrix products.  Panels, one after the other in slabs: a row is
// appended without moving the others, and half the memory of a square is written.
//
// With C the covariances between old rows and new ones (V_old C = A, U = V_old' A, S = K_new - A'A = G G'):
//   V_new = G^-1 [-U', I].
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "hpo/buffer.hpp"
#include "hpo/covariance.hpp"
#include "hpo/kernels.hpp"

namespace hpo {

// The covariance matrix that a factor inverts: k(points) + diag(noise), and `dense` above the diagonal of the first
// rows.
struct CovarianceMatrix {
  const Embedding* points;  // null: nothing but what follows
  Kernel kind;
  double s2;
  const double* noise;            // (n) variances on the diagonal
  const double* dense = nullptr;  // (dense_n, dense_ld) what is added above the diagonal
  std::int64_t dense_ld = 0, dense_n = 0;
};

// What stands there for a row: its known variance, divided by the square of the values' scale, or the inferred one.
inline double noise_variance(double known, double scale, double inferred) {
  return std::isnan(known) ? inferred : known / scale / scale;
}

class Factor {
 public:
  // From so many rows on V has 4 MB or more and is read from far: what else is to be multiplied by the rows goes along
  // with the reading that a new row needs.
  static constexpr std::int64_t ALONG_FROM = 1024;
  // Vectors x (count, ld), count 1 or 2, for which the reading for a row gives a = V x and u = V'a of the rows before.
  // done: false where there was none, for there are fewer rows before it, or it is one of a block, or merged.
  struct Along {
    std::int64_t count, ld;
    const double* x;
    double *a, *u;
    bool done = false;
  };

  std::int64_t n() const { return n_; }
  std::int64_t panels() const { return (n_ + PANEL - 1) / PANEL; }
  std::int64_t rows(std::int64_t p) const { return std::min(PANEL, n_ - p * PANEL); }
  std::int64_t width(std::int64_t p) const { return (p + 1) * PANEL; }
  // A line more than that: rows a multiple of 4 KB apart would all stand in the same few sets of the nearest cache.
  std::int64_t stride(std::int64_t p) const { return width(p) + 8; }
  const double* panel(std::int64_t p) const { return panels_[p]; }

  // The earlier row that row i repeats, so that it counts with that one, or -1.
  std::int64_t merged(std::int64_t i) const { return merged_[i]; }

  void clear() {
    n_ = blocked_ = 0;
    half_ = -1;
    inverse_.clear();
  }

  // Appends the points after the first n() until there are `n`.  A panel that fills is computed as one block; of the
  // last, unfinished one LANES rows at a time are (in a factor that is not large), and what is left each by itself.  So
  // the bits depend on the points alone and not on how they came.  Throws numerical_error with the row; the factor is
  // then to be truncated to what it held.  Returns the floating-point operations of the blocks and halves among that.
  // `along`: see there; for row n - 1.
  double extend(const CovarianceMatrix& K, std::int64_t n, int threads, Along* along = nullptr);

  // Appends rows one by one and never as a block: for points that are forgotten again soon.
  void extend_by_rows(const CovarianceMatrix& K, std::int64_t n, int threads);

  // Goes on from clear() with all panels as blocks, the last one too: the fastest way, for a factor that is used once.
  // Stops when `work` floating-point operations are done, but not before a block is; returns those done.
  double build_some(const CovarianceMatrix& K, std::int64_t n, double work, int threads);

  // Does half of the work of the panel [first, first + PANEL), of which the points of the first half are there and all
  // rows before it: what depends on these alone.  The panel is then computed as it would have been.
  void prepare_half(const CovarianceMatrix& K, std::int64_t first, int threads);
  bool prepared(std::int64_t first) const { return half_ == first; }
  // The points of a half that was prepared are no longer those that come.
  void forget_half() { half_ = -1; }

  // Forgets all rows after the first n; rows that a block had computed are computed one by one again.
  void truncate(const CovarianceMatrix& K, std::int64_t n, int threads);

  // a = V x and u = V' a = K^-1 x for `count` vectors, 1 to 3, and the first `n` rows of V, in one reading of them.
  // Vectors are `ld` apart, a multiple of PANEL and at least n; u is 0 from n on.
  void gram(std::int64_t count, const double* x, std::int64_t ld, double* a, double* u, std::int64_t n,
            int threads) const;
  std::int64_t ld() const { return panels() * PANEL; }
  const double* row(std::int64_t i) const { return panel(i / PANEL) + i % PANEL * stride(i / PANEL); }
  // Whether the last row came by itself after ALONG_FROM others or more, in a factor that `extend` made.
  bool last_alone() const { return n_ > ALONG_FROM && blocked_ < n_; }

  // The inverse (n, ld) of the matrix, V'V.  O(n^3 / 3).
  void inverse(double* out, std::int64_t ld, int threads) const;

  // Orders each panel in tiles of PANEL columns, [tile][PANEL][PANEL], where it stands: who reads it by columns then
  // reads 32 KB in one piece, and not PANEL pieces on as many pages.  The factor is of no other use until clear().
  void order_in_tiles(int threads);
  const double* tile(std::int64_t p, std::int64_t J) const { return panel(p) + J * PANEL * PANEL; }

  // (K^-1)_ii.  O(n), a line of the memory a row, where it is first asked for i or rows of a block were forgotten; then
  // O(rows behind the last whole panel).
  double inverse_diagonal(std::int64_t i);

  double diagonal(std::int64_t i) const { return diagonal_[i]; }

 private:
  std::int64_t n_ = 0;
  std::int64_t blocked_ = 0;   // rows that were computed in blocks: panels, then LANES at a time
  std::vector<Buffer> slabs_;  // where the panels stand, one after the other
  std::vector<double*> panels_;
  std::int64_t used_ = 0, held_ = 0;  // doubles of the last slab, and of all
  std::vector<std::int64_t> merged_;
  std::vector<double> diagonal_;  // of V, where it is read in one piece
  // What the panels before `panels`, which are whole and stay as they are, add to (K^-1)_ii.
  struct Part {
    double sum = 0.0;
    std::int64_t panels = 0;
  };
  std::vector<Part> inverse_;
  Buffer C_, A_, U_, S_, W_, row_;
  std::int64_t half_ = -1;  // the first row of the panel of which A and U of the first half are there, or -1
  Buffer half_A_, half_U_;
  mutable Buffer shares_;

  double* prepare(std::int64_t p);
  // A and U of chunks [c0, c1) of a block that begins at row `first`, from the older panels that `share` out of
  // `shares` stands for; U is the first chunk's own.
  void products(std::int64_t first, std::int64_t c0, std::int64_t c1, std::int64_t share, std::int64_t shares,
                const double* C, double* A, double* U) const;
  void build_block(const CovarianceMatrix& K, std::int64_t first, std::int64_t rows, int threads);
  void append_row(const CovarianceMatrix& K, int threads, Along* along = nullptr);
  // The pivot to use for row i, or 0 where the row is merged into another.
  double guard(const CovarianceMatrix& K, std::int64_t i, double pivot);
};

}  // namespace hpo
