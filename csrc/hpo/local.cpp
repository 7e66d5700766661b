#include "hpo/local.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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
    summary_.leave_out(data, {}, threads);
    summary_.pseudo(data, {}, far_.pseudo, threads);
    start(far_, data);
    far_.V.clear();
    far_.V.build_some(matrix(far_), summary_.m(), INF, threads);
    summary_.conclude(far_.V, far_.pseudo, threads);
    summed_ = summary_.end();
    near_best_ = near_best(data, threads);
    summary_.leave_out(data, near_best_, threads);
    given(far_, {}, data, threads);
    told_ = far_.points.n();
  }
  far_.points.truncate(told_);
  far_.noise.resize(told_);
  far_.value.resize(told_);
  far_.V.truncate(matrix(far_), told_, threads);
  const auto first = summary_.m() + static_cast<std::int64_t>(far_.rows.size());
  for (std::int64_t row = summed_ + told_ - first; row < n; ++row) take(far_, data, row);
  far_.V.extend_by_rows(matrix(far_), far_.points.n(), threads);
  told_ = far_.points.n();
  weigh(far_, threads);
}

// In order, the rows near the best told.
std::vector<std::int64_t> Local::near_best(const Rows& data, int threads) const {
  const std::int64_t most = summed_ > MORE_UNTIL ? NEAR_BEST : MORE_NEAR_BEST;
  return hpo::near_best(neighbours_, data.U_nd, data.w_n, BEST, most, summed_, threads);
}

// The neighbours of these points that are not near the best.  None where the rows near the best are common.
std::vector<std::int64_t> Local::own(Mat<const double> points, int threads) const {
  auto nearest = neighbours_.nearest(points, OWN, summed_, threads);
  for (auto& of_one : nearest) {
    const std::int64_t common = std::count_if(of_one.begin(), of_one.end(), [&](std::int64_t row) {
      return std::binary_search(near_best_.begin(), near_best_.end(), row);
    });
    const auto count = static_cast<std::int64_t>(of_one.size()), all = static_cast<std::int64_t>(near_best_.size());
    if (AT_LEAST * common >= count && 2 * common * summed_ >= std::min(2 * COMMON * all, summed_ + all) * count)
      of_one.clear();
  }
  return in_turn(nearest, OWN, near_best_);
}

// Builds a model of the pseudo-observations and, as they are, the rows near the best and these.
void Local::given(Model& model, std::vector<std::int64_t> rows, const Rows& data, int threads) {
  summary_.pseudo(data, rows, model.pseudo, threads);
  start(model, data);
  model.rows = std::move(rows);
  model.rows.insert(model.rows.end(), near_best_.begin(), near_best_.end());
  std::sort(model.rows.begin(), model.rows.end());
  for (const std::int64_t row : model.rows) take(model, data, row);
  model.V.clear();
  model.V.build_some(matrix(model), model.points.n(), INF, threads);
}

Posterior& Local::near(const Rows& data, Mat<const double> points, int threads) {
  std::vector<std::int64_t> rows = own(points, threads);
  if (rows.empty()) return far_.posterior;
  for (std::int64_t row = summed_; row < data.U_nd.rows; ++row) rows.push_back(row);
  without_row([&] {
    given(near_, std::move(rows), data, threads);
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
  const auto first = summary_.m() + static_cast<std::int64_t>(far_.rows.size());
  told_ = std::min(told_, first + n - summary_.end());
  return true;
}

}  // namespace hpo
