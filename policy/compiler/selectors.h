// Which identities a rule's peers are, kept up to date as identities come and go, so that a changed
// policy costs what it selects and not what the fleet has. Part of the compiler.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "core/policy.h"
#include "core/tables.h"

namespace tombolo::policy {

class SelectorIndex {
 public:
  struct Entry {
    PolicyPeerMatch match;
    std::set<std::uint32_t> identities;
  };

  // Kept as long as somebody holds it. Not for prefixes.
  std::shared_ptr<const Entry> find(const PolicyPeerMatch& match,
                                    const std::map<std::uint32_t, Identity>& identities);
  void add(const Identity& identity);
  void remove(std::uint32_t number);

 private:
  void sweep();

  std::map<std::string, std::weak_ptr<Entry>> entries_;
  std::size_t sweep_at_ = 1024;
};

}  // namespace tombolo::policy
