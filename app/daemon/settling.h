// What `tombolo wait` waits for: everything that has been said to this process is in the world. A
// role registers its reconcilers, its derivations (idle or not) and the prefixes of the store that
// it follows. Control thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/reconciler.h"
#include "core/store/follow.h"

namespace tombolo {

class Settling {
 public:
  using Idle = std::function<bool()>;

  void add(const ReconcilerView& reconciler) { reconcilers_.push_back(&reconciler); }
  void add_derivation(std::string name, Idle idle) {
    derivations_.push_back({std::move(name), std::move(idle)});
  }
  void add(const PrefixFollower& follower) { followers_.push_back(&follower); }

  const std::vector<const ReconcilerView*>& reconcilers() const { return reconcilers_; }

  // Names of those that still work, of the reconcilers only those in `only` (empty: all).
  std::vector<std::string> busy(const std::vector<std::string>& only) const;
  // Names of the prefixes that have not been followed up to `store_revision`; their stores are
  // asked at once how far they are, so that whoever asks again has an answer in a few round trips.
  std::vector<std::string> behind(std::int64_t store_revision) const;
  // Names of the prefixes that have never been listed.
  std::vector<std::string> unlisted() const;

 private:
  struct Derivation {
    std::string name;
    Idle idle;
  };
  std::vector<const ReconcilerView*> reconcilers_;
  std::vector<Derivation> derivations_;
  std::vector<const PrefixFollower*> followers_;
};

}  // namespace tombolo
