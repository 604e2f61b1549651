// The search for one address family (private to this folder): claims what is taken already, keeps
// and grows what the previous plan had, packs the rest. plan.cpp composes the families and proves
// the result.
#pragma once

#include <map>
#include <tuple>
#include <unordered_map>

#include "ipamd/plan/internal.h"
#include "ipamd/plan/optimum.h"

namespace tombolo {

inline constexpr std::size_t kNoCluster = static_cast<std::size_t>(-1);  // the whole fleet's

// One range of the result. `cluster` is an index into Fleet::clusters.
struct Assignment {
  std::size_t cluster = kNoCluster;
  PlannedRange range;
};

inline constexpr int kNobody = -1;  // no region's: nothing may be summarised across it

// Something that occupies addresses. `owner` is an index into Fleet::regions.
struct Claim {
  Prefix prefix;
  std::string text;  // "cluster east, pod", "reserved (office)"
  std::string place;
  int owner = kNobody;
  bool routed = false;  // needs a summary route of its region
  bool grows = false;   // its sibling is its room to double
};

// The fleet's claims of one family, beyond what the planner assigns: reserved, forbidden and given
// ranges (claims.cpp). kFailedPrecondition when a given range meets another, with both names and
// places.
Result<std::vector<Claim>> fixed_claims(const Fleet& fleet, Family family);

class FamilyPlanner {
 public:
  FamilyPlanner(const Fleet& fleet, Family family, const Plan* previous);
  // Every range of the family, given ones included; errors as make_plan's.
  Result<std::vector<Assignment>> run();
  // The ranges of one more cluster, the last of the fleet, which run() or an earlier add() has not
  // seen: the work does not grow with the fleet. After an error nothing has changed.
  Result<std::vector<Assignment>> add(std::size_t cluster);
  // Gives the ranges of a cluster back.
  void remove(std::size_t cluster, const std::vector<PlannedRange>& ranges);

 private:
  // A root, what is free of it, and what is not.
  struct Pool {
    const FleetRoot* root;
    double usable;  // addresses that are neither reserved nor forbidden
    FreeSpace free;
    FreeSpace open;                        // what is free and not the room of a range to double
    FreeSpace outside;                     // what is free and not between the ranges of one region
    std::multimap<uint128, Claim> claims;  // by first address; only those that touch the root
    std::map<uint128, int> turns;          // the claims whose owner is not that of the one before
  };
  // A range that has to be found.
  struct Request {
    std::size_t cluster = kNoCluster;
    BlockUse use = BlockUse::kPod;
    RangeSize size;
    const PlannedRange* previous = nullptr;  // what the previous plan had, too small or unusable
  };
  // Where a region has routed ranges: one summary route. `wide` touches nothing foreign.
  struct Tract {
    std::size_t pool = 0;
    Prefix wide;
    Prefix tight;
  };
  // Requests to which the same pools are open, and what was chosen for them.
  struct Batch {
    std::vector<std::size_t> pools;
    std::vector<Request> requests;  // the largest first
  };
  struct Layout;

  // planner.cpp: the order of events
  Result<void> collect();
  Result<void> want(std::size_t cluster, BlockUse use);
  bool keep(const Request& request);
  bool grow(const Request& request);
  bool grow_to(const Request& request, int length);
  std::tuple<int, std::uint32_t, BlockUse, std::string> order_of(const Request& request) const;
  bool has_room(const Request& request, const Prefix& prefix) const;
  int region_of(std::size_t cluster) const;
  std::vector<std::vector<std::size_t>> tiers_of(const Request& request) const;
  bool admits(const Pool& pool, BlockUse use, int region) const;
  Pool* pool_around(const Prefix& prefix, BlockUse use, int region);
  const PlannedRange* previous_range(std::size_t cluster, BlockUse use) const;
  const PlannedCluster* previous_cluster(std::size_t cluster) const;

  // ledger.cpp: what is taken, and what is kept open for growth
  void hold(const Request& request);
  void claim(const Claim& claim);
  void unclaim(Pool& pool, std::multimap<uint128, Claim>::iterator claim);
  void assign(std::size_t cluster, PlannedRange range, bool grows = true);
  static bool grows_at(const Pool& pool, const Prefix& prefix);
  static void reopen(Pool& pool, const Prefix& part);
  void find_rooms();
  void keep_rooms_right(Pool& pool, const Prefix& changed);

  // tracts.cpp: what belongs together
  void find_tracts();
  void find_tracts_of(int region);
  void add_to_tracts(const Claim& claim, std::size_t pool, bool close);
  void keep_tracts_right(const Claim& claim);
  bool foreign_inside(const Pool& pool, const Prefix& cover, int region) const;

  // placement.cpp: where new ranges go, beside what there is or (layout.cpp) in tracts of their
  // own. Each returns what had no room.
  std::vector<Request> place(std::vector<Request> requests);
  std::vector<Request> place_batch(Batch& batch, std::size_t tier);
  void join_tracts(Batch& batch);
  std::optional<Prefix> take_in_tracts(const Batch& batch, const Request& request,
                                       bool last_resort);
  bool found_tracts(const Batch& batch);
  std::vector<Request> place_singly(const Batch& batch, std::size_t tier);
  Sizes supply_of(const Batch& batch, FreeSpace Pool::* space) const;
  int fair_share(const Batch& batch) const;
  double free_share(const Batch& batch) const;
  int room_around(const Batch& batch, const Prefix& hole) const;
  Prefix spared(const Batch& batch, const Request& request, const Prefix& hole) const;
  int doublings(const Batch& batch) const;
  void lay_out(const Batch& batch, const Layout& layout, FreeSpace Pool::* space);
  std::optional<Prefix> smallest_hole(const Batch& batch, FreeSpace Pool::* space,
                                      int length) const;

  // claims.cpp: words
  std::string request_text(const Request& request) const;  // "cluster east, pod"
  std::string former_text(const Request& request) const;   // "cluster east, former pod"
  std::string place_of(std::size_t cluster) const;
  Error explain(const Request& request) const;

  const Fleet& fleet_;
  Family family_;
  const Plan* previous_;
  std::unordered_map<std::string_view, const PlannedCluster*> previous_clusters_;
  std::unordered_map<std::string_view, int> regions_;
  std::vector<Pool> pools_;
  std::vector<std::vector<Tract>> tracts_;  // by region
  bool has_former_ = false;                 // clusters of an earlier plan, or of this one, stay
  bool mapped_ = false;                     // rooms and tracts_ are found and kept right
  std::vector<Request> requests_;
  std::vector<Assignment> assignments_;
};

}  // namespace tombolo
