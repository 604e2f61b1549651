// Spiderpool: a SpiderIPPool (spiderpool.spidernet.io/v2beta1) for each pod range, as one layer-2
// subnet whose host 1 is the gateway. Spiderpool keeps a list of all addresses of a pool, so that a
// pool has at most 65,536 of them; what an IPv6 range has beyond is for further pools.
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

constexpr uint128 kMostAddresses = 65'536;
constexpr uint128 kFirstHost = 2;

// Pods beside the nodes in each private subnet: the upper addresses, from the last downwards, as
// many as its nodes have pods, so that nodes that are added have theirs below.
std::string underlay_pools(const PlannedCluster& self) {
  std::string text;
  std::vector<Subnet> subnets = self.subnets;
  if (subnets.empty())
    for (const Prefix& underlay : ranges_of(self, BlockUse::kUnderlay))
      subnets.push_back({"", false, underlay});
  std::size_t number = 0;
  for (const Subnet& subnet : subnets) {
    if (subnet.is_public) continue;
    const uint128 size = subnet.prefix.size();
    const std::uint64_t each = std::uint64_t{self.pods_per_node} + 1;
    uint128 pods =
        subnet.prefix.family() == Family::kV4 ? size / each * self.pods_per_node : kMostAddresses;
    pods = std::min(pods, std::min(kMostAddresses, size / 2 + size / 4));
    uint128 last = size - 2;
    text += fmt::format(
        "---\n"
        "apiVersion: spiderpool.spidernet.io/v2beta1\n"
        "kind: SpiderIPPool\n"
        "metadata:\n"
        "  name: \"tombolo-{}-underlay-{}\"\n"
        "spec:\n"
        "  ipVersion: {}\n"
        "  subnet: \"{}\"\n"
        "  ips:\n"
        "    - \"{}-{}\"\n"
        "  gateway: \"{}\"\n",
        self.name, ++number, subnet.prefix.family() == Family::kV4 ? 4 : 6, subnet.prefix,
        subnet.prefix.at(last - pods + 1), subnet.prefix.at(last), gateway_of(subnet.prefix));
  }
  return text;
}

}  // namespace

Result<std::string> spiderpool(const Job& job) {
  const PlannedCluster& self = *job.cluster;
  if (self.pod_addresses == PodAddresses::kUnderlayPrefixes)
    return fail(Code::kFailedPrecondition,
                "cluster {}: its nodes get prefixes from the cloud; Spiderpool assigns none",
                self.name);
  std::string text = heading(job, "spiderpool");
  if (self.pod_addresses == PodAddresses::kUnderlay) return text + underlay_pools(self);
  for (Family family : {Family::kV4, Family::kV6})
    for (const Prefix& range : ranges_of(self, BlockUse::kPod, family)) {
      if (range.size() < 8)
        return fail(Code::kFailedPrecondition, "cluster {}: {} is too small for a pool", self.name,
                    range);
      uint128 last = std::min(range.size() - 2, kFirstHost + kMostAddresses - 1);
      text += fmt::format(
          "---\n"
          "apiVersion: spiderpool.spidernet.io/v2beta1\n"
          "kind: SpiderIPPool\n"
          "metadata:\n"
          "  name: \"tombolo-{}-pods-{}\"\n"
          "spec:\n"
          "  ipVersion: {}\n"
          "  subnet: \"{}\"\n"
          "  ips:\n"
          "    - \"{}-{}\"\n"
          "  gateway: \"{}\"\n",
          self.name, lower(family), family == Family::kV4 ? 4 : 6, range, range.at(kFirstHost),
          range.at(last), range.at(1));
    }
  return text;
}

}  // namespace tombolo::exports
