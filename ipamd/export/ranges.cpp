// Ranges by use and family, and the comment that every exported file begins with.
#include <algorithm>

#include "ipamd/export/internal.h"

namespace tombolo::exports {

std::vector<Prefix> ranges_of(const PlannedCluster& cluster, BlockUse use) {
  std::vector<Prefix> found;
  for (const PlannedRange& range : cluster.ranges)
    if (range.use == use) found.push_back(range.prefix);
  return found;
}

std::vector<Prefix> of_family(const std::vector<Prefix>& prefixes, Family family) {
  std::vector<Prefix> found;
  for (const Prefix& prefix : prefixes)
    if (prefix.family() == family) found.push_back(prefix);
  return found;
}

std::vector<Prefix> ranges_of(const PlannedCluster& cluster, BlockUse use, Family family) {
  return of_family(ranges_of(cluster, use), family);
}

std::vector<Prefix> routed_ranges(const PlannedCluster& cluster) {
  std::vector<Prefix> found = ranges_of(cluster, BlockUse::kUnderlay);
  std::ranges::copy(announced_ranges(cluster), std::back_inserter(found));
  return found;
}

std::vector<Prefix> announced_ranges(const PlannedCluster& cluster) {
  std::vector<Prefix> found = ranges_of(cluster, BlockUse::kPod);
  std::ranges::copy(ranges_of(cluster, BlockUse::kLoadBalancer), std::back_inserter(found));
  return found;
}

std::vector<Prefix> networks_of(const PlannedCluster& cluster) {
  std::vector<Prefix> found;
  for (const Subnet& subnet : cluster.subnets) found.push_back(subnet.prefix);
  return found.empty() ? ranges_of(cluster, BlockUse::kUnderlay) : found;
}

std::vector<Prefix> pod_sources(const PlannedCluster& cluster, Family family) {
  const bool own = cluster.pod_addresses == PodAddresses::kPodRange;
  return ranges_of(cluster, own ? BlockUse::kPod : BlockUse::kUnderlay, family);
}

std::vector<Ip> entry_of(const PlannedCluster& cluster, Family family) {
  std::vector<Ip> found;
  for (Ip ip : cluster.entry)
    if (ip.family() == family) found.push_back(ip);
  return found;
}

std::string_view lower(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

std::string heading(const Job& job, std::string_view format, std::string_view mark) {
  std::string of = job.cluster == nullptr
                       ? fmt::format("fleet {}", job.plan.fleet)
                       : fmt::format("cluster {} of fleet {}", job.cluster->name, job.plan.fleet);
  return fmt::format(
      "{0} Addresses of {1}, written by: tombolo plan export --format {2}\n"
      "{0} Change the fleet file and export again, instead of this file.\n",
      mark, of, format);
}

std::string joined(const std::vector<Prefix>& prefixes, std::string_view separator) {
  std::string text;
  for (const Prefix& prefix : prefixes)
    text += fmt::format("{}{}", text.empty() ? "" : separator, prefix);
  return text;
}

}  // namespace tombolo::exports
