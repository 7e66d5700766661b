#include "hpo/local.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

namespace hpo {

namespace {
constexpr double INF = std::numeric_limits<double>::infinity();

Embedding scaled(const Columns& columns, const std::vector<double>& theta) {
  Embedding embedding(columns);
  embedding.reset(theta.data());
  return embedding;
}

// What fails in sums over many rows is the fault of no single one.
template <class F>
auto without_row(F&& work) {
  try {
    return work();
  } catch (const numerical_error&) {
    throw numerical_error(
        "the covariance of the local model must be positive definite, but it is not; give the observations noise > 0 "
        "or shorter length scales",
        -1);
  }
}
}  // namespace

Local::Local(const Columns& columns, Kernel kind, bool constant_mean, std::vector<double> theta, std::int64_t base)
    : kind_(kind),
      theta_(std::move(theta)),
      base_(base),
      s2_(std::exp(theta_[theta_.size() - 2])),
      scales_(scaled(columns, theta_)),
      neighbours_(scales_),
      summary_(scales_, kind, s2_, constant_mean, base),
      far_(scales_),
      near_(scales_) {}

CovarianceMatrix Local::matrix(const Model& model) const {
  return {&model.points, kind_, s2_, model.noise.data(), model.pseudo.noise.data(), summary_.ld(), summary_.m()};
}

double Local::advance(const Rows& data, double work, int threads) {
  double done = 0.0;
  const std::int64_t columns = scales_.e() + 1, n = data.U_nd.rows;
  while (neighbours_.n() < n && done < work) {
    const std::int64_t until = std::min(n, neighbours_.n() + NEAR_ROWS);
    for (std::int64_t row = neighbours_.n(); row < until; ++row) neighbours_.append(data.U_nd.row(row));
    done += static_cast<double>(NEAR_ROWS * columns * 16);  // a number written costs as much as so many operations
  }
  if (done >= work) return done;
  return done + without_row([&] { return summary_.advance(data, work - done, threads); });
}

// The pseudo-observations become the model's first rows.
void Local::start(Model& model, const Rows& data) const {
  const std::int64_t m = summary_.m(), ld = summary_.ld();
  model.points.truncate(0);
  for (const std::int64_t row : summary_.inducing_rows()) model.points.append(data.U_nd.row(row));
  model.noise.resize(m);
  for (std::int64_t i = 0; i < m; ++i) model.noise[i] = model.pseudo.noise.data()[i * ld + i];
  model.value = model.pseudo.value;
}

void Local::take(Model& model, const Rows& data, std::int64_t row) const {
  model.points.append(data.U_nd.row(row));
  model.noise.push_back(data.noise(row));
  model.value.push_back(data.w_n[row] - summary_.mu());
}

// With the inferred noise the points of a batch would clump.
void Local::push(Model& model, const double* u, int threads) const {
  model.points.append(u);
  model.noise.push_back(1e-6 * s2_);
  model.V.extend_by_rows(matrix(model), model.points.n(), threads);
  model.alpha.resize(model.points.n(), 0.0);
  model.posterior.alpha = model.alpha.data();
}

void Local::weigh(Model& model, int threads) const {
  model.weights.compute(model.V, model.value.data(), false, threads);
  model.alpha = model.weights.alpha;
  Posterior& posterior = model.posterior;
  posterior.points = &model.points;
  posterior.V = &model.V;
  posterior.alpha = model.alpha.data();
  posterior.mu = summary_.mu();
  posterior.s2 = s2_;
  posterior.kind = kind_;
  posterior.threads = threads;
}

void Local::catch_up(const Rows& data, int threads) {
  advance(data, INF, threads);
  without_row([&] { take_new(data, threads); });
}

void Local::take_new(const Rows& data, int threads) {
  const std::int64_t n = data.U_nd.rows;
  pending_.clear();
  if (summed_ != summary_.end()) {
    if (summed_ < 0)
      for (const std::int64_t row : summary_.inducing_rows()) neighbours_.exclude(row);
    summary_.pseudo(data, {}, far_.pseudo, threads);
    start(far_, data);
    far_.V.clear();
    far_.V.build_some(matrix(far_), summary_.m(), INF, threads);
    summary_.conclude(far_.V, far_.pseudo, threads);
    far_.value = far_.pseudo.value;
    summed_ = summary_.end();
    told_ = summary_.m();
  }
  far_.points.truncate(told_);
  far_.noise.resize(told_);
  far_.value.resize(told_);
  far_.V.truncate(matrix(far_), told_, threads);
  for (std::int64_t row = summed_ + told_ - summary_.m(); row < n; ++row) take(far_, data, row);
  far_.V.extend_by_rows(matrix(far_), far_.points.n(), threads);
  told_ = far_.points.n();
  weigh(far_, threads);
}

Posterior& Local::near(const Rows& data, Mat<const double> points, int threads) {
  // The nearest of each point, then the second nearest: points that lie close share most of theirs.
  const std::int64_t n = data.U_nd.rows, most = base_ < Summary::FEWER_FROM ? NEIGHBOURS : FEWER;
  std::vector<std::int64_t> rows;
  std::unordered_set<std::int64_t> taken;
  const auto nearest = neighbours_.nearest(points, most, summed_, threads);
  for (std::int64_t r = 0; r < most; ++r)
    for (const auto& of_one : nearest) {
      if (static_cast<std::int64_t>(rows.size()) == most || r >= static_cast<std::int64_t>(of_one.size())) continue;
      if (taken.insert(of_one[r]).second) rows.push_back(of_one[r]);
    }
  std::sort(rows.begin(), rows.end());
  for (std::int64_t row = summed_; row < n; ++row) rows.push_back(row);

  without_row([&] {
    summary_.pseudo(data, rows, near_.pseudo, threads);
    start(near_, data);
    for (const std::int64_t row : rows) take(near_, data, row);
    near_.V.clear();
    near_.V.build_some(matrix(near_), near_.points.n(), INF, threads);
    weigh(near_, threads);
    for (const std::vector<double>& u : pending_) push(near_, u.data(), threads);
  });
  return near_.posterior;
}

void Local::push_pending(Vec<const double> u, int threads) {
  pending_.emplace_back(u.data, u.data + u.n);
  without_row([&] { push(far_, u.data, threads); });
}

bool Local::truncate(std::int64_t n) {
  if (n < summary_.end()) return false;
  neighbours_.truncate(n);
  told_ = std::min(told_, summary_.m() + n - summary_.end());
  return true;
}

}  // namespace hpo
