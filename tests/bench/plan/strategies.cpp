// The ways of others over the same free space and with the same sizes as the planner's.
#include "tests/bench/plan/strategies.h"

#include <algorithm>
#include <map>

#include "ipamd/plan/internal.h"

namespace tombolo::bench {
namespace {

constexpr std::array kUses{BlockUse::kUnderlay, BlockUse::kPod, BlockUse::kService};

class Other final : public Strategy {
 public:
  Other(const Fleet& fleet, Pick pick, std::uint64_t seed)
      : fleet_(fleet), pick_(pick), rng_(make_seeded_rng(seed)) {
    for (const FleetRoot& root : fleet.roots) {
      spaces_.emplace_back(root.prefix.family(), root.prefix.length());
      spaces_.back().add(root.prefix);
      for (const FleetReserved& range : fleet.reserved) spaces_.back().remove(range.prefix);
      next_.push_back(root.prefix.base().value());
    }
    for (Family family : fleet.families) {
      RangeSize size = clusterset_size(fleet.clusterset_services, family);
      auto prefix = take(family, size.length);
      ENSURE(prefix.has_value(), "no room for the clusterset");
      clusterset_.push_back({BlockUse::kClusterset, *prefix, 0, RangeOrigin::kAssigned});
    }
  }

  std::string name() const override {
    switch (pick_) {
      case Pick::kNext:
        return "next-fit (Terraform)";
      case Pick::kLowest:
        return "lowest (NetBox)";
      case Pick::kRandom:
        return "random (GCP)";
      case Pick::kSmallest:
        return "smallest-fitting (GCP)";
    }
    return "?";
  }

  bool join(const FleetCluster& cluster) override {
    PlannedCluster planned;
    planned.name = cluster.name;
    planned.region = cluster.region;
    for (Family family : cluster.families)
      for (BlockUse use : kUses) {
        auto size = size_of(fleet_, cluster, use, family, 0);
        auto prefix = size ? take(family, size->length) : std::nullopt;
        if (!prefix) {
          for (const PlannedRange& range : planned.ranges) give(range.prefix);
          return false;
        }
        planned.ranges.push_back({use, *prefix, size->node_prefix_length, RangeOrigin::kAssigned});
      }
    clusters_[cluster.name] = std::move(planned);
    return true;
  }

  // Larger ranges: in place where the neighbours are free, else elsewhere.
  bool change(const FleetCluster& cluster) override {
    PlannedCluster& planned = clusters_[cluster.name];
    PlannedCluster before = planned;
    std::vector<Prefix> given_up;
    for (PlannedRange& range : planned.ranges) {
      auto size =
          size_of(fleet_, cluster, range.use, range.prefix.family(), range.node_prefix_length);
      if (!size || size->length >= range.prefix.length()) continue;
      if (pick_ != Pick::kNext && grow(range.prefix, size->length)) continue;
      auto prefix = take(range.prefix.family(), size->length);
      if (!prefix) {
        undo(planned, before);
        return false;
      }
      given_up.push_back(range.prefix);
      range.prefix = *prefix;
    }
    for (const Prefix& old : given_up) give(old);
    return true;
  }

  void leave(const std::string& name) override {
    for (const PlannedRange& range : clusters_[name].ranges) give(range.prefix);
    clusters_.erase(name);
  }

  Plan plan() const override {
    Plan plan;
    for (const FleetRoot& root : fleet_.roots) plan.roots.push_back(root.prefix);
    for (const FleetReserved& range : fleet_.reserved)
      plan.reserved.push_back({range.prefix, range.note});
    plan.clusterset = clusterset_;
    for (const auto& [name, cluster] : clusters_) plan.clusters.push_back(cluster);
    return plan;
  }

 private:
  FreeSpace* space_around(const Prefix& prefix) {
    for (std::size_t i = 0; i < spaces_.size(); ++i)
      if (fleet_.roots[i].prefix.contains(prefix)) return &spaces_[i];
    return nullptr;
  }

  // Consecutive ranges are written down once: what is given back is not used again.
  void give(const Prefix& prefix) {
    if (pick_ != Pick::kNext) space_around(prefix)->add(prefix);
  }

  bool grow(Prefix& prefix, int length) {
    FreeSpace& space = *space_around(prefix);
    Prefix grown(prefix.base(), length);
    if (space_around(grown) != &space) return false;
    for (int at = prefix.length(); at > length; --at) {
      Prefix part(prefix.base(), at);
      if (!space.contains(Prefix(
              Ip(part.family(), part.base().value() ^ (uint128{1} << part.host_bits())), at)))
        return false;
    }
    space.add(prefix);
    space.remove(grown);
    prefix = grown;
    return true;
  }

  void undo(PlannedCluster& planned, const PlannedCluster& before) {
    for (std::size_t i = 0; i < planned.ranges.size(); ++i) {
      const Prefix& old = before.ranges[i].prefix;
      const Prefix& now = planned.ranges[i].prefix;
      if (old == now) continue;
      give(now);
      if (now.contains(old)) space_around(old)->remove(old);
    }
    planned = before;
  }

  std::optional<Prefix> take(Family family, int length) {
    for (std::size_t i = 0; i < spaces_.size(); ++i) {
      if (fleet_.roots[i].prefix.family() != family) continue;
      auto found = pick_ == Pick::kNext       ? next(i, length)
                   : pick_ == Pick::kLowest   ? lowest(spaces_[i], family, length)
                   : pick_ == Pick::kSmallest ? spaces_[i].best_fit(length)
                                              : random(spaces_[i], family, length);
      if (!found) continue;
      spaces_[i].remove(*found);
      return found;
    }
    return std::nullopt;
  }

  std::optional<Prefix> next(std::size_t index, int length) {
    const Prefix& root = fleet_.roots[index].prefix;
    uint128 size = uint128{1} << (bits_of(root.family()) - length);
    uint128 end = root.last().value();
    uint128 at = (next_[index] + size - 1) / size * size;
    for (; at <= end && end - at >= size - 1; at += size) {
      Prefix prefix(Ip(root.family(), at), length);
      if (!spaces_[index].contains(prefix)) continue;
      next_[index] = at + size;
      return prefix;
    }
    return std::nullopt;
  }

  static std::optional<Prefix> lowest(const FreeSpace& space, Family family, int length) {
    std::optional<Prefix> best;
    for (int at = 0; at <= length; ++at)
      if (auto base = space.lowest_of(at))
        if (!best || *base < best->base().value()) best = Prefix(Ip(family, *base), length);
    return best;
  }

  std::optional<Prefix> random(const FreeSpace& space, Family family, int length) {
    std::vector<Prefix> blocks;
    std::uint64_t choices = 0;
    for (const Prefix& block : space.blocks()) {
      if (block.length() > length) break;
      blocks.push_back(block);
      choices += std::uint64_t{1} << std::min(length - block.length(), 40);
    }
    if (choices == 0) return std::nullopt;
    std::uint64_t chosen = rng_->below(choices);
    for (const Prefix& block : blocks) {
      std::uint64_t here = std::uint64_t{1} << std::min(length - block.length(), 40);
      if (chosen < here) {
        uint128 offset = uint128{chosen} << (bits_of(family) - length);
        return Prefix(Ip(family, block.base().value() + offset), length);
      }
      chosen -= here;
    }
    return std::nullopt;
  }

  const Fleet& fleet_;
  Pick pick_;
  std::unique_ptr<Rng> rng_;
  std::vector<FreeSpace> spaces_;
  std::vector<uint128> next_;
  std::vector<PlannedRange> clusterset_;
  std::map<std::string, PlannedCluster> clusters_;
};

class Ours final : public Strategy {
 public:
  explicit Ours(const Fleet& fleet) : fleet_(fleet) {}
  std::string name() const override { return "tombolo"; }
  bool join(const FleetCluster& cluster) override {
    fleet_.clusters.push_back(cluster);
    if (plan_anew()) return true;
    fleet_.clusters.pop_back();
    return false;
  }
  bool change(const FleetCluster& cluster) override {
    auto at = std::ranges::find(fleet_.clusters, cluster.name, &FleetCluster::name);
    FleetCluster before = std::exchange(*at, cluster);
    if (plan_anew()) return true;
    *at = before;
    return false;
  }
  void leave(const std::string& name) override {
    std::erase_if(fleet_.clusters, [&](const FleetCluster& c) { return c.name == name; });
    ENSURE(plan_anew(), "a cluster that leaves makes no trouble");
  }
  Plan plan() const override { return plan_; }

 private:
  bool plan_anew() {
    auto plan = make_plan(fleet_, plan_.roots.empty() ? nullptr : &plan_);
    if (!plan) return false;
    plan_ = std::move(*plan);
    return true;
  }

  Fleet fleet_;
  Plan plan_;
};

// What a cluster will have at most stands in its fleet file from the beginning, or once it has
// room.
class Foreseeing final : public Strategy {
 public:
  explicit Foreseeing(const Trace& trace) : ours_(trace.fleet) {
    for (const Step& step : trace.steps) {
      FleetCluster& most = most_.try_emplace(step.cluster.name, step.cluster).first->second;
      most.nodes = std::max(most.nodes, step.cluster.nodes);
      most.services = std::max(most.services, step.cluster.services);
    }
  }
  std::string name() const override { return "tombolo, foreseeing"; }
  bool join(const FleetCluster& cluster) override {
    return ours_.join(most_.at(cluster.name)) || ours_.join(cluster);
  }
  bool change(const FleetCluster& cluster) override {
    return ours_.change(most_.at(cluster.name)) || ours_.change(cluster);
  }
  void leave(const std::string& name) override { ours_.leave(name); }
  Plan plan() const override { return ours_.plan(); }

 private:
  Ours ours_;
  std::map<std::string, FleetCluster> most_;
};

}  // namespace

std::unique_ptr<Strategy> foreseeing_for(const Trace& trace) {
  return std::make_unique<Foreseeing>(trace);
}

std::unique_ptr<Strategy> planner_for(const Fleet& fleet) {
  return std::make_unique<Ours>(fleet);
}

std::unique_ptr<Strategy> other_for(const Fleet& fleet, Pick pick, std::uint64_t seed) {
  return std::make_unique<Other>(fleet, pick, seed);
}

std::vector<std::unique_ptr<Strategy>> strategies_for(const Fleet& fleet, std::uint64_t seed) {
  std::vector<std::unique_ptr<Strategy>> all;
  all.push_back(planner_for(fleet));
  for (Pick pick : {Pick::kNext, Pick::kLowest, Pick::kRandom, Pick::kSmallest})
    all.push_back(other_for(fleet, pick, seed));
  return all;
}

}  // namespace tombolo::bench
