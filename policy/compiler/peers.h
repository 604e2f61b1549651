// Whom policy tells apart: addresses and prefixes -> peer numbers. Part of the compiler.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/policy.h"
#include "core/tables.h"
#include "policy/compiler/numbers.h"

namespace tombolo::policy {

// Everything that the rules in force may ask of an address. 0 and nothing: the world.
struct PeerKey {
  std::uint32_t identity = 0;    // 0 also for reserved and unknown ones: no labels
  std::vector<NamedPort> ports;  // sorted; only of names that rules use
  std::optional<Prefix> cell;    // the innermost prefix in use that it lies in
  auto operator<=>(const PeerKey&) const = default;
};

class PeerBook {
 public:
  struct Update {
    std::vector<PolicyPeer> rows;
    std::vector<Prefix> erased;
    std::vector<std::uint32_t> fresh;  // numbers that mean something new
  };
  // A number that nobody has any more -> the numbers that are looked up for those who had it now.
  // The kernel learns of sets before it learns of peers: in between, it is the old number.
  using Retired = std::map<std::uint32_t, std::set<std::uint32_t>>;

  PeerBook(std::uint32_t limit, Duration rest);

  void seed(const std::vector<PolicyPeer>& rows);
  void set_owner(IpOwner owner);
  void erase_owner(const Ip& ip);
  void identity_changed(std::uint32_t number);  // came, went, or has other labels
  // The prefixes and port names that the rules in force use.
  void use(std::set<Prefix> cells, std::set<std::string> names);

  Update update(const std::map<std::uint32_t, Identity>& identities, MonotonicTime now);

  const std::map<std::uint32_t, PeerKey>& peers() const { return peers_; }
  const Retired& retired() const { return retired_; }
  const std::set<Prefix>& cells() const { return cells_; }
  const std::set<std::string>& names() const { return names_; }
  const std::set<std::uint32_t>* of_identity(std::uint32_t identity) const;
  // Numbers of the peers inside the prefix, each once.
  std::vector<std::uint32_t> inside(const Prefix& prefix, const std::vector<Prefix>& except) const;
  std::uint32_t end() const { return end_; }               // one above the largest number
  std::size_t refused() const { return refused_.size(); }  // addresses without a number

 private:
  struct Row {
    std::uint32_t peer = 0;
    std::uint32_t identity = 0;
    bool operator==(const Row&) const = default;
  };
  std::optional<Prefix> cell_of(const Ip& ip) const;
  PeerKey key_of(const IpOwner& owner, const std::map<std::uint32_t, Identity>& identities) const;
  std::uint32_t hold(const PeerKey& key, const Prefix& prefix, std::uint32_t identity,
                     MonotonicTime now, Update& update);
  void drop(std::uint32_t peer, MonotonicTime now);
  void place(const Prefix& prefix, const PeerKey* key, std::uint32_t identity, MonotonicTime now,
             Update& update);
  void owners_inside(const Prefix& prefix, std::set<Prefix>& out) const;
  std::uint32_t outside_of(const Prefix& prefix) const;
  void retire(MonotonicTime now);
  void settle(const Prefix& prefix, const std::map<std::uint32_t, Identity>& identities,
              MonotonicTime now, Update& update);

  std::uint32_t overflow_;  // a number that no set has a class for
  Numbers numbers_;
  std::uint32_t end_ = 1;
  std::map<Ip, IpOwner> owners_;
  std::unordered_map<std::uint32_t, std::set<Ip>> owned_by_;  // identity -> addresses
  std::set<Prefix> cells_;
  std::set<int> lengths_v4_;
  std::set<int> lengths_v6_;
  std::set<std::string> names_;
  std::set<Prefix> due_;
  std::map<PeerKey, std::uint32_t> number_of_;
  std::map<std::uint32_t, PeerKey> peers_;
  std::map<std::uint32_t, std::uint32_t> holders_;  // peer -> rows that have it
  std::unordered_map<std::uint32_t, std::set<std::uint32_t>> by_identity_;
  std::map<Prefix, std::set<std::uint32_t>> by_cell_;
  std::map<Prefix, Row> rows_;
  std::map<Prefix, Row> seeds_;
  std::set<std::uint32_t> unclaimed_;
  std::set<Prefix> refused_;
  Duration rest_;
  Retired moved_;                         // of the update that is under way
  std::map<Prefix, std::uint32_t> left_;  // rows that it takes away
  Retired retired_;
  std::deque<std::pair<MonotonicTime, std::uint32_t>> retiring_;  // oldest first
};

}  // namespace tombolo::policy
