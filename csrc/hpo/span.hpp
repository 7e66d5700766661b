// Row-major views of memory that somebody else owns. Bounds are checked only when HPO_FAST_DEBUG is defined
// (the sanitizer build), so a release build pays nothing.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace hpo {

#ifdef HPO_FAST_DEBUG
#define HPO_CHECK(condition)                                         \
  do {                                                               \
    if (!(condition)) throw std::logic_error("bounds: " #condition); \
  } while (0)
#else
#define HPO_CHECK(condition) ((void)0)
#endif

template <class T>
struct Vec {
  T* data = nullptr;
  std::int64_t n = 0;

  T& operator[](std::int64_t i) const {
    HPO_CHECK(i >= 0 && i < n);
    return data[i];
  }
  operator Vec<const T>() const { return {data, n}; }
};

template <class T>
struct Mat {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;

  T& operator()(std::int64_t i, std::int64_t j) const {
    HPO_CHECK(i >= 0 && i < rows && j >= 0 && j < cols);
    return data[i * cols + j];
  }
  T* row(std::int64_t i) const {
    HPO_CHECK(i >= 0 && i <= rows);
    return data + i * cols;
  }
  operator Mat<const T>() const { return {data, rows, cols}; }
};

// A covariance that is not positive definite; `row` is the first observation at which that shows.
struct numerical_error : std::runtime_error {
  std::int64_t row;
  numerical_error(const std::string& what, std::int64_t row_) : std::runtime_error(what), row(row_) {}
};

}  // namespace hpo
