// Arrays that the kernel shares with the daemon's memory: no system call to change a value.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/error.h"

namespace tombolo::bpf {

// A BPF_F_MMAPABLE array; the kernel keeps values at multiples of 8 bytes.
template <class Value>
class MappedArray {
  static_assert(sizeof(Value) % 8 == 0);

 public:
  static Result<MappedArray> open(int fd, std::size_t entries) {
    auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::size_t bytes = (entries * sizeof(Value) + page - 1) / page * page;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return fail_errno(errno, "map an array of {} bytes", bytes);
    MappedArray array;
    array.values_ = static_cast<Value*>(memory);
    array.entries_ = entries;
    array.bytes_ = bytes;
    return array;
  }
  MappedArray() = default;
  MappedArray(MappedArray&& other) noexcept
      : values_(std::exchange(other.values_, nullptr)),
        entries_(other.entries_),
        bytes_(other.bytes_) {}
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(values_, other.values_);
    std::swap(entries_, other.entries_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedArray() {
    if (values_ != nullptr) munmap(values_, bytes_);
  }
  std::size_t size() const { return entries_; }
  Value& at(std::size_t index) const {
    ENSURE(index < entries_, "{} of {}", index, entries_);
    return values_[index];
  }

 private:
  Value* values_ = nullptr;
  std::size_t entries_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tombolo::bpf
