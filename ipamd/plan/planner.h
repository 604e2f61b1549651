// The search for one address family (private to this folder): claims what is taken already, keeps
// and grows what the previous plan had, packs the rest. plan.cpp composes the families and proves
// the result.
#pragma once

#include <map>
#include <tuple>

#include "ipamd/plan/internal.h"

namespace tombolo {

inline constexpr std::size_t kNoCluster = static_cast<std::size_t>(-1);  // the whole fleet's

// One range of the result. `cluster` is an index into Fleet::clusters.
struct Assignment {
  std::size_t cluster = kNoCluster;
  PlannedRange range;
};

// Something that occupies addresses. `owner` is a region's name; claims without one (reserved,
// forbidden, clusterset) keep every region from summarising across them.
struct Claim {
  Prefix prefix;
  std::string text;  // "cluster east, pod", "reserved (office)"
  std::string place;
  std::string owner;
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

 private:
  // A root, what is free of it, and what is not.
  struct Pool {
    const FleetRoot* root;
    FreeSpace free;
    FreeSpace open;                        // what is free and not between the ranges of one region
    std::multimap<uint128, Claim> claims;  // by first address; only those that touch the root
  };
  // A range that has to be found.
  struct Request {
    std::size_t cluster = kNoCluster;
    BlockUse use = BlockUse::kPod;
    RangeSize size;
    const PlannedRange* previous = nullptr;  // what the previous plan had, too small or unusable
  };
  // Requests that should lie together: of one region, and either routed between clusters (underlay,
  // pod) or not (service), with the same pools open to them, the most specific first.
  struct Group {
    std::string region;
    bool routed = false;
    std::vector<std::vector<std::size_t>> tiers;
    std::vector<Request> requests;
  };
  struct Missing {
    Request request;
    std::vector<std::vector<std::size_t>> tiers;
    std::vector<Claim> placed;  // before it, in the same attempt
  };

  Result<void> collect();
  Result<void> want(std::size_t cluster, BlockUse use);
  bool keep(const Request& request);
  bool grow(const Request& request);
  std::tuple<int, std::uint32_t, BlockUse> order_of(const Request& request) const;
  void hold(const Request& request);
  void close_regions();
  std::vector<Group> groups() const;
  // Each region's requests in at most `pieces` blocks (0: every request for itself).
  std::optional<Missing> place(const std::vector<Group>& groups, int pieces);
  std::optional<Missing> place_blocks(const std::vector<Group>& groups, int pieces,
                                      std::vector<FreeSpace>& blocks);
  void fill(const Group& group, FreeSpace& space);
  std::optional<Prefix> take(const Group& group, int length);
  bool foreign_inside(const Pool& pool, const Prefix& cover, const std::string& region) const;
  std::optional<Prefix> near_own(const Pool& pool, const std::string& region, int length) const;
  void claim(const Claim& claim);
  void assign(std::size_t cluster, PlannedRange range);
  std::string region_of(std::size_t cluster) const;
  std::vector<std::vector<std::size_t>> tiers_of(BlockUse use, const std::string& region) const;
  bool admits(const Pool& pool, BlockUse use, const std::string& region) const;
  Pool* pool_around(const Prefix& prefix, BlockUse use, const std::string& region);
  const PlannedRange* previous_range(std::size_t cluster, BlockUse use) const;
  std::string request_text(const Request& request) const;  // "cluster east, pod"
  std::string former_text(const Request& request) const;   // "cluster east, former pod"
  std::string place_of(std::size_t cluster) const;
  Error explain(const Missing& missing) const;

  const Fleet& fleet_;
  Family family_;
  const Plan* previous_;
  std::vector<Pool> pools_;
  std::vector<Request> requests_;
  std::vector<Assignment> assignments_;
};

}  // namespace tombolo
