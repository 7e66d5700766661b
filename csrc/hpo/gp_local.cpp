// Many observations: the local model in place of one factor of all.
//
// Its warp, its inducing points and its sums are those of the observations told when theta was fitted, and stay until
// the next refit: a tell then costs nothing that grows with n.  So the state is still a function of the observations,
// theta and that number.
#include <algorithm>
#include <utility>

#include "hpo/gp.hpp"

namespace hpo {

Local& GaussianProcess::local() {
  try {
    if (!local_) local_ = std::make_unique<Local>(columns_, config_.kind, config_.constant_mean, now_.theta, base_);
    local_->catch_up(rows(), config_.threads);
  } catch (...) {
    local_.reset();
    throw;
  }
  return *local_;
}

// Warps the observations that the model begins with anew, the others after them, and forgets what was made from the old
// values.
void GaussianProcess::freeze() {
  Warp warp;
  std::int64_t base = begins_with(n());
  extend(warp, base);
  release();
  local_.reset();
  std::swap(warp_, warp);
  base_ = base;
  noise_scale_ = local_noise_scale(warp_);
}

// Brings a warp that begins with `base` observations to all there are; true where it began, or began anew.  Where that
// fails, the warp may have more rows and a lower best value than before; `cut` takes both back.
bool GaussianProcess::extend(Warp& warp, std::int64_t& base) const {
  Warp anew;
  std::int64_t start = base;
  bool began = false;
  const auto begin = [&] {
    anew.apply({Y_.begin(), Y_.begin() + start}, config_.standardise);
    began = true;
  };
  if (warp.w.empty()) begin();
  while (true) {
    Warp& last = began ? anew : warp;
    const auto row = static_cast<std::int64_t>(last.w.size());
    if (row >= n()) break;
    if (last.foreign(Y_[row])) {
      start = row + 1;
      begin();
    } else {
      last.add(Y_[row]);
    }
  }
  if (began) {
    std::swap(warp, anew);
    base = start;
  }
  return began;
}

void GaussianProcess::extend_warp() {
  if (!extend(warp_, base_)) return;
  local_.reset();
  noise_scale_ = local_noise_scale(warp_);
}

// Forgets the factors of the exact model.
void GaussianProcess::release() {
  rebuild(now_);
  now_.V = Factor();
  if (next_) next_->model = Conditioned(columns_);
}

// Does some of the local model under the theta that the fit found.
double GaussianProcess::advance_local(double work) {
  Planned& next = *next_;
  if (!next.local) {
    std::vector<double> theta = next.fit.theta();
    if (config_.fixed_noise) theta[layout_.b + 1] = now_.theta[layout_.b + 1];
    if (static_cast<std::int64_t>(next.warp.w.size()) != next.n)
      next.warp.apply({Y_.begin(), Y_.begin() + next.n}, config_.standardise);
    next.noise_scale = local_noise_scale(next.warp);
    next.local = std::make_unique<Local>(columns_, config_.kind, config_.constant_mean, std::move(theta), next.n);
  }
  // With the rows told since, up to one that begins the warp anew: that is for take_local.
  for (auto row = next.warp.w.size(); row < Y_.size() && !next.warp.foreign(Y_[row]); ++row) next.warp.add(Y_[row]);
  try {
    return next.local->advance(rows(next.local->theta(), next.warp, next.noise_scale), work, config_.threads);
  } catch (...) {
    next.local.reset();  // half of it is done: it begins again, and comes to the same end
    throw;
  }
}

// The model that was planned becomes the one that answers; where it cannot, all stays as it was.
void GaussianProcess::take_local() {
  Planned& next = *next_;
  std::vector<double> theta = next.local->theta();
  std::int64_t base = next.n, fitted = next.n;
  const auto exchange = [&] {
    std::swap(now_.theta, theta);
    std::swap(warp_, next.warp);
    std::swap(noise_scale_, next.noise_scale);
    std::swap(base_, base);
    std::swap(fitted_, fitted);
    std::swap(local_, next.local);
  };
  exchange();
  try {
    extend_warp();
    local();
  } catch (...) {
    exchange();
    throw;
  }
  release();
}

}  // namespace hpo
