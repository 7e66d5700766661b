#include "hpo/parzen.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace hpo {

namespace {

constexpr double MINUS_INFINITY = -std::numeric_limits<double>::infinity();
constexpr double SCALE = 0.1;     // of the bad kernels' bandwidth
constexpr double STEPS = 4.0;     // steps of that bandwidth while the history doubles
constexpr double FINEST = 100.0;  // 1/FINEST: least bandwidth of a good kernel, and half that of a bad one of one block
constexpr std::uint64_t DRAW = 0x7470u;  // purpose of the random numbers: "tp"

// The uniform number of candidate i for block j: its kernel (which = 0; all blocks together: block 0's), or its value.
double uniform_of(Key key, std::int64_t i, std::int64_t b, std::int64_t j, std::uint64_t which) {
  return uniform(key.seed, key.number, (DRAW << 32) + 2 * static_cast<std::uint64_t>(i * b + j) + which);
}

}  // namespace

Parzen::Parzen(const LayoutArrays& arrays, const ParzenConfig& config) : layout_(arrays), config_(config) {
  for (std::int64_t j = 0; j < layout_.b; ++j) numeric_ += numeric(j);
  width_ = bandwidth();
  const auto size = static_cast<std::size_t>(layout_.d * config_.window);
  code_.assign(size, 0.0);
  inside_.assign(size, 0.0);
  best_.reserve(static_cast<std::size_t>(config_.most_good) + 1);
}

void Parzen::check(Mat<const double> U, const char* name) const {
  for (std::int64_t i = 0; i < U.rows; ++i)
    for (std::int64_t j = 0; j < layout_.b; ++j) {
      const double code = U(i, layout_.column(j));
      if ((std::isnan(code) && !layout_.conditional[j]) || code < 0.0 || code > 1.0)
        throw std::invalid_argument(std::string(name) +
                                    " must hold codes in [0, 1], NaN only where a block with conditions does not "
                                    "exist, but got " +
                                    (std::isnan(code) ? "NaN" : std::to_string(code)) + " in row " + std::to_string(i) +
                                    ", column " + std::to_string(layout_.column(j)) + "; encode the point again");
    }
}

void Parzen::append(Mat<const double> U, Vec<const double> y) {
  check(U, "U");
  for (std::int64_t i = 0; i < y.n; ++i)
    if (std::isnan(y[i]) || y[i] == MINUS_INFINITY)
      throw std::invalid_argument("y must be finite, or +inf for a failed trial, but got " + std::to_string(y[i]) +
                                  " in row " + std::to_string(i) + "; mark it as failed");
  std::vector<Best> best;  // a copy, so that running out of memory midway changes nothing
  bool changed = false;
  for (std::int64_t i = 0; i < y.n; ++i) {
    const std::vector<Best>& now = changed ? best : best_;
    const bool full = static_cast<std::int64_t>(now.size()) == config_.most_good;
    if (!std::isfinite(y[i]) || (full && y[i] >= now.back().y)) continue;
    if (!changed) {
      best.reserve(best_.capacity());
      best = best_;
      changed = true;
    }
    const auto place =
        std::upper_bound(best.begin(), best.end(), y[i], [](double v, const Best& b) { return v < b.y; });
    best.insert(place, Best{y[i], n_ + i, std::vector<double>(U.row(i), U.row(i) + U.cols)});
    if (full) best.pop_back();
  }
  if (changed) best_.swap(best);

  const std::int64_t before = n_, window = config_.window;
  n_ += U.rows;
  for (std::int64_t i = std::max<std::int64_t>(0, U.rows - window); i < U.rows; ++i)
    for (std::int64_t j = 0; j < layout_.b; ++j) code_[j * window + (before + i) % window] = U(i, layout_.column(j));
  if (U.rows == 0) return;
  const double width = bandwidth();
  const std::int64_t from = width == width_ ? std::max(before, n_ - window) : n_ - held();
  width_ = width;
  for (std::int64_t j = 0; j < layout_.b; ++j)
    if (numeric(j))
      for (std::int64_t i = from; i < n_; ++i)
        inside_[j * window + i % window] = log_inside(code_[j * window + i % window], width_);
}

// In steps, so that the masses inside the space hold for many tells.
double Parzen::bandwidth() const {
  const double held = static_cast<double>(std::max<std::int64_t>(this->held(), 1));
  const double count = std::exp2(std::floor(STEPS * std::log2(held)) / STEPS);
  if (!config_.multivariate) return 2.0 / std::min(FINEST, count + 2.0);
  return SCALE * std::pow(count, -1.0 / (numeric_ + 4.0));
}

Parzen::Good Parzen::good() const {
  Good out;
  const double wanted =
      std::min(std::ceil(config_.gamma * static_cast<double>(n_)), static_cast<double>(config_.most_good));
  const std::int64_t g = std::min(static_cast<std::int64_t>(wanted), static_cast<std::int64_t>(best_.size()));
  out.count = g;
  const auto size = static_cast<std::size_t>(layout_.b * g);
  out.code.resize(size);
  out.inside.assign(size, 0.0);
  out.width.assign(size, 1.0);
  double sum = 0.0;
  for (std::int64_t k = 0; k < g; ++k) {
    const double rank = std::log(static_cast<double>(g + 1)) - std::log(static_cast<double>(k + 1));
    out.weight.push_back(config_.multivariate ? rank : 1.0);
    sum += out.weight.back();
  }
  for (double& w : out.weight) {
    w *= static_cast<double>(g) / sum;
    out.total += w;
    out.log_weight.push_back(std::log(w));
  }
  std::vector<std::int64_t> order;
  for (std::int64_t j = 0; j < layout_.b; ++j) {
    double* x = out.code.data() + j * g;
    order.clear();
    for (std::int64_t k = 0; k < g; ++k) {
      x[k] = best_[static_cast<std::size_t>(k)].u[static_cast<std::size_t>(layout_.column(j))];
      if (!std::isnan(x[k])) order.push_back(k);
    }
    if (!numeric(j)) continue;
    std::stable_sort(order.begin(), order.end(), [x](std::int64_t p, std::int64_t q) { return x[p] < x[q]; });
    const std::size_t have = order.size();
    const double least = 1.0 / std::min(FINEST, static_cast<double>(have) + 2.0);
    for (std::size_t i = 0; i < have; ++i) {
      const double code = x[order[i]];
      double gap = 0.0;
      if (have == 1) {
        gap = std::max(code, 1.0 - code);
      } else {
        if (i > 0) gap = code - x[order[i - 1]];
        if (i + 1 < have) gap = std::max(gap, x[order[i + 1]] - code);
      }
      const double width = std::min(std::max(gap, least), 1.0);
      out.width[static_cast<std::size_t>(j * g + order[i])] = width;
      out.inside[static_cast<std::size_t>(j * g + order[i])] = log_inside(code, width);
    }
  }
  return out;
}

Parzen::Bad Parzen::bad(Mat<const double> pending, const Good& good) const {
  Bad out;
  const std::int64_t window = config_.window;
  out.weight.assign(static_cast<std::size_t>(held()), 1.0);
  out.log_weight.assign(static_cast<std::size_t>(held()), 0.0);
  out.total = static_cast<double>(held());
  for (std::int64_t k = 0; k < good.count; ++k) {
    const std::int64_t row = best_[static_cast<std::size_t>(k)].row;
    if (row < n_ - held()) continue;
    out.weight[static_cast<std::size_t>(row % window)] = 0.0;
    out.log_weight[static_cast<std::size_t>(row % window)] = MINUS_INFINITY;
    out.total -= 1.0;
  }
  const auto rows = static_cast<std::size_t>(pending.rows);
  out.pending_weight.assign(rows, 1.0);
  out.pending_log_weight.assign(rows, 0.0);
  out.pending_code.resize(rows * static_cast<std::size_t>(layout_.b));
  out.pending_inside.assign(out.pending_code.size(), 0.0);
  for (std::int64_t j = 0; j < layout_.b; ++j)
    for (std::int64_t i = 0; i < pending.rows; ++i) {
      const auto at = static_cast<std::size_t>(j * pending.rows + i);
      out.pending_code[at] = pending(i, layout_.column(j));
      if (numeric(j)) out.pending_inside[at] = log_inside(out.pending_code[at], width_);
    }
  return out;
}

Mixture Parzen::mixture(const Good& good) const {
  Part kernels;
  kernels.count = kernels.stride = good.count;
  kernels.code = good.code.data();
  kernels.inside = good.inside.data();
  kernels.weight = good.weight.data();
  kernels.log_weight = good.log_weight.data();
  kernels.width = good.width.data();
  kernels.total = good.total;
  return Mixture(layout_, {kernels}, config_.prior_weight, static_cast<double>(good.count) + 1.0);
}

Mixture Parzen::mixture(const Bad& bad) const {
  Part window, pending;
  window.count = held();
  window.stride = config_.window;
  window.code = code_.data();
  window.inside = inside_.data();
  window.weight = bad.weight.data();
  window.log_weight = bad.log_weight.data();
  window.total = bad.total;
  pending.count = pending.stride = static_cast<std::int64_t>(bad.pending_weight.size());
  pending.code = bad.pending_code.data();
  pending.inside = bad.pending_inside.data();
  pending.weight = bad.pending_weight.data();
  pending.log_weight = bad.pending_log_weight.data();
  pending.total = static_cast<double>(pending.count);
  window.shared = pending.shared = width_;
  return Mixture(layout_, {window, pending}, config_.prior_weight, bad.total + pending.total + 1.0);
}

void Parzen::log_density(Mat<const double> U, Mat<const double> pending, double* good, double* bad) const {
  check(U, "U");
  check(pending, "pending");
  const Good chosen = this->good();
  const Bad others = this->bad(pending, chosen);
  Mixture l = mixture(chosen), g = mixture(others);
  for (std::int64_t i = 0; i < U.rows; ++i) {
    const double* u = U.row(i);
    if (config_.multivariate) {
      good[i] = l.log_joint(u);
      bad[i] = g.log_joint(u);
      continue;
    }
    good[i] = bad[i] = 0.0;
    for (std::int64_t j = 0; j < layout_.b; ++j) {
      const double code = u[layout_.column(j)];
      if (std::isnan(code)) continue;
      good[i] += l.log_marginal(j, code);
      bad[i] += g.log_marginal(j, code);
    }
  }
}

// The kernel that the uniform number r falls to; good.count is the prior. Of block j alone (j >= 0), kernels whose
// points lack it have no weight.
std::int64_t Parzen::choose(const Good& good, std::int64_t j, double r) const {
  const auto has = [&](std::int64_t k) {
    return j < 0 || !std::isnan(good.code[static_cast<std::size_t>(j * good.count + k)]);
  };
  double total = config_.prior_weight;
  for (std::int64_t k = 0; k < good.count; ++k)
    if (has(k)) total += good.weight[static_cast<std::size_t>(k)];
  double left = r * total;
  for (std::int64_t k = 0; k < good.count; ++k) {
    if (!has(k)) continue;
    left -= good.weight[static_cast<std::size_t>(k)];
    if (left < 0.0) return k;
  }
  return good.count;
}

// A value of block j from kernel k (the prior when k = good.count, or where the kernel's point lacks the block).
double Parzen::draw(const Good& good, const Mixture& mixture, std::int64_t j, std::int64_t k, double r) const {
  const auto at = static_cast<std::size_t>(j * good.count + k);
  const double code = k < good.count ? good.code[at] : std::numeric_limits<double>::quiet_NaN();
  if (std::isnan(code)) return layout_.nearest(j, r);
  if (!numeric(j)) {
    const double flip = mixture.flip(j);
    return layout_.nearest(j, r < flip ? r / flip : code);
  }
  const double width = good.width[at];
  const double lo = scalar::normal_cdf(-code / width), hi = scalar::normal_cdf((1.0 - code) / width);
  return layout_.nearest(j, code + width * scalar::normal_quantile(lo + r * (hi - lo)));
}

// Children exist as their parents were drawn.
void Parzen::draw_jointly(const Good& good, const Mixture& mixture, Key key, Mat<double> U) const {
  for (std::int64_t i = 0; i < U.rows; ++i) {
    double* u = U.row(i);
    const std::int64_t k = choose(good, -1, uniform_of(key, i, layout_.b, 0, 0));
    for (const std::int64_t j : layout_.order)
      u[layout_.column(j)] = layout_.exists(j, u) ? draw(good, mixture, j, k, uniform_of(key, i, layout_.b, j, 1))
                                                  : std::numeric_limits<double>::quiet_NaN();
  }
}

// Every block drawn by itself, also where it does not exist: the marginals know nothing of each other.
void Parzen::draw_marginals(const Good& good, const Mixture& mixture, Key key, Mat<double> U) const {
  for (std::int64_t i = 0; i < U.rows; ++i)
    for (std::int64_t j = 0; j < layout_.b; ++j) {
      const std::int64_t k = choose(good, j, uniform_of(key, i, layout_.b, j, 0));
      U(i, layout_.column(j)) = draw(good, mixture, j, k, uniform_of(key, i, layout_.b, j, 1));
    }
}

void Parzen::sample(Key key, Mat<double> U) const {
  const Good chosen = good();
  const Mixture l = mixture(chosen);
  if (config_.multivariate) {
    draw_jointly(chosen, l, key, U);
  } else {
    draw_marginals(chosen, l, key, U);
    for (std::int64_t i = 0; i < U.rows; ++i) layout_.snap(U.row(i));
  }
}

void Parzen::propose(Mat<const double> pending, Key key, Mat<double> U, double* values) const {
  check(pending, "pending");
  const Good chosen = good();
  const Bad others = bad(pending, chosen);
  Mixture l = mixture(chosen), g = mixture(others);
  const std::int64_t m = U.rows;
  std::vector<double> drawn(static_cast<std::size_t>(m * layout_.d)), value(static_cast<std::size_t>(m));
  std::vector<std::int64_t> order(static_cast<std::size_t>(m));
  const Mat<double> X{drawn.data(), m, layout_.d};
  const auto rank = [&] {
    for (std::int64_t i = 0; i < m; ++i) order[static_cast<std::size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
      return value[static_cast<std::size_t>(p)] > value[static_cast<std::size_t>(q)];
    });
  };
  const auto give = [&](Mat<double> rows) {
    for (std::int64_t r = 0; r < m; ++r) {
      const std::int64_t i = order[static_cast<std::size_t>(r)];
      std::copy(rows.row(i), rows.row(i) + layout_.d, U.row(r));
      values[r] = value[static_cast<std::size_t>(i)];
    }
  };
  if (config_.multivariate) {
    draw_jointly(chosen, l, key, X);
    for (std::int64_t i = 0; i < m; ++i)
      value[static_cast<std::size_t>(i)] = l.log_joint(X.row(i)) - g.log_joint(X.row(i));
    rank();
    give(X);
    return;
  }
  // The r-th best value of each block side by side; a value counts where its block exists.
  draw_marginals(chosen, l, key, X);
  std::vector<double> sum(static_cast<std::size_t>(m), 0.0), together(drawn.size());
  const Mat<double> T{together.data(), m, layout_.d};
  for (const std::int64_t j : layout_.order) {
    const std::int64_t c = layout_.column(j);
    for (std::int64_t i = 0; i < m; ++i)
      value[static_cast<std::size_t>(i)] = l.log_marginal(j, X(i, c)) - g.log_marginal(j, X(i, c));
    rank();
    for (std::int64_t r = 0; r < m; ++r) {
      const std::int64_t i = order[static_cast<std::size_t>(r)];
      const bool exists = layout_.exists(j, T.row(r));
      T(r, c) = exists ? X(i, c) : std::numeric_limits<double>::quiet_NaN();
      if (exists) sum[static_cast<std::size_t>(r)] += value[static_cast<std::size_t>(i)];
    }
  }
  value.swap(sum);  // in falling order already, but for blocks that exist in some rows alone
  rank();
  give(T);
}

}  // namespace hpo
