// The test of the test: builds that are wrong on purpose, each by one wrapper at one port. A run
// with one of them has to end with a violation. Test code only; nothing of it is in a daemon.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace tombolo::sim {

enum class Mistake {
  kNone,
  kLeaseBeforeDurable,     // the lease store answers before the change is on the disk
  kAddressFreeTooEarly,    // an interface is said to be gone while it still has its address
  kFreedAddressAtOnce,     // the lease store forgets which leases are held when it loads
  kPruneBeforeSynced,      // the first lists of an agent say that there is nothing
  kFrontendBeforeBackend,  // the maps get a backend after the frontend that leads to it
  kDropWatchDelete,        // a watch does not tell of deleted keys
  kLoseStoreWrite,         // the store answers that it wrote, and did not
  kSwallowUpdate,          // a watch does not tell of one changed key in ten
  kKeepLostCluster,        // nodes of other clusters are said to answer though they do not
  kForgetBadRecord,        // a record that cannot be read is taken for one that is gone
  kOpenAtAttach,           // an interface is open as soon as it is guarded
  kKeepOldPeers,           // the guard says that an address is forgotten, and keeps it
  kClaimBlindly,           // addresses of pools are claimed without looking at others' claims
};

struct NamedMistake {
  Mistake mistake;
  std::string_view name;
};
inline constexpr std::array kMistakes{
    NamedMistake{Mistake::kLeaseBeforeDurable, "lease-before-durable"},
    NamedMistake{Mistake::kAddressFreeTooEarly, "address-free-too-early"},
    NamedMistake{Mistake::kFreedAddressAtOnce, "forget-leases-at-start"},
    NamedMistake{Mistake::kPruneBeforeSynced, "prune-before-synced"},
    NamedMistake{Mistake::kFrontendBeforeBackend, "frontend-before-backend"},
    NamedMistake{Mistake::kDropWatchDelete, "drop-watch-delete"},
    NamedMistake{Mistake::kLoseStoreWrite, "lose-store-write"},
    NamedMistake{Mistake::kSwallowUpdate, "swallow-update"},
    NamedMistake{Mistake::kKeepLostCluster, "keep-lost-cluster"},
    NamedMistake{Mistake::kForgetBadRecord, "forget-bad-record"},
    NamedMistake{Mistake::kOpenAtAttach, "open-at-attach"},
    NamedMistake{Mistake::kKeepOldPeers, "keep-old-peers"},
    NamedMistake{Mistake::kClaimBlindly, "claim-blindly"},
};

inline std::optional<Mistake> find_mistake(std::string_view name) {
  for (const NamedMistake& one : kMistakes)
    if (one.name == name) return one.mistake;
  return std::nullopt;
}

}  // namespace tombolo::sim
