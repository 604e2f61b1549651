// FRR: a frr.conf of static routes, prefix lists, route maps and BGP, with BFD on every session.
// Commands as in FRR 8.4 and newer; daemons needed: zebra, staticd, bgpd, bfdd.
#include <set>

#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

std::string_view ip_of(Family family) {
  return family == Family::kV4 ? "ip" : "ipv6";
}

std::string prefix_list(std::string_view name, Family family, const std::vector<Prefix>& prefixes) {
  std::string text;
  int sequence = 0;
  for (const Prefix& prefix : of_family(prefixes, family))
    text += fmt::format("{} prefix-list {} seq {} permit {}\n", ip_of(family), name, sequence += 5,
                        prefix);
  // A list without entries permits everything.
  if (text.empty()) text = fmt::format("{} prefix-list {} seq 5 deny any\n", ip_of(family), name);
  return text;
}

std::string route_map(std::string_view name, Family family) {
  return fmt::format(
      "route-map {0} permit 10\n"
      " match {1} address prefix-list {0}\n"
      "exit\n",
      name, ip_of(family));
}

std::string announced(Family family) {
  return fmt::format("announced_{}", lower(family));
}

std::string filters(const BgpSpeaker& speaker) {
  std::string text;
  std::set<std::string> written;
  for (const BgpNeighbour& neighbour : speaker.neighbours) {
    Family family = neighbour.address.family();
    if (written.insert(announced(family)).second)
      text += prefix_list(announced(family), family, speaker.announces) +
              route_map(announced(family), family);
    if (written.insert(neighbour.filter).second)
      text += prefix_list(neighbour.filter, family, neighbour.accepts) +
              route_map(neighbour.filter, family);
  }
  return text;
}

std::string sessions(const BgpSpeaker& speaker) {
  std::string text;
  for (const BgpNeighbour& neighbour : speaker.neighbours)
    text += fmt::format(
        " neighbor {0} remote-as {1}\n"
        " neighbor {0} description {2}\n"
        " neighbor {0} bfd\n",
        neighbour.address, neighbour.as, neighbour.description);
  return text;
}

std::string address_family(const BgpSpeaker& speaker, Family family) {
  std::string text;
  for (const BgpNeighbour& neighbour : speaker.neighbours) {
    if (neighbour.address.family() != family) continue;
    text += fmt::format(
        "  neighbor {0} activate\n"
        "  neighbor {0} route-map {1} in\n"
        "  neighbor {0} route-map {2} out\n"
        "  neighbor {0} maximum-prefix {3}\n",
        neighbour.address, neighbour.filter, announced(family), neighbour.most);
  }
  if (text.empty()) return text;
  std::string origins;
  for (const Prefix& prefix : of_family(speaker.originates, family))
    origins += fmt::format("  network {}\n", prefix);
  for (const Prefix& prefix : of_family(speaker.summarises, family))
    origins += fmt::format("  aggregate-address {} summary-only\n", prefix);
  return fmt::format(" address-family {} unicast\n{}{}  maximum-paths 16\n exit-address-family\n",
                     lower(family), origins, text);
}

}  // namespace

Result<std::string> frr(const Job& job) {
  TRY(speaker, bgp_speaker(job));
  std::string text = heading(job, "frr", "!") + "frr defaults traditional\n";
  for (const Prefix& prefix : speaker.discards)
    text += fmt::format("{} route {} reject\n", ip_of(prefix.family()), prefix);
  text += filters(speaker);
  text += fmt::format(
      "router bgp {}\n"
      " bgp router-id {}\n"
      " no bgp default ipv4-unicast\n",
      speaker.as, speaker.router_id);
  text += sessions(speaker);
  for (Family family : {Family::kV4, Family::kV6}) text += address_family(speaker, family);
  return text + "exit\n";
}

}  // namespace tombolo::exports
