// A density on the unit cube as a mixture of product kernels and the uniform density: the arithmetic of Parzen
// estimators. All densities are relative to the uniform one over the codes, so that a block that a kernel's point does
// not have counts as the factor 1, and so does the prior. The formulas stand in hpo_fast/backends/parzen.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "layout.hpp"
#include "rng.hpp"

namespace hpo {

namespace mixture_detail {

constexpr double NARROW = 0.125;     // cells up to so many bandwidths: the density in the middle and its second order
constexpr double NEGLIGIBLE = 40.0;  // e^-40 of the largest term is below the rounding of a sum of a thousand
constexpr double MINUS_INFINITY = -std::numeric_limits<double>::infinity();

}  // namespace mixture_detail

// ln of the normal mass of [a, b], a < b, without cancellation in either tail.
inline double log_normal_mass(double a, double b) {
  if (a > 0.0) {
    const double t = a;
    a = -b;
    b = -t;
  }
  const double mass = scalar::normal_cdf(b) - scalar::normal_cdf(a);
  if (mass > 1e-300) return std::log(mass);
  // Far out, Mills' ratio to 15 b^-6 (Abramowitz & Stegun 26.2.12), less what lies below a.
  const double below = std::exp(0.5 * (b * b - a * a)) * b / a, w = 1.0 / (b * b);
  return -0.5 * b * b - scalar::kLogSqrt2Pi - std::log(-b) + std::log1p(w * (3.0 * w - 1.0)) + std::log1p(-below);
}

// ln of the mass that a normal kernel at `code` has inside [0, 1].
inline double log_inside(double code, double width) {
  return std::log1p(-scalar::normal_cdf(-code / width) - scalar::normal_cdf((code - 1.0) / width));
}

// What a value of one block covers of the unit interval: a point, or the cell of a discrete value.
struct Cell {
  double code = 0.0, lo = 0.0, hi = 0.0;

  Cell(const Layout& layout, std::int64_t block, double code_) : code(code_), lo(code_), hi(code_) {
    if (!layout.discrete(block)) return;
    const double i = static_cast<double>(layout.index_of(block, code));
    if (layout.logarithmic(block)) {
      const double value = layout.low[block] + i, range = layout.log_high[block] - layout.log_low[block];
      lo = (std::log(value - 0.5) - layout.log_low[block]) / range;
      hi = (std::log(value + 0.5) - layout.log_low[block]) / range;
    } else {
      lo = i / static_cast<double>(layout.size[block]);
      hi = (i + 1.0) / static_cast<double>(layout.size[block]);
    }
  }
};

// Some kernels of a mixture; the arrays of block j begin at j * stride.
struct Part {
  std::int64_t count = 0, stride = 0;
  const double* code = nullptr;        // centres; NaN where the point lacks the block
  const double* inside = nullptr;      // log_inside of numeric blocks
  const double* weight = nullptr;      // (count)
  const double* log_weight = nullptr;  // (count); -inf: not in the mixture
  const double* width = nullptr;       // bandwidths of numeric blocks; null: `shared` for all
  double shared = 0.0;
  double total = 0.0;  // sum of the weights
};

// A sum of exponentials that would over- or underflow by themselves.
class LogSum {
 public:
  // Adds `sum` e^`exponent`.
  void add(double exponent, double sum) {
    if (!(exponent > mixture_detail::MINUS_INFINITY) || !(sum > 0.0)) return;
    if (exponent > exponent_) {
      sum_ = sum_ * std::exp(exponent_ - exponent) + sum;
      exponent_ = exponent;
    } else {
      sum_ += sum * std::exp(exponent - exponent_);
    }
  }
  double log() const { return exponent_ + std::log(sum_); }

 private:
  double exponent_ = mixture_detail::MINUS_INFINITY, sum_ = 0.0;
};

// The weighted mean of kernels and, with weight `prior` > 0, the uniform density. Borrows the arrays, and has scratch
// memory: one thread at a time.
class Mixture {
 public:
  // A choice flips to any one other with probability 1/(size + kernels_in_all), the prior's kernel counted.
  Mixture(const Layout& layout, std::vector<Part> parts, double prior, double kernels_in_all)
      : layout_(&layout), parts_(std::move(parts)), prior_(prior), kernels_in_all_(kernels_in_all) {
    std::int64_t most = 0;
    for (const Part& part : parts_) most = std::max(most, part.count);
    term_.resize(static_cast<std::size_t>(most));
  }

  // ln density of the canonical point u, all blocks together.
  double log_joint(const double* u) {
    LogSum sum;
    sum.add(0.0, prior_);
    double total = prior_;
    for (const Part& part : parts_) {
      std::copy(part.log_weight, part.log_weight + part.count, term_.begin());
      for (std::int64_t j = 0; j < layout_->b; ++j) {
        const double code = u[layout_->column(j)];
        if (!std::isnan(code)) multiply(part, j, Cell(*layout_, j, code));
      }
      add_terms(part.count, sum);
      total += part.total;
    }
    return sum.log() - std::log(total);
  }

  // ln density of block j alone, of the kernels whose points have it.
  double log_marginal(std::int64_t j, double code) {
    LogSum sum;
    sum.add(0.0, prior_);
    double total = prior_;
    const Cell cell(*layout_, j, code);
    for (const Part& part : parts_) {
      const double* centre = part.code + j * part.stride;
      for (std::int64_t k = 0; k < part.count; ++k) {
        const bool has = !std::isnan(centre[k]);
        term_[k] = has ? part.log_weight[k] : mixture_detail::MINUS_INFINITY;
        total += has ? part.weight[k] : 0.0;
      }
      multiply(part, j, cell);
      add_terms(part.count, sum);
    }
    return sum.log() - std::log(total);
  }

  // The probability that the kernel of a choice draws afresh among all.
  double flip(std::int64_t j) const {
    const double size = static_cast<double>(layout_->size[j]);
    return size / (size + kernels_in_all_);
  }

 private:
  const Layout* layout_;
  std::vector<Part> parts_;
  double prior_, kernels_in_all_;
  std::vector<double> term_, memo_;

  void add_terms(std::int64_t count, LogSum& sum) const {
    double most = mixture_detail::MINUS_INFINITY, here = 0.0;
    for (std::int64_t k = 0; k < count; ++k) most = std::max(most, term_[k]);
    for (std::int64_t k = 0; k < count; ++k)
      if (term_[k] > most - mixture_detail::NEGLIGIBLE) here += std::exp(term_[k] - most);
    sum.add(most, here);
  }

  // Adds the log factor of block j to each term.
  void multiply(const Part& part, std::int64_t j, const Cell& cell) {
    const double* centre = part.code + j * part.stride;
    if (layout_->kind[j] == CATEGORICAL) {
      const double size = static_cast<double>(layout_->size[j]), near = 0.5 / size;
      const double other = std::log(size / (size + kernels_in_all_));
      const double same = std::log(size * (1.0 + kernels_in_all_) / (size + kernels_in_all_));
      for (std::int64_t k = 0; k < part.count; ++k) {
        const double factor = std::fabs(centre[k] - cell.code) < near ? same : other;
        term_[k] += centre[k] == centre[k] ? factor : 0.0;
      }
    } else if (part.width != nullptr) {
      const double* width = part.width + j * part.stride;
      multiply_numeric(part, j, cell, [width](std::int64_t k) { return width[k]; });
    } else {
      const double shared = part.shared;
      if (cell.hi - cell.lo > mixture_detail::NARROW * shared && layout_->size[j] < part.count)
        multiply_by_table(part, j, cell);
      else
        multiply_numeric(part, j, cell, [shared](std::int64_t) { return shared; });
    }
  }

  template <class Width>
  void multiply_numeric(const Part& part, std::int64_t j, const Cell& cell, Width width) {
    const double* centre = part.code + j * part.stride;
    const double* inside = part.inside + j * part.stride;
    if (cell.hi == cell.lo) {  // the loop that takes the time: no branch, no call but the logarithm of a shared width
      for (std::int64_t k = 0; k < part.count; ++k) {
        const double z = (cell.code - centre[k]) * (1.0 / width(k));
        const double factor = -0.5 * z * z - inside[k] - (scalar::kLogSqrt2Pi + std::log(width(k)));
        term_[k] += factor == factor ? factor : 0.0;
      }
      return;
    }
    for (std::int64_t k = 0; k < part.count; ++k)
      if (!std::isnan(centre[k])) term_[k] += log_share(cell, centre[k], width(k)) - inside[k];
  }

  // Few values and many kernels: each value's factor once.
  void multiply_by_table(const Part& part, std::int64_t j, const Cell& cell) {
    const double* centre = part.code + j * part.stride;
    const double* inside = part.inside + j * part.stride;
    memo_.assign(static_cast<std::size_t>(layout_->size[j]), std::numeric_limits<double>::quiet_NaN());
    for (std::int64_t k = 0; k < part.count; ++k) {
      if (std::isnan(centre[k])) continue;
      double& factor = memo_[static_cast<std::size_t>(layout_->index_of(j, centre[k]))];
      if (std::isnan(factor)) factor = log_share(cell, centre[k], part.shared) - inside[k];
      term_[k] += factor;
    }
  }

  // ln of a kernel's mass in a cell over the cell's length.
  static double log_share(const Cell& cell, double centre, double width) {
    const double length = cell.hi - cell.lo, h = length / width;
    if (h > mixture_detail::NARROW)
      return log_normal_mass((cell.lo - centre) / width, (cell.hi - centre) / width) - std::log(length);
    const double z = (0.5 * (cell.lo + cell.hi) - centre) / width;
    return -0.5 * z * z - scalar::kLogSqrt2Pi - std::log(width) + h * h * (z * z - 1.0) / 24.0;
  }
};

}  // namespace hpo
