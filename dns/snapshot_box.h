// Where the control thread puts the newest snapshot and every DNS thread looks for it. A reader
// compares one atomic number per batch of packets; only when it moved does it take the new pointer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "dns/zone.h"

namespace tombolo::dns {

class SnapshotBox {
 public:
  explicit SnapshotBox(std::shared_ptr<const ZoneSet> first) : newest_(std::move(first)) {}

  void put(std::shared_ptr<const ZoneSet> next) {
    newest_.store(std::move(next));
    version_.fetch_add(1, std::memory_order_release);
  }

  // One per thread.
  class Reader {
   public:
    explicit Reader(const SnapshotBox& box) : box_(&box), held_(box.newest_.load()) {}
    // Valid until the next call.
    const ZoneSet& current() {
      std::uint64_t version = box_->version_.load(std::memory_order_acquire);
      if (version != seen_) {
        held_ = box_->newest_.load();
        seen_ = version;
      }
      return *held_;
    }

   private:
    const SnapshotBox* box_;
    std::shared_ptr<const ZoneSet> held_;
    std::uint64_t seen_ = 0;
  };

 private:
  std::atomic<std::shared_ptr<const ZoneSet>> newest_;
  std::atomic<std::uint64_t> version_ = 0;
};

}  // namespace tombolo::dns
