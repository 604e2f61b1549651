// What an underlay holds, and how it is divided: private subnets for nodes (and their pods, where
// those take underlay addresses), public ones for what stands at the edge, one of each per zone
// where the cloud's subnets belong to a zone. What a cluster has is kept: one that grows gets
// further subnets beside it, since clouds do not resize them.
#include <algorithm>

#include "ipamd/plan/internal.h"

namespace tombolo {
namespace {

constexpr int kSubnetLengthV6 = 64;  // SLAAC (RFC 4862), and the only size that the clouds have

struct Need {
  std::size_t zone = 0;
  bool is_public = false;
  int wanted = 0;  // host bits
  int least = 0;
};

int subnet_bits(std::uint64_t addresses, const CloudRules& rules) {
  return std::max(bits_for(addresses), 32 - rules.underlay_longest);
}

std::uint64_t round_up(std::uint64_t count, std::uint64_t unit) {
  return (count + unit - 1) / unit * unit;
}

std::uint64_t kept_by(const CloudRules& rules) {
  return std::uint64_t{rules.reserved_first} + rules.reserved_last;
}

bool has_public(const FleetCluster& cluster) {
  return cluster.public_hosts > 0 || cluster.public_percent > 0;
}

std::vector<std::string> zones_of(const FleetCluster& cluster, const CloudRules& rules) {
  if (rules.zonal_subnets && !cluster.zones.empty()) return cluster.zones;
  return {""};
}

// A zone's private subnet, from nothing.
int private_bits(const FleetCluster& cluster, const CloudRules& rules, std::uint64_t nodes,
                 std::size_t zones) {
  std::uint64_t here = (nodes + zones - 1) / zones;
  return subnet_bits(std::max(underlay_addresses(here, load_of(cluster, rules), rules),
                              cluster.private_hosts + kept_by(rules)),
                     rules);
}

std::uint64_t public_addresses(const FleetCluster& cluster, const CloudRules& rules,
                               int private_size) {
  std::uint64_t part = ((std::uint64_t{1} << private_size) * cluster.public_percent + 99) / 100;
  return std::max(part, std::max(cluster.public_hosts, 1U) + kept_by(rules));
}

// Lays the subnets of one underlay out.
class Division {
 public:
  Division(const FleetCluster& cluster, const CloudRules& rules, const Prefix& underlay,
           std::uint64_t nodes)
      : cluster_(cluster),
        rules_(rules),
        underlay_(underlay),
        nodes_(nodes),
        zones_(zones_of(cluster, rules)),
        free_(underlay.family(), underlay.length()) {
    free_.add(underlay);
  }

  std::optional<std::vector<Subnet>> run(const std::vector<Subnet>& before) {
    for (const Subnet& subnet : before) keep(subnet);
    std::vector<Need> needs;
    for (bool is_public : {false, true})
      for (std::size_t zone = 0; zone < zones_.size() && (!is_public || has_public(cluster_));
           ++zone)
        if (auto need = need_of(zone, is_public)) needs.push_back(*need);
    auto added = place(needs, &Need::wanted);
    if (!added) added = place(needs, &Need::least);
    if (!added) return std::nullopt;
    std::vector<Subnet> all;
    for (bool is_public : {false, true})
      for (const std::string& zone : zones_)
        for (const auto* some : {&kept_, &*added})
          for (const Subnet& subnet : *some)
            if (subnet.zone == zone && subnet.is_public == is_public) all.push_back(subnet);
    return all;
  }

 private:
  void keep(const Subnet& subnet) {
    if (!underlay_.contains(subnet.prefix) || !free_.contains(subnet.prefix)) return;
    if (std::ranges::find(zones_, subnet.zone) == zones_.end()) return;
    if (subnet.is_public && !has_public(cluster_)) return;
    free_.remove(subnet.prefix);
    kept_.push_back(subnet);
  }

  // What is missing in a zone beside what is kept; nothing when that does.
  std::optional<Need> need_of(std::size_t zone, bool is_public) const {
    std::uint64_t nodes = 0;
    std::uint64_t hosts = 0;
    int largest = 0;
    for (const Subnet& subnet : kept_) {
      if (subnet.zone != zones_[zone] || subnet.is_public != is_public) continue;
      nodes += nodes_in(subnet.prefix, load_of(cluster_, rules_), rules_);
      auto size = static_cast<std::uint64_t>(std::min(subnet.prefix.size(), uint128{1} << 32));
      hosts += size - std::min(size, kept_by(rules_));
      largest = std::max(largest, subnet.prefix.host_bits());
    }
    if (underlay_.family() == Family::kV6) {
      if (largest > 0) return std::nullopt;
      return Need{zone, is_public, 128 - kSubnetLengthV6, 128 - kSubnetLengthV6};
    }
    const int fresh = private_bits(cluster_, rules_, nodes_, zones_.size());
    std::uint64_t missing = 0;  // addresses
    if (is_public) {
      std::uint64_t wanted = public_addresses(cluster_, rules_, fresh) - kept_by(rules_);
      if (hosts >= wanted) return std::nullopt;
      missing = wanted - hosts + kept_by(rules_);
    } else {
      std::uint64_t here = (nodes_ + zones_.size() - 1 - zone) / zones_.size();
      if (largest == 0) return Need{zone, false, fresh, fresh};
      if (nodes >= here && hosts >= cluster_.private_hosts) return std::nullopt;
      if (here > nodes)
        missing = underlay_addresses(here - nodes, load_of(cluster_, rules_), rules_);
      if (cluster_.private_hosts > hosts)
        missing = std::max(missing, cluster_.private_hosts - hosts + kept_by(rules_));
    }
    int least = subnet_bits(missing, rules_);
    return Need{zone, is_public, std::max(least, largest), least};
  }

  // The largest first; in order of zones between equals.
  std::optional<std::vector<Subnet>> place(std::vector<Need> needs, int Need::* bits) const {
    std::ranges::sort(needs, {}, [&](const Need& need) {
      return std::tuple(-(need.*bits), need.is_public, need.zone);
    });
    FreeSpace free = free_;
    std::vector<Subnet> added;
    for (const Need& need : needs) {
      auto hole = free.best_fit(bits_of(underlay_.family()) - need.*bits);
      if (!hole) return std::nullopt;
      free.remove(*hole);
      added.push_back({zones_[need.zone], need.is_public, *hole});
    }
    return added;
  }

  const FleetCluster& cluster_;
  const CloudRules& rules_;
  Prefix underlay_;
  std::uint64_t nodes_;
  std::vector<std::string> zones_;
  FreeSpace free_;
  std::vector<Subnet> kept_;
};

}  // namespace

NodeLoad load_of(PodAddresses pods, std::uint32_t pods_per_node, const CloudRules& rules) {
  NodeLoad load;
  if (pods == PodAddresses::kUnderlay) load.pods = pods_per_node;
  if (pods == PodAddresses::kUnderlayPrefixes) {
    load.prefix = std::uint64_t{1} << (32 - rules.pod_prefix_length);
    load.pods = round_up(pods_per_node, load.prefix);
  }
  return load;
}

std::uint64_t underlay_addresses(std::uint64_t nodes, const NodeLoad& load,
                                 const CloudRules& rules) {
  if (load.prefix == 0) return nodes * (1 + load.pods) + kept_by(rules);
  // Prefixes are aligned: none has an address that a node or the cloud has.
  return round_up(nodes + rules.reserved_first, load.prefix) + nodes * load.pods +
         round_up(rules.reserved_last, load.prefix);
}

std::uint64_t nodes_in(const Prefix& subnet, const NodeLoad& load, const CloudRules& rules) {
  if (subnet.family() == Family::kV6) {
    std::uint64_t room = std::uint64_t{1} << std::min(subnet.host_bits(), 32);
    return room - std::min(room, kept_by(rules));
  }
  auto size = static_cast<std::uint64_t>(subnet.size());
  std::uint64_t low = 0;
  std::uint64_t high = size;
  while (low < high) {
    std::uint64_t middle = (low + high + 1) / 2;
    if (underlay_addresses(middle, load, rules) <= size)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

bool is_divided(const FleetCluster& cluster) {
  return !cluster.zones.empty() || cluster.private_hosts > 0 || has_public(cluster);
}

int divided_length(const FleetCluster& cluster, const CloudRules& rules, Family family,
                   std::uint64_t nodes) {
  const std::size_t zones = zones_of(cluster, rules).size();
  if (family == Family::kV6) {
    int length = kSubnetLengthV6 - bits_for(zones * (has_public(cluster) ? 2 : 1));
    if (rules.network_longest_v6 == 0) return length;
    length = std::min(length, rules.network_longest_v6);
    return length - length % rules.network_step_v6;
  }
  int of_private = private_bits(cluster, rules, nodes, zones);
  std::uint64_t each = std::uint64_t{1} << of_private;
  if (has_public(cluster))
    each += std::uint64_t{1} << subnet_bits(public_addresses(cluster, rules, of_private), rules);
  return 32 - bits_for(zones * each);
}

std::optional<std::vector<Subnet>> divide(const FleetCluster& cluster, const CloudRules& rules,
                                          const Prefix& underlay, std::uint64_t nodes,
                                          const std::vector<Subnet>& before) {
  return Division(cluster, rules, underlay, nodes).run(before);
}

std::vector<Subnet> subnets_before(const PlannedCluster* previous, const FleetCluster& cluster) {
  std::vector<Subnet> before = cluster.given_subnets;
  if (previous != nullptr)
    before.insert(before.end(), previous->subnets.begin(), previous->subnets.end());
  return before;
}

Result<void> check_division(const Fleet& fleet, const FleetCluster& cluster,
                            const GivenRange& underlay, const std::vector<Subnet>& before) {
  if (!is_divided(cluster)) return {};
  const CloudRules& rules = rules_of(find_region(fleet, cluster.region)->cloud);
  if (divide(cluster, rules, underlay.prefix, cluster.nodes, before)) return {};
  return fail(Code::kFailedPrecondition,
              "{}: cluster {}: the given underlay range {} has no room for the subnets of {} nodes "
              "in {} zones",
              underlay.place, cluster.name, underlay.prefix, cluster.nodes,
              zones_of(cluster, rules).size());
}

Result<void> divide_underlays(const FleetCluster& cluster, const PlannedCluster* previous,
                              PlannedCluster& planned) {
  if (!is_divided(cluster)) return {};
  const CloudRules& rules = rules_of(planned.cloud);
  const std::vector<Subnet> before = subnets_before(previous, cluster);
  for (const PlannedRange& range : planned.ranges) {
    if (range.use != BlockUse::kUnderlay) continue;
    auto subnets = divide(cluster, rules, range.prefix,
                          planned_count(cluster.nodes, cluster.growth_percent), before);
    // A given underlay has to do for the present nodes, not for the growth.
    if (!subnets) subnets = divide(cluster, rules, range.prefix, cluster.nodes, before);
    if (!subnets)
      return fail(Code::kInternal, "cluster {}: the underlay {} has no room for its subnets",
                  cluster.name, range.prefix);
    for (const Subnet& given : cluster.given_subnets)
      if (given.prefix.family() == range.prefix.family() &&
          std::ranges::find(*subnets, given) == subnets->end())
        return fail(Code::kFailedPrecondition,
                    "{}: cluster {}: the given subnet {} is not in its underlay {}, overlaps "
                    "another or is of no zone",
                    cluster.place, cluster.name, given.prefix, range.prefix);
    planned.subnets.insert(planned.subnets.end(), subnets->begin(), subnets->end());
  }
  return {};
}

}  // namespace tombolo
