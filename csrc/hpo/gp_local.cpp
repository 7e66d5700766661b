// Many observations: the local model in place of one factor of all.
//
// Its warp, its inducing points and its sums are those of the observations that theta was fitted to, and stay until the
// next refit: a tell then costs nothing that grows with n.  So the state is still a function of the observations, theta
// and that number.
#include <algorithm>
#include <utility>

#include "hpo/gp.hpp"

namespace hpo {

Local& GaussianProcess::local() {
  try {
    if (!local_) local_ = std::make_unique<Local>(columns_, config_.kind, now_.theta, base_);
    local_->catch_up(rows(), config_.threads);
  } catch (...) {
    local_.reset();
    throw;
  }
  return *local_;
}

// Warps the observations that theta was fitted to anew, the others after them, and forgets what was made from the old
// values.  Without a fit: all, or those with which the model became a local one.
void GaussianProcess::freeze() {
  const std::int64_t unfitted = config_.surrogate == Surrogate::automatic ? config_.exact_below : n();
  base_ = std::min(n(), fitted_ > 0 ? fitted_ : std::max<std::int64_t>(unfitted, 1));
  rebuild(now_);
  now_.V = Factor();
  warp_.w.clear();
  extend_warp();
}

void GaussianProcess::extend_warp() {
  const auto begin = [&] {
    local_.reset();
    warp_.apply({Y_.begin(), Y_.begin() + base_}, config_.standardise);
    noise_scale_ = quantised({known_.begin(), known_.begin() + base_}, warp_);
  };
  if (warp_.w.empty()) begin();
  while (static_cast<std::int64_t>(warp_.w.size()) < n()) {
    const auto row = static_cast<std::int64_t>(warp_.w.size());
    if (warp_.foreign(Y_[row])) {
      base_ = row + 1;
      begin();
    } else {
      warp_.add(Y_[row]);
    }
  }
}

// Does some of the local model under the theta that the fit found.
double GaussianProcess::advance_local(double work) {
  Planned& next = *next_;
  if (!next.local) {
    std::vector<double> theta = next.fit.theta();
    if (config_.fixed_noise) theta[layout_.b + 1] = now_.theta[layout_.b + 1];
    next.model.theta = theta;
    next.warp.apply({Y_.begin(), Y_.begin() + next.n}, config_.standardise);
    next.noise_scale = quantised({known_.begin(), known_.begin() + next.n}, next.warp);
    next.local = std::make_unique<Local>(columns_, config_.kind, std::move(theta), next.n);
  }
  return next.local->advance(rows(next.model.theta, next.warp, next.noise_scale), work, config_.threads);
}

// The model that was planned becomes the one that answers.
void GaussianProcess::take_local() {
  now_.theta = next_->model.theta;
  warp_ = std::move(next_->warp);
  noise_scale_ = next_->noise_scale;
  base_ = next_->n;
  local_ = std::move(next_->local);
  extend_warp();
}

}  // namespace hpo
