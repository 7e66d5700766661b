// Memory on cache-line borders that grows without copying: for what is rewritten as a whole before it is read.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

namespace hpo {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { release(); }

  // At least `count` doubles; their contents are lost when the memory has to move.
  double* need(std::int64_t count) {
    if (count > size_) {
      release();
      data_ = static_cast<double*>(::operator new(static_cast<std::size_t>(count) * sizeof(double), alignment));
      size_ = count;
    }
    return data_;
  }
  double* zeros(std::int64_t count) {
    std::memset(need(count), 0, static_cast<std::size_t>(count) * sizeof(double));
    return data_;
  }
  double* data() const { return data_; }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t alignment{64};
  double* data_ = nullptr;
  std::int64_t size_ = 0;

  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  void release() {
    if (data_) ::operator delete(data_, alignment);
    data_ = nullptr;
    size_ = 0;
  }
};

}  // namespace hpo
