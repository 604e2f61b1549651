// What cannot be joined as it is, one line each: overlaps inside a cluster, between clusters, and
// with what routers know; sources that disagree; names and ids that stand twice.
#include <algorithm>
#include <map>

#include "ipamd/import/internal.h"

namespace tombolo {
namespace {

using imports::cluster_title;
using imports::shown;

constexpr std::size_t kMostOfAKind = 10;

// Lines of one kind, the first few and how many more there are.
class Lines {
 public:
  explicit Lines(std::vector<std::string>& out) : out_(out) {}
  ~Lines() {
    if (count_ > kMostOfAKind)
      out_.push_back(fmt::format("… and {} more like it", count_ - kMostOfAKind));
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  void add(std::string line) {
    if (++count_ <= kMostOfAKind) out_.push_back(std::move(line));
  }

 private:
  std::vector<std::string>& out_;
  std::size_t count_ = 0;
};

struct Joined {
  const ClusterFacts* facts;
  std::vector<RangeInUse> ranges;
};

std::string range_text(const Joined& cluster, const RangeInUse& range) {
  return fmt::format("{}, {} {} ({})", cluster_title(*cluster.facts), to_string(range.use),
                     range.prefix, shown(range.source));
}

void own_overlaps(const Joined& cluster, std::vector<std::string>& out) {
  Lines lines(out);
  for (std::size_t i = 0; i < cluster.ranges.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (cluster.ranges[i].prefix.overlaps(cluster.ranges[j].prefix))
        lines.add(fmt::format("{} overlaps its {} {} ({})", range_text(cluster, cluster.ranges[i]),
                              to_string(cluster.ranges[j].use), cluster.ranges[j].prefix,
                              shown(cluster.ranges[j].source)));
}

void pair_overlaps(const Joined& a, const Joined& b, std::vector<std::string>& out) {
  Lines lines(out);
  for (const RangeInUse& left : a.ranges)
    for (const RangeInUse& right : b.ranges)
      if (left.prefix.overlaps(right.prefix))
        lines.add(fmt::format("{} overlaps {}", range_text(a, left), range_text(b, right)));
}

// A fleet file takes one range per use and family.
void disagreements(const ClusterFacts& facts, std::vector<std::string>& out) {
  Lines lines(out);
  std::map<std::pair<BlockUse, Family>, const RangeFact*> first;
  for (const RangeFact& fact : facts.ranges) {
    auto [known, added] = first.emplace(std::pair(fact.use, fact.prefix.family()), &fact);
    if (added || known->second->prefix == fact.prefix) continue;
    lines.add(fmt::format("{}: its {} range is {} ({}) and {} ({})", cluster_title(facts),
                          to_string(fact.use), known->second->prefix, shown(known->second->source),
                          fact.prefix, shown(fact.source)));
  }
}

void node_conflicts(const Joined& cluster, std::vector<std::string>& out) {
  Lines lines(out);
  std::vector<std::pair<Prefix, const NodeFact*>> all;
  for (const NodeFact& node : cluster.facts->nodes)
    for (const Prefix& prefix : node.pod_ranges) all.emplace_back(prefix, &node);
  // By first address, the larger one first: an overlap is with the widest one seen before.
  std::ranges::sort(all);
  std::size_t widest = 0;
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[widest].first.overlaps(all[i].first))
      lines.add(fmt::format("{}: {} of node {} overlaps {} of node {}",
                            cluster_title(*cluster.facts), all[i].first, shown(all[i].second->name),
                            all[widest].first, shown(all[widest].second->name)));
    else
      widest = i;
  }
  for (const auto& [prefix, node] : all)
    for (const RangeInUse& range : cluster.ranges)
      if (range.use == BlockUse::kPod && range.prefix.family() == prefix.family() &&
          !range.prefix.contains(prefix))
        lines.add(fmt::format("{}: {} of node {} lies outside of {} {} ({})",
                              cluster_title(*cluster.facts), prefix, shown(node->name),
                              to_string(range.use), range.prefix, shown(range.source)));
}

bool is_of_a_node(const ClusterFacts& facts, const Prefix& destination) {
  bool known = false;
  for (const NodeFact& node : facts.nodes)
    for (const Prefix& prefix : node.pod_ranges) {
      known = true;
      if (prefix.overlaps(destination)) return true;
    }
  return !known;  // the plugin keeps its blocks elsewhere
}

// A route to a part of a range that nobody of the cluster has: something else lives there.
void route_conflicts(const Joined& cluster, const std::vector<RouteFact>& routes,
                     std::vector<std::string>& out) {
  Lines lines(out);
  for (const RouteFact& route : routes)
    for (const RangeInUse& range : cluster.ranges) {
      if (!range.prefix.contains(route.destination)) continue;
      bool own =
          range.use == BlockUse::kUnderlay
              ? route.connected || route.destination.host_bits() == 0
              : range.use == BlockUse::kPod && is_of_a_node(*cluster.facts, route.destination);
      if (!own)
        lines.add(fmt::format("{}: {} has a route to {} by {}", range_text(cluster, range),
                              shown(route.source), route.destination, shown(route.via)));
    }
}

void twins(const std::vector<Joined>& clusters, std::vector<std::string>& out) {
  for (std::size_t i = 0; i < clusters.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const ClusterFacts& a = *clusters[j].facts;
      const ClusterFacts& b = *clusters[i].facts;
      if (!a.name.empty() && a.name == b.name)
        out.push_back(fmt::format("two clusters have the name {}", shown(a.name)));
      if (a.id != 0 && a.id == b.id)
        out.push_back(
            fmt::format("{} and {} have the id {}", cluster_title(a), cluster_title(b), a.id));
    }
}

}  // namespace

std::vector<std::string> find_conflicts(const std::vector<ClusterFacts>& clusters,
                                        const std::vector<RouteFact>& routes) {
  std::vector<Joined> all;
  for (const ClusterFacts& facts : clusters) all.push_back({&facts, ranges_in_use(facts, routes)});
  std::vector<std::string> out;
  twins(all, out);
  for (std::size_t i = 0; i < all.size(); ++i) {
    disagreements(*all[i].facts, out);
    own_overlaps(all[i], out);
    node_conflicts(all[i], out);
    route_conflicts(all[i], routes, out);
    for (std::size_t j = 0; j < i; ++j) pair_overlaps(all[j], all[i], out);
  }
  return out;
}

}  // namespace tombolo
