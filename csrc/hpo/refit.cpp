#include "hpo/refit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "hpo/pool.hpp"

namespace hpo {

namespace {
// A fit is as good as a hundredth of a nat; more would be spent on what the next trial changes anyway.
constexpr LbfgsbOptions FIT_OPTIONS{10, 1e-2, 1e-6, 1e-2, 100, 150, 1.0};
// From where a fit on fewer ended the first step is short, unless that fit left curvature behind: one as long as from
// anywhere falls behind the start again.
constexpr double NEXT_STEP = 0.25;
constexpr double INF = std::numeric_limits<double>::infinity();

// See FitData.
std::vector<std::int64_t> some(const Observed& all, std::int64_t count) {
  const std::int64_t rows = all.U_nd.rows;
  const double* value = all.w_n;
  std::vector<std::int64_t> order(rows), rest, out;
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (count >= rows) return order;  // all
  std::vector<char> taken(rows, 0);
  std::int64_t left = count;
  const auto take = [&](std::int64_t row) {
    if (left > 0 && !taken[row]) taken[row] = 1, --left;
  };
  std::partial_sort(order.begin(), order.begin() + count / 4, order.end(), [&](std::int64_t i, std::int64_t j) {
    return value[i] < value[j] || (value[i] == value[j] && i < j);
  });
  for (std::int64_t i = 0; i < count / 4; ++i) take(order[i]);
  for (std::int64_t i = 0; i < count / 4; ++i) take(rows - 1 - i);
  for (std::int64_t i = 0; i < rows; ++i)
    if (!taken[i]) rest.push_back(i);
  const std::int64_t spread = left;
  for (std::int64_t i = 0; i < spread; ++i) take(rest[i * static_cast<std::int64_t>(rest.size()) / spread]);
  for (std::int64_t i = 0; i < rows; ++i)
    if (taken[i]) out.push_back(i);
  return out;
}
}  // namespace

FitData::FitData(const Observed& all, std::int64_t count) : FitData(all, some(all, count)) {}

FitData::FitData(const Observed& all, const std::vector<std::int64_t>& rows) : observed(all) {
  for (const std::int64_t i : rows) {
    U.insert(U.end(), all.U_nd.row(i), all.U_nd.row(i) + all.U_nd.cols);
    w.push_back(all.w_n[i]);
    known.push_back(all.known_n[i]);
  }
  observed.U_nd = {U.data(), n(), all.U_nd.cols};
  observed.w_n = w.data();
  observed.known_n = known.data();
}

Refit::Refit(const Columns& columns, FitSettings settings, const Observed& all, std::vector<double> theta)
    : columns_(columns),
      settings_(std::move(settings)),
      n_(all.U_nd.rows),
      b_(static_cast<std::int64_t>(theta.size()) - 2),
      theta_(std::move(theta)) {
  const std::int64_t p = b_ + 2;
  X_.resize(2 * p), G_.resize(2 * p), f_.resize(2), ids_.resize(2);
  for (int i = 0; i < 2; ++i) likelihood_.push_back(std::make_unique<Likelihood>(columns_));
  const auto boxed = [&](std::vector<double> t) {
    for (std::int64_t j = 0; j < p; ++j) t[j] = std::min(std::max(t[j], settings_.lower[j]), settings_.upper[j]);
    return t;
  };
  as_it_was_ = theta_;
  theta_ = boxed(theta_);
  data_ = FitData(all, n_ > ALL ? coarse(n_) : n_);
  if (n_ > ALL) {
    const std::int64_t last = std::min(n_, MOST);
    if (last / 2 >= data_.n() * 3 / 2) later_.emplace_back(all, last / 2);
    later_.emplace_back(all, last);
  }
  stage_ = Stage::coarse;
  const std::vector<double> mode = boxed(prior_mode(b_));
  start(mode == theta_ ? std::vector<std::vector<double>>{theta_} : std::vector<std::vector<double>>{theta_, mode},
        FIT_OPTIONS.first_step);
}

std::vector<double> Refit::full(const double* theta) const {
  std::vector<double> out(theta, theta + b_ + 2);
  if (settings_.fixed_noise) out[b_ + 1] = settings_.log_noise;
  return out;
}

// Adds the log prior and its gradient, and takes the fixed noise out of the latter.
double Refit::with_prior(double log_likelihood, const double* theta, double* gradient) const {
  if (gradient && settings_.fixed_noise) gradient[b_ + 1] = 0.0;
  if (!settings_.prior) return log_likelihood;
  return log_likelihood + Prior(b_)(b_, theta, !settings_.fixed_noise, gradient);
}

void Refit::start(const std::vector<std::vector<double>>& starts, double first_step) {
  const std::int64_t p = b_ + 2;
  LbfgsbOptions options = FIT_OPTIONS;
  options.first_step = first_step;
  search_ = std::make_unique<LockStep>(2, p, Vec<const double>{settings_.lower.data(), p},
                                       Vec<const double>{settings_.upper.data(), p}, Vec<const double>{}, options);
  std::vector<double> rows;
  for (const auto& t : starts) rows.insert(rows.end(), t.begin(), t.end());
  search_->start({rows.data(), static_cast<std::int64_t>(starts.size()), p});
}

// The best end of the search becomes `found_`, with its log posterior.
void Refit::end_search() {
  value_ = -INF;
  best_ = 0;
  for (std::int64_t i = 0; i < search_->starts(); ++i) {
    if (!std::isfinite(search_->value(i)) || -search_->value(i) <= value_) continue;
    value_ = -search_->value(i);
    best_ = i;
    found_.resize(b_ + 2);
    search_->point(i, found_.data());
  }
}

// Takes theta back where data_ do not tell enough for another one: what they leave open the prior decides.
// Returns the operations done, at most.
double Refit::weigh_gain(int threads) {
  double before = -INF;
  try {
    before = (*likelihood_[0])(data_.observed, full(as_it_was_.data()).data(), nullptr, threads);
  } catch (const numerical_error&) {  // any other one is better
  }
  const double after = value_ - with_prior(0.0, found_.data(), nullptr);
  if (!(after - before > settings_.least_gain)) found_ = as_it_was_;
  return cube(data_.n());
}

// The search on data_ has ended: on to more observations, if there are more.  Returns the operations done.
double Refit::next_stage(int threads) {
  end_search();
  if (used_ == later_.size()) {
    stage_ = Stage::done;
    return settings_.least_gain >= 0.0 && !found_.empty() ? weigh_gain(threads) : 0.0;
  }
  if (found_.empty()) found_ = theta_;
  fewer_ = data_.n();
  data_ = std::move(later_[used_++]);
  if (used_ < later_.size()) {
    climb_from(found_);
  } else {
    stage_ = Stage::compare;
    value_ = -INF;
  }
  return 0.0;
}

// A search from `theta` on data_, with the curvature of the one before it: the log likelihood of m times as many
// observations is about m times as curved, and without it the search would spend most evaluations on learning that.
void Refit::climb_from(std::vector<double> theta) {
  const std::unique_ptr<LockStep> before = std::move(search_);
  start({std::move(theta)}, NEXT_STEP);
  search_->remember(0, *before, best_, static_cast<double>(data_.n()) / static_cast<double>(fewer_));
  stage_ = Stage::climb;
}

// One round of the coarse search: a thread a start.
double Refit::climb_coarse(int threads) {
  const std::int64_t p = b_ + 2, active = search_->propose({X_.data(), 2, p}, {ids_.data(), 2});
  parallel_for(threads, active, [&](std::int64_t i, int) {
    double* slope = G_.data() + i * p;
    try {
      const double* theta = X_.data() + i * p;
      f_[i] = -with_prior((*likelihood_[i])(data_.observed, full(theta).data(), slope, 1), theta, slope);
      for (std::int64_t j = 0; j < p; ++j) slope[j] = -slope[j];
    } catch (const numerical_error&) {
      f_[i] = INF;  // the search steps back from there
    }
  });
  const double work = static_cast<double>(active) * cube(data_.n());
  search_->tell({f_.data(), active}, {G_.data(), active, p});
  return search_->active() == 0 ? work + next_stage(threads) : work;
}

// A piece of an evaluation at `theta`; evaluating_ tells whether more is to come, f_[0] is the value at its end.
double Refit::advance_evaluation(const double* theta, bool gradient, double work, int threads) {
  Likelihood& likelihood = *likelihood_[0];
  try {
    if (!evaluating_) likelihood.begin(data_.observed, full(theta).data(), gradient);
    evaluating_ = true;
    const double done = likelihood.advance(work, threads);
    evaluating_ = !likelihood.done();
    if (!evaluating_) {
      double* slope = gradient ? G_.data() : nullptr;
      f_[0] = -with_prior(likelihood.result(slope), theta, slope);
      for (std::int64_t j = 0; gradient && j < b_ + 2; ++j) slope[j] = -slope[j];
    }
    return done;
  } catch (const numerical_error&) {
    evaluating_ = false;
    f_[0] = INF;
    return cube(data_.n());  // at most, but a share shall not go on to the next ones for nothing
  }
}

double Refit::advance(double work, int threads) {
  double done = 0.0;
  const std::int64_t p = b_ + 2;
  do {
    if (stage_ == Stage::coarse) {
      done += climb_coarse(threads);
    } else if (stage_ == Stage::compare) {
      done += advance_evaluation((compared_ ? found_ : theta_).data(), false, work - done, threads);
      if (evaluating_) continue;
      if (compared_ == 0) begun_ = -f_[0];
      if (compared_ == 1) {
        value_ = -f_[0];
        climb_from(begun_ > value_ ? theta_ : found_);
        found_.clear();
      }
      ++compared_;
    } else if (stage_ == Stage::climb) {
      if (!evaluating_) search_->propose({X_.data(), 2, p}, {ids_.data(), 2});
      done += advance_evaluation(X_.data(), true, work - done, threads);
      if (evaluating_) continue;
      search_->tell({f_.data(), 1}, {G_.data(), 1, p});
      if (search_->active() == 0) done += next_stage(threads);
    }
  } while (stage_ != Stage::done && done < work);
  return done;
}

const std::vector<double>& Refit::theta() const {
  if (found_.empty())
    throw numerical_error(
        "a fit must find a finite log posterior, but none that was tried has one; set theta, or give the "
        "observations noise",
        -1);
  return found_;
}

}  // namespace hpo
