// The next points: pending ones, candidates, the search, one point after the other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "hpo/gp.hpp"
#include "hpo/rough.hpp"

namespace hpo {

namespace {
// How much an ask may score and climb by a model of n rows: of many a batch of gradients reads V twice.  The bounds of
// the candidates and the optima carried over put the best starts first.  What less of it costs, as expected improvement
// relative to the best of 12 searches without limits, on six functions; each median was 1.000:
//   asks 121 to 300, d = 2 to 20: 256 + 256 candidates and 32 batches: mean 0.987, twentieth 0.93;  128 + 128 and 12:
//     0.982, 0.89, in 0.45 of the time;  8 batches: 0.977, 0.86;
//   asks 1 to 10 after 100 scrambled Sobol points, d = 5 and 20 (the benchmarks' part `acquisition`): medians 1.000,
//     twentieths 1.000 and 0.9994, tell and ask in 0.61 of the time;
//   asks 801 to 1,000, d = 5 and 20, after 800 random points: 256 + 256 and 16: 0.987, 0.92;  128 + 128 and 8: 0.977,
//     0.89, in 0.53 of the time;  with 16 starts in place of 64: 0.971, 0.87, as fast.  That was where the longer
//     search had asked; where the shorter one had, the two found 0.953, 0.73 and 0.938, 0.67.
// The best point of such runs was no worse: the mean of log10 of the regret, relative to the median of the random
// points, went from -1.96 to -1.97 in 60 runs to 300, from -1.90 to -1.94 in 48 from 800 to 1,000.  In a mixed and a
// conditional space, asks 121 to 300, mean and twentieth fall by 0.001 and 0.004.
// Where the search climbs by rough ideas, the same relative to the best of five long climbs and these; what it took
// holds 128 + 128 candidates and 8 batches by all rows, and 64 + 192 by rough ideas, of 512 rows at every n:
//   asks 2 to 40 after 2,500 random points, six functions: by all rows 0.873, 0.57;  0.916, 0.63, in 0.78 of the time;
//   asks 200 to 400 after 2,050, six functions: 0.792, 0.33;  0.795, 0.35, in 0.80;
//   asks 150 to 300 after 6,000, five functions: 0.701, 0.12;  0.729, 0.31, in 0.42.
// There a hundredth of a length scale is no scale for candidates: the rough ideas climb better, and where some hundred
// trials have gathered, some fifty candidates so near to them cannot be told from the best by bounds.  Without, after
// 700 asks from 10,000 at d = 5, 24 searches took 0.75 of the time and found 0.999 of the expected improvement; after
// 200 from 3,000, of 40 and 100 searches, d = 5 0.85, 0.999, d = 20 0.96 and 0.97.
// The local model is searched so, too, where it has as many rows: 2,048 to 5,063 observations.  Before it climbed
// from 16 starts by all these, 8 batches; means, relative to the best of some 30 searches, as the exact model judges,
// and milliseconds of an ask with one thread:
//   asks 60 to 299 after 2,100 random points, three functions: 0.79, 45 ms;  by rough ideas 0.81, 39 ms;
//   asks 120 to 299 after 4,700, one with many optima: 0.64, 65;  0.80, 52.
// The regret after 300 asks from 4,700, ten seeds, three functions, went from 10^0.23, 10^0.05 and 10^0.07 to 10^0.17,
// 10^-0.08 and 10^0.05 times that of the exact model.  Of more observations it has 1,300 to 1,600 rows, of which
// 512 save nothing: at 10,000 an ask took 1.4 times as long (two threads).  There it climbs by all its rows, from 64
// starts, as an exact model of 1,000 rows: 9.8 and 10.4 ms at d = 5 and 20, before 8.9 and 10.5, and of 30 asks the
// worst twentieth found 0.99 of the best, before 0.95.
constexpr std::int64_t ROUGH_FROM = 2048;

void limit(SearchOptions& options, std::int64_t n) {
  if (n >= 100) options.quasi_random = options.local = 128, options.ascent.batches = 12;
  if (n >= 1000) options.ascent.batches = 8;
  if (n >= ROUGH_FROM) options.quasi_random = 64, options.local = 144, options.scales = {0.2, 0.05, 0.5};
}

// What the search climbs in place of `utility`: where that is flat 0 its logarithm still has a slope, and the same
// maximum.
Utility logarithmic(Utility utility) {
  if (utility.kind == UtilityKind::ei) utility.kind = UtilityKind::log_ei;
  if (utility.kind == UtilityKind::pi) utility.kind = UtilityKind::log_pi;
  return utility;
}
}  // namespace

// The value to improve on: the best that one of the best told points may well have, its mean less OPTIMISM standard
// deviations, but no better than the best value told.  Without noise that is the best value told.  With noise the best
// value is a lucky draw, and the more trials there are the luckier: no point can be expected to improve on it, and what
// differs least from none lies far from all that is told.  The mean alone (Picheny, Wagner & Ginsbourger 2013, Struct.
// Multidiscip. Optim. 48, section 3.2) explores too little: of 5 noisy functions and 100 trials the best point found
// was worse than with the best value told on 4, and with 2 standard deviations better on 4 and equal on one.  O(n) a
// row.
double GaussianProcess::incumbent() {
  constexpr double OPTIMISM = 2.0;
  double best = std::numeric_limits<double>::infinity();
  if (is_local()) {
    const auto count = static_cast<std::int64_t>(best_.size());
    std::vector<double> U, mean(count), var(count);
    for (const std::int64_t row : best_) U.insert(U.end(), U_.data() + row * d(), U_.data() + (row + 1) * d());
    local().far().predict({U.data(), count, d()}, mean.data(), var.data(), nullptr, nullptr);
    // Of a row that is in the sums alone, the model may know little; but no less than the row itself would tell, where
    // others repeat it.
    const Rows all = rows();
    for (std::int64_t i = 0; i < count; ++i)
      if (local_->has(best_[i]) || var[i] <= all.noise(best_[i]))
        best = std::min(best, mean[i] - OPTIMISM * std::sqrt(var[i]));
  } else {
    // With v_i the noise on the diagonal of K: mean_i = w_i - v_i alpha_i, var_i = v_i (1 - v_i (K^-1)_ii).
    const Weights& known = weights();
    for (const std::int64_t told : best_) {
      const std::int64_t row = now_.V.merged(told) < 0 ? told : now_.V.merged(told);
      const double v = now_.noise[row];
      const double var = std::max(0.0, v * (1.0 - v * now_.V.inverse_diagonal(row)));
      best = std::min(best, known.mu + known.centred(row) - v * known.alpha[row] - OPTIMISM * std::sqrt(var));
    }
  }
  if (!std::isfinite(best)) return warp_.best;  // nothing told, or no row of the 50 known
  return std::max(warp_.best, best);
}

// A pending point enters with the posterior mean as its value: the mean stays as it is, the variance falls.  It counts
// as known almost exactly: with the inferred noise the points of a batch would clump.
void GaussianProcess::push_pending(const double* u) {
  now_.points.append(u);
  now_.noise.push_back(1e-6 * std::exp(now_.theta[layout_.b]));
  now_.V.extend_by_rows(matrix(now_), now_.points.n(), config_.threads);
}

void GaussianProcess::drop_pending() {
  now_.points.truncate(n());
  now_.noise.resize(n());
  now_.V.truncate(matrix(now_), n(), config_.threads);
}

MaximumResult GaussianProcess::maximise(Utility utility, std::int64_t q, Mat<const double> pending, Key key,
                                        Mat<const double> starts, bool avoid_known) {
  check_points(pending, "pending");
  check_points(starts, "starts");
  const bool locally = is_local();
  if (locally)
    local();
  else
    catch_up(now_, n());
  const std::int64_t modelled = locally ? local_->far().V->n() : n();  // of many observations some thousand
  struct Restore {
    GaussianProcess* gp;
    bool locally;
    ~Restore() {
      if (!locally) gp->drop_pending();
    }
  } restore{this, locally};

  // The best points told, a twentieth of all but at least 5 and at most 50: the search perturbs them.
  const std::int64_t count =
      std::min<std::int64_t>(static_cast<std::int64_t>(best_.size()), std::max<std::int64_t>(5, n() / 20));
  std::vector<double> best;
  for (std::int64_t i = 0; i < count; ++i)
    best.insert(best.end(), U_.data() + best_[i] * d(), U_.data() + (best_[i] + 1) * d());
  std::vector<double> lengthscale(layout_.b);
  for (std::int64_t j = 0; j < layout_.b; ++j) lengthscale[j] = std::exp(now_.theta[j]);

  if (avoid_known)
    for (std::int64_t i = told_.n(); i < n(); ++i) told_.insert(U_.data() + i * d());
  KnownPoints asked(layout_);
  utility.best = incumbent();
  const auto push = [&](const double* u) {
    asked.insert(u);
    if (locally)
      local_->push_pending({u, d()}, config_.threads);
    else
      push_pending(u);
  };
  if (pending.rows) {
    std::vector<double> mean(pending.rows), var(pending.rows);
    Posterior& given = locally ? local_->near(rows(), pending, config_.threads) : posterior();
    given.predict(pending, mean.data(), var.data(), nullptr, nullptr);
    for (std::int64_t i = 0; i < pending.rows; ++i) {
      utility.best = std::min(utility.best, mean[i]);
      push(pending.row(i));
    }
  }
  SearchOptions options;
  limit(options, modelled);
  taken_ = 0.0;  // of the next ask no row is new
  MaximumResult result;
  for (std::int64_t i = 0; i < q; ++i) {
    const Utility climbed = logarithmic(with_margin(utility));
    // Each of the q searches draws its own candidates: the high half of the number is free.
    const SearchInput input{{best.data(), count, d()},
                            starts,
                            {lengthscale.data(), layout_.b},
                            {avoid_known ? &told_ : &failed_, &asked},
                            {key.seed, key.number + (static_cast<std::uint64_t>(i) << 40)}};
    SearchResult found;
    double mean, var;
    const bool rough = modelled >= ROUGH_FROM;
    const auto search = [&](PosteriorScorer&& scorer) {
      found = Search(layout_, scorer, input, options).run();
      scorer.moments({found.u.data(), d()}, &mean, &var);
    };
    if (locally)
      search(LocalScorer(*local_, rows(), climbed, rough, config_.threads));
    else
      search(PosteriorScorer(posterior(), climbed, rough ? now_.noise.data() : nullptr));
    result.U.insert(result.U.end(), found.u.begin(), found.u.end());
    result.values.push_back(utility_value(with_margin(utility), mean, var));
    result.mean.push_back(mean);
    result.var.push_back(var);
    if (i == 0) {
      result.optima = found.optima;
      result.n_optima = found.n_optima;
    }
    if (i + 1 == q) break;
    utility.best = std::min(utility.best, mean);
    push(found.u.data());
  }
  return result;
}

}  // namespace hpo
