// Builds search spaces for tests, block by block.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "hpo/layout.hpp"
#include "hpo/rng.hpp"

struct LayoutBuilder {
  using Spans = std::vector<std::pair<double, double>>;

  std::int64_t continuous() { return add(hpo::CONTINUOUS, 0, NAN, NAN, NAN); }
  std::int64_t ordered(std::int64_t size) { return add(hpo::ORDERED, size, NAN, NAN, NAN); }
  std::int64_t categorical(std::int64_t size) { return add(hpo::CATEGORICAL, size, NAN, NAN, NAN); }
  std::int64_t log_int(double low, double high) {
    return add(hpo::ORDERED, static_cast<std::int64_t>(high - low) + 1, low, std::log(low - 0.5), std::log(high + 0.5));
  }

  // `child` exists only while the code of `parent` lies in one of the spans.
  void when(std::int64_t child, std::int64_t parent, const Spans& spans) {
    cond_child.push_back(child);
    cond_parent.push_back(parent);
    for (const auto& span : spans) {
      cond_lo.push_back(span.first);
      cond_hi.push_back(span.second);
    }
    cond_start.push_back(static_cast<std::int64_t>(cond_lo.size()));
  }
  // ... while `parent` is at one of its points first..last: their bins, as a space writes them.
  void when_index(std::int64_t child, std::int64_t parent, std::int64_t first, std::int64_t last) {
    const double n = static_cast<double>(size[static_cast<std::size_t>(parent)]);
    when(child, parent, {{static_cast<double>(first) / n, static_cast<double>(last + 1) / n}});
  }

  hpo::Layout build() { return hpo::Layout(arrays()); }

  // Views of this builder's own vectors.
  hpo::LayoutArrays arrays() {
    hpo::LayoutArrays a;
    a.d = a.b = static_cast<std::int64_t>(kind.size());
    start.clear();
    for (std::int64_t j = 0; j <= a.b; ++j) start.push_back(j);
    if (order.empty()) order.assign(start.begin(), start.end() - 1);
    a.start = view(start), a.kind = view(kind), a.size = view(size);
    a.low = view(low), a.log_low = view(log_low), a.log_high = view(log_high), a.order = view(order);
    a.cond_child = view(cond_child), a.cond_parent = view(cond_parent), a.cond_start = view(cond_start);
    a.cond_lo = view(cond_lo), a.cond_hi = view(cond_hi);
    return a;
  }

  std::vector<std::int64_t> start, size, order, cond_child, cond_parent, cond_start{0};
  std::vector<std::int32_t> kind;
  std::vector<double> low, log_low, log_high, cond_lo, cond_hi;

 private:
  std::int64_t add(std::int32_t kind_, std::int64_t size_, double low_, double log_low_, double log_high_) {
    kind.push_back(kind_), size.push_back(size_), low.push_back(low_);
    log_low.push_back(log_low_), log_high.push_back(log_high_);
    return static_cast<std::int64_t>(kind.size()) - 1;
  }
  template <class T>
  static hpo::Vec<const T> view(const std::vector<T>& v) {
    return {v.data(), static_cast<std::int64_t>(v.size())};
  }
};

// Points of a space with a continuous, an ordered, a categorical block, one that depends on it, and a logarithmic
// integer.
struct MixedPoints {
  LayoutBuilder builder;
  hpo::LayoutArrays arrays;
  std::int64_t d, n;
  std::vector<double> U;

  explicit MixedPoints(std::int64_t n_) : n(n_) {
    builder.continuous(), builder.ordered(5), builder.categorical(3), builder.continuous(), builder.log_int(1, 100);
    builder.when_index(3, 2, 0, 1);
    arrays = builder.arrays();
    d = arrays.d;
    const hpo::Layout layout(arrays);
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<double> u(static_cast<std::size_t>(d));
      for (std::int64_t j = 0; j < d; ++j) u[static_cast<std::size_t>(j)] = hpo::uniform(1, i, j);
      layout.snap(u.data());
      U.insert(U.end(), u.begin(), u.end());
    }
  }
  hpo::Mat<const double> points(std::int64_t first, std::int64_t count) const {
    return {U.data() + first * d, count, d};
  }
};
