// The maps of the running kernel. Rings, slots and backends are arrays that the kernel lets us map
// into memory: a ring changes by one 64-bit store, without a system call. Addresses are in a hash
// and go through bpf(2). Worker thread.
#include <algorithm>
#include <atomic>
#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"
#include "bpf/mapped_array.h"

namespace tombolo::bpf {
namespace {

class KernelMaps : public BpfMaps {
 public:
  static Result<std::unique_ptr<KernelMaps>> open(const Programs& programs) {
    auto maps = std::make_unique<KernelMaps>();
    maps->frontends_fd_ = programs.map_fd("frontends");
    TRY(rings, MappedArray<abi::lb_ring>::open(programs.map_fd("rings"), abi::kMaxRings));
    TRY(slots, MappedArray<abi::lb_slot>::open(programs.map_fd("slots"), abi::kMaxSlots));
    TRY(backends,
        MappedArray<abi::lb_endpoint>::open(programs.map_fd("backends"), abi::kMaxBackends));
    maps->rings_ = std::move(rings);
    maps->slots_ = std::move(slots);
    maps->backends_ = std::move(backends);
    TRY(grace, Grace::open());
    maps->grace_ = std::move(grace);
    return maps;
  }

  Result<std::vector<std::pair<abi::lb_endpoint, std::uint32_t>>> frontends() override {
    std::vector<std::pair<abi::lb_endpoint, std::uint32_t>> found;
    std::vector<abi::lb_endpoint> keys(kBatch);
    std::vector<abi::lb_frontend> values(kBatch);
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    __u32 cursor = 0;
    bool first = true;
    while (true) {
      __u32 count = kBatch;
      __u32 next = 0;
      int error = bpf_map_lookup_batch(frontends_fd_, first ? nullptr : &cursor, &next, keys.data(),
                                       values.data(), &count, &options);
      if (error != 0 && error != -ENOENT) return fail_errno(-error, "read the frontends map");
      for (__u32 i = 0; i < count; ++i) found.emplace_back(keys[i], values[i].ring_id);
      if (error == -ENOENT) return found;
      cursor = next;
      first = false;
    }
  }

  Result<void> put_frontend(const abi::lb_endpoint& key, std::uint32_t ring_id) override {
    abi::lb_frontend value{ring_id, 0};
    if (int error = bpf_map_update_elem(frontends_fd_, &key, &value, BPF_ANY); error != 0)
      return fail_errno(-error, "write {} to the frontends map ({} at most)", text_of(key),
                        int{abi::kMaxFrontends});
    return {};
  }

  Result<void> erase_frontend(const abi::lb_endpoint& key) override {
    int error = bpf_map_delete_elem(frontends_fd_, &key);
    if (error != 0 && error != -ENOENT)
      return fail_errno(-error, "remove {} from the frontends map", text_of(key));
    return {};
  }

  Result<void> put_ring(std::uint32_t ring_id, std::uint64_t word) override {
    std::atomic_ref<__u64>(rings_.at(ring_id).word).store(word, std::memory_order_release);
    return {};
  }

  std::uint64_t ring(std::uint32_t ring_id) const override {
    return std::atomic_ref<__u64>(rings_.at(ring_id).word).load(std::memory_order_acquire);
  }

  Result<void> put_slots(std::uint32_t offset, std::span<const abi::lb_slot> slots) override {
    ENSURE(offset + slots.size() <= slots_.size());
    if (!slots.empty()) std::ranges::copy(slots, &slots_.at(offset));
    return {};
  }

  // What does not fit the map is cut off: a damaged word must not read outside of it.
  std::vector<abi::lb_slot> slots(std::uint32_t offset, std::uint32_t count) const override {
    if (offset >= slots_.size() || count == 0) return {};
    std::size_t end = std::min<std::size_t>(std::size_t{offset} + count, slots_.size());
    return {&slots_.at(offset), &slots_.at(offset) + (end - offset)};
  }

  Result<void> put_backend(std::uint32_t id, const abi::lb_endpoint& backend) override {
    backends_.at(id) = backend;
    return {};
  }

  abi::lb_endpoint backend(std::uint32_t id) const override {
    return id < backends_.size() ? backends_.at(id) : abi::lb_endpoint{};
  }

  Result<void> wait_for_readers() override { return grace_.wait(); }

 private:
  static constexpr __u32 kBatch = 4096;

  int frontends_fd_ = -1;
  MappedArray<abi::lb_ring> rings_;
  MappedArray<abi::lb_slot> slots_;
  MappedArray<abi::lb_endpoint> backends_;
  Grace grace_;
};

}  // namespace

Result<std::unique_ptr<BpfMaps>> open_kernel_maps(const Programs& programs) {
  TRY(maps, KernelMaps::open(programs));
  return maps;
}

Result<SocketStats> read_counters(int counters_fd) {
  int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return fail_errno(-cpus, "count the CPUs");
  std::array<std::uint64_t, abi::kCounters> sums{};
  std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
  for (__u32 i = 0; i < sums.size(); ++i) {
    if (int error = bpf_map_lookup_elem(counters_fd, &i, values.data()); error != 0)
      return fail_errno(-error, "read counter {}", i);
    for (std::uint64_t value : values) sums[i] += value;
  }
  return SocketStats{.miss = sums[abi::kCounterMiss],
                     .translated = sums[abi::kCounterTranslated],
                     .no_backend = sums[abi::kCounterNoBackend],
                     .stale = sums[abi::kCounterStale],
                     .reversed = sums[abi::kCounterReversed],
                     .peer_forgotten = sums[abi::kCounterPeerForgotten],
                     .peer_not_stored = sums[abi::kCounterPeerNotStored]};
}

}  // namespace tombolo::bpf
