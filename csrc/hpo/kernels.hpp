// The loops that take the time, as a table of pointers: one table an instruction set, chosen once at run time.
//
// Query points come in chunks of LANES: a chunk is [row][LANES], contiguous, so that a row stride never falls on a
// power of two (a 4 KB stride costs five times as much by cache-set conflicts).  The factor comes in panels of PANEL
// rows; PANEL is a multiple of LANES, so that the rows of one panel are whole chunks when they are themselves queries.
#pragma once

#include <cstdint>

namespace hpo {

constexpr std::int64_t LANES = 16;  // two AVX-512 registers, four AVX2 ones
constexpr std::int64_t PANEL = 64;  // four chunks: two threads share the rows of a panel evenly

constexpr std::int64_t NEAR_CHUNKS = 16;
constexpr std::int64_t NEAR_ROWS = NEAR_CHUNKS * LANES;

enum class Kernel : int { matern52 = 0, matern32 = 1, rbf = 2 };

struct Kernels {
  const char* name;

  // K[i][lane] = s2 g(r2), H[i][lane] = -2 dk/d(r2) (H may be null) between rows Z[i] and a chunk of queries.
  // Columns c < e_num are scaled numbers, the others codes that add weight[c - e_num] where they differ.
  void (*covariance)(Kernel kind, double s2, std::int64_t n, std::int64_t e_num, std::int64_t e, const double* Z_ne,
                     const double* Q_el, const double* weight, double* K_nl, double* H_nl);

  // A[r][lane] = sum_j V[r][j] K[j][lane], row group by row group; row r uses columns j < first + r + 1 (rounded up).
  // For `chunks` of K and A, next_k and next_a doubles apart, which share what is read of V.
  void (*panel_product)(const double* V_rj, std::int64_t rows, std::int64_t ldv, std::int64_t first,
                        std::int64_t chunks, const double* K_jl, std::int64_t next_k, double* A_rl, std::int64_t next_a,
                        std::int64_t lda);

  // U[j][lane] += sum_r V[r][j] A[r][lane] for j < cols; row r has columns j <= first + r only (the rest is zero).
  // Likewise for `chunks` of A and U, next_a and next_u doubles apart.
  void (*panel_transposed)(const double* V_rj, std::int64_t rows, std::int64_t ldv, std::int64_t first,
                           std::int64_t cols, std::int64_t chunks, const double* A_rl, std::int64_t next_a,
                           std::int64_t lda, double* U_jl, std::int64_t next_u);

  // The same two for `count` vectors, 1 to 3, in one reading of V: a = V x, u += V' a.  The bits of a vector do
  // not depend on how many there are.
  void (*panel_gram)(std::int64_t count, const double* V_rj, std::int64_t rows, std::int64_t ldv, std::int64_t first,
                     const double* x_qj, std::int64_t ldx, double* a_qr, std::int64_t lda, double* u_qj,
                     std::int64_t ldu);

  // The LANES x LANES tile S -= A' B of two chunks with `depth` rows.
  void (*gram_subtract)(const double* A_dl, const double* B_dl, std::int64_t depth, double* S, std::int64_t lds);

  // Eliminates row k of the symmetric S (upper triangle held) and of W, which becomes the inverse factor, from the rows
  // k < i < rows.
  void (*eliminate)(double* S, double* W, std::int64_t rows, std::int64_t ld, std::int64_t k, double pivot);

  // The same for the LANES rows from k on, which are eliminated from each other already: from all rows that follow
  // them.
  void (*eliminate_group)(double* S, double* W, std::int64_t rows, std::int64_t ld, std::int64_t k);

  // q[lane] += sum_r A[r][lane]^2.
  void (*add_squares)(const double* A_rl, std::int64_t rows, double* q_l);

  // w[i][lane] = H[i][lane] (a[lane] alpha[i] + b[lane] U[i][lane]).
  void (*combine)(std::int64_t n, const double* H_nl, const double* alpha_n, const double* U_nl, const double* a_l,
                  const double* b_l, double* w_nl);

  // G[c][lane] += sum_i w[i][lane] (Z[i][c] - Q[c][lane]) for the numeric columns c < e_num.
  void (*weighted_differences)(std::int64_t n, std::int64_t e_num, std::int64_t e, const double* Z_ne,
                               const double* Q_el, const double* w_nl, double* G_cl);

  // G[c][lane] += sum_i w[i][lane] d2(Z[i][c], Q[c][lane]): squared differences, or weight where codes differ.
  void (*weighted_squares)(std::int64_t n, std::int64_t e_num, std::int64_t e, const double* Z_ne, const double* Q_el,
                           const double* weight, const double* w_nl, double* G_cl);

  // Single precision: D[a][row] = squared distances of `count` points q (e) to the rows of up to NEAR_CHUNKS chunks X,
  // NEAR_ROWS apart, and least[a][lane], the smallest of each lane.
  void (*near_distances)(std::int64_t chunks, std::int64_t e_num, std::int64_t e, const float* X_cel,
                         std::int64_t count, const float* q_ae, const float* weight, float* D_ar, float* least_al);
};

// The table for this machine; HPO_FAST_SIMD=2|3|4 forces x86-64-v2, v3 or v4 and throws std::runtime_error where the
// machine cannot run it.
const Kernels& kernels();

}  // namespace hpo
